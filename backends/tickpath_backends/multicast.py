"""The groups that a transport receives, and membership in them.

A membership is a plain socket's: it makes the kernel send IGMP reports and open the card's filter,
also where the packets then go past the kernel.  It ends with the socket, however the process ends.
"""

import errno
import socket
import struct
from typing import NamedTuple

from tickpath.backend import TransportError
from tickpath.config import Config, parse_group
from tickpath_backends.datagram import dotted
from tickpath_backends.interface import Interface

_IP_MULTICAST_ALL = 49
_MEMBERSHIP = struct.Struct("=4s4si")  # struct ip_mreqn: group, address, interface


class Group(NamedTuple):
    """Where a line of a feed is sent to: an IPv4 address and a port, as integers."""

    address: int
    port: int

    @property
    def is_multicast(self) -> bool:
        return self.address >> 28 == 0xE

    def __str__(self) -> str:
        return f"{dotted(self.address)}:{self.port}"


def groups(config: Config) -> list[Group]:
    """Every group of `feed.groups` and `feed.lines_b`, once, in that order.

    Raises `TransportError` where there is none, or one that nothing can be sent to.
    """
    texts = [*config.feed.groups, *config.feed.lines_b, *config.feed.lines_b.values()]
    found = [Group(*parse_group(text)) for text in dict.fromkeys(texts)]
    if not found:
        raise TransportError(
            'no groups are configured: set feed.groups to the feed\'s, as in ["239.255.0.1:26477"]'
        )
    for group in found:
        if not group.address or not group.port:
            raise TransportError(f"feed.groups: {group} is not an address and a port to receive")
    return list(dict.fromkeys(found))


def bind(sock: socket.socket, group: Group, key: str) -> None:
    """Bind a socket to a group or an address of our own.  Raises `TransportError`."""
    try:
        sock.bind((dotted(group.address), group.port))
    except OSError as error:
        reason = {
            errno.EADDRNOTAVAIL: "is neither a multicast group nor an address of this machine",
            errno.EADDRINUSE: "is taken by another program",
            errno.EACCES: "may be bound by root only",
        }.get(error.errno or 0, f"cannot be bound: {error.strerror or error}")
        raise TransportError(f"{key}: {group} {reason}") from None


def join(sock: socket.socket, group: Group, interface: Interface | None) -> None:
    """Make a socket a member of a group on an interface; none: on the one the kernel's routes say.

    Raises `TransportError`.
    """
    index = interface.ifindex if interface else 0
    where = f" on {interface.name}" if interface else ""
    request = _MEMBERSHIP.pack(group.address.to_bytes(4, "big"), bytes(4), index)
    try:
        sock.setsockopt(socket.IPPROTO_IP, _IP_MULTICAST_ALL, 0)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)
    except OSError as error:
        reason = {
            errno.ENODEV: "no route leads to it; set transport.interface",
            errno.ENOBUFS: "too many memberships; raise net.ipv4.igmp_max_memberships",
        }.get(error.errno or 0, error.strerror or str(error))
        raise TransportError(f"{group} cannot be joined{where}: {reason}") from None


class Memberships:
    """Membership in groups whose packets do not come through a socket."""

    def __init__(self, wanted: list[Group], interface: Interface) -> None:
        """Raises `TransportError`."""
        self._sockets: list[socket.socket] = []
        try:
            for group in wanted:
                if group.is_multicast:
                    # One each: the kernel allows a socket 20 (igmp_max_memberships).
                    self._sockets.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                    join(self._sockets[-1], group, interface)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Leave them all."""
        for sock in self._sockets:
            sock.close()
        self._sockets.clear()
