"""The time of trainings: measured in a few steps, and computed for any length."""

from __future__ import annotations

import contextlib
import io
import json
import math
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ganloom import params
from ganloom.training import loop
from ganloom.training.warm_up import first_phase

STEPS = 10, 60  # of the trainings that are timed; their difference is that of steps alone
IMAGES = 64  # random images to train on, at least


@dataclass(frozen=True)
class Speed:
    """Time of a training on this machine.

    Attributes:
        kimg: Seconds per thousand images, with the share of a warm-up.
        fixed: Seconds of all ticks and evaluations, whatever the length.
    """

    kimg: float
    fixed: float

    def seconds(self, kimg: float) -> float:
        """Time of a training of ``kimg`` thousand images."""
        return self.fixed + kimg * self.kimg


def measure(model: params.Model, settings: params.Train, threads: int) -> Speed:
    """Time short trainings of a model on random images."""
    last = model.model_copy(update={"warm_up": None})
    phases = [last, first_phase(model, model.warm_up)] if model.warm_up else [last]
    kimg = fixed = 0.0
    for phase in phases:
        short, long = (_seconds(phase, steps, threads) for steps in STEPS)
        step = max(1e-6, long - short) / (STEPS[1] - STEPS[0])
        kimg += step * 1000 / phase.batch * phase.kimg / model.kimg
        fixed += settings.ticks * max(0.0, short - STEPS[0] * step)
        if settings.judge and phase is last:
            evaluation = _seconds(phase, STEPS[0], threads, settings.judge) - short
            fixed += math.ceil(settings.ticks / settings.judge.every) * max(0.0, evaluation)
    return Speed(kimg, fixed)


def _seconds(
    model: params.Model, steps: int, threads: int, judge: params.Judge | None = None
) -> float:
    """Time a training of a few steps, with one tick, and one evaluation if there is a judge."""
    kimg = steps * model.batch / 1000
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        slices, out, work = (Path(folder, name) for name in ("slices", "out", "work"))
        _draw(slices, max(IMAGES, model.batch), model.resolution)
        loop.train(
            "timing",
            model.model_copy(update={"kimg": kimg}),
            params.Train(ticks=1, grid=4, judge=judge),
            seed=1,
            threads=threads,
            slices=slices,
            out=out,
            work=work,
        )
        run = json.loads((out / "run.json").read_text(encoding="utf-8"))
    return 1000 * kimg / float(run["images_per_second"])  # `seconds` is rounded


def _draw(folder: Path, count: int, side: int) -> None:
    """Write random training and holdout images of two classes."""
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (count, side, side, 3), np.uint8)
    rows = np.arange(count)
    index = pd.DataFrame({"label": np.where(rows % 2, "a", "b"), "sha256": rows.astype(str)})
    for part in ("images.npy", "holdout.npy"):
        np.save(folder / part, pixels)
    for part in ("index.parquet", "holdout.parquet"):
        index.assign(image=rows, symmetry=0).to_parquet(folder / part)


@dataclass(frozen=True)
class Trainings:
    """Trainings that run in parallel.

    Attributes:
        kimg: Length of each, in thousand images.
        speeds: Speed of each.
        slots: Number of trainings that run at once.
    """

    kimg: Mapping[str, float]
    speeds: Mapping[str, Speed]
    slots: int

    def seconds(self, by: float = 1.0) -> float:
        """Time of all, with their lengths multiplied by a factor."""
        times = [self.speeds[name].seconds(by * kimg) for name, kimg in self.kimg.items()]
        return max(*times, sum(times) / self.slots)

    def factor(self, seconds: float) -> float:
        """Factor on all lengths with which the trainings take a time.

        Returns:
            0 or less if ticks and evaluations alone take longer.
        """
        growing = {name: self.speeds[name].kimg * kimg for name, kimg in self.kimg.items()}
        fixed = {name: self.speeds[name].fixed for name in self.kimg}
        longest = min((seconds - fixed[name]) / growing[name] for name in self.kimg)
        together = (seconds * self.slots - sum(fixed.values())) / sum(growing.values())
        return min(longest, together)


def rounded(kimg: float) -> float:
    """Round to two significant digits."""
    number = float(f"{kimg:.1e}")
    return int(number) if number.is_integer() else number


def about(seconds: float) -> str:
    """Format a duration: "about 7 minutes"."""
    if seconds < 50:
        return "less than a minute"
    unit, length = ("minute", 60) if seconds < 5400 else ("hour", 3600)
    number = max(1, round(seconds / length))
    return f"about {number} {unit}{'s' * (number > 1)}"
