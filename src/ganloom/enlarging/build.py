"""An enlarger for a collection, and its measurements: the output of the stage `enlarger`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ganloom import params
from ganloom.enlarging import proof
from ganloom.enlarging.crops import CropError, Originals, cut
from ganloom.enlarging.network import PATH, Array, Enlarger, EnlargerInfo
from ganloom.enlarging.training import train
from ganloom.images.encoding import save_png
from ganloom.models import save

# Number of crops to train on, to measure restoration with, and to show.
LEARNED, RESTORED, SHOWN = 4096, 128, 8


def build(
    project: Path,
    section: params.Enlarge,
    augment: params.Slices | params.Whole,
    evaluate: params.Evaluate,
    max_pixels: int,
    *,
    seed: int,
    threads: int,
) -> dict[str, Any]:
    """Train an enlarger on the training originals, and measure it on the holdout.

    Args:
        project: Folder with ``data``, ``work`` and ``results``. The weights are written to ``PATH``
            in it, ``restored.png`` next to them.
        section: Section ``enlarge``.
        augment: Section ``augment``.
        evaluate: Section ``evaluate``.
        max_pixels: Limit of the size of an original.
        seed: Seed of every random draw.
        threads: Number of threads of torch and BLAS, on which the bits depend.

    Returns:
        ``originals``, their number; ``reach``, the median of ``Originals.reach``; ``resolution`` of
        the training images. If the holdout has images that are large enough, also ``restored``, the
        likeness to the originals of halved images that are enlarged again, by method, and ``real``,
        the distances of real images to real images, by side.

    Raises:
        BusyError: Another process runs the same training.
        CropError: No training original is as large as a crop.
        DamagedError: The checkpoint is invalid.
    """
    kept = pd.read_csv(project / "data/kept.csv", dtype=str, keep_default_na=False)
    parts = {split: sorted(part["sha256"]) for split, part in kept.groupby("split")}
    originals = Originals(project / "data/raw", augment, max_pixels)
    crops = cut(originals, parts["train"], LEARNED, seed)
    net = train(section, crops, seed=seed, threads=threads, work=project / "work")
    info = EnlargerInfo(channels=section.channels, layers=section.layers, kimg=section.kimg)
    save(net, info, project / PATH)
    reach = float(np.median([originals.reach(originals.image(d)) for d in parts["train"]]))
    facts: dict[str, Any] = {
        "originals": len(parts["train"]),
        "reach": reach,
        "resolution": augment.resolution,
    }
    try:
        crops = cut(originals, parts.get("holdout", []), RESTORED, seed)
    except CropError:
        return facts  # there is no holdout, or its images are too small
    facts["restored"] = _restored(net, crops, (project / PATH).with_name("restored.png"))
    facts["real"] = {}
    for side in proof.sizes(augment.resolution, reach):
        if pair := proof.real_beside(originals, project / "data/slices", side, seed):
            facts["real"][str(side)] = proof.distances(*pair, evaluate, seed)
    return facts


def _restored(net: Enlarger, crops: Array, sheet: Path) -> dict[str, dict[str, float]]:
    """Measure the restoration of halved crops by each method, and show some: a row per method."""
    both = dict(zip(("bicubic", "enlarger"), proof.restored(net, crops), strict=True))
    some = np.arange(SHOWN) * len(crops) // SHOWN
    rows = [np.concatenate(list(x[some]), axis=1) for x in (*both.values(), crops)]
    save_png(np.concatenate(rows), sheet)
    return {name: proof.likeness(crops, x) for name, x in both.items()}
