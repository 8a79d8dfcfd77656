"""The page ``/search``: images that the sources find by keyword, and a list of the ticked ones."""

from __future__ import annotations

import asyncio
import re
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ganloom import adding, params, sources, tables
from ganloom.images import decoding
from ganloom.sources import Context
from ganloom.studio import collection
from ganloom.studio.guard import Payload, page, posted
from ganloom.tables import Candidate, Provenance
from ganloom.web.client import Client, WebError

# What each kind of source needs in params.yaml, besides the keywords.
SETTINGS: dict[str, dict[str, Any]] = {
    "commons": {"width": 1280},
    "openverse": {},
    "cleveland": {"type": None, "size": "web"},
    "artic": {"type": None, "width": 843},
    "inaturalist": {"size": "medium", "licences": ["cc0", "cc-by", "cc-by-sa"]},
    "europeana": {"width": None},
    "smithsonian": {"size": 1024},
    "bing": {"way": "requests"},
}
# Addresses of images, and of the same ones in a size for a preview.
_SMALLER = {
    "commons": (r"(?<=[/-])1280px-(?=[^/]*$)", "330px-"),
    "artic": (r"(?<=/full/)843,(?=/)", "400,"),
    "inaturalist": (r"(?<=/)medium(?=\.\w+$)", "small"),
    "smithsonian": (r"(?<=&max=)1024$", "330"),
}
ATTEMPTS = 2  # of a search: a person waits for it
PREVIEW_SECONDS = 20.0
REMEMBERED = 50_000  # results
FOLDER = "data/searches"  # in the project

Text = Annotated[str, Field(max_length=500)]


class _Search(Payload):
    kind: Literal[
        "commons",
        "openverse",
        "cleveland",
        "artic",
        "inaturalist",
        "europeana",
        "smithsonian",
        "bing",
    ]
    keywords: Annotated[list[Text], Field(min_length=1, max_length=20)]
    most: Annotated[int, Field(ge=1, le=1000)]  # results per keyword


class _Add(Payload):
    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=60)]
    ids: Annotated[list[Text], Field(min_length=1, max_length=REMEMBERED)]


class Searches:
    """Results of searches by id, which lists and previews refer to.

    A page names results by id only, so that it cannot make the server request other addresses.
    """

    def __init__(self, project: Path) -> None:
        self.project = project
        self.previews = _Previews()
        self._lock = threading.Lock()
        self._found: OrderedDict[str, Candidate] = OrderedDict()
        self._known: params.Params | None = None  # of the last search, for the previews

    def search(self, payload: _Search) -> dict[str, Any]:
        """Search one source.

        Raises:
            SourceError, ParamsError: If that is impossible; the message gives the reason.
        """
        known = self._with_source(payload)
        network = known.network
        network = network.model_copy(update={"attempts": min(ATTEMPTS, network.attempts)})
        source, context = known.sources[payload.kind], Context(known.seed, network)
        with sources.collected_warnings() as warnings:
            # Not `candidates`, which sorts: the best results come first.
            module = sources.module(payload.kind)
            found: list[Candidate] = module.search(payload.kind, source, context)
        with self._lock:
            self._known = known
            self._found |= {row.id: row for row in found}
            for row in found:
                self._found.move_to_end(row.id)
            while len(self._found) > REMEMBERED:
                self._found.popitem(last=False)
        return {"pictures": [_shown(row) for row in found], "warnings": warnings}

    def _with_source(self, payload: _Search) -> params.Params:
        """Check a source as if it were the only one in ``params.yaml``."""
        source = {
            "kind": payload.kind,
            "path": f"src/ganloom/sources/{payload.kind}.py",
            "keywords": [{"text": text, "max": payload.most} for text in payload.keywords],
        }
        file = self.project / params.PARAMS_FILE
        if not file.exists():
            params.load(file)  # says how to write one
        data = params.read(file) | {"sources": {payload.kind: source | SETTINGS[payload.kind]}}
        return params.parse(data, params.PARAMS_FILE.name)

    def get(self, name: str) -> Candidate:
        """Return a result by id.

        Raises:
            HTTPException: If it is not in memory.
        """
        row = self._found.get(name)
        if row is None:
            raise HTTPException(404, f"{name} is not in memory any more; search again")
        return row

    def add(self, payload: _Add) -> dict[str, Any]:
        """Write results to a new list, and add a source that reads it to ``params.yaml``.

        Raises:
            HTTPException: If a result is not in memory.
            ParamsError: If ``params.yaml`` is invalid.
        """
        rows = {row.url: row for row in map(self.get, payload.ids)}  # several sources may have one
        with self._lock:
            file = self.project / params.PARAMS_FILE
            known = params.load(file)
            lists = {path.stem for path in (self.project / FOLDER).glob("*.csv")}
            name = adding.free_name(payload.name, lists | known.sources.keys())
            path = f"{FOLDER}/{name}.csv"
            tables.write(self.project / path, Provenance, rows.values())
            entry = {"kind": "urls", "path": path}
            added = adding.insert(file, name, entry)
        return {"name": name, "path": path, "count": len(rows), "added": added}

    async def preview(self, row: Candidate) -> bytes:
        """Thumbnail of a result, made from its pixels.

        Raises:
            HTTPException: If it cannot be retrieved.
            ImageError: If it cannot be decoded.
        """
        known = self._known
        assert known is not None
        try:
            data = await self.previews.get(smaller(row.source, row.url), known)
        except WebError as error:
            raise HTTPException(502, f"no preview: {error}") from error
        return await run_in_threadpool(_thumbnail, data, known.fetch.max_pixels)


