"""PSNR, SSIM and MS-SSIM compared with another implementation."""

from __future__ import annotations

import math
from importlib import import_module

import pytest
import pytorch_msssim
import torch
from torch import Tensor

from ganloom.similarity import WEIGHTS, ms_ssim, psnr, scales, ssim

library = import_module("pytorch_msssim.ssim")  # the package's attribute is the function
# The library's own window is rounded to single precision.
WINDOW = torch.exp(-(torch.arange(-5, 6, dtype=torch.float64) ** 2) / (2 * 1.5**2))
WINDOW = (WINDOW / WINDOW.sum()).repeat(3, 1, 1, 1)


def pictures(side: int, noise: float) -> tuple[Tensor, Tensor]:
    """Smooth images over the full range, and the same with noise: (3, 3, R, R)."""
    generator = torch.Generator().manual_seed(1)
    coarse = torch.rand(3, 3, side // 8, side // 8, generator=generator, dtype=torch.float64)
    x = torch.nn.functional.interpolate(coarse, size=(side, side), mode="bicubic").clamp(0, 1)
    y = x + noise * torch.randn(x.shape, generator=generator, dtype=torch.float64)
    return 2 * x - 1, 2 * y.clamp(0, 1) - 1


@pytest.mark.parametrize("noise", [0.02, 0.3])
@pytest.mark.parametrize("side", [176, 256])
def test_ms_ssim_equals_pytorch_msssim(side: int, noise: float) -> None:
    x, y = pictures(side, noise)
    light = ((x + 1) / 2, (y + 1) / 2)
    kind = {"data_range": 1, "size_average": False, "win": WINDOW}
    torch.testing.assert_close(ssim(x, y), pytorch_msssim.ssim(*light, **kind))
    # The paper's weights sum to 1.0001, ours to 1 with any number of scales.
    weights = (torch.tensor(WEIGHTS, dtype=torch.float64) / sum(WEIGHTS)).tolist()
    expected = pytorch_msssim.ms_ssim(*light, **kind, weights=weights)
    torch.testing.assert_close(ms_ssim(x, y), expected, rtol=1e-7, atol=0)


def test_ssim_of_small_images_equals_pytorch_msssim() -> None:
    x, y = pictures(16, 0.1)
    expected = pytorch_msssim.ssim(
        (x + 1) / 2, (y + 1) / 2, data_range=1, size_average=False, win=WINDOW
    )
    torch.testing.assert_close(ssim(x, y), expected)


@pytest.mark.parametrize(("side", "count"), [(11, 1), (32, 2), (64, 3), (160, 4), (161, 5)])
def test_small_images_have_fewer_scales(side: int, count: int) -> None:
    assert scales(side) == count


def test_weights_of_64_px_scales_sum_to_1() -> None:
    """Calculated from the library's parts, at the three scales that fit."""
    x, y = pictures(64, 0.1)
    a, b = (x + 1) / 2, (y + 1) / 2
    weights = torch.tensor([0.0448, 0.2856, 0.3001], dtype=torch.float64)
    expected = torch.ones(3, 3, dtype=torch.float64)
    for scale, weight in enumerate(weights / weights.sum()):
        whole, structure = library._ssim(a, b, 1, WINDOW, size_average=False)
        expected *= (whole if scale == 2 else structure) ** weight
        a, b = (torch.nn.functional.avg_pool2d(part, 2) for part in (a, b))
    torch.testing.assert_close(ms_ssim(x, y), expected.mean(dim=1))


def test_equal_images_have_maximal_similarity() -> None:
    x, _ = pictures(64, 0)
    for measure in (ssim, ms_ssim):
        torch.testing.assert_close(measure(x, x), torch.ones(3, dtype=torch.float64))
    assert psnr(x, x).tolist() == [math.inf] * 3


def test_psnr_uses_the_full_range() -> None:
    x = torch.zeros(2, 3, 4, 4)
    y = x + torch.tensor([0.2, 2.0]).view(2, 1, 1, 1)
    torch.testing.assert_close(psnr(x, y), torch.tensor([20.0, 0.0]), rtol=0, atol=1e-4)


def test_ms_ssim_of_an_inverted_image_has_finite_gradients() -> None:
    x, _ = pictures(64, 0)
    x = x.float().requires_grad_()
    loss = ms_ssim(x, -x.detach()).sum()
    loss.backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()
