"""Kernel distances (KID) between two sets of features.

They take (N, D) and (M, D) features, N and M at least 2, and compute in float64.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def kid(a: Tensor, b: Tensor) -> float:
    """Kernel distance: unbiased squared MMD over all pairs, cubic kernel (Binkowski et al., 2018).

    Unbiased at any N: for two samples of one distribution it scatters around zero.
    """
    return _mmd2(_kernel(a, a), _kernel(a, b), _kernel(b, b))


def kid_std(a: Tensor, b: Tensor, subsets: int, size: int, seed: int) -> float:
    """Standard deviation of ``kid`` over random subsets.

    Args:
        a: (N, D).
        b: (M, D).
        subsets: Number of subsets.
        size: Rows of each set in a subset, at most half of the smaller set, as subsets with a large
            overlap hardly differ.
        seed: Seed of the subsets.
    """
    rng = np.random.default_rng([seed])
    size = max(2, min(size, len(a) // 2, len(b) // 2))
    aa, ab, bb = _kernel(a, a), _kernel(a, b), _kernel(b, b)
    values = []
    for _ in range(subsets):
        i = torch.from_numpy(rng.choice(len(a), size, replace=False))
        j = torch.from_numpy(rng.choice(len(b), size, replace=False))
        values.append(_mmd2(aa[i][:, i], ab[i][:, j], bb[j][:, j]))
    return float(np.std(values))


def kid_gap(  # noqa: PLR0917
    fake: Tensor, train: Tensor, unseen: Tensor, subsets: int, size: int, seed: int
) -> tuple[float, float]:
    """Difference of the KIDs of fakes to unseen images and to training images.

    It is positive if fakes are nearer to training images, as copies are. Both distances are to the
    same fakes, so that most of the noise cancels.

    Args:
        fake: (N, D).
        train: (M, D).
        unseen: (K, D).
        subsets: Number of subsets for the standard deviation.
        size: Rows of each set in a subset, as in ``kid_std``.
        seed: Seed of the subsets.

    Returns:
        KID to unseen images minus KID to training images, and its standard deviation over subsets.
    """
    rng = np.random.default_rng([seed, 1])
    size = max(2, min(size, *(len(x) // 2 for x in (fake, train, unseen))))
    ft, fu = _kernel(fake, train), _kernel(fake, unseen)
    tt, uu = _kernel(train, train), _kernel(unseen, unseen)

    def gap(ft: Tensor, fu: Tensor, tt: Tensor, uu: Tensor) -> float:
        far, near = (_mean_off_diagonal(xx) - 2 * fx.mean() for xx, fx in ((uu, fu), (tt, ft)))
        return float(far - near)

    values = []
    for _ in range(subsets):
        i, j, k = (
            torch.from_numpy(rng.choice(len(x), size, replace=False)) for x in (fake, train, unseen)
        )
        values.append(gap(ft[i][:, j], fu[i][:, k], tt[j][:, j], uu[k][:, k]))
    return gap(ft, fu, tt, uu), float(np.std(values))


def _kernel(a: Tensor, b: Tensor) -> Tensor:
    return (a.double() @ b.double().T / a.shape[1] + 1) ** 3


def _mmd2(aa: Tensor, ab: Tensor, bb: Tensor) -> float:
    return float(_mean_off_diagonal(aa) + _mean_off_diagonal(bb) - 2 * ab.mean())


def _mean_off_diagonal(square: Tensor) -> Tensor:
    n = len(square)
    return (square.sum() - square.trace()) / (n * (n - 1))
