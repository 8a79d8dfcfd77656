"""Attribution that licences require: title, author, source and licence of each image."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from ganloom.tables import KeptRow, ManifestRow

if TYPE_CHECKING:
    import pandas as pd

UNKNOWN = ("", "unknown")


class Credit(NamedTuple):
    """Author of an image, page of its publication, and licence; "" if unknown."""

    creator: str
    title: str
    page: str
    licence: str
    licence_url: str


def credits(manifest: Sequence[ManifestRow], used: Collection[str]) -> list[Credit]:
    """Build the credits of the images in use, one for each, sorted by author.

    Args:
        manifest: All rows of data/manifest.csv.
        used: The sha256 of each image in use.
    """
    return sorted(
        Credit(
            row.creator,
            row.title or row.id,
            row.page or (row.url if is_web_address(row.url) else ""),
            row.licence,
            row.licence_url,
        )
        for sha256, row in fetched(manifest).items()
        if sha256 in used
    )


def fetched(manifest: Sequence[ManifestRow]) -> dict[str, ManifestRow]:
    """Select fetched rows by sha256; of several candidates with the same file, the first counts."""
    return {row.sha256: row for row in reversed(manifest) if not row.error}


def is_web_address(text: str) -> bool:
    """Tell whether a text of the data may become a link: not `javascript:` and the like."""
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    is_plain = re.search(r"[\s<>\"\\\x00-\x1f]", text) is None
    return is_plain and parts.scheme in ("http", "https") and bool(parts.netloc)


def processing(index: pd.DataFrame) -> list[str]:
    """List how originals were changed to make training images: "rotated", "mirrored" or both.

    Args:
        index: Table data/slices/index.parquet.
    """
    symmetry, angle = index["symmetry"].to_numpy(), index["angle"].to_numpy()
    was_done = {
        "rotated": (angle != 0).any() or (symmetry % 4 != 0).any(),
        "mirrored": (symmetry >= 4).any(),
    }
    return [word for word, done in was_done.items() if done]


def attribution(manifest: Sequence[ManifestRow], kept: Sequence[KeptRow], slices: Path) -> str:
    """Format the credits of a project in Markdown.

    Args:
        manifest: All rows of data/manifest.csv.
        kept: All rows of data/kept.csv.
        slices: Folder data/slices. If it does not exist yet, all kept images that are not held out
            count as trained on.
    """
    held = {row.sha256 for row in kept if row.split == "holdout"}
    trained, how = {row.sha256 for row in kept} - held, ""
    if (path := slices / "index.parquet").is_file():
        import pandas as pd  # noqa: PLC0415 (slow to import, and rarely needed)

        index = pd.read_parquet(path, columns=["image", "sha256", "symmetry", "angle"])
        trained = set(index["sha256"])
        cut = ["cut"] if index["image"].nunique() > len(trained) else []
        how = ", ".join([*cut, *processing(index)])
    return markdown(credits(manifest, trained), credits(manifest, held), how)


def markdown(trained: Sequence[Credit], held: Sequence[Credit] = (), how: str = "") -> str:
    """Format an attribution list in Markdown; images without a licence come last.

    Args:
        trained: Credits of the originals of training images.
        held: Credits of the holdout.
        how: Description of how originals were changed.
    """
    changes = f" ({how})" if how else ""
    lines = ["# Credits", "", f"A generator was trained on {_counted(trained)}{changes}."]
    lines += _listed(trained, "##")
    if held:
        them = "it" if len(held) == 1 else "them"
        lines += ["", "## Held out", ""]
        lines += [f"The generator was not trained on {_counted(held)}, but compared with {them}."]
        lines += _listed(held, "###")
    return "\n".join(lines) + "\n"


def _counted(entries: Sequence[Credit]) -> str:
    return "this image" if len(entries) == 1 else f"these {len(entries):,} images"


def _listed(entries: Sequence[Credit], level: str) -> list[str]:
    licensed = [credit for credit in entries if credit.licence.lower() not in UNKNOWN]
    unknown = [credit for credit in entries if credit.licence.lower() in UNKNOWN]
    lines = ["", *map(_line, licensed)] if licensed else []
    if unknown:
        lines += [
            *("", f"{level} Without a known licence", ""),
            f"Ask for permission before you publish anything made from {_counted(unknown)}.",
            *("", *map(_line, unknown)),
        ]
    return lines


def _line(credit: Credit) -> str:
    parts = [_link(credit.title, credit.page)]
    if credit.creator:
        parts.append(f"by {_text(credit.creator)}")
    if credit.licence:
        parts.append(_link(credit.licence, credit.licence_url))
    return f"- {', '.join(parts)}"


def _link(words: str, address: str) -> str:
    return f"[{_text(words)}](<{address}>)" if is_web_address(address) else _text(words)


def _text(words: str) -> str:
    """Escape a text of the data for Markdown."""
    return re.sub(r"([\\`*_\[\]<>#|!&~])", r"\\\1", " ".join(words.split()))
