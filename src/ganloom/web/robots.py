"""Rules of sites for programs: robots.txt (RFC 9309) and the header X-Robots-Tag."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from protego import Protego

AGENT = "ganloom"
MAX_BYTES = 512 * 1024  # RFC 9309: at least 500 KiB must be read

_USER_AGENT = {"user-agent", "useragent", "user agent"}  # spellings that Protego accepts
_OTHER = "other"

_FORBIDDING = {"none", "noindex", "noimageindex", "noai", "noimageai"}
# Directives with a value; any other word before a colon is a program, with an optional version.
_WITH_VALUE = {"unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"}
_PROGRAM = re.compile(r"([a-z_][\w.-]*)(/\S*)?")


class Rules(NamedTuple):
    """Rules of a robots.txt, or the reason why it could not be read.

    Attributes:
        parsed: Rules; None if no request is allowed for now.
        problem: Reason for that.
        refused: Whether ganloom refused the request for robots.txt by its own rules.
        unreachable: Whether no server responded.
    """

    parsed: Protego | None
    problem: str = ""
    refused: bool = False
    unreachable: bool = False

    def forbid(self, url: str) -> str | None:
        """Return the reason why ``url`` must not be requested; None if it may be."""
        if self.parsed is None:
            return self.problem
        if not self.parsed.can_fetch(url, AGENT):
            return "forbidden by robots.txt"
        return None

    @property
    def delay(self) -> float:
        """Seconds between two requests that the site demands."""
        delay = self.parsed.crawl_delay(AGENT) if self.parsed else None
        return max(0.0, delay or 0.0)


def parse(data: bytes) -> Rules:
    """Parse a robots.txt; invalid lines are ignored."""
    text = data.decode("utf-8", "replace").removeprefix("\ufeff")
    return Rules(Protego.parse("\n".join(map(_renamed, text.splitlines()))))


def _renamed(line: str) -> str:
    """Replace the name of another program in a line of robots.txt by a common one.

    Protego stores each rule for each name of its group, which takes gigabytes for half a megabyte.
    """
    agent = _agent(line).lower()
    if not agent:
        return line
    # Protego accepts a prefix of a name, and ignores a * within it.
    name = agent if agent == "*" else agent.replace("*", "")
    is_for_us = name == "*" or AGENT.startswith(name)
    return f"User-agent: {name if is_for_us else _OTHER}"


def _agent(line: str) -> str:
    """Return the program that a line names, in a spelling that Protego accepts; "" without one."""
    line = line.partition("#")[0].strip()
    field, colon, value = line.partition(":")
    if colon and field.strip().lower() in _USER_AGENT:
        return value.strip()
    if colon and (not value or value[0].isspace()):
        return ""
    words = line.split()
    for count in (1, 2):
        if " ".join(words[:count]).lower() in _USER_AGENT:
            return " ".join(words[count:])
    return ""


ALLOW_ALL = parse(b"")


def tag(values: Iterable[str]) -> str | None:
    """Return the directive in values of X-Robots-Tag that forbids the use of an image, or None.

    ``otherbot: noindex`` is for another program, ``max-image-preview: none`` is not a ``none``, and
        the
    text after the comma in ``unavailable_after: Fri, 25 Jun 2010 15:00:00 GMT`` is not a program.
    """
    for value in values:
        for_us = True
        for part in re.split(r"\s*,\s*", value.strip().lower()):
            name, colon, rest = (piece.strip() for piece in part.partition(":"))
            if colon and name in _WITH_VALUE:
                continue
            program = _PROGRAM.fullmatch(name) if colon else None
            if program:
                for_us = program[1] == AGENT
            directive = rest if colon else name
            if for_us and directive in _FORBIDDING:
                return directive
    return None
