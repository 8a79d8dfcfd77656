"""Decoding of untrusted images, shards, sheets and symmetries."""

from __future__ import annotations

import io
import pickle
import struct
import tarfile
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from ganloom.images import arrays, decoding, encoding, formats, sheets
from ganloom.images.shards import ShardError, Shards, sha256, write_shards

pytestmark = pytest.mark.filterwarnings("error")

LIMIT = 1_000_000
FORMATS = [name for name in formats.FORMATS if name != "HEIF"]  # which an extra reads


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def encoded(image: Image.Image | np.ndarray, name: str, **options: object) -> bytes:
    file = io.BytesIO()
    picture = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    picture.save(file, name, **options)
    return file.getvalue()


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(decoding.decode(data, LIMIT))


FILES = {name: encoded(noise(24, 40, 3), name) for name in FORMATS}


# --- decoding ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FORMATS)
def test_all_formats_decode_to_pillows_pixels(name: str) -> None:
    expected = np.asarray(Image.open(io.BytesIO(FILES[name])).convert("RGB"))
    assert np.array_equal(pixels(FILES[name]), expected)
    known = formats.FORMATS[name]
    assert decoding.probe(FILES[name], LIMIT) == (40, 24, known.mime, known.extension)
    assert formats.sniff(FILES[name]) == name


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(name: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(noise(24, 40, 3), name, exif=exif)
    with Image.open(io.BytesIO(data)) as reference:
        expected = np.asarray(ImageOps.exif_transpose(reference).convert("RGB"))
    assert np.array_equal(pixels(data), expected)
    info = decoding.probe(data, LIMIT)
    assert (info.height, info.width) == expected.shape[:2]
    assert (info.width < info.height) == (orientation >= 5)


@pytest.mark.parametrize("exif", [b"Exif\0\0", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\x01" * 40])
def test_corrupt_exif_is_ignored(exif: bytes) -> None:
    plain = noise(24, 40, 3)
    assert np.array_equal(pixels(encoded(plain, "JPEG", exif=exif)), pixels(encoded(plain, "JPEG")))


@pytest.mark.parametrize(
    ("name", "mode"), [("PNG", "RGBA"), ("PNG", "LA"), ("WEBP", "RGBA"), ("TIFF", "RGBA")]
)
def test_transparency_is_composited_on_white(name: str, mode: str) -> None:
    source = Image.fromarray(noise(24, 40, 4)).convert(mode)
    options = {"lossless": True, "exact": True} if name == "WEBP" else {}
    rgba = np.asarray(source.convert("RGBA")).astype(float)
    alpha = rgba[..., 3:] / 255
    expected = rgba[..., :3] * alpha + 255 * (1 - alpha)
    assert np.abs(pixels(encoded(source, name, **options)) - expected).max() <= 1


@pytest.mark.parametrize("name", ["PNG", "GIF"])
def test_transparent_palette_colour_becomes_white(name: str) -> None:
    source = Image.new("P", (4, 2), 1)
    source.putpalette([255, 0, 0, 0, 0, 255])
    source.putpixel((0, 0), 0)
    found = pixels(encoded(source, name, transparency=0))
    assert found[0, 0].tolist() == [255, 255, 255]
    assert found[1, 3].tolist() == [0, 0, 255]


def test_transparent_rgb_colour_becomes_white() -> None:
    source = Image.new("RGB", (4, 2), (1, 2, 3))
    source.putpixel((0, 0), (9, 9, 9))
    found = pixels(encoded(source, "PNG", transparency=(1, 2, 3)))
    assert found[1, 1].tolist() == [255, 255, 255]
    assert found[0, 0].tolist() == [9, 9, 9]


@pytest.mark.parametrize("name", ["JPEG", "TIFF"])
def test_cmyk_is_not_inverted(name: str) -> None:
    cyan = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    data = encoded(cyan, name)  # Pillow writes JPEG inverted with an Adobe marker, as Photoshop
    assert np.abs(pixels(data).astype(int) - [0, 255, 255]).max() <= 3


@pytest.mark.parametrize("name", ["PNG", "TIFF", "PPM"])
def test_sixteen_bits_are_reduced_to_eight(name: str) -> None:
    high = noise(24, 40)  # to 255: all sixteen are used
    deep = (high.astype(np.uint16) << 8) + 128
    assert np.array_equal(pixels(encoded(deep, name)), np.repeat(high[..., None], 3, axis=2))


def test_one_bit_is_black_and_white() -> None:
    bits = noise(24, 40) > 127
    found = pixels(encoded(Image.fromarray(bits), "PNG"))
    assert np.array_equal(found, np.repeat(bits[..., None] * np.uint8(255), 3, axis=2))


@pytest.mark.parametrize("name", ["GIF", "WEBP", "PNG", "TIFF"])
def test_animation_is_its_first_frame(name: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    data = encoded(frames[0], name, save_all=True, append_images=frames[1:], lossless=True)
    assert pixels(data)[4, 4].tolist() == pytest.approx([255, 0, 0], abs=1)


def test_decoded_image_has_no_metadata() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    found = decoding.decode(encoded(noise(8, 8, 3), "JPEG", exif=exif, comment=b"x"), LIMIT)
    assert found.info == {}
    assert found.getexif() == {}


# --- refusing ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FORMATS)
def test_truncated_file_is_named(name: str) -> None:
    data = FILES[name]
    with pytest.raises(decoding.ImageError, match=f"truncated {name}"):
        decoding.decode(data[: len(data) * 2 // 3], LIMIT)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty file"),
        (b"\n<!DOCTYPE HTML><html>404</html>", "HTML page"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "format not read: PostScript"),
        (b"just words", "not an image"),
        (FILES["PNG"][:12], "broken PNG"),
        (FILES["PNG"].replace(b"IDAT", b"IDAX"), "PNG"),
    ],
)
def test_files_that_are_not_images_are_refused_with_a_reason(data: bytes, reason: str) -> None:
    with pytest.raises(decoding.ImageError, match=reason):
        decoding.probe(data, LIMIT)


def huge_png(side: int) -> bytes:
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    return (
        b"\x89PNG\r\n\x1a\n"
        + struct.pack(">I", len(header))
        + chunk
        + struct.pack(">I", zlib.crc32(chunk))
        + struct.pack(">I", 4)
        + b"IDAT"
    )


@pytest.mark.parametrize("side", [1001, 10_000, 60_000])
def test_too_many_pixels_are_refused_before_decoding(side: int) -> None:
    # 10,000 is where Pillow would warn, 60,000 where it would refuse.
    with pytest.raises(decoding.ImageError, match="too many pixels"):
        decoding.decode(huge_png(side), LIMIT)


def tiny_tiles(count: int) -> bytes:
    """A grey TIFF with tiles of one pixel, all at the same offset."""
    tags = {256: count, 257: 1, 258: 8, 259: 1, 262: 1, 277: 1, 322: 1, 323: 1}
    entries = [struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items()]
    entries.append(struct.pack("<HHII", 324, 4, count, 8))
    offsets = struct.pack("<I", 8) * count
    directory = struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)
    return b"II*\0" + struct.pack("<I", 8 + len(offsets)) + offsets + directory


def scans(count: int) -> bytes:
    """A progressive JPEG that repeats its last scan."""
    data = encoded(noise(24, 40, 3), "JPEG", progressive=True)
    start, end = data.rindex(b"\xff\xda"), len(data) - 2
    return data[:end] + data[start:end] * count + data[end:]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (scans(200), "absurd JPEG: more than 100 scans"),
        (b"P1\n40 24\n" + b"#\n" * 200 + b"0 " * 960, "absurd PPM: more than 100 comments"),
        (tiny_tiles(200_000), "absurd TIFF: 200000 tiles"),
    ],
)
def test_small_files_that_decode_for_hours_are_refused(data: bytes, reason: str) -> None:
    with pytest.raises(decoding.ImageError, match=reason):
        decoding.decode(data, LIMIT)


def test_ordinary_numbers_of_scans_comments_and_tiles_are_read() -> None:
    film = b"\xff\xda" * 1000  # behind the picture, as telephones do it
    for data in (scans(12) + film, b"P1\n40 24\n" + b"#\n" * 12 + b"0 " * 960, tiny_tiles(12)):
        assert decoding.probe(data, LIMIT)


def test_image_at_the_pixel_limit_is_read() -> None:
    assert decoding.probe(FILES["PNG"], 24 * 40).width == 40
    with pytest.raises(decoding.ImageError, match=r"40x24, more than 959 \(fetch.max_pixels\)"):
        decoding.probe(FILES["PNG"], 24 * 40 - 1)


def exif_jpeg() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "a description"
    return encoded(noise(24, 40, 3), "JPEG", exif=exif)


def animated(name: str) -> bytes:
    more = [Image.fromarray(noise(16, 16, 3, seed=seed)) for seed in (1, 2)]
    return encoded(noise(16, 16, 3), name, save_all=True, append_images=more)


SEEDS = [
    *FILES.values(),
    exif_jpeg(),
    encoded(noise(24, 40, 3), "JPEG", progressive=True),
    encoded(Image.fromarray(noise(24, 40, 3)).convert("CMYK"), "JPEG"),
    encoded(Image.fromarray(noise(24, 40, 3)).convert("P"), "PNG", transparency=b"\0\x80"),
    encoded(noise(24, 40, 4), "WEBP", lossless=True),
    encoded(noise(24, 40, 3), "TIFF", compression="tiff_lzw"),
    encoded(noise(24, 40, 3), "TIFF", compression="jpeg"),
    encoded(Image.fromarray(noise(24, 40) > 99), "TIFF", compression="group4"),
    *(animated(name) for name in ("GIF", "PNG", "WEBP", "TIFF")),
]


@st.composite
def damaged_files(draw: st.DrawFn) -> bytes:
    data = bytearray(draw(st.sampled_from(SEEDS)))
    # Most of what can go wrong is decided near the start.
    places = st.one_of(st.integers(0, min(200, len(data) - 1)), st.integers(0, len(data) - 1))
    for place, value in draw(st.lists(st.tuples(places, st.integers(0, 255)), max_size=8)):
        data[place] = value
    start, length = draw(places), draw(st.integers(0, 64))
    change = draw(st.sampled_from(["none", "cut", "remove", "insert"]))
    if change == "cut":
        del data[start:]
    elif change == "remove":
        del data[start : start + length]
    elif change == "insert":
        data[start:start] = draw(st.binary(max_size=64))
    return bytes(data)


@settings(max_examples=400, deadline=None)
@given(damaged_files())
def test_damaged_files_decode_or_fail_without_warnings(data: bytes) -> None:
    def outcome() -> object:
        try:
            found = decoding.decode(data, LIMIT)
        except decoding.ImageError as error:
            assert str(error)
            return str(error)
        assert found.mode == "RGB"
        assert decoding.probe(data, LIMIT)[:2] == found.size
        return found.tobytes()

    with warnings.catch_warnings(record=True) as leaked:
        assert outcome() == outcome()
    assert not leaked


@pytest.mark.data
def test_real_corrupt_files_are_refused(shared_data: Path) -> None:
    folder, failed = shared_data / "dedup_fixtures", set()
    for path in folder.rglob("*.*"):
        try:
            decoding.probe(path.read_bytes(), 50_000_000)
        except decoding.ImageError:
            failed.add(path.relative_to(folder).as_posix())
    assert failed == {
        f"{name}/ukbench09268_corrupt.jpg" for name in ("mixed_images", "mixed_nested_images")
    }


# --- encoding ----------------------------------------------------------------------------------


def test_encoded_png_contains_only_pixels(tmp_path: Path) -> None:
    picture = Image.fromarray(noise(8, 9, 3))
    tagged = Image.open(io.BytesIO(encoded(picture, "PNG", icc_profile=b"profile")))
    encoding.save_png(tagged, tmp_path / "new" / "folder" / "a.png")
    assert (tmp_path / "new/folder/a.png").read_bytes() == encoding.png(np.asarray(picture))
    assert np.array_equal(pixels(encoding.png(picture)), np.asarray(picture))


# --- shards ------------------------------------------------------------------------------------


def originals(count: int) -> list[tuple[str, str, bytes]]:
    contents = [f"original {number}".encode() * 100 for number in range(count)]
    return [(sha256(data), "png", data) for data in contents]


def test_shards_do_not_depend_on_the_order(tmp_path: Path) -> None:
    items = originals(40)
    write_shards(tmp_path / "a", items)
    write_shards(tmp_path / "b", reversed([*items, items[3]]))
    names = [path.name for path in sorted((tmp_path / "a").iterdir())]
    assert names == [f"0{digit}.tar" for digit in "0123456789abcdef"]
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
        with tarfile.open(tmp_path / "a" / name) as tar:
            members = tar.getmembers()
        assert [member.name for member in members] == sorted(member.name for member in members)
        assert all(member.name.startswith(name[1]) for member in members)
        assert all((m.mtime, m.uid, m.gid, m.mode) == (0, 0, 0, 0o644) for m in members)


def test_shards_support_random_access_and_pickling(tmp_path: Path) -> None:
    items = originals(40)
    write_shards(tmp_path, items)
    shards = pickle.loads(pickle.dumps(Shards(tmp_path)))
    assert dict(shards) == {digest: data for digest, _, data in items}
    assert items[0][0] in shards
    assert "0" * 64 not in shards
    with pytest.raises(KeyError):
        shards["0" * 64]


def test_damaged_shards_are_named(tmp_path: Path) -> None:
    [(digest, extension, data)] = originals(1)
    write_shards(tmp_path, [(digest, extension, data)])
    path = tmp_path / f"0{digest[0]}.tar"
    path.write_bytes(path.read_bytes().replace(b"original 0", b"original 1"))
    with pytest.raises(ShardError, match=path.name):
        Shards(tmp_path)[digest]
    path.write_bytes(b"\0garbage" * 100)
    with pytest.raises(ShardError, match=path.name):
        Shards(tmp_path)


def test_missing_shards_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(ShardError, match="fetch"):
        Shards(tmp_path / "raw")


# --- sheets and symmetries ---------------------------------------------------------------------


def test_grid_places_every_tile() -> None:
    tiles = noise(5, 4, 6, 3)
    table = sheets.grid(tiles, columns=3)
    assert table.shape == (8, 18, 3)
    assert np.array_equal(table[:4, 6:12], tiles[1])
    assert np.array_equal(table[4:, 6:12], tiles[4])
    assert (table[4:, 12:] == 255).all()


def test_contact_sheet_fits_images_of_any_size() -> None:
    small, wide = noise(4, 4, 3), np.zeros((10, 40, 3), np.uint8)
    sheet = np.asarray(sheets.contact_sheet([small, Image.fromarray(wide), small], 2, 20, gap=2))
    assert sheet.shape == (46, 46, 3)
    assert np.array_equal(sheet[10:14, 10:14], small)  # not enlarged, in the middle
    assert (sheet[10:14, 24:44] == 0).all()  # shrunk to the width of a tile
    assert (sheet[2:9, 24:44] == 255).all()
    assert np.array_equal(sheet[32:36, 10:14], small)


def test_empty_contact_sheet_is_white() -> None:
    assert np.asarray(sheets.contact_sheet([], 2, 20)).min() == 255


def test_apply_symmetry_covers_the_eight_symmetries() -> None:
    square = noise(4, 4, 3)
    variants = [arrays.apply_symmetry(square, k) for k in arrays.SYMMETRIES[8]]
    assert len({variant.tobytes() for variant in variants}) == 8
    assert np.array_equal(variants[1], np.rot90(square))
    assert np.array_equal(variants[4], square[:, ::-1])
    assert np.array_equal(variants[5], np.rot90(square)[:, ::-1])


@pytest.mark.parametrize("k", range(8))
def test_apply_symmetry_treats_batches_like_images(k: int) -> None:
    batch = noise(2, 4, 6, 3)
    turned = arrays.apply_symmetry(batch, k)
    assert turned.flags.c_contiguous
    for picture, found in zip(batch, turned, strict=True):
        assert np.array_equal(found, arrays.apply_symmetry(picture, k))


@pytest.mark.parametrize("k", [-1, 8])
def test_symmetry_8_is_refused(k: int) -> None:
    with pytest.raises(ValueError, match="symmetry"):
        arrays.apply_symmetry(noise(4, 4, 3), k)


# --- previews ------------------------------------------------------------------------------------


def photograph(size: tuple[int, int]) -> Image.Image:
    noise = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)


