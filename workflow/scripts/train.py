"""Train one model: `train.py NAME`, the name of an entry of `models`."""

from prelude import begin

params = begin()

import sys
from pathlib import Path

from ganloom.training.checkpoint import BusyError
from ganloom.training.data import DataError
from ganloom.training.loop import DivergedError, train
from ganloom.training.transfer import TransferError


def main() -> None:
    name = sys.argv[1]
    out = Path("results/models") / name
    try:
        train(
            name,
            params.models[name],
            params.train,
            seed=params.seed,
            threads=params.threads,
            slices=Path("data/slices"),
            out=out,
            work=Path("work/train"),
        )
    except (BusyError, DataError, DivergedError, TransferError) as error:
        sys.exit(f"error: {error}")
    print(f"{name}: {params.models[name].kimg:g} kimg, in {out}")


if __name__ == "__main__":
    main()
