"""How much dropout a GAN on few pictures wants: the study behind docs/results/dropout.md.

    make recipe RECIPE=dropout.yaml && git commit -am "Study dropout"
    python benchmarks/dropout.py queue             # 63 experiments of two models each
    dvc queue start --jobs 2                       # reckoned: an hour and a half on two cores
    pip install matplotlib
    python benchmarks/dropout.py table             # what has run: dropout.csv, .svg and .webp
    ganloom compare --html compare.html            # every metric, beside real images

Every cell is a DVC experiment with a name of its own; what has run before is not queued again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import dvc.api
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from ganloom import models
from ganloom.sampling.generate import generate

SEEDS = (1, 2, 3)
MODELS = ("plain", "diffaug")  # as recipes/dropout.yaml names them
BLOCKS = 3  # at 32 px
SAMPLES = 12  # shown of each model
ENLARGED, GAP, MARGIN, TITLE = 2, 8, 130, 20  # the picture's, in px


class Cell(NamedTuple):
    """One setting: D's rates and G's, a rate for each block, and what is dropped."""

    name: str
    where: str
    discriminator: float
    generator: float
    rates_d: list[float]
    rates_g: list[float]
    kind: str


def cells() -> Iterator[Cell]:
    """Element-wise in every layer; whole channels; before the last layer alone."""
    rates = (0.0, 0.1, 0.25, 0.35, 0.5)
    for g in (0.0, 0.15, 0.30):
        # Decreasing, as in Shipibo-GAN: the early layers lose most, the last nothing.
        falling = [round(g * (1 - block / (BLOCKS - 1)), 3) for block in range(BLOCKS)]
        for d in rates:
            yield Cell(f"every-d{d}-g{g}", "every layer", d, g, [d] * BLOCKS, falling, "element")
    for d in rates[1:]:
        yield Cell(f"channel-d{d}", "channels", d, 0.0, [d] * BLOCKS, [0.0] * BLOCKS, "channel")
    for d in (0.25, 0.5):
        last = [0.0] * (BLOCKS - 1) + [d]
        yield Cell(f"head-d{d}", "before the last", d, 0.0, last, [0.0] * BLOCKS, "element")


def name(cell: Cell, seed: int) -> str:
    return f"{cell.name}-s{seed}".replace(".", "_")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=["queue", "table"])
    {"queue": queue, "table": table}[parser.parse_args().what]()


def queue() -> None:
    """Add what is neither queued nor done, failed ones again; one seed after the other."""
    known = {
        experiment["name"]
        for experiment in experiments()
        if (experiment.get("executor") or {}).get("state") != "failed"
    }
    for seed in SEEDS:
        for cell in cells():
            if name(cell, seed) in known:
                continue
            changes: dict[str, Any] = {"seed": seed}
            for model in MODELS:
                changes |= {
                    f"models.{model}.discriminator.dropout": cell.rates_d,
                    f"models.{model}.discriminator.dropout_kind": cell.kind,
                    f"models.{model}.generator.dropout": cell.rates_g,
                }
            flags = [f for key, value in changes.items() for f in ("-S", f"{key}={value}")]
            queued = ["dvc", "exp", "run", "--queue", "--name", name(cell, seed), *flags]
            subprocess.run([*queued, "evaluate"], check=True)  # what it needs, no pictures, no page


def experiments() -> list[dict[str, Any]]:
    done = subprocess.run(["dvc", "exp", "show", "--json"], check=True, stdout=subprocess.PIPE)
    return [e for commit in json.loads(done.stdout) for e in commit.get("experiments") or []]


def table() -> None:
    """Write mean and spread over seeds as a table and a plot for docs/results, and samples."""
    by_name = {name(cell, seed): (cell, seed) for cell in cells() for seed in SEEDS}
    rows = []
    for experiment in experiments():
        data = (experiment["revs"] or [{}])[-1].get("data") or {}
        files = data.get("metrics") or {}
        found: list[Any] = [
            (files.get(f"results/key_metrics/{model}.json", {}).get("data") or {}).get(model)
            for model in MODELS
        ]
        if experiment["name"] not in by_name or None in found:  # failed, or still running
            continue
        cell, seed = by_name[experiment["name"]]
        for model, figures in zip(MODELS, found, strict=True):
            rows.append(
                {
                    "name": experiment["name"],
                    "where": cell.where,
                    "d": cell.discriminator,
                    "g": cell.generator,
                    "model": model,
                    "seed": seed,
                    **{key: figures[key] for key in ("kid_lite2", "swd", "recall", "coverage")},
                }
            )
    if not rows:
        raise SystemExit("no experiment of this study has run; see --help")
    runs = pd.DataFrame(rows).sort_values(["where", "d", "g", "model", "seed"])
    runs.to_csv("dropout.csv", index=False)
    cell_of = runs.groupby(["where", "d", "g", "model"])["kid_lite2"]
    summary = cell_of.agg(["mean", "min", "max", "count"]).reset_index()
    print(
        f"{'dropped':16} {'D':>5} {'G':>5} {'model':8} {'KID-lite2':>9} {'from':>6} {'to':>6}  runs"
    )
    for row in summary.itertuples(index=False):
        print(
            f"{row.where:16} {row.d:5.2f} {row.g:5.2f} {row.model:8} {row.mean:9.3f} "
            f"{row.min:6.3f} {row.max:6.3f}  {row.count}"
        )
    plot(summary)
    show([cell for cell in cells() if name(cell, SEEDS[0]) in set(runs.name)])


def plot(summary: pd.DataFrame) -> None:
    import matplotlib as mpl  # noqa: PLC0415 - no dependency of ganloom
    from matplotlib import pyplot as plt  # noqa: PLC0415

    mpl.rcParams["svg.hashsalt"] = "ganloom"
    figure, axes = plt.subplots(1, len(MODELS), sharey=True, figsize=(9, 3.6), layout="constrained")
    for axis, model in zip(axes, MODELS, strict=True):
        for (where, g), line in summary[summary.model == model].groupby(["where", "g"]):
            label = f"{where}, G {g:g}" if where == "every layer" else where
            axis.fill_between(line.d, line["min"], line["max"], alpha=0.15)
            axis.plot(line.d, line["mean"], marker="o", label=label)
        axis.set(title=model, xlabel="share dropped in D")
    axes[0].set_ylabel("KID-lite2 against holdout")
    axes[0].legend(fontsize=7)
    figure.savefig("dropout.svg", metadata={"Date": None})


def show(done: list[Cell]) -> None:
    """The same latents in every cell of the first seed: a row for each, a half for each model."""
    rows = []
    for cell in done:
        halves = [np.concatenate(samples(name(cell, SEEDS[0]), model), axis=1) for model in MODELS]
        gap = np.full((len(halves[0]), GAP, 3), 255, np.uint8)
        rows.append(np.concatenate([halves[0], gap, halves[1]], axis=1))
    picture = Image.fromarray(np.concatenate(rows))
    picture = picture.resize([ENLARGED * side for side in picture.size], Image.Resampling.NEAREST)
    labelled = Image.new("RGB", (MARGIN + picture.width, TITLE + picture.height), "white")
    labelled.paste(picture, (MARGIN, TITLE))
    draw = ImageDraw.Draw(labelled)
    for half, model in enumerate(MODELS):
        draw.text((MARGIN + half * (picture.width + ENLARGED * GAP) / 2, 4), model, "black")
    for row, cell in enumerate(done):
        draw.text((4, TITLE + (row + 0.4) * picture.height / len(done)), cell.name, "black")
    labelled.save("dropout.webp", quality=80)


def samples(experiment: str, model: str) -> NDArray[np.uint8]:
    path = f"results/models/{model}/generator.safetensors"
    with tempfile.NamedTemporaryFile(suffix=".safetensors") as file:
        file.write(dvc.api.read(path, rev=experiment, mode="rb"))
        file.flush()
        net, _ = models.load_generator(Path(file.name), torch.device("cpu"))
    return generate(net, net.inputs.draw(SAMPLES, generator=torch.Generator().manual_seed(1)))


if __name__ == "__main__":
    main()
