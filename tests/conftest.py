"""Fixtures that several test files share."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import ipaddress
import os
import resource
import socket
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from filelock import FileLock
from hypothesis import settings

pytest.register_assert_rewrite("projects")
from projects import EVERYTHING, Project, assert_ran, new_project  # noqa: E402

ROOT = Path(__file__).parents[1]

# How long an example takes says how busy the machine is.
settings.register_profile("ganloom", deadline=None)
settings.load_profile("ganloom")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of image collections; tests that need it are skipped if it is absent.

    ``batik`` is github.com/Darien-Yoga/Batik-Dataset, and ``batik_groups.csv`` names the cloth of
    each of its files (`file`, `parent`, `is_rotation_of`, `rot_deg`). ``decor`` is
    github.com/Vishalkks/traditional-decor, ``dedup_fixtures`` the images of imagededup's tests, and
    ``mnist`` the test set of MNIST in torchvision's layout.
    """
    path = ROOT.parent / "shared" / "data"
    if not path.is_dir():
        pytest.skip(f"needs the real collections in {path}")
    return path


# --- real engines ------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A committed project that Snakemake has run completely; tests use copies of it."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    path = shared / "finished" / "project"
    with FileLock(shared / "finished.lock"):  # one for all workers
        if not path.exists():
            project = new_project(path.with_name("new"))
            project.snakemake()
            assert_ran(project, EVERYTHING)
            project.commit("Run")
            project.path.rename(path)
    return Project(path)


@pytest.fixture
def project(finished: Project, tmp_path: Path) -> Project:
    return finished.copy(tmp_path / "project")


# --- a disk that is full -----------------------------------------------------------------------


@contextlib.contextmanager
def full_disk(most: int) -> Iterator[None]:
    """Limit the size of files to ``most`` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


# --- nothing leaves this machine ---------------------------------------------------------------

_attempts: list[str] | None = None


def _stays_here(host: str, *, is_name: bool) -> bool:
    try:
        if is_name:
            socket.inet_aton(host)  # a number, in any spelling, is asked of no server
            return True
        return ipaddress.ip_address(host).is_loopback
    except (OSError, ValueError):
        return host == "localhost" or (is_name and ":" in host)


def _on_socket(event: str, arguments: tuple[Any, ...]) -> None:
    """Audit hook that blocks and records connections to other machines during a test."""
    if _attempts is None:
        return
    if event in ("socket.connect", "socket.sendto"):
        where = arguments[1]
    elif event == "socket.getaddrinfo":
        where = arguments[:1]
    else:
        return
    if not isinstance(where, tuple) or not isinstance(where[0], str):
        return  # a socket in the file system, or every address of this machine
    if _stays_here(where[0], is_name=event == "socket.getaddrinfo"):
        return
    _attempts.append(where[0])
    raise OSError(f"a test tried to reach {where[0]}")


sys.addaudithook(_on_socket)


@pytest.fixture
def outside() -> Iterator[list[str]]:
    """Fail the test if it connects to anything but loopback.

    Returns the list of blocked attempts; a test that expects some clears it.
    """
    global _attempts  # noqa: PLW0603  (an audit hook cannot be removed, only be told to rest)
    _attempts = []
    try:
        yield _attempts
        assert _attempts == []
    finally:
        _attempts = None


# --- a server that does what it is told --------------------------------------------------------

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Server:
    """HTTP server on a loopback address in a separate thread.

    Attributes:
    routes: Responses by path, set by tests; other paths return 404.
    seen: Requests in order, as path and headers.
    most: Largest number of requests that were answered at the same time.
    """

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.host = host
        self.routes: dict[str, Handler] = {}
        self.seen: list[tuple[str, dict[str, str]]] = []
        self.most = self._now = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.port = asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)

    async def _start(self) -> int:
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(application, shutdown_timeout=0.01, handler_cancellation=True)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.host, 0)
        await site.start()
        return self._runner.addresses[0][1]

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.seen.append((request.path, {k.lower(): v for k, v in request.headers.items()}))
        self._now += 1
        self.most = max(self.most, self._now)
        try:
            handler = self.routes.get(request.path)
            return await handler(request) if handler else web.Response(status=404)
        finally:
            self._now -= 1

    def url(self, path: str) -> str:
        return f"http://{self.host}:{self.port}{path}"

    def asked(self) -> collections.Counter[str]:
        """Number of requests by path."""
        return collections.Counter(path for path, _ in self.seen)

    def serve(self, path: str, body: bytes = b"", status: int = 200, **headers: str) -> str:
        """Set the response to ``path``; underscores in names of headers become dashes."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}

        async def answer(request: web.Request) -> web.Response:
            return web.Response(body=body, status=status, headers=named)

        self.routes[path] = answer
        return self.url(path)

    def serve_raw(self, path: str, answer: bytes) -> str:
        """Respond to ``path`` with raw bytes, and close the connection."""

        async def write(request: web.Request) -> web.Response:
            assert request.transport is not None
            request.transport.write(answer)
            request.transport.close()
            return web.Response()

        self.routes[path] = write
        return self.url(path)

    def stop(self) -> None:
        if self._loop.is_closed():
            return
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.stop()
