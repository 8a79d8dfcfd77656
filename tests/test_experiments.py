"""Comparison of experiments from Git and DVC's cache, for the report and the terminal."""

from __future__ import annotations

import base64
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
from dvc.repo.experiments import Experiments
from dvc.repo.experiments.serialize import ExpExecutor, ExpRange, ExpState
from PIL import Image
from ruamel.yaml import YAML

from ganloom import cli, recipes
from ganloom.report.experiments import Setting, comparison, sheets
from ganloom.report.revisions import ExperimentError, Version, versions, versions_in_any_state

ROOT = Path(__file__).parents[1]
PIXELS, BYTES = 10_000, 500_000
GRID = "results/samples/dcgan/grid.png"
DROPOUT = "models.dcgan.dropout"
REAL = {"16": {"holdout": {"kid_lite2": 0.0625, "swd": 1.0}}}
# Name -> dropout, seed, KID and colour of its samples. KID of the other model is its seed.
EXPERIMENTS = {
    "half-s1": (0.5, 1, 0.25, "red"),
    "half-s2": (0.5, 2, 0.75, "red"),
    "none-s1": (0.0, 1, 1.5, "lime"),
    "none-s2": (0.0, 2, 1.5, "lime"),
}


def git(project: Path, *arguments: str) -> str:
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", *arguments]
    done = subprocess.run(command, cwd=project, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def run(project: Path, dropout: float, seed: int, kid: float, colour: str) -> None:
    """Results of a run, committed; samples are only in DVC's cache."""
    other = {"dropout": 0.1, "resolution": 16}
    models = {"dcgan": {"dropout": dropout, "sizes": [1, 2], "resolution": 16}, "other": other}
    values = {"seed": seed, "models": models, "report": {"title": str(dropout)}}
    with (project / "params.yaml").open("w") as file:
        YAML().dump(values, file)
    metrics = {
        "dcgan": {"kid_lite2": kid, "against": "holdout"},
        "other": {"kid_lite2": float(seed)},
        "reference": REAL,
    }
    for name, numbers in metrics.items():
        path = project / f"results/metrics/{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(numbers))
    (project / GRID).parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (48, 48), colour).save(project / GRID)
    with Repo(str(project)) as repo:
        repo.add(str(project / GRID))
    git(project, "add", ".")
    git(project, "commit", "--quiet", "--message", f"Dropout {dropout}")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Experiments as DVC stores them, based on an earlier commit."""
    project = tmp_path_factory.mktemp("runs")
    git(project, "init", "--quiet")
    Repo.init(str(project)).close()
    (project / ".gitignore").unlink(missing_ok=True)
    (project / "dvc.yaml").write_text("stages:\n  one:\n    cmd: 'false'\n    params: [seed]\n")
    run(project, 0.35, 1, 0.125, "blue")
    base = git(project, "rev-parse", "HEAD")
    for name, values in EXPERIMENTS.items():
        run(project, *values)
        git(project, "update-ref", f"refs/exps/{base[:2]}/{base[2:]}/{name}", "HEAD")
        git(project, "reset", "--quiet", "--hard", base)
    Image.new("RGB", (48, 48), "blue").save(project / GRID)
    return project


@pytest.fixture
def project(runs: Path, tmp_path: Path) -> Iterator[Path]:
    shutil.copytree(runs, tmp_path / "project")
    yield tmp_path / "project"


def rows(settings: list[Setting]) -> list[tuple[str, str]]:
    return [(setting.row.name, setting.words("kid_lite2")) for setting in settings]


def colour(uri: str) -> str:
    data = base64.b64decode(uri.partition(",")[2])
    pixel = Image.open(io.BytesIO(data)).convert("RGB").getpixel((20, 20))
    assert isinstance(pixel, tuple)
    return ("red", "lime", "blue")[pixel.index(max(pixel))]


def test_runs_that_differ_only_in_seed_are_one_row(project: Path) -> None:
    found = comparison(versions(project, ["workspace", *EXPERIMENTS]))
    assert [(v.name, dict(v.differences)) for v in found.versions[:3]] == [
        ("workspace", {"seed": "1", DROPOUT: "0.35"}),
        ("half-s1", {"seed": "1", DROPOUT: "0.5"}),
        ("half-s2", {"seed": "2", DROPOUT: "0.5"}),
    ]
    dcgan, other = found.models
    assert rows(dcgan.settings) == [
        ("dropout 0.0", "1.50 ± 0.00"),
        ("dropout 0.35", "0.125"),
        ("dropout 0.5", "0.500 ± 0.354"),
    ]
    assert dcgan.settings[0].versions == ["none-s1", "none-s2"]
    assert [bool(s.row.best) for s in dcgan.settings] == [False, True, False]
    assert rows(dcgan.references) == [("Real: holdout originals", "0.0625")]
    # The other model's runs: dropout does not reach it, so that each seed counts once.
    assert rows(other.settings) == [("All", "1.50 ± 0.71")]
    assert [s.runs for s in other.settings] == [2]
    assert git(project, "status", "--porcelain") == ""  # nothing was checked out


def test_samples_of_the_same_seed_are_side_by_side(project: Path) -> None:
    known = versions(project, ["workspace", *EXPERIMENTS])
    found = sheets(comparison(known), known, PIXELS, BYTES)
    assert found.pop("other") == []
    shown = [
        [(s.setting, colour(s.picture.uri)) for s in sheet.samples] for sheet in found["dcgan"]
    ]
    none, half = ("dropout 0.0", "lime"), ("dropout 0.5", "red")
    assert shown == [[none, ("dropout 0.35", "blue"), half], [none, half]]
    assert [(s.seed, s.same_latents) for s in found["dcgan"]] == [("1", True), ("2", True)]


@pytest.mark.parametrize(
    ("kids", "sentence"),
    [
        ([[1.0, 1.1], [1.05, 1.2]], "then dropout 1 (1.12 ± 0.11). The difference is not"),
        ([[1.0, 1.1, 1.05], [2.0, 2.1, 2.05]], "The difference is significant"),
        ([[1.0], [2.0, 2.1]], "With a single seed this may be chance: run more, with -S seed=2."),
        ([[1.0, 1.0], [2.0, 2.0]], "All runs of each are equal, so that nothing can be tested"),
        ([[1.0, 1.0], [2.0, 2.1]], "The difference is"),
        ([[1.0], []], ""),
    ],
)  # fmt: skip
def test_conclusion_distinguishes_differences_from_chance(
    kids: list[list[float]], sentence: str
) -> None:
    found = comparison(
        [
            Version(f"{rate}-{seed}", "", {DROPOUT: str(rate), "seed": str(seed)},
                    {"dcgan": {"kid_lite2": kid}})
            for rate, of_rate in enumerate(kids)
            for seed, kid in enumerate(of_rate)
        ]
        + [Version("other", "", {}, {"dcgan": {"swd": 1.0}})]
    )  # fmt: skip
    assert sentence in found.models[0].conclusion
    assert "nan" not in found.models[0].conclusion
    assert bool(sentence) == bool(found.models[0].conclusion)


@pytest.mark.parametrize("file", ["workflow/messages.py", "src/ganloom/doctor.py"])
def test_the_advice_on_a_full_disk_keeps_every_experiment_and_commit(
    project: Path, file: str
) -> None:
    text = re.sub(r'"\s+"', "", (ROOT / file).read_text(encoding="utf-8"))
    (options,) = re.findall(r"dvc gc ((?:--[a-z-]+ )+)removes", text)
    run(project, 0.1, 3, 0.2, "yellow")
    before = versions(project, [*EXPERIMENTS, "HEAD~1"])
    command = [sys.executable, "-m", "dvc", "gc", *options.split(), "--force"]
    subprocess.run(command, cwd=project, check=True, capture_output=True)
    assert versions(project, [*EXPERIMENTS, "HEAD~1"]) == before
    assert all(version.grids for version in before)


def test_experiment_page_contains_no_personal_data(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/al")
    with (project / "params.yaml").open("a") as file:
        file.write("network: {contact: al@example.org}\nfetch: {shards: /home/al/shards}\n")
    found = comparison(versions(project, ["workspace", "HEAD"])).versions
    assert [dict(version.differences) for version in found] == [
        {"fetch.shards": "$HOME/shards"},
        {"fetch.shards": "–"},
    ]


def test_branches_tags_and_commits_can_be_compared(project: Path) -> None:
    git(project, "tag", "v1")
    found = comparison(versions(project, ["workspace", "v1", "HEAD"]))
    assert found.models == []
    assert found.unchanged == ["dcgan", "other"]


def test_unknown_experiment_lists_known_names(project: Path) -> None:
    known = ", ".join(EXPERIMENTS)
    for read in (versions, versions_in_any_state):
        with pytest.raises(ExperimentError, match=rf"no experiment 'haf'; known: {known}$"):
            read(project, ["half-s1", "haf"])


@pytest.mark.parametrize(
    "text", ["train: 1\n", "- models\n", "models: 5\n", "models: [\n", "models: 2024-99-99\n", ""]
)
def test_commit_with_another_schema_is_named(project: Path, text: str) -> None:
    (project / "params.yaml").write_text(text)
    git(project, "commit", "--quiet", "--all", "--message", "Another form")
    git(project, "tag", "old")
    git(project, "checkout", "--quiet", "HEAD~1")
    with pytest.raises(ExperimentError, match=r"'old' cannot be read: params\.yaml"):
        versions(project, ["old"])
    first, old = versions_in_any_state(project, ["HEAD", "old"])
    assert old.state.startswith("cannot be read: params.yaml")
    assert len(comparison([first, old]).versions[1].differences) == 0


def test_invalid_numbers_and_images_are_left_out(project: Path) -> None:
    (project / "results/metrics/dcgan.json").write_text('{"kid_lite2": NaN, "swd": "<b>"}')
    (project / GRID).write_bytes(b"no picture")
    known = versions(project, ["workspace", "half-s1"])
    assert known[0].metrics["dcgan"] == {}
    (sheet,) = sheets(comparison(known), known, PIXELS, BYTES)["dcgan"]
    assert [sample.setting for sample in sheet.samples] == ["dropout 0.5"]


def test_results_missing_everywhere_are_left_out(project: Path) -> None:
    shutil.rmtree(project / ".dvc/cache")
    here, half = versions(project, ["workspace", "half-s1"])
    assert "dcgan" in here.grids
    assert "dcgan" in half.metrics  # of which Git has a copy
    assert half.grids == {}
    (project / GRID).with_suffix(".png.dvc").unlink()
    for name in ("dcgan", "other"):
        path = project / f"results/metrics/{name}.json"
        git(project, "rm", "--quiet", "--cached", str(path))
        with Repo(str(project)) as repo:
            repo.add(str(path))
    git(project, "add", ".")
    git(project, "commit", "--quiet", "--all", "--message", "Metrics in the cache")
    git(project, "tag", "cached")
    shutil.rmtree(project / ".dvc/cache")
    git(project, "tag", "unmeasured", git(project, "commit-tree", "-m", "x", tree_of(project)))
    cached, unmeasured = versions_in_any_state(project, ["cached", "unmeasured"])
    assert cached.state == "not in DVC's cache"
    assert unmeasured.state == "not evaluated"


def tree_of(project: Path) -> str:
    """A commit with only params.yaml."""
    blob = git(project, "rev-parse", "HEAD:params.yaml")
    made = subprocess.run(
        ["git", "mktree"], cwd=project, check=True, capture_output=True, text=True,
        input=f"100644 blob {blob}\tparams.yaml\n",
    )  # fmt: skip
    return made.stdout.strip()


def test_queued_experiment_can_read_the_others(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It runs in a copy without the references of other experiments; DVC names the original."""
    copy = tmp_path / "copy"
    git(project, "clone", "--quiet", str(project), str(copy))
    with pytest.raises(ExperimentError, match="no experiment 'half-s1'"):
        versions(copy, ["half-s1"])
    monkeypatch.setenv("DVC_ROOT", str(project))
    assert versions(copy, ["half-s1"])[0].metrics["dcgan"]["kid_lite2"] == 0.25


