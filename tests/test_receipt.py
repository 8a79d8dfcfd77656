"""Receipts of jobs on other nodes, and when they are not valid."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import receipt
import stages

ROOT = Path(__file__).parents[1]
STAGE = stages.Stage(
    name="train@dcgan",
    command="mkdir timeline && cp data/slices/images.npy model.bin",
    dependencies=["data/slices", "train.py"],
    params=["models.dcgan", "seed"],
    inputs=[],
    files=["model.bin"],
    directories=["timeline"],
    threads=1,
    stale=True,
    force=False,
    local=False,
    priority=0,
)


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> stages.Stage:
    """A stage in the current folder whose job has succeeded."""
    monkeypatch.chdir(tmp_path)
    for path in ("data/slices", "timeline"):
        Path(path).mkdir(parents=True)
    Path("params.yaml").write_text(
        "seed: 1\nthreads: 1\nmodels:\n  dcgan: {lr: 1}\n  other: {lr: 1}\n"
    )
    Path(".dvcignore").write_text("# What an engine leaves\n.snakemake_timestamp\n*.pyc\n")
    for path in ("data/slices/images.npy", "train.py", "model.bin", "timeline/1.png"):
        Path(path).write_text(path)
    receipt.write(STAGE, receipt.digest_inputs(STAGE))
    return STAGE


def edit(path: str, old: str, new: str) -> None:
    Path(path).write_text(Path(path).read_text().replace(old, new))


def test_undisturbed_result_is_complete_and_current(stage: stages.Stage) -> None:
    Path("timeline/.snakemake_timestamp").touch()
    Path("data/slices/__pycache__").mkdir()
    Path("data/slices/__pycache__/a.pyc").touch()
    edit("params.yaml", "threads: 1", "threads: 2")  # no parameter of this stage
    edit("params.yaml", "other: {lr: 1}", "other: {lr: 2}")
    assert receipt.is_whole(stage)
    assert receipt.is_current(stage)


@pytest.mark.parametrize(
    "change",
    [
        lambda: edit("params.yaml", "dcgan: {lr: 1}", "dcgan: {lr: 2}"),
        lambda: edit("params.yaml", "  dcgan: {lr: 1}", ""),
        lambda: edit("train.py", "train", "strain"),
        lambda: edit("data/slices/images.npy", "images", "imagos"),
        lambda: Path("data/slices/more.npy").touch(),
        lambda: Path("train.py").unlink(),
        lambda: Path(STAGE.receipt).unlink(),
    ],
)
def test_result_of_other_inputs_is_not_current(
    stage: stages.Stage, change: Callable[[], None]
) -> None:
    change()
    assert not receipt.is_current(stage)


def test_result_of_another_command_is_not_current(stage: stages.Stage) -> None:
    assert not receipt.is_current(dataclasses.replace(stage, command="exec true"))


@pytest.mark.parametrize(
    "change",
    [
        lambda: edit("model.bin", "model", "mode1"),
        lambda: Path("model.bin").unlink(),
        lambda: Path("timeline/1.png").unlink(),
        lambda: Path("timeline/2.png").touch(),
        lambda: Path(STAGE.receipt).unlink(),
    ],
)
def test_changed_result_is_not_complete(stage: stages.Stage, change: Callable[[], None]) -> None:
    change()
    assert not receipt.is_whole(stage)


@pytest.mark.parametrize("command", [STAGE.command, "exec false"])
def test_only_a_successful_job_leaves_a_receipt(stage: stages.Stage, command: str) -> None:
    found = dataclasses.replace(stage, command=command)
    stages.STAGES.write_text(json.dumps([dataclasses.asdict(found)]))
    job = subprocess.run(
        [sys.executable, ROOT / "workflow/job.py", stage.name, stage.log, "--without-dvc"],
        check=False,
    )
    assert (job.returncode == 0) == receipt.is_current(found) == receipt.is_whole(found)
    assert (job.returncode != 0) == Path(stage.failed).exists() == (command == "exec false")
