"""Evaluate one model: distances to real images, copies, classes."""

import sys
from pathlib import Path

from prelude import begin

params = begin()

import torch

from ganloom.evaluation import evaluate
from ganloom.metrics.inception import InceptionError, inception
from ganloom.slices import Slices

FEATURES = Path("work/features")


def main(name: str) -> None:
    torch.set_num_threads(params.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        network = inception(params.network, FEATURES) if params.evaluate.inception else None
    except InceptionError as error:
        sys.exit(f"error: {error}")
    home = Path(f"results/models/{name}")
    found = evaluate(
        home,
        Slices(Path("data/slices")),
        params.evaluate,
        judge=params.train.judge,
        seed=params.seed,
        cache=FEATURES,
        network=network,
        device=device,
    )
    found.write(name, Path("results"))
    print(
        f"{name}: KID-lite2 {found.metrics['kid_lite2']:.4f} against {found.protocol['against']}, "
        f"authenticity {found.metrics['authenticity']:.2f}"
    )


if __name__ == "__main__":
    main(sys.argv[1])
