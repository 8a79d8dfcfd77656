"""Text of lists that people make: the encodings and separators of spreadsheet programs."""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Sequence

SEPARATORS = ",;\t|"
WAY_OUT = "save the list as CSV UTF-8"

_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",  # begins with the mark of UTF-16
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def encoding(data: bytes) -> str:
    """Tell the encoding of a text from its first bytes: UTF-8, UTF-16 or UTF-32."""
    for mark, name in _MARKS.items():
        if data.startswith(mark):
            return name
    # A text begins with an ASCII character, and NUL occurs in none.
    if data[1:2] == b"\0":
        return "utf-16-le"
    return "utf-16-be" if data[:1] == b"\0" else "utf-8-sig"


def decoded(data: bytes, errors: str = "strict") -> str:
    """Decode a list.

    Raises:
        UnicodeDecodeError: It is invalid in its encoding, and ``errors`` cannot handle that.
    """
    return data.decode(encoding(data), errors)


def table(text: str, columns: Sequence[str]) -> tuple[str, str]:
    """Tell the separator of a CSV table: the one by which the header has the required columns.

    Returns:
        The text, in which a first line ``sep=;`` as of Excel is empty, and the separator: a comma
        if none fits.
    """
    text = re.sub(r"\A\"?sep=.\"?(?=\r?\n)", "", text)
    first = next((line for line in text.splitlines() if line.strip()), "")
    for separator in SEPARATORS:
        try:
            cells = next(csv.reader([first], delimiter=separator), [])
        except csv.Error:
            continue
        if set(columns) <= set(cells):
            return text, separator
    return text, ","
