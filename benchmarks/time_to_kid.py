"""Measure the training time until the KID falls below a threshold.

    python benchmarks/time_to_kid.py          # an estimated 20 minutes on two idle cores, offline
    python benchmarks/time_to_kid.py --seconds 60 --thresholds 1.5 1

Two models of recipes/kene.yaml, `dcgan` and the warm-up of `compact`, are trained by ganloom, and
`dcgan` by the plain PyTorch loop of plain_loops.py as well. All use the same slices, made by the
stages in a temporary project; the plain loop reads them from PNG files. Every 4,000 images, the
generator is evaluated as in training: KID-lite2 to 256 images of one half of the holdout, from the
same latents. The time of evaluations is not counted; that of averaging, calibration, frames and
checkpoints is. Each training has one thread and its own process.
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
from typing import Any
from unittest import mock

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
from ganloom.training import judge, loop, warm_up

INTERVAL = 4000  # images between two evaluations
MOST = 1000  # evaluations: more than any run has
SECTION = params.Judge(every=1, samples=256, keep="last", patience=None)

# What is trained, and by which loop.
RUNS = {
    "plain loop": ("plain", "dcgan"),
    "ganloom": ("ganloom", "dcgan"),
    "ganloom, compact": ("ganloom", "compact"),
}


class Enough(Exception):  # noqa: N818 (no error)
    """The training has used up its time."""


class Evaluations:
    """Evaluations of a training, with the seconds of training before each."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.rows: list[tuple[float, float]] = []
        self.begun = time.perf_counter()

    def __call__(self, judging: judge.CheckpointJudge, generator: nn.Module) -> dict[str, float]:
        """Evaluate a generator.

        Raises:
            Enough: The training has used up its time.
        """
        now = time.perf_counter()
        row = EVALUATE(judging, generator)
        self.rows.append((now - self.begun, row["kid"]))
        self.begun += time.perf_counter() - now
        if self.rows[-1][0] > self.seconds:
            raise Enough
        return row


EVALUATE, PREPARE = judge.CheckpointJudge.evaluate, judge.prepare


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
                evaluations = json.loads(out.splitlines()[-1])
                cells = [first(evaluations, threshold) for threshold in options.thresholds]
                lowest = min(kid for _, kid in evaluations)
                print(f"| {run} | {seed} | {' | '.join(cells)} | {lowest:.3f} |", flush=True)


def first(evaluations: Sequence[tuple[float, float]], threshold: float) -> str:
    """Seconds until the KID was below a threshold for the first time."""
    return next(
        (f"{seconds:.0f}" for seconds, kid in evaluations if kid < threshold), "not reached"
    )


def write_files(project: Path) -> None:
    """Write slices as PNG files in a class folder, as a DataLoader expects them."""
    (project / "files/all").mkdir(parents=True)
    crops = np.load(project / "data/slices/images.npy", mmap_mode="r")
    index = pd.read_parquet(project / "data/slices/index.parquet")
    for number, (image, symmetry) in enumerate(zip(index["image"], index["symmetry"], strict=True)):
        slice_ = np.ascontiguousarray(apply_symmetry(crops[image], symmetry))
        Image.fromarray(slice_).save(project / f"files/all/{number:05}.png")


def train(run: str, project: Path, seed: int, seconds: float) -> list[tuple[float, float]]:
    """Train, and return seconds and KID of every evaluation."""
    how, name = RUNS[run]
    model = params.Model.model_validate(pipeline.recipe("kene")["models"][name])
    if model.warm_up:
        model = warm_up.first_phase(model, model.warm_up)
    return {"plain": plain, "ganloom": ganloom}[how](model, project, seed, seconds)


def ganloom(
    model: params.Model, project: Path, seed: int, seconds: float
) -> list[tuple[float, float]]:
    evaluations = Evaluations(seconds)

    def prepare(*given: Any) -> judge.CheckpointJudge:  # the last call of the loop before training
        judging = PREPARE(*given)
        evaluations.begun = time.perf_counter()
        return judging

    def evaluate(judging: judge.CheckpointJudge, average: nn.Module) -> dict[str, float]:
        return evaluations(judging, average)

    try:
        with (
            mock.patch.object(judge, "prepare", prepare),
            mock.patch.object(judge.CheckpointJudge, "evaluate", evaluate),
            tempfile.TemporaryDirectory() as folder,
        ):
            loop.train(
                "benchmark",
                model.model_copy(update={"kimg": MOST * INTERVAL / 1000}),
                params.Train(ticks=MOST, grid=6, judge=SECTION),
                seed=seed,
                threads=1,
                slices=project / "data/slices",
                out=Path(folder) / "out",
                work=Path(folder) / "work",
            )
    except Enough:
        pass
    return evaluations.rows


def plain(
    model: params.Model, project: Path, seed: int, seconds: float
) -> list[tuple[float, float]]:
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    training = Training(model, project / "files")
    slices, inputs = project / "data/slices", training.inputs
    with tempfile.TemporaryDirectory() as folder:
        judging = judge.prepare(SECTION, slices, Path(folder), model.resolution, inputs, seed)
    evaluations = Evaluations(seconds)
    try:
        for shown in accumulate(training.steps()):
            if shown % INTERVAL == 0:
                evaluations(judging, training.G.eval())
                training.G.train()
    except Enough:
        pass
    return evaluations.rows


if __name__ == "__main__":
    main()
