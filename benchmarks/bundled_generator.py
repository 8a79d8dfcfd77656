"""Make the generator that the studio shows before anything is trained here.

    python benchmarks/bundled_generator.py    # four to ten minutes on one core, no network

It is the model `compact` of recipes/kene.yaml (0.8 MB). The stages to `train` run in a temporary
project. The generator replaces src/ganloom/studio/kene.safetensors; the same machine makes the same
bytes.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from pipeline import ROOT, SLICES, recipe, run

OUT = ROOT / "src/ganloom/studio/kene.safetensors"
NAME = "kene"


def main() -> None:
    parameters = recipe("kene")
    parameters["models"] = {NAME: parameters["models"]["compact"]}
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        run(project, parameters, [*SLICES, f"train {NAME}"])
        shutil.copy(project / f"results/models/{NAME}/generator.safetensors", OUT)
    print(f"{OUT}: {OUT.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
