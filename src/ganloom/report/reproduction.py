"""Information to reproduce a run: commit, parameters, recipe, versions and machine."""

from __future__ import annotations

import os
import platform
import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ganloom import git, recipes
from ganloom.params import PARAMS_FILE, ParamsError
from ganloom.params.loading import read
from ganloom.privacy import shareable
from ganloom.report.reading import parameters
from ganloom.versions import version

PACKAGES = ("torch", "torchvision", "numpy", "pandas", "pillow", "dvc", "snakemake")
CANDIDATES = "data/candidates"  # lists that the stages search@SOURCE write, for people to commit


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
        changes: Lines of ``git status --porcelain``, without files that a run writes.
        searched: Lists of candidates that differ from the commit.
        when: Local time of the report.
        machine: Properties of the machine by name.
        versions: Versions of Python and packages by name.
        params: Text of ``params.yaml`` without personal data.
        recipe: The most similar recipe.
    """

    commit: str
    refusal: str
    changes: list[str]
    searched: list[str]
    when: str
    machine: dict[str, str]
    versions: dict[str, str]
    params: str
    recipe: Recipe | None


def reproduction(project: Path) -> Reproduction:
    """Collect the information about a project."""
    commit, refusal, changes, searched = _state(project)
    return Reproduction(
        commit=commit,
        refusal=refusal,
        changes=changes,
        searched=searched,
        when=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
        machine=_machine(),
        versions={"Python": platform.python_version()} | {name: version(name) for name in PACKAGES},
        params=shareable((project / PARAMS_FILE).read_text(encoding="utf-8")),
        recipe=_recipe(project),
    )


def _state(project: Path) -> tuple[str, str, list[str], list[str]]:
    """Return the commit, the reason why it is unknown, and what differs from it.

    The differences are those that people made, and the lists of candidates that a run wrote.
    """
    status = ("status", "--porcelain")
    try:
        commit = git.commit(project)
        # The lock file records this run, so it always changes.
        changes = git.ask(project, *status, "--", ".", ":!dvc.lock", f":!{CANDIDATES}")
        searched = git.ask(project, *status, "--untracked-files=all", "--", CANDIDATES)
    except git.NoRepositoryError:
        return "", "", [], []
    except git.GitError as error:
        return "", str(error), [], []
    return commit, "", changes.splitlines(), [line[3:] for line in searched.splitlines()]


def _recipe(project: Path) -> Recipe | None:
    """Find the recipe that ``params.yaml`` was made from.

    It has the same first line, a comment that names it, which neither edits of values nor DVC
    change. Without such a line, the recipe with the fewest changed values is taken, then with the
    fewest missing values, then the first by name.
    """
    here, first_line = parameters(read(project / PARAMS_FILE)), _first_line(project / PARAMS_FILE)
    candidates = []
    for path in recipes.paths(project):
        try:
            there = parameters(recipes.values(path, project))
        except ParamsError:  # a file of the user's own
            continue
        keys = [key for key in {**there, **here} if there.get(key) != here.get(key)]
        differences = [Difference(key, there.get(key, ""), here.get(key, "")) for key in keys]
        is_named = first_line.startswith("#") and _first_line(path) == first_line
        changed = sum(key in here for key in keys)
        candidates.append((not is_named, changed, len(keys), Recipe(path.stem, differences)))
    return min(candidates, key=lambda row: row[:3])[3] if candidates else None


def _first_line(path: Path) -> str:
    return path.read_text(encoding="utf-8").partition("\n")[0].rstrip()


def _machine() -> dict[str, str]:
    cpuinfo = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*: (.+)", cpuinfo.read_text()) if cpuinfo.is_file() else []
    return {
        "system": platform.platform(),
        "processor": names[0] if names else platform.processor() or platform.machine(),
        "cores": str(os.cpu_count()),
    }
