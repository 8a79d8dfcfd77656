"""What a site asks of programs: robots.txt (RFC 9309) and the header X-Robots-Tag."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from protego import Protego

AGENT = "ganloom"
MAX_BYTES = 512 * 1024  # RFC 9309: at least 500 KiB must be read

_USER_AGENT = {"user-agent", "useragent", "user agent"}  # as Protego spells it
_OTHER = "other"

_FORBIDDING = {"none", "noindex", "noimageindex", "noai", "noimageai"}
# Directives that have a value; any other word before a colon names a program, maybe its version.
_WITH_VALUE = {"unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"}
_PROGRAM = re.compile(r"([a-z_][\w.-]*)(/\S*)?")


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
    return Rules(Protego.parse("\n".join(map(_renamed, text.splitlines()))))


def _renamed(line: str) -> str:
    """A line of robots.txt that names another program with a name that all others share.

    Protego keeps each rule for each name of its group: of half a megabyte it would make gigabytes.
    """
    agent = _agent(line).lower()
    if not agent:
        return line
    # Protego takes the beginning of a name for all of it, and a * in it for nothing.
    name = agent if agent == "*" else agent.replace("*", "")
    is_for_us = name == "*" or AGENT.startswith(name)
    return f"User-agent: {name if is_for_us else _OTHER}"


def _agent(line: str) -> str:
    """The program that a line names in one of the ways that Protego reads; "" if it names none."""
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
    """The directive in values of X-Robots-Tag that forbids to take a picture, or None.

    ``otherbot: noindex`` is meant for another program, ``max-image-preview: none`` is no ``none``,
    and what follows the comma in ``unavailable_after: Fri, 25 Jun 2010 15:00:00 GMT`` names nobody.
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
