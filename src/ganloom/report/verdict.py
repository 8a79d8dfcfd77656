"""Verdict on a model from its metrics, and the next step.

The first rule of ``RULES`` that holds gives the verdict. Metrics of real images are the reference,
where they are available.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ganloom import params
from ganloom.metrics.catalogue import FEW_FOR_NEIGHBOURS
from ganloom.report.copies import Copying
from ganloom.report.figures import counted, number

Values = Mapping[str, Any]

# A generator with fewer steps counts as untrained, unless its recall is above SOME_RECALL.
FEW_STEPS = 1000
ENOUGH_STEPS = 3500  # of the default recipe
SOME_RECALL = 0.01

# A model has collapsed if the share of samples with a near-duplicate among the samples is above
# TWINS, and above that of real images plus TWINS_BEYOND_REAL.
TWINS, TWINS_BEYOND_REAL = 0.5, 0.25

# Thresholds of a good model, relative to real images: the difference in KID, and fractions of the
# other metrics. Recall is the hardest to raise, and falls first.
NEAR_KID = 0.25
NEAR = {"precision": 0.5, "coverage": 0.5, "recall": 0.25}

# The model is still learning if its lowest KID is after this fraction of the training.
LATE = 0.75

RECIPES = 'docs/models.md, "Which to choose"'


@dataclass(frozen=True)
class Evidence:
    """Results of a model; all but its name and parameters may be missing.

    Attributes:
        name: Name of the model.
        spec: Parameters of the model.
        metrics: Metrics of the model; empty if it was not evaluated.
        real: The same metrics of training images against holdout originals; empty without holdout.
        judgement: ``judgement.json``, with evaluations, the selected checkpoint and alarms.
        run: ``run.json``, with length and speed of the training.
        copying: Result of the detection of copies.
    """

    name: str
    spec: params.Model
    metrics: Values = field(default_factory=dict)
    real: Values = field(default_factory=dict)
    judgement: Values = field(default_factory=dict)
    run: Values = field(default_factory=dict)
    copying: Copying | None = None

    @property
    def trained(self) -> float:
        """Length of the training, in thousand images."""
        return float(self.run.get("kimg", self.spec.kimg))

    @property
    def steps(self) -> int:
        """Steps up to the selected checkpoint, with those of the warm-up."""
        kimg = self.metrics.get("kimg", self.trained)
        return round(kimg * 1000 / self.spec.batch) + self.spec.warm_up_steps

    @property
    def alarms(self) -> list[str]:
        """Kinds of alarms that were active at the selected checkpoint."""
        kept = self.judgement.get("chosen", {}).get("kimg", self.trained)
        return [
            alarm.get("kind", "")
            for alarm in self.judgement.get("alarms", [])
            if alarm.get("kimg", 0) <= kept < (alarm.get("over") or math.inf)
        ]


@dataclass(frozen=True)
class NextStep:
    """The next step: advice, formatted duration ("" if unknown), and command, if any."""

    advice: str
    time: str = ""
    command: str = ""


@dataclass(frozen=True)
class Verdict:
    """Verdict on a model.

    Attributes:
        words: The verdict in a few words.
        reasons: Sentences with the metrics behind it.
        next: The next step.
        may_be_best: Whether the model may be called the best of several.
        has_learned: Whether its samples are varied enough to check for copies.
    """

    words: str
    reasons: list[str]
    next: NextStep
    may_be_best: bool
    has_learned: bool


@dataclass(frozen=True)
class Rule:
    """A rule; see ``Verdict`` for the attributes that they share."""

    words: str
    holds: Callable[[Evidence], bool]
    reasons: Callable[[Evidence], list[str]]
    next: Callable[[Evidence], NextStep]
    may_be_best: bool = True
    has_learned: bool = True


def verdict(evidence: Evidence) -> Verdict:
    """Apply the first rule that holds; the last one always holds."""
    rule = next(rule for rule in RULES if rule.holds(evidence))
    return Verdict(
        rule.words,
        [*filter(None, rule.reasons(evidence)), *_cautions(evidence)],
        rule.next(evidence),
        may_be_best=rule.may_be_best,
        has_learned=rule.has_learned,
    )


# --- conditions ----------------------------------------------------------------------------------


def _is_unmeasured(e: Evidence) -> bool:
    return "kid_lite2" not in e.metrics


def _is_untrained(e: Evidence) -> bool:
    return e.steps < FEW_STEPS and e.metrics.get("recall", 0.0) <= SOME_RECALL


def _has_collapsed(e: Evidence) -> bool:
    twins = e.metrics.get("duplicates", 0.0)
    limit = max(TWINS, e.real.get("duplicates", 0.0) + TWINS_BEYOND_REAL)
    return "collapse" in e.alarms or twins > limit


def _copies(e: Evidence) -> bool:
    return e.copying is not None and e.copying.is_suspected


def _is_good(e: Evidence) -> bool:
    """Whether every metric is near that of real images; False without a reference."""
    if any(key not in e.metrics or key not in e.real for key in ("kid_lite2", *NEAR)):
        return False
    is_near = e.metrics["kid_lite2"] - e.real["kid_lite2"] <= NEAR_KID
    return is_near and all(e.metrics[key] >= part * e.real[key] for key, part in NEAR.items())


def _still_learns(e: Evidence) -> bool:
    evaluations = e.judgement.get("looks", [])
    if not evaluations:
        return True
    lowest = min(evaluations, key=lambda row: row["kid"])
    was_stopped = bool(e.judgement.get("stopped"))
    return lowest["kimg"] >= LATE * evaluations[-1]["kimg"] and not was_stopped


# --- reasons -------------------------------------------------------------------------------------


def _with_reference(e: Evidence, *keys: str) -> str:
    """Format metrics next to those of real images: "recall 0.10 (real images: 0.78)"."""
    parts = []
    for key in keys:
        if key in e.metrics:
            real = f" (real images: {number(e.real[key])})" if key in e.real else ""
            name = "KID" if key == "kid_lite2" else key
            parts.append(f"{name} {number(e.metrics[key])}{real}")
    return ", ".join(parts)


def _overlap(e: Evidence) -> str:
    shown = _with_reference(e, "kid_lite2", *NEAR)
    return f"Measured: {shown}." if shown else ""


def _why_untrained(e: Evidence) -> list[str]:
    length = f"It was trained for only {counted(e.steps, 'step')}, too few to judge it."
    alarms = "Alarms at this stage mean little." if e.judgement.get("alarms") else ""
    return [length, _overlap(e), alarms]


def _why_collapsed(e: Evidence) -> list[str]:
    reasons = []
    if "collapse" in e.alarms:
        reasons.append("Its samples are less than half as varied as training images.")
    if "duplicates" in e.metrics:
        real = f" (real images: {e.real['duplicates']:.0%})" if "duplicates" in e.real else ""
        twins = e.metrics["duplicates"]
        reasons.append(f"{twins:.0%} of its samples have a near-duplicate among the samples{real}.")
    return reasons


def _why_copying(e: Evidence) -> list[str]:
    return [e.copying.answer] if e.copying else []


def _why_good(e: Evidence) -> list[str]:
    reasons = [_overlap(e), "All metrics are close to those of real images."]
    return reasons if e.copying is None else [*reasons, f"Does it copy? {e.copying.answer}"]


def _why_learning(e: Evidence) -> list[str]:
    course = "Whether more training helps is unknown: it was not evaluated during the training."
    if e.judgement.get("looks"):
        course = "Its KID was still falling when the training ended."
    return [course, _overlap(e)]


def _why_levelled(e: Evidence) -> list[str]:
    lowest = min(e.judgement["looks"], key=lambda row: row["kid"])
    course = f"Its KID has not fallen since {lowest['kimg']:g} of {e.trained:g} kimg."
    return [course, _overlap(e)]


def _cautions(e: Evidence) -> list[str]:
    """Sentences on what makes a verdict uncertain."""
    cautions = []
    if e.metrics.get("n", math.inf) < FEW_FOR_NEIGHBOURS:
        cautions.append(f"These metrics are of {e.metrics['n']} images only, a rough estimate.")
    if e.metrics and not e.real:
        cautions.append(
            "Without holdout originals there is no reference to decide whether the model is good: "
            "set curate.holdout, or collect more originals."
        )
    return cautions


# --- next steps ----------------------------------------------------------------------------------


def _experiment(
    e: Evidence, advice: str, kimg: float, change: str = "", *, warm_up: float = 0.0
) -> NextStep:
    """Step that trains for ``kimg``, optionally with a changed parameter "key=value"."""
    changes = [change] if change else []
    if warm_up:
        changes.append(f"warm_up.kimg={warm_up:g}")
    if kimg != e.spec.kimg:
        changes.append(f"kimg={kimg:g}")
    options = (f"-S {shlex.quote(f'models.{e.name}.{change}')}" for change in changes)
    return NextStep(advice, _time(e, kimg, warm_up), f"dvc exp run {' '.join(options)}")


def _time(e: Evidence, kimg: float, warm_up: float = 0.0) -> str:
    """Formatted duration of a training at the speed of the last one, with a new warm-up if > 0."""
    speed = e.run.get("images_per_second", 0.0)
    if not speed or (warm_up and "warm_up" not in e.run):
        return ""
    seconds = kimg * 1000 / speed
    if warm_up:
        seconds += warm_up * e.run["warm_up"]["seconds"] / e.run["warm_up"]["kimg"]
    return f"about {duration(seconds)}"


def duration(seconds: float) -> str:
    """Format a duration: "40 s", "9 min", "2.5 h"."""
    if seconds < 100:
        return f"{max(1, round(seconds))} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"


def _round_up(kimg: float) -> float:
    """Round up to two significant digits."""
    unit = 10.0 ** (math.floor(math.log10(kimg)) - 1)
    return round(math.ceil(round(kimg / unit, 6)) * unit, 6)


def _longer(e: Evidence, kimg: float) -> NextStep:
    kimg = _round_up(kimg)
    if not e.spec.warm_up:
        advice = (
            f"Train for {kimg - e.spec.kimg:g} kimg more, {kimg:g} in all. A training of another "
            "length starts from the beginning."
        )
        return _experiment(e, advice, kimg)
    warm_up = _round_up(e.spec.warm_up.kimg * kimg / e.spec.kimg)
    advice = f"Train longer: {warm_up:g} kimg of warm-up, and {kimg:g} kimg after it."
    return _experiment(e, advice, kimg, warm_up=warm_up)


def _measure(e: Evidence) -> NextStep:
    return NextStep("Evaluate it.", "", f"dvc repro evaluate@{e.name}")


def _train(e: Evidence) -> NextStep:
    return _longer(e, max(2 * e.spec.kimg, ENOUGH_STEPS * e.spec.batch / 1000))


def _train_longer(e: Evidence) -> NextStep:
    return _longer(e, 2 * e.spec.kimg)


def _diversify(e: Evidence) -> NextStep:
    """The first remedy for a collapse that this model does not use yet."""
    D, critic = e.spec.discriminator, e.spec.objective.kind == "wasserstein"
    penalties = e.spec.penalties or params.Penalties()
    if _takes_augmentation(e.spec):
        return _augment(e)
    if e.spec.condition == "picture" and D.kind == "compact" and not D.pairs:
        also = f" and models.{e.name}.warm_up.discriminator.pairs" if e.spec.warm_up else ""
        advice = (
            "Let the discriminator see how much images of one original differ: set "
            f"models.{e.name}.discriminator.pairs{also} to true."
        )
        return NextStep(advice, _time(e, e.spec.kimg))
    if not (critic or penalties.gradient or getattr(D, "minibatch_stddev", True)):
        advice = "Let the discriminator see the variety of a batch (minibatch standard deviation)."
        return _experiment(e, advice, e.spec.kimg, "discriminator.minibatch_stddev=true")
    advice = "Halve the learning rate."
    return _experiment(e, advice, e.spec.kimg, f"optimizer.lr={e.spec.optimizer.lr / 2:g}")


def _takes_augmentation(spec: params.Model) -> bool:
    return not spec.diffaugment and spec.discriminator.kind != "began"


def _augment(e: Evidence) -> NextStep:
    advice = "Augment the discriminator's input, so that it cannot memorise the training images."
    return _experiment(e, advice, e.spec.kimg, "diffaugment=[translation]")


def _forget(e: Evidence) -> NextStep:
    """The first remedy for copies that this model does not use yet."""
    if _takes_augmentation(e.spec):
        return _augment(e)
    kimg = max(_round_up(e.spec.kimg / 2), e.spec.batch / 1000)
    advice = f"Collect more originals, which helps most, or stop earlier, after {kimg:g} kimg."
    return _experiment(e, advice, kimg)


def _use(e: Evidence) -> NextStep:
    return NextStep("Use it.", "", f"ganloom generate --model {e.name} -n 64 --out pictures")


def _change(e: Evidence) -> NextStep:
    return NextStep(
        ("See the alarms above for what to change. " if e.alarms else "")
        + "More training does not help. Collect more originals, which helps most, or choose "
        f"another recipe: {RECIPES}."
    )


# --- rules ---------------------------------------------------------------------------------------

RULES: Sequence[Rule] = (
    Rule(
        "Not evaluated",
        _is_unmeasured,
        lambda _: [],
        _measure,
        may_be_best=False,
    ),
    Rule(
        "Not trained yet",
        _is_untrained,
        _why_untrained,
        _train,
        may_be_best=False,
        has_learned=False,
    ),
    Rule(
        "Collapsed",
        _has_collapsed,
        _why_collapsed,
        _diversify,
        may_be_best=False,
        has_learned=False,
    ),
    Rule("Copying", _copies, _why_copying, _forget, may_be_best=False),
    Rule("Good for this collection", _is_good, _why_good, _use),
    Rule("Still learning", _still_learns, _why_learning, _train_longer),
    Rule("No longer improving", lambda _: True, _why_levelled, _change),
)
