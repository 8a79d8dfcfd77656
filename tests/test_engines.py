"""Snakemake and DVC on one DAG: real engines and stages with tiny images and networks.

Each test checks which stage commands ran, and the resulting ``dvc.lock``. The cases are those in
which other ways of combining the two engines fail (docs/engines.md). test_portability.py checks
that both give the same bytes from scratch.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from projects import DATA, EVERYTHING, MODELS, REPORT, Project, assert_ran, picture
from ruamel.yaml import YAML

pytestmark = pytest.mark.engines


def engine(name: str) -> Callable[[Project], str]:
    return {"snakemake": Project.snakemake, "dvc": Project.repro}[name]


ENGINES = ["snakemake", "dvc"]
BOTH_ORDERS = [ENGINES, ENGINES[::-1]]
EACH = pytest.mark.parametrize("name", ENGINES)


def test_unchanged_project_runs_nothing(project: Project) -> None:
    for _ in range(2):
        assert "Nothing to be done" in project.snakemake()
        project.repro()
    assert_ran(project, [])


def test_edit_runs_dependents_in_one_engine_and_nothing_in_the_other(
    project: Project,
) -> None:
    def dropout() -> set[str]:
        project.edit("models.dcgan.discriminator.dropout", 0.5)
        return {"check", "report"} | MODELS

    def source_file() -> set[str]:
        with (project.path / "src/ganloom/sampling/generate.py").open("a") as file:
            file.write("# edited\n")
        return {m for m in MODELS if not m.startswith("train")}  # same bytes: no new report

    def catalogue() -> set[str]:
        path = project.path / "src/ganloom/metrics/catalogue.py"
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace("KID-lite2 was", "The KID was"), encoding="utf-8")
        return {"evaluate@dcgan", "reference", "report"}

    def image_file() -> set[str]:
        picture(project.path / "pictures" / "0.png", 99)
        return EVERYTHING - {"check", "search@kene"}

    def curation_list() -> set[str]:
        sha256 = next(
            line.split(",")[0]
            for line in (project.path / "data/kept.csv").read_text().splitlines()
            if line.endswith("train")
        )
        with (project.path / "data/curation/mine.csv").open("a") as file:
            file.write(f"{sha256},drop,too plain\n")
        return EVERYTHING - (DATA - {"curate", "augment"})

    # Sections that may be missing are part of a command, not of `params`.
    def cloth_and_enlarger() -> set[str]:
        project.edit("weave.drift", 0.25)
        project.edit("enlarge.kimg", 0.3)
        return {"check", "enlarger", "weave@dcgan", "report"}

    def no_enlarger() -> set[str]:
        parameters = project.params()
        del parameters["enlarge"], parameters["weave"]
        YAML().dump(parameters, project.path / "params.yaml")
        return {"check", "enlarger", "weave@dcgan", "report"}

    def seed() -> set[str]:
        project.edit("seed", 2)
        return EVERYTHING

    # The engines take turns in who is first.
    edits = (
        *(dropout, source_file, catalogue, image_file, curation_list),
        *(cloth_and_enlarger, no_enlarger, seed),
    )
    for edit, (first, second) in zip(edits, itertools.cycle(BOTH_ORDERS), strict=False):
        expected = edit()
        engine(first)(project)
        assert sorted(project.ran()) == sorted(expected), edit.__name__
        engine(second)(project)
        assert project.ran() == [], edit.__name__


@pytest.mark.parametrize("command", ["snakemake pictures", "dvc repro sample weave"])
def test_pictures_target_leaves_out_metrics(project: Project, command: str) -> None:
    project.edit("models.dcgan.discriminator.dropout", 0.5)
    said = project.run(*command.replace("snakemake", "snakemake --cores 2").split())
    pictures = {"check", "train@dcgan", "sample@dcgan", "weave@dcgan"}
    assert_ran(project, pictures)
    for folder in ("results/samples", "results/animations", "results/cloths"):
        assert folder in said
    project.snakemake()
    assert_ran(project, {"report"} | MODELS - pictures)


@EACH
def test_touched_files_run_nothing(project: Project, name: str) -> None:
    for path in project.path.rglob("*"):
        if path.is_file() and not {".git", ".dvc", ".snakemake"} & set(path.parts):
            path.touch()
    engine(name)(project)
    assert_ran(project, [])


@EACH
def test_edit_is_noticed_after_the_clock_was_set_back(project: Project, name: str) -> None:
    ahead = 2 * 24 * 3600 * 10**9
    for path in project.path.rglob("*"):
        status = path.lstat()
        times = (status.st_atime_ns + ahead, status.st_mtime_ns + ahead)
        os.utime(path, ns=times, follow_symlinks=False)
    project.edit("report.title", "Another title")
    engine(name)(project)
    assert_ran(project, {"check", "report"})
    assert "Another title" in (project.path / REPORT).read_text()


@EACH
def test_deleted_outputs_are_restored_from_the_cache(project: Project, name: str) -> None:
    before = project.hashes()
    for path in ("data/slices", "results"):
        shutil.rmtree(project.path / path)
    (project.path / "data/kept.csv").unlink()
    engine(name)(project)
    assert_ran(project, [])
    assert project.hashes() == before
    assert (project.path / REPORT).exists()


def test_earlier_revision_or_parameters_need_no_training(project: Project, tmp_path: Path) -> None:
    before = project.hashes()
    project.edit("models.dcgan.discriminator.dropout", 0.5)
    project.snakemake()
    project.commit("More dropout")
    project.ran()

    for first, second in BOTH_ORDERS:
        copy = project.copy(tmp_path / f"{first} first")
        copy.run("git", "checkout", "-q", "HEAD~1")
        copy.run("dvc", "checkout")
        engine(first)(copy)
        engine(second)(copy)
        assert_ran(copy, [])
        assert copy.hashes() == before

        copy.run("git", "checkout", "-q", "-")
        copy.run("dvc", "checkout")
        copy.edit("models.dcgan.discriminator.dropout", 0.0)
        engine(first)(copy)
        assert not {name for name in copy.ran() if name.startswith("train")}
        assert copy.hashes() == before
        engine(second)(copy)
        assert_ran(copy, [])


def test_adding_or_removing_a_model_runs_only_its_stages(project: Project, tmp_path: Path) -> None:
    project.edit("models.third", project.params()["models"]["dcgan"])
    project.repro()
    assert_ran(project, {"check", "report"} | {m.replace("dcgan", "third") for m in MODELS})
    assert "third" in (project.path / REPORT).read_text()
    project.snakemake()
    assert_ran(project, [])

    for first, second in BOTH_ORDERS:
        copy = project.copy(tmp_path / f"{first} first")
        copy.edit("models.third", None)  # these parameters were checked before
        engine(first)(copy)
        assert_ran(copy, {"report"})
        assert "third" not in (copy.path / REPORT).read_text()
        assert not (copy.path / "results/models/third").exists()
        engine(second)(copy)
        assert_ran(copy, [])


def test_failing_stage_stops_only_its_dependents_and_is_reported_last(project: Project) -> None:
    project.edit("models.other", project.params()["models"]["dcgan"])
    project.edit("models.dcgan.optimizer.lr", 1.0e30)
    for suffix in ("log", "failed"):  # of another day
        (project.path / f"results/logs/train@third.{suffix}").write_text("1")
    output = project.snakemake(fails=True)
    assert "train@third" not in output
    others = {m.replace("dcgan", "other") for m in MODELS}
    assert_ran(project, {"check", "train@dcgan"} | others)
    assert "train@dcgan failed" in output
    assert "is not finite" in output.split("train@dcgan failed")[-1]

    project.edit("models.dcgan.optimizer.lr", 3.0e-4)
    project.snakemake()
    assert_ran(project, {"check", "report"})
    project.repro()
    assert_ran(project, [])


def model_hashes(project: Project) -> dict[str, str]:
    return {path: h for path, h in project.hashes().items() if "results/models" in path}


@pytest.fixture(scope="module")
def undisturbed(finished: Project, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Result of a longer training."""
    project = finished.copy(tmp_path_factory.mktemp("undisturbed") / "project")
    project.edit("train.ticks", 8)
    project.repro("train@dcgan")
    return model_hashes(project)


