"""Versions of a run side by side: what differs, metrics over seeds, and samples of each model."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ganloom.images.decoding import ImageError, decode
from ganloom.report.figures import Picture, number, picture
from ganloom.report.models import METRICS, Metric, Row, Values, columns, compare
from ganloom.report.versions import Version

MISSING = "–"
SEED = "seed"
KID = "kid_lite2"
# Rows of reference.json, in fewer words than on the report's own tables: terminals are narrow.
REAL = {"train_half": "Real: training halves", "holdout": "Real: unseen originals"}
# The longer side of a sample grid in px.
SIDE = 256
# Two settings differ by more than chance below this p-value.
SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Setting:
    """Runs of one model that differ in nothing but the seed.

    Attributes:
        row: The differing parameters as its name, and the mean of each metric.
        deviations: Sample standard deviation of each metric; empty for a single run.
        runs: Number of distinct runs.
        versions: Names of the versions that hold them.
    """

    row: Row
    deviations: Mapping[str, float]
    runs: int
    versions: list[str]

    def mean(self, key: str) -> str:
        """The mean of a metric in words; "–" if not measured."""
        return number(self.row.values[key]) if key in self.row.values else MISSING

    def deviation(self, key: str) -> str:
        """Its standard deviation, with as many decimals: "± 0.004"; empty for a single run."""
        if key not in self.deviations:
            return ""
        decimals = len(self.mean(key).partition(".")[2])
        return f"± {self.deviations[key]:,.{decimals}f}"

    def words(self, key: str) -> str:
        return f"{self.mean(key)} {self.deviation(key)}".rstrip()


@dataclass(frozen=True)
class Model:
    """A model that is not the same in all versions.

    Attributes:
        name: Of the model.
        settings: In the order of their parameters.
        references: Rows of real images.
        conclusion: Which setting has the lowest KID, and whether chance explains its lead.
    """

    name: str
    settings: list[Setting]
    references: list[Setting]
    conclusion: str


@dataclass(frozen=True)
class Listed:
    """A version, its state, and its values of the parameters that differ between versions."""

    name: str
    state: str
    differences: Mapping[str, str]


@dataclass(frozen=True)
class Comparison:
    versions: list[Listed]
    models: list[Model]
    unchanged: list[str]
    metrics: list[Metric]


@dataclass(frozen=True)
class Sample:
    setting: str
    picture: Picture


@dataclass(frozen=True)
class Sheet:
    """Sample grids of one model with one seed; ``same_latents``: drawn from the same latents."""

    seed: str
    same_latents: bool
    samples: list[Sample]


def comparison(versions: Sequence[Version]) -> Comparison:
    """Compare versions: parameters that differ, and metrics of the models that differ."""
    keys = differing(versions)
    names = dict.fromkeys(name for version in versions for name in version.metrics)
    models = [_model(name, versions) for name in names]
    return Comparison(
        [
            Listed(v.name, v.state, {k: v.params.get(k, MISSING) for k in keys if v.params})
            for v in versions
        ],
        [model for model in models if model],
        [name for name, model in zip(names, models, strict=True) if not model],
        columns({f"{v.name} {name}": v.metrics[name] for v in versions for name in v.metrics}),
    )


def sheets(
    comparison: Comparison, versions: Sequence[Version], max_pixels: int, limit: int
) -> dict[str, list[Sheet]]:
    """The sample grids of each model in a comparison, those of the same seed together.

    Args:
        comparison: Of the versions.
        versions: As compared.
        max_pixels: Leave out grids with more, before decoding.
        limit: Size of all pictures in bytes, at most.
    """
    share = limit // max(1, len(comparison.models))
    return {m.name: _sheets(m.name, versions, max_pixels, share) for m in comparison.models}


def _sheets(model: str, versions: Iterable[Version], max_pixels: int, limit: int) -> list[Sheet]:
    shown = [version for version in versions if model in version.grids]
    keys = _relevant(shown, model)
    own = (f"models.{model}.{key}" for key in ("generator.latent", "condition", "code"))
    same_latents = not any(key.startswith(("sample.", *own)) for key in keys)
    grids: dict[str, dict[str, bytes]] = {}
    for version in sorted(shown, key=lambda version: _order(version, [SEED, *keys])):
        of_seed = grids.setdefault(version.params.get(SEED, MISSING), {})
        of_seed.setdefault(_label(version, keys), version.grids[model])
    count = sum(map(len, grids.values()))
    found = []
    for seed, of_seed in grids.items():
        samples = []
        for setting, file in of_seed.items():
            try:
                image = decode(file, max_pixels)
            except ImageError:
                continue
            samples.append(Sample(setting, picture(image, SIDE, limit // count)))
        found.append(Sheet(seed, same_latents, samples))
    return found


def differing(versions: Iterable[Version]) -> list[str]:
    """Keys of the parameters that are not the same in all versions, but for the report's own."""
    known = [version.params for version in versions if version.params]
    keys = dict.fromkeys(key for params in known for key in params)
    return [
        key
        for key in keys
        if not key.startswith("report.") and len({p.get(key, MISSING) for p in known}) > 1
    ]


