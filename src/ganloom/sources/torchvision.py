"""Datasets of torchvision, read from a local root or downloaded."""

from __future__ import annotations

import contextlib
import difflib
import gzip
import itertools
import math
import socket
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torchvision import datasets

from ganloom import params
from ganloom.images import arrays, encoding
from ganloom.sources import Context, FetchError, Reader, SourceError, candidate
from ganloom.tables import Candidate

DOWNLOADS = Path("work/torchvision")
LARGEST_IDX = 1 << 30  # bytes, decompressed; MNIST and similar datasets have 47 MB


class _Dataset(NamedTuple):
    splits: dict[str, dict[str, Any]]  # our name -> torchvision's arguments
    page: str
    licence: str = ""


_TRAIN_TEST: dict[str, dict[str, Any]] = {"train": {"train": True}, "test": {"train": False}}
_CIFAR_PAGE = "https://www.cs.toronto.edu/~kriz/cifar.html"

_DATASETS = {
    "CIFAR10": _Dataset(_TRAIN_TEST, _CIFAR_PAGE),
    "CIFAR100": _Dataset(_TRAIN_TEST, _CIFAR_PAGE),
    "CelebA": _Dataset(
        {name: {"split": name, "target_type": []} for name in ("train", "valid", "test")},
        "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html",
        "non-commercial research only",
    ),
    "FashionMNIST": _Dataset(
        _TRAIN_TEST, "https://github.com/zalandoresearch/fashion-mnist", "MIT"
    ),
    "Flowers102": _Dataset(
        {"train": {"split": "train"}, "valid": {"split": "val"}, "test": {"split": "test"}},
        "https://www.robots.ox.ac.uk/~vgg/data/flowers/102/",
    ),
    "KMNIST": _Dataset(_TRAIN_TEST, "https://github.com/rois-codh/kmnist", "CC BY-SA 4.0"),
    "MNIST": _Dataset(_TRAIN_TEST, "http://yann.lecun.com/exdb/mnist/", "CC BY-SA 3.0"),
    "SVHN": _Dataset(
        {name: {"split": name} for name in ("train", "test")},
        "http://ufldl.stanford.edu/housenumbers/",
        "non-commercial use only",
    ),
}


class _Split(NamedTuple):
    labels: Sequence[str]
    picture: Callable[[int], Any]  # a PIL image or an array


def search(name: str, spec: params.TorchvisionSource, context: Context) -> list[Candidate]:
    """List the images of a split, optionally of some classes and up to a limit.

    Raises:
        SourceError: The dataset has no such split or class, or its files are missing or damaged.
    """
    known = _DATASETS[spec.dataset]
    splits = {split: _open(spec, split, context) for split in _splits(spec)}
    chosen = _chosen(spec, splits)
    return [
        candidate(
            name,
            f"{split}/{index:06d}",
            f"torchvision:{spec.dataset}/{split}/{index}",
            page=known.page,
            title=f"{spec.dataset} {split} {index}",
            licence=known.licence,
            label=label,
        )
        for split, index, label in itertools.islice(chosen, spec.limit)
    ]


def reader(spec: params.TorchvisionSource, context: Context) -> Reader:
    """Encode an image as PNG.

    Raises:
        SourceError: See ``search``.
    """
    splits = {split: _open(spec, split, context) for split in _splits(spec)}

    def read(url: str) -> bytes:
        try:
            _, split, index = url.split("/")
            picture = splits[split].picture(int(index))
        except (ValueError, LookupError):
            raise FetchError(f"no such picture: {url}") from None
        return encoding.png(picture)

    return read


def _splits(spec: params.TorchvisionSource) -> list[str]:
    known = list(_DATASETS[spec.dataset].splits)
    if spec.split == "all":
        return known
    if spec.split not in known:
        raise SourceError(f"split {spec.split!r}: {spec.dataset} has {', '.join(known)} and all")
    return [spec.split]