@pytest.mark.parametrize("victim", ["group", "snakemake", "dvc"])
def test_killed_training_resumes_to_the_same_bytes(
    project: Project, undisturbed: dict[str, str], victim: str
) -> None:
    project.edit("train.ticks", 8)
    snakemake = ["snakemake", "--cores", "2", "results/models/dcgan/generator.safetensors"]
    command = ["dvc", "repro", "train@dcgan"] if victim == "dvc" else snakemake
    with project.training(*command) as process:
        if victim == "group":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()

    project.run(*snakemake)
    run = json.loads((project.path / "results/models/dcgan/run.json").read_text())
    assert run["resumed"] == 1
    assert model_hashes(project) == undisturbed
    assert not list((project.path / "work").rglob("*.safetensors"))


def test_zombie_process_holds_no_lock(project: Project) -> None:
    table = project.path / ".dvc/tmp/rwlock"
    dead = subprocess.Popen(["true"])
    os.waitid(os.P_PID, dead.pid, os.WEXITED | os.WNOWAIT)  # it has ended, but stays a zombie
    out = str(project.path / "results/models/dcgan/generator.safetensors")
    holder = {"pid": dead.pid, "cmd": "dvc repro"}
    table.write_text(json.dumps({"write": {out: holder}, "read": {}}))
    assert "Nothing to be done" in project.snakemake()
    assert json.loads(table.read_text())["write"] == {}
    dead.wait()


