"""Training images: boxes, the index, and exact counts."""

from __future__ import annotations

import math
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ganloom import augment
from ganloom.images import arrays, encoding
from ganloom.images.shards import sha256, write_shards
from ganloom.params import Slices, Whole

SLICES = Slices(
    mode="slices",
    resolution=16,
    border=None,
    symmetries=1,
    count=20,
    holdout_count=5,
    sizes=[16, 32, 64],
    max_angle=30.0,
)
WHOLE = Whole(mode="whole", resolution=16, border=None, symmetries=2, fit="crop")


def ramp(width: int, height: int) -> Image.Image:
    """An image with its x in red and its y in green, in px."""
    y, x = np.mgrid[:height, :width]
    return Image.fromarray(np.stack([x, y, 0 * x], axis=-1).astype(np.uint8))


def framed(picture: Image.Image, left: int, top: int, colour: str) -> Image.Image:
    frame = Image.new("RGB", (picture.width + 2 * left, picture.height + 2 * top), colour)
    frame.paste(picture, (left, top))
    return frame


@pytest.fixture(scope="module")
def pool() -> Executor:
    return ThreadPoolExecutor(2)


def make(
    folder: Path,
    pictures: list[Image.Image],
    section: Slices | Whole,
    rows: int | None,
    pool: Executor,
    *,
    seed: int = 3,
) -> tuple[np.ndarray, pd.DataFrame, dict[str, str], dict[str, Image.Image]]:
    by_digest = {sha256(encoding.png(p)): p for p in pictures}
    write_shards(folder, [(d, "png", encoding.png(p)) for d, p in by_digest.items()])
    augment._open_shards.cache_clear()
    job = augment.CropJob(folder, folder / "images.npy", section, seed, max_pixels=10**6)
    labels = {digest: f"label of {digest[:4]}" for digest in by_digest}
    index, unused = augment.make(job, labels, rows, arrays.SYMMETRIES[section.symmetries], pool)
    return np.load(job.images), index, unused, by_digest


@given(
    seed=st.integers(0, 10**6),
    width=st.integers(40, 300),
    height=st.integers(40, 300),
    sizes=st.lists(st.integers(1, 300), min_size=1, max_size=4, unique=True),
    max_angle=st.floats(0, 180),
)
def test_box_stays_inside_the_image(
    seed: int, width: int, height: int, sizes: list[int], max_angle: float
) -> None:
    sizes = [*sizes, min(width, height)]
    box = augment.draw_box(np.random.default_rng(seed), width, height, sizes, max_angle)
    half = box.side / 2
    turn = math.radians(box.angle)
    for u, v in [(-half, -half), (-half, half), (half, -half), (half, half)]:
        x = box.x + u * math.cos(turn) + v * math.sin(turn)
        y = box.y - u * math.sin(turn) + v * math.cos(turn)
        assert -1e-6 <= x <= width + 1e-6
        assert -1e-6 <= y <= height + 1e-6
    assert abs(box.angle) <= max_angle
    assert box.side in sizes


def test_boxes_cover_all_sizes_angles_and_positions() -> None:
    rng = np.random.default_rng(0)
    boxes = [augment.draw_box(rng, 200, 100, [20, 40, 101], 180.0) for _ in range(600)]
    sides = [box.side for box in boxes]
    assert set(sides) == {20.0, 40.0}
    assert 240 < sides.count(20.0) < 360
    quarters = np.histogram([box.angle for box in boxes], 4, (-180, 180))[0]
    assert quarters.min() > 100
    assert min(box.x for box in boxes) < 25
    assert max(box.x for box in boxes) > 175


def test_angles_are_limited_by_the_available_space() -> None:
    rng = np.random.default_rng(0)
    tight = [augment.draw_box(rng, 110, 110, [100], 45.0).angle for _ in range(200)]
    full = [augment.draw_box(rng, 100, 100, [100], 45.0).angle for _ in range(20)]
    assert 4 < max(tight) < 45 - math.degrees(math.acos(1.1 / math.sqrt(2))) + 1e-6
    assert full == pytest.approx([0.0] * 20, abs=1e-5)


