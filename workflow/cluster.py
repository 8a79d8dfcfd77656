"""Stages as jobs of a cluster: Snakemake's Slurm plugin submits them, DVC stays with the head.

A job on another node runs a stage's command and no DVC (``job.py``). Around it, in the process that
submits it, DVC gives what it remembers instead of a job, and records what a job has made.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from dvc.repo import Repo, lock_repo
from dvc.rwlock import rwlock
from dvc.stage.cache import RunCacheNotFoundError
from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo
from snakemake_interface_executor_plugins.registry import ExecutorPluginRegistry

import receipt
from stages import Stage


class ResultError(Exception):
    """What a job has made cannot be recorded; the message says why."""


def join(stages: list[Stage]) -> None:
    """Put DVC around the jobs of Snakemake's Slurm plugin, where it is installed."""
    logging.getLogger("dvc").setLevel(logging.WARNING)
    registry = ExecutorPluginRegistry()
    if registry.is_installed("slurm"):
        plugin = registry.get_plugin("slurm")
        plugin.executor = _joined(plugin.executor, {stage.rule: stage for stage in stages})


def _joined(executor: type, stages: dict[str, Stage]) -> type:
    class Executor(executor):
        """Submits what DVC does not remember, and records what comes of it."""

        def __post_init__(self) -> None:
            super().__post_init__()
            self._claims: dict[str, AbstractContextManager[None]] = {}
            # The name by which the plugin asks for its jobs. It is the same for every head of this
            # project: one that was killed leaves its jobs to the next.
            path = hashlib.sha256(str(Path.cwd()).encode()).hexdigest()[:8]
            self.run_uuid = f"{self.workflow.executor_settings.jobname_prefix or 'ganloom'}-{path}"

        def run_job(self, job: Any) -> None:
            stage = stages[job.name]
            try:
                left = self._left_by_another_head(job)
                if not left and not stage.force and (adopt(stage) or restore(stage)):
                    super().report_job_success(SubmittedJobInfo(job))
                    return
                self._claims[stage.name] = claim(stage)
                if not left:
                    for mark in (stage.receipt, stage.failed):
                        Path(mark).unlink(missing_ok=True)
            except Exception as error:  # this is a thread of the plugin's: nobody else would see it
                self.report_job_error(SubmittedJobInfo(job), msg=str(error))
                return
            if left:
                self.logger.info(f"{stage.name} is at work as Slurm job {left}.")
                log = self.slurm_logdir / f"rule_{job.name}" / f"{left}.log"
                self.report_job_submission(SubmittedJobInfo(job, left, {"slurm_logfile": log}))
            else:
                super().run_job(job)

        def report_job_success(self, job_info: SubmittedJobInfo) -> None:
            stage = stages[job_info.job.name]
            try:
                record(stage, self.workflow.execution_settings.latency_wait)
            except Exception as error:
                self.report_job_error(job_info, msg=str(error))
            else:
                self._release(stage)
                super().report_job_success(job_info)

        def report_job_error(
            self, job_info: SubmittedJobInfo, msg: str | None = None, **kwargs: Any
        ) -> None:
            stage = stages[job_info.job.name]
            self._release(stage)
            print(f"{stage.name} | {msg}", file=sys.stderr)  # Snakemake, told to be quiet, does not
            if _gave_up(stage):
                job_info.job.attempt = job_info.job.restart_times + 1
            super().report_job_error(job_info, msg=msg, **kwargs)

        async def sleep(self) -> None:
            # The plugin asks Slurm after 40 s, then ever more rarely. Many a stage takes less, and
            # leaves a mark when it ends.
            end = time.monotonic() + self.next_seconds_between_status_checks
            await asyncio.sleep(1)
            while time.monotonic() < end and not self._sees_a_mark():
                await asyncio.sleep(1)

        def _sees_a_mark(self) -> bool:
            return any(
                Path(mark).exists()
                for stage in stages.values()
                if stage.name in self._claims
                for mark in (stage.receipt, stage.failed)
            )

        def _release(self, stage: Stage) -> None:
            if held := self._claims.pop(stage.name, None):
                held.__exit__(None, None, None)

        def _left_by_another_head(self, job: Any) -> str | None:
            """The number of a Slurm job that waits or runs for this stage."""
            command = ["squeue", "--noheader", "--states=PENDING,RUNNING,SUSPENDED"]
            jobs = subprocess.run(
                [*command, f"--name={self.run_uuid}", "--format=%k %i"],
                check=True,
                capture_output=True,
                text=True,
            ).stdout
            found = dict(line.split() for line in jobs.splitlines())
            return found.get(f"rule_{job.name}")  # the plugin's comment on each job

    return Executor


def _gave_up(stage: Stage) -> bool:
    """Whether a job's command ended with an error of its own, and would do so again."""
    try:
        return int(Path(stage.failed).read_text()) > 0
    except (FileNotFoundError, ValueError):  # on a full disk, it is empty
        return False


@contextmanager
def _dvc(stage: Stage) -> Iterator[Any]:
    """DVC's own object for a stage, while DVC's files are this process's alone."""
    with Repo(".", _wait_for_lock=True) as repo, lock_repo(repo), repo.scm_context():
        yield repo.stage.get_target(stage.name)


def claim(stage: Stage) -> AbstractContextManager[None]:
    """Keep DVC's commands on this machine away from a stage that another machine runs.

    Held as long as this process lives, or until the manager is left.
    """
    with _dvc(stage) as found:
        held = rwlock(
            found.repo.tmp_dir,
            found.repo.fs,
            " ".join(sys.argv),
            [dep.fs_path for dep in found.deps],
            [out.fs_path for out in found.outs],
            found.repo.config["core"].get("hardlink_lock", False),
        )
    held.__enter__()
    return held


def adopt(stage: Stage) -> bool:
    """Record what a job has made for a head that was killed; False if there is no such thing."""
    with _dvc(stage) as found:  # what was edited while this waited for DVC's lock counts as well
        if not (receipt.is_whole(stage) and receipt.is_current(stage)):
            return False
        _save(found)
    Path(stage.receipt).unlink()
    return True


def restore(stage: Stage) -> bool:
    """Bring back a result that DVC remembers; False if it does not."""
    with _dvc(stage) as found:
        if not found.changed():
            return True
        found.remove_outs()
        try:
            found.repo.stage_cache.restore(found)
        except RunCacheNotFoundError:
            return False
        _save(found)
    return True


def record(stage: Stage, patience: float) -> None:
    """Record what a job has made.

    Args:
        stage: The stage whose job has ended well.
        patience: Seconds in which this machine must see all of what another one wrote.

    Raises:
        ResultError: it is not whole, or no longer of the present parameters, code and data.
    """
    deadline = time.monotonic() + patience
    while not receipt.is_whole(stage):
        if time.monotonic() > deadline:
            raise ResultError(f"what its job wrote is not seen here after {patience:g} s")
        time.sleep(1)
    if not adopt(stage):
        raise ResultError("parameters, code or data changed while it ran; it has to run again")


def _save(found: Any) -> None:
    """What DVC does after it has run a stage."""
    found.save(run_cache=all(out.use_cache for out in found.outs))
    found.commit()
    found.dump(update_pipeline=False)
