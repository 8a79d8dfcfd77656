"""Setup of each stage script: what has to come before its other imports.

The source is located relative to this file. With an installed or exported absolute path, an
experiment that runs in a copy of the project would use the code of the original.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

WORKFLOW = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(WORKFLOW.parent / "src"), str(WORKFLOW)]
sys.dont_write_bytecode = True

# libgomp spins while it waits, so that two trainings on the same cores starve each other. It reads
# these variables once, when torch is imported.
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
os.environ["GOMP_SPINCOUNT"] = "0"

import edits
import messages
import process
from ganloom import preflight

if TYPE_CHECKING:
    from ganloom.params import Params


def begin() -> Params:
    """Read the parameters, fix the number of threads, and start the checks around the stage.

    Exits with a message if the stage cannot run, for example with an invalid ``params.yaml``.
    """
    sys.excepthook = messages.report
    if problem := preflight.misplaced():
        sys.exit(f"error: {problem}")
    try:
        from ganloom.params import ParamsError, load
    except ModuleNotFoundError as error:
        sys.exit(
            f"error: {error.name} is not installed for {sys.executable}; "
            "use the project's environment: source .venv/bin/activate"
        )
    is_worker = process.join()
    process.keep_freed_memory()
    try:
        params = load()
    except ParamsError as error:
        sys.exit(f"error: {error}")
    stage = os.environ.get("DVC_STAGE")
    if stage and not is_worker:
        if problems := preflight.unrecordable():
            sys.exit("\n".join(f"error: {problem}" for problem in problems))
        edits.watch(stage)
    # The results of BLAS and torch depend on the number of threads. Snakemake exports
    # OMP_NUM_THREADS, DVC does not.
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = str(params.threads)
    return params
