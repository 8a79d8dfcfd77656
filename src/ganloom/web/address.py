"""Which addresses may be asked: public ones, and loopback where the params allow it."""

from __future__ import annotations

import asyncio
import concurrent.futures
import ipaddress
import socket
import threading
from collections.abc import Callable
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult

_LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))

# The registries of IANA decide, not the version of Python: its `is_global` has changed often, and
# takes multicast for global.
_SPECIAL_IPV4 = tuple(
    ipaddress.IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # "this network"; 0.0.0.0 connects to the own machine
        "10.0.0.0/8",
        "100.64.0.0/10",  # shared by a provider's customers; metadata of some clouds
        "127.0.0.0/8",
        "168.63.129.16/32",  # a public address, but metadata of one cloud
        "169.254.0.0/16",  # link-local; metadata of most clouds
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",  # relays of 6to4
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
    )
)
_GLOBAL_IPV6 = ipaddress.IPv6Network("2000::/3")
_SPECIAL_IPV6 = tuple(
    ipaddress.IPv6Network(network)
    for network in (
        "2001::/23",  # Teredo, which wraps an IPv4 address, and other protocols
        "2001:db8::/32",
        "2002::/16",  # 6to4, which wraps an IPv4 address
        "2620:4f:8000::/48",
        "3fff::/20",
    )
)
# Ways to write an IPv4 address that are in use: the last 32 bits are judged.
_WRAPPED_IPV4 = (
    ipaddress.IPv6Network("::ffff:0:0/96"),  # IPv4-mapped
    ipaddress.IPv6Network("64:ff9b::/96"),  # NAT64, all that some networks have
)


class RefusedAddressError(OSError):
    """An address that must not be asked. An ``OSError``, as aiohttp expects of a failed look-up."""


class SlowLookUpError(OSError):
    """A name that was not looked up in time."""


def is_public(address: str) -> bool:
    """Whether an IPv4 or IPv6 address is one of the public internet.

    Private, loopback, link-local, multicast, reserved and metadata addresses are not, however they
    are wrapped into IPv6. What is no address at all is not public either.
    """
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address) and any(ip in network for network in _WRAPPED_IPV4):
        ip = ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF)
    if isinstance(ip, ipaddress.IPv4Address):
        return not any(ip in network for network in _SPECIAL_IPV4)
    return ip in _GLOBAL_IPV6 and not any(ip in network for network in _SPECIAL_IPV6)


def is_loopback(address: str) -> bool:
    """Whether an address is plainly one of 127.0.0.0/8 or ::1."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(ip in network for network in _LOOPBACK)


class Guard:
    """The addresses that may be asked.

    Args:
        loopback: Whether 127.0.0.0/8 and ::1 are among them.
    """

    def __init__(self, loopback: bool) -> None:
        self._loopback = loopback

    def allows(self, address: str) -> bool:
        return is_public(address) or (self._loopback and is_loopback(address))

    def open_socket(self, where: tuple[int, int, int, str, tuple[str, int]]) -> socket.socket:
        """A socket for an address of ``getaddrinfo``: the last door, which all connections pass.

        aiohttp hands over the very address that it connects to next, whether a resolver found it or
        it stood in a URL.

        Raises:
            RefusedAddressError: it must not be asked.
        """
        family, kind, protocol, _, (address, *_) = where
        if not self.allows(address):
            raise RefusedAddressError(f"{address} is no public address")
        return socket.socket(family, kind, protocol)


class GuardedResolver(AbstractResolver):
    """Looks a name up once and passes on the allowed addresses only.

    What is connected to is what was judged: nobody looks the name up a second time.

    Args:
        guard: Which addresses are allowed.
        timeout: Seconds for one look-up.
    """

    def __init__(self, guard: Guard, timeout: float) -> None:
        self._guard = guard
        self._timeout = timeout

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Addresses of a host.

        Raises:
            RefusedAddressError: it has only such as must not be asked.
            SlowLookUpError: no answer came in time.
            OSError: it has none.
        """
        try:
            async with asyncio.timeout(self._timeout):
                found = await _in_own_thread(lambda: _look_up(host, port, family))
        except TimeoutError:
            raise SlowLookUpError(host) from None
        except UnicodeError as error:  # no name that DNS could hold
            raise socket.gaierror(socket.EAI_NONAME, str(error)) from error
        allowed = [each for each in found if self._guard.allows(each["host"])]
        if found and not allowed:
            raise RefusedAddressError(f"{found[0]['host']} is no public address")
        return allowed

    async def close(self) -> None:
        """Nothing: a look-up that hangs is left to itself."""


def _look_up(host: str, port: int, family: socket.AddressFamily) -> list[ResolveResult]:
    found = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    return [
        ResolveResult(
            hostname=host,
            host=str(address),
            port=port,
            family=kind,
            proto=protocol,
            flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
        )
        for kind, _, protocol, _, (address, *_) in found
    ]


def _in_own_thread(call: Callable[[], Any]) -> asyncio.Future[Any]:
    """Start a call that cannot be stopped in a daemon thread.

    Of a pool, names that hang would use up the threads, and Python waits for a pool at its end.
    """
    result: concurrent.futures.Future[Any] = concurrent.futures.Future()
    result.set_running_or_notify_cancel()  # from now on nobody can cancel it

    def run() -> None:
        try:
            result.set_result(call())
        except Exception as error:
            result.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return asyncio.wrap_future(result)
