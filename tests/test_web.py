"""The HTTP client: refused addresses, retries, and limits."""

from __future__ import annotations

import asyncio
import gzip
import ipaddress
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from conftest import Server
from hypothesis import example, given, settings
from hypothesis import strategies as st
from protego import Protego
from yarl import URL

from ganloom import params
from ganloom.web import client, robots
from ganloom.web.address import Guard, is_loopback, is_public
from ganloom.web.client import Client, Page, WebError, browser, redirected, retry_after, web_url
from ganloom.web.store import Store

pytestmark = pytest.mark.usefixtures("outside")

ROOT = Path(__file__).parents[1]
NETWORK = params.load(ROOT / "params.yaml").network.model_copy(
    update={"loopback": True, "robots": False, "timeout": 5.0, "attempts": 3}
)
MAX_BYTES = 100_000
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT / "src")}


class Clock(asyncio.SelectorEventLoop):
    """An event loop whose time advances only when a test says so.

    Attributes:
    now: Time in seconds.
    """

    now = 0.0

    def time(self) -> float:
        return self.now


def get(url: str, **changes: Any) -> Page:
    return get_all([url], **changes)[0]


def get_all(urls: list[str], clock: Clock | None = None, **changes: Any) -> list[Page]:
    async def main() -> list[Page]:
        async with Client(NETWORK.model_copy(update=changes)) as one:
            return await asyncio.gather(*(one.get(url, MAX_BYTES) for url in urls))

    with asyncio.Runner(loop_factory=(lambda: clock) if clock else None) as runner:
        return runner.run(main())


