"""The collection: funnel, reasons for drops, sources, credits, and crops on their originals."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from ganloom import tables
from ganloom.credits import Credit, credits, processing
from ganloom.images.arrays import apply_symmetry
from ganloom.images.decoding import decode
from ganloom.images.shards import Shards
from ganloom.report.figures import EncodedImage, counted, picture, sheet_file, spread
from ganloom.tables import DroppedRow, KeptRow, ManifestRow, Row

SHEET = 40  # images of a contact sheet
SHEET_BYTES = 400_000
REASONS = 12  # per stage
EXAMPLES = 8  # images per reason or group
GROUPS = 12
CREDITS = 400
QUERIES = 12
TRACES = 6


@dataclass(frozen=True)
class ClusterRow:
    """The columns of ``data/clusters.csv`` that the report shows."""

    sha256: str
    cluster: str
    keeper: str
    distance: str


@dataclass(frozen=True)
class Thumb:
    picture: EncodedImage
    alt: str


@dataclass(frozen=True)
class FunnelStep:
    """A step of the funnel: number of images that remain, and their share of the first step."""

    name: str
    count: int
    share: float
    note: str
    stage: str


@dataclass(frozen=True)
class Reason:
    """A reason for drops, with its stage, the number of images and some examples."""

    stage: str
    words: str
    count: int
    thumbs: list[Thumb]


@dataclass(frozen=True)
class Source:
    """Images of one source under one licence."""

    name: str
    licence: str
    licence_url: str
    queries: list[str]
    candidates: int
    fetched: int
    kept: int


@dataclass(frozen=True)
class Class:
    """Numbers of training originals, holdout originals and training images of a class."""

    label: str
    train: int
    holdout: int
    images: int


@dataclass(frozen=True)
class Trace:
    """A training image and its position on the original.

    ``outline`` holds the corners of the crop as the ``points`` of an SVG polygon, in a view box of
    the original's ``width`` x ``height``.
    """

    crop: EncodedImage
    original: EncodedImage
    width: int
    height: int
    outline: str
    title: str
    turned: str


@dataclass(frozen=True)
class CollectionResults:
    steps: list[FunnelStep]
    images: int
    crops: int
    symmetries: int
    fetched: list[Thumb]
    groups: list[list[Thumb]]
    kept: list[Thumb]
    reasons: list[Reason]
    sources: list[Source]
    credits: list[Credit]
    more_credits: int
    classes: list[Class]
    made_by: str
    traces: list[Trace]
    preview: EncodedImage | None


class TitledOriginals:
    """Fetched originals by SHA-256, with their titles from the manifest."""

    def __init__(self, project: Path, manifest: Sequence[ManifestRow], max_pixels: int) -> None:
        self._shards = Shards(project / "data/raw")
        self._titles = {row.sha256: row.title or row.id for row in reversed(manifest)}
        self._max_pixels = max_pixels

    def image(self, sha256: str) -> Image.Image:
        return decode(self._shards[sha256], self._max_pixels)

    def title(self, sha256: str) -> str:
        return self._titles[sha256]

    def thumb(self, sha256: str) -> Thumb:
        return Thumb(picture(self.image(sha256), 128, 10_000), self.title(sha256))

    def thumbs(self, hashes: Iterable[str], count: int) -> list[Thumb]:
        """At most ``count`` thumbnails, spread evenly over the sorted hashes."""
        available = sorted(sha256 for sha256 in set(hashes) if sha256 in self._shards)
        return [self.thumb(sha256) for sha256 in spread(available, count)]


def collection(project: Path, max_pixels: int) -> CollectionResults:
    """Collect the numbers and examples of each step from candidates to training images."""
    manifest = _rows(project / "data/manifest.csv", ManifestRow)
    clusters = _rows(project / "data/clusters.csv", ClusterRow)
    kept = _rows(project / "data/kept.csv", KeptRow)
    dropped = _rows(project / "data/dropped.csv", DroppedRow)
    unused = _rows(project / "data/slices/unused.csv", DroppedRow)
    index = pd.read_parquet(project / "data/slices/index.parquet")
    originals = TitledOriginals(project, manifest, max_pixels)
    fetched = [row for row in manifest if not row.error]
    failed = [DroppedRow(sha256=row.sha256, reason=row.error) for row in manifest if row.error]
    used = {row.sha256 for row in kept}
    credited = [credit for credit in credits(manifest, used) if credit.creator or credit.page]
    return CollectionResults(
        steps=_funnel(manifest, clusters, kept),
        images=len(index),
        crops=int(index["image"].nunique()),
        symmetries=int(index["symmetry"].nunique()),
        fetched=originals.thumbs((row.sha256 for row in fetched), SHEET),
        groups=_groups(clusters, originals),
        kept=originals.thumbs((row.sha256 for row in kept), SHEET),
        reasons=[
            *_reasons("fetch", failed, originals),
            *_reasons("curate", dropped, originals),
            *_reasons("augment", unused, originals),
        ],
        sources=_sources(manifest, used),
        credits=credited[:CREDITS],
        more_credits=len(credited[CREDITS:]),
        classes=_classes(kept, Counter(index["label"])),
        made_by=_made_by(index),
        traces=list(_traces(project, index, originals)),
        preview=sheet_file(project / "data/slices/preview.png", 1400, SHEET_BYTES),
    )


def _rows(path: Path, kind: type[Row]) -> list[Row]:
    """Read a table; no rows if it does not exist."""
    return tables.read(path, kind) if path.is_file() else []


# --- funnel and reasons ------------------------------------------------------------------------


def _funnel(
    manifest: Sequence[ManifestRow], clusters: Sequence[ClusterRow], kept: Sequence[KeptRow]
) -> list[FunnelStep]:
    candidates = len(manifest)
    fetched = sum(not row.error for row in manifest)
    distinct = len({row.cluster for row in clusters})
    split = Counter(row.split for row in kept)
    out = distinct - len(kept)
    sorted_out = f"{were(out)} dropped"
    if out < 0:
        sorted_out = f"{were(-out)} kept manually in addition to another one of the same group"
    again, near = fetched - len(clusters), len(clusters) - distinct
    copies = (
        [f"{were(again)} identical files" if again != 1 else "1 was an identical file"]
        if again
        else []
    )
    copies += (
        [f"{were(near)} near-duplicates" if near != 1 else "1 was a near-duplicate"]
        if near or not again
        else []
    )
    steps = (
        ("Candidates", candidates, "listed by the sources", "search"),
        ("Fetched", fetched, f"{candidates - fetched:,} could not be used", "fetch"),
        ("Distinct", distinct, ", ".join(copies), "dedup"),
        ("Kept", len(kept), sorted_out, "curate"),
        ("Training", split["train"], "near-duplicates are never split", "curate"),
        ("Held out", split["holdout"], "not used for training", "curate"),
    )
    return [
        FunnelStep(name, count, count / max(candidates, 1), note, stage)
        for name, count, note, stage in steps
    ]


def were(count: int) -> str:
    """Format a count as a subject with its verb: none were, 1 was, 2 were."""
    return "none were" if count == 0 else f"{count:,} {'was' if count == 1 else 'were'}"


def _groups(clusters: Sequence[ClusterRow], originals: TitledOriginals) -> list[list[Thumb]]:
    """Thumbnails of the largest groups of near-duplicates, sorted by distance to the keeper."""
    groups: defaultdict[str, list[ClusterRow]] = defaultdict(list)
    for row in clusters:
        groups[row.cluster].append(row)
    several = sorted(
        (rows for rows in groups.values() if len(rows) > 1),
        key=lambda rows: (-len(rows), rows[0].cluster),
    )
    for rows in several:
        rows.sort(key=lambda row: (row.keeper != "true", float(row.distance), row.sha256))
    return [[originals.thumb(row.sha256) for row in rows[:EXAMPLES]] for rows in several[:GROUPS]]


def _reasons(stage: str, rows: Iterable[DroppedRow], originals: TitledOriginals) -> list[Reason]:
    """Group images by reason, the most frequent first."""
    by_reason: defaultdict[str, list[str]] = defaultdict(list)
    for row in rows:
        by_reason[general(row.reason)].append(row.sha256)
    ordered = sorted(by_reason.items(), key=lambda item: (-len(item[1]), item[0]))
    shown = [
        Reason(stage, words, len(hashes), originals.thumbs(hashes, EXAMPLES))
        for words, hashes in ordered[:REASONS]
    ]
    if rest := ordered[REASONS:]:
        count = sum(len(hashes) for _, hashes in rest)
        shown.append(Reason(stage, counted(len(rest), "other reason"), count, []))
    return shown


def general(reason: str) -> str:
    """Strip details of a single image from a reason; reasons of manual decisions stay as they are.

    "too small: 60x48" -> "too small", "near-duplicate of 1a2b3c4d5e6f" -> "near-duplicate".
    """
    if reason.startswith("list "):
        return reason
    return re.sub(" of [0-9a-f]{8,64}$", "", reason).partition(":")[0]


def _sources(manifest: Iterable[ManifestRow], kept: set[str]) -> list[Source]:
    groups: defaultdict[tuple[str, str, str], list[ManifestRow]] = defaultdict(list)
    for row in manifest:
        groups[row.source, row.licence, row.licence_url].append(row)
    return [
        Source(
            name=source,
            licence=licence,
            licence_url=licence_url,
            queries=sorted({row.query for row in rows} - {""})[:QUERIES],
            candidates=len(rows),
            fetched=sum(not row.error for row in rows),
            kept=len(kept & {row.sha256 for row in rows}),
        )
        for (source, licence, licence_url), rows in sorted(groups.items())
    ]


def _classes(kept: Sequence[KeptRow], images: Counter[str]) -> list[Class]:
    split = Counter((row.label, row.split) for row in kept)
    return [
        Class(label, split[label, "train"], split[label, "holdout"], images[label])
        for label in sorted({row.label for row in kept} - {""})
    ]


# --- training images ---------------------------------------------------------------------------


def _made_by(index: pd.DataFrame) -> str:
    """Describe the processing of originals: "rotated and mirrored", "unchanged"."""
    return " and ".join(processing(index)) or "unchanged"


def _traces(project: Path, index: pd.DataFrame, originals: TitledOriginals) -> Iterator[Trace]:
    """Trace one training image of each of a few originals."""
    crops = np.load(project / "data/slices/images.npy", mmap_mode="r")
    for n, sha256 in enumerate(spread(sorted(index.sha256.unique()), TRACES)):
        rows = index[index.sha256 == sha256]
        # Take another symmetry for each original, to show several.
        row = rows.iloc[(3 * n + 1) % len(rows)]
        image = originals.image(sha256)
        crop: NDArray[Any] = apply_symmetry(crops[row["image"]], int(row["symmetry"]))
        yield Trace(
            crop=picture(Image.fromarray(crop), 192, 20_000),
            original=picture(image, 420, 40_000),
            width=image.width,
            height=image.height,
            outline=outline(row["x"], row["y"], row["side"], row["angle"]),
            title=originals.title(sha256),
            turned=turned(row["angle"], int(row["symmetry"])),
        )


def outline(x: float, y: float, side: float, angle: float) -> str:
    """Corners of a crop in px of the original, as the ``points`` of an SVG polygon.

    Args:
        x: Horizontal coordinate of the centre, as in ``data/slices/index.parquet``.
        y: Vertical coordinate of the centre.
        side: Side of the crop.
        angle: Rotation of the crop in degrees, counter-clockwise.
    """
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    half = side / 2
    corners = ((-half, -half), (half, -half), (half, half), (-half, half))
    return " ".join(f"{x + u * cos + v * sin:.1f},{y - u * sin + v * cos:.1f}" for u, v in corners)


def turned(angle: float, symmetry: int) -> str:
    """Describe the rotation and symmetry of a training image."""
    steps = [
        f"rotated by {angle:.1f}°" if round(angle, 1) else "",
        f"turned by {symmetry % 4 * 90}°" if symmetry % 4 else "",
        "mirrored" if symmetry >= 4 else "",
    ]
    return ", then ".join(filter(None, steps)) or "unchanged"
