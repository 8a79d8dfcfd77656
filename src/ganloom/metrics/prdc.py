"""Precision, recall, density and coverage of two sets of features."""

from __future__ import annotations

import torch
from torch import Tensor


def prdc(real: Tensor, fake: Tensor, k: int) -> dict[str, float]:
    """Overlap of two sets of features, by balls that reach to the k-th nearest neighbour.

    Precision: share of fakes in the ball of a real image. Recall: share of real images in the ball
    of a fake (Kynkäänniemi et al., 2019). Density: mean number of real balls that contain a fake,
    over k; it exceeds 1 if fakes concentrate in dense regions. Coverage: share of real images with
    a fake in their ball, which drops with mode collapse (Naeem et al., 2020).

    Args:
        real: (N, D), N at least 2.
        fake: (M, D), M at least 2. Values depend on N and M: compare only those of equal sizes.
        k: Number of the neighbour; the farthest one in sets of k images or fewer.
    """
    real, fake = real.double(), fake.double()
    distance = torch.cdist(real, fake)
    k_real, k_fake = min(k, len(real) - 1), min(k, len(fake) - 1)
    in_real = distance <= _radii(real, k_real)[:, None]
    in_fake = distance <= _radii(fake, k_fake)[None, :]
    return {
        "precision": float(in_real.any(0).double().mean()),
        "recall": float(in_fake.any(1).double().mean()),
        "density": float(in_real.sum(0).double().mean() / k_real),
        "coverage": float(in_real.any(1).double().mean()),
    }


def _radii(x: Tensor, k: int) -> Tensor:
    """Distance of each row to its k-th nearest other row."""
    return torch.cdist(x, x).fill_diagonal_(torch.inf).kthvalue(k).values