@pytest.mark.parametrize("frame", [(0, 0), (11, 7)])
def test_index_describes_the_crops(tmp_path: Path, pool: Executor, frame: tuple[int, int]) -> None:
    section = SLICES.model_copy(update={"max_angle": 180.0, "border": 3})
    picture = framed(ramp(200, 150), *frame, "blue")
    crops, index, _, _ = make(tmp_path, [picture], section, 40, pool)
    steps = (np.arange(16) + 0.5) / 16 - 0.5
    for row in index.to_dict("records"):
        u, v = np.meshgrid(row["side"] * steps, row["side"] * steps)
        turn = math.radians(row["angle"])
        x = row["x"] + u * math.cos(turn) + v * math.sin(turn) - frame[0]
        y = row["y"] - u * math.sin(turn) + v * math.cos(turn) - frame[1]
        shown = crops[row["image"]].astype(float) + 0.5  # the first pixel's centre is at 0.5
        assert np.abs(shown[..., 0] - x)[1:-1, 1:-1].max() < 1.5
        assert np.abs(shown[..., 1] - y)[1:-1, 1:-1].max() < 1.5
    assert len(set(index.side)) == 3
    assert index.angle.abs().max() > 90


@pytest.mark.parametrize("side", [40, 64, 100, 200])
@pytest.mark.parametrize("angle", [0.0, 20.0])
def test_crop_is_antialiased(side: int, angle: float) -> None:
    """A pattern that is finer than the crop becomes its mean instead of another pattern."""
    stripes = np.zeros((300, 300, 3), np.uint8)
    stripes[:, ::2] = 255
    picture = Image.fromarray(stripes)
    box = augment.Box(150, 150, side, angle)
    crop = np.asarray(augment.cut(augment.pyramid(picture), box, 16)).astype(float)
    assert crop.std() < 30  # 127 without a filter
    assert abs(crop.mean() - 127.5) < 4


def test_unrotated_crop_equals_resizing() -> None:
    rng = np.random.default_rng(0)
    smooth = Image.fromarray(rng.integers(0, 256, (30, 30, 3), dtype=np.uint8)).resize((240, 240))
    crop = augment.cut(augment.pyramid(smooth), augment.Box(120, 100, 128, 0.0), 32)
    plain = smooth.resize((32, 32), Image.Resampling.BOX, (56, 36, 184, 164))
    assert np.abs(np.asarray(crop).astype(int) - np.asarray(plain)).max() <= 2


def test_crop_counts_are_exact_and_evenly_distributed(tmp_path: Path, pool: Executor) -> None:
    section = SLICES.model_copy(update={"symmetries": 8})
    pictures = [ramp(70 + i, 70) for i in range(3)]
    crops, index, unused, _ = make(tmp_path, pictures, section, 101, pool)
    assert len(index) == 101
    assert crops.shape == (13, 16, 16, 3)
    assert sorted(index.groupby("sha256").image.nunique()) == [4, 4, 5]
    assert index.groupby("image").symmetry.agg(list).iloc[0] == list(range(8))
    assert not index.duplicated(["image", "symmetry"]).any()
    assert unused == {}
    assert list(index) == list(augment.COLUMNS)
    assert all(index.label == "label of " + index.sha256.str[:4])


def test_originals_without_a_slice_are_listed(tmp_path: Path, pool: Executor) -> None:
    pictures = [ramp(70 + i, 70) for i in range(5)] + [ramp(15, 90)]
    _, index, unused, by_digest = make(tmp_path, pictures, SLICES, 3, pool)
    small = sha256(encoding.png(ramp(15, 90)))
    assert unused[small] == "too small for every size: 15x90"
    others = {d for d in by_digest if d != small} - set(index.sha256)
    assert {d for d, reason in unused.items() if reason == "fewer crops than originals"} == others
    assert len(others) == 2


def test_split_without_originals_is_empty(tmp_path: Path, pool: Executor) -> None:
    crops, index, unused, _ = make(tmp_path, [], SLICES, 10, pool)
    assert crops.shape == (0, 16, 16, 3)
    assert index.empty
    assert unused == {}
    index.to_parquet(tmp_path / "index.parquet")
    assert pd.read_parquet(tmp_path / "index.parquet").angle.dtype == np.float64


