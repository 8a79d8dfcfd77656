"""Licences and credits of a project's images, for the metadata of images made from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ganloom import tables
from ganloom.credits import UNKNOWN, Credit, credits
from ganloom.tables import KeptRow, ManifestRow, TableError

# Limits of the size of metadata, whatever the collection contains.
CREDITS, LICENCES, LENGTH = 200, 50, 300


def origin(project: Path) -> dict[str, Any]:
    """Collect the licences and credits of the training originals; empty if they are unknown.

    Args:
        project: Folder with data/manifest.csv and data/kept.csv.

    Returns:
        ``licences`` and ``credits``: lists of strings; a long list ends with "and N more".
    """
    data = project / "data"
    try:
        kept = tables.read(data / "kept.csv", KeptRow)
        used = {row.sha256 for row in kept if row.split == "train"}
        entries = credits(tables.read(data / "manifest.csv", ManifestRow), used)
    except (OSError, TableError):
        return {}
    licences = {credit.licence for credit in entries if credit.licence.lower() not in UNKNOWN}
    unknown = any(credit.licence.lower() in UNKNOWN for credit in entries)
    return {
        "licences": _first(sorted(licences) + ["unknown"] * unknown, LICENCES),
        "credits": _first(list(dict.fromkeys(map(_line, entries))), CREDITS),
    }


def _line(credit: Credit) -> str:
    creator = f"by {credit.creator}" if credit.creator else ""
    parts = [credit.title, creator, credit.licence or "licence unknown", credit.page]
    return ", ".join(part for part in parts if part)


def _first(lines: list[str], most: int) -> list[str]:
    more = len(lines) - most
    shown = [_short(" ".join(line.split())) for line in lines[:most]]
    return [*shown, f"and {more} more: ganloom credits"] if more > 0 else shown


def _short(line: str) -> str:
    return line if len(line) <= LENGTH else f"{line[: LENGTH - 3]}..."
