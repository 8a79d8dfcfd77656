"""The page ``/edit``: GAN inversion of a photograph, and edits of the result."""

from __future__ import annotations

import secrets
import threading
from typing import Annotated, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from torch import Tensor
from torch.nn import functional as F

from ganloom.images.decoding import ImageError
from ganloom.images.encoding import png
from ganloom.images.shards import sha256
from ganloom.images.sheets import grid
from ganloom.sampling.editing import (
    DIRECTIONS,
    REACH,
    Guess,
    first_guess,
    recover,
    squared,
    strongest,
)
from ganloom.studio.generation import ModelName, class_number, input_of, pictures, with_codes
from ganloom.studio.generators import Generators, Loaded
from ganloom.studio.guard import Payload, body, page, posted, require_own_page
from ganloom.studio.samples import Samples, sample

MAX_BYTES = 20_000_000  # of a photograph
MAX_PIXELS = 50_000_000
BINARY = "application/octet-stream"  # an HTML form of another site cannot send it

Likeness = Literal["ms_ssim", "mse", "features"]
State = Literal["running", "done", "cancelled", "failed"]


class _Photo(BaseModel):
    """Query parameters of an upload."""

    model_config = ConfigDict(extra="forbid")

    model: ModelName
    steps: Annotated[int, Field(ge=1, le=2000)]
    loss: Likeness


class _Nothing(Payload):
    pass


class _Edit(Payload):
    name: str  # sample to edit
    model: ModelName
    label: str | None = None
    strength: Annotated[float, Field(ge=0, le=1)] = 1.0  # weight of the new class
    codes: Annotated[list[float | None], Field(default_factory=list, max_length=1000)]
    directions: Annotated[
        list[Annotated[float, Field(ge=-REACH, le=REACH)]], Field(max_length=DIRECTIONS)
    ]


class _CancelledError(Exception):
    pass


class Search:
    """GAN inversion of a photograph, in its own thread.

    Args:
        model: Name of the generator.
        loaded: The generator.
        photo: (R, R, 3) image to reconstruct.
        payload: Number of steps, and the loss.
        made: Origin of the result, stored in the sample.
        samples: Store for the result.
        guess: Starting point.
    """

    def __init__(
        self,
        model: str,
        loaded: Loaded,
        photo: NDArray[np.uint8],
        *,
        payload: _Photo,
        made: dict[str, Any],
        samples: Samples,
        guess: Guess,
    ) -> None:
        self.id = secrets.token_hex(8)
        self.model, self.loaded, self.photo = model, loaded, photo
        self.state: State = "running"
        self.step, self.steps = 0, payload.steps
        self.now: Tensor | None = None  # (1, width) best input of the generator so far
        self.outcome: dict[str, Any] = {}
        self._payload, self._made, self._samples = payload, made, samples
        self._guess, self.note = guess.v, guess.problem
        self._cancelled = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def cancel(self) -> None:
        """Stop before the next step, and wait for the thread."""
        self._cancelled.set()
        self._thread.join()

    def as_json(self) -> dict[str, Any]:
        status = {"id": self.id, "model": self.model, "state": self.state, "note": self.note}
        return status | {"step": self.step, "steps": self.steps} | self.outcome

    def _watch(self, step: int, v: Tensor, losses: Tensor) -> None:
        if self._cancelled.is_set():
            raise _CancelledError
        self.step, self.now = step, v[losses.argmin()][None].cpu()

    def _run(self) -> None:
        try:
            payload, guess = self._payload, self._guess
            inversion = recover(
                self.loaded.net,
                self.photo,
                payload.steps,
                payload.loss,
                guess=guess,
                watch=self._watch,
            )
            quality = {"psnr": float(inversion.psnr[-1]), "ms_ssim": float(inversion.ms_ssim[-1])}
            quality = {name: round(value, 3) for name, value in quality.items()}
            (picture,) = pictures(self.loaded, inversion.v)
            result = sample(self.model, self.loaded, inversion.v[0].cpu(), self._made | quality)
            self.outcome = quality | {"name": self._samples.add(result, picture)}
            self.state = "done"
        except _CancelledError:
            self.state = "cancelled"
        except Exception as error:  # the page shows any error
            self.outcome = {"problem": f"the search failed: {error}"}
            self.state = "failed"


