"""Comparison of versions of a run: parameters that differ, metrics over seeds, samples."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ganloom.images.decoding import ImageError, decode
from ganloom.metrics.catalogue import COMPARED, Metric
from ganloom.report.figures import EncodedImage, number, picture
from ganloom.report.models import Row, Values, columns, compare
from ganloom.report.revisions import Version

MISSING = "–"
SEED = "seed"
KID = "kid_lite2"
# Short names of the rows of reference.json, for narrow terminals.
REAL = {"train_half": "Real: training halves", "holdout": "Real: holdout originals"}
# Longer side of a sample grid in px.
SIDE = 256
# Below this p-value, the difference of two settings is significant.
SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Setting:
    """Runs of one model that differ only in the seed.

    Attributes:
        row: Mean of each metric, named by the parameters that differ.
        deviations: Sample standard deviation of each metric; empty for a single run.
        runs: Number of distinct runs.
        versions: Names of the versions of these runs.
    """

    row: Row
    deviations: Mapping[str, float]
    runs: int
    versions: list[str]

    def mean(self, key: str) -> str:
        """Formatted mean of a metric; "–" if it was not measured."""
        return number(self.row.values[key]) if key in self.row.values else MISSING

    def deviation(self, key: str) -> str:
        """Formatted standard deviation, as precise as the mean: "± 0.004"; "" for a single run."""
        if key not in self.deviations:
            return ""
        decimals = len(self.mean(key).partition(".")[2])
        return f"± {self.deviations[key]:,.{decimals}f}"

    def words(self, key: str) -> str:
        return f"{self.mean(key)} {self.deviation(key)}".rstrip()


@dataclass(frozen=True)
class ChangedModel:
    """A model that differs between versions.

    Attributes:
        name: Name of the model.
        settings: Settings, sorted by their parameters.
        references: Rows of real images.
        conclusion: Sentence about the setting with the lowest KID and its significance.
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
class ExperimentComparison:
    versions: list[Listed]
    models: list[ChangedModel]
    unchanged: list[str]
    metrics: list[Metric]


@dataclass(frozen=True)
class SettingSample:
    setting: str
    picture: EncodedImage


@dataclass(frozen=True)
class Sheet:
    """Sample grids of one model and seed; ``same_latents`` if all are of the same latents."""

    seed: str
    same_latents: bool
    samples: list[SettingSample]


def comparison(versions: Sequence[Version]) -> ExperimentComparison:
    """Compare versions: parameters that differ, and metrics of the models that differ."""
    keys = differing(versions)
    names = dict.fromkeys(name for version in versions for name in version.metrics)
    models = [_model(name, versions) for name in names]
    return ExperimentComparison(
        [
            Listed(v.name, v.state, {k: v.params.get(k, MISSING) for k in keys if v.params})
            for v in versions
        ],
        [model for model in models if model],
        [name for name, model in zip(names, models, strict=True) if not model],
        columns({f"{v.name} {name}": v.metrics[name] for v in versions for name in v.metrics}),
    )


