"""The report: what a run read, made and measured, as one HTML page that needs nothing else.

The modules beside this one turn the files of the stages into plain values; the template lays them
out.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ganloom import params
from ganloom.report import cloths, collection, experiments, models, reproduction
from ganloom.report.page import page
from ganloom.report.tables import read_json
from ganloom.report.versions import WORKSPACE, versions

# Of the pictures of all experiments together.
EXPERIMENT_BYTES = 500_000


def build(
    project: Path,
    about: params.Report,
    specs: Mapping[str, params.Model],
    fetch: params.Fetch,
) -> str:
    """Make the page of a finished run.

    Args:
        project: The folder that holds ``params.yaml``, ``data`` and ``results``.
        about: Headline and introduction.
        specs: The models to show; results of others are ignored.
        fetch: Its limit of pixels holds for the originals and experiments shown.

    Raises:
        ExperimentError: an experiment that is to be shown cannot be read.
    """
    compared, sheets = None, {}
    if about.experiments:  # first of all: an unknown name is found before the rest is read
        found = versions(project, [WORKSPACE, *about.experiments])
        compared = experiments.comparison(found)
        sheets = experiments.sheets(compared, found, fetch.max_pixels, EXPERIMENT_BYTES)
    metrics = {name: read_json(project / f"results/metrics/{name}.json") for name in specs}
    reference = read_json(project / "results/metrics/reference.json")
    shown = {
        name: models.model(
            project,
            name,
            spec,
            metrics[name],
            reference.get(str(spec.resolution), {}),
            models=len(specs),
        )
        for name, spec in specs.items()
    }
    warnings = {
        name: read_json(project / f"results/metrics/{name}/protocol.json").get("warnings", [])
        for name in specs
    }
    return page(
        "template.html.j2",
        about=about,
        collection=collection.collection(project, fetch.max_pixels),
        models=list(shown.values()),
        first=shown[models.first(shown, metrics)],
        titles=models.titles(shown, metrics),
        metrics=models.columns(metrics),
        comparisons=models.comparisons(shown, metrics, reference, warnings),
        experiments=compared,
        sheets=sheets,
        enlarger=cloths.enlarger(project, specs),
        reproduction=reproduction.reproduction(project),
    )
