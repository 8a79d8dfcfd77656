"""HTTP client of searches and downloads: aiohttp with rate limits, retries and address checks."""

from __future__ import annotations

import asyncio
import collections
import http
import io
import os
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import NamedTuple

import aiohttp
from aiolimiter import AsyncLimiter
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception,
    stop_after_attempt,
    wait_exponential,
    wait_random,
)
from yarl import URL

from ganloom import params
from ganloom.web import robots
from ganloom.web.address import Guard, GuardedResolver, RefusedAddressError, SlowLookUpError

MAX_REDIRECTS = 5
TAG = "X-Robots-Tag"
CHUNK = 1 << 16
RETRIED = {429, 500, 502, 503, 504}
REDIRECTS = {301, 302, 303, 307, 308}
# wikitech.wikimedia.org/wiki/Robot_policy: 2 connections and 25 Mbit/s to the file hosts.
WIKIMEDIA_FILES = ("upload.wikimedia.org", "thumb.wikimedia.org")
WIKIMEDIA_CONNECTIONS = 2
WIKIMEDIA_BYTES_PER_SECOND = 25_000_000 / 8
# Hosts whose documentation asks for one request at a time, with the seconds from one to the next:
# api.artic.edu/docs/#scraping, api.inaturalist.org/v1/docs/.
ONE_AT_A_TIME = {"api.artic.edu": 1.0, "www.artic.edu": 1.0, "api.inaturalist.org": 1.0}

_backoff = wait_exponential(multiplier=0.5, max=30) + wait_random(0, 0.5)


