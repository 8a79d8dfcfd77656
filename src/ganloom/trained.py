"""Finished models of a project, also while they are trained again.

DVC deletes the outputs of a stage before it runs it. Until the new training has finished, dvc.lock
still refers to the files of the previous one, which are in DVC's cache. The same holds for a model
that was removed from params.yaml.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

MODELS = Path("results/models")
GENERATOR, DISCRIMINATOR, RUN = "generator.safetensors", "discriminator.safetensors", "run.json"


class Trained(NamedTuple):
    """Files of a finished training.

    Attributes:
        generator: Path in results/models/<name>, or in DVC's cache.
        discriminator: Path likewise; the file may be missing.
        finished: End of the training (ISO 8601) for a model that is only in DVC's cache; "" for one
            in results/models.
    """

    generator: Path
    discriminator: Path
    finished: str = ""


def trained(project: Path) -> dict[str, Trained]:
    """Find all finished models by name: those in results/models, then those in DVC's cache."""
    here = {
        path.parent.name: Trained(path, path.with_name(DISCRIMINATOR))
        for path in sorted((project / MODELS).glob(f"*/{GENERATOR}"))
    }
    try:
        stamp = (project / "dvc.lock").stat().st_mtime_ns
    except OSError:
        return here
    former = _former(project, stamp)
    return here | {
        name: model
        for name, model in former.items()
        if name not in here and model.generator.is_file()
    }


@lru_cache(maxsize=4)
def _former(project: Path, stamp: int) -> dict[str, Trained]:
    """Find the models of dvc.lock in DVC's cache; ``stamp`` is its modification time."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        lock = YAML(typ="safe").load((project / "dvc.lock").read_text(encoding="utf-8"))
        stages = {
            name.removeprefix("train@"): {out["path"]: out["md5"] for out in stage["outs"]}
            for name, stage in lock["stages"].items()
            if name.startswith("train@")
        }
        cached = _cache(project)
    except (OSError, YAMLError, ValueError, LookupError, TypeError, AttributeError):
        return {}  # an invalid lock, which DVC reports itself
    models = {}
    for name, outputs in sorted(stages.items()):
        generator, discriminator, run = (
            cached(outputs.get(f"{MODELS}/{name}/{file}", ""))
            for file in (GENERATOR, DISCRIMINATOR, RUN)
        )
        models[name] = Trained(generator, discriminator, _finished(run))
    return models


def _cache(project: Path) -> Callable[[str], Path]:
    """Return a function from an MD5 hash to the path in DVC's cache.

    Raises:
        ValueError: The project has no usable DVC.
    """
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo(str(project)) as repo:
            local = repo.cache.local
            return lambda md5: Path(local.oid_to_path(md5))
    except DvcException as error:
        raise ValueError(str(error)) from None


def _finished(run: Path) -> str:
    try:
        return str(json.loads(run.read_bytes())["finished"])
    except (OSError, ValueError, LookupError, TypeError):
        return "an unknown time"
