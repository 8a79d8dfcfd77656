"""Recipes: every model of each trains, small, on the few random pictures of this file."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from ruamel.yaml import YAML

from ganloom import models, params
from ganloom.training import loop

ROOT = Path(__file__).parents[1]

NAMES = {
    "animals", "batik", "bob_ross", "cifar10", "cifar10_cars", "digits", "dropout", "faces", "kene",
    "mnist", "mnist_infogan", "pokemon", "shipibo", "tiny",
}  # fmt: skip
# What makes a network large.
SMALL = {"channels": 4, "dense": 8, "first": 4, "hidden": 8, "latent": 8}


def recipe(name: str) -> Any:
    """The values of a recipe, with the one that only its user can give."""
    values = YAML(typ="safe").load(ROOT / "recipes" / f"{name}.yaml")
    values["network"]["contact"] = "user@example.org"
    return values


MODELS = [(name, model) for name in sorted(NAMES) for model in recipe(name)["models"]]


def test_every_recipe_is_here() -> None:
    assert {path.stem for path in (ROOT / "recipes").glob("*.yaml")} == NAMES


@pytest.mark.parametrize("name", sorted(NAMES))
def test_recipes_fit_the_schema(name: str) -> None:
    params.parse(recipe(name))


@pytest.mark.parametrize("name, model", MODELS)
def test_every_model_of_a_recipe_trains_for_two_ticks(
    name: str, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "CALIBRATION", 8)
    values = recipe(name)["models"][model]
    for part in ("generator", "discriminator"):
        values[part] |= {
            key: SMALL[key] for key in values[part].keys() & SMALL if values[part][key]
        }
    values |= {"kimg": 0.016, "batch": 4, "ema_kimg": 0.01}
    spec = params.Model.model_validate(values)

    slices = tmp_path / "slices"
    slices.mkdir()
    side = spec.resolution
    pixels = np.random.default_rng(0).integers(0, 256, (8, side, side, 3), np.uint8)
    np.save(slices / "images.npy", pixels)
    np.save(slices / "holdout.npy", pixels)
    labels = pd.DataFrame({"label": ["a", "b"] * 4, "sha256": [f"{n:064}" for n in range(8)]})
    labels.to_parquet(slices / "holdout.parquet")
    labels.assign(image=np.arange(8), symmetry=0).to_parquet(slices / "index.parquet")

    out = tmp_path / "out"
    loop.train(
        model,
        spec,
        params.Train(ticks=2, grid=2),
        seed=1,
        threads=1,
        slices=slices,
        out=out,
        work=tmp_path / "work",
    )
    net, about = models.load_generator(out / "generator.safetensors", "cpu")
    with torch.inference_mode():
        images = net(net.inputs.draw(3))
    assert images.shape == (3, 3, side, side)
    assert images.isfinite().all()
    assert about.classes == (["a", "b"] if spec.condition else [])


def test_what_was_written_by_hand_outlives_other_recipes(tmp_path: Path) -> None:
    for path in ("Makefile", "recipes"):
        (tmp_path / path).symlink_to(ROOT / path)
    mine = tmp_path / "params.yaml"

    def switch(name: str) -> None:
        subprocess.run(["make", "recipe", f"RECIPE={name}"], cwd=tmp_path, check=True)
        assert mine.read_bytes() == (ROOT / "recipes" / name).read_bytes()

    mine.write_text("first")
    switch("digits.yaml")
    switch("tiny.yaml")
    switch("tiny.yaml")
    mine.write_text("second")
    switch("digits.yaml")
    kept = {path.name: path.read_text() for path in tmp_path.glob("params.yaml.*")}
    assert kept == {"params.yaml.~1~": "first", "params.yaml.~2~": "second"}
