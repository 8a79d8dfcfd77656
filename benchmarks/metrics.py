"""What metrics cost, and what they say of few images: `python benchmarks/metrics.py WHAT ...`.

    speed [N]        N generated against N real pictures of 64 px, beside torch-fidelity's maths
    sizes FOLDER     real against other real pictures of a folder, by how many there are
    copies FOLDER    what becomes of the signs of copying as a set has more and more copies in it

Seconds are of the clock and of the processor; where other programs run beside, only the second
ones mean anything, and only with OMP_WAIT_POLICY=PASSIVE: threads that wait do not count then.
"""

from __future__ import annotations

import argparse
import io
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch_fidelity import metric_fid, metric_kid, metric_prc

from ganloom.features import LITE2, features
from ganloom.metrics.cache import remembered
from ganloom.metrics.frechet import frechet
from ganloom.metrics.kid import kid, kid_gap, kid_std
from ganloom.metrics.neighbours import authenticity, duplicates, thumbnails
from ganloom.metrics.prdc import prdc
from ganloom.metrics.swd import swd

CACHE = Path(__file__).resolve().parents[1] / "work/features"
K = 5
SIDE = 64
SUBSETS, SUBSET = 20, 100
DRAWS = 20


def timed(what: str, work: Callable[[], Any]) -> Any:
    clock, processor = time.perf_counter(), time.process_time()
    found = work()
    spent = (time.perf_counter() - clock, time.process_time() - processor)
    print(f"| {what} | {spent[0]:.1f} | {spent[1]:.1f} |", flush=True)
    return found


