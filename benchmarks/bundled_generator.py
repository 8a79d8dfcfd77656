"""Make the generator that the studio shows before anything is trained here.

    python benchmarks/bundled_generator.py    # some ten minutes on one core, no network

It is the model `dcgan_diffaug` of recipes/kene.yaml (1.7 MB): the stages up to `train` run in a
temporary project, and the generator replaces src/ganloom/studio/kene.safetensors. The same machine
makes the same bytes.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "src/ganloom/studio/kene.safetensors"
NAME = "kene"


def main() -> None:
    yaml = YAML(typ="safe", pure=True)
    recipe = yaml.load(ROOT / "recipes/kene.yaml")
    recipe["models"] = {NAME: recipe["models"]["dcgan_diffaug"]}
    stages = ["check", "search kene", "fetch", "dedup", "curate", "augment", f"train {NAME}"]
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        yaml.dump(recipe, project / "params.yaml")
        (project / "data/curation").mkdir(parents=True)
        shutil.copytree(ROOT / "src", project / "src")
        for stage in stages:
            name, *arguments = stage.split()
            script = ROOT / f"workflow/scripts/{name}.py"
            command = [sys.executable, str(script), *arguments]
            subprocess.run(command, cwd=project, check=True)
        shutil.copy(project / f"results/models/{NAME}/generator.safetensors", OUT)
    print(f"{OUT}: {OUT.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