def failure(url: str, **changes: Any) -> WebError:
    with pytest.raises(WebError) as raised:
        get(url, **changes)
    return raised.value


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Sum of the simulated waiting times in seconds."""
    seconds: list[float] = []

    async def pause(duration: float) -> None:
        seconds.append(duration)

    monkeypatch.setattr(client, "pause", pause)
    return seconds


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[list[str]]]:
    """Results of name resolution by host, the last one repeated."""
    answers: dict[str, list[list[str]]] = {}
    real = socket.getaddrinfo

    def getaddrinfo(host: Any, port: Any, *arguments: Any, **named: Any) -> list[Any]:
        if host not in answers:
            return real(host, port, *arguments, **named)
        found = answers[host].pop(0) if len(answers[host]) > 1 else answers[host][0]
        return [
            (
                socket.AF_INET6 if ":" in address else socket.AF_INET,
                socket.SOCK_STREAM,
                socket.IPPROTO_TCP,
                "",
                (address, port, 0, 0) if ":" in address else (address, port),
            )
            for address in found
        ]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return answers


# --- addresses ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "10.1.2.3",
        "100.64.0.1",
        "100.100.100.200",
        "127.0.0.1",
        "127.255.255.254",
        "168.63.129.16",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.192",
        "192.168.1.1",
        "198.18.0.1",
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:7f00:1",
        "::ffff:169.254.169.254",
        "::ffff:0:127.0.0.1",
        "64:ff9b::127.0.0.1",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::1",
        "2001::1",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        "2001:db8::1",
        "2002:7f00:1::",
        "2002:808:808::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "ff02::1",
        "100::1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "localhost",
        "",
    ],
)
def test_non_public_addresses_are_refused(address: str) -> None:
    assert not is_public(address)
    assert not Guard(loopback=False).allows(address)


@pytest.mark.parametrize(
    "address",
    [
        "8.8.8.8",
        "172.32.0.1",
        "208.80.154.240",
        "::ffff:8.8.8.8",
        "64:ff9b::808:808",
        "2606:4700::1",
        "2a02:ec80:300:ed1a::2:b",
    ],
)
def test_public_addresses_are_allowed(address: str) -> None:
    assert is_public(address)


@given(st.ip_addresses())
def test_allowed_addresses_are_global_in_ipaddress(address: Any) -> None:
    if is_public(str(address)):
        judged = getattr(address, "ipv4_mapped", None) or address
        assert not (judged.is_private or judged.is_loopback or judged.is_link_local)
        assert not (judged.is_multicast or judged.is_unspecified or judged.is_reserved) or (
            judged in ipaddress.ip_network("64:ff9b::/96")
        )


@given(st.ip_addresses(v=4))
def test_embedded_private_address_is_refused(address: Any) -> None:
    for prefix in ("::ffff:", "64:ff9b::", "::"):
        assert not is_public(f"{prefix}{address}") or is_public(str(address))


def test_allowing_loopback_allows_nothing_else() -> None:
    guard = Guard(loopback=True)
    assert all(guard.allows(address) for address in ("127.0.0.1", "127.9.9.9", "::1"))
    for address in (
        "::ffff:127.0.0.1",
        "0.0.0.0",
        "::",
        "10.0.0.1",
        "169.254.169.254",
        "localhost",
    ):
        assert not guard.allows(address)
        assert not is_loopback(address)


# --- the guard ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    [
        "10.0.0.1",
        "169.254.169.254",
        "192.168.0.1",
        "[::ffff:127.0.0.1]",
        "[::ffff:169.254.169.254]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "[fe80::1]",
        "[::]",
        "0.0.0.0",
        "2130706433",
        "127.1",
        "0",
    ],
)
def test_local_network_is_never_requested(host: str, server: Server) -> None:
    error = failure(f"http://{host}:{server.port}/")
    assert str(error).startswith(("refused address:", "not a web address:"))
    assert error.refused
    assert server.seen == []


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0x7f.1", "0177.0.0.1"])
def test_loopback_is_refused_unless_allowed(host: str, server: Server) -> None:
    server.serve("/", b"secret")
    error = failure(f"http://{host}:{server.port}/", loopback=False)
    assert str(error).startswith(("refused address:", "not a web address:", "unknown host:"))
    assert server.seen == []


def test_host_name_is_checked_by_its_addresses(
    server: Server, names: dict[str, list[list[str]]]
) -> None:
    server.serve("/", b"hello")
    names["inside.example"] = [["10.0.0.1", "::ffff:127.0.0.1"]]
    names["metadata.example"] = [["169.254.169.254"]]
    names["mixed.example"] = [["10.0.0.1", "127.0.0.1"]]
    for name in ("inside.example", "metadata.example"):
        assert str(failure(f"http://{name}:{server.port}/")).startswith("refused address:")
    assert get(f"http://mixed.example:{server.port}/").data == b"hello"


def test_checked_address_is_the_connected_one(
    outside: list[str], names: dict[str, list[list[str]]], server: Server, waits: list[float]
) -> None:
    """The second response redirects to a private address, which must not be requested over the same
    connection.
    """
    names["rebound.example"] = [["8.8.8.8"], ["127.0.0.1"]]
    error = failure(f"http://rebound.example:{server.port}/", loopback=False, attempts=1)
    assert str(error).startswith("cannot connect")
    assert outside == ["8.8.8.8"]  # stopped by the hook
    assert len(names["rebound.example"]) == 1
    assert server.seen == []
    outside.clear()

    error = failure(f"http://rebound.example:{server.port}/", loopback=False)
    assert str(error) == "refused address: 127.0.0.1 is no public address"
    assert server.seen == []


@pytest.mark.parametrize(
    "url",
    [
        "ftp://127.0.0.1/a.png",
        "file:///etc/passwd",
        "data:image/png;base64,AAAA",
        "gopher://127.0.0.1/",
        "//127.0.0.1/",
        "http://",
        "http:///a.png",
        "http://[::1/",
        "http://127.0.0.1:99999/",
        "",
    ],
)
def test_only_http_and_https_are_allowed(url: str) -> None:
    assert str(failure(url)).startswith("not a web address")


@given(st.text(max_size=40).map("http://".__add__) | st.text(max_size=40))
@settings(max_examples=300)
def test_arbitrary_addresses_raise_only_web_errors(url: str) -> None:
    try:
        assert web_url(url).scheme in ("http", "https")
    except WebError as error:
        assert error.refused
    try:
        assert redirected(URL("https://example.org/a"), url).scheme == "https"
    except WebError as error:
        assert error.refused


# --- redirects ---------------------------------------------------------------------------------


def test_redirects_are_followed_up_to_five_times(server: Server) -> None:
    server.serve("/end", b"here")
    for hop in range(6):
        there = "/end" if hop == 0 else f"/{hop - 1}"
        server.serve(f"/{hop}", status=(301, 302, 303, 307, 308)[hop % 5], Location=there)
    page = get(server.url("/4"))
    assert (page.data, page.url, page.attempts) == (b"here", server.url("/end"), 1)
    assert str(failure(server.url("/5"))) == "too many redirects: more than 5"


def test_circular_redirects_are_named(server: Server) -> None:
    server.serve("/a", status=302, Location="/b")
    server.serve("/b", status=302, Location="/a")
    error = failure(server.url("/a"))
    assert str(error) == f"redirects in a circle: back to {server.url('/a')}"
    assert server.asked() == {"/a": 1, "/b": 1}


@pytest.mark.parametrize(
    "target, reason",
    [
        ("http://169.254.169.254/latest/meta-data/", "refused address: 169.254.169.254"),
        ("http://[::ffff:127.0.0.1]:{port}/secret", "refused address: ::ffff:7f00:1"),
        ("http://[::ffff:a9fe:a9fe]/", "refused address: ::ffff:a9fe:a9fe"),
        ("http://0.0.0.0:{port}/secret", "refused address: 0.0.0.0"),
        ("http://10.0.0.1/", "refused address: 10.0.0.1"),
        ("http://inside.example/", "refused address: 192.168.1.1"),
        # Refused by some versions of yarl as no address at all.
        ("http://2130706433:{port}/secret", ("refused address", "not a web address")),
        ("//10.0.0.1/", "refused address: 10.0.0.1"),
        ("file:///etc/passwd", "not a web address"),
        ("ftp://127.0.0.1/a", "not a web address"),
        ("http://user:password@127.0.0.1:{port}/secret", "credentials in the address"),
        ("http://[", "not a web address"),
    ],
)
def test_every_redirect_is_checked(
    target: str,
    reason: str | tuple[str, ...],
    server: Server,
    names: dict[str, list[list[str]]],
) -> None:
    names["inside.example"] = [["192.168.1.1"]]
    server.serve("/secret", b"secret")
    server.serve("/", status=302, Location=target.format(port=server.port))
    error = failure(server.url("/"))
    assert str(error).startswith(reason)
    assert error.refused
    assert server.asked() == {"/": 1}


def test_redirect_from_https_to_http_is_refused() -> None:
    secure = URL("https://example.org/a")
    assert str(redirected(secure, "//example.com/b?c")) == "https://example.com/b?c"
    assert str(redirected(URL("http://example.org/"), "https://b.org/#x")) == "https://b.org/"
    with pytest.raises(WebError, match="from https to http"):
        redirected(secure, "http://example.org/a")


# --- what is sent ------------------------------------------------------------------------------


def test_no_cookies_or_credentials_are_sent(
    server: Server,
    names: dict[str, list[list[str]]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    names["cookies.example"] = [["127.0.0.1"]]
    here = f"http://cookies.example:{server.port}"
    netrc = tmp_path / "netrc"
    netrc.write_text("machine cookies.example login me password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("http_proxy", "http://10.0.0.1:3128")
    server.serve("/first", status=302, Location="/second", Set_Cookie="session=1; Path=/")
    server.serve("/second", b"here", Set_Cookie="more=2; Path=/")
    with browser(NETWORK.model_copy(update={"contact": "me@example.org"}), MAX_BYTES) as page:
        page(f"{here}/first")
        assert page(f"{here}/first").data == b"here"
    assert len(server.seen) == 4
    for _, headers in server.seen:
        assert not {"cookie", "authorization", "referer"} & set(headers)
        assert headers["user-agent"].startswith("ganloom/1 (me@example.org) aiohttp/")
        assert headers["accept-encoding"] == "identity"
    assert str(failure(f"http://me:secret@127.0.0.1:{server.port}/second")).startswith(
        "credentials in the address"
    )


# --- bodies ------------------------------------------------------------------------------------


def test_page_has_its_final_url(server: Server) -> None:
    page = get(server.serve("/a", b"body") + "#part")
    assert (page.url, page.status, page.data) == (server.url("/a"), 200, b"body")


def test_page_repr_omits_the_body(server: Server) -> None:
    url = server.serve("/a", b"x" * 90_000)
    assert repr(get(url)) == f"Page({url!r}, 200, 90000 bytes)"


def test_endless_body_is_cut_off(server: Server) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x" * 10_000)

    server.routes["/endless"] = endless
    error = failure(server.url("/endless"))
    assert str(error) == "file too large: more than 100000 bytes"
    assert error.refused


def test_body_is_refused_by_content_length(server: Server) -> None:
    url = server.serve_raw("/", b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\nx")
    assert str(failure(url)) == "file too large: more than 100000 bytes"


def test_compressed_bomb_is_cut_off(server: Server) -> None:
    bomb = gzip.compress(bytes(100_000_000))
    assert len(bomb) < MAX_BYTES
    assert str(failure(server.serve("/", bomb, Content_Encoding="gzip"))).startswith(
        "file too large"
    )
    fine = gzip.compress(b"unasked, but fine")
    assert get(server.serve("/", fine, Content_Encoding="gzip")).data == b"unasked, but fine"


@pytest.mark.parametrize(
    "answer, reason",
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nshort", "truncated"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\nxx", "truncated"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnope",
            "truncated",
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nlonger", "not HTTP"),
        (b"", "disconnected"),
        (b"220 mail.example ESMTP\r\n", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n", "not HTTP"),
        (b"HTTP/1.1 302 Found\r\n\r\n", "HTTP 302: Found"),
        (b"HTTP/1.1 999 Whatever\r\nContent-Length: 0\r\n\r\n", "HTTP 999: unknown"),
        (b"HTTP/1.1 206 Partial\r\nContent-Length: 1\r\n\r\nx", "HTTP 206: Partial Content"),
    ],
)
def test_invalid_responses_raise_errors(
    answer: bytes, reason: str, server: Server, waits: list[float]
) -> None:
    error = failure(server.serve_raw("/", answer))
    assert str(error).startswith(reason)
    assert not error.refused


# --- time --------------------------------------------------------------------------------------


async def never(request: web.Request) -> web.Response:
    await asyncio.Event().wait()
    raise AssertionError


async def drip(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b"x")
        await asyncio.sleep(0.01)


def test_silent_server_times_out(server: Server, waits: list[float]) -> None:
    server.routes["/"] = never
    error = failure(server.url("/"), timeout=0.05)
    assert str(error) == "timeout: nothing for 0.05 s (network.timeout)"
    assert (error.attempts, error.status, error.refused) == (3, None, False)
    assert error.unreachable


def test_server_that_stops_responding_counts_as_reached(
    server: Server, waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, read = Clock(), Client._read

    async def begin(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "2"})
        await response.prepare(request)
        await response.write(b"x")
        return await never(request)

    async def read_on(self: Client, response: aiohttp.ClientResponse, max_bytes: int) -> bytes:
        assert await response.content.readexactly(1) == b"x"
        clock.now += 5
        return await read(self, response, max_bytes)

    server.routes["/"] = begin
    monkeypatch.setattr(Client, "_read", read_on)
    error = failure(server.url("/"), clock=clock)
    assert str(error) == "timeout: nothing for 5 s (network.timeout)"
    assert (error.attempts, error.unreachable) == (3, False)


def test_invalid_redirect_counts_as_reached(server: Server, waits: list[float]) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{unused.getsockname()[1]}/"
        error = failure(server.serve("/", status=302, Location=nowhere))
        assert str(error) == "cannot connect: Connection refused"
        assert not error.unreachable
        assert failure(nowhere, robots=True).unreachable


@pytest.fixture
def hanging(
    names: dict[str, list[list[str]]], monkeypatch: pytest.MonkeyPatch
) -> Iterator[threading.Event]:
    """Resolving hang*.example blocks until the event is set."""
    released, getaddrinfo = threading.Event(), socket.getaddrinfo

    def hang(host: Any, *arguments: Any, **named: Any) -> list[Any]:
        if not str(host).startswith("hang"):
            return getaddrinfo(host, *arguments, **named)
        released.wait(20)
        raise socket.gaierror(socket.EAI_AGAIN, "released")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    yield released
    released.set()


def test_slow_name_resolution_times_out(hanging: threading.Event) -> None:
    error = failure("http://hang.example/", timeout=0.05)
    assert str(error) == ("unknown host: its name is not looked up within 0.05 s (network.timeout)")
    assert (error.attempts, error.unreachable, error.refused) == (1, True, False)


def test_hanging_name_resolution_does_not_block_others(
    hanging: threading.Event, names: dict[str, list[list[str]]], server: Server
) -> None:
    names["healthy.example"] = [["127.0.0.1"]]
    server.serve("/", b"here")

    async def main() -> None:
        many = NETWORK.model_copy(update={"connections": 64, "timeout": 60.0})
        async with Client(many) as one:
            stuck = [
                asyncio.create_task(one.get(f"http://hang{number}.example/", MAX_BYTES))
                for number in range(40)
            ]
            await asyncio.sleep(0)
            async with asyncio.timeout(10):
                page = await one.get(f"http://healthy.example:{server.port}/", MAX_BYTES)
            assert page.data == b"here"
            assert not any(task.done() for task in stuck)
            for task in stuck:
                task.cancel()
            await asyncio.gather(*stuck, return_exceptions=True)

    asyncio.run(main())
    assert not hanging.is_set()


def test_hanging_name_resolution_does_not_block_exit() -> None:
    code = """
