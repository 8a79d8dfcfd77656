"""Single pictures that the studio has made: in memory for a while, on the disk if kept.

A sample is what a generator was told, and how that came about; its picture follows from it. Both
are named by the hash of what the sample says, so that the same is never there twice.
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
from ganloom.sampling.files import tagged_png
from ganloom.studio.generators import Loaded

REMEMBERED = 2000  # samples: some hundred pages of them, in a few hundred megabytes at most
MAX_PIXELS = 4_000_000  # of one: far more than any generator makes
NAME = re.compile("[0-9a-f]{20}")


class SampleError(ValueError):
    """There is no such sample, or its file cannot be used; the message names it."""


class Sample(BaseModel):
    """What a generator was told.

    Attributes:
        model: Its name.
        model_sha256: Of its file.
        v: All that it was told: z, then its class and its codes, if it knows any.
        latent: How many of these numbers are z.
        made: How v came about: the seed and the settings, or the picture it was recovered from.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    model: Annotated[str, Field(max_length=200)]
    model_sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    v: Annotated[list[Annotated[float, Field(allow_inf_nan=False)]], Field(max_length=100_000)]
    latent: Annotated[int, Field(ge=1)]
    made: dict[str, Any]

    def text(self) -> str:
        """As a file: z on its own as well, for whoever wants no more than that."""
        known = self.model_dump()
        return json.dumps(known | {"z": self.v[: self.latent]}, sort_keys=True)

    @property
    def name(self) -> str:
        return sha256(self.text().encode())[:20]


def sample(model: str, loaded: Loaded, v: Tensor, made: dict[str, Any]) -> Sample:
    """Describe one v: (width,)."""
    # Nine digits: every float32 comes back as it was.
    numbers = [float(f"{x:.9g}") for x in v.tolist()]
    return Sample(
        model=model,
        model_sha256=loaded.digest,
        v=numbers,
        latent=loaded.net.inputs.latent,
        made=made,
    )


class Samples:
    """What was made lately, and what is kept.

    Args:
        folder: Of the kept ones: ``<name>.png`` and ``<name>.json``, in plain sight.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._made: OrderedDict[str, tuple[Sample, bytes]] = OrderedDict()

    def add(self, sample: Sample, picture: NDArray[np.uint8]) -> str:
        """Remember a sample and its picture (R, R, 3); returns its name."""
        png = tagged_png(picture, sample.text())
        name = sample.name
        with self._lock:
            self._made[name] = sample, png
            self._made.move_to_end(name)
            while len(self._made) > REMEMBERED:
                self._made.popitem(last=False)
        return name

    def get(self, name: str) -> tuple[Sample, bytes]:
        """A sample and its PNG, which has the sample in its metadata.

        Raises:
            SampleError: it is neither remembered nor kept, or its file is damaged.
        """
        with self._lock:
            if name in self._made:
                return self._made[name]
        if not NAME.fullmatch(name) or not (self.folder / f"{name}.json").is_file():
            raise SampleError(f"there is no picture {name} any more; make it again")
        return self._read(name), (self.folder / f"{name}.png").read_bytes()

    def picture(self, name: str) -> NDArray[np.uint8]:
        """Its pixels: (R, R, 3).

        Raises:
            SampleError, ImageError: as ``get``, or its file is damaged.
        """
        return np.asarray(decode(self.get(name)[1], MAX_PIXELS))

    def keep(self, name: str) -> None:
        """Write a sample to the disk: first the picture, so that none is listed without it."""
        kept, png = self.get(name)
        write_whole(self.folder / f"{name}.png", png)
        write_whole(self.folder / f"{name}.json", kept.text().encode())

    def forget(self, name: str) -> None:
        """Delete a kept sample; for as long as the studio runs it can be kept again."""
        kept, png = self.get(name)
        with self._lock:
            self._made[name] = kept, png
        for extension in ("json", "png"):
            (self.folder / f"{name}.{extension}").unlink(missing_ok=True)

    def kept(self) -> dict[str, Sample]:
        """The kept ones, the latest first; files that cannot be used are left out."""
        paths = [p for p in self.folder.glob("*.json") if NAME.fullmatch(p.stem)]
        found = {}
        for path in sorted(paths, key=lambda p: (-p.stat().st_mtime_ns, p.stem)):
            try:
                found[path.stem] = self._read(path.stem)
            except SampleError:
                continue
        return found

    def _read(self, name: str) -> Sample:
        path = self.folder / f"{name}.json"
        try:
            known = json.loads(path.read_bytes())
            del known["z"]
            return Sample.model_validate(known)
        except (ValidationError, ValueError, KeyError, TypeError, RecursionError):
            raise SampleError(f"{path} is damaged; delete it") from None
