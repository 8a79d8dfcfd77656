"""How the stages on pictures grow: `python benchmarks/growth.py [COUNT ...]`.

Runs search, fetch, dedup, curate and augment, as the engines do, on so many made-up JPEG of 128 px
(1,000, 10,000 and 100,000 unless told), with as many slices of 32 px. Prints for each stage seconds
of the processors a thousand pictures, which stay the same where a stage grows in a straight line,
and the peak memory of its largest process. Training, sampling and measuring look at a number of
pictures that params.yaml gives, whatever the collection's; training has all slices at hand, and a
second table says what that takes, up to a million of them.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from ruamel.yaml import YAML

from ganloom import recipes

ROOT = Path(__file__).resolve().parents[1]
COUNTS = (1_000, 10_000, 100_000)
STAGES = ("search mine", "fetch", "dedup", "curate", "augment")
SLICES = (1_000, 10_000, 100_000, 1_000_000)
STEPS = 2000


def main(counts: tuple[int, ...]) -> None:
    measured: dict[str, list[tuple[float, float]]] = {stage: [] for stage in STAGES}
    for count in counts:
        with tempfile.TemporaryDirectory() as folder:
            project = make(Path(folder), count)
            for stage in STAGES:
                measured[stage].append(run(project, *stage.split()))
                seconds, peak = measured[stage][-1]
                print(f"{count:>9,} {stage:12}{seconds:9.1f} s{peak:9.0f} MB", flush=True)
    print(f"\n{'':12}" + "".join(f"{count:>24,}" for count in counts))
    for stage, row in measured.items():
        cells = [
            f"{1000 * s / n:9.2f} s/1000 {p:5.0f} MB" for n, (s, p) in zip(counts, row, strict=True)
        ]
        print(f"{stage:12}" + " ".join(cells))

    print(f"\n{'slices':>9}{'index, MB':>12}{'loaded in s':>12}{'ms a batch':>12}{'peak MB':>12}")
    spawn = multiprocessing.get_context("spawn")
    for count in SLICES:
        process = spawn.Process(target=read, args=(count,))
        process.start()
        process.join()
        if process.exitcode:
            sys.exit(f"reading {count:,} slices failed")


def read(count: int) -> None:
    """Batches of 16 of so many slices, an eighth as many crops of 32 px in eight symmetries."""
    sys.path.insert(0, str(ROOT / "src"))
    import torch  # noqa: PLC0415

    from ganloom.training import data  # noqa: PLC0415

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        folder, crops = Path(temporary), count // 8
        np.save(folder / "images.npy", np.zeros((crops, 32, 32, 3), np.uint8))
        number = np.arange(count)
        shas = [f"{image:064x}" for image in number // 80]
        index = pd.DataFrame({"image": number // 8, "symmetry": number % 8, "sha256": shas})
        index["label"] = "a"
        index.to_parquet(folder / "index.parquet")
        before = time.perf_counter()
        images = data.load(folder, 32, 16, 1, torch.device("cpu"))
        loaded = time.perf_counter()
        for step in range(STEPS):
            images.batch(step, 16)
        read = time.perf_counter()
        size = (folder / "index.parquet").stat().st_size / 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{count:9,}{size:12.1f}{loaded - before:12.2f}{1000 * (read - loaded) / STEPS:12.2f}"
        f"{peak:12,.0f}",
        flush=True,
    )


def make(folder: Path, count: int) -> Path:
    """A project with a folder of pictures, each unlike all others."""
    pictures = folder / "pictures"
    pictures.mkdir()
    rng = np.random.default_rng(0)
    for number in range(count):
        small = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        large = small.resize((128, 128), Image.Resampling.BICUBIC)
        large.save(pictures / f"{number:06}.jpg", quality=90)
    for name in ("src", "workflow"):
        (folder / name).symlink_to(ROOT / name)
    yaml = YAML(typ="safe")
    params = recipes.values(ROOT / "recipes/tiny.yaml", ROOT)
    params["sources"] = {"mine": {"kind": "folder", "path": "pictures", "licence": "CC0-1.0"}}
    params["augment"] |= {"count": count, "holdout_count": count // 10, "resolution": 32}
    params["threads"] = 2
    yaml.dump(params, folder / "params.yaml")
    return folder


def run(project: Path, script: str, *arguments: str) -> tuple[float, float]:
    """Seconds of all processors, and MB of the largest process."""
    command = [sys.executable, f"workflow/scripts/{script}.py", *arguments]
    process = subprocess.Popen(command, cwd=project, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{script} failed")
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


if __name__ == "__main__":
    main(tuple(int(text) for text in sys.argv[1:]) or COUNTS)
