"""How dedup grows, and how it compares: `python benchmarks/dedup_scale.py [--million]`.

1. Grouping made-up hashes, one in 20 a copy of another under some symmetry: seconds, peak memory,
   copies found. 300,000 take two minutes or more; a million, ten times that, only when asked for.
2. 5,000 made-up JPEG of 500 to 1,000 px a side, from files to groups.
3. Searching 10,000 hashes for those within 12 bits.

2 and 3 are measured beside imagededup's PHash, in the same run, where that is installed. It knows
no symmetries, confirms nothing and measures nothing else.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # as in the stage

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# Workers import this file, too: here is nothing that only their parent needs, as in the stage.
from ganloom import params
from ganloom.dedup import fingerprint
from ganloom.images import arrays
from ganloom.images.shards import Shards, sha256, write_shards

SECTION = params.load(Path(__file__).resolve().parents[1] / "params.yaml").dedup
CORES = 2
FILES = 5_000
SEARCHED = 10_000


def hashes(count: int) -> NDArray[Any]:
    """A table of fingerprints; the last twentieth are turned copies in which 6 bits differ."""
    rng = np.random.default_rng(0)
    prints = np.zeros(count, fingerprint.dtype(8))
    prints["sha256"] = [f"{i:064x}" for i in range(count)]
    prints["pixels"] = [f"{i:032x}" for i in range(count)]
    prints["contrast"] = 50
    prints["width"] = prints["height"] = np.arange(count, 0, -1)
    prints["hashes"] = rng.integers(0, 256, (count, 8, 8), dtype=np.uint8)
    for seen in ("thumbnail", "grey"):
        prints[seen] = rng.integers(0, 256, prints[seen].shape, dtype=np.uint8)
    copies = np.arange(count - count // 20, count)
    parents = copies - count // 20
    changed = np.zeros((len(copies), 64), np.uint8)
    for row in changed:
        row[rng.choice(64, 6, replace=False)] = 1
    k = rng.integers(0, 8, len(copies))
    copied = prints["hashes"][parents, 0] ^ np.packbits(changed, axis=1)
    for i, turn, parent, hash_ in zip(copies, k, parents, copied, strict=True):
        prints["hashes"][i, turn] = hash_
        back = turn if turn >= 4 else -turn % 4
        prints["thumbnail"][i] = arrays.apply_symmetry(prints["thumbnail"][parent], back)
        grey = arrays.apply_symmetry(prints["grey"][parent][..., None], back)
        prints["grey"][i] = grey[..., 0]
    return prints


def grow(count: int) -> None:
    import faiss  # noqa: PLC0415

    from ganloom.dedup import group  # noqa: PLC0415

    faiss.omp_set_num_threads(CORES)
    prints = hashes(count)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    members = group.group(prints, SECTION, lambda digests: digests, {})
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    copies = members[-(count // 20) :]
    found = sum(int(m.cluster, 16) == int(m.sha256, 16) - len(copies) for m in copies)
    print(
        f"{count:9,}{seconds:10.1f}{before / 1024:12,.0f}{peak / 1024:10,.0f}"
        f"{found:10,} of {count // 20:,}",
        flush=True,
    )


def write_jpegs(folder: Path) -> None:
    for i in range(FILES):
        rng = np.random.default_rng(i)
        width, height = (int(side) for side in rng.integers(500, 1001, 2))
        size = width, height
        patches = rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)
        grain = rng.integers(100, 156, (size[1] // 2, size[0] // 2), dtype=np.uint8)
        picture = np.asarray(Image.fromarray(patches).resize(size, Image.Resampling.BICUBIC))
        texture = np.asarray(Image.fromarray(grain).resize(size, Image.Resampling.BILINEAR))
        mixed = (picture.astype(np.int16) + texture[..., None] - 128).clip(0, 255)
        Image.fromarray(mixed.astype(np.uint8)).save(folder / f"{i:05}.jpg", quality=85)


def clocks() -> NDArray[np.float64]:
    """Seconds by the clock, and of processors, those of finished children included."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return np.array([time.perf_counter(), sum(u.ru_utime + u.ru_stime for u in used)])


def from_shards(folder: Path) -> NDArray[np.float64]:
    from ganloom.dedup import analysis  # noqa: PLC0415

    start = clocks()
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(CORES, mp_context=spawn) as pool:
        analysis.find(Shards(folder), SECTION, 10**8, pool)
    return clocks() - start


def searched(symmetries: bool) -> float:
    from ganloom.dedup import search  # noqa: PLC0415

    section = SECTION.model_copy(update={"symmetries": symmetries})
    prints = hashes(SEARCHED)
    start = time.perf_counter()
    index = search.Index(prints, section)
    index.add(np.arange(SEARCHED))
    for first in range(0, SEARCHED, search.ROWS):
        index.search(np.arange(first, min(first + search.ROWS, SEARCHED)))
    return time.perf_counter() - start


def main() -> None:
    import faiss  # noqa: PLC0415

    print(f"{'hashes':>9}{'seconds':>10}{'MB before':>12}{'MB peak':>10}{'copies found':>16}")
    spawn = multiprocessing.get_context("spawn")
    for count in (10_000, 100_000, 300_000, *((1_000_000,) if "--million" in sys.argv else ())):
        process = spawn.Process(target=grow, args=(count,))
        process.start()
        process.join()

    faiss.omp_set_num_threads(CORES)
    with tempfile.TemporaryDirectory() as scratch:
        jpegs, shards = Path(scratch, "jpegs"), Path(scratch, "shards")
        jpegs.mkdir()
        write_jpegs(jpegs)
        data = (path.read_bytes() for path in sorted(jpegs.iterdir()))
        write_shards(shards, ((sha256(d), "jpg", d) for d in data))
        print(f"\n{FILES:,} JPEG of 500 to 1,000 px, {CORES} cores")
        print("{:12}{:8.1f} s {:8.1f} s of processors".format("ganloom", *from_shards(shards)))
        try:
            from imagededup.methods import PHash  # noqa: PLC0415 - a peer, not a dependency
        except ImportError:
            print("imagededup  not installed: pip install imagededup")
        else:
            peer = PHash(verbose=False)
            start = clocks()
            found = peer.encode_images(str(jpegs), num_enc_workers=CORES)
            peer.find_duplicates(
                encoding_map=found,
                max_distance_threshold=SECTION.max_distance,
                num_dist_workers=CORES,
            )
            spent = clocks() - start
            print("{:12}{:8.1f} s {:8.1f} s of processors".format("imagededup", *spent))

    print(f"\nsearch of {SEARCHED:,} hashes, up to {SECTION.max_distance} bits")
    print(f"ganloom, 8 symmetries  {searched(True):8.3f} s")
    print(f"ganloom, 1 symmetry    {searched(False):8.3f} s")
    if "peer" in locals():
        plain = hashes(SEARCHED)["hashes"][:, 0]
        known = {str(i): row.tobytes().hex() for i, row in enumerate(plain)}
        began = time.perf_counter()
        peer.find_duplicates(
            encoding_map=known,
            max_distance_threshold=SECTION.max_distance,
            num_dist_workers=CORES,
        )
        print(f"imagededup             {time.perf_counter() - began:8.3f} s")


if __name__ == "__main__":
    main()