def test_unfinished_experiments_have_a_row_with_their_state(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Repo(str(project)) as repo:
        monkeypatch.chdir(project)
        repo.experiments.run(queue=True, name="waiting", params=[f"{DROPOUT}=0.9"])
    found = {version.name: version for version in versions_in_any_state(project, [])}
    assert list(found) == ["workspace", *EXPERIMENTS, "waiting"]
    assert found["waiting"].state == "queued"
    assert found["waiting"].params[DROPOUT] == "0.9"
    assert found["waiting"].metrics == {}  # those in its commit are of HEAD
    assert found["half-s1"].state == ""

    def show(self: Experiments, **options: Any) -> list[ExpState]:
        head = git(project, "rev-parse", "HEAD")
        found = [("a", "failed"), ("a", "success"), ("b", "running"), ("c", "failed")]
        ranges = [ExpRange([ExpState(head)], ExpExecutor(state), name) for name, state in found]
        return [ExpState(head, experiments=ranges)]

    monkeypatch.setattr(Experiments, "show", show)
    states = [(version.name, version.state) for version in versions_in_any_state(project, [])]
    assert states == [("workspace", ""), ("a", ""), ("b", "running"), ("c", "failed")]


# --- the command -------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", ["80", "140"])
def test_compare_prints_tables_and_writes_a_page(
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    columns: str,
) -> None:
    hostile = "<script>alert(1)</script>\x1b[31m[bold]"
    with (project / "params.yaml").open("a") as file:
        file.write(f"network: {{agent: {json.dumps(hostile)}}}\n")
    git(project, "update-ref", "refs/tags/<b>x</b>", "HEAD")
    monkeypatch.chdir(project)
    monkeypatch.setenv("COLUMNS", columns)
    names = ["workspace", "<b>x</b>", *EXPERIMENTS]
    cli.main(["compare", *names, "--html", "compare.html"])
    said = capsys.readouterr().out
    assert max(map(len, said.splitlines())) <= int(columns)
    assert "\x1b" not in said
    assert "[bold]" in said
    for words in ("<b>x</b>", "half-s2", "dropout 0.5", "± 0.354", "Real:", "Open compare.html"):
        assert words in said
    page = (project / "compare.html").read_text()
    assert "<b>x" not in page
    assert "&lt;b&gt;x&lt;/b&gt;" in page
    assert "alert(1)</script>" not in page
    assert "± 0.354" in page
    assert "Seed 2: the same latents in each" in page
    assert not re.findall(r'(?:src|href)="(?!data:image/webp;base64,)', page)
    assert "default-src 'none'" in page
    with pytest.raises(SystemExit, match="the file exists"):
        cli.main(["compare", "--html", "compare.html"])


def test_compare_explains_why_there_is_nothing_to_compare(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="there are no experiments here: "):
        cli.main(["compare"])
    git(tmp_path, "init", "--quiet")
    Repo.init(str(tmp_path)).close()
    with pytest.raises(
        SystemExit, match="there are no experiments here: nothing has been committed"
    ):
        cli.main(["compare"])


# --- the report --------------------------------------------------------------------------------


def test_report_stage_names_an_unknown_experiment(project: Path) -> None:
    text = recipes.whole(ROOT / "recipes/tiny.yaml", ROOT)
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
