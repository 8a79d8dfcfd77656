"""A share of the trials of ``kill_trials.py``: every stage is harmed at least once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's processes")


def test_stages_that_are_harmed_end_in_the_same_bytes() -> None:
    # In a process of its own: it forks, which one with threads should not.
    script = Path(__file__).with_name("kill_trials.py")
    done = subprocess.run(
        [sys.executable, script, "--trials", "20", "--seed", "2"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "20 trials, 0 faults" in done.stdout
