"""The command ``ganloom``. Imports what a command needs only when it runs: help is instant."""

from __future__ import annotations

import argparse
import sys

from ganloom.cli import compare, generate, mix, project, weave


def main(arguments: list[str] | None = None) -> None:
    """Entry point; ``arguments`` are those of the command line unless given."""
    parser = argparse.ArgumentParser(
        prog="ganloom",
        description="From a few hundred images to a trained image generator. "
        "The pipeline itself is run by `snakemake` or `dvc repro`; these are the tools beside it.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for family in (generate, mix, weave, compare, project):
        family.add(commands)
    options = parser.parse_args(arguments)
    try:
        options.run(options)
    except OSError as error:
        sys.exit(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except FloatingPointError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:  # files appear when they are complete
        print("\nStopped; nothing was written. To start over: the same command.", file=sys.stderr)
        sys.exit(130)
