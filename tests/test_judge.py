"""Evaluation during training: alarms, checkpoint selection, and the split of the holdout."""

from __future__ import annotations

import copy
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
import safetensors.torch
import torch
from torch import Tensor

from ganloom import models, params, recipes
from ganloom.nets.inputs import Inputs
from ganloom.slices import split_holdout
from ganloom.training import checkpoint, ema, judge, loop
from ganloom.training.state import TrainingState, fresh

ROOT = Path(__file__).parents[1]
TINY = params.parse(recipes.values(ROOT / "recipes/tiny.yaml", ROOT))
MODEL = TINY.models["dcgan"].model_copy(update={"kimg": 0.12, "batch": 8, "ema_kimg": 0.02})
JUDGE = params.Judge(every=1, samples=16, keep="best", patience=None)
ORIGINALS = 12


def write_slices(folder: Path) -> Path:
    """40 training images and 48 held out: 4 of each original, whose number is their colour."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (40, 4, 4, 3), np.uint8)
    np.save(folder / "images.npy", pixels.repeat(4, 1).repeat(4, 2))
    sources = [f"t{n // 4}" for n in range(40)]
    index = {"image": np.arange(40), "symmetry": 0, "label": "all", "sha256": sources}
    pd.DataFrame(index).to_parquet(folder / "index.parquet")
    original = np.repeat(np.arange(ORIGINALS, dtype=np.uint8), 4)
    np.save(folder / "holdout.npy", np.broadcast_to(original[:, None, None, None], (48, 16, 16, 3)))
    held = {"sha256": [f"h{n:02d}" for n in original], "label": "all"}
    pd.DataFrame(held).to_parquet(folder / "holdout.parquet")
    return folder


@pytest.fixture
def slices(tmp_path: Path) -> Path:
    return write_slices(tmp_path / "slices")


def run(folder: Path, slices: Path, section: params.Judge | None = JUDGE, ticks: int = 3) -> Path:
    """Train in ``folder``; returns the outputs."""
    loop.train(
        "tiny",
        MODEL,
        params.Train(ticks=ticks, grid=2, judge=section),
        seed=1,
        threads=1,
        slices=slices,
        out=folder / "out",
        work=folder / "work",
    )
    return folder / "out"


def contents(out: Path) -> dict[str, bytes]:
    """All files except run.json, which contains times."""
    return {
        str(path.relative_to(out)): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name != "run.json"
    }


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def with_kids(monkeypatch: pytest.MonkeyPatch, *kids: float) -> None:
    """Set the KIDs of the evaluations in the next training."""
    values = iter(kids)
    monkeypatch.setattr(judge, "kid", lambda real, fake: next(values))
    for name in ("features", "remembered"):
        monkeypatch.setattr(judge, name, lambda pictures, *_: torch.rand(len(pictures), 4))


# --- alarms --------------------------------------------------------------------------------------


def history(**columns: Any) -> list[dict[str, float]]:
    """A row for each tick of 10 kimg; None in a column omits the value."""
    ticks = max(len(values) for values in columns.values())
    rows: list[dict[str, float]] = []
    for n in range(ticks):
        row = {name: values[n] for name, values in columns.items() if values[n] is not None}
        rows.append({"tick": n + 1, "kimg": 10.0 * (n + 1), **row})
    return rows


def looks(**columns: list[float]) -> list[dict[str, float]]:
    count = len(next(iter(columns.values())))
    usual = {"kid": [0.1] * count, "feature_distance": [1.0] * count, "recall": [0.5] * count}
    return history(**usual | columns)


def kinds(rows: list[dict[str, float]], **objective: Any) -> list[str]:
    model = MODEL
    if objective:
        model = params.Model.model_validate({**MODEL.model_dump(), "objective": objective})
    return [alarm.kind for alarm in judge.alarms(rows, model)]


def test_metrics_distinguish_collapsed_from_varied_samples() -> None:
    rng = torch.Generator().manual_seed(0)
    train, real, varied, noise = torch.randn(4, 64, 16, generator=rng)
    found = judge.measure(varied, train, real)
    assert found["feature_distance"] == pytest.approx(1, abs=0.1)
    assert found["recall"] > 0.3
    assert abs(found["kid"]) < 0.5
    assert kinds([{"tick": 1, "kimg": 10, **found}]) == []
    found = judge.measure(varied[:1] + 0.01 * noise, train, real)
    assert found["recall"] == 0
    assert found["kid"] > 1
    assert kinds([{"tick": 1, "kimg": 10, **found}]) == ["collapse"]


def test_judge_measures_equal_images_without_nan() -> None:
    same = torch.ones(16, 8)
    assert judge.measure(same, same, same)["feature_distance"] == 0


def test_alarm_states_time_end_and_advice() -> None:
    (alarm,) = judge.alarms(looks(feature_distance=[0.9, 0.3, 0.4, 0.8]), MODEL)
    assert (alarm.tick, alarm.kimg, alarm.over) == (2, 20, 40)
    assert alarm.sentence.startswith("At 20 kimg (tick 2), until 40 kimg: the mean distance")
    assert "diffaugment" in alarm.sentence
    (alarm,) = judge.alarms(looks(feature_distance=[0.9, 0.3]), MODEL)
    assert alarm.over is None
    assert alarm.sentence.startswith("At 20 kimg (tick 2): the mean")


def test_advice_depends_on_the_model() -> None:
    def advice(rows: list[dict[str, float]], **changes: Any) -> str:
        model = params.Model.model_validate(MODEL.model_dump() | changes)
        (alarm,) = judge.alarms(rows, model)
        return alarm.sentence.rpartition(": ")[2]

    D = MODEL.discriminator.model_dump() | {"norm": "none", "minibatch_stddev": False}
    collapsed = looks(feature_distance=[1.0, 0.2])
    assert advice(collapsed, discriminator=D, diffaugment=[]) == (
        "try diffaugment, minibatch_stddev, penalties.r1 or a lower optimizer.lr."
    )
    has_all = {
        "discriminator": D | {"minibatch_stddev": True},
        "diffaugment": ["color"],
        "penalties": {"r1": 1.0},
    }
    assert advice(collapsed, **has_all) == "try a lower optimizer.lr."
    lost = looks(recall=[0.5, 0.0, 0.0, 0.0])
    assert "diffaugment" in advice(lost, diffaugment=[])
    assert "diffaugment" not in advice(lost, diffaugment=["color"])
    won = history(loss_d=[0.0] * 4)
    hinge = {"kind": "hinge"}
    assert "penalties.r1" in advice(won, objective=hinge, discriminator=D)
    assert advice(won, objective=hinge, **has_all) == "try a lower optimizer.lr_discriminator."
    blind = history(logits_real=[0.3] * 4, logits_fake=[0.3] * 4)
    assert "less dropout" in advice(blind, discriminator=D | {"dropout": 0.5})
    assert "dropout" not in advice(blind, discriminator=D | {"dropout": 0.0})


def test_untrained_generator_may_lack_variety() -> None:
    young = MODEL.model_copy(update={"kimg": 60.0})
    assert judge.alarms(looks(feature_distance=[0.1, 0.4]), young) == []
    (alarm,) = judge.alarms(looks(feature_distance=[0.1, 0.4, 0.4]), young)
    assert alarm.tick == 3
    (alarm,) = judge.alarms(looks(feature_distance=[0.6, 0.4]), young)
    assert alarm.tick == 2


def test_a_training_of_a_few_steps_raises_no_alarm() -> None:
    rows = history(loss_d=[1.0] * 24, loss_g=[1.0] * 24)
    assert kinds(rows) == ["still"]
    short = [row | {"kimg": 0.25 * row["tick"] / 24} for row in rows]  # 31 steps of 8 images
    assert kinds(short) == []
    assert kinds([row | {"kimg": 4 * row["kimg"]} for row in short]) == ["still"]


def test_recall_alarm_requires_earlier_recall() -> None:
    assert kinds(looks(recall=[0.1, 0, 0, 0])) == ["recall"]
    assert kinds(looks(recall=[0.1, 0, 0])) == []
    assert kinds(looks(recall=[0, 0, 0, 0])) == []  # it never had any
    assert kinds(looks(recall=[0.1, 0, 0.1, 0])) == []


def test_blind_discriminator_raises_an_alarm() -> None:
    real, fake = [0.5, 0.30, 0.31, 0.29, 0.3], [0.1, 0.31, 0.30, 0.28, 0.3]
    assert kinds(history(logits_real=real, logits_fake=fake)) == ["blind"]
    assert kinds(history(logits_real=real[:-1], logits_fake=fake[:-1])) == []
    assert kinds(history(logits_real=real, logits_fake=[-1.0] * 5)) == []
    # A clipped critic's logits are small by nature.
    small = history(logits_real=real, logits_fake=fake)
    assert kinds(small, kind="hinge") == ["blind"]
    model = params.Model.model_validate(
        {
            **MODEL.model_dump(),
            "discriminator": {**MODEL.discriminator.model_dump(), "norm": "layer"},
            "objective": {"kind": "wasserstein", "critic_steps": 5},
            "penalties": {"clip": 0.01},
        }
    )
    assert judge.alarms(small, model) == []


def test_winning_discriminator_raises_an_alarm() -> None:
    noise = {"kind": "nonsaturating", "label_noise": 0.1}
    # The least cross-entropy to targets of mean 0.05 and 0.95.
    targets = torch.tensor([0.05, 0.95], dtype=torch.float64)
    least = float(torch.special.entr(targets).sum() * 2)
    nearly = [1.2, *[least + d for d in (0.01, 0.005, 0.015, 0.01)]]
    assert kinds(history(loss_d=nearly), **noise) == ["won"]
    assert kinds(history(loss_d=[0.01] * 4), kind="nonsaturating", label_noise=0.0) == ["won"]
    assert kinds(history(loss_d=[least] * 4), kind="nonsaturating", label_noise=0.0) == []
    assert kinds(history(loss_d=[0.0, 0.0, 0.1, 0.0]), kind="hinge") == []


def test_still_alarm_requires_both_losses_and_many_ticks() -> None:
    still, moving = [1.0, 1.0, 1.01, 1.0, 1.01, 1.0], [0.7, 0.8, 0.9, 0.8, 0.7, 0.9]
    assert kinds(history(loss_d=still, loss_g=still)) == ["still"]
    assert kinds(history(loss_d=still, loss_g=moving)) == []
    assert kinds(history(loss_d=moving, loss_g=still)) == []
    assert kinds(history(loss_d=still[1:], loss_g=still[1:])) == []
    # A tick without a step of G says nothing of its loss.
    assert kinds(history(loss_d=still, loss_g=[*still[:5], None])) == []


# --- a training that is looked at ----------------------------------------------------------------


def test_evaluations_do_not_change_the_training(tmp_path: Path, slices: Path) -> None:
    looked = run(tmp_path / "a", slices, params.Judge(**{**JUDGE.model_dump(), "keep": "last"}))
    alone = run(tmp_path / "b", slices, None)
    found, expected = contents(looked), contents(alone)
    news = {f"history/plots/metrics/{name}.tsv" for name in judge.METRICS}
    assert set(found) - set(expected) == news
    differing = {name for name in expected if found[name] != expected[name]}
    assert differing == {"judgement.json", "history/metrics.json"}
    assert "no train.judge" in read(alone / "judgement.json")["chosen"]["why"]


def test_evaluations_sample_classes_in_proportion(slices: Path, tmp_path: Path) -> None:
    """Fakes with other class proportions would have a high KID, however good they are."""
    index = pd.read_parquet(slices / "index.parquet")
    index["label"] = ["rare"] * 10 + ["usual"] * 30
    index.to_parquet(slices / "index.parquet")
    told = Inputs(4, classes=2)
    v = judge.prepare(JUDGE, slices, tmp_path / "features", 16, told, seed=2).v
    assert v[:, 4:].sum(dim=0).tolist() == [4, 12]


def test_evaluations_happen_at_intervals_and_at_the_end(tmp_path: Path, slices: Path) -> None:
    out = run(tmp_path, slices, JUDGE.model_copy(update={"every": 2}), ticks=5)
    table = pd.read_csv(out / "history/plots/metrics/kid.tsv", sep="\t")
    assert table["step"].tolist() == [2, 4, 5]
    seen = read(out / "judgement.json")["looks"]
    assert [look["tick"] for look in seen] == [2, 4, 5]
    assert [look["kid"] for look in seen] == table["kid"].tolist()


def test_checkpoint_with_the_lowest_kid_is_selected(
    tmp_path: Path, slices: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, dict[str, Tensor]]] = []
    states: list[TrainingState] = []

    def noted(*args: Any) -> TrainingState:
        states.append(fresh(*args))
        return states[0]

    monkeypatch.setattr(loop, "fresh", noted)
    look = judge.CheckpointJudge.evaluate

    def watched(self: judge.CheckpointJudge, average: Any) -> dict[str, float]:
        nets = states[0].networks
        seen.append({name: copy.deepcopy(net.state_dict()) for name, net in nets.items()})
        return look(self, average)

    monkeypatch.setattr(judge.CheckpointJudge, "evaluate", watched)
    with_kids(monkeypatch, 0.3, 0.1, 0.2)
    out = run(tmp_path, slices)

    def holds(file: str, player: str, when: int) -> bool:
        tensors = safetensors.torch.load_file(out / f"{file}.safetensors")
        return all(torch.equal(tensors[key], value) for key, value in seen[when][player].items())

    assert [holds("generator", "average", when) for when in range(3)] == [False, True, False]
    assert [holds("discriminator", "discriminator", when) for when in range(3)] == [
        False,
        True,
        False,
    ]
    assert holds("last", "average", 2)
    _, about = models.load_generator(out / "generator.safetensors", "cpu")
    _, last = models.load_generator(out / "last.safetensors", "cpu")
    assert (about.kimg, last.kimg, read(out / "run.json")["kimg"]) == (0.08, 0.12, 0.12)
    chosen = read(out / "judgement.json")["chosen"]
    assert chosen["kimg"] == 0.08
    assert chosen["why"] == (
        "It had the lowest KID of 3 evaluations, 0.1000; that of the last one, at 0.12 kimg, was "
        "0.2000."
    )


def test_a_collapsed_state_is_kept_only_if_all_are() -> None:
    rows = looks(kid=[0.3, 0.1, 0.2, 0.4], feature_distance=[1.0, 0.4, 0.6, 1.0])
    assert judge.best(rows) is rows[2]
    assert judge.best(rows[:2]) is rows[0]
    assert judge.best(rows[1:2]) is rows[1]
    everything = looks(kid=[0.3, 0.1, 0.2], feature_distance=[0.1, 0.2, 0.3])
    assert judge.best(everything) is everything[1]


def test_a_lower_kid_of_a_collapsed_state_is_reported(
    tmp_path: Path, slices: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = iter([(0.3, 1.0), (0.1, 0.4), (0.2, 1.0)])

    def measured(self: judge.CheckpointJudge, average: Any) -> dict[str, float]:
        kid, distance = next(values)
        return {"kid": kid, "feature_distance": distance, "recall": 0.5}

    monkeypatch.setattr(judge.CheckpointJudge, "evaluate", measured)
    chosen = read(run(tmp_path, slices) / "judgement.json")["chosen"]
    assert chosen == {
        "kimg": 0.12,
        "why": "It had the lowest KID of 3 evaluations, 0.2000, and is also the last one. KID was "
        "lower in 1, but the samples were alike (collapse).",
    }


def test_keep_last_selects_the_last_checkpoint(
    tmp_path: Path, slices: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_kids(monkeypatch, 0.3, 0.1, 0.2)
    out = run(tmp_path, slices, JUDGE.model_copy(update={"keep": "last"}))
    assert (out / "generator.safetensors").read_bytes() == (out / "last.safetensors").read_bytes()
    chosen = read(out / "judgement.json")["chosen"]
    assert chosen["kimg"] == 0.12
    assert "the lowest KID of 3 evaluations was at 0.08 kimg" in chosen["why"]


def test_patience_stops_the_training(
    tmp_path: Path, slices: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_kids(monkeypatch, 0.3, 0.2, 0.25, 0.2)
    out = run(tmp_path, slices, JUDGE.model_copy(update={"patience": 2}), ticks=5)
    judgement = read(out / "judgement.json")
    assert [look["kid"] for look in judgement["looks"]] == [0.3, 0.2, 0.25, 0.2]
    assert judgement["stopped"].startswith("Training ended at 0.096 of 0.12 kimg, after 2 ")
    assert judgement["chosen"]["kimg"] == 0.048
    assert read(out / "run.json")["kimg"] == 0.096


class Killed(BaseException):
    """Stands for SIGKILL: nothing in the project catches it."""


def test_killed_training_keeps_its_best_state(
    tmp_path: Path, slices: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after the best evaluation, after another one, and before the results are written."""
    kids = {1: 0.3, 2: 0.1, 3: 0.2, 4: 0.4}

    def measured(self: judge.CheckpointJudge, average: Any) -> dict[str, float]:
        return dict.fromkeys(judge.METRICS, kids[next(ticks)])

    def kill(after: int, victim: Any) -> Any:
        calls = iter(range(after))

        def dies(*args: Any) -> Any:
            if next(calls, None) is None:
                raise Killed
            return victim(*args)

        return dies

    section = JUDGE.model_copy(update={"patience": 2})
    monkeypatch.setattr(judge.CheckpointJudge, "evaluate", measured)
    ticks = iter(range(1, 6))
    undisturbed = contents(run(tmp_path / "a", slices, section, ticks=5))
    update, write = ema.update, loop._write
    for first, module, name, after in (
        (1, ema, "update", 7),  # steps 3, 6, 9, 12, 15 are ticks
        (3, ema, "update", 4),
        (4, loop, "_write", 0),
    ):
        ticks = iter(range(first, 6))
        monkeypatch.setattr(module, name, kill(after, update if module is ema else write))
        with pytest.raises(Killed):
            run(tmp_path / "b", slices, section, ticks=5)
        monkeypatch.setattr(ema, "update", update)
        monkeypatch.setattr(loop, "_write", write)
    ticks = iter(())  # nothing is left to look at
    shutil.rmtree(tmp_path / "b/out", ignore_errors=True)
    found = contents(run(tmp_path / "b", slices, section, ticks=5))
    assert found == undisturbed
    assert read(tmp_path / "b/out/judgement.json")["chosen"]["kimg"] == 0.048
    assert read(tmp_path / "b/out/run.json")["resumed"] == 3


