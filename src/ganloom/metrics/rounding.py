"""Rounding of metrics for JSON files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np


def readable(value: float) -> float | int:
    """Round a number for a JSON file to six significant digits, more than any metric has.

    Raises:
        ValueError: It is NaN or infinite, which JSON cannot hold.
    """
    if not np.isfinite(value):
        raise ValueError(f"a metric came out as {value}")
    return value if isinstance(value, int) else float(f"{value:.6g}")


def rounded(values: Mapping[Any, Any]) -> dict[Any, Any]:
    """The values with every float made ``readable``."""
    return {key: readable(x) if isinstance(x, float) else x for key, x in values.items()}
