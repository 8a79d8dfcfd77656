"""Train the enlarger, and measure it on the holdout."""

import json
from pathlib import Path

from prelude import begin

params = begin()

import sys

import numpy as np
import pandas as pd
import torch

from ganloom.enlarging import proof
from ganloom.enlarging.crops import CropError, Originals, cut
from ganloom.enlarging.network import PATH, Enlarger, save
from ganloom.enlarging.training import train
from ganloom.images.encoding import png
from ganloom.training.checkpoint import BusyError, DamagedError

SLICES = Path("data/slices")
# Number of crops to train on, to measure restoration with, and to show.
LEARNED, RESTORED, SHOWN = 4096, 128, 8


def main() -> None:
    PATH.parent.mkdir(parents=True, exist_ok=True)
    if params.enlarge is None:
        write({"enlarges": False})
        print("nothing to do: params.yaml has no section `enlarge`")
        return
    torch.set_num_threads(params.threads)
    kept = pd.read_csv("data/kept.csv", dtype=str, keep_default_na=False)
    parts = {split: sorted(part["sha256"]) for split, part in kept.groupby("split")}
    originals = Originals(Path("data/raw"), params.augment, params.fetch.max_pixels)
    try:
        crops = cut(originals, parts["train"], LEARNED, params.seed)
        net = train(
            params.enlarge, crops, seed=params.seed, threads=params.threads, work=Path("work")
        )
    except (BusyError, CropError, DamagedError) as error:
        sys.exit(f"error: {error}")
    about = {"channels": params.enlarge.channels, "layers": params.enlarge.layers}
    save(net, about | {"kimg": params.enlarge.kimg}, PATH)
    measured = measure(net, originals, parts)
    write(measured)
    print(f"enlarger: {PATH}; originals reach {measured['reach']:g} times the training images")


def measure(net: Enlarger, originals: Originals, parts: dict[str, list[str]]) -> dict[str, object]:
    reach = float(np.median([originals.reach(originals.image(d)) for d in parts["train"]]))
    found: dict[str, object] = {
        "enlarges": True,
        "originals": len(parts["train"]),
        "reach": reach,
        "resolution": params.augment.resolution,
    }
    try:
        crops = cut(originals, parts.get("holdout", []), RESTORED, params.seed)
    except CropError:
        return found  # there is no holdout, or its images are too small
    both = dict(zip(("bicubic", "enlarger"), proof.restored(net, crops), strict=True))
    found["restored"] = {name: proof.likeness(crops, x) for name, x in both.items()}
    some = np.arange(SHOWN) * len(crops) // SHOWN
    rows = [np.concatenate(list(x[some]), axis=1) for x in (*both.values(), crops)]
    PATH.with_name("restored.png").write_bytes(png(np.concatenate(rows)))
    real = {}
    for side in proof.sizes(params.augment.resolution, reach):
        pair = proof.real_beside(originals, SLICES, side, params.seed)
        if pair:
            real[str(side)] = proof.distances(*pair, params.evaluate, params.seed)
    return found | {"real": real}


def write(content: dict[str, object]) -> None:
    path = PATH.with_suffix(".json")
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