def textures(n: int, seed: int) -> NDArray[np.uint8]:
    """Stripes in random directions and colours, and noise: (n, 64, 64, 3)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE]
    pictures = np.empty((n, SIDE, SIDE, 3), np.uint8)
    for picture in pictures:
        angle, width, phase = rng.uniform([0, 1, 0], [3.2, 6, 7])
        wave = np.sin((x * np.cos(angle) + y * np.sin(angle)) / width + phase) * 0.5 + 0.5
        a, b = rng.uniform(20, 235, (2, 3))
        mixed = wave[..., None] * a + (1 - wave[..., None]) * b
        picture[:] = mixed + rng.normal(0, 4, picture.shape)
    return pictures


def speed(n: int) -> None:
    print(f"{n} against {n} pictures of {SIDE} px; {torch.get_num_threads()} threads\n")
    print("| what | s | processor s |\n| --- | ---: | ---: |")
    clock, processor = time.perf_counter(), time.process_time()
    real, fake = textures(n, 1), textures(n, 2)
    a = timed("features of the real ones", lambda: features(real, LITE2))
    b = timed("features of the generated ones", lambda: features(fake, LITE2))
    ours = {
        "kid": timed("KID, all pairs", lambda: kid(a, b)),
        "fid": timed("FD", lambda: frechet(a, b)),
        "prc": timed("precision, recall, density, coverage", lambda: prdc(a, b, K)),
    }
    timed(f"KID's deviation, {SUBSETS} of {SUBSET}", lambda: kid_std(a, b, SUBSETS, SUBSET, 1))
    timed("authenticity, duplicates", lambda: (authenticity(a, b), duplicates(a, b)))
    timed("SWD, 256 directions", lambda: swd(real, fake, 256, 1))
    spent = (time.perf_counter() - clock, time.process_time() - processor)
    print(f"| **all of it** | **{spent[0]:.1f}** | **{spent[1]:.1f}** |")

    def their_fid() -> float:
        stats = [metric_fid.fid_features_to_statistics(x.double()) for x in (a, b)]
        return metric_fid.fid_statistics_to_metric(*stats, verbose=False)[metric_fid.KEY_METRIC_FID]

    def their_kid(subsets: int, size: int) -> float:
        return metric_kid.kid_features_to_metric(
            a.double(), b.double(), kid_subsets=subsets, kid_subset_size=size, verbose=False
        )[metric_kid.KEY_METRIC_KID_MEAN]

    theirs = {
        "fid": timed("torch-fidelity: FID's maths", their_fid),
        "kid": timed("torch-fidelity: KID's maths, all pairs", lambda: their_kid(1, n)),
        "prc": timed(
            "torch-fidelity: precision and recall",
            lambda: metric_prc.calculate_precision_recall_part(b, a, neighborhood=K),
        ),
    }
    timed("torch-fidelity: KID, its 100 subsets of 1000", lambda: their_kid(100, min(n, 1000)))
    precision, recall = (float(x) for x in theirs["prc"])
    print(
        f"\nrelative difference: FD {abs(ours['fid'] / theirs['fid'] - 1):.1e}, "
        f"KID {abs(ours['kid'] / theirs['kid'] - 1):.1e}; "
        f"precision {abs(ours['prc']['precision'] / precision - 1):.1e}, "
        f"recall {abs(ours['prc']['recall'] / recall - 1):.1e}"
    )


def sizes(folder: Path) -> None:
    """What metrics say of N real pictures beside N others, over draws of both."""
    every = read(folder)
    print(f"{len(every)} pictures of {folder.name}: N against N others, {DRAWS} draws\n")
    x = remembered(every, LITE2, CACHE)
    head = ("KID x 1000", "FD", "precision", "recall", "density", "coverage", "authenticity", "SWD")
    print("| N | " + " | ".join(head) + " |\n| ---: |" + " ---: |" * len(head))
    n = 5
    while 2 * n <= len(x):
        rows = []
        for draw in range(DRAWS):
            chosen = torch.from_numpy(np.random.default_rng([draw, n]).permutation(len(x)))
            one, other = chosen[:n], chosen[n : 2 * n]
            sliced = swd(every[one.numpy()], every[other.numpy()], 256, draw).values()
            rows.append([*measured(x[one], x[other]), float(np.mean(list(sliced)))])
        mean, spread = np.mean(rows, axis=0), np.std(rows, axis=0)
        digits = (1, 1, 2, 2, 2, 2, 2, 1)
        cells = (f"{m:.{d}f} ± {s:.{d}f}" for m, s, d in zip(mean, spread, digits, strict=True))
        print(f"| {n} | " + " | ".join(cells) + " |", flush=True)
        n *= 2


def copies(folder: Path) -> None:
    """Fresh pictures, of which a share are copies of training images, a pixel off and as JPEG."""
    every = read(folder)
    n = len(every) // 3
    chosen = np.random.default_rng(1).permutation(len(every))
    parts = [chosen[i * n : (i + 1) * n] for i in range(3)]
    train, _, fresh = (every[part] for part in parts)
    a, b, c = (remembered(every, LITE2, CACHE)[torch.from_numpy(part)] for part in parts)
    spoilt = np.stack([spoil(picture) for picture in train])
    d = remembered(spoilt, LITE2, CACHE)
    print(f"{folder.name}: {n} training images, {n} unseen ones, {n} with copies among them\n")
    head = ("authenticity", "at 16 px", "twins", "at 16 px", "KID gap x 1000", "KID x 1000")
    print("| copies | " + " | ".join(head) + " |\n| ---: |" + " ---: |" * len(head))
    for share, of in (
        (0, "all"),
        (0.05, "all"),
        (0.2, "all"),
        (0.5, "all"),
        (1, "all"),
        (0.5, "one"),
    ):
        m = round(share * n)
        rows = np.arange(m) if of == "all" else np.zeros(m, int)
        found = torch.cat([d[torch.from_numpy(rows)], c[m:]])
        pictures = np.concatenate([spoilt[rows], fresh[m:]])
        small = (thumbnails(train), thumbnails(pictures))
        gap, spread = kid_gap(found, a, b, SUBSETS, SUBSET, 1)
        cells = (
            f"{authenticity(a, found):.2f}",
            f"{authenticity(*small):.2f}",
            f"{duplicates(a, found):.2f}",
            f"{duplicates(*small):.2f}",
            f"{1000 * gap:.1f} ± {1000 * spread:.1f}",
            f"{1000 * kid(b, found):.1f}",
        )
        what = f"{share:.0%}" if of == "all" else f"{share:.0%}, of one image"
        print(f"| {what} | " + " | ".join(cells) + " |", flush=True)


def spoil(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    file = io.BytesIO()
    Image.fromarray(np.roll(picture, 1, axis=(0, 1))).save(file, "JPEG", quality=60)
    return np.asarray(Image.open(file))


def read(folder: Path) -> NDArray[np.uint8]:
    return np.stack([np.asarray(Image.open(p).convert("RGB")) for p in sorted(folder.iterdir())])


def measured(real: Tensor, fake: Tensor) -> list[float]:
    within = prdc(real, fake, K)
    return [1000 * kid(real, fake), frechet(real, fake), *within.values(), authenticity(real, fake)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    what = parser.add_subparsers(dest="what", required=True)
    what.add_parser("speed").add_argument("n", type=int, nargs="?", default=2000)
    for name in ("sizes", "copies"):
        what.add_parser(name).add_argument("folder", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.what == "speed":
        speed(options.n)
    else:
        {"sizes": sizes, "copies": copies}[options.what](options.folder)


if __name__ == "__main__":
    main()
