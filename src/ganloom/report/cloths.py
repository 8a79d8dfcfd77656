"""Enlarged samples, tiles and cloths, and the quality of the enlarger."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganloom.report.figures import EncodedImage, counted, data_uri, number, picture_file
from ganloom.report.reading import read_json


@dataclass(frozen=True)
class Tile:
    """A seamless tile and the name of its wallpaper group."""

    group: str
    picture: EncodedImage


@dataclass(frozen=True)
class Cloths:
    """Outputs of the stage ``weave`` for one model.

    Attributes:
        enlarged: Sheet of enlarged samples.
        cloth: Cloth of one sample.
        sample: The sample of the cloth, as generated.
        chosen: Description of how that sample was chosen.
        whole: Whether the cloth was generated as a whole, in the style of the sample.
        tiles: One tile per wallpaper group.
        film: Data URI of an animation of tiles; "" if it is missing or too large for the page.
    """

    enlarged: EncodedImage | None
    cloth: EncodedImage | None
    sample: EncodedImage | None
    chosen: str
    whole: bool
    tiles: list[Tile]
    film: str


@dataclass(frozen=True)
class Size:
    """Formatted distances to originals at one size, of a model's samples or of real images."""

    name: str
    side: str
    how: str
    kid: str
    swd: str
    finest: str


@dataclass(frozen=True)
class EnlargerResults:
    """Training and quality of the enlarger.

    Attributes:
        learned: Description of its training data.
        reach: Description of the size up to which originals contain detail.
        restored: Holdout originals, halved and enlarged again; rows: bicubic, enlarger, original.
        figures: Rows of a table: name, and formatted PSNR, SSIM and perceptual distance.
        sizes: Rows of the table of distances.
    """

    learned: str
    reach: str
    restored: EncodedImage | None
    figures: list[tuple[str, str, str, str]]
    sizes: list[Size]


def cloths(project: Path, name: str, limit: int) -> Cloths:
    """Collect the outputs of ``weave`` for a model, in about ``limit`` bytes."""
    folder = project / "results/cloths" / name
    facts = read_json(folder / "cloth.json")
    woven: Mapping[str, Any] = facts.get("weave") or {}
    sample: Mapping[str, int] = facts.get("sample") or {}
    tiles = [
        Tile(group, tile)
        for group in woven.get("groups", [])
        if (tile := picture_file(folder / f"tile_{group}.png", 360, limit // 12))
    ]
    return Cloths(
        enlarged=picture_file(folder / "enlarged.png", 1024, limit // 4),
        cloth=picture_file(folder / "cloth.png", 1024, limit // 4),
        sample=picture_file(folder / "sample.png", 256, limit // 24),
        chosen=_chosen(sample),
        whole=bool(sample.get("whole")),
        tiles=tiles,
        film=_film(folder / "loop.mp4", limit // 2),
    )


def _chosen(sample: Mapping[str, int]) -> str:
    if sample.get("of", 1) == 1:
        return "the first sample of its seed"
    return f"the one of {sample['of']} samples with the highest discriminator output"


def _film(path: Path, limit: int) -> str:
    if not path.is_file() or path.stat().st_size > limit:
        return ""
    return data_uri(path.read_bytes(), "video/mp4")


def enlarger(project: Path, names: Iterable[str]) -> EnlargerResults | None:
    """Collect the results of the enlarger, and distances of enlarged samples of these models.

    Returns:
        None if there is no enlarger.
    """
    folder = project / "results/enlarger"
    results = read_json(folder / "enlarger.json")
    if not results.get("enlarges"):
        return None
    largest = round(results["reach"] * results["resolution"])
    sizes = [
        Size("Training originals", f"{side} px", "not enlarged", *_distances(row))
        for side, row in results.get("real", {}).items()
    ]
    for name in names:
        measured = read_json(project / f"results/cloths/{name}/cloth.json").get("enlarged", {})
        for side, rows in measured.items():
            for how, row in rows.items():
                sizes.append(Size(name, f"{side} px", how, *_distances(row)))
    return EnlargerResults(
        learned=f"{counted(results['originals'], 'training original')}, at full and half size",
        reach=(
            f"A training image shows a part of an original that is {largest:,} px wide. Up to that "
            "size the enlarger was trained on real detail; beyond, it only sharpens edges."
        ),
        restored=picture_file(folder / "restored.png", 1200, 400_000),
        figures=[
            (name, *(number(row[key]) for key in ("psnr", "ssim", "perceptual")))
            for name, row in results.get("restored", {}).items()
        ],
        sizes=sizes,
    )


def _distances(row: Mapping[str, float]) -> tuple[str, str, str]:
    return number(row["kid_lite2"]), number(row["swd"]), number(row["swd_finest"])
