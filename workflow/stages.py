"""The stages of ``dvc.yaml``, read for the Snakefile.

DVC alone decides which stages are stale. Snakemake's own triggers cannot know that changed
parameters were already run by ``dvc repro``; they are replaced by a stamp file per stage. A stale
stage gets new content, since Snakemake compares checksums and ignores a mere touch; a clean one
gets an mtime of 0.
"""

from __future__ import annotations

import difflib
import fnmatch
import json
import os
import secrets
import shlex
import signal
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import engine_patches

if TYPE_CHECKING:
    from dvc.repo import Repo
    from dvc.stage import Stage as DvcStage
    from networkx import DiGraph

ROOT = Path(__file__).resolve().parents[1]
STAMPS = Path(".snakemake/stages")
STAGES = STAMPS.with_suffix(".json")  # the stages as they were last read
LOGS = Path("results/logs")
STOPPED = str(-signal.SIGINT)  # content of the mark of a stage that Ctrl-C ended

sys.path.insert(0, str(ROOT / "src"))


class PipelineError(Exception):
    """The pipeline cannot run; the message gives the reason and a remedy."""


@dataclass(frozen=True)
class Stage:
    """A stage of ``dvc.yaml``; paths are relative to the project."""

    name: str
    command: str
    dependencies: list[str]
    params: list[str]  # keys of params.yaml
    inputs: list[str]  # outputs of the stages that it waits for
    files: list[str]
    directories: list[str]
    threads: int
    stale: bool
    force: bool  # runs even if DVC considers it clean
    local: bool  # runs on the engine's machine, never on another node
    priority: int  # Snakemake starts the runnable stage with the highest one first

    @property
    def kind(self) -> str:
        return self.name.partition("@")[0]

    @property
    def rule(self) -> str:
        return self.name.replace("@", "_")

    @property
    def stamp(self) -> str:
        return str(STAMPS / self.name)

    @property
    def receipt(self) -> str:
        return f"{self.stamp}.receipt"

    @property
    def log(self) -> str:
        return str(LOGS / f"{self.name}.log")

    @property
    def failed(self) -> str:
        return str(LOGS / f"{self.name}.failed")


def activate() -> str:
    """Shell code that puts the interpreter's folder, which contains ``dvc``, on the PATH."""
    return f"export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH; "


def read(config: Mapping[str, object]) -> list[Stage]:
    """Read the stages, and stamp them as stale or clean.

    Args:
        config: Snakemake's config. Its only key is ``force``, a pattern of stage names, or of their
            part before the @, to run even if DVC considers them clean.

    Raises:
        PipelineError: Parameters or config are invalid, there is no Git repository, DVC cannot work
            with a path or file, or a stage is running.
    """
    from ganloom import preflight
    from ganloom.files import write_whole

    _require_usable(config)

    from dvc.config import ConfigError
    from dvc.exceptions import DvcException
    from dvc.lock import LockError
    from dvc.repo import Repo, lock_repo

    stages: list[DvcStage] = []
    try:
        engine_patches.forget_zombies()
        # Held throughout, because DVC reads its files again whenever it takes the lock.
        with Repo(".") as repo, lock_repo(repo):
            graph = repo.index.graph
            # `dvc add` creates stages without a command, which are plain inputs for Snakemake.
            stages = [stage for stage in graph if stage.cmd]
            outputs = [out for stage in stages for out in stage.outs]
            if problems := preflight.rejections(repo, outputs):
                raise PipelineError("\n".join(problems))
            changed = set(repo.status())  # raises an error while a stage is running
            for mark in LOGS.glob("*.failed"):
                mark.unlink()
            forced = _forced(stages, config["force"]) if "force" in config else set()
            stale = {s for s in stages if s.addressing in changed} | forced
            spreading = {s for s in stale if not _is_gate(s)}
            stale |= {stage for stage in stages if _upstream(graph, stage) & spreading}
            found = [
                _describe(stage, _waits_for(graph, stage, stale), stage in stale, stage in forced)
                for stage in sorted(stages, key=lambda stage: stage.addressing)
            ]
            _unprotect(repo, (path for stage in found if stage.stale for path in stage.files))
    except ConfigError as error:
        raise PipelineError(f"DVC's configuration, .dvc/config or another: {error}") from None
    except LockError as error:
        raise PipelineError(_running(stages) or str(error)) from None
    except DvcException as error:
        raise PipelineError(f"dvc.yaml: {error}") from None
    except UnicodeEncodeError as error:
        name = os.fsencode(error.object)
        raise PipelineError(
            f"{name!r}: this name is not UTF-8, which DVC needs; rename it"
        ) from None
    except OSError as error:
        raise PipelineError(_unreadable(error)) from None

    STAMPS.mkdir(parents=True, exist_ok=True)
    for stage in found:
        _stamp(Path(stage.stamp), stage.stale)
        for path in [*stage.files, *stage.directories]:
            _age(Path(path))
    write_whole(STAGES, json.dumps([asdict(stage) for stage in found]).encode())
    return found


