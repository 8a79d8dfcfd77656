"""The catalogue of metrics: what each number in ``results/metrics/<model>.json`` means.

It decides what DVC, ``ganloom compare`` and the report show, how ``protocol.json`` describes the
numbers, and what the table in docs/metrics.md says. It imports no code of the metrics, so that
reading it does not load torch.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from ganloom.params import Evaluate

Numbers = Mapping[str, float]

# Numbers of images in each set, see docs/metrics.md. With fewer, the KID of real images against
# other real images varies as much as between models; the neighbourhoods of precision, recall,
# density and coverage cover much of the set; FD is mostly bias, up to as many images as there are
# features; and FID is higher than in the literature.
FEW_FOR_KID = 160
FEW_FOR_NEIGHBOURS = 80
FEW_FOR_FD = 1280
FEW_FOR_FID = 10_000

# With a lower accuracy on real images, the classifier's own errors dominate the class score.
GOOD_CLASSIFIER = 0.7


class Caution(NamedTuple):
    """A warning about numbers for which ``holds`` is true; ``text`` is a format string of them."""

    holds: Callable[[Numbers], bool]
    text: str


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A number in ``results/metrics/<model>.json``.

    Attributes:
        key: Key of the number.
        name: Name in tables.
        better: Whether lower or higher values are better; None if neither.
        shown: Where it is shown: ``key`` in DVC's table, in ``ganloom compare`` and in the report's
            comparison of models; ``report`` in the report's comparison only; ``list`` only in the
            list of all numbers of a model.
        meaning: What it measures.
        ignores: What it does not measure.
        unreliable: When it is unreliable.
        measured: How it was measured: parts of a format string of all numbers of the model and the
            arguments of ``measures``; empty if another metric's text covers it.
        caution: Warning that ``protocol.json`` and the report give if it is unreliable.
    """

    key: str
    name: str
    better: Literal["lower", "higher"] | None = None
    shown: Literal["key", "report", "list"] = "list"
    meaning: str
    ignores: str = ""
    unreliable: str = ""
    measured: tuple[str, ...] = ()
    caution: Caution | None = None


# --- parts that several metrics share -----------------------------------------------------------

LITE2 = "pooled features of tf_efficientnet_lite2 at 128 x 128 px (bilinear, antialiased)"
INCEPTION = (
    "2048 pooled features of torch-fidelity's Inception-v3 (sha256 "
    "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2) at 299 x 299 px (bilinear "
    "as in TensorFlow 1, not antialiased)"
)
THUMBNAILS = "thumbnails of 16 x 16 px (area average)"
CUBIC_KERNEL = "cubic kernel, all pairs"
DISCRIMINATOR = "the model's own discriminator on whole images"
NEIGHBOURHOODS = "k = {evaluate.nearest_k}"
INTERPOLATIONS = "{evaluate.paths.count} interpolations of {evaluate.paths.steps} steps"
PAIRS = "{n} generated and {n} real images ({against})"
WITH_TRAINING = "{samples} generated and {train} training images"
WITH_UNSEEN = "{train} training images and the unseen real images ({against})"

FEW_NEIGHBOURS = Caution(
    lambda numbers: numbers["n"] < FEW_FOR_NEIGHBOURS,
    "Precision, recall, density and coverage were computed from {n} images, which makes them too "
    "high: neighbours are so far apart that nearly every image is near another. Use "
    f"{FEW_FOR_NEIGHBOURS} images or more.",
)
FEW_NEIGHBOURS_TEXT = f"Below {FEW_FOR_NEIGHBOURS} images, where it is too high."

NO_UNSEEN_IMAGES = (
    "There are no holdout originals to compare with: samples were compared with training images, "
    "so a model that copies them looks good. Set curate.holdout, or collect more originals."
)

# --- the catalogue ------------------------------------------------------------------------------

