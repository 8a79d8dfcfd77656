"""Versions of a run: the workspace, and experiments as Git and DVC's cache have them.

Nothing is checked out. A file that the cache lacks is asked of DVC's remote, where there is one.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from ganloom.params import PARAMS_FILE, Model
from ganloom.report.models import Values
from ganloom.report.tables import parameters
from ganloom.report.verdict import Evidence, verdict

WORKSPACE = "workspace"
REFERENCE = "results/metrics/reference.json"


class ExperimentError(ValueError):
    """An experiment is unknown or cannot be read; the message names it."""


class _UnreadableError(ExperimentError):
    """There is something under a name, but nothing that can be compared."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name!r} cannot be read: {reason}")
        self.reason = reason


@dataclass(frozen=True)
class Version:
    """The workspace or an experiment.

    Attributes:
        name: WORKSPACE, or the name of an experiment, a branch, a tag or a commit.
        state: Why there are no metrics, such as "queued"; empty if there are.
        params: Dotted keys and their values in words.
        metrics: Of its models, as far as they were measured.
        reference: Rows of real images, for each resolution.
        grids: PNG files with samples of its models, as far as they could be read.
        may_be_best: Models that may be called the best, by their verdicts.
    """

    name: str
    state: str = ""
    params: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, Values] = field(default_factory=dict)
    reference: Mapping[str, Mapping[str, Values]] = field(default_factory=dict)
    grids: Mapping[str, bytes] = field(default_factory=dict)
    may_be_best: frozenset[str] = frozenset()


def versions(project: Path, names: Sequence[str]) -> list[Version]:
    """The versions with these names, all of which must be readable.

    Args:
        project: The folder that holds ``params.yaml`` and ``results``.
        names: WORKSPACE, and names of experiments, branches, tags or commits.

    Raises:
        ExperimentError: a name is unknown, or there is no run under it.
    """
    return [_named(project, name) for name in names]


def versions_in_any_state(project: Path, names: Sequence[str]) -> list[Version]:
    """Versions that may be queued, running, failed or unreadable; their ``state`` says so.

    Args:
        project: The folder that holds ``params.yaml`` and ``results``.
        names: As for ``versions``; none: the workspace and all experiments of HEAD.

    Raises:
        ExperimentError: a name is unknown, or the folder is no DVC repository with a commit.
    """
    states = _states(project)
    found = []
    for name in names or [WORKSPACE, *sorted(states)]:
        revision, state = states.get(name, (name, ""))
        try:
            version = _named(project, revision)
        except _UnreadableError as error:
            version = Version(name, f"cannot be read: {error.reason}")
        if state:  # its commit has the results that it started from
            version = Version(name, state, version.params)
        found.append(replace(version, name=name))
    return found


def _states(project: Path) -> dict[str, tuple[str, str]]:
    """The commit of each experiment of HEAD, and "queued", "running", "failed" or ""."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo
    from dvc.scm import SCMError

    try:
        with Repo(str(project)) as repo:
            (head,) = repo.experiments.show(hide_workspace=True) or [None]
    except (DvcException, SCMError) as error:
        raise ExperimentError(f"there are no experiments here: {error}") from None
    if head is None:
        raise ExperimentError("there are no experiments here: nothing was committed yet")
    found: dict[str, tuple[str, str]] = {}
    for experiment in head.experiments or []:
        state = experiment.executor.state if experiment.executor else "success"
        # One that failed may have been run again since.
        if state == "success" or experiment.name not in found:
            commit = experiment.revs[0].rev
            found[experiment.name] = (commit, "" if state == "success" else state)
    return found


def _named(project: Path, name: str) -> Version:
    # Most reports show no experiments, and need not wait for DVC.
    from dvc.api import DVCFileSystem
    from dvc.exceptions import DvcException
    from dvc.repo import Repo
    from dvc.scm import RevError

    # A queued experiment runs in a copy, whose Git knows nothing of the others; DVC says where
    # the original is.
    home = os.environ.get("DVC_ROOT", str(project))
    try:
        if name == WORKSPACE:
            return _version(name, lambda path: (project / path).read_bytes())
        files = DVCFileSystem(home, rev=name)
        return _version(name, files.read_bytes, files.exists)
    except RevError:
        found = Repo(home).experiments.ls(all_commits=True).values()
        known = sorted({experiment for of_commit in found for experiment, _ in of_commit})
        raise ExperimentError(
            f"there is no experiment {name!r}; "
            f"known: {', '.join(known) or 'none, see docs/experiments.md'}"
        ) from None
    except (DvcException, OSError) as error:
        raise _UnreadableError(name, str(error)) from None
    # An older commit may hold anything under these names.
    except (YAMLError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise _UnreadableError(
            name,
            f"{PARAMS_FILE} or metrics of another form than now ({type(error).__name__}: {error})",
        ) from None


def _version(
    name: str, read: Callable[[str], bytes], exists: Callable[[str], bool] = lambda _: False
) -> Version:
    """Read a version.

    Args:
        name: Of the version.
        read: Reads a file, or raises FileNotFoundError.
        exists: Whether DVC knows a file that could not be read.
    """
    params = YAML(typ="safe", pure=True).load(read(str(PARAMS_FILE)))
    metrics, grids = {}, {}
    state = "" if params["models"] else "no models"
    for model in params["models"]:
        path = f"results/metrics/{model}.json"
        try:
            metrics[model] = _numbers(json.loads(read(path)))
            grids[model] = read(f"results/samples/{model}/grid.png")
        except FileNotFoundError:
            if model not in metrics:
                state = "not in DVC's cache" if exists(path) else "not measured"
    try:
        reference = {
            resolution: {row: _numbers(values) for row, values in rows.items()}
            for resolution, rows in json.loads(read(REFERENCE)).items()
        }
    except FileNotFoundError:
        reference = {}
    best = frozenset(m for m in metrics if _may_be_best(m, params["models"][m], metrics[m]))
    return Version(
        name, "" if metrics else state, parameters(params), metrics, reference, grids, best
    )


def _may_be_best(name: str, spec: Mapping[str, Any], metrics: Values) -> bool:
    try:
        model = Model.model_validate(spec)
    except ValidationError:  # parameters of another version
        return True
    return verdict(Evidence(name, model, metrics)).may_be_best


def _numbers(values: Values) -> Values:
    return {
        key: value
        for key, value in values.items()
        if isinstance(value, int | float) and math.isfinite(value)
    }
