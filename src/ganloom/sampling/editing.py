"""Reconstruction of a photograph by a generator, and edits of the reconstruction.

Modules that import scikit-learn are imported when they are needed, so that the studio starts fast.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from ganloom import params
from ganloom.images.decoding import decode
from ganloom.models import Generator, ModelError, from_uint8
from ganloom.sampling import inversion
from ganloom.sampling.conditional import class_knob, code_knobs, turned
from ganloom.sampling.inversion import Recovered, Watch
from ganloom.sampling.predictor import load_predictor

STARTS, LEARNING_RATE, SEED = 4, 0.1, 0
DIRECTIONS, REACH = 8, 6.0  # number of them; largest step along one, in standard deviations
SETTINGS = 5  # of a continuous code


class Guess(NamedTuple):
    """A predictor's guess, with which the optimisation starts.

    Attributes:
        v: (1, width) input of the generator; None without a usable predictor.
        problem: Why the predictor cannot be used, or "".
    """

    v: Tensor | None
    problem: str = ""


class Edit(NamedTuple):
    """An input of a generator at several settings of one class, code or direction.

    Attributes:
        name: Name of what is changed, for display.
        v: (S, width), one row for each setting.
    """

    name: str
    v: Tensor


def squared(data: bytes, side: int, max_pixels: int) -> NDArray[np.uint8]:
    """Decode an untrusted file and crop it to the central square.

    Args:
        data: Content of the file.
        side: R in px.
        max_pixels: Larger images are refused.

    Returns:
        (R, R, 3).

    Raises:
        ImageError: The file is not an image, is damaged or too large.
    """
    image = decode(data, max_pixels)
    # A copy, as torch needs writable memory.
    return np.array(ImageOps.fit(image, (side, side), Image.Resampling.LANCZOS))


def first_guess(predictor: Path, net: Generator, photo: NDArray[np.uint8]) -> Guess:
    """Let the predictor of a generator guess its input, if there is one.

    Args:
        predictor: File of the predictor, which may be missing.
        net: Generator.
        photo: (R, R, 3).
    """
    if not predictor.is_file():
        return Guess(None)
    try:
        return Guess(load_predictor(predictor, net.inputs).guess(from_uint8(photo[None])))
    except ModelError as error:
        return Guess(None, f"{error}; the search began without it")


def recover(
    net: Generator,
    photo: NDArray[np.uint8],
    steps: int,
    loss: params.LIKENESS,
    *,
    guess: Tensor | None = None,
    watch: Watch | None = None,
) -> Recovered:
    """Find the input with which a generator comes nearest to a photograph.

    Args:
        net: Generator, in eval mode.
        photo: (R, R, 3).
        steps: Steps of the optimisation.
        loss: Distance between images.
        guess: (1, width) initial value of one of the starts; by default all are random.
        watch: Callback, as in ``invert``.
    """
    device = next(net.parameters()).device
    settings = params.Invert(images=1, steps=steps, starts=STARTS, loss=loss, lr=LEARNING_RATE)
    target = from_uint8(photo[None]).to(device)
    if guess is not None:
        guess = guess.to(target)
    return inversion.invert(net, target, settings, SEED, guess=guess, watch=watch)


def strongest(net: Generator) -> Tensor:
    """Directions of z that are offered for edits: (K, latent)."""
    from ganloom.sampling.directions import directions

    return directions(net, min(DIRECTIONS, net.inputs.latent), SEED)


def changes(net: Generator, v: Tensor, classes: list[str]) -> list[Edit]:
    """Changes that are possible in an input: of its class and codes, or else along directions of z.

    Args:
        net: Generator, in eval mode.
        v: (1, width).
        classes: Names of the classes.
    """
    layout = net.inputs
    possible = []
    if layout.classes:
        possible.append(Edit(f"class: {', '.join(classes)}", turned(v, class_knob(layout))[0]))
    for number, knob in enumerate(code_knobs(layout, SETTINGS), 1):
        possible.append(Edit(f"code {number}", turned(v, knob)[0]))
    if not possible:
        steps = torch.tensor([-1, -0.5, 0.5, 1]) * REACH
        for number, way in enumerate(strongest(net), 1):
            moved = v.repeat(len(steps), 1)
            moved[:, : layout.latent] += steps.to(v)[:, None] * way.to(v)
            possible.append(Edit(f"direction {number}", moved))
    return possible
