"""Precision, recall, density and coverage: which part of the one set lies within the other."""

from __future__ import annotations

import torch
from torch import Tensor


def prdc(real: Tensor, fake: Tensor, k: int) -> dict[str, float]:
    """Overlap of two sets of features, each sample standing for the ball to its k-th neighbour.

    Precision: share of fakes within a real sample's ball. Recall: share of real samples within a
    fake's ball (Kynkäänniemi et al., 2019). Density: balls of real samples that hold a fake, on
    average, over k; more than 1 where fakes crowd in dense parts. Coverage: share of real samples
    with a fake in their ball (Naeem et al., 2020); the one that tells of a mode collapse.

    Args:
        real: (N, D), N at least 2.
        fake: (M, D), M at least 2. The values depend on the sizes: compare those of equal N and M.
        k: Which neighbour; the farthest one in a set of k samples or fewer.
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
