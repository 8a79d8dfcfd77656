"""The 1,797 handwritten digits of 8x8 px that scikit-learn ships (Alpaydin & Kaynak, 1998)."""

from __future__ import annotations

import re

import numpy as np
from sklearn.datasets import load_digits

from ganloom import params
from ganloom.images import encoding
from ganloom.sources import Context, FetchError, Reader, candidate
from ganloom.tables import Candidate

_PAPER_WHITE = 16


def search(name: str, spec: params.DigitsSource, context: Context) -> list[Candidate]:
    """List all digits; the label is the digit."""
    return [
        candidate(
            name,
            f"{index:04d}",
            f"digits:{index}",
            page="https://archive.ics.uci.edu/dataset/80",
            title=f"handwritten {digit}",
            creator="E. Alpaydin, C. Kaynak",
            licence="CC BY 4.0",
            licence_url="https://creativecommons.org/licenses/by/4.0/",
            label=str(digit),
        )
        for index, digit in enumerate(load_digits().target)
    ]


def reader(spec: params.DigitsSource, context: Context) -> Reader:
    """Encode a digit as a greyscale PNG; values 0 to 16 are scaled to 0 to 255."""
    pictures = np.rint(load_digits().images * (255 / _PAPER_WHITE)).astype(np.uint8)

    def read(url: str) -> bytes:
        number = re.fullmatch(r"digits:(\d{1,9})", url)
        if number is None or int(number[1]) >= len(pictures):
            raise FetchError(f"no such digit: {url}")
        return encoding.png(pictures[int(number[1])])

    return read
