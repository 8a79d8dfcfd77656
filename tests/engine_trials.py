"""Engines that are killed, run out of disk, cannot write, see another time, or are two at once.

    python tests/engine_trials.py --trials 40 --seed 1

The DAG is a small one, of stages that write their files slowly in many pieces: most harm comes in
the middle of one. Snakefile, workflow and DVC are the project's own. A trial changes a parameter,
runs `snakemake` or `dvc repro` and does harm at a random moment: SIGKILL, SIGTERM or SIGINT, to the
engine alone or to all of its processes; a disk that becomes full; results that cannot be written
(both as root); a clock that is set back by two days (files are made that much newer instead: this
machine's own is never touched); a second engine beside it, whichever. Then one of the engines runs
once more. A fault is

- other bytes in the end than the parameter gives, or a stage that the engine takes for current;
- a second engine that neither ends well nor says what runs;
- a process that lives on.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import psutil
from kill_trials import PATIENCE, ROOT, SIGNALS, main, outlived, repeat, small_disk

from ganloom import recipes

BIN = Path(sys.executable).parent
REPORT = "results/report.html"
ENGINES = ["snakemake", "dvc"]
COMMANDS = {
    "snakemake": ["snakemake", "--cores", "2", REPORT],
    "dvc": ["dvc", "repro"],
    # Snakemake may be at the other stages.
    **{f"dvc for s{n}": ["dvc", "repro", "--single-item", f"s{n}"] for n in range(3)},
}
PIECES = 30
AHEAD = 2 * 24 * 3600 * 10**9  # ns
HELD = re.compile(r"is running \(pid \d+\)|is busy, it is being blocked by|Unable to acquire lock")

STAGE = f"""
import hashlib, sys, time
from pathlib import Path

sys.path.insert(0, "workflow")
from process import die_with_parent

def content(path):
    files = sorted(path.glob("piece*")) if path.is_dir() else [path]
    return b"".join(file.read_bytes() for file in files)

die_with_parent()
out, *inputs = map(Path, sys.argv[1:])
seed = next(line for line in open("params.yaml") if line.startswith("seed: ")).split()[1]
key = seed + "".join(hashlib.sha256(content(path)).hexdigest() for path in inputs)
for piece in range({PIECES}):
    target = out if out.suffix else out / f"piece{{piece:02}}"
    target.parent.mkdir(parents=True, exist_ok=True)
    line = hashlib.sha256(f"{{out}} {{key}} {{piece}}".encode()).hexdigest()
    with target.open("a") as file:
        print(line, file=file)
    time.sleep(0.02)
"""

DAG: dict[str, list[str]] = {
    "data/one.txt": [],
    "data/two.txt": [],
    "results/parts": [],  # a folder: without half of its files it still is one
    "results/sum.txt": ["data/one.txt", "data/two.txt", "results/parts"],
    REPORT: ["results/sum.txt"],
}


def expected(seed: int) -> dict[str, str]:
    """Expected content of each output, by the parameter."""
    made: dict[str, str] = {}
    for out, inputs in DAG.items():
        hashes = [hashlib.sha256(made[name].encode()).hexdigest() for name in inputs]
        key = f"{seed}{''.join(hashes)}"
        lines = (
            hashlib.sha256(f"{out} {key} {piece}".encode()).hexdigest() for piece in range(PIECES)
        )
        made[out] = "".join(f"{line}\n" for line in lines)
    return made


class Project:
    """A project with the small DAG."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "project"
        for name in ("src", "workflow", "profiles", ".dvc"):
            ignore = shutil.ignore_patterns("__pycache__", "tmp", "cache")
            shutil.copytree(ROOT / name, self.path / name, ignore=ignore)
        for name in ("Snakefile", ".gitignore", ".dvcignore"):
            shutil.copy(ROOT / name, self.path / name)
        (self.path / "params.yaml").write_text(
            recipes.whole(ROOT / "recipes/tiny.yaml", ROOT), encoding="utf-8"
        )
        (self.path / "stage.py").write_text(STAGE)
        text = "stages:\n"
        for number, (out, inputs) in enumerate(DAG.items()):
            command = " ".join(["exec python stage.py", out, *inputs])
            text += f"  s{number}:\n    cmd: {command}\n    params: [seed]\n"
            text += f"    deps: [{', '.join(['stage.py', *inputs])}]\n    outs: [{out}]\n"
        (self.path / "dvc.yaml").write_text(text)
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("DVC_", "GIT_"))},
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "SHELL": "/bin/sh",
        }
        for command in (
            "git init -q",
            "git config user.email user@example.org",
            "git config user.name User",
            "git add .",
            "git commit -qm Start",
        ):
            subprocess.run(command.split(), cwd=self.path, check=True)

    def set_seed(self, seed: int) -> None:
        path = self.path / "params.yaml"
        path.write_text(re.sub(r"(?m)^seed: \d+", f"seed: {seed}", path.read_text()))

    def start(self, engine: str, *before: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*before, *COMMANDS[engine]],
            cwd=self.path,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, engine: str, *before: str) -> tuple[int, str]:
        with self.start(engine, *before) as process:
            output = process.communicate()[0]
        return process.returncode, output

    def wait_for_piece(self, process: subprocess.Popen[str], rng: Random) -> None:
        """Wait until a random output has some of its pieces, or the engine has ended."""
        path = self.path / rng.choice(list(DAG))
        wanted, before = rng.randint(1, PIECES) * 65, path.stat().st_ino if path.exists() else 0
        while process.poll() is None:
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_ino != before and len(content(path)) >= wanted:
                    return
            time.sleep(0.005)

    def wait_for_start(self, process: subprocess.Popen[str], engine: str) -> None:
        """Wait until Snakemake has determined what is stale, or has ended; DVC does that stage by
        stage.
        """
        stamp = self.path / ".snakemake/stages/s2"
        before = stamp.read_text() if stamp.exists() else ""
        while engine == "snakemake" and process.poll() is None:
            if stamp.exists() and stamp.read_text() not in ("", before):
                return
            time.sleep(0.005)

    def wait_for_collection(self) -> None:
        """Wait until no zombie process is left of those in DVC's table of locks.

        DVC takes a zombie for a running process. How fast they are reaped depends on the machine:
        the first process of a container may take seconds.
        """
        table = self.path / ".dvc/tmp/rwlock"
        named = re.findall(r'"pid": (\d+)', table.read_text()) if table.exists() else []
        deadline = time.monotonic() + PATIENCE
        while any(psutil.pid_exists(int(pid)) for pid in named) and time.monotonic() < deadline:
            time.sleep(0.02)

    def different(self, seed: int) -> set[str]:
        """Outputs with unexpected content."""
        return {
            name
            for name, text in expected(seed).items()
            if not (self.path / name).exists() or content(self.path / name) != text
        }


