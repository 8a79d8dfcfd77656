"""Evaluate one model: distances to real images, copies, classes."""

import sys
from pathlib import Path

from prelude import begin

params = begin()

import torch

from ganloom.device import best_device
from ganloom.evaluation import evaluate
from ganloom.metrics.inception import InceptionError, inception
from ganloom.slices import Slices


def main(name: str) -> None:
    torch.set_num_threads(params.threads)
    cache = Path("work/features")
    try:
        network = inception(params.network, cache) if params.evaluate.inception else None
    except InceptionError as error:
        sys.exit(f"error: {error}")
    found = evaluate(
        Path(f"results/models/{name}"),
        Slices(Path("data/slices")),
        params.evaluate,
        judge=params.train.judge,
        seed=params.seed,
        cache=cache,
        network=network,
        device=best_device(),
    )
    found.write(name, Path("results"))
    print(f"{name}: {found.summary}")


if __name__ == "__main__":
    main(sys.argv[1])
