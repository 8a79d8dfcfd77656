"""Evaluation during training: metrics at intervals, alarms, and the choice of the checkpoint.

Every few ticks, samples of the averaged generator are compared with real images. Everything else
here is a function of the history, so that checkpoints need no further state. Neither evaluations
nor alarms change the training: its results are bit-identical without them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import torch
from torch import Tensor, nn

from ganloom import params
from ganloom.features import LITE2, features
from ganloom.metrics.cache import remembered
from ganloom.metrics.kid import kid
from ganloom.metrics.prdc import prdc
from ganloom.metrics.rounding import readable
from ganloom.models import to_uint8
from ganloom.nets.inputs import Inputs
from ganloom.objectives import least_loss
from ganloom.sampling.latents import inputs
from ganloom.slices import Slices, in_proportion

# Rows of the history, one per tick; rows with an evaluation also have the keys METRICS.
History = Sequence[dict[str, float]]
METRICS = ("kid", "feature_distance", "recall")

# Number of samples that are generated at a time.
BATCH = 64

# k of recall, as in Kynkäänniemi et al. (2019).
NEAREST = 3

# A collapse is a mean distance between samples of less than this share of that between training
# images, or a recall of 0 at so many evaluations, after it was higher.
COLLAPSED = 0.5
EVALUATIONS_WITHOUT_RECALL = 3

# D is blind if the mean logits of real and fake differ by less than BLIND, and has won if its loss
# is within WON of the least possible one, for so many ticks.
BLIND = 0.05
WON = 0.02
TICKS_DEAD = 4

# Losses that change by at most this share for so many ticks have stalled: the noise of a tick's
# mean alone is larger while a network learns.
STILL = 0.02
TICKS_STILL = 6

# Alarms need so many steps: ticks of a shorter training say nothing about it.
MIN_STEPS = 100


# --- evaluation ----------------------------------------------------------------------------------


class CheckpointJudge(NamedTuple):
    """Inputs that all evaluations of a training share.

    Attributes:
        section: Section ``train.judge``.
        v: (samples, width) input of the generator.
        train: (N, D) features of training images.
        real: (M, D) features of the images that KID is measured against.
        against: Description of these images.
    """

    section: params.Judge
    v: Tensor
    train: Tensor
    real: Tensor
    against: str

    def evaluate(self, average: nn.Module) -> dict[str, float]:
        """Compute the metrics of a generator, in its current mode and on its device."""
        device = next(average.parameters()).device
        with torch.inference_mode():
            parts = [average(part.to(device)) for part in self.v.split(BATCH)]
        return measure(features(to_uint8(torch.cat(parts)), LITE2), self.train, self.real)

    def is_due(self, tick: int, *, last: bool) -> bool:
        """Tell whether a tick, counted from 1, has an evaluation; the last one always has."""
        return last or tick % self.section.every == 0

    def is_enough(self, history: History) -> bool:
        """Tell whether to stop early, after ``patience`` evaluations without a lower KID."""
        lowest, patience = best(history), self.section.patience
        if lowest is None or patience is None:
            return False
        return sum(row["tick"] > lowest["tick"] for row in _evaluated(history)) >= patience


def prepare(  # noqa: PLR0917
    section: params.Judge, slices: Path, cache: Path, resolution: int, layout: Inputs, seed: int
) -> CheckpointJudge:
    """Read the real images and compute their features, without draws from the training's generator.

    Args:
        section: Section ``train.judge``.
        slices: Folder with ``images.npy``, ``index.parquet``, ``holdout.npy``, ``holdout.parquet``.
        cache: Folder of the cache for features of real images.
        resolution: Resolution of the model.
        layout: Layout of the generator's input.
        seed: Seed of all choices; ``evaluate`` splits the holdout in the same way.
    """
    data = Slices(slices)
    rows = data.choose(section.samples, seed, "judge")
    train = remembered(data.images(rows, resolution), LITE2, cache)
    half, _ = data.split_holdout(section, seed)
    if len(half):
        images = data.holdout_images(half, section.samples, seed, resolution)
        real = remembered(images, LITE2, cache)
        against = (
            f"{len(real)} images of one half of the holdout; the reported metrics are measured "
            "against the other half"
        )
    else:
        real = train
        against = f"{len(real)} training images, because the holdout is too small to be halved"
    shares = None
    if layout.classes:
        label, _ = pd.factorize(data.index["label"], sort=True)
        shares = torch.from_numpy(in_proportion(label, section.samples, seed))
    v = inputs(layout, section.samples, seed, "judge", labels=shares)
    return CheckpointJudge(section, v, train, real, against)


def measure(fake: Tensor, train: Tensor, real: Tensor) -> dict[str, float]:
    """Compute the metrics of an evaluation from features (N, D).

    Returns:
        ``kid`` (fake to real), ``feature_distance`` (mean distance between two fakes, divided by
        that between two training images) and ``recall`` (of the training images).
    """
    distance = _variety(fake) / max(_variety(train), 1e-12)
    values = (kid(real, fake), distance, prdc(train, fake, NEAREST)["recall"])
    return dict(zip(METRICS, map(readable, values), strict=True))


def _variety(x: Tensor) -> float:
    return float(torch.pdist(x.double()).mean())


# --- choice of the checkpoint --------------------------------------------------------------------


def best(history: History) -> dict[str, float] | None:
    """Return the first row with the lowest KID; None before the first evaluation.

    Rows with collapsed samples count only if there are no others: KID depends mostly on the mean
    features, and can be low for many copies of one image.
    """
    return min(
        _evaluated(history),
        key=lambda row: (row["feature_distance"] < COLLAPSED, row["kid"]),
        default=None,
    )


def _evaluated(history: History) -> list[dict[str, float]]:
    """Return the rows with an evaluation."""
    return [row for row in history if "kid" in row]


def judgement(
    history: History, model: params.Model, judging: CheckpointJudge | None, kimg: float
) -> dict[str, Any]:
    """Build the content of ``judgement.json``.

    Args:
        history: History of the whole training.
        model: Parameters of the model.
        judging: Inputs of the evaluations; None if there were none.
        kimg: Length of the training.

    Returns:
        ``against`` (description of the images that KID was measured against), ``looks`` (rows of
        the history with an evaluation), ``chosen`` (``kimg`` of the selected checkpoint, and the
        reason ``why``), ``stopped`` (reason of an early end; "" without one), ``alarms`` (see
        Alarm).
    """
    evaluated, lowest = _evaluated(history), best(history)
    count = f"{len(evaluated)} evaluation{'' if len(evaluated) == 1 else 's'}"
    if judging is None:
        chosen = kimg
        why = "It is the last one, because params.yaml has no train.judge to compare checkpoints."
    elif lowest is None:
        chosen = kimg
        why = "It is the last good one: the training diverged before the first evaluation."
    elif judging.section.keep == "last":
        chosen = kimg
        why = "It is the last one, because train.judge.keep is `last`" + (
            f"; the lowest KID of {count} was at {lowest['kimg']:g} kimg."
            if lowest["kimg"] != kimg
            else f". It also had the lowest KID of {count}."
        )
    else:
        last = evaluated[-1]
        chosen = lowest["kimg"]
        why = f"It had the lowest KID of {count}, {lowest['kid']:.4f}" + (
            f"; that of the last one, at {last['kimg']:g} kimg, was {last['kid']:.4f}."
            if lowest is not last
            else ", and is also the last one."
        )
        if lower := sum(row["kid"] < lowest["kid"] for row in evaluated):
            why += f" KID was lower in {lower}, but the samples were alike (collapse)."
    stopped = ""
    if judging and judging.is_enough(history):
        stopped = (
            f"Training ended at {kimg:g} of {model.kimg:g} kimg, after "
            f"{judging.section.patience} evaluations without a lower KID (train.judge.patience)."
        )
    return {
        "against": judging.against if judging else "",
        "looks": [{key: row[key] for key in ("tick", "kimg", *METRICS)} for row in evaluated],
        "chosen": {"kimg": chosen, "why": why},
        "stopped": stopped,
        "alarms": [asdict(alarm) for alarm in alarms(history, model)],
    }


# --- alarms --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Alarm:
    """A problem of the training.

    Attributes:
        kind: One of collapse, recall, blind, won and still.
        tick: First tick of the problem.
        kimg: The same in kimg.
        over: End of the problem in kimg; None if it lasted until the end of the training.
        sentence: Time, observation and advice.
    """

    kind: str
    tick: int
    kimg: float
    over: float | None
    sentence: str


def alarms(history: History, model: params.Model) -> list[Alarm]:
    """List all alarms of a training so far, in the order of their first tick.

    There are none in the first ``MIN_STEPS`` steps.
    """
    raised = []
    for kind, (holds, seen, advice) in _CHECKS.items():
        held = [
            row["kimg"] * 1000 >= MIN_STEPS * model.batch and holds(history[: n + 1], model)
            for n, row in enumerate(history)
        ]
        if not any(held):
            continue
        row = history[held.index(True)]
        last = len(held) - 1 - held[::-1].index(True)
        over = history[last + 1]["kimg"] if last + 1 < len(held) else None
        tick, kimg = int(row["tick"]), row["kimg"]
        until = "" if over is None else f", until {over:g} kimg"
        sentence = f"At {kimg:g} kimg (tick {tick}){until}: {seen}. {advice(model)}."
        raised.append(Alarm(kind, tick, kimg, over, sentence))
    return sorted(raised, key=lambda alarm: alarm.tick)


def _has_collapsed(history: History, model: params.Model) -> bool:
    """Tell whether variety was lost, or is still missing after half of the training.

    The samples of an untrained generator are all similar, which is not a collapse.
    """
    rows = _evaluated(history)
    varied = [row["feature_distance"] >= COLLAPSED for row in rows]
    late = bool(rows) and rows[-1]["kimg"] >= model.kimg / 2
    return bool(rows) and not varied[-1] and (any(varied) or late)


def _has_lost_recall(history: History, _: params.Model) -> bool:
    recall = [row["recall"] for row in _evaluated(history)]
    before, late = recall[:-EVALUATIONS_WITHOUT_RECALL], recall[-EVALUATIONS_WITHOUT_RECALL:]
    return any(before) and not any(late)


def _is_blind(history: History, model: params.Model) -> bool:
    real = _late(history, "logits_real", TICKS_DEAD)
    fake = _late(history, "logits_fake", TICKS_DEAD)
    if least_loss(model.objective) is None or not real:
        return False
    return max(abs(a - b) for a, b in zip(real, fake, strict=True)) < BLIND


def _has_won(history: History, model: params.Model) -> bool:
    least, losses = least_loss(model.objective), _late(history, "loss_d", TICKS_DEAD)
    return least is not None and bool(losses) and max(losses) < least + WON


def _stands_still(history: History, _: params.Model) -> bool:
    both = [_late(history, name, TICKS_STILL) for name in ("loss_d", "loss_g")]
    return all(both) and all(
        max(values) - min(values) <= STILL * max(map(abs, values)) for values in both
    )


def _late(history: History, name: str, ticks: int) -> list[float]:
    """Return the values of the last ticks; empty if one of them is missing.

    If G is updated rarely, a short tick may have no loss of G.
    """
    values = [row[name] for row in history[-ticks:] if name in row]
    return values if len(values) == ticks else []


# --- advice, as far as the settings of the model allow it ----------------------------------------


def _more_varied(model: params.Model) -> str:
    return f"Samples lack variety: try {_either([*_missing(model), 'a lower optimizer.lr'])}"


def _recall_again(model: params.Model) -> str:
    ways = ["keep the best state", "train for less kimg", *_missing(model)[:1]]
    return f"Samples have lost variety: {_either(ways)}"


def _stronger(model: params.Model) -> str:
    D = model.discriminator
    ways = ["more channels", "a higher optimizer.lr_discriminator"]
    rates = getattr(D, "dropout", 0.0)
    if any(rates) if isinstance(rates, list) else rates:
        ways.insert(1, "less dropout")
    return f"The generator cannot learn from it: give the discriminator {_either(ways)}"


def _weaker(model: params.Model) -> str:
    ways = [way for way in _missing(model) if "stddev" not in way]
    ways.append("a lower optimizer.lr_discriminator")
    return f"The generator gets no useful gradients from it: try {_either(ways)}"


def _missing(model: params.Model) -> list[str]:
    """List remedies against a lack of variety that the model does not use yet, but could."""
    D, penalties = model.discriminator, model.penalties or params.Penalties()
    ways = []
    if not model.diffaugment and D.kind != "began":
        ways.append("diffaugment")
    if getattr(D, "minibatch_stddev", None) is False and not (
        penalties.gradient or model.objective.kind == "wasserstein"
    ):
        ways.append("minibatch_stddev")
    if (
        not penalties.r1
        and D.kind not in ("began", "projected")
        and (getattr(D, "norm", "none") != "batch")
    ):
        ways.append("penalties.r1")
    return ways


def _either(ways: Sequence[str]) -> str:
    return " or ".join(filter(None, [", ".join(ways[:-1]), ways[-1]]))


# Kind of alarm: condition, observation, advice.
_CHECKS: dict[
    str,
    tuple[Callable[[History, params.Model], bool], str, Callable[[params.Model], str]],
] = {
    "collapse": (
        _has_collapsed,
        "the mean distance between two samples is less than half of that between training images",
        _more_varied,
    ),
    "recall": (
        _has_lost_recall,
        f"recall has been 0 at {EVALUATIONS_WITHOUT_RECALL} evaluations, after it was higher",
        _recall_again,
    ),
    "blind": (
        _is_blind,
        f"for {TICKS_DEAD} ticks, the mean logits of real images and fakes have been nearly equal",
        _stronger,
    ),
    "won": (
        _has_won,
        f"for {TICKS_DEAD} ticks, the discriminator has recognised nearly every image",
        _weaker,
    ),
    "still": (
        _stands_still,
        f"for {TICKS_STILL} ticks, neither loss has changed by more than {STILL:.0%}",
        lambda _: (
            "Learning has stopped: train for less kimg, or try another optimizer.lr or objective"
        ),
    ),
}