def content(path: Path) -> str:
    """Content of a file, or of the pieces in a folder."""
    files = sorted(path.glob("piece*")) if path.is_dir() else [path]
    return "".join(file.read_text() for file in files)


# --- harm ----------------------------------------------------------------------------------------


def killed(project: Project, engine: str, rng: Random) -> str:
    number, kill = rng.choice(SIGNALS), rng.choice((os.kill, os.killpg))
    with project.start(engine) as process:
        project.wait_for_piece(process, rng)
        with contextlib.suppress(ProcessLookupError):
            kill(process.pid, number)
        left = outlived(project.path)  # while nobody reads: what lives on must not hold the pipe
        process.communicate()
    assert not left, f"{engine}: {number.name} ({kill.__name__}), but processes {left} live on"
    return f"{number.name} ({kill.__name__})"


def full(project: Project, engine: str, rng: Random) -> str:
    ballast = project.path.parent / "ballast"
    try:
        with project.start(engine) as process:
            if rng.random() < 0.7:
                project.wait_for_piece(process, rng)
            with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
                while True:
                    file.write(bytes(2**20))
            process.communicate()
    finally:
        ballast.unlink()
    return f"disk full, exit status {process.returncode}"


def sealed(project: Project, engine: str, rng: Random) -> str:
    (project.path / "results").mkdir(exist_ok=True)
    script = 'mount --bind results results && mount -o remount,ro,bind results && exec "$@"'
    status, _ = project.run(engine, "unshare", "--mount", "sh", "-c", script, "sh")
    assert status, f"{engine} says that it went well with results that are read-only"
    return f"results are read-only, exit status {status}"


def clock_back(project: Project, engine: str, rng: Random) -> str:
    """Simulate a clock that was set back: make all existing files two days newer."""
    for path in project.path.rglob("*"):
        status = path.lstat()
        times = (status.st_atime_ns + AHEAD, status.st_mtime_ns + AHEAD)
        os.utime(path, ns=times, follow_symlinks=False)
    failed, output = project.run(engine)
    assert not failed, f"{engine} with a clock two days back:\n{output}"
    return "the clock two days back"


def beside(project: Project, engine: str, rng: Random) -> str:
    other = rng.choice(list(COMMANDS))
    with project.start(engine) as first:
        if rng.random() < 0.5:
            project.wait_for_piece(first, rng)
        else:
            project.wait_for_start(first, engine)
        status, output = project.run(other)
        said = first.communicate()[0]
    for name, code, text in ((engine, first.returncode, said), (other, status, output)):
        assert not code or HELD.search(text), f"{name} beside another engine:\n{text}"
        assert "Traceback" not in text, f"{name} beside another engine:\n{text}"
    return f"{other} beside it: exit statuses {first.returncode}, {status}"


def trial(project: Project, number: int, seed: int) -> str:
    """Disturb an engine, then run one; return a description.

    Raises:
    AssertionError: It did not end as expected.
    """
    rng = Random(f"{seed} {number}")
    harms: list[Callable[[Project, str, Random], str]] = [killed, killed, beside, clock_back]
    if os.path.ismount(project.path.parent):
        harms += [full, sealed]
    engine, last = rng.choice(ENGINES), rng.choice(ENGINES)
    value = 1000 + number
    project.set_seed(value)
    done = rng.choice(harms)(project, engine, rng)
    left = outlived(project.path)
    assert not left, f"{engine}: {done}, but processes {left} live on"
    if last == "dvc":  # Snakemake forgets the dead by itself, see workflow/stages.py
        project.wait_for_collection()
    status, output = project.run(last)
    assert not status, f"{engine}: {done}; then {last}:\n{output}"
    wrong = project.different(value)
    assert not wrong, f"{engine}: {done}; then {last} leaves other bytes in {sorted(wrong)}"
    return f"{engine}: {done}; then {last}"


def run(count: int, seed: int) -> list[str]:
    """Run trials; return the faults."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        with small_disk(folder):
            project = Project(folder)
            return repeat(count, lambda number: trial(project, number, seed))


if __name__ == "__main__":
    main(__doc__, 40, run)
