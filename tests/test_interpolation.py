"""Interpolation as products of matrices, which is how GPUs have it, against torch's own."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from ganloom import interpolation

CPU = torch.device("cpu")


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize(("before", "after"), [(8, 16), (7, 14), (28, 32), (6, 128), (9, 5)])
def test_weights_give_what_torch_interpolates(before: int, after: int, align_corners: bool) -> None:
    x = torch.rand(2, 3, before, before)
    weights = interpolation.weights(before, after, align_corners, CPU)
    expected = F.interpolate(x, (after, after), mode="bilinear", align_corners=align_corners)
    assert torch.allclose(weights @ x @ weights.T, expected, atol=1e-5)
    assert torch.equal(interpolation.bilinear(x, after, align_corners), expected)
