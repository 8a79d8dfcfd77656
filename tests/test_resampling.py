"""Resampling by matrix products compared with torch's interpolation and indexing."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from ganloom import resampling


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize(("before", "after"), [(8, 16), (7, 14), (28, 32), (6, 128), (9, 5)])
def test_matrix_product_equals_interpolate(before: int, after: int, align_corners: bool) -> None:
    x = torch.rand(2, 3, before, before)
    expected = F.interpolate(x, (after, after), mode="bilinear", align_corners=align_corners)
    assert torch.equal(resampling.bilinear(x, after, align_corners), expected)
    found = resampling.enlarged(x, after, align_corners)
    assert torch.allclose(found, expected, atol=1e-5)
    assert found.is_contiguous(memory_format=torch.channels_last)


def test_resampling_is_exact_under_autocast() -> None:
    x = torch.rand(2, 3, 9, 9).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found = resampling.enlarged(x, 18, align_corners=True)
    expected = F.interpolate(x.float(), (18, 18), mode="bilinear", align_corners=True)
    assert torch.equal(found, expected.bfloat16())


def test_moved_selects_rows_and_columns() -> None:
    x = torch.rand(2, 3, 4, 5)
    rows, columns = torch.tensor([[2, 3, 4], [-1, 0, 1]]), torch.tensor([[1, 1]])
    found = resampling.moved(x, rows, columns)
    assert torch.equal(found[0, :, :2], x[0, :, 2:, [1, 1]])
    assert torch.equal(found[1, :, 1:], x[1, :, :2, [1, 1]])
    assert not found[0, :, 2].any()
    assert not found[1, :, 0].any()