def sheets(
    comparison: ExperimentComparison, versions: Sequence[Version], max_pixels: int, limit: int
) -> dict[str, list[Sheet]]:
    """Sample grids of each model in a comparison, grouped by seed.

    Args:
        comparison: Comparison of the versions.
        versions: Versions that were compared.
        max_pixels: Limit of a grid; larger ones are left out without decoding them.
        limit: Limit for the size of all images together, in bytes.
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
    result = []
    for seed, of_seed in grids.items():
        samples = []
        for setting, file in of_seed.items():
            try:
                image = decode(file, max_pixels)
            except ImageError:
                continue
            samples.append(SettingSample(setting, picture(image, SIDE, limit // count)))
        result.append(Sheet(seed, same_latents, samples))
    return result


def differing(versions: Iterable[Version]) -> list[str]:
    """Keys of parameters that differ between versions, without those of the report."""
    tables = [version.params for version in versions if version.params]
    keys = dict.fromkeys(key for params in tables for key in params)
    return [
        key
        for key in keys
        if not key.startswith("report.") and len({p.get(key, MISSING) for p in tables}) > 1
    ]


def _relevant(versions: Iterable[Version], model: str) -> list[str]:
    """Differing parameters that affect a model, except for the seed."""
    own = f"models.{model}."
    return [
        key
        for key in differing(versions)
        if key != SEED and (key.startswith(own) or not key.startswith("models."))
    ]


def _model(name: str, versions: Sequence[Version]) -> ChangedModel | None:
    """Compare a model over all versions; None if it is the same in all finished ones."""
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
    rows = compare({str(n): _means(of_group) for n, of_group in enumerate(runs)}, best)
    settings = [
        Setting(
            replace(row, name=_label(group[0], keys)),
            _deviations(of_group),
            len(of_group),
            [version.name for version in group],
        )
        for row, of_group, group in zip(rows, runs, groups.values(), strict=True)
    ]
    return ChangedModel(name, settings, _references(measured, name), conclusion(settings))


def _runs(versions: Iterable[Version], model: str) -> list[Values]:
    """Metrics of distinct runs; versions with equal seed and metrics count once."""
    distinct = {
        (v.params.get(SEED), *sorted(v.metrics[model].items())): v.metrics[model] for v in versions
    }
    return list(distinct.values())


def _references(versions: Sequence[Version], model: str) -> list[Setting]:
    """Rows of real images at the resolutions of a model."""
    key = f"models.{model}.resolution"
    resolutions = list(dict.fromkeys(v.params[key] for v in versions if key in v.params))
    rows = []
    for resolution in resolutions:
        tables = [v.reference[resolution] for v in versions if resolution in v.reference]
        for name in dict.fromkeys(row for table in tables for row in table):
            of_row = [table[name] for table in tables if name in table]
            distinct = list({tuple(sorted(row.items())): row for row in of_row}.values())
            end = f", {resolution} px" if len(resolutions) > 1 else ""
            row = Row(REAL.get(name, name) + end, True, _means(distinct), frozenset())
            rows.append(Setting(row, _deviations(distinct), len(distinct), []))
    return rows


def _columns(runs: Iterable[Values]) -> dict[str, list[float]]:
    table = {m.key: [run[m.key] for run in runs if m.key in run] for m in COMPARED}
    return {key: values for key, values in table.items() if values}


def _means(runs: Sequence[Values]) -> dict[str, float]:
    return {key: statistics.fmean(values) for key, values in _columns(runs).items()}


def _deviations(runs: Sequence[Values]) -> dict[str, float]:
    table = _columns(runs)
    return {key: statistics.stdev(values) for key, values in table.items() if len(values) > 1}


def _label(version: Version, keys: Sequence[str]) -> str:
    """Format the values of parameters under their shortest unique names: "dropout 0.5"."""

    def ends(key: str) -> list[str]:
        parts = key.split(".")
        return [".".join(parts[n:]) for n in reversed(range(len(parts)))]

    counts = Counter(end for key in keys for end in ends(key))
    names = (next((end for end in ends(key) if counts[end] == 1), key) for key in keys)
    values = (version.params.get(key, MISSING) for key in keys)
    return ", ".join(map(" ".join, zip(names, values, strict=True))) or "All"


def _order(version: Version, keys: Sequence[str]) -> list[tuple[float, str]]:
    """Sort key by the values of parameters: numbers by size, then text."""

    def sortable(value: str) -> tuple[float, str]:
        try:
            return float(value), ""
        except ValueError:
            return float("inf"), value

    return [sortable(version.params.get(key, MISSING)) for key in keys]


def conclusion(settings: Iterable[Setting]) -> str:
    """Describe which setting has the lowest KID, and whether its lead is significant.

    Returns:
        A sentence; empty if there are fewer than two settings with a KID.
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
        return f"{lead} With a single seed this may be chance: run more, with -S seed=2."
    if not (best.deviations[KID] or second.deviations[KID]):
        return f"{lead} All runs of each are equal, so that nothing can be tested: run more seeds."
    from scipy.stats import ttest_ind_from_stats

    tested = ttest_ind_from_stats(
        *(v for s in (best, second) for v in (s.row.values[KID], s.deviations[KID], s.runs)),
        equal_var=False,
    )
    test = f"Welch's t-test, p = {tested.pvalue:.2g}"
    if tested.pvalue < SIGNIFICANT:
        return f"{lead} The difference is significant ({test})."
    return f"{lead} The difference is not significant ({test}): run more seeds."
