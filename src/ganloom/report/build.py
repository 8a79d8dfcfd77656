"""The report on a run, as one self-contained HTML page.

The other modules of this package convert the outputs of the stages to values for the template.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ganloom import params
from ganloom.report import cloths, experiments, models, originals, reproduction
from ganloom.report.page import page
from ganloom.report.reading import read_json
from ganloom.report.revisions import WORKSPACE, versions

# Limit for the images of all experiments together.
EXPERIMENT_BYTES = 500_000


def build(
    project: Path,
    about: params.Report,
    specs: Mapping[str, params.Model],
    fetch: params.Fetch,
) -> str:
    """Create the report on a finished run.

    Args:
        project: Folder with ``params.yaml``, ``data`` and ``results``.
        about: Title, introduction and experiments to show.
        specs: Models to show; results of others are ignored.
        fetch: Settings with the limit of pixels of a decoded image.

    Raises:
        ExperimentError: If an experiment cannot be read.
    """
    compared, sheets = None, {}
    if about.experiments:  # first, so that an unknown name fails early
        runs = versions(project, [WORKSPACE, *about.experiments])
        compared = experiments.comparison(runs)
        sheets = experiments.sheets(compared, runs, fetch.max_pixels, EXPERIMENT_BYTES)
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
        collection=originals.collection(project, fetch.max_pixels),
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
