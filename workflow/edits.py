"""Detection of dependencies of a stage that were edited while it ran.

DVC hashes dependencies after the stage has run, so it would record the result of the old ones for
the new ones.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import os
import re
import signal
import sys
from pathlib import Path
from typing import Any


def watch(stage: str) -> None:
    """Make this process fail at its end if a dependency of the stage was edited by then."""
    atexit.register(_require_unchanged, stage, inputs(stage))


def inputs(stage: str) -> dict[str, Any]:
    """Return the state of all dependencies that users may edit, by their name in dvc.yaml.

    Parameters are given by value, source code and lists by content, and other files, such as images
    of a source, by size and time. Outputs of other stages are left out, since DVC does not run
    these meanwhile.
    """
    from ruamel.yaml import YAML

    yaml = YAML(typ="safe")
    params = yaml.load(Path("params.yaml"))
    name, _, key = stage.partition("@")
    spec = yaml.load(Path("dvc.yaml"))["stages"][name]
    values = params | {"key": key}
    if "foreach" in spec:
        values["item"] = _at(params, spec["foreach"].strip("${}"))[key]
        spec = spec["do"]

    def filled(text: str) -> str:
        return re.sub(r"\$\{(.*?)\}", lambda match: str(_at(values, match[1])), text)

    edited = [
        path
        for path in map(filled, spec["deps"])
        if path == "data/curation" or not path.startswith(("data/", "results/"))
    ]
    optional = re.findall(r"\$\{(\w+)\}", spec["cmd"])  # sections that are part of the command
    listed = map(filled, [*spec.get("params", []), *(k for k in optional if k in params)])
    return {path: _state(Path(path)) for path in edited} | {k: _at(params, k) for k in listed}


def _at(data: Any, key: str) -> Any:
    """Return the value under a dotted key; None if there is none."""
    for part in key.split("."):
        data = data.get(part) if isinstance(data, dict) else None
    return data


def _state(path: Path) -> object:
    if path.is_dir():
        inside = (p for p in sorted(path.rglob("*")) if "__pycache__" not in p.parts)
        return [(str(p), _state(p)) for p in inside if p.is_file()]
    if not path.is_file():
        return None
    if path.suffix in (".py", ".yaml", ".csv", ".md"):
        return path.read_bytes()
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _require_unchanged(stage: str, before: dict[str, object]) -> None:
    _wait_for_dvc()
    try:
        after = inputs(stage)
    except Exception:  # a file may be invalid in the middle of an edit
        after = {}
    changed = [name for name in before if after.get(name) != before[name]]
    if changed:
        sys.stdout.flush()
        print(
            f"error: {', '.join(changed)}: edited while {stage} ran; its result does not "
            "count: run the same command again",
            file=sys.stderr,
            flush=True,
        )
        os._exit(1)  # the only way to report a failure to DVC from atexit


def _wait_for_dvc() -> None:
    """Wait until no DVC command holds the lock, as `dvc push` does for minutes.

    The DVC process that runs this stage needs the lock next, and would soon give up.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # in atexit, a KeyboardInterrupt has no effect
    with contextlib.suppress(OSError), Path(".dvc/tmp/lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