METRICS = (
    Metric(
        key="kid_lite2",
        name="KID-lite2",
        better="lower",
        shown="key",
        meaning="Distance of samples to real images: the unbiased kernel distance between features "
        "of EfficientNet-Lite2; close to 0, even negative, for equal distributions.",
        ignores="Copying; anything that EfficientNet-Lite2 does not see.",
        unreliable="For differences of less than two `kid_lite2_std`; below "
        f"{FEW_FOR_KID} images; for discriminators of kind `projected`, which are trained with the "
        "related EfficientNet-Lite0: use `swd`.",
        measured=(
            CUBIC_KERNEL,
            "standard deviation over {evaluate.kid_subsets} subsets of {evaluate.kid_subset_size} "
            "images",
            LITE2,
            PAIRS,
        ),
        caution=Caution(
            lambda numbers: numbers["n"] < FEW_FOR_KID,
            "KID-lite2 was computed from {n} images and has a high variance: models whose KID "
            "differs by less than twice its standard deviation (kid_lite2_std) cannot be told "
            f"apart. Use {FEW_FOR_KID} images or more.",
        ),
    ),
    Metric(
        key="kid_lite2_std",
        name="Standard deviation of KID-lite2",
        meaning="Standard deviation of `kid_lite2` over random subsets.",
    ),
    Metric(
        key="fd_lite2",
        name="FD-lite2",
        better="lower",
        shown="report",
        meaning="Distance of samples to real images: the Fréchet distance between the same "
        "features, from means and covariances; larger for fewer images, so compare it with the "
        "reference rows only.",
        ignores="The same as `kid_lite2`.",
        unreliable="When compared with a value for another number of images; up to "
        f"{FEW_FOR_FD:,} images, except in comparison with the reference rows.",
        measured=(LITE2, PAIRS),
        caution=Caution(
            lambda numbers: numbers["n"] <= FEW_FOR_FD,
            "FD-lite2 was computed from {n} images, no more than its features have dimensions "
            f"({FEW_FOR_FD:,}): it is far above 0 even for two sets of real images, and more "
            "so for fewer images. Compare it only with values for as many images, and with the "
            "reference rows.",
        ),
    ),
    Metric(
        key="swd",
        name="SWD",
        better="lower",
        shown="key",
        meaning="Difference in texture between samples and real images: the sliced Wasserstein "
        "distance between patches at several scales, without a neural network.",
        ignores="Overall colour, which is normalised; objects.",
        unreliable="Below 32 px, where there is one scale; for differences as small as between two "
        "sets of samples of one model (2 of 30, for 500 textiles).",
        measured=(
            "{evaluate.swd_projections} directions, 128 patches of 7 x 7 px per image and scale",
            "images are resized only by halving",
            PAIRS,
        ),
    ),
    Metric(
        key="swd_<side>",
        name="SWD at one scale",
        better="lower",
        meaning="SWD at the scale at which images have this side in px; the finest scales are the "
        "most informative.",
    ),
    Metric(
        key="precision",
        name="Precision",
        better="higher",
        shown="report",
        meaning="Fidelity: the share of samples that lie near real images.",
        ignores="Variety: one good image repeated reaches 1.",
        unreliable=FEW_NEIGHBOURS_TEXT,
        measured=(NEIGHBOURHOODS, LITE2, PAIRS),
        caution=FEW_NEIGHBOURS,
    ),
    Metric(
        key="recall",
        name="Recall",
        better="higher",
        shown="key",
        meaning="Variety: the share of real images that lie near samples.",
        ignores="Fidelity: a few outliers among the samples can cover many real images.",
        unreliable=FEW_NEIGHBOURS_TEXT,
        measured=(NEIGHBOURHOODS, LITE2, PAIRS),
        caution=FEW_NEIGHBOURS,
    ),
    Metric(
        key="density",
        name="Density",
        better="higher",
        shown="report",
        meaning="Fidelity, robust to outliers: the density of real images around samples; about 1 "
        "for real images.",
        ignores="Variety: one good image repeated reaches 1 or more.",
        unreliable=FEW_NEIGHBOURS_TEXT,
        measured=(NEIGHBOURHOODS, LITE2, PAIRS),
        caution=FEW_NEIGHBOURS,
    ),
    Metric(
        key="coverage",
        name="Coverage",
        better="higher",
        shown="key",
        meaning="Variety, robust to outliers: the share of real images with a sample nearby.",
        ignores="Fidelity.",
        unreliable=FEW_NEIGHBOURS_TEXT,
        measured=(NEIGHBOURHOODS, LITE2, PAIRS),
        caution=FEW_NEIGHBOURS,
    ),
    Metric(
        key="authenticity",
        name="Authenticity",
        better="higher",
        shown="key",
        meaning="Originality: the share of samples that are farther from their nearest training "
        "image than that image is from its own nearest neighbour; about one half for new real "
        "images, less if there are copies.",
        ignores="Quality: noise is authentic.",
        unreliable="Where training images are nearly equal (mirrored ones of symmetric images), "
        "which hides copies: compare it with the reference row of holdout originals, which has the "
        "same bias.",
        measured=(LITE2, WITH_TRAINING),
    ),
    Metric(
        key="authenticity_pixels",
        name="Authenticity in pixels",
        better="higher",
        meaning="Authenticity in thumbnails of 16 x 16 px, relative to all training images.",
        ignores="Quality.",
        unreliable="As `authenticity`.",
        measured=(THUMBNAILS, "{samples} generated and all training images"),
    ),
    Metric(
        key="duplicates",
        name="Duplicates",
        better="lower",
        meaning="Mode collapse: the share of samples that have a near-duplicate among the samples, "
        "nearer than 95 % of training images are to their nearest neighbour; about 0.05 for real "
        "images.",
        ignores="Whether the model makes few kinds of image or few images.",
        unreliable="Where it is close to the reference row.",
        measured=(LITE2, WITH_TRAINING),
    ),
    Metric(
        key="duplicates_pixels",
        name="Duplicates in pixels",
        better="lower",
        meaning="Duplicates in thumbnails of 16 x 16 px.",
        ignores="As `duplicates`.",
        unreliable="As `duplicates`.",
        measured=(THUMBNAILS, WITH_TRAINING),
    ),
    Metric(
        key="kid_gap",
        name="KID gap",
        meaning="KID of samples to unseen images minus KID to training images; positive if samples "
        "are closer to training images.",
        ignores="Copying, in practice.",
        unreliable="Nearly always: it is significant only above two `kid_gap_std`.",
        measured=(CUBIC_KERNEL, LITE2, "{samples} generated images, " + WITH_UNSEEN),
    ),
    Metric(
        key="kid_gap_std",
        name="Standard deviation of the KID gap",
        meaning="Standard deviation of `kid_gap` over random subsets.",
    ),
    Metric(
        key="logit_auc",
        name="AUC of logits",
        meaning="Memorisation by the discriminator: the share of pairs in which the training image "
        "has a higher logit than the unseen image; 0.5 by chance, 1 for complete memorisation.",
        ignores="Copying by the generator, to which memorisation can lead.",
        unreliable="With `diffaugment`, which trains the discriminator on augmented images.",
        measured=(DISCRIMINATOR, WITH_UNSEEN),
    ),
    Metric(
        key="logit_overfit",
        name="Overfitting of logits",
        meaning="Memorisation by the discriminator: where the mean logit of unseen images lies "
        "between those of training images (0) and samples (1).",
        ignores="As `logit_auc`.",
        unreliable="As `logit_auc`.",
        measured=(DISCRIMINATOR, WITH_UNSEEN),
    ),
    Metric(
        key="logit_train",
        name="Logit of training images",
        meaning="Mean logit of training images, on a scale that depends on the objective.",
    ),
    Metric(
        key="logit_holdout",
        name="Logit of unseen images",
        meaning="Mean logit of unseen images.",
    ),
    Metric(
        key="logit_generated",
        name="Logit of samples",
        meaning="Mean logit of samples.",
    ),
    Metric(
        key="path_length",
        name="Path length",
        meaning="Mean length of interpolations in feature space.",
        ignores="Fidelity.",
        unreliable="When compared with a model of worse KID: a generator that always returns the "
        "same noise is smooth, too.",
        measured=(INTERPOLATIONS, LITE2),
    ),
    Metric(
        key="path_detour",
        name="Detour of paths",
        meaning="Mean length of interpolations over the distance of their ends; 1 for a straight "
        "line.",
        ignores="Fidelity.",
        unreliable="As `path_length`.",
        measured=(INTERPOLATIONS, LITE2),
    ),
    Metric(
        key="path_worst",
        name="Largest step of all paths",
        meaning="Largest step of all interpolations, times their number of steps.",
        ignores="Fidelity.",
        unreliable="As `path_length`.",
        measured=(INTERPOLATIONS, LITE2),
    ),
    Metric(
        key="path_unevenness",
        name="Unevenness of paths",
        meaning="Largest step of an interpolation over its mean step, averaged over "
        "interpolations; 1 for equal steps.",
        ignores="Fidelity.",
        unreliable="As `path_length`.",
        measured=(INTERPOLATIONS, LITE2),
    ),
    Metric(
        key="class_score",
        name="Class score",
        better="higher",
        meaning="The share of samples that a classifier trained on real images assigns to the "
        "class that they were generated for; `<model>/classes.json` has it per class.",
        ignores="Variety within a class.",
        unreliable="Above `class_score_holdout`; where that is below "
        f"{100 * GOOD_CLASSIFIER:.0f} %.",
        measured=(
            "logistic regression on at most 2000 training images",
            LITE2,
            "{samples} generated images",
        ),
        caution=Caution(
            lambda numbers: numbers.get("class_score_holdout", 1) < GOOD_CLASSIFIER,
            "The classifier is right for only {class_score_holdout:.0%} of unseen real images: it "
            "cannot decide whether samples show their class.",
        ),
    ),
    Metric(
        key="class_score_holdout",
        name="Class score of unseen images",
        meaning="Accuracy of the same classifier on unseen real images.",
    ),
    Metric(
        key="fid_inception",
        name="FID",
        better="lower",
        shown="report",
        meaning="Fréchet distance between features of Inception, as in the literature, but from "
        "fewer images, which makes it larger.",
        ignores="The FID of 50,000 images, if there are fewer.",
        unreliable=f"Below {FEW_FOR_FID:,} images.",
        measured=(INCEPTION, PAIRS),
        caution=Caution(
            lambda numbers: numbers["n"] < FEW_FOR_FID,
            "FID was computed from {n} images, so it is higher than the FID of 50,000 images in "
            "the literature. KID on features of Inception is not.",
        ),
    ),
    Metric(
        key="kid_inception",
        name="KID",
        better="lower",
        shown="report",
        meaning="Kernel distance between features of Inception; comparable with the literature.",
        ignores="Copying.",
        measured=(CUBIC_KERNEL, INCEPTION, PAIRS),
    ),
    Metric(
        key="nearest_train",
        name="Distance to training images",
        meaning="Median distance of a sample to its nearest training image, in features of "
        "EfficientNet-Lite2.",
    ),
    Metric(
        key="nearest_train_train",
        name="Distance between training images",
        meaning="Median distance of a training image to its nearest other one, in the same "
        "features.",
    ),
    Metric(
        key="n",
        name="Images compared",
        meaning="Number of samples, and of real images, in a comparison.",
    ),
    Metric(
        key="samples",
        name="Samples",
        meaning="Number of samples that were generated.",
    ),
    Metric(
        key="kimg",
        name="Length of the training",
        meaning="Thousand images shown in training up to the selected checkpoint.",
    ),
)

