"""What dedup finds, and what it costs: `python benchmarks/dedup_quality.py FOLDER [--deep]`.

FOLDER holds `batik/`, `batik_groups.csv` (which file shows which cloth) and `dedup_fixtures/`.

Precision, of batik: of the tiles joined to a keeper, how many show its cloth. The list knows no
rotations (its column `is_rotation_of` is empty), so tiles joined across cloths with nearly equal
pixels, turned, count as right. Recall: of copies of one tile of each cloth that are made here in
known ways, how many join a group that the tile is in. For kene, the truth is known.
"""

from __future__ import annotations

import csv
import io
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import numpy as np
from PIL import Image, ImageEnhance

from ganloom import params
from ganloom.dedup import analysis
from ganloom.dedup.group import Member
from ganloom.images import arrays, decoding
from ganloom.images.shards import Shards, sha256, write_shards
from ganloom.sources import Context, kene

RECIPE = params.load(Path(__file__).resolve().parents[1] / "params.yaml")
SAME_PIXELS = 8.0  # mean difference, of 255, that recompressing leaves of fine texture

Change = Callable[[Image.Image], Image.Image]


def encoded(image: Image.Image, quality: int = 90) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return file.getvalue()


def trimmed(image: Image.Image, share: float) -> Image.Image:
    margin = round(image.width * share / 2)
    return image.crop((margin, margin, image.width - margin, image.height - margin))


def turned(image: Image.Image, k: int) -> Image.Image:
    return Image.fromarray(arrays.apply_symmetry(np.asarray(image), k))


def rotated(image: Image.Image, degrees: int) -> Image.Image:
    return trimmed(image.rotate(degrees, Image.Resampling.BICUBIC), 0.04 * degrees**0.5)


CHANGES: dict[str, Change] = {
    "JPEG, quality 40": lambda image: decoding.decode(encoded(image, 40), 10**8),
    "half the size": lambda image: image.resize((64, 64), Image.Resampling.LANCZOS),
    "quarter turn": lambda image: turned(image, 1),
    "transposed, half size": lambda image: turned(image, 5).resize((64, 64)),
    "15 % brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.15),
    "20 % less contrast": lambda image: ImageEnhance.Contrast(image).enhance(0.8),
    "grey": lambda image: image.convert("L").convert("RGB"),
    "2 % cut off": lambda image: trimmed(image, 0.02),
    "4 % cut off": lambda image: trimmed(image, 0.04),
    "8 % cut off": lambda image: trimmed(image, 0.08),
    "25 % cut off": lambda image: trimmed(image, 0.25),
    "8 % cut off, turned": lambda image: turned(trimmed(image, 0.08), 3),
    "turned by 2 degrees": lambda image: rotated(image, 2),
    "turned by 10 degrees": lambda image: rotated(image, 10),
}


def found(files: Iterable[bytes], section: params.Dedup) -> dict[str, Member]:
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(2) as pool:
        write_shards(Path(folder), ((sha256(d), "x", d) for d in files))
        shards = Shards(Path(folder))
        members = analysis.find(shards, section, RECIPE.fetch.max_pixels, pool).members
    return {member.sha256: member for member in members}


def batik(folder: Path, section: params.Dedup, every: int) -> None:
    with (folder / "batik_groups.csv").open(encoding="utf-8") as file:
        parent = {row["file"]: row["parent"] for row in csv.DictReader(file)}
    files = {name: (folder / "batik" / name).read_bytes() for name in sorted(parent)}
    cloth = {sha256(files[name]): parent[name] for name in sorted(files, reverse=True)}
    tiles = {sha256(data): decoding.decode(data, 10**8) for data in files.values()}
    members = found(files.values(), section)
    pairs = [(m.sha256, m.cluster) for m in members.values() if m.kind != "keeper"]
    right = [
        pair
        for pair in pairs
        if cloth[pair[0]] == cloth[pair[1]] or difference(*(tiles[d] for d in pair)) < SAME_PIXELS
    ]
    kinds = Counter(members[d].kind for d, _ in pairs)
    print(f"batik: {len(pairs)} joined {dict(kinds)}, {len(right)} right", end="; ")
    print(f"largest diameter {max(m.diameter for m in members.values())}")

    first: dict[str, str] = {}
    for digest in sorted(tiles):
        first.setdefault(cloth[digest], digest)
    chosen = list(first.values())[::every]
    for change, make in CHANGES.items():
        copies = {digest: encoded(make(tiles[digest])) for digest in chosen}
        members = found([*files.values(), *copies.values()], section)
        hits = sum(members[sha256(copies[d])].cluster == members[d].cluster for d in chosen)
        print(f"  {change:24}{hits:6} of {len(chosen)}{hits / len(chosen):8.3f}", flush=True)


