"""Interpolations between samples, and edits of photographs."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganloom.cli.common import (
    FORCE,
    NO_ENLARGER,
    SEEDS,
    SIDES,
    Commands,
    cannot_write,
    class_number,
    enlarger,
    facts,
    loaded,
    new_file,
    one_of,
    trained,
    whole,
)
from ganloom.images.shards import sha256

if TYPE_CHECKING:
    from torch import Tensor

    from ganloom.models import Generator

STRIPS = ".png", ".tif", ".tiff"
ANIMATIONS = ".mp4", ".gif", ".webp"
STEPS = 2, 100
SEARCH = 1, 10_000  # steps
LOSSES = "ms_ssim", "ssim", "mse", "features"
PIXELS = 2**28  # of all frames of an animation, or of a sheet
BATCH = 16  # images that are enlarged at a time
COLUMNS = 10  # of edits in a row of the sheet
BYTES, PHOTO = 20_000_000, 50_000_000  # limits of a photograph without a params.yaml: bytes, pixels


def add(commands: Commands) -> None:
    """Add the commands to a parser."""
    mix = commands.add_parser(
        "mix",
        help="write an interpolation between two samples or classes",
        description="Write an interpolation between two samples of a trained model, or between two "
        "classes, as a strip or as an animation forwards and backwards.",
    )
    mix.add_argument("--model", required=True, help="name of the model in params.yaml")
    mix.add_argument("--from", dest="start", metavar="SEED", help="seed of the first sample")
    mix.add_argument("--to", dest="end", metavar="SEED", help="seed of the last sample")
    mix.add_argument("--from-class", metavar="NAME", help="class of the first sample")
    mix.add_argument("--to-class", metavar="NAME", help="class of the last sample")
    mix.add_argument("--seed", help="seed of the latent of both classes (0)")
    mix.add_argument(
        "--steps", metavar="N", help="images, with both ends (8; animations: 48 each way)"
    )
    mix.add_argument(
        "--linear", action="store_true", help="interpolate linearly instead of spherically"
    )
    mix.add_argument("--size", metavar="PX", help="enlarge each image to this side")
    mix.add_argument(
        "--out", type=Path, required=True, help="a .png or .tif file; or .mp4, .gif or .webp"
    )
    mix.add_argument("--force", action="store_true", help=FORCE)
    mix.set_defaults(run=_mix)

    edit = commands.add_parser(
        "edit",
        help="reconstruct a photograph with a trained model, and edit it",
        description="Reconstruct a photograph by GAN inversion. Writes the photograph, its "
        "reconstruction, and the reconstruction with every class and code; for a model without "
        "these, along the directions of the strongest change.",
    )
    edit.add_argument("photo", type=Path, metavar="PHOTO", help="an image file")
    edit.add_argument("--model", required=True, help="name of the model in params.yaml")
    edit.add_argument("--steps", default=200, metavar="N", help="steps of the search (200)")
    edit.add_argument(
        "--loss",
        default="ms_ssim",
        help=f"distance between photograph and reconstruction: {', '.join(LOSSES)} (ms_ssim)",
    )
    edit.add_argument("--size", metavar="PX", help="enlarge each image to this side")
    edit.add_argument("--out", type=Path, required=True, help="a .png, .tif or .tiff file")
    edit.add_argument("--force", action="store_true", help=FORCE)
    edit.set_defaults(run=_edit)


def _mix(options: argparse.Namespace) -> None:
    model = trained(options.model)
    out: Path = options.out
    new_file(out, STRIPS + ANIMATIONS, force=options.force)
    _check_ends(options)
    moves = out.suffix.lower() in ANIMATIONS

    from ganloom.images.sheets import grid
    from ganloom.sampling import animation, mixing, saving
    from ganloom.sampling.generate import generate

    steps = mixing.FRAMES if moves else 8
    if options.steps is not None:
        steps = whole("--steps", options.steps, *STEPS)
    size = None if options.size is None else whole("--size", options.size, *SIDES)
    net, info = loaded(model.generator)
    side = size or info.resolution
    _check_pixels("--size", side, steps * side**2)
    classes = info.classes
    a, b, ends = _ends(options, net, classes)
    v = mixing.between(net.inputs.latent, a, b, steps, spherical=not options.linear)
    pictures = generate(net, v[:, 0])
    if size:
        pictures = _enlarged(pictures, size)
    made = facts(options.model, model, **ends, steps=steps, linear=options.linear, size=side)
    try:
        if moves:
            frames = mixing.there_and_back(pictures)
            with saving.whole(out) as temporary:
                animation.save(
                    frames, temporary, mixing.FPS, as_is=size is not None, made=saving.text(made)
                )
            seconds = len(frames) / mixing.FPS
            print(f"{out}: {len(frames)} frames, {seconds:.1f} s")
        else:
            strip = grid(pictures, len(pictures))
            saving.save(strip, out, made)
            print(f"{out}: {steps} images, {strip.shape[1]} x {strip.shape[0]} px")
    except OSError as error:
        cannot_write(out, error)


def _check_ends(options: argparse.Namespace) -> None:
    """Exit unless two ends of the same kind are given."""
    seeds, names = (options.start, options.end), (options.from_class, options.to_class)
    given = [pair for pair in (seeds, names) if any(end is not None for end in pair)]
    if len(given) != 1 or None in given[0]:
        sys.exit(
            "mix needs two ends of one kind: --from SEED --to SEED, or "
            "--from-class NAME --to-class NAME"
        )
    if given[0] is seeds:
        for option, seed in zip(("--from", "--to"), seeds, strict=True):
            whole(option, seed, *SEEDS)
        if options.seed is not None:
            sys.exit(f"--seed {options.seed} cannot be combined with --from and --to")
    elif options.seed is not None:
        whole("--seed", options.seed, *SEEDS)


def _ends(
    options: argparse.Namespace, net: Generator, classes: list[str]
) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """Inputs of both ends, (1, width) each, and their metadata."""
    from ganloom.sampling.latents import new
    from ganloom.sampling.mixing import of_class

    if options.start is not None:
        seeds = int(options.start), int(options.end)
        a, b = (new(net.inputs, 1, seed) for seed in seeds)
        return a, b, dict(zip(("from", "to"), seeds, strict=True))
    seed = int(options.seed or 0)
    v = new(net.inputs, 1, seed)
    numbers = [
        class_number(name, options.model, classes, option) or 0
        for option, name in (
            ("--from-class", options.from_class),
            ("--to-class", options.to_class),
        )
    ]
    a, b = (of_class(net.inputs, v, number) for number in numbers)
    ends = {"from_class": options.from_class, "to_class": options.to_class, "seed": seed}
    return a, b, ends


def _check_pixels(option: str, side: int, pixels: int) -> None:
    if pixels > PIXELS:
        most = int(side * (PIXELS / pixels) ** 0.5)
        sys.exit(
            f"{option} {side} is not possible: {pixels / 1e6:.0f} million pixels in all; "
            f"allowed: up to {most}"
        )


def _enlarged(pictures: Any, size: int) -> Any:
    """Enlarge images from (N, R, R, 3) to (N, size, size, 3)."""
    import numpy as np

    from ganloom.weaving.tile import enlarged_all

    net = enlarger()
    if net is None:
        print(NO_ENLARGER.format("images"))
    at = range(BATCH, len(pictures), BATCH)
    return np.concatenate([enlarged_all(part, size, net) for part in np.split(pictures, at)])


def _edit(options: argparse.Namespace) -> None:
    model = trained(options.model)
    out: Path = options.out
    new_file(out, STRIPS, force=options.force)
    steps = whole("--steps", options.steps, *SEARCH)
    one_of("--loss", options.loss, LOSSES)
    size = None if options.size is None else whole("--size", options.size, *SIDES)
    data, max_pixels = _read(options.photo)

    import numpy as np
    from tqdm import tqdm

    from ganloom.images.decoding import ImageError
    from ganloom.images.sheets import grid
    from ganloom.sampling import editing, saving
    from ganloom.sampling.generate import generate

    net, info = loaded(model.generator)
    try:
        photo = editing.squared(data, info.resolution, max_pixels)
        shown = photo if size is None else editing.squared(data, size, max_pixels)
    except ImageError as error:
        sys.exit(f"{options.photo}: {error}")
    predictor = Path("results/inversions") / options.model / "predictor.safetensors"
    guess = editing.first_guess(predictor, net, photo)
    if guess.problem:
        print(guess.problem)
    with tqdm(total=steps, desc="steps", mininterval=1, leave=False) as bar:

        def watch(step: int, *_: object) -> None:
            bar.update(step - bar.n)

        inversion = editing.recover(
            net,
            photo,
            steps,
            options.loss,
            guess=guess.v,
            watch=watch,
        )
    classes = info.classes
    changes = editing.changes(net, inversion.v, classes)
    rows = [part for change in changes for part in change.v.split(COLUMNS)]
    side = size or info.resolution
    columns = 2 + max(len(row) for row in rows)
    _check_pixels("--size", side, columns * len(rows) * side**2)

    (recovered,) = generate(net, inversion.v)
    changed = [generate(net, row) for row in rows]
    if size:
        flat = _enlarged(np.concatenate([recovered[None], *changed]), size)
        recovered, others = flat[0], flat[1:]
        changed = np.split(others, np.cumsum([len(row) for row in rows])[:-1])
    white = np.full_like(shown, 255)
    sheet = []
    for row in changed:
        sheet += [shown, recovered, *row, *[white] * (columns - 2 - len(row))]
    made = facts(
        options.model,
        model,
        photo=sha256(data),
        steps=steps,
        loss=options.loss,
        predictor=guess.v is not None,
        size=side,
        rows=[change.name for change in changes],
    )
    try:
        saving.save(grid(np.stack(sheet), columns), out, made)
    except OSError as error:
        cannot_write(out, error)
    psnr, ms_ssim = float(inversion.psnr[-1]), float(inversion.ms_ssim[-1])
    print(f"{out}: photograph, reconstruction (PSNR {psnr:.1f} dB, MS-SSIM {ms_ssim:.2f}), and")
    print(*(f"  {change.name}" for change in changes), sep="\n")


def _read(photo: Path) -> tuple[bytes, int]:
    """Read a photograph, and return it with its limit of pixels; exit if that is impossible."""
    from ganloom.params import PARAMS_FILE, ParamsError, load

    max_bytes, max_pixels = BYTES, PHOTO
    if PARAMS_FILE.exists():
        try:
            fetch = load().fetch
        except ParamsError as error:
            sys.exit(str(error))
        max_bytes, max_pixels = fetch.max_bytes, fetch.max_pixels
    if not photo.exists():
        sys.exit(f"PHOTO {photo} does not exist")
    if not photo.is_file():
        sys.exit(f"PHOTO {photo} is not a file")
    with photo.open("rb") as file:
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        sys.exit(f"PHOTO {photo} is too large; allowed: {max_bytes} bytes (fetch.max_bytes)")
    return data, max_pixels
