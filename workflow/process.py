"""The processes of a stage: the stage itself and its workers, which end with their parent."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # options of glibc's mallopt
STAGE_PID = "GANLOOM_STAGE_PID"  # environment variable: process id of the stage


def join() -> bool:
    """Make this process a part of a stage, whose first process it is or whose worker.

    Returns:
        Whether it is a worker.
    """
    die_with_parent()
    stage = os.environ.setdefault(STAGE_PID, str(os.getpid()))
    is_worker = stage != str(os.getpid())
    if is_worker and stage != str(os.getppid()):
        # The parent died before the first call, so this worker would never get work nor end.
        signal.raise_signal(signal.SIGTERM)
    return is_worker


def die_with_parent() -> None:
    """Ask the kernel to send SIGTERM when the parent dies.

    Otherwise a stage would survive SIGKILL of its engine, and write at the same time as the next
    run.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def keep_freed_memory() -> None:
    """Keep freed memory for the next tensors, instead of returning it to the kernel.

    The kernel clears each page that it hands out, which takes a third of the time of a pretrained
    network on a CPU (docs/results/performance.md).
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):  # musl has none
            libc.mallopt(M_MMAP_MAX, 0)
            libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
