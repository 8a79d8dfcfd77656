"""Compare an enlarger with bicubic interpolation on unseen images.

    python benchmarks/enlarging.py FOLDER [KIMG]

Trains on four fifths of the images in a folder and measures on the others; images whose names are
equal up to the first `_` stay together. Crops of 64 px are halved and restored. Prints means of
PSNR, SSIM and the perceptual distance (``ganloom.enlarging.proof.likeness``), and the time.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import numpy as np
import torch

from ganloom import params
from ganloom.enlarging import proof
from ganloom.enlarging.crops import Originals, cut
from ganloom.enlarging.training import train
from ganloom.images.decoding import ImageError, probe
from ganloom.images.shards import sha256, write_shards

MAX_PIXELS = 50_000_000
CROPS, MEASURED = 4096, 256
AUGMENT = params.Slices(
    mode="slices",
    resolution=32,
    border=12,
    symmetries=8,
    count=1,
    holdout_count=1,
    sizes=[64],
    max_angle=0.0,
)


def main(folder: Path, kimg: float) -> None:
    torch.set_num_threads(1)
    found: dict[str, list[tuple[str, str, bytes]]] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        data = path.read_bytes()
        try:
            extension = probe(data, MAX_PIXELS).extension
        except ImageError:
            continue
        group = found.setdefault(path.stem.partition("_")[0], [])
        group.append((sha256(data), extension, data))
    names = np.random.default_rng(0).permutation(sorted(found))
    held = set(names[: len(names) // 5])
    section = params.Enlarge(kimg=kimg, channels=32, layers=8, adversarial=0.01)
    with tempfile.TemporaryDirectory() as temporary:
        write_shards(Path(temporary), (item for group in found.values() for item in group))
        originals = Originals(Path(temporary), AUGMENT, MAX_PIXELS)
        seen, unseen = (
            sorted({digest for name in some for digest, *_ in found[name]})
            for some in (set(names) - held, held)
        )
        crops = cut(originals, seen, CROPS, seed=1)
        measured = cut(originals, unseen, MEASURED, seed=1)
        began = time.process_time()
        net = train(section, crops, seed=1, threads=1, work=Path(temporary))
        seconds = time.process_time() - began
    print(f"{folder.name}: {len(seen)} pictures, {kimg:g} kimg in {seconds:.0f} s of a core")
    print(f"{'':10}{'PSNR':>8}{'SSIM':>8}{'perceptual':>12}")
    for name, pictures in zip(("bicubic", "enlarger"), proof.restored(net, measured), strict=True):
        row = proof.likeness(measured, pictures)
        print(f"{name:10}{row['psnr']:8.2f}{row['ssim']:8.3f}{row['perceptual']:12.4f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else 24.0)
