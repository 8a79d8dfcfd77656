"""Measure one model: how near its pictures come to real ones, and what it copied."""

import json
import sys
from pathlib import Path
from typing import Any

from prelude import begin

params = begin()

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from ganloom.features import LITE2, SIDE, features
from ganloom.images import grid, save_png
from ganloom.metrics.neighbours import (
    by_suspicion,
    nearest,
    nearest_other,
    thumbnails,
    training_thumbnails,
)
from ganloom.metrics.protocol import (
    FEWEST,
    Pictures,
    compare,
    holdout_images,
    labels_like,
    originality,
    readable,
    split_holdout,
    spread,
    training_images,
)
from ganloom.models import load_generator
from ganloom.sampling.animation import enlarged
from ganloom.sampling.generate import generate
from ganloom.sampling.latents import inputs

SLICES = Path("data/slices")
COLUMNS = 8
TILE = 64


def main() -> None:
    name = sys.argv[1]
    torch.set_num_threads(params.threads)
    samples, seed = params.evaluate.samples, params.seed
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    net, about = load_generator(Path(f"results/models/{name}/generator.safetensors"), device)
    side = about["resolution"]

    images = np.load(SLICES / "images.npy", mmap_mode="r")
    holdout = np.load(SLICES / "holdout.npy", mmap_mode="r")
    index = pd.read_parquet(SLICES / "index.parquet")
    sources = pd.read_parquet(SLICES / "holdout.parquet", columns=["sha256"])["sha256"]
    looked_at, unseen = split_holdout(sources, params.train.judge, seed)
    thumbs = training_thumbnails(images, index)
    rows = spread(len(index), samples, seed, "train")
    train = Pictures.of(training_images(images, index.iloc[rows], side))
    labels = None
    if about["classes"]:
        labels = torch.from_numpy(labels_like(index["label"], about["classes"], samples, seed))
    v = inputs(net.inputs, samples, seed, "evaluate", labels=labels)
    fake = Pictures.of(generate(net, v))

    against, real = "train", train
    if len(unseen) >= FEWEST:
        against = "half of holdout" if len(looked_at) else "holdout"
        real = Pictures.of(holdout_images(holdout, unseen, index, samples, seed, side))
    beside_train = compare(train, fake, params.evaluate, seed)

    # Copies are looked for beyond the training images chosen above: every other one that is the
    # likest of all to some sample, at 16 x 16 px, is a candidate as well.
    likest, _ = nearest(thumbnails(fake.images), thumbs)
    more = np.setdiff1d(likest, rows)
    pictures = training_images(images, index.iloc[more], side)
    candidates = Pictures(
        np.concatenate([train.images, pictures]),
        torch.cat([train.features, features(pictures, LITE2)]),
    )
    matches, distances = nearest(fake.features, candidates.features)
    other = nearest_other(candidates.features, matches).numpy()
    match, distance = matches.numpy(), distances.numpy()
    origin = index["sha256"].to_numpy()[np.concatenate([rows, more])[match]]
    shown = by_suspicion(distance, other, origin)[: params.evaluate.neighbours]

    numbers = {
        "kimg": about["kimg"],
        **compare(real, fake, params.evaluate, seed),
        **{f"{key}_train": value for key, value in beside_train.items()},
        **originality(train, thumbs, fake),
        "nearest_train": float(np.median(distance)),
        "nearest_train_train": float(
            nearest_other(train.features, torch.arange(len(rows))).median()
        ),
    }

    folder = Path(f"results/metrics/{name}")
    write_json(
        folder.with_suffix(".json"), {key: readable(value) for key, value in numbers.items()}
    )
    write_json(
        folder / "neighbours.json",
        [
            {
                "sample": int(i),
                "sha256": origin[i],
                "distance": readable(float(distance[i])),
                "distance_of_other": readable(float(other[i])),
            }
            for i in shown
        ],
    )
    write_json(
        folder / "protocol.json",
        {
            "against": against,
            "features": f"{LITE2.network}, pooled, of {SIDE} x {SIDE} px (bilinear, antialiased)",
            "weights_sha256": LITE2.sha256,
            "seed": seed,
        },
    )
    save_png(pairs(fake.images[shown], candidates.images[match[shown]]), folder / "neighbours.png")
    save_png(grid(fake.images[: COLUMNS**2], COLUMNS), folder / "samples.png")
    print(
        f"{name}: KID-lite2 {numbers['kid_lite2']:.4f} against {against}, "
        f"authenticity {numbers['authenticity']:.2f}"
    )


def pairs(left: NDArray[np.uint8], right: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A sheet of pairs, (N, R, R, 3) each, with white between one pair and the next."""
    both = enlarged(np.concatenate([left, right], axis=2), 2 * TILE)
    margin = TILE // 8
    framed = np.pad(both, ((0, 0), (0, margin), (0, margin), (0, 0)), constant_values=255)
    return grid(framed, COLUMNS // 2)


def write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
