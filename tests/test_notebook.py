"""The notebook for Colab and Kaggle, executed with a local folder as the drive."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

pytestmark = pytest.mark.engines

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "docs" / "colab.ipynb"
MODEL = Path("results/models/dcgan/run.json")


def run(keep: Path, project: Path, monkeypatch: pytest.MonkeyPatch) -> nbformat.NotebookNode:
    """Execute the notebook on a machine without anything of the project."""
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("SHELL", "/bin/sh")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    settings = {"SOURCE": str(ROOT), "RECIPE": "tiny", "KEEP": str(keep), "PROJECT": str(project)}
    first = next(cell for cell in notebook.cells if cell.cell_type == "code")
    assert all(f"{name} = " in first.source for name in settings)
    first.source = "\n".join(f"{name} = {value!r}" for name, value in settings.items())
    NotebookClient(notebook, timeout=600, kernel_name="python3").execute()
    return notebook


def test_notebook_resumes_on_a_new_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep = tmp_path / "my drive"
    notebook = run(keep, tmp_path / "first", monkeypatch)
    assert "<iframe" in notebook.cells[-1].outputs[0].data["text/html"]
    assert (keep / "report.html").read_text().startswith("<!doctype html>")
    trained = json.loads((tmp_path / "first" / MODEL).read_text())

    # The machine was taken away before the end: what DVC's cache knows is all there is.
    (keep / "dvc.lock").unlink()
    run(keep, tmp_path / "second", monkeypatch)
    assert json.loads((tmp_path / "second" / MODEL).read_text()) == trained  # with its times

    # Everything had ended; nothing is left to do but to bring it back.
    before = (keep / "dvc.lock").read_bytes()
    run(keep, tmp_path / "third", monkeypatch)
    assert (keep / "dvc.lock").read_bytes() == before
    assert json.loads((tmp_path / "third" / MODEL).read_text()) == trained


def test_notebook_is_saved_without_outputs() -> None:
    for cell in nbformat.read(NOTEBOOK, as_version=4).cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
