"""Pictures from a trained generator: a grid, interpolations, an endless animation."""

import sys
from pathlib import Path

from prelude import begin

params = begin()

import numpy as np
import torch
from tqdm import tqdm

from ganloom.images import grid, save_png
from ganloom.models import load_generator
from ganloom.sampling.animation import enlarged, save_mp4, save_webp
from ganloom.sampling.generate import generate
from ganloom.sampling.latents import latents, loop, slerp

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
    dim, seed, sample = about["generator"]["latent"], params.seed, params.sample
    folder = Path(f"results/samples/{name}")

    z = latents(sample.grid**2, dim, seed, "grid")
    pictures = generate(net, sample.truncation * z)
    save_png(grid(pictures, sample.grid), folder / "grid.png")

    start, end = latents(2 * sample.strips, dim, seed, "interpolation").chunk(2)
    z = slerp(start, end, torch.linspace(0, 1, sample.steps)).transpose(0, 1).flatten(0, 1)
    pictures = generate(net, sample.truncation * z)
    save_png(grid(pictures, sample.steps), folder / "interpolation.png")

    walks = loop(sample.loop_grid**2, dim, sample.loop_frames, seed, "loop")
    frames = np.stack(
        [
            grid(generate(net, sample.truncation * z), sample.loop_grid)
            for z in tqdm(walks, "frames", mininterval=1)
        ]
    )
    save_mp4(enlarged(frames, MP4_SIDE), folder / "loop.mp4", sample.fps)
    save_webp(enlarged(frames, WEBP_SIDE), folder / "loop.webp", sample.fps, WEBP_BYTES)
    print(f"{name}: a grid, {sample.strips} interpolations, {len(frames)} frames in {folder}")


if __name__ == "__main__":
    main()
