"""Wallpaper and frieze groups: tiles are exactly invariant and seamless."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from ganloom.weaving.groups import FRIEZES, HEIGHT, PERIOD, WALLPAPERS, fold, moved, orbit, refold

Array = NDArray[np.uint8]

SAMPLES = st.sampled_from([8, 14, 32]).flatmap(lambda r: arrays(np.uint8, (r, r, 3)))
EVERY = [*WALLPAPERS, *FRIEZES]


def flipped_right(x: Array) -> Array:
    return x[:, ::-1]


def flipped_down(x: Array) -> Array:
    return x[::-1]


def half_turn(x: Array) -> Array:
    return x[::-1, ::-1]


def shifted(x: Array, down: float, right: float) -> Array:
    """In fractions of the tile."""
    return np.roll(x, (round(down * x.shape[0]), round(right * x.shape[1])), (0, 1))


# For each group, what leaves its tile as it is: a set that generates the group, with the tile's own
# translations (but for the third and sixth turns).
INVARIANCES = {
    "p1": [],
    "pm": [flipped_right],
    "pmm": [flipped_right, flipped_down],
    "cmm": [flipped_right, flipped_down, lambda x: shifted(x, 0.5, 0.5)],
    "p4m": [flipped_right, lambda x: x.swapaxes(0, 1)],
    "p3m1": [flipped_down, lambda x: shifted(x, 0.5, 0.5)],
    "p6m": [flipped_right, flipped_down, lambda x: shifted(x, 0.5, 0.5)],
    "p11": [],
    "p11g": [lambda x: shifted(flipped_down(x), 0, 0.5)],
    "p11m": [flipped_down],
    "pm11": [flipped_right],
    "p112": [half_turn],
    "pm2g": [flipped_right, lambda x: shifted(half_turn(x), 0, 0.5)],
    "pm2m": [flipped_right, flipped_down],
}


@pytest.mark.parametrize("group", EVERY)
@settings(deadline=None, max_examples=20)
@given(sample=SAMPLES)
def test_tile_is_exactly_invariant(group: str, sample: Array) -> None:
    tile = fold(sample, group)
    for operation in INVARIANCES[group]:
        np.testing.assert_array_equal(operation(tile), tile)


@pytest.mark.parametrize("group", EVERY)
@settings(deadline=None, max_examples=20)
@given(sample=SAMPLES, data=st.data())
def test_folding_restores_invariance(group: str, sample: Array, data: st.DataObject) -> None:
    shape = tuple(2 * side for side in fold(sample, group).shape[:2])
    changed = data.draw(arrays(np.uint8, (*shape, 3)))
    tile = refold(changed, group)
    assert tile.shape == changed.shape
    for operation in INVARIANCES[group]:
        np.testing.assert_array_equal(operation(tile), tile)


@pytest.mark.parametrize("group", [g for g in EVERY if g not in ("p3m1", "p6m")])
@settings(deadline=None, max_examples=20)
@given(sample=SAMPLES)
def test_folding_keeps_an_invariant_tile(group: str, sample: Array) -> None:
    tile = fold(sample, group)
    np.testing.assert_array_equal(refold(tile, group), tile)


def reflected(x: float, y: float, side: int) -> tuple[float, float]:
    """Reflection of a point in one side of the triangle."""
    start, end = [((0, 0), (1, 0)), ((1, 0), (0.5, HEIGHT)), ((0.5, HEIGHT), (0, 0))][side]
    along = np.subtract(end, start)
    from_start = np.subtract((x, y), start)
    mirrored = 2 * along * (along @ from_start) - from_start + start
    return float(mirrored[0]), float(mirrored[1])


PLANE = st.floats(-4, 4)


@settings(deadline=None)
@given(x=PLANE, y=PLANE, sides=st.lists(st.integers(0, 2), max_size=6))
@pytest.mark.parametrize("group", ["p3m1", "p6m"])
def test_hexagonal_groups_map_equivalent_points_to_one_point(
    group: str, x: float, y: float, sides: list[int]
) -> None:
    start = orbit(np.array(x), np.array(y), group)
    assert 0 <= start[1] + 1e-9 <= HEIGHT + 2e-9
    for side in sides:
        x, y = reflected(x, y, side)
    found = orbit(np.array(x), np.array(y), group)
    np.testing.assert_allclose(found, start, atol=1e-9)
    moved_on = orbit(np.array(x + PERIOD[group]), np.array(y + 2 * HEIGHT), group)
    np.testing.assert_allclose(moved_on, start, atol=1e-9)


@settings(deadline=None)
@given(x=PLANE, y=PLANE, turns=st.integers(1, 5))
def test_p6m_has_sixth_turns(x: float, y: float, turns: int) -> None:
    # Around a corner of the triangle, where six of them meet.
    c, s = math.cos(turns * math.pi / 3), math.sin(turns * math.pi / 3)
    found = orbit(np.array(c * x - s * y), np.array(s * x + c * y), "p6m")
    np.testing.assert_allclose(found, orbit(np.array(x), np.array(y), "p6m"), atol=1e-9)


def smooth(side: int) -> Array:
    """A smooth image, brightest at one side and darkest at the other."""
    y, x = np.mgrid[:side, :side] / side
    waves = np.stack([x, y, (x + y * y) / 2], axis=-1)
    return np.rint(255 * waves).astype(np.uint8)


@pytest.mark.parametrize("group", EVERY)
def test_tiles_repeat_without_a_seam(group: str) -> None:
    sample = smooth(64)
    tile = fold(sample, group)
    repeated = np.tile(tile, (1 if group in FRIEZES else 3, 3, 1)).astype(int)
    steps = [np.abs(np.diff(repeated, axis=axis)).max() for axis in (0, 1)]
    # The sample itself has steps of up to 8, of which the blended bands make more.
    assert max(steps) <= 40, steps
    if group == "p1":
        bare = np.tile(sample, (3, 3, 1)).astype(int)
        assert np.abs(np.diff(bare, axis=1)).max() > 200


@settings(deadline=None)
@given(sample=SAMPLES, right=st.integers(-99, 99), down=st.integers(-99, 99))
def test_any_part_of_a_sample_is_extended_by_reflection(
    sample: Array, right: int, down: int
) -> None:
    side = len(sample)
    np.testing.assert_array_equal(moved(sample, 0, 0), sample)
    np.testing.assert_array_equal(moved(sample, 1, 0), sample[:, ::-1])
    np.testing.assert_array_equal(moved(sample, 0, 1), sample[::-1])
    there = moved(sample, right / side, down / side)
    np.testing.assert_array_equal(there, moved(sample, right / side + 2, down / side - 2))
    # One pixel on, all but one column is the same.
    np.testing.assert_array_equal(
        there[:, 1:], moved(sample, (right + 1) / side, down / side)[:, :-1]
    )
