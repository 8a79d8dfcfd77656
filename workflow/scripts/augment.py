"""Cut, flip and rotate originals to training images."""

import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from prelude import begin

params = begin()

import pandas as pd

from ganloom.augment import SizeError, augment

RAW, OUT = Path("data/raw"), Path("data/slices")


def main() -> None:
    kept = pd.read_csv("data/kept.csv", dtype=str, keep_default_na=False)
    section, limit, seed = params.augment, params.fetch.max_pixels, params.seed
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(params.threads, spawn) as pool:
        try:
            found = augment(RAW, kept, section, limit, seed=seed, out=OUT, pool=pool)
        except SizeError as error:
            sys.exit(f"error: {error}")
    if found.lost:
        names = ", ".join(map(repr, sorted(found.lost)))
        warning = f"no training image shows the class {names}: {OUT}/unused.csv says why"
        print(f"warning: {warning}", file=sys.stderr)
    print(
        f"{len(found.train)} training images from {found.train.sha256.nunique()} originals, "
        f"{len(found.holdout)} holdout images from {found.holdout.sha256.nunique()}; "
        f"{len(found.unused)} originals unused"
    )


if __name__ == "__main__":
    main()
