"""Evenness of interpolations in feature space."""

from __future__ import annotations

from torch import Tensor


def evenness(points: Tensor) -> dict[str, float]:
    """Lengths of paths and of their steps in feature space.

    Perceptual path length (Karras et al., 2019, section 4.1) along whole paths. StyleGAN takes one
    step of 1/10,000 at a random place of very many paths, and divides a squared LPIPS distance by
    the square of the step. Here all steps of a few paths are measured by the distance of features
    over the step: they add up to the length of the path, jumps are not missed, and steps are large
    compared with the 256 levels of a pixel.

    Args:
        points: (N, P, D) features of images along N paths, P at least 2, evenly spaced.

    Returns:
        ``path_length``, the mean of distance over step, which is the mean length of a path;
        ``path_worst``, its maximum; ``path_unevenness``, the largest step of a path over its mean
        step, averaged over paths: from 1 (equal steps) to P - 1 (a single jump); and
        ``path_detour``, the length over the distance of the ends, 1 for a straight path. The last
        two are 1 if nothing changes.
    """
    x = points.double()
    steps = (x[:, 1:] - x[:, :-1]).norm(dim=-1)
    length = steps.sum(1)
    speed = steps * steps.shape[1]
    ends = (x[:, -1] - x[:, 0]).norm(dim=-1)
    moves, away = length > 0, ends > 0
    uneven, detour = speed.max(1).values[moves] / length[moves], length[away] / ends[away]
    return {
        "path_length": float(length.mean()),
        "path_worst": float(speed.max()),
        "path_unevenness": float(uneven.mean()) if moves.any() else 1.0,
        "path_detour": float(detour.mean()) if away.any() else 1.0,
    }
