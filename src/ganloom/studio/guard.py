"""Who may ask the studio, and how questions and answers look: for every page alike."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

STATIC = Path(__file__).parent / "static"
HOSTS = ["127.0.0.1", "localhost", "[::1]"]
MAX_BODY = 32_000_000  # bytes: decisions on more than 100,000 pictures at once
JSON = "application/json"

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


class Asked(BaseModel):
    """What a page sends; anything else in it is refused."""

    model_config = ConfigDict(extra="forbid", strict=True)


Body = TypeVar("Body", bound=Asked)


def page(path: str, file: str) -> Route:
    """A page of the studio, asked for anew every time: it changes with the version."""

    def show(request: Request) -> Response:
        return FileResponse(STATIC / file, headers={"cache-control": "no-cache"})

    return Route(path, show)


async def posted(request: Request, kind: type[Body]) -> Body:
    """What the studio's own page has sent.

    Raises:
        HTTPException: it comes from elsewhere, is too large or does not fit.
    """
    require_own_page(request, JSON)
    try:
        return kind.model_validate_json(await body(request, MAX_BODY))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise HTTPException(400, f"{where}: {first['msg']}".lstrip(": ")) from None


def problem(status: int) -> Callable[[Request, Exception], Response]:
    """An error's words as an answer."""
    return lambda _, error: JSONResponse({"problem": str(error)}, status)


def require_own_page(request: Request, kind: str) -> None:
    """Refuse what another site's page could send: a browser cannot make it look like this."""
    headers = request.headers
    if headers.get("content-type", "").partition(";")[0].strip() != kind:
        raise HTTPException(415, f"the studio's own page sends {kind} here")
    same = headers.get("origin") == f"http://{headers['host']}"
    if not same or headers.get("sec-fetch-site", "same-origin") != "same-origin":
        raise HTTPException(403, "this is taken from the studio's own page only")


async def body(request: Request, limit: int) -> bytes:
    """What was sent; more than ``limit`` bytes are refused as soon as they come."""
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > limit:
            raise HTTPException(413, f"more than {limit / 1e6:g} MB")
    return bytes(data)


class OwnHeaders:
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
