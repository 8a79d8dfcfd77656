"""Seamless tiles and large cloths from samples of a trained model."""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ganloom.cli.common import (
    FORCE,
    NO_ENLARGER,
    SEEDS,
    TRUNCATIONS,
    Commands,
    cannot_write,
    class_number,
    enlarger,
    facts,
    loaded,
    new_file,
    one_of,
    real,
    trained,
    whole,
)

if TYPE_CHECKING:
    from ganloom.models import Discriminator

# The same as in ganloom.weaving, which imports torch.
GROUPS = "p1", "pm", "pmm", "cmm", "p4m", "p3m1", "p6m"
BORDERS = "p11", "p11g", "p11m", "pm11", "p112", "pm2g", "pm2m"
SUFFIXES = ".png", ".tif", ".tiff"

SIZES, TILES = (64, 16384), (16, 4096)  # in px
CANDIDATES = 1, 1000


def add(commands: Commands) -> None:
    """Add the command to a parser."""
    weave = commands.add_parser(
        "weave",
        help="write a seamless tile or a large cloth from a sample",
        description="Fold a sample of a trained model by a symmetry group, enlarge it, and write "
        "a seamless tile or a cloth of many tiles. The settings are in the file's metadata.",
        epilog=f"Wallpaper groups: {', '.join(GROUPS)}. Borders: {', '.join(BORDERS)}. "
        "See docs/weaving.md.",
    )
    weave.add_argument("--model", required=True, help="name of the model in params.yaml")
    weave.add_argument(
        "--group", default="p4m", help="wallpaper group of the tile; see below (p4m)"
    )
    weave.add_argument("--seed", default=0, help="seed of the sample (0)")
    weave.add_argument(
        "--size",
        default="512",
        metavar="PX",
        help="side of a square cloth, or width of a single tile if it is at most that of a tile; "
        "4096x2048: a cloth of that width and height (512)",
    )
    weave.add_argument(
        "--tile", metavar="PX", help="approximate width of a tile (512; less with a border)"
    )
    weave.add_argument("--dpi", default=300, help="print resolution, stored in the file (300)")
    weave.add_argument("--border", metavar="GROUP", help="frieze group of a border; see below")
    weave.add_argument(
        "--drift",
        default=0,
        metavar="0..1",
        help="strength of the change from the centre to the edges (0)",
    )
    weave.add_argument(
        "--choose",
        metavar="N",
        help="use the one of the first N samples with the highest discriminator output",
    )
    weave.add_argument("--truncation", default=1, help="scale of the latents (1)")
    weave.add_argument("--class", dest="label", metavar="NAME", help="class of the sample")
    weave.add_argument(
        "--place",
        default="0,0",
        metavar="X,Y",
        help="position of the tile on the sample, in sides of the sample, 0 to 2 (0,0)",
    )
    weave.add_argument("--out", type=Path, required=True, help="a .png, .tif or .tiff file")
    weave.add_argument("--force", action="store_true", help=FORCE)
    weave.set_defaults(run=_weave)


class _Plan(NamedTuple):
    """Checked options.

    Attributes:
        cloth: Width and height of the cloth in px; None for a single tile.
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
    """Validate the options, without importing torch."""
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
    """Parse width and height in px; the height is None if the size is one number."""
    low, high = SIZES
    match = re.fullmatch(r"(\d{1,9})(?:x(\d{1,9}))?", text, re.ASCII)
    sides = [int(side) for side in match.groups() if side is not None] if match else []
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
    files = trained(options.model)
    plan = _tiled(options, _plan(options))

    import torch

    from ganloom.enlarging import network
    from ganloom.images.shards import sha256
    from ganloom.sampling.latents import new
    from ganloom.sampling.saving import save
    from ganloom.weaving import weave
    from ganloom.weaving.native import is_torus

    net, info = loaded(files.generator)
    classes = info.classes
    label = class_number(options.label, options.model, classes, "--class")
    judge = None if plan.choose is None else _judge(files.discriminator, plan.choose)
    enlarges = enlarger()

    v = new(net.inputs, plan.choose or 1, plan.seed, label)
    v[:, : net.inputs.latent] *= plan.truncation
    number = weave.choose(judge, net, v) if judge else 0
    v = v[number : number + 1]
    pattern = weave.ClothPattern(options.group, options.border, plan.place)
    with torch.inference_mode():
        if plan.cloth:
            walk, size = weave.drift(net, v, plan.drift, plan.seed), plan.cloth[::-1]
            picture = weave.cloth_of(
                net, walk, pattern, size, enlarger=enlarges, tile=plan.tile, seed=plan.seed
            )
        else:
            sample = weave.pictures(net, v)[0]
            periodic = is_torus(net)
            picture = weave.tile_of(sample, pattern, plan.tile, enlarges, periodic=periodic)
    height, width, _ = picture.shape

    made = facts(
        options.model,
        files,
        **weave.facts(pattern),
        enlarger=sha256(network.PATH.read_bytes()) if enlarges else None,
        seed=plan.seed,
        number=number,
        truncation=plan.truncation,
        drift=plan.drift,
        choose=plan.choose,
        size=[width, height],
        tile=plan.tile,
        **{"class": classes[int(net.inputs.parts(v)[1].argmax())]} if classes else {},
    )
    try:
        save(picture, options.out, made, plan.dpi)
    except OSError as error:
        cannot_write(options.out, error)

    across, down = (f"{side / plan.dpi * 2.54:.1f}" for side in (width, height))
    print(f"{options.out}: {width} x {height} px, {across} x {down} cm at {plan.dpi} dpi")
    if plan.choose:
        last = plan.choose - 1
        print(f"Sample {number} of 0 to {last}, with the highest discriminator output.")
    if not enlarges:
        print(NO_ENLARGER.format("tiles"))
    elif reach := _reach():
        detailed = round(reach * weave.folded(info.resolution, pattern.group)[1])
        words = f"these have {plan.tile} px"
        if plan.tile > detailed:
            words += ", so finer detail is from the enlarger"
        print(f"The originals have detail for tiles of up to {detailed} px; {words}.")
    if "licences" not in made:
        print(
            "The metadata lack credits: data/manifest.csv or data/kept.csv is missing. "
            "To create them: dvc repro curate"
        )


def _tiled(options: argparse.Namespace, plan: _Plan) -> _Plan:
    """Compute the width of a tile; exit if a border would not fit."""
    if plan.cloth is None:
        return plan

    from ganloom.weaving import weave

    border, shorter, tile = options.border, min(plan.cloth), plan.tile
    if border and options.tile is None:
        tile = weave.tile_with_border(border, shorter)
    tile = max(4, 4 * round(weave.tile_within(plan.cloth[0], tile) / 4))  # as make_tile does
    if border and weave.deep(border, tile) > shorter // 2:
        most = tile * (shorter // 2) // weave.deep(border, tile)
        sys.exit(
            f"--tile {options.tile or tile} is not possible: the border would be deeper than half "
            f"of the cloth; allowed: {TILES[0]} to {most}"
        )
    return plan._replace(tile=tile)


def _judge(path: Path, choose: int) -> Discriminator:
    """Load a discriminator; exit if the file is unusable."""
    from ganloom.models import ModelError, load_discriminator

    try:
        return load_discriminator(path, "cpu")[0]
    except ModelError as error:
        sys.exit(f"--choose {choose} is not possible: {error}")


def _reach() -> float | None:
    """Size up to which originals contain detail, in resolutions of a model; None if unknown."""
    try:
        reach = json.loads(Path("results/enlarger/enlarger.json").read_bytes())["reach"]
        return float(reach) if math.isfinite(reach) and reach > 0 else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
