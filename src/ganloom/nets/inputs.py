"""The input of a generator: latent z, condition and code, concatenated to one vector v.

The condition is a one-hot class, or the shares of the originals that an image resembles. Code that
draws, interpolates, sweeps or inverts inputs handles one tensor, whether or not the model has a
condition or codes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Inputs:
    """Layout of v, (B, width).

    Attributes:
        latent: Columns of z, which is standard normal.
        classes: Columns of the one-hot class; 0 for a model without classes.
        categorical: Columns of each one-hot categorical code.
        continuous: Columns of the continuous codes, in [-1, 1].
        pictures: Columns of the shares of originals, which add up to 1; 0 for a model without them,
            or with classes.
    """

    latent: int
    classes: int = 0
    categorical: tuple[int, ...] = ()
    continuous: int = 0
    pictures: int = 0

    @property
    def coded(self) -> int:
        """Columns of all codes together."""
        return sum(self.categorical) + self.continuous

    @property
    def conditions(self) -> int:
        """Columns of the condition: classes or pictures."""
        return self.classes or self.pictures

    @property
    def width(self) -> int:
        return self.latent + self.conditions + self.coded

    def parts(self, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Split v into z (B, latent), condition (B, conditions) and code (B, coded)."""
        z, condition, code = v.split([self.latent, self.conditions, self.coded], dim=1)
        return z, condition, code

    def codes(self, code: Tensor) -> tuple[list[Tensor], Tensor]:
        """Split a code into categorical codes, (B, values) each, and the continuous ones."""
        *categorical, continuous = code.split([*self.categorical, self.continuous], dim=1)
        return categorical, continuous

    def draw(
        self,
        n: int,
        labels: Tensor | None = None,
        generator: torch.Generator | None = None,
        device: torch.device | None = None,
    ) -> Tensor:
        """Draw random inputs, (n, width).

        Args:
            n: Number of inputs.
            labels: (n,) classes or pictures; drawn uniformly if not given.
            generator: Source of random numbers; by default torch's global generator.
            device: Device on which they are drawn; by default the CPU.
        """
        at = device or torch.device("cpu")
        parts = [torch.randn(n, self.latent, generator=generator, device=at)]
        if self.conditions:
            if labels is None:
                labels = torch.randint(self.conditions, (n,), generator=generator, device=at)
            parts.append(F.one_hot(labels.to(at), self.conditions).float())
        for values in self.categorical:
            drawn = torch.randint(values, (n,), generator=generator, device=at)
            parts.append(F.one_hot(drawn, values).float())
        if self.continuous:
            parts.append(torch.rand(n, self.continuous, generator=generator, device=at) * 2 - 1)
        return torch.cat(parts, dim=1)
