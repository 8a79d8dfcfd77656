"""Measure how fast slices are cut: `python benchmarks/slices.py`.

Cuts 25,000 distinct slices of 64 px from 400 synthetic photographs of about 500 px, in two
processes, and some of them with a plain Pillow loop that crops, rotates, resizes, saves as JPEG and
reads back. Prints wall-clock time and CPU time, which hardly depends on other programs.
"""

from __future__ import annotations

import io
import multiprocessing
import resource
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import numpy as np
from PIL import Image

from ganloom import augment
from ganloom.images.shards import sha256, write_shards
from ganloom.params import Slices

ORIGINALS = 400
COUNT = 25_000
PLAIN = 500
WORKERS = 2
SECTION = Slices(
    mode="slices",
    resolution=64,
    border=12,
    symmetries=1,
    count=COUNT,
    holdout_count=1,
    sizes=[128, 192, 256],
    max_angle=15.0,
)


WHO = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)


class Stopwatch:
    """Seconds on the clock and of the processors, ended child processes included."""

    def __enter__(self) -> Stopwatch:
        self.wall, self.cpu = self._now()
        return self

    def __exit__(self, *_: object) -> None:
        wall, cpu = self._now()
        self.wall, self.cpu = wall - self.wall, cpu - self.cpu

    @staticmethod
    def _now() -> tuple[float, float]:
        usages = [resource.getrusage(who) for who in WHO]
        return time.perf_counter(), sum(usage.ru_utime + usage.ru_stime for usage in usages)


def photograph(seed: int) -> bytes:
    """A JPEG with edges and texture at every scale."""
    rng = np.random.default_rng(seed)
    width, height = rng.integers(400, 600, 2)
    layers = [
        np.asarray(
            Image.fromarray(rng.integers(0, 256, (size, size, 3), np.uint8)).resize((width, height))
        )
        for size in (4, 32, 256)
    ]
    file = io.BytesIO()
    Image.fromarray(np.mean(layers, axis=0).astype(np.uint8)).save(file, "JPEG", quality=90)
    return file.getvalue()


def plain_loop(originals: list[bytes]) -> None:
    """What such a stage usually is."""
    rng = np.random.default_rng(0)
    for i in range(PLAIN):
        image = Image.open(io.BytesIO(originals[i % len(originals)])).convert("RGB")
        side = int(rng.choice(SECTION.sizes))
        x, y = (int(rng.integers(0, extent - side + 1)) for extent in image.size)
        turned = image.crop((x, y, x + side, y + side)).rotate(
            rng.uniform(-15, 15), Image.Resampling.BICUBIC
        )
        file = io.BytesIO()
        turned.resize((64, 64), Image.Resampling.LANCZOS).save(file, "JPEG", quality=90)
        np.asarray(Image.open(file))


def main() -> None:
    originals = [photograph(seed) for seed in range(ORIGINALS)]
    with tempfile.TemporaryDirectory() as folder:
        named = {sha256(data): data for data in originals}
        write_shards(Path(folder), [(d, "jpg", data) for d, data in named.items()])
        job = augment.CropJob(Path(folder), Path(folder) / "images.npy", SECTION, 1, 10**6)
        spawn = multiprocessing.get_context("spawn")
        with Stopwatch() as ours, ProcessPoolExecutor(WORKERS, mp_context=spawn) as pool:
            augment.make(job, dict.fromkeys(named, ""), COUNT, (0,), pool)
    parent, child = (resource.getrusage(who).ru_maxrss / 1024 for who in WHO)
    with Stopwatch() as plain:
        plain_loop(originals)

    print(f"{'':24}{'seconds':>9}{'CPU s':>9}{'slices/CPU s':>14}{'peak MB':>9}")
    for name, count, watch, memory in (
        (f"ganloom, {WORKERS} processes", COUNT, ours, f"{parent + WORKERS * child:.0f}"),
        (f"plain loop, {PLAIN} only", PLAIN, plain, ""),
    ):
        rate = count / watch.cpu
        print(f"{name:24}{watch.wall:9.1f}{watch.cpu:9.1f}{rate:14.0f}{memory:>9}")


if __name__ == "__main__":
    main()