def _relevant(versions: Iterable[Version], model: str) -> list[str]:
    """Differing parameters that distinguish settings of a model: no seed, no other model's."""
    own = f"models.{model}."
    return [
        key
        for key in differing(versions)
        if key != SEED and (key.startswith(own) or not key.startswith("models."))
    ]


def _model(name: str, versions: Sequence[Version]) -> Model | None:
    """A model in all versions that have it; None if it is the same in all finished ones."""
    measured = [version for version in versions if name in version.metrics]
    finished = [version for version in versions if not version.state]
    if len(measured) == len(finished) and len(_runs(measured, name)) == 1:
        return None
    keys = _relevant(measured, name)
    groups: dict[tuple[str, ...], list[Version]] = {}
    for version in sorted(measured, key=lambda version: _order(version, keys)):
        values = tuple(version.params.get(key, MISSING) for key in keys)
        groups.setdefault(values, []).append(version)
    runs = [_runs(group, name) for group in groups.values()]
    best = {
        str(n)
        for n, group in enumerate(groups.values())
        if all(name in version.may_be_best for version in group)
    }
    rows = compare({str(n): _means(found) for n, found in enumerate(runs)}, best)
    settings = [
        Setting(
            replace(row, name=_label(group[0], keys)),
            _deviations(found),
            len(found),
            [version.name for version in group],
        )
        for row, found, group in zip(rows, runs, groups.values(), strict=True)
    ]
    return Model(name, settings, _references(measured, name), conclusion(settings))


def _runs(versions: Iterable[Version], model: str) -> list[Values]:
    """Metrics of distinct runs: a version that repeats another says nothing new."""
    found = {
        (v.params.get(SEED), *sorted(v.metrics[model].items())): v.metrics[model] for v in versions
    }
    return list(found.values())


def _references(versions: Sequence[Version], model: str) -> list[Setting]:
    """Rows of real images at the resolutions of a model."""
    key = f"models.{model}.resolution"
    resolutions = list(dict.fromkeys(v.params[key] for v in versions if key in v.params))
    found = []
    for resolution in resolutions:
        tables = [v.reference[resolution] for v in versions if resolution in v.reference]
        for name in dict.fromkeys(row for table in tables for row in table):
            of_row = [table[name] for table in tables if name in table]
            distinct = list({tuple(sorted(row.items())): row for row in of_row}.values())
            end = f", {resolution} px" if len(resolutions) > 1 else ""
            row = Row(REAL.get(name, name) + end, True, _means(distinct), frozenset())
            found.append(Setting(row, _deviations(distinct), len(distinct), []))
    return found


def _columns(runs: Iterable[Values]) -> dict[str, list[float]]:
    found = {m.key: [run[m.key] for run in runs if m.key in run] for m in METRICS}
    return {key: values for key, values in found.items() if values}


def _means(runs: Sequence[Values]) -> dict[str, float]:
    return {key: statistics.fmean(values) for key, values in _columns(runs).items()}


def _deviations(runs: Sequence[Values]) -> dict[str, float]:
    found = _columns(runs).items()
    return {key: statistics.stdev(values) for key, values in found if len(values) > 1}


def _label(version: Version, keys: Sequence[str]) -> str:
    """The values of parameters in words, each under the shortest name: "dropout 0.5"."""

    def ends(key: str) -> list[str]:
        parts = key.split(".")
        return [".".join(parts[n:]) for n in reversed(range(len(parts)))]

    known = Counter(end for key in keys for end in ends(key))
    names = (next((end for end in ends(key) if known[end] == 1), key) for key in keys)
    values = (version.params.get(key, MISSING) for key in keys)
    return ", ".join(map(" ".join, zip(names, values, strict=True))) or "All"


def _order(version: Version, keys: Sequence[str]) -> list[tuple[float, str]]:
    """Sorts by the values of parameters: numbers by size, before words."""

    def sortable(value: str) -> tuple[float, str]:
        try:
            return float(value), ""
        except ValueError:
            return float("inf"), value

    return [sortable(version.params.get(key, MISSING)) for key in keys]


def conclusion(settings: Iterable[Setting]) -> str:
    """Which setting has the lowest KID, and whether chance explains its lead, in words.

    Returns:
        Empty where there are not two settings to compare.
    """
    measured = [setting for setting in settings if KID in setting.row.values]
    if len(measured) < 2:
        return ""
    best, second = sorted(measured, key=lambda setting: setting.row.values[KID])[:2]
    lead = (
        f"Lowest KID-lite2: {best.row.name} ({best.words(KID)}), "
        f"then {second.row.name} ({second.words(KID)})."
    )
    if best.runs < 2 or second.runs < 2:
        return f"{lead} A single seed cannot tell this from chance: run others, `-S seed=2`."
    from scipy.stats import ttest_ind_from_stats

    tested = ttest_ind_from_stats(
        *(v for s in (best, second) for v in (s.row.values[KID], s.deviations[KID], s.runs)),
        equal_var=False,
    )
    test = f"Welch's t-test, p = {tested.pvalue:.2g}"
    if tested.pvalue < SIGNIFICANT:
        return f"{lead} Chance hardly explains the difference ({test})."
    return f"{lead} Chance may explain the difference ({test}): run more seeds."