class WebError(RuntimeError):
    """A page or file cannot be retrieved; the message is the reason.

    The text before the first colon is the category under which failures are counted.

    Attributes:
        status: Last HTTP status; None without a response.
        attempts: Number of attempts.
        seconds: Duration, without the time in queues.
        refused: Whether ganloom refused the request by its own rules; the file may exist.
        unreachable: Whether no server responded: unknown host, no connection, or a time-out.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        refused: bool = False,
        unreachable: bool = False,
        again: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.attempts = 1
        self.seconds = 0.0
        self.refused = refused
        self.unreachable = unreachable
        self.again = again
        self.retry_after = retry_after


class Page(NamedTuple):
    """A response.

    Attributes:
        url: Final URL, after redirects.
        status: 200.
        data: Whole body.
        attempts: Number of attempts.
        seconds: Duration, without the time in queues.
    """

    url: str
    status: int
    data: bytes
    attempts: int = 1
    seconds: float = 0.0

    def __repr__(self) -> str:
        # Python 3.11 and 3.12 format the result of each `Runner.run`: keep the body out of it.
        return f"Page({self.url!r}, {self.status}, {len(self.data)} bytes)"


Get = Callable[[str], Page]


@contextmanager
def browser(network: params.Network, max_bytes: int) -> Iterator[Get]:
    """Provide a function for searches that retrieves one page per call.

    robots.txt is for web crawlers. For an API that is documented for programs, switch it off with
    ``network.model_copy(update={"robots": False})``: Wikimedia's robots.txt forbids ``/w/``, where
    its API is.

    Args:
        network: Section ``network``.
        max_bytes: Limit of a page.

    Yields:
        The function; it raises WebError.
    """
    with asyncio.Runner() as runner:
        client = runner.run(Client(network).__aenter__())
        try:
            yield lambda url: runner.run(client.get(url, max_bytes))
        finally:
            runner.run(client.__aexit__(None, None, None))


async def pause(seconds: float) -> None:
    """Wait between two attempts; a separate function, which tests replace."""
    await asyncio.sleep(seconds)


class _Host:
    """State of a host: its connections, and the time of the next request that it permits."""

    def __init__(self, connections: int, delay: float = 0.0) -> None:
        self.turns = asyncio.Semaphore(connections)
        # Times of the event loop's clock:
        self.busy_until = 0.0  # from Retry-After
        self.next = 0.0  # next free slot under the delay
        self.delay = delay  # s between two requests; Crawl-delay can raise it


class Client:
    """Asynchronous context manager that retrieves pages and files within the limits of ``network``.

    It uses no cookies, credentials or proxies, and connects to public addresses only.
    """

    def __init__(self, network: params.Network) -> None:
        self._network = network
        self._robots: dict[str, asyncio.Task[robots.Rules]] = {}

    async def __aenter__(self) -> Client:
        network, guard = self._network, Guard(self._network.loopback)
        self._end = asyncio.get_running_loop().time() + network.deadline
        self._turns = asyncio.Semaphore(network.connections)
        self._hosts: dict[str, _Host] = collections.defaultdict(
            lambda: _Host(network.connections_per_host)
        )
        wikimedia = _Host(min(WIKIMEDIA_CONNECTIONS, network.connections_per_host))
        self._hosts |= dict.fromkeys(WIKIMEDIA_FILES, wikimedia)
        self._hosts |= {host: _Host(1, delay) for host, delay in ONE_AT_A_TIME.items()}
        self._wikimedia_bytes = AsyncLimiter(WIKIMEDIA_BYTES_PER_SECOND, 1)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                resolver=GuardedResolver(guard, network.timeout),
                socket_factory=guard.open_socket,
                limit=0,  # the semaphores limit connections, per host over all its ports
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            headers={
                "User-Agent": user_agent(network.contact),
                "Accept-Encoding": "identity",
            },
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=network.timeout, sock_read=network.timeout
            ),
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for task in self._robots.values():
            task.cancel()
        await asyncio.gather(*self._robots.values(), return_exceptions=True)
        await self._session.close()

    async def get(self, url: str, max_bytes: int) -> Page:
        """Retrieve a page or file; follow redirects, and retry if that may help.

        Args:
            url: http or https URL.
            max_bytes: Limit of the decompressed size.

        Raises:
            WebError: It cannot be retrieved, or must not be requested.
        """
        return await self._get(url, max_bytes, obey_robots=self._network.robots)

    async def _get(self, url: str, max_bytes: int, *, obey_robots: bool) -> Page:
        network, attempts = self._network, 0
        whole = asyncio.timeout_at(self._end)
        clock = asyncio.timeout(network.file_deadline)

        def spent() -> float:
            left = (clock.when() or 0.0) - asyncio.get_running_loop().time()
            return network.file_deadline - left

        def is_over(state: RetryCallState) -> bool:
            when, now = clock.when(), asyncio.get_running_loop().time()
            return when is not None and now + state.upcoming_sleep > when

        try:
            async with whole, clock:
                async for attempt in AsyncRetrying(
                    stop=lambda state: (
                        stop_after_attempt(network.attempts)(state) or is_over(state)
                    ),
                    wait=_wait,
                    retry=retry_if_exception(
                        lambda error: isinstance(error, WebError) and error.again
                    ),
                    sleep=pause,
                    reraise=True,
                ):
                    with attempt:
                        attempts += 1
                        page = await self._follow(url, max_bytes, clock, obey_robots)
                        return page._replace(attempts=attempts, seconds=spent())
        except TimeoutError:
            name, seconds = ("deadline", network.deadline)
            if not whole.expired():
                name, seconds = ("file_deadline", network.file_deadline)
            error = WebError(f"out of time: not here after {seconds:g} s (network.{name})")
            error.attempts, error.seconds = max(1, attempts), spent()
            raise error from None
        except WebError as error:
            error.attempts, error.seconds = attempts, spent()
            raise
        raise AssertionError("tenacity returns or raises")

    async def _follow(
        self, start: str, max_bytes: int, clock: asyncio.Timeout, obey_robots: bool
    ) -> Page:
        url = web_url(start)
        seen = [url]
        while True:
            try:
                if obey_robots:
                    await self._require_allowed(url, clock)
                answer = await self._ask(url, max_bytes, clock, obey_robots)
            except WebError as error:
                error.unreachable &= url == seen[0]  # after a redirect, some server has responded
                raise
            if isinstance(answer, Page):
                return answer
            url = redirected(url, answer)
            if url in seen:
                raise WebError(f"redirects in a circle: back to {url}")
            if len(seen) > MAX_REDIRECTS:
                raise WebError(f"too many redirects: more than {MAX_REDIRECTS}")
            seen.append(url)

    async def _ask(
        self, url: URL, max_bytes: int, clock: asyncio.Timeout, obey_robots: bool
    ) -> Page | str:
        """Make one request; return the page, or the target of a redirect."""
        async with self._turn(self._hosts[_host(url)], clock):
            answered = False
            try:
                async with self._session.get(url, allow_redirects=False) as response:
                    answered = True
                    if response.status in REDIRECTS and "Location" in response.headers:
                        return response.headers["Location"]
                    if response.status != http.HTTPStatus.OK:
                        raise self._refused_by_server(url, response)
                    if obey_robots and (word := robots.tag(response.headers.getall(TAG, []))):
                        raise WebError(
                            f"forbidden by X-Robots-Tag: {word}",
                            status=response.status,
                            refused=True,
                        )
                    data = await self._read(response, max_bytes)
                    return Page(str(url), response.status, data)
            except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
                raise _explained(error, self._network.timeout, answered) from error

    def _refused_by_server(self, url: URL, response: aiohttp.ClientResponse) -> WebError:
        status = response.status
        after = retry_after(response.headers.get("Retry-After"))
        if after is not None:
            host = self._hosts[_host(url)]
            now = asyncio.get_running_loop().time()
            host.busy_until = max(host.busy_until, now + after)
        if response.headers.get("cf-mitigated") == "challenge":  # by Cloudflare
            reason = f"browser check: {_host(url)} lets only browsers in at present"
            return WebError(f"{reason} (HTTP {status})", status=status)
        return WebError(
            f"HTTP {status}: {_phrase(status)}",
            status=status,
            again=status in RETRIED,
            retry_after=after,
        )

    async def _read(self, response: aiohttp.ClientResponse, max_bytes: int) -> bytes:
        if (response.content_length or 0) > max_bytes:
            raise _too_large(max_bytes, response.status)
        body = io.BytesIO()  # returns its content without a copy
        async for chunk in response.content.iter_chunked(CHUNK):
            body.write(chunk)
            if body.tell() > max_bytes:
                raise _too_large(max_bytes, response.status)
            if _host(response.url) in WIKIMEDIA_FILES:
                await self._wikimedia_bytes.acquire(len(chunk))
        return body.getvalue()

    @asynccontextmanager
    async def _turn(self, host: _Host, clock: asyncio.Timeout) -> AsyncIterator[None]:
        """Wait for a connection to a host; the deadline of the file is suspended meanwhile."""
        with _stopped(clock):
            await host.turns.acquire()
        try:
            with _stopped(clock):
                await self._wait_until_wanted(host)
                await self._turns.acquire()
            try:
                yield
            finally:
                self._turns.release()
        finally:
            host.turns.release()

    async def _wait_until_wanted(self, host: _Host) -> None:
        now = asyncio.get_running_loop().time()
        if host.busy_until - now > self._network.file_deadline:
            raise WebError("host is busy: it asks to wait for longer than network.file_deadline")
        begin = max(now, host.next, host.busy_until)
        if begin > self._end:
            raise WebError("out of time: its turn comes after the end (network.deadline)")
        host.next = begin + host.delay
        if begin > now:
            await pause(begin - now)

    async def _require_allowed(self, url: URL, clock: asyncio.Timeout) -> None:
        origin = str(url.origin())
        if origin not in self._robots:
            self._robots[origin] = asyncio.create_task(self._read_robots(url.origin()))
        with _stopped(clock):
            # Cancelling a file must not cancel the download of the rules, which others wait for.
            rules = await asyncio.shield(self._robots[origin])
        host = self._hosts[_host(url)]
        host.delay = max(host.delay, rules.delay)
        if reason := rules.forbid(str(url)):
            raise WebError(
                reason,
                refused=rules.refused or rules.parsed is not None,
                unreachable=rules.unreachable,
            )

    async def _read_robots(self, origin: URL) -> robots.Rules:
        try:
            page = await self._get(str(origin / "robots.txt"), robots.MAX_BYTES, obey_robots=False)
        except WebError as error:
            # RFC 9309: a client error means no restrictions; a server error forbids everything for
            # now.
            if error.status and 400 <= error.status < 500 and error.status not in RETRIED:
                return robots.ALLOW_ALL
            # If the host is unreachable, robots.txt is not the cause.
            where = "robots.txt cannot be read: " if error.status else ""
            return robots.Rules(None, f"{where}{error}", error.refused, error.unreachable)
        return robots.parse(page.data)


def user_agent(contact: str | None) -> str:
    """Format the User-Agent header: name, version and contact."""
    return f"{robots.AGENT}/1 ({contact or 'no contact given'}) aiohttp/{aiohttp.__version__}"


def _host(url: URL) -> str:
    return str(url.host).rstrip(".")


def web_url(text: str) -> URL:
    """Parse an address that may be requested.

    Raises:
        WebError: It is not an http(s) address, or has credentials.
    """
    try:
        url = URL(text)
        host = url.origin().host  # an origin has a valid scheme, host and port
    except (ValueError, TypeError):
        raise _no_web_address(text) from None
    if url.scheme not in ("http", "https") or not host:
        raise _no_web_address(text)
    if url.user is not None or url.password is not None:
        raise WebError("credentials in the address: they would be sent", refused=True)
    return url.with_fragment(None)


def redirected(url: URL, location: str) -> URL:
    """Return the target of a redirect.

    Raises:
        WebError: The target is not an http(s) address, or the redirect leads from https to http,
            where
            the file could be replaced on the way.
    """
    try:
        target = url.join(URL(location))
    except (ValueError, TypeError):
        raise _no_web_address(location) from None
    target = web_url(str(target))
    if url.scheme == "https" and target.scheme == "http":
        raise WebError("redirect from https to http: it would not be safe", refused=True)
    return target


def _no_web_address(text: str) -> WebError:
    # repr, since a server may have sent bytes that are not text.
    return WebError(f"not a web address: {text[:200]!r}", refused=True)


def retry_after(value: str | None) -> float | None:
    """Return the seconds that the header Retry-After demands; None if it is invalid."""
    if value is None:
        return None
    if value.strip().isascii() and value.strip().isdigit():
        return float(value.strip())
    try:
        when = parsedate_to_datetime(value)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return max(0.0, (when - datetime.now(UTC)).total_seconds())


def _wait(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    if isinstance(error, WebError) and error.retry_after is not None:
        return error.retry_after
    return _backoff(state)


@contextmanager
def _stopped(clock: asyncio.Timeout) -> Iterator[None]:
    """Suspend the deadline of a file while it waits in a queue or for robots.txt."""
    loop = asyncio.get_running_loop()
    when = clock.when()
    assert when is not None
    left = when - loop.time()
    clock.reschedule(None)
    try:
        yield
    finally:
        clock.reschedule(loop.time() + left)


def _too_large(max_bytes: int, status: int) -> WebError:
    return WebError(f"file too large: more than {max_bytes} bytes", status=status, refused=True)


def _explained(error: Exception, timeout: float, answered: bool) -> WebError:
    """Describe a failed request; the message does not depend on addresses, ports or times."""
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    unreachable = False
    match cause:
        case RefusedAddressError():
            text, again = f"refused address: {cause}", False
        case socket.gaierror():
            text, again = "unknown host: its name has no address", cause.errno == socket.EAI_AGAIN
            unreachable = True
        case SlowLookUpError():
            text = f"unknown host: its name is not looked up within {timeout:g} s (network.timeout)"
            again, unreachable = False, True  # the system's resolver has retried already
        case TimeoutError():
            text, again = f"timeout: nothing for {timeout:g} s (network.timeout)", True
            unreachable = not answered
        case aiohttp.ClientPayloadError():
            text, again = "truncated: the connection broke in the middle", True
        case aiohttp.ServerDisconnectedError():
            text, again = "disconnected: no answer", True
        case aiohttp.InvalidURL():
            text, again = "not a web address: its host cannot be used", False
        case ssl.SSLError() | ssl.CertificateError():
            text, again = "no secure connection: certificate or protocol not accepted", False
        case OSError():
            reason = os.strerror(cause.errno) if cause.errno else "no address answers"
            text, again = f"cannot connect: {reason}", True
            unreachable = not answered
        case _:
            text, again = f"not HTTP: {type(error).__name__}", False
    refused = isinstance(cause, (RefusedAddressError, aiohttp.InvalidURL))
    return WebError(text, refused=refused, unreachable=unreachable, again=again)


def _phrase(status: int) -> str:
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return "unknown"
