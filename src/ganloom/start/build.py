"""The parameter file for a folder."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ganloom import params, recipes
from ganloom.device import best_device
from ganloom.doctor import usable_cores
from ganloom.params.loading import parse, read
from ganloom.report.verdict import FEW_STEPS
from ganloom.sources.paths import problems
from ganloom.start.length import Speed, Trainings, about, measure, rounded
from ganloom.start.look import StartError, look
from ganloom.start.plan import Plan, plan

GROWTH = 4  # factor on the time of trainings if samples have twice the side

Clock = Callable[[params.Model, params.Train, int], Speed]


def build(
    path: Path, minutes: float, kind: str | None = None, clock: Clock = measure
) -> tuple[str, list[str]]:
    """Look at a folder, choose parameters, and fit the trainings into a time.

    Args:
        path: Folder of images.
        minutes: Time for all trainings together.
        kind: Key of ``plan.KINDS``; None to tell by the images.
        clock: Measures the speed of a model, given it, the section ``train`` and the threads.

    Returns:
        Text of the file, and the reasons for its values, which are also at its top.

    Raises:
        StartError: The folder cannot be used.
        ParamsError: A recipe cannot be read.
    """
    base = read(recipes.FOLDER / recipes.BASE)
    network, fetch = params.Network(**base["network"]), params.Fetch(**base["fetch"])
    seen = look(path, network, fetch)
    on_gpu = best_device().type == "cuda"

    def timed(larger: int | None) -> tuple[Plan, Trainings]:
        chosen = plan(path, seen, kind, larger)
        known = parse(chosen.values)
        if found := problems(known):
            raise StartError("\n".join(found))
        # Trainings on a GPU share it.
        slots = 1 if on_gpu else max(1, usable_cores() // known.threads)
        lengths = {name: model.kimg for name, model in known.models.items()}
        speeds = {
            name: clock(model, known.train, known.threads) for name, model in known.models.items()
        }
        return chosen, Trainings(lengths, speeds, slots)

    # The largest samples for which there is time for the whole length of the recipe.
    limit = 60 * minutes
    best: tuple[Plan, Trainings] | None = None
    advice: list[str] = []
    for side in plan(path, seen, kind).larger:
        # Twice the side takes about four times as long, so that timing it may be needless.
        needed = GROWTH * best[1].seconds() if best else 0.0
        finer = timed(side) if needed <= limit else None
        needed = finer[1].seconds() if finer else needed
        if needed > limit:
            more = math.ceil(needed / 60)
            advice = [f"At {side} px, samples show more: run this with --minutes {more}."]
            break
        best = finer
    chosen, trainings = best or timed(None)
    values, reasons = chosen.values, [*chosen.reasons, *advice]
    known = parse(values)
    by = _fit(values["models"], known, trainings.factor(limit))
    cores = trainings.slots * known.threads
    place = "the GPU" if on_gpu else f"{cores} CPU core{'s' * (cores > 1)}"
    trained = ", ".join(f"{name} for {_length(m)}" for name, m in values["models"].items())
    reasons.append(
        f"Training: {trained}. Together {about(trainings.seconds(by))} on {place} of this machine, "
        "measured in a few steps; the other stages take some minutes more."
    )
    enough = max(
        FEW_STEPS / (1000 * m.kimg / m.batch + m.warm_up_steps) for m in known.models.values()
    )
    if by < enough:
        reasons.append(
            f"This is too short: models learn little in fewer than {FEW_STEPS} steps. Run this "
            f"again with --minutes {math.ceil(trainings.seconds(enough) / 60)} or more."
        )
    # Names of files and messages of decoders may hold anything.
    reasons = [re.sub(r"\s+", " ", reason) for reason in reasons]
    reasons = ["".join(c if c.isprintable() else "?" for c in reason) for reason in reasons]
    return recipes.written(values, _header(path, reasons)), reasons


def _fit(models: dict[str, Any], known: params.Params, by: float) -> float:
    """Multiply the length of each training by a factor, or by a larger one if that is too short.

    Returns:
        The factor that was used, with which each tick has a step.
    """
    least = max(known.train.ticks * m.batch / 1000 / m.kimg for m in known.models.values())
    by = max(by, least)
    for name, model in known.models.items():
        models[name]["kimg"] = rounded(by * model.kimg)
        if model.warm_up:
            models[name]["warm_up"]["kimg"] = rounded(by * model.warm_up.kimg)
    return by


def _length(model: Mapping[str, Any]) -> str:
    """Format the length of a training, with its warm-up first: "150 + 27 kimg"."""
    warm_up = f"{model['warm_up']['kimg']:g} + " if model.get("warm_up") else ""
    return f"{warm_up}{model['kimg']:g} kimg"


def _header(path: Path, reasons: list[str]) -> Iterator[str]:
    """Yield the comment at the top of the file."""
    yield f"# Written by `ganloom start {path}`; every value can be edited."
    yield "#"
    for reason in reasons:
        lines = textwrap.wrap(reason, 96, break_on_hyphens=False)
        yield from (f"# {'- ' if line is lines[0] else '  '}{line}" for line in lines)
