"""Measure images per second of all kinds of model, compared with a plain PyTorch loop.

    python benchmarks/training.py             # an estimated 20 to 25 minutes on two idle cores
    python benchmarks/training.py --models dcgan projected --resolutions 32 --rounds 1

Real images per second at 32, 64 and 128 px on random images, for ganloom's complete loop
(averaging, statistics, a tick with its frame) and for that of plain_loops.py, which reads JPEG
files, with the same networks. One thread on a CPU; on a GPU, larger batches and wider networks.
Each figure is the median over rounds that alternate, each in its own process. Nothing else should
run meanwhile.

A second table compares two cores for one training with two trainings on a core each.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path
from typing import Any

# As stages do (workflow/scripts/prelude.py): before torch is imported.
os.environ |= {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import numpy as np
import pandas as pd
import torch
from PIL import Image
from plain_loops import Training

from ganloom import params
from ganloom.training import loop

PICTURES = 2048
CLASSES = 10
WARM_UP = 5  # steps that nobody is charged for: one of G with five of a critic

# Images per step, channels of the finest level, and steps in a round at each resolution: multiples
# of a critic's five. Larger on a GPU.
GPU = torch.cuda.is_available()
BATCH = 64 if GPU else 16
WIDTH = 64 if GPU else 32
STEPS = {32: 500, 64: 500, 128: 250} if GPU else {32: 40, 64: 15, 128: 10}
# Thousand images between two ticks, and latents for calibration at each.
TICK = 25 if GPU else 2.5
CALIBRATION = loop.CALIBRATION


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=KINDS, default=list(KINDS), metavar="MODEL")
    parser.add_argument("--resolutions", nargs="+", type=int, choices=STEPS, default=list(STEPS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, help=f"in each round; default: {STEPS}")
    parser.add_argument("--worker", nargs=4, metavar=("LOOP", "MODEL", "FOLDER", "THREADS"))
    options = parser.parse_args()
    if options.worker:
        name, kind, folder, threads = options.worker
        resolution = int(Path(folder).name)
        model = specification(kind, resolution, options.steps or STEPS[resolution])
        print(LOOPS[name](model, Path(folder), int(threads)))
        return

    with tempfile.TemporaryDirectory() as temporary:
        folders = {side: draw(Path(temporary), side) for side in options.resolutions}

        def rate(name: str, kind: str, side: int, threads: int = 1, jobs: int = 1) -> float:
            """All jobs together, in images per second."""
            command = [sys.executable, __file__, "--worker", name, kind, str(folders[side])]
            command += [str(threads)]
            if options.steps:
                command += ["--steps", str(options.steps)]
            pipe = subprocess.PIPE
            running = [subprocess.Popen(command, stdout=pipe, stderr=pipe) for _ in range(jobs)]
            ended = [(job.communicate(), job.returncode) for job in running]
            for (_, errors), code in ended:
                if code:
                    sys.exit(errors.decode())
            return sum(float(out) for (out, _), _ in ended)

        print(f"on {torch.cuda.get_device_name() if GPU else 'one thread of a CPU'}; images/s\n")
        print("| model | px | ganloom | plain loop | ratio |\n| --- | ---: | ---: | ---: | ---: |")
        for kind in options.models:
            for side in options.resolutions:
                rounds = [{n: rate(n, kind, side) for n in LOOPS} for _ in range(options.rounds)]
                ours, plain = (statistics.median(r[name] for r in rounds) for name in LOOPS)
                print(
                    f"| {kind} | {side} | {ours:.0f} | {plain:.0f} | {ours / plain:.2f} |",
                    flush=True,
                )
        if GPU or "dcgan" not in options.models:
            return

        print("\n| dcgan on two cores, images/s together | px | ganloom |\n| --- | ---: | ---: |")
        ways = {"one training, two threads": (2, 1), "two trainings, one thread each": (1, 2)}
        for side in options.resolutions:
            for way, (threads, jobs) in ways.items():
                rates = [
                    rate("ganloom", "dcgan", side, threads, jobs) for _ in range(options.rounds)
                ]
                print(f"| {way} | {side} | {statistics.median(rates):.0f} |", flush=True)


# --- models --------------------------------------------------------------------------------------


def _dcgan(channels: int, norm: str, **changes: Any) -> dict[str, Any]:
    common = {"kind": "dcgan", "channels": channels, "norm": norm, "dropout": 0.0}
    return {**common, "dropout_kind": "element", **changes}


def gan(width: int) -> dict[str, Any]:
    return {
        "generator": {"kind": "plain", "channels": width, "dense": width, "latent": 100}
        | {"kernel": 3},
        "discriminator": {"kind": "plain", "first": width // 2, "channels": width}
        | {"kernel": 3, "dropout": 0.4},
    }


def dcgan(width: int) -> dict[str, Any]:
    return {}  # what `specification` says where nothing else is said


def wgan(width: int) -> dict[str, Any]:
    return {
        "discriminator": _dcgan(width, "none", minibatch_stddev=False),
        "objective": {"kind": "wasserstein", "critic_steps": 5},
        "penalties": {"clip": 0.01},
        "optimizer": {"kind": "rmsprop", "lr": 5e-5},
    }


def wgan_gp(width: int) -> dict[str, Any]:
    return {
        "discriminator": _dcgan(width, "none", minibatch_stddev=False),
        "objective": {"kind": "wasserstein", "critic_steps": 5},
        "penalties": {"gradient": 10.0},
    }


def cgan(width: int) -> dict[str, Any]:
    return {"condition": "onehot"}


def infogan(width: int) -> dict[str, Any]:
    code = {"categorical": [10], "continuous": 2, "weight": 1.0, "weight_continuous": 0.1}
    return {"code": code | {"weight_latent": 0.0}}


def sngan(width: int) -> dict[str, Any]:
    common = {"kind": "sngan", "channels": width // 2, "blocks": 3, "dropout": 0.0}
    common |= {"dropout_kind": "element"}
    return {
        "generator": {**common, "norm": "batch", "latent": 128},
        "discriminator": {**common, "norm": "spectral", "dense": None},
        "objective": {"kind": "hinge"},
    }


def r3(width: int) -> dict[str, Any]:
    return {
        "generator": {"kind": "resnet", "channels": width // 4, "latent": 128},
        "discriminator": {"kind": "resnet", "channels": width // 4},
        "objective": {"kind": "relativistic"},
        "penalties": {"r1": 1.0, "r2": 1.0},
    }


def began(width: int) -> dict[str, Any]:
    return {
        "generator": {"kind": "began", "channels": width // 4, "latent": 64},
        "discriminator": {"kind": "began", "channels": width // 4, "hidden": 64},
        "objective": {"kind": "began", "reconstruction": "l1", "gamma": 0.5, "lambda_k": 0.001},
    }


def projected(width: int) -> dict[str, Any]:
    return {
        "batch": BATCH // 2,
        "discriminator": {"kind": "projected", "channels": 16, "side": 64, "pixels": width},
        "objective": {"kind": "hinge"},
    }


# What a kind changes of a dcgan, by the channels of its finest level.
KINDS: dict[str, Callable[[int], dict[str, Any]]] = {
    kind.__name__: kind
    for kind in (
        gan,
        dcgan,
        wgan,
        wgan_gp,
        cgan,
        infogan,
        sngan,
        r3,
        began,
        projected,
    )
}


def specification(kind: str, resolution: int, steps: int) -> params.Model:
    """Of a training of so many steps; narrower at 128 px, where a step would take seconds."""
    width = WIDTH if resolution < 128 else WIDTH // 2
    spec = {
        "resolution": resolution,
        "batch": BATCH,
        "ema_kimg": 2.0,
        "generator": _dcgan(width, "batch", latent=128),
        "discriminator": _dcgan(width, "batch", minibatch_stddev=False),
        "objective": {"kind": "nonsaturating", "label_noise": 0.1},
        "optimizer": {"kind": "adam", "lr": 2e-4, "betas": [0.5, 0.999]},
        "diffaugment": [],
        **KINDS[kind](width),
    }
    return params.Model.model_validate(spec | {"kimg": steps * spec["batch"] / 1000})


def draw(folder: Path, resolution: int) -> Path:
    """Random pictures of ten classes, as a training's slices and as JPEG files."""
    folder /= str(resolution)
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (PICTURES, 8, 8, 3), np.uint8)
    pixels = small.repeat(resolution // 8, 1).repeat(resolution // 8, 2)
    labels = [str(number % CLASSES) for number in range(PICTURES)]
    for label in sorted(set(labels)):
        (folder / "files" / label).mkdir(parents=True)
    np.save(folder / "images.npy", pixels)
    index = pd.DataFrame({"image": np.arange(PICTURES), "symmetry": 0, "label": labels})
    index.to_parquet(folder / "index.parquet")
    for number, (picture, label) in enumerate(zip(pixels, labels, strict=True)):
        Image.fromarray(picture).save(folder / f"files/{label}/{number:05}.jpg", quality=90)
    return folder


# --- loops ---------------------------------------------------------------------------------------


def ganloom(model: params.Model, folder: Path, threads: int) -> float:
    """The loop itself. One tick, with the share of calibration that is usual."""
    loop.CALIBRATION = max(1, round(CALIBRATION * model.kimg / TICK))
    short = model.model_copy(update={"kimg": WARM_UP * model.batch / 1000})
    with tempfile.TemporaryDirectory() as temporary:
        out = Path(temporary) / "out"
        for spec in (short, model):
            loop.train(
                "benchmark",
                spec,
                params.Train(ticks=1, grid=4),
                seed=1,
                threads=threads,
                slices=folder,
                out=out,
                work=Path(temporary) / "work",
            )
        return json.loads((out / "run.json").read_text())["images_per_second"]


def plain(model: params.Model, folder: Path, threads: int) -> float:
    torch.set_num_threads(threads)
    shown = accumulate(Training(model, folder / "files").steps())
    before = next(images for images in shown if images >= WARM_UP * model.batch)
    begun = time.perf_counter()
    after = next(images for images in shown if images >= before + model.kimg * 1000)
    return (after - before) / (time.perf_counter() - begun)


LOOPS: dict[str, Callable[[params.Model, Path, int], float]] = {"ganloom": ganloom, "plain": plain}

if __name__ == "__main__":
    main()
