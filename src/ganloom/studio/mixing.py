"""The page ``/mix``: interpolations between two samples or two classes."""

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
from ganloom.studio.generation import ModelName, Seed, class_number, input_of, pictures
from ganloom.studio.generators import Generators, Loaded
from ganloom.studio.guard import FOR_EVER, Payload, page, posted
from ganloom.studio.samples import Samples

MOST = 10  # transitions, and images between two ends
REMEMBERED = 100  # mixes
SIDE = 480  # px, least longer side of an animation: video players blur small ones


class _End(Payload):
    """One end of a transition: a seed or a kept sample."""

    seed: Seed | None = None
    kept: Annotated[str, Field(max_length=100)] | None = None


class _Mix(Payload):
    model: ModelName
    path: Literal["slerp", "linear"]
    transitions: Annotated[int, Field(ge=1, le=MOST)]
    interpolations: Annotated[int, Field(ge=1, le=MOST)]
    ends: Annotated[list[_End], Field(min_length=2, max_length=2)] | None = None
    classes: Annotated[list[str], Field(min_length=2, max_length=2)] | None = None
    seed: Seed = 0  # of the latents and codes, which all classes share


class _Mixed(NamedTuple):
    """A requested mix, and both ends of its transitions, (N, width) each."""

    payload: _Mix
    a: Tensor
    b: Tensor


def gif(frames: NDArray[np.uint8], fps: int) -> bytes:
    """Encode frames (T, H, W, 3) as a looping GIF. One palette for all frames avoids flicker."""
    every = Image.fromarray(frames.reshape(-1, *frames.shape[2:]))
    palette = every.quantize(256, Image.Quantize.MEDIANCUT)
    still, *rest = [
        Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE)
        for frame in frames
    ]
    file = io.BytesIO()
    # Pillow takes ms; GIF stores hundredths of a second.
    still.save(file, "GIF", save_all=True, append_images=rest, loop=0, duration=1000 // fps)
    return file.getvalue()


def mp4(frames: NDArray[np.uint8], fps: int) -> bytes:
    """Encode frames (T, H, W, 3) as MP4 with H.264."""
    with tempfile.TemporaryDirectory() as folder:
        save_mp4(frames, Path(folder) / "mix.mp4", fps)
        return (Path(folder) / "mix.mp4").read_bytes()


class Mixes:
    """The last mixes by name. Their images are generated on request."""

    def __init__(self, generators: Generators, samples: Samples) -> None:
        self.generators, self.samples = generators, samples
        self._lock = threading.Lock()
        self._mixed: OrderedDict[str, _Mixed] = OrderedDict()

    def add(self, payload: _Mix) -> str:
        """Compute both ends of each transition.

        Returns:
            The name of the mix.

        Raises:
            HTTPException, ModelError, SampleError: If the request is invalid.
        """
        loaded = self.generators.load(payload.model)
        if (payload.ends is None) == (payload.classes is None):
            raise HTTPException(400, "give either ends or classes")
        if payload.classes is not None:
            a, b = _of_classes(loaded, payload, payload.classes)
        else:
            a, b = (self._end(loaded, payload, end) for end in payload.ends or [])
        name = sha256(f"{payload.model_dump_json()} {loaded.digest}".encode())[:20]
        with self._lock:
            self._mixed[name] = _Mixed(payload, a, b)
            self._mixed.move_to_end(name)
            while len(self._mixed) > REMEMBERED:
                self._mixed.popitem(last=False)
        return name

    def get(self, name: str) -> _Mixed:
        """Return a mix by name.

        Raises:
            HTTPException: If it is not in memory.
        """
        mixed = self._mixed.get(name)
        if mixed is None:
            raise HTTPException(404, f"the mix {name} is no longer available; create it again")
        return mixed

    def strip(self, mixed: _Mixed) -> bytes:
        """PNG with one row per transition."""
        steps = mixed.payload.interpolations + 2
        rows = self._pictures(mixed, steps).swapaxes(0, 1)
        return png(grid(rows.reshape(-1, *rows.shape[2:]), steps))

    def frames(self, mixed: _Mixed) -> NDArray[np.uint8]:
        """Frames of all transitions side by side, forwards and backwards: (T, H, W, 3)."""
        moments = self._pictures(mixed, FRAMES)
        columns = min(len(mixed.a), 5)
        there = np.stack([grid(moment, columns) for moment in moments])
        return enlarged(there_and_back(there), SIDE)

    def _pictures(self, mixed: _Mixed, steps: int) -> NDArray[np.uint8]:
        """(steps, N, R, R, 3)."""
        loaded = self.generators.load(mixed.payload.model)
        v = between(
            loaded.net.inputs.latent,
            mixed.a,
            mixed.b,
            steps,
            spherical=mixed.payload.path == "slerp",
        )
        made = pictures(loaded, v.flatten(0, 1))
        return made.reshape(steps, len(mixed.a), *made.shape[1:])

    def _end(self, loaded: Loaded, payload: _Mix, end: _End) -> Tensor:
        """(transitions, width) inputs: one seed per transition, or the same kept sample in all."""
        if end.kept is not None:
            v = input_of(self.samples.get(end.kept)[0], loaded)
            return v.repeat(payload.transitions, 1)
        if end.seed is None:
            raise HTTPException(400, "an end needs a seed or a kept sample")
        return _drawn(loaded, end.seed, payload.transitions)


def _of_classes(loaded: Loaded, payload: _Mix, names: list[str]) -> tuple[Tensor, Tensor]:
    v = _drawn(loaded, payload.seed, payload.transitions)
    a, b = (of_class(loaded.net.inputs, v, class_number(loaded, name) or 0) for name in names)
    return a, b


def _drawn(loaded: Loaded, seed: int, count: int) -> Tensor:
    """(count, width) inputs, each from its own seed, so that they do not depend on ``count``."""
    seeds = [(seed + i) % 2**32 for i in range(count)]
    return torch.cat([new(loaded.net.inputs, 1, each) for each in seeds])


def routes(generators: Generators, samples: Samples) -> list[Route]:
    """Routes of the page and of its images and films."""
    mixes = Mixes(generators, samples)

    async def post_mix(request: Request) -> Response:
        payload = await posted(request, _Mix)
        return JSONResponse({"name": await run_in_threadpool(mixes.add, payload)})

    def file(
        kind: str, make: Callable[[_Mixed], bytes]
    ) -> Callable[[Request], Awaitable[Response]]:
        async def get(request: Request) -> Response:
            mixed = mixes.get(request.path_params["name"])
            async with generators.turn(mixed.payload.model):
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
