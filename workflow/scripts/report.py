"""Build the report: results/report.html."""

import sys
from pathlib import Path

from prelude import begin

params = begin()

from ganloom.report import leftovers
from ganloom.report.build import build
from ganloom.report.figures import counted
from ganloom.report.revisions import ExperimentError

REPORT = Path("results/report.html")
# A size limit of mail servers; images are encoded so that ten models stay below it.
LARGEST = 15_000_000


def main() -> None:
    for name in leftovers.remove(REPORT.parent, params.models):
        print(
            f"warning: {name} is not under `models` in params.yaml any more: its folders in "
            "results were removed. To get them back: put it there again as it was (git checkout "
            "params.yaml), then: dvc checkout"
        )
    try:
        page = build(Path(), params.report, params.models, params.fetch).encode()
    except ExperimentError as error:
        sys.exit(f"error: report.experiments: {error}")
    REPORT.write_bytes(page)
    print(f"{REPORT}: {counted(len(params.models), 'model')}, {len(page) / 1e6:.1f} MB")
    if len(page) > LARGEST:
        print(f"warning: larger than {LARGEST / 1e6:.0f} MB; show fewer models at a time")


if __name__ == "__main__":
    main()
