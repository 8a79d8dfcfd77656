"""List what one source offers: data/candidates/<source>.csv."""

import sys
from pathlib import Path

from prelude import begin

params = begin()

from ganloom import sources


def main(name: str) -> None:
    if name not in params.sources:
        sys.exit(f"error: no source {name!r} in params.yaml, only {', '.join(params.sources)}")
    try:
        rows = sources.candidates(name, params.sources[name], params.seed)
    except sources.SourceError as error:
        sys.exit(f"error: {error}")
    sources.write_rows(Path(f"data/candidates/{name}.csv"), rows, list(rows[0]))
    print(f"{name}: {len(rows)} candidates")


if __name__ == "__main__":
    main(sys.argv[1])
