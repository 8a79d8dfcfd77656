"""Named experiments of DVC beside the workspace: metrics, parameters that differ, samples.

Everything is read from Git's objects and DVC's cache; nothing is checked out. A picture that the
cache lacks is asked of DVC's remote, where there is one, and left out where there is none.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from ganloom.images.decoding import decode
from ganloom.params import PARAMS_FILE
from ganloom.params import Model as Spec
from ganloom.report.figures import Picture, picture
from ganloom.report.models import Row, Values, compare
from ganloom.report.tables import parameters
from ganloom.report.verdict import Evidence, verdict

WORKSPACE = "workspace"
MISSING = "–"
# Of all sample grids together, and the longer side of one in px.
BYTES, SIDE = 500_000, 256


class ExperimentError(ValueError):
    """An experiment cannot be read; the message names it, and those that can."""


@dataclass(frozen=True)
class Version:
    """The workspace or an experiment.

    Attributes:
        name: WORKSPACE, or as it is called in the parameters.
        params: Dotted keys and their values in words.
        metrics: Of those of its models that were measured.
        grids: Files with samples of its models, those that could be had.
        may_be_best: The models of which the numbers say that they may be called the best.
    """

    name: str
    params: Mapping[str, str]
    metrics: Mapping[str, Values]
    grids: Mapping[str, bytes]
    may_be_best: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Difference:
    """A parameter, and its value in each version."""

    key: str
    values: list[str]


@dataclass(frozen=True)
class Sample:
    version: str
    picture: Picture


@dataclass(frozen=True)
class Model:
    """A model as it is in each version that has it."""

    name: str
    rows: list[Row]
    samples: list[Sample]


@dataclass(frozen=True)
class Experiments:
    versions: list[str]
    differences: list[Difference]
    models: list[Model]


def experiments(project: Path, names: Sequence[str], max_pixels: int) -> Experiments:
    """Compare the workspace with experiments.

    Args:
        project: The folder that holds ``params.yaml`` and ``results``.
        names: Of experiments, branches, tags or commits.
        max_pixels: Refuse sample grids with more.

    Raises:
        ExperimentError: a name is not known, or there is no run under it.
    """
    versions = [_version(WORKSPACE, lambda path: (project / path).read_bytes())]
    versions += [_experiment(project, name) for name in names]
    return Experiments(
        [version.name for version in versions], differences(versions), changed(versions, max_pixels)
    )


def differences(versions: Sequence[Version]) -> list[Difference]:
    """The parameters that are not the same in all versions; the report's own are left out."""
    keys = dict.fromkeys(key for version in versions for key in version.params)
    found = [Difference(key, [v.params.get(key, MISSING) for v in versions]) for key in keys]
    return [d for d in found if len(set(d.values)) > 1 and not d.key.startswith("report.")]


def changed(versions: Sequence[Version], max_pixels: int) -> list[Model]:
    """The models that are not the same in all versions."""
    names = list(dict.fromkeys(name for version in versions for name in version.metrics))
    limit = BYTES // (max(1, len(names)) * len(versions))
    found = []
    for name in names:
        group = {v.name: v.metrics[name] for v in versions if name in v.metrics}
        first, *others = group.values()
        if len(group) == len(versions) and all(values == first for values in others):
            continue
        samples = [
            Sample(v.name, picture(decode(v.grids[name], max_pixels), SIDE, limit))
            for v in versions
            if name in v.grids
        ]
        may_be_best = {v.name for v in versions if name in v.may_be_best}
        found.append(Model(name, compare(group, may_be_best), samples))
    return found


def _experiment(project: Path, name: str) -> Version:
    # Most reports show no experiments, and need not wait for DVC.
    from dvc.api import DVCFileSystem
    from dvc.exceptions import DvcException
    from dvc.repo import Repo
    from dvc.scm import RevError

    # A queued experiment runs in a copy, whose Git knows nothing of the others; DVC says where
    # the original is.
    home = os.environ.get("DVC_ROOT", str(project))
    try:
        return _version(name, DVCFileSystem(home, rev=name).read_bytes)
    except RevError:
        found = Repo(home).experiments.ls(all_commits=True).values()
        known = sorted({experiment for of_commit in found for experiment, _ in of_commit})
        raise ExperimentError(
            f"report.experiments: there is no experiment {name!r}; "
            f"known: {', '.join(known) or 'none, see docs/experiments.md'}"
        ) from None
    except (DvcException, OSError) as error:
        raise ExperimentError(f"report.experiments: {name!r} cannot be read: {error}") from None
    # An older commit may hold anything under these names.
    except (YAMLError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise ExperimentError(
            f"report.experiments: {name!r} cannot be read: {PARAMS_FILE} or metrics of another "
            f"form than now ({type(error).__name__}: {error})"
        ) from None


def _version(name: str, read: Callable[[str], bytes]) -> Version:
    params = YAML(typ="safe", pure=True).load(read(str(PARAMS_FILE)))
    metrics, grids = {}, {}
    for model in params["models"]:
        try:
            metrics[model] = json.loads(read(f"results/metrics/{model}.json"))
            grids[model] = read(f"results/samples/{model}/grid.png")
        except FileNotFoundError:
            continue
    may_be_best = frozenset(m for m in metrics if _may_be_best(m, params["models"][m], metrics[m]))
    return Version(name, parameters(params), metrics, grids, may_be_best)


def _may_be_best(name: str, spec: Mapping[str, Any], metrics: Values) -> bool:
    try:
        model = Spec.model_validate(spec)
    except ValidationError:  # of another form than now
        return True
    return verdict(Evidence(name, model, metrics)).may_be_best
