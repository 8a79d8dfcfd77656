"""Networks for the studio: generators of the project or shipped with ganloom, and the enlarger."""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict, defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import torch

from ganloom.device import best_device
from ganloom.enlarging import network
from ganloom.enlarging.network import Enlarger
from ganloom.images.shards import sha256
from ganloom.models import (
    Generator,
    GeneratorInfo,
    ModelError,
    load_generator,
    read_info,
    refusing,
)
from ganloom.trained import trained

# Written by benchmarks/bundled_generator.py. Names of models in params.yaml have no slash.
EXAMPLE = "ganloom/kene"
EXAMPLE_FILE = Path(__file__).parent / "kene.safetensors"
LOADED = 4  # generators kept in memory, the last ones used


class Loaded(NamedTuple):
    """A generator in memory.

    Attributes:
        net: Network in eval mode.
        info: Metadata of the file.
        digest: SHA-256 of the file. With it and v, a sample can be reproduced.
        device: Device of the network.
    """

    net: Generator
    info: GeneratorInfo
    digest: str
    device: torch.device


class LoadedEnlarger(NamedTuple):
    """The project's enlarger in memory.

    Attributes:
        net: Network; None if the project has none, and images are interpolated.
        digest: SHA-256 of the file; None without one.
    """

    net: Enlarger | None
    digest: str | None


class Generators:
    """Generators by name; a file is read again when it has changed.

    Args:
        project: Folder of the project, with ``results/models``.
        bundle: Generators of a checked bundle by name, to show instead of the project's models and
            the example.
    """

    def __init__(self, project: Path, bundle: dict[str, Path] | None = None) -> None:
        self.project, self.bundle = project, bundle
        self.device = best_device()
        self._loading = threading.Lock()
        self._loaded: OrderedDict[str, tuple[tuple[int, ...], Loaded]] = OrderedDict()
        self._enlarger: tuple[tuple[int, ...], LoadedEnlarger] | None = None
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    @property
    def paths(self) -> dict[str, Path]:
        """Current file of each generator; the example comes last."""
        if self.bundle is not None:
            return self.bundle
        models = trained(self.project)
        return {name: model.generator for name, model in models.items()} | {EXAMPLE: EXAMPLE_FILE}

    def predictor(self, name: str) -> Path:
        """Path of the network that predicts the input of this generator; it may not exist."""
        return self.project / "results/inversions" / name / "predictor.safetensors"

    def listing(self) -> list[dict[str, Any]]:
        """Describe each generator for the pages; ``problem`` is the error of an unusable file.

        ``former`` is the time at which the training ended, for a model that is only in DVC's cache;
        "" for others.
        """
        models = {} if self.bundle is not None else trained(self.project)
        former = {name: model.finished for name, model in models.items()}
        return [
            self._described(name, path) | {"former": former.get(name, "")}
            for name, path in self.paths.items()
        ]

    def load(self, name: str) -> Loaded:
        """Return a generator by name.

        Raises:
            ModelError: If there is none of that name, or its file is unusable.
        """
        path = self.paths.get(name)
        if path is None:
            raise ModelError(f"there is no model {name!r}; the page lists the available ones")
        with self._loading:
            stamp = _stamp(path)
            if name not in self._loaded or self._loaded[name][0] != stamp:
                net, info = load_generator(path, self.device)
                digest = sha256(path.read_bytes())
                self._loaded[name] = stamp, Loaded(net, info, digest, self.device)
            self._loaded.move_to_end(name)
            while len(self._loaded) > LOADED:
                self._loaded.popitem(last=False)
            return self._loaded[name][1]

    @property
    def has_enlarger(self) -> bool:
        """Whether the project has an enlarger. A bundle has none."""
        return self.bundle is None and (self.project / network.PATH).exists()

    def enlarger(self) -> LoadedEnlarger:
        """Return the project's enlarger, read again if its file has changed.

        Raises:
            ModelError: If its file is unusable.
        """
        if not self.has_enlarger:
            return LoadedEnlarger(None, None)
        path = self.project / network.PATH
        with self._loading:
            try:
                stamp = _stamp(path)
                if self._enlarger is None or self._enlarger[0] != stamp:
                    loaded = LoadedEnlarger(network.load(path), sha256(path.read_bytes()))
                    self._enlarger = stamp, loaded
            except OSError as error:
                raise ModelError(str(error)) from None
            return self._enlarger[1]

    def turn(self, name: str) -> asyncio.Lock:
        """Lock to hold while a generator runs. Waiting for it occupies no thread."""
        return self._turns[name if name in self.paths else ""]

    def _described(self, name: str, path: Path) -> dict[str, Any]:
        try:
            with refusing(path, "a generator of ganloom"):
                info = read_info(path, GeneratorInfo)
            return {
                "name": name,
                "example": name == EXAMPLE,
                "problem": None,
                "resolution": info.resolution,
                "kimg": info.kimg,
                "classes": info.classes,
                "categorical": info.inputs.categorical,
                "continuous": info.inputs.continuous,
                "predictor": self.predictor(name).is_file(),
            }
        except (ModelError, OSError) as error:
            remedy = f"to train it again: dvc repro train@{name}"
            return {"name": name, "problem": f"{error}; {remedy}"}


def _stamp(path: Path) -> tuple[int, ...]:
    try:
        status = path.stat()
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from None
    return status.st_mtime_ns, status.st_size, status.st_ino
