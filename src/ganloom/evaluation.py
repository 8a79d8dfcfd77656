"""Evaluation of a trained model."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import one_hot

from ganloom.features import LITE2, features
from ganloom.files import write_json
from ganloom.images.encoding import save_png
from ganloom.images.sheets import grid
from ganloom.metrics.catalogue import KEY_METRICS, measures, warnings
from ganloom.metrics.classes import FITTED, ClassScore, Labelled, class_scores
from ganloom.metrics.copying import logits, recognition
from ganloom.metrics.image_set import ImageSet
from ganloom.metrics.inception import Inception
from ganloom.metrics.kid import kid_gap
from ganloom.metrics.neighbours import (
    Match,
    by_suspicion,
    nearest_other,
    thumbnails,
    training_thumbnails,
)
from ganloom.metrics.path_lengths import evenness
from ganloom.metrics.protocol import FEWEST, compare, originality
from ganloom.metrics.rounding import rounded
from ganloom.models import Generator, load_discriminator, load_generator
from ganloom.params import Evaluate, Judge, Paths
from ganloom.sampling.animation import enlarged
from ganloom.sampling.generate import generate
from ganloom.sampling.latents import inputs, paths
from ganloom.slices import Slices, holdout_rows, labels_like

Array = NDArray[np.uint8]

# Columns of the sheet of samples, and comparisons in a row of the sheet of possible copies, whose
# pictures are enlarged to TILE px.
COLUMNS = 8
COPIES = 4
TILE = 64


@dataclass(frozen=True)
class Real:
    """The real images that a model is compared with.

    Attributes:
        slices: Training images and holdout.
        side: Side of the model's images in px.
        rows: Rows of the index of the training images in ``train``.
        train: A sample of the training images.
        unseen: Holdout images that the training never looked at; None if there are too few.
        labels: Labels of ``unseen``.
        against: What generated images are compared with, in words.
    """

    slices: Slices
    side: int
    rows: NDArray[np.int64]
    train: ImageSet
    unseen: ImageSet | None
    labels: pd.Series
    against: str

    @classmethod
    def choose(  # noqa: PLR0917
        cls, slices: Slices, samples: int, judge: Judge | None, seed: int, side: int, cache: Path
    ) -> Real:
        """Choose at most ``samples`` of each; their features are cached in ``cache``."""
        looked_at, rest = slices.split_holdout(judge, seed)
        against, unseen = "train", None
        if len(rest) >= FEWEST:
            against = "half of holdout" if len(looked_at) else "holdout"
            unseen = ImageSet.cached(slices.holdout_images(rest, samples, seed, side), cache)
        rows = slices.choose(samples, seed, "train")
        train = ImageSet.cached(slices.images(rows, side), cache)
        labels = slices.holdout_index["label"].iloc[holdout_rows(rest, samples, seed)]
        return cls(slices, side, rows, train, unseen, labels, against)

    @property
    def train_labels(self) -> pd.Series:
        return self.slices.index["label"].iloc[self.rows]


@dataclass(frozen=True)
class Evaluation:
    """Metrics of a model, and the pictures and tables behind them.

    Attributes:
        metrics: Number by name.
        classes: Score of each class; [] for a model without classes.
        protocol: How each metric was measured, and warnings.
        nearest: A row for each sample: the original nearest to it, in features and in pixels.
        neighbours: The rows of ``nearest`` that look most like copies.
        copies: Sheet of these samples beside their nearest training images.
        samples: Sheet of samples.
    """

    metrics: dict[str, Any]
    classes: list[ClassScore]
    protocol: dict[str, Any]
    nearest: pd.DataFrame
    neighbours: list[dict[Hashable, Any]]
    copies: Array
    samples: Array

    @property
    def summary(self) -> str:
        """The metrics to see first, as part of a sentence."""
        return (
            f"KID-lite2 {self.metrics['kid_lite2']:.4f} against {self.protocol['against']}, "
            f"authenticity {self.metrics['authenticity']:.2f}"
        )

    def write(self, name: str, results: Path) -> None:
        """Write it as the evaluation of the model ``name`` to the folder ``results``."""
        folder = results / "metrics" / name
        metrics = rounded(self.metrics)
        write_json(results / "metrics" / f"{name}.json", metrics)
        # Under the model's name, so that DVC's columns are called `dcgan.kid_lite2`.
        key_metrics = {name: {metric.key: metrics[metric.key] for metric in KEY_METRICS}}
        write_json(results / "key_metrics" / f"{name}.json", key_metrics)
        if self.classes:
            write_json(
                folder / "classes.json", [rounded(score._asdict()) for score in self.classes]
            )
        write_json(folder / "protocol.json", self.protocol)
        self.nearest.to_csv(
            folder / "nearest.csv", index=False, float_format="%.6g", lineterminator="\n"
        )
        write_json(folder / "neighbours.json", [rounded(row) for row in self.neighbours])
        save_png(self.copies, folder / "neighbours.png")
        save_png(self.samples, folder / "samples.png")


def evaluate(
    home: Path,
    slices: Slices,
    settings: Evaluate,
    *,
    judge: Judge | None,
    seed: int,
    cache: Path,
    network: Inception | None,
    device: torch.device,
) -> Evaluation:
    """Sample a model and measure the samples.

    Args:
        home: Folder with ``generator.safetensors`` and ``discriminator.safetensors``.
        slices: Training images and holdout.
        settings: Number of samples, and settings of the metrics.
        judge: How the training measured itself; it looked at half of the holdout then.
        seed: Seed of every random draw.
        cache: Folder in which features of real images are cached.
        network: Inception network, if its metrics are asked for.
        device: Device on which networks run.
    """
    net, info = load_generator(home / "generator.safetensors", device)
    real = Real.choose(slices, settings.samples, judge, seed, info.resolution, cache)
    classes = info.classes
    labels = None
    if classes:
        drawn = labels_like(slices.index["label"], classes, settings.samples, seed)
        labels = torch.from_numpy(drawn)
    v = inputs(net.inputs, settings.samples, seed, "evaluate", labels=labels)
    fake = ImageSet.of(generate(net, v))
    thumbs = training_thumbnails(slices)

    metrics: dict[str, Any] = {"kimg": info.kimg, "samples": len(v)}
    metrics |= distances(real, fake, thumbs, settings, seed)
    if network:
        metrics |= network.compare((real.unseen or real.train).images, fake.images)
    if real.unseen:
        discriminator = home / "discriminator.safetensors"
        metrics |= memorisation(discriminator, real, fake.images, labels, device)
    if settings.paths:
        metrics |= path_lengths(net, settings.paths, seed)
    scores: list[ClassScore] = []
    if labels is not None:
        named, scores = class_accuracy(real, fake, labels, classes, seed, cache)
        metrics |= named
    in_features, in_pixels = nearest_images(real, fake, thumbs)
    metrics["nearest_train"] = float(np.median(in_features.distance))
    others = nearest_other(real.train.features, torch.arange(len(real.rows)))
    metrics["nearest_train_train"] = float(others.median())

    nearest = _table(in_features, in_pixels, slices.index["sha256"])
    nearer = np.where(
        in_pixels.ratio < in_features.ratio, nearest["sha256_pixels"], nearest["sha256"]
    )
    order = by_suspicion(np.minimum(in_features.ratio, in_pixels.ratio), nearer)
    shown = order[: settings.neighbours]
    originals = [slices.images(match.row[shown], real.side) for match in (in_features, in_pixels)]
    protocol = {
        "against": real.against,
        "seed": seed,
        "weights_sha256": LITE2.sha256,
        "measures": measures(metrics, settings, against=real.against, train=len(real.rows)),
        "warnings": warnings(metrics, has_unseen=real.unseen is not None),
    }
    return Evaluation(
        metrics,
        scores,
        protocol,
        nearest,
        nearest.iloc[shown].to_dict("records"),
        _side_by_side([fake.images[shown], *originals]),
        grid(fake.images[: COLUMNS**2], COLUMNS),
    )


def distances(
    real: Real, fake: ImageSet, thumbs: Tensor, settings: Evaluate, seed: int
) -> dict[str, float]:
    """Distances to unseen and to training images, and copies.

    Args:
        real: Real images.
        fake: Samples.
        thumbs: Thumbnails of all training images.
        settings: Settings of the metrics.
        seed: Seed of their random draws.
    """
    to_train = compare(real.train, fake, settings, seed)
    found = {
        **compare(real.unseen or real.train, fake, settings, seed),
        **{f"{key}_train": value for key, value in to_train.items()},
        **originality(real.train, thumbs, fake),
    }
    if real.unseen:
        sets = (fake.features, real.train.features, real.unseen.features)
        gap = kid_gap(*sets, settings.kid_subsets, settings.kid_subset_size, seed)
        found |= dict(zip(("kid_gap", "kid_gap_std"), gap, strict=True))
    return found


def memorisation(
    path: Path, real: Real, fake: Array, labels: Tensor | None, device: torch.device
) -> dict[str, float]:
    """How well the discriminator tells training images from unseen ones.

    Args:
        path: ``discriminator.safetensors``.
        real: Real images; ``unseen`` is not None.
        fake: Samples.
        labels: Classes of the samples, if the model has any.
        device: Device on which it runs.
    """
    assert real.unseen is not None
    net, info = load_discriminator(path, device)
    classes = info.classes

    def condition(numbers: Tensor | None) -> Tensor | None:
        # Unseen images are of no original that D knows, so that no image gets its original.
        return None if numbers is None or not classes else one_hot(numbers, len(classes)).float()

    def logits_of(images: Array, of: pd.Series) -> Tensor:
        is_known, numbers = _numbered(of, classes)
        return logits(net, images[is_known], condition(numbers))

    of_train = logits_of(real.train.images, real.train_labels)
    of_unseen = logits_of(real.unseen.images, real.labels)
    if not len(of_unseen):
        return {}
    return recognition(of_train, of_unseen, logits(net, fake, condition(labels)))


def path_lengths(net: Generator, settings: Paths, seed: int) -> dict[str, float]:
    """Lengths of interpolations in feature space, and how even their steps are."""
    v = inputs(net.inputs, 2 * settings.count, seed, "paths")
    points = settings.steps + 1
    found = features(generate(net, paths(v, net.inputs, points)), LITE2)
    return evenness(found.unflatten(0, (-1, points)))


def class_accuracy(  # noqa: PLR0917
    real: Real, fake: ImageSet, labels: Tensor, classes: list[str], seed: int, cache: Path
) -> tuple[dict[str, float], list[ClassScore]]:
    """How many samples a classifier assigns to the class that they were generated for.

    Returns:
        Metrics by name, and the score of each class.
    """

    def labelled(images: ImageSet, of: pd.Series) -> Labelled:
        is_known, numbers = _numbered(of, classes)
        return Labelled(images.features[is_known], numbers.numpy())

    rows = real.slices.choose(FITTED, seed, "classes")
    fitted = ImageSet.cached(real.slices.images(rows, real.side), cache)
    return class_scores(
        labelled(fitted, real.slices.index["label"].iloc[rows]),
        labelled(real.unseen, real.labels) if real.unseen else None,
        Labelled(fake.features, labels.numpy()),
        classes,
    )


def nearest_images(real: Real, fake: ImageSet, thumbs: Tensor) -> tuple[Match, Match]:
    """The training images nearest to each sample, in features and in pixels.

    Thumbnails are compared with those of all training images. Features are compared with those of
    ``real.train``, and of every image that is the nearest to some sample in thumbnails.
    """
    in_pixels = Match.of(thumbnails(fake.images), thumbs)
    more = np.setdiff1d(in_pixels.row, real.rows)
    described = torch.cat(
        [real.train.features, features(real.slices.images(more, real.side), LITE2)]
    )
    in_features = Match.of(fake.features, described)
    rows = np.concatenate([real.rows, more])
    return in_features._replace(row=rows[in_features.row]), in_pixels


def _numbered(labels: pd.Series, classes: list[str]) -> tuple[NDArray[np.bool_], Tensor]:
    """Which labels are classes of the model, and their numbers; all, if it has no classes."""
    if not classes:
        return np.ones(len(labels), bool), torch.empty(0, dtype=torch.int64)
    numbers = pd.Index(classes).get_indexer(pd.Index(labels))
    return numbers >= 0, torch.from_numpy(numbers[numbers >= 0])


def _table(in_features: Match, in_pixels: Match, origin: pd.Series) -> pd.DataFrame:
    """The original nearest to each sample in each space, and its distance.

    ``distance_of_other`` is the distance of that training image to the nearest other one.
    """
    columns: dict[str, Any] = {"sample": range(len(in_features.row))}
    for end, match in (("", in_features), ("_pixels", in_pixels)):
        columns[f"sha256{end}"] = origin.to_numpy()[match.row]
        columns[f"distance{end}"] = match.distance.astype(float)
        columns[f"distance_of_other{end}"] = match.other.astype(float)
    return pd.DataFrame(columns)


def _side_by_side(columns: list[Array]) -> Array:
    """A sheet of rows of images, one from each column of (N, R, R, 3), with white between rows."""
    row = enlarged(np.concatenate(columns, axis=2), len(columns) * TILE)
    margin = TILE // 8
    framed = np.pad(row, ((0, 0), (0, margin), (0, margin), (0, 0)), constant_values=255)
    return grid(framed, COPIES)
