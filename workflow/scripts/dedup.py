"""Group near-duplicates, select a keeper of each group, and measure properties of originals."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from prelude import begin

params = begin()

import numpy as np

from ganloom.images import decoding, encoding
from ganloom.images.shards import Shards

DATA = Path("data")


def main() -> None:
    # Imported here, since it halves the start-up time of the workers, which import this file.
    import faiss
    import pandas as pd

    from ganloom.dedup import collection
    from ganloom.dedup.group import sheet

    shards = Shards(DATA / "raw")
    max_pixels = params.fetch.max_pixels
    faiss.omp_set_num_threads(params.threads)
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(params.threads, mp_context=spawn) as pool:
        found = collection.find(shards, params.dedup, max_pixels, pool)

    table = pd.DataFrame(collection.rows(found))
    table.to_csv(DATA / "clusters.csv", index=False, lineterminator="\n")
    np.save(DATA / "features.npy", found.features)
    groups = sheet(found.members, lambda digest: decoding.decode(shards[digest], max_pixels))
    encoding.save_png(groups, DATA / "clusters.png")

    keepers = (table.kind == "keeper").sum()
    print(f"{len(table)} pictures in {keepers} groups: {len(table) - keepers} near-duplicates")


if __name__ == "__main__":
    main()
