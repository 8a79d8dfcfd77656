"""Choosing what is trained on: manual lists, then rules, then a split by group."""

from __future__ import annotations

import bisect
import csv
import hashlib
import io
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from ganloom import params

COLUMNS = ("sha256", "decision", "reason")
MIN_PREFIX = 8


class CurationError(ValueError):
    """A manual list cannot be used; the message names the file, the line and the way out."""


class Decision(NamedTuple):
    """One line of a manual list, its sha256 in full."""

    sha256: str
    keep: bool
    reason: str
    line: int


class Picture(NamedTuple):
    """What is known of a fetched picture: its file, its group and its looks.

    Attributes:
        sha256: Of the file.
        cluster: The sha256 of its group's keeper; its own where it is the keeper.
        width: In px, upright.
        height: In px, upright.
        contrast: Standard deviation of grey, of 255.
        label: Its class, "" without one.
    """

    sha256: str
    cluster: str
    width: int
    height: int
    contrast: float
    label: str


def pictures(manifest: pd.DataFrame, clusters: pd.DataFrame) -> list[Picture]:
    """Join the two tables, by sha256; of several candidates with one file, the first id counts.

    Args:
        manifest: data/manifest.csv, every column as text.
        clusters: data/clusters.csv.
    """
    fetched = manifest[manifest.error == ""].sort_values("id").drop_duplicates("sha256")
    fetched = fetched.astype({"width": int, "height": int})
    rows = clusters.merge(fetched, on="sha256").sort_values("sha256")[list(Picture._fields)]
    return [Picture(*row) for row in rows.itertuples(index=False, name=None)]


# --- manual lists ------------------------------------------------------------------------------


def read_list(path: Path, known: Collection[str]) -> list[Decision]:
    """Read a manual list: a CSV file with the columns sha256, decision (keep or drop), reason.

    Args:
        path: The list. A sha256 may be cut to its first 8 digits or more.
        known: The sha256 of every candidate that has one.

    Raises:
        CurationError: the file or a line of it cannot be used.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise CurationError(
            f"{path}: no such file; params.yaml names it as curate.list: make it, "
            f"starting with the line `{','.join(COLUMNS)}`, or say `list: null`"
        ) from None
    # A line that repeats another is no contradiction; the first one counts.
    decisions: dict[str, Decision] = {}
    for decision in parse_list(data, known, path):
        decisions.setdefault(decision.sha256, decision)
    return list(decisions.values())


def parse_list(data: bytes, known: Collection[str], path: Path) -> list[Decision]:
    """Every line of a manual list, in the file's order; of one picture there may be several.

    Args:
        data: The file.
        known: As in ``read_list``.
        path: Its name, for messages.

    Raises:
        CurationError: as ``read_list``.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise CurationError(f"{path}: not UTF-8; save it as CSV UTF-8") from None
    reader = csv.DictReader(io.StringIO(text, newline=""))
    ordered = sorted(known)
    first: dict[str, Decision] = {}
    decisions = []
    try:
        missing = [column for column in COLUMNS if column not in (reader.fieldnames or ())]
        if missing:
            raise CurationError(
                f"{path}:1: missing {', '.join(missing)}; "
                f"the first line must be `{','.join(COLUMNS)}`"
            )
        for row in reader:
            decision = _decision(row, ordered, path, reader.line_num)
            before = first.setdefault(decision.sha256, decision)
            if before.keep != decision.keep:
                raise CurationError(
                    f"{path}:{decision.line}: contradicts line {before.line} on "
                    f"{decision.sha256[:12]}; remove one of them"
                )
            decisions.append(decision)
    except csv.Error as error:
        line = reader.line_num or 1  # 0: not even the header
        raise CurationError(f"{path}:{line}: not CSV: {error}") from None
    return decisions


def _decision(
    row: Mapping[str, str | None], known: Sequence[str], path: Path, line: int
) -> Decision:
    prefix, word, reason = ((row[column] or "").strip() for column in COLUMNS)
    prefix = prefix.lower()
    if word not in ("keep", "drop"):
        raise CurationError(f"{path}:{line}: decision {word!r} is not `keep` or `drop`")
    if len(prefix) < MIN_PREFIX:
        raise CurationError(f"{path}:{line}: sha256 {prefix!r} has fewer than {MIN_PREFIX} digits")
    start = bisect.bisect_left(known, prefix)  # sorted: what begins with it stands together
    end = bisect.bisect_right(known, prefix + "~", lo=start)  # "~" comes after every digit
    matches = known[start:end]
    if not matches:
        raise CurationError(
            f"{path}:{line}: {prefix} was never a candidate; "
            "see the column sha256 of data/manifest.csv"
        )
    if len(matches) > 1:
        raise CurationError(
            f"{path}:{line}: {prefix} is ambiguous; write more of one of {', '.join(matches)}"
        )
    return Decision(matches[0], word == "keep", reason, line)


# --- rules -------------------------------------------------------------------------------------


def drop_reasons(
    pictures: Iterable[Picture], decisions: Iterable[Decision], section: params.Curate
) -> dict[str, str]:
    """Why pictures are dropped, by sha256; the others are kept.

    A manual decision overrides every rule. Of a group only the keeper is kept: dropping it does not
    promote a copy of what was dropped, keeping one by hand does.
    """
    manual = {decision.sha256: decision for decision in decisions}
    reasons = {}
    for picture in pictures:
        decision = manual.get(picture.sha256)
        if decision is None:
            reason = _fault(picture, section)
        elif decision.keep:
            reason = ""
        else:
            reason = ": ".join(filter(None, (f"list {section.list}", decision.reason)))
        if reason:
            reasons[picture.sha256] = reason
    return reasons


def _fault(picture: Picture, section: params.Curate) -> str:
    """What the rules say against a picture, "" if nothing."""
    if picture.cluster != picture.sha256:
        return f"near-duplicate of {picture.cluster[:12]}"
    if min(picture.width, picture.height) < section.min_side:
        return f"too small: {picture.width}x{picture.height}"
    if picture.contrast < section.min_contrast:
        return "blank"
    return ""


def kind(reason: str) -> str:
    """A reason without what is special to one picture, for counting."""
    return "near-duplicate" if reason.startswith("near-duplicate") else reason.partition(":")[0]


def holdout(clusters: Iterable[str], share: float, seed: int) -> set[str]:
    """The clusters that are kept out of training, so that no copy of them is trained on.

    Clusters are ranked by a hash of seed and name: adding one moves few others.

    Returns:
        round(share * n) of n clusters, but never all.
    """
    distinct = set(clusters)
    count = min(round(share * len(distinct)), len(distinct) - 1)
    rank = {c: hashlib.sha256(f"{seed}:{c}".encode()).digest() for c in distinct}
    return set(sorted(distinct, key=rank.__getitem__)[: max(count, 0)])
