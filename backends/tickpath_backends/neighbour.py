"""Where orders go on the wire: the interface, our address there, and the next hop's MAC address.

All three are the kernel's: its routes and its neighbour table, which is made to ask (ARP) where it
does not know yet, without sending the venue anything.
"""

import errno
import socket
import struct
import time
from typing import NamedTuple

from tickpath.backend import TransportError
from tickpath_backends import netlink
from tickpath_backends.datagram import dotted

_NEW_NEIGHBOUR, _GET_NEIGHBOUR, _GET_ROUTE = 28, 30, 26
_ROUTE = struct.Struct("=BBBBBBBBI")
_NEIGHBOUR = struct.Struct("=BxHiHBB")  # family, pad, interface, state, flags, type
_TO, _OUT, _GATEWAY, _PREFERRED_SOURCE = 1, 4, 5, 7
_DESTINATION, _LINK_ADDRESS = 1, 2
_KNOWN = 0x02 | 0x04 | 0x08 | 0x10 | 0x40 | 0x80  # reachable to permanent, not failed
_USE = 0x01
WAIT_S, LOOK_S = 1.5, 0.02


class Route(NamedTuple):
    """How the kernel reaches an address."""

    interface: int
    source: int
    next_hop: int


def route(address: int) -> Route:
    """The kernel's way to an IPv4 address.  Raises `TransportError` where there is none."""
    body = _ROUTE.pack(socket.AF_INET, 32, 0, 0, 0, 0, 0, 0, 0)
    body += netlink.pack(_TO, address.to_bytes(4, "big"))
    try:
        found = netlink.unpack(netlink.ask(_GET_ROUTE, body)[_ROUTE.size :])
    except OSError as error:
        reason = error.strerror or error
        raise TransportError(f"no way to {dotted(address)}: {reason}; run: ip route add") from None
    gateway = int.from_bytes(found.get(_GATEWAY, b""), "big")
    return Route(
        interface=int.from_bytes(found.get(_OUT, b""), "little"),
        source=int.from_bytes(found.get(_PREFERRED_SOURCE, b""), "big"),
        next_hop=gateway or address,
    )


def multicast_mac(address: int) -> bytes | None:
    """The Ethernet address of an IPv4 group (RFC 1112); None for other addresses."""
    if address >> 28 != 0xE:
        return None
    return bytes((0x01, 0x00, 0x5E)) + (address & 0x7FFFFF).to_bytes(3, "big")


def known_mac(interface: int, address: int) -> bytes | None:
    """What the neighbour table says now."""
    body = _NEIGHBOUR.pack(socket.AF_INET, 0, interface, 0, 0, 0)
    body += netlink.pack(_DESTINATION, address.to_bytes(4, "big"))
    try:
        answer = netlink.ask(_GET_NEIGHBOUR, body)
    except OSError:
        return None
    state = _NEIGHBOUR.unpack_from(answer)[3] if len(answer) >= _NEIGHBOUR.size else 0
    return netlink.unpack(answer[_NEIGHBOUR.size :]).get(_LINK_ADDRESS) if state & _KNOWN else None


def find_mac(interface: int, address: int, wait_s: float = WAIT_S) -> bytes:
    """A neighbour's MAC address; where it is not known the kernel asks, for at most ``wait_s``.

    Raises `TransportError`.
    """
    if mac := multicast_mac(address):
        return mac
    end = time.monotonic() + wait_s
    if not (mac := known_mac(interface, address)):
        _resolve(interface, address)
    while not mac and time.monotonic() < end:
        time.sleep(LOOK_S)
        mac = known_mac(interface, address)
    if not mac:
        raise TransportError(
            f"the Ethernet address of {dotted(address)} is not known: nobody answers ARP; "
            "set transport.orders_mac"
        )
    return mac


def _resolve(interface: int, address: int) -> None:
    """Have the kernel ask for it, as if something were sent there."""
    body = _NEIGHBOUR.pack(socket.AF_INET, 0, interface, 0, _USE, 0)
    body += netlink.pack(_DESTINATION, address.to_bytes(4, "big"))
    try:
        netlink.ask(_NEW_NEIGHBOUR, body, netlink.CREATE | netlink.ACKNOWLEDGE)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EACCES):
            raise TransportError(
                f"the neighbour table does not take {dotted(address)}: {error.strerror}"
            ) from None
        raise TransportError(
            f"the Ethernet address of {dotted(address)} is not known, and asking for it takes "
            "CAP_NET_ADMIN; set transport.orders_mac"
        ) from None
