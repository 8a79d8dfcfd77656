"""Conditioning on a class, one-hot or by a learned embedding.

A generator gets the class in its input vector, a discriminator as additional planes of the image.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ganloom.nets.inputs import Inputs


class Embedded(nn.Module):
    """Replaces the class in v by an embedding as long as z (Brock et al., 2018, section 3).

    The embedding is concatenated to z, not multiplied into it: the sign of z would hide the class.
    A mixture of one-hot classes gives the same mixture of their embeddings.
    """

    def __init__(self, inputs: Inputs) -> None:
        super().__init__()
        self.inputs = inputs
        self.embedding = nn.Parameter(torch.randn(inputs.classes, inputs.latent))

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
