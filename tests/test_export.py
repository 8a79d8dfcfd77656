"""Exports, each read by the tool that it is made for."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import webdataset
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torchvision.datasets import ImageFolder

from ganloom import tables
from ganloom.cli import main
from ganloom.export import CONTENTS, FORMS, ExportError, export, folder_name
from ganloom.images import arrays, encoding
from ganloom.images.shards import sha256, write_shards
from ganloom.tables import KeptRow, ManifestRow

LABELS = ["bird", "bird", "cat", "cat"]


def picture(seed: int) -> bytes:
    return encoding.png(np.random.default_rng(seed).integers(0, 256, (12, 12, 3), np.uint8))


def make(project: Path, labels: list[str]) -> list[str]:
    """A project with one original per label, the last one held out; returns their sha256."""
    data = project / "data"
    originals = [picture(n) for n in range(len(labels))]
    hashes = [sha256(original) for original in originals]
    write_shards(data / "raw", ((h, "png", o) for h, o in zip(hashes, originals, strict=True)))
    rows = [
        ManifestRow(
            id=f"a/{n}",
            source="a",
            label=label,
            sha256=h,
            mime="image/png",
            title=f"Number {n}",
            licence="CC0-1.0",
        )
        for n, (h, label) in enumerate(zip(hashes, labels, strict=True))
    ]
    broken = ManifestRow(id="a/x", source="a", error="empty file")
    tables.write(data / "manifest.csv", ManifestRow, [*rows, broken])
    splits = ["train"] * (len(labels) - 1) + ["holdout"]
    kept = [
        KeptRow(sha256=h, label=label, split=split)
        for h, label, split in zip(hashes, labels, splits, strict=True)
    ]
    tables.write(data / "kept.csv", KeptRow, kept)
    (data / "slices").mkdir()
    rng = np.random.default_rng(0)
    for array, table, used in (
        ("images", "index", hashes[:-1]),
        ("holdout", "holdout", hashes[-1:]),
    ):
        crops = rng.integers(0, 256, (len(used), 8, 8, 3), np.uint8)
        np.save(data / "slices" / f"{array}.npy", crops)
        index = [
            {"image": n, "symmetry": k, "angle": 0.0, "sha256": h, "label": labels[hashes.index(h)]}
            for n, h in enumerate(used)
            for k in (0, 5)
        ]
        pd.DataFrame(index).to_parquet(data / "slices" / f"{table}.parquet")
    return hashes


@pytest.fixture
def project(tmp_path: Path) -> Path:
    make(tmp_path / "project", LABELS)
    return tmp_path / "project"


def crop(project: Path, number: int) -> arrays.Array:
    crops = np.load(project / "data/slices/images.npy")
    return arrays.apply_symmetry(crops[number // 2], (0, 5)[number % 2])


def test_exported_folder_contains_the_original_bytes(project: Path, tmp_path: Path) -> None:
    assert export("raw", "folder", project, tmp_path / "out") == 4
    files = {path.stem: path.read_bytes() for path in (tmp_path / "out/all").iterdir()}
    assert all(sha256(content) == stem for stem, content in files.items())
    table = pd.read_csv(tmp_path / "out/provenance.csv")
    assert sorted(table.title) == [f"Number {n}" for n in range(4)]
    assert set(table.licence) == {"CC0-1.0"}
    assert all((tmp_path / "out" / name).is_file() for name in table.file)


def test_torchvision_reads_an_exported_image_folder(project: Path, tmp_path: Path) -> None:
    export("kept", "imagefolder", project, tmp_path / "out")
    train = ImageFolder(tmp_path / "out/train")
    assert train.classes == ["bird", "cat"]
    assert sorted(train.targets) == [0, 0, 1]
    assert len(ImageFolder(tmp_path / "out/holdout")) == 1


def test_exported_slices_equal_training_images(project: Path, tmp_path: Path) -> None:
    assert export("slices", "folder", project, tmp_path / "out") == 8
    with Image.open(tmp_path / "out/train/3.png") as file:
        assert np.array_equal(np.asarray(file), crop(project, 3))


def test_stylegan_zip_matches_its_dataset_class(project: Path, tmp_path: Path) -> None:
    """Reads like training/dataset.py of stylegan2-ada-pytorch and stylegan3."""
    assert export("slices", "stylegan", project, tmp_path / "a.zip") == 6
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert archive.testzip() is None
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
        names = sorted(
            n for n in archive.namelist() if Path(n).suffix in Image.registered_extensions()
        )
        labels = dict(json.loads(archive.read("dataset.json"))["labels"])
        pictures = [np.asarray(Image.open(io.BytesIO(archive.read(name)))) for name in names]
    assert [labels[name] for name in names] == [0, 0, 0, 0, 1, 1]
    assert {p.shape for p in pictures} == {(8, 8, 3)}
    assert all(np.array_equal(p, crop(project, n)) for n, p in enumerate(pictures))


def test_webdataset_reads_exported_shards(project: Path, tmp_path: Path) -> None:
    assert export("slices", "webdataset", project, tmp_path / "out") == 8
    shards = webdataset.WebDataset(str(tmp_path / "out/train-000000.tar"), shardshuffle=False)
    samples = list(shards.decode("rgb8").to_tuple("png", "cls", "json"))
    assert [label for _, label, _ in samples] == [0, 0, 0, 0, 1, 1]
    assert all(np.array_equal(p, crop(project, n)) for n, (p, _, _) in enumerate(samples))
    assert samples[0][2]["licence"] == "CC0-1.0"


def test_webdataset_shards_split_between_samples(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ganloom.export.SHARD_BYTES", 1)
    export("slices", "webdataset", project, tmp_path / "out")
    shards = sorted(str(path) for path in (tmp_path / "out").glob("train-*.tar"))
    assert len(shards) == 6
    assert len(list(webdataset.WebDataset(shards, shardshuffle=False))) == 6


@pytest.mark.parametrize("form", FORMS)
def test_export_without_classes_adds_none(tmp_path: Path, form: str) -> None:
    make(tmp_path / "project", ["", "", ""])
    export("slices", form, tmp_path / "project", tmp_path / "out")
    if form == "imagefolder":
        assert ImageFolder(tmp_path / "out/train").classes == ["unlabelled"]
    if form == "stylegan":
        with zipfile.ZipFile(tmp_path / "out") as archive:
            assert json.loads(archive.read("dataset.json")) == {"labels": None}
    if form == "webdataset":
        samples = webdataset.WebDataset(str(tmp_path / "out/train-000000.tar"), shardshuffle=False)
        assert all("cls" not in sample for sample in samples)


@pytest.mark.parametrize("form", FORMS)
def test_export_is_reproducible(project: Path, tmp_path: Path, form: str) -> None:
    contents = []
    for name in ("a", "b"):
        export("slices", form, project, tmp_path / name)
        files = sorted(p for p in [tmp_path / name, *(tmp_path / name).rglob("*")] if p.is_file())
        contents.append([path.read_bytes() for path in files])
    assert contents[0] == contents[1] != []


@given(st.text(max_size=20), st.text(max_size=20))
def test_each_label_has_its_own_folder(a: str, b: str) -> None:
    for label in (a, b):
        name = folder_name(label)
        assert name == Path(name).name
        assert name not in ("", ".", "..")
        assert "\\" not in name
    assert (folder_name(a) == folder_name(b)) == (a == b)


def test_long_labels_are_shortened_uniquely(tmp_path: Path) -> None:
    labels = ["é" * 500, "é" * 499 + "x", "b"]
    assert len({folder_name(label) for label in labels}) == 3
    make(tmp_path / "project", labels)
    export("kept", "imagefolder", tmp_path / "project", tmp_path / "out")
    assert len(ImageFolder(tmp_path / "out/train").classes) == 2


def test_hostile_label_stays_inside_the_folder(tmp_path: Path) -> None:
    make(tmp_path / "project", ["../../../evil", "/etc", "x"])
    export("kept", "imagefolder", tmp_path / "project", tmp_path / "out")
    assert {path.parent for path in (tmp_path / "out/train").iterdir()} == {tmp_path / "out/train"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "project"]


def test_impossible_export_is_refused_and_leaves_no_files(project: Path, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="square pictures of one size"):
        export("kept", "stylegan", project, tmp_path / "a.zip")
    (project / "data/slices/holdout.npy").unlink()
    with pytest.raises(ExportError, match="dvc repro"):
        export("slices", "folder", project, tmp_path / "out")
    tables.write(project / "data/manifest.csv", ManifestRow, [])
    with pytest.raises(ExportError, match="does not know"):
        export("kept", "folder", project, tmp_path / "out")
    with pytest.raises(ExportError, match="cannot be made"):
        export("raw", "folder", project, project / "data/kept.csv/below")
    assert [path.name for path in tmp_path.iterdir()] == ["project"]


def test_export_command_offers_all_formats(
    project: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(project)
    for what in CONTENTS:
        for form in FORMS:
            out = tmp_path / f"{what}-{form}"
            if form != "stylegan" or what == "slices":
                main(["export", what, "--format", form, "--out", str(out)])
                assert f"images in {out}" in capsys.readouterr().out
    main(["credits"])
    assert "Number 0" in capsys.readouterr().out