import socket, sys, threading
from pathlib import Path
from ganloom import params
from ganloom.web.client import WebError, browser
socket.getaddrinfo = lambda *_, **__: threading.Event().wait()
network = params.load(Path(sys.argv[1])).network.model_copy(update={"timeout": 0.05})
with browser(network, 1000) as get:
    try:
        get("http://hang.example/")
    except WebError as error:
        print(error)
"""
    command = [sys.executable, "-c", code, str(ROOT / "params.yaml")]
    ended = subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, env=ENVIRONMENT
    )
    assert ended.stdout.startswith("unknown host: its name is not looked up")
    assert (ended.stderr, ended.returncode) == ("", 0)


def test_each_file_has_a_deadline(server: Server) -> None:
    server.routes["/"] = drip
    error = failure(server.url("/"), file_deadline=0.2)
    assert str(error) == "out of time: not here after 0.2 s (network.file_deadline)"


def test_all_files_together_have_a_deadline(server: Server) -> None:
    server.routes["/"] = drip
    error = failure(server.url("/"), deadline=0.2)
    assert str(error) == "out of time: not here after 0.2 s (network.deadline)"


def test_file_deadline_excludes_queueing(server: Server) -> None:
    """Ten sequential files of 1 s: 10 s in total, with a limit of 9 s per file."""
    clock = Clock()

    async def slow(request: web.Request) -> web.Response:
        clock.now += 1
        return web.Response(body=b"x")

    for number in range(10):
        server.routes[f"/{number}"] = slow
    urls = [server.url(f"/{number}") for number in range(10)]
    pages = get_all(urls, clock, connections_per_host=1, file_deadline=9.0)
    assert [(page.data, page.seconds) for page in pages] == [(b"x", 1.0)] * 10
    assert server.most == 1


# --- attempts ----------------------------------------------------------------------------------


OVERFLOWING = [
    "Mon, 01 Jan 2024 00:00:00 +99999999999999999999",
    "Mon, 01 Jan 99999999999999999999 00:00:00 GMT",
]


def busy_until(server: Server, attempt: int, status: int, **headers: str) -> str:
    """Respond with ``status`` until the attempt that succeeds."""

    async def answer(request: web.Request) -> web.Response:
        if server.asked()[request.path] < attempt:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            return web.Response(status=status, headers=named)
        return web.Response(body=b"here")

    server.routes["/busy"] = answer
    return server.url("/busy")


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_busy_server_is_retried(status: int, server: Server, waits: list[float]) -> None:
    page = get(busy_until(server, 3, status))
    assert (page.data, page.attempts) == (b"here", 3)
    assert server.asked()["/busy"] == 3
    first, second = waits
    assert 0.5 <= first <= 1.0 <= second <= 1.5


def test_number_of_attempts_is_limited(server: Server, waits: list[float]) -> None:
    error = failure(busy_until(server, 9, 503))
    assert (str(error), error.status, error.attempts) == ("HTTP 503: Service Unavailable", 503, 3)
    assert server.asked()["/busy"] == 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 451, 501])
def test_definite_errors_are_not_retried(status: int, server: Server) -> None:
    error = failure(server.serve("/", status=status))
    assert (error.status, error.attempts, len(server.seen)) == (status, 1, 1)
    assert str(error).startswith(f"HTTP {status}: ")


def test_retry_after_is_honoured(server: Server, waits: list[float]) -> None:
    assert get(busy_until(server, 2, 429, Retry_After="7")).attempts == 2
    assert waits[0] == 7


def test_retry_after_beyond_the_deadline_gives_up(server: Server, waits: list[float]) -> None:
    error = failure(busy_until(server, 2, 429, Retry_After="3600"))
    assert (str(error), error.attempts) == ("HTTP 429: Too Many Requests", 1)
    assert waits == []


def test_busy_host_pauses_all_requests(server: Server, waits: list[float]) -> None:
    server.serve("/busy", status=429, Retry_After="30")
    server.serve("/other", b"here")

    async def main() -> None:
        async with Client(NETWORK.model_copy(update={"attempts": 1})) as one:
            with pytest.raises(WebError):
                await one.get(server.url("/busy"), MAX_BYTES)
            assert (await one.get(server.url("/other"), MAX_BYTES)).data == b"here"

    asyncio.run(main())
    assert len(waits) == 1
    assert 29 < waits[0] <= 30


def test_host_with_a_too_long_retry_after_is_skipped(server: Server, waits: list[float]) -> None:
    server.serve("/busy", status=429, Retry_After="3600")
    server.serve("/other", b"here")

    async def main() -> None:
        async with Client(NETWORK) as one:
            for path, reason in (("/busy", "HTTP 429"), ("/other", "host is busy: ")):
                with pytest.raises(WebError, match=reason) as raised:
                    await one.get(server.url(path), MAX_BYTES)
                assert not raised.value.unreachable

    asyncio.run(main())
    assert server.asked() == {"/busy": 1}


def test_retry_after_accepts_seconds_and_dates() -> None:
    soon = datetime.now(UTC) + timedelta(seconds=100)
    assert retry_after("120") == 120
    assert 95 < (retry_after(format_datetime(soon, usegmt=True)) or 0) <= 100
    assert retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    for nonsense in (None, "", "soon", "-5", "1.5", "٣", *OVERFLOWING):
        assert retry_after(nonsense) is None


@pytest.mark.parametrize("value", [*OVERFLOWING, "9" * 400, "9" * 5000])
def test_absurd_retry_after_fails_only_its_file(
    value: str, server: Server, waits: list[float]
) -> None:
    error = failure(server.serve("/", status=429, Retry_After=value))
    assert str(error) == "HTTP 429: Too Many Requests"


dates = st.builds(
    "{}, {} {} {} {}:00:00 {}{}".format,
    st.sampled_from(["Mon", ""]),
    st.integers(),
    st.sampled_from(["Jan", "Foo"]),
    st.integers(),
    st.integers(),
    st.sampled_from(["+", "-", ""]),
    st.integers(min_value=0) | st.just("GMT"),
)


@given(st.text(max_size=40) | dates)
def test_arbitrary_retry_after_is_handled(value: str) -> None:
    seconds = retry_after(value)
    assert seconds is None or seconds >= 0


def test_refused_connection_is_retried(waits: list[float]) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        error = failure(f"http://127.0.0.1:{unused.getsockname()[1]}/")
    assert (str(error), error.attempts) == ("cannot connect: Connection refused", 3)
    assert error.unreachable


# --- manners -----------------------------------------------------------------------------------


def test_connections_per_host_are_limited(server: Server) -> None:
    together = asyncio.Barrier(3)

    async def wait(request: web.Request) -> web.Response:
        # Answers only when three are here: fewer connections would wait for ever.
        await together.wait()
        return web.Response(body=b"x")

    for number in range(9):
        server.routes[f"/{number}"] = wait
    urls = [server.url(f"/{number}") for number in range(9)]
    assert len(get_all(urls, connections_per_host=3)) == 9
    assert server.most == 3
    assert len(get_all(urls, connections=3, connections_per_host=8)) == 9
    assert server.most == 3


def test_wikimedia_connections_are_limited_to_two(
    server: Server, names: dict[str, list[list[str]]]
) -> None:
    for host in ("upload.wikimedia.org", "upload.wikimedia.org.", "thumb.wikimedia.org"):
        names[host] = [["127.0.0.1"]]
    together = asyncio.Barrier(2)

    async def wait(request: web.Request) -> web.Response:
        await together.wait()
        return web.Response(body=b"x")

    for number in range(6):
        server.routes[f"/{number}"] = wait
    hosts = ["upload.wikimedia.org", "THUMB.wikimedia.org", "upload.wikimedia.org."] * 2
    urls = [f"http://{host}:{server.port}/{number}" for number, host in enumerate(hosts)]
    get_all(urls, connections_per_host=8)
    assert server.most == 2


def test_wikimedia_bandwidth_is_limited(
    server: Server, names: dict[str, list[list[str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[float, float]] = []

    class Limiter:
        def __init__(self, most: float, seconds: float) -> None:
            self.rate = most / seconds

        async def acquire(self, size: float) -> None:
            asked.append((self.rate, size))

    monkeypatch.setattr(client, "AsyncLimiter", Limiter)
    names["upload.wikimedia.org"] = [["127.0.0.1"]]
    server.serve("/", b"x" * 90_000)
    get(f"http://upload.wikimedia.org:{server.port}/")
    assert sum(size for _, size in asked) == 90_000
    assert {rate * 8 for rate, _ in asked} == {25_000_000}


def test_robots_txt_is_requested_once_and_obeyed(server: Server) -> None:
    rules = b"User-agent: *\nDisallow: /\n\nUser-agent: ganloom\nDisallow: /private/\n"
    server.serve("/robots.txt", rules)
    server.serve("/public/a", b"here")
    server.serve("/private/b", b"secret")
    server.serve("/moved", status=302, Location="/private/b")
    assert [page.data for page in get_all([server.url("/public/a")] * 5, robots=True)] == [
        b"here"
    ] * 5
    assert server.asked() == {"/robots.txt": 1, "/public/a": 5}
    for path in ("/private/b", "/moved"):
        error = failure(server.url(path), robots=True)
        assert (str(error), error.refused) == ("forbidden by robots.txt", True)
    assert server.asked()["/private/b"] == 0
    assert get(server.url("/private/b"), robots=False).data == b"secret"


def test_missing_robots_txt_allows_and_unreachable_robots_txt_forbids(
    server: Server, waits: list[float]
) -> None:
    url = server.serve("/a", b"here")
    assert get(url, robots=True).data == b"here"  # 404
    server.serve("/robots.txt", status=403)
    assert get(url, robots=True).data == b"here"
    server.serve("/robots.txt", b"\xff\xfe\x00 <html>no rules</html>")
    assert get(url, robots=True).data == b"here"
    for status in (500, 503, 429):
        server.serve("/robots.txt", status=status)
        error = failure(url, robots=True)
        assert str(error).startswith(f"robots.txt cannot be read: HTTP {status}")
        assert not error.refused
    assert server.asked()["/a"] == 3


def test_crawl_delay_is_respected(server: Server, waits: list[float]) -> None:
    server.serve("/robots.txt", b"User-agent: *\nCrawl-delay: 10\n")
    for path in ("/a", "/b", "/c"):
        server.serve(path, b"x")
    get_all([server.url(path) for path in ("/a", "/b", "/c")], robots=True)
    assert [round(seconds) for seconds in waits] == [10, 20]


def test_crawl_delay_queue_does_not_count_as_busy(server: Server, waits: list[float]) -> None:
    server.serve("/robots.txt", b"User-agent: *\nCrawl-delay: 4\n")
    urls = [server.serve(f"/{number}", b"x") for number in range(30)]
    assert len(get_all(urls, robots=True, file_deadline=8.0)) == 30
    assert [round(seconds) for seconds in waits] == list(range(4, 120, 4))


def test_queue_beyond_the_deadline_is_not_awaited(server: Server, waits: list[float]) -> None:
    server.serve("/robots.txt", b"User-agent: *\nCrawl-delay: 1e9\n")
    urls = [server.serve(path, b"x") for path in ("/a", "/b")]

    async def main() -> None:
        async with Client(NETWORK.model_copy(update={"robots": True})) as one:
            assert (await one.get(urls[0], MAX_BYTES)).data == b"x"
            with pytest.raises(WebError) as raised:
                await one.get(urls[1], MAX_BYTES)
            assert str(raised.value) == (
                "out of time: its turn comes after the end (network.deadline)"
            )

    asyncio.run(main())
    assert waits == []


line = st.sampled_from(
    [b"User-agent: *\n", b"User-agent: ganloom\n", b"Disallow: /", b"Allow: ", b"Crawl-delay: "]
)


@given(st.lists(line | st.binary(max_size=12) | st.sampled_from([b"inf\n", b"nan\n", b"-1\n"])))
def test_arbitrary_robots_txt_is_handled(parts: list[bytes]) -> None:
    rules = robots.parse(b"".join(parts))
    assert rules.forbid("http://a.example/b?c") in (None, "forbidden by robots.txt")
    assert rules.delay >= 0


SPELLINGS = [
    *("User-agent: {}", "useragent:{} # x", " USER AGENT {}", "user  agent {}", "User-agent : {}"),
    *("User-agent {}: x", "User  agent: {}", "User_agent: {}", "User-agent:\t{}\x85", "x: {}"),
]
AGENTS = ["*", "ganloom", "GanLoom*", "g", "g*an**", "**", "* gan", "loom", "a", "b:c", "#", ""]
RULES = [
    *("Disallow: /", "Disallow: /a", "Allow: /a/b", "disallow /b", "Allow: /*c$", "Disallow:"),
    *("Crawl-delay: 1", "crawl delay 2", "Sitemap: x", "x: y", "Disallow:user-agent: a", ""),
]
line_of_robots_txt = (
    st.builds(str.format, st.sampled_from(SPELLINGS), st.sampled_from(AGENTS))
    | st.sampled_from(RULES)
    | st.text(max_size=9)
)


@given(st.lists(line_of_robots_txt, max_size=8))
@example(["User-agent: *", "User-agent a: x", "User-agent: a", "Disallow: /"])
@settings(max_examples=1000, deadline=None)
def test_robots_txt_matches_protego(lines: list[str]) -> None:
    text = "\n".join(lines)
    plain, rules = Protego.parse(text), robots.parse(b"\xef\xbb\xbf" + text.encode())
    for path in ("", "a", "a/b", "b", "a/c", "d"):
        url = f"http://a.example/{path}"
        assert (rules.forbid(url) is None) == plain.can_fetch(url, robots.AGENT)
    assert rules.delay == (plain.crawl_delay(robots.AGENT) or 0)


@pytest.mark.parametrize(
    "agents",
    [
        [f"User-agent: bot{number}" for number in range(1000)],
        [f"useragent bot{number}" for number in range(1000)],
        [f"user  agent bot{number}" for number in range(1000)],
        [f"User agent: gan{'*' * number}" for number in range(1000)],
        ["User-agent: ganloom", "User-agent: a"] * 500,
    ],
)
def test_robots_txt_with_many_agents_is_fast(agents: list[str]) -> None:
    rules = [f"Disallow: /{number}" for number in range(100)]
    parsed = robots.parse("\n".join([*agents, *rules] * 2).encode()).parsed
    assert parsed is not None
    kept = [rule for names in parsed._user_agents.values() for rule in names._rules]
    assert len(kept) <= 2 * 2 * len(rules)  # of 200 000


def test_robots_txt_matching_is_not_exponential() -> None:
    rules = robots.parse(b"User-agent: *\nDisallow: /" + b"*a" * 40 + b"*b\n")
    assert rules.forbid("http://a.example/" + "a" * 2000) is None


@pytest.mark.parametrize(
    "values, word",
    [
        (["noindex"], "noindex"),
        (["nofollow, NOAI"], "noai"),
        (["none"], "none"),
        (["all", "noimageindex"], "noimageindex"),
        (["ganloom: noindex"], "noindex"),
        (["unavailable_after: 25 Jun 2030 15:00:00 GMT, noimageai"], "noimageai"),
        (["unavailable_after: Fri, 25 Jun 2010 15:00:00 GMT, noindex"], "noindex"),
        (["unavailable_after: Friday, 25-Jun-10 15:00:00 GMT, noindex"], "noindex"),
        (["unavailable_after: Fri, 2010-06-25T15:00:00Z, noindex"], "noindex"),
        (["otherbot: unavailable_after: Fri, 25 Jun 2010 15:00:00 GMT, noindex"], None),
        (["otherbot: noindex, ganloom/1: noai"], "noai"),
        (["other_bot-2.1/3: noindex, none"], None),
        (["otherbot: noindex, none"], None),
        (["max-image-preview: none"], None),
        (["all"], None),
        ([""], None),
        ([], None),
    ],
)
def test_x_robots_tag_is_parsed(values: list[str], word: str | None) -> None:
    assert robots.tag(values) == word


def test_x_robots_tag_is_obeyed(server: Server) -> None:
    url = server.serve("/", b"x", X_Robots_Tag="noimageindex")
    assert str(failure(url, robots=True)) == "forbidden by X-Robots-Tag: noimageindex"
    assert get(url, robots=False).data == b"x"


# --- what is kept ------------------------------------------------------------------------------


def test_downloads_are_stored_by_address(tmp_path: Path) -> None:
    store = Store(tmp_path)
    kept = store.put("http://a.example/1", b"one", "http://a.example/2")
    assert store.take("http://a.example/1", 10) == kept
    assert kept.path.read_bytes() == b"one"
    assert Store(tmp_path).take("http://a.example/1", 10) == kept
    assert store.take("http://a.example/2", 10) is None
    assert store.take("http://a.example/1", 2) is None  # a limit that was lowered since
    store.put("http://a.example/1", b"other", "http://a.example/2")
    assert store.take("http://a.example/1", 10) != kept
    other = store.take("http://a.example/1", 10)
    assert other and other.final_url == "http://a.example/2"
    store.forget("http://a.example/1")
    assert store.take("http://a.example/1", 10) is None


@pytest.mark.parametrize("damage", ["content", "entry", "path", "link", "url", "time", "list"])
def test_stored_downloads_are_verified(damage: str, tmp_path: Path) -> None:
    store = Store(tmp_path)
    kept = store.put("http://a.example/1", b"one", "http://a.example/2")
    (entry,) = (tmp_path / "urls").iterdir()
    text = entry.read_text()
    match damage:
        case "content":
            kept.path.write_bytes(b"two")
        case "entry":
            entry.write_bytes(b"\xff{")
        case "path":
            (tmp_path / "secret").write_bytes(b"one")
            entry.write_text(text.replace(kept.sha256, "../secret"))
        case "link":
            kept.path.unlink()
            kept.path.symlink_to("/dev/zero")
        case "url":
            entry.write_text(text.replace("/1", "/2"))
        case "time":
            entry.write_text(text.replace(kept.retrieved_at, "long ago"))
        case "list":
            entry.write_text("[1]")
    assert store.take("http://a.example/1", 10) is None
