"""Decoding to pixels: depth, masks, transparency, frames, metadata, colours."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import icc
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps

from ganloom.images import colour, levels
from ganloom.images.decoding import decode, preview, probe

LIMIT = 1_000_000


def noise(*shape: int, high: int = 256, dtype: type = np.uint8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, high, shape).astype(dtype)


def encoded(image: Image.Image | np.ndarray, name: str, **options: object) -> bytes:
    file = io.BytesIO()
    picture = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    picture.save(file, name, **options)
    return file.getvalue()


def pixels(data: bytes) -> np.ndarray:
    found = np.asarray(decode(data, LIMIT))
    assert np.array_equal(np.asarray(preview(data, LIMIT, 10_000).image), found)
    assert probe(data, LIMIT)[:2] == (found.shape[1], found.shape[0])
    return found


def grey(data: bytes) -> np.ndarray:
    found = pixels(data)
    assert (np.ptp(found, axis=2) == 0).all()
    return found[..., 0]


# --- depth ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["PNG", "TIFF"])
@pytest.mark.parametrize("bits", range(9, 17))
def test_grey_depth_is_determined_by_used_bits(name: str, bits: int) -> None:
    deep = noise(24, 40, high=2**bits, dtype=np.uint16)
    deep[0, 0] = 2**bits - 1
    assert np.array_equal(grey(encoded(deep, name)), deep >> (bits - 8))


def deep_png(values: np.ndarray) -> bytes:
    """A PNG of 16 bits a channel, which Pillow does not write: (H, W, 2 to 4) uint16."""
    height, width, channels = values.shape
    header = struct.pack(">IIBBBBB", width, height, 16, {2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*each) for each in chunks)


def chunk(name: bytes, content: bytes, sum_off: int = 0) -> bytes:
    checksum = zlib.crc32(name + content) ^ sum_off
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)


def deep_tiff(values: np.ndarray, order: str, compression: int) -> bytes:
    """A TIFF of 16 bits a channel: (H, W, 3 or 4) uint16."""
    height, width, channels = values.shape
    body = values.astype(f"{order}u2").tobytes()
    body = zlib.compress(body) if compression == 8 else body
    body += bytes(len(body) % 2)
    depths = struct.pack(f"{order}{channels}H", *[16] * channels)
    tags = [
        (256, 4, 1, width), (257, 4, 1, height), (258, 3, channels, 8 + len(body)),
        (259, 4, 1, compression), (262, 4, 1, 2), (273, 4, 1, 8), (277, 4, 1, channels),
        (278, 4, 1, height), (279, 4, 1, len(body)),
    ]  # fmt: skip
    if channels == 4:
        tags.append((338, 4, 1, 2))
    start = 8 + len(body) + len(depths)
    mark = b"II*\0" if order == "<" else b"MM\0*"
    directory = struct.pack(f"{order}H", len(tags))
    directory += b"".join(struct.pack(f"{order}HHII", *tag) for tag in tags) + bytes(4)
    return mark + struct.pack(f"{order}I", start) + body + depths + directory


DEEP = {
    "PNG": deep_png,
    "TIFF, II": lambda values: deep_tiff(values, "<", 1),
    "TIFF, MM": lambda values: deep_tiff(values, ">", 1),
    "TIFF, II, deflated": lambda values: deep_tiff(values, "<", 8),
    "TIFF, MM, deflated": lambda values: deep_tiff(values, ">", 8),
}


@pytest.mark.parametrize("made", DEEP.values(), ids=list(DEEP))
@pytest.mark.parametrize("bits", [10, 12, 16])
def test_colour_depth_is_determined_by_used_bits(
    made: Callable[[NDArray[np.uint16]], bytes], bits: int
) -> None:
    deep = noise(24, 40, 3, high=2**bits, dtype=np.uint16)
    deep[0, 0] = 2**bits - 1
    assert np.array_equal(pixels(made(deep)), deep >> (bits - 8))


@pytest.mark.parametrize("made", DEEP.values(), ids=list(DEEP))
def test_twelve_bit_alpha_in_sixteen_bits(
    made: Callable[[NDArray[np.uint16]], bytes],
) -> None:
    deep = noise(24, 40, 4, high=2**12, dtype=np.uint16)
    deep[..., 3] = 4095 * (deep[..., 3] > 1000)
    expected = np.where(deep[..., 3:] > 0, deep[..., :3] >> 4, 255)
    assert np.array_equal(pixels(made(deep)), expected)


def test_twelve_bit_grey_with_alpha_in_sixteen_bits() -> None:
    deep = noise(24, 40, 2, high=2**12, dtype=np.uint16)
    deep[..., 1] = 65535
    assert np.array_equal(grey(deep_png(deep)), deep[..., 0] >> 4)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[0, 70_000, 131_071]], np.int32), [0, 136, 255]),
        (np.array([[-1000, 0, 3000]], np.int32), [0, 64, 255]),
        (np.array([[0, 0.5, 1]], np.float32), [0, 128, 255]),
        (np.array([[0, 100, 255]], np.float32), [0, 100, 255]),
        (np.array([[0, 2048, 4000]], np.float32), [0, 128, 249]),
        (np.array([[-2, 0, 2]], np.float32), [0, 128, 255]),
        (np.array([[0, 0.0005, 0.001]], np.float32), [0, 128, 255]),
        (np.array([[np.nan, 0.5, np.inf]], np.float32), [0, 128, 255]),
        (np.array([[0, 0, 0]], np.float32), [0, 0, 0]),
    ],
)
def test_integers_of_32_bits_are_scaled(values: np.ndarray, expected: list[int]) -> None:
    assert grey(encoded(values, "TIFF"))[0].tolist() == expected


def test_unsigned_32_bit_integers_use_the_highest_bit() -> None:
    data = encoded(np.array([[0, -1, 2**31 - 1]], np.int32), "TIFF")
    signed = struct.pack("<HHIH", 339, 3, 1, 2)
    assert data.count(signed) == 1
    data = data.replace(signed, struct.pack("<HHIH", 339, 3, 1, 1))
    assert grey(data)[0].tolist() == [0, 255, 127]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(width=32), min_size=1, max_size=20))
def test_floating_point_values_keep_their_order(numbers: list[float]) -> None:
    ordered = sorted(n for n in numbers if not np.isnan(n)) or [0]
    values = np.array([ordered], np.float32)
    assert (np.diff(levels.eight_bits(values).astype(int)) >= 0).all()


HOLES = [np.nan, np.inf, -np.inf, -9999, -99999, -32768, -(2.0**31), 1e30, -1e30, -3.4028235e38]
UNIT = np.linspace(0, 1, 960, dtype=np.float32).reshape(24, 40)


@pytest.mark.parametrize("hole", HOLES)
@pytest.mark.parametrize("full", [1, 255])
def test_missing_data_do_not_decide_the_range(hole: float, full: int) -> None:
    values = full * UNIT
    values[:8] = hole
    found = grey(encoded(values, "TIFF"))
    assert np.array_equal(found[8:], np.round(255 * UNIT[8:].astype(np.float64)))
    assert (found[:8] == (255 if hole > 0 else 0)).all()


@pytest.mark.parametrize(
    ("values", "hole"),
    [
        (UNIT.copy(), 7.5),
        ((4095 * UNIT).astype(np.uint16), 65535),
        ((4095 * UNIT).astype(np.uint16), 30_000),
        ((4095 * UNIT).astype(np.int32), -1),
    ],
)
def test_the_missing_data_that_a_tiff_names_are_black(values: np.ndarray, hole: float) -> None:
    expected = grey(encoded(values, "TIFF"))
    values[:8] = hole
    found = grey(encoded(values, "TIFF", tiffinfo={42113: f"{hole:g} "}))
    assert np.array_equal(found[8:], expected[8:])
    assert (found[:8] == 0).all()


@pytest.mark.parametrize("named", ["nan", "none", "", "1e999", "-9999"])
def test_other_texts_for_missing_data_change_nothing(named: str) -> None:
    for values in (UNIT, (65535 * UNIT).astype(np.uint16)):
        plain = grey(encoded(values, "TIFF"))
        assert np.array_equal(grey(encoded(values, "TIFF", tiffinfo={42113: named})), plain)


def test_a_third_of_missing_data_in_twelve_bits() -> None:
    values = (4095 * UNIT).astype(np.uint16)
    expected = values >> 4
    values[:8] = 65535
    assert np.array_equal(grey(encoded(values, "PNG"))[8:], expected[8:])


@settings(max_examples=100, deadline=None)
@given(st.integers(8, 14), st.lists(st.tuples(st.integers(0, 959), st.integers()), max_size=9))
def test_hot_pixels_do_not_decide_the_range(bits: int, hot: list[tuple[int, int]]) -> None:
    values = noise(24, 40, high=2**bits, dtype=np.uint16)
    values[0, 0] = 2**bits - 1
    expected = values >> (bits - 8)
    for place, value in hot:
        low = 4 * 2**bits - 4
        values.flat[place] = low + value % (65536 - low)
    for found in (levels.eight_bits(values), levels.eight_bits(values.astype(np.int32))):
        is_hot = values >= 2**bits
        assert np.array_equal(found[~is_hot], expected[~is_hot])
        assert (found[is_hot] == 255).all()


@pytest.mark.parametrize("made", DEEP.values(), ids=list(DEEP))
def test_a_hot_pixel_among_colours(made: Callable[[NDArray[np.uint16]], bytes]) -> None:
    deep = noise(24, 40, 3, high=2**12, dtype=np.uint16)
    expected = deep >> 4
    deep[3, 4], expected[3, 4] = 65535, 255
    assert np.array_equal(pixels(made(deep)), expected)


@pytest.mark.parametrize("hot", [1.01, 1.5, 12, 300, 1e6, -5, -4000])
def test_an_outlier_does_not_decide_the_range_of_numbers_with_a_fraction(hot: float) -> None:
    values = UNIT.copy()
    values[3, 4] = hot
    found = levels.eight_bits(values)
    found[3, 4] = levels.eight_bits(UNIT)[3, 4]
    assert np.array_equal(found, levels.eight_bits(UNIT))


@pytest.mark.parametrize("full", [1, 255, 65535])
def test_resampling_may_exceed_the_range_slightly(full: int) -> None:
    values = full * UNIT
    values[0, :9] = 1.05 * full
    assert np.array_equal(levels.eight_bits(values)[1:], levels.eight_bits(full * UNIT)[1:])


def test_hot_pixels_of_any_brightness_do_not_decide_the_range() -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(0, 2**12, (256, 256)).astype(np.uint16)
    expected = values >> 4
    hot = rng.choice(values.size, 40, replace=False)
    values.flat[hot] = rng.integers(2**12, 2**16, 40)
    found = levels.eight_bits(values)
    expected.flat[hot] = 255
    assert np.array_equal(found, expected)


def test_a_larger_share_is_part_of_the_picture() -> None:
    values = noise(24, 40, high=2**12, dtype=np.uint16)
    values[0, :20] = 60_000  # 2 %
    assert np.array_equal(levels.eight_bits(values), values >> 8)


@settings(max_examples=100, deadline=None)
@given(st.integers(8, 16), st.integers(1, 9), st.data())
def test_ordinary_deep_pictures_are_seen_by_their_bits(
    bits: int, dark: int, data: st.DataObject
) -> None:
    """The darker most pixels are, the fewer use the highest bits, but without a gap."""
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    values = ((2**bits - 1) * rng.random((64, 64)) ** (dark / 3)).astype(np.uint16)
    values[0, 0] = 2**bits - 1
    assert np.array_equal(levels.eight_bits(values), values >> (bits - 8))


# --- masks ---------------------------------------------------------------------------------------

MASK = noise(24, 40) > 127


@pytest.mark.parametrize("name", ["PNG", "TIFF", "GIF", "BMP", "PPM", "WEBP"])
@pytest.mark.parametrize("value", [1, 2, 15])
def test_mask_of_small_values_becomes_black_and_white(name: str, value: int) -> None:
    options = {"lossless": True} if name == "WEBP" else {}
    for mask in (MASK * np.uint8(value), np.stack([MASK * np.uint8(value)] * 3, axis=2)):
        assert np.array_equal(grey(encoded(mask, name, **options)), MASK * np.uint8(255))


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
def test_mask_in_a_16_bit_file_becomes_black_and_white(dtype: type) -> None:
    assert np.array_equal(grey(encoded(MASK.astype(dtype), "TIFF")), MASK * np.uint8(255))


def test_nearly_equal_palette_colours_become_black_and_white() -> None:
    source = Image.fromarray(MASK.astype(np.uint8)).convert("P")
    source.putpalette([200, 200, 201, 199, 200, 200])
    assert np.array_equal(grey(encoded(source, "PNG")), ~MASK * np.uint8(255))


@pytest.mark.parametrize(
    "picture",
    [
        MASK * np.uint8(16),  # a dark picture may be meant
        MASK * np.uint8(1) + np.uint8(254),  # a blank page with a little noise
        noise(24, 40, high=33),
        noise(24, 40, 3, high=3),  # not grey
        np.zeros((24, 40), np.uint8),
        np.ones((24, 40), np.uint8),
    ],
)
def test_other_8_bit_images_are_unchanged(picture: np.ndarray) -> None:
    shown = picture if picture.ndim == 3 else np.stack([picture] * 3, axis=2)
    assert np.array_equal(pixels(encoded(picture, "PNG")), shown)


@pytest.mark.parametrize("name", ["PNG", "TIFF", "GIF", "BMP", "PPM", "WEBP"])
@pytest.mark.parametrize("classes", [3, 6, 21, 32])
def test_the_greys_of_a_label_map_are_stretched(name: str, classes: int) -> None:
    labels = noise(24, 40, high=classes)
    labels[0, :2] = 0, classes - 1
    expected = np.round(255 / (classes - 1) * labels).astype(int)
    options = {"lossless": True} if name == "WEBP" else {}
    for each in (labels, np.stack([labels] * 3, axis=2)):
        found = grey(encoded(Image.fromarray(each).convert("RGB"), name, **options))
        assert np.array_equal(found, expected)
    if name == "TIFF":
        for dtype in (np.uint16, np.int32, np.float32):
            assert np.abs(grey(encoded(labels.astype(dtype), name)) - expected).max() <= 1


def test_a_lossy_picture_is_no_label_map() -> None:
    labels = np.kron(noise(3, 5, high=6), np.ones((8, 8), np.uint8))
    for name in ("JPEG", "WEBP"):
        assert grey(encoded(labels, name, quality=95)).max() < 30


def test_a_dark_frame_with_noise_is_blank() -> None:
    frames = [Image.fromarray(noise(24, 40, high=high)).convert("RGB") for high in (3, 256)]
    for name in ("PNG", "WEBP", "GIF"):
        data = encoded(frames[0], name, save_all=True, append_images=frames[1:], lossless=True)
        assert pixels(data).std() > 50


# --- transparency --------------------------------------------------------------------------------


def drawing(colour: tuple[int, int, int], *, outline: int = 0, caption: int = 0) -> Image.Image:
    """A disc on transparency, smooth at its edge.

    Args:
        colour: Colour of the disc.
        outline: Width of a black outline in px.
        caption: Height in px of a black bar below, 48 px wide.
    """
    y, x = np.mgrid[:64, :64] - [[[26]], [[31.5]]]
    radius = np.hypot(x, y)
    rgba = np.zeros((64, 64, 4), np.uint8)
    rgba[..., 3] = 255 * np.clip(20 - radius, 0, 1)
    rgba[radius < 20 - outline, :3] = colour
    rgba[50 : 50 + caption, 8:56] = 0, 0, 0, 255
    return Image.fromarray(rgba)


@pytest.mark.parametrize("colour", [(255, 255, 255), (240, 245, 250)])
@pytest.mark.parametrize("kind", [("PNG", "RGBA"), ("PNG", "LA"), ("WEBP", "RGBA"), ("GIF", "P")])
def test_white_drawing_on_transparency_stays_visible(
    colour: tuple[int, int, int], kind: tuple[str, str]
) -> None:
    name, mode = kind
    for caption in (0, 1, 5, 12):
        source = drawing(colour, caption=caption)
        image = source.convert(mode) if mode != "P" else source
        found = pixels(encoded(image, name, **({"lossless": True} if name == "WEBP" else {})))
        assert found[0, 0].tolist() == [0, 0, 0]
        assert np.abs(found[26, 32].astype(int) - colour).max() <= 8


@pytest.mark.parametrize(
    "source",
    [
        drawing((0, 0, 0)),
        drawing((200, 200, 200)),
        drawing((255, 255, 0)),
        drawing((255, 255, 255), outline=2),
        drawing((255, 255, 255), outline=3, caption=5),
        drawing((255, 255, 255), caption=14).crop((0, 30, 64, 64)),  # more than half is black
        Image.new("RGBA", (8, 8), (255, 255, 255, 0)),
        Image.new("RGBA", (8, 8), (255, 255, 255, 255)),
    ],
)
def test_other_transparent_drawings_are_composited_on_white(source: Image.Image) -> None:
    white = Image.new("RGBA", source.size, "white")
    expected = np.asarray(Image.alpha_composite(white, source).convert("RGB"))
    assert np.array_equal(pixels(encoded(source, "PNG")), expected)


# --- frames --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["GIF", "WEBP", "PNG", "AVIF"])
@pytest.mark.parametrize("blank", ["black", "white"])
def test_blank_first_frames_are_skipped(name: str, blank: str) -> None:
    drawn = Image.fromarray(np.stack([MASK * np.uint8(255)] * 3, axis=2))
    first, second = (Image.new("RGB", drawn.size, c) for c in (blank, "grey"))
    options = {"save_all": True, "lossless": True, "duration": 50, "quality": 100}
    found = pixels(encoded(first, name, append_images=[second, drawn, first], **options))
    difference = np.abs(found.astype(int) - np.asarray(drawn))
    assert difference.max() <= (8 if name == "AVIF" else 0)


def test_animation_of_blank_frames_uses_the_first() -> None:
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    for name in ("GIF", "PNG", "WEBP"):
        data = encoded(frames[0], name, save_all=True, append_images=frames[1:], lossless=True)
        assert pixels(data)[4, 4].tolist() == [255, 0, 0]


def test_frames_are_decoded_within_the_pixel_limit() -> None:
    first = Image.new("RGB", (20, 20), "white")
    drawn = Image.fromarray(noise(20, 20, 3))
    data = encoded(first, "PNG", save_all=True, append_images=[drawn])
    assert np.asarray(decode(data, 800)).std() > 50
    assert np.asarray(decode(data, 799)).std() == 0


# --- metadata ------------------------------------------------------------------------------------

RGB = noise(24, 40, 3)
PNG = encoded(RGB, "PNG")
BOMB = zlib.compress(bytes(3 << 20))


def with_chunks(*added: bytes, data: bytes = PNG) -> bytes:
    """Insert chunks after the header."""
    return data[:33] + b"".join(added) + data[33:]


ODD_CHUNKS = {
    "large text": chunk(b"zTXt", b"Comment\0\0" + BOMB),
    "large international text": chunk(b"iTXt", b"Comment\0\1\0\0\0" + BOMB),
    "large profile": chunk(b"iCCP", b"icc\0\0" + zlib.compress(bytes(8 << 20))),
    "broken profile": chunk(b"iCCP", b"icc\0\0garbage"),
    "a profile that is none": chunk(b"iCCP", b"icc\0\0" + zlib.compress(b"garbage" * 99)),
    "wrong checksum of a text": chunk(b"tEXt", b"a\0b", sum_off=1),
    "wrong checksum of a gamma": chunk(b"gAMA", struct.pack(">I", 45455), sum_off=1),
    "wrong checksum of transparency": chunk(b"tRNS", bytes(6), sum_off=1),
    "wrong checksum of EXIF": chunk(b"eXIf", b"MM\0*", sum_off=1),
    "broken EXIF": chunk(b"eXIf", b"MM\0*\0\0\0\x08\xff\xff" + b"\1" * 40),
    "large EXIF": chunk(b"eXIf", bytes(3 << 20)),
    "short gamma": chunk(b"gAMA", b""),
    "short size": chunk(b"pHYs", b"\1"),
    "short animation": chunk(b"acTL", b"\1") + chunk(b"fcTL", b"\1"),
    "unknown": chunk(b"prVt", b"?" * 99),
    "many": chunk(b"tEXt", b"a\0" + b"b" * (1 << 19)) * 40,
}


@pytest.mark.parametrize("odd", ODD_CHUNKS.values(), ids=list(ODD_CHUNKS))
def test_png_with_damaged_metadata_is_read(odd: bytes) -> None:
    assert np.array_equal(pixels(with_chunks(odd)), RGB)
    assert np.array_equal(pixels(PNG[:-12] + odd + PNG[-12:]), RGB)


@pytest.mark.parametrize("name", [b"IDAT", b"IHDR"])
def test_png_with_damaged_pixels_is_refused(name: bytes) -> None:
    at = PNG.index(name) + 6
    with pytest.raises(ValueError, match=r"(broken|truncated) PNG"):
        decode(PNG[:at] + bytes([PNG[at] ^ 0x55]) + PNG[at + 1 :], LIMIT)


def test_png_orientation_in_a_text_chunk_is_applied() -> None:
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><r tiff:Orientation="6"/></x:xmpmeta>'
    data = with_chunks(chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp))
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    assert expected.shape == (40, 24, 3)
    assert np.array_equal(pixels(data), expected)


def segment(kind: int, content: bytes) -> bytes:
    return bytes([0xFF, kind]) + struct.pack(">H", len(content) + 2) + content


ODD_SEGMENTS = {
    "broken EXIF": segment(0xE1, b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\1" * 40),
    "EXIF that is none": segment(0xE1, b"Exif\0\0" + b"\xff" * 60_000),
    "much EXIF": segment(0xE1, b"Exif\0\0MM\0*" + b"x" * 60_000) * 30,
    "broken XMP": segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta" + b"<" * 60_000),
    "broken profile": segment(0xE2, b"ICC_PROFILE\0\1\1garbage"),
    "half a profile": segment(0xE2, b"ICC_PROFILE\0\1\2garbage"),
    "no number of a profile": segment(0xE2, b"ICC_PROFILE\0"),
    "large profile": b"".join(
        segment(0xE2, b"ICC_PROFILE\0" + bytes([n, 99]) + b"x" * 65_000) for n in range(1, 100)
    ),
    "broken index of pictures": segment(0xE2, b"MPF\0MM\0*\0\0\0\x08\xff\xff"),
    "broken Photoshop": segment(0xED, b"Photoshop 3.0\x008BIM\x03\xed\0\0\0\0\0\x10\0\1"),
    "short JFIF": segment(0xE0, b"JFIF\0\1"),
    "short Adobe": segment(0xEE, b"Adobe"),
    "short FlashPix": segment(0xE2, b"FPXR"),
    "comment": segment(0xFE, b"\xff" * 60_000),
}


@pytest.mark.parametrize("odd", ODD_SEGMENTS.values(), ids=list(ODD_SEGMENTS))
def test_jpeg_with_damaged_metadata_is_read(odd: bytes) -> None:
    plain = encoded(RGB, "JPEG")
    assert np.array_equal(pixels(plain[:2] + odd + plain[2:]), pixels(plain))
    assert np.array_equal(pixels(plain[:20] + odd + plain[20:]), pixels(plain))


ODD_METADATA = {
    "exif": b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\1" * 40,
    "xmp": b"<x:xmpmeta" + b"<" * 100_000,
    "icc_profile": b"garbage" * 1_000_000,
}


@pytest.mark.parametrize("kind", ODD_METADATA)
@pytest.mark.parametrize("name", ["WEBP", "TIFF", "AVIF"])
def test_other_files_with_damaged_metadata_are_read(name: str, kind: str) -> None:
    content = ODD_METADATA[kind]
    options: dict[str, object] = {"lossless": True} if name == "WEBP" else {}
    plain = pixels(encoded(RGB, name, **options))
    if name == "TIFF":
        tag = {"exif": 34665, "xmp": 700, "icc_profile": 34675}[kind]
        data = encoded(RGB, name, tiffinfo={tag: 7} if kind == "exif" else {tag: content})
    elif (name, kind) == ("AVIF", "exif"):  # which Pillow does not write
        pytest.skip("not written")
    else:
        data = encoded(RGB, name, **{kind: content}, **options)
    assert np.array_equal(pixels(data), plain)


# --- colours -------------------------------------------------------------------------------------


@pytest.mark.parametrize("space", ["Adobe RGB", "Display P3", "ProPhoto"])
@pytest.mark.parametrize("name", ["PNG", "TIFF", "WEBP", "JPEG", "AVIF"])
def test_colours_are_converted_to_srgb(space: str, name: str) -> None:
    source = np.repeat(np.repeat(noise(6, 10, 3), 16, axis=0), 16, axis=1)
    options: dict[str, object] = {"lossless": True, "exact": True} if name == "WEBP" else {}
    options |= {"quality": 100, "subsampling": "4:4:4"} if name in ("JPEG", "AVIF") else {}
    stored = pixels(encoded(source, name, **options))
    expected = icc.to_srgb(space, stored)
    assert np.abs(stored - expected).mean() > 5
    found = pixels(encoded(source, name, icc_profile=icc.rgb_profile(space), **options))
    assert np.abs(found - expected).mean() < 0.5


def adobe_exif(space: int, index: str) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 1
    exif.get_ifd(0x8769).update({0xA001: space, 0xA005: {1: index}})
    return exif.tobytes()


@pytest.mark.parametrize("name", ["PNG", "WEBP", "JPEG", "AVIF"])
def test_adobe_rgb_that_only_exif_declares_is_converted(name: str) -> None:
    colours = np.array([[200, 60, 40], [60, 180, 70], [50, 60, 190], [128, 128, 128]], np.uint8)
    picture = np.kron(colours[None], np.ones((32, 32, 1), np.uint8))
    options = {"quality": 100, "subsampling": 0} if name == "JPEG" else {"quality": 100}
    options |= {"lossless": True} if name == "WEBP" else {}

    def shown(space: int, index: str, **more: object) -> np.ndarray:
        exif = adobe_exif(space, index)
        return pixels(encoded(picture, name, exif=exif, **options, **more))[16, 16::32]

    plain = shown(1, "R98").astype(int)
    expected = icc.to_srgb("Adobe RGB", plain)
    assert np.abs(expected - plain).max() > 20
    assert np.abs(shown(0xFFFF, "R03") - expected).max() <= 3
    assert np.array_equal(shown(0xFFFF, "R98"), plain)
    assert np.array_equal(shown(1, "R03"), plain)
    srgb = shown(0xFFFF, "R03", icc_profile=icc.rgb_profile("sRGB"))  # the profile counts
    assert np.array_equal(srgb, plain)


def test_colour_profiles_of_other_modes_are_converted() -> None:
    profile = icc.rgb_profile("ProPhoto")
    sample = Image.fromarray(RGB)
    alpha = Image.fromarray((MASK * 255).astype(np.uint8))
    with_alpha = sample.copy()
    with_alpha.putalpha(alpha)
    expected = icc.to_srgb("ProPhoto", RGB)
    on_white = np.where(MASK[..., None], expected, 255)
    assert np.abs(pixels(encoded(with_alpha, "PNG", icc_profile=profile)) - on_white).max() < 1.5
    for image in (sample.convert("P"), sample.convert("L")):
        stored = np.asarray(image.convert("RGB"))
        found = pixels(encoded(image, "PNG", icc_profile=profile))
        assert np.abs(found - icc.to_srgb("ProPhoto", stored)).max() < 1.5
    linear = icc.grey_profile(lambda v: v**1.8)
    stored = noise(24, 40)
    found = grey(encoded(stored, "TIFF", icc_profile=linear))
    assert np.abs(found - 255 * icc.srgb_encoded((stored / 255) ** 1.8)).mean() < 0.5


@pytest.mark.parametrize("name", ["TIFF", "JPEG"])
def test_cmyk_profiles_are_applied(name: str) -> None:
    inks = np.stack(np.meshgrid(*[[0, 1]] * 4, indexing="ij"), axis=-1)
    cyan, magenta, yellow, black = (inks[..., i] for i in range(4))
    light = 100 - 25 * cyan - 40 * magenta - 5 * yellow
    lab = np.stack([light, -30 * cyan + 60 * magenta, -40 * cyan + 70 * yellow], axis=-1)
    lab = np.where(black[..., None], 0, lab)
    colours = [(0, 0, 0, 0), (1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (1, 0, 1, 0), (0, 0, 0, 1)]
    patches = np.repeat(255 * np.array(colours, np.uint8)[None], 16, axis=0).repeat(16, axis=1)
    image = Image.frombytes("CMYK", (16 * len(colours), 16), patches.tobytes())
    options: dict[str, object] = {"quality": 100} if name == "JPEG" else {}
    plain = pixels(encoded(image, name, **options))
    found = pixels(encoded(image, name, icc_profile=icc.cmyk_profile(lab), **options))
    expected = icc.srgb_of_lab(np.array([lab[each] for each in colours], float))
    assert np.abs(plain[8, 8::16] - expected).max() > 60
    assert np.abs(found[8, 8::16] - expected).max() < 4


def test_lab_image_needs_no_profile() -> None:
    lab = Image.merge("LAB", [Image.new("L", (8, 8), v) for v in (255, 128, 128)])
    assert (pixels(encoded(lab, "TIFF")) >= 254).all()


SRGB = {
    "of this test": icc.rgb_profile("sRGB"),
    "of littlecms": ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
}
OTHERS = {
    "broken": icc.rgb_profile("ProPhoto")[:400],
    "for CMYK": icc.rgb_profile("ProPhoto").replace(b"RGB ", b"CMYK", 1),
    "for grey": icc.grey_profile(lambda v: v**3),
    "too large": icc.rgb_profile("ProPhoto") + bytes(colour.MAX_PROFILE),
}


@pytest.mark.parametrize("profile", (SRGB | OTHERS).values(), ids=list(SRGB | OTHERS))
def test_srgb_and_unsuitable_profiles_change_nothing(profile: bytes) -> None:
    for mode in ("RGB", "P", "RGBA"):
        image = Image.fromarray(RGB).convert(mode)
        plain = pixels(encoded(image, "PNG"))
        assert np.array_equal(pixels(encoded(image, "PNG", icc_profile=profile)), plain)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_damaged_profiles_are_ignored(data: st.DataObject) -> None:
    profile = bytearray(icc.rgb_profile("Display P3"))
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, 400) | st.integers(0, len(profile) - 1))
        profile[place] = data.draw(st.integers(0, 255))
    found = pixels(encoded(RGB, "PNG", icc_profile=bytes(profile)))
    assert found.shape == RGB.shape


@pytest.mark.data
def test_real_image_with_a_profile_matches_pillow(shared_data: Path) -> None:
    path = sorted((shared_data / "decor").rglob("*.png"))[0]
    with Image.open(path) as image:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
        shown = ImageCms.profileToProfile(
            image.convert("RGB"), profile, ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
        alpha = np.asarray(image.getchannel("A"))
    is_opaque = alpha == 255
    found = np.asarray(decode(path.read_bytes(), LIMIT))
    assert np.abs(found[is_opaque].astype(int) - np.asarray(shown)[is_opaque]).max() <= 2


@pytest.mark.data
def test_ordinary_real_images_are_unchanged(shared_data: Path) -> None:
    folders = ("batik", "bob_ross", "cifar10_automobile", "decor", "pokemon", "shipibo")
    paths = [path for name in folders for path in sorted((shared_data / name).rglob("*.*g"))[::25]]
    seen = 0
    for path in paths:
        with Image.open(path) as image:
            if "icc_profile" in image.info:
                continue
            shown = ImageOps.exif_transpose(image).convert("RGBA")
        expected = Image.alpha_composite(Image.new("RGBA", shown.size, "white"), shown)
        assert decode(path.read_bytes(), 10**8).tobytes() == expected.convert("RGB").tobytes(), path
        seen += 1
    assert seen > 100
