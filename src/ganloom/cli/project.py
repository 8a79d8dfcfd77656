"""Commands for a project: start, export, credits, studio, bundle, doctor, check, recipe, docs."""

from __future__ import annotations

import argparse
import itertools
import shutil
import sys
from pathlib import Path

from ganloom.cli.common import FORCE, Commands, cannot_write, new_file, new_folder, trained, within


def add(commands: Commands) -> None:
    """Add the commands to a parser."""
    start = commands.add_parser("start", help="write params.yaml for a folder of images")
    start.add_argument("folder", type=Path, help="images, or a folder per class")
    start.add_argument(
        "--out",
        type=Path,
        default=Path("params.yaml"),
        metavar="FILE",
        help="(params.yaml); keeps a copy of a file that was edited",
    )
    start.add_argument(
        "--minutes", type=float, default=10.0, help="time for the trainings on this machine (10)"
    )
    start.add_argument(
        "--kind",
        choices=["texture", "drawing", "photograph"],
        help="what the images are (default: told from a look at them)",
    )
    start.set_defaults(run=_start)

    export = commands.add_parser("export", help="export images in the format of another tool")
    export.add_argument("what", choices=["raw", "kept", "slices"], help="images to export")
    export.add_argument(
        "--format",
        choices=["folder", "imagefolder", "stylegan", "webdataset"],
        required=True,
        help="plain files, one folder per class, a zip file with dataset.json, or tar shards",
    )
    export.add_argument(
        "--out", type=Path, required=True, help="a new folder (stylegan: a zip file)"
    )
    export.add_argument("--force", action="store_true", help=FORCE)
    export.set_defaults(run=_export)

    credit = commands.add_parser("credits", help="write the credits of the images in use")
    credit.add_argument("--out", type=Path, help="a Markdown file (default: print)")
    credit.add_argument("--force", action="store_true", help=FORCE)
    credit.set_defaults(run=_credits)

    studio = commands.add_parser(
        "studio", help="curate, generate, mix, edit and weave in a browser"
    )
    studio.add_argument(
        "--port", type=int, default=8765, help="port on 127.0.0.1; 0 for any free one (8765)"
    )
    studio.add_argument(
        "--list",
        metavar="NAME",
        help="list to write, data/curation/NAME.csv (curate.list in params.yaml, or mine)",
    )
    studio.add_argument("--bundle", type=Path, metavar="PATH", help="show the models of a bundle")
    studio.add_argument("--no-browser", action="store_true", help="only print the address")
    studio.set_defaults(run=_studio)

    bundle = commands.add_parser("bundle", help="pack trained models with an app, to publish them")
    bundle.add_argument(
        "--model", action="append", required=True, metavar="NAME", help="may be given repeatedly"
    )
    bundle.add_argument("--out", type=Path, required=True, help="a .zip file or a new folder")
    bundle.add_argument("--force", action="store_true", help=FORCE)
    bundle.set_defaults(run=_bundle)

    doctor = commands.add_parser("doctor", help="check the installation, and how to fix it")
    doctor.add_argument(
        "what", nargs="?", choices=["google"], help="check whether pages of Google are understood"
    )
    doctor.add_argument(
        "file", type=Path, nargs="?", help="a saved page or HAR file (default: search in a window)"
    )
    doctor.set_defaults(run=_doctor)

    check = commands.add_parser("check", help="check a parameter file and the paths in it")
    check.add_argument("file", type=Path, nargs="?", default=Path("params.yaml"))
    check.set_defaults(run=_check)

    docs = commands.add_parser(
        "docs", help="generate docs/params.md, and the tables in other pages of docs/"
    )
    docs.set_defaults(run=_docs)

    recipe = commands.add_parser("recipe", help="print the whole parameter file of a recipe")
    recipe.add_argument("name", help="a name in recipes/, or a file")
    recipe.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="write it, for example to params.yaml; keeps a copy of a file that was edited",
    )
    recipe.set_defaults(run=_recipe)


def _start(options: argparse.Namespace) -> None:
    within("--minutes", options.minutes, 0.1, 10_000)

    from ganloom.params import ParamsError
    from ganloom.start.build import build
    from ganloom.start.look import StartError

    print(f"Looking at {options.folder}, then timing a few training steps ...", file=sys.stderr)
    try:
        text, reasons = build(options.folder, options.minutes, options.kind)
    except (ParamsError, StartError) as error:
        sys.exit(str(error))
    print("\n".join(f"- {reason}" for reason in reasons))
    _write_params(options.out, text)
    print(f"{options.out} is written. Edit it if you like, then run: make pictures or make report")


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
    print(f"{count} images in {options.out}")


def _credits(options: argparse.Namespace) -> None:
    if options.out:
        new_file(options.out, None, force=options.force)

    from ganloom import tables
    from ganloom.credits import attribution
    from ganloom.files import write_whole

    data = Path("data")
    try:
        manifest = tables.read(data / "manifest.csv", tables.ManifestRow)
        kept = tables.read(data / "kept.csv", tables.KeptRow)
    except FileNotFoundError as error:
        sys.exit(f"{error.filename} does not exist; to create it: dvc repro curate")
    except tables.TableError as error:
        sys.exit(f"{error}; to create it again: dvc repro curate")
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
    from ganloom.doctor import examine, for_people, for_reports, google, is_well

    findings = google(options.file) if options.what else examine(Path())
    print(for_people(findings))
    print("\nFor a bug report (without personal data):\n")
    print(for_reports(findings))
    if not is_well(findings):
        sys.exit(1)


def _check(options: argparse.Namespace) -> None:
    from ganloom.params import ParamsError, load
    from ganloom.sources.paths import problems

    try:
        parameters = load(options.file)
    except ParamsError as error:
        sys.exit(str(error))
    if errors := problems(parameters):
        sys.exit("\n".join(f"{options.file}: {problem}" for problem in errors))
    print(f"{options.file} is valid")


def _docs(_: argparse.Namespace) -> None:
    from ganloom.docs_tables import with_tables
    from ganloom.files import write_whole
    from ganloom.params_docs import markdown

    parameters = Path("docs/params.md")
    if not parameters.is_file():
        sys.exit(f"{parameters} does not exist: run this in a clone of ganloom's repository")
    write_whole(parameters, markdown().encode())
    for page in sorted(Path("docs").glob("*.md")):
        old = page.read_text(encoding="utf-8")
        if (new := with_tables(old)) != old:
            write_whole(page, new.encode())


def _recipe(options: argparse.Namespace) -> None:
    from ganloom import recipes
    from ganloom.params import ParamsError

    try:
        text = recipes.whole(recipes.find(options.name))
    except ParamsError as error:
        sys.exit(str(error))
    if options.out is None:
        print(text, end="")
        return
    _write_params(options.out, text)


def _write_params(out: Path, text: str) -> None:
    """Write a parameter file, and keep a copy of one that was edited."""
    from ganloom import recipes
    from ganloom.files import write_whole

    file = out.resolve()  # write to the target of a link
    try:
        mode = file.stat().st_mode if file.exists() else None
        old = file.read_bytes() if file.exists() else b""
        if old and old != text.encode() and not recipes.is_untouched(old):
            copies = (Path(f"{out}.~{number}~") for number in itertools.count(1))
            copy = next(path for path in copies if not path.exists())
            shutil.copy(file, copy)
            print(f"The old {out} is kept as {copy}")
        write_whole(file, text.encode())
        if mode is not None:
            file.chmod(mode)
    except OSError as error:
        cannot_write(out, error)
