"""From a captured packet to its UDP payload: link, VLAN tags, IPv4 with options, UDP.

Everything else is counted by kind and passed over: IPv6, TCP, fragments, other protocols, other
groups, headers that contradict themselves.  Lengths are believed only as far as the bytes reach.
"""

import numpy as np

from tickpath.counters import Counter
from tickpath.jit import cold, leaf
from tickpath.layout import count, engine, group
from tickpath.packet import (
    LINK_ETHERNET,
    LINK_IPV4,
    LINK_LINUX_SLL,
    LINK_LINUX_SLL2,
    LINK_RAW,
)
from tickpath.wire import frame as wire
from tickpath.wire.hot import peek

ZERO, ONE = np.uint64(0), np.uint64(1)
MAX_VLAN_TAGS = np.uint64(4)

_ETHERNET, _RAW = np.uint64(LINK_ETHERNET), np.uint64(LINK_RAW)
_SLL, _SLL2, _LINK_IPV4 = (
    np.uint64(LINK_LINUX_SLL),
    np.uint64(LINK_LINUX_SLL2),
    np.uint64(LINK_IPV4),
)
_IPV4, _IPV6 = np.uint64(wire.ETHER_TYPE_IPV4), np.uint64(wire.ETHER_TYPE_IPV6)
_VLAN, _QINQ = np.uint64(wire.ETHER_TYPE_VLAN), np.uint64(wire.ETHER_TYPE_QINQ)
_QINQ_OLD = np.uint64(wire.ETHER_TYPE_QINQ_OLD)
_UDP, _TCP = np.uint64(wire.IP_PROTOCOL_UDP), np.uint64(wire.IP_PROTOCOL_TCP)
_CUT = np.uint64(1 << 16)
"""In place of an ether type: the frame ends before it."""
_VERSION_4, _VERSION_6 = np.uint64(4), np.uint64(6)
_FOUR, _NIBBLE = np.uint64(4), np.uint64(15)
_FRAGMENT = np.uint64(0x3FFF)
"""More-fragments flag and fragment offset: both zero in a whole datagram."""

_ETHERNET_LENGTH = np.uint64(wire.FRAME["ethernet"].length)
_VLAN_LENGTH = np.uint64(wire.FRAME["vlan_tag"].length)
_SLL_LENGTH = np.uint64(wire.FRAME["linux_sll"].length)
_SLL2_LENGTH = np.uint64(wire.FRAME["linux_sll2"].length)
_IPV4_LENGTH = np.uint64(wire.FRAME["ipv4"].length)
_UDP_LENGTH = np.uint64(wire.FRAME["udp"].length)

_ether_type = peek(wire.FRAME["ethernet"], "ether_type")
_tagged_ether_type = peek(wire.FRAME["vlan_tag"], "ether_type")
_sll_protocol = peek(wire.FRAME["linux_sll"], "protocol")
_sll2_protocol = peek(wire.FRAME["linux_sll2"], "protocol")
_version_ihl = peek(wire.FRAME["ipv4"], "version_ihl")
_total_length = peek(wire.FRAME["ipv4"], "total_length")
_flags_fragment_offset = peek(wire.FRAME["ipv4"], "flags_fragment_offset")
_protocol = peek(wire.FRAME["ipv4"], "protocol")
_destination_address = peek(wire.FRAME["ipv4"], "destination_address")
_destination_port = peek(wire.FRAME["udp"], "destination_port")
_udp_length = peek(wire.FRAME["udp"], "length")

_LINK_UNKNOWN = np.uint64(Counter.LINK_UNKNOWN)
_TRUNCATED = np.uint64(Counter.FRAME_TRUNCATED)
_ETHER_TYPE_OTHER = np.uint64(Counter.ETHER_TYPE_OTHER)
_COUNT_IPV6 = np.uint64(Counter.IPV6)
_IPV4_INVALID = np.uint64(Counter.IPV4_INVALID)
_IPV4_FRAGMENT = np.uint64(Counter.IPV4_FRAGMENT)
_COUNT_TCP = np.uint64(Counter.TCP)
_PROTOCOL_OTHER = np.uint64(Counter.IP_PROTOCOL_OTHER)
_UDP_INVALID = np.uint64(Counter.UDP_INVALID)
_OTHER_GROUP = np.uint64(Counter.UDP_OTHER_GROUP)


PLAIN_LENGTH = _ETHERNET_LENGTH + _IPV4_LENGTH + _UDP_LENGTH
"""Headers of the plain frame: see `is_plain`."""
_PLAIN = np.uint64(4 << 4 | 5)


