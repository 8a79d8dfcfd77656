"""Reading ``params.yaml``, and checking it against the schema."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from ganloom.params.messages import explain
from ganloom.params.stages import Params

PARAMS_FILE = Path("params.yaml")
MAX_DEPTH = 50  # of sections and lists in each other: recipes have 5
MAX_VALUES = 100_000  # on one level


class ParamsError(ValueError):
    """``params.yaml`` cannot be used; the message names each key, its value and what is allowed."""


def load(path: Path = PARAMS_FILE) -> Params:
    """Read and check a params file.

    Raises:
        ParamsError: The file is missing, not YAML, or does not fit the schema.
    """
    if not path.exists():
        raise ParamsError(f"{path}: no such file; to write one: ganloom recipe kene --out {path}")
    return parse(read(path), str(path))


def read(path: Path, typ: Literal["rt", "safe"] = "safe") -> dict[str, Any]:
    """Read a params file or a recipe as plain values, or (rt) with its lines and notation.

    YAML 1.2 (as DVC reads it): under PyYAML's 1.1, `3e-05` would be a string.

    Raises:
        ParamsError: The file is missing, not YAML, or not a mapping of text to values.
    """
    from ruamel.yaml import YAML

    try:
        data = YAML(typ=typ, pure=True).load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ParamsError(f"{path}: no such file") from None
    # Besides its own errors, Python's for invalid dates, numbers or nesting.
    except Exception as error:
        from ganloom.git import conflict

        raise ParamsError(conflict(Path(), path) or f"{path}: not YAML: {error}") from None
    return _sections(data, str(path))


def parse(data: Any, where: str = "params") -> Params:
    """Check parameters that are already read; ``where`` begins the error message."""
    data = _sections(data, where)
    try:
        return Params.model_validate(data)
    except ValidationError as error:
        lines = (f"{where}: {line}" for line in explain(error.errors(), data))
        raise ParamsError("\n".join(lines)) from None


def _sections(data: Any, where: str) -> dict[str, Any]:
    """Refuse what is not a mapping of text to values, or would take too long to look at."""
    if not isinstance(data, dict):
        raise ParamsError(f"{where}: expected a mapping of sections, got {type(data).__name__}")
    if _is_endless(data):
        raise ParamsError(f"{where}: nested too deeply, or too much of it repeated by aliases (*)")
    for keys in _keys_that_are_not_text(data):
        raise ParamsError(f"{where}: {keys}: a key must be text; put it in quotes")
    return data


def _is_endless(data: Any) -> bool:
    """Whether aliases or brackets nest so far that looking at all of it would not end."""
    level = [data]
    for _ in range(MAX_DEPTH):
        inner = (x.values() if isinstance(x, dict) else x for x in level)
        values = list(itertools.islice(itertools.chain.from_iterable(inner), MAX_VALUES))
        level = [value for value in values if isinstance(value, (dict, list))]
        if len(values) == MAX_VALUES or not level:
            return bool(level)
    return True


def _keys_that_are_not_text(data: Any, path: str = "") -> Iterator[str]:
    items = data.items() if isinstance(data, dict) else enumerate(data)
    for key, value in items:
        here = f"{path}.{key}" if path else str(key)
        if isinstance(data, dict) and not isinstance(key, str):
            yield here
        elif isinstance(value, (dict, list)):
            yield from _keys_that_are_not_text(value, here)
