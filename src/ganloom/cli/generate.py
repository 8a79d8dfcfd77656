"""Samples and animations from a trained model."""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ganloom.cli.common import (
    FORCE,
    NO_ENLARGER,
    SEEDS,
    SIDES,
    TRUNCATIONS,
    Commands,
    cannot_write,
    class_number,
    enlarger,
    facts,
    loaded,
    new_file,
    new_folder,
    trained,
    whole,
    within,
)
from ganloom.images.shards import sha256

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ganloom.weaving.film import Film

SHEET = 256  # px, largest side of a sample in a contact sheet
SHEET_WIDTH = 8192  # px, approximate width of a contact sheet
# Limits of an animation with --size: the side of a frame that players support, and the pixels of
# all frames, for time and memory; GIF and WebP are encoded from all frames at once.
FRAME = 4096
PIXELS = {".mp4": 2**32, ".gif": 2**28, ".webp": 2**28}


def add(commands: Commands) -> None:
    """Add the commands to a parser."""
    generate = commands.add_parser(
        "generate",
        help="write samples of a trained model",
        description="Write samples of a trained model as PNG files. Samples of a conditional model "
        "are sorted into one folder per class, with labels.csv.",
    )
    generate.add_argument("--model", required=True, help="name of the model in params.yaml")
    generate.add_argument("-n", type=int, default=64, help="number of samples (64)")
    generate.add_argument("--seed", type=int, default=0, help="seed of the samples (0)")
    generate.add_argument("--truncation", type=float, default=1.0, help="scale of the latents (1)")
    generate.add_argument(
        "--class",
        dest="label",
        metavar="NAME",
        help="class of all samples (default: all classes evenly)",
    )
    generate.add_argument("--size", metavar="PX", help="enlarge each sample to this side")
    generate.add_argument(
        "--sheet", action="store_true", help="also write sheet.png with all samples"
    )
    generate.add_argument("--out", type=Path, required=True, help="a new folder for the PNG files")
    generate.set_defaults(run=_generate)

    animate = commands.add_parser(
        "animate",
        help="write an animation of a trained model",
        description="Write an animation of a trained model, as MP4, GIF or WebP by the file's "
        "suffix. All kinds but timelapse are closed loops.",
        epilog="loop: each latent moves along a circle; walk: from latent to latent; "
        "sine: all elements of a latent oscillate together; morph: from class to class; "
        "sweep: one code after the other takes all its values; timelapse: the training.",
    )
    animate.add_argument("--model", required=True, help="name of the model in params.yaml")
    animate.add_argument(
        "--kind",
        required=True,
        choices=["loop", "walk", "sine", "morph", "sweep", "timelapse"],
        help="kind of animation; see below",
    )
    animate.add_argument("--seconds", type=float, default=6.0, help="duration (6)")
    animate.add_argument("--fps", type=int, default=24, help="frames per second (24)")
    animate.add_argument("--grid", type=int, metavar="N", help="N x N samples (4; timelapse: all)")
    animate.add_argument("--seed", type=int, default=0, help="seed of the latents (0)")
    animate.add_argument("--truncation", type=float, default=1.0, help="scale of the latents (1)")
    animate.add_argument("--size", metavar="PX", help="enlarge each sample to this side")
    animate.add_argument("--out", type=Path, required=True, help="a .mp4, .gif or .webp file")
    animate.add_argument("--force", action="store_true", help=FORCE)
    animate.set_defaults(run=_animate)


