"""Decoding of file names in archives that do not state their encoding."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

# Code pages that Windows uses for file names, with the bytes of common letters of their languages.
# The first of several equally good candidates is chosen.
_LETTERS = {
    "cp932": rb"\x82[\x9f-\xf1]|\x83[\x40-\x96]|[\x88-\x97][\x40-\x7e\x80-\xfc]",  # Japanese
    "gbk": rb"[\xb0-\xd7][\xa1-\xfe]",  # simplified Chinese
    "big5": rb"[\xa4-\xc6][\x40-\x7e\xa1-\xfe]",  # traditional Chinese
    "cp437": rb"[\x80-\x9a\xa0-\xa5\xe1]",  # Western European, the default of the zip format
    "cp866": rb"[\x80-\xaf\xe0-\xf1]",  # Russian
}
_WORDS = {
    encoding: re.compile(rb"(?<![A-Za-z])(?:%b)+(?![A-Za-z])|(?:%b){2,}" % (letters, letters))
    for encoding, letters in _LETTERS.items()
}
# Accented letters occur singly or in pairs within words of ASCII letters.
_WORDS["cp437"] = re.compile(rb"(?<![\x80-\xff])(?:%b){1,2}(?![\x80-\xff])" % _LETTERS["cp437"])


def decode(name: bytes, encoding: Callable[[], str]) -> str:
    """Decode a name as UTF-8 if it is valid, else with ``encoding()``, called only then."""
    try:
        return name.decode("utf-8")
    except UnicodeDecodeError:
        return name.decode(encoding(), "replace")


def guess(names: Iterable[bytes]) -> str:
    """Guess the code page of the names in an archive.

    The result is the code page in which most of the non-ASCII bytes are common letters that form
    words.
    A few short names may fit several code pages.

    Args:
        names: Names as stored; names that are valid UTF-8 are skipped.

    Returns:
        Name of a codec; ``cp437`` if none fits.
    """
    text = b"/".join(name for name in names if not _is(name, "utf-8"))
    scores = {
        encoding: sum(len(_non_ascii(word)) for word in words.findall(text))
        for encoding, words in _WORDS.items()
        if _is(text, encoding)
    }
    best = max(scores, key=scores.__getitem__)
    return best if scores[best] else "cp437"


def _is(text: bytes, encoding: str) -> bool:
    try:
        text.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _non_ascii(text: bytes) -> bytes:
    return re.sub(rb"[\x00-\x7f]", b"", text)
