"""Access control, request parsing and response headers, shared by all pages of the studio."""

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
MAX_BODY = 32_000_000  # bytes: enough for decisions on 100,000 images in one request
JSON = "application/json"

HEADERS = {
    # Load the studio's own files only, and no inline scripts or styles: a malicious title or image
    # cannot run code.
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    # Other sites can neither embed the images nor get a handle of the studio's window.
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}
FOR_EVER = "private, max-age=31536000, immutable"  # the URL contains the hash of the content


class Payload(BaseModel):
    """Base class of JSON request bodies; unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", strict=True)


Body = TypeVar("Body", bound=Payload)


def page(path: str, file: str) -> Route:
    """Route of an HTML page. It is not cached, because it changes with the version of ganloom."""

    def show(request: Request) -> Response:
        return FileResponse(STATIC / file, headers={"cache-control": "no-cache"})

    return Route(path, show)


async def posted(request: Request, kind: type[Body]) -> Body:
    """Parse the JSON body of a request from one of the studio's pages.

    Raises:
        HTTPException: If it comes from another site, is too large or invalid.
    """
    require_own_page(request, JSON)
    try:
        return kind.model_validate_json(await body(request, MAX_BODY))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise HTTPException(400, f"{where}: {first['msg']}".lstrip(": ")) from None


def problem(status: int) -> Callable[[Request, Exception], Response]:
    """Create a handler that answers with the message of an error."""
    return lambda _, error: JSONResponse({"problem": str(error)}, status)


def require_own_page(request: Request, kind: str) -> None:
    """Refuse requests that another site's page could make a browser send (CSRF)."""
    headers = request.headers
    if headers.get("content-type", "").partition(";")[0].strip() != kind:
        raise HTTPException(415, f"the content type must be {kind}")
    same = headers.get("origin") == f"http://{headers['host']}"
    if not same or headers.get("sec-fetch-site", "same-origin") != "same-origin":
        raise HTTPException(403, "only requests from the studio's own pages are accepted")


async def body(request: Request, limit: int) -> bytes:
    """Read the body of a request; stop with an error after ``limit`` bytes."""
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > limit:
            raise HTTPException(413, f"the request is larger than {limit / 1e6:g} MB")
    return bytes(data)


class OwnHeaders:
    """Middleware that adds ``HEADERS`` to every response, also to errors."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                # Static files change with the version of ganloom.
                headers.setdefault("cache-control", "no-cache")
            await send(message)

        await self.app(scope, receive, send_with_headers)