class Editor:
    """The current or last search, of which one runs at a time, and directions of each generator."""

    def __init__(self, generators: Generators, samples: Samples) -> None:
        self.generators, self.samples = generators, samples
        self.search: Search | None = None
        self._before: Search | None = None  # a page may still request its pictures
        self._starting = threading.Lock()
        self._directions: dict[str, Tensor] = {}

    def start(self, data: bytes, payload: _Photo) -> Search:
        """Start to invert a photograph.

        Raises:
            HTTPException: If another search is running.
            ImageError, ModelError: If the photograph or the generator cannot be used.
        """
        with self._starting:
            if self.search is not None and self.search.state == "running":
                raise HTTPException(409, "another search is running; cancel it first")
            loaded = self.generators.load(payload.model)
            photo = _photo(data, loaded.info.resolution)
            made = {"photo": sha256(data), "steps": payload.steps, "loss": payload.loss}
            guess = first_guess(self.generators.predictor(payload.model), loaded.net, photo)
            if guess.v is not None:
                made["predictor"] = True
            self._before = self.search
            self.search = Search(
                payload.model,
                loaded,
                photo,
                payload=payload,
                made=made,
                samples=self.samples,
                guess=guess,
            )
            return self.search

    def get(self, name: str) -> Search:
        """Return one of the last two searches by its id.

        Raises:
            HTTPException: If it is an older one, or does not exist.
        """
        for search in (self.search, self._before):
            if search is not None and search.id == name:
                return search
        raise HTTPException(404, "this photograph is no longer available; choose it again")

    def close(self) -> None:
        """Cancel a running search."""
        if self.search is not None:
            self.search.cancel()

    def edit(self, payload: _Edit) -> str:
        """Edit a sample.

        Returns:
            The name of the new sample.

        Raises:
            HTTPException, ModelError, SampleError: If the edit is impossible.
        """
        loaded = self.generators.load(payload.model)
        layout = loaded.net.inputs
        before = self.samples.get(payload.name)[0]
        v = input_of(before, loaded)
        number = class_number(loaded, payload.label)
        if number is not None:
            columns = slice(layout.latent, layout.latent + layout.classes)
            target = F.one_hot(torch.tensor([number]), layout.classes).float()
            v[:, columns] = torch.lerp(v[:, columns], target, payload.strength)
        v = with_codes(layout, v, payload.codes)
        directions = self.directions(loaded)
        for amount, direction in zip(payload.directions, directions, strict=False):
            v[:, : layout.latent] += amount * direction
        (picture,) = pictures(loaded, v)
        changes = payload.model_dump(exclude={"model", "name"}, exclude_defaults=True)
        made = {"edited": {"from": payload.name, **changes}}
        return self.samples.add(sample(payload.model, loaded, v[0], made), picture)

    def directions(self, loaded: Loaded) -> Tensor:
        """(K, latent) directions of the strongest change, computed once per generator."""
        if loaded.digest not in self._directions:
            self._directions[loaded.digest] = strongest(loaded.net)
        return self._directions[loaded.digest]


def _photo(data: bytes, side: int) -> NDArray[np.uint8]:
    try:
        return squared(data, side, MAX_PIXELS)
    except ImageError as error:
        # The limit here is MAX_PIXELS, not the key of params.yaml that the message names.
        raise ImageError(str(error).removesuffix(" (fetch.max_pixels)")) from None


def routes(editor: Editor) -> list[Route]:
    """Routes of the page, of photographs and of edits."""
    generators, samples = editor.generators, editor.samples

    async def post_photo(request: Request) -> Response:
        require_own_page(request, BINARY)
        try:
            payload = _Photo.model_validate(dict(request.query_params))
        except ValidationError as error:
            first = error.errors()[0]
            raise HTTPException(400, f"{first['loc'][0]}: {first['msg']}") from None
        data = await body(request, MAX_BYTES)
        search = await run_in_threadpool(editor.start, data, payload)
        return JSONResponse({"search": search.as_json()})

    def get_photo(request: Request) -> Response:
        search = editor.search
        return JSONResponse({"search": search.as_json() if search else None})

    async def post_cancel(request: Request) -> Response:
        await posted(request, _Nothing)
        await run_in_threadpool(editor.close)
        return get_photo(request)

    def get_picture(request: Request) -> Response:
        return Response(png(editor.get(request.path_params["id"]).photo), media_type="image/png")

    def get_now(request: Request) -> Response:
        search = editor.get(request.path_params["id"])
        if search.now is None:
            raise HTTPException(404, "there is no reconstruction yet")
        (picture,) = pictures(search.loaded, search.now)
        return Response(png(picture), media_type="image/png")

    async def post_edit(request: Request) -> Response:
        payload = await posted(request, _Edit)
        async with generators.turn(payload.model):
            name = await run_in_threadpool(editor.edit, payload)
        return JSONResponse({"name": name})

    def get_compared(request: Request) -> Response:
        """The sample and the edited one, after the photograph if it is the last one inverted."""
        names = [request.path_params[which] for which in ("before", "after")]
        shown = [samples.picture(name) for name in names]
        search = editor.search
        if search is not None and search.outcome.get("name") == names[0]:
            shown.insert(0, search.photo)
        return Response(png(grid(np.stack(shown), len(shown))), media_type="image/png")

    return [
        page("/edit", "edit.html"),
        Route("/api/photo", get_photo, methods=["GET"]),
        Route("/api/photo", post_photo, methods=["POST"]),
        Route("/api/cancel", post_cancel, methods=["POST"]),
        Route("/api/edit", post_edit, methods=["POST"]),
        Route("/photos/{id}.png", get_picture),
        Route("/photos/{id}/now.png", get_now),
        Route("/compared/{before}/{after}.png", get_compared),
    ]
