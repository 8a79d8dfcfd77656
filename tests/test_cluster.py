"""Jobs on another node: what the head does before and after them, with real DVC."""

from __future__ import annotations

import json
import re
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from projects import Project, assert_ran

import cluster
import stages

pytestmark = pytest.mark.engines


@pytest.fixture
def project(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.chdir(project.path)
    return project


def stage(project: Project, name: str) -> stages.Stage:
    project.snakemake("--dry-run")  # the stages are read
    return next(stage for stage in stages.recall() if stage.name == name)


def test_only_complete_and_current_results_are_recorded(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = cluster._dvc

    @contextmanager
    def locked_late(stage: stages.Stage) -> Iterator[Any]:
        with lock(stage) as found:
            project.edit("sample.fps", 12)
            yield found

    project.edit("sample.fps", 10)
    sample = stage(project, "sample@dcgan")
    left = project.path / "results/samples/dcgan/of_another_day.png"
    left.touch()
    project.run("python", "workflow/job.py", sample.name, sample.log, "--without-dvc")
    assert_ran(project, ["sample@dcgan"])
    assert not left.exists(), "DVC clears a stage's outputs, but is not asked here"

    grid = project.path / "results/samples/dcgan/grid.png"
    picture = grid.read_bytes()
    grid.unlink()
    with pytest.raises(cluster.ResultError, match="not seen here"):
        cluster.record(sample, 0)
    grid.write_bytes(picture)

    project.edit("sample.fps", 11)
    with pytest.raises(cluster.ResultError, match="changed while it ran"):
        cluster.record(sample, 0)
    project.edit("sample.fps", 10)
    with monkeypatch.context() as patch:
        patch.setattr(cluster, "_dvc", locked_late)
        assert not cluster.adopt(sample), "it was edited while this waited for the lock"
    project.edit("sample.fps", 10)
    assert cluster.adopt(sample)
    assert "up to date" in project.run("dvc", "status", sample.name)
    assert not cluster.adopt(sample), "its receipt is used up"


def test_only_cached_results_are_restored(finished: Project, project: Project) -> None:
    sample = stage(project, "sample@dcgan")
    remembered = project.params()["sample"]["fps"]
    project.edit("sample.fps", 10)
    assert not cluster.restore(sample)
    project.edit("sample.fps", remembered)
    assert cluster.restore(sample)
    assert "up to date" in project.run("dvc", "status")
    assert project.hashes() == finished.hashes()


def test_resources_of_one_model_override_those_of_the_stage(project: Project) -> None:
    project.edit("models.other", project.params()["models"]["dcgan"])
    asked = ["--set-resources", "train:mem_mb=24", "train_other:mem_mb=48"]
    shown = project.snakemake("--dry-run", "--quiet", "host", "--config", "force=train", *asked)
    found = re.findall(r"rule (train_\w+):(?:\n .*)*mem_mb=(\d+)", shown)
    assert sorted(found) == [("train_dcgan", "24"), ("train_other", "48")]


def test_failing_job_reports_why_on_full_disk_and_ascii_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    nothing: dict[str, Any] = {name: [] for name in ("dependencies", "params", "inputs", "files")}
    stage = stages.Stage(
        name="paint",
        command="echo no room for batik of the Çanakkale; exit 3",
        **nothing,
        directories=[],
        threads=1,
        stale=True,
        force=False,
        local=False,
        priority=0,
    )
    stages.STAMPS.mkdir(parents=True)
    stages.STAGES.write_text(json.dumps([asdict(stage)]))
    Path("params.yaml").write_text("{}")
    job = [sys.executable, str(Path(stages.__file__).with_name("job.py")), "paint", stage.log]
    done = subprocess.run(
        [*job, "--without-dvc"],
        env={"PATH": "/usr/bin:/bin", "PYTHONIOENCODING": "ascii"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("paint | no room for batik of the ?anakkale\n", "")
    assert done.returncode == 3
    assert Path(stage.failed).exists()
    assert not cluster._gave_up(stage), "its exit status could not be written"
