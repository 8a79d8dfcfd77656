"""Memorisation of training images, measured by the discriminator."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ganloom.models import Discriminator, from_uint8

# Images in a batch, on which logits may depend.
BATCH = 32


@torch.inference_mode()
def logits(net: Discriminator, images: NDArray[np.uint8], condition: Tensor | None) -> Tensor:
    """Logits of images, (N,) float64; higher means more real.

    Args:
        net: Discriminator; its mode and device are not changed.
        images: (N, R, R, 3) RGB.
        condition: (N, conditions) condition of each image; None for a model without.
    """
    device = next(net.parameters()).device
    found = []
    for start in range(0, len(images), BATCH):
        first = max(0, min(start, len(images) - BATCH))  # the last batch is a full one as well
        x = from_uint8(images[first : first + BATCH], device)
        given = None if condition is None else condition[first : first + BATCH].to(device)
        # Several logits of an image are those of several networks or places.
        output = net(x, given).logits.double().reshape(len(x), -1).mean(1)
        found.append(output[start - first :].cpu())
    return torch.cat(found)


def recognition(train: Tensor, unseen: Tensor, fake: Tensor) -> dict[str, float]:
    """How well a discriminator tells training images from unseen ones, by its logits.

    Args:
        train: (N,) logits of training images.
        unseen: (M,) logits of real images that it was never trained on.
        fake: (K,) logits of samples.

    Returns:
        ``logit_train``, ``logit_holdout`` and ``logit_generated``, means whose scale depends on the
        objective; ``logit_auc``, the share of pairs in which the training image has the higher
        logit: 0.5 by chance, 1 for complete memorisation (LOGAN; Hayes et al., 2019); and
        ``logit_overfit``, the position of unseen images between training images (0) and samples
        (1) (r_v; Karras et al., 2020), unless samples have the higher mean.
    """
    means = [float(x.mean()) for x in (train, unseen, fake)]
    higher = (train[:, None] > unseen).double() + 0.5 * (train[:, None] == unseen)
    found = dict(
        zip(("logit_train", "logit_holdout", "logit_generated"), means, strict=True),
        logit_auc=float(higher.mean()),
    )
    if means[0] > means[2]:
        found["logit_overfit"] = (means[0] - means[1]) / (means[0] - means[2])
    return found
