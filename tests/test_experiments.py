"""Named experiments in the report: read from Git and DVC's cache, beside what is here."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dvc.repo import Repo
from PIL import Image
from ruamel.yaml import YAML

from ganloom.report.experiments import (
    ExperimentError,
    Version,
    changed,
    differences,
    experiments,
)

ROOT = Path(__file__).parents[1]
PIXELS = 10_000
GRID = "results/samples/dcgan/grid.png"


def git(project: Path, *arguments: str) -> str:
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", *arguments]
    done = subprocess.run(command, cwd=project, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def run(project: Path, dropout: float, kid: float, colour: str) -> None:
    """What a run of the project leaves, committed; samples are in DVC's cache alone."""
    models = {"dcgan": {"dropout": dropout, "sizes": [1, 2]}, "other": {"dropout": 0.1}}
    with (project / "params.yaml").open("w") as file:
        YAML().dump({"models": models, "report": {"title": str(dropout)}}, file)
    for name, value in (("dcgan", kid), ("other", 0.5)):
        path = project / f"results/metrics/{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"kid_lite2": value, "against": "holdout"}))
    (project / GRID).parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (48, 48), colour).save(project / GRID)
    with Repo(str(project)) as repo:
        repo.add(str(project / GRID))
    git(project, "add", ".")
    git(project, "commit", "--quiet", "--message", f"Dropout {dropout}")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Experiments ``half`` and ``none``, as DVC keeps them, and another state here."""
    project = tmp_path_factory.mktemp("runs")
    git(project, "init", "--quiet")
    Repo.init(str(project)).close()
    (project / ".gitignore").unlink(missing_ok=True)
    git(project, "commit", "--quiet", "--allow-empty", "--message", "Start")
    base = git(project, "rev-parse", "HEAD")
    for name, dropout, kid, colour in (
        ("half", 0.5, 0.25, "red"),
        ("none", 0.0, 0.75, "lime"),
    ):
        run(project, dropout, kid, colour)
        git(project, "update-ref", f"refs/exps/{base[:2]}/{base[2:]}/{name}", "HEAD")
        git(project, "reset", "--quiet", "--hard", base)
    run(project, 0.35, 0.125, "blue")
    return project


@pytest.fixture
def project(runs: Path, tmp_path: Path) -> Iterator[Path]:
    shutil.copytree(runs, tmp_path / "project")
    yield tmp_path / "project"


def colour(uri: str) -> Any:
    import base64

    data = base64.b64decode(uri.partition(",")[2])
    return Image.open(io.BytesIO(data)).convert("RGB").getpixel((20, 20))


def test_experiments_stand_beside_what_is_here(project: Path) -> None:
    found = experiments(project, ["half", "none"], PIXELS)
    assert found.versions == ["workspace", "half", "none"]
    assert [(d.key, d.values) for d in found.differences] == [
        ("models.dcgan.dropout", ["0.35", "0.5", "0.0"])
    ]
    (dcgan,) = found.models  # the other one is the same everywhere
    assert [(row.name, row.values) for row in dcgan.rows] == [
        ("workspace", {"kid_lite2": 0.125}),
        ("half", {"kid_lite2": 0.25}),
        ("none", {"kid_lite2": 0.75}),
    ]
    assert [row.best for row in dcgan.rows] == [{"kid_lite2"}, set(), set()]
    for sample, channel in zip(dcgan.samples, (2, 0, 1), strict=True):
        seen = colour(sample.picture.uri)
        assert seen[channel] > 200
        assert seen[(channel + 1) % 3] < 100
    assert git(project, "status", "--porcelain") == ""  # nothing was checked out


@pytest.mark.parametrize("file", ["workflow/scripts/prelude.py", "src/ganloom/doctor.py"])
def test_the_advice_on_a_full_disk_keeps_every_experiment(project: Path, file: str) -> None:
    text = re.sub(r'"\s+"', "", (ROOT / file).read_text(encoding="utf-8"))
    (options,) = re.findall(r"dvc gc ((?:--[a-z-]+ )+)removes", text)
    before = experiments(project, ["half", "none"], PIXELS)
    command = [sys.executable, "-m", "dvc", "gc", *options.split(), "--force"]
    subprocess.run(command, cwd=project, check=True, capture_output=True)
    after = experiments(project, ["half", "none"], PIXELS)
    assert [m.samples for m in after.models] == [m.samples for m in before.models]
    assert all(m.samples for m in after.models)


def test_experiments_say_neither_who_made_them_nor_in_whose_home(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/al")
    with (project / "params.yaml").open("a") as file:
        file.write("network: {contact: al@example.org}\nfetch: {shards: /home/al/shards}\n")
    assert [(d.key, d.values) for d in experiments(project, ["HEAD"], PIXELS).differences] == [
        ("fetch.shards", ["$HOME/shards", "–"])
    ]


def test_a_branch_a_tag_and_a_commit_are_names_as_well(project: Path) -> None:
    git(project, "tag", "v1")
    assert experiments(project, ["v1", "HEAD"], PIXELS).differences == []
    assert experiments(project, ["v1", "HEAD"], PIXELS).models == []


def test_a_name_that_is_not_known_lists_those_that_are(project: Path) -> None:
    with pytest.raises(ExperimentError, match=r"no experiment 'haf'; known: half, none$"):
        experiments(project, ["half", "haf"], PIXELS)
    git(project, "tag", "empty", "HEAD~1")
    with pytest.raises(ExperimentError, match="'empty' cannot be read"):
        experiments(project, ["empty"], PIXELS)


@pytest.mark.parametrize(
    "text", ["train: 1\n", "- models\n", "models: 5\n", "models: [\n", "models: 2024-99-99\n", ""]
)
def test_a_commit_of_another_form_is_refused_by_name(project: Path, text: str) -> None:
    (project / "params.yaml").write_text(text)
    git(project, "commit", "--quiet", "--all", "--message", "Another form")
    git(project, "tag", "old")
    git(project, "checkout", "--quiet", "HEAD~1")
    with pytest.raises(ExperimentError, match=r"'old' cannot be read: params\.yaml"):
        experiments(project, ["old"], PIXELS)


def test_samples_that_are_nowhere_are_left_out(project: Path) -> None:
    shutil.rmtree(project / ".dvc/cache")
    (dcgan,) = experiments(project, ["half"], PIXELS).models
    assert [sample.version for sample in dcgan.samples] == ["workspace"]
    assert len(dcgan.rows) == 2


def test_a_queued_experiment_finds_the_others(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It runs in a copy that has not their references; DVC says where the original is."""
    copy = tmp_path / "copy"
    git(project, "clone", "--quiet", str(project), str(copy))
    shutil.copytree(project / "results", copy / "results", dirs_exist_ok=True)
    with pytest.raises(ExperimentError, match="no experiment 'half'"):
        experiments(copy, ["half"], PIXELS)
    monkeypatch.setenv("DVC_ROOT", str(project))
    assert experiments(copy, ["half"], PIXELS).models[0].rows[1].values["kid_lite2"] == 0.25


def test_keys_and_models_that_a_version_has_not() -> None:
    old = Version("old", {"a": "1", "b": "2", "report.title": "x"}, {}, {})
    new = Version("new", {"a": "1", "c": "3", "report.title": "y"}, {"m": {"swd": 0.5}}, {})
    assert [(d.key, d.values) for d in differences([old, new])] == [
        ("b", ["2", "–"]),
        ("c", ["–", "3"]),
    ]
    (model,) = changed([old, new], PIXELS)
    assert [row.name for row in model.rows] == ["new"]


def test_the_stage_says_which_name_is_not_known(project: Path) -> None:
    text = (ROOT / "recipes/tiny.yaml").read_text()
    (project / "params.yaml").write_text(f"{text}  experiments:\n    - nothing\n")
    for folder in ("animations", "cloths", "inversions", "models"):
        (project / "results" / folder).mkdir()
    done = subprocess.run(
        [sys.executable, ROOT / "workflow/scripts/report.py"],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: report.experiments: there is no experiment 'nothing'; known: ")