class _Previews:
    """HTTP client of the previews: one for all, since it keeps the limits of each host."""

    def __init__(self) -> None:
        self._changing = asyncio.Lock()
        self._network: params.Network | None = None
        self._client: Client | None = None

    async def get(self, url: str, known: params.Params) -> bytes:
        client = await self._of(known.network)
        return (await client.get(url, known.fetch.max_bytes)).data

    async def _of(self, network: params.Network) -> Client:
        async with self._changing:
            if self._client is None or network != self._network:
                await self.close()
                limits = {
                    "attempts": 1,
                    "file_deadline": min(PREVIEW_SECONDS, network.file_deadline),
                    "deadline": 1e8,  # s; it lasts as long as the studio
                }
                self._network = network
                self._client = await Client(network.model_copy(update=limits)).__aenter__()
            return self._client

    async def close(self) -> None:
        if self._client is not None:
            await self._client.__aexit__(None, None, None)
            self._client = None


def smaller(kind: str, url: str) -> str:
    """Address of an image in a size for a preview, if the service has one; else ``url``."""
    return re.sub(*_SMALLER[kind], url, count=1) if kind in _SMALLER else url


def _thumbnail(data: bytes, max_pixels: int) -> bytes:
    return collection.small(decoding.preview(data, max_pixels, collection.THUMBNAIL).image)


def _shown(row: Candidate) -> dict[str, str]:
    columns = ("id", "page", "title", "creator", "licence", "licence_url")
    return {column: getattr(row, column) for column in columns}


def routes(searches: Searches) -> list[Route]:
    """Routes of the page and of its previews."""

    async def post_search(request: Request) -> Response:
        payload = await posted(request, _Search)
        return JSONResponse(await run_in_threadpool(searches.search, payload))

    async def post_add(request: Request) -> Response:
        payload = await posted(request, _Add)
        return JSONResponse(await run_in_threadpool(searches.add, payload))

    async def get_preview(request: Request) -> Response:
        row = searches.get("{source}/{key}".format(**request.path_params))
        data = await searches.preview(row)
        headers = {"cache-control": "private, max-age=3600"}
        return Response(data, media_type="image/webp", headers=headers)

    return [
        page("/search", "search.html"),
        Route("/api/search", post_search, methods=["POST"]),
        Route("/api/search/add", post_add, methods=["POST"]),
        Route("/found/{source}/{key}.webp", get_preview),
    ]
