"""What someone needs to make the same results again, and where these were made."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

from ganloom.params import PARAMS_FILE

PACKAGES = ("torch", "torchvision", "numpy", "pandas", "pillow", "timm", "dvc", "snakemake")


@dataclass(frozen=True)
class Reproduction:
    """``commit`` is "" without one; ``changes`` are the lines of `git status --porcelain`."""

    commit: str
    changes: list[str]
    when: str
    machine: dict[str, str]
    versions: dict[str, str]
    params: str


def reproduction(project: Path) -> Reproduction:
    return Reproduction(
        commit=_git(project, "rev-parse", "--verify", "HEAD"),
        # The lock file records this very run: it always changes.
        changes=_git(project, "status", "--porcelain", "--", ".", ":!dvc.lock").splitlines(),
        when=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
        machine=_machine(),
        versions={"Python": platform.python_version()} | {name: version(name) for name in PACKAGES},
        params=(project / PARAMS_FILE).read_text(encoding="utf-8"),
    )


def _git(project: Path, *arguments: str) -> str:
    """What Git answers; "" without Git, outside a repository or before the first commit."""
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=project, capture_output=True, text=True, check=True
        )
    except (FileNotFoundError, subprocess.CalledProcessError):
        return ""
    return done.stdout.rstrip()


def _machine() -> dict[str, str]:
    cpuinfo = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*: (.+)", cpuinfo.read_text()) if cpuinfo.is_file() else []
    return {
        "system": platform.platform(),
        "processor": names[0] if names else platform.processor() or platform.machine(),
        "cores": str(os.cpu_count()),
    }
