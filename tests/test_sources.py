"""Listing and reading of folders, torchvision's datasets and digits."""

from __future__ import annotations

import gzip
import os
import socket
import tracemalloc
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ganloom import sources, tables
from ganloom.images import decoding, encoding
from ganloom.images.shards import sha256
from ganloom.params import DigitsSource, FolderSource, TorchvisionSource, load
from ganloom.sources import Context, FetchError, SourceError, SourceWarning
from ganloom.tables import Candidate

CONTEXT = Context(1, load(Path(__file__).parents[1] / "params.yaml").network)
LIMIT = 1_000_000


def picture(seed: int = 0) -> bytes:
    return encoding.png(np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8))


def put(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def folder(path: Path | str) -> FolderSource:
    return FolderSource(kind="folder", path=str(path), licence="CC0")


def listed(spec: Any, name: str = "mine") -> list[Candidate]:
    return sources.candidates(name, spec, CONTEXT)


def read_url(spec: Any, url: str) -> bytes:
    reader: sources.Reader = sources.module(spec.kind).reader(spec, CONTEXT)
    return reader(url)


def read(spec: Any, row: Candidate) -> bytes:
    return read_url(spec, row.url)


def ids(rows: list[Candidate]) -> list[str]:
    return [row.id for row in rows]


# --- folder ------------------------------------------------------------------------------------


def test_folder_lists_images_with_classes(tmp_path: Path) -> None:
    put(tmp_path / "cat" / "deep" / "b.PNG", picture(1))
    put(tmp_path / "a.png", picture(2))
    rows = listed(folder(tmp_path))
    assert ids(rows) == ["mine/a.png", "mine/cat/deep/b.PNG"]
    assert [row.label for row in rows] == ["", "cat"]
    assert rows[0].sha256 == sha256(picture(2))
    assert rows[0].bytes == str(len(picture(2)))
    assert rows[0].licence == "CC0"
    assert read(folder(tmp_path), rows[1]) == picture(1)


def test_folder_classes_ignore_unicode_normalisation(tmp_path: Path) -> None:
    for form in ("NFC", "NFD"):
        put(tmp_path / unicodedata.normalize(form, "café") / f"{form}.png", picture())
    rows = listed(folder(tmp_path))
    assert [row.label for row in rows] == ["café", "café"]
    assert [read(folder(tmp_path), row) for row in rows] == [picture()] * 2


def test_folder_licence_may_be_unknown(tmp_path: Path) -> None:
    put(tmp_path / "a.png", picture())
    [row] = listed(FolderSource(kind="folder", path=str(tmp_path), licence=None))
    assert row.licence == ""


def test_folder_lists_only_image_files(tmp_path: Path) -> None:
    for name in ("broken.jpg", "new.avif", "empty.gif"):
        put(tmp_path / name, b"")
    put(tmp_path / "no_suffix", picture())
    for name in ("Thumbs.db", "notes.txt", "table.csv", ".DS_Store", ".hidden.png", ".git/x.png"):
        put(tmp_path / name, b"P9 words" if "png" not in name else picture())
    assert ids(listed(folder(tmp_path))) == [
        "mine/broken.jpg",
        "mine/empty.gif",
        "mine/new.avif",
        "mine/no_suffix",
    ]


def test_links_to_images_and_folders_are_followed(tmp_path: Path) -> None:
    put(tmp_path / "disk" / "cats" / "1.png", picture(1))
    put(tmp_path / "disk" / "cats" / "old" / "2.png", picture(2))
    cached = put(tmp_path / "cache" / "ab" / "cdef", picture(3))
    inside = put(tmp_path / "in" / "dog" / "3.png", picture(4))
    put(tmp_path / "disk" / "other.png", picture(5))
    (tmp_path / "in" / "cat").symlink_to("../disk/cats")
    (tmp_path / "in" / "whole disk").symlink_to("../disk")  # without the cats, which are read
    (tmp_path / "in" / "dog" / "cached.png").symlink_to(cached)
    (tmp_path / "in" / "same.png").symlink_to(inside)
    (tmp_path / "link to in").symlink_to("in")
    for spec in (folder(tmp_path / "in"), folder(tmp_path / "link to in")):
        with pytest.warns(SourceWarning) as warned:
            rows = listed(spec)
        assert {row.id: (row.label, row.sha256) for row in rows} == {
            "mine/cat/1.png": ("cat", sha256(picture(1))),
            "mine/cat/old/2.png": ("cat", sha256(picture(2))),
            "mine/dog/3.png": ("dog", sha256(picture(4))),
            "mine/dog/cached.png": ("dog", sha256(picture(3))),
            "mine/same.png": ("", sha256(picture(4))),
            "mine/whole disk/other.png": ("whole disk", sha256(picture(5))),
        }
        assert [sha256(read(spec, row)) for row in rows] == [row.sha256 for row in rows]
        [text] = [str(warning.message) for warning in warned]  # nothing is left out
        assert "in/cat -> ../disk/cats, 2 in all" in text
        assert "dvc repro --force search@mine" in text


def test_unreadable_paths_are_counted_with_reasons(tmp_path: Path) -> None:
    put(tmp_path / "disk" / "2.png", picture(2))
    put(tmp_path / "in" / "a" / "1.png", picture(1))
    links = {
        "gone.png": "/mnt/unplugged/gone.png",
        "gone too.png": "/mnt/unplugged/too.png",
        "itself.png": "itself.png",
        "zero.png": "/dev/zero",
        "version.png": "/proc/version",
        "system": "/proc/self",
        "up": "..",
        "top": "/",
        "again": "a",
        "disk": "../disk",
        "disk again": "../disk",
    }
    for name, target in links.items():
        (tmp_path / "in" / name).symlink_to(target)
    (tmp_path / "disk" / "back").symlink_to("../in")
    os.mkfifo(tmp_path / "in" / "pipe.png")
    spec = folder(tmp_path / "in")
    with pytest.warns(SourceWarning) as warned:
        assert ids(listed(spec)) == ["mine/a/1.png", "mine/disk/2.png"]
    [text] = [str(w.message) for w in warned if "left out of" in str(w.message)]
    for part in (
        f"2 x dangling link ({tmp_path}/in/gone too.png -> /mnt/unplugged/too.png)",
        "2 x pipe, socket or device (",
        "2 x link into a system folder (",
        "4 x link in a circle (",
        "2 x link to a folder that is read already (",
    ):
        assert part in text
    for name, reason in (("gone.png", "dangling link"), ("pipe.png", "pipe"), ("zero.png", "pipe")):
        with pytest.raises(FetchError, match=f"{reason}.*: .*{name}"):
            read_url(spec, (tmp_path / "in").as_uri() + f"/{name}")
    for name in ("../disk/2.png", "disk/../2.png", "disk/../a/1.png"):
        with pytest.raises(FetchError, match="outside"):
            read_url(spec, (tmp_path / "in").as_uri() + f"/{name}")


@pytest.mark.parametrize(
    ("name", "key"),
    [
        (b"with space, comma.png", "with space, comma.png"),
        (b"\"quoted\" 'twice'.png", "\"quoted\" 'twice'.png"),
        ("kené-ñ-図.png".encode(), "kené-ñ-図.png"),
        (b"100% #1?.png", "100% #1?.png"),
        (b"two\nlines\r.png", "two%0Alines%0D.png"),
        (b"latin-\xf1.png", "latin-%F1.png"),
    ],
)
def test_unusual_file_names_survive_the_candidate_table(
    tmp_path: Path, name: bytes, key: str
) -> None:
    (tmp_path / "in").mkdir()
    Path(os.fsdecode(os.fsencode(tmp_path / "in") + b"/" + name)).write_bytes(picture())
    spec = folder(tmp_path / "in")
    rows = listed(spec)
    tables.write(tmp_path / "rows.csv", Candidate, rows)
    [row] = tables.read(tmp_path / "rows.csv", Candidate)
    assert row == rows[0]
    assert row.id == f"mine/{key}"
    assert read(spec, row) == picture()


@settings(max_examples=30, deadline=None)
@given(
    name=st.text(
        st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=40
    )
)
def test_any_file_name_survives_the_candidate_table(
    tmp_path_factory: pytest.TempPathFactory, name: str
) -> None:
    root = tmp_path_factory.mktemp("names")
    put(root / f"x{name}.png", picture())
    [row] = listed(folder(root))
    tables.write(root / "rows.csv", Candidate, [row])
    assert (root / "rows.csv").read_bytes().count(b"\n") == 2  # a header and one line
    assert read(folder(root), tables.read(root / "rows.csv", Candidate)[0]) == picture()


def test_relative_folder_stays_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    put(tmp_path / "my data" / "a.png", picture())
    spec = folder("my data")
    [row] = listed(spec)
    assert row.url == "file:my%20data/a.png"
    assert read(spec, row) == picture()


def test_deleted_file_fails_with_a_reason(tmp_path: Path) -> None:
    path = put(tmp_path / "a.png", picture())
    [row] = listed(folder(tmp_path))
    path.unlink()
    with pytest.raises(FetchError, match="cannot be read: No such file"):
        read(folder(tmp_path), row)


def test_folder_must_exist_and_contain_images(tmp_path: Path) -> None:
    path = put(tmp_path / "notes.txt", b"words")
    with pytest.raises(SourceError, match=r"sources\.mine: .*not a folder"):
        listed(folder(path))
    with pytest.raises(SourceError, match=r"sources\.mine: .*no pictures"):
        listed(folder(tmp_path))


@pytest.mark.data
def test_real_folder_with_classes_is_listed(shared_data: Path) -> None:
    spec = folder(shared_data / "decor")
    rows = listed(spec)
    assert len(rows) == 485
    assert len({row.label for row in rows}) == 14
    assert sha256(read(spec, rows[7])) == rows[7].sha256


# --- digits ------------------------------------------------------------------------------------


def test_digits_are_grey_images_with_labels() -> None:
    spec = DigitsSource(kind="digits", path="src/ganloom/sources/digits.py")
    rows = sources.module("digits").search("digits", spec, CONTEXT)
    assert len(rows) == 1797
    assert (rows[12].id, rows[12].label) == ("digits/0012", "2")
    found = np.asarray(decoding.decode(read(spec, rows[12]), LIMIT))
    assert found.shape == (8, 8, 3)
    assert (found.min(), found.max()) == (0, 255)
    assert len({row.label for row in rows}) == 10


# --- torchvision -------------------------------------------------------------------------------


def torchvision(path: Path, **changes: Any) -> TorchvisionSource:
    values = {"split": "test", "classes": None, "limit": None, "download": False} | changes
    return TorchvisionSource.model_validate(
        {"kind": "torchvision", "dataset": "MNIST", "path": str(path)} | values
    )


def idx(array: np.ndarray) -> bytes:
    shape = np.array(array.shape, ">i4").tobytes()
    return bytes([0, 0, 8, array.ndim]) + shape + array.astype(np.uint8).tobytes()


@pytest.fixture
def mnist(tmp_path: Path) -> Path:
    """A small MNIST: training split as torchvision unpacks it, test split as published."""
    for prefix, place, suffix in (("train", "MNIST/raw/", ""), ("t10k", "", ".gz")):
        pictures = np.arange(6 * 28 * 28).reshape(6, 28, 28) % 256
        labels = np.array([3, 1, 3, 0, 1, 9])
        for kind, array in (("images-idx3", pictures), ("labels-idx1", labels)):
            data = idx(array)
            path = tmp_path / f"{place}{prefix}-{kind}-ubyte{suffix}"
            put(path, gzip.compress(data) if suffix else data)
    return tmp_path


def test_mnist_is_read_in_both_layouts(mnist: Path) -> None:
    spec = torchvision(mnist, split="all")
    rows = listed(spec)
    assert len(rows) == 12
    assert (rows[0].id, rows[0].url) == ("mine/test/000000", "torchvision:MNIST/test/0")
    assert (rows[-1].id, rows[-1].label) == ("mine/train/000005", "9 - nine")
    found = np.asarray(decoding.decode(read(spec, rows[1]), LIMIT))
    assert np.array_equal(found[..., 0].ravel(), np.arange(28 * 28, 2 * 28 * 28) % 256)


def test_silent_download_times_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision import datasets

    monkeypatch.chdir(tmp_path)
    hasty = Context(1, CONTEXT.network.model_copy(update={"timeout": 0.05}))
    with socket.create_server(("127.0.0.1", 0)) as server:  # takes a request and says nothing
        address = f"http://127.0.0.1:{server.getsockname()[1]}/"
        monkeypatch.setattr(datasets.MNIST, "mirrors", [address])
        with pytest.raises(SourceError, match=r"MNIST \(test\) .* timed out"):
            sources.candidates("mine", torchvision(tmp_path, download=True), hasty)
    assert socket.getdefaulttimeout() is None


@pytest.mark.parametrize("url", ["x", "MNIST/test/x", "MNIST/valid/0", "MNIST/test/99", "a/b/c/d"])
def test_missing_dataset_image_fails(mnist: Path, url: str) -> None:
    digits, key = DigitsSource(kind="digits", path="."), url.rpartition("/")[2]
    for spec, address in (
        (torchvision(mnist, split="all"), f"torchvision:{url}"),
        (digits, f"digits:{key.replace('0', '-1').replace('99', '9999')}"),
    ):
        with pytest.raises(FetchError, match="no such"):
            read_url(spec, address)


def test_dataset_is_filtered_by_classes_and_limit(mnist: Path) -> None:
    rows = listed(torchvision(mnist, classes=["1 - one", "3 - three"], limit=3))
    assert ids(rows) == ["mine/test/000000", "mine/test/000001", "mine/test/000002"]
    assert {row.label for row in rows} == {"1 - one", "3 - three"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": ["1 - on"]}, r"did you mean '1 - one'\? allowed: '0 - zero', '1 - one'"),
        ({"split": "valid"}, "split 'valid': MNIST has train, test and all"),
        ({"dataset": "KMNIST"}, r"KMNIST \(test\) in .*labels"),
        ({"dataset": "CIFAR10"}, r"CIFAR10 \(test\) in .*not found"),
    ],
)
def test_impossible_dataset_filters_are_explained(
    mnist: Path, changes: dict[str, Any], message: str
) -> None:
    if changes.get("dataset") == "KMNIST":
        (mnist / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(SourceError, match=message):
        listed(torchvision(mnist, **changes))


LABELS = idx(np.array([3, 1, 3, 0, 1, 9]))


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"\x1f\x8b\x08",
        gzip.compress(LABELS)[:-9],
        gzip.compress(LABELS[:6]),
        gzip.compress(LABELS[:9]),
    ],
    ids=["nothing", "no header", "no end", "no counts", "fewer than told"],  # gzip notes the time
)
def test_damaged_dataset_archives_are_named(mnist: Path, damage: bytes) -> None:
    (mnist / "t10k-labels-idx1-ubyte.gz").write_bytes(damage)
    with pytest.raises(SourceError, match=r"MNIST \(test\) in"):
        listed(torchvision(mnist))


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ([6], "has fewer or more than the 6 bytes"),
        ([1 << 30, 9], "declares 1073741824 x 9 bytes"),
    ],
)
def test_dataset_bomb_is_not_unpacked(mnist: Path, counts: list[int], message: str) -> None:
    head = bytes([0, 0, 8, len(counts)]) + np.array(counts, ">i4").tobytes()
    bomb = gzip.compress(head + bytes(100_000_000), 1)
    (mnist / "t10k-labels-idx1-ubyte.gz").write_bytes(bomb)
    tracemalloc.start()
    with pytest.raises(SourceError, match=message):
        listed(torchvision(mnist))
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()


