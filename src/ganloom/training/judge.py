"""Evaluation during training: metrics at intervals, alarms, and the choice of the checkpoint.

Every few ticks, samples of the averaged generator are compared with real images (a *look*).
Everything else here is a function of the history, so checkpoints need no further state. Neither
looks nor alarms change a bit of the training.
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
from ganloom.metrics.distances import kid
from ganloom.metrics.prdc import prdc
from ganloom.metrics.rounding import readable
from ganloom.models import to_uint8
from ganloom.nets.inputs import Inputs
from ganloom.objectives import least_loss
from ganloom.sampling.latents import inputs
from ganloom.slices import Slices, in_proportion

# Rows of the history, one per tick; rows with a look also have the keys LOOK.
History = Sequence[dict[str, float]]
LOOK = ("kid", "feature_distance", "recall")

# Number of samples that are generated at a time.
BATCH = 64

# k of recall, as in Kynkäänniemi et al. (2019).
NEAREST = 3

# A collapse is less variety than this share of that of the training images; or a recall of 0 at so
# many looks, after it was higher.
COLLAPSED = 0.5
LOOKS_WITHOUT_RECALL = 3

# D is blind if the mean logits of real and fake differ by less than BLIND, and has won if its loss
# is within WON of the least possible one, for so many ticks.
BLIND = 0.05
WON = 0.02
TICKS_DEAD = 4

# Losses that change by at most this share of themselves for so many ticks have stalled: even the
# noise of a tick's mean is larger while a network learns.
STILL = 0.02
TICKS_STILL = 6


# --- looking -------------------------------------------------------------------------------------


class Judge(NamedTuple):
    """Fixed inputs of all looks.

    Attributes:
        section: Section ``train.judge``.
        v: (samples, width) input of the generator, the same at each look.
        train: (N, D) features of training images.
        real: (M, D) features of the images that KID is measured against.
        against: Description of these images.
    """

    section: params.Judge
    v: Tensor
    train: Tensor
    real: Tensor
    against: str

    def look(self, average: nn.Module) -> dict[str, float]:
        """Measure a generator, in its current mode, on its device."""
        device = next(average.parameters()).device
        with torch.inference_mode():
            parts = [average(part.to(device)) for part in self.v.split(BATCH)]
        return measure(features(to_uint8(torch.cat(parts)), LITE2), self.train, self.real)

    def is_due(self, tick: int, *, last: bool) -> bool:
        """Tell whether a tick, counted from 1, has a look; the last one always has."""
        return last or tick % self.section.every == 0

    def is_enough(self, history: History) -> bool:
        """Tell whether the training ends early, after ``patience`` looks without a lower KID."""
        found, patience = best(history), self.section.patience
        if found is None or patience is None:
            return False
        return sum(row["tick"] > found["tick"] for row in _looks(history)) >= patience


def prepare(  # noqa: PLR0917
    section: params.Judge, slices: Path, cache: Path, resolution: int, layout: Inputs, seed: int
) -> Judge:
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
        pictures = data.holdout_images(half, section.samples, seed, resolution)
        real = remembered(pictures, LITE2, cache)
        against = f"{len(real)} pictures of one half of the holdout; figures are of the other half"
    else:
        real = train
        against = f"{len(real)} training images, as the holdout is too small to be halved"
    label, _ = pd.factorize(data.index["label"], sort=True)
    shares = torch.from_numpy(in_proportion(label, section.samples, seed))
    v = inputs(layout, section.samples, seed, "judge", labels=shares)
    return Judge(section, v, train, real, against)


def measure(fake: Tensor, train: Tensor, real: Tensor) -> dict[str, float]:
    """Compute the metrics of a look from features (N, D).

    Returns:
        ``kid`` (fake to real), ``feature_distance`` (mean distance between two fakes, divided by
        that between two training images) and ``recall`` (of the training images).
    """
    distance = _variety(fake) / max(_variety(train), 1e-12)
    found = (kid(real, fake), distance, prdc(train, fake, NEAREST)["recall"])
    return dict(zip(LOOK, map(readable, found), strict=True))


def _variety(x: Tensor) -> float:
    return float(torch.pdist(x.double()).mean())


# --- choice of the checkpoint --------------------------------------------------------------------


def best(history: History) -> dict[str, float] | None:
    """Return the first row with the lowest KID; None before the first look."""
    return min(_looks(history), key=lambda row: row["kid"], default=None)


def _looks(history: History) -> list[dict[str, float]]:
    return [row for row in history if "kid" in row]


def judgement(
    history: History, model: params.Model, judging: Judge | None, kimg: float
) -> dict[str, Any]:
    """Build the content of ``judgement.json``.

    Args:
        history: History of the whole training.
        model: Parameters of the model.
        judging: Inputs of the looks; None: there were none.
        kimg: Length of the training.

    Returns:
        ``against`` (description of the images that KID was measured against), ``looks`` (rows of
        the history), ``chosen`` (``kimg`` of the chosen checkpoint, and ``why``), ``stopped``
        (reason of an early end; "" without one), ``alarms`` (see Alarm).
    """
    looks, lowest = _looks(history), best(history)
    if judging is None:
        chosen, why = kimg, "It is the last one: there is no train.judge, which compares them."
    elif lowest is None:
        chosen, why = kimg, "It is the last good one: training broke down before the first look."
    elif judging.section.keep == "last":
        chosen = kimg
        why = "It is the last one, as train.judge.keep asks for" + (
            f"; the lowest KID of {len(looks)} looks was seen at {lowest['kimg']:g} kimg."
            if lowest["kimg"] != kimg
            else f", and had the lowest KID of {len(looks)} looks."
        )
    else:
        chosen = lowest["kimg"]
        why = f"It had the lowest KID of {len(looks)} looks, {lowest['kid']:.4f}" + (
            f"; the last look, at {looks[-1]['kimg']:g} kimg, found {looks[-1]['kid']:.4f}."
            if lowest is not looks[-1]
            else ", and is also the last."
        )
    stopped = ""
    if judging and judging.is_enough(history):
        stopped = (
            f"Training ended at {kimg:g} of {model.kimg:g} kimg: the KID was no lower at "
            f"{judging.section.patience} looks (train.judge.patience)."
        )
    return {
        "against": judging.against if judging else "",
        "looks": [{key: row[key] for key in ("tick", "kimg", *LOOK)} for row in looks],
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
        kimg: First tick in kimg.
        over: End of the problem in kimg; None: it lasted to the end of the training.
        sentence: Observation, time and advice.
    """

    kind: str
    tick: int
    kimg: float
    over: float | None
    sentence: str


