"""Group near-duplicates, select a keeper of each group, and measure properties of originals."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from prelude import begin

params = begin()

from ganloom.images.shards import Shards

DATA = Path("data")


def main() -> None:
    # Imported here, since it halves the start-up time of the workers, which import this file.
    import faiss

    from ganloom.dedup import analysis

    shards, limit = Shards(DATA / "raw"), params.fetch.max_pixels
    faiss.omp_set_num_threads(params.threads)
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(params.threads, spawn) as pool:
        found = analysis.find(shards, params.dedup, limit, pool)
    analysis.write(found, shards, limit, DATA)

    count = len(found.members)
    keepers = sum(member.kind == "keeper" for member in found.members)
    print(f"{count} images in {keepers} groups: {count - keepers} near-duplicates")


if __name__ == "__main__":
    main()
