"""Pictures from a trained generator: a grid, interpolations, an endless animation."""

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
from ganloom.sampling.generate import generate
from ganloom.sampling.latents import inputs, loop, slerp

# Small pictures are enlarged in the animations: a player would blur them.
MP4_SIDE = 512
WEBP_SIDE = 256
# What a post or a README can carry.
WEBP_BYTES = 1_500_000


def main() -> None:
    name = sys.argv[1]
    torch.set_num_threads(params.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    net, _ = load_generator(Path(f"results/models/{name}/generator.safetensors"), device)
    told, seed, sample = net.inputs, params.seed, params.sample
    folder = Path(f"results/samples/{name}")

    def pictures(z: Tensor, rest: Tensor) -> NDArray[np.uint8]:
        """(N, R, R, 3) of latents and of what else the generator is told."""
        return generate(net, torch.cat([sample.truncation * z, rest], dim=1))

    def drawn(n: int, stream: str) -> tuple[Tensor, Tensor]:
        """Latents (n, latent) and the rest (n, width - latent)."""
        v = inputs(told, n, seed, stream)
        return v[:, : told.latent], v[:, told.latent :]

    save_png(grid(pictures(*drawn(sample.grid**2, "grid")), sample.grid), folder / "grid.png")

    # Along an interpolation, and in the animation, class and code stay as they are.
    z, rest = drawn(2 * sample.strips, "interpolation")
    path = slerp(*z.chunk(2), torch.linspace(0, 1, sample.steps)).transpose(0, 1).flatten(0, 1)
    strips = pictures(path, rest[: sample.strips].repeat_interleave(sample.steps, dim=0))
    save_png(grid(strips, sample.steps), folder / "interpolation.png")

    walkers = sample.loop_grid**2
    walks = loop(walkers, told.latent, sample.loop_frames, seed, "loop")
    _, rest = drawn(walkers, "loop")
    frames = np.stack(
        [grid(pictures(z, rest), sample.loop_grid) for z in tqdm(walks, "frames", mininterval=1)]
    )
    save_mp4(enlarged(frames, MP4_SIDE), folder / "loop.mp4", sample.fps)
    save_webp(enlarged(frames, WEBP_SIDE), folder / "loop.webp", sample.fps, WEBP_BYTES)
    print(f"{name}: a grid, {sample.strips} interpolations, {len(frames)} frames in {folder}")


if __name__ == "__main__":
    main()
