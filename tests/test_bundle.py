"""Bundles: contents, the app on its own, and refusal of invalid ones."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
from conftest import full_disk
from starlette.testclient import TestClient
from test_studio_pages import ADDRESS, TOLD, make, save_model

from ganloom import params, tables
from ganloom.bundle import read, write
from ganloom.bundle.read import BundleError, opened
from ganloom.cli import main
from ganloom.images.shards import sha256
from ganloom.nets.inputs import Inputs
from ganloom.studio.app import Studio, create_app
from ganloom.tables import KeptRow, ManifestRow

ROOT = Path(__file__).parents[1]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two trained models, one of them unconditional, and the tables for credits."""
    folder = tmp_path / "project"
    save_model(folder, "animals")
    save_model(folder, "plain", Inputs(latent=16))
    text = (ROOT / "params.yaml").read_text()
    text = text.replace("contact: null", "contact: someone@example.org", 1)
    (folder / "params.yaml").write_text(f"# in {Path.home()}/secret\n{text}")
    row = ManifestRow(
        id="a/1",
        source="a",
        sha256="1",
        title="Cloth",
        creator="R. Vasquez",
        licence="CC BY 4.0",
    )
    tables.write(folder / "data/manifest.csv", ManifestRow, [row])
    kept = KeptRow(sha256="1", label="", split="train")
    tables.write(folder / "data/kept.csv", KeptRow, [kept])
    monkeypatch.chdir(folder)
    return folder


# --- writing -------------------------------------------------------------------------------------


def test_bundle_contains_models_parameters_credits_and_app(project: Path) -> None:
    out = Path("out")
    main(["bundle", "--model", "animals", "--model", "plain", "--out", str(out)])
    for name in ("animals", "plain"):
        trained = project / f"results/models/{name}/generator.safetensors"
        assert (out / f"models/{name}.safetensors").read_bytes() == trained.read_bytes()
        assert sha256(trained.read_bytes()) in (out / "README.md").read_text()
    assert "R. Vasquez" in (out / "CREDITS.md").read_text()
    assert "Apache License" in (out / "LICENSE").read_text()
    assert "streamlit" in (out / "requirements.txt").read_text()
    assert params.load(out / "params.yaml").seed == 1
    text = "".join(path.read_text() for path in out.rglob("*.*") if path.suffix != ".safetensors")
    assert "someone@example.org" not in text
    assert str(Path.home()) not in (out / "params.yaml").read_text()


def test_bundle_parameters_omit_only_the_contact(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/")
    write.write(project, ["animals"], Path("out"))
    text = Path("params.yaml").read_text()
    expected = text.replace("contact: someone@example.org", "contact: null")
    assert Path("out/params.yaml").read_text() == expected != text


def test_same_models_give_same_zip(project: Path) -> None:
    first, second = (Path(f"{n}.zip") for n in (1, 2))
    for path in (first, second):
        write.write(project, ["animals"], path)
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("data/kept.csv", "needed for the credits.*dvc repro curate"),
        ("params.yaml", "params.yaml cannot be read"),
        ("results/models/animals/generator.safetensors", "trained models: plain"),
    ],
)
def test_bundle_errors_name_missing_files(project: Path, missing: str, message: str) -> None:
    Path(missing).unlink()
    with pytest.raises(SystemExit, match=message):
        main(["bundle", "--model", "animals", "--out", "out"])
    assert not Path("out").exists()


def test_bundle_names_unreadable_parameters(project: Path) -> None:
    for damaged in (b"models: [", b"\xff"):
        Path("params.yaml").write_bytes(damaged)
        with pytest.raises(SystemExit, match=r"params\.yaml is not YAML"):
            main(["bundle", "--model", "animals", "--out", "out"])
    assert not Path("out").exists()


def test_bundle_overwrites_nothing(project: Path) -> None:
    Path("out/x").mkdir(parents=True)
    with pytest.raises(BundleError, match="cannot be written: Directory not empty"):
        write.write(project, ["animals"], Path("out"))
    assert [path.name for path in Path("out").iterdir()] == ["x"]


