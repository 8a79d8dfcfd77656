"""The input of a generator: latent z, class and code, concatenated to one vector v.

Code that draws, interpolates, sweeps or inverts inputs handles one tensor, whether or not the
model has classes or codes.
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
    """

    latent: int
    classes: int = 0
    categorical: tuple[int, ...] = ()
    continuous: int = 0

    @property
    def coded(self) -> int:
        """Columns of all codes together."""
        return sum(self.categorical) + self.continuous

    @property
    def width(self) -> int:
        return self.latent + self.classes + self.coded

    def parts(self, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Split v into z (B, latent), class (B, classes) and code (B, coded)."""
        z, condition, code = v.split([self.latent, self.classes, self.coded], dim=1)
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
            labels: (n,) classes; drawn uniformly if not given.
            generator: Source of random numbers; by default torch's global generator.
            device: Device on which they are drawn; by default the CPU.
        """
        at = device or torch.device("cpu")
        parts = [torch.randn(n, self.latent, generator=generator, device=at)]
        if self.classes:
            if labels is None:
                labels = torch.randint(self.classes, (n,), generator=generator, device=at)
            parts.append(F.one_hot(labels.to(at), self.classes).float())
        for values in self.categorical:
            drawn = torch.randint(values, (n,), generator=generator, device=at)
            parts.append(F.one_hot(drawn, values).float())
        if self.continuous:
            parts.append(torch.rand(n, self.continuous, generator=generator, device=at) * 2 - 1)
        return torch.cat(parts, dim=1)
