"""Adding a source to ``params.yaml``, without any other edit: comments and notation stay."""

from __future__ import annotations

import itertools
from collections.abc import Container
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from ganloom.files import write_whole


def free_name(wanted: str, taken: Container[str]) -> str:
    """Return ``wanted``, or with the first number from 2 on that makes it a name of its own."""
    names = itertools.chain([wanted], (f"{wanted}_{number}" for number in itertools.count(2)))
    return next(name for name in names if name not in taken)


def insert(file: Path, name: str, entry: dict[str, str]) -> bool:
    """Insert a source below the line `sources:`; False if that line does not stand alone."""
    yaml = YAML(typ="safe", pure=True)
    text = file.read_text(encoding="utf-8")
    marked, old = YAML(pure=True).load(text), yaml.load(text)
    line, _ = marked.lc.key("sources")
    _, column = marked["sources"].lc.key(next(iter(marked["sources"])))
    indent = " " * column
    keys = "".join(f"{indent}  {key}: {value}\n" for key, value in entry.items())
    lines = text.splitlines(keepends=True)
    lines.insert(line + 1, f"{indent}{name}:\n{keys}")
    new = "".join(lines)
    try:
        if yaml.load(new) != old | {"sources": {name: entry} | old["sources"]}:
            return False
    except YAMLError:
        return False
    file = file.resolve()  # the target of a link
    mode = file.stat().st_mode
    write_whole(file, new.encode())
    file.chmod(mode)
    return True
