"""Warm-up: transfer to the second phase, and resumption after a kill."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from test_training import Killed, contents, model, slices

from ganloom import models, params
from ganloom.training import checkpoint, loop, warm_up
from ganloom.training.state import TrainingState

__all__ = ["slices"]

PLAIN = model().discriminator.model_dump()
RESNET: dict[str, Any] = {"kind": "resnet", "channels": 4}


def spec(kimg: float = 0.08, **changes: Any) -> params.Model:
    before = {
        "kimg": kimg,
        "batch": 4,
        "discriminator": PLAIN,
        "objective": {"kind": "hinge"},
        "optimizer": model().optimizer.model_dump(),
        "diffaugment": [],
    }
    return model(**{"discriminator": RESNET, "warm_up": before} | changes)


def run(folder: Path, slices: Path, whole: params.Model) -> Path:
    warm_up.train(
        "tiny",
        whole,
        params.Train(ticks=2, grid=2),
        seed=1,
        threads=1,
        slices=slices,
        out=folder / "out",
        work=folder / "work",
    )
    return folder / "out"


def first_parts(folder: Path) -> list[Path]:
    return sorted((folder / "work/warm-up").iterdir())


def test_training_continues_from_the_warm_up(tmp_path: Path, slices: Path) -> None:
    # Such a slow average stays where it begins, unless its beginning counts for nothing.
    out = run(tmp_path, slices, spec(ema_kimg=1e9))
    (before,) = first_parts(tmp_path)
    found, expected = (load_file(p / "generator.safetensors") for p in (out, before))
    assert found.keys() == expected.keys()
    for key, value in found.items():
        assert torch.equal(value, expected[key]), key
    judge = load_file(out / "discriminator.safetensors")
    assert judge.keys() != load_file(before / "discriminator.safetensors").keys()
    assert json.loads((out / "run.json").read_text())["warm_up"]["kimg"] == 0.08


def test_warm_up_is_repeated_only_if_it_changes(tmp_path: Path, slices: Path) -> None:
    models.networks(RESNET["kind"])  # which the first training loads, and each knows its code by
    undisturbed = contents(run(tmp_path, slices, spec()))
    (before,) = first_parts(tmp_path)
    begun = (before / "run.json").stat().st_mtime_ns
    assert contents(run(tmp_path, slices, spec(objective={"kind": "hinge"}))) != undisturbed
    assert contents(run(tmp_path, slices, spec())) == undisturbed
    assert first_parts(tmp_path) == [before]
    assert (before / "run.json").stat().st_mtime_ns == begun
    later: dict[str, Any] = {
        "feature_matching": {"weight": 1.0, "images": 2},
        "patch_matching": {"weight": 1.0},
    }
    run(tmp_path, slices, spec(**later))
    assert first_parts(tmp_path) == [before]
    run(tmp_path, slices, spec(kimg=0.04))
    assert len(first_parts(tmp_path)) == 2


def test_warm_up_fingerprint_covers_its_network_code(
    tmp_path: Path, slices: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"ganloom.nets.{spec().generator.kind}"
    monkeypatch.delitem(sys.modules, name)  # as in a process that has just begun
    known, fingerprint = [], checkpoint.fingerprint

    def spied(*args: Any) -> str:
        known.append(name in sys.modules)
        return fingerprint(*args)

    monkeypatch.setattr(checkpoint, "fingerprint", spied)
    run(tmp_path, slices, spec())
    assert known == [True, True, True]


def test_diverged_warm_up_is_not_used(
    tmp_path: Path, slices: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed = contents(run(tmp_path / "a", slices, spec()))
    finite = TrainingState.finite
    monkeypatch.setattr(TrainingState, "finite", lambda state: state.step < 20 and finite(state))
    for _ in range(2):  # the same again, however often the command is repeated
        with pytest.raises(loop.DivergedError, match=r"warm_up: .* last good state"):
            run(tmp_path / "b", slices, spec())
    assert not (tmp_path / "b/out").exists()
    monkeypatch.undo()
    assert contents(run(tmp_path / "b", slices, spec())) == undisturbed
    assert [path.name for path in (tmp_path / "b/work").iterdir()] == ["warm-up"]


@pytest.mark.parametrize("part", [1, 2])
def test_kill_in_either_phase_changes_nothing(
    part: int, tmp_path: Path, slices: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed = contents(run(tmp_path / "a", slices, spec()))
    write, calls = loop._write, iter(range(1, 9))

    def dies(*args: Any) -> None:
        if next(calls) == part:
            raise Killed
        write(*args)

    monkeypatch.setattr(loop, "_write", dies)
    with pytest.raises(Killed):
        run(tmp_path / "b", slices, spec())
    monkeypatch.undo()
    out = run(tmp_path / "b", slices, spec())
    # The folder of the first part is a parameter of the second, but nothing of it is stored.
    assert contents(out) == undisturbed
    (before,) = first_parts(tmp_path / "b")
    resumed = [json.loads((p / "run.json").read_text())["resumed"] for p in (before, out)]
    assert resumed == [int(part == 1), int(part == 2)]
