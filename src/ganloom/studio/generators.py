"""The networks of the studio: generators trained here or shipped with ganloom, and the enlarger."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import OrderedDict, defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import safetensors
import torch

from ganloom.enlarging import network
from ganloom.enlarging.network import Enlarger, EnlargerError
from ganloom.images.shards import sha256
from ganloom.models import METADATA, Generator, ModelError, load_generator
from ganloom.trained import trained

# Made by benchmarks/bundled_generator.py. No model of a project can have this name: it has a slash.
EXAMPLE = "ganloom/kene"
EXAMPLE_FILE = Path(__file__).parent / "kene.safetensors"
LOADED = 4  # at a time, those asked last


class Loaded(NamedTuple):
    """A generator in memory.

    Attributes:
        net: In eval mode.
        about: Its metadata, as ``load_generator`` gives it.
        digest: The sha256 of its file: with it and v, anyone makes the same picture.
        device: Where it is.
    """

    net: Generator
    about: dict[str, Any]
    digest: str
    device: torch.device


class LoadedEnlarger(NamedTuple):
    """The project's enlarger in memory.

    Attributes:
        net: The network; None: the project has none, and pictures are interpolated.
        digest: The sha256 of its file; None without one.
    """

    net: Enlarger | None
    digest: str | None


class Generators:
    """Every generator by its name, read once and again when its file has changed.

    Args:
        project: Its results/models/ are shown, and the example.
        bundle: Checked models to show instead, by name.
    """

    def __init__(self, project: Path, bundle: dict[str, Path] | None = None) -> None:
        self.project, self.bundle = project, bundle
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._loading = threading.Lock()
        self._loaded: OrderedDict[str, tuple[tuple[int, ...], Loaded]] = OrderedDict()
        self._enlarger: tuple[tuple[int, ...], LoadedEnlarger] | None = None
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    @property
    def paths(self) -> dict[str, Path]:
        """Where each lies at this moment; the example comes last."""
        if self.bundle is not None:
            return self.bundle
        known = trained(self.project)
        return {name: model.generator for name, model in known.items()} | {EXAMPLE: EXAMPLE_FILE}

    def predictor(self, name: str) -> Path:
        """Where the network lies that guesses what this generator was told, if there is one."""
        return self.project / "results/inversions" / name / "predictor.safetensors"

    def listing(self) -> list[dict[str, Any]]:
        """What a page must know of each; of a file that cannot be used, what is wrong with it.

        ``former`` is when the training ended, for a model that is only in DVC's cache; else "".
        """
        known = {} if self.bundle is not None else trained(self.project)
        former = {name: model.finished for name, model in known.items()}
        return [
            self._described(name, path) | {"former": former.get(name, "")}
            for name, path in self.paths.items()
        ]

    def load(self, name: str) -> Loaded:
        """A generator.

        Raises:
            ModelError: there is none of that name, or its file cannot be used.
        """
        path = self.paths.get(name)
        if path is None:
            raise ModelError(f"there is no model {name!r} here; the page lists those there are")
        with self._loading:
            stamp = _stamp(path)
            if name not in self._loaded or self._loaded[name][0] != stamp:
                net, about = load_generator(path, self.device)
                digest = sha256(path.read_bytes())
                self._loaded[name] = stamp, Loaded(net, about, digest, self.device)
            self._loaded.move_to_end(name)
            while len(self._loaded) > LOADED:
                self._loaded.popitem(last=False)
            return self._loaded[name][1]

    @property
    def has_enlarger(self) -> bool:
        """Whether pictures are enlarged by a network. It belongs to the models trained here."""
        return self.bundle is None and (self.project / network.PATH).exists()

    def enlarger(self) -> LoadedEnlarger:
        """The project's enlarger, read again when its file has changed.

        Raises:
            EnlargerError: its file cannot be used.
        """
        if not self.has_enlarger:
            return LoadedEnlarger(None, None)
        path = self.project / network.PATH
        with self._loading:
            try:
                stamp = _stamp(path)
                if self._enlarger is None or self._enlarger[0] != stamp:
                    found = LoadedEnlarger(network.load(path), sha256(path.read_bytes()))
                    self._enlarger = stamp, found
            except (ModelError, OSError) as error:
                raise EnlargerError(str(error)) from None
            return self._enlarger[1]

    def turn(self, name: str) -> asyncio.Lock:
        """Held by who makes pictures with this one: whoever comes then waits without a thread."""
        return self._turns[name if name in self.paths else ""]

    def _described(self, name: str, path: Path) -> dict[str, Any]:
        try:
            with safetensors.safe_open(path, "pt") as file:
                about = json.loads((file.metadata() or {})[METADATA])
            told = about["inputs"]
            return {
                "name": name,
                "example": name == EXAMPLE,
                "problem": None,
                "resolution": about["resolution"],
                "kimg": about["kimg"],
                "classes": about["classes"],
                "categorical": told["categorical"],
                "continuous": told["continuous"],
                "predictor": self.predictor(name).is_file(),
            }
        except (
            safetensors.SafetensorError,
            AttributeError,
            KeyError,
            OSError,
            RecursionError,
            TypeError,
            ValueError,
        ) as error:
            wrong = f"{path}: damaged or no generator of ganloom ({error}); to make it anew: "
            return {"name": name, "problem": wrong + f"dvc repro train@{name}"}


def _stamp(path: Path) -> tuple[int, ...]:
    try:
        status = path.stat()
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from None
    return status.st_mtime_ns, status.st_size, status.st_ino
