"""Checks of IP addresses: requests go to public ones, and to loopback if params allow it."""

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

# From the registries of IANA, since `is_global` differs between versions of Python and includes
# multicast.
_SPECIAL_IPV4 = tuple(
    ipaddress.IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # "this network"; 0.0.0.0 connects to the local machine
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
# Networks whose last 32 bits are an IPv4 address, which is checked instead.
_WRAPPED_IPV4 = (
    ipaddress.IPv6Network("::ffff:0:0/96"),  # IPv4-mapped
    ipaddress.IPv6Network("64:ff9b::/96"),  # NAT64, the only way out of some networks
)


class RefusedAddressError(OSError):
    """The address must not be requested. An ``OSError``, as aiohttp expects of a failed look-up."""


class SlowLookUpError(OSError):
    """A name was not resolved in time."""


def is_public(address: str) -> bool:
    """Tell whether an IPv4 or IPv6 address belongs to the public internet.

    Private, loopback, link-local, multicast, reserved and cloud metadata addresses do not, also if
    they are embedded in IPv6. Neither do invalid addresses.
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
    """Tell whether an address is in 127.0.0.0/8 or is ::1."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(ip in network for network in _LOOPBACK)


class Guard:
    """The set of allowed addresses.

    Args:
        loopback: Whether it includes 127.0.0.0/8 and ::1.
    """

    def __init__(self, loopback: bool) -> None:
        self._loopback = loopback

    def allows(self, address: str) -> bool:
        return is_public(address) or (self._loopback and is_loopback(address))

    def open_socket(self, where: tuple[int, int, int, str, tuple[str, int]]) -> socket.socket:
        """Create a socket for an address of ``getaddrinfo``; all connections pass this check.

        aiohttp passes the address that it connects to, whether it was resolved or part of the URL.

        Raises:
            RefusedAddressError: The address is not allowed.
        """
        family, kind, protocol, _, (address, *_) = where
        if not self.allows(address):
            raise RefusedAddressError(f"{address} is no public address")
        return socket.socket(family, kind, protocol)


class GuardedResolver(AbstractResolver):
    """Resolver that resolves a name once and returns only the allowed addresses.

    The connection is made to the checked address, without another look-up (DNS rebinding).

    Args:
        guard: Allowed addresses.
        timeout: Limit of a look-up in seconds.
    """

    def __init__(self, guard: Guard, timeout: float) -> None:
        self._guard = guard
        self._timeout = timeout

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Resolve a host.

        Raises:
            RefusedAddressError: None of its addresses is allowed.
            SlowLookUpError: The look-up exceeded the time-out.
            OSError: It has no addresses.
        """
        try:
            async with asyncio.timeout(self._timeout):
                addresses = await _in_own_thread(lambda: _look_up(host, port, family))
        except TimeoutError:
            raise SlowLookUpError(host) from None
        except UnicodeError as error:  # not a valid DNS name
            raise socket.gaierror(socket.EAI_NONAME, str(error)) from error
        allowed = [each for each in addresses if self._guard.allows(each["host"])]
        if addresses and not allowed:
            raise RefusedAddressError(f"{addresses[0]['host']} is no public address")
        return allowed

    async def close(self) -> None:
        """Do nothing: a blocked look-up is left to its daemon thread."""


def _look_up(host: str, port: int, family: socket.AddressFamily) -> list[ResolveResult]:
    answers = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    return [
        ResolveResult(
            hostname=host,
            host=str(address),
            port=port,
            family=kind,
            proto=protocol,
            flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
        )
        for kind, _, protocol, _, (address, *_) in answers
    ]


def _in_own_thread(call: Callable[[], Any]) -> asyncio.Future[Any]:
    """Run a call that cannot be cancelled in a daemon thread.

    Blocked look-ups would exhaust a thread pool, and Python waits for pools at exit.
    """
    result: concurrent.futures.Future[Any] = concurrent.futures.Future()
    result.set_running_or_notify_cancel()  # the future cannot be cancelled from now on

    def run() -> None:
        try:
            result.set_result(call())
        except Exception as error:
            result.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return asyncio.wrap_future(result)
