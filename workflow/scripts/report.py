"""Build the report: results/report.html."""

import shutil
import sys
from pathlib import Path

from prelude import begin

params = begin()

from ganloom.report.build import build
from ganloom.report.figures import counted
from ganloom.report.versions import ExperimentError

REPORT = Path("results/report.html")
# A size limit of mail servers; images are encoded so that ten models stay below it.
LARGEST = 15_000_000


def main() -> None:
    remove_what_is_not_listed()
    try:
        page = build(Path(), params.report, params.models, params.fetch).encode()
    except ExperimentError as error:
        sys.exit(f"error: report.experiments: {error}")
    REPORT.write_bytes(page)
    print(f"{REPORT}: {counted(len(params.models), 'model')}, {len(page) / 1e6:.1f} MB")
    if len(page) > LARGEST:
        print(f"warning: larger than {LARGEST / 1e6:.0f} MB; show fewer models at a time")


def remove_what_is_not_listed() -> None:
    """Remove results of models that are not in params.yaml any more, and print how to restore them.

    They are in directories that this stage depends on, so its result would depend on former models.
    """
    removed = set()
    for folder in ("animations", "cloths", "inversions", "metrics", "models", "samples"):
        for path in Path("results", folder).iterdir():
            if path.is_dir() and path.name not in params.models:
                shutil.rmtree(path)
                removed.add(path.name)
            elif path.suffix == ".json" and path.stem not in {"reference", *params.models}:
                path.unlink()
    for name in sorted(removed):
        print(
            f"warning: {name} is not under `models` in params.yaml any more: its folders in "
            "results were removed. To get them back: put it there again as it was (git checkout "
            "params.yaml), then: dvc checkout"
        )


if __name__ == "__main__":
    main()
