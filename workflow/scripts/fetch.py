"""Fetch all candidates: data/raw, data/manifest.csv and data/fetch_log.csv."""

import sys
import tempfile
from pathlib import Path

from prelude import begin

params = begin()

from tqdm import tqdm

from ganloom import sources
from ganloom.fetch import (
    LOG,
    MANIFEST,
    Job,
    LostError,
    by_host,
    failures,
    fetch,
    merge,
    repeated,
    require_reached,
    unread,
)
from ganloom.images.shards import ShardError, Shards, pack_shards
from ganloom.sources import paths

RAW = Path("data/raw")
# Not an output, since engines delete outputs before a stage runs.
KEPT = Path("work/fetch")


def main() -> None:
    try:
        found = candidates()
        rows = merge(found)
    except sources.SourceError as error:
        sys.exit(f"error: {error}")
    if not rows:
        names = ", ".join(params.sources)
        sys.exit(
            f"error: no candidates: {names} found nothing; try other keywords in params.yaml, or "
            "search again: dvc repro --force search@NAME"
        )
    if len(rows) < len(found):
        print(f"{len(found) - len(rows)} candidates share their address with another: merged")
    RAW.mkdir(parents=True, exist_ok=True)
    # Inside the output, which DVC deletes, so that a kill leaves no files behind.
    with tempfile.TemporaryDirectory(dir=RAW) as spool:
        try:
            job = Job(
                specs=params.sources,
                limits=params.fetch,
                context=sources.Context(params.seed, params.network),
                spool=Path(spool),
                kept=KEPT,
                shards=Shards(Path(params.fetch.shards)) if params.fetch.shards else {},
            )
            with tqdm(total=len(rows), mininterval=1) as progress:
                results = fetch(rows, job, params.threads, progress.update)
            lost = require_reached(results, params.fetch)
        except ShardError as error:
            problem = paths.missing(str(params.fetch.shards), "folder") or error
            sys.exit(f"error: fetch.shards: {problem}")
        except (sources.SourceError, LostError) as error:
            sys.exit(f"error: {error}")
        except KeyboardInterrupt:
            sys.exit("interrupted; what came is kept in work/fetch: the same command goes on")
        pack_shards(RAW, Path(spool))
    manifest = [result.manifest for result in results]
    fetched = [row["sha256"] for row in manifest if not row["error"]]
    if not fetched:
        reasons = "; ".join(filter(None, [failures(manifest), unread(manifest)]))
        sys.exit(f"error: none of {len(rows)} candidates could be fetched: {reasons}")
    sources.write_rows(Path("data/manifest.csv"), manifest, MANIFEST)
    sources.write_rows(Path("data/fetch_log.csv"), [result.log for result in results], LOG)
    for line in [*by_host(results), *repeated(results), lost]:
        print(line)
    print(
        f"fetched {len(fetched)} of {len(rows)} candidates ({len(set(fetched))} different files); "
        f"failed: {failures(manifest) or 'none'}"
    )
    if left_out := unread(manifest):
        print(left_out)


def candidates() -> list[sources.Row]:
    """Read the candidates of all sources in params.yaml; files of removed sources are ignored."""
    rows = []
    for name in params.sources:
        path = Path(f"data/candidates/{name}.csv")
        if not path.is_file():
            sys.exit(f"error: {path}: no such file; the stage search@{name} makes it")
        rows += sources.read_rows(path, sources.CANDIDATE)
    return rows


if __name__ == "__main__":
    main()
