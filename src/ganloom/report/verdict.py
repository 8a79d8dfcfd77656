"""What a model's numbers come to, in words, and what to do next.

``RULES`` is the table: the first rule that holds gives the verdict. Numbers of real pictures beside
each other are the scale wherever there are some.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ganloom import params
from ganloom.report.copying import Copying
from ganloom.report.figures import counted, number

Values = Mapping[str, Any]

# Fewer steps have trained no generator, unless some recall shows that they have.
FEW_STEPS = 1000
ENOUGH_STEPS = 3500  # what the default recipe takes
SOME_RECALL = 0.01

# More samples than this with a near-duplicate among the samples are a collapse, unless the same is
# nearly true of real pictures.
TWINS, TWINS_BEYOND_REAL = 0.5, 0.25

# What real pictures reach, and how much of that is good: a KID that is no more than so much higher,
# and shares of the others. Recall is the hardest to raise, and falls first.
NEAR_KID = 0.25
NEAR = {"precision": 0.5, "coverage": 0.5, "recall": 0.25}

# Below so many pictures, these shares come out too high: ``FEW_FOR_NEIGHBOURS`` of metrics.trust,
# which would import torch.
FEW_PICTURES = 80

# KID still falls where its lowest value was found in the last part of a training.
LATE = 0.75

RECIPES = 'docs/models.md, "Which to choose"'


@dataclass(frozen=True)
class Evidence:
    """What is known of a model; all but its name and parameters may be missing.

    Attributes:
        name: Of the model.
        spec: Its parameters.
        metrics: Its numbers; empty if it was not measured.
        real: The same of training images against unseen originals; empty if there are none.
        judgement: ``judgement.json``: looks, the chosen state, alarms.
        run: ``run.json``: length and speed of the training.
        copying: What the signs of copying come to.
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
        """Steps up to the state that became the model."""
        kimg = self.metrics.get("kimg", self.trained)
        return round(kimg * 1000 / self.spec.batch)

    @property
    def alarms(self) -> list[str]:
        """Kinds of alarm that were on when the model was in the state that was kept."""
        kept = self.judgement.get("chosen", {}).get("kimg", self.trained)
        return [
            alarm.get("kind", "")
            for alarm in self.judgement.get("alarms", [])
            if alarm.get("kimg", 0) <= kept < (alarm.get("over") or math.inf)
        ]


@dataclass(frozen=True)
class Step:
    """What to do next: why, for how long in words ("" if unknown), and by which command, if any."""

    advice: str
    time: str = ""
    command: str = ""


@dataclass(frozen=True)
class Verdict:
    """A verdict: what is shown of a rule that held.

    Attributes:
        words: In a few words.
        reasons: The numbers behind it, a sentence each.
        next: What to do next.
        may_be_best: Whether the model may be called the best of several.
        has_learned: Whether its pictures are worth judging.
    """

    words: str
    reasons: list[str]
    next: Step
    may_be_best: bool
    has_learned: bool


@dataclass(frozen=True)
class Rule:
    """A row of the table; ``Verdict`` explains what they share."""

    words: str
    holds: Callable[[Evidence], bool]
    reasons: Callable[[Evidence], list[str]]
    next: Callable[[Evidence], Step]
    may_be_best: bool = True
    has_learned: bool = True


def verdict(evidence: Evidence) -> Verdict:
    """Apply the first rule that holds; the last one always does."""
    rule = next(rule for rule in RULES if rule.holds(evidence))
    return Verdict(
        rule.words,
        [*filter(None, rule.reasons(evidence)), *_cautions(evidence)],
        rule.next(evidence),
        may_be_best=rule.may_be_best,
        has_learned=rule.has_learned,
    )


# --- when a rule holds ---------------------------------------------------------------------------


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
    """Whether every number is near that of real pictures; not known without a scale."""
    if any(key not in e.metrics or key not in e.real for key in ("kid_lite2", *NEAR)):
        return False
    is_near = e.metrics["kid_lite2"] - e.real["kid_lite2"] <= NEAR_KID
    return is_near and all(e.metrics[key] >= part * e.real[key] for key, part in NEAR.items())


def _still_learns(e: Evidence) -> bool:
    looks = e.judgement.get("looks", [])
    if not looks:
        return True
    lowest = min(looks, key=lambda look: look["kid"])
    was_stopped = bool(e.judgement.get("stopped"))
    return lowest["kimg"] >= LATE * looks[-1]["kimg"] and not was_stopped


# --- why -----------------------------------------------------------------------------------------


def _beside_real(e: Evidence, *keys: str) -> str:
    """Some numbers, each beside that of real pictures, in words: "recall 0.10 (real: 0.78)"."""
    parts = []
    for key in keys:
        if key in e.metrics:
            real = f" (real pictures: {number(e.real[key])})" if key in e.real else ""
            name = "KID" if key == "kid_lite2" else key
            parts.append(f"{name} {number(e.metrics[key])}{real}")
    return ", ".join(parts)


def _overlap(e: Evidence) -> str:
    shown = _beside_real(e, "kid_lite2", *NEAR)
    return f"Measured: {shown}." if shown else ""


def _why_untrained(e: Evidence) -> list[str]:
    seen = f"It was trained for only {counted(e.steps, 'step')}: its samples show nothing yet."
    alarmed = "Alarms mean little so early." if e.judgement.get("alarms") else ""
    return [seen, _overlap(e), alarmed]


