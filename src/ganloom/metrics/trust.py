"""Descriptions of how each metric was measured, and warnings when it is unreliable."""

from __future__ import annotations

from collections.abc import Mapping

from ganloom.features import LITE2, SIDE, WIDTH
from ganloom.metrics.classes import FITTED
from ganloom.metrics.inception import RESIZED, WEIGHTS
from ganloom.metrics.neighbours import THUMBNAIL
from ganloom.metrics.swd import PATCH, PATCHES_PER_IMAGE
from ganloom.params import Evaluate

# Least number of images in each set, see docs/metrics.md. With fewer, the KID of real images
# against other real images varies as much as between models; the neighbourhoods of precision,
# recall, density and coverage cover much of the set; FD is mostly bias.
FEW_FOR_KID = 160
FEW_FOR_NEIGHBOURS = 80
FEW_FOR_FD = WIDTH

# With a lower accuracy on real images, the classifier's own errors dominate the class score.
GOOD_CLASSIFIER = 0.7


def measures(
    numbers: Mapping[str, float], evaluate: Evaluate, *, against: str, train: int, samples: int
) -> dict[str, str]:
    """Describe how each metric was measured: features, images and settings.

    Args:
        numbers: Metrics of a model.
        evaluate: Section ``evaluate``.
        against: Description of the real images that samples were compared with.
        train: Number of training images.
        samples: Number of samples.
    """
    n = int(numbers["n"])
    lite2 = f"{LITE2.network}, pooled, of {SIDE} x {SIDE} px (bilinear, antialiased)"
    pixels = f"{THUMBNAIL} x {THUMBNAIL} px (mean of what each covers)"
    beside = f"{n} generated and {n} real pictures ({against})"
    near = f"k = {evaluate.nearest_k}; {lite2}; {beside}"
    inputs = f"{samples} generated pictures and {train} training images"
    found = {
        "kid_lite2": f"cubic kernel, all pairs; deviation over {evaluate.kid_subsets} subsets of "
        f"{evaluate.kid_subset_size}; {lite2}; {beside}",
        "fd_lite2": f"{lite2}; {beside}",
        **dict.fromkeys(("precision", "recall", "density", "coverage"), near),
        "swd": f"{evaluate.swd_projections} directions, {PATCHES_PER_IMAGE} patches of {PATCH} x "
        f"{PATCH} px a picture and level, none resized but by halves; {beside}",
        "authenticity": f"{lite2}; {inputs}",
        "authenticity_pixels": f"{pixels}; {samples} generated pictures and all training images",
        "duplicates": f"{lite2}; {inputs}",
        "duplicates_pixels": f"{pixels}; {inputs}",
        "kid_gap": f"cubic kernel, all pairs; {lite2}; {samples} generated pictures, {train} "
        f"training images and the unseen ones ({against})",
        "logit_auc": f"the model's own discriminator, whole pictures; {train} training images and "
        f"the unseen ones ({against})",
        "class_score": f"logistic regression on {FITTED} training images at most; {lite2}; "
        f"{samples} generated pictures",
        "fid_inception": f"Inception-v3 of torch-fidelity (sha256 {WEIGHTS.sha256}), 2048 pooled "
        f"features, of {RESIZED}; {beside}",
        "kid_inception": f"cubic kernel, all pairs; the same features; {beside}",
    }
    if evaluate.paths:
        found["path_length"] = (
            f"{evaluate.paths.count} interpolations of {evaluate.paths.steps} steps; {lite2}"
        )
    return {key: value for key, value in found.items() if key in numbers}


def warnings(numbers: Mapping[str, float], *, seen_only: bool) -> list[str]:
    """List the metrics that are unreliable, with the reasons; empty if there are none.

    Args:
        numbers: Metrics of a model.
        seen_only: Whether there are no real images but training images.
    """
    n = int(numbers["n"])
    found = []
    if seen_only:
        found.append(
            "There are no unseen originals: everything is measured beside the training images, so "
            "a model that copies them looks good. Set curate.holdout, or collect more."
        )
    if n < FEW_FOR_KID:
        found.append(
            f"KID-lite2 is of {n} pictures and spreads widely: models whose KID differs by less "
            "than twice its deviation (kid_lite2_std) cannot be told apart. It steadies from "
            f"{FEW_FOR_KID} pictures on."
        )
    if n < FEW_FOR_NEIGHBOURS:
        found.append(
            f"Precision, recall, density and coverage are of {n} pictures: neighbours lie so far "
            "apart that nearly everything is near something, and they come out too high. Take "
            f"{FEW_FOR_NEIGHBOURS} or more."
        )
    if n <= FEW_FOR_FD:
        found.append(
            f"FD-lite2 is of {n} pictures, no more than its {WIDTH} dimensions: even real pictures "
            "of one kind come out far above 0, the farther the fewer there are. Compare it only "
            "with rows of as many pictures, and with the reference rows."
        )
    if "fid_inception" in numbers and n < 10_000:
        found.append(
            f"FID is of {n} pictures and higher than that of 50,000 in the literature would be; "
            "KID on Inception's features is not."
        )
    if numbers.get("class_score_holdout", 1) < GOOD_CLASSIFIER:
        found.append(
            f"The classifier names only {numbers['class_score_holdout']:.0%} of real unseen "
            "pictures right: whether samples show their class cannot be judged by it."
        )
    return found
