"""The page that edits: a photograph, what a generator makes of it, and that, changed."""

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
from ganloom.studio.generation import ModelName, class_number, pictures, told_by, with_codes
from ganloom.studio.generators import Generators, Loaded
from ganloom.studio.guard import Asked, body, page, posted, require_own_page
from ganloom.studio.samples import Samples, sample

MAX_BYTES = 20_000_000  # of a photograph
MAX_PIXELS = 50_000_000
BINARY = "application/octet-stream"  # a form of another site cannot send it

Likeness = Literal["ms_ssim", "mse", "features"]
State = Literal["running", "done", "cancelled", "failed"]


class _Photo(BaseModel):
    """What comes with a photograph, in the address."""

    model_config = ConfigDict(extra="forbid")

    model: ModelName
    steps: Annotated[int, Field(ge=1, le=2000)]
    loss: Likeness


class _Nothing(Asked):
    pass


class _Edit(Asked):
    name: str  # of the picture that is changed
    model: ModelName
    label: str | None = None
    strength: Annotated[float, Field(ge=0, le=1)] = 1.0  # of the class, beside the one found
    codes: Annotated[list[float | None], Field(default_factory=list, max_length=1000)]
    directions: Annotated[
        list[Annotated[float, Field(ge=-REACH, le=REACH)]], Field(max_length=DIRECTIONS)
    ]


class _CancelledError(Exception):
    pass


class Search:
    """One photograph on its way through latent space, in a thread of its own.

    Args:
        model: The generator's name.
        loaded: The generator.
        photo: What it is to make (R, R, 3).
        asked: Steps and likeness.
        made: How the picture came about, for the sample.
        samples: Where the outcome goes.
        guess: Where the search begins.
    """

    def __init__(
        self,
        model: str,
        loaded: Loaded,
        photo: NDArray[np.uint8],
        *,
        asked: _Photo,
        made: dict[str, Any],
        samples: Samples,
        guess: Guess,
    ) -> None:
        self.id = secrets.token_hex(8)
        self.model, self.loaded, self.photo = model, loaded, photo
        self.state: State = "running"
        self.step, self.steps = 0, asked.steps
        self.now: Tensor | None = None  # v (1, width) that is best at this step
        self.outcome: dict[str, Any] = {}
        self._asked, self._made, self._samples = asked, made, samples
        self._guess, self.note = guess.v, guess.problem
        self._cancelled = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def cancel(self) -> None:
        """Stop before the next step, and wait for that."""
        self._cancelled.set()
        self._thread.join()

    def as_json(self) -> dict[str, Any]:
        known = {"id": self.id, "model": self.model, "state": self.state, "note": self.note}
        return known | {"step": self.step, "steps": self.steps} | self.outcome

    def _watch(self, step: int, v: Tensor, losses: Tensor) -> None:
        if self._cancelled.is_set():
            raise _CancelledError
        self.step, self.now = step, v[losses.argmin()][None].cpu()

    def _run(self) -> None:
        try:
            asked, guess = self._asked, self._guess
            found = recover(
                self.loaded.net,
                self.photo,
                asked.steps,
                asked.loss,
                guess=guess,
                watch=self._watch,
            )
            quality = {"psnr": float(found.psnr[-1]), "ms_ssim": float(found.ms_ssim[-1])}
            quality = {name: round(value, 3) for name, value in quality.items()}
            (picture,) = pictures(self.loaded, found.v)
            known = sample(self.model, self.loaded, found.v[0].cpu(), self._made | quality)
            self.outcome = quality | {"name": self._samples.add(known, picture)}
            self.state = "done"
        except _CancelledError:
            self.state = "cancelled"
        except Exception as error:  # the page must learn of it, whatever it is
            self.outcome = {"problem": f"the search has failed: {error}"}
            self.state = "failed"


