"""A model that is trained again or was removed is available in its last finished state."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from dvc.repo import Repo
from test_studio_pages import save_model

from ganloom.cli import main
from ganloom.images.shards import sha256
from ganloom.studio.generators import Generators
from ganloom.trained import Trained, trained

HOME = Path("results/models/animals")
FINISHED = "2026-11-28T20:15:00+00:00"


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """A model in DVC's cache whose files were deleted, as before a training."""
    monkeypatch.chdir(tmp_path)
    save_model(tmp_path, "animals")
    (HOME / "run.json").write_text(json.dumps({"finished": FINISHED}))
    found = (HOME / "generator.safetensors").read_bytes()
    outs = "".join(f"        - {HOME}/{name}\n" for name in ("generator.safetensors", "run.json"))
    Path("dvc.yaml").write_text(
        "stages:\n  train:\n    foreach: [animals]\n    do:\n      cmd: exit 1\n      outs:\n"
        + outs
    )
    Repo.init(no_scm=True).close()
    with Repo() as repo:
        repo.commit(force=True)
    shutil.rmtree(HOME)
    return found


def test_last_finished_model_is_used_and_named(
    weights: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    found = trained(Path())["animals"]
    assert found.generator.read_bytes() == weights
    assert found.finished == FINISHED
    main(["generate", "--model", "animals", "-n", "1", "--out", "out"])
    assert f"last finished training, of {FINISHED}" in capsys.readouterr().out
    (picture,) = Path("out").rglob("*.png")
    assert sha256(weights).encode() in picture.read_bytes()


def test_studio_lists_the_time_of_the_last_training(weights: bytes) -> None:
    generators = Generators(Path(), None)
    assert [(one["name"], one["former"]) for one in generators.listing()] == [
        ("animals", FINISHED),
        ("ganloom/kene", ""),
    ]
    assert generators.load("animals").digest == sha256(weights)


def test_new_training_replaces_the_last_state(weights: bytes) -> None:
    HOME.mkdir(parents=True)
    (HOME / "generator.safetensors").write_bytes(b"new")
    here = Trained(HOME / "generator.safetensors", HOME / "discriminator.safetensors")
    assert trained(Path()) == {"animals": here}


def test_model_missing_from_the_cache_is_not_listed(weights: bytes) -> None:
    shutil.rmtree(".dvc/cache")
    assert trained(Path()) == {}


@pytest.mark.parametrize(
    "text", ["<<<<<<< HEAD", "stages: 3", "stages: {train@a: {outs: [{}]}}", ""]
)
def test_damaged_dvc_lock_lists_no_models(weights: bytes, text: str) -> None:
    Path("dvc.lock").write_text(text)
    assert trained(Path()) == {}