def alarms(history: History, model: params.Model) -> list[Alarm]:
    """List all alarms of a training so far, in the order of their first tick."""
    found = []
    for kind, (holds, seen, advice) in _CHECKS.items():
        held = [holds(history[: n + 1], model) for n in range(len(history))]
        if not any(held):
            continue
        row = history[held.index(True)]
        last = len(held) - 1 - held[::-1].index(True)
        over = history[last + 1]["kimg"] if last + 1 < len(held) else None
        tick, kimg = int(row["tick"]), row["kimg"]
        until = "" if over is None else f", until {over:g} kimg"
        sentence = f"At {kimg:g} kimg (tick {tick}){until}: {seen}. {advice(model)}."
        found.append(Alarm(kind, tick, kimg, over, sentence))
    return sorted(found, key=lambda alarm: alarm.tick)


def _has_collapsed(history: History, model: params.Model) -> bool:
    """Tell whether variety was lost, or is still missing after half of the training.

    All samples of an untrained generator are similar, so a lack at the beginning is no collapse.
    """
    looks = _looks(history)
    varied = [look["feature_distance"] >= COLLAPSED for look in looks]
    late = bool(looks) and looks[-1]["kimg"] >= model.kimg / 2
    return bool(looks) and not varied[-1] and (any(varied) or late)


def _has_lost_recall(history: History, _: params.Model) -> bool:
    recall = [row["recall"] for row in _looks(history)]
    before, late = recall[:-LOOKS_WITHOUT_RECALL], recall[-LOOKS_WITHOUT_RECALL:]
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
    """Return a value over the last ticks; empty if it is missing at one of them.

    If G is updated rarely, a short tick may have no loss of G.
    """
    values = [row[name] for row in history[-ticks:] if name in row]
    return values if len(values) == ticks else []


# --- advice, as far as the settings of the model allow it ----------------------------------------


def _more_varied(model: params.Model) -> str:
    return (
        f"It draws few kinds of picture: try {_either([*_missing(model), 'a lower optimizer.lr'])}"
    )


def _recall_again(model: params.Model) -> str:
    ways = ["keep the best state", "train for less kimg", *_missing(model)[:1]]
    return f"It has lost variety: {_either(ways)}"


def _stronger(model: params.Model) -> str:
    D = model.discriminator
    ways = ["more channels", "a higher optimizer.lr_discriminator"]
    rates = getattr(D, "dropout", 0.0)
    if any(rates) if isinstance(rates, list) else rates:
        ways.insert(1, "less dropout")
    return f"The generator learns nothing from it: give the discriminator {_either(ways)}"


def _weaker(model: params.Model) -> str:
    ways = [way for way in _missing(model) if "stddev" not in way]
    ways.append("a lower optimizer.lr_discriminator")
    return f"The generator gets no direction from it: try {_either(ways)}"


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
        "its pictures differ from each other less than half as much as training images do",
        _more_varied,
    ),
    "recall": (
        _has_lost_recall,
        f"for {LOOKS_WITHOUT_RECALL} looks no training image has lain among its pictures, as "
        "some did before",
        _recall_again,
    ),
    "blind": (
        _is_blind,
        f"for {TICKS_DEAD} ticks the discriminator has given real and generated pictures the "
        "same marks",
        _stronger,
    ),
    "won": (
        _has_won,
        f"for {TICKS_DEAD} ticks the discriminator has been right about nearly every picture",
        _weaker,
    ),
    "still": (
        _stands_still,
        f"for {TICKS_STILL} ticks neither loss has moved by more than {STILL:.0%}",
        lambda _: (
            "It has stopped learning: train for less kimg, or try another optimizer.lr or objective"
        ),
    ),
}