def _require_usable(config: Mapping[str, object]) -> None:
    """Check what can be checked before DVC reads its files.

    Raises:
        PipelineError: DVC could not start, or ``params.yaml`` or ``config`` is invalid.
    """
    from ganloom import git, preflight
    from ganloom.params import ParamsError, load
    from ganloom.sources import paths

    if unknown := config.keys() - {"force"}:
        raise PipelineError(
            f"--config {', '.join(sorted(unknown))}: unknown; allowed: force=STAGE. All settings "
            "are in params.yaml"
        )
    if problem := preflight.misplaced():
        raise PipelineError(problem)
    try:
        problems = preflight.conflicts(Path()) or paths.problems(load())
        if not problems:
            git.ask(Path(), "rev-parse", "--git-dir")
    except (ParamsError, git.GitError) as error:
        problems = [str(error)]
    if problems:
        raise PipelineError("\n".join(problems))


def recall() -> list[Stage]:
    """Return the stages as last read, for a process that runs a job of another process.

    To ask DVC, it would have to wait for its own job, or break the locks of another machine.
    """
    return [Stage(**fields) for fields in json.loads(STAGES.read_bytes())]


def failures() -> str:
    """Return the end of the log of each failed stage."""
    marks = {mark: mark.read_text() for mark in sorted(LOGS.glob("*.failed"))}
    logs = [mark.with_suffix(".log") for mark, text in marks.items() if text != STOPPED]
    parts = [f"\n--- {log.stem} failed; the end of {log}:\n{_tail(log)}" for log in logs]
    if STOPPED in marks.values():
        parts.append("\nStopped; the same command continues.")
    return "\n".join(parts)


def _running(stages: Iterable[DvcStage]) -> str:
    """List the stages that another process is running, from DVC's table of locks."""
    writers = engine_patches.writers()
    running = {
        f"{stage.addressing} is running (pid {writers[out.fs_path]})"
        for stage in stages
        for out in stage.outs
        if out.fs_path in writers
    }
    return "; ".join(
        [*sorted(running), "wait for it or stop it, then try again"] if running else []
    )


def _upstream(graph: DiGraph[DvcStage], stage: DvcStage) -> set[DvcStage]:
    import networkx as nx

    return nx.descendants(graph, stage)  # edges point from a stage to its dependencies


