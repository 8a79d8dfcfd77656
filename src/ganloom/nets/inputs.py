"""What a generator is told: latent, class and code, one after the other in one vector.

Whatever draws, follows, sweeps or inverts the inputs of a generator handles one tensor, whether or
not the model knows classes or codes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Inputs:
    """The columns of v: (B, width).

    Attributes:
        latent: Of z, from the standard normal distribution.
        classes: Of the class, one-hot; 0: the model knows none.
        categorical: Of each categorical code, one-hot.
        continuous: Of the continuous codes, from [-1, 1].
    """

    latent: int
    classes: int = 0
    categorical: tuple[int, ...] = ()
    continuous: int = 0

    @property
    def coded(self) -> int:
        """Columns of all codes."""
        return sum(self.categorical) + self.continuous

    @property
    def width(self) -> int:
        return self.latent + self.classes + self.coded

    def parts(self, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """z: (B, latent), class: (B, classes) and code: (B, coded)."""
        z, condition, code = v.split([self.latent, self.classes, self.coded], dim=1)
        return z, condition, code

    def codes(self, code: Tensor) -> tuple[list[Tensor], Tensor]:
        """Each categorical code: (B, its values), and the continuous ones: (B, continuous)."""
        *categorical, continuous = code.split([*self.categorical, self.continuous], dim=1)
        return categorical, continuous

    def draw(
        self,
        n: int,
        labels: Tensor | None = None,
        generator: torch.Generator | None = None,
        device: torch.device | None = None,
    ) -> Tensor:
        """Random inputs: (n, width).

        Args:
            n: How many.
            labels: (n,) classes; drawn evenly where there are classes and none is given.
            generator: Where random numbers come from; torch's global one if none.
            device: Where they are drawn; the CPU if none.
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
