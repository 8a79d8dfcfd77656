"""From candidates to originals in shards, with a reason for every failure."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ruamel.yaml import YAML

from ganloom import images, params, sources
from ganloom.fetch import LOG, MANIFEST, Job, failures, fetch
from ganloom.sources import Row, SourceError

ROOT = Path(__file__).parents[1]
CONTEXT = sources.Context(1, params.load(ROOT / "params.yaml").network)
LIMITS = params.Fetch(max_bytes=20_000, max_pixels=10_000, licences=None, max_lost=0.2, shards=None)


def png(height: int = 20, width: int = 30, seed: int = 0) -> bytes:
    shape = (height, width, 3)
    return images.png(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))


@pytest.fixture
def folder(tmp_path: Path) -> params.FolderSource:
    files = {
        "a.png": png(),
        "copy_of_a.jpg": png(),
        "b/turned.png": png(30, 20, seed=1),
        "broken.png": png(seed=2)[:-400],
        "empty.png": b"",
        "page.jpg": b"<html>gone</html>",
        "large.png": png(90, 90),
        "wide.png": images.png(np.zeros((10, 1001, 3), np.uint8)),
    }
    for name, data in files.items():
        path = tmp_path / "pictures" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return params.FolderSource(kind="folder", path=str(tmp_path / "pictures"), licence="CC0")


def fetched(
    spec: params.FolderSource, rows: list[Row], raw: Path, workers: int = 1
) -> dict[str, Row]:
    spool = raw / "spool"
    spool.mkdir(parents=True)
    job = Job({"mine": spec}, LIMITS, CONTEXT, spool)
    results = list(fetch(rows, job, workers))
    images.pack_shards(raw, spool)
    assert [result.log["id"] for result in results] == [row["id"] for row in rows]
    assert all(tuple(result.manifest) == MANIFEST for result in results)
    assert all(tuple(result.log) == LOG for result in results)
    return {result.manifest["id"].removeprefix("mine/"): result.manifest for result in results}


def test_every_candidate_is_fetched_or_has_a_reason(
    folder: params.FolderSource, tmp_path: Path
) -> None:
    manifest = fetched(folder, sources.candidates("mine", folder, CONTEXT), tmp_path / "raw")
    errors = {key: row["error"] for key, row in manifest.items()}
    assert errors == {
        "a.png": "",
        "b/turned.png": "",
        "broken.png": "truncated PNG",
        "copy_of_a.jpg": "",
        "empty.png": "empty file",
        "large.png": f"file too large: {len(png(90, 90))} bytes, more than 20000",
        "page.jpg": "not an image: an HTML page",
        "wide.png": "too many pixels: 1001x10, more than 10000 (fetch.max_pixels)",
    }
    assert failures(list(manifest.values())) == (
        "1 truncated PNG, 1 empty file, 1 file too large, 1 not an image, 1 too many pixels"
    )

    shards = images.Shards(tmp_path / "raw")
    assert set(shards) == {row["sha256"] for row in manifest.values() if not row["error"]}
    assert len(shards) == 2  # a copy under another name is the same original
    turned = manifest["b/turned.png"]
    assert shards[turned["sha256"]] == png(30, 20, seed=1)
    assert (turned["width"], turned["height"], turned["mime"]) == ("20", "30", "image/png")
    assert (turned["label"], turned["licence"]) == ("b", "CC0")
    assert manifest["copy_of_a.jpg"]["mime"] == "image/png"  # by content, not by name
    broken = manifest["broken.png"]
    assert broken["sha256"] == images.sha256(png(seed=2)[:-400])
    assert (broken["bytes"], broken["width"]) == (str(len(png(seed=2)) - 400), "")


def test_workers_do_not_change_a_byte(folder: params.FolderSource, tmp_path: Path) -> None:
    rows = sources.candidates("mine", folder, CONTEXT)
    alone = fetched(folder, rows, tmp_path / "alone")
    together = fetched(folder, list(reversed(rows)), tmp_path / "together", workers=2)
    assert alone == together
    for path in (tmp_path / "alone").glob("*.tar"):
        assert path.read_bytes() == (tmp_path / "together" / path.name).read_bytes()


def test_a_file_edited_or_removed_since_the_search_fails(
    folder: params.FolderSource, tmp_path: Path
) -> None:
    rows = sources.candidates("mine", folder, CONTEXT)
    Path(folder.path, "a.png").write_bytes(png(seed=9))
    Path(folder.path, "b/turned.png").unlink()
    manifest = fetched(folder, rows, tmp_path / "raw")
    assert manifest["a.png"]["error"].startswith("changed since it was listed")
    assert manifest["a.png"]["sha256"] == images.sha256(png(seed=9))
    assert manifest["b/turned.png"]["error"] == "cannot be read: No such file or directory"
    assert manifest["copy_of_a.jpg"]["error"] == ""


def test_a_source_that_cannot_be_opened_stops_and_is_named(tmp_path: Path) -> None:
    spec = params.TorchvisionSource(
        kind="torchvision",
        dataset="MNIST",
        path=str(tmp_path),
        split="test",
        classes=None,
        limit=None,
        download=False,
    )
    with pytest.raises(SourceError, match=r"sources\.mnist: MNIST \(test\)"):
        list(fetch([], Job({"mnist": spec}, LIMITS, CONTEXT, tmp_path), 1))


# --- the stages --------------------------------------------------------------------------------


def stage(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    script, *rest = arguments
    command = [sys.executable, str(ROOT / "workflow" / "scripts" / f"{script}.py"), *rest]
    return subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)


def write_params(project: Path, source: dict[str, Any], **changes: Any) -> None:
    yaml = YAML()
    values = yaml.load((ROOT / "recipes" / "kene.yaml").read_text(encoding="utf-8"))
    values["sources"] = {"mine": source}
    values.update(changes)
    with (project / "params.yaml").open("w", encoding="utf-8") as file:
        yaml.dump(values, file)


def test_the_stages_run_one_after_another(folder: params.FolderSource, tmp_path: Path) -> None:
    write_params(tmp_path, dict(folder), threads=2)
    (tmp_path / "data" / "candidates").mkdir(parents=True)
    (tmp_path / "data" / "candidates" / "removed.csv").write_text("a source of former params\n")
    for arguments in (["check"], ["search", "mine"], ["fetch"]):
        done = stage(tmp_path, *arguments)
        assert done.returncode == 0, done.stderr
    assert "fetched 5 of 8 candidates (4 different files); failed: 1 " in done.stdout
    assert (tmp_path / "data" / ".checked").is_file()
    manifest = sources.read_rows(tmp_path / "data" / "manifest.csv")
    assert tuple(manifest[0]) == MANIFEST
    assert [row["id"] for row in manifest] == sorted(row["id"] for row in manifest)
    log = sources.read_rows(tmp_path / "data" / "fetch_log.csv")
    assert [row["status"] for row in log].count("fetched") == 5
    assert all(row["retrieved_at"].endswith("+00:00") for row in log)
    assert {path.name for path in (tmp_path / "data" / "raw").iterdir()} == {
        f"0{digit}.tar" for digit in "0123456789abcdef"
    }


def test_fetching_nothing_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    for name in ("a.png", "b.png"):
        (tmp_path / "pictures" / name).write_bytes(b"")
    write_params(tmp_path, {"kind": "folder", "path": "pictures", "licence": ""})
    assert stage(tmp_path, "search", "mine").returncode == 0
    done = stage(tmp_path, "fetch")
    assert done.returncode == 1
    assert "none of 2 candidates could be fetched: 2 empty file" in done.stderr


def test_a_missing_path_stops_at_the_check(tmp_path: Path) -> None:
    write_params(tmp_path, {"kind": "folder", "path": "nowhere", "licence": ""})
    for arguments in (["check"], ["search", "mine"]):
        done = stage(tmp_path, *arguments)
        assert done.returncode == 1
        assert "error: sources.mine.path: 'nowhere': no such file or folder" in done.stderr
        assert "Traceback" not in done.stderr
    assert not (tmp_path / "data" / ".checked").exists()
