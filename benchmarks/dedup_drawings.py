"""Measure dedup on similar drawings: `python benchmarks/dedup_drawings.py [FOLDER]`.

For each kind in tests/drawings.py, counts how many of 40 distinct drawings join the group of
another one, and how many copies, made in known ways, join their original among all the others. For
each collection in FOLDER (batik, bob_ross, ...), counts how many images join another one.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import drawings
from dedup_quality import RECIPE, found

from ganloom.images.shards import sha256

DISTINCT = 40
EVERY = 5  # drawings of which copies are made
FOLDERS = ("batik", "bob_ross", "cifar10_automobile", "decor", "pokemon", "shipibo")


def kind(name: str) -> Counter[str]:
    """Print what is lost and blank; return how many copies of each change are found."""
    pictures = [drawings.drawing(name, number) for number in range(DISTINCT)]
    files = [drawings.png(picture) for picture in pictures]
    members = found(files, RECIPE.dedup)
    lost = sum(member.kind != "keeper" for member in members.values())
    hits = Counter[str]()
    for change, make in drawings.COPIES.items():
        copies = {number: make(pictures[number]) for number in range(0, DISTINCT, EVERY)}
        joined = found([*files, *copies.values()], RECIPE.dedup)
        hits[change] = sum(
            joined[sha256(copy)].cluster == joined[sha256(files[number])].cluster
            for number, copy in copies.items()
        )
    missed = {change: hits[change] for change in hits if hits[change] < DISTINCT // EVERY}
    print(f"{name:12}{lost:4} of {DISTINCT} lost; fewer than {DISTINCT // EVERY} copies: {missed}")
    return hits


def main(folder: Path | None) -> None:
    hits = sum((kind(name) for name in drawings.KINDS), Counter[str]())
    total = len(drawings.KINDS) * (DISTINCT // EVERY)
    for change in drawings.COPIES:
        print(f"  {change:24}{hits[change]:6} of {total}", flush=True)
    if folder is None:
        return
    suffixes = {".jpg", ".jpeg", ".png"}
    for name in FOLDERS:
        paths = [path for path in sorted((folder / name).rglob("*.*")) if path.suffix in suffixes]
        members = found([path.read_bytes() for path in paths], RECIPE.dedup)
        kinds = Counter(member.kind for member in members.values())
        print(f"{name:24}{len(members):6} pictures, {kinds['hash']} joined", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
