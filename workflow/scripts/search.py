"""List the candidates of one source: data/candidates/<source>.csv."""

import sys
import warnings
from pathlib import Path

from prelude import begin

params = begin()

from ganloom import sources, tables


def main(name: str) -> None:
    if name not in params.sources:
        sys.exit(f"error: no source {name!r} in params.yaml, only {', '.join(params.sources)}")
    context = sources.Context(params.seed, params.network)
    warnings.simplefilter("always", sources.SourceWarning)
    warnings.showwarning = lambda message, *_: print(f"warning: {message}", file=sys.stderr)
    try:
        found = sources.candidates(name, params.sources[name], context)
    except sources.SourceError as error:
        sys.exit(f"error: {error}")
    tables.write(Path(f"data/candidates/{name}.csv"), tables.Candidate, found)
    print(f"{name}: {len(found)} candidates")


if __name__ == "__main__":
    main(sys.argv[1])
