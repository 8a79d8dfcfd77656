"""The built-in collection: ground truth, and bytes that depend only on the url."""

from __future__ import annotations

import functools
import hashlib
import io
import itertools
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from ganloom.params import KeneSource, load
from ganloom.sources import Context, FetchError, kene
from ganloom.tables import Candidate

SEED = 3
NETWORK = load(Path(__file__).parents[1] / "params.yaml").network
CONTEXT = Context(SEED, NETWORK)
SPEC = KeneSource(
    kind="kene",
    path="src/ganloom/sources/kene.py",
    designs=16,
    size=128,
    faults=2.0,
    palettes=["ayahuasca", "river", "clay", "night"],
    motifs=["meander", "cross", "hexagon", "maze"],
)
ROWS = {row.id: row for row in kene.search("kene", SPEC, CONTEXT)}
READ = functools.cache(kene.reader(SPEC, CONTEXT))
DECODED_COPIES = sorted(set(kene.COPIES) - {"truncated"})


def faulty(fault: str) -> list[Candidate]:
    return [row for row in ROWS.values() if row.fault == fault]


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def looks(data: bytes) -> Image.Image:
    """The image as a correct reader decodes it: first frame, upright, on white, RGB."""
    image = ImageOps.exif_transpose(opened(data)).convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def difference(a: Image.Image, b: Image.Image) -> float:
    """Mean difference of small grey thumbnails, of 255."""
    small = [np.asarray(image.convert("L").resize((24, 24)), np.float32) for image in (a, b)]
    return float(np.abs(small[0] - small[1]).mean())


# --- search ------------------------------------------------------------------------------------


def test_kene_candidates_have_columns_and_ground_truth() -> None:
    for key, row in ROWS.items():
        assert row.id == key
        assert row.licence == "CC0-1.0"
        assert row.query in SPEC.motifs
        junk = row.fault in ("blank", "off_topic")
        assert (row.label == "other") == junk
        assert (row.design == "") == junk
        if not row.fault:
            assert row.design == row.id
        elif not junk:
            assert ROWS[row.design or ""].label == row.label
            assert not ROWS[row.design or ""].fault
    assert list(ROWS) == sorted(ROWS)


def test_kene_lists_all_designs_and_requested_faults() -> None:
    assert len(ROWS) == 16 + 32
    assert Counter(row.fault for row in ROWS.values()) == {
        "": 16,
        **dict.fromkeys(kene.FAULTS, 2),
    }
    assert set(kene.FAULTS) == {*kene.COPIES, *kene.JUNK}
    assert len({row.url for row in ROWS.values()}) == len(ROWS)


@pytest.mark.parametrize(("designs", "faults", "rows"), [(1, 0.0, 1), (1, 4.0, 5), (12, 0.5, 18)])
def test_kene_search_of_small_collections(designs: int, faults: float, rows: int) -> None:
    spec = SPEC.model_copy(update={"designs": designs, "faults": faults})
    found = kene.search("kene", spec, CONTEXT)
    assert len({row.id for row in found}) == rows


def test_motifs_and_palettes_are_balanced() -> None:
    designs = [row for row in ROWS.values() if not row.fault]
    families = Counter((row.label, row.title.split()[-1]) for row in designs)
    assert families == Counter(itertools.product(SPEC.motifs, SPEC.palettes))

    narrow = SPEC.model_copy(update={"motifs": ["maze"], "palettes": ["night"]})
    rows = kene.search("kene", narrow, CONTEXT)
    assert {row.query for row in rows} == {"maze"}
    assert all(row.title.endswith(", night") for row in rows)


def test_unknown_kene_url_is_named() -> None:
    with pytest.raises(FetchError, match=r"no such design: kene:99999\.jpg"):
        READ("kene:99999.jpg")


# --- photographs -------------------------------------------------------------------------------


def test_designs_differ_and_have_contrast() -> None:
    images = {key: opened(READ(row.url)) for key, row in ROWS.items() if not row.fault}
    for image in images.values():
        assert image.mode == "RGB"
        assert max(image.size) == SPEC.size
        assert min(image.size) >= 0.75 * SPEC.size
        assert np.asarray(image.convert("L")).std() > 30
    for a, b in itertools.combinations(images.values(), 2):
        assert difference(a, b) > 12


def test_lines_stay_visible_in_small_training_images() -> None:
    full = SPEC.model_copy(update={"size": 320})
    read = kene.reader(full, CONTEXT)
    for number in range(8):
        photograph = opened(read(f"kene:{number:05d}.jpg"))
        x, y = photograph.width // 2, photograph.height // 2
        piece = photograph.crop((x - 64, y - 64, x + 64, y + 64)).convert("L")
        kept = piece.resize((32, 32), Image.Resampling.BOX)
        assert np.asarray(kept).std() > 0.7 * np.asarray(piece).std()


def test_palettes_have_different_colours() -> None:
    colours: dict[str, np.ndarray] = {}
    for row in ROWS.values():
        if not row.fault:
            coarse = np.asarray(opened(READ(row.url))) // 64 @ (16, 4, 1)
            share = np.bincount(coarse.ravel(), minlength=64) / coarse.size / 4
            palette = row.title.split()[-1]
            colours[palette] = colours.get(palette, 0) + share
    for a, b in itertools.combinations(colours.values(), 2):
        assert np.abs(a - b).sum() / 2 > 0.15


# --- faults ------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", DECODED_COPIES)
def test_copies_show_their_design(fault: str) -> None:
    rows = faulty(fault)
    assert rows
    for row in rows:
        copy, design = looks(READ(row.url)), looks(READ(ROWS[row.design or ""].url))
        if fault == "flipped":
            assert difference(copy, design) > 6
            copy = ImageOps.mirror(copy)
        assert difference(copy, design) < 20
        designs = (other for other in ROWS.values() if not other.fault)
        closest = min(designs, key=lambda other: difference(copy, looks(READ(other.url))))
        assert closest.id == row.design


