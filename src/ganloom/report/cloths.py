"""What became of the samples: enlarged ones, tiles and cloths, and what enlarged them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganloom.report.figures import Picture, counted, data_uri, number, picture_file
from ganloom.report.tables import read_json


@dataclass(frozen=True)
class Tile:
    """A seamless tile, and what it is invariant under, in words."""

    group: str
    picture: Picture


@dataclass(frozen=True)
class Cloths:
    """What the stage `weave` made of one model's samples.

    Attributes:
        enlarged: Sheet of enlarged samples.
        cloth: Cloth of one sample.
        sample: Untouched sample that it is woven of.
        chosen: How that sample was chosen, in words.
        tiles: A tile for each group.
        film: Data URI of a film of tiles; "" where it is too large for the page.
    """

    enlarged: Picture | None
    cloth: Picture | None
    sample: Picture | None
    chosen: str
    tiles: list[Tile]
    film: str


@dataclass(frozen=True)
class Size:
    """Distances to originals at one size, in words: of a model's samples, or of real pictures."""

    name: str
    side: str
    how: str
    kid: str
    swd: str
    finest: str


@dataclass(frozen=True)
class Enlarger:
    """What is known of the enlarger.

    Attributes:
        learned: What it was trained on, in words.
        reach: Up to which size originals have detail, in words.
        restored: Holdout originals, halved and brought back; rows: bicubic, enlarger, original.
        figures: Rows of a table: name, PSNR, SSIM, perceptual distance, in words.
        sizes: Rows of a table.
    """

    learned: str
    reach: str
    restored: Picture | None
    figures: list[tuple[str, str, str, str]]
    sizes: list[Size]


def cloths(project: Path, name: str, limit: int) -> Cloths:
    """Gather what was woven of a model's samples, in about ``limit`` bytes."""
    folder = project / "results/cloths" / name
    facts = read_json(folder / "cloth.json")
    woven: Mapping[str, Any] = facts.get("weave") or {}
    tiles = [
        Tile(group, tile)
        for group in woven.get("groups", [])
        if (tile := picture_file(folder / f"tile_{group}.png", 360, limit // 12))
    ]
    return Cloths(
        enlarged=picture_file(folder / "enlarged.png", 1024, limit // 4),
        cloth=picture_file(folder / "cloth.png", 1024, limit // 4),
        sample=picture_file(folder / "sample.png", 256, limit // 24),
        chosen=_chosen(facts.get("sample") or {}),
        tiles=tiles,
        film=_film(folder / "loop.mp4", limit // 2),
    )


def _chosen(sample: Mapping[str, int]) -> str:
    if sample.get("of", 1) == 1:
        return "the first sample of its seed, not chosen"
    return f"the one of {sample['of']} samples that the discriminator finds most real"


def _film(path: Path, limit: int) -> str:
    if not path.is_file() or path.stat().st_size > limit:
        return ""
    return data_uri(path.read_bytes(), "video/mp4")


def enlarger(project: Path, names: Iterable[str]) -> Enlarger | None:
    """Gather what is known of the enlarger, and of the samples of these models that it enlarged.

    Returns:
        None where there is no enlarger.
    """
    folder = project / "results/enlarger"
    known = read_json(folder / "enlarger.json")
    if not known.get("enlarges"):
        return None
    largest = round(known["reach"] * known["resolution"])
    sizes = [
        Size("Training originals", f"{side} px", "as they are", *_distances(row))
        for side, row in known.get("real", {}).items()
    ]
    for name in names:
        measured = read_json(project / f"results/cloths/{name}/cloth.json").get("enlarged", {})
        for side, rows in measured.items():
            for how, row in rows.items():
                sizes.append(Size(name, f"{side} px", how, *_distances(row)))
    return Enlarger(
        learned=f"{counted(known['originals'], 'training original')}, at their own size and halved",
        reach=(
            f"A training image shows a part of an original that is {largest:,} px wide there. Up "
            "to that size the enlarger has seen real detail; beyond, it only continues edges."
        ),
        restored=picture_file(folder / "restored.png", 1200, 400_000),
        figures=[
            (name, *(number(row[key]) for key in ("psnr", "ssim", "perceptual")))
            for name, row in known.get("restored", {}).items()
        ],
        sizes=sizes,
    )


def _distances(row: Mapping[str, float]) -> tuple[str, str, str]:
    return number(row["kid_lite2"]), number(row["swd"]), number(row["swd_finest"])