@pytest.mark.parametrize("format", ["JPEG", "PNG"])
@pytest.mark.parametrize("size", [(640, 480), (130, 400), (100, 60)])
def test_preview_is_the_reduced_image(format: str, size: tuple[int, int]) -> None:
    file = io.BytesIO()
    photograph(size).save(file, format)
    seen = decoding.preview(file.getvalue(), 10**6, 120)
    assert (seen.width, seen.height) == size
    assert min(seen.image.size) == min(120, *size)
    assert (seen.coarseness > 0) == (format == "JPEG")
    whole = decoding.decode(file.getvalue(), 10**6).resize(seen.image.size, Image.Resampling.BOX)
    difference = np.abs(np.asarray(whole, float) - np.asarray(seen.image, float))
    assert difference.mean() < 2


def test_preview_is_upright_and_has_the_original_size() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    photograph((640, 480)).save(file, "JPEG", exif=exif)
    seen = decoding.preview(file.getvalue(), 10**6, 120)
    assert (seen.width, seen.height) == (480, 640)
    assert seen.image.size == (120, 160)


def test_preview_refuses_what_decode_refuses() -> None:
    file = io.BytesIO()
    photograph((640, 480)).save(file, "JPEG")
    with pytest.raises(decoding.ImageError, match="too many pixels: 640x480"):
        decoding.preview(file.getvalue(), 640 * 480 - 1, 120)
    with pytest.raises(decoding.ImageError, match="truncated JPEG"):
        decoding.preview(file.getvalue()[:2000], 10**6, 120)