def _why_collapsed(e: Evidence) -> list[str]:
    found = []
    if "collapse" in e.alarms:
        found.append("Its samples differ less than half as much as training images do.")
    if "duplicates" in e.metrics:
        real = f" (real pictures: {e.real['duplicates']:.0%})" if "duplicates" in e.real else ""
        twins = e.metrics["duplicates"]
        found.append(f"{twins:.0%} of its samples have a near-duplicate among them{real}.")
    return found


def _why_copying(e: Evidence) -> list[str]:
    return [e.copying.answer] if e.copying else []


def _why_good(e: Evidence) -> list[str]:
    reasons = [_overlap(e), "No number is far from that of real pictures."]
    return reasons if e.copying is None else [*reasons, f"Does it copy? {e.copying.answer}"]


def _why_learning(e: Evidence) -> list[str]:
    looks = e.judgement.get("looks", [])
    course = "Whether more training helps is not known: the training took no looks at it."
    if looks:
        course = "Its KID was still falling when the training ended."
    return [course, _overlap(e)]


def _why_levelled(e: Evidence) -> list[str]:
    lowest = min(e.judgement["looks"], key=lambda look: look["kid"])
    course = f"Its KID has not fallen since {lowest['kimg']:g} of {e.trained:g} kimg."
    return [course, _overlap(e)]


def _cautions(e: Evidence) -> list[str]:
    """What makes any verdict doubtful."""
    found = []
    if e.metrics.get("n", math.inf) < FEW_PICTURES:
        found.append(f"All of this is of {e.metrics['n']} pictures only: take it as a first guess.")
    if e.metrics and not e.real:
        found.append(
            "There are no unseen originals to compare with, so whether it is good cannot be told: "
            "set curate.holdout, or collect more."
        )
    return found


# --- what next -----------------------------------------------------------------------------------


def _experiment(e: Evidence, advice: str, kimg: float, change: str = "") -> Step:
    """A training for ``kimg``, with one more parameter of the model changed: "key=value"."""
    changes = [change] if change else []
    if kimg != e.spec.kimg:
        changes.append(f"kimg={kimg:g}")
    options = (f"-S {shlex.quote(f'models.{e.name}.{change}')}" for change in changes)
    return Step(advice, _time(e, kimg), f"dvc exp run {' '.join(options)}")


def _time(e: Evidence, kimg: float) -> str:
    """How long a training of ``kimg`` takes at the speed of the one before, in words."""
    speed = e.run.get("images_per_second", 0.0)
    return f"about {duration(kimg * 1000 / speed)}" if speed else ""


def duration(seconds: float) -> str:
    """In the largest unit that is not below 1: "40 s", "9 min", "2.5 h"."""
    if seconds < 100:
        return f"{max(1, round(seconds))} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"


def _round_up(kimg: float) -> float:
    """To two digits, upwards."""
    unit = 10.0 ** (math.floor(math.log10(kimg)) - 1)
    return round(math.ceil(round(kimg / unit, 6)) * unit, 6)


def _longer(e: Evidence, kimg: float) -> Step:
    kimg = _round_up(kimg)
    advice = (
        f"Train for {kimg - e.spec.kimg:g} kimg more, {kimg:g} in all: a training of another "
        "length starts from the beginning."
    )
    return _experiment(e, advice, kimg)


def _measure(e: Evidence) -> Step:
    return Step("Measure it.", "", f"dvc repro evaluate@{e.name}")


def _train(e: Evidence) -> Step:
    return _longer(e, max(2 * e.spec.kimg, ENOUGH_STEPS * e.spec.batch / 1000))


def _train_longer(e: Evidence) -> Step:
    return _longer(e, 2 * e.spec.kimg)


def _diversify(e: Evidence) -> Step:
    """Take the first remedy for a collapse that this model has not."""
    D, critic = e.spec.discriminator, e.spec.objective.kind == "wasserstein"
    penalties = e.spec.penalties or params.Penalties()
    if _takes_augmentation(e.spec):
        return _augment(e)
    if not (critic or penalties.gradient or getattr(D, "minibatch_stddev", True)):
        advice = "Show the discriminator how much the samples of a batch differ."
        return _experiment(e, advice, e.spec.kimg, "discriminator.minibatch_stddev=true")
    advice = "Train with half of the learning rate."
    return _experiment(e, advice, e.spec.kimg, f"optimizer.lr={e.spec.optimizer.lr / 2:g}")


def _takes_augmentation(spec: params.Model) -> bool:
    return not spec.diffaugment and spec.discriminator.kind != "began"


def _augment(e: Evidence) -> Step:
    advice = "Augment what the discriminator sees, so that it cannot memorise the training images."
    return _experiment(e, advice, e.spec.kimg, "diffaugment=[translation]")


def _forget(e: Evidence) -> Step:
    """Take the first remedy for copying that this model has not."""
    if _takes_augmentation(e.spec):
        return _augment(e)
    kimg = max(_round_up(e.spec.kimg / 2), e.spec.batch / 1000)
    advice = f"Collect more originals: that helps most. Or stop earlier, after {kimg:g} kimg."
    return _experiment(e, advice, kimg)


def _use(e: Evidence) -> Step:
    return Step("Use it.", "", f"ganloom generate --model {e.name} -n 64 --out pictures")


def _change(e: Evidence) -> Step:
    return Step(
        ("The alarms above say what to change. " if e.alarms else "")
        + "More of the same training does not help. More originals help most; else take the recipe "
        f"that fits the collection: {RECIPES}."
    )


# --- the table -----------------------------------------------------------------------------------

RULES: Sequence[Rule] = (
    Rule(
        "Not measured",
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
