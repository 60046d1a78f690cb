"""From a captured packet to the UDP datagram or TCP segment in it, in Python.

The same packets are taken and the same are passed over, under the same names, as by the engine's
`tickpath.frame`; the two are written apart from each other, so that one can be compared with the
other.  TCP is taken here too.  Lengths are believed only as far as the bytes reach.
"""

import struct
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from tickpath.packet import (
    LINK_ETHERNET,
    LINK_IPV4,
    LINK_LINUX_SLL,
    LINK_LINUX_SLL2,
    LINK_RAW,
)
from tickpath.wire import frame
from tickpath.wire.frame import FRAME
from tickpath.wire.table import Message
from tickpath.wire.tcp import FLAG_SYN, TCP

MAX_VLAN_TAGS = 4
_FRAGMENT = 0x3FFF
"""More-fragments flag and fragment offset: both zero in a whole datagram."""
_VLAN_TYPES = (frame.ETHER_TYPE_VLAN, frame.ETHER_TYPE_QINQ, frame.ETHER_TYPE_QINQ_OLD)
_CODES = {1: "B", 2: "H", 4: "I", 8: "Q"}


class Payload(NamedTuple):
    """What a datagram or segment carries; TCP has a flow and a sequence number too."""

    protocol: int  # IP protocol
    data: bytes
    flow: tuple[int, int, int, int] = (0, 0, 0, 0)  # source address, port, destination likewise
    sequence_number: int = 0
    is_first: bool = False  # the connection begins here (SYN)


def reader(message: Message, names: Iterable[str]) -> struct.Struct:
    """A reader of some fields of a layout, in the order of the table; text is bytes."""
    form, end = ">" if message.order == "big" else "<", 0
    for each in message.fields:
        if each.name in names:
            code = _CODES[each.size] if each.is_integer else f"{each.size}s"
            form += f"{each.offset - end}x{code}"
            end = each.offset + each.size
    return struct.Struct(form)


_ETHER_TYPE = reader(FRAME["ethernet"], ["ether_type"])
_TAGGED_ETHER_TYPE = reader(FRAME["vlan_tag"], ["ether_type"])
_SLL_PROTOCOL = reader(FRAME["linux_sll"], ["protocol"])
_SLL2_PROTOCOL = reader(FRAME["linux_sll2"], ["protocol"])
_IPV4 = reader(
    FRAME["ipv4"],
    [
        "version_ihl",
        "total_length",
        "flags_fragment_offset",
        "protocol",
        "source_address",
        "destination_address",
    ],
)
_UDP_LENGTH = reader(FRAME["udp"], ["length"])
_TCP = reader(
    TCP["tcp"], ["source_port", "destination_port", "sequence_number", "data_offset", "flags"]
)

_LINKS = {
    LINK_ETHERNET: (FRAME["ethernet"].length, _ETHER_TYPE),
    LINK_LINUX_SLL: (FRAME["linux_sll"].length, _SLL_PROTOCOL),
    LINK_LINUX_SLL2: (FRAME["linux_sll2"].length, _SLL2_PROTOCOL),
}
_VERSIONS = {4: frame.ETHER_TYPE_IPV4, 6: frame.ETHER_TYPE_IPV6}


def payload(link: int, packet: bytes, counters: Counter[str]) -> Payload | None:
    """The UDP or TCP payload of a packet; None, and a counter by the reason, where there is none.

    ``link`` is the link type as in `tickpath.packet.PACKET`.
    """
    network = _network(link, packet)
    if network is None:
        counters["link_unknown"] += 1
        return None
    ether_type, at = network
    if ether_type != frame.ETHER_TYPE_IPV4:
        counters[_PASSED_OVER.get(ether_type, "ether_type_other")] += 1
        return None
    return _transport(packet, at, counters)


_CUT = 0
"""Stands for the ether type of a frame that ends before it."""
_PASSED_OVER = {_CUT: "frame_truncated", frame.ETHER_TYPE_IPV6: "ipv6"}


def _network(link: int, packet: bytes) -> tuple[int, int] | None:
    """(ether type, start of the network header); None for a link type that is not known."""
    if link in (LINK_RAW, LINK_IPV4):
        if not packet:
            return _CUT, 0
        return _VERSIONS.get(packet[0] >> 4, -1), 0
    if link not in _LINKS:
        return None
    at, header = _LINKS[link]
    if len(packet) < at:
        return _CUT, 0
    (ether_type,) = header.unpack_from(packet)
    for _ in range(MAX_VLAN_TAGS):
        if ether_type not in _VLAN_TYPES:
            break
        if len(packet) < at + FRAME["vlan_tag"].length:
            return _CUT, 0
        (ether_type,) = _TAGGED_ETHER_TYPE.unpack_from(packet, at)
        at += FRAME["vlan_tag"].length
    return ether_type, at


def _transport(packet: bytes, at: int, counters: Counter[str]) -> Payload | None:
    if len(packet) < at + FRAME["ipv4"].length:
        counters["frame_truncated"] += 1
        return None
    version_ihl, total, fragment, protocol, source, destination = _IPV4.unpack_from(packet, at)
    header = (version_ihl & 15) * 4
    reason = ""
    if version_ihl >> 4 != 4 or header < FRAME["ipv4"].length or total < header:
        reason = "ipv4_invalid"
    elif at + total > len(packet):
        reason = "frame_truncated"
    elif fragment & _FRAGMENT:
        reason = "ipv4_fragment"
    if reason:
        counters[reason] += 1
        return None
    # What stands behind the datagram is padding of the frame.
    datagram = packet[at + header : at + total]
    if protocol == frame.IP_PROTOCOL_UDP:
        return _udp(datagram, counters)
    if protocol == frame.IP_PROTOCOL_TCP:
        return _tcp(datagram, source, destination, counters)
    counters["ip_protocol_other"] += 1
    return None


def _udp(datagram: bytes, counters: Counter[str]) -> Payload | None:
    smallest = FRAME["udp"].length
    if len(datagram) >= smallest:
        (length,) = _UDP_LENGTH.unpack_from(datagram)
        if smallest <= length <= len(datagram):
            return Payload(frame.IP_PROTOCOL_UDP, datagram[smallest:length])
    counters["udp_invalid"] += 1
    return None


def _tcp(segment: bytes, source: int, destination: int, counters: Counter[str]) -> Payload | None:
    if len(segment) >= TCP["tcp"].length:
        source_port, destination_port, number, offset, flags = _TCP.unpack_from(segment)
        header = (offset >> 4) * 4
        if TCP["tcp"].length <= header <= len(segment):
            flow = (source, source_port, destination, destination_port)
            is_first = bool(flags & FLAG_SYN)
            return Payload(frame.IP_PROTOCOL_TCP, segment[header:], flow, number, is_first)
    counters["tcp_invalid"] += 1
    return None
