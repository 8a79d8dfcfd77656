"""Problems that DVC or Git would report after the work are reported before it, with working
remedies.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from dvc.cli import main
from dvc.repo import Repo

from ganloom import doctor, git, preflight, recipes
from ganloom.params import ParamsError, load
from ganloom.report.reproduction import reproduction

ROOT = Path(__file__).parents[1]
# What sets a project up says that it was checked, and saves the time that the check takes.
STAGE = """
import os, sys
from pathlib import Path

if "GANLOOM_CHECKED" not in os.environ:
    sys.path.insert(0, {scripts!r})
    import prelude
    prelude.begin()
print("works", flush=True)
for path in map(Path, sys.argv[1:]):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(Path("params.yaml").read_text())
"""
DAG = """
stages:
  kept:
    cmd: exec {python} stage.py data/kept.csv
    deps: [stage.py]
    params: [seed]
    outs: [data/kept.csv]
  model:
    cmd: exec {python} stage.py results/model/weights
    deps: [data/kept.csv]
    params: [seed]
    outs: [results/model]
"""
LIST = "data/curation/mine.csv"


def run(command: str, *, fails: bool = False) -> str:
    """Run a shell command with this interpreter's DVC; return stdout and stderr."""
    programs = str(Path(sys.executable).parent)
    done = subprocess.run(
        ["/bin/sh", "-c", command],
        env={**os.environ, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert (done.returncode != 0) == fails, done.stdout
    return done.stdout


def dvc(*arguments: str) -> None:
    """Run DVC in this process, which is faster."""
    assert main(list(arguments)) == 0


def remake() -> None:
    """Run stale stages without the check before each stage."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GANLOOM_CHECKED", "yes")
        dvc("repro", "--quiet")


def advised(text: str, start: str) -> str:
    """The command in a message that starts with these words."""
    found = re.search(rf"{start}[^;(]*", text)
    assert found, text
    return found[0].strip().rstrip(",")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A committed project of two stages that DVC has run."""
    project = tmp_path_factory.mktemp("made")
    scripts = str(ROOT / "workflow/scripts")
    (project / "stage.py").write_text(STAGE.format(scripts=scripts))
    (project / "dvc.yaml").write_text(DAG.format(python=sys.executable))
    (project / LIST).parent.mkdir(parents=True)
    (project / LIST).write_text("sha256,decision,reason\n")
    (project / "params.yaml").write_text(
        recipes.whole(ROOT / "recipes/tiny.yaml", ROOT), encoding="utf-8"
    )
    shutil.copy(ROOT / ".gitignore", project)
    with contextlib.chdir(project):
        run("git init -q && git config user.name a && git config user.email a@b.org")
        dvc("init", "--quiet")
        dvc("config", "core.autostage", "true")
        remake()
        run("git add . && git commit -qm Start")
    return project


@pytest.fixture
def project(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "project"
    shutil.copytree(made, path)
    monkeypatch.chdir(path)
    monkeypatch.syspath_prepend(ROOT / "workflow")
    return path


def seed(value: int) -> None:
    path = Path("params.yaml")
    path.write_text(re.sub(r"(?m)^seed: \d+", f"seed: {value}", path.read_text()))


def rejections() -> list[str]:
    with Repo() as repo:
        return preflight.rejections(repo, repo.index.outs)


def refused_by_snakemake() -> str:
    """Error of the Snakefile when it is parsed."""
    import stages

    with pytest.raises(stages.PipelineError) as refused:
        stages.read({})
    return str(refused.value)


def examined(name: str) -> list[doctor.Finding]:
    return [found for found in doctor._repository(Path()) if found.name == name]


def test_working_project_passes_preflight(project: Path) -> None:
    assert rejections() == preflight.conflicts(Path()) == []
    (found,) = examined("DVC")
    assert found.state == "fine"


def link_to_another_disk(path: str) -> None:
    target = Path("..", "large", path)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(path, target)
    Path(path).symlink_to(target.resolve())


def test_output_linked_to_another_disk_is_refused_before_running(project: Path) -> None:
    link_to_another_disk("results")
    seed(2)
    said = run("dvc repro kept", fails=True)  # whose own output is not affected
    assert "works" not in said
    (found,) = examined("DVC")
    for text in (said, refused_by_snakemake(), found.found + found.remedy):
        assert f"{project}/results: a link out of the Git repository" in text
        assert "dvc cache dir --local FOLDER" in text
    # The way out that the documentation describes.
    Path("results").unlink()
    shutil.move("../large/results", "results")
    page = (ROOT / "docs/remotes.md").read_text()
    (block,) = re.findall(r"## Large disks.*?```sh\n(.*?)```", page, re.DOTALL)
    run(f"set -e\n{block}".replace("/mnt/large", f"'{project.parent}/large disk'"))
    weights = Path("results/model/weights")
    assert weights.resolve().is_relative_to(project.parent / "large disk")
    assert "works" in run("dvc repro model")
    assert "seed: 2" in weights.read_text()
    assert weights.resolve().is_relative_to(project.parent / "large disk")
    assert rejections() == []


def test_link_inside_the_repository_is_allowed(project: Path) -> None:
    shutil.move("data", "elsewhere")
    Path("data").symlink_to("elsewhere")
    seed(2)
    assert rejections() == []
    remake()


@pytest.mark.parametrize("path", ["results/model", "data"])
def test_linked_folders_are_named_once(project: Path, path: str) -> None:
    link_to_another_disk(path)
    (problem,) = rejections()
    assert re.search(rf"(^|/){path}: a link ", problem)


def test_output_tracked_by_git_is_refused_with_safe_advice(project: Path) -> None:
    run("git add --force data/kept.csv results/model/weights && git commit -qm Results")
    seed(2)
    problems = rejections()
    assert [problem.partition(":")[0] for problem in problems] == ["data/kept.csv", "results/model"]
    for problem in problems:
        run(advised(problem, "git rm"))
    assert Path("data/kept.csv").exists()
    assert rejections() == []


@pytest.mark.parametrize("broken", ["link", "file"])
def test_unwritable_cache_is_refused(project: Path, broken: str) -> None:
    shutil.rmtree(".dvc/cache")
    if broken == "link":
        Path(".dvc/cache").symlink_to("/nowhere/cache")
    else:
        Path(".dvc/cache").touch()
    (problem,) = rejections()
    assert problem.startswith(f"{project}/.dvc/cache: DVC's cache cannot be written there")
    run(advised(problem, "dvc cache dir").replace("FOLDER", "../cache"))
    assert rejections() == []


@pytest.mark.parametrize("name", ["dvc.lock", ".git", ".dvc/cache/runs", "data/.gitignore"])
def test_unwritable_files_are_refused(
    project: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    Path(".gitignore").write_text("/results\n")
    Path("data/.gitignore").touch()
    access, closed = os.access, project / name
    monkeypatch.setattr(os, "access", lambda path, how: Path(path) != closed and access(path, how))
    (problem,) = rejections()
    assert problem.startswith(f"{closed}: ")


def test_unsupported_link_types_are_refused(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dvc("config", "--local", "cache.type", "hardlink")
    assert rejections() == []

    def other_disk(*_: object, **__: object) -> None:
        raise OSError("Invalid cross-device link")

    monkeypatch.setattr(os, "link", other_disk)
    problem = rejections()[0]
    assert "data: no hardlink to DVC's cache" in problem
    run(advised(problem, "dvc config"))
    assert rejections() == []


# --- merge conflicts -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def merged(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project during a merge in which both sides changed the seed and the list."""
    path = tmp_path_factory.mktemp("merging") / "project"
    shutil.copytree(made, path)
    with contextlib.chdir(path):
        _merge()
    return path


@pytest.fixture
def merging(merged: Path, project: Path) -> Path:
    shutil.rmtree(project)
    shutil.copytree(merged, project)
    os.chdir(project)
    return project


def _merge() -> None:
    run("git checkout -qb other")
    # Git takes a file of the same size and second for the same.
    for value, branch in ((22, "other"), (333, "mine")):
        seed(value)
        Path(LIST).write_text(f"sha256,decision,reason\n{branch},keep,\n")
        remake()
        run(f"git add . && git commit -qm {branch}")
        run("git checkout -q - && git checkout -qb mine" if branch == "other" else "true")
    assert "CONFLICT" in run("git merge other", fails=True)


@pytest.mark.usefixtures("merging")
def test_merge_conflict_is_named_with_working_advice() -> None:
    with pytest.raises(ParamsError, match=r"params\.yaml:\d+: a merge conflict.*git add params"):
        load()
    said = refused_by_snakemake()
    assert [line.partition(":")[0] for line in said.splitlines()] == [
        "params.yaml",
        LIST,
        "dvc.lock",
    ]
    assert [f.found + "; " + f.remedy for f in examined("DVC")] == said.splitlines()
    for name in ("params.yaml", LIST):
        path = Path(name)
        text = re.sub(r"(?ms)^<{7}.*?\n(.*?)^={7}\n.*?^>{7}.*?\n", r"\1", path.read_text())
        path.write_text(text)
        run(advised(next(line for line in said.splitlines() if name in line), "git add"))
    lock = said.splitlines()[-1]
    run(advised(lock, "git checkout"))
    run(advised(lock, "git add").split(",")[0])
    assert preflight.conflicts(Path()) == []
    assert "works" not in run("dvc repro")  # what was made on either side comes from the cache
    assert "seed: 333" in Path("data/kept.csv").read_text()
    run("git commit -qm Merged")


def test_committed_conflict_is_resolved_from_an_earlier_commit(merging: Path) -> None:
    run("git checkout --ours params.yaml data/curation && git add . && git commit -qm Oops")
    (problem,) = preflight.conflicts(Path())
    run(advised(problem, "git checkout").split(", and")[0].replace("COMMIT", "other"))
    assert "works" not in run("dvc repro")


def test_text_like_a_conflict_marker_is_allowed(project: Path) -> None:
    path = Path("params.yaml")
    path.write_text(f"# <<<<<<< HEAD\n#\n# =======\n{path.read_text()}\n# >>>>>>> other\n")
    assert preflight.conflicts(Path()) == []
    load()


# --- another user's repository -------------------------------------------------------------------


def test_dubious_ownership_shows_gits_message(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    monkeypatch.setenv("HOME", str(project.parent))
    seed(2)
    (found,) = examined("Git")
    for said in (run("dvc repro", fails=True), refused_by_snakemake(), found.found):
        assert "detected dubious ownership" in said
        assert "git init" not in said
        assert "works" not in said
    with pytest.raises(git.GitError, match="dubious ownership"):
        git.commit(project)
    assert "dubious ownership" in reproduction(project).refusal
    run(found.found[found.found.index("git config") :])
    assert len(git.commit(project)) == 40
    assert rejections() == []


def test_advice_outside_git_creates_a_repository(project: Path) -> None:
    shutil.rmtree(".git")
    assert git.commit(project) == ""
    (found,) = examined("Git")
    assert found.remedy in refused_by_snakemake()
    run(f"export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b.org GIT_COMMITTER_NAME=a "
        f"GIT_COMMITTER_EMAIL=a@b.org; {found.remedy}")  # fmt: skip
    assert len(git.commit(project)) == 40
    assert rejections() == []


def test_missing_git_suggests_installing_it(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(project))
    (found,) = examined("Git")
    assert (found.found, found.state) == ("not installed", "missing")
    assert "git-scm.com" in found.remedy


@pytest.mark.parametrize("folder", [".", "inside"])
def test_missing_dvc_repository_is_created_by_the_advice(project: Path, folder: str) -> None:
    shutil.rmtree(".dvc")
    Path("inside").mkdir()
    os.chdir(folder)
    (found,) = examined("DVC")
    run(found.remedy)
    assert examined("DVC")[0].state == "fine"


def test_stale_git_lock_is_reported(project: Path) -> None:
    lock = Path(".git/index.lock")
    lock.touch()
    (found,) = examined("Git's index")
    run(advised(found.remedy, "rm"))
    assert not lock.exists()


# --- decisions that an experiment replaced -------------------------------------------------------


def test_replaced_decisions_can_be_restored(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANLOOM_CHECKED", "yes")
    dvc("exp", "run", "--quiet", "--name", "other", "--set-param", "seed=2")
    run("git checkout -q .")
    assert examined("decisions") == []
    decided = "sha256,decision,reason\nabcdef,drop,blurred\n"
    Path(LIST).write_text(decided)
    dvc("exp", "apply", "other")
    assert Path(LIST).read_text() != decided
    (found,) = examined("decisions")
    assert LIST in found.found
    page = (ROOT / "docs/experiments.md").read_text()
    command = advised(found.remedy, "git restore")
    assert command.removesuffix(LIST) in page
    run(command)
    assert Path(LIST).read_text() == decided
    assert examined("decisions") == []
