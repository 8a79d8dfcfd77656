"""Archives (zip, tar, npz): listing, reading, and hostile files."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
import tarfile
import tracemalloc
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from ganloom import params, sources
from ganloom.images import encoding
from ganloom.images.shards import sha256
from ganloom.params import ArchiveSource, load
from ganloom.sources import Context, FetchError, SourceError, archive
from ganloom.tables import Candidate

CONTEXT = Context(1, load(Path(__file__).parents[1] / "params.yaml").network)
FILES = {
    "cat/a.png": encoding.png(np.full((6, 8, 3), 10, np.uint8)),
    "cat/deep/b.PNG": encoding.png(np.full((6, 8, 3), 20, np.uint8)),
    "top.jpg": b"claims to be a picture",
    "no_suffix": encoding.png(np.full((6, 8, 3), 30, np.uint8)),
    "notes.txt": b"words",
    "__MACOSX/cat/a.png": b"resource fork",
    "cat/.hidden.png": b"hidden",
}


def spec(path: Path, **changes: Any) -> ArchiveSource:
    values = {"url": None, "sha256": None, "max_bytes": 10**8, "licence": "CC0"} | changes
    return ArchiveSource.model_validate({"kind": "archive", "path": str(path)} | values)


def listed(path: Path, **changes: Any) -> list[Candidate]:
    return sources.candidates("mine", spec(path, **changes), CONTEXT)


def read(path: Path, row: Candidate) -> bytes:
    return archive.reader(spec(path), CONTEXT)(row.url)


def outcome(path: Path) -> dict[str, str]:
    """Result of each member: the first bytes of its content, or the reason of the failure."""
    reader, found = archive.reader(spec(path), CONTEXT), {}
    for row in listed(path):
        try:
            found[row.title] = reader(row.url)[1:4].decode()
        except FetchError as error:
            found[row.title] = str(error)
    return found


def zipped(files: dict[str, bytes], **options: Any) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", **{"compression": zipfile.ZIP_DEFLATED} | options) as made:
        for name, data in files.items():
            made.writestr(zipfile.ZipInfo(name), data, made.compression)
    return file.getvalue()


def tarred(files: dict[str, bytes], *more: tarfile.TarInfo) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as made:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            made.addfile(info, io.BytesIO(data))
        for info in more:
            made.addfile(info)
    return file.getvalue()


def npz(**arrays: Any) -> bytes:
    file = io.BytesIO()
    contents: dict[str, Any] = {name: np.asarray(array) for name, array in arrays.items()}
    np.savez_compressed(file, **contents)
    return file.getvalue()


MAKERS: dict[str, Callable[[], bytes]] = {
    "a.zip": lambda: zipped(FILES),
    "a.tar": lambda: tarred(FILES),
    "a.tar.gz": lambda: gzip.compress(tarred(FILES)),
    "a.tar.bz2": lambda: bz2.compress(tarred(FILES)),
    "a.tar.xz": lambda: lzma.compress(tarred(FILES)),
}


@pytest.fixture
def put(tmp_path: Path) -> Callable[[str, bytes], Path]:
    def write(name: str, data: bytes) -> Path:
        (tmp_path / name).write_bytes(data)
        return tmp_path / name

    return write


@pytest.mark.parametrize("name", MAKERS)
def test_archive_lists_and_reads_like_a_folder(name: str, put: Any) -> None:
    path = put(name, MAKERS[name]())
    rows = listed(path)
    assert [(row.title, row.label) for row in rows] == [
        ("cat/a.png", "cat"),
        ("cat/deep/b.PNG", "cat"),
        ("top.jpg", ""),
        ("no_suffix", ""),
    ]
    assert [row.id for row in rows] == [
        "mine/000000",
        "mine/000001",
        "mine/000002",
        "mine/000003",
    ]
    assert rows[0].bytes == str(len(FILES["cat/a.png"]))
    assert rows[0].licence == "CC0"
    for row in (*rows, *reversed(rows)):  # in any order
        assert read(path, row) == FILES[row.title]
    reader = archive.reader(spec(path), CONTEXT)
    assert [reader(row.url) for row in reversed(rows)] == [
        FILES[row.title] for row in reversed(rows)
    ]


def test_class_is_the_first_folder_that_differs(put: Any) -> None:
    def labels(*names: str) -> list[str]:
        path = put("a.zip", zipped(dict.fromkeys(names, FILES["cat/a.png"])))
        return [row.label for row in listed(path)]

    assert labels("pets/cat/1.png", "pets/dog/2.png", "pets/3.png") == ["cat", "dog", ""]
    assert labels("pets/1.png", "pets/2.png") == ["pets", "pets"]
    assert labels("pets/1.png", "people/2.png", "3.png") == ["pets", "people", ""]
    assert labels("cat/1.png", "cats/2.png", "../cat/3.png") == ["cat", "cats", ""]


WORDS = {
    # The last bytes of 表 and ソ are backslashes.
    "cp932": ["写真/猫.png", "表/ソ.png", "ネコ/1.png", "USB機器/2.png"],
    "gbk": ["风景/1.png", "新建文件夹/2.png"],
    "big5": ["貓/1.png", "新資料夾/2.png"],
    "cp437": ["Möbel/1.png", "forêt/2.png", "crème brûlée/3.png", "niño/4.png"],
    "cp866": ["Кошки/Фото.png", "СОБАКИ/2.png"],
    "utf-8": ["café/1.png", "猫/2.png", "plain/3.png"],
}


def with_raw_names(made: bytes, names: list[str], encoding: str) -> bytes:
    """An archive in which the names ``0000...`` are replaced by others of the same length, without
    a flag.
    """
    for number, name in enumerate(names):
        raw = name.encode(encoding)
        made = made.replace(str(number).encode() * len(raw), raw)
    return made


def with_names(kind: str, names: list[str], encoding: str) -> bytes:
    plain = {
        str(number) * len(name.encode(encoding)): FILES["cat/a.png"]
        for number, name in enumerate(names)
    }
    if kind == "zip":
        return with_raw_names(zipped(plain), names, encoding)
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", encoding=encoding, format=tarfile.GNU_FORMAT) as made:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = len(FILES["cat/a.png"])
            made.addfile(info, io.BytesIO(FILES["cat/a.png"]))
    return file.getvalue()


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize("encoding", WORDS)
def test_names_in_common_code_pages_are_decoded(encoding: str, kind: str, put: Any) -> None:
    names = WORDS[encoding]
    path = put(f"a.{kind}", with_names(kind, names, encoding))
    rows = listed(path)
    assert [row.title for row in rows] == names
    assert [row.label for row in rows] == [name.partition("/")[0] for name in names]
    assert [read(path, row) for row in rows] == [FILES["cat/a.png"]] * len(names)


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_explicit_encoding_overrides_the_guess(kind: str, put: Any) -> None:
    path = put(f"a.{kind}", with_names(kind, ["고양이/1.png"], "cp949"))
    assert [row.label for row in listed(path, encoding="cp949")] == ["고양이"]
    assert len(listed(path)) == 1


def test_unicode_and_code_page_names_can_be_mixed(put: Any) -> None:
    def extra(stored: bytes) -> bytes:
        field = struct.pack("<BL", 1, zlib.crc32(stored)) + "고양이/1.png".encode()
        return struct.pack("<HH", 0x7075, len(field)) + field

    for stored, label in ((b"cat/1.png", "고양이"), (b"other", "cat")):
        file, info = io.BytesIO(), zipfile.ZipInfo("cat/1.png")
        info.extra = extra(stored)
        with zipfile.ZipFile(file, "w") as made:
            made.writestr(info, FILES["cat/a.png"])
        assert [row.label for row in listed(put("a.zip", file.getvalue()))] == [label]


@pytest.mark.parametrize("make", [zipped, tarred])
def test_archive_classes_ignore_unicode_normalisation(make: Any, put: Any) -> None:
    names = [unicodedata.normalize(form, "café/1.png") for form in ("NFC", "NFD")]
    rows = listed(put("a", make(dict.fromkeys(names, FILES["cat/a.png"]))))
    assert [row.label for row in rows] == ["café", "café"]


def test_archive_writes_nothing_to_disk(put: Any, tmp_path: Path) -> None:
    path = put("a.tar.gz", MAKERS["a.tar.gz"]())
    for row in listed(path):
        read(path, row)
    assert list(tmp_path.rglob("*")) == [path]


# --- npz ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(3, 4, 5), (3, 4, 5, 1), (3, 4, 5, 3), (3, 4, 5, 4)])
def test_npz_arrays_are_read_as_png(shape: tuple[int, ...], put: Any) -> None:
    pictures = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    path = put("a.npz", npz(images=pictures, labels=[2, 0, 1], classes=["no", "yes", "maybe"]))
    rows = listed(path)
    assert [row.label for row in rows] == ["maybe", "no", "yes"]
    for index, row in reversed(list(enumerate(rows))):
        with Image.open(io.BytesIO(read(path, row))) as opened:
            assert np.array_equal(np.asarray(opened), pictures[index].squeeze())


def test_npz_accepts_positional_arrays_and_plain_labels(put: Any) -> None:
    file = io.BytesIO()
    np.savez(file, np.zeros((2, 4, 4), np.uint8), np.array([b"a", b"b"]))
    assert [row.label for row in listed(put("a.npz", file.getvalue()))] == ["a", "b"]
    path = put("b.npz", npz(x=np.zeros((2, 4, 4), np.uint8), y=[7, 8]))
    assert [row.label for row in listed(path)] == ["7", "8"]
    path = put("c.npz", npz(x=np.zeros((2, 4, 4), np.uint8)))
    assert [row.label for row in listed(path)] == ["", ""]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"pictures": np.zeros((2, 4, 4), np.uint8)}, r"needs an array `images`.*pictures\.npy"),
        ({"images": np.zeros((2, 4, 4))}, r"float64 of shape \(2, 4, 4\)"),
        ({"images": np.zeros((2, 4, 4, 2), np.uint8)}, r"shape \(2, 4, 4, 2\)"),
        ({"images": np.array([None, {}])}, "objects"),
        ({"images": np.zeros((2, 4, 4), np.uint8), "labels": [1]}, "2 pictures, but 1 labels"),
        (
            {"images": np.zeros((2, 4, 4), np.uint8), "labels": [0, 9], "classes": ["a"]},
            "the label 9, but 1 classes",
        ),
        ({"images": np.asfortranarray(np.ones((2, 4, 4), np.uint8))}, "Fortran"),
    ],
)
def test_npz_refuses_arrays_of_other_shapes(arrays: dict[str, Any], message: str, put: Any) -> None:
    with pytest.raises(SourceError, match=message):
        listed(put("a.npz", npz(**arrays)))


def test_array_header_claiming_terabytes_is_refused_before_allocation(put: Any) -> None:
    array = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        array, {"descr": "|u1", "fortran_order": False, "shape": (10**6, 10**4, 10**4)}
    )
    path = put("a.npz", zipped({"images.npy": array.getvalue() + bytes(100)}))
    with pytest.raises(SourceError, match="another length than its shape"):
        listed(path)


# --- what is refused ---------------------------------------------------------------------------


def link(kind: bytes, name: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, "/etc/passwd"
    return info


def test_unsafe_members_are_listed_with_a_reason(put: Any) -> None:
    picture = FILES["cat/a.png"]
    hostile = {
        "../up.png": picture,
        "/etc/abs.png": picture,
        "a/../../b.png": picture,
        "inner.zip": zipped(FILES),
        "inner.tar.gz": b"",
        "good.png": picture,
    }
    links = [
        link(tarfile.SYMTYPE, "soft.png"),
        link(tarfile.LNKTYPE, "hard.png"),
        link(tarfile.CHRTYPE, "device"),
        link(tarfile.FIFOTYPE, "pipe.png"),
    ]
    out = "a name that leads out of the archive: "
    nested = "an archive in the archive: unpack it first: "
    expected = {
        "../up.png": f"{out}../up.png",
        "/etc/abs.png": f"{out}/etc/abs.png",
        "a/../../b.png": f"{out}a/../../b.png",
        "inner.zip": f"{nested}inner.zip",
        "inner.tar.gz": f"{nested}inner.tar.gz",
        "good.png": "PNG",
    }
    special = {info.name: f"a link or device: {info.name}" for info in links}
    assert outcome(put("a.tar", tarred(hostile, *links))) == expected | special

    file = io.BytesIO(zipped(hostile | {r"..\win.png": picture, r"C:\win.png": picture}))
    with zipfile.ZipFile(file, "a") as made:
        soft = zipfile.ZipInfo("soft.png")
        soft.external_attr = 0o120777 << 16
        made.writestr(soft, "/etc/passwd")
        made.writestr("other.png", picture, zipfile.ZIP_BZIP2)
    assert outcome(put("a.zip", file.getvalue())) == expected | {
        "../win.png": f"{out}../win.png",
        "C:/win.png": f"{out}C:/win.png",
        "soft.png": "a link or device: soft.png",
        "other.png": "compressed in a way that is not read: only deflated: other.png",
    }


def test_encrypted_zip_error_names_the_remedy(put: Any) -> None:
    data = bytearray(zipped({"a.png": FILES["cat/a.png"]}))
    data[data.index(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(SourceError, match=r"encrypted: unpack it and use the kind `folder`"):
        listed(put("a.zip", bytes(data)))


def test_damaged_archive_is_named(put: Any) -> None:
    whole = zipped(FILES)
    for name, data in {
        "cut.zip": whole[:-40],
        "words.zip": b"no archive at all" * 100,
        "empty.zip": b"",
        "cut.tar.gz": gzip.compress(tarred(FILES))[:-30],
        "zeros.tar.gz": b"\x1f\x8b" + bytes(90),
    }.items():
        with pytest.raises(SourceError, match=r"sources\.mine: no zip, tar or npz, or a damaged"):
            listed(put(name, data))
    flipped = bytearray(zipped(FILES, compression=zipfile.ZIP_STORED))
    flipped[flipped.index(FILES["cat/a.png"]) + 40] ^= 1
    assert outcome(put("flip.zip", bytes(flipped)))["cat/a.png"].startswith(
        "damaged archive: Bad CRC"
    )
    with pytest.raises(SourceError, match="holds no pictures"):
        listed(put("none.zip", zipped({"notes.txt": b"words"})))


@pytest.fixture
def memory() -> Iterator[Callable[[], float]]:
    tracemalloc.start()
    yield lambda: tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()


def claimed(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info.tobuf(tarfile.GNU_FORMAT)


BOMBS: dict[str, Callable[[], bytes]] = {
    "flat.zip": lambda: zipped({"a.png": bytes(100 << 20)}),
    "flat.tar.gz": lambda: gzip.compress(claimed("a.png", 100 << 20) + bytes(100 << 20)),
    "flat.tar.xz": lambda: lzma.compress(claimed("a.png", 100 << 20) + bytes(100 << 20)),
    "claims.tar": lambda: claimed("a.png", 2**62) + bytes(2048),
    "long_name.tar.gz": lambda: gzip.compress(
        claimed("a.png", 100 << 20, tarfile.GNUTYPE_LONGNAME) + bytes(100 << 20)
    ),
    "pax.tar.gz": lambda: gzip.compress(
        claimed("a.png", 100 << 20, tarfile.XHDTYPE) + bytes(100 << 20)
    ),
    "flat.npz": lambda: npz(images=np.zeros((100, 1024, 1024), np.uint8)),
}


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
@pytest.mark.parametrize("member", ["images", "labels", "classes"])
def test_array_that_inflates_at_once_is_not_decompressed(
    method: int, member: str, put: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = npz(images=np.zeros((2, 4, 4), np.uint8), labels=[0, 1], classes=["a", "b"])
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(whole)) as old, zipfile.ZipFile(file, "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name), method if name == f"{member}.npy" else None)
    begun = []
    unpack = zipfile.ZipFile.open

    def opened(archive: zipfile.ZipFile, name: str, *arguments: Any) -> Any:
        begun.append(name)
        return unpack(archive, name, *arguments)

    monkeypatch.setattr(zipfile.ZipFile, "open", opened)
    with pytest.raises(SourceError, match=rf"{member}\.npy: compressed in a way that is not read"):
        listed(put("a.npz", file.getvalue()))
    assert f"{member}.npy" not in begun


@pytest.mark.parametrize("name", BOMBS)
def test_archive_bombs_are_refused_in_constant_memory(
    name: str, put: Any, memory: Callable[[], float]
) -> None:
    path = put(name, BOMBS[name]())
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0] / 2**20
    with pytest.raises(SourceError, match="absurd archive"):
        listed(path)
    assert memory() - before < 32  # MiB, of 100


def test_xz_dictionary_of_gigabytes_is_refused(put: Any) -> None:
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 20}]
    data = bytearray(lzma.compress(tarred(FILES), filters=filters))
    # The header of the first block: size, flags, filter 0x21, length 1, dictionary, ... CRC32.
    position = data.index(b"\x21\x01", 12) + 2
    data[position] = 39  # 3 GiB
    block = data[12 : 12 + (data[12] + 1) * 4 - 4]
    data[12 + len(block) : 16 + len(block)] = struct.pack("<I", zlib.crc32(block))
    with pytest.raises(SourceError, match="Memory usage limit"):
        listed(put("a.tar.xz", bytes(data)))


def test_too_many_members_are_refused(put: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_MEMBERS", 5)
    for name in ("a.zip", "a.tar"):
        with pytest.raises(SourceError, match="more than 5 members"):
            listed(put(name, MAKERS[name]()))


@pytest.mark.parametrize("name", [*MAKERS, "a.npz"])
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    cuts=st.lists(
        st.tuples(st.floats(0, 1), st.binary(max_size=12), st.integers(0, 12)), max_size=4
    ),
    keep=st.floats(0, 1) | st.just(1.0),
)
def test_mutated_archives_raise_readable_errors(
    name: str, put: Any, cuts: list[tuple[float, bytes, int]], keep: float
) -> None:
    arrays = {"images": np.zeros((3, 4, 4), np.uint8), "labels": [0, 1, 0], "classes": ["a", "b"]}
    data = MAKERS[name]() if name in MAKERS else npz(**arrays)
    for where, new, gone in cuts:
        at = int(where * len(data))
        data = data[:at] + new + data[at + gone :]
    path = put(name, data[: int(keep * len(data))])
    try:
        rows, reader = listed(path), archive.reader(spec(path), CONTEXT)
    except SourceError:
        return
    for row in rows:
        try:
            reader(row.url)
        except FetchError as error:
            assert str(error)


def test_url_of_a_missing_member_fails(put: Any) -> None:
    path = put("a.zip", MAKERS["a.zip"]())
    for url in ("archive:99/x.png", "archive:-1/x.png", "file:///etc/passwd", "archive:1e9/"):
        with pytest.raises(FetchError):
            archive.reader(spec(path), CONTEXT)(url)


# --- getting it --------------------------------------------------------------------------------


def test_local_archive_is_checked_for_hash_and_size(put: Any) -> None:
    path = put("a.zip", MAKERS["a.zip"]())
    assert listed(path, sha256=sha256(path.read_bytes()))
    with pytest.raises(SourceError, match=r"a\.zip' has the sha256 [0-9a-f]{64}, not 0{64}"):
        listed(path, sha256="0" * 64)
    with pytest.raises(SourceError, match=r"more than max_bytes \(100\)"):
        listed(path, max_bytes=100)


@pytest.mark.data
@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz"])
def test_real_archive_equals_its_folder(name: str, put: Any, shared_data: Path) -> None:
    folder = shared_data / "decor"
    files = {
        str(path.relative_to(folder.parent)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    make = zipped if name == "a.zip" else lambda files: gzip.compress(tarred(files), 1)
    path = put(name, make(files))
    rows, reader = listed(path), archive.reader(spec(path), CONTEXT)
    plain = params.FolderSource(kind="folder", path=str(folder), licence="CC0")
    expected = sources.candidates("mine", plain, CONTEXT)
    assert {(sha256(reader(row.url)), row.label) for row in rows} == {
        (row.sha256, row.label) for row in expected
    }
