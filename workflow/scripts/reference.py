"""What the metrics say of real images: train half against half, train against holdout."""

import json
import sys
from pathlib import Path

from prelude import begin

params = begin()

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from ganloom.metrics.inception import InceptionError, inception
from ganloom.metrics.neighbours import training_thumbnails
from ganloom.metrics.protocol import (
    FEWEST,
    Pictures,
    compare,
    halves,
    holdout_images,
    originality,
    readable,
    split_holdout,
    spread,
    training_images,
)
from ganloom.params import resolutions

SLICES = Path("data/slices")
FEATURES = Path("work/features")
# Below, features and patches have little to go by; only a smaller collection is measured there.
SMALLEST = 32


def main() -> None:
    torch.set_num_threads(params.threads)
    images = np.load(SLICES / "images.npy", mmap_mode="r")
    holdout = np.load(SLICES / "holdout.npy", mmap_mode="r")
    index = pd.read_parquet(SLICES / "index.parquet")
    sources = pd.read_parquet(SLICES / "holdout.parquet", columns=["sha256"])["sha256"]
    thumbs = training_thumbnails(images, index)
    samples, seed = params.evaluate.samples, params.seed
    network = None
    if params.evaluate.inception:
        try:
            network = inception(params.network, FEATURES)
        except InceptionError as error:
            sys.exit(f"error: {error}")
    _, unseen = split_holdout(sources, params.train.judge, seed)

    def some(rows: NDArray[np.int64], side: int) -> Pictures:
        chosen = rows[spread(len(rows), samples, seed, "train")]
        return Pictures.real(training_images(images, index.iloc[chosen], side), FEATURES)

    def beside(real: Pictures, fake: Pictures) -> dict[str, float]:
        found = compare(real, fake, params.evaluate, seed)
        return found | (network.compare(real.images, fake.images) if network else {})

    def rows_at(side: int) -> dict[str, dict[str, float]]:
        """Rows that need more pictures than there are, are left out."""
        rows = {}
        first, second = halves(index["sha256"], seed)
        if min(len(first), len(second)) >= FEWEST:
            real, fake = some(first, side), some(second, side)
            rows["train_half"] = {
                **beside(real, fake),
                **originality(real, thumbs[first], fake),
            }
        if min(len(unseen), len(index)) >= FEWEST:
            pictures = holdout_images(holdout, unseen, index, samples, seed, side)
            real = Pictures.real(pictures, FEATURES)
            train = some(np.arange(len(index)), side)
            rows["holdout"] = {
                **beside(real, train),
                **originality(train, thumbs, real),
            }
        return rows

    full = images.shape[1]
    sides = [side for side in resolutions(full) if side >= min(SMALLEST, full)]
    found = {
        str(side): {
            name: {key: readable(value) for key, value in row.items()}
            for name, row in rows_at(side).items()
        }
        for side in sides
    }
    path = Path("results/metrics/reference.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=2) + "\n")
    print(f"real beside real pictures at {', '.join(found)} px: {path}")


if __name__ == "__main__":
    main()