def test_cifar_gives_class_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision import datasets

    class Tiny:
        classes = ("plane", "car")
        targets = (1, 0, 1)

        def __init__(self, root: Path, train: bool, download: bool) -> None:
            self.train = train

        def __getitem__(self, index: int) -> tuple[Any, int]:
            return np.full((2, 2, 3), index + 100 * self.train, np.uint8), self.targets[index]

    monkeypatch.setattr(datasets, "CIFAR10", Tiny)
    spec = torchvision(tmp_path, dataset="CIFAR10", split="all", classes=["car"])
    rows = listed(spec)
    assert ids(rows) == [
        f"mine/{key}" for key in ("test/000000", "test/000002", "train/000000", "train/000002")
    ]
    assert decoding.decode(read(spec, rows[3]), LIMIT).getpixel((0, 0)) == (102, 102, 102)


@pytest.mark.data
def test_real_mnist_test_set_is_read(shared_data: Path) -> None:
    spec = torchvision(shared_data / "mnist", classes=["7 - seven"])
    rows = listed(spec)
    assert len(rows) == 1028
    found = np.asarray(decoding.decode(read(spec, rows[0]), LIMIT))
    assert found.shape == (28, 28, 3)
    assert rows[0].id == "mine/test/000000"  # the famous first seven
    assert found[..., 0].sum() == 18454
