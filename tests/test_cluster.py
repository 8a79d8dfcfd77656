"""What is done around a job on another node: real DVC, and a job run as it would be run there."""

from __future__ import annotations

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


def test_a_result_is_recorded_if_it_is_whole_and_of_the_present_parameters(
    project: Project,
) -> None:
    project.edit("sample.fps", 10)
    sample = stage(project, "sample@dcgan")
    project.run("python", "workflow/job.py", sample.name, sample.log, "--without-dvc")
    assert_ran(project, ["sample@dcgan"])

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
    assert cluster.adopt(sample)
    assert "up to date" in project.run("dvc", "status", sample.name)
    assert not cluster.adopt(sample), "its receipt is used up"


def test_what_was_run_before_is_restored_and_nothing_else(
    finished: Project, project: Project
) -> None:
    sample = stage(project, "sample@dcgan")
    remembered = project.params()["sample"]["fps"]
    project.edit("sample.fps", 10)
    assert not cluster.restore(sample)
    project.edit("sample.fps", remembered)
    assert cluster.restore(sample)
    assert "up to date" in project.run("dvc", "status")
    assert project.hashes() == finished.hashes()
