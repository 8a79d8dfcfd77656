"""Train one model: `train.py NAME`, where NAME is a key of `models`."""

from prelude import begin

params = begin()

import json
import sys
from pathlib import Path

from ganloom.training.checkpoint import BusyError, DamagedError
from ganloom.training.data import DataError
from ganloom.training.loop import DivergedError
from ganloom.training.transfer import TransferError
from ganloom.training.warm_up import train


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
    except (BusyError, DamagedError, DataError, DivergedError, TransferError) as error:
        sys.exit(f"error: {error}")
    chosen = json.loads((out / "judgement.json").read_text())["chosen"]
    print(f"{name}: the state at {chosen['kimg']:g} kimg, in {out}. {chosen['why']}")


if __name__ == "__main__":
    main()
