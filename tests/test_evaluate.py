"""The stages evaluate and reference: outputs and reproducibility."""

from __future__ import annotations

import json
import runpy
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from ganloom import evaluation, params, recipes
from ganloom.metrics.catalogue import KEY_METRICS, METRICS, find
from ganloom.training import loop

ROOT = Path(__file__).parents[1]
TINY = params.parse(recipes.values(ROOT / "recipes/tiny.yaml", ROOT))
SIDE = 16
MODEL = TINY.models["dcgan"].model_copy(
    update={"resolution": SIDE, "kimg": 0.064, "batch": 8, "condition": "onehot"}
)
# Numbers that other stages and other people's scripts read.
CONTRACT = {
    *("kid_lite2", "fd_lite2", "swd", "precision", "recall", "density", "coverage"),
    *("authenticity", "kimg"),
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of two classes after eight steps, with its training images."""
    project = tmp_path_factory.mktemp("project")
    slices = project / "data/slices"
    slices.mkdir(parents=True)
    rng = np.random.default_rng(1)
    for name, count, first in (("images", 40, "t"), ("holdout", 64, "h")):
        pixels = rng.integers(0, 256, (count, 4, 4, 3), np.uint8).repeat(4, 1).repeat(4, 2)
        label = np.array(["dark", "light"] * (count // 2))
        pixels[label == "dark"] //= 4
        np.save(slices / f"{name}.npy", pixels)
        table = pd.DataFrame({"sha256": [f"{first}{n:02d}" for n in range(count)], "label": label})
        table = table.assign(image=np.arange(count), symmetry=0)
        # A class that only unseen pictures have: no model can be asked for it.
        table.loc[table["sha256"].between("h00", "h15"), "label"] = "strange"
        table.to_parquet(slices / ("index.parquet" if name == "images" else "holdout.parquet"))
    loop.train(
        "tried",
        MODEL,
        params.Train(ticks=1, grid=2),
        seed=1,
        threads=1,
        slices=slices,
        out=project / "results/models/tried",
        work=project / "work",
    )
    return project


def stage(
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    *arguments: str,
    settings: params.Params = TINY,
) -> None:
    script = str(ROOT / "workflow/scripts" / f"{name}.py")
    monkeypatch.chdir(project)
    monkeypatch.setitem(sys.modules, "prelude", SimpleNamespace(begin=lambda: settings))
    monkeypatch.setattr(sys, "argv", [script, *arguments])
    runpy.run_path(script, run_name="__main__")


def written(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_evaluate_writes_all_results_with_or_without_feature_cache(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = []
    for _ in range(2):
        stage(project, monkeypatch, "evaluate", "tried")
        stage(project, monkeypatch, "reference")
        results.append(written(project / "results/metrics"))
    shutil.rmtree(project / "work/features")
    stage(project, monkeypatch, "evaluate", "tried")
    stage(project, monkeypatch, "reference")
    assert results[0] == results[1] == written(project / "results/metrics")

    def read(name: str) -> Any:
        return json.loads(results[0][name])

    numbers, samples = read("tried.json"), TINY.evaluate.samples
    assert set(numbers) > CONTRACT
    assert all(isinstance(value, int | float) for value in numbers.values())
    assert {"kid_gap", "logit_auc", "path_length", "class_score_holdout"} < set(numbers)
    (shown,) = written(project / "results/key_metrics").values()  # as a table of DVC has it
    assert json.loads(shown) == {"tried": {m.key: numbers[m.key] for m in KEY_METRICS}}
    real = read("reference.json")[str(SIDE)]["holdout"]
    assert set(real) >= CONTRACT - {"kimg"}
    # The catalogue describes every number, and nothing that is not measured.
    described = {find(key).key for key in [*numbers, *real]}
    assert described | {"fid_inception", "kid_inception"} == {m.key for m in METRICS}
    classes = read("tried/classes.json")
    assert [row["name"] for row in classes] == ["dark", "light"]
    assert sum(row["asked"] for row in classes) == samples
    assert 0 < sum(row["holdout"] for row in classes) < numbers["n"]  # without the strange ones
    assert numbers["class_score_holdout"] > 0.9
    protocol = read("tried/protocol.json")
    assert set(protocol["measures"]) >= {
        *(CONTRACT - {"kimg"}), "authenticity_pixels", "duplicates", "duplicates_pixels",
        "kid_gap", "logit_auc", "path_length", "class_score",
    }  # fmt: skip
    assert any(f"computed from {numbers['n']} images" in words for words in protocol["warnings"])
    nearest = pd.read_csv(project / "results/metrics/tried/nearest.csv")
    assert nearest["sample"].tolist() == list(range(samples))
    assert {*nearest["sha256"], *nearest["sha256_pixels"]} <= {f"t{n:02d}" for n in range(40)}
    neighbours = read("tried/neighbours.json")
    assert len(neighbours) == TINY.evaluate.neighbours
    assert neighbours[0]["distance"] == nearest["distance"][neighbours[0]["sample"]]
    with Image.open(project / "results/metrics/tried/neighbours.png") as sheet:
        assert sheet.width % 4 == 0


def test_copies_are_matched_to_their_training_images(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A generator that returns training images is detected in features and in pixels."""
    copy = tmp_path / "copy"
    shutil.copytree(project, copy)
    images = np.load(copy / "data/slices/images.npy")
    monkeypatch.setattr(evaluation, "generate", lambda net, v: images[np.arange(len(v)) % 40])
    stage(copy, monkeypatch, "evaluate", "tried")
    numbers = json.loads((copy / "results/metrics/tried.json").read_text())
    # Features are compared with those of 32 of the 40, pixels with all.
    assert numbers["authenticity"] < 0.3
    assert numbers["authenticity_pixels"] == 0
    nearest = pd.read_csv(copy / "results/metrics/tried/nearest.csv")
    expected = [f"t{n % 40:02d}" for n in range(len(nearest))]
    assert nearest["sha256_pixels"].tolist() == expected
    assert nearest["sha256"].tolist() == expected
    assert nearest["distance_pixels"].max() == 0


@pytest.mark.parametrize("name", ["evaluate", "reference"])
def test_missing_inception_weights_are_reported_in_one_sentence(
    name: str, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, outside: list[str]
) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    asked = TINY.model_copy(
        update={
            "evaluate": TINY.evaluate.model_copy(update={"inception": True}),
            "network": TINY.network.model_copy(update={"attempts": 1}),
        }
    )
    with pytest.raises(
        SystemExit, match=r"error: Inception's weights cannot be downloaded: .*copy it"
    ):
        stage(project, monkeypatch, name, "tried", settings=asked)
    outside.clear()  # it may try, and is stopped