@EACH
def test_running_stage_is_named_with_its_process(project: Project, name: str) -> None:
    project.edit("train.ticks", 4)
    commands = {
        "dvc": ["dvc", "repro", "train@dcgan"],
        "snakemake": ["snakemake", "--cores", "2", "results/models/dcgan/generator.safetensors"],
    }
    with project.training(*commands[name]) as process:
        by_snakemake, by_dvc = project.snakemake(fails=True), project.repro(fails=True)
        os.killpg(process.pid, signal.SIGKILL)
    assert (running := re.search(r"train@dcgan is running \(pid (\d+)\)", by_snakemake))
    assert f"blocked by:\n  (PID {running[1]})" in by_dvc
    for output in (by_snakemake, by_dvc):
        assert "Traceback" not in output


def test_edit_during_a_stage_makes_it_fail(project: Project) -> None:
    project.edit("train.ticks", 4)
    with project.training("dvc", "repro", "train@dcgan") as process:
        project.edit("models.dcgan.optimizer.lr", 1.0e-4)
        project.edit("invert.steps", 21)  # not of this stage
        project.release("train@dcgan")
        assert process.stdout is not None
        output = process.stdout.read()
        assert process.wait()
    assert "error: models.dcgan: edited while train@dcgan ran" in output
    project.ran()
    project.repro("train@dcgan")
    assert "train@dcgan" in project.ran()


def test_outputs_of_a_concurrent_engine_are_preserved(project: Project) -> None:
    project.edit("train.ticks", 4)
    samples = "results/samples/dcgan"
    grid = project.path / samples / "grid.png"
    with project.training("snakemake", "--cores", "2", samples) as process:
        # As if `dvc repro --single-item sample@dcgan` were at work since.
        table = project.path / ".dvc/tmp/rwlock"
        held = json.loads(table.read_text())
        held["write"][str(grid.parent)] = {"pid": os.getpid(), "cmd": "dvc repro"}
        table.write_text(json.dumps(held))
        grid.write_text("half a picture")
        project.release("train@dcgan")
        assert process.stdout is not None
        output = process.stdout.read()
        assert process.wait()
    assert f"blocked by:\nsample@dcgan |   (PID {os.getpid()})" in output
    assert grid.read_text() == "half a picture"


@EACH
def test_data_source_is_never_deleted(project: Project, name: str) -> None:
    """DVC knows the files of `dvc add`, but they may be in no cache."""
    project.run("git", "rm", "-rq", "--cached", "pictures")
    project.run("dvc", "add", "pictures")
    project.snakemake()
    assert_ran(project, [])
    pictures = project.path / "pictures"
    picture(pictures / "0.png", 99)
    picture(pictures / "new.png", 100)
    before = {path: path.read_bytes() for path in pictures.iterdir()}
    engine(name)(project)
    assert_ran(project, EVERYTHING - {"check", "search@kene"})
    assert {path: path.read_bytes() for path in pictures.iterdir()} == before
    assert "Nothing to be done" in project.snakemake()
    project.repro()
    assert_ran(project, [])


