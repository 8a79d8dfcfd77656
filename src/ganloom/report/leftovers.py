"""Results of models that params.yaml does not list any more."""

from __future__ import annotations

import shutil
from collections.abc import Container
from pathlib import Path

FOLDERS = ("animations", "cloths", "inversions", "metrics", "models", "samples")


def remove(results: Path, models: Container[str]) -> list[str]:
    """Remove the results of models that are not listed.

    They are in folders that the report depends on, so that it would depend on former models.

    Args:
        results: Folder results.
        models: Names of the listed models.

    Returns:
        Names of the models whose folders were removed.
    """
    removed = set()
    for folder in FOLDERS:
        for path in (results / folder).iterdir():
            if path.is_dir() and path.name not in models:
                shutil.rmtree(path)
                removed.add(path.name)
            elif path.suffix == ".json" and path.stem != "reference" and path.stem not in models:
                path.unlink()
    return sorted(removed)
