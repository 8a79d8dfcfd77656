"""Do the pictures of a GAN help a classifier that has few real ones?

    python benchmarks/extend_classifier.py FOLDER     # with MNIST's files; six minutes of a core

From so many real digits, the model `cgan` of recipes/mnist.yaml is trained, on these alone, and a
small CNN in four ways that take the same steps:

    real                   the real digits as they are
    real, shifted          each moved by up to 2 px either way: what everybody does first
    real and generated     in each batch, half of either
    generated              2,000 of the GAN's pictures, 200 of each class, and nothing else

Accuracy is on 5,000 digits that neither of them saw. Each seed draws other real digits.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

# As stages do (workflow/scripts/prelude.py): before torch is imported.
os.environ |= {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganloom import params, recipes
from ganloom.images import arrays, decoding
from ganloom.models import load_generator
from ganloom.sampling.generate import generate
from ganloom.sampling.latents import inputs
from ganloom.sources import Context, torchvision
from ganloom.training import loop

ROOT = Path(__file__).resolve().parents[1]
RECIPE = params.parse(recipes.values(ROOT / "recipes/mnist.yaml", ROOT))
REAL, SEEDS = (100, 500), (1, 2, 3)
TEST = 5000
GENERATED = 2000
STEPS, BATCH = 400, 64
WAYS = ("real", "real, shifted", "real and generated", "generated")

Digits = tuple[arrays.Array, Tensor]  # (N, 28, 28, 3) uint8 and their classes (N,)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="with t10k-images-idx3-ubyte.gz and its labels")
    parser.add_argument("--kimg", type=float, default=20.0, help="length of the GANs' training")
    options = parser.parse_args()
    model = RECIPE.models["cgan"].model_copy(update={"kimg": options.kimg})
    pixels, labels = read(options.folder)
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(labels)))
    test, pool = order[:TEST], order[TEST:]

    rows = []
    for count in REAL:
        for seed in SEEDS:
            began = time.process_time()
            chosen = pool[np.random.default_rng([seed, count]).permutation(len(pool))[:count]]
            real = pixels[chosen], labels[chosen]
            made = pictures(real, model, seed)
            for way in WAYS:
                net = classifier(real, made, way, seed)
                right = accuracy(net, (pixels[test], labels[test]))
                rows.append({"real": count, "way": way, "accuracy": right})
            print(f"{count} real, seed {seed}: {time.process_time() - began:.0f} s of one core")
    found = pd.DataFrame(rows).groupby(["real", "way"], sort=False).accuracy
    print(f"\n{'real':>4}  {'trained on':20} {'accuracy':>8}  {'from':>5} {'to':>5}")
    for (count, way), mean, least, most in found.agg(["mean", "min", "max"]).itertuples():
        print(f"{count:4}  {way:20} {mean:8.1%}  {least:5.1%} {most:5.1%}")


def read(folder: Path) -> Digits:
    """MNIST's test part."""
    spec = params.TorchvisionSource(
        kind="torchvision",
        path=str(folder),
        dataset="MNIST",
        split="test",
        classes=None,
        limit=None,
        download=False,
    )
    context = Context(seed=1, network=RECIPE.network)
    found = torchvision.search("mnist", spec, context)
    get = torchvision.reader(spec, context)
    pixels = [np.asarray(decoding.decode(get(row.url), 10_000)) for row in found]
    # "7 - seven"
    return np.stack(pixels), torch.tensor([int(row.label[0]) for row in found])


def pictures(real: Digits, model: params.Model, seed: int) -> Digits:
    """Train a GAN on real digits and generate as many of each class."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        np.save(folder / "images.npy", real[0])
        index = {
            "image": range(len(real[0])),
            "symmetry": 0,
            "label": [str(n) for n in real[1].tolist()],
        }
        pd.DataFrame(index).to_parquet(folder / "index.parquet")
        loop.train(
            "cgan",
            model,
            params.Train(ticks=1, grid=1),
            seed=seed,
            threads=1,
            slices=folder,
            out=folder / "out",
            work=folder / "work",
        )
        net, about = load_generator(folder / "out" / "generator.safetensors", "cpu")
    numbers = torch.arange(GENERATED) % net.inputs.classes
    made = generate(net, inputs(net.inputs, GENERATED, seed, "classifier", labels=numbers))
    return made, torch.tensor([int(about.classes[n]) for n in numbers])


def classifier(real: Digits, made: Digits, way: str, seed: int) -> nn.Module:
    """Train a CNN in one of ``WAYS``."""
    torch.manual_seed(seed)
    rng = np.random.default_rng([seed, 0])
    net = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Linear(32 * 7 * 7, 10),
    )
    adam = torch.optim.Adam(net.parameters(), lr=1e-3)
    sources = {"real and generated": [real, made], "generated": [made]}.get(way, [real])
    for _ in range(STEPS):
        parts = [(d, rng.integers(len(d[1]), size=BATCH // len(sources))) for d in sources]
        x = torch.cat([grey(pixels[rows]) for (pixels, _), rows in parts])
        y = torch.cat([labels[rows] for (_, labels), rows in parts])
        if way == "real, shifted":
            x = shifted(x, rng)
        adam.zero_grad()
        F.cross_entropy(net(x), y).backward()
        adam.step()
    return net.eval()


def grey(pixels: arrays.Array) -> Tensor:
    """(N, 28, 28, 3) uint8 to (N, 1, 28, 28) in [0, 1]."""
    return torch.from_numpy(pixels).float().mean(dim=3)[:, None] / 255


def shifted(x: Tensor, rng: np.random.Generator) -> Tensor:
    """Each picture by up to 2 px either way, black where nothing was."""
    moves = rng.integers(-2, 3, (len(x), 2)).tolist()
    return torch.stack(
        [
            F.pad(picture, (2, 2, 2, 2))[:, 2 + a : 30 + a, 2 + b : 30 + b]
            for picture, (a, b) in zip(x, moves, strict=True)
        ]
    )


@torch.inference_mode()
def accuracy(net: nn.Module, digits: Digits) -> float:
    pixels, labels = digits
    return float((net(grey(pixels)).argmax(dim=1) == labels).float().mean())


if __name__ == "__main__":
    main()
