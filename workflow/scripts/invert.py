"""Reconstruct real images with one model (GAN inversion), and edit the reconstructions."""

import sys
from pathlib import Path

from prelude import begin

params = begin()

import torch

from ganloom.device import best_device
from ganloom.reconstruction import reconstruct
from ganloom.slices import Slices


def main(name: str) -> None:
    torch.set_num_threads(params.threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    device = best_device()
    home, out = Path(f"results/models/{name}"), Path(f"results/inversions/{name}")
    slices = Slices(Path("data/slices"))
    found = reconstruct(name, home, slices, params.invert, seed=params.seed, out=out, device=device)
    median = found["median"]
    print(f"{name}: PSNR {median['psnr']:.1f} dB, MS-SSIM {median['ms_ssim']:.2f} in {out}")


if __name__ == "__main__":
    main(sys.argv[1])
