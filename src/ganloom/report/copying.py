"""Whether a model copies its training images: the signs, and one answer made from all of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ganloom.report.figures import number

Values = Mapping[str, Any]

# By how much more than unseen originals samples may be like training images, beside the error of a
# share of so few samples; and the share of pairs from which on a discriminator has memorised some.
TOLERATED = 0.05
GUESSING = 0.6


@dataclass(frozen=True)
class Sign:
    """A sign of copying.

    Attributes:
        words: What was measured, and beside what.
        holds: Whether it shows more likeness than unseen originals have; None: there is no scale.
        is_strong: Whether it compares samples with training images one by one. The others can come
            from something else, or only say that the model could copy (docs/metrics.md).
    """

    words: str
    holds: bool | None
    is_strong: bool


@dataclass(frozen=True)
class Copying:
    """All signs of a model, and what they come to."""

    answer: str
    signs: list[str]
    is_suspected: bool


def copying(metrics: Values, unseen: Values) -> Copying | None:
    """Judge by all signs that were measured; None where there are none.

    Args:
        metrics: Of the model.
        unseen: The same of originals that it never saw; empty if there are none.
    """
    found = [*_shares(metrics, unseen), *_gap(metrics, unseen), *_recognition(metrics)]
    if not found:
        return None
    is_suspected = any(sign.holds and sign.is_strong for sign in found)
    return Copying(_answer(found), [sign.words for sign in found], is_suspected)


def _answer(signs: list[Sign]) -> str:
    holding = [sign for sign in signs if sign.holds]
    of = f"{len(holding)} of {len(signs)} signs" if len(signs) > 1 else "the only sign"
    if any(sign.is_strong for sign in holding):
        return f"Probably: by {of}, samples are closer to training images than chance explains."
    if not any(sign.is_strong and sign.holds is not None for sign in signs):
        return (
            "That cannot be told: there is no measure of how close unseen originals come to "
            "training images."
        )
    if holding:
        return (
            "No copies were found: samples are no closer to training images than unseen originals "
            f"are. But by {of} it may have begun to memorise."
        )
    return "No: samples are no closer to training images than unseen originals are."


def _shares(metrics: Values, unseen: Values) -> list[Sign]:
    signs = {
        "authenticity": "are closer to a training image than that image is to any other",
        "authenticity_pixels": "are so at 16 x 16 px, whatever a network sees in them",
    }
    return [_share(metrics, unseen, key, words) for key, words in signs.items() if key in metrics]


def _share(metrics: Values, unseen: Values, key: str, words: str) -> Sign:
    """How many samples are not authentic."""
    share, samples = 1 - metrics[key], metrics.get("samples")
    count = f"{share:.0%} of the samples"
    if samples:
        count = f"{round(share * samples):,} of {samples:,} samples ({share:.0%})"
    if key not in unseen:
        return Sign(f"{count} {words}.", None, is_strong=True)
    other = 1 - unseen[key]
    error = math.sqrt(other * (1 - other) / samples) if samples else 0.0
    holds = share > other + TOLERATED + 2 * error
    explained = (
        "That is more than likeness explains: look closely at the pairs."
        if holds
        else "That is no more than likeness explains."
    )
    beside = f"of originals that it never saw, {other:.0%}"
    return Sign(f"{count} {words}; {beside}. {explained}", holds, is_strong=True)


def _gap(metrics: Values, unseen: Values) -> list[Sign]:
    if "kid_gap" not in metrics:
        return []
    gap, deviation = metrics["kid_gap"], metrics["kid_gap_std"]
    near, other = sorted(("training images", "unseen originals"), reverse=gap < 0)
    holds = gap > 2 * deviation
    far = ""
    if "kid_lite2" in unseen:
        real = unseen["kid_lite2"]
        far = f"; training images themselves are {number(real)} from unseen originals"
    explained = (
        "They are nearer to what it was trained on than chance explains."
        if holds
        else "That may be chance."
    )
    words = (
        f"In KID, samples are {number(abs(gap))} nearer to {near} than to {other}, with a "
        f"deviation of {number(deviation)} over subsets{far}. {explained}"
    )
    return [Sign(words, holds, is_strong=False)]


def _recognition(metrics: Values) -> list[Sign]:
    if "logit_auc" not in metrics:
        return []
    holds = metrics["logit_auc"] > GUESSING
    explained = (
        "It has memorised part of them, and what the generator learns from it is to copy."
        if holds
        else "It can hardly tell them apart."
    )
    words = (
        f"Its discriminator rates the training image higher in {metrics['logit_auc']:.0%} of pairs "
        f"with an unseen one (50%: it guesses). {explained}"
    )
    return [Sign(words, holds, is_strong=False)]
