"""Stages as cluster jobs: Snakemake's Slurm plugin submits them, DVC runs on the head node.

A job on another node runs the command of a stage without DVC (``job.py``). In the process that
submits it, DVC restores a known result instead of a job, and records the result of a job.
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

import engine_patches
import receipt
from stages import Stage


class ResultError(Exception):
    """The result of a job cannot be recorded; the message gives the reason."""


def join(stages: list[Stage]) -> None:
    """Extend Snakemake's Slurm plugin by DVC, if the plugin is installed."""
    logging.getLogger("dvc").setLevel(logging.WARNING)
    by_rule = {stage.rule: stage for stage in stages}
    engine_patches.extend_slurm(lambda executor: _joined(executor, by_rule))


def _joined(executor: type, stages: dict[str, Stage]) -> type:
    class Executor(executor):
        """Submits jobs whose results DVC does not have, and records their results."""

        def __post_init__(self) -> None:
            super().__post_init__()
            self._claims: dict[str, AbstractContextManager[None]] = {}
            # Name under which the plugin lists its jobs. It is the same for each head process of
            # this project, so that the next one finds the jobs of one that was killed.
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
            except Exception as error:  # in a thread of the plugin, where it would be lost
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
            print(f"{stage.name} | {msg}", file=sys.stderr)  # Snakemake does not with --quiet
            if _gave_up(stage):
                job_info.job.attempt = job_info.job.restart_times + 1
            super().report_job_error(job_info, msg=msg, **kwargs)

        async def sleep(self) -> None:
            # The plugin asks Slurm after 40 s, then ever less often. Many stages take less time,
            # and leave a mark when they end.
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
            """Return the id of a pending or running Slurm job for this stage."""
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
    """Tell whether the command of a job failed by itself, and would fail again."""
    try:
        return int(Path(stage.failed).read_text()) > 0
    except (FileNotFoundError, ValueError):  # the file is empty if the disk was full
        return False


@contextmanager
def _dvc(stage: Stage) -> Iterator[Any]:
    """Yield DVC's object for a stage, while this process holds DVC's lock."""
    with Repo(".", _wait_for_lock=True) as repo, lock_repo(repo), repo.scm_context():
        yield repo.stage.get_target(stage.name)


def claim(stage: Stage) -> AbstractContextManager[None]:
    """Lock a stage that another machine runs against DVC commands on this machine.

    The lock is held until this process ends, or the context manager is left.
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
    """Record the result of a job whose head process was killed; False if there is none."""
    with _dvc(stage) as found:  # checked under the lock, to include edits during the wait for it
        if not (receipt.is_whole(stage) and receipt.is_current(stage)):
            return False
        _save(found)
    Path(stage.receipt).unlink()
    return True


def restore(stage: Stage) -> bool:
    """Restore a result from DVC's cache; False if there is none."""
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
    """Record the result of a job.

    Args:
        stage: Stage whose job has succeeded.
        patience: Seconds within which the files that another machine wrote must appear here.

    Raises:
        ResultError: The result is incomplete, or parameters, code or data have changed since.
    """
    deadline = time.monotonic() + patience
    while not receipt.is_whole(stage):
        if time.monotonic() > deadline:
            raise ResultError(f"what its job wrote is not seen here after {patience:g} s")
        time.sleep(1)
    if not adopt(stage):
        raise ResultError("parameters, code or data changed while it ran; it has to run again")


def _save(found: Any) -> None:
    """Do what DVC does after it has run a stage."""
    found.save(run_cache=all(out.use_cache for out in found.outs))
    found.commit()
    found.dump(update_pipeline=False)
