"""Reconstruction of real images by a trained generator, and edits of what was recovered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ganloom.files import write_json
from ganloom.images.encoding import save_png
from ganloom.images.sheets import grid
from ganloom.metrics.rounding import readable
from ganloom.models import from_uint8, load_generator, save
from ganloom.params import Invert
from ganloom.sampling.conditional import class_knob, code_knobs, turned
from ganloom.sampling.generate import generate
from ganloom.sampling.inversion import Recovered, invert, quality
from ganloom.sampling.predictor import PredictorInfo, learn
from ganloom.slices import Slices

Array = NDArray[np.uint8]

# Training images from which a predictor learns, at most.
TRAINED_ON = 5000
# Images for a continuous code: both ends and the middle.
ENDS = 3


def reconstruct(
    name: str,
    home: Path,
    slices: Slices,
    settings: Invert,
    *,
    seed: int,
    out: Path,
    device: torch.device,
) -> dict[str, Any]:
    """Invert real images: find the inputs with which a generator reconstructs them best.

    The images are from the holdout, or from the training set if there is none. All of the holdout
    may be used, because no model is trained on it.

    Args:
        name: Name of the model.
        home: Folder with its ``generator.safetensors``.
        slices: Training images and holdout.
        settings: Number of images, steps, and predictors.
        seed: Seed of every random draw.
        out: Folder for ``inversion.json``, ``inversion.png`` (real images, the predictor's guesses
            if there are any, and reconstructions), ``edits.png`` for models with classes or codes,
            and ``predictor.safetensors``.
        device: Device on which networks run.

    Returns:
        The content of ``inversion.json``.
    """
    net, info = load_generator(home / "generator.safetensors", device)
    side = info.resolution
    real, labels = _targets(slices, settings.images, seed, side, info.classes)
    targets = from_uint8(real).to(device)

    results: dict[str, Any] = {"against": "holdout" if len(slices.holdout) else "train"}
    sheet, guess = [real], None
    spec = (settings.predictors or {}).get(name)
    if spec:
        images = slices.images(slices.choose(TRAINED_ON, seed, "predictor"), side)
        learned = learn(net, spec, images, seed)
        about = PredictorInfo(
            model=name, resolution=side, channels=spec.channels, inputs=info.inputs
        )
        save(learned.net, about, out / "predictor.safetensors")
        guess = learned.net.guess(targets)
        sheet.append(generate(net, guess))
        psnr, ms_ssim = quality(from_uint8(sheet[-1]).to(device), targets)
        results["predictor"] = {
            "latent_loss": _rounded(learned.latent_loss),
            "image_loss": _rounded(learned.image_loss),
            "psnr": readable(float(psnr.median())),
            "ms_ssim": readable(float(ms_ssim.median())),
        }

    recovered = invert(net, targets, settings, seed, guess=guess, labels=labels)
    reconstructions = generate(net, recovered.v)
    sheet.append(reconstructions)
    save_png(grid(np.concatenate(sheet), len(real)), out / "inversion.png")

    knobs = [class_knob(net.inputs)] if net.inputs.classes else []
    knobs += code_knobs(net.inputs, ENDS)
    if knobs:
        changes = torch.cat([turned(recovered.v, knob) for knob in knobs], dim=1)
        edited = generate(net, changes.flatten(0, 1))
        save_png(_edits(real, reconstructions, edited), out / "edits.png")

    results |= _summary(recovered)
    write_json(out / "inversion.json", results)
    return results


def _targets(
    slices: Slices, count: int, seed: int, side: int, classes: list[str]
) -> tuple[Array, Tensor | None]:
    """Return real images, and the numbers of their classes if the model is conditional."""
    if len(slices.holdout):
        rows = np.arange(len(slices.holdout))
        return slices.holdout_images(rows, count, seed, side), None
    rows = slices.choose(count, seed, "invert")
    labels = slices.index["label"].iloc[rows]
    numbers = torch.tensor([classes.index(label) for label in labels]) if classes else None
    return slices.images(rows, side), numbers


def _edits(real: Array, reconstructions: Array, changed: Array) -> Array:
    """Make a sheet with a row per image: real, reconstructed, and with each change.

    Args:
        real: (N, R, R, 3).
        reconstructions: (N, R, R, 3).
        changed: (N * K, R, R, 3) the K changes of each.
    """
    edits = changed.reshape(len(real), -1, *real.shape[1:])
    sheet = np.concatenate([real[:, None], reconstructions[:, None], edits], axis=1)
    return grid(sheet.reshape(-1, *real.shape[1:]), sheet.shape[1])


def _summary(recovered: Recovered) -> dict[str, Any]:
    psnr, ms_ssim = recovered.psnr[-1], recovered.ms_ssim[-1]
    return {
        "median": {
            "psnr": readable(float(psnr.median())),
            "ms_ssim": readable(float(ms_ssim.median())),
            "loss": readable(float(recovered.loss.median())),
        },
        "images": [
            {
                "psnr": readable(float(psnr[i])),
                "ms_ssim": readable(float(ms_ssim[i])),
                "loss": readable(float(recovered.loss[i])),
                "start": int(recovered.start[i]),
            }
            for i in range(len(recovered.v))
        ],
        "curves": {
            "step": recovered.steps,
            "psnr": [_rounded(row.tolist()) for row in recovered.psnr],
            "ms_ssim": [_rounded(row.tolist()) for row in recovered.ms_ssim],
        },
    }


def _rounded(values: list[float]) -> list[float]:
    return [readable(value) for value in values]
