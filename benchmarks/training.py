"""Images per second of the training loop, beside loops as tutorials write them.

    python benchmarks/training.py             # about ten minutes on two idle cores

The networks are the same in every row: DCGAN, 32 channels, batch 16, no augmentation, random
pictures. What differs is the loop:

    ganloom      this project's, all of it: averaging, statistics, ticks, checkpoints
    tensor       the PyTorch DCGAN example's steps on a uint8 tensor in memory: NCHW, Adam and
                 backward as they come, losses read in every step
    files        the same steps, fed by a DataLoader with two workers from JPEG files

The second table repeats it with dropout of 0.3 in every block (nn.Dropout in the plain loops), the
third asks whether two cores do more for one training or for two. Each figure is the median over
rounds that take turns, each in a process of its own. Nothing else should run meanwhile.
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
from collections.abc import Callable, Iterator
from pathlib import Path

# As stages do (workflow/scripts/prelude.py): before torch is imported.
os.environ |= {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from ganloom import models, params
from ganloom.nets import blocks
from ganloom.training import loop

BATCH = 16
PICTURES = 2048
WARM_UP = 5  # steps that nobody is charged for


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=60, help="of 16 images, in each round")
    parser.add_argument("--worker", nargs=4, metavar=("LOOP", "FOLDER", "DROPOUT", "THREADS"))
    options = parser.parse_args()
    if options.worker:
        name, folder, dropout, threads = options.worker
        model = specification(int(Path(folder).name), float(dropout), options.steps)
        print(LOOPS[name](model, Path(folder), int(threads)))
        return

    with tempfile.TemporaryDirectory() as temporary:
        folders = [draw(Path(temporary), resolution) for resolution in (32, 64)]

        def rates(
            name: str, folder: Path, dropout: float, threads: int = 1, jobs: int = 1
        ) -> float:
            """All jobs together, in images per second."""
            command = [sys.executable, __file__, "--steps", str(options.steps), "--worker"]
            command += [name, str(folder), str(dropout), str(threads)]
            running = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(jobs)]
            return sum(float(job.communicate()[0]) for job in running)

        for dropout in (0.0, 0.3):
            print(f"\ndropout {dropout}, one thread; images per second, and against ganloom")
            for folder in folders:
                rounds = [
                    {name: rates(name, folder, dropout) for name in LOOPS}
                    for _ in range(options.rounds)
                ]
                middle = {name: statistics.median(r[name] for r in rounds) for name in LOOPS}
                for name, rate in middle.items():
                    print(
                        f"{folder.name:>4} px  {name:8}{rate:8.0f}{rate / middle['ganloom']:7.2f}"
                    )

        print("\nganloom on two cores; images per second of all trainings together")
        ways = {"one training, two threads": (2, 1), "two trainings, one thread each": (1, 2)}
        for folder in folders:
            for way, (threads, jobs) in ways.items():
                rounds_of_way = [
                    rates("ganloom", folder, 0.0, threads, jobs) for _ in range(options.rounds)
                ]
                print(f"{folder.name:>4} px  {way:32}{statistics.median(rounds_of_way):8.0f}")


def specification(resolution: int, dropout: float, steps: int) -> params.Model:
    common = {
        "kind": "dcgan",
        "channels": 32,
        "norm": "batch",
        "dropout": dropout,
        "dropout_kind": "element",
    }
    return params.Model.model_validate(
        {
            "resolution": resolution,
            "kimg": steps * BATCH / 1000,
            "batch": BATCH,
            "ema_kimg": 2.0,
            "generator": {**common, "latent": 128},
            "discriminator": {**common, "minibatch_stddev": False},
            "objective": {"kind": "nonsaturating", "label_noise": 0.1},
            "optimizer": {"kind": "adam", "lr": 2e-4, "betas": [0.5, 0.999]},
            "diffaugment": [],
        }
    )


def draw(folder: Path, resolution: int) -> Path:
    """Random pictures, as a training's slices and as JPEG files."""
    folder /= str(resolution)
    (folder / "files/all").mkdir(parents=True)
    small = np.random.default_rng(0).integers(0, 256, (PICTURES, 8, 8, 3), np.uint8)
    pixels = small.repeat(resolution // 8, 1).repeat(resolution // 8, 2)
    np.save(folder / "images.npy", pixels)
    index = pd.DataFrame({"image": np.arange(PICTURES), "symmetry": 0, "label": ""})
    index.to_parquet(folder / "index.parquet")
    for number, picture in enumerate(pixels):
        Image.fromarray(picture).save(folder / f"files/all/{number:05}.jpg", quality=90)
    return folder


def ganloom(model: params.Model, folder: Path, threads: int) -> float:
    """The loop itself. One tick, with the share of calibration that a tick of 2.5 kimg has."""
    loop.CALIBRATION = round(loop.CALIBRATION * model.kimg / 2.5)
    short = model.model_copy(update={"kimg": WARM_UP * BATCH / 1000})
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


def tensor(model: params.Model, folder: Path, threads: int) -> float:
    pixels = torch.from_numpy(np.load(folder / "images.npy")).permute(0, 3, 1, 2).contiguous()

    def batches() -> Iterator[Tensor]:
        while True:
            for rows in torch.randperm(len(pixels)).split(BATCH):
                yield pixels[rows].float() / 127.5 - 1

    return plain(model, batches(), threads)


def files(model: params.Model, folder: Path, threads: int) -> float:
    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize(0.5, 0.5)])
    pictures = datasets.ImageFolder(str(folder / "files"), transform)
    loader = DataLoader(pictures, BATCH, shuffle=True, num_workers=2)

    def batches() -> Iterator[Tensor]:
        while True:
            for images, _ in loader:
                yield images

    return plain(model, batches(), threads)


def plain(model: params.Model, batches: Iterator[Tensor], threads: int) -> float:
    """The steps of pytorch/examples/dcgan, on the same networks."""
    torch.set_num_threads(threads)
    told = models.inputs(model, classes=1)
    netG = usual(models.build_generator(model.generator, model.resolution, told).net)
    netD = usual(models.build_discriminator(model, told).net.net)
    optimizerG = torch.optim.Adam(netG.parameters(), lr=2e-4, betas=(0.5, 0.999))
    optimizerD = torch.optim.Adam(netD.parameters(), lr=2e-4, betas=(0.5, 0.999))
    criterion = F.binary_cross_entropy_with_logits
    ones, zeros = torch.ones(BATCH), torch.zeros(BATCH)
    steps = round(model.kimg * 1000 / BATCH)
    for step in range(WARM_UP + steps):
        if step == WARM_UP:
            begun = time.perf_counter()
        netD.zero_grad()
        error_real = criterion(netD(next(batches))[:, 0], ones)
        error_real.backward()
        fake = netG(torch.randn(BATCH, model.generator.latent))
        error_fake = criterion(netD(fake.detach())[:, 0], zeros)
        error_fake.backward()
        optimizerD.step()
        netG.zero_grad()
        error_generator = criterion(netD(fake)[:, 0], ones)
        error_generator.backward()
        optimizerG.step()
        _ = error_real.item(), error_fake.item(), error_generator.item()
    return steps * BATCH / (time.perf_counter() - begun)


def usual(net: nn.Module) -> nn.Module:
    """With torch's own dropout."""
    return nn.Sequential(
        *(nn.Dropout(m.rate) if isinstance(m, blocks.Dropout) else m for m in net.children())
    )


LOOPS: dict[str, Callable[[params.Model, Path, int], float]] = {
    "ganloom": ganloom,
    "tensor": tensor,
    "files": files,
}

if __name__ == "__main__":
    main()