KEY_METRICS = tuple(metric for metric in METRICS if metric.shown == "key")
COMPARED = tuple(metric for metric in METRICS if metric.shown != "list")

_BY_KEY = {metric.key: metric for metric in METRICS}


def find(key: str) -> Metric:
    """Find the metric of a key in ``results/metrics``.

    Args:
        key: ``swd_32`` is found as ``swd_<side>``. A metric that is also measured against training
            images has the suffix ``_train`` there: ``recall_train`` is found as ``recall``.

    Raises:
        LookupError: The catalogue does not describe it.
    """
    general = re.sub(r"^swd_\d+", "swd_<side>", key)
    for name in (general, general.removesuffix("_train")):
        if name in _BY_KEY:
            return _BY_KEY[name]
    raise LookupError(f"ganloom/metrics/catalogue.py does not describe the metric {key}")


def measures(numbers: Numbers, evaluate: Evaluate, *, against: str, train: int) -> dict[str, str]:
    """Describe how each metric was measured: features, images and settings.

    Args:
        numbers: Metrics of a model.
        evaluate: Section ``evaluate``.
        against: Description of the real images that samples were compared with.
        train: Number of training images that samples were compared with.

    Raises:
        LookupError: The catalogue does not describe one of the metrics.
    """
    found = {}
    for key in numbers:
        metric = find(key)
        if metric.measured and metric.key == key:
            text = "; ".join(metric.measured)
            found[key] = text.format(**numbers, evaluate=evaluate, against=against, train=train)
    return found


def warnings(numbers: Numbers, *, has_unseen: bool) -> list[str]:
    """List the reasons why metrics are unreliable; empty if there are none.

    Args:
        numbers: Metrics of a model.
        has_unseen: Whether there are real images besides the training images.
    """
    cautions = dict.fromkeys(
        metric.caution for metric in METRICS if metric.caution and metric.key in numbers
    )
    found = [caution.text.format(**numbers) for caution in cautions if caution.holds(numbers)]
    return found if has_unseen else [NO_UNSEEN_IMAGES, *found]
