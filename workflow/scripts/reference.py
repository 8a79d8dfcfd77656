"""Measure real images against real images: the scale for the metrics of models."""

import sys
from pathlib import Path

from prelude import begin

params = begin()

import torch

from ganloom.files import write_json
from ganloom.metrics.inception import InceptionError, inception
from ganloom.metrics.reference import compare_real
from ganloom.slices import Slices


def main() -> None:
    torch.set_num_threads(params.threads)
    cache = Path("work/features")
    try:
        network = inception(params.network, cache) if params.evaluate.inception else None
    except InceptionError as error:
        sys.exit(f"error: {error}")
    table = compare_real(
        Slices(Path("data/slices")),
        params.evaluate,
        judge=params.train.judge,
        seed=params.seed,
        cache=cache,
        network=network,
    )
    path = Path("results/metrics/reference.json")
    write_json(path, table)
    print(f"real against real images at {', '.join(table)} px: {path}")


if __name__ == "__main__":
    main()
