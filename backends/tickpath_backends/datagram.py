"""The headers in front of every order that leaves as a datagram: Ethernet, IPv4, UDP.

Written once, by the wire tables; ``native/datagram.h`` completes lengths and checksums with each
message.  Orders are never fragmented, and their identification is 0, as RFC 6864 has it then.
"""

import socket

from tickpath.backend import TransportError
from tickpath.wire.frame import ETHER_TYPE_IPV4, FRAME, IP_PROTOCOL_UDP

Endpoint = tuple[int, int]
"""IPv4 address and port, both integers."""
ETHERNET_BYTES = FRAME["ethernet"].length
DO_NOT_FRAGMENT = 0x4000
TIME_TO_LIVE = 64
VERSION_4_IHL_5 = 0x45


def dotted(address: int) -> str:
    """The text of an IPv4 address."""
    return socket.inet_ntoa(address.to_bytes(4, "big"))


def parse_mac(text: str, key: str = "transport.orders_mac") -> bytes:
    """The six bytes of an Ethernet address ``aa:bb:cc:dd:ee:ff``.  Raises `TransportError`."""
    parts = text.split(":")
    try:
        if len(parts) != 6 or not all(1 <= len(part) <= 2 for part in parts):
            raise ValueError
        return bytes(int(part, 16) for part in parts)
    except ValueError:
        raise TransportError(f"{key}: {text!r} is not an address like 02:00:5e:00:53:01") from None


def headers(
    source_mac: bytes, destination_mac: bytes, source: Endpoint, destination: Endpoint
) -> bytes:
    """42 bytes; lengths and checksums are zero."""
    ethernet = FRAME["ethernet"].encode(
        destination=destination_mac, source=source_mac, ether_type=ETHER_TYPE_IPV4
    )
    ipv4 = FRAME["ipv4"].encode(
        version_ihl=VERSION_4_IHL_5,
        flags_fragment_offset=DO_NOT_FRAGMENT,
        time_to_live=TIME_TO_LIVE,
        protocol=IP_PROTOCOL_UDP,
        source_address=source[0],
        destination_address=destination[0],
    )
    udp = FRAME["udp"].encode(source_port=source[1], destination_port=destination[1])
    return ethernet + ipv4 + udp
