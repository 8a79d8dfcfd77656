"""Similarity of images: PSNR, SSIM and MS-SSIM, all differentiable."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

# Constants of Wang et al. (2004), and weights of the scales of Wang et al. (2003).
WINDOW, SIGMA = 11, 1.5
K1, K2 = 0.01, 0.03
WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
RANGE = 2.0  # from -1 to 1


def psnr(x: Tensor, y: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of each image, in dB: two (B, C, H, W) in [-1, 1] to (B,)."""
    return 10 * torch.log10(RANGE**2 / (x - y).square().flatten(1).mean(dim=1))


def ssim(x: Tensor, y: Tensor) -> Tensor:
    """Structural similarity of each image (Wang et al., 2004), at most 1.

    Args:
        x: (B, C, H, W) in [-1, 1]; H and W at least 11.
        y: Tensor of the same shape and range.

    Returns:
        (B,), the mean over windows and channels.
    """
    structure, luminance = _ssim(x, y)
    return (structure * luminance).flatten(1).mean(dim=1)


def ms_ssim(x: Tensor, y: Tensor) -> Tensor:
    """Multi-scale SSIM of each image (Wang et al., 2003), from 0 to 1.

    The five scales need sides of more than 160 px. Smaller images use as many scales as fit (64 px:
    3, 32 px: 2), with weights that are scaled to sum to 1.

    Args:
        x: (B, C, H, W) in [-1, 1]; H and W at least 11.
        y: Tensor of the same shape and range.

    Returns:
        (B,), the mean over channels.
    """
    count = scales(min(x.shape[2:]))
    whole = sum(WEIGHTS[:count])
    result = x.new_ones(x.shape[:2])
    for scale, weight in enumerate(WEIGHTS[:count]):
        structure, luminance = _ssim(x, y)
        factor = structure * luminance if scale == count - 1 else structure
        # A negative mean has no real power.
        result = result * factor.mean(dim=(2, 3)).clamp_min(1e-6) ** (weight / whole)
        x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
    return result.mean(dim=1)


def scales(side: int) -> int:
    """Number of scales of MS-SSIM for images of a side in px."""
    return max(1, sum((WINDOW - 1) * 2**scale < side for scale in range(len(WEIGHTS))))


def _ssim(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Contrast-structure and luminance in each window: two of (B, C, H - 10, W - 10)."""
    x, y = x + 1, y + 1  # black must be 0: luminance is compared as a ratio
    c1, c2 = (K1 * RANGE) ** 2, (K2 * RANGE) ** 2
    both = torch.cat([x, y, x * x, y * y, x * y])
    mean_x, mean_y, square_x, square_y, product = _blurred(both).chunk(5)
    variance = square_x - mean_x**2 + square_y - mean_y**2
    structure = (2 * (product - mean_x * mean_y) + c2) / (variance + c2)
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    return structure, luminance


def _blurred(x: Tensor) -> Tensor:
    """Blur each channel by a Gaussian window, without padding."""
    offsets = torch.arange(WINDOW, dtype=x.dtype, device=x.device) - WINDOW // 2
    window = torch.exp(-(offsets**2) / (2 * SIGMA**2))
    window = window / window.sum()
    channels = x.shape[1]
    x = F.conv2d(x, window.view(1, 1, -1, 1).expand(channels, 1, -1, 1), groups=channels)
    return F.conv2d(x, window.view(1, 1, 1, -1).expand(channels, 1, 1, -1), groups=channels)
