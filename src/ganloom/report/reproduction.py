"""Information to reproduce a run: commit, parameters, recipe, versions and machine."""

from __future__ import annotations

import os
import platform
import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ruamel.yaml import YAML

from ganloom import git
from ganloom.params import PARAMS_FILE
from ganloom.privacy import shareable
from ganloom.report.reading import parameters
from ganloom.versions import version

PACKAGES = ("torch", "torchvision", "numpy", "pandas", "pillow", "dvc", "snakemake")


@dataclass(frozen=True)
class Difference:
    """A parameter that differs between recipe and project; "" if it is not set."""

    key: str
    recipe: str
    here: str


@dataclass(frozen=True)
class Recipe:
    """The most similar recipe, and the parameters that differ from it."""

    name: str
    differences: list[Difference]


@dataclass(frozen=True)
class Reproduction:
    """Origin of a report.

    Attributes:
        commit: Hash of the commit; "" without one.
        refusal: Error of Git if the commit is unknown; "" otherwise.
        changes: Lines of ``git status --porcelain``.
        when: Local time of the report.
        machine: Properties of the machine by name.
        versions: Versions of Python and packages by name.
        params: Text of ``params.yaml`` without personal data.
        recipe: The most similar recipe.
    """

    commit: str
    refusal: str
    changes: list[str]
    when: str
    machine: dict[str, str]
    versions: dict[str, str]
    params: str
    recipe: Recipe | None


def reproduction(project: Path) -> Reproduction:
    """Collect the information about a project."""
    commit, refusal, changes = _state(project)
    return Reproduction(
        commit=commit,
        refusal=refusal,
        changes=changes,
        when=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
        machine=_machine(),
        versions={"Python": platform.python_version()} | {name: version(name) for name in PACKAGES},
        params=shareable((project / PARAMS_FILE).read_text(encoding="utf-8")),
        recipe=_recipe(project),
    )


def _state(project: Path) -> tuple[str, str, list[str]]:
    """Return the commit, the reason why it is unknown, and the uncommitted changes."""
    try:
        commit = git.commit(project)
        # The lock file records this run, so it always changes.
        changes = git.ask(project, "status", "--porcelain", "--", ".", ":!dvc.lock")
    except git.NoRepositoryError:
        return "", "", []
    except git.GitError as error:
        return "", str(error), []
    return commit, "", changes.splitlines()


def _recipe(project: Path) -> Recipe | None:
    """Find the recipe that ``params.yaml`` was copied from.

    It has the same first line, a comment that names it, which neither edits of values nor DVC
    change. Without such a line, the recipe with the fewest changed values is taken, then with the
    fewest missing values, then the first by name.
    """
    here, first_line = _values(project / PARAMS_FILE), _first_line(project / PARAMS_FILE)
    candidates = []
    for path in sorted((project / "recipes").glob("*.yaml")):
        there = _values(path)
        keys = [key for key in {**there, **here} if there.get(key) != here.get(key)]
        differences = [Difference(key, there.get(key, ""), here.get(key, "")) for key in keys]
        is_named = first_line.startswith("#") and _first_line(path) == first_line
        changed = sum(key in here for key in keys)
        candidates.append((not is_named, changed, len(keys), Recipe(path.stem, differences)))
    return min(candidates, key=lambda row: row[:3])[3] if candidates else None


def _first_line(path: Path) -> str:
    return path.read_text(encoding="utf-8").partition("\n")[0].rstrip()


def _values(path: Path) -> dict[str, str]:
    return parameters(YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8")))


def _machine() -> dict[str, str]:
    cpuinfo = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*: (.+)", cpuinfo.read_text()) if cpuinfo.is_file() else []
    return {
        "system": platform.platform(),
        "processor": names[0] if names else platform.processor() or platform.machine(),
        "cores": str(os.cpu_count()),
    }
