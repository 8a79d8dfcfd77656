"""A job of Snakemake: ``python workflow/job.py STAGE LOG [--force]`` runs one stage with DVC.

With ``--without-dvc``, on another node than the engine, it runs the command of the stage itself and
writes a receipt.

The complete output of the stage is written to the log. It is also printed line by line after the
name of the stage, since several stages share the terminal.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

import receipt
import stages
from ganloom.preflight import CHECKED
from process import die_with_parent

interrupts: list[bool] = []
PROGRESS_SECONDS = 10  # interval at which a progress bar is printed
DVC_CHATTER = re.compile(
    r"$|Running stage |> |(Updating|Generating) lock file|To track the changes with git"
    r"|\s+git add |To enable auto staging|\s+dvc config core.autostage|Use `dvc push` "
)
KILLED = re.compile(r".*\bexited with -9\b")  # as DVC reports it
OUT_OF_MEMORY = (
    "the system killed this stage (SIGKILL), most often for lack of memory: run fewer stages at "
    "once (--cores), or lower batch, channels or resolution in params.yaml"
)


def main(name: str, log: Path, *flags: str) -> int:
    """Run the stage, and return the exit status."""
    die_with_parent()
    # Ctrl-C reaches the stage as well, whose last output is still read. SIG_IGN would be inherited
    # by child processes.
    signal.signal(signal.SIGINT, lambda *_: interrupts.append(True))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # it may not be UTF-8
    if "--without-dvc" not in flags:
        os.environ[CHECKED] = "yes"  # `stages.read` has checked all stages
        # Not the script `dvc`: its first line has the path of the environment, which may be too
        # long.
        dvc = [sys.executable, "-m", "dvc", "--wait-for-lock"]
        return _run([*dvc, "repro", "--single-item", *flags, name], name, log)
    stage = next(stage for stage in stages.recall() if stage.name == name)
    Path(stage.receipt).unlink(missing_ok=True)
    inputs = receipt.digest_inputs(stage)
    _clear([*stage.files, *stage.directories])
    status = _run(["/bin/sh", "-c", stage.command], name, log)
    if status == 0:
        receipt.write(stage, inputs)
    return status


def _clear(outputs: Iterable[str]) -> None:
    """Delete the outputs of an earlier run, as DVC does before it runs a stage."""
    for path in map(Path, outputs):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _run(command: list[str], name: str, log: Path) -> int:
    failed = log.with_suffix(".failed")
    log.parent.mkdir(parents=True, exist_ok=True)
    failed.unlink(missing_ok=True)
    with (
        log.open("wb", buffering=0) as file,
        subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            preexec_fn=die_with_parent,  # noqa: PLW1509 (there are no threads here)
        ) as process,
    ):
        assert process.stdout is not None
        shown, is_killed = 0.0, False
        for line in _lines(process.stdout):
            text = line.decode(errors="replace").rstrip()
            is_progress = line.endswith(b"\r")
            too_soon = is_progress and time.monotonic() - shown < PROGRESS_SECONDS
            if not (too_soon or DVC_CHATTER.match(text)):
                shown = time.monotonic() if is_progress else shown
                print(f"{name} | {text}", flush=True)
            is_killed |= bool(KILLED.match(text))
            with contextlib.suppress(OSError):  # on a full disk, which the stage reports itself
                file.write(line)
        if is_killed or process.wait() in (-signal.SIGKILL, 128 + signal.SIGKILL):
            print(f"{name} | {OUT_OF_MEMORY}", flush=True)
            with contextlib.suppress(OSError):
                file.write(f"{OUT_OF_MEMORY}\n".encode())
    if process.returncode:
        with contextlib.suppress(OSError):
            failed.write_text(stages.STOPPED if interrupts else str(process.returncode))
    return process.returncode


def _lines(stream: IO[bytes]) -> Iterator[bytes]:
    """Yield lines as they arrive; a progress bar ends its lines with a carriage return."""
    pending = b""
    while chunk := stream.read1(65536):  # type: ignore[attr-defined]
        *lines, pending = re.split(rb"(?<=[\r\n])(?!\n)", pending + chunk)
        yield from lines
    if pending:
        yield pending


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:]))
