"""Unusual environments: folder names, links into DVC's cache, missing variables."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest
from dvc.repo import Repo
from projects import BIN, DATA, EVERYTHING, REPORT, ROOT, Project, assert_ran, new_project, picture

import stages
from ganloom import recipes

PLACE = 'Shipibo\'s "kené" $x'


def prefix(*command: str) -> list[str]:
    """Words to prefix to a command, if this machine supports them."""
    if shutil.which(command[0]) is None:
        return []
    tried = subprocess.run([*command, "true"], check=False, capture_output=True)
    return [] if tried.returncode else list(command)


# Root may write what is read-only; most users may not.
AS_USER = prefix("setpriv", "--bounding-set", "-dac_override,-dac_read_search")


# --- sentences ---------------------------------------------------------------------------------


def stage(place: Path, code: str, status: int = 1) -> str:
    """Error output of a failing stage of this code in this folder."""
    (place / "src").symlink_to(ROOT / "src")
    (place / "workflow").symlink_to(ROOT / "workflow")
    (place / "params.yaml").write_text(
        recipes.whole(ROOT / "recipes/tiny.yaml", ROOT), encoding="utf-8"
    )
    path = f"import sys; sys.path.insert(0, {str(place / 'workflow/scripts')!r})"
    script = f"{path}\nimport prelude\nprelude.begin()\n{code}"
    done = subprocess.run(
        [*AS_USER, sys.executable, "-c", script],
        check=False,
        cwd=place,
        capture_output=True,
        text=True,
    )
    assert done.returncode == status
    return done.stderr


WRITE = "import pathlib; pathlib.Path('out').write_text('x')"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize(
    "code", [WRITE, "import numpy; numpy.save(open('out', 'wb'), numpy.zeros(100_000))"]
)
def test_full_disk_is_reported_in_one_sentence(tmp_path: Path, code: str) -> None:
    (tmp_path / "out").symlink_to("/dev/full")
    said = stage(tmp_path, code)
    assert said.startswith(f"error: {tmp_path}: No space left on device; make room")
    assert said.count("\n") == 1


@pytest.mark.skipif(os.geteuid() == 0 and not AS_USER, reason="root may write anything")
def test_unwritable_file_is_reported_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "out").touch(0o400)
    said = stage(tmp_path, WRITE)
    assert said.startswith("error: out: Permission denied; make it yours")
    assert said.count("\n") == 1


def test_braces_in_the_project_path_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "a {b}"
    place.mkdir()
    assert f"error: {place}: " in stage(place, WRITE)
    monkeypatch.chdir(place)
    with pytest.raises(stages.PipelineError, match="rename that folder"):
        stages.read({})


def test_progress_bars_do_not_fill_the_end_of_a_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    stages.LOGS.mkdir(parents=True)
    bar = "".join(f"\rdcgan: {n}%|   | {n}/100" for n in range(100))
    (stages.LOGS / "train@a.log").write_text(f"began\n{bar}ERROR: failed to run\r\n\n")
    (stages.LOGS / "train@a.failed").write_text("1")
    end = stages.failures().splitlines()
    assert end[2:] == ["began", "dcgan: 99%|   | 99/100ERROR: failed to run"]
    (stages.LOGS / "train@a.failed").write_text(stages.STOPPED)
    assert stages.failures().strip() == "Stopped; the same command continues."


@pytest.mark.parametrize(
    ("code", "is_killed"),
    [
        ("kill -KILL $$", True),
        ("echo 'ERROR: failed to run: exec python x.py, exited with -9'; exit 255", True),
        ("echo 'ERROR: failed to run: exec python x.py, exited with -15'; exit 255", False),
        ("exit 1", False),
    ],
)
def test_a_stage_without_memory_says_so(
    code: str, is_killed: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import job

    log = tmp_path / "train@a.log"
    assert job._run(["/bin/sh", "-c", code], "train@a", log) != 0
    for said in (capsys.readouterr().out, log.read_text()):
        assert ("most often for lack of memory" in said) == is_killed


def test_unknown_snakemake_config_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    monkeypatch.chdir(tmp_path)
    Repo.init().close()
    for config, words in (
        ({"forc": "train"}, "--config forc: unknown; allowed: force=STAGE"),
        ({"force": "trian"}, r"force=trian: no stage .*did you mean train\?.* check, curate"),
        ({"force": "train@no"}, r"this name.* \(allowed: train@\w+(, train@\w+)*, or a "),
        ({"force": 1}, "no stage has this name"),
    ):
        with pytest.raises(stages.PipelineError, match=words):
            stages.read(config)


def test_a_worker_that_the_system_killed_points_to_the_memory(tmp_path: Path) -> None:
    said = stage(
        tmp_path,
        "import os; from concurrent.futures import ProcessPoolExecutor\n"
        "with ProcessPoolExecutor(1) as pool: pool.submit(os._exit, 9).result()",
    )
    assert "BrokenProcessPool" in said
    assert "error: probably not enough memory" in said


def test_interrupted_stage_says_how_to_continue(tmp_path: Path) -> None:
    said = stage(tmp_path, "raise KeyboardInterrupt", -signal.SIGINT)
    assert said == "\nStopped; the same command continues.\n"


# --- engines -----------------------------------------------------------------------------------


def turkish(folder: Path) -> dict[str, str]:
    """A locale in which i is not the lower case of I, created in a folder; empty if impossible."""
    made = folder / "tr_TR.utf8"
    command = ["localedef", "-i", "tr_TR", "-f", "UTF-8", str(made)]
    if shutil.which(command[0]) is None or subprocess.run(command, check=False).returncode:
        return {}
    return {"LOCPATH": str(folder), "LC_ALL": made.name}


@pytest.mark.engines
def test_unusual_project_path_gives_the_same_results(finished: Project, tmp_path: Path) -> None:
    """Both engines without a network, and with unusual locale, home and umask."""
    project = new_project(tmp_path / PLACE)
    (tmp_path / "tmp dir").mkdir()
    for name in ("LANG", "LC_CTYPE", "PYTHONUTF8", "DVC_NO_ANALYTICS"):
        project.environment.pop(name, None)
    project.environment |= {
        "COLUMNS": "3",
        "HOME": str(tmp_path / "nowhere"),
        "LC_ALL": "C",
        "TMPDIR": str(tmp_path / "tmp dir"),
        "TZ": "Pacific/Chatham",
    }
    offline = prefix("unshare", "--net") or prefix("unshare", "--net", "--map-root-user")

    def run(command: str) -> str:
        return project.run(*offline, "/bin/sh", "-c", f"umask 077; exec {command}")

    first = DATA | {"train@dcgan", "sample@dcgan"}
    run("dvc repro sample@dcgan")
    assert_ran(project, first)
    project.environment |= turkish(tmp_path)
    run("snakemake --cores 2 results/metrics/reference.json")
    assert_ran(project, {"reference"})
    run("dvc repro")
    assert_ran(project, EVERYTHING - first - {"reference"})
    assert "Nothing to be done" in run(f"snakemake --cores 2 {REPORT}")
    assert_ran(project, [])
    assert project.hashes() == finished.hashes()
    title = project.params()["report"]["title"] + " 2"
    project.run("dvc", "exp", "run", "-S", f"report.title={title}")
    assert_ran(project, {"check", "report"})
    assert title in (project.path / REPORT).read_text(encoding="utf-8")


@pytest.mark.engines
def test_nothing_is_written_through_cache_links(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.run("dvc", "config", "cache.type", "hardlink")
    project.run("dvc", "checkout", "--relink")
    assert (project.path / REPORT).stat().st_nlink > 1
    project.edit("report.title", "Another title")
    python = environment(tmp_path / PLACE)
    places = [place for place in os.environ["PATH"].split(os.pathsep) if Path(place) != BIN]
    project.environment["PATH"] = os.pathsep.join([str(Path(python).parent), *places])
    project.run(*AS_USER, python, "-m", "snakemake", "--cores", "2")
    assert_ran(project, {"check", "report"})
    assert damaged(project.path / ".dvc/cache") == []

    # On another disk, where there is one.
    cache = (Path("/dev/shm") if Path("/dev/shm").is_dir() else tmp_path) / f"cache-{os.getpid()}"
    try:
        shutil.move(project.path / ".dvc/cache", cache)
        project.run("dvc", "config", "--local", "cache.dir", str(cache))
        project.run("dvc", "config", "cache.type", "symlink")
        project.run("dvc", "checkout", "--relink")
        assert (project.path / "data/kept.csv").is_symlink()
        project.edit("curate.min_side", 65)
        project.edit("report.title", "A third title")
        project.run(*AS_USER, python, "-m", "dvc", "repro")
        assert_ran(project, {"check", "curate", "report"})
        assert damaged(cache) == []
    finally:
        shutil.rmtree(cache)
    monkeypatch.chdir(project.path)
    with pytest.raises(stages.PipelineError, match=r"a link to .*mount the disk of DVC's cache"):
        stages.read({})


def environment(place: Path) -> str:
    """Interpreter of a virtual environment with the packages of this one, but without its scripts.

    Scripts fail if the path of the environment has spaces together with dollars or quotes.
    """
    venv.create(place / ".venv")
    [packages] = (place / ".venv").glob("lib/python*/site-packages")
    (packages / "others.pth").write_text(sysconfig.get_path("purelib"))
    return str(place / ".venv/bin/python")


def damaged(cache: Path) -> list[Path]:
    """Files of DVC's cache whose content does not match their name."""
    files = list(cache.glob("files/md5/??/*"))
    assert files
    return [
        file
        for file in files
        if hashlib.md5(file.read_bytes()).hexdigest()
        != file.parent.name + file.name.removesuffix(".dir")
    ]


@pytest.mark.engines
def test_file_name_that_dvc_cannot_read_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = new_project(tmp_path / "project")
    picture(project.path / "pictures" / os.fsdecode(b"latin-\xf1.png"), 9)
    monkeypatch.chdir(project.path)
    with pytest.raises(stages.PipelineError, match=r"latin-\\xf1\.png.*is not UTF-8.*rename it"):
        stages.read({})
