"""Fetch every candidate: data/raw, data/manifest.csv and data/fetch_log.csv."""

import sys
import tempfile
from pathlib import Path

from prelude import begin

params = begin()

from tqdm import tqdm

from ganloom import images, sources
from ganloom.fetch import LOG, MANIFEST, Job, failures, fetch

RAW = Path("data/raw")


def main() -> None:
    rows = candidates()
    RAW.mkdir(parents=True, exist_ok=True)
    # Inside the output, which DVC clears: nothing is left behind when this is killed.
    with tempfile.TemporaryDirectory(dir=RAW) as spool:
        context = sources.Context(params.seed, params.network)
        job = Job(params.sources, params.fetch, context, Path(spool))
        try:
            progress = tqdm(fetch(rows, job, params.threads), total=len(rows), mininterval=1)
            results = list(progress)
        except sources.SourceError as error:
            sys.exit(f"error: {error}")
        images.pack_shards(RAW, Path(spool))
    manifest = [result.manifest for result in results]
    fetched = [row["sha256"] for row in manifest if not row["error"]]
    if not fetched:
        sys.exit(f"error: none of {len(rows)} candidates could be fetched: {failures(manifest)}")
    sources.write_rows(Path("data/manifest.csv"), manifest, MANIFEST)
    sources.write_rows(Path("data/fetch_log.csv"), [result.log for result in results], LOG)
    print(
        f"fetched {len(fetched)} of {len(rows)} candidates ({len(set(fetched))} different files); "
        f"failed: {failures(manifest) or 'none'}"
    )


def candidates() -> list[sources.Row]:
    """The candidates of all sources in use, sorted by id; a removed source's file is ignored."""
    rows = []
    for name in params.sources:
        path = Path(f"data/candidates/{name}.csv")
        if not path.is_file():
            sys.exit(f"error: {path}: no such file; the stage search@{name} makes it")
        rows += sources.read_rows(path)
    return sorted(rows, key=lambda row: row["id"])


if __name__ == "__main__":
    main()
