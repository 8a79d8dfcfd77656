"""Reading ``params.yaml``, and checking it against the schema."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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

    YAML 1.2 (as DVC reads it): under PyYAML's 1.1, `3e-05` would be a string.

    Raises:
        ParamsError: the file is missing, not YAML, or does not fit the schema.
    """
    from ruamel.yaml import YAML

    try:
        data = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ParamsError(f"{path}: no such file; copy one: cp recipes/kene.yaml {path}") from None
    # Beside its own errors, what Python says of a date, a number or a nesting that cannot be.
    except Exception as error:
        from ganloom.git import conflict

        raise ParamsError(conflict(Path(), path) or f"{path}: not YAML: {error}") from None
    return parse(data, str(path))


def parse(data: Any, where: str = "params") -> Params:
    """Check parameters that are already read; ``where`` begins the error message."""
    if not isinstance(data, dict):
        raise ParamsError(f"{where}: expected a mapping of sections, got {type(data).__name__}")
    if _is_endless(data):
        raise ParamsError(f"{where}: nested too deeply, or too much of it repeated by aliases (*)")
    for keys in _keys_that_are_not_text(data):
        raise ParamsError(f"{where}: {keys}: a key must be text; put it in quotes")
    try:
        return Params.model_validate(data)
    except ValidationError as error:
        lines = (f"{where}: {line}" for line in explain(error.errors(), data))
        raise ParamsError("\n".join(lines)) from None


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
