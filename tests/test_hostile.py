"""A share of the trials in ``hostile_trials.py``."""

from __future__ import annotations

import sys

import hostile_trials
import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's limits of processes")


def test_hostile_files_are_read_or_refused_without_side_effects() -> None:
    outcomes = hostile_trials.run(hostile_trials.trials(2000))
    assert outcomes.faults == []
    for kind in hostile_trials.KINDS:  # neither all nor nothing: the trials reach something
        assert outcomes.counts[kind, "refused"], kind
        assert outcomes.counts[kind, "read"] or kind == "other_picture", kind
