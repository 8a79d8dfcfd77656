"""Resolutions of networks and slices."""

from __future__ import annotations


def doublings(resolution: int) -> int:
    """Number of doublings of a base of 4 to 7 px that reach ``resolution``.

    Raises:
        ValueError: ``resolution`` is not base x 2^k with k >= 1; the message names near ones.
    """
    base, k = resolution, 0
    while base > 7 and base % 2 == 0:
        base, k = base // 2, k + 1
    if not 4 <= base <= 7 or k == 0:
        valid = sorted({b << i for b in range(4, 8) for i in range(1, 9)})
        near = sorted(sorted(valid, key=lambda r: abs(r - resolution))[:4])
        raise ValueError(f"4, 5, 6 or 7 doubled, such as {near}")
    return k


def resolutions(full: int) -> list[int]:
    """Resolutions that halving reaches from ``full``, largest first, down to 8 px."""
    sides = [full]
    while sides[-1] % 2 == 0 and sides[-1] // 2 >= 8:
        sides.append(sides[-1] // 2)
    return sides
