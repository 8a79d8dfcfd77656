"""Whom to credit for the pictures, as their licences ask: title, author, source, licence."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import pandas as pd

UNKNOWN = ("", "unknown")

# Of data/manifest.csv, that credits are made from.
COLUMNS = (
    "id", "url", "page", "title", "creator", "licence", "licence_url", "error", "sha256",
)  # fmt: skip


class Credit(NamedTuple):
    """Who made a picture, where it was published and under which licence; "" where unknown."""

    creator: str
    title: str
    page: str
    licence: str
    licence_url: str


def credits(manifest: Sequence[Mapping[str, str]], used: Collection[str]) -> list[Credit]:
    """The credits of the pictures in use, one for each, by author.

    Args:
        manifest: Rows of data/manifest.csv.
        used: The sha256 of each picture in use.
    """
    return sorted(
        Credit(
            row["creator"],
            row["title"] or row["id"],
            row["page"] or (row["url"] if is_web_address(row["url"]) else ""),
            row["licence"],
            row["licence_url"],
        )
        for sha256, row in fetched(manifest).items()
        if sha256 in used
    )


def fetched(manifest: Sequence[Mapping[str, str]]) -> dict[str, Mapping[str, str]]:
    """What was fetched, by sha256; of several candidates with one file, the first counts."""
    return {row["sha256"]: row for row in reversed(manifest) if not row["error"]}


def is_web_address(text: str) -> bool:
    """Whether a text from the data may become a link: `javascript:` and the like may not."""
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    is_plain = re.search(r"[\s<>\"\\\x00-\x1f]", text) is None
    return is_plain and parts.scheme in ("http", "https") and bool(parts.netloc)


def processing(index: pd.DataFrame) -> list[str]:
    """What was done to originals to make training images of them: "rotated", "mirrored", both.

    Args:
        index: Of data/slices/index.parquet.
    """
    symmetry, angle = index["symmetry"].to_numpy(), index["angle"].to_numpy()
    was_done = {
        "rotated": (angle != 0).any() or (symmetry % 4 != 0).any(),
        "mirrored": (symmetry >= 4).any(),
    }
    return [word for word, done in was_done.items() if done]


def attribution(
    manifest: Sequence[Mapping[str, str]], kept: Sequence[Mapping[str, str]], slices: Path
) -> str:
    """The credits of a project, in Markdown.

    Args:
        manifest: Rows of data/manifest.csv.
        kept: Rows of data/kept.csv.
        slices: The folder data/slices. Before it is made, all kept pictures that are not held out
            count as training images.
    """
    held = {row["sha256"] for row in kept if row.get("split") == "holdout"}
    trained, how = {row["sha256"] for row in kept} - held, ""
    if (path := slices / "index.parquet").is_file():
        import pandas as pd  # noqa: PLC0415 (slow, and most of this module needs none)

        index = pd.read_parquet(path, columns=["image", "sha256", "symmetry", "angle"])
        trained = set(index["sha256"])
        cut = ["cut"] if index["image"].nunique() > len(trained) else []
        how = ", ".join([*cut, *processing(index)])
    return markdown(credits(manifest, trained), credits(manifest, held), how)


def markdown(trained: Sequence[Credit], held: Sequence[Credit] = (), how: str = "") -> str:
    """An attribution list to put beside what was made; pictures without a licence come last.

    Args:
        trained: Of the pictures that training images were made of.
        held: Of those that were held out.
        how: What was done to the former, in words.
    """
    lines = ["# Credits", "", f"{_these(trained)} trained a generator{f' ({how})' if how else ''}."]
    lines += _listed(trained, "##")
    if held:
        them = "it" if len(held) == 1 else "them"
        lines += ["", "## Held out", ""]
        lines += [f"{_these(held)} trained nothing; generated pictures were compared with {them}."]
        lines += _listed(held, "###")
    return "\n".join(lines) + "\n"


def _these(found: Sequence[Credit]) -> str:
    return "This picture" if len(found) == 1 else f"These {len(found):,} pictures"


def _listed(found: Sequence[Credit], level: str) -> list[str]:
    licensed = [credit for credit in found if credit.licence.lower() not in UNKNOWN]
    unknown = [credit for credit in found if credit.licence.lower() in UNKNOWN]
    lines = ["", *map(_line, licensed)] if licensed else []
    if unknown:
        lines += [
            *("", f"{level} Without a known licence", ""),
            "Ask before you publish what was made from "
            f"{'this picture' if len(unknown) == 1 else f'these {len(unknown):,} pictures'}.",
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
    """Words of a stranger's, without what Markdown would take for its own."""
    return re.sub(r"([\\`*_\[\]<>#|!&~])", r"\\\1", " ".join(words.split()))