@pytest.mark.parametrize("out", ["out", "deep/out", "out.zip"])
def test_bundle_on_a_full_disk_changes_nothing(project: Path, out: str) -> None:
    Path("out.zip").write_bytes(b"an earlier one")
    before = sorted(project.rglob("*"))
    with full_disk(3000), pytest.raises(BundleError, match="cannot be written: File too large"):
        write.write(project, ["animals"], project / out)
    after = set(project.rglob("*")) - {project / "deep"}
    assert sorted(after) == before
    assert Path("out.zip").read_bytes() == b"an earlier one"


@pytest.mark.parametrize("out", ["out", "out.zip"])
def test_bundle_permissions_follow_the_umask(project: Path, out: str) -> None:
    mask = os.umask(0o022)
    try:
        write.write(project, ["animals"], Path(out))
    finally:
        os.umask(mask)
    modes = {stat.filemode(path.stat().st_mode) for path in (Path(out), *Path(out).rglob("*"))}
    assert modes <= {"drwxr-xr-x", "-rw-r--r--"}


@pytest.mark.parametrize("empty", ["there", "linked"])
def test_bundle_can_be_written_to_an_empty_folder(project: Path, empty: str) -> None:
    Path("there").mkdir()
    Path("linked").symlink_to("there")
    write.write(project, ["animals"], Path(empty))
    assert (project / "there/models/animals.safetensors").is_file()
    assert Path("linked").is_symlink()


def test_oversized_bundle_is_refused(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write, "MAX_BYTES", 10_000)
    with pytest.raises(BundleError, match=r"the largest in it is models/animals.*leave it out"):
        write.write(project, ["animals"], Path("out.zip"))
    assert not Path("out.zip").exists()


APP = """
import sys
import ganloom
assert ganloom.__file__.startswith({folder!r}), ganloom.__file__
from streamlit.testing.v1 import AppTest
app = AppTest.from_file("streamlit_app.py", default_timeout=120).run()
def fine():
    assert not app.exception, app.exception
    assert len(app.get("image") or app.get("imgs")) == 2  # "imgs" in older ones
fine()
app.sidebar.selectbox(key="model").select("animals").run()
fine()
app.selectbox(key="label").select("dog")
app.slider(key="count").set_value(10)
app.slider(key="transitions").set_value(2)
app.selectbox(key="second").select("cat")
app.radio(key="path").set_value("linear").run()
fine()
app.sidebar.selectbox(key="model").select("plain").run()
fine()
"""


def test_bundle_app_runs_without_ganloom_installed(project: Path) -> None:
    pytest.importorskip("streamlit")
    out = project / "out"
    write.write(project, ["animals", "plain"], out)
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    program = APP.format(folder=str(out))
    command = [sys.executable, "-c", program]
    subprocess.run(command, cwd=out, env=environment, check=True)


# --- opening -------------------------------------------------------------------------------------


@pytest.mark.parametrize("out", ["out", "out.zip"])
def test_studio_opens_a_bundle(project: Path, tmp_path: Path, out: str) -> None:
    write.write(project, ["animals"], Path(out))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with opened(Path(out)) as models:
        app = create_app(Studio(elsewhere, None), models)
        with TestClient(app, base_url=ADDRESS) as client:
            listed = client.get("/api/models").json()["models"]
            assert [one["name"] for one in listed] == ["animals"]
            assert make(client).status_code == 200


