"""Invalid paths in params.yaml are refused with a reason and a remedy."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from dvc.repo import Repo
from ruamel.yaml import YAML

import stages
from ganloom import doctor, params
from ganloom.cli import main
from ganloom.sources import paths

ROOT = Path(__file__).parents[1]
FOLDER = {"kind": "folder", "licence": None}
LIST = {"kind": "urls"}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that DVC tracks, with images, a list and ignored files; it is the current folder."""
    place = tmp_path / "project"
    for name in ("pictures/a.png", "my pictures/a.png", "work/pictures/a.png", "list.csv"):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).touch()
    (place / ".dvcignore").write_text("/work\n*.tmp.png\n")
    Repo.init(str(place), no_scm=True).close()
    monkeypatch.chdir(place)
    monkeypatch.setenv("HOME", str(tmp_path))
    return place


def known(source: dict[str, Any], path: str, **fetch: Any) -> params.Params:
    values = YAML(typ="safe").load(ROOT / "params.yaml")
    values["sources"]["mine"] = source | {"path": path}
    values["fetch"] |= fetch
    return params.parse(values)


def problem(path: str, source: dict[str, Any] = FOLDER) -> str:
    """The only problem: that of the path of the source ``mine``."""
    [found] = paths.problems(known(source, path)) or [""]
    assert not found or found.startswith(f"sources.mine.path: {path!r}: ")
    return found


def write(values: params.Params) -> None:
    YAML().dump(values.model_dump(exclude_unset=True), Path("params.yaml"))


@pytest.mark.parametrize("path", ["pictures", "my pictures", "./pictures/", "../project/pictures"])
def test_path_is_taken_literally(project: Path, path: str) -> None:
    assert problem(path) == ""
    assert problem(str(project / path)) == ""


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("~/pictures", "{home}/pictures"),
        ("$HOME/pictures", "{home}/pictures"),
        ("${HOME}/pictures", "{home}/pictures"),
        ("file:///data/my%20pictures", "/data/my pictures"),
        ("file:pictures", "pictures"),
        (r"C:\Users\me\pictures", "/mnt/c/Users/me/pictures"),
        ("D:/pictures", "/mnt/d/pictures"),
        ("pictures ", "pictures"),
        ("'pictures'", "pictures"),
    ],
)
def test_shell_and_windows_paths_are_refused(project: Path, written: str, meant: str) -> None:
    meant = meant.format(home=project.parent)
    assert f"is taken literally, and there is no such file or folder; write {meant!r}" in problem(
        written
    )
    Path(written).mkdir(parents=True)  # DVC would watch it
    assert problem(written) == ""


@pytest.mark.parametrize(
    ("path", "source", "words"),
    [
        ("/no/such", FOLDER, "no such file or folder; correct it in params.yaml"),
        ("picturs", FOLDER, "no such file or folder, seen from /"),
        ("picturs", FOLDER, "did you mean 'pictures'?"),
        ("~nobody_here/x", FOLDER, "no such file or folder"),
        ("https://a.org/x.zip", FOLDER, "an address; a file there is read by the kind `archive`"),
        ("a\0b", FOLDER, "cannot be read: embedded null byte"),
        ("x" * 300, FOLDER, "cannot be read: File name too long"),
        ("list.csv", FOLDER, "a file, where a folder is wanted"),
        ("list.csv/x", FOLDER, "no such file or folder"),
        ("pictures", LIST, "a folder, where a file is wanted"),
        ("work/pictures", FOLDER, "DVC ignores it (.dvcignore:1:/work) and would never notice"),
        ("work/list.csv", LIST, "no such file or folder"),
        (".dvc/tmp", FOLDER, "DVC ignores it (as all of .dvc, .git and .hg)"),
    ],
)
def test_unusable_path_is_named(
    project: Path, path: str, source: dict[str, Any], words: str
) -> None:
    assert words in problem(path, source)


def test_list_ignored_by_dvc_is_refused(project: Path) -> None:
    assert problem("list.csv", LIST) == ""
    Path("work/list.csv").touch()
    for path in ("work/list.csv", str(project / "work/list.csv"), "pictures/../work/list.csv"):
        assert "DVC ignores it (.dvcignore:1:/work)" in problem(path, LIST)


def test_folder_ignored_by_dvc_is_refused(project: Path) -> None:
    Path("pictures/.hidden.tmp.png").touch()
    assert problem("pictures") == ""
    Path("pictures/b.tmp.png").touch()
    assert "DVC ignores 1 pictures in it" in problem("pictures")


def test_paths_that_dvc_cannot_hash_are_refused(project: Path) -> None:
    link = Path("pictures/b.png")
    link.symlink_to("../my pictures/a.png")
    Path("pictures/folder").symlink_to("../my pictures")
    assert problem("pictures") == ""
    link.unlink()

    link.symlink_to("/mnt/unplugged/b.png")
    text = problem("pictures")
    assert "DVC cannot read 1 of its files" in text
    assert "a link to /mnt/unplugged/b.png, which is not there" in text
    assert "cache" not in text
    link.unlink()

    link.symlink_to("../.dvc/cache/files/md5/ab/cdef")
    assert "mount the disk of DVC's cache, or get it from a remote: dvc pull" in problem("pictures")
    link.unlink()

    for target in ("/dev/zero", "b.png"):
        link.symlink_to(target)
        assert f"b.png -> {target} (" in problem("pictures")
        link.unlink()

    Path("pictures/.hidden").mkdir()
    os.mkfifo("pictures/.hidden/pipe")
    assert "pictures/.hidden/pipe (pipe, socket or device); move it" in problem("pictures")
    os.mkfifo("pipe.csv")
    assert "a pipe, socket or device" in problem("pipe.csv", LIST)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.csv")
        assert "a pipe, socket or device" in problem("socket.csv", LIST)
    Path("gone").symlink_to("/mnt/unplugged")
    assert "a link to /mnt/unplugged, which is not there" in problem("gone")


def test_missing_dvc_file_suggests_dvc_pull(project: Path) -> None:
    Path("more.dvc").touch()
    assert problem("more").endswith("not here, but tracked by DVC; get it: dvc pull")


def test_missing_path_in_a_temporary_copy_is_explained(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = project / ".dvc/tmp/exps/standalone/tmp1"
    copy.mkdir(parents=True)
    monkeypatch.chdir(copy)
    holds = "this experiment's copy of the project, which holds only what Git or DVC tracks; "
    text = problem("my list.csv", LIST)
    assert f"{holds}run `git add 'my list.csv'` in the project, or write an absolute path" in text
    assert f"{holds}write an absolute path" in problem("../list.csv", LIST)
    [shards] = paths.problems(known(FOLDER, str(project / "pictures"), shards="../other/data/raw"))
    assert shards.startswith("fetch.shards: '../other/data/raw': not in this experiment's copy")


def test_all_entry_points_refuse_the_same_paths(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(known(FOLDER, "pictures"))
    main(["check"])
    assert doctor_says("mine") == "fine"
    write(known(FOLDER, "work/pictures"))
    words = "sources.mine.path: 'work/pictures': DVC ignores it"
    with pytest.raises(SystemExit, match=f"params.yaml: {words}"):
        main(["check"])
    assert doctor_says(words) == "missing"
    with pytest.raises(stages.PipelineError, match=words):
        stages.read({})
    script = ROOT / "workflow/scripts/check.py"
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {words}")
    assert not Path("data/.checked").exists()


def doctor_says(words: str) -> str:
    [finding] = [f for f in doctor._params(Path()) if words in f.found]
    return finding.state
