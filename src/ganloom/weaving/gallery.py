"""Enlarged samples, tiles and a cloth of one model: the output of the stage `weave`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ganloom import params
from ganloom.enlarging import proof
from ganloom.enlarging.crops import Originals
from ganloom.enlarging.network import PATH, Enlarger, enlarge, find
from ganloom.images.encoding import save_png
from ganloom.images.sheets import grid
from ganloom.models import Generator, load_discriminator, load_generator
from ganloom.sampling.animation import save
from ganloom.sampling.generate import generate
from ganloom.sampling.latents import inputs, new
from ganloom.sampling.paths import closed_path
from ganloom.weaving.native import is_torus
from ganloom.weaving.weave import (
    ClothPattern,
    choose,
    cloth_of,
    drift,
    is_whole,
    pictures,
    tile_of,
)

SHOWN = 128  # least px of a sample in the sheet of enlarged samples
FILM_TILE = 256  # px
CLOTH_SIDE, CLOTH_QUALITY = 1024, 80  # of the preview for web pages


class Sampling(NamedTuple):
    """How samples are drawn and shown.

    Attributes:
        seed: Seed of every random draw.
        truncation: Scale of the latents.
        grid: Side of the sheet of samples, in samples.
        frames: Number of frames of the film.
        fps: Frames per second of the film.
    """

    seed: int
    truncation: float
    grid: int
    frames: int
    fps: int


def enlarged(
    project: Path,
    home: Path,
    out: Path,
    sampling: Sampling,
    *,
    augment: params.Slices | params.Whole,
    evaluate: params.Evaluate,
    max_pixels: int,
) -> dict[str, Any]:
    """Enlarge samples of a model, and measure their distances to originals.

    Args:
        project: Folder with ``data`` and the enlarger.
        home: Folder of the model, with ``generator.safetensors``.
        out: Folder for ``enlarged.png``, a sheet of enlarged samples.
        sampling: How samples are drawn.
        augment: Section ``augment``.
        evaluate: Section ``evaluate``.
        max_pixels: Limit of the size of an original.

    Returns:
        By side in px: the distances of samples that were enlarged and of samples that were
        interpolated, each to real images of that side; {} without an enlarger.
    """
    enlarger = find(project)
    if enlarger is None:
        return {}
    net, info = load_generator(home / "generator.safetensors", "cpu")
    resolution = info.resolution
    v = inputs(net.inputs, sampling.grid**2, sampling.seed, "grid")
    v[:, : net.inputs.latent] *= sampling.truncation
    doublings = max(1, int(np.ceil(np.log2(SHOWN / resolution))))
    sheet = grid(enlarge(enlarger, generate(net, v), doublings), sampling.grid)
    save_png(sheet, out / "enlarged.png")

    known = json.loads((project / PATH).with_suffix(".json").read_text())
    originals = Originals(project / "data/raw", augment, max_pixels)
    reach = known["reach"] * augment.resolution / resolution
    samples = generate(net, inputs(net.inputs, proof.MOST, sampling.seed, "evaluate"))
    found = {}
    for number, side in enumerate(proof.sizes(resolution, reach), start=1):
        pair = proof.real_beside(originals, project / "data/slices", side, sampling.seed)
        if pair is None:
            continue
        made = {
            "enlarger": enlarge(enlarger, samples, number),
            "bicubic": proof.interpolated(samples, side),
        }
        found[str(side)] = {
            name: proof.distances(pair[0], fake, evaluate, sampling.seed)
            for name, fake in made.items()
        }
    return found


def woven(
    project: Path, home: Path, out: Path, sampling: Sampling, section: params.Weave
) -> dict[str, int]:
    """Make tiles, a cloth and a film of the sample with the highest discriminator output.

    Args:
        project: Folder with the enlarger, if there is one.
        home: Folder of the model, with ``generator.safetensors`` and ``discriminator.safetensors``.
        out: Folder for ``sample.png``, a tile of each group (``tile_<group>.png``), ``cloth.png``,
            its preview ``cloth.webp``, and ``loop.mp4``.
        sampling: How samples are drawn.
        section: Section ``weave``.

    Returns:
        ``number`` of the sample, of how many it was chosen (``of``), and whether the cloth was
        generated as a whole (``whole``) instead of repeating the sample.
    """
    enlarger = find(project)
    net, _ = load_generator(home / "generator.safetensors", "cpu")
    v = new(net.inputs, section.choose, sampling.seed)
    v[:, : net.inputs.latent] *= sampling.truncation
    number = 0
    if section.choose > 1:
        judge, _ = load_discriminator(home / "discriminator.safetensors", "cpu")
        number = choose(judge, net, v)
    v = drift(net, v[number : number + 1], section.drift, sampling.seed)
    sample = pictures(net, v[:1])[0]
    save_png(sample, out / "sample.png")
    for group in section.groups:
        pattern = ClothPattern(group)
        tile = tile_of(sample, pattern, section.tile, enlarger, periodic=is_torus(net))
        save_png(tile, out / f"tile_{group}.png")
    pattern = ClothPattern(section.groups[0], section.border)
    cloth = cloth_of(
        net,
        v,
        pattern,
        (section.size, section.size),
        enlarger=enlarger,
        tile=section.tile,
        seed=sampling.seed,
    )
    save_png(cloth, out / "cloth.png")
    shown = Image.fromarray(cloth).resize((CLOTH_SIDE, CLOTH_SIDE), Image.Resampling.LANCZOS)
    shown.save(out / "cloth.webp", quality=CLOTH_QUALITY, method=6)
    save(_film(net, pattern.group, sampling, enlarger), out / "loop.mp4", sampling.fps)
    return {"number": number, "of": section.choose, "whole": is_whole(net, pattern.group)}


def _film(
    net: Generator, group: str, sampling: Sampling, enlarger: Enlarger | None
) -> NDArray[np.uint8]:
    """Make tiles along a closed path through the latents: (T, H, W, 3)."""
    path = closed_path("loop", net.inputs, 1, sampling.frames, sampling.seed)
    path[..., : net.inputs.latent] *= sampling.truncation
    samples = pictures(net, path[:, 0])
    pattern = ClothPattern(group)
    tiles = [
        tile_of(sample, pattern, FILM_TILE, enlarger, periodic=is_torus(net)) for sample in samples
    ]
    return np.stack([np.tile(tile, (2, 2, 1)) for tile in tiles])
