"""Measure the limits of this machine: `python benchmarks/limits.py`.

Rates that stages are compared with, for one core, as medians of several rounds: decoding the images
of the other benchmarks with Pillow, hashing, copying memory, multiplying matrices, and computing
the features of the metrics. A stage that takes little longer than decoding its files cannot be made
much faster.
"""

from __future__ import annotations

import hashlib
import io
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import dedup_scale
import fetching
import numpy as np
import slices
import torch
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from ganloom.features import LITE0, LITE2, features

ROUNDS = 5
PICTURES = 40
BYTES = 1 << 28
SIDE = 2048


def decode(files: list[bytes], side: int | None) -> None:
    """To pixels; with a side, at the smallest of JPEG's scales that is not below it."""
    for data in files:
        with Image.open(io.BytesIO(data)) as image:
            if side:
                image.draft("RGB", (side, side))
            image.load()


def seconds(work: Callable[[], object]) -> float:
    def once() -> float:
        begun = time.perf_counter()
        work()
        return time.perf_counter() - begun

    once()  # nobody is charged for what is loaded now
    return statistics.median(once() for _ in range(ROUNDS))


def main() -> None:
    dedup_scale.FILES = PICTURES
    with tempfile.TemporaryDirectory() as folder:
        dedup_scale.write_jpegs(Path(folder))
        large = [path.read_bytes() for path in Path(folder).iterdir()]
    pictures = {
        "fetching.py": [fetching.picture(seed) for seed in range(PICTURES)],
        "slices.py": [slices.photograph(seed) for seed in range(PICTURES)],
        "dedup_scale.py": large,
    }
    for script, files in pictures.items():
        size = sum(map(len, files)) / PICTURES / 1000
        for how, side in {"whole": None, "at least 128 px": 128}.items():
            spent = 1000 * seconds(partial(decode, files, side)) / PICTURES
            print(f"decode a JPEG of {script:15} ({size:3.0f} kB), {how:16}{spent:8.2f} ms")

    data = bytes(BYTES)
    print(f"SHA-256{BYTES / seconds(lambda: hashlib.sha256(data)) / 1e9:54.2f} GB/s")
    source, target = np.ones(BYTES, np.uint8), np.empty(BYTES, np.uint8)
    rate = BYTES / seconds(lambda: np.copyto(target, source)) / 1e9
    print(f"copy memory{rate:50.2f} GB/s")
    torch.set_num_threads(1)
    a = torch.randn(SIDE, SIDE)
    print(f"multiply matrices, fp32{2 * SIDE**3 / seconds(lambda: a @ a) / 1e9:38.0f} GFLOP/s")
    faces = np.random.default_rng(1).integers(0, 256, (PICTURES, 64, 64, 3), np.uint8)
    for weights in (LITE0, LITE2):
        with FlopCounterMode(display=False) as counter:
            features(faces, weights)
        spent = seconds(partial(features, faces, weights))
        rate = counter.get_total_flops() / spent / 1e9
        how = f"{rate:4.0f} GFLOP/s,{1000 * spent / PICTURES:6.2f} ms a picture"
        print(f"features of {weights.network:30}{how}")


if __name__ == "__main__":
    main()
