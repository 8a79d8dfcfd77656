"""Fetch all candidates: data/raw, data/manifest.csv and data/fetch_log.csv."""

import sys
from pathlib import Path

from prelude import begin

params = begin()

from tqdm import tqdm

from ganloom import fetch, tables
from ganloom.sources import Context, SourceError

DATA = Path("data")
KEPT = Path("work/fetch")  # not an output, since engines delete outputs before a stage runs


def main() -> None:
    try:
        listed = fetch.read_candidates(DATA / "candidates", params.sources)
        candidates = fetch.merge(listed)
        context = Context(params.seed, params.network)
        shards = fetch.open_shards(params.fetch)
        job = fetch.Job(params.sources, params.fetch, context, DATA / "raw", KEPT, shards)
        with tqdm(total=len(candidates), mininterval=1) as progress:
            results = fetch.fetch(candidates, job, params.threads, progress.update)
        lines = fetch.summary(listed, results, params.fetch)
    except (SourceError, fetch.LostError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted; downloads are kept in work/fetch: run the same command to continue")
    tables.write(DATA / "manifest.csv", tables.ManifestRow, (r.manifest for r in results))
    tables.write(DATA / "fetch_log.csv", tables.LogRow, (result.log for result in results))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
