"""Tiles that repeat without a seam, and large cloths, from the samples of a trained model."""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ganloom.cli.common import (
    NO_ENLARGER,
    SEEDS,
    TRUNCATIONS,
    Commands,
    cannot_write,
    class_number,
    enlarger,
    loaded,
    new_file,
    one_of,
    real,
    trained,
    whole,
)

if TYPE_CHECKING:
    from ganloom.models import Discriminator

# As in ganloom.weaving, which imports torch.
GROUPS = "p1", "pm", "pmm", "cmm", "p4m", "p3m1", "p6m"
BORDERS = "p11", "p11g", "p11m", "pm11", "p112", "pm2g", "pm2m"
SUFFIXES = ".png", ".tif", ".tiff"

SIZES, TILES = (64, 16384), (16, 4096)  # in px
CANDIDATES = 1, 1000


def add(commands: Commands) -> None:
    """Add the command to a parser."""
    weave = commands.add_parser(
        "weave",
        help="write a seamless tile or a large cloth, made from a sample",
        description="Fold a sample of a trained model by a symmetry group, enlarge it, and write "
        "a tile that repeats without a seam, or a cloth of many tiles. The file says what made it.",
        epilog=f"Wallpaper groups: {', '.join(GROUPS)}. Borders: {', '.join(BORDERS)}. "
        "See docs/weaving.md.",
    )
    weave.add_argument("--model", required=True, help="name of the model in params.yaml")
    weave.add_argument("--group", default="p4m", help="symmetries of the field; see below (p4m)")
    weave.add_argument("--seed", default=0, help="same seed, same picture (0)")
    weave.add_argument(
        "--size",
        default="512",
        metavar="PX",
        help="512: up to the size of a tile, one tile of that width; more: a square cloth; "
        "4096x2048: a cloth of that width and height (512)",
    )
    weave.add_argument(
        "--tile", metavar="PX", help="width of a tile, about (512; beside a border, less)"
    )
    weave.add_argument("--dpi", default=300, help="pixels per inch, written into the file (300)")
    weave.add_argument("--border", metavar="GROUP", help="symmetries of a border; see below")
    weave.add_argument(
        "--drift", default=0, metavar="0..1", help="how far the cloth changes towards its rim (0)"
    )
    weave.add_argument(
        "--choose",
        metavar="N",
        help="take that one of the first N samples that the discriminator finds most real",
    )
    weave.add_argument("--truncation", default=1, help="scale of the latents (1)")
    weave.add_argument("--class", dest="label", metavar="NAME", help="class of the sample")
    weave.add_argument(
        "--place",
        default="0,0",
        metavar="X,Y",
        help="part of the sample that is folded, in sides of the sample, 0 to 2 (0,0)",
    )
    weave.add_argument("--out", type=Path, required=True, help="a .png, .tif or .tiff file")
    weave.add_argument("--force", action="store_true", help="replace the file if it exists")
    weave.set_defaults(run=_weave)


class _Plan(NamedTuple):
    """Checked options.

    Attributes:
        cloth: Width and height of the cloth in px; None: one tile alone.
        tile: Width of a tile in px.
    """

    cloth: tuple[int, int] | None
    tile: int
    seed: int
    dpi: int
    drift: float
    choose: int | None
    truncation: float
    place: tuple[float, float]


def _plan(options: argparse.Namespace) -> _Plan:
    """Check the options, without anything heavy."""
    new_file(options.out, SUFFIXES, force=options.force)
    one_of("--group", options.group, GROUPS)
    if options.border is not None:
        one_of("--border", options.border, BORDERS)
    width, height = _size(options.size)
    tile = None if options.tile is None else whole("--tile", options.tile, *TILES)
    drift = real("--drift", options.drift, 0, 1)
    plan = _Plan(
        cloth=(width, height or width),
        tile=tile or 512,
        seed=whole("--seed", options.seed, *SEEDS),
        dpi=whole("--dpi", options.dpi, 1, 4800),
        drift=drift,
        choose=None if options.choose is None else whole("--choose", options.choose, *CANDIDATES),
        truncation=real("--truncation", options.truncation, *TRUNCATIONS),
        place=_place(options.place),
    )
    if options.border is None and height is None and width <= plan.tile:
        if drift:
            sys.exit(
                f"--drift {options.drift} is not possible for one tile; "
                f"for a cloth, allowed: --size {plan.tile + 1} or more"
            )
        return plan._replace(cloth=None, tile=4 * round(width / 4))  # as make_tile does
    return plan


def _size(text: str) -> tuple[int, int | None]:
    """Width and height in px; only a width where the size is one number."""
    low, high = SIZES
    found = re.fullmatch(r"(\d{1,9})(?:x(\d{1,9}))?", text, re.ASCII)
    sides = [int(side) for side in found.groups() if side is not None] if found else []
    if not sides or not all(low <= side <= high for side in sides):
        shown = " ".join(text.split())[:60]
        sys.exit(
            f"--size {shown} is not possible; allowed: a number such as 4096, or WIDTHxHEIGHT such "
            f"as 4096x2048, of {low} to {high} px"
        )
    return sides[0], sides[1] if len(sides) > 1 else None