def difference(a: Image.Image, b: Image.Image) -> float:
    """Mean difference of the pixels under the symmetry that brings them closest."""
    if a.size != b.size:
        return 255.0
    x, y = (np.asarray(image, np.int16) for image in (a, b))
    turns = (arrays.apply_symmetry(x, k) for k in range(8))
    return min(float(np.abs(turn - y).mean()) for turn in turns if turn.shape == y.shape)


def designs(section: params.Dedup) -> None:
    spec = RECIPE.sources["kene"]
    assert isinstance(spec, params.KeneSource)
    spec = spec.model_copy(update={"faults": 1.0})
    context = Context(RECIPE.seed, RECIPE.network)
    read = kene.reader(spec, context)
    candidates = kene.search("kene", spec, context)
    files = {row.id: read(row.url) for row in candidates if row.fault != "truncated"}
    truth: dict[str, str] = {}
    for row in candidates:
        if row.id in files:
            truth[sha256(files[row.id])] = row.design or row.id
    original = {row.design: sha256(files[row.id]) for row in candidates if not row.fault}
    members = found(files.values(), section)
    hits, totals, kept = Counter[str](), Counter[str](), Counter[str]()
    for row in candidates:
        if row.design and row.fault and row.id in files:
            digest = sha256(files[row.id])
            together = members[digest].cluster == members[original[row.design]].cluster
            totals[row.fault] += 1
            hits[row.fault] += together
            kept[row.fault] += members[digest].kind == "keeper" and together
    joined = [m for m in members.values() if m.kind != "keeper"]
    wrong = sum(truth[m.sha256] != truth[m.cluster] for m in joined)
    print(f"kene: {len(joined)} joined {dict(Counter(m.kind for m in joined))}, {wrong} wrong")
    for fault, total in sorted(totals.items()):
        print(f"  {fault:24}{hits[fault]:6} of {total}; keeper of the original {kept[fault]}")


def fixtures(folder: Path, section: params.Dedup) -> None:
    """The first part of a file's name says what it shows."""
    shown: dict[str, str] = {}
    files: dict[str, bytes] = {}
    for path in sorted((folder / "dedup_fixtures").rglob("*.*")):
        data = path.read_bytes()
        try:
            decoding.probe(data, 10**8)
        except decoding.ImageError:
            continue
        shown[sha256(data)] = path.stem.partition("_")[0]
        files[path.name] = data
    members = found(files.values(), section)
    joined = [m for m in members.values() if m.kind != "keeper"]
    wrong = sum(shown[m.sha256] != shown[m.cluster] for m in joined)
    missed = len({m.cluster for m in members.values()}) - len(set(shown.values()))
    print(f"dedup_fixtures: {len(joined)} joined, {wrong} wrong, {missed} missed")
    report(files, members)


def report(files: Mapping[str, bytes], members: Mapping[str, Member]) -> None:
    for name, data in files.items():
        member = members[sha256(data)]
        if "_" in name or member.kind != "keeper":
            print(f"  {name:30}{member.kind:8}{member.distance:4} bits")


def thresholds(folder: Path) -> None:
    """What the two thresholds of the hash cost: batik's tiles, and copies of some of them."""
    for bits in (8, 12, 16):
        for mean in (8.0, 16.0, 32.0):
            update = {"max_distance": bits, "max_difference": mean}
            print(f"max_distance {bits}, max_difference {mean:.0f}")
            batik(folder, RECIPE.dedup.model_copy(update=update), every=14)


def main(folder: Path, deep: bool) -> None:
    section = RECIPE.dedup.model_copy(update={"deep": deep})
    designs(section)
    fixtures(folder, section)
    batik(folder, section, every=20 if deep else 1)


if __name__ == "__main__":
    if "--thresholds" in sys.argv:
        thresholds(Path(sys.argv[1]))
    else:
        main(Path(sys.argv[1]), "--deep" in sys.argv)
