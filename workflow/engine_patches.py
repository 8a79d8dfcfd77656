"""All uses of private parts of Snakemake, its Slurm plugin and DVC: what each changes, and why.

They were checked with Snakemake 9.27, its Slurm plugin 2.8, DVC 3.67 and dvclive 3.49. With each
other version, ``tests/test_engine_patches.py`` compares the signatures in ``CHECKED``.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from snakemake.workflow import Workflow

DVC_TMP = Path(".dvc/tmp")

# Signature of each function that is replaced, overridden or called although it is private.
CHECKED = {
    "snakemake.jobs:Job.remove_existing_output": "(self)",
    "snakemake.workflow:Workflow.get_rule": "(self, name)",
    "snakemake_interface_executor_plugins.registry:ExecutorPluginRegistry.get_plugin": (
        "(self, plugin_name)"
    ),
    # Overridden by the executor in cluster.py.
    "snakemake_executor_plugin_slurm:Executor.__post_init__": "(self, test_mode)",
    "snakemake_executor_plugin_slurm:Executor.run_job": "(self, job)",
    "snakemake_executor_plugin_slurm:Executor.report_job_success": "(self, job_info)",
    "snakemake_executor_plugin_slurm:Executor.report_job_error": "(self, job_info, msg, kwargs)",
    "snakemake_executor_plugin_slurm:Executor.report_job_submission": (
        "(self, job_info, register_job)"
    ),
    "snakemake_executor_plugin_slurm:Executor.sleep": "(self)",
    "dvc.rwlock:_edit_rwlock": "(lock_dir, fs, hardlink)",
    "dvc.rwlock:rwlock": "(tmp_dir, fs, cmd, read, write, hardlink)",
    "dvc.stage.cache:StageCache.restore": "(self, stage, run_cache, pull, dry)",
    # Overridden in ganloom/training/record.py: training must not depend on this module.
    "dvclive.live:Live._init_dvc": "(args, kwargs)",  # of a decorator
}


def keep_outputs() -> None:
    """Prevent Snakemake from deleting the outputs of a job before it starts.

    DVC deletes them, under its locks. When a job starts, another engine may be running a stage that
    was stale when Snakemake began. Snakemake has no option for this.
    """
    from snakemake.jobs import Job

    async def keep(job: Job) -> None:
        pass

    Job.remove_existing_output = keep


def set_resources(workflow: Workflow, rule: str, kind: str) -> None:
    """Apply ``--set-resources KIND:...`` to a rule, after that for the rule itself.

    Snakemake has rules, not stages: resources set for `train` apply to all models, unless they are
    set for a single one.
    """
    for name in (kind, rule):
        found = workflow.resource_settings.overwrite_resources.get(name, {})
        workflow.get_rule(rule).resources.update(found)


def extend_slurm(extended: Callable[[type], type]) -> None:
    """Replace the executor of Snakemake's Slurm plugin, if it is installed, by a subclass.

    A plugin cannot be derived from another: a new one would have to copy its settings and options.
    """
    from snakemake_interface_executor_plugins.registry import ExecutorPluginRegistry

    registry = ExecutorPluginRegistry()
    if registry.is_installed("slurm"):
        plugin: Any = registry.get_plugin("slurm")
        plugin.executor = extended(plugin.executor)


def forget_zombies() -> None:
    """Remove the locks of zombies from DVC's table of the paths that processes read and write.

    DVC removes those of killed processes, but takes zombies for running processes; the first
    process of a container may never collect them.
    """
    import psutil
    from dvc.fs import localfs
    from dvc.rwlock import _edit_rwlock

    def is_zombie(holder: dict[str, Any]) -> bool:
        try:
            return psutil.Process(holder["pid"]).status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    if not (DVC_TMP / "rwlock").exists():
        return
    with _edit_rwlock(str(DVC_TMP), localfs, False) as table:
        table["write"] = {p: w for p, w in table["write"].items() if not is_zombie(w)}
        readers = {p: [r for r in found if not is_zombie(r)] for p, found in table["read"].items()}
        table["read"] = {path: found for path, found in readers.items() if found}


def writers() -> dict[str, int]:
    """Return the process that writes each path, from the same table; {} if it is invalid."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        table = json.loads((DVC_TMP / "rwlock").read_text(encoding="utf-8"))
        return {path: writer["pid"] for path, writer in table["write"].items()}
    return {}
