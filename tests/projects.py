"""Projects with small parameters, in which tests run the real engines."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from ruamel.yaml import YAML

from ganloom import recipes

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
REPORT = "results/report.html"

MODEL, SOURCES = "dcgan", ("kene", "mine")  # of the project


def _stages() -> tuple[set[str], set[str]]:
    """The stages of the project that are run once per model, and all others."""
    of_models, others = set(), set()
    for name, stage in YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"].items():
        match stage.get("foreach"):
            case "${models}":
                of_models.add(f"{name}@{MODEL}")
            case "${sources}":
                others |= {f"{name}@{source}" for source in SOURCES}
            case _:
                others.add(name)
    return of_models, others


MODELS, _OTHERS = _stages()
EVERYTHING = MODELS | _OTHERS
# What comes before a training.
DATA = {"check", "search@kene", "search@mine", "fetch", "dedup", "curate", "augment"}
# These hold times, or show them.
TIMED = {"data/fetch_log.csv", "results/report.html", "results/models/*/run.json"}


# Every Python process that starts imports this: stages are seen whoever starts them. A training
# that is held waits before its third checkpoint, so that no kill comes too late.
SPY = """
import itertools, os, sys, time

script = next((a for a in sys.orig_argv[1:2] if "workflow/scripts/" in a), None)
keys = itertools.takewhile(lambda a: not a.startswith("--"), sys.orig_argv[2:])
stage = script and "@".join([os.path.basename(script)[:-3], *keys])
if stage:
    with open({folder!r} + "/ran", "a") as file:
        print(stage, file=file)

checkpoints = 0

def wait(event, arguments):
    global checkpoints
    if event == "os.rename" and str(arguments[1]).endswith("/state.safetensors"):
        checkpoints += 1
        while checkpoints > 2 and os.path.exists({folder!r} + "/hold " + stage):
            open({folder!r} + "/waits " + stage, "a").close()
            time.sleep(0.01)

if stage and os.path.exists({folder!r} + "/hold " + stage):
    sys.addaudithook(wait)
"""


class Project:
    """A clone of the working tree with small parameters, and a log of the stages that it runs."""

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
        """Start a command in its own process group, with stdout and stderr combined."""
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
        """Stages that have run since the last call, in order."""
        log = self._spy / "ran"
        names = log.read_text().split("\n")[:-1] if log.exists() else []
        log.unlink(missing_ok=True)
        return names

    def hold(self, stage: str) -> None:
        """Pause a training that has not started yet before its third checkpoint."""
        (self._spy / f"hold {stage}").touch()
        (self._spy / f"waits {stage}").unlink(missing_ok=True)

    def waits(self, stage: str) -> bool:
        return (self._spy / f"waits {stage}").exists()

    def release(self, stage: str) -> None:
        for word in ("hold", "waits"):
            (self._spy / f"{word} {stage}").unlink(missing_ok=True)

    @contextmanager
    def training(self, *command: str) -> Iterator[subprocess.Popen[str]]:
        """Start a command, and return when its training has two checkpoints and is paused.

        Remaining processes continue on exit.
        """
        self.hold("train@dcgan")
        with self.start(*command) as process:
            while not self.waits("train@dcgan"):
                try:
                    process.wait(0.05)
                except subprocess.TimeoutExpired:
                    continue
                pytest.fail("the training ended before its third checkpoint")
            yield process
            assert process.stdout is not None
            process.stdout.read()  # ends when the last process that holds it has died
        self.release("train@dcgan")

    def edit(self, key: str, value: Any, file: str = "params.yaml") -> None:
        yaml = YAML()
        yaml.Representer = recipes.Representer  # an edit that is undone leaves the same bytes
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
        """Map from path to hash of every output in ``dvc.lock`` that contains no times."""
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
    """Assert that exactly these stages ran, once each."""
    assert sorted(project.ran()) == sorted(expected)


def new_project(path: Path) -> Project:
    """A clone of the working tree with the parameters of ``tiny`` and a folder of images."""
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
    (path / "params.yaml").write_text(
        recipes.whole(ROOT / "recipes/tiny.yaml", ROOT), encoding="utf-8"
    )

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
