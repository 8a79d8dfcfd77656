"""Whom to credit for the pictures, as their licences ask: title, author, source, licence."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

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
    """The credits of the pictures in use, by author.

    Args:
        manifest: Rows of data/manifest.csv.
        used: The sha256 of each picture in use.
    """
    found = {
        Credit(
            row["creator"],
            row["title"] or row["id"],
            row["page"] or (row["url"] if is_web_address(row["url"]) else ""),
            row["licence"],
            row["licence_url"],
        )
        for sha256, row in fetched(manifest).items()
        if sha256 in used
    }
    return sorted(found)


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


def markdown(found: Sequence[Credit]) -> str:
    """An attribution list to put beside what was made; pictures without a licence come last."""
    licensed = [credit for credit in found if credit.licence.lower() not in UNKNOWN]
    unknown = [credit for credit in found if credit.licence.lower() in UNKNOWN]
    lines = [
        "# Credits",
        "",
        f"Parts of these {len(found)} pictures, cut, turned and mirrored, trained a generator.",
        "",
        *(_line(credit) for credit in licensed),
    ]
    if unknown:
        lines += [
            "",
            "## Without a known licence",
            "",
            f"Ask before you publish what was made from these {len(unknown)}.",
            "",
            *(_line(credit) for credit in unknown),
        ]
    return "\n".join(lines) + "\n"


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
