"""Ethernet, IPv4 and UDP headers around a datagram, as a socket took them off.

Source and destination are those that the socket told; hardware addresses follow from the group
(RFC 1112), or are zero; the time to live is not known and is 1.  UDP's checksum is 0: none.
"""

import socket
import struct

from tickpath.session.tcp_stream import Address
from tickpath.wire.frame import ETHER_TYPE_IPV4, FRAME, IP_PROTOCOL_UDP

_CODES = {"u8": "B", "u16": "H", "u32": "I", "bytes:6": "6s"}
_HEADERS = struct.Struct(
    ">"
    + "".join(
        _CODES[each.kind] for name in ("ethernet", "ipv4", "udp") for each in FRAME[name].fields
    )
)
_IPV4 = slice(FRAME["ethernet"].length, FRAME["ethernet"].length + FRAME["ipv4"].length)
_CHECKSUM = _IPV4.start + FRAME["ipv4"]["header_checksum"].offset
_UDP, _IP = FRAME["udp"].length, FRAME["ipv4"].length
_VERSION_IHL = 0x45
_DONT_FRAGMENT = 0x4000
_GROUP_MAC = 0x01005E << 24
_GROUP_BITS = (1 << 23) - 1
_MULTICAST = 0b1110

assert _HEADERS.size == sum(FRAME[name].length for name in ("ethernet", "ipv4", "udp"))


def frame(payload: bytes, source: Address, destination: Address) -> bytes:
    """The frame of a datagram."""
    from_address, to_address = (
        int.from_bytes(socket.inet_aton(each[0]), "big") for each in (source, destination)
    )
    is_group = to_address >> 28 == _MULTICAST
    mac = _GROUP_MAC | (to_address & _GROUP_BITS) if is_group else 0
    headers = bytearray(
        _HEADERS.pack(
            mac.to_bytes(6, "big"),
            bytes(6),
            ETHER_TYPE_IPV4,
            _VERSION_IHL,
            0,
            _IP + _UDP + len(payload),
            0,
            _DONT_FRAGMENT,
            1,
            IP_PROTOCOL_UDP,
            0,
            from_address,
            to_address,
            source[1],
            destination[1],
            _UDP + len(payload),
            0,
        )
    )
    struct.pack_into(">H", headers, _CHECKSUM, _checksum(headers[_IPV4]))
    return bytes(headers) + payload


def _checksum(header: bytes | bytearray) -> int:
    """RFC 1071: the ones' complement of the sum of all 16-bit words."""
    total = sum(struct.unpack(f">{len(header) // 2}H", header))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF
