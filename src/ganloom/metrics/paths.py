"""How evenly pictures change along interpolations."""

from __future__ import annotations

from torch import Tensor


def evenness(points: Tensor) -> dict[str, float]:
    """Lengths of paths in features, and of their steps.

    The perceptual path length of StyleGAN (Karras et al., 2019, section 4.1) along whole paths. It
    takes one step of 1/10,000 at a random place of each of very many paths, as a squared LPIPS
    distance over the step's square. Here every step of a few paths is taken, as a plain distance
    of features over the step: steps then add up to the length of the path, a jump is not missed,
    and the 256 levels of a pixel do not hide the step.

    Args:
        points: (N, P, D) features of the pictures along N paths, P at least 2, evenly spaced.

    Returns:
        ``path_length``: distance over step, in the mean of all steps, which is the mean length of
        a path; ``path_worst``: in the worst of all steps; ``path_unevenness``: the worst step of a
        path over its mean step, in the mean of all paths, from 1 (all steps are equal) to P - 1
        (one step is all); ``path_detour``: length over the distance of the two ends, 1 where the
        path is straight. The last two are 1 where nothing changes.
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
