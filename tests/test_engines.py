"""Snakemake and DVC on one DAG: real engines, real stages, tiny pictures and nets.

Every test asks which stage commands really ran, and what ``dvc.lock`` says afterwards. The cases
are those in which some other way of joining the two engines goes wrong (docs/design.md).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image
from ruamel.yaml import YAML

pytestmark = pytest.mark.engines

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
REPORT = "results/report.html"

DATA = {"check", "search@kene", "search@mine", "fetch", "dedup", "curate", "augment"}
MODELS = {"train@dcgan", "sample@dcgan", "evaluate@dcgan", "invert@dcgan"}
EVERYTHING = DATA | MODELS | {"reference", "report"}
# These hold times, or show them.
TIMED = {"data/fetch_log.csv", "results/report.html", "results/models/*/run.json"}


# Every Python process that starts imports this: stages are seen whoever starts them. A training
# that is to be killed waits before its third checkpoint, so that no kill comes too late.
SPY = """
import os, sys, time

script = next((a for a in sys.orig_argv[1:2] if "workflow/scripts/" in a), None)
if script:
    with open({folder!r} + "/ran", "a") as file:
        print("@".join([os.path.basename(script)[:-3], *sys.orig_argv[2:]]), file=file)

checkpoints = 0

def wait(event, arguments):
    global checkpoints
    if event == "os.rename" and str(arguments[1]).endswith("/state.safetensors"):
        checkpoints += 1
        while checkpoints > 2 and os.path.exists({folder!r} + "/wait"):
            open({folder!r} + "/waits", "a").close()
            time.sleep(0.01)

if script and os.path.exists({folder!r} + "/wait"):
    sys.addaudithook(wait)
