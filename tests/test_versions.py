"""Versions, also without package metadata."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import pytest
import torch

from ganloom import __version__, doctor
from ganloom.bundle.write import _licence, _requirements
from ganloom.report.reproduction import PACKAGES, reproduction
from ganloom.training.record import machine
from ganloom.versions import UNKNOWN, version
from ganloom.web.client import user_agent


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the metadata of all packages, as for sources on PYTHONPATH."""

    def hidden(name: str) -> importlib.metadata.Distribution:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", hidden)


def test_versions_are_of_the_source_and_installed_packages() -> None:
    assert version("ganloom") == __version__  # whatever was installed when
    assert version("torch") == importlib.metadata.version("torch")


@pytest.mark.usefixtures("bare")
def test_versions_work_without_package_metadata() -> None:
    with pytest.raises(importlib.metadata.PackageNotFoundError):
        importlib.metadata.version("ganloom")
    assert machine(torch.device("cpu"))["ganloom"] == __version__
    versions = reproduction(Path(__file__).parents[1]).versions
    assert [versions[name] for name in PACKAGES] == [UNKNOWN] * len(PACKAGES)
    assert "torch\n" in _requirements()
    assert "Apache License" in _licence()
    assert "aiohttp/3" in user_agent(None)
    found = {finding.name: finding for finding in [*doctor._python(), *doctor._packages()]}
    assert found["Python"].state == "fine"
    assert (found["ganloom"].state, found["ganloom"].remedy[:11]) == ("note", "pip install")
