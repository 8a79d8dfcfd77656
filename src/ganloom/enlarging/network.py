"""The enlarger: a network that doubles the side of images, applied once or several times.

It predicts the difference from nearest-neighbour upsampling. All convolutions run at the lower
resolution, and the channels of the last one become pixels (Shi et al., 2016, arXiv:1609.05158). A
second input is the *roughness* of the image: 0 for a clean one, up to 1 for the blurred and noisy
samples of poorly trained generators (as the noise level of a denoiser, Zhang et al., 2018,
arXiv:1710.04026). It scales and shifts each channel (Perez et al., 2018, arXiv:1709.07871), so that
one network restores clean images and redraws rough ones.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from ganloom import models

Array = NDArray[np.uint8]

PATH = Path("results/enlarger/enlarger.safetensors")

# Roughness of samples, and of images that the enlarger has produced.
SAMPLES = 0.4
ENLARGED = 0.25

# Limit of the contrast gain when the colours of an enlarged image are corrected.
GAIN = 2.0

BAND = 2**17  # pixels that the network processes at a time: 100 MB


class Enlarger(nn.Module):
    """Network from (B, 3, H, W) in [0, 1] and roughness (B,) to (B, 3, 2H, 2W), not clamped.

    Args:
        channels: Number of channels between the first and the last convolution.
        layers: Number of convolutions between those two.
    """

    def __init__(self, channels: int, layers: int) -> None:
        super().__init__()
        self.margin = layers + 2  # radius of the receptive field in px
        widths = (3, *[channels] * layers)
        self.convs = nn.ModuleList(nn.Conv2d(width, channels, 3, padding=1) for width in widths)
        self.gain = nn.Parameter(torch.zeros(layers + 1, channels, 1, 1))
        self.shift = nn.Parameter(torch.zeros(layers + 1, channels, 1, 1))
        self.last = nn.Conv2d(channels, 12, 3, padding=1)

    def forward(self, x: Tensor, roughness: Tensor) -> Tensor:
        level = roughness.view(-1, 1, 1, 1)
        hidden = x
        for conv, gain, shift in zip(self.convs, self.gain, self.shift, strict=True):
            hidden = F.leaky_relu(conv(hidden) * (1 + level * gain) + level * shift, 0.1)
        repeated = F.interpolate(x, scale_factor=2.0, mode="nearest")
        return F.pixel_shuffle(self.last(hidden), 2) + repeated


class EnlargerInfo(models.Metadata):
    """Metadata of an enlarger: the arguments of ``Enlarger``, and the length of the training."""

    channels: int
    layers: int
    kimg: float


def load(path: Path) -> Enlarger:
    """Load an enlarger, in eval mode.

    Raises:
        ModelError: The file is missing, damaged, or not an enlarger.
    """
    origin = "the stage `enlarger` makes it if params.yaml has a section `enlarge`"
    with models.refusing(path, "an enlarger of ganloom", origin):
        info, tensors = models.read(path, EnlargerInfo)
        net = Enlarger(info.channels, info.layers)
        net.load_state_dict(tensors)
    return net.to(memory_format=torch.channels_last).eval()


def find(project: Path) -> Enlarger | None:
    """Load the enlarger of a project; None if it has none.

    Raises:
        ModelError: The file is damaged.
    """
    path = project / PATH
    return load(path) if path.exists() else None


def enlarge(
    net: Enlarger,
    pictures: Array,
    doublings: int,
    *,
    roughness: float = SAMPLES,
    wrap: tuple[bool, bool] = (False, False),
) -> Array:
    """Double the side of images several times.

    The mean and the contrast of each channel of each image are preserved.

    Args:
        net: Enlarger.
        pictures: (N, H, W, 3) RGB.
        doublings: Number of doublings, 0 or more.
        roughness: Roughness of the images, 0 to 1.
        wrap: Whether the images repeat without a seam, vertically and horizontally.

    Returns:
        (N, H * 2**doublings, W * 2**doublings, 3). The other memory in use does not grow with the
        size.
    """
    for number in range(doublings):
        level = roughness if number == 0 else min(roughness, ENLARGED)
        doubled = _doubled(net, pictures, level, wrap)
        pictures = _with_colours_of(pictures, _halved(doubled), doubled)
    return pictures


@torch.inference_mode()
def _doubled(net: Enlarger, pictures: Array, roughness: float, wrap: tuple[bool, bool]) -> Array:
    count, height, width, _ = pictures.shape
    margin = net.margin
    columns = _inside(np.arange(-margin, width + margin), width, wraps=wrap[1])
    doubled = np.empty((count, 2 * height, 2 * width, 3), np.uint8)
    rows = max(1, min(height, BAND // width))  # of an image, at a time
    several = max(1, BAND // (rows * width))  # images at a time
    half = gains_by_bf16()
    for first in range(0, count, several):
        part = pictures[first : first + several]
        for top in range(0, height, rows):
            bottom = min(top + rows, height)
            lines = _inside(np.arange(top - margin, bottom + margin), height, wraps=wrap[0])
            band = torch.from_numpy(part[:, lines[:, None], columns])
            x = band.permute(0, 3, 1, 2).float().div_(255)
            with torch.autocast("cpu", torch.bfloat16, enabled=half):
                y = net(x, x.new_full((len(x),), roughness)).float()
            y = y[..., 2 * margin : -2 * margin, 2 * margin : -2 * margin]
            pixels = y.mul(255).round_().clamp_(0, 255).to(torch.uint8)
            doubled[first : first + several, 2 * top : 2 * bottom] = pixels.permute(0, 2, 3, 1)
    return doubled


def gains_by_bf16() -> bool:
    """Tell whether the processor has bf16 instructions, which double the speed of the enlarger."""
    if torch.backends.cpu.get_cpu_capability() != "AVX512":  # as ATEN_CPU_CAPABILITY may limit it
        return False
    capabilities = getattr(torch.cpu, "get_capabilities", dict[str, bool])  # since torch 2.11
    return bool(capabilities().get("avx512_bf16"))


def _inside(at: NDArray[np.int64], length: int, *, wraps: bool) -> NDArray[np.int64]:
    """Map positions beyond the ends of an axis to indices, periodic or reflected."""
    if wraps:
        return at % length
    at = at % (2 * length)
    return np.minimum(at, 2 * length - 1 - at)


def _halved(pictures: Array) -> Array:
    """Average 2 x 2 px: (N, 2H, 2W, 3) to (N, H, W, 3)."""
    rows = pictures[:, ::2].astype(np.uint16) + pictures[:, 1::2]
    return ((rows[:, :, ::2] + rows[:, :, 1::2] + 2) // 4).astype(np.uint8)


def _with_colours_of(pictures: Array, halved: Array, changed: Array) -> Array:
    """Restore the mean and the contrast of each channel of each image in ``changed``.

    Args:
        pictures: (N, H, W, 3) images before the change.
        halved: (N, H, W, 3) ``changed`` at that size.
        changed: (N, ...) images after the change, modified in place.
    """
    levels = np.arange(256.0)
    for before, after, picture in zip(pictures, halved, changed, strict=True):
        for channel in range(3):
            mean, deviation = _moments(before[..., channel])
            has_mean, has_deviation = _moments(after[..., channel])
            gain = min(max(deviation / max(has_deviation, 1e-6), 1 / GAIN), GAIN)
            curve = np.rint((levels - has_mean) * gain + mean).clip(0, 255).astype(np.uint8)
            picture[..., channel] = curve[picture[..., channel]]
    return changed


def _moments(values: Array) -> tuple[float, float]:
    """Compute mean and standard deviation."""
    counts = np.bincount(values.reshape(-1), minlength=256)
    levels = np.arange(256.0)
    mean = float(counts @ levels) / values.size
    return mean, float(np.sqrt(counts @ (levels - mean) ** 2 / values.size))
