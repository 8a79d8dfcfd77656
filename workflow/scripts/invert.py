"""Recover what a generator must be told to make real pictures, and make them again, changed."""

import json
import sys
from pathlib import Path
from typing import Any

from prelude import begin

params = begin()

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from ganloom.images.encoding import save_png
from ganloom.images.sheets import grid
from ganloom.metrics.protocol import holdout_images, readable, spread, training_images
from ganloom.models import load_generator, save
from ganloom.sampling.conditional import class_knob, code_knobs, turned
from ganloom.sampling.generate import generate
from ganloom.sampling.inversion import Recovered, invert, quality
from ganloom.sampling.predictor import as_input, learn

SLICES = Path("data/slices")
# Training images that a predictor sees, at most.
SEEN = 5000
# Pictures of a continuous code: its two ends and its middle.
ENDS = 3


def main() -> None:
    name = sys.argv[1]
    torch.set_num_threads(params.threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    net, about = load_generator(Path(f"results/models/{name}/generator.safetensors"), device)
    told, seed, side = net.inputs, params.seed, about["resolution"]
    folder = Path(f"results/inversions/{name}")

    images = np.load(SLICES / "images.npy", mmap_mode="r")
    holdout = np.load(SLICES / "holdout.npy", mmap_mode="r")
    index = pd.read_parquet(SLICES / "index.parquet")
    if len(holdout):
        # All of it: training may have been stopped by looking at one half, but learned none of it.
        rows = np.arange(len(holdout))
        real = holdout_images(holdout, rows, index, params.invert.images, seed, side)
        labels = None
    else:
        chosen = index.iloc[spread(len(index), params.invert.images, seed, "invert")]
        real = training_images(images, chosen, side)
        labels = numbered(chosen["label"], about["classes"])
    targets = as_input(real).to(device)

    numbers: dict[str, Any] = {"against": "holdout" if len(holdout) else "train"}
    shown, guess = [real], None
    spec = (params.invert.predictors or {}).get(name)
    if spec:
        chosen = index.iloc[spread(len(index), SEEN, seed, "predictor")]
        learned = learn(net, spec, training_images(images, chosen, side), seed)
        save(
            learned.net,
            {
                "model": name,
                "resolution": side,
                "channels": spec.channels,
                "inputs": about["inputs"],
            },
            folder / "predictor.safetensors",
        )
        guess = learned.net.guess(targets)
        shown.append(generate(net, guess))
        psnr, ms_ssim = quality(as_input(shown[-1]).to(device), targets)
        numbers["predictor"] = {
            "latent_loss": rounded(learned.latent_loss),
            "image_loss": rounded(learned.image_loss),
            "psnr": readable(float(psnr.median())),
            "ms_ssim": readable(float(ms_ssim.median())),
        }

    found = invert(net, targets, params.invert, seed, guess=guess, labels=labels)
    again = generate(net, found.v)
    shown.append(again)
    save_png(grid(np.concatenate(shown), len(real)), folder / "inversion.png")

    knobs = [class_knob(told)] if told.classes else []
    knobs += code_knobs(told, ENDS)
    if knobs:
        changes = torch.cat([turned(found.v, knob) for knob in knobs], dim=1)
        save_png(edits(real, again, generate(net, changes.flatten(0, 1))), folder / "edits.png")

    numbers |= summary(found)
    (folder / "inversion.json").write_text(json.dumps(numbers, indent=2) + "\n")
    median = numbers["median"]
    print(f"{name}: PSNR {median['psnr']:.1f} dB, MS-SSIM {median['ms_ssim']:.2f} in {folder}")


def numbered(labels: pd.Series, classes: list[str]) -> Tensor | None:
    """(N,) numbers of classes; None where the model knows none."""
    return torch.tensor([classes.index(label) for label in labels]) if classes else None


def edits(
    real: NDArray[np.uint8], again: NDArray[np.uint8], changed: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """Rows of a picture (N, R, R, 3), the recovered one, and that with each change (N * K, ...)."""
    rows = [real[:, None], again[:, None], changed.reshape(len(real), -1, *real.shape[1:])]
    sheet = np.concatenate(rows, axis=1)
    return grid(sheet.reshape(-1, *real.shape[1:]), sheet.shape[1])


def summary(found: Recovered) -> dict[str, Any]:
    psnr, ms_ssim = found.psnr[-1], found.ms_ssim[-1]
    return {
        "median": {
            "psnr": readable(float(psnr.median())),
            "ms_ssim": readable(float(ms_ssim.median())),
            "loss": readable(float(found.loss.median())),
        },
        "images": [
            {
                "psnr": readable(float(psnr[i])),
                "ms_ssim": readable(float(ms_ssim[i])),
                "loss": readable(float(found.loss[i])),
                "start": int(found.start[i]),
            }
            for i in range(len(found.v))
        ],
        "curves": {
            "step": found.steps,
            "psnr": [rounded(row.tolist()) for row in found.psnr],
            "ms_ssim": [rounded(row.tolist()) for row in found.ms_ssim],
        },
    }


def rounded(values: list[float]) -> list[float]:
    return [readable(value) for value in values]


if __name__ == "__main__":
    main()
