"""Check params.yaml and the paths in it, before any work is done."""

import sys
from pathlib import Path

from prelude import begin

params = begin()

from ganloom.sources import paths


def main() -> None:
    if problems := paths.problems(params):
        sys.exit("\n".join(f"error: {problem}" for problem in problems))
    checked = Path("data/.checked")
    checked.parent.mkdir(exist_ok=True)
    checked.write_text("params.yaml can be used\n")
    print("params.yaml can be used")


if __name__ == "__main__":
    main()
