"""The command ``ganloom``. Commands import their dependencies late, so that help is instant."""

from __future__ import annotations

import argparse
import sys

from ganloom.cli import compare, generate, mix, project, search, weave


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; ``arguments`` default to ``sys.argv[1:]``."""
    parser = argparse.ArgumentParser(
        prog="ganloom",
        description="From a few hundred images to a trained image generator. "
        "Run the pipeline with `snakemake` or `dvc repro`; these commands use its results.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for family in (generate, mix, weave, compare, search, project):
        family.add(commands)
    options = parser.parse_args(arguments)
    try:
        options.run(options)
    except OSError as error:
        sys.exit(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except FloatingPointError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:  # files are written atomically
        print(
            "\nStopped; nothing was written. Run the same command to start again.", file=sys.stderr
        )
        sys.exit(130)