def test_killed_training_has_the_same_evaluations(
    tmp_path: Path, slices: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed = contents(run(tmp_path / "a", slices))
    save, calls = checkpoint.save, iter(range(3))

    def dies(*args: Any) -> None:
        if next(calls, None) is None:
            raise Killed
        save(*args)

    monkeypatch.setattr(checkpoint, "save", dies)
    with pytest.raises(Killed):
        run(tmp_path / "b", slices)
    monkeypatch.undo()
    assert contents(run(tmp_path / "b", slices)) == undisturbed


# --- two halves ----------------------------------------------------------------------------------


def test_holdout_halves_are_disjoint_and_complete() -> None:
    sources = pd.Series([f"{n % 15:02d}" for n in range(60)])
    looked_at, unseen = split_holdout(sources, JUDGE, seed=1)
    assert not set(sources[looked_at]) & set(sources[unseen])
    assert sorted([*looked_at, *unseen]) == list(range(60))
    assert not np.array_equal(looked_at, split_holdout(sources, JUDGE, seed=2)[0])


def test_metrics_use_the_whole_holdout_without_evaluations() -> None:
    few = pd.Series([f"{n:02d}" for n in range(31)])  # halves of 15 and 16
    for sources, section in ((few, JUDGE), (few, None), (few[:0], JUDGE), (few.repeat(9), None)):
        looked_at, unseen = split_holdout(sources, section, seed=1)
        assert len(looked_at) == 0
        assert len(unseen) == len(sources)


def test_evaluations_use_only_one_half_of_the_holdout(
    slices: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = lambda images, *_: torch.from_numpy(images[:, 0, 0, 0])  # noqa: E731
    monkeypatch.setattr(judge, "remembered", first)
    told = models.inputs(MODEL, 1)
    section = JUDGE.model_copy(update={"samples": 40})
    ready = judge.prepare(section, slices, slices, 16, told, seed=1)
    sources = pd.read_parquet(slices / "holdout.parquet")["sha256"]
    _, unseen = split_holdout(sources, section, seed=1)
    seen = {f"h{number:02d}" for number in ready.real.tolist()}
    assert seen == set(sources) - set(sources[unseen])
    assert ready.against == (
        "24 images of one half of the holdout; the reported metrics are measured against the "
        "other half"
    )


def test_small_holdout_is_explained(slices: Path) -> None:
    np.save(slices / "holdout.npy", np.load(slices / "holdout.npy")[:20])
    pd.read_parquet(slices / "holdout.parquet")[:20].to_parquet(slices / "holdout.parquet")
    ready = judge.prepare(JUDGE, slices, slices, 16, models.inputs(MODEL, 1), seed=1)
    assert ready.real is ready.train
    assert ready.against == "16 training images, because the holdout is too small to be halved"


def test_metrics_use_the_other_half_of_the_holdout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Damaged images in the half used by evaluations change nothing; in the other half they do."""
    (tmp_path / "data").mkdir()
    slices = write_slices(tmp_path / "data/slices")
    out = tmp_path / "results/models/dcgan"
    run(tmp_path, slices)
    shutil.copytree(tmp_path / "out", out)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "prelude", SimpleNamespace(begin=lambda: TINY))
    sources = pd.read_parquet(slices / "holdout.parquet")["sha256"]
    halves = split_holdout(sources, TINY.train.judge, TINY.seed)
    pictures = np.load(slices / "holdout.npy")

    def figures(script: str, *arguments: str) -> Any:
        path = str(ROOT / "workflow/scripts" / f"{script}.py")
        monkeypatch.setattr(sys, "argv", [path, *arguments])
        runpy.run_path(path, run_name="__main__")
        name = arguments[0] if arguments else script
        return read(tmp_path / f"results/metrics/{name}.json")

    before = figures("evaluate", "dcgan"), figures("reference")
    assert before[0]["n"] == len(halves[1])
    assert read(tmp_path / "results/metrics/dcgan/protocol.json")["against"] == "half of holdout"
    for half, unchanged in zip(halves, (True, False), strict=True):
        spoilt = pictures.copy()
        spoilt[half] = np.random.default_rng(1).integers(0, 256, spoilt[half].shape)
        np.save(slices / "holdout.npy", spoilt)
        after = figures("evaluate", "dcgan"), figures("reference")
        assert [a == b for a, b in zip(after, before, strict=True)] == [unchanged, unchanged]
