"""What every stage script does first: find the source beside it, and be a good child process.

The source is looked up relative to this file. An installed or exported absolute path would make an
experiment that runs in a copy of the project use the original's code.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "src"))
sys.dont_write_bytecode = True

# libgomp spins while it waits; two trainings on the same cores then starve each other. It reads
# these once, when torch is imported.
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
os.environ["GOMP_SPINCOUNT"] = "0"

if TYPE_CHECKING:
    from ganloom.params import Params

PR_SET_PDEATHSIG = 1
MAIN = "GANLOOM_STAGE_PID"  # of the process that a stage began with


def begin() -> Params:
    """Read the parameters and fix the number of threads.

    Exits with the schema's message when ``params.yaml`` does not fit it.
    """
    try:
        from ganloom.params import ParamsError, load  # noqa: PLC0415
    except ModuleNotFoundError as error:
        sys.exit(
            f"error: {error.name} is not installed for {sys.executable}; "
            "use the project's environment: source .venv/bin/activate"
        )

    die_with_parent()
    main = os.environ.setdefault(MAIN, str(os.getpid()))  # its workers come here, too
    is_worker = main != str(os.getpid())
    if is_worker and main != str(os.getppid()):
        # It died before the kernel was asked: nobody would ever give this worker work, or end it.
        signal.raise_signal(signal.SIGTERM)
    try:
        params = load()
    except ParamsError as error:
        sys.exit(f"error: {error}")
    # BLAS libraries and torch give other bits with another number of threads, and Snakemake
    # exports OMP_NUM_THREADS where DVC does not.
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = str(params.threads)
    return params


def die_with_parent() -> None:
    """Ask the kernel for SIGTERM when the parent dies.

    After SIGKILL of an engine alone, its stage would live on and write beside the next one.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
