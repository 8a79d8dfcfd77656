"""Stages that are killed, run out of disk or cannot write: afterwards they end in the same bytes.

    python tests/kill_trials.py --trials 200 --seed 1

makes a tiny project, stage by stage, and remembers its bytes. A trial runs one stage of it again
and does harm to it at a random moment: SIGKILL, SIGTERM or SIGINT, to the stage alone or to all of
its processes, once or several times; a disk that becomes full (as root: the project lies on a small
file system of its own); results that cannot be written. Then the stage is run once more, as an
engine would: its outputs are deleted first, what lies under `work/` stays. A fault is

- other bytes than those of the undisturbed run, but for what holds times;
- a process that lives on after the stage is dead;
- a stage that says it went well though it could not write.

Stages run in forks of one process that has imported what they need: a trial takes a second, not
ten. What engines make of the same is in ``engine_trials.py``.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import hashlib
import os
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import psutil
from ruamel.yaml import YAML

from ganloom import recipes

ROOT = Path(__file__).resolve().parents[1]
MODEL = "dcgan"
# These hold times, or show them.
TIMED = ("data/fetch_log.csv", "results/report.html", "results/models/*/run.json")
PATIENCE = 120.0  # s for what should end at once, however busy the machine is
NEWNS = 0x00020000  # of unshare(2)
DISK = 96 << 20  # bytes of the file system that becomes full
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)


class Stage(NamedTuple):
    """A stage of dvc.yaml.

    Attributes:
    name: Name in DVC.
    command: Script and arguments.
    outputs: Files and folders, relative to the project.
    """

    name: str
    command: list[str]
    outputs: list[str]


def stages(project: Path) -> list[Stage]:
    """All stages, in an order in which they can run."""
    yaml = YAML(typ="safe")
    params = yaml.load(project / "params.yaml")
    found = []
    for name, spec in yaml.load(project / "dvc.yaml")["stages"].items():
        stage = spec.get("do", spec)
        for key in params[spec["foreach"].strip("${}")] if "foreach" in spec else [""]:
            listed = [
                next(iter(out)) if isinstance(out, dict) else out
                for kind in ("outs", "metrics", "plots")
                for out in stage.get(kind, [])
            ]
            found.append(
                Stage(
                    f"{name}@{key}" if key else name,
                    stage["cmd"].replace("${key}", key).removeprefix("exec python ").split(),
                    [out.replace("${key}", key) for out in listed],
                )
            )
    return found


def new_project(folder: Path) -> list[Stage]:
    """A copy of the working tree with fewer and smaller items than the recipe `tiny`."""
    for name in ("src", "workflow", "recipes", "data/curation", "dvc.yaml"):
        source, target = ROOT / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        ignore = shutil.ignore_patterns("__pycache__")
        if source.is_dir():
            shutil.copytree(source, target, ignore=ignore)
        else:
            shutil.copy(source, target)
    yaml = YAML()
    params = yaml.load(recipes.whole(ROOT / "recipes/tiny.yaml", ROOT))
    del params["models"]["dcgan_diffaug"]
    params["sources"]["kene"]["designs"] = 8
    params["augment"]["count"], params["augment"]["holdout_count"] = 64, 16
    params["models"][MODEL]["kimg"] = 0.25
    params["invert"]["steps"] = 4
    yaml.dump(params, folder / "params.yaml")
    return stages(folder)


def contents(project: Path, outputs: Sequence[str]) -> dict[str, str]:
    """Map from path to hash of every file in these outputs that contains no times."""
    files = [
        path
        for output in outputs
        for path in ([project / output, *sorted((project / output).rglob("*"))])
        if path.is_file()
    ]
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        for name in [path.relative_to(project).as_posix()]
        if not any(Path(name).match(pattern) for pattern in TIMED)
    }


def remove(project: Path, stage: Stage) -> None:
    """Prepare a stage as the engines do."""
    for output in stage.outputs:
        path = project / output
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)


# --- a stage in a process of its own -------------------------------------------------------------


class Moment:
    """The moment of a disturbance: the n-th time that a stage opens a file for writing or renames
    one.

    Attributes:
    count: Number of times so far.
    """

    WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT

    def __init__(self, at: int | None, tell: Callable[[], object]) -> None:
        self.count, self._at, self._tell = 0, at, tell

    def hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        is_write = event == "open" and arguments[2] and arguments[2] & self.WRITING
        if is_write or event in ("os.rename", "os.mkdir", "os.remove", "os.rmdir"):
            self.count += 1
            if self.count == self._at:
                self._tell()


class Running(NamedTuple):
    """A running stage: its process, the signal that its moment has come, and its output."""

    pid: int
    moment: int
    said: Path

    def wait(self) -> int:
        """Exit status; for a signal, its negative number."""
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def start(project: Path, stage: Stage, at: int | None, read_only: str | None = None) -> Running:
    """Fork, and run a stage's script as if it had been started by itself.

    Args:
    project: Folder of the project.
    stage: Stage to run.
    at: Moment to signal; None for never.
    read_only: Folder that is read-only for the process and its children.
    """
    reading, writing = os.pipe()
    said = project.with_name("said")
    pid = os.fork()
    if pid:
        os.close(writing)
        return Running(pid, reading, said)
    code = 1
    try:
        os.setsid()
        signal.signal(signal.SIGINT, signal.default_int_handler)  # shells have jobs ignore it
        os.close(reading)
        output = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for stream in (1, 2):
            os.dup2(output, stream)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.chdir(project)
        if read_only is not None:
            _seal(project / read_only)
        moment = Moment(at, lambda: os.write(writing, b"now\n"))
        sys.addaudithook(moment.hear)
        sys.argv = stage.command
        sys.path.insert(0, str(project / "workflow/scripts"))
        try:
            runpy.run_path(stage.command[0], run_name="__main__")
            code = 0
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else bool(error.code)
            if code and not isinstance(error.code, int):
                print(error.code, file=sys.stderr)
        except BaseException:
            traceback.print_exc()
        print(f"moments: {moment.count}")
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _seal(folder: Path) -> None:
    """Make a folder read-only for this process, whoever owns it."""
    if os.geteuid():
        folder.chmod(0o555)
        return
    if ctypes.CDLL(None, use_errno=True).unshare(NEWNS):
        raise OSError(ctypes.get_errno(), "unshare")
    for command in (
        ["mount", "--make-rprivate", "/"],
        ["mount", "--bind", str(folder), str(folder)],
        ["mount", "-o", "remount,ro,bind", str(folder)],
    ):
        subprocess.run(command, check=True)


def whole(project: Path, stage: Stage) -> str:
    """Run a stage undisturbed; return its output.

    Raises:
    RuntimeError: It failed.
    """
    remove(project, stage)
    running = start(project, stage, None)
    status = running.wait()
    os.close(running.moment)
    said = running.said.read_text(errors="replace")
    if status:
        raise RuntimeError(f"{stage.name} failed:\n{said}")
    return said


def living(project: Path) -> list[int]:
    """Processes that work in the project, without zombies."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.status() != psutil.STATUS_ZOMBIE and process.cwd() == str(project):
                found.append(process.pid)
    return found


