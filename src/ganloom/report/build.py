"""The report: what a run read, made and measured, as one HTML page that needs nothing else.

The modules beside this one turn the files of the stages into plain values; the template lays them
out. All text from the data is hostile until proven otherwise: the template escapes it, addresses
become links only when they are http(s), and the page's own policy lets no request leave it.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path

import jinja2

from ganloom import params
from ganloom.credits import is_web_address
from ganloom.report import cloths, collection, experiments, models, reproduction
from ganloom.report.figures import counted, number
from ganloom.report.tables import read_json

HERE = Path(__file__).parent


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
    compared = None  # first of all: a name that is not known is found before the rest is read
    if about.experiments:
        compared = experiments.experiments(project, about.experiments, fetch.max_pixels)
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
    return _page(
        about=about,
        collection=collection.collection(project, fetch.max_pixels),
        models=list(shown.values()),
        first=shown[models.first(shown, metrics)],
        titles=models.titles(shown, metrics),
        metrics=models.columns(metrics),
        comparisons=models.comparisons(shown, metrics, reference, warnings),
        experiments=compared,
        enlarger=cloths.enlarger(project, specs),
        reproduction=reproduction.reproduction(project),
    )


def _page(**context: object) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.tests["web_address"] = is_web_address
    environment.filters |= {"number": number, "counted": counted}
    script = (HERE / "report.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template("template.html.j2").render(
        style=(HERE / "report.css").read_text(encoding="utf-8"),
        script=script,
        script_hash=f"sha256-{digest}",
        **context,
    )