def _forced(stages: Iterable[DvcStage], pattern: object) -> set[DvcStage]:
    """Return the stages that match a pattern.

    Raises:
        PipelineError: There are none.
    """
    found = {
        stage
        for stage in stages
        for name in (stage.addressing, _kind(stage))
        if fnmatch.fnmatchcase(name, str(pattern))
    }
    if not found:
        kind, _, key = str(pattern).partition("@")
        kinds = sorted({_kind(stage) for stage in stages})
        names = sorted(stage.addressing for stage in stages if _kind(stage) == kind)
        known = names if key and names else [*kinds, "one of several such as train@NAME"]
        close = difflib.get_close_matches(str(pattern), known, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise PipelineError(
            f"--config force={pattern}: no stage has this name{hint} (allowed: "
            f"{', '.join(known)}, or a pattern such as train@a*)"
        )
    return found


def _kind(stage: DvcStage) -> str:
    return stage.addressing.partition("@")[0]


def _waits_for(graph: DiGraph[DvcStage], stage: DvcStage, stale: set[DvcStage]) -> list[DvcStage]:
    """Return the stages whose outputs are this stage's inputs for Snakemake.

    Every stale stage waits for the gates directly. No clean stage may stand between a gate and a
    stale stage: downstream of a job that runs, Snakemake ignores the stamps and follows only the
    paths.
        The
    last stage has the gates as well, so that they are part of every complete run.
    """
    direct = [other for other in graph.successors(stage) if not _is_gate(other)]
    gates = [other for other in _upstream(graph, stage) if _is_gate(other)]
    is_last = graph.in_degree(stage) == 0
    return direct + (gates if stage in stale or is_last else [])


def _is_gate(stage: DvcStage) -> bool:
    return bool((stage.meta or {}).get("gate"))


def _describe(stage: DvcStage, upstream: Iterable[DvcStage], stale: bool, force: bool) -> Stage:
    from dvc.dependency import ParamsDependency

    meta = stage.meta or {}
    params = [dep for dep in stage.deps if isinstance(dep, ParamsDependency)]
    directories = sorted(out.def_path for out in stage.outs if _is_directory(out.def_path))
    return Stage(
        name=stage.addressing,
        command=stage.cmd,
        dependencies=sorted(dep.def_path for dep in stage.deps if dep not in params),
        params=sorted(key for dep in params for key in dep.params),
        inputs=sorted(out.def_path for other in upstream for out in other.outs),
        files=sorted({out.def_path for out in stage.outs} - set(directories)),
        directories=directories,
        threads=int(meta.get("threads", 1)),
        stale=stale,
        force=force,
        local=bool(meta.get("local")),
        priority=int(meta.get("priority", 0)),
    )


def _is_directory(path: str) -> bool:
    """Tell whether an output is a directory: one without suffix, since it may not exist yet."""
    return not Path(path).suffix and not Path(path).name.startswith(".")


def _unreadable(error: OSError) -> str:
    """Describe the problem with a file that DVC reads, and its remedy."""
    from ganloom.sources import paths

    if not error.filename:
        return str(error)
    path = Path(error.filename)
    return paths.dangling(path) if path.is_symlink() else f"{path}: {error.strerror}"


def _unprotect(repo: Repo, paths: Iterable[str]) -> None:
    """Replace links into DVC's cache by copies, since Snakemake refuses to replace read-only files.

    It does not check the files in directories, nor anything that the user may write to.
    """
    for path in paths:
        if Path(path).exists() and not os.access(path, os.W_OK):
            repo.unprotect(path)


def _stamp(path: Path, stale: bool) -> None:
    if stale:
        path.write_text(secrets.token_hex())
    else:
        path.touch()
        os.utime(path, (0, 0))


def _age(path: Path) -> None:
    """Reset a future mtime of an output, which Snakemake would consider newer than any stamp.

    Such outputs exist after the clock was set back.
    """
    for each in (path, path / ".snakemake_timestamp"):  # Snakemake's mtime of a directory
        if each.exists() and each.stat().st_mtime > time.time():
            os.utime(each, (1, 1))  # Snakemake treats 0 as missing


def _tail(log: Path, lines: int = 20) -> str:
    """Return the last lines as a terminal shows them; of a progress bar, only its last state."""
    text = log.read_bytes().decode(errors="replace")
    shown = (line.rstrip("\r").rpartition("\r")[2] for line in text.rstrip().split("\n"))
    return "\n".join(list(shown)[-lines:])
