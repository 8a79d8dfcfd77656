"""Seconds of training until the KID falls under a threshold.

    python benchmarks/time_to_kid.py          # reckoned 20 minutes on two idle cores, no network
    python benchmarks/time_to_kid.py --seconds 60 --thresholds 1.5 1

Two models of recipes/kene.yaml, `dcgan` and `dcgan_diffaug`, as ganloom trains them, beside the
plain PyTorch loop of plain_loops.py on the networks of `dcgan`. All see the same slices, which the
stages make in a temporary project; the plain loop reads them from PNG files. Every four thousand
images the generator is looked at as a training's judge does: KID-lite2 to 256 pictures of one half
of the holdout, from the same latents each time. Looks are not counted, ganloom's averaging,
calibration, frames and checkpoints are. Each training has one thread and a process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

# As stages do (workflow/scripts/prelude.py): before torch is imported.
os.environ |= {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import numpy as np
import pandas as pd
import pipeline
import torch
from PIL import Image
from plain_loops import Training
from torch import nn

from ganloom import params
from ganloom.images.arrays import apply_symmetry
from ganloom.training import judge, loop

LOOK = 4000  # images between two looks
MOST = 1000  # looks: more than any run has
SECTION = params.Judge(every=1, samples=256, keep="last", patience=None)

# What is trained, and by which loop.
RUNS = {
    "plain loop": ("plain", "dcgan"),
    "ganloom": ("ganloom", "dcgan"),
    "ganloom, DiffAugment": ("ganloom", "dcgan_diffaug"),
}


class Enough(Exception):  # noqa: N818 (no error)
    """The time is over."""


class Looks:
    """Looks at one training, and the seconds that it took without them, from now on."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.found: list[tuple[float, float]] = []
        self.begun = time.perf_counter()

    def __call__(self, judging: judge.Judge, generator: nn.Module) -> dict[str, float]:
        """Look at a generator.

        Raises:
            Enough: the training has taken all its seconds.
        """
        now = time.perf_counter()
        row = LOOK_AT(judging, generator)
        self.found.append((now - self.begun, row["kid"]))
        self.begun += time.perf_counter() - now
        if self.found[-1][0] > self.seconds:
            raise Enough
        return row


LOOK_AT, PREPARE = judge.Judge.look, judge.prepare


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=200, help="of each training")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--thresholds", type=float, nargs="+", default=[2, 1.5, 1, 0.7, 0.5])
    parser.add_argument("--worker", nargs=3, metavar=("RUN", "PROJECT", "SEED"))
    options = parser.parse_args()
    if options.worker:
        run, project, seed = options.worker
        print(json.dumps(train(run, Path(project), int(seed), options.seconds)))
        return

    with tempfile.TemporaryDirectory() as folder:
        pipeline.run(Path(folder), pipeline.recipe("kene"), pipeline.SLICES)
        write_files(Path(folder))
        head = [f"KID < {threshold:g}" for threshold in options.thresholds]
        print(f"\n| seconds until | seed | {' | '.join(head)} | lowest KID |")
        print(f"| --- |{' ---: |' * (len(head) + 2)}")
        for seed in options.seeds:
            for run in RUNS:
                command = [sys.executable, __file__, "--seconds", str(options.seconds), "--worker"]
                command += [run, folder, str(seed)]
                out = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
                looks = json.loads(out.splitlines()[-1])
                cells = [first(looks, threshold) for threshold in options.thresholds]
                lowest = min(kid for _, kid in looks)
                print(f"| {run} | {seed} | {' | '.join(cells)} | {lowest:.3f} |", flush=True)


def first(looks: Sequence[tuple[float, float]], threshold: float) -> str:
    """When the KID was first under a threshold."""
    return next((f"{seconds:.0f}" for seconds, kid in looks if kid < threshold), "not reached")


def write_files(project: Path) -> None:
    """The slices as people have them: a file each, in a folder for the one class."""
    (project / "files/all").mkdir(parents=True)
    crops = np.load(project / "data/slices/images.npy", mmap_mode="r")
    index = pd.read_parquet(project / "data/slices/index.parquet")
    for number, (image, symmetry) in enumerate(zip(index["image"], index["symmetry"], strict=True)):
        slice_ = np.ascontiguousarray(apply_symmetry(crops[image], symmetry))
        Image.fromarray(slice_).save(project / f"files/all/{number:05}.png")


def train(run: str, project: Path, seed: int, seconds: float) -> list[tuple[float, float]]:
    """Seconds and KID of every look."""
    how, name = RUNS[run]
    model = params.Model.model_validate(pipeline.recipe("kene")["models"][name])
    return {"plain": plain, "ganloom": ganloom}[how](model, project, seed, seconds)


def ganloom(
    model: params.Model, project: Path, seed: int, seconds: float
) -> list[tuple[float, float]]:
    looks = Looks(seconds)

    def prepare(*given: object) -> judge.Judge:  # what the loop does last before it trains
        judging = PREPARE(*given)
        looks.begun = time.perf_counter()
        return judging

    def look(judging: judge.Judge, average: nn.Module) -> dict[str, float]:
        return looks(judging, average)

    judge.prepare, judge.Judge.look = prepare, look
    try:
        with tempfile.TemporaryDirectory() as folder:
            loop.train(
                "benchmark",
                model.model_copy(update={"kimg": MOST * LOOK / 1000}),
                params.Train(ticks=MOST, grid=6, judge=SECTION),
                seed=seed,
                threads=1,
                slices=project / "data/slices",
                out=Path(folder) / "out",
                work=Path(folder) / "work",
            )
    except Enough:
        pass
    return looks.found


def plain(
    model: params.Model, project: Path, seed: int, seconds: float
) -> list[tuple[float, float]]:
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    training = Training(model, project / "files")
    slices, inputs = project / "data/slices", training.inputs
    with tempfile.TemporaryDirectory() as folder:
        judging = judge.prepare(SECTION, slices, Path(folder), model.resolution, inputs, seed)
    looks = Looks(seconds)
    try:
        for shown in accumulate(training.steps()):
            if shown % LOOK == 0:
                looks(judging, training.G.eval())
                training.G.train()
    except Enough:
        pass
    return looks.found


if __name__ == "__main__":
    main()
