"""Hashes of every recipe's models after three steps: `python benchmarks/model_hashes.py`.

Trains each model of each recipe on random images and prints the SHA-256 of its weights and of its
history. A refactoring of the training must leave every line as it was on the same machine:

    git stash; python benchmarks/model_hashes.py > before.txt
    git stash pop; python benchmarks/model_hashes.py | diff before.txt -
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from pathlib import Path

os.environ["TQDM_DISABLE"] = "1"

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import numpy as np
import pandas as pd

from ganloom import params, recipes
from ganloom.training import loop

ROOT = Path(__file__).resolve().parents[1]
STEPS = 3
BATCH = 4
CLASSES = 3
loop.CALIBRATION = 32  # few images: this is about equality, not about quality
SETTINGS = params.Train(ticks=1, grid=2)


def write_slices(folder: Path, resolution: int, count: int) -> None:
    """Random images with their index: what a training reads."""
    folder.mkdir()
    shape = (count, resolution, resolution, 3)
    np.save(folder / "images.npy", np.random.default_rng(0).integers(0, 256, shape, np.uint8))
    numbers = np.arange(count)
    index = {"image": numbers, "symmetry": numbers % 8, "label": (numbers % CLASSES).astype(str)}
    pd.DataFrame(index).to_parquet(folder / "index.parquet")


def hashes(name: str, model: params.Model, folder: Path) -> str:
    """The first digits of the SHA-256 of all weights and of the history."""
    write_slices(folder / "slices", model.resolution, 2 * BATCH)
    loop.train(
        name,
        model.model_copy(
            update={
                "batch": BATCH,
                "kimg": STEPS * BATCH / 1000,
                "init_from": None,
                "warm_up": None,
            }
        ),
        SETTINGS,
        seed=1,
        threads=1,
        slices=folder / "slices",
        out=folder / "out",
        work=folder / "work",
    )
    found = hashlib.sha256()
    for network in ("generator", "discriminator"):
        found.update((folder / "out" / f"{network}.safetensors").read_bytes())
    for file in sorted((folder / "out" / "history").rglob("*.*sv")):
        found.update(file.read_bytes())
    return found.hexdigest()[:16]


def main() -> None:
    for recipe in recipes.paths(ROOT):
        data = recipes.values(recipe, ROOT)
        data["network"]["contact"] = "mailto:someone@example.org"  # which some sources require
        for name, model in params.parse(data).models.items():
            with tempfile.TemporaryDirectory() as folder:
                print(recipe.stem, name, hashes(name, model, Path(folder)), flush=True)


if __name__ == "__main__":
    main()
