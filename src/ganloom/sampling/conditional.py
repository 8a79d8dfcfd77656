"""Variation of class and codes in the input of a generator, at a fixed z."""

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
        columns: Columns of v.
        settings: (S, columns).
    """

    columns: slice
    settings: Tensor


def class_knob(layout: Inputs) -> Knob:
    """All classes, in the order of their numbers."""
    columns = slice(layout.latent, layout.latent + layout.classes)
    return Knob(columns, torch.eye(layout.classes))


def morphs(layout: Inputs, steps: int) -> list[Knob]:
    """Mixtures from each class to the next, and from the last to the first, in ``steps`` steps."""
    columns, classes = class_knob(layout)
    t = torch.linspace(0, 1, steps)[:, None]
    pairs = zip(classes, classes.roll(-1, 0), strict=True)
    return [Knob(columns, torch.lerp(a, b, t)) for a, b in pairs]


def code_knobs(layout: Inputs, steps: int) -> list[Knob]:
    """All values of each categorical code, then each continuous code from -1 to 1.

    Args:
        layout: ``net.inputs`` of a generator.
        steps: Number of settings of a continuous code.
    """
    sizes = [*layout.categorical, *[1] * layout.continuous]
    sweep = torch.linspace(-1, 1, steps)[:, None]
    settings = [*map(torch.eye, layout.categorical), *[sweep] * layout.continuous]
    ends = layout.latent + layout.conditions + np.cumsum(sizes)
    return [
        Knob(slice(int(end) - size, int(end)), values)
        for end, size, values in zip(ends, sizes, settings, strict=True)
    ]


def turned(v: Tensor, knob: Knob) -> Tensor:
    """Set a knob of each v to all of its settings: (N, width) to (N, S, width)."""
    every = v[:, None].repeat(1, len(knob.settings), 1)
    every[..., knob.columns] = knob.settings.to(v)
    return every


def stacked(sheets: list[NDArray[np.uint8]], gap: int) -> NDArray[np.uint8]:
    """Stack images (H, W, 3) of any sizes vertically on white, with ``gap`` px between them."""
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
