"""Results of each model, and the comparison of all models."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image

from ganloom import params
from ganloom.metrics.catalogue import COMPARED, Metric
from ganloom.report.cloths import Cloths, cloths
from ganloom.report.copies import Copying, copying
from ganloom.report.figures import (
    Chart,
    EncodedImage,
    Points,
    Scatter,
    chart,
    counted,
    data_uri,
    number,
    picture,
    picture_file,
    scatter,
    sheet_file,
    spread,
)
from ganloom.report.reading import flat, parameters, read_json
from ganloom.report.verdict import Evidence, Verdict, verdict

# Shared by all models, so that the page stays small enough for e-mail.
FRAMES = 60
BYTES = 9_500_000

# Metrics that are evaluated during the training, and the titles of their charts.
LOOK = {
    "kid": "KID-lite2",
    "feature_distance": "variety relative to training images",
    "recall": "recall of training images",
}

Values = Mapping[str, Any]


REFERENCES = {
    "train_half": "Training images: one half against the other",
    "holdout": "Training images against holdout originals",
}


@dataclass(frozen=True)
class Frame:
    kimg: str
    picture: EncodedImage


@dataclass(frozen=True)
class Judgement:
    """The selected checkpoint and the reason, alarms, and charts of the evaluations."""

    chosen: str
    measured: str
    stopped: str
    alarms: list[str]
    charts: list[Chart]


@dataclass(frozen=True)
class Layer:
    """A layer of a network, with its output shape (channels first) and number of weights."""

    name: str
    kind: str
    output: str
    parameters: int


@dataclass(frozen=True)
class ClassRow:
    """Formatted results of one class; "–" for missing values.

    Attributes:
        name: Name of the class.
        asked: Number of samples of the class.
        named: Share of them that a classifier assigns to the class.
        holdout: Number of holdout originals of the class.
        holdout_named: Share of these that the classifier assigns to the class.
        kid: KID of the class.
    """

    name: str
    asked: str
    named: str
    holdout: str
    holdout_named: str
    kid: str


@dataclass(frozen=True)
class ModelResults:
    name: str
    resolution: int
    kimg: str
    settings: dict[str, dict[str, str]]
    networks: dict[str, list[Layer]]
    effort: str
    charts: list[Chart]
    judgement: Judgement | None
    timeline: list[Frame]
    moments: int
    grid: EncodedImage | None
    small_grid: EncodedImage | None
    interpolation: EncodedImage | None
    classes: EncodedImage | None
    class_morph: EncodedImage | None
    class_names: list[str]
    codes: EncodedImage | None
    inversion: EncodedImage | None
    edits: EncodedImage | None
    recovered: str
    cloths: Cloths
    films: dict[str, str]
    loop_still: EncodedImage | None
    neighbours: EncodedImage | None
    copying: Copying | None
    verdict: Verdict
    walks: str
    classes_shown: list[ClassRow]
    numbers: dict[str, str]
    measures: dict[str, str]
    run: dict[str, str]


@dataclass(frozen=True)
class Row:
    """Metrics by key; ``best`` holds the keys of the metrics in which this model is the best."""

    name: str
    is_reference: bool
    values: dict[str, float]
    best: frozenset[str]


@dataclass(frozen=True)
class Comparison:
    """Models of one resolution, with reference rows of real images, and warnings."""

    resolution: int
    rows: list[Row]
    scatter: Scatter | None
    warnings: list[str]


# --- one model ---------------------------------------------------------------------------------


def model(
    project: Path, name: str, spec: params.Model, metrics: Values, reference: Values, *, models: int
) -> ModelResults:
    """Collect the results of a model, for a page with ``models`` models in all."""
    home = project / "results/models" / name
    samples = project / "results/samples" / name
    films = project / "results/animations" / name
    inversions = project / "results/inversions" / name
    measured = project / "results/metrics" / name
    run = read_json(home / "run.json")
    judgement = read_json(home / "judgement.json")
    unseen = reference.get("holdout", {})
    copies = copying(metrics, unseen)
    timeline = read_json(home / "timeline/timeline.json") or []
    frames = spread(timeline, max(5, min(25, FRAMES // models)))
    share = BYTES // (models + 1)  # the best model is also shown at the top of the page
    return ModelResults(
        name=name,
        resolution=spec.resolution,
        kimg=f"{metrics.get('kimg', spec.kimg):g}",
        settings=_settings(spec),
        networks=_networks(read_json(home / "architecture.json") or {}),
        effort=_effort(run),
        charts=_charts(home / "history/plots/metrics"),
        judgement=_judgement(judgement),
        timeline=[
            _frame(home / "timeline" / entry["file"], entry["kimg"], share // 4 // len(frames))
            for entry in frames
        ],
        moments=len(timeline),
        grid=picture_file(samples / "grid.png", 800, share // 12),
        small_grid=picture_file(samples / "grid.png", 320, share // 36) if models > 1 else None,
        interpolation=picture_file(samples / "interpolation.png", 1200, share // 12),
        classes=picture_file(samples / "classes.png", 800, share // 24),
        class_morph=picture_file(samples / "class_morph.png", 1200, share // 24),
        class_names=(read_json(films / "classes.json") or {}).get("classes", []),
        codes=picture_file(samples / "codes.png", 1200, share // 24),
        inversion=picture_file(inversions / "inversion.png", 1200, share // 24),
        edits=picture_file(inversions / "edits.png", 1200, share // 24),
        recovered=recovered(read_json(inversions / "inversion.json") or {}),
        cloths=cloths(project, name, share // 3),
        films=_films(films, share * 4 // 15),
        loop_still=picture_file(films / "loop.webp", 512, share // 12),
        neighbours=sheet_file(measured / "neighbours.png", 1200, share // 12),
        copying=copies,
        verdict=verdict(Evidence(name, spec, metrics, unseen, judgement, run, copies)),
        walks=walks(metrics),
        classes_shown=[_class_row(row) for row in read_json(measured / "classes.json") or []],
        numbers={
            key: value if isinstance(value, str) else number(value)
            for key, value in sorted(metrics.items())
        },
        measures=measures(read_json(measured / "protocol.json")),
        run=dict(flat(run)),
    )


def _settings(spec: params.Model) -> dict[str, dict[str, str]]:
    """Parameters of each network, and of the training."""
    values = spec.model_dump(mode="json")
    networks = {part: parameters(values.pop(part)) for part in ("generator", "discriminator")}
    return {**networks, "training": parameters(values)}


def _networks(architecture: Values) -> dict[str, list[Layer]]:
    return {
        part: [
            Layer(
                layer["name"],
                layer["kind"],
                ", ".join(" × ".join(map(str, shape)) for shape in layer["output"]),
                layer["parameters"],
            )
            for layer in layers
        ]
        for part, layers in sorted(architecture.items(), reverse=True)  # the generator first
    }


def _effort(run: Values) -> str:
    """Describe the size of the networks and the duration of the training."""
    if not run:
        return ""
    sizes = run["parameters"]
    before = run.get("warm_up")
    warmed_up = f", after {_duration(before)} of warm-up" if before else ""
    return (
        f"generator {sizes['generator']:,} and discriminator {sizes['discriminator']:,} "
        f"parameters · {_duration(run)} at {run['images_per_second']:,.0f} img/s{warmed_up}"
    )


def _duration(run: Values) -> str:
    minutes, seconds = divmod(round(run["seconds"]), 60)
    return f"{minutes} min {seconds} s"


def _charts(folder: Path) -> list[Chart]:
    """Charts of the training; ``loss_d`` and ``loss_g`` share the chart ``loss``."""
    tables = {
        path.stem: _points(path)
        for path in sorted(folder.glob("*.tsv"))
        if path.stem not in LOOK  # shown with the selected checkpoint
    }
    clock = dict(tables.pop("kimg", []))
    groups: dict[str, dict[str, Points]] = {}
    for key, points in tables.items():
        group, _, name = key.partition("_")
        groups.setdefault(group, {})[name or group] = [(clock.get(x, x), y) for x, y in points]
    x_label = "kimg" if clock else "step"
    charts = (chart(title, x_label, series) for title, series in sorted(groups.items()))
    return [drawn for drawn in charts if drawn]


def _judgement(judgement: Values) -> Judgement | None:
    """Convert ``judgement.json``; the charts mark the selected checkpoint."""
    if not judgement:
        return None
    chosen, looks = judgement["chosen"], judgement["looks"]
    charts = (
        chart(
            title,
            "kimg",
            {"evaluation": [(look["kimg"], look[key]) for look in looks]},
            mark=chosen["kimg"],
        )
        for key, title in LOOK.items()
    )
    return Judgement(
        chosen=f"The model is the checkpoint at {chosen['kimg']:g} kimg. {chosen['why']}",
        measured=judgement["against"],
        stopped=judgement["stopped"],
        alarms=[alarm["sentence"] for alarm in judgement["alarms"]],
        charts=[drawn for drawn in charts if drawn],
    )


def _points(path: Path) -> Points:
    """Read a table of dvclive, whose last column is the value."""
    table = pd.read_csv(path, sep="\t")
    return list(zip(table["step"].astype(float), table.iloc[:, -1].astype(float), strict=True))


def _frame(path: Path, kimg: float, limit: int) -> Frame:
    with Image.open(path) as image:
        return Frame(f"{kimg:g}", picture(image.convert("RGB"), 400, limit))


def _films(folder: Path, limit: int) -> dict[str, str]:
    """Animations by kind as data URIs, as many as fit into ``limit`` bytes."""
    films = {}
    for kind, name, mime in (
        ("loop", "loop.mp4", "video/mp4"),
        ("loop", "loop.webp", "image/webp"),
        ("morph", "morph.mp4", "video/mp4"),
        ("sweep", "sweep.mp4", "video/mp4"),
    ):
        path = folder / name
        if kind not in films and path.is_file() and path.stat().st_size <= limit:
            limit -= path.stat().st_size
            films[kind] = data_uri(path.read_bytes(), mime)
    return films


def walks(metrics: Values) -> str:
    """Describe how evenly samples change along interpolations."""
    if "path_length" not in metrics:
        return ""
    return (
        f"Path length in features: {number(metrics['path_length'])}, which is "
        f"{metrics['path_detour']:.1f} times the distance of the two ends. The largest step is "
        f"{metrics['path_unevenness']:.1f} times the mean step (1: all steps are equal)."
    )


def measures(protocol: Values) -> dict[str, str]:
    """Features, images, resizing and seed of each metric."""
    seed = protocol.get("seed")
    return {
        key: f"{made}; seed {seed}" for key, made in sorted(protocol.get("measures", {}).items())
    }


def _class_row(row: Values) -> ClassRow:
    def share(value: float | None) -> str:
        return "–" if value is None else f"{value:.0%}"

    return ClassRow(
        name=row["name"],
        asked=f"{row['asked']:,}",
        named=share(row["named"]),
        holdout=f"{row['holdout']:,}",
        holdout_named=share(row["holdout_named"]),
        kid="–" if row["kid"] is None else number(row["kid"]),
    )


def recovered(inversion: Values) -> str:
    """Describe the quality of the GAN inversion."""
    if not inversion:
        return ""
    kind = "Holdout" if inversion["against"] == "holdout" else "Training"
    median = inversion["median"]
    sentence = (
        f"{kind} images and their reconstructions by GAN inversion "
        f"(median PSNR {number(median['psnr'])} dB, MS-SSIM {number(median['ms_ssim'])})"
    )
    if "predictor" not in inversion:
        return f"{sentence}. Rows: original, reconstruction."
    guess = inversion["predictor"]
    return (
        f"{sentence}. Rows: original, estimate of the predictor (median PSNR "
        f"{number(guess['psnr'])} dB, MS-SSIM {number(guess['ms_ssim'])}), reconstruction."
    )


# --- all models --------------------------------------------------------------------------------


def first(models: Mapping[str, ModelResults], metrics: Mapping[str, Values]) -> str:
    """Name of the model at the top of the page.

    It is the one with the lowest KID of those whose verdict allows to call them the best; of all
    models if there are none; and the first one if none was evaluated.
    """

    def rank(name: str) -> tuple[bool, float]:
        may_be_best = models[name].verdict.may_be_best
        return not may_be_best, metrics[name].get("kid_lite2", math.inf)

    return min(models, key=rank)


def titles(models: Mapping[str, ModelResults], metrics: Mapping[str, Values]) -> dict[str, str]:
    """Titles of the best models of each resolution: "the best of 2 models by KID"."""
    titles = {}
    sides = {model.resolution for model in models.values()}
    for side in sides:
        group = {name: metrics[name] for name in models if models[name].resolution == side}
        at = f" at {side} px" if len(sides) > 1 else ""
        for row in compare(group, _may_be_best(models)):
            if "kid_lite2" in row.best:
                titles[row.name] = f"the best of {counted(len(group), 'model')}{at} by KID"
    return titles


def _may_be_best(models: Mapping[str, ModelResults]) -> frozenset[str]:
    return frozenset(name for name, model in models.items() if model.verdict.may_be_best)


def columns(metrics: Mapping[str, Values]) -> list[Metric]:
    """Metrics of which at least one model has a value."""
    return [metric for metric in COMPARED if any(metric.key in row for row in metrics.values())]


def comparisons(
    models: Mapping[str, ModelResults],
    metrics: Mapping[str, Values],
    reference: Values,
    warnings: Mapping[str, list[str]],
) -> list[Comparison]:
    """One comparison per resolution; metrics at different resolutions are not comparable.

    Args:
        models: Models by name.
        metrics: Metrics of each model.
        reference: Rows of real images by resolution.
        warnings: Warnings about the metrics of each model.
    """
    tables = []
    for resolution in sorted({model.resolution for model in models.values()}):
        group = {n: metrics[n] for n, model in models.items() if model.resolution == resolution}
        rows = compare(group, _may_be_best(models))
        rows += [
            Row(REFERENCES.get(name, name), True, _shown(values), frozenset())
            for name, values in reference.get(str(resolution), {}).items()
        ]
        places = {
            row.name: (row.values["coverage"], row.values["density"])
            for row in rows
            if row.values.keys() >= {"coverage", "density"}
        }
        references = [row.name for row in rows if row.is_reference]
        drawn = scatter("coverage", "density", places, references) if len(group) > 1 else None
        distinct = dict.fromkeys(warning for name in group for warning in warnings[name])
        tables.append(Comparison(resolution, rows, drawn, list(distinct)))
    return tables


def compare(group: Mapping[str, Values], may_be_best: Collection[str]) -> list[Row]:
    """Create a row per name, with the best of each column marked, among ``may_be_best``."""
    return [Row(name, False, _shown(group[name]), _won(name, group, may_be_best)) for name in group]


def _shown(values: Values) -> dict[str, float]:
    return {metric.key: values[metric.key] for metric in COMPARED if metric.key in values}


def _won(name: str, group: Mapping[str, Values], may_be_best: Collection[str]) -> frozenset[str]:
    """Metrics in which a model is the best, unless all models have the same value."""
    won = set()
    for metric in COMPARED if name in may_be_best else ():
        values = {other: row[metric.key] for other, row in group.items() if metric.key in row}
        best = min if metric.better == "lower" else max
        rivals = [value for other, value in values.items() if other in may_be_best]
        if len(set(values.values())) > 1 and values.get(name) == best(rivals, default=None):
            won.add(metric.key)
    return frozenset(won)
