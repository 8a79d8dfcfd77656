"""Signs that a model has learned its training images by heart, beside the images themselves."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import one_hot

from ganloom.models import Discriminator

# Images that a discriminator sees at once: its judgement may depend on the others of a batch.
BATCH = 32


@torch.inference_mode()
def logits(
    net: Discriminator, images: NDArray[np.uint8], labels: Tensor | None, classes: int
) -> Tensor:
    """What a discriminator says of images: (N,) float64, higher is more real.

    Args:
        net: In the mode that it is in, on the device that it is on.
        images: (N, R, R, 3) RGB.
        labels: (N,) classes; None where it knows none.
        classes: How many there are.
    """
    device = next(net.parameters()).device
    found = []
    for start in range(0, len(images), BATCH):
        first = max(0, min(start, len(images) - BATCH))  # the last batch is a whole one, too
        part = torch.from_numpy(np.ascontiguousarray(images[first : first + BATCH])).to(device)
        x = part.permute(0, 3, 1, 2).float() / 127.5 - 1
        told = None
        if labels is not None:
            told = one_hot(labels[first : first + BATCH].to(device), classes).float()
        # Several logits of one image are those of several networks or places.
        judged = net(x, told).logits.double().reshape(len(x), -1).mean(1)
        found.append(judged[start - first :].cpu())
    return torch.cat(found)


def recognition(train: Tensor, unseen: Tensor, fake: Tensor) -> dict[str, float]:
    """How well a discriminator tells training images from others of their kind, by its logits.

    Args:
        train: (N,) of training images.
        unseen: (M,) of real images that it was never shown.
        fake: (K,) of generated ones.

    Returns:
        ``logit_train``, ``logit_holdout`` and ``logit_generated`` (means; their scale differs
        between objectives); ``logit_auc``, the share of pairs in which a training image is given
        the higher logit, which has no scale: 0.5 where it cannot tell, 1 where it knows them by
        heart (Hayes et al., 2019: LOGAN); and ``logit_overfit``, by how much of the way from
        training to generated images unseen ones have fallen: 0 to 1 (Karras et al., 2020, r_v),
        left out where generated images look the more real.
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
