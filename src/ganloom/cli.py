"""The command ``ganloom``. Imports what a command needs only when it runs: help is instant."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ganloom.models import Generator

SEEDS = 0, 2**32 - 1  # as in params.yaml
TRUNCATIONS = 0.01, 2.0


def main(arguments: list[str] | None = None) -> None:  # noqa: PLR0915 (one line an option)
    """Entry point; ``arguments`` are those of the command line unless given."""
    parser = argparse.ArgumentParser(
        prog="ganloom",
        description="From a few hundred images to a trained image generator. "
        "The pipeline itself is run by `snakemake` or `dvc repro`; these are the tools beside it.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    generate = commands.add_parser(
        "generate",
        help="write new pictures from a trained model",
        description="Write new pictures from a trained model as PNG files. A model that was "
        "taught classes writes a folder a class, and labels.csv.",
    )
    generate.add_argument("--model", required=True, help="name of the model in params.yaml")
    generate.add_argument("-n", type=int, default=64, help="how many pictures (64)")
    generate.add_argument("--seed", type=int, default=0, help="same seed, same pictures (0)")
    generate.add_argument("--truncation", type=float, default=1.0, help="scale of the latents (1)")
    generate.add_argument(
        "--class",
        dest="label",
        metavar="NAME",
        help="only of this class, of those it was taught (else evenly of all)",
    )
    generate.add_argument("--out", type=Path, required=True, help="folder for the PNG files")
    generate.set_defaults(run=_generate)

    animate = commands.add_parser(
        "animate",
        help="write an animation of a trained model",
        description="Write an animation of a trained model, as MP4, GIF or WebP by the file's "
        "suffix. All but the timelapse end where they begin and can be repeated without a seam.",
        epilog="loop: each latent goes round a circle; walk: from latent to latent; "
        "sine: all numbers of a latent rise and fall together; morph: the class goes from one to "
        "the next; sweep: one code after the other goes through its values; timelapse: how the "
        "model learned.",
    )
    animate.add_argument("--model", required=True, help="name of the model in params.yaml")
    animate.add_argument(
        "--kind",
        required=True,
        choices=["loop", "walk", "sine", "morph", "sweep", "timelapse"],
        help="what moves; see below",
    )
    animate.add_argument("--seconds", type=float, default=6.0, help="how long (6)")
    animate.add_argument("--fps", type=int, default=24, help="frames per second (24)")
    animate.add_argument(
        "--grid", type=int, metavar="N", help="N x N pictures; 1: a single one (4; timelapse: all)"
    )
    animate.add_argument("--seed", type=int, default=0, help="same seed, same animation (0)")
    animate.add_argument("--truncation", type=float, default=1.0, help="scale of the latents (1)")
    animate.add_argument("--out", type=Path, required=True, help="a .mp4, .gif or .webp file")
    animate.set_defaults(run=_animate)

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
    export.add_argument("--out", type=Path, required=True, help="a new folder (stylegan: zip file)")
    export.set_defaults(run=_export)

    credit = commands.add_parser("credits", help="write whom to credit for the pictures in use")
    credit.add_argument("--out", type=Path, help="a Markdown file; without it, the terminal")
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
    bundle.set_defaults(run=_bundle)

    doctor = commands.add_parser(
        "doctor", help="say what is installed, what is missing, and how to get it"
    )
    doctor.set_defaults(run=_doctor)

    check = commands.add_parser("check", help="check a params file")
    check.add_argument("file", type=Path, nargs="?", default=Path("params.yaml"))
    check.set_defaults(run=_check)

    docs = commands.add_parser("docs", help="print the page on every parameter (docs/params.md)")
    docs.set_defaults(run=_docs)

    comment = commands.add_parser(
        "comment", help="write the meaning of each key into a params file"
    )
    comment.add_argument("file", type=Path)
    comment.set_defaults(run=_comment)

    options = parser.parse_args(arguments)
    try:
        options.run(options)
    except OSError as error:
        sys.exit(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except FloatingPointError as error:
        sys.exit(str(error))


def _trained(model: str) -> Path:
    """The file of a trained model; ends the command where there is none."""
    path = Path("results/models") / model / "generator.safetensors"
    if not path.exists():
        trained = sorted(p.parent.name for p in Path("results/models").glob("*/*.safetensors"))
        sys.exit(
            f"{path} does not exist. Trained here: {', '.join(sorted(set(trained))) or 'nothing'}; "
            f"to train it: snakemake --cores 8 {path}"
        )
    return path


def _loaded(path: Path) -> tuple[Generator, dict[str, Any]]:
    """A trained model, as ``load_generator`` has it; ends the command where it is damaged."""
    import torch

    from ganloom.models import ModelError, load_generator

    try:
        return load_generator(path, torch.device("cpu"))
    except ModelError as error:
        sys.exit(str(error))


def _within(option: str, value: float, low: float, high: float) -> None:
    """End the command where a number is not low <= value <= high; NaN never is."""
    if not low <= value <= high:
        sys.exit(f"{option} {value:.10g} is not possible; allowed: {low:.10g} to {high:.10g}")


def _generate(options: argparse.Namespace) -> None:
    path = _trained(options.model)
    if options.n < 1:
        sys.exit(f"-n {options.n} is not possible; allowed: 1 or more")
    _within("--seed", options.seed, *SEEDS)
    _within("--truncation", options.truncation, *TRUNCATIONS)

    import csv

    from ganloom.export import folder_name
    from ganloom.images import save_png
    from ganloom.sampling.generate import generate
    from ganloom.sampling.latents import new

    net, about = _loaded(path)
    classes = about["classes"] if net.inputs.classes else []
    if options.label not in [None, *classes]:
        known = ", ".join(classes) or f"none: {options.model} was not told any"
        sys.exit(f"--class {options.label} is not possible; classes: {known}")
    label = None if options.label is None else classes.index(options.label)
    v = new(net.inputs, options.n, options.seed, label)
    v[:, : net.inputs.latent] *= options.truncation
    names = [classes[number] for number in net.inputs.parts(v)[1].argmax(1)] if classes else []
    folders = [Path(folder_name(name)) for name in names] or [Path()] * options.n
    digits = len(str(options.n - 1))
    files = [
        folder / f"{options.model}_{number:0{digits}d}.png" for number, folder in enumerate(folders)
    ]
    for file, picture in zip(files, generate(net, v), strict=True):
        save_png(picture, options.out / file)
    if names:
        with (options.out / "labels.csv").open("w", encoding="utf-8", newline="") as table:
            rows = csv.writer(table, lineterminator="\n")
            rows.writerow(["file", "label"])
            rows.writerows((file.as_posix(), name) for file, name in zip(files, names, strict=True))
    print(f"{options.n} pictures in {options.out}")


def _animate(options: argparse.Namespace) -> None:
    path = _trained(options.model)
    for option, value, low, high in (
        ("--seconds", options.seconds, 0.1, 120),
        ("--fps", options.fps, 1, 60),
        ("--grid", 4 if options.grid is None else options.grid, 1, 16),
        ("--seed", options.seed, *SEEDS),
        ("--truncation", options.truncation, *TRUNCATIONS),
    ):
        _within(option, value, low, high)
    out: Path = options.out
    if not out.parent.is_dir():
        sys.exit(f"{out.parent} is not a folder")

    from ganloom.sampling import animation, paths
    from ganloom.sampling.generate import film

    if out.suffix not in animation.SUFFIXES:
        sys.exit(f"{out} must end in one of {', '.join(animation.SUFFIXES)}")
    if out.suffix == ".gif":
        _within("--fps", options.fps, 1, animation.GIF_FPS)
    count = max(1, round(options.seconds * options.fps))
    net, about = _loaded(path)
    if options.kind == "timelapse":
        try:
            frames = animation.timelapse(
                path.parent / "timeline", count, about["resolution"], options.grid
            )
        except animation.TimelineError as error:
            sys.exit(str(error))
    else:
        points = (options.grid or 4) ** 2
        try:
            v = paths.closed_path(options.kind, net.inputs, points, count, options.seed)
        except paths.PathError as error:
            sys.exit(f"{options.model}: {error}")
        v[..., : net.inputs.latent] *= options.truncation
        frames = film(net, v)
    try:
        animation.save(frames, out, options.fps)
    except OSError as error:
        sys.exit(f"{out} cannot be written: {error.strerror}")
    seconds, megabytes = len(frames) / options.fps, out.stat().st_size / 1e6
    print(f"{out}: {len(frames)} frames, {seconds:.1f} s, {megabytes:.2f} MB")


def _export(options: argparse.Namespace) -> None:
    from ganloom.export import ExportError, export
    from ganloom.images import ShardError

    try:
        count = export(options.what, options.format, Path(), options.out)
    except (ExportError, ShardError) as error:
        sys.exit(str(error))
    print(f"{count} pictures in {options.out}")


def _credits(options: argparse.Namespace) -> None:
    from ganloom.credits import COLUMNS, credits, markdown
    from ganloom.sources import SourceError, read_rows

    data = Path("data")
    try:
        manifest = read_rows(data / "manifest.csv", COLUMNS)
        kept = read_rows(data / "kept.csv", ["sha256"])
    except FileNotFoundError as error:
        sys.exit(f"{error.filename} does not exist; make it: dvc repro curate")
    except SourceError as error:
        sys.exit(f"{error}; to make it anew: dvc repro curate")
    text = markdown(credits(manifest, {row["sha256"] for row in kept}))
    if options.out:
        try:
            options.out.write_text(text, encoding="utf-8")
        except OSError as error:
            sys.exit(f"{options.out} cannot be written: {error.strerror}")
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

    try:
        load(options.file)
    except ParamsError as error:
        sys.exit(str(error))
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
