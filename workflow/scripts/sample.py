"""Sample one model as a grid, interpolations, classes, codes and animations."""

import sys
from pathlib import Path

from prelude import begin

params = begin()

import torch

from ganloom.device import best_device
from ganloom.sampling.gallery import gallery


def main(name: str) -> None:
    torch.set_num_threads(params.threads)
    pictures, animations = Path(f"results/samples/{name}"), Path(f"results/animations/{name}")
    made = gallery(
        Path(f"results/models/{name}"),
        params.sample,
        seed=params.seed,
        pictures=pictures,
        animations=animations,
        device=best_device(),
    )
    print(f"{name}: pictures in {pictures}, animations ({', '.join(made)}) in {animations}")


if __name__ == "__main__":
    main(sys.argv[1])
