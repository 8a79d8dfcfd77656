"""Check params.yaml and the paths it names before anything is spent on it."""

import sys
from pathlib import Path

from prelude import begin

params = begin()

from ganloom import sources


def main() -> None:
    problems = []
    for name, spec in params.sources.items():
        try:
            sources.require_path(name, spec)
        except sources.SourceError as error:
            problems.append(f"error: {error}")
    if problems:
        sys.exit("\n".join(problems))
    checked = Path("data/.checked")
    checked.parent.mkdir(exist_ok=True)
    checked.write_text("params.yaml can be used\n")
    print("params.yaml can be used")


if __name__ == "__main__":
    main()
