"""A project's pictures, models and parameters: to other tools, into a browser, checked."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ganloom.cli.common import FORCE, Commands, cannot_write, new_file, new_folder, trained


def add(commands: Commands) -> None:
    """Add the commands to a parser."""
    export = commands.add_parser(
        "export", help="write pictures in the form that another tool reads"
    )
    export.add_argument("what", choices=["raw", "kept", "slices"], help="which pictures")
    export.add_argument(
        "--format",
        choices=["folder", "imagefolder", "stylegan", "webdataset"],
        required=True,
        help="plain files, a folder a class, a zip with dataset.json, or tar shards",
    )
    export.add_argument(
        "--out", type=Path, required=True, help="a new folder (stylegan: a zip file)"
    )
    export.add_argument("--force", action="store_true", help=FORCE)
    export.set_defaults(run=_export)

    credit = commands.add_parser("credits", help="write whom to credit for the pictures in use")
    credit.add_argument("--out", type=Path, help="a Markdown file; without it, the terminal")
    credit.add_argument("--force", action="store_true", help=FORCE)
    credit.set_defaults(run=_credits)

    studio = commands.add_parser(
        "studio", help="curate, generate, mix and edit pictures in a browser"
    )
    studio.add_argument("--port", type=int, default=8765, help="on 127.0.0.1; 0: any (8765)")
    studio.add_argument(
        "--list",
        metavar="NAME",
        help="the list to write, data/curation/NAME.csv (curate.list of params.yaml, else mine)",
    )
    studio.add_argument(
        "--bundle", type=Path, metavar="PATH", help="show the models of this folder or zip file"
    )
    studio.add_argument("--no-browser", action="store_true", help="only print the address")
    studio.set_defaults(run=_studio)

    bundle = commands.add_parser(
        "bundle", help="pack trained models and an app to publish them with"
    )
    bundle.add_argument(
        "--model", action="append", required=True, metavar="NAME", help="may be given repeatedly"
    )
    bundle.add_argument("--out", type=Path, required=True, help="a .zip file or a new folder")
    bundle.add_argument("--force", action="store_true", help=FORCE)
    bundle.set_defaults(run=_bundle)

    doctor = commands.add_parser(
        "doctor", help="say what is installed, what is missing, and how to get it"
    )
    doctor.set_defaults(run=_doctor)

    check = commands.add_parser("check", help="check a params file and the paths in it")
    check.add_argument("file", type=Path, nargs="?", default=Path("params.yaml"))
    check.set_defaults(run=_check)

    docs = commands.add_parser("docs", help="print the page on every parameter (docs/params.md)")
    docs.set_defaults(run=_docs)

    comment = commands.add_parser(
        "comment", help="write the meaning of each key into a params file"
    )
    comment.add_argument("file", type=Path)
    comment.set_defaults(run=_comment)


def _export(options: argparse.Namespace) -> None:
    if options.format == "stylegan":
        new_file(options.out, None, force=options.force)
    else:
        new_folder(options.out)

    from ganloom.export import ExportError, export
    from ganloom.images.shards import ShardError

    try:
        count = export(options.what, options.format, Path(), options.out)
    except (ExportError, ShardError) as error:
        sys.exit(str(error))
    print(f"{count} pictures in {options.out}")


def _credits(options: argparse.Namespace) -> None:
    if options.out:
        new_file(options.out, None, force=options.force)

    from ganloom.credits import COLUMNS, attribution
    from ganloom.files import write_whole
    from ganloom.sources import SourceError, read_rows

    data = Path("data")
    try:
        manifest = read_rows(data / "manifest.csv", COLUMNS)
        kept = read_rows(data / "kept.csv", ["sha256"])
    except FileNotFoundError as error:
        sys.exit(f"{error.filename} does not exist; make it: dvc repro curate")
    except SourceError as error:
        sys.exit(f"{error}; to make it anew: dvc repro curate")
    text = attribution(manifest, kept, data / "slices")
    if options.out:
        try:
            write_whole(options.out.resolve(), text.encode())
        except OSError as error:
            cannot_write(options.out, error)
    else:
        print(text, end="")


def _studio(options: argparse.Namespace) -> None:
    try:
        from ganloom.studio.serve import StudioError, serve
    except ModuleNotFoundError as error:
        sys.exit(f"{error.name} is not installed: pip install --editable '.[studio]'")

    try:
        serve(
            Path(),
            options.list,
            options.port,
            browser=not options.no_browser,
            bundle=options.bundle,
        )
    except StudioError as error:
        sys.exit(str(error))


def _bundle(options: argparse.Namespace) -> None:
    if options.out.suffix == ".zip":
        new_file(options.out, [".zip"], force=options.force)
    else:
        new_folder(options.out)
    for name in options.model:
        trained(name)

    from ganloom.bundle.read import BundleError
    from ganloom.bundle.write import write

    try:
        size = write(Path(), options.model, options.out)
    except BundleError as error:
        sys.exit(str(error))
    print(f"{', '.join(options.model)} in {options.out}, {size / 1e6:.1f} MB unpacked")


def _doctor(options: argparse.Namespace) -> None:
    from ganloom.doctor import examine, for_people, for_reports, is_well

    findings = examine(Path())
    print(for_people(findings))
    print("\nFor a bug report (nothing in it says who or where you are):\n")
    print(for_reports(findings))
    if not is_well(findings):
        sys.exit(1)


def _check(options: argparse.Namespace) -> None:
    from ganloom.params import ParamsError, load
    from ganloom.sources.paths import problems

    try:
        known = load(options.file)
    except ParamsError as error:
        sys.exit(str(error))
    if found := problems(known):
        sys.exit("\n".join(f"{options.file}: {problem}" for problem in found))
    print(f"{options.file} is fine")


def _docs(options: argparse.Namespace) -> None:
    from ganloom.params_docs import markdown

    print(markdown(), end="")


def _comment(options: argparse.Namespace) -> None:
    from ruamel.yaml.error import YAMLError

    from ganloom.files import write_whole
    from ganloom.params_docs import comment

    try:
        text = comment(options.file.read_text(encoding="utf-8"))
    # Beside YAML's own errors, what Python says of a date, a number or a nesting that cannot be.
    except (YAMLError, ValueError, RecursionError) as error:
        sys.exit(f"{options.file}: not YAML: {error}")
    file = options.file.resolve()  # a link stays one
    mode = file.stat().st_mode
    try:
        write_whole(file, text.encode())
    except OSError as error:
        sys.exit(f"{options.file} cannot be written: {error.strerror}")
    file.chmod(mode)
