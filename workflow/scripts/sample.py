"""Pictures from a trained generator: a grid, interpolations, classes, codes, an animation."""

import json
import sys
from pathlib import Path

from prelude import begin

params = begin()

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from ganloom.images import grid, save_png
from ganloom.models import load_generator
from ganloom.sampling.animation import enlarged, save_mp4, save_webp
from ganloom.sampling.conditional import (
    Knob,
    class_knob,
    code_knobs,
    morphs,
    stacked,
    turned,
)
from ganloom.sampling.generate import generate
from ganloom.sampling.latents import inputs, loop, paths

# Small pictures are enlarged in the animations: a player would blur them.
MP4_SIDE = 512
WEBP_SIDE = 256
# What a post or a README can carry.
WEBP_BYTES = 1_500_000


def main() -> None:
    name = sys.argv[1]
    torch.set_num_threads(params.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    net, about = load_generator(Path(f"results/models/{name}/generator.safetensors"), device)
    told, seed, sample = net.inputs, params.seed, params.sample
    folder = Path(f"results/samples/{name}")

    def drawn(n: int, stream: str) -> Tensor:
        """What the generator is told: (n, width)."""
        v = inputs(told, n, seed, stream)
        v[:, : told.latent] *= sample.truncation
        return v

    def table(v: Tensor, knob: Knob) -> NDArray[np.uint8]:
        """A row of pictures for each v, a column for each setting."""
        every = turned(v, knob)
        return grid(generate(net, every.flatten(0, 1)), every.shape[1])

    save_png(grid(generate(net, drawn(sample.grid**2, "grid")), sample.grid), folder / "grid.png")

    # Along an interpolation, and in the animation, class and code stay as they are.
    strips = generate(net, paths(drawn(2 * sample.strips, "interpolation"), told, sample.steps))
    save_png(grid(strips, sample.steps), folder / "interpolation.png")

    # One z along each row: whatever differs in it is the class, or the code.
    if told.classes:
        save_png(table(drawn(sample.grid, "classes"), class_knob(told)), folder / "classes.png")
        names = {"classes": about["classes"]}
        (folder / "classes.json").write_text(json.dumps(names, indent=2) + "\n")
        rows = drawn(told.classes, "class_morph").split(1)
        steps = [table(*row) for row in zip(rows, morphs(told, sample.steps), strict=True)]
        save_png(np.concatenate(steps), folder / "class_morph.png")
    if told.coded:
        v = drawn(sample.strips, "codes")
        tables = [table(v, knob) for knob in code_knobs(told, sample.steps)]
        save_png(stacked(tables, about["resolution"] // 2), folder / "codes.png")

    walkers = sample.loop_grid**2
    walks = sample.truncation * loop(walkers, told.latent, sample.loop_frames, seed, "loop")
    rest = drawn(walkers, "loop")[:, told.latent :]
    frames = np.stack(
        [
            grid(generate(net, torch.cat([z, rest], dim=1)), sample.loop_grid)
            for z in tqdm(walks, "frames", mininterval=1)
        ]
    )
    save_mp4(enlarged(frames, MP4_SIDE), folder / "loop.mp4", sample.fps)
    save_webp(enlarged(frames, WEBP_SIDE), folder / "loop.webp", sample.fps, WEBP_BYTES)
    print(f"{name}: a grid, {sample.strips} interpolations, {len(frames)} frames in {folder}")


if __name__ == "__main__":
    main()