def rewritten(source: Path, out: Path, **changes: bytes | None) -> Path:
    """A copy of a zip with other members; ``None`` leaves one out."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            if name not in changes:
                new.writestr(name, old.read(name))
        for name, data in changes.items():
            if data is not None:
                new.writestr(name, data)
    return out


GOOD = "models/animals.safetensors"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({GOOD: None}, "is not a bundle"),
        ({GOOD: b"x" * 100}, "not a generator of ganloom"),
        ({"models/evil.pkl": b"x"}, "is not a model"),
        ({"models/Evil.safetensors": b"x"}, "is not a model"),
        ({"models/a/b.safetensors": b"x"}, "is not a model"),
        ({"../evil.safetensors": b"x"}, "leads out"),
        ({"models/../../evil.safetensors": b"x"}, "leads out"),
        ({"/etc/evil": b"x"}, "leads out"),
        ({"models\\..\\evil": b"x"}, "leads out"),
    ],
)
def test_zip_with_unsafe_members_is_refused(
    project: Path, changes: dict[str, bytes | None], message: str
) -> None:
    write.write(project, ["animals"], Path("good.zip"))
    bad = rewritten(Path("good.zip"), Path("bad.zip"), **changes)
    with pytest.raises(BundleError, match=message), opened(bad):
        pass
    assert not list(project.parent.glob("evil*"))


def test_oversized_or_damaged_zip_is_refused(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write.write(project, ["animals"], Path("good.zip"))
    data = Path("good.zip").read_bytes()
    for wrong in (data[:-30], data[:2000], b"", b"PK\5\6" + b"\0" * 18):
        Path("bad.zip").write_bytes(wrong)
        with (
            pytest.raises(BundleError, match=r"not a readable zip file|not a bundle"),
            opened(Path("bad.zip")),
        ):
            pass
    bomb = rewritten(Path("good.zip"), Path("bomb.zip"), **{"zeros": bytes(200_000_000)})
    with pytest.raises(BundleError, match="200 MB, more than 100"), opened(bomb):
        pass
    monkeypatch.setattr(read, "MAX_FILES", 3)
    with pytest.raises(BundleError, match="files, more than 3"), opened(Path("good.zip")):
        pass


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_model_that_inflates_at_once_is_not_decompressed(
    tmp_path: Path, method: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    bomb = tmp_path / "bomb.zip"
    with zipfile.ZipFile(bomb, "w") as archive:
        archive.writestr(GOOD, bytes(1000), method)
    monkeypatch.delattr(zipfile.ZipFile, "open")
    with pytest.raises(BundleError, match=r"is compressed in a way that is not"), opened(bomb):
        pass


def test_bundle_folder_with_a_link_is_refused(project: Path) -> None:
    write.write(project, ["animals"], Path("out"))
    secret = project / "results/models/plain/generator.safetensors"
    Path("out/models/linked.safetensors").symlink_to(secret)
    with (
        pytest.raises(BundleError, match=r"linked.safetensors' is not a model"),
        opened(Path("out")),
    ):
        pass


@pytest.mark.parametrize(
    "lie",
    [
        {"resolution": 100_000},
        {"resolution": "16"},
        {"classes": ["cat"]},
        {"classes": ["x" * 201, "b", "c"]},
        {"classes": 3},
        {"kimg": []},
        {"generator": {"kind": "os"}},
        {"generator": []},
        {"generator": {"kind": "sngan", "blocks": 10**9}},
        {"inputs": {"latent": 10**15, "classes": 3, "categorical": [4], "continuous": 1}},
    ],
)
def test_model_with_false_metadata_is_refused(project: Path, lie: dict[str, Any]) -> None:
    path = save_model(project, "animals", TOLD)
    with safetensors.safe_open(path, "pt") as file:
        about = json.loads(file.metadata()["ganloom"])
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    data = safetensors.torch.save(tensors, {"ganloom": json.dumps(about | lie)})
    (project / "out/models").mkdir(parents=True)
    (project / "out/models/animals.safetensors").write_bytes(data)
    with pytest.raises(BundleError, match=r"animals\.safetensors: "), opened(project / "out"):
        pass


def test_bundle_command_reports_invalid_bundles(project: Path) -> None:
    shutil.make_archive("empty", "zip", "data")
    with pytest.raises(SystemExit, match="not a bundle"):
        main(["studio", "--no-browser", "--port", "0", "--bundle", "empty.zip"])
    with pytest.raises(SystemExit, match="does not exist"):
        main(["studio", "--no-browser", "--port", "0", "--bundle", "nothing"])