class Editor:
    """The one search that goes on or went on last, and the directions of generators."""

    def __init__(self, generators: Generators, samples: Samples) -> None:
        self.generators, self.samples = generators, samples
        self.search: Search | None = None
        self._before: Search | None = None  # a page may still be asking for its pictures
        self._starting = threading.Lock()
        self._directions: dict[str, Tensor] = {}

    def start(self, data: bytes, asked: _Photo) -> Search:
        """Begin to look for a photograph.

        Raises:
            HTTPException: another search goes on.
            ImageError, ModelError: the photograph or the generator cannot be used.
        """
        with self._starting:
            if self.search is not None and self.search.state == "running":
                raise HTTPException(409, "another photograph is being recovered; cancel that first")
            loaded = self.generators.load(asked.model)
            photo = _photo(data, loaded.about["resolution"])
            made = {"photo": sha256(data), "steps": asked.steps, "loss": asked.loss}
            guess = first_guess(self.generators.predictor(asked.model), loaded.net, photo)
            if guess.v is not None:
                made["predictor"] = True
            self._before = self.search
            self.search = Search(
                asked.model,
                loaded,
                photo,
                asked=asked,
                made=made,
                samples=self.samples,
                guess=guess,
            )
            return self.search

    def get(self, name: str) -> Search:
        """The search of that name.

        Raises:
            HTTPException: it is neither the last one nor the one before it.
        """
        for search in (self.search, self._before):
            if search is not None and search.id == name:
                return search
        raise HTTPException(404, "there is no such photograph any more; choose it again")

    def close(self) -> None:
        """End what goes on."""
        if self.search is not None:
            self.search.cancel()

    def edit(self, asked: _Edit) -> str:
        """A picture, changed; returns its name.

        Raises:
            HTTPException, ModelError, SampleError: it cannot be.
        """
        loaded = self.generators.load(asked.model)
        told = loaded.net.inputs
        before = self.samples.get(asked.name)[0]
        v = told_by(before, loaded)
        number = class_number(loaded, asked.label)
        if number is not None:
            columns = slice(told.latent, told.latent + told.classes)
            wanted = F.one_hot(torch.tensor([number]), told.classes).float()
            v[:, columns] = torch.lerp(v[:, columns], wanted, asked.strength)
        v = with_codes(told, v, asked.codes)
        ways = self.directions(loaded)
        for reach, way in zip(asked.directions, ways, strict=False):
            v[:, : told.latent] += reach * way
        (picture,) = pictures(loaded, v)
        changes = asked.model_dump(exclude={"model", "name"}, exclude_defaults=True)
        made = {"edited": {"from": asked.name, **changes}}
        return self.samples.add(sample(asked.model, loaded, v[0], made), picture)

    def directions(self, loaded: Loaded) -> Tensor:
        """(K, latent), found once for each generator."""
        if loaded.digest not in self._directions:
            self._directions[loaded.digest] = strongest(loaded.net)
        return self._directions[loaded.digest]


def _photo(data: bytes, side: int) -> NDArray[np.uint8]:
    try:
        return squared(data, side, MAX_PIXELS)
    except ImageError as error:
        # No key of params.yaml limits what is shown here.
        raise ImageError(str(error).removesuffix(" (fetch.max_pixels)")) from None


def routes(editor: Editor) -> list[Route]:
    """Those of the page, of photographs and of changes."""
    generators, samples = editor.generators, editor.samples

    async def post_photo(request: Request) -> Response:
        require_own_page(request, BINARY)
        try:
            asked = _Photo.model_validate(dict(request.query_params))
        except ValidationError as error:
            first = error.errors()[0]
            raise HTTPException(400, f"{first['loc'][0]}: {first['msg']}") from None
        data = await body(request, MAX_BYTES)
        search = await run_in_threadpool(editor.start, data, asked)
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
            raise HTTPException(404, "nothing is found yet")
        (picture,) = pictures(search.loaded, search.now)
        return Response(png(picture), media_type="image/png")

    async def post_edit(request: Request) -> Response:
        asked = await posted(request, _Edit)
        async with generators.turn(asked.model):
            name = await run_in_threadpool(editor.edit, asked)
        return JSONResponse({"name": name})

    def get_compared(request: Request) -> Response:
        """The photograph, if it is the last one, the picture and the changed one, side by side."""
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
