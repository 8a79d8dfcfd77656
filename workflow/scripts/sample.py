"""Sample a generator: a grid, interpolations, classes, codes and animations."""

import json
import sys
from pathlib import Path

from prelude import begin

params = begin()

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ganloom.images.encoding import save_png
from ganloom.images.sheets import grid
from ganloom.models import load_generator
from ganloom.sampling.animation import save, timelapse
from ganloom.sampling.conditional import (
    Knob,
    class_knob,
    code_knobs,
    morphs,
    stacked,
    turned,
)
from ganloom.sampling.generate import film, generate
from ganloom.sampling.latents import inputs, paths
from ganloom.sampling.paths import closed_path, legs


def main() -> None:
    name = sys.argv[1]
    torch.set_num_threads(params.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    net, about = load_generator(Path(f"results/models/{name}/generator.safetensors"), device)
    layout, seed, sample = net.inputs, params.seed, params.sample
    folder = Path(f"results/samples/{name}")
    # Separate from the images, since DVC tries to plot every file in a plots folder.
    films = Path(f"results/animations/{name}")
    films.mkdir(parents=True, exist_ok=True)

    def drawn(n: int, stream: str) -> Tensor:
        """Draw inputs of the generator: (n, width)."""
        v = inputs(layout, n, seed, stream)
        v[:, : layout.latent] *= sample.truncation
        return v

    def table(v: Tensor, knob: Knob) -> NDArray[np.uint8]:
        """Make a row of images for each v, with a column for each setting."""
        every = turned(v, knob)
        return grid(generate(net, every.flatten(0, 1)), every.shape[1])

    save_png(grid(generate(net, drawn(sample.grid**2, "grid")), sample.grid), folder / "grid.png")

    # Class and code are constant along an interpolation and in the animation.
    strips = generate(net, paths(drawn(2 * sample.strips, "interpolation"), layout, sample.steps))
    save_png(grid(strips, sample.steps), folder / "interpolation.png")

    # z is constant along each row, so that only the class or the code differs.
    if layout.classes:
        save_png(table(drawn(sample.grid, "classes"), class_knob(layout)), folder / "classes.png")
        names = {"classes": about["classes"]}
        (films / "classes.json").write_text(json.dumps(names, indent=2) + "\n")
        rows = drawn(layout.classes, "class_morph").split(1)
        steps = [table(*row) for row in zip(rows, morphs(layout, sample.steps), strict=True)]
        save_png(np.concatenate(steps), folder / "class_morph.png")
    if layout.coded:
        v = drawn(sample.strips, "codes")
        tables = [table(v, knob) for knob in code_knobs(layout, sample.steps)]
        save_png(stacked(tables, about["resolution"] // 2), folder / "codes.png")

    # Half a second per class, or value of a code.
    leg = max(2, sample.fps // 2)
    kinds = ["loop", *["morph"] * bool(layout.classes), *["sweep"] * bool(layout.coded)]
    for kind in kinds:
        count = max(sample.loop_frames, leg * legs(kind, layout))
        v = closed_path(kind, layout, sample.loop_grid**2, count, seed)
        v[..., : layout.latent] *= sample.truncation
        frames = film(net, v)
        save(frames, films / f"{kind}.mp4", sample.fps)
        if kind == "loop":
            save(frames, films / "loop.webp", sample.fps)
    timeline = Path(f"results/models/{name}/timeline")
    frames = timelapse(timeline, sample.loop_frames, about["resolution"])
    save(frames, films / "timelapse.mp4", sample.fps)
    print(f"{name}: pictures in {folder}, animations ({', '.join(kinds)}, timelapse) in {films}")


if __name__ == "__main__":
    main()
