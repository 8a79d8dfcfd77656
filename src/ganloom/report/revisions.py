"""Versions of a run: the workspace, and experiments in Git and DVC's cache.

Nothing is checked out. Files that are not in the cache are read from DVC's remote, if there is one.
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
from ganloom.report.reading import parameters
from ganloom.report.verdict import Evidence, verdict

WORKSPACE = "workspace"
REFERENCE = "results/metrics/reference.json"


class ExperimentError(ValueError):
    """An experiment is unknown or cannot be read. The message names it."""


class _UnreadableError(ExperimentError):
    """A version exists, but its files are unusable."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name!r} cannot be read: {reason}")
        self.reason = reason


@dataclass(frozen=True)
class Version:
    """The workspace or an experiment.

    Attributes:
        name: WORKSPACE, or the name of an experiment, a branch, a tag or a commit.
        state: Reason for missing metrics, such as "queued"; empty if there are metrics.
        params: Formatted parameters by dotted key.
        metrics: Metrics of the evaluated models.
        reference: Rows of real images by resolution.
        grids: PNG files with samples of the models, where they could be read.
        may_be_best: Models whose verdict allows to call them the best.
    """

    name: str
    state: str = ""
    params: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, Values] = field(default_factory=dict)
    reference: Mapping[str, Mapping[str, Values]] = field(default_factory=dict)
    grids: Mapping[str, bytes] = field(default_factory=dict)
    may_be_best: frozenset[str] = frozenset()


def versions(project: Path, names: Sequence[str]) -> list[Version]:
    """Read versions, all of which must be readable.

    Args:
        project: The folder that holds ``params.yaml`` and ``results``.
        names: WORKSPACE, and names of experiments, branches, tags or commits.

    Raises:
        ExperimentError: If a name is unknown, or its files are unusable.
    """
    return [_named(project, name) for name in names]


def versions_in_any_state(project: Path, names: Sequence[str]) -> list[Version]:
    """Read versions that may be queued, running, failed or unreadable; see ``Version.state``.

    Args:
        project: The folder that holds ``params.yaml`` and ``results``.
        names: Names as for ``versions``. If empty, the workspace and all experiments of HEAD.

    Raises:
        ExperimentError: If a name is unknown, or the folder is not a DVC repository with a commit.
    """
    states = _states(project)
    result = []
    for name in names or [WORKSPACE, *sorted(states)]:
        revision, state = states.get(name, (name, ""))
        try:
            version = _named(project, revision)
        except _UnreadableError as error:
            version = Version(name, f"cannot be read: {error.reason}")
        if state:  # the results in its commit are those that it started from
            version = Version(name, state, version.params)
        result.append(replace(version, name=name))
    return result


def _states(project: Path) -> dict[str, tuple[str, str]]:
    """Commit and state ("queued", "running", "failed" or "") of each experiment of HEAD."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo
    from dvc.scm import SCMError

    try:
        with Repo(str(project)) as repo:
            (head,) = repo.experiments.show(hide_workspace=True) or [None]
    except (DvcException, SCMError) as error:
        raise ExperimentError(f"there are no experiments here: {error}") from None
    if head is None:
        raise ExperimentError("there are no experiments here: nothing has been committed yet")
    states: dict[str, tuple[str, str]] = {}
    for experiment in head.experiments or []:
        state = experiment.executor.state if experiment.executor else "success"
        # A failed experiment may have been run again under the same name.
        if state == "success" or experiment.name not in states:
            commit = experiment.revs[0].rev
            states[experiment.name] = (commit, "" if state == "success" else state)
    return states


def _named(project: Path, name: str) -> Version:
    # Imported late, since most reports show no experiments.
    from dvc.api import DVCFileSystem
    from dvc.exceptions import DvcException
    from dvc.repo import Repo
    from dvc.scm import RevError

    # A queued experiment runs in a copy whose Git does not know the other experiments. DVC_ROOT is
    # the original.
    home = os.environ.get("DVC_ROOT", str(project))
    try:
        if name == WORKSPACE:
            return _version(name, lambda path: (project / path).read_bytes())
        files = DVCFileSystem(home, rev=name)
        return _version(name, files.read_bytes, files.exists)
    except RevError:
        commits = Repo(home).experiments.ls(all_commits=True).values()
        known = sorted({experiment for of_commit in commits for experiment, _ in of_commit})
        raise ExperimentError(
            f"there is no experiment {name!r}; "
            f"known: {', '.join(known) or 'none, see docs/experiments.md'}"
        ) from None
    except (DvcException, OSError) as error:
        raise _UnreadableError(name, str(error)) from None
    # Files of an older commit may have any form.
    except (YAMLError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise _UnreadableError(
            name,
            f"{PARAMS_FILE} or metrics have another format ({type(error).__name__}: {error})",
        ) from None


def _version(
    name: str, read: Callable[[str], bytes], exists: Callable[[str], bool] = lambda _: False
) -> Version:
    """Read a version.

    Args:
        name: Name of the version.
        read: Function that reads a file, or raises FileNotFoundError.
        exists: Function that returns whether DVC knows a file that could not be read.
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
                state = "not in DVC's cache" if exists(path) else "not evaluated"
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
