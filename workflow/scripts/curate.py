"""Apply the manual list and the rules; split into train and holdout by cluster."""

import sys
from pathlib import Path

from prelude import begin

params = begin()

import pandas as pd

from ganloom import curate

DATA = Path("data")


def main() -> None:
    manifest = pd.read_csv(DATA / "manifest.csv", dtype=str, keep_default_na=False)
    pictures = curate.pictures(manifest, pd.read_csv(DATA / "clusters.csv"))
    candidates = set(manifest.sha256) - {""}
    try:
        decisions = curate.decisions(DATA / "curation", params.curate, candidates)
        warn(curate.unfetched(decisions, pictures, params.curate))
        found = curate.curate(pictures, decisions, params.curate, params.seed)
    except curate.CurationError as error:
        sys.exit(f"error: {error}")
    warn(found.warnings)
    found.kept.to_csv(DATA / "kept.csv", index=False, lineterminator="\n")
    found.dropped.to_csv(DATA / "dropped.csv", index=False, lineterminator="\n")
    print(found.summary)


def warn(warnings: list[str]) -> None:
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)


if __name__ == "__main__":
    main()
