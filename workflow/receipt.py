"""Receipts of jobs on other nodes: hashes of a stage's inputs and outputs.

Such a job does not use DVC, whose locks work only on one machine. The head process, or a later one,
records the result, if it sees the same inputs and outputs as the job did. A mismatch also reveals a
file system that lags behind.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from stages import Stage


def write(stage: Stage, inputs: str) -> None:
    """Write the receipt of a stage whose command succeeded.

    Args:
        stage: Stage, with its outputs in place.
        inputs: Result of ``digest_inputs`` before the command ran.
    """
    from ganloom.files import write_whole

    text = json.dumps({"inputs": inputs, "outputs": digest_outputs(stage)})
    write_whole(Path(stage.receipt), text.encode())


def is_whole(stage: Stage) -> bool:
    """Tell whether the outputs of a job are complete and unchanged."""
    return _matches(stage, "outputs", digest_outputs)


def is_current(stage: Stage) -> bool:
    """Tell whether a job started with the current parameters, code and data."""
    return _matches(stage, "inputs", digest_inputs)


def digest_inputs(stage: Stage) -> str:
    """Hash the command, the parameters and the dependencies of a stage."""
    values = YAML(typ="safe").load(Path("params.yaml"))
    params = {key: _value(values, key) for key in stage.params}
    return _digest(stage.dependencies, stage.command, params)


def digest_outputs(stage: Stage) -> str:
    """Hash all outputs of a stage."""
    return _digest([*stage.files, *stage.directories])


def _matches(stage: Stage, part: str, digest: Callable[[Stage], str]) -> bool:
    try:
        return json.loads(Path(stage.receipt).read_bytes())[part] == digest(stage)
    except FileNotFoundError:
        return False


def _value(values: Any, key: str) -> Any:
    for name in key.split("."):
        values = values.get(name, {})
    return values


def _digest(paths: Iterable[str], *facts: object) -> str:
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode())
    for path in paths:
        for file in sorted(_files(Path(path))):
            with file.open("rb") as stream:
                content = hashlib.file_digest(stream, "sha256").hexdigest()
            digest.update(f"{file}\n{content}\n".encode())
    return digest.hexdigest()


def _files(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    ignored = Path(".dvcignore").read_text(encoding="utf-8").split("\n")
    for file in path.rglob("*"):
        names = file.relative_to(path).parts
        if file.is_file() and not any(fnmatch.filter(names, pattern) for pattern in ignored):
            yield file
