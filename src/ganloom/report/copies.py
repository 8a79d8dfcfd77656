"""Detection of copies of training images: the signs, and one answer that combines them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ganloom.report.figures import number

Values = Mapping[str, Any]

# Tolerated excess of the share of inauthentic samples over that of holdout originals, besides two
# standard errors; and the AUC above which a discriminator has memorised training images.
TOLERATED = 0.05
GUESSING = 0.6


@dataclass(frozen=True)
class Sign:
    """A sign of copying.

    Attributes:
        words: Description of the measurement and its reference.
        holds: Whether samples are closer to training images than holdout originals are; None
            without a reference.
        is_strong: Whether it compares single samples with single training images. Other signs may
            have other causes, or only show that the model could copy (docs/metrics.md).
    """

    words: str
    holds: bool | None
    is_strong: bool


@dataclass(frozen=True)
class Copying:
    """All signs of a model, and the combined answer."""

    answer: str
    signs: list[str]
    is_suspected: bool


def copying(metrics: Values, unseen: Values) -> Copying | None:
    """Combine all signs that were measured; None if there are none.

    Args:
        metrics: Metrics of the model.
        unseen: The same metrics of holdout originals; empty if there are none.
    """
    signs = [*_shares(metrics, unseen), *_gap(metrics, unseen), *_recognition(metrics)]
    if not signs:
        return None
    is_suspected = any(sign.holds and sign.is_strong for sign in signs)
    return Copying(_answer(signs), [sign.words for sign in signs], is_suspected)


def _answer(signs: list[Sign]) -> str:
    holding = [sign for sign in signs if sign.holds]
    of = f"{len(holding)} of {len(signs)} signs" if len(signs) > 1 else "the only sign"
    if any(sign.is_strong for sign in holding):
        return f"Probably: according to {of}, samples are closer to training images than by chance."
    if not any(sign.is_strong and sign.holds is not None for sign in signs):
        return (
            "Unknown: there are no holdout originals to measure how close real images come to "
            "training images."
        )
    if holding:
        return (
            "No copies were found: samples are no closer to training images than holdout originals "
            f"are. However, {of} suggest that it starts to memorise."
        )
    return "No: samples are no closer to training images than holdout originals are."


def _shares(metrics: Values, unseen: Values) -> list[Sign]:
    signs = {
        "authenticity": "are closer to a training image than that image is to any other",
        "authenticity_pixels": "are so in pixels, at 16 x 16 px",
    }
    return [_share(metrics, unseen, key, words) for key, words in signs.items() if key in metrics]


def _share(metrics: Values, unseen: Values, key: str, words: str) -> Sign:
    """Share of samples that are not authentic, compared with that of holdout originals."""
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
        "That is more than similar images explain: inspect the pairs below."
        if holds
        else "That is what similar images explain."
    )
    beside = f"of holdout originals, {other:.0%}"
    return Sign(f"{count} {words}; {beside}. {explained}", holds, is_strong=True)


def _gap(metrics: Values, unseen: Values) -> list[Sign]:
    if "kid_gap" not in metrics:
        return []
    gap, deviation = metrics["kid_gap"], metrics["kid_gap_std"]
    near, other = sorted(("training images", "holdout originals"), reverse=gap < 0)
    holds = gap > 2 * deviation
    far = ""
    if "kid_lite2" in unseen:
        real = unseen["kid_lite2"]
        far = f"; the distance of training images to holdout originals is {number(real)}"
    explained = (
        "Samples are closer to training images than by chance." if holds else "This may be chance."
    )
    words = (
        f"By KID, samples are {number(abs(gap))} closer to {near} than to {other}, with a standard "
        f"deviation of {number(deviation)} over subsets{far}. {explained}"
    )
    return [Sign(words, holds, is_strong=False)]


def _recognition(metrics: Values) -> list[Sign]:
    if "logit_auc" not in metrics:
        return []
    holds = metrics["logit_auc"] > GUESSING
    explained = (
        "It has memorised training images, which teaches the generator to copy."
        if holds
        else "It hardly distinguishes them."
    )
    words = (
        f"Its discriminator rates the training image higher in {metrics['logit_auc']:.0%} of pairs "
        f"with a holdout image (50%: chance). {explained}"
    )
    return [Sign(words, holds, is_strong=False)]
