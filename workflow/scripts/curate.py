"""Apply the manual list and the rules; split into train and holdout by cluster."""

import sys
from collections import Counter
from pathlib import Path

from prelude import begin

params = begin()

import pandas as pd

from ganloom import curate

DATA = Path("data")


def main() -> None:
    manifest = pd.read_csv(DATA / "manifest.csv", dtype=str, keep_default_na=False)
    clusters = pd.read_csv(DATA / "clusters.csv")
    pictures = curate.pictures(manifest, clusters)
    decisions = manual_decisions(set(manifest.sha256) - {""})
    fetched = {picture.sha256 for picture in pictures}
    for decision in decisions:
        if decision.sha256 not in fetched:
            print(
                f"warning: {params.curate.list}.csv:{decision.line}: "
                f"{decision.sha256[:12]} is a candidate, but was not fetched",
                file=sys.stderr,
            )

    reasons = curate.drop_reasons(pictures, decisions, params.curate)
    counts = Counter(curate.kind(reason) for reason in reasons.values())
    dropped = ", ".join(f"{n} {kind}" for kind, n in counts.most_common()) or "nothing"
    kept = [picture for picture in pictures if picture.sha256 not in reasons]
    if not kept:
        limits = {
            "too small": f"curate.min_side is {params.curate.min_side} px",
            "blank": f"curate.min_contrast is {params.curate.min_contrast:g}",
        }
        ways = [f"; {limit}: lower it in params.yaml" for k, limit in limits.items() if k in counts]
        sys.exit(f"error: no picture is left of {len(pictures)}; dropped: {dropped}{''.join(ways)}")

    clusters_and_classes = ((p.cluster, p.label) for p in kept)
    share = params.curate.holdout
    held_out = curate.holdout(clusters_and_classes, share, params.seed)
    for warning in curate.class_warnings(pictures, kept, held_out, share):
        print(f"warning: {warning}", file=sys.stderr)
    rows = [(p.sha256, p.label, "holdout" if p.cluster in held_out else "train") for p in kept]
    write("kept.csv", rows, ["sha256", "label", "split"])
    write("dropped.csv", list(reasons.items()), ["sha256", "reason"])
    print(
        f"kept {len(kept)} of {len(pictures)} pictures, {len(held_out)} of their groups held out; "
        f"dropped: {dropped}"
    )


def manual_decisions(known: set[str]) -> list[curate.Decision]:
    if params.curate.list is None:
        return []
    try:
        return curate.read_list(DATA / "curation" / f"{params.curate.list}.csv", known)
    except curate.CurationError as error:
        sys.exit(f"error: {error}")


def write(name: str, rows: list[tuple[str, ...]], columns: list[str]) -> None:
    table = pd.DataFrame(rows, columns=columns).sort_values("sha256")
    table.to_csv(DATA / name, index=False, lineterminator="\n")


if __name__ == "__main__":
    main()