"""


class Project:
    """A clone of this project with small parameters, and a record of the stages it runs."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._spy = path.parent / f"{path.name}-spy"
        self._spy.mkdir(exist_ok=True)
        (self._spy / "sitecustomize.py").write_text(SPY.format(folder=str(self._spy)))
        self.environment = {
            **{
                k: v for k, v in os.environ.items() if not k.startswith(("DVC_", "GIT_", "PYTEST_"))
            },
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(self._spy),
            "DVC_NO_ANALYTICS": "true",
            "SHELL": "/bin/sh",  # by which DVC runs a stage; dash stays between the two
        }

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Start a command in a process group of its own; both its streams come as one."""
        program, *arguments = command
        found = BIN / program
        return subprocess.Popen(
            [str(found) if found.exists() else program, *arguments],
            cwd=self.path,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )

    def run(self, *command: str, fails: bool = False) -> str:
        with self.start(*command) as process:
            output = process.communicate()[0]
        assert (process.returncode != 0) == fails, output
        return output

    def snakemake(self, *arguments: str, fails: bool = False) -> str:
        return self.run("snakemake", "--cores", "2", *(arguments or [REPORT]), fails=fails)

    def repro(self, *arguments: str, fails: bool = False) -> str:
        return self.run("dvc", "repro", *arguments, fails=fails)

    def ran(self) -> list[str]:
        """The stages run since the last time this was asked, in order."""
        log = self._spy / "ran"
        names = log.read_text().split("\n")[:-1] if log.exists() else []
        log.unlink(missing_ok=True)
        return names

    @contextmanager
    def training(self, *command: str) -> Iterator[subprocess.Popen[str]]:
        """Start a command and return when the training that it runs has two checkpoints and waits.

        Whatever is left of it on leaving goes on.
        """
        wait, waits = self._spy / "wait", self._spy / "waits"
        wait.touch()
        with self.start(*command) as process:
            while not waits.exists():
                try:
                    process.wait(0.05)
                except subprocess.TimeoutExpired:
                    continue
                pytest.fail("the training ended before its third checkpoint")
            yield process
            assert process.stdout is not None
            process.stdout.read()  # ends when the last process that holds it has died
        self.let_go()
        waits.unlink()

    def let_go(self) -> None:
        """Let a training that waits go on."""
        (self._spy / "wait").unlink(missing_ok=True)

    def edit(self, key: str, value: Any, file: str = "params.yaml") -> None:
        yaml = YAML()
        path = self.path / file
        data = yaml.load(path)
        *parents, last = key.split(".")
        section = data
        for parent in parents:
            section = section[parent]
        if value is None:
            del section[last]
        else:
            section[last] = value
        yaml.dump(data, path)

    def params(self) -> Any:
        return YAML(typ="safe").load(self.path / "params.yaml")

    def hashes(self) -> dict[str, str]:
        """Path -> hash of every output in ``dvc.lock`` that holds no times."""
        lock = YAML(typ="safe").load(self.path / "dvc.lock")
        return {
            out["path"]: out["md5"]
            for stage in lock["stages"].values()
            for out in stage["outs"]
            if not any(Path(out["path"]).match(pattern) for pattern in TIMED)
        }

    def commit(self, message: str) -> None:
        self.run("git", "add", ".")
        self.run("git", "commit", "-qm", message)

    def copy(self, path: Path) -> Project:
        shutil.copytree(self.path, path, symlinks=True)
        return Project(path)


def assert_ran(project: Project, expected: Iterable[str]) -> None:
    """Exactly these stages ran, each once."""
    assert sorted(project.ran()) == sorted(expected)


def new_project(path: Path) -> Project:
    """A clone of the working tree with the parameters of ``tiny`` and a folder of pictures."""
    path.mkdir(parents=True)
    files = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split("\0")
    for name in filter(None, files):
        if not name.startswith(("tests/", "docs/", "data/candidates/", "dvc.lock")):
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, path / name)
    shutil.copy(ROOT / "recipes" / "tiny.yaml", path / "params.yaml")

    project = Project(path)
    (path / "pictures").mkdir()
    for number in range(4):
        picture(path / "pictures" / f"{number}.png", number)
    project.edit("sources.kene.designs", 12)
    project.edit("models.dcgan_diffaug", None)
    project.edit("sources.mine", {"kind": "folder", "path": "pictures", "licence": "CC0-1.0"})
    (path / "data" / "curation" / "mine.csv").write_text("sha256,decision,reason\n")
    project.edit("curate.list", "mine")
    project.run("git", "init", "-q")
    project.run("git", "config", "user.email", "user@example.org")
    project.run("git", "config", "user.name", "User")
    project.commit("Start")
    return project


def picture(path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
    small.resize((96, 96), Image.Resampling.BICUBIC).save(path)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project that Snakemake has run from scratch, committed. Tests take copies of it."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    path = shared / "finished" / "project"
    with FileLock(shared / "finished.lock"):  # one for all workers
        if not path.exists():
            project = new_project(path.with_name("new"))
            project.snakemake()
            assert_ran(project, EVERYTHING)
            project.commit("Run")
            project.path.rename(path)
    return Project(path)


@pytest.fixture
def project(finished: Project, tmp_path: Path) -> Project:
    return finished.copy(tmp_path / "project")


def engine(name: str) -> Callable[[Project], str]:
    return {"snakemake": Project.snakemake, "dvc": Project.repro}[name]


ENGINES = ["snakemake", "dvc"]
BOTH_ORDERS = pytest.mark.parametrize("first, second", [ENGINES, ENGINES[::-1]])
EACH = pytest.mark.parametrize("name", ENGINES)


def test_dvc_makes_the_same_bytes_from_scratch_as_snakemake(
    finished: Project, tmp_path: Path
) -> None:
    other = new_project(tmp_path / "project")
    other.repro()
    assert_ran(other, EVERYTHING)
    assert other.hashes() == finished.hashes()


def test_with_nothing_changed_nothing_runs(project: Project) -> None:
    for _ in range(2):
        assert "Nothing to be done" in project.snakemake()
        project.repro()
    assert_ran(project, [])


@BOTH_ORDERS
def test_an_edit_runs_what_depends_on_it_in_one_engine_and_nothing_in_the_other(
    project: Project, first: str, second: str
) -> None:
    def dropout() -> set[str]:
        project.edit("models.dcgan.discriminator.dropout", 0.5)
        return {"check", "report"} | MODELS

    def source_file() -> set[str]:
        with (project.path / "src/ganloom/sampling/latents.py").open("a") as file:
            file.write("# edited\n")
        return {m for m in MODELS if not m.startswith("train")}  # same bytes: no new report

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
        return {"curate", "augment", "reference", "report"} | MODELS

    def seed() -> set[str]:
        project.edit("seed", 2)
        return EVERYTHING

    for edit in (dropout, source_file, image_file, curation_list, seed):
        expected = edit()
        engine(first)(project)
        assert sorted(project.ran()) == sorted(expected), edit.__name__
        engine(second)(project)
        assert project.ran() == [], edit.__name__


@EACH
def test_touching_every_file_runs_nothing(project: Project, name: str) -> None:
    for path in project.path.rglob("*"):
        if path.is_file() and not {".git", ".dvc", ".snakemake"} & set(path.parts):
            path.touch()
    engine(name)(project)
    assert_ran(project, [])


@EACH
def test_a_clock_that_was_set_back_hides_no_edit(project: Project, name: str) -> None:
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
def test_deleted_outputs_come_back_from_the_cache(project: Project, name: str) -> None:
    before = project.hashes()
    for path in ("data/slices", "results"):
        shutil.rmtree(project.path / path)
    (project.path / "data/kept.csv").unlink()
    engine(name)(project)
    assert_ran(project, [])
    assert project.hashes() == before
    assert (project.path / REPORT).exists()


@BOTH_ORDERS
def test_an_old_revision_and_old_parameters_need_no_training(
    project: Project, first: str, second: str
) -> None:
    before = project.hashes()
    project.edit("models.dcgan.discriminator.dropout", 0.5)
    engine(first)(project)
    project.commit("More dropout")
    project.ran()

    project.run("git", "checkout", "-q", "HEAD~1")
    project.run("dvc", "checkout")
    engine(first)(project)
    engine(second)(project)
    assert_ran(project, [])
    assert project.hashes() == before

    project.run("git", "checkout", "-q", "-")
    project.run("dvc", "checkout")
    project.edit("models.dcgan.discriminator.dropout", 0.0)
    engine(second)(project)
    assert not {name for name in project.ran() if name.startswith("train")}
    assert project.hashes() == before
    engine(first)(project)
    assert_ran(project, [])


@BOTH_ORDERS
def test_a_model_is_added_and_removed(project: Project, first: str, second: str) -> None:
    project.edit("models.third", project.params()["models"]["dcgan"])
    engine(first)(project)
    assert_ran(project, {"check", "report"} | {m.replace("dcgan", "third") for m in MODELS})
    assert "third" in (project.path / REPORT).read_text()
    engine(second)(project)
    assert_ran(project, [])

    project.edit("models.third", None)  # these parameters were checked before
    engine(second)(project)
    assert_ran(project, {"report"})
    assert "third" not in (project.path / REPORT).read_text()
    assert not (project.path / "results/models/third").exists()
    engine(first)(project)
    assert_ran(project, [])


def test_one_target_then_the_other_engine(tmp_path: Path) -> None:
    project = new_project(tmp_path / "project")
    project.snakemake("results/models/dcgan/generator.safetensors")
    assert_ran(project, DATA | {"train@dcgan"})
    project.repro("sample@dcgan")
    assert_ran(project, {"sample@dcgan"})
    project.snakemake()
    assert_ran(project, EVERYTHING - DATA - {"train@dcgan", "sample@dcgan"})
    project.repro()
    assert_ran(project, [])


def test_one_failing_stage_stops_only_what_needs_it_and_speaks_last(project: Project) -> None:
    project.edit("models.other", project.params()["models"]["dcgan"])
    project.edit("models.dcgan.optimizer.lr", 1.0e30)
    output = project.snakemake(fails=True)
    others = {m.replace("dcgan", "other") for m in MODELS}
    assert_ran(project, {"check", "train@dcgan"} | others)
    assert "train@dcgan failed" in output
    assert "no longer a number" in output.split("train@dcgan failed")[-1]

    project.edit("models.dcgan.optimizer.lr", 3.0e-4)
    project.snakemake()
    assert_ran(project, {"check", "report"})


@pytest.mark.parametrize("victim", ["group", "snakemake", "dvc"])
def test_a_killed_training_goes_on_and_ends_in_the_same_bytes(
    project: Project, tmp_path: Path, victim: str
) -> None:
    project.edit("train.ticks", 8)
    undisturbed = project.copy(tmp_path / "undisturbed")
    undisturbed.repro("train@dcgan")

    command = (
        ["dvc", "repro", "train@dcgan"]
        if victim == "dvc"
        else ["snakemake", "--cores", "2", "results/models/dcgan/generator.safetensors"]
    )
    with project.training(*command) as process:
        if victim == "group":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()

    project.snakemake()
    run = json.loads((project.path / "results/models/dcgan/run.json").read_text())
    assert run["resumed"] == 1
    expected = undisturbed.hashes()
    assert {path: h for path, h in project.hashes().items() if "results/models" in path} == {
        path: h for path, h in expected.items() if "results/models" in path
    }
    assert not list((project.path / "work").rglob("*.safetensors"))


def test_a_dead_process_that_nobody_collected_holds_nothing(project: Project) -> None:
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
def test_who_runs_a_stage_is_told(project: Project, name: str) -> None:
    project.edit("seed", 3)
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


def test_what_is_edited_while_a_stage_runs_is_not_taken_for_done(project: Project) -> None:
    project.edit("seed", 3)
    with project.training("dvc", "repro", "train@dcgan") as process:
        project.edit("models.dcgan.optimizer.lr", 1.0e-4)
        project.edit("invert.steps", 21)  # not of this stage
        project.let_go()
        assert process.stdout is not None
        output = process.stdout.read()
        assert process.wait()
    assert "error: models.dcgan: edited while train@dcgan ran" in output
    project.ran()
    project.repro("train@dcgan")
    assert "train@dcgan" in project.ran()


@EACH
@pytest.mark.parametrize(
    "key, value, message",
    [
        ("models.dcgan.discriminator.dropuot", 0.5, "did you mean 'dropout'"),
        ("augment.count", "many", "augment.count: 'many' is not possible"),
        ("models.dcgan.resolution", 48, "augment.resolution (16) or a half"),
    ],
)
def test_bad_parameters_stop_both_engines_at_once(
    project: Project, name: str, key: str, value: Any, message: str
) -> None:
    project.edit(key, value)
    run = project.snakemake if name == "snakemake" else project.repro
    output = run(fails=True)
    assert message in output
    assert "Traceback" not in output
    assert set(project.ran()) <= {"check"}


@EACH
def test_without_git_one_sentence_says_what_to_do(project: Project, name: str) -> None:
    shutil.rmtree(project.path / ".git")
    run = project.snakemake if name == "snakemake" else project.repro
    output = run(fails=True)
    assert "git" in output.lower()
    assert "Traceback" not in output


@pytest.fixture
def apart(project: Project) -> Project:
    """A project whose source is also found where DVC runs experiments apart from the workspace."""
    pictures = project.path.parent / "pictures"
    shutil.move(project.path / "pictures", pictures)
    project.edit("sources.mine.path", str(pictures))
    project.repro()
    project.commit("Absolute path")
    project.ran()
    return project


def test_the_queue_runs_the_code_and_parameters_that_it_recorded(apart: Project) -> None:
    project, rates = apart, ["0.0", "0.25", "0.5"]
    project.run(
        "dvc", "exp", "run", "--queue", "-S",
        f"models.dcgan.discriminator.dropout={','.join(rates)}",
    )  # fmt: skip
    # What is edited after the queue was filled must not run.
    with (project.path / "src/ganloom/objectives.py").open("a") as file:
        file.write("raise RuntimeError('the code of another day')\n")
    project.run("dvc", "exp", "run", "--run-all")
    ran = project.ran()
    assert sorted(name for name in ran if name.startswith("train")) == ["train@dcgan"] * 2

    shown = json.loads(project.run("dvc", "exp", "show", "--json"))
    experiments = [e for commit in shown for e in commit.get("experiments") or []]
    found = {}
    for experiment in experiments:
        data = experiment["revs"][-1]["data"]
        models = data["params"]["params.yaml"]["data"]["models"]
        rate = models["dcgan"]["discriminator"]["dropout"]
        found[str(rate)] = data["metrics"]["results/metrics/dcgan.json"]["data"]["kid_lite2"]
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
def test_an_experiment_with_one_parameter_changed(apart: Project, flags: list[str]) -> None:
    project = apart
    key = "models.dcgan.discriminator.dropout"
    project.run("dvc", "exp", "run", *flags, "-n", "more-dropout", "-S", f"{key}=0.5")
    assert_ran(project, {"check", "report"} | MODELS)
    assert "0.5" in project.run("dvc", "params", "diff", "HEAD", "more-dropout")
    assert "kid_lite2" in project.run("dvc", "metrics", "diff", "HEAD", "more-dropout")
    plots = json.loads(project.run("dvc", "plots", "diff", "HEAD", "more-dropout", "--json"))
    assert any("loss_d" in name for name in plots["data"])


def test_the_advice_where_a_relative_path_does_not_reach(project: Project) -> None:
    shutil.move(project.path / "pictures", project.path.parent / "pictures")
    project.edit("sources.mine.path", "../pictures")
    project.repro()
    output = project.run(
        "dvc", "exp", "run", "--temp", "-S", "models.dcgan.discriminator.dropout=0.5", fails=True
    )
    assert "sources.mine.path" in output
    assert "absolute path" in output
