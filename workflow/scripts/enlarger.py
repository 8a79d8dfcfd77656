"""Train the enlarger, and measure it on the holdout."""

import sys
from pathlib import Path
from typing import Any

from prelude import begin

params = begin()

from ganloom.enlarging.build import build
from ganloom.enlarging.crops import CropError
from ganloom.enlarging.network import PATH
from ganloom.files import write_json
from ganloom.training.checkpoint import BusyError, DamagedError


def main() -> None:
    facts: dict[str, Any] = {"enlarges": params.enlarge is not None}
    if params.enlarge:
        sections = params.enlarge, params.augment, params.evaluate
        limit = params.fetch.max_pixels
        try:
            facts |= build(Path(), *sections, limit, seed=params.seed, threads=params.threads)
        except (BusyError, CropError, DamagedError) as error:
            sys.exit(f"error: {error}")
        print(f"enlarger: {PATH}; originals reach {facts['reach']:g} times the training images")
    else:
        print("nothing to do: params.yaml has no section `enlarge`")
    write_json(PATH.with_suffix(".json"), facts, sort_keys=True)


if __name__ == "__main__":
    main()
