"""The web application: who may ask, what is answered.

Everything is answered from the project's files, so a restart forgets nothing and any number of
windows may be open.
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
from ganloom.enlarging.network import EnlargerError
from ganloom.images.decoding import ImageError
from ganloom.images.shards import ShardError
from ganloom.models import ModelError
from ganloom.params import ParamsError
from ganloom.studio import collection, decisions, editing, generation, mixing, weaving
from ganloom.studio.collection import Collection, CollectionError
from ganloom.studio.decisions import Change, State, Word
from ganloom.studio.generators import Generators
from ganloom.studio.guard import FOR_EVER, HOSTS, STATIC, Asked, OwnHeaders, page, posted, problem
from ganloom.studio.samples import SampleError, Samples

DEFAULT_LIST = "mine"
DECODERS = os.cpu_count() or 1  # at a time; each holds a whole picture


# --- what is known -------------------------------------------------------------------------------


class Studio:
    """One project and one list; reads files again when they have changed.

    Args:
        project: Holds params.yaml and data/.
        name: The manual list to show and write, data/curation/<name>.csv; None: the one in use, or
            ``DEFAULT_LIST``.

    Raises:
        ValueError: the name is none for a list.
    """

    def __init__(self, project: Path, name: str | None) -> None:
        self.project = project
        self.name = name or _list_in_use(project) or DEFAULT_LIST
        if not re.fullmatch("[a-z][a-z0-9_]*", self.name):
            raise ValueError(f"{name!r}: a list's name has small letters, digits and _ only")
        self.list = project / "data" / "curation" / f"{self.name}.csv"
        self._loading = threading.Lock()
        self._looking = threading.Lock()
        self._collection: Collection | None = None
        self._looks: tuple[str, NDArray[np.floating[Any]]] | None = None
        self._decoding = threading.BoundedSemaphore(DECODERS)

    def collection(self) -> Collection:
        """The collection as the files have it.

        Raises:
            CollectionError, ParamsError, ShardError: as ``collection.load``.
        """
        with self._loading:
            if self._collection is None or self._collection.revision != collection.signature(
                self.project
            ):
                self._collection = collection.load(self.project)
            return self._collection

    def decisions(self) -> State:
        return decisions.read(self.list, self.collection().known)

    def decide(self, changes: list[Change]) -> tuple[State, State]:
        known = self.collection().known
        strangers = [change.sha256 for change in changes if change.sha256 not in known]
        if strangers:
            raise HTTPException(400, f"{strangers[0]} is no picture of this collection")
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
        known = self.collection()
        row = int(np.flatnonzero(known.table.index == digest)[0])
        vectors = known.features if known.features is not None else self._colours(known)
        return {
            "revision": known.revision,
            "by": "features" if known.features is not None else "colours",
            "scores": collection.likeness(vectors, row),
        }

    def _colours(self, known: Collection) -> NDArray[np.floating[Any]]:
        """Made from every thumbnail, so the first time may take a while."""
        with self._looking:
            if self._looks is None or self._looks[0] != known.revision:
                cache = self.project / "work" / "thumbnails"
                with ThreadPoolExecutor(DECODERS) as pool:
                    digests = list(known.table.index)
                    found = pool.map(lambda d: collection.look(known, d, cache), digests)
                    self._looks = known.revision, np.stack(list(found))
            return self._looks[1]


def _list_in_use(project: Path) -> str | None:
    try:
        return params.load(project / "params.yaml").curate.list
    except ParamsError:
        return None  # said by every page that needs it


# --- what is asked -------------------------------------------------------------------------------


def _reason(text: str) -> str:
    """One line of printable characters, as it stands in the list."""
    return "".join(filter(str.isprintable, " ".join(text.split())))


class _Decided(Asked):
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    decision: Word | None
    reason: Annotated[str, Field(max_length=500), AfterValidator(_reason)] = ""


class _Decisions(Asked):
    revision: str  # what the window knows
    changes: list[_Decided]


def create_app(studio: Studio, bundle: dict[str, Path] | None = None) -> Starlette:
    """The application for a project, and for the models of a checked bundle if there is one."""
    generators = Generators(studio.project, bundle)
    samples = Samples(studio.project / "work" / "studio" / "kept")
    editor = editing.Editor(generators, samples)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        await run_in_threadpool(editor.close)

    def get_collection(request: Request) -> Response:
        known = studio.collection()
        return JSONResponse(
            collection.as_json(known)
            | {"project": studio.project.resolve().name, "list": studio.name}
            | {"list_in_use": known.params.curate.list}
        )

    def get_decisions(request: Request) -> Response:
        return _answer(studio.decisions(), request.query_params.get("revision"))

    async def post_decisions(request: Request) -> Response:
        asked = await posted(request, _Decisions)
        changes = [Change(c.sha256, c.decision, c.reason) for c in asked.changes]
        before, after = await run_in_threadpool(studio.decide, changes)
        # A window that knew the list as it was can tell by itself what it is now.
        return _answer(after, after.revision if asked.revision == before.revision else None)

    def _answer(state: State, known_revision: str | None) -> Response:
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
            raise HTTPException(404, f"{digest} is no picture of this collection")
        return digest

    def _picture(request: Request, make: Callable[[str], tuple[bytes, str]]) -> Response:
        digest = _digest(request)
        headers = {"etag": f'"{digest}"', "cache-control": FOR_EVER}
        if request.headers.get("if-none-match") == headers["etag"]:
            return Response(status_code=304, headers=headers)
        try:
            data, mime = make(digest)
        except KeyError:
            raise HTTPException(404, f"data/raw has no original {digest}") from None
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
            *generation.routes(generators, samples),
            *mixing.routes(generators, samples),
            *editing.routes(editor),
            *weaving.routes(generators, studio.project / "work" / "studio" / "weaves"),
            Mount("/static", StaticFiles(directory=STATIC)),
        ],
        lifespan=lifespan,
        middleware=[
            Middleware(OwnHeaders),
            # A page elsewhere whose name was made to point here (DNS rebinding) is refused.
            Middleware(TrustedHostMiddleware, allowed_hosts=HOSTS, www_redirect=False),
        ],
        exception_handlers={
            CollectionError: problem(503),
            ParamsError: problem(503),
            ShardError: problem(503),
            CurationError: problem(409),
            ImageError: problem(422),
            EnlargerError: problem(422),
            ModelError: problem(422),
            SampleError: problem(422),
            FloatingPointError: problem(422),
            OSError: problem(500),
            HTTPException: lambda _, error: JSONResponse(
                {"problem": error.detail}, error.status_code
            ),
        },
    )
