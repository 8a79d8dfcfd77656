"""What dedup finds in real batik tiles: `python benchmarks/dedup_batik.py FOLDER`.

FOLDER holds `batik/` and `batik_groups.csv` (which file shows which cloth). Precision: of the pairs
that a tile forms with its keeper, how many show one cloth. The list knows no rotations (its column
`is_rotation_of` is empty), so tiles joined across cloths by a quarter turn of nearly equal pixels
are counted as a row of their own. Recall: of copies of one tile of each cloth that are made here in
known ways, how many join a group that the tile is in.
"""

from __future__ import annotations

import csv
import io
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import numpy as np
from PIL import Image, ImageEnhance

from ganloom import dedup, images, params

SECTION = params.load(Path(__file__).resolve().parents[1] / "recipes" / "kene.yaml").dedup
SAME_PIXELS = 8.0  # mean difference, of 255, that recompressing leaves of fine texture

Change = Callable[[Image.Image], Image.Image]


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


def trimmed(image: Image.Image, share: float) -> Image.Image:
    margin = round(image.width * share / 2)
    return image.crop((margin, margin, image.width - margin, image.height - margin))


def turned(image: Image.Image, k: int) -> Image.Image:
    return Image.fromarray(images.apply_symmetry(np.asarray(image), k))


def rotated(image: Image.Image, degrees: int) -> Image.Image:
    return trimmed(image.rotate(degrees, Image.Resampling.BICUBIC), 0.04 * degrees**0.5)


CHANGES: dict[str, Change] = {
    "equal pixels": lambda image: image.copy(),
    "JPEG, quality 40": lambda image: jpeg(image, 40),
    "half the size": lambda image: jpeg(image.resize((64, 64), Image.Resampling.LANCZOS), 85),
    "quarter turn": lambda image: jpeg(turned(image, 1), 80),
    "half turn": lambda image: jpeg(turned(image, 2), 80),
    "mirrored": lambda image: jpeg(turned(image, 4), 80),
    "transposed, half size": lambda image: jpeg(turned(image, 5).resize((64, 64)), 80),
    "15 % brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.15),
    "20 % less contrast": lambda image: ImageEnhance.Contrast(image).enhance(0.8),
    "2 % cut off": lambda image: trimmed(image, 0.02),
    "4 % cut off": lambda image: trimmed(image, 0.04),
    "8 % cut off": lambda image: trimmed(image, 0.08),
    "turned by 2 degrees": lambda image: rotated(image, 2),
    "turned by 10 degrees": lambda image: rotated(image, 10),
}


def main(folder: Path) -> None:
    with (folder / "batik_groups.csv").open(encoding="utf-8") as file:
        cloth = {row["file"]: row["parent"] for row in csv.DictReader(file)}
    files = {name: (folder / "batik" / name).read_bytes() for name in sorted(cloth)}
    distinct = {images.sha256(data): name for name, data in reversed(files.items())}
    tiles = {name: images.decode(files[name], 10**8) for name in sorted(distinct.values())}
    print(f"{len(files)} files, {len(files) - len(tiles)} equal to another by sha256")

    start = time.perf_counter()
    prints = [dedup.fingerprint(name, tile, SECTION.hash_size) for name, tile in tiles.items()]
    hashed = time.perf_counter()
    members = dedup.group(prints, SECTION)
    print(f"fingerprints {hashed - start:.1f} s, groups {time.perf_counter() - hashed:.2f} s")

    pairs = [(m.sha256, m.cluster) for m in members if m.kind != "keeper"]
    same = [pair for pair in pairs if cloth[pair[0]] == cloth[pair[1]]]
    turns = [p for p in pairs if p not in same and difference(*(tiles[n] for n in p)) < SAME_PIXELS]
    precision = (len(same) + len(turns)) / len(pairs)
    print(
        f"{len(pairs)} joined: {len(same)} of one cloth, {len(turns)} the same pixels turned, "
        f"{len(pairs) - len(same) - len(turns)} wrong; precision {precision:.2f}\n"
    )

    first = {}
    for name in tiles:
        first.setdefault(cloth[name], name)
    print(f"{'copies of one tile per cloth':32}{'found':>8}{'of':>6}{'recall':>8}")
    for change, make in CHANGES.items():
        copies = [
            dedup.fingerprint(f"copy of {name}", make(tiles[name]), SECTION.hash_size)
            for name in first.values()
        ]
        cluster = {m.sha256: m.cluster for m in dedup.group(prints + copies, SECTION)}
        found = sum(cluster[name] == cluster[f"copy of {name}"] for name in first.values())
        print(f"{change:32}{found:8}{len(first):6}{found / len(first):8.3f}")


def difference(a: Image.Image, b: Image.Image) -> float:
    """Mean difference of the pixels under the symmetry that brings them closest."""
    if a.size != b.size:
        return 255.0
    x, y = (np.asarray(image, np.int16) for image in (a, b))
    turns = (images.apply_symmetry(x, k) for k in range(8))
    return min(float(np.abs(turn - y).mean()) for turn in turns if turn.shape == y.shape)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