def test_crops_depend_only_on_seed_and_original(tmp_path: Path, pool: Executor) -> None:
    pictures = [ramp(80 + i, 90) for i in range(4)]
    crops, index, _, _ = make(tmp_path / "a", pictures, SLICES, 20, pool)
    with ThreadPoolExecutor(1) as one:
        again, index_again, _, _ = make(tmp_path / "b", pictures[::-1], SLICES, 20, one)
    assert (crops == again).all()
    pd.testing.assert_frame_equal(index, index_again)
    last = max(pictures, key=lambda picture: sha256(encoding.png(picture)))
    alone, _, _, _ = make(tmp_path / "c", [last], SLICES, 5, pool)
    assert (alone == crops[-5:]).all()
    other, _, _, _ = make(tmp_path / "d", pictures, SLICES, 20, pool, seed=4)
    assert (crops != other).any()


def test_border_is_removed_from_each_side_independently() -> None:
    picture = np.asarray(ramp(60, 50)).copy()
    picture[..., 2] = 99
    picture[:4] = 255
    picture[:, :7] = 250
    picture[-1:] = 10
    assert augment.inner_box(picture, 8) == (7, 4, 60, 49)
    assert augment.inner_box(np.full((5, 6, 3), 7, np.uint8), 8) == (0, 0, 6, 5)


def test_border_may_be_noisy_within_tolerance() -> None:
    rng = np.random.default_rng(0)
    frame = framed(ramp(60, 50), 9, 5, "white")
    noisy = np.clip(np.asarray(frame).astype(int) - rng.integers(0, 6, (60, 78, 3)), 0, 255)
    assert augment.inner_box(noisy.astype(np.uint8), 12) == (9, 5, 69, 55)
    assert augment.inner_box(noisy.astype(np.uint8), 0) == (0, 0, 78, 60)


def test_whole_images_occur_once_per_symmetry(tmp_path: Path, pool: Executor) -> None:
    crops, index, unused, _ = make(tmp_path, [ramp(40, 20), ramp(8, 8)], WHOLE, None, pool)
    assert crops.shape == (2, 16, 16, 3)
    assert list(index.symmetry) == [0, 4, 0, 4]
    assert unused == {}
    assert set(index.side) == {20.0, 8.0}


def test_whole_images_are_cropped_padded_or_stretched() -> None:
    picture = Image.new("RGB", (40, 20), "red")
    picture.paste("blue", (10, 0, 30, 20))
    crop, box = augment.whole(picture, 10, "crop")
    assert crop.getcolors() == [(100, (0, 0, 255))]
    assert box == (20, 10, 20, 0)
    pad, box = augment.whole(framed(picture, 2, 2, "lime"), 44, "pad")
    assert pad.getpixel((3, 3)) == pad.getpixel((20, 40)) == (0, 255, 0)
    assert pad.getpixel((22, 22)) == (0, 0, 255)
    assert box.side == 44
    stretch, _ = augment.whole(picture, 20, "stretch")
    assert np.asarray(stretch)[10, [1, 10, 18]].tolist() == [[255, 0, 0], [0, 0, 255], [255, 0, 0]]


# --- the whole stage ---------------------------------------------------------------------------


def test_both_splits_are_written_with_what_was_left_out(tmp_path: Path, pool: Executor) -> None:
    pictures = {"a": ramp(100, 80), "b": ramp(90, 90), "c": ramp(8, 8)}
    digests = {name: sha256(encoding.png(image)) for name, image in pictures.items()}
    files = [(digests[name], "png", encoding.png(image)) for name, image in pictures.items()]
    write_shards(tmp_path / "raw", files)
    augment._open_shards.cache_clear()
    labels, splits = ["x", "x", "y"], ["train", "holdout", "train"]
    kept = pd.DataFrame({"sha256": digests.values(), "label": labels, "split": splits})

    def made(kept: pd.DataFrame) -> augment.Augmented:
        out = tmp_path / "slices"
        return augment.augment(tmp_path / "raw", kept, SLICES, 10**6, seed=1, out=out, pool=pool)

    found = made(kept)
    assert (len(found.train), len(found.holdout)) == (20, 5)
    assert (set(found.unused), found.lost) == ({digests["c"]}, {"y"})
    assert np.load(tmp_path / "slices/images.npy").shape == (20, 16, 16, 3)
    assert pd.read_parquet(tmp_path / "slices/index.parquet").equals(found.train)
    assert pd.read_csv(tmp_path / "slices/unused.csv")["sha256"].tolist() == [digests["c"]]
    with pytest.raises(augment.SizeError, match=r"none of 1 originals .* \(16 px at least\)"):
        made(kept[kept["label"] == "y"])
