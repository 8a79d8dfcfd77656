"""Measure one model: how near its pictures come to real ones, and what it copied."""

import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

from prelude import begin

params = begin()

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from ganloom.features import LITE2, features
from ganloom.images.encoding import save_png
from ganloom.images.sheets import grid
from ganloom.metrics.classes import FITTED, ClassScore, Labelled, class_scores
from ganloom.metrics.copying import logits, recognition
from ganloom.metrics.distances import kid_gap
from ganloom.metrics.inception import InceptionError, inception
from ganloom.metrics.neighbours import (
    Match,
    by_suspicion,
    nearest_other,
    thumbnails,
    training_thumbnails,
)
from ganloom.metrics.paths import evenness
from ganloom.metrics.protocol import (
    FEWEST,
    Pictures,
    compare,
    holdout_images,
    holdout_rows,
    labels_like,
    originality,
    readable,
    split_holdout,
    spread,
    training_images,
)
from ganloom.metrics.trust import measures, warnings
from ganloom.models import Generator, load_discriminator, load_generator
from ganloom.params import Paths
from ganloom.sampling.animation import enlarged
from ganloom.sampling.generate import generate
from ganloom.sampling.latents import inputs, paths

SLICES = Path("data/slices")
FEATURES = Path("work/features")
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
# Of a sheet: samples in a row, and copies side by side in a row.
COLUMNS = 8
COPIES = 4
TILE = 64
# What DVC shows of a model: few enough for a table. All numbers are in results/metrics.
KEY_METRICS = ("kid_lite2", "swd", "recall", "coverage", "authenticity")

evaluate, seed = params.evaluate, params.seed


def main() -> None:
    name = sys.argv[1]
    torch.set_num_threads(params.threads)
    home, folder = Path(f"results/models/{name}"), Path(f"results/metrics/{name}")
    network = None
    if evaluate.inception:
        try:
            network = inception(params.network, FEATURES)
        except InceptionError as error:
            sys.exit(f"error: {error}")
    net, about = load_generator(home / "generator.safetensors", DEVICE)
    real = real_pictures(about["resolution"])
    asked = None
    if about["classes"]:
        labels = labels_like(real.index["label"], about["classes"], evaluate.samples, seed)
        asked = torch.from_numpy(labels)
    v = inputs(net.inputs, evaluate.samples, seed, "evaluate", labels=asked)
    fake = Pictures.made(generate(net, v))

    numbers = {"kimg": about["kimg"], "samples": len(v), **compared(real, fake)}
    if network:
        numbers |= network.compare((real.unseen or real.train).images, fake.images)
    if real.unseen:
        numbers |= recognised(home / "discriminator.safetensors", real, fake.images, asked)
    if evaluate.paths:
        numbers |= walked(net, evaluate.paths)
    scores: list[ClassScore] = []
    if asked is not None:
        named, scores = shown_as_asked(real, fake, asked, about["classes"])
        numbers |= named
    in_features, in_pixels = matched(real, fake)
    numbers["nearest_train"] = float(np.median(in_features.distance))
    others = nearest_other(real.train.features, torch.arange(len(real.rows)))
    numbers["nearest_train_train"] = float(others.median())

    folder.mkdir(parents=True, exist_ok=True)
    write_metrics(name, rounded(numbers))
    if scores:
        write_json(folder / "classes.json", [rounded(score._asdict()) for score in scores])
    made = measures(numbers, evaluate, against=real.against, train=len(real.rows), samples=len(v))
    write_json(
        folder / "protocol.json",
        {
            "against": real.against,
            "seed": seed,
            "weights_sha256": LITE2.sha256,
            "measures": made,
            "warnings": warnings(numbers, seen_only=real.unseen is None),
        },
    )
    table = nearest_table(in_features, in_pixels, real.index["sha256"])
    table.to_csv(folder / "nearest.csv", index=False, float_format="%.6g", lineterminator="\n")
    nearer = np.where(in_pixels.ratio < in_features.ratio, table["sha256_pixels"], table["sha256"])
    order = by_suspicion(np.minimum(in_features.ratio, in_pixels.ratio), nearer)
    shown = order[: evaluate.neighbours]
    rows = table.iloc[shown].to_dict("records")
    write_json(folder / "neighbours.json", [rounded(row) for row in rows])
    copied = [real.pictures(match.row[shown]) for match in (in_features, in_pixels)]
    save_png(side_by_side([fake.images[shown], *copied]), folder / "neighbours.png")
    save_png(grid(fake.images[: COLUMNS**2], COLUMNS), folder / "samples.png")
    print(
        f"{name}: KID-lite2 {numbers['kid_lite2']:.4f} against {real.against}, "
        f"authenticity {numbers['authenticity']:.2f}"
    )


