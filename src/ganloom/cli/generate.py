"""New pictures from a trained model, and animations of it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ganloom.cli.common import SEEDS, TRUNCATIONS, Commands, loaded, trained, within


def add(commands: Commands) -> None:
    """Add the commands to a parser."""
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


def _generate(options: argparse.Namespace) -> None:
    path = trained(options.model)
    if options.n < 1:
        sys.exit(f"-n {options.n} is not possible; allowed: 1 or more")
    within("--seed", options.seed, *SEEDS)
    within("--truncation", options.truncation, *TRUNCATIONS)

    import csv

    from ganloom.export import folder_name
    from ganloom.images import save_png
    from ganloom.sampling.generate import generate
    from ganloom.sampling.latents import new

    net, about = loaded(path)
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
    path = trained(options.model)
    for option, value, low, high in (
        ("--seconds", options.seconds, 0.1, 120),
        ("--fps", options.fps, 1, 60),
        ("--grid", 4 if options.grid is None else options.grid, 1, 16),
        ("--seed", options.seed, *SEEDS),
        ("--truncation", options.truncation, *TRUNCATIONS),
    ):
        within(option, value, low, high)
    out: Path = options.out
    if not out.parent.is_dir():
        sys.exit(f"{out.parent} is not a folder")

    from ganloom.sampling import animation, paths
    from ganloom.sampling.generate import film

    if out.suffix not in animation.SUFFIXES:
        sys.exit(f"{out} must end in one of {', '.join(animation.SUFFIXES)}")
    if out.suffix == ".gif":
        within("--fps", options.fps, 1, animation.GIF_FPS)
    count = max(1, round(options.seconds * options.fps))
    net, about = loaded(path)
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
