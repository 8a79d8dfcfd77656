"""Comparison of experiments: tables in the terminal, and a page with samples."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganloom.cli.common import Commands, new_file

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from ganloom.metrics.catalogue import Metric
    from ganloom.report.experiments import ChangedModel, ExperimentComparison

# Limit for all images of a page together, so that it can be sent by e-mail.
PAGE_BYTES = 8_000_000
# Limit of a sample grid, checked before it is decoded.
MAX_PIXELS = 50_000_000
LAYOUT: dict[str, Any] = {"box": None, "pad_edge": False, "padding": (0, 2, 0, 0)}


def add(commands: Commands) -> None:
    """Add the command to a parser."""
    compare = commands.add_parser(
        "compare", help="compare parameters, metrics and samples of experiments"
    )
    compare.add_argument(
        "experiments",
        nargs="*",
        metavar="EXPERIMENT",
        help="a name, a branch, a tag, a commit or `workspace` "
        "(the workspace and all experiments of HEAD)",
    )
    compare.add_argument(
        "--html", type=Path, metavar="FILE", help="also write a page with samples and all metrics"
    )
    compare.add_argument("--force", action="store_true", help="replace the file if it exists")
    compare.set_defaults(run=_compare)


def _compare(options: argparse.Namespace) -> None:
    if options.html:
        new_file(options.html, [".html"], force=options.force)
    from rich.console import Console

    from ganloom.report.experiments import comparison, sheets
    from ganloom.report.page import page
    from ganloom.report.revisions import ExperimentError, versions_in_any_state

    try:
        versions = versions_in_any_state(Path(), options.experiments)
    except ExperimentError as error:
        sys.exit(str(error))
    compared = comparison(versions)
    _print(compared, Console(highlight=False, markup=False))
    if options.html:
        pictures = sheets(compared, versions, MAX_PIXELS, PAGE_BYTES)
        text = page("compare.html.j2", comparison=compared, sheets=pictures)
        options.html.write_text(text, encoding="utf-8")
        print(f"Open {options.html}")


def _print(comparison: ExperimentComparison, console: Console) -> None:
    """Print a comparison as tables that fit the width of the terminal."""
    from rich.table import Table

    table = Table(**LAYOUT)
    for name in ("experiment", "state", "parameters that differ"):
        table.add_column(name, overflow="fold")
    for version in comparison.versions:
        values = ", ".join(f"{key} {value}" for key, value in version.differences.items())
        table.add_row(_text(version.name), _text(version.state or "finished"), _text(values))
    console.print(table)
    for model in comparison.models:
        console.print()
        console.print(_metrics(model, [m for m in comparison.metrics if m.shown == "key"]))
        if model.conclusion:
            console.print(_text(model.conclusion))
    if comparison.unchanged:
        console.print()
        console.print(_text(f"The same in all versions: {', '.join(comparison.unchanged)}"))


def _metrics(model: ChangedModel, metrics: list[Metric]) -> Table:
    from rich.table import Table

    table = Table(**LAYOUT)
    table.add_column(_text(model.name).plain, overflow="fold", min_width=12)
    table.add_column("runs", justify="right")
    for metric in metrics:
        arrow = "↓" if metric.better == "lower" else "↑"
        table.add_column(f"{metric.name} {arrow}", justify="right")
    for setting in model.settings + model.references:
        row = setting.row
        cells = (
            _text(setting.words(metric.key), "bold" if metric.key in row.best else "")
            for metric in metrics
        )
        name = _text(row.name, "italic" if row.is_reference else "")
        table.add_row(name, str(setting.runs), *cells)
    return table


def _text(words: str, style: str = "") -> Text:
    """Text for a terminal, without control characters."""
    from rich.text import Text

    return Text("".join(c if c.isprintable() else "\ufffd" for c in words), style)