class Real(NamedTuple):
    """What a model is measured beside.

    Attributes:
        images: ``data/slices/images.npy``.
        index: ``data/slices/index.parquet``.
        side: Of the model's pictures in px.
        rows: Of the index: the training images that are compared.
        train: These.
        unseen: Pictures that no training saw, nor looked at; None: there are none.
        labels: Of these.
        against: What generated pictures are compared with, in words.
    """

    images: NDArray[np.uint8]
    index: pd.DataFrame
    side: int
    rows: NDArray[np.int64]
    train: Pictures
    unseen: Pictures | None
    labels: pd.Series
    against: str

    def pictures(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        return training_images(self.images, self.index.iloc[rows], self.side)


def real_pictures(side: int) -> Real:
    images = np.load(SLICES / "images.npy", mmap_mode="r")
    holdout = np.load(SLICES / "holdout.npy", mmap_mode="r")
    index = pd.read_parquet(SLICES / "index.parquet")
    held = pd.read_parquet(SLICES / "holdout.parquet", columns=["sha256", "label"])
    looked_at, rest = split_holdout(held["sha256"], params.train.judge, seed)
    against, unseen = "train", None
    if len(rest) >= FEWEST:
        against = "half of holdout" if len(looked_at) else "holdout"
        pictures = holdout_images(holdout, rest, index, evaluate.samples, seed, side)
        unseen = Pictures.real(pictures, FEATURES)
    rows = spread(len(index), evaluate.samples, seed, "train")
    train = Pictures.real(training_images(images, index.iloc[rows], side), FEATURES)
    labels = held["label"].iloc[holdout_rows(rest, evaluate.samples, seed)]
    return Real(images, index, side, rows, train, unseen, labels, against)


def compared(real: Real, fake: Pictures) -> dict[str, float]:
    """Distances to unseen pictures and to training images, and copies."""
    against = real.unseen or real.train
    beside_train = compare(real.train, fake, evaluate, seed)
    found = {
        **compare(against, fake, evaluate, seed),
        **{f"{key}_train": value for key, value in beside_train.items()},
        **originality(real.train, training_thumbnails(real.images, real.index), fake),
    }
    if real.unseen:
        sets = (fake.features, real.train.features, real.unseen.features)
        gap = kid_gap(*sets, evaluate.kid_subsets, evaluate.kid_subset_size, seed)
        found |= dict(zip(("kid_gap", "kid_gap_std"), gap, strict=True))
    return found


def recognised(
    path: Path, real: Real, fake: NDArray[np.uint8], asked: Tensor | None
) -> dict[str, float]:
    """What the discriminator makes of pictures, each told what class it is of."""
    net, about = load_discriminator(path, DEVICE)
    classes = about["classes"]

    def judged(pictures: NDArray[np.uint8], labels: pd.Series) -> Tensor:
        is_known, numbers = numbered(labels, classes)
        return logits(net, pictures[is_known], numbers if classes else None, len(classes))

    of_train = judged(real.train.images, real.index["label"].iloc[real.rows])
    of_unseen = judged(real.unseen.images, real.labels)
    if not len(of_unseen):
        return {}
    return recognition(of_train, of_unseen, logits(net, fake, asked, len(classes)))


def walked(net: Generator, section: Paths) -> dict[str, float]:
    v = inputs(net.inputs, 2 * section.count, seed, "paths")
    points = section.steps + 1
    found = features(generate(net, paths(v, net.inputs, points)), LITE2)
    return evenness(found.unflatten(0, (-1, points)))


def shown_as_asked(
    real: Real, fake: Pictures, asked: Tensor, classes: list[str]
) -> tuple[dict[str, float], list[ClassScore]]:
    def labelled(pictures: Pictures, labels: pd.Series) -> Labelled:
        is_known, numbers = numbered(labels, classes)
        return Labelled(pictures.features[is_known], numbers.numpy())

    rows = spread(len(real.index), FITTED, seed, "classes")
    fitted = Pictures.real(real.pictures(rows), FEATURES)
    return class_scores(
        labelled(fitted, real.index["label"].iloc[rows]),
        labelled(real.unseen, real.labels) if real.unseen else None,
        Labelled(fake.features, asked.numpy()),
        classes,
    )


def numbered(labels: pd.Series, classes: list[str]) -> tuple[NDArray[np.bool_], Tensor]:
    """Which labels a model knows, and the numbers of these; it knows all if it was told none."""
    if not classes:
        return np.ones(len(labels), bool), torch.empty(0, dtype=torch.int64)
    numbers = pd.Index(classes).get_indexer(pd.Index(labels))
    return numbers >= 0, torch.from_numpy(numbers[numbers >= 0])


def matched(real: Real, fake: Pictures) -> tuple[Match, Match]:
    """The training images nearest to each sample, in features and in pixels.

    All training images are looked through at 16 x 16 px. Features there are of some; those that are
    the nearest of all to some sample at 16 x 16 px are added to them.
    """
    in_pixels = Match.of(thumbnails(fake.images), training_thumbnails(real.images, real.index))
    more = np.setdiff1d(in_pixels.row, real.rows)
    described = torch.cat([real.train.features, features(real.pictures(more), LITE2)])
    in_features = Match.of(fake.features, described)
    known = np.concatenate([real.rows, more])
    return in_features._replace(row=known[in_features.row]), in_pixels


def nearest_table(in_features: Match, in_pixels: Match, origin: pd.Series) -> pd.DataFrame:
    """A row for each sample: the original nearest to it in each space, and how near.

    ``distance_of_other`` is how far that training image is from any other.
    """
    columns: dict[str, Any] = {"sample": range(len(in_features.row))}
    for end, match in (("", in_features), ("_pixels", in_pixels)):
        columns[f"sha256{end}"] = origin.to_numpy()[match.row]
        columns[f"distance{end}"] = match.distance.astype(float)
        columns[f"distance_of_other{end}"] = match.other.astype(float)
    return pd.DataFrame(columns)


def side_by_side(columns: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """A sheet of rows of pictures, (N, R, R, 3) a column, with white between two of them."""
    row = enlarged(np.concatenate(columns, axis=2), len(columns) * TILE)
    margin = TILE // 8
    framed = np.pad(row, ((0, 0), (0, margin), (0, margin), (0, 0)), constant_values=255)
    return grid(framed, COPIES)


def rounded(values: dict[str, Any]) -> dict[str, Any]:
    return {key: readable(x) if isinstance(x, float) else x for key, x in values.items()}


def write_metrics(name: str, numbers: dict[str, Any]) -> None:
    write_json(Path(f"results/metrics/{name}.json"), numbers)
    # Under the model's name, so that DVC's columns are called `dcgan.kid_lite2`.
    key_metrics = {name: {key: numbers[key] for key in KEY_METRICS}}
    write_json(Path(f"results/key_metrics/{name}.json"), key_metrics)


def write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
