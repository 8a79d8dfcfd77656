"""Pictures and animations that show what a model generates: the output of the stage `sample`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ganloom import params
from ganloom.files import write_json
from ganloom.images.encoding import save_png
from ganloom.images.sheets import grid
from ganloom.models import Generator, load_generator
from ganloom.sampling.animation import save, timelapse
from ganloom.sampling.conditional import Knob, class_knob, code_knobs, morphs, stacked, turned
from ganloom.sampling.generate import film, generate
from ganloom.sampling.latents import inputs, paths
from ganloom.sampling.paths import closed_path, legs


def gallery(
    home: Path,
    section: params.Sample,
    *,
    seed: int,
    pictures: Path,
    animations: Path,
    device: torch.device,
) -> list[str]:
    """Write samples of a model as pictures and animations.

    Args:
        home: Folder of the model, with ``generator.safetensors`` and ``timeline``.
        section: Section ``sample``.
        seed: Seed of every random draw.
        pictures: Folder for ``grid.png`` and ``interpolation.png``; for models with classes also
            ``classes.png`` and ``class_morph.png``, for models with codes ``codes.png``.
        animations: Folder for the animations, and the names of the classes (``classes.json``). It
            is separate, since DVC tries to plot every file in a plots folder.
        device: Device on which the network runs.

    Returns:
        Names of the animations.
    """
    net, info = load_generator(home / "generator.safetensors", device)
    resolution = info.resolution
    _pictures(net, section, seed, resolution, pictures)
    animations.mkdir(parents=True, exist_ok=True)
    if net.inputs.classes:
        write_json(animations / "classes.json", {"classes": info.classes})
    kinds = _animations(net, section, seed, animations)
    frames = timelapse(home / "timeline", section.loop_frames, resolution)
    save(frames, animations / "timelapse.mp4", section.fps)
    return [*kinds, "timelapse"]


def _pictures(
    net: Generator, section: params.Sample, seed: int, resolution: int, folder: Path
) -> None:
    layout = net.inputs

    def draw(n: int, stream: str) -> Tensor:
        """Draw inputs of the generator: (n, width)."""
        v = inputs(layout, n, seed, stream)
        v[:, : layout.latent] *= section.truncation
        return v

    def table(v: Tensor, knob: Knob) -> NDArray[np.uint8]:
        """Make a row of images for each v, with a column for each setting."""
        every = turned(v, knob)
        return grid(generate(net, every.flatten(0, 1)), every.shape[1])

    save_png(grid(generate(net, draw(section.grid**2, "grid")), section.grid), folder / "grid.png")

    # Class and code are constant along an interpolation.
    strips = generate(net, paths(draw(2 * section.strips, "interpolation"), layout, section.steps))
    save_png(grid(strips, section.steps), folder / "interpolation.png")

    # z is constant along each row, so that only the class or the code differs.
    if layout.classes:
        save_png(table(draw(section.grid, "classes"), class_knob(layout)), folder / "classes.png")
        rows = draw(layout.classes, "class_morph").split(1)
        steps = [table(*row) for row in zip(rows, morphs(layout, section.steps), strict=True)]
        save_png(np.concatenate(steps), folder / "class_morph.png")
    if layout.coded:
        v = draw(section.strips, "codes")
        tables = [table(v, knob) for knob in code_knobs(layout, section.steps)]
        save_png(stacked(tables, resolution // 2), folder / "codes.png")


def _animations(net: Generator, section: params.Sample, seed: int, folder: Path) -> list[str]:
    """Write an animation of each kind of path that the generator has, and return the kinds."""
    layout = net.inputs
    leg = max(2, section.fps // 2)  # half a second per class, or value of a code
    kinds = ["loop", *["morph"] * bool(layout.classes), *["sweep"] * bool(layout.coded)]
    for kind in kinds:
        count = max(section.loop_frames, leg * legs(kind, layout))
        v = closed_path(kind, layout, section.loop_grid**2, count, seed)
        v[..., : layout.latent] *= section.truncation
        frames = film(net, v)
        save(frames, folder / f"{kind}.mp4", section.fps)
        if kind == "loop":
            save(frames, folder / "loop.webp", section.fps)
    return kinds
