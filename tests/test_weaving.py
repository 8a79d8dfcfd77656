"""Tiles and cloths: seams, borders and colours."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from ganloom.enlarging.network import Enlarger, enlarge
from ganloom.weaving.cloth import compose
from ganloom.weaving.groups import FRIEZES, WALLPAPERS, refold
from ganloom.weaving.tile import make_tile
from ganloom.weaving.weave import ClothPattern, tile_within, weave

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