def outlived(project: Path) -> list[int]:
    """Processes that survive a waiting time; they are killed."""
    deadline = time.monotonic() + PATIENCE
    while (found := living(project)) and time.monotonic() < deadline:
        time.sleep(0.02)
    for pid in found:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return found


# --- trials --------------------------------------------------------------------------------------


class Base(NamedTuple):
    """A complete project.

    Attributes:
    project: Its folder.
    stages: All of its stages.
    bytes: Result of ``contents`` by stage.
    moments: Number of moments of each stage.
    """

    project: Path
    stages: list[Stage]
    bytes: dict[str, dict[str, str]]
    moments: dict[str, int]


def build(folder: Path) -> Base:
    """Make a project and run all of its stages."""
    project = folder / "project"
    known = new_project(project)
    moments = {}
    for stage in known:
        said = whole(project, stage)
        moments[stage.name] = int(said.rpartition("moments: ")[2])
    return Base(project, known, {s.name: contents(project, s.outputs) for s in known}, moments)


def trial(base: Base, number: int, seed: int) -> str:
    """Disturb a stage, then run it again; return a description.

    Raises:
    AssertionError: It did not end as expected.
    """
    rng = Random(f"{seed} {number}")
    stage = base.stages[number % len(base.stages)]
    harms: list[Callable[[Base, Stage, Random], str]] = [killed, killed, killed]
    has_disk = os.path.ismount(base.project.parent)
    if has_disk:
        harms.append(full)
    if has_disk or os.geteuid():  # root needs a mount for it
        harms.append(sealed)
    fault = ""
    try:
        done = rng.choice(harms)(base, stage, rng)
    except AssertionError as error:
        fault = str(error)
    whole(base.project, stage)  # also after a fault: other stages need what it makes
    assert not fault, f"{stage.name}: {fault}"
    different = changed(base, stage)
    assert not different, f"{stage.name}, {done}: other bytes in {different}"
    return f"{stage.name}: {done}"


