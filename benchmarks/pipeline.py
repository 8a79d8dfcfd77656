"""Run stages of ganloom in a project of their own."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from ganloom import recipes

ROOT = Path(__file__).resolve().parents[1]

# All that comes before a training of recipes/kene.yaml.
SLICES = ("check", "search kene", "fetch", "dedup", "curate", "augment")


def recipe(name: str) -> dict[str, Any]:
    return recipes.values(ROOT / f"recipes/{name}.yaml", ROOT)


def run(project: Path, parameters: dict[str, Any], stages: Iterable[str]) -> None:
    """Run stages, each with its arguments, in an empty folder.

    Raises:
        CalledProcessError: a stage failed.
    """
    YAML(typ="safe", pure=True).dump(parameters, project / "params.yaml")
    (project / "data/curation").mkdir(parents=True)
    shutil.copytree(ROOT / "src", project / "src")
    for stage in stages:
        name, *arguments = stage.split()
        script = ROOT / f"workflow/scripts/{name}.py"
        subprocess.run([sys.executable, str(script), *arguments], cwd=project, check=True)
