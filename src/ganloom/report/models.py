"""Every model and how they compare: settings, curves, pictures, metrics and what they copied."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image

from ganloom import params
from ganloom.report.cloths import Cloths, cloths
from ganloom.report.copying import Copying, copying
from ganloom.report.figures import (
    Chart,
    Picture,
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
from ganloom.report.tables import flat, parameters, read_json
from ganloom.report.verdict import Evidence, Verdict, verdict

# What all models share, so that a page with many of them stays small enough to be mailed.
FRAMES = 60
BYTES = 9_500_000

# What a training finds when it looks at its model, and the titles of its charts.
LOOK = {
    "kid": "KID-lite2",
    "feature_distance": "variety beside training images",
    "recall": "recall of training images",
}

Values = Mapping[str, Any]


@dataclass(frozen=True)
class Metric:
    """A column of the comparison; ``better`` is "lower" or "higher"."""

    key: str
    name: str
    better: str
    meaning: str


METRICS = (
    Metric(
        "kid_lite2",
        "KID-lite2",
        "lower",
        "How far samples lie from real pictures in what EfficientNet-lite2 sees: the kernel "
        "distance, without bias. Two halves of one collection come out around 0, or just below.",
    ),
    Metric(
        "fd_lite2",
        "FD-lite2",
        "lower",
        "The same features, compared by mean and covariance alone. It grows when few images are "
        "compared, so only the reference rows give it a scale.",
    ),
    Metric(
        "swd",
        "SWD",
        "lower",
        "Textures at several scales, compared without any network: the sliced "
        "Wasserstein distance. It shares nothing with the two before it.",
    ),
    Metric(
        "precision",
        "Precision",
        "higher",
        "Likeness: the share of samples that fall among the real pictures.",
    ),
    Metric(
        "recall",
        "Recall",
        "higher",
        "Variety: the share of real pictures that fall among the samples.",
    ),
    Metric(
        "density",
        "Density",
        "higher",
        "Likeness again, less easily fooled by outliers: how crowded with real pictures the "
        "places are where samples fall. Pictures of the same kind reach about 1.",
    ),
    Metric(
        "coverage",
        "Coverage",
        "higher",
        "Variety again: the share of real pictures that have a sample close by.",
    ),
    Metric(
        "authenticity",
        "Authenticity",
        "higher",
        "Originality: the share of samples that are farther from their nearest training image "
        "than that image is from its own nearest other. Fresh pictures of the same kind reach "
        "about a half; copies pull it down.",
    ),
    Metric(
        "fid_inception",
        "FID",
        "lower",
        "The Fréchet distance on Inception's features, as the literature has it, but of fewer "
        "pictures than there, which makes it higher.",
    ),
    Metric(
        "kid_inception",
        "KID",
        "lower",
        "The kernel distance on Inception's features: comparable with the literature's.",
    ),
)

REFERENCES = {
    "train_half": "Training images: one half against the other",
    "holdout": "Training images against unseen originals",
}


@dataclass(frozen=True)
class Frame:
    kimg: str
    picture: Picture


@dataclass(frozen=True)
class Judgement:
    """Which state became the model and why, what went wrong, and what the looks found."""

    chosen: str
    measured: str
    stopped: str
    alarms: list[str]
    charts: list[Chart]


@dataclass(frozen=True)
class Layer:
    """A layer of a network: what comes out of it, channels first, and its number of weights."""

    name: str
    kind: str
    output: str
    parameters: int


@dataclass(frozen=True)
class ClassRow:
    """Of one class: how many samples were asked for, and how many show it; the same of real ones.

    In words; "–" where there is nothing to tell.
    """

    name: str
    asked: str
    named: str
    holdout: str
    holdout_named: str
    kid: str


@dataclass(frozen=True)
class Model:
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
    grid: Picture | None
    small_grid: Picture | None
    interpolation: Picture | None
    classes: Picture | None
    class_morph: Picture | None
    class_names: list[str]
    codes: Picture | None
    inversion: Picture | None
    edits: Picture | None
    recovered: str
    cloths: Cloths
    films: dict[str, str]
    loop_still: Picture | None
    neighbours: Picture | None
    copying: Copying | None
    verdict: Verdict
    walks: str
    classes_shown: list[ClassRow]
    numbers: dict[str, str]
    measures: dict[str, str]
    run: dict[str, str]


@dataclass(frozen=True)
class Row:
    """Metrics by their key; ``best`` are the keys in which no model that may be best is better."""

    name: str
    is_reference: bool
    values: dict[str, float]
    best: frozenset[str]


@dataclass(frozen=True)
class Comparison:
    """Models of one resolution, rows of real pictures beside them, and what not to believe."""

    resolution: int
    rows: list[Row]
    scatter: Scatter | None
    warnings: list[str]


# --- one model ---------------------------------------------------------------------------------


def model(
    project: Path, name: str, spec: params.Model, metrics: Values, reference: Values, *, models: int
) -> Model:
    """Gather what is known of a trained model, which shares the page with ``models`` in all."""
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
    share = BYTES // (models + 1)  # the best one opens the page as well
    return Model(
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
    """What ``params.yaml`` says: about each network, and about the training."""
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
        for part, layers in sorted(architecture.items(), reverse=True)  # generator first
    }


def _effort(run: Values) -> str:
    """How large the networks are and how long they took, in words."""
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
    """The curves of a training; `loss_d` and `loss_g` share the chart `loss`."""
    tables = {
        path.stem: _points(path)
        for path in sorted(folder.glob("*.tsv"))
        if path.stem not in LOOK  # shown with the judgement that follows from them
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
    """``judgement.json`` in words; the state that was chosen is marked in its charts."""
    if not judgement:
        return None
    chosen, looks = judgement["chosen"], judgement["looks"]
    charts = (
        chart(
            title,
            "kimg",
            {"last look": [(look["kimg"], look[key]) for look in looks]},
            mark=chosen["kimg"],
        )
        for key, title in LOOK.items()
    )
    return Judgement(
        chosen=f"The model is its state at {chosen['kimg']:g} kimg. {chosen['why']}",
        measured=judgement["against"],
        stopped=judgement["stopped"],
        alarms=[alarm["sentence"] for alarm in judgement["alarms"]],
        charts=[drawn for drawn in charts if drawn],
    )


def _points(path: Path) -> Points:
    """A table of dvclive: the step comes first, or after the time, and the value last."""
    table = pd.read_csv(path, sep="\t")
    return list(zip(table["step"].astype(float), table.iloc[:, -1].astype(float), strict=True))


def _frame(path: Path, kimg: float, limit: int) -> Frame:
    with Image.open(path) as image:
        return Frame(f"{kimg:g}", picture(image.convert("RGB"), 400, limit))


def _films(folder: Path, limit: int) -> dict[str, str]:
    """Animations by their kind, as data URIs: those that fit into ``limit`` bytes, one by one."""
    found = {}
    for kind, name, mime in (
        ("loop", "loop.mp4", "video/mp4"),
        ("loop", "loop.webp", "image/webp"),
        ("morph", "morph.mp4", "video/mp4"),
        ("sweep", "sweep.mp4", "video/mp4"),
    ):
        path = folder / name
        if kind not in found and path.is_file() and path.stat().st_size <= limit:
            limit -= path.stat().st_size
            found[kind] = data_uri(path.read_bytes(), mime)
    return found


def walks(metrics: Values) -> str:
    """How evenly pictures change along interpolations, in words."""
    if "path_length" not in metrics:
        return ""
    return (
        f"Along such walks features change by {number(metrics['path_length'])} in all, "
        f"{metrics['path_detour']:.1f} times the distance of the two ends; the worst step of a "
        f"walk is {metrics['path_unevenness']:.1f} times its mean one (1: all are equal)."
    )


def measures(protocol: Values) -> dict[str, str]:
    """Each metric by its features, pictures, resizing and seed."""
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
    """What was recovered how well, in words."""
    if not inversion:
        return ""
    whose = "that it never saw" if inversion["against"] == "holdout" else "that it was trained on"
    median = inversion["median"]
    sentence = (
        f"Real pictures {whose}, and the nearest that it can come to them "
        f"(PSNR {number(median['psnr'])} dB, MS-SSIM {number(median['ms_ssim'])} in the median)"
    )
    if "predictor" not in inversion:
        return f"{sentence}: originals, recovered."
    guess = inversion["predictor"]
    return (
        f"{sentence}: originals, what a predictor guesses at a glance (PSNR "
        f"{number(guess['psnr'])} dB, MS-SSIM {number(guess['ms_ssim'])}), recovered."
    )


# --- all models --------------------------------------------------------------------------------


def first(models: Mapping[str, Model], metrics: Mapping[str, Values]) -> str:
    """The model that opens the page: of those that may be called the best, that of the lowest KID.

    Where none may be, that of the lowest KID; the first one where none was measured.
    """

    def rank(name: str) -> tuple[bool, float]:
        may_be_best = models[name].verdict.may_be_best
        return not may_be_best, metrics[name].get("kid_lite2", math.inf)

    return min(models, key=rank)


def titles(models: Mapping[str, Model], metrics: Mapping[str, Values]) -> dict[str, str]:
    """What the best of several is called, at each resolution: "the best of 2 models by KID"."""
    found = {}
    sides = {model.resolution for model in models.values()}
    for side in sides:
        group = {name: metrics[name] for name in models if models[name].resolution == side}
        at = f" at {side} px" if len(sides) > 1 else ""
        for row in compare(group, _may_be_best(models)):
            if "kid_lite2" in row.best:
                found[row.name] = f"the best of {counted(len(group), 'model')}{at} by KID"
    return found


def _may_be_best(models: Mapping[str, Model]) -> frozenset[str]:
    return frozenset(name for name, model in models.items() if model.verdict.may_be_best)


def columns(metrics: Mapping[str, Values]) -> list[Metric]:
    """The metrics that some model was measured by."""
    return [metric for metric in METRICS if any(metric.key in row for row in metrics.values())]


def comparisons(
    models: Mapping[str, Model],
    metrics: Mapping[str, Values],
    reference: Values,
    warnings: Mapping[str, list[str]],
) -> list[Comparison]:
    """One table per resolution, for numbers of different ones cannot be compared.

    Args:
        models: The models.
        metrics: Of each model.
        reference: Rows of real pictures, for each resolution.
        warnings: Of each model.
    """
    found = []
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
        said = dict.fromkeys(warning for name in group for warning in warnings[name])
        found.append(Comparison(resolution, rows, drawn, list(said)))
    return found


def compare(group: Mapping[str, Values], may_be_best: Collection[str]) -> list[Row]:
    """A row for each name, the best of each column marked, if it is one that may be."""
    return [Row(name, False, _shown(group[name]), _won(name, group, may_be_best)) for name in group]


def _shown(values: Values) -> dict[str, float]:
    return {metric.key: values[metric.key] for metric in METRICS if metric.key in values}


def _won(name: str, group: Mapping[str, Values], may_be_best: Collection[str]) -> frozenset[str]:
    """The metrics in which a model differs from another and none that may be best beats it."""
    won = set()
    for metric in METRICS if name in may_be_best else ():
        values = {other: row[metric.key] for other, row in group.items() if metric.key in row}
        best = min if metric.better == "lower" else max
        rivals = [value for other, value in values.items() if other in may_be_best]
        if len(set(values.values())) > 1 and values.get(name) == best(rivals, default=None):
            won.add(metric.key)
    return frozenset(won)
