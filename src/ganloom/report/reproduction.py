"""What someone needs to make the same results again, and where these were made."""

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
from ganloom.report.tables import parameters
from ganloom.versions import version

PACKAGES = ("torch", "torchvision", "numpy", "pandas", "pillow", "dvc", "snakemake")


@dataclass(frozen=True)
class Difference:
    """A parameter in the recipe and here; "" where it is not set."""

    key: str
    recipe: str
    here: str


@dataclass(frozen=True)
class Recipe:
    """The recipe that the parameters come from, and where they differ from it."""

    name: str
    differences: list[Difference]


@dataclass(frozen=True)
class Reproduction:
    """What made a report.

    Attributes:
        commit: Hash of the commit; "" without one.
        refusal: Why Git does not tell the commit, in its own words; "" if it does.
        changes: Lines of `git status --porcelain`.
        when: Local time.
        machine: Name and value of each of its properties.
        versions: Of Python and of packages, by name.
        params: Text of params.yaml, without who ran it and where.
        recipe: The closest recipe.
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
    """Return the commit, why there is none, and what has changed since."""
    try:
        commit = git.commit(project)
        # The lock file records this very run: it always changes.
        changes = git.ask(project, "status", "--porcelain", "--", ".", ":!dvc.lock")
    except git.NoRepositoryError:
        return "", "", []
    except git.GitError as error:
        return "", str(error), []
    return commit, "", changes.splitlines()


def _recipe(project: Path) -> Recipe | None:
    """The recipe that was copied; the first by name if several are as likely.

    It is the one with the same first line, which names it and which neither editing values nor DVC
    changes. Without that line it is the one from which the fewest values are another, and then the
    one with the fewest values more.
    """
    here, first_line = _values(project / PARAMS_FILE), _first_line(project / PARAMS_FILE)
    found = []
    for path in sorted((project / "recipes").glob("*.yaml")):
        there = _values(path)
        keys = [key for key in {**there, **here} if there.get(key) != here.get(key)]
        differences = [Difference(key, there.get(key, ""), here.get(key, "")) for key in keys]
        is_named = first_line.startswith("#") and _first_line(path) == first_line
        changed = sum(key in here for key in keys)
        found.append((not is_named, changed, len(keys), Recipe(path.stem, differences)))
    return min(found, key=lambda row: row[:3])[3] if found else None


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