def _generate(options: argparse.Namespace) -> None:
    files = trained(options.model)
    if options.n < 1:
        sys.exit(f"-n {options.n} is not possible; allowed: 1 or more")
    within("--seed", options.seed, *SEEDS)
    within("--truncation", options.truncation, *TRUNCATIONS)
    size = None if options.size is None else whole("--size", options.size, *SIDES)
    new_folder(options.out)

    import numpy as np
    from PIL import Image

    from ganloom.enlarging import network
    from ganloom.export import folder_name
    from ganloom.images.sheets import contact_sheet
    from ganloom.sampling.generate import generate
    from ganloom.sampling.latents import new
    from ganloom.sampling.saving import save, tagged_png, text, whole_folder
    from ganloom.weaving.tile import enlarged

    net, info = loaded(files.generator)
    classes = info.classes
    label = class_number(options.label, options.model, classes, "--class")
    v = new(net.inputs, options.n, options.seed, label)
    v[:, : net.inputs.latent] *= options.truncation
    names = [classes[number] for number in net.inputs.parts(v)[1].argmax(1)] if classes else []
    folders = [Path(folder_name(name)) for name in names] or [Path()] * options.n
    digits = len(str(options.n - 1))
    paths = [
        folder / f"{options.model}_{number:0{digits}d}.png" for number, folder in enumerate(folders)
    ]
    enlarges = enlarger() if size else None
    shared = facts(
        options.model,
        files,
        seed=options.seed,
        count=options.n,
        truncation=options.truncation,
        size=size or info.resolution,
    )
    if size:
        shared["enlarger"] = sha256(network.PATH.read_bytes()) if enlarges else None
    # Credits may be larger than a small sample, so only the sheet has them.
    each = {key: value for key, value in shared.items() if key != "credits"}
    columns = math.ceil(math.sqrt(options.n))
    small = min(SHEET, max(SHEET_WIDTH // columns, SIDES[0]))
    shrunk = []
    with whole_folder(options.out) as out:
        for number, (file, picture) in enumerate(zip(paths, generate(net, v), strict=True)):
            # Nine digits preserve every float32.
            inputs = {"latent": net.inputs.latent, "v": [float(f"{x:.9g}") for x in v[number]]}
            made = each | inputs | {"number": number} | ({"class": names[number]} if names else {})
            shown = enlarged(picture, size, enlarges) if size else picture
            (out / file).parent.mkdir(parents=True, exist_ok=True)
            (out / file).write_bytes(tagged_png(shown, text(made)))
            if options.sheet:
                shrunk.append(Image.fromarray(shown))
                shrunk[-1].thumbnail((small, small), Image.Resampling.LANCZOS)
        if options.sheet:
            sheet = contact_sheet(shrunk, columns, max(shrunk[0].size))
            save(np.asarray(sheet), out / "sheet.png", shared)
        if names:
            _write_labels(paths, names, out / "labels.csv")
    print(f"{options.n} samples in {options.out}")
    if size and not enlarges:
        print(NO_ENLARGER.format("samples"))


def _write_labels(files: list[Path], names: list[str], path: Path) -> None:
    import csv

    with path.open("w", encoding="utf-8", newline="") as table:
        rows = csv.writer(table, lineterminator="\n")
        rows.writerow(["file", "label"])
        rows.writerows((file.as_posix(), name) for file, name in zip(files, names, strict=True))


def _animate(options: argparse.Namespace) -> None:
    model_files = trained(options.model)
    for option, value, low, high in (
        ("--seconds", options.seconds, 0.1, 120),
        ("--fps", options.fps, 1, 60),
        ("--grid", 4 if options.grid is None else options.grid, 1, 16),
        ("--seed", options.seed, *SEEDS),
        ("--truncation", options.truncation, *TRUNCATIONS),
    ):
        within(option, value, low, high)
    size = None if options.size is None else whole("--size", options.size, *SIDES)
    out: Path = options.out
    new_file(out, tuple(PIXELS), force=options.force)
    suffix = out.suffix.lower()
    if options.kind == "timelapse" and model_files.finished:
        sys.exit(f"--kind timelapse is not possible before {options.model} is trained again")

    from ganloom.sampling import animation, paths, saving
    from ganloom.sampling.generate import film

    if suffix == ".gif":
        within("--fps", options.fps, 1, animation.GIF_FPS)
    count = max(1, round(options.seconds * options.fps))
    net, info = loaded(model_files.generator)
    if options.kind == "timelapse":
        try:
            frames = animation.timelapse(
                model_files.generator.parent / "timeline",
                count,
                info.resolution,
                options.grid,
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
        if size:
            _check_frames(size, options.grid or 4, count, suffix)
        frames = film(net, v)
    shown: NDArray[np.uint8] | Film = frames
    enlarges = enlarger() if size else None
    if size:
        from ganloom.weaving.film import Film

        columns = max(frames.shape[1:3]) // info.resolution
        _check_frames(size, columns, count, suffix)
        shown = Film(frames, info.resolution, size, enlarges)
    made = facts(
        options.model,
        model_files,
        kind=options.kind,
        seed=options.seed,
        seconds=options.seconds,
        fps=options.fps,
        grid=options.grid,
        truncation=options.truncation,
        size=size or info.resolution,
    )
    try:
        with saving.whole(out) as new:
            animation.save(shown, new, options.fps, as_is=size is not None, made=saving.text(made))
    except OSError as error:
        cannot_write(out, error)
    seconds, megabytes = len(frames) / options.fps, out.stat().st_size / 1e6
    print(f"{out}: {len(frames)} frames, {seconds:.1f} s, {megabytes:.2f} MB")
    if size and not enlarges:
        print(NO_ENLARGER.format("samples"))


def _check_frames(size: int, columns: int, count: int, suffix: str) -> None:
    """Exit if enlarged frames would have too many pixels, each or together."""
    most = min(FRAME, math.isqrt(PIXELS[suffix] // count)) // columns
    if size > most:
        side = size * columns
        advice = f"allowed: up to {most}" if most >= SIDES[0] else "make it shorter, or --grid 1"
        sys.exit(
            f"--size {size} is not possible for {count} frames of {side} x {side} px as {suffix}; "
            + advice
        )
