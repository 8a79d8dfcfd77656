"""The web application: who may ask, what is answered.

Everything is answered from the project's files, so a restart forgets nothing and any number of
windows may be open.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ganloom.curate import CurationError
from ganloom.images import ImageError, ShardError
from ganloom.params import ParamsError
from ganloom.studio import collection, decisions
from ganloom.studio.collection import Collection, CollectionError
from ganloom.studio.decisions import Change, State, Word

STATIC = Path(__file__).parent / "static"
HOSTS = ["127.0.0.1", "localhost", "[::1]"]
DEFAULT_LIST = "mine"
MAX_BODY = 32_000_000  # bytes: decisions on more than 100,000 pictures at once
DECODERS = os.cpu_count() or 1  # at a time; each holds a whole picture

HEADERS = {
    # Nothing but the studio's own files, and no script or style in the page itself: a title or a
    # picture that somebody prepared can do nothing.
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    # Another site's page cannot show the pictures, nor hold the studio's window.
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}
FOR_EVER = "private, max-age=31536000, immutable"  # the address has the content's hash


# --- what is known -------------------------------------------------------------------------------


class Studio:
    """One project and one list; reads files again when they have changed.

    Args:
        project: Holds params.yaml and data/.
        name: The manual list to show and write, data/curation/<name>.csv; None: the one in use, or
            ``DEFAULT_LIST``.

    Raises:
        CollectionError, ParamsError, ShardError: there is nothing to show.
        ValueError: the name is none for a list.
    """

    def __init__(self, project: Path, name: str | None) -> None:
        known = collection.load(project)
        self.project = project
        self.name = name or known.params.curate.list or DEFAULT_LIST
        if not re.fullmatch("[a-z][a-z0-9_]*", self.name):
            raise ValueError(f"{name!r}: a list's name has small letters, digits and _ only")
        self.list = project / "data" / "curation" / f"{self.name}.csv"
        self._loading = threading.Lock()
        self._looking = threading.Lock()
        self._collection = known
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


# --- what is asked -------------------------------------------------------------------------------


def _reason(text: str) -> str:
    """One line of printable characters, as it stands in the list."""
    return "".join(filter(str.isprintable, " ".join(text.split())))


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Decided(_Body):
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    decision: Word | None
    reason: Annotated[str, Field(max_length=500), AfterValidator(_reason)] = ""


class _Decisions(_Body):
    revision: str  # what the window knows
    changes: list[_Decided]


def create_app(studio: Studio) -> Starlette:
    def index(request: Request) -> Response:
        return FileResponse(STATIC / "index.html", headers={"cache-control": "no-cache"})

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
        _require_own_page(request)
        try:
            asked = _Decisions.model_validate_json(await _body(request))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise HTTPException(400, f"{where}: {first['msg']}".lstrip(": ")) from None
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
        data, mime = make(digest)
        return Response(data, media_type=mime, headers=headers)

    return Starlette(
        routes=[
            Route("/", index),
            Route("/api/collection", get_collection),
            Route("/api/decisions", get_decisions, methods=["GET"]),
            Route("/api/decisions", post_decisions, methods=["POST"]),
            Route("/api/likeness/{digest}", get_likeness),
            Route("/thumbnails/{digest}", get_thumbnail),
            Route("/pictures/{digest}", get_large),
            Mount("/static", StaticFiles(directory=STATIC)),
        ],
        middleware=[
            Middleware(_OwnHeaders),
            # A page elsewhere whose name was made to point here (DNS rebinding) is refused.
            Middleware(TrustedHostMiddleware, allowed_hosts=HOSTS, www_redirect=False),
        ],
        exception_handlers={
            CollectionError: _problem(503),
            ParamsError: _problem(503),
            ShardError: _problem(503),
            CurationError: _problem(409),
            ImageError: _problem(422),
            OSError: _problem(500),
            HTTPException: lambda _, error: JSONResponse(
                {"problem": error.detail}, error.status_code
            ),
        },
    )


def _problem(status: int) -> Callable[[Request, Exception], Response]:
    return lambda _, error: JSONResponse({"problem": str(error)}, status)


def _require_own_page(request: Request) -> None:
    """Refuse what another site's page could send: a browser cannot make it look like this."""
    headers = request.headers
    if headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise HTTPException(415, "decisions are application/json")
    same = headers.get("origin") == f"http://{headers['host']}"
    if not same or headers.get("sec-fetch-site", "same-origin") != "same-origin":
        raise HTTPException(403, "decisions come from the studio's own page only")


async def _body(request: Request) -> bytes:
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > MAX_BODY:
            raise HTTPException(413, f"more than {MAX_BODY} bytes")
    return bytes(data)


class _OwnHeaders:
    """Adds ``HEADERS`` to every answer, refusals included."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                # Files of the studio itself change with its version.
                headers.setdefault("cache-control", "no-cache")
            await send(message)

        await self.app(scope, receive, send_with_headers)
