"""Samples made in the studio: the last ones in memory, kept ones on disk.

A sample records the input of the generator and its origin; the image follows from the input. The
name of a sample is a hash of its content, so that equal samples are stored once.
"""

from __future__ import annotations

import json
import re
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor

from ganloom.files import write_whole
from ganloom.images.decoding import decode
from ganloom.images.shards import sha256
from ganloom.sampling.saving import tagged_png
from ganloom.studio.generators import Loaded

REMEMBERED = 2000  # samples, of a few hundred megabytes at most
MAX_PIXELS = 4_000_000  # of a sample; larger than any generator's output
NAME = re.compile("[0-9a-f]{20}")


class SampleError(ValueError):
    """A sample does not exist, or its file is unusable. The message names it."""


class StoredSample(BaseModel):
    """Input of a generator, with its origin.

    Attributes:
        model: Name of the generator.
        model_sha256: SHA-256 of its file.
        v: Input of the generator: z, then class and codes, if the model has any.
        latent: Length of z.
        made: Origin of v: seed and settings, or the photograph that was inverted.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    model: Annotated[str, Field(max_length=200)]
    model_sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    v: Annotated[list[Annotated[float, Field(allow_inf_nan=False)]], Field(max_length=100_000)]
    latent: Annotated[int, Field(ge=1)]
    made: dict[str, Any]

    def text(self) -> str:
        """Serialise as JSON, with z as an additional key for other tools."""
        content = self.model_dump()
        return json.dumps(content | {"z": self.v[: self.latent]}, sort_keys=True)

    @property
    def name(self) -> str:
        return sha256(self.text().encode())[:20]


def sample(model: str, loaded: Loaded, v: Tensor, made: dict[str, Any]) -> StoredSample:
    """Create a sample from an input v (width,) and its origin."""
    # Nine digits preserve every float32.
    numbers = [float(f"{x:.9g}") for x in v.tolist()]
    return StoredSample(
        model=model,
        model_sha256=loaded.digest,
        v=numbers,
        latent=loaded.net.inputs.latent,
        made=made,
    )


class Samples:
    """The last samples, in memory, and the kept ones, on disk.

    Args:
        folder: Folder of kept samples, ``<name>.png`` and ``<name>.json``.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._made: OrderedDict[str, tuple[StoredSample, bytes]] = OrderedDict()

    def add(self, sample: StoredSample, picture: NDArray[np.uint8]) -> str:
        """Store a sample and its image (R, R, 3) in memory, and return its name."""
        png = tagged_png(picture, sample.text())
        name = sample.name
        with self._lock:
            self._made[name] = sample, png
            self._made.move_to_end(name)
            while len(self._made) > REMEMBERED:
                self._made.popitem(last=False)
        return name

    def get(self, name: str) -> tuple[StoredSample, bytes]:
        """Return a sample and its PNG, whose metadata contains the sample.

        Raises:
            SampleError: If it is neither in memory nor kept, or its file is damaged.
        """
        with self._lock:
            if name in self._made:
                return self._made[name]
        if not NAME.fullmatch(name) or not (self.folder / f"{name}.json").is_file():
            raise SampleError(f"the sample {name} is no longer available; create it again")
        return self._read(name), (self.folder / f"{name}.png").read_bytes()

    def picture(self, name: str) -> NDArray[np.uint8]:
        """Pixels of a sample: (R, R, 3).

        Raises:
            SampleError: As in ``get``.
            ImageError: If the PNG is damaged.
        """
        return np.asarray(decode(self.get(name)[1], MAX_PIXELS))

    def keep(self, name: str) -> None:
        """Write a sample to disk; the image first, so that a listed sample always has one."""
        kept, png = self.get(name)
        write_whole(self.folder / f"{name}.png", png)
        write_whole(self.folder / f"{name}.json", kept.text().encode())

    def forget(self, name: str) -> None:
        """Delete a kept sample from disk. It stays in memory and can be kept again."""
        kept, png = self.get(name)
        with self._lock:
            self._made[name] = kept, png
        for extension in ("json", "png"):
            (self.folder / f"{name}.{extension}").unlink(missing_ok=True)

    def kept(self) -> dict[str, StoredSample]:
        """Kept samples by name, the latest first; unusable files are left out."""
        paths = [p for p in self.folder.glob("*.json") if NAME.fullmatch(p.stem)]
        samples = {}
        for path in sorted(paths, key=lambda p: (-p.stat().st_mtime_ns, p.stem)):
            try:
                samples[path.stem] = self._read(path.stem)
            except SampleError:
                continue
        return samples

    def _read(self, name: str) -> StoredSample:
        path = self.folder / f"{name}.json"
        try:
            content = json.loads(path.read_bytes())
            del content["z"]
            return StoredSample.model_validate(content)
        except (ValidationError, ValueError, KeyError, TypeError, RecursionError):
            raise SampleError(f"{path} is damaged; delete it") from None
