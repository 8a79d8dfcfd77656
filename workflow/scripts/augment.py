"""Cut, flip and rotate originals to training images."""

import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from prelude import begin

params = begin()

import numpy as np
import pandas as pd

from ganloom import augment
from ganloom.images import arrays, encoding, sheets
from ganloom.params import Slices

RAW = Path("data/raw")
OUT = Path("data/slices")
PREVIEW = 8


def main() -> None:
    section = params.augment
    kept = pd.read_csv("data/kept.csv", dtype=str, keep_default_na=False)
    labels = {
        split: dict(zip(t.sha256, t.label, strict=True)) for split, t in kept.groupby("split")
    }
    counts = (section.count, section.holdout_count) if isinstance(section, Slices) else (None, None)
    OUT.mkdir(parents=True, exist_ok=True)
    train = augment.Job(RAW, OUT / "images.npy", section, params.seed, params.fetch.max_pixels)
    holdout = train._replace(images=OUT / "holdout.npy")
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(params.threads, mp_context=spawn) as pool:
        symmetries = arrays.SYMMETRIES[section.symmetries]
        index, unused = augment.make(train, labels["train"], counts[0], symmetries, pool)
        if index.empty:
            sys.exit(
                f"error: none of {len(unused)} originals is as large as one of augment.sizes "
                f"({min(section.sizes)} px at least) inside its border"
            )
        held, unused_held = augment.make(holdout, labels.get("holdout", {}), counts[1], (0,), pool)

    index.to_parquet(OUT / "index.parquet", index=False)
    held.to_parquet(OUT / "holdout.parquet", index=False)
    reasons = sorted((unused | unused_held).items())
    table = pd.DataFrame(reasons, columns=["sha256", "reason"])
    table.to_csv(OUT / "unused.csv", index=False, lineterminator="\n")
    preview(index)
    if lost := {*labels["train"].values()} - {*index["label"]}:
        print(
            f"warning: no training image shows the class {', '.join(map(repr, sorted(lost)))}: "
            "data/slices/unused.csv says why",
            file=sys.stderr,
        )
    print(
        f"{len(index)} training images from {index.sha256.nunique()} originals, "
        f"{len(held)} holdout images from {held.sha256.nunique()}; {len(reasons)} originals unused"
    )


def preview(index: pd.DataFrame) -> None:
    crops = np.load(OUT / "images.npy", mmap_mode="r")
    rng = np.random.default_rng([params.seed, PREVIEW])
    rows = index.iloc[rng.permutation(len(index))[: PREVIEW**2]]
    tiles = [
        arrays.apply_symmetry(crops[row.image], row.symmetry)
        for row in rows.itertuples(index=False)
    ]
    sheet = sheets.contact_sheet(tiles, PREVIEW, params.augment.resolution)
    encoding.save_png(sheet, OUT / "preview.png")


if __name__ == "__main__":
    main()
