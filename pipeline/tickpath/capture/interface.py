"""The clock of a pcapng interface: from ticks of any resolution to nanoseconds, exactly.

`if_tsresol` is a negative power of ten or of two.  The walk needs one multiplication, division or
shift, and two bounds outside of which the time, offset included, is not a `uint64` of nanoseconds;
they are computed here in unbounded integers, so the walk needs no test for overflow.
"""

from typing import Any

import numpy as np

from tickpath.packet import LINK_FOREIGN, LINK_PITCH, LINK_RAW
from tickpath.wire import pcapng
from tickpath.wire.table import Protocol

SECOND_NS = 10**9
_NANOSECOND_DIGITS = 9
_LARGEST = 2**64 - 1
_ALL_BITS = 127

_LINK_RAW_VALUES = (12, 14)
"""What DLT_RAW is in memory on various systems; some programs wrote it into files."""


def link_type(field: int) -> int:
    """Link type of a file's field: its low 16 bits, the stray values of raw IP made 101."""
    link = field & 0xFFFF
    if link >= LINK_PITCH:
        return LINK_FOREIGN
    return LINK_RAW if link in _LINK_RAW_VALUES else link


def options(block: bytes, at: int, end: int, protocol: Protocol) -> dict[int, bytes]:
    """Options of a block by code, the first of each; what is cut off is left out."""
    layout = protocol["option"]
    found: dict[int, bytes] = {}
    while at + layout.length <= end:
        option = layout.decode(block, at)
        length, at = option["option_length"], at + layout.length
        if option["option_code"] == pcapng.OPTION_END or at + length > end:
            break
        found.setdefault(option["option_code"], block[at : at + length])
        at += length + -length % pcapng.ALIGNMENT
    return found


def clock(tsresol: int, tsoffset: int) -> dict[str, int]:
    """The fields of `INTERFACE_DTYPE` for a resolution byte and an offset in seconds."""
    exponent = tsresol & ~pcapng.TSRESOL_POWER_OF_TWO
    multiplier = divisor = 1
    shift = 0
    if tsresol & pcapng.TSRESOL_POWER_OF_TWO:
        ticks_per_second, shift = 2**exponent, exponent
        multiplier = SECOND_NS if shift == 0 else 1
    else:
        ticks_per_second = 10**exponent
        if exponent <= _NANOSECOND_DIGITS:
            multiplier = SECOND_NS // ticks_per_second
        elif ticks_per_second // SECOND_NS <= _LARGEST:
            divisor = ticks_per_second // SECOND_NS
        else:
            shift = _ALL_BITS  # every number of ticks is less than a nanosecond
    offset_ns = tsoffset * SECOND_NS
    # Smallest t with floor(t * SECOND / ticks) >= -offset, largest with it <= LARGEST - offset.
    ticks_min = max(0, -(offset_ns * ticks_per_second // SECOND_NS))
    ticks_max = -(-(_LARGEST - offset_ns + 1) * ticks_per_second // SECOND_NS) - 1
    if ticks_max < ticks_min or ticks_min > _LARGEST:
        ticks_min, ticks_max = 1, 0
    return {
        "ticks_min": ticks_min,
        "ticks_max": min(ticks_max, _LARGEST),
        "multiplier": multiplier,
        "divisor": divisor,
        "shift": shift,
        "offset_ns": offset_ns % 2**64,
    }


def describe(interface: Any, block: bytes, order: str) -> bool:
    """Fill an `INTERFACE_DTYPE` record from an interface description block, trailer included.

    False where the block is too short to be one.
    """
    protocol = pcapng.PCAPNG[order]
    layout = protocol["interface_description"]
    end = len(block) - protocol["block_trailer"].length
    for name in interface.dtype.names:
        interface[name] = 0
    if end < layout.length:
        return False
    fixed = layout.decode(block)
    found = options(block, layout.length, end, protocol)
    resolution, offset = pcapng.TSRESOL_DEFAULT, 0
    if len(found.get(pcapng.OPTION_IF_TSRESOL, b"")) == 1:
        resolution = found[pcapng.OPTION_IF_TSRESOL][0]
    if len(found.get(pcapng.OPTION_IF_TSOFFSET, b"")) == 8:
        value = protocol["if_tsoffset"].decode(found[pcapng.OPTION_IF_TSOFFSET])
        offset = value["if_tsoffset"]
    for name, number in clock(resolution, offset).items():
        interface[name] = np.uint64(number)
    interface["link"] = link_type(fixed["link_type"])
    interface["snap_len"] = fixed["snap_len"] or _LARGEST
    return True
