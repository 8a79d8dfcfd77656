"""The private parts of the engines that the workflow uses are as they were when it was written."""

from __future__ import annotations

import importlib
import inspect
from importlib.metadata import packages_distributions, version

import pytest

import engine_patches


@pytest.mark.parametrize("name", engine_patches.CHECKED)
def test_a_private_function_has_the_signature_that_was_checked(name: str) -> None:
    module, _, path = name.partition(":")
    package = module.partition(".")[0]
    if package == "snakemake_executor_plugin_slurm":
        pytest.importorskip(package)
    importlib.import_module("snakemake.api")  # before its other modules, which import each other
    found: object = importlib.import_module(module)
    installed = f"{package} {version(packages_distributions()[package][0])}"
    for attribute in path.split("."):
        assert hasattr(found, attribute), (
            f"{installed}: {name} has moved; see what it is used for in workflow/engine_patches.py"
        )
        found = getattr(found, attribute)
    assert callable(found)
    signature = f"({', '.join(inspect.signature(found).parameters)})"
    assert signature == engine_patches.CHECKED[name], (
        f"{installed}: {name} takes {signature}; see what it is used for in "
        "workflow/engine_patches.py, and correct its use and CHECKED"
    )