@leaf
def is_plain(address):
    """True for Ethernet without tags, then IPv4 without options, then UDP, whole or not."""
    ip = address + _ETHERNET_LENGTH
    return (_ether_type(address) == _IPV4) & (_version_ihl(ip) == _PLAIN) & (_protocol(ip) == _UDP)


@cold
def _pass_over(eng, reason):
    count(eng, reason)
    return ZERO, ZERO, ZERO, ZERO


@cold
def _cooked(link, at, end):
    """(ether type, start of the network header) of a cooked capture; `_CUT` where it is cut."""
    if link == _SLL and at + _SLL_LENGTH <= end:
        return _sll_protocol(at), at + _SLL_LENGTH
    if link == _SLL2 and at + _SLL2_LENGTH <= end:
        return _sll2_protocol(at), at + _SLL2_LENGTH
    return _CUT, at


@cold
def _skip_tags(ether_type, at, end):
    """(ether type, start of the network header) behind VLAN tags; `_CUT` where they are cut."""
    for _ in range(MAX_VLAN_TAGS):
        if ether_type != _VLAN and ether_type != _QINQ and ether_type != _QINQ_OLD:
            break
        if at + _VLAN_LENGTH > end:
            return _CUT, at
        ether_type = _tagged_ether_type(at)
        at += _VLAN_LENGTH
    return ether_type, at


@cold
def _raw_type(at, end):
    """Ether type that a raw IP packet's version stands for; `_CUT` where there is no byte."""
    if at >= end:
        return _CUT
    version = _version_ihl(at) >> _FOUR
    return _IPV4 if version == _VERSION_4 else (_IPV6 if version == _VERSION_6 else ONE)


@leaf
def _network(link, at, end):
    """(ether type, start of the network header); `_CUT` where the frame is."""
    if link == _ETHERNET:
        if at + _ETHERNET_LENGTH > end:
            return _CUT, at
        ether_type = _ether_type(at)
        at += _ETHERNET_LENGTH
    elif link == _RAW or link == _LINK_IPV4:
        ether_type = _raw_type(at, end)
    else:
        ether_type, at = _cooked(link, at, end)
    if ether_type != _IPV4:
        ether_type, at = _skip_tags(ether_type, at, end)
    return ether_type, at


@leaf
def _is_known(link):
    return link == _ETHERNET or link == _RAW or link == _LINK_IPV4 or link == _SLL or link == _SLL2


@cold
def _wanted(eng, address, port):
    """True where no group is configured, or this one is."""
    groups = engine.groups(eng)
    for at in range(groups):
        g = group.at(eng, at)
        if group.address(g) == address and group.port(g) == port:
            return True
    return groups == ZERO


@leaf
def payload(eng, link, at, length):
    """(start, end, group address, port) of the UDP payload; all 0 where there is none to take."""
    end = at + length
    if not _is_known(link):
        return _pass_over(eng, _LINK_UNKNOWN)
    ether_type, at = _network(link, at, end)
    if ether_type == _CUT:
        return _pass_over(eng, _TRUNCATED)
    if ether_type != _IPV4:
        return _pass_over(eng, _COUNT_IPV6 if ether_type == _IPV6 else _ETHER_TYPE_OTHER)
    if at + _IPV4_LENGTH > end:
        return _pass_over(eng, _TRUNCATED)
    header = (_version_ihl(at) & _NIBBLE) << np.uint64(2)
    total = _total_length(at)
    if _version_ihl(at) >> _FOUR != _VERSION_4 or header < _IPV4_LENGTH or total < header:
        return _pass_over(eng, _IPV4_INVALID)
    if at + total > end:
        return _pass_over(eng, _TRUNCATED)
    if _flags_fragment_offset(at) & _FRAGMENT != ZERO:
        return _pass_over(eng, _IPV4_FRAGMENT)
    if _protocol(at) != _UDP:
        return _pass_over(eng, _COUNT_TCP if _protocol(at) == _TCP else _PROTOCOL_OTHER)
    address = _destination_address(at)
    # What stands behind the datagram is padding of the frame.
    end = at + total
    at += header
    if at + _UDP_LENGTH > end or _udp_length(at) < _UDP_LENGTH or at + _udp_length(at) > end:
        return _pass_over(eng, _UDP_INVALID)
    port = _destination_port(at)
    if not _wanted(eng, address, port):
        return _pass_over(eng, _OTHER_GROUP)
    return at + _UDP_LENGTH, at + _udp_length(at), address, port
