"""The XDP program that takes the feed's packets off the interface, assembled here by hand.

It runs in the kernel for every packet: IPv4/UDP to one of the configured groups and ports goes to
the AF_XDP socket of the queue it came by, all else on to the kernel, as does what the queue has no
socket for.  One VLAN tag may stand in front; IP options and fragments are the kernel's.  What it
takes no other program of this machine gets.

No compiler and no library: instructions are eight bytes each (``linux/bpf.h``), offsets come from
the wire tables.  The kernel's verifier proves before it runs that nothing is read beyond a packet.
"""

import struct
import sys
from collections.abc import Sequence
from typing import NamedTuple

from tickpath.wire.frame import ETHER_TYPE_IPV4, ETHER_TYPE_VLAN, FRAME, IP_PROTOCOL_UDP
from tickpath_backends.datagram import VERSION_4_IHL_5
from tickpath_backends.multicast import Group

XDP_PASS = 2
MOST_GROUPS = 1024
_INSTRUCTION = struct.Struct("=BBhI")  # code, registers, jump, immediate
_MOVE_REGISTER, _MOVE, _ADD, _AND = 0xBF, 0xB7, 0x07, 0x57
_LOAD_8, _LOAD_16, _LOAD_32, _LOAD_64_IMMEDIATE = 0x71, 0x69, 0x61, 0x18
_IF_GREATER_REGISTER, _IF_NOT, _IF_32, _IF_NOT_32, _GO = 0x2D, 0x55, 0x16, 0x56, 0x05
_CALL, _EXIT = 0x85, 0x95
_REDIRECT_MAP, _MAP_DESCRIPTOR = 51, 1
_CONTEXT_DATA, _CONTEXT_END, _CONTEXT_QUEUE = 0, 4, 16
_R0, _R1, _R2, _R3, _R4, _R5, _R6 = range(7)

_ETHERNET, _VLAN, _IPV4, _UDP = (FRAME[name] for name in ("ethernet", "vlan_tag", "ipv4", "udp"))
_AT_IPV4 = _ETHERNET.length
_AT_UDP = _AT_IPV4 + _IPV4.length
_HEADERS = _AT_UDP + _UDP.length
_MORE_FRAGMENTS_OR_OFFSET = 0x3FFF


class _Line(NamedTuple):
    """An instruction whose jump, if it has one, is still a name."""

    code: int
    to: int = 0
    source: int = 0
    offset: int = 0
    immediate: int = 0
    label: str = ""


def assemble(groups: Sequence[Group], map_descriptor: int) -> bytes:
    """The program for these groups; ``map_descriptor`` is the XSKMAP of sockets by queue.

    Raises `ValueError` for more than `MOST_GROUPS`.
    """
    if len(groups) > MOST_GROUPS:
        raise ValueError(f"{len(groups)} groups are more than {MOST_GROUPS}")
    lines: list[_Line | str] = [
        _Line(_MOVE_REGISTER, _R6, _R1),
        _Line(_LOAD_32, _R2, _R6, _CONTEXT_DATA),
        _Line(_LOAD_32, _R3, _R6, _CONTEXT_END),
        *_bounds_and_type(),
        _Line(_IF_NOT, _R4, immediate=_network(ETHER_TYPE_VLAN, 2), label="untagged"),
        _Line(_ADD, _R2, immediate=_VLAN.length),
        *_bounds_and_type(),
        "untagged",
        _Line(_IF_NOT, _R4, immediate=_network(ETHER_TYPE_IPV4, 2), label="pass"),
        _Line(_LOAD_8, _R4, _R2, _AT_IPV4 + _IPV4["version_ihl"].offset),
        _Line(_IF_NOT, _R4, immediate=VERSION_4_IHL_5, label="pass"),
        _Line(_LOAD_16, _R4, _R2, _AT_IPV4 + _IPV4["flags_fragment_offset"].offset),
        _Line(_AND, _R4, immediate=_network(_MORE_FRAGMENTS_OR_OFFSET, 2)),
        _Line(_IF_NOT, _R4, immediate=0, label="pass"),
        _Line(_LOAD_8, _R4, _R2, _AT_IPV4 + _IPV4["protocol"].offset),
        _Line(_IF_NOT, _R4, immediate=IP_PROTOCOL_UDP, label="pass"),
        _Line(_LOAD_32, _R4, _R2, _AT_IPV4 + _IPV4["destination_address"].offset),
        _Line(_LOAD_16, _R5, _R2, _AT_UDP + _UDP["destination_port"].offset),
    ]
    for number, group in enumerate(groups):
        lines += [
            _Line(_IF_NOT_32, _R4, immediate=_network(group.address, 4), label=f"not {number}"),
            _Line(_IF_32, _R5, immediate=_network(group.port, 2), label="take"),
            f"not {number}",
        ]
    lines += [
        "pass",
        _Line(_MOVE, _R0, immediate=XDP_PASS),
        _Line(_EXIT),
        "take",
        _Line(_LOAD_32, _R2, _R6, _CONTEXT_QUEUE),
        _Line(_LOAD_64_IMMEDIATE, _R1, _MAP_DESCRIPTOR, immediate=map_descriptor),
        _Line(0),  # second half of the 64-bit load
        _Line(_MOVE, _R3, immediate=XDP_PASS),  # what is done where the map has no socket
        _Line(_CALL, immediate=_REDIRECT_MAP),
        _Line(_EXIT),
    ]
    return _resolved(lines)


def _bounds_and_type() -> list[_Line]:
    """Leave packets alone that are too short from r2 on; the type in front of IPv4 into r4."""
    return [
        _Line(_MOVE_REGISTER, _R4, _R2),
        _Line(_ADD, _R4, immediate=_HEADERS),
        _Line(_IF_GREATER_REGISTER, _R4, _R3, label="pass"),
        _Line(_LOAD_16, _R4, _R2, _ETHERNET["ether_type"].offset),
    ]


def _network(value: int, size: int) -> int:
    """What a load of this machine gives for a number in network order."""
    return int.from_bytes(value.to_bytes(size, "big"), sys.byteorder)


def _resolved(lines: Sequence[_Line | str]) -> bytes:
    """Machine code: jumps count the instructions between themselves and their label."""
    at, labels = 0, {}
    for line in lines:
        if isinstance(line, str):
            labels[line] = at
        else:
            at += 1
    code = bytearray()
    for line in lines:
        if isinstance(line, str):
            continue
        jump = labels[line.label] - len(code) // _INSTRUCTION.size - 1 if line.label else 0
        registers = line.to | line.source << 4
        code += _INSTRUCTION.pack(line.code, registers, jump or line.offset, line.immediate)
    return bytes(code)