@EACH
def test_invalid_parameters_stop_both_engines_at_once(project: Project, name: str) -> None:
    project.edit("models.dcgan.discriminator.dropuot", 0.5)
    run = project.snakemake if name == "snakemake" else project.repro
    output = run(fails=True)
    assert "did you mean 'dropout'" in output
    assert "Traceback" not in output
    assert set(project.ran()) <= {"check"}


def test_missing_git_repository_is_reported_by_both_engines(project: Project) -> None:
    shutil.rmtree(project.path / ".git")
    by_snakemake, by_dvc = project.snakemake(fails=True), project.repro(fails=True)
    assert "git init && git add . && git commit -m Start" in by_snakemake
    assert "is not a git repository" in by_dvc
    for output in (by_snakemake, by_dvc):
        assert "Traceback" not in output


@pytest.fixture
def apart(project: Project) -> Project:
    """A project whose source is also accessible from DVC's temporary copies."""
    pictures = project.path.parent / "pictures"
    shutil.move(project.path / "pictures", pictures)
    project.edit("sources.mine.path", str(pictures))
    project.repro()
    project.commit("Absolute path")
    project.ran()
    return project


def test_queued_experiment_runs_its_recorded_code_and_parameters(apart: Project) -> None:
    project, rates = apart, ["0.0", "0.5"]
    project.run(
        "dvc", "exp", "run", "--queue", "-S",
        f"models.dcgan.discriminator.dropout={','.join(rates)}",
    )  # fmt: skip
    # What is edited after the queue was filled must not run.
    with (project.path / "src/ganloom/objectives.py").open("a") as file:
        file.write("raise RuntimeError('the code of another day')\n")
    project.run("dvc", "exp", "run", "--run-all")
    ran = project.ran()
    assert sorted(name for name in ran if name.startswith("train")) == ["train@dcgan"]

    shown = json.loads(project.run("dvc", "exp", "show", "--json"))
    experiments = [e for commit in shown for e in commit.get("experiments") or []]
    found = {}
    for experiment in experiments:
        data = experiment["revs"][-1]["data"]
        models = data["params"]["params.yaml"]["data"]["models"]
        rate = models["dcgan"]["discriminator"]["dropout"]
        measured = data["metrics"]["results/key_metrics/dcgan.json"]["data"]["dcgan"]
        found[str(rate)] = measured["kid_lite2"]
    assert sorted(found) == rates
    assert len(set(found.values())) == len(rates)

    project.run("git", "checkout", "-q", "--", "src")
    best = next(e["name"] for e in experiments if _dropout(e) == 0.5)
    project.run("dvc", "exp", "apply", best)
    assert project.params()["models"]["dcgan"]["discriminator"]["dropout"] == 0.5
    project.snakemake()
    project.repro()
    assert_ran(project, [])


def _dropout(experiment: Any) -> float:
    data = experiment["revs"][-1]["data"]
    return data["params"]["params.yaml"]["data"]["models"]["dcgan"]["discriminator"]["dropout"]


@pytest.mark.parametrize("flags", [[], ["--temp"]])
def test_experiment_with_one_changed_parameter(apart: Project, flags: list[str]) -> None:
    project = apart
    key = "models.dcgan.discriminator.dropout"
    project.run("dvc", "exp", "run", *flags, "-n", "more-dropout", "-S", f"{key}=0.5")
    assert_ran(project, {"check", "report"} | MODELS)
    assert "0.5" in project.run("dvc", "params", "diff", "HEAD", "more-dropout")
    assert "kid_lite2" in project.run("dvc", "metrics", "diff", "HEAD", "more-dropout")
    plots = json.loads(project.run("dvc", "plots", "diff", "HEAD", "more-dropout", "--json"))
    assert any("loss_d" in name for name in plots["data"])


def test_relative_path_in_a_temporary_copy_is_explained(project: Project) -> None:
    shutil.move(project.path / "pictures", project.path.parent / "pictures")
    project.edit("sources.mine.path", "../pictures")
    project.repro()
    output = project.run(
        "dvc", "exp", "run", "--temp", "-S", "models.dcgan.discriminator.dropout=0.5", fails=True
    )
    assert "sources.mine.path" in output
    assert "absolute path" in output
