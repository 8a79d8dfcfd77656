"""The table of metrics in docs/metrics.md."""

from __future__ import annotations

from ganloom.metrics.catalogue import METRICS, Metric

BEGIN = "<!-- Generated from src/ganloom/metrics/catalogue.py by `ganloom docs`. -->\n\n"
END = "\n<!-- End of the generated table. -->\n"


def with_table(page: str) -> str:
    """Replace the table in ``docs/metrics.md``, between ``BEGIN`` and ``END``, by a current one.

    Raises:
        ValueError: The page does not have both marks.
    """
    begin, end = page.index(BEGIN) + len(BEGIN), page.index(END)
    lines = [
        "| metric | key | better | measures | does not measure | unreliable |",
        "| --- | --- | --- | --- | --- | --- |",
        *map(_row, METRICS),
    ]
    return page[:begin] + "".join(f"{line}\n" for line in lines) + page[end:]


def _row(metric: Metric) -> str:
    cells = (
        f"**{metric.name}**" if metric.shown == "key" else metric.name,
        f"`{metric.key}`",
        metric.better or "",
        metric.meaning,
        metric.ignores,
        metric.unreliable,
    )
    return f"| {' | '.join(cells)} |"
