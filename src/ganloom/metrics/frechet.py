"""Fréchet distance between two sets of features."""

from __future__ import annotations

import torch
from torch import Tensor


def frechet(a: Tensor, b: Tensor) -> float:
    """Fréchet distance between Gaussians fitted to two sets (Heusel et al., 2017).

    With roots A and B of the covariances, S = A^T A and T = B^T B, the eigenvalues of S T are the
    squared singular values of A B^T, whose sum is the trace of the root of S T. It is real for
    covariances of any rank, so that fewer samples than dimensions are possible. The bias of the
    estimate depends on N (Chong and Forsyth, 2020): compare only values of equal N.
    """
    a, b = a.double(), b.double()
    root_a, root_b = _covariance_root(a), _covariance_root(b)
    means = (a.mean(0) - b.mean(0)).square().sum()
    traces = root_a.square().sum() + root_b.square().sum()
    return float(means + traces - 2 * torch.linalg.svdvals(root_a @ root_b.T).sum())


def _covariance_root(x: Tensor) -> Tensor:
    """A matrix R of at most D rows, with R^T R the covariance of x (N, D)."""
    _, root = torch.linalg.qr((x - x.mean(0)) / (len(x) - 1) ** 0.5, mode="r")
    return root
