"""Turning what a generator is told besides z, its class and its codes, all else left as it is."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ganloom.nets.inputs import Inputs

WHITE = 255


class Knob(NamedTuple):
    """A class or a code, and the settings at which it is shown.

    Attributes:
        columns: Where it stands in v.
        settings: (S, columns).
    """

    columns: slice
    settings: Tensor


def class_knob(told: Inputs) -> Knob:
    """Every class, in the order of their numbers."""
    columns = slice(told.latent, told.latent + told.classes)
    return Knob(columns, torch.eye(told.classes))


def morphs(told: Inputs, steps: int) -> list[Knob]:
    """From each class to the next and from the last to the first, through mixtures of the two.

    Classes may be any number of ways apart: a path through the numbers between them would lead
    through classes that have nothing to do with either.
    """
    columns, classes = class_knob(told)
    t = torch.linspace(0, 1, steps)[:, None]
    pairs = zip(classes, classes.roll(-1, 0), strict=True)
    return [Knob(columns, torch.lerp(a, b, t)) for a, b in pairs]


def code_knobs(told: Inputs, steps: int) -> list[Knob]:
    """Every value of each categorical code, then each continuous one from -1 to 1.

    Args:
        told: ``net.inputs`` of a generator.
        steps: Settings of a continuous code.
    """
    sizes = [*told.categorical, *[1] * told.continuous]
    sweep = torch.linspace(-1, 1, steps)[:, None]
    settings = [*map(torch.eye, told.categorical), *[sweep] * told.continuous]
    ends = told.latent + told.classes + np.cumsum(sizes)
    return [
        Knob(slice(int(end) - size, int(end)), values)
        for end, size, values in zip(ends, sizes, settings, strict=True)
    ]


def turned(v: Tensor, knob: Knob) -> Tensor:
    """Each v at every setting of a knob: (N, width) to (N, S, width)."""
    every = v[:, None].repeat(1, len(knob.settings), 1)
    every[..., knob.columns] = knob.settings.to(v)
    return every


def stacked(sheets: list[NDArray[np.uint8]], gap: int) -> NDArray[np.uint8]:
    """Pictures (H, W, 3) of any sizes, one under the other on white, ``gap`` px between two."""
    width = max(sheet.shape[1] for sheet in sheets)
    last = len(sheets) - 1
    return np.concatenate(
        [
            np.pad(
                sheet,
                ((0, gap * (i < last)), (0, width - sheet.shape[1]), (0, 0)),
                constant_values=WHITE,
            )
            for i, sheet in enumerate(sheets)
        ]
    )
