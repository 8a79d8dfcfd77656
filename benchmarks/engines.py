"""What the engines cost: `python benchmarks/engines.py [ROUNDS]`.

Runs the recipe `tiny` in a copy of this project, then times, in medians of ROUNDS (3 unless told):
both engines with nothing to do, and one short stage (`check`) by its script alone, by `dvc repro`
and by `snakemake`. The differences are what an engine adds to a stage.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ganloom import recipes

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
SNAKEMAKE = ["snakemake", "--cores", "2", "results/report.html"]
COMMANDS = {
    "dvc repro, nothing to do": ["dvc", "repro"],
    "snakemake, nothing to do": SNAKEMAKE,
    "check: its script alone": ["python", "workflow/scripts/check.py"],
    "check: dvc repro": ["dvc", "repro", "--single-item", "--force", "check"],
    "check: snakemake": [*SNAKEMAKE, "--config", "force=check"],
}


def main(rounds: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder) / "project"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(project)], check=True)
        (project / "params.yaml").write_text(
            recipes.whole(ROOT / "recipes/tiny.yaml", ROOT), encoding="utf-8"
        )
        print(f"{'snakemake, every stage':28}{seconds(project, SNAKEMAKE):6.1f} s")
        for name, command in COMMANDS.items():
            times = [seconds(project, command) for _ in range(rounds)]
            print(f"{name:28}{statistics.median(times):6.1f} s")


def seconds(project: Path, command: list[str]) -> float:
    environment = os.environ | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    begun = time.perf_counter()
    done = subprocess.run(
        command, cwd=project, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    return time.perf_counter() - begun


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
