"""Orders that leave as frames of our own: the headers in front of them, from the kernel's tables.

A plain socket keeps the port that they come from, so that nobody else gets it, and so that what the
venue sends back is not answered by the kernel with "port unreachable".
"""

import socket

from tickpath.backend import TransportError
from tickpath.config import Transport, parse_group
from tickpath_backends import datagram, multicast, neighbour
from tickpath_backends.interface import Interface
from tickpath_backends.multicast import Group


class Egress:
    """The way of orders out of an interface."""

    def __init__(self, config: Transport, card: Interface) -> None:
        """``config.orders_to`` is set.  Raises `TransportError`."""
        assert config.orders_to is not None
        to = Group(*parse_group(config.orders_to))
        if card.is_loopback:
            raise TransportError(
                f"transport.orders_to: the kernel takes no frames of ours from {card.name}; "
                "use the udp transport there"
            )
        way = neighbour.route(to.address)
        if way.interface != card.ifindex:
            raise TransportError(
                f"transport.orders_to: the way to {to} is by {_name(way.interface)}, not "
                f"{card.name}; run: ip route add {datagram.dotted(to.address)} dev {card.name}"
            )
        source = Group(way.source, 0)
        if config.orders_from is not None:
            source = Group(*parse_group(config.orders_from))
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            multicast.bind(self._socket, source, "transport.orders_from")
            source = Group(source.address, self._socket.getsockname()[1])
            if config.orders_mac is not None:
                mac = datagram.parse_mac(config.orders_mac)
            else:
                mac = neighbour.find_mac(card.ifindex, way.next_hop)
        except BaseException:
            self.close()
            raise
        self.headers = datagram.headers(card.mac, mac, source, to)
        """42 bytes, for ``native/datagram.h``."""

    def close(self) -> None:
        """Give up the port."""
        self._socket.close()


def _name(ifindex: int) -> str:
    try:
        return socket.if_indextoname(ifindex)
    except OSError:
        return f"interface {ifindex}"
