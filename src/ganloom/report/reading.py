"""Read JSON outputs of stages, and flatten nested values for tables."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ganloom.privacy import CONTACT, without_home


def read_json(path: Path) -> Any:
    """Read a JSON file; an empty dictionary if it does not exist."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Flatten nested values: {"a": {"b": 1}, "c": [2, 3]} -> ("a.b", "1"), ("c", "2, 3")."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}.")
        elif isinstance(value, list):
            yield f"{prefix}{key}", ", ".join(map(str, value)) or "none"
        else:
            yield f"{prefix}{key}", str(value)


def parameters(values: Mapping[str, Any]) -> dict[str, str]:
    """Flatten parameters like ``flat``, without personal data."""
    return {key: without_home(words) for key, words in flat(values) if key != CONTACT}