def _chosen(
    spec: params.TorchvisionSource, splits: dict[str, _Split]
) -> Iterator[tuple[str, int, str]]:
    if spec.classes is not None:
        known = sorted({label for split in splits.values() for label in split.labels} - {""})
        _require_known(spec.dataset, spec.classes, known)
    for name, split in splits.items():
        for index, label in enumerate(split.labels):
            if spec.classes is None or label in spec.classes:
                yield name, index, label


def _require_known(dataset: str, classes: Sequence[str], known: Sequence[str]) -> None:
    for label in classes:
        if label not in known:
            close = difflib.get_close_matches(label, known, n=1)
            hint = f"did you mean {close[0]!r}? " if close else ""
            allowed = ", ".join(repr(name) for name in known) or "none, only null"
            raise SourceError(f"classes: {dataset} has no {label!r}; {hint}allowed: {allowed}")


def _open(spec: params.TorchvisionSource, split: str, context: Context) -> _Split:
    root = DOWNLOADS if spec.download else Path(spec.path)
    try:
        with _patience(context.network.timeout):
            return _load(spec, split, root)
    # Torchvision raises RuntimeError for missing and damaged files and for a download that failed.
    except (RuntimeError, OSError, EOFError, ValueError, zlib.error) as error:
        raise SourceError(f"{spec.dataset} ({split}) in {root}: {error}") from error


@contextlib.contextmanager
def _patience(seconds: float) -> Iterator[None]:
    """Set a socket timeout, in seconds, for torchvision, whose requests have none."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _load(spec: params.TorchvisionSource, split: str, root: Path) -> _Split:
    kind: Any = getattr(datasets, spec.dataset)
    if issubclass(kind, datasets.MNIST):
        if spec.download:
            kind(root, download=True)
        return _read_idx(kind, "train" if split == "train" else "t10k", root)
    arguments = _DATASETS[spec.dataset].splits[split]
    data = kind(root, download=spec.download, **arguments)
    return _Split(_labels(data), lambda index: data[index][0])


def _labels(data: Any) -> list[str]:
    if isinstance(data, datasets.CelebA):
        return [""] * len(data)
    if isinstance(data, datasets.SVHN):
        return [str(digit) for digit in data.labels]
    numbers = data._labels if isinstance(data, datasets.Flowers102) else data.targets
    return [data.classes[number] for number in numbers]


def _read_idx(kind: Any, prefix: str, root: Path) -> _Split:
    """Read MNIST and similar datasets in the IDX format in which they are published.

    Torchvision itself requires the archives of both splits, unpacked, under <root>/MNIST/raw.
    """
    pictures = _idx(root, kind.__name__, f"{prefix}-images-idx3-ubyte")
    numbers = _idx(root, kind.__name__, f"{prefix}-labels-idx1-ubyte")
    if len(pictures) != len(numbers):
        raise ValueError(f"{len(pictures)} pictures, but {len(numbers)} labels")
    return _Split([kind.classes[number] for number in numbers], pictures.__getitem__)


def _idx(root: Path, dataset: str, name: str) -> arrays.Array:
    found = [
        path
        for folder in (root, root / dataset / "raw")
        for path in (folder / name, folder / f"{name}.gz")
        if path.is_file()
    ]
    if not found:
        raise FileNotFoundError(f"no {name}[.gz] here nor in {dataset}/raw")
    [path, *_] = found
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        # The header gives the size, so neither a decompression bomb nor a false header fills the
        # memory.
        magic = file.read(4)
        if len(magic) < 4 or magic[:3] != b"\0\0\x08":
            raise ValueError(f"{path.name} is not an IDX file of bytes")
        shape = np.frombuffer(file.read(4 * magic[3]), ">i4", magic[3]).tolist()
        size = math.prod(shape)
        if min(shape, default=0) < 0 or size > LARGEST_IDX:
            dimensions = " x ".join(map(str, shape))
            raise ValueError(
                f"{path.name} declares {dimensions} bytes; at most {LARGEST_IDX} are read"
            )
        data = file.read(size + 1)
    if len(data) != size:
        raise ValueError(f"{path.name} has fewer or more than the {size} bytes that it declares")
    return np.frombuffer(data, np.uint8).reshape(shape)
