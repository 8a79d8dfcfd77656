"""The page that mixes: from one picture to another, or from one class to another."""

from __future__ import annotations

import io
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from torch import Tensor

from ganloom.images.encoding import png
from ganloom.images.shards import sha256
from ganloom.images.sheets import grid
from ganloom.sampling.animation import enlarged, save_mp4
from ganloom.sampling.latents import new
from ganloom.sampling.mixing import FPS, FRAMES, between, of_class, there_and_back
from ganloom.studio.generation import ModelName, Seed, class_number, pictures, told_by
from ganloom.studio.generators import Generators, Loaded
from ganloom.studio.guard import FOR_EVER, Asked, page, posted
from ganloom.studio.samples import Samples

MOST = 10  # transitions, and pictures between two ends
REMEMBERED = 100  # mixes
SIDE = 480  # px at least, of the longer side of an animation: players blur what they enlarge


class _End(Asked):
    """Where a transition begins or ends: with a seed, or with a kept picture."""

    seed: Seed | None = None
    kept: Annotated[str, Field(max_length=100)] | None = None


class _Mix(Asked):
    model: ModelName
    path: Literal["slerp", "linear"]
    transitions: Annotated[int, Field(ge=1, le=MOST)]
    interpolations: Annotated[int, Field(ge=1, le=MOST)]
    ends: Annotated[list[_End], Field(min_length=2, max_length=2)] | None = None
    classes: Annotated[list[str], Field(min_length=2, max_length=2)] | None = None
    seed: Seed = 0  # of what stays the same from class to class


class _Mixed(NamedTuple):
    """What was asked for last: its model, and both ends of each transition (N, width)."""

    asked: _Mix
    a: Tensor
    b: Tensor


def gif(frames: NDArray[np.uint8], fps: int) -> bytes:
    """Endless GIF of frames (T, H, W, 3), with one palette for all: otherwise colours flicker."""
    every = Image.fromarray(frames.reshape(-1, *frames.shape[2:]))
    palette = every.quantize(256, Image.Quantize.MEDIANCUT)
    still, *rest = [
        Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE)
        for frame in frames
    ]
    file = io.BytesIO()
    # GIF counts hundredths of a second.
    still.save(file, "GIF", save_all=True, append_images=rest, loop=0, duration=1000 // fps)
    return file.getvalue()


def mp4(frames: NDArray[np.uint8], fps: int) -> bytes:
    """H.264 as ``save_mp4`` writes it."""
    with tempfile.TemporaryDirectory() as folder:
        save_mp4(frames, Path(folder) / "mix.mp4", fps)
        return (Path(folder) / "mix.mp4").read_bytes()


class Mixes:
    """What was mixed lately; its pictures are made when they are asked for."""

    def __init__(self, generators: Generators, samples: Samples) -> None:
        self.generators, self.samples = generators, samples
        self._lock = threading.Lock()
        self._mixed: OrderedDict[str, _Mixed] = OrderedDict()

    def add(self, asked: _Mix) -> str:
        """Settle both ends of each transition; returns the mix's name.

        Raises:
            HTTPException, ModelError, SampleError: it cannot be mixed.
        """
        loaded = self.generators.load(asked.model)
        if (asked.ends is None) == (asked.classes is None):
            raise HTTPException(400, "either ends or classes are mixed")
        if asked.classes is not None:
            a, b = _of_classes(loaded, asked, asked.classes)
        else:
            a, b = (self._end(loaded, asked, end) for end in asked.ends or [])
        name = sha256(f"{asked.model_dump_json()} {loaded.digest}".encode())[:20]
        with self._lock:
            self._mixed[name] = _Mixed(asked, a, b)
            self._mixed.move_to_end(name)
            while len(self._mixed) > REMEMBERED:
                self._mixed.popitem(last=False)
        return name

    def get(self, name: str) -> _Mixed:
        """The mix of that name.

        Raises:
            HTTPException: it is not remembered.
        """
        mixed = self._mixed.get(name)
        if mixed is None:
            raise HTTPException(404, f"there is no mix {name} any more; make it again")
        return mixed

    def strip(self, mixed: _Mixed) -> bytes:
        """A PNG with a row for each transition."""
        steps = mixed.asked.interpolations + 2
        rows = self._pictures(mixed, steps).swapaxes(0, 1)
        return png(grid(rows.reshape(-1, *rows.shape[2:]), steps))

    def frames(self, mixed: _Mixed) -> NDArray[np.uint8]:
        """There and back, all transitions side by side: (T, H, W, 3)."""
        moments = self._pictures(mixed, FRAMES)
        columns = min(len(mixed.a), 5)
        there = np.stack([grid(moment, columns) for moment in moments])
        return enlarged(there_and_back(there), SIDE)

    def _pictures(self, mixed: _Mixed, steps: int) -> NDArray[np.uint8]:
        """(steps, N, R, R, 3)."""
        loaded = self.generators.load(mixed.asked.model)
        v = between(
            loaded.net.inputs.latent,
            mixed.a,
            mixed.b,
            steps,
            spherical=mixed.asked.path == "slerp",
        )
        made = pictures(loaded, v.flatten(0, 1))
        return made.reshape(steps, len(mixed.a), *made.shape[1:])

    def _end(self, loaded: Loaded, asked: _Mix, end: _End) -> Tensor:
        """(transitions, width): seeds count up, a kept picture stays the same."""
        if end.kept is not None:
            v = told_by(self.samples.get(end.kept)[0], loaded)
            return v.repeat(asked.transitions, 1)
        if end.seed is None:
            raise HTTPException(400, "an end is a seed or a kept picture")
        return _drawn(loaded, end.seed, asked.transitions)


def _of_classes(loaded: Loaded, asked: _Mix, names: list[str]) -> tuple[Tensor, Tensor]:
    v = _drawn(loaded, asked.seed, asked.transitions)
    a, b = (of_class(loaded.net.inputs, v, class_number(loaded, name) or 0) for name in names)
    return a, b


def _drawn(loaded: Loaded, seed: int, count: int) -> Tensor:
    """One after the other, so that more of them do not change the first ones."""
    seeds = [(seed + i) % 2**32 for i in range(count)]
    return torch.cat([new(loaded.net.inputs, 1, each) for each in seeds])


def routes(generators: Generators, samples: Samples) -> list[Route]:
    """Those of the page and of the files that it shows."""
    mixes = Mixes(generators, samples)

    async def post_mix(request: Request) -> Response:
        asked = await posted(request, _Mix)
        return JSONResponse({"name": await run_in_threadpool(mixes.add, asked)})

    def file(
        kind: str, make: Callable[[_Mixed], bytes]
    ) -> Callable[[Request], Awaitable[Response]]:
        async def get(request: Request) -> Response:
            mixed = mixes.get(request.path_params["name"])
            async with generators.turn(mixed.asked.model):
                data = await run_in_threadpool(make, mixed)
            return Response(data, media_type=kind, headers={"cache-control": FOR_EVER})

        return get

    return [
        page("/mix", "mix.html"),
        Route("/api/mix", post_mix, methods=["POST"]),
        Route("/mixes/{name}.png", file("image/png", mixes.strip)),
        Route("/mixes/{name}.gif", file("image/gif", lambda mixed: gif(mixes.frames(mixed), FPS))),
        Route("/mixes/{name}.mp4", file("video/mp4", lambda mixed: mp4(mixes.frames(mixed), FPS))),
    ]
