"""The web application of the studio: routes, middleware and error handlers.

All state is in the project's files. A restart loses nothing, and several windows may be open.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from ganloom import params
from ganloom.curate import CurationError
from ganloom.images.decoding import ImageError
from ganloom.images.shards import ShardError
from ganloom.models import ModelError
from ganloom.params import ParamsError
from ganloom.sources import SourceError
from ganloom.studio import (
    collection,
    decisions,
    editing,
    generation,
    mixing,
    searching,
    weaving,
)
from ganloom.studio.collection import Collection, CollectionError
from ganloom.studio.decisions import Change, ListState, Word
from ganloom.studio.generators import Generators
from ganloom.studio.guard import FOR_EVER, HOSTS, STATIC, OwnHeaders, Payload, page, posted, problem
from ganloom.studio.samples import SampleError, Samples

DEFAULT_LIST = "mine"
DECODERS = os.cpu_count() or 1  # concurrent decoders; each holds a whole image in memory


# --- state ---------------------------------------------------------------------------------------


class Studio:
    """A project and one of its manual lists. Files that have changed are read again.

    Args:
        project: Folder with ``params.yaml`` and ``data/``.
        name: Name of the manual list to show and write, ``data/curation/<name>.csv``. If None, the
            list in ``params.yaml``, or ``DEFAULT_LIST``.

    Raises:
        ValueError: If the name of the list is invalid.
    """

    def __init__(self, project: Path, name: str | None) -> None:
        self.project = project
        self.name = name or _list_in_use(project) or DEFAULT_LIST
        if not re.fullmatch("[a-z][a-z0-9_]*", self.name):
            raise ValueError(
                f"{name!r} is not a valid name for a list: use lower-case letters, digits and _"
            )
        self.list = project / "data" / "curation" / f"{self.name}.csv"
        self._loading = threading.Lock()
        self._measuring = threading.Lock()
        self._collection: Collection | None = None
        self._colours: tuple[str, NDArray[np.floating[Any]]] | None = None
        self._decoding = threading.BoundedSemaphore(DECODERS)

    def collection(self) -> Collection:
        """Return the collection, loaded again if its files have changed.

        Raises:
            CollectionError, ParamsError, ShardError: As in ``collection.load``.
        """
        with self._loading:
            if self._collection is None or self._collection.revision != collection.signature(
                self.project
            ):
                self._collection = collection.load(self.project)
            return self._collection

    def decisions(self) -> ListState:
        """Read the manual list."""
        return decisions.read(self.list, self.collection().known)

    def decide(self, changes: list[Change]) -> tuple[ListState, ListState]:
        """Write decisions to the manual list; see ``decisions.write``."""
        known = self.collection().known
        unknown = [change.sha256 for change in changes if change.sha256 not in known]
        if unknown:
            raise HTTPException(400, f"{unknown[0]} is not an image of this collection")
        lock = self.project / "work" / "studio" / f"{self.name}.lock"
        return decisions.write(self.list, known, changes, lock)

    def thumbnail(self, digest: str) -> bytes:
        cache = self.project / "work" / "thumbnails"
        with self._decoding:
            return collection.thumbnail(self.collection(), digest, cache)

    def large(self, digest: str) -> tuple[bytes, str]:
        with self._decoding:
            return collection.large(self.collection(), digest)

    def likeness(self, digest: str) -> dict[str, Any]:
        """Similarity of all images to one of them, by features or, without these, by colours."""
        current = self.collection()
        row = int(np.flatnonzero(current.table.index == digest)[0])
        features = current.features
        vectors = features if features is not None else self._colour_vectors(current)
        return {
            "revision": current.revision,
            "by": "features" if features is not None else "colours",
            "scores": collection.likeness(vectors, row),
        }

    def _colour_vectors(self, current: Collection) -> NDArray[np.floating[Any]]:
        """Compute a vector per thumbnail. The first call may be slow: it creates the thumbnails."""
        with self._measuring:
            if self._colours is None or self._colours[0] != current.revision:
                cache = self.project / "work" / "thumbnails"
                with ThreadPoolExecutor(DECODERS) as pool:
                    digests = list(current.table.index)
                    vectors = pool.map(
                        lambda d: collection.coarse_colours(current, d, cache), digests
                    )
                    self._colours = current.revision, np.stack(list(vectors))
            return self._colours[1]


def _list_in_use(project: Path) -> str | None:
    try:
        return params.load(project / "params.yaml").curate.list
    except ParamsError:
        return None  # every page that needs params.yaml shows the error


# --- requests and routes -------------------------------------------------------------------------


def _reason(text: str) -> str:
    """Reduce a text to one line of printable characters, as in a row of the list."""
    return "".join(filter(str.isprintable, " ".join(text.split())))


class _Decided(Payload):
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    decision: Word | None
    reason: Annotated[str, Field(max_length=500), AfterValidator(_reason)] = ""


class _Decisions(Payload):
    revision: str  # last revision that the window has received
    changes: list[_Decided]


def create_app(studio: Studio, bundle: dict[str, Path] | None = None) -> Starlette:
    """Create the web application.

    Args:
        studio: Project and manual list.
        bundle: Generators of a checked bundle by name, to show instead of the project's models.
    """
    generators = Generators(studio.project, bundle)
    samples = Samples(studio.project / "work" / "studio" / "kept")
    editor = editing.Editor(generators, samples)
    searches = searching.Searches(studio.project)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        await searches.previews.close()
        await run_in_threadpool(editor.close)

    def get_collection(request: Request) -> Response:
        current = studio.collection()
        return JSONResponse(
            collection.as_json(current)
            | {"project": studio.project.resolve().name, "list": studio.name}
            | {"list_in_use": current.params.curate.list}
        )

    def get_decisions(request: Request) -> Response:
        return _answer(studio.decisions(), request.query_params.get("revision"))

    async def post_decisions(request: Request) -> Response:
        payload = await posted(request, _Decisions)
        changes = [Change(c.sha256, c.decision, c.reason) for c in payload.changes]
        before, after = await run_in_threadpool(studio.decide, changes)
        # A window that had the previous revision can apply its own changes and needs no full list.
        return _answer(after, after.revision if payload.revision == before.revision else None)

    def _answer(state: ListState, known_revision: str | None) -> Response:
        answer: dict[str, Any] = {
            "revision": state.revision,
            "collection": studio.collection().revision,
        }
        if known_revision != state.revision:
            answer["decisions"] = state.decisions
        return JSONResponse(answer)

    def get_likeness(request: Request) -> Response:
        return JSONResponse(studio.likeness(_digest(request)))

    def get_thumbnail(request: Request) -> Response:
        return _picture(request, lambda d: (studio.thumbnail(d), "image/webp"))

    def get_large(request: Request) -> Response:
        return _picture(request, studio.large)

    def _digest(request: Request) -> str:
        digest = request.path_params["digest"]
        if digest not in studio.collection().table.index:
            raise HTTPException(404, f"{digest} is not an image of this collection")
        return digest

    def _picture(request: Request, make: Callable[[str], tuple[bytes, str]]) -> Response:
        digest = _digest(request)
        headers = {"etag": f'"{digest}"', "cache-control": FOR_EVER}
        if request.headers.get("if-none-match") == headers["etag"]:
            return Response(status_code=304, headers=headers)
        try:
            data, mime = make(digest)
        except KeyError:
            raise HTTPException(404, f"there is no original {digest} in data/raw") from None
        return Response(data, media_type=mime, headers=headers)

    return Starlette(
        routes=[
            page("/", "index.html"),
            Route("/api/collection", get_collection),
            Route("/api/decisions", get_decisions, methods=["GET"]),
            Route("/api/decisions", post_decisions, methods=["POST"]),
            Route("/api/likeness/{digest}", get_likeness),
            Route("/thumbnails/{digest}", get_thumbnail),
            Route("/pictures/{digest}", get_large),
            *searching.routes(searches),
            *generation.routes(generators, samples),
            *mixing.routes(generators, samples),
            *editing.routes(editor),
            *weaving.routes(generators, studio.project / "work" / "studio" / "weaves"),
            Mount("/static", StaticFiles(directory=STATIC)),
        ],
        lifespan=lifespan,
        middleware=[
            Middleware(OwnHeaders),
            # Refuse foreign host names that resolve to this machine (DNS rebinding).
            Middleware(TrustedHostMiddleware, allowed_hosts=HOSTS, www_redirect=False),
        ],
        exception_handlers={
            CollectionError: problem(503),
            ParamsError: problem(503),
            ShardError: problem(503),
            CurationError: problem(409),
            ImageError: problem(422),
            ModelError: problem(422),
            SampleError: problem(422),
            SourceError: problem(502),
            FloatingPointError: problem(422),
            OSError: problem(500),
            HTTPException: lambda _, error: JSONResponse(
                {"problem": error.detail}, error.status_code
            ),
        },
    )