def changed(base: Base, stage: Stage) -> list[str]:
    """Files of a stage that differ from those of the undisturbed run."""
    found, expected = contents(base.project, stage.outputs), base.bytes[stage.name]
    return sorted(name for name in found | expected if found.get(name) != expected.get(name))


def killed(base: Base, stage: Stage, rng: Random) -> str:
    """Kill one to three times, at later moments or at the same one."""
    told = []
    for _ in range(rng.choice((1, 1, 2, 3))):
        remove(base.project, stage)
        at, number = rng.randint(1, base.moments[stage.name]), rng.choice(SIGNALS)
        kill = rng.choice((os.kill, os.killpg))
        running = start(base.project, stage, at)
        with os.fdopen(running.moment, "rb") as moment:
            moment.readline()  # ends, too, where the stage does
        time.sleep(rng.random() * rng.choice((0, 0.003, 0.05)))
        with contextlib.suppress(ProcessLookupError):
            kill(running.pid, number)
        status = running.wait()
        told.append(f"{number.name} at moment {at} ({kill.__name__}): exit status {status}")
        left = outlived(base.project)
        assert not left, f"{told[-1]}, but processes {left} live on"
        if not status:
            different = changed(base, stage)
            assert not different, f"{told[-1]}, but {different} differ"
    return ", ".join(told)


def full(base: Base, stage: Stage, rng: Random) -> str:
    """Fill the disk with a file, except for what the stage writes until it notices."""
    remove(base.project, stage)
    ballast = base.project.parent / "ballast"
    left = rng.choice((0, 4096, rng.randrange(1 << 20)))
    try:
        free = os.statvfs(base.project)
        size = max(0, free.f_bavail * free.f_frsize - left)
        with ballast.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, size or 1)
        running = start(base.project, stage, None)
        os.close(running.moment)
        status = running.wait()
    finally:
        ballast.unlink()
    left_over = outlived(base.project)
    assert not left_over, f"disk full, but processes {left_over} live on"
    if not status:
        assert contents(base.project, stage.outputs) == base.bytes[stage.name], (
            f"says that it went well with {left} bytes of disk"
        )
    return f"{left} bytes of disk: exit status {status}"


def sealed(base: Base, stage: Stage, rng: Random) -> str:
    """Make the folder of its outputs read-only."""
    remove(base.project, stage)
    folder = Path(rng.choice(stage.outputs)).parts[0]
    try:
        running = start(base.project, stage, None, read_only=folder)
        os.close(running.moment)
        status = running.wait()
    finally:
        (base.project / folder).chmod(0o755)
    assert status, f"says that it went well, but {folder} is read-only"
    return f"{folder} is read-only: exit status {status}"


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """Mount a small file system for the trials, if this user may."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(folder)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        print("no file system of its own: no disk becomes full", flush=True)
        yield
        return
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def run(count: int, seed: int) -> list[str]:
    """Run trials; return the faults."""
    import_what_stages_need()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        with small_disk(folder):
            base = build(folder)
            return repeat(count, lambda number: trial(base, number, seed))


def repeat(count: int, attempt: Callable[[int], str]) -> list[str]:
    """Run trials, each with its number; return the faults."""
    faults = []
    for number in range(count):
        try:
            print(f"{number}: {attempt(number)}", flush=True)
        except AssertionError as error:
            faults.append(f"{number}: {error}")
            print(f"FAULT {faults[-1]}", flush=True)
    return faults


def import_what_stages_need() -> None:
    """Import modules before forking; none of them may start a thread."""
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = "1"  # read while libraries are imported; a stage sets it before that
    sys.path.insert(0, str(ROOT / "src"))
    import dvclive  # noqa: F401
    import faiss  # noqa: F401
    import torch._dynamo  # noqa: F401  (what torch's optimisers import)

    import ganloom.report.build
    import ganloom.training.loop  # noqa: F401


def main(about: str, count: int, run: Callable[[int, int], list[str]]) -> None:
    """Command line of the trials, which ``run`` executes for a number of trials and a seed."""
    parser = argparse.ArgumentParser(description=about.partition("\n")[0])
    parser.add_argument("--trials", type=int, default=count, help=f"how many ({count})")
    parser.add_argument("--seed", type=int, default=1, help="of the moments and harms (1)")
    options = parser.parse_args()
    faults = run(options.trials, options.seed)
    print(f"{options.trials} trials, {len(faults)} faults")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main(__doc__, 200, run)
