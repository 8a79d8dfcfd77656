"""A share of the trials in ``kill_trials.py`` and ``engine_trials.py``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's processes")


def require_no_fault(script: str, trials: int, seed: int) -> None:
    # In a process of its own: it forks, which one with threads should not.
    path = Path(__file__).with_name(script)
    done = subprocess.run(
        [sys.executable, path, "--trials", str(trials), "--seed", str(seed)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{trials} trials, 0 faults" in done.stdout


def test_killed_stages_end_with_the_same_bytes() -> None:
    require_no_fault("kill_trials.py", 20, 2)  # each stage at least once


@pytest.mark.engines
def test_killed_engines_end_with_the_same_bytes() -> None:
    # One is killed, one meets a full disk (or, but for root, another time), two run at once.
    require_no_fault("engine_trials.py", 3, 407)