def _place(text: str) -> tuple[float, float]:
    try:
        x, y = map(float, text.split(","))
    except ValueError:
        x = y = math.nan
    if not (0 <= x <= 2 and 0 <= y <= 2):
        shown = " ".join(text.split())[:60]
        sys.exit(f"--place {shown} is not possible; allowed: X,Y such as 0.5,0.25, each 0 to 2")
    return x, y


def _weave(options: argparse.Namespace) -> None:
    path = trained(options.model)
    plan = _tiled(options, _plan(options))

    import torch

    from ganloom.enlarging import network
    from ganloom.images.shards import sha256
    from ganloom.sampling.files import save
    from ganloom.sampling.latents import new
    from ganloom.weaving import weave
    from ganloom.weaving.groups import moved
    from ganloom.weaving.origin import origin
    from ganloom.weaving.tile import make_tile

    net, about = loaded(path)
    classes = about["classes"] if net.inputs.classes else []
    label = class_number(options.label, options.model, classes, "--class")
    judge = None if plan.choose is None else _judge(path, plan.choose)
    enlarges = enlarger()

    v = new(net.inputs, plan.choose or 1, plan.seed, label)
    v[:, : net.inputs.latent] *= plan.truncation
    number = weave.choose(judge, net, v) if judge else 0
    v = v[number : number + 1]
    pattern = weave.Pattern(options.group, options.border, plan.place)
    samples = weave.pictures(net, weave.drift(net, v, plan.drift, plan.seed))
    with torch.inference_mode():
        if plan.cloth:
            width, height = plan.cloth
            picture = weave.weave(samples, pattern, (height, width), enlarges, plan.tile)
        else:
            picture = make_tile(moved(samples[0], *plan.place), pattern.group, plan.tile, enlarges)
    height, width, _ = picture.shape

    known, at = origin(Path()), _commit()
    facts = weave.facts(
        pattern,
        model=options.model,
        sha256=sha256(path.read_bytes()),
        enlarger=sha256(network.PATH.read_bytes()) if enlarges else None,
        seed=plan.seed,
        number=number,
        truncation=plan.truncation,
        drift=plan.drift,
        choose=plan.choose,
        size=[width, height],
        tile=plan.tile,
        **{"class": classes[int(net.inputs.parts(v)[1].argmax())]} if classes else {},
        **{"commit": at} if at else {},
        **known,
    )
    try:
        save(picture, options.out, facts, plan.dpi)
    except OSError as error:
        cannot_write(options.out, error)

    across, down = (f"{side / plan.dpi * 2.54:.1f}" for side in (width, height))
    print(f"{options.out}: {width} x {height} px, {across} x {down} cm at {plan.dpi} dpi")
    if plan.choose:
        last = plan.choose - 1
        print(f"Sample {number} of 0 to {last}: the discriminator finds it the most real.")
    if not enlarges:
        print(NO_ENLARGER.format("tiles"))
    elif reach := _reach():
        detailed = round(reach * weave.folded(about["resolution"], pattern.group)[1])
        words = f"these have {plan.tile} px"
        if plan.tile > detailed:
            words += ", and finer detail is the enlarger's"
        print(f"The originals have detail for tiles of up to {detailed} px; {words}.")
    if not known:
        print(
            "Whom to credit is not known: data/manifest.csv or data/kept.csv is missing. "
            "To make them: dvc repro curate"
        )


def _commit() -> str:
    """The project's commit for the metadata; "" without one, or if Git refuses to tell it."""
    from ganloom import git

    try:
        return git.commit(Path())
    except git.GitError as error:
        print(f"The file does not name the commit. {error}", file=sys.stderr)
        return ""


def _tiled(options: argparse.Namespace, plan: _Plan) -> _Plan:
    """Settle the width of a tile; ends the command where a border would not fit."""
    if plan.cloth is None:
        return plan

    from ganloom.weaving import weave

    border, shorter, tile = options.border, min(plan.cloth), plan.tile
    if border and options.tile is None:
        tile = weave.tile_beside(border, shorter)
    tile = max(4, 4 * round(weave.tile_within(plan.cloth[0], tile) / 4))  # as make_tile does
    if border and weave.deep(border, tile) > shorter // 2:
        most = tile * (shorter // 2) // weave.deep(border, tile)
        sys.exit(
            f"--tile {options.tile or tile} is not possible: the border would be deeper than half "
            f"of the cloth; allowed: {TILES[0]} to {most}"
        )
    return plan._replace(tile=tile)


def _judge(path: Path, choose: int) -> Discriminator:
    """The discriminator beside a generator; ends the command where it cannot be used."""
    from ganloom.models import ModelError, load_discriminator

    try:
        return load_discriminator(path.with_name("discriminator.safetensors"), "cpu")[0]
    except ModelError as error:
        sys.exit(f"--choose {choose} is not possible: {error}")


def _reach() -> float | None:
    """How many times the model's side the originals have detail for, where that is known."""
    try:
        reach = json.loads(Path("results/enlarger/enlarger.json").read_bytes())["reach"]
        return float(reach) if math.isfinite(reach) and reach > 0 else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
