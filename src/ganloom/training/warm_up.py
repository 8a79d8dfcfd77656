"""Training with a warm-up, in which the generator is trained against another discriminator."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from ganloom import models, params
from ganloom.device import best_device
from ganloom.files import write_json
from ganloom.slices import TRAINING
from ganloom.training import checkpoint, loop, record


def train(
    name: str,
    model: params.Model,
    settings: params.Train,
    *,
    seed: int,
    threads: int,
    slices: Path,
    out: Path,
    work: Path,
) -> None:
    """Train a model, after its warm-up if it has one; see ``loop.train``.

    The result of the warm-up stays in ``work``, for other trainings with the same warm-up.
    """
    if not model.warm_up:
        loop.train(
            name, model, settings, seed=seed, threads=threads, slices=slices, out=out, work=work
        )
        return
    first = first_phase(model, model.warm_up)
    facts = {
        "model": first.model_dump(),
        "seed": seed,
        "threads": threads,
        **record.machine(best_device()),
    }
    files = [slices / name for name in TRAINING]
    for network in (first.generator, first.discriminator):
        models.networks(network.kind)  # the fingerprint covers the modules that are loaded
    folder = work / "warm-up" / f"{name}-{checkpoint.fingerprint(facts, files)}"
    if not folder.is_dir():
        # Renamed when it is complete: a warm-up that diverges leaves a folder as well.
        unfinished = folder.with_name(f"{folder.name}.part")
        loop.train(
            f"{name}.warm_up",
            first,
            settings.model_copy(update={"judge": None}),
            seed=seed,
            threads=threads,
            slices=slices,
            out=unfinished,
            work=work,
        )
        unfinished.rename(folder)
    weights = (folder / "generator.safetensors").read_bytes()
    start = params.InitFrom(
        folder=str(folder),
        generator=hashlib.sha256(weights).hexdigest(),
        discriminator=None,
        freeze=0,
        keep_statistics=True,
    )
    second = model.model_copy(update={"warm_up": None, "init_from": start})
    loop.train(
        name, second, settings, seed=seed, threads=threads, slices=slices, out=out, work=work
    )
    run = json.loads((out / "run.json").read_text(encoding="utf-8"))
    before = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    run["warm_up"] = {key: before[key] for key in ("kimg", "seconds")}
    write_json(out / "run.json", run, sort_keys=True)


def first_phase(model: params.Model, warm_up: params.WarmUp) -> params.Model:
    """The model of the warm-up: ``model`` with the values of its section ``warm_up``."""
    return model.model_copy(
        update={
            "kimg": warm_up.kimg,
            "batch": warm_up.batch,
            "discriminator": warm_up.discriminator,
            "objective": warm_up.objective,
            "penalties": warm_up.penalties,
            "optimizer": warm_up.optimizer,
            "diffaugment": warm_up.diffaugment,
            "warm_up": None,
            "feature_matching": None,
            "patch_matching": None,
        }
    )
