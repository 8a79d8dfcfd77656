"""Group near-duplicates, one keeper each."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from prelude import begin

params = begin()

import pandas as pd
from tqdm import tqdm

from ganloom import dedup, images

DATA = Path("data")


def main() -> None:
    shards = images.Shards(DATA / "raw")
    max_pixels = params.fetch.max_pixels
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(params.threads, mp_context=spawn) as pool:
        found = dedup.fingerprints(shards, params.dedup.hash_size, max_pixels, pool)
        prints = list(tqdm(found, "fingerprints", len(shards), mininterval=1))
    members = dedup.group(prints, params.dedup)

    table = pd.DataFrame(members, columns=dedup.Member._fields)
    keeper = (table.kind == "keeper").map({True: "true", False: "false"})
    table.insert(2, "keeper", keeper)
    looks = pd.DataFrame(
        [(p.sha256, p.contrast, p.sharpness) for p in prints],
        columns=["sha256", "contrast", "sharpness"],
    )
    table = table.merge(looks, on="sha256").sort_values("sha256")
    table.to_csv(DATA / "clusters.csv", index=False, lineterminator="\n")
    sheet = dedup.sheet(members, lambda digest: images.decode(shards[digest], max_pixels))
    images.save_png(sheet, DATA / "clusters.png")

    keepers = (table.kind == "keeper").sum()
    print(f"{len(table)} pictures in {keepers} groups: {len(table) - keepers} near-duplicates")


if __name__ == "__main__":
    main()
