"""Tiles and cloths: seams, borders and colours."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from ganloom import models, params
from ganloom.enlarging.network import Enlarger, enlarge
from ganloom.nets.inputs import Inputs
from ganloom.weaving.cloth import compose
from ganloom.weaving.groups import FRIEZES, WALLPAPERS, refold
from ganloom.weaving.native import native
from ganloom.weaving.tile import make_tile
from ganloom.weaving.weave import (
    ClothPattern,
    cloth_of,
    drift,
    pictures,
    tile_of,
    tile_within,
    weave,
)

Array = NDArray[np.uint8]

RNG = np.random.default_rng(0)


def picture(side: int) -> Array:
    """Smooth blobs of colour."""
    coarse = torch.from_numpy(RNG.random((1, 3, 5, 5)))
    smooth = torch.nn.functional.interpolate(coarse, size=side, mode="bicubic", align_corners=True)
    return (smooth[0].permute(1, 2, 0).clamp(0, 1) * 255).round().byte().numpy()


@pytest.fixture(scope="module")
def enlarger() -> Enlarger:
    torch.manual_seed(0)
    net = Enlarger(8, 2).eval()
    for parameter in net.parameters():
        parameter.data *= 0.7  # what it adds is small, as a trained one's is
    return net


# --- enlarging -----------------------------------------------------------------------------------


def test_enlarged_tile_repeats(enlarger: Enlarger) -> None:
    tile = picture(24)
    alone = enlarge(enlarger, tile[None], 2, wrap=(True, True))[0]
    nine = enlarge(enlarger, np.tile(tile, (3, 3, 1))[None], 2, wrap=(True, True))[0]
    np.testing.assert_allclose(nine.astype(int), np.tile(alone, (3, 3, 1)).astype(int), atol=1)


def test_bands_do_not_change_the_result(
    enlarger: Enlarger, monkeypatch: pytest.MonkeyPatch
) -> None:
    several = np.stack([picture(40) for _ in range(3)])
    whole = enlarge(enlarger, several, 1)
    monkeypatch.setattr("ganloom.enlarging.network.BAND", 40 * 7)
    bands = enlarge(enlarger, several, 1)
    np.testing.assert_allclose(bands.astype(int), whole.astype(int), atol=1)


def test_enlarging_keeps_colour_and_contrast(enlarger: Enlarger) -> None:
    small = picture(32)
    large = enlarge(enlarger, small[None], 3)[0]
    assert large.shape == (256, 256, 3)
    np.testing.assert_allclose(large.mean((0, 1)), small.mean((0, 1)), atol=3)
    np.testing.assert_allclose(large.std((0, 1)), small.std((0, 1)), rtol=0.1)


def test_enlarging_by_1_changes_nothing(enlarger: Enlarger) -> None:
    several = np.stack([picture(16)] * 2)
    np.testing.assert_array_equal(enlarge(enlarger, several, 0), several)


# --- tiles ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("group", [*WALLPAPERS, *FRIEZES])
@pytest.mark.parametrize("width", [512, 300])
def test_enlarged_tile_is_invariant(group: str, width: int, enlarger: Enlarger) -> None:
    tile = make_tile(picture(32), group, width, enlarger)
    assert tile.shape[1] == width
    if group not in ("p3m1", "p6m"):  # tests/test_groups.py looks at these
        np.testing.assert_array_equal(refold(tile, group), tile)


def test_tile_without_an_enlarger_is_interpolated() -> None:
    tile = make_tile(picture(32), "p4m", 256, None)
    assert tile.shape == (256, 256, 3)
    np.testing.assert_array_equal(refold(tile, "p4m"), tile)


# --- cloths --------------------------------------------------------------------------------------


def test_cloth_repeats_its_tile() -> None:
    tile = make_tile(picture(16), "p4m", 64, None)
    np.testing.assert_array_equal(compose([tile], 128, 128), np.tile(tile, (2, 2, 1)))


def test_border_matches_in_every_corner() -> None:
    tile = make_tile(picture(16), "p4m", 64, None)
    strip = make_tile(picture(16), "p11", 64, None)
    cloth = compose([tile], 256, 320, strip)
    np.testing.assert_array_equal(cloth, cloth[::-1])
    np.testing.assert_array_equal(cloth, cloth[:, ::-1])
    corner = cloth[: len(strip), : len(strip)]
    np.testing.assert_array_equal(corner, corner.swapaxes(0, 1))
    inside = compose([tile], 256, 320)
    deep = len(strip)
    np.testing.assert_array_equal(cloth[deep:-deep, deep:-deep], inside[deep:-deep, deep:-deep])


def test_cloth_drifts_from_first_to_last_tile() -> None:
    tiles = [np.full((32, 32, 3), value, np.uint8) for value in (0, 100, 200)]
    cloth = compose(tiles, 128, 128).astype(int)
    assert cloth[64, 64].max() <= 2
    assert cloth[0, 0].min() >= 198
    assert np.abs(np.diff(cloth, axis=0)).max() <= 4
    np.testing.assert_array_equal(cloth, cloth[::-1])


def test_cloth_is_made_of_a_sample(enlarger: Enlarger) -> None:
    pattern = ClothPattern("cmm", border="pm2m", place=(0.25, 0))
    cloth = weave(picture(32)[None], pattern, (256, 384), enlarger, tile=128)
    assert cloth.shape == (256, 384, 3)
    other = weave(
        picture(32)[None], ClothPattern("cmm", border="pm2m"), (256, 384), enlarger, tile=128
    )
    assert (cloth != other).any()


@pytest.mark.parametrize(
    ("size", "width"), [(512, 512), (4096, 512), (4000, 500), (300, 300), (800, 400)]
)
def test_cloth_contains_whole_tiles(size: int, width: int) -> None:
    assert tile_within(size) == width
    assert size % width == 0


# --- generators on a torus -----------------------------------------------------------------------

V = torch.randn(2, 60, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def texture() -> models.Generator:
    torch.manual_seed(0)
    spec = params.TextureGenerator(kind="texture", channels=8, latent=60, local=2, palette=4)
    net = models.build_generator(spec, 32, Inputs(60)).eval()
    for module in net.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.ConvTranspose2d):
            module.weight.data.mul_(5)  # as much contrast as after a training
    return net


def steps(cloth: Array) -> tuple[Array, Array]:
    """Mean change from each row, and each column, to the next one; the last to the first."""
    return tuple(
        np.abs(np.roll(cloth, -1, axis).astype(int) - cloth).mean(axis=(1 - axis, 2))
        for axis in (0, 1)
    )


def assert_seamless(cloth: Array) -> None:
    for change in steps(cloth):
        assert change.mean() > 0.5
        assert change[-1] < 1.5 * change[:-1].max()


def test_sample_of_a_torus_is_a_tile(texture: models.Generator) -> None:
    (sample,) = pictures(texture, V[:1])
    plain = tile_of(sample, ClothPattern("p1"), 32, None, periodic=True)
    np.testing.assert_array_equal(plain, sample)
    assert_seamless(plain)
    moved = tile_of(sample, ClothPattern("p1", place=(0.25, 0.5)), 32, None, periodic=True)
    np.testing.assert_array_equal(moved, np.roll(sample, (-16, -8), (0, 1)))
    folded = tile_of(sample, ClothPattern("p4m"), 64, None, periodic=True)
    np.testing.assert_array_equal(folded, make_tile(sample, "p4m", 64, None))


@pytest.mark.parametrize("size", [(96, 160), (150, 70)])
def test_cloth_of_a_torus_is_seamless_and_does_not_repeat(
    texture: models.Generator, enlarger: Enlarger, size: tuple[int, int]
) -> None:
    cloth = cloth_of(texture, V[:1], ClothPattern("p1"), size, enlarger=enlarger, tile=32, seed=0)
    assert cloth.shape == (*size, 3)
    assert_seamless(cloth)
    one, other = cloth[:32, :32].astype(int), cloth[32:64, :32]
    assert np.abs(one - other).mean() > 0.5
    again = cloth_of(texture, V[:1], ClothPattern("p1"), size, enlarger=enlarger, tile=32, seed=1)
    assert (cloth != again).any()


def test_cloth_of_a_torus_is_independent_of_bands(
    texture: models.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = native(texture, V, (4, 3), (0, 0), 0)
    monkeypatch.setattr("ganloom.weaving.native.BAND", 12 * 3)
    np.testing.assert_array_equal(native(texture, V, (4, 3), (0, 0), 0), whole)


def test_place_shifts_a_cloth_of_a_torus(texture: models.Generator) -> None:
    whole = native(texture, V[:1], (4, 3), (0, 0), 0)
    moved = native(texture, V[:1], (4, 3), (0.5, 1.25), 0)
    np.testing.assert_array_equal(moved, np.roll(whole, (-40, -16), (0, 1)))


def test_drift_changes_a_cloth_of_a_torus_from_its_centre(texture: models.Generator) -> None:
    size = 256, 256
    v = drift(texture, V[:1], 1, seed=3)
    pattern = ClothPattern("p1")
    still, ending, drifting = (
        cloth_of(texture, of, pattern, size, enlarger=None, tile=32, seed=0).astype(int)
        for of in (v[:1], v[-1:], v)
    )
    middle, corner = np.s_[112:144, 112:144], np.s_[:16, :16]
    for place, near, far in ((middle, still, ending), (corner, ending, still)):
        assert np.abs((drifting - near)[place]).mean() < np.abs((drifting - far)[place]).mean() / 3
    assert_seamless(drifting.astype(np.uint8))


def test_drift_ends_at_another_original_for_models_of_originals() -> None:
    spec = params.CompactGenerator(kind="compact", channels=4, latent=6, palette=4)
    told = Inputs(6, pictures=9)
    net = models.build_generator(spec, 16, told, "picture")
    v = told.draw(1, torch.tensor([2]))
    whole, half = (told.parts(drift(net, v, amount, seed=5))[1] for amount in (1, 0.5))
    start = torch.nn.functional.one_hot(torch.tensor(2), 9).float()
    assert torch.equal(whole[0], start)
    assert whole[-1].max() == 1
    assert whole[-1, 2] == 0
    assert torch.allclose(half[-1], (start + whole[-1]) / 2)


def test_cloth_of_a_torus_may_have_a_border_and_other_groups(texture: models.Generator) -> None:
    pattern = ClothPattern("p1", border="p11")
    cloth = cloth_of(texture, V[:1], pattern, (256, 320), enlarger=None, tile=64, seed=0)
    np.testing.assert_array_equal(cloth[:64, 64:-64], cloth[::-1][:64, 64:-64])
    folded = cloth_of(texture, V, ClothPattern("p4m"), (128, 128), enlarger=None, tile=64, seed=0)
    samples = pictures(texture, V)
    np.testing.assert_array_equal(folded, weave(samples, ClothPattern("p4m"), (128, 128), None, 64))
