"""Conditioning on a class, one-hot or by a learned embedding, or on the originals.

A generator gets the condition in its input vector. A discriminator gets a class as additional
planes of the image, and originals by projection of its last features.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ganloom.nets.inputs import Inputs


class Embedded(nn.Module):
    """Replaces the condition in v by an embedding as long as z (Brock et al., 2018, section 3).

    The embedding is concatenated to z, not multiplied into it: the sign of z would hide the class.
    A mixture of classes or originals gives the same mixture of their embeddings.
    """

    def __init__(self, inputs: Inputs) -> None:
        super().__init__()
        self.inputs = inputs
        self.embedding = nn.Parameter(torch.randn(inputs.conditions, inputs.latent))

    def forward(self, v: Tensor) -> Tensor:
        """(B, inputs.width) to (B, 2 latent + coded)."""
        z, condition, code = self.inputs.parts(v)
        return torch.cat([z, condition @ self.embedding, code], dim=1)


class OneHotPlanes(nn.Module):
    """Adds a plane for each class: ones for the class of the image, zeros for the others."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.planes = classes

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """(B, C, R, R) and (B, classes) to (B, C + classes, R, R)."""
        planes = condition[:, :, None, None].expand(-1, -1, *x.shape[2:])
        return torch.cat([x, planes.to(x.dtype)], dim=1)


class EmbeddedPlane(nn.Module):
    """Adds one plane, which is learned for each class."""

    def __init__(self, classes: int, resolution: int) -> None:
        super().__init__()
        self.planes = 1
        self.embedding = nn.Parameter(torch.randn(classes, resolution**2))

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """(B, C, R, R) and (B, classes) to (B, C + 1, R, R)."""
        plane = (condition @ self.embedding).unflatten(1, (1, *x.shape[2:]))
        return torch.cat([x, plane.to(x.dtype)], dim=1)


class Projection(nn.Module):
    """Logit of how well features fit a condition: their product with its embedding.

    From Miyato and Koyama (2018, arXiv:1802.05637). The embedding of a mixture is the mixture of
    the embeddings, so that D judges mixtures, too.
    """

    def __init__(self, conditions: int, features: int) -> None:
        super().__init__()
        self.embedding = nn.Parameter(0.1 * torch.randn(conditions, features))

    def forward(self, features: Tensor, condition: Tensor) -> Tensor:
        """(B, features) and (B, conditions) to (B,)."""
        return (condition @ self.embedding * features).sum(dim=1)
