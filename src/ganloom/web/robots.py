"""What a site asks of programs: robots.txt (RFC 9309) and the header X-Robots-Tag."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from protego import Protego

AGENT = "ganloom"
MAX_BYTES = 512 * 1024  # RFC 9309: at least 500 KiB must be read

_FORBIDDING = {"none", "noindex", "noimageindex", "noai", "noimageai"}
# Directives that have a value; any other word before a colon names a program.
_WITH_VALUE = {"unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"}


class Rules(NamedTuple):
    """What a robots.txt says, or why none could be read.

    Attributes:
        parsed: The rules; None where nothing may be asked for now.
        problem: Why that is so.
        refused: Whether it was ganloom that refused to ask.
        unreachable: Whether nothing answered at all.
    """

    parsed: Protego | None
    problem: str = ""
    refused: bool = False
    unreachable: bool = False

    def forbid(self, url: str) -> str | None:
        """Why ``url`` must not be asked, or None."""
        if self.parsed is None:
            return self.problem
        if not self.parsed.can_fetch(url, AGENT):
            return "forbidden by robots.txt"
        return None

    @property
    def delay(self) -> float:
        """Seconds between two requests that the site asks for."""
        delay = self.parsed.crawl_delay(AGENT) if self.parsed else None
        return max(0.0, delay or 0.0)


def parse(data: bytes) -> Rules:
    """Read a robots.txt; what makes no sense in it counts for nothing."""
    text = data.decode("utf-8", "replace").removeprefix("\ufeff")
    return Rules(Protego.parse(text))


ALLOW_ALL = parse(b"")


def tag(values: Iterable[str]) -> str | None:
    """The directive in values of X-Robots-Tag that forbids to take a picture, or None.

    ``otherbot: noindex`` is meant for another program, ``max-image-preview: none`` is no ``none``.
    """
    for value in values:
        for_us = True
        for part in re.split(r"\s*,\s*", value.strip().lower()):
            name, colon, rest = (piece.strip() for piece in part.partition(":"))
            if colon and name in _WITH_VALUE:
                continue
            if colon:
                for_us = name == AGENT
            directive = rest if colon else name
            if for_us and directive in _FORBIDDING:
                return directive
    return None