def test_only_exact_copies_have_the_same_bytes() -> None:
    for row in ROWS.values():
        if row.fault and row.design:
            same = READ(row.url) == READ(ROWS[row.design or ""].url)
            assert same == (row.fault == "copied")


@pytest.mark.parametrize(
    ("fault", "low", "high"),
    [("resized", 0.55, 0.85), ("cropped", 0.9, 0.99), ("thumbnail", 0.2, 0.3)],
)
def test_smaller_copies_are_smaller(fault: str, low: float, high: float) -> None:
    for row in faulty(fault):
        copy, design = opened(READ(row.url)), opened(READ(ROWS[row.design or ""].url))
        assert low <= copy.width / design.width <= high


def test_recompressed_copy_has_fewer_bytes_and_equal_size() -> None:
    for row in faulty("recompressed"):
        copy, design = READ(row.url), READ(ROWS[row.design or ""].url)
        assert len(copy) < 0.8 * len(design)
        assert opened(copy).size == opened(design).size


def test_watermark_changes_only_the_centre() -> None:
    for row in faulty("watermarked"):
        copy, design = looks(READ(row.url)), looks(READ(ROWS[row.design or ""].url))
        change = np.abs(np.asarray(copy, np.int16) - np.asarray(design, np.int16)).max(axis=2)
        h, w = change.shape
        assert change[h // 3 : -h // 3, w // 3 : -w // 3].max() > 60
        assert change[: h // 10].max() < 40


def test_truncated_copy_cannot_be_decoded() -> None:
    for row in faulty("truncated"):
        data = READ(row.url)
        assert READ(ROWS[row.design or ""].url).startswith(data)
        with pytest.raises(OSError, match="truncated"):
            opened(data)


@pytest.mark.parametrize(
    ("fault", "format", "mode", "extension"),
    [
        ("misnamed", "PNG", "RGB", "jpg"),
        ("cmyk", "JPEG", "CMYK", "jpg"),
        ("transparent", "PNG", "RGBA", "png"),
        ("greyscale", "JPEG", "L", "jpg"),
        ("animated", "GIF", "P", "gif"),
        ("rotated", "JPEG", "RGB", "jpg"),
    ],
)
def test_faults_have_their_stated_formats(
    fault: str, format: str, mode: str, extension: str
) -> None:
    for row in faulty(fault):
        image = opened(READ(row.url))
        assert (image.format, image.mode) == (format, mode)
        assert row.url.endswith(f".{extension}")


def test_rotated_copy_is_upright_only_with_exif() -> None:
    for row in faulty("rotated"):
        copy, design = opened(READ(row.url)), opened(READ(ROWS[row.design or ""].url))
        assert copy.getexif()[0x0112] == 6
        assert copy.size == design.size[::-1]


def test_animated_copy_changes_after_its_first_frame() -> None:
    for row in faulty("animated"):
        image = opened(READ(row.url))
        assert getattr(image, "n_frames", 1) == 3
        first = image.convert("RGB")
        image.seek(2)
        assert difference(first, image.convert("RGB")) > 20


def test_transparent_pixels_hide_a_colour() -> None:
    for row in faulty("transparent"):
        corner = opened(READ(row.url)).getpixel((0, 0))
        assert corner == (255, 0, 255, 0)


def test_junk_shows_no_design() -> None:
    for row in faulty("blank"):
        assert np.asarray(opened(READ(row.url)).convert("L")).std() < 2
    designs = [looks(READ(row.url)) for row in ROWS.values() if not row.fault]
    for row in faulty("off_topic"):
        image = looks(READ(row.url))
        assert np.asarray(image.convert("L")).std() > 8
        assert min(difference(image, design) for design in designs) > 20


# --- the same bytes ------------------------------------------------------------------------------

PRINT_HASHES = """
import hashlib, sys
from ganloom.params import KeneSource, Network
from ganloom.sources import Context, kene
spec = KeneSource.model_validate_json(sys.argv[1])
context = Context(int(sys.argv[2]), Network.model_validate_json(sys.argv[3]))
read = kene.reader(spec, context)
for row in reversed(kene.search("kene", spec, context)):
    print(row.url, hashlib.sha256(read(row.url)).hexdigest())
"""


def test_kene_is_reproducible_in_any_order_and_process() -> None:
    here = {row.url: hashlib.sha256(READ(row.url)).hexdigest() for row in ROWS.values()}
    arguments = [PRINT_HASHES, SPEC.model_dump_json(), str(SEED), NETWORK.model_dump_json()]
    lines = subprocess.run(
        [sys.executable, "-c", *arguments],
        env={"PYTHONPATH": str(Path(kene.__file__).parents[2])},
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    assert dict(line.split() for line in lines) == here


def test_kene_seed_changes_all_images() -> None:
    other = kene.reader(SPEC, Context(SEED + 1, NETWORK))
    for number in range(4):
        url = f"kene:{number:05d}.jpg"
        assert difference(looks(READ(url)), looks(other(url))) > 8


def test_example_in_kene_docs_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = Path(__file__).parents[1]
    text = (root / "docs/kene.md").read_text(encoding="utf-8")
    code = text.split("```python\n")[1].split("```")[0]
    shutil.copy(root / "params.yaml", tmp_path / "params.yaml")
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "kene.md", "exec"), {})
    with Image.open("kene.png") as sheet:
        assert sheet.size[0] == pytest.approx(2 * sheet.size[1], rel=0.02)  # 8 x 4
        assert len(sheet.convert("RGB").getcolors(2**24) or ()) > 1000
