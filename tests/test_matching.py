"""Patch matching compared with the distance of sorted responses, and its parts with NumPy."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import conv2d

from ganloom import matching, objectives, params
from ganloom.nets.blocks import DiscriminatorOutput
from ganloom.objectives import Batch, Phase
from ganloom.pyramid import pyramid

CPU = torch.device("cpu")


def pictures(seed: int, count: int = 128, side: int = 8) -> Tensor:
    """Noise whose contrast differs from image to image."""
    random = torch.Generator().manual_seed(seed)
    contrast = torch.rand(count, 1, 1, 1, generator=random)
    return contrast * torch.randn(count, 3, side, side, generator=random)


def memory(real: Tensor, fake: Tensor) -> dict[str, Tensor]:
    found = matching.patch_memory(real.shape[-1], CPU)
    matching.remember_patches(found, real.split(32), fake.split(32), seed=1)
    return found


def sorted_gap(real: Tensor, fake: Tensor, filters: Tensor) -> float:
    """Squared distance of sorted responses of equal number."""
    seen = [conv2d(x, filters).transpose(0, 1).flatten(1).sort(dim=1).values for x in (real, fake)]
    return (seen[0] - seen[1]).square().mean().item()


@pytest.mark.parametrize("change", ["another", "contrast", "sharp", "grey"])
def test_gap_equals_distance_of_sorted_responses(
    change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matching, "HALF_LIFE", 1e-3)  # this batch is all that is known of fakes
    real, fake = pictures(1), pictures(2)
    match change:
        case "contrast":
            fake = 0.6 * fake
        case "sharp":
            fake = fake - 0.5 * fake.roll(1, dims=3)
        case "grey":
            fake = fake.mean(dim=1, keepdim=True).expand_as(fake)
    known = memory(real, fake)
    expected = sorted_gap(real, fake, known["filters"][0])
    assert matching.patch_gap(fake, known).item() == pytest.approx(expected, rel=0.1, abs=2e-3)


def test_gap_is_normalised_by_real_variance_per_scale() -> None:
    real = pictures(1, side=64)
    known = memory(real, real)
    levels = list(pyramid(real))
    assert [level.shape[-1] for level in levels] == [64, 32, 16]
    for level, filters in zip(levels, known["filters"], strict=True):
        spread = conv2d(level, filters).transpose(0, 1).flatten(1).std(dim=1)
        assert torch.allclose(spread, torch.ones(matching.FILTERS), atol=0.1)


def test_slope_points_towards_real_responses() -> None:
    real = pictures(1)
    fake = (0.5 * pictures(2)).requires_grad_()
    known = memory(real, fake.detach())
    before = matching.patch_gap(fake, known)
    (slope,) = torch.autograd.grad(before, fake)
    assert (slope * fake).sum() < 0  # less contrast is farther, more is nearer
    nearer = fake.detach() - 500 * slope
    assert matching.patch_gap(nearer, memory(real, nearer)) < 0.7 * before


def test_fake_statistics_decay_with_their_half_life(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(matching, "HALF_LIFE", 8)
    real, fake = pictures(1), pictures(2)
    known = memory(real, real)
    matching.patch_gap(0 * fake[:8], known)
    # All responses are 0 now, about as often above as below a quantile.
    at_zero = (known["quantiles"][0] >= 0).float()
    expected = torch.lerp(known["shares_real"][0], at_zero, 0.5)
    assert torch.allclose(known["shares_fake"][0], expected, atol=0.003)


@pytest.mark.parametrize("colour", [-1.0, 0.3])
def test_uniform_real_images_match_themselves(colour: float) -> None:
    flat = torch.full((8, 3, 32, 32), colour)
    assert matching.patch_gap(flat, memory(flat, flat)).item() == pytest.approx(0, abs=1e-6)


numbers = st.lists(st.integers(-20, 20), min_size=2, max_size=12)


@given(limits=numbers, values=numbers)
def test_shares_equal_numpys(limits: list[int], values: list[int]) -> None:
    ordered, seen = np.sort(np.array(limits, np.float32)), np.array(values, np.float32)
    above = torch.searchsorted(*(torch.tensor(np.stack([x, x + 1])) for x in (ordered, seen)))
    shares = matching._shares(above, len(ordered))
    expected = (seen <= ordered[:, None]).mean(axis=1)
    assert shares.numpy() == pytest.approx(np.stack([expected, expected]))


@given(x=numbers, ends=st.sets(st.integers(-20, 20), min_size=2), seed=st.integers(0, 99))
def test_interpolation_equals_numpys(x: list[int], ends: set[int], seed: int) -> None:
    at = np.sort(np.array(list(ends), np.float32))
    values = np.random.default_rng(seed).random(len(at), np.float32)
    found = matching._interpolated(
        *(torch.tensor(row)[None] for row in (np.array(x, np.float32), at, values))
    )
    assert found[0].numpy() == pytest.approx(np.interp(x, at, values), abs=1e-5)


def test_patch_matching_adds_its_weighted_distance() -> None:
    def judge(images: Tensor, condition: Tensor | None) -> DiscriminatorOutput:
        return DiscriminatorOutput(images.flatten(1).sum(dim=1))

    real, fake = Batch(pictures(1)), Batch(pictures(2))
    spec = params.PatchMatching(weight=7.0)
    plain = Phase("generator", 1, (objectives.hinge().generator,))
    torch.manual_seed(1)
    term = objectives.patch_matching(spec, memory(real.images, fake.images))
    matched = dataclasses.replace(plain, terms=(*plain.terms, term))
    expected, _ = plain.loss(judge, real, fake)
    loss, logged = matched.loss(judge, real, fake)
    assert loss.item() == pytest.approx((expected + 7 * logged["patch_gap"]).item())
