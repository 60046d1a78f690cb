"""The hot part of reading: from a window of bytes to an array of packets.

Each walk takes ``[begin, end)`` and a `PACKET` array, and returns ``(position, count, status,
detail)``: where it stopped, how many packets it filled in, why it stopped, and the status's number
(see `Status`).  It reads and lends nothing outside the window; whatever is rare (a new section or
interface, a malformed block) stops it, and Python deals with it.
"""

from enum import IntEnum

import numpy as np

from tickpath import memory
from tickpath.capture import counters as slot
from tickpath.capture.order import either_order
from tickpath.jit import entry, leaf
from tickpath.packet import LINK_MESSAGES
from tickpath.wire import hot, pcapng
from tickpath.wire.moldudp64 import MOLDUDP64
from tickpath.wire.pcap import PCAP
from tickpath.wire.pcapng import PCAPNG


class Status(IntEnum):
    """Why a walk stopped, and what its ``detail`` then is."""

    FULL = 0  # the packet array is full; nothing
    MORE = 1  # the record at the position is not whole; bytes it takes, as far as is known
    LENGTH = 2  # a record length that is not plausible; the length
    TRAILER = 3  # a block whose two lengths differ; the second
    BYTE_ORDER = 4  # a section header with no byte-order magic; what stands there
    SECTION = 5  # a section header, whole; its length
    INTERFACE = 6  # an interface description, whole; its length
    MALFORMED = 7  # a block whose contents do not fit in it; its length
    VERSION = 8  # a section of a version that is not read; the version
    WHOLE = 9  # a sound block, seen inside the walk only; its length


# Plain integers: what Numba freezes into the machine code.
FULL, MORE, LENGTH, TRAILER, BYTE_ORDER = (int(each) for each in list(Status)[:5])
SECTION, INTERFACE, MALFORMED, VERSION, WHOLE = (int(each) for each in list(Status)[5:])

REASONS = {
    LENGTH: "a record length of {} bytes is not plausible",
    TRAILER: "the block's second length, {}, differs from its first",
    BYTE_ORDER: "a section header without byte-order magic ({:#010x} in its place)",
    VERSION: "a section of pcapng version {}, which is not read",
}
"""Why nothing more can be read, by status."""

MAX_BLOCK_BYTES = 16 << 20
"""Longest pcapng block, as in Wireshark."""
RUN_BYTES = 1 << 20
"""Longest run of a daily file's messages lent as one packet."""

INTERFACE_DTYPE = np.dtype(
    [
        ("ticks_min", "<u8"),  # ticks outside these two give no time that a uint64 holds
        ("ticks_max", "<u8"),
        ("multiplier", "<u8"),  # of ticks to nanoseconds; at most one of these three is not neutral
        ("divisor", "<u8"),
        ("shift", "<u8"),  # ticks are 2 ** -shift seconds
        ("offset_ns", "<u8"),  # added, modulo 2 ** 64
        ("snap_len", "<u8"),
        ("link", "<u2"),
    ]
)
"""An interface of a pcapng section, see `tickpath.capture.interface`."""

_ZERO, _ONE = np.uint64(0), np.uint64(1)
_SECOND_NS = np.uint64(10**9)
_MESSAGES = np.uint16(LINK_MESSAGES)


record = either_order(PCAP, "packet_record")
block = either_order(PCAPNG, "block_header")
trailer = either_order(PCAPNG, "block_trailer")
section = either_order(PCAPNG, "section_header")
enhanced = either_order(PCAPNG, "enhanced_packet")
simple = either_order(PCAPNG, "simple_packet")
obsolete = either_order(PCAPNG, "packet")
prefix = hot.message(MOLDUDP64["message_block"])


@entry
def walk_pcap(begin, end, packets, tally, big, fractions, link, longest):
    """Packets of a pcap file from ``begin``, which is at a record.

    ``fractions`` is how many of `ts_fraction` make a second, ``longest`` the longest record taken.
    """
    memory.lend_message(begin, end)
    fraction_ns = _SECOND_NS // fractions
    at, count, status, detail = begin, 0, FULL, _ZERO
    octets = cut = odd = _ZERO
    while count < packets.size:
        if end - at < record.LENGTH:
            status, detail = MORE, record.LENGTH
            break
        captured = record.captured_packet_length(at, big)
        original = record.original_packet_length(at, big)
        fraction = record.ts_fraction(at, big)
        if captured > longest:
            status, detail = LENGTH, captured
            break
        if end - at - record.LENGTH < captured:
            status, detail = MORE, record.LENGTH + captured
            break
        packet = packets[count]
        packet.address = at + record.LENGTH
        packet.ts_recv = record.ts_seconds(at, big) * _SECOND_NS + fraction * fraction_ns
        packet.length = np.uint32(captured)
        packet.wire_length = np.uint32(original)
        packet.link = np.uint16(link)
        packet.line = np.uint16(0)
        count += 1
        octets += captured
        cut += _ONE if captured < original else _ZERO
        odd += _ONE if fraction >= fractions else _ZERO
        at += record.LENGTH + captured
    tally[slot.PACKETS] += np.uint64(count)
    tally[slot.BYTES] += octets
    tally[slot.PACKETS_CUT] += cut
    tally[slot.TS_OUT_OF_RANGE] += odd
    return at, count, status, detail


_MAX_BLOCK = np.uint64(MAX_BLOCK_BYTES)
_PADDING = np.uint64(pcapng.ALIGNMENT - 1)
_FRAME = block.LENGTH + trailer.LENGTH
_SECTION_LEAST = section.LENGTH + trailer.LENGTH
_SECTION_HEADER = np.uint64(pcapng.SECTION_HEADER)
_BYTE_ORDER_MAGIC = np.uint64(pcapng.BYTE_ORDER_MAGIC)
_INTERFACE_DESCRIPTION = np.uint64(pcapng.INTERFACE_DESCRIPTION)
_PACKET = np.uint64(pcapng.PACKET)
_SIMPLE = np.uint64(pcapng.SIMPLE_PACKET)
_ENHANCED = np.uint64(pcapng.ENHANCED_PACKET)


@leaf
def _framing(at, end, big):
    """(status, detail, byte order) of the block at ``at``; a section header has its own order."""
    status, detail, least = WHOLE, _ZERO, _FRAME
    if end - at < _FRAME:
        return MORE, _FRAME, big
    if block.block_type(at, big) == _SECTION_HEADER:
        if end - at < _SECTION_LEAST:
            return MORE, _SECTION_LEAST, big
        least = _SECTION_LEAST
        big = section.byte_order_magic(at, True) == _BYTE_ORDER_MAGIC
        detail = section.byte_order_magic(at, False)
        if not big and detail != _BYTE_ORDER_MAGIC:
            return BYTE_ORDER, detail, big
        status = SECTION
    detail = block.block_total_length(at, big)
    if detail < least or detail > _MAX_BLOCK or detail & _PADDING != _ZERO:
        status = LENGTH
    elif end - at < detail:
        status = MORE
    else:
        second = trailer.block_total_length(at + detail - trailer.LENGTH, big)
        if second != detail:
            status, detail = TRAILER, second
    return status, detail, big


@leaf
def _nanoseconds(ticks, multiplier, divisor, shift):
    """Ticks of an interface's clock in nanoseconds, rounded down, exactly (modulo 2 ** 64)."""
    if shift > _ZERO:
        whole = ticks >> shift if shift < np.uint64(64) else _ZERO
        part = ticks - (whole << shift) if shift < np.uint64(64) else ticks
        # part * 10 ** 9 takes 94 bits: halves of 32 bits each leave room for the product.
        low = (part & np.uint64(0xFFFF_FFFF)) * _SECOND_NS
        if shift < np.uint64(32):
            return whole * _SECOND_NS + (low >> shift)
        high = (part >> np.uint64(32)) * _SECOND_NS + (low >> np.uint64(32))
        shift -= np.uint64(32)
        return whole * _SECOND_NS + (high >> shift if shift < np.uint64(64) else _ZERO)
    if divisor > _ONE:
        return ticks // divisor
    return ticks * multiplier


@leaf
def _packet_block(at, length, kind, big, snap_len):
    """(interface, ticks, captured, original, offset of the packet, fits) of a block with a packet.

    ``snap_len`` is that of the first interface: all that says how much a simple block holds.
    """
    interface = ticks = captured = original = _ZERO
    offset = simple.LENGTH if kind == _SIMPLE else enhanced.LENGTH
    fits = length >= offset + trailer.LENGTH
    if fits:
        room = length - offset - trailer.LENGTH
        if kind == _SIMPLE:
            original = simple.original_packet_length(at, big)
            captured = min(original, snap_len, room)
        elif kind == _PACKET:
            interface = obsolete.interface_id(at, big)
            ticks = obsolete.timestamp_high(at, big) << np.uint64(32)
            ticks |= obsolete.timestamp_low(at, big)
            captured = obsolete.captured_packet_length(at, big)
            original = obsolete.original_packet_length(at, big)
        else:
            interface = enhanced.interface_id(at, big)
            ticks = enhanced.timestamp_high(at, big) << np.uint64(32)
            ticks |= enhanced.timestamp_low(at, big)
            captured = enhanced.captured_packet_length(at, big)
            original = enhanced.original_packet_length(at, big)
        fits = captured <= room
    return interface, ticks, captured, original, offset, fits


@entry
def walk_pcapng(begin, end, packets, tally, big, interfaces, known):
    """Packets of a pcapng file from ``begin``, which is at a block.

    ``interfaces`` is an `INTERFACE_DTYPE` array of which the first ``known`` are described.
    """
    memory.lend_message(begin, end)
    at, count, status, detail = begin, 0, FULL, _ZERO
    while count < packets.size:
        status, detail, _ = _framing(at, end, big)
        if status != WHOLE:
            break
        kind, length = block.block_type(at, big), detail
        if kind == _INTERFACE_DESCRIPTION:
            status = INTERFACE
            break
        if kind != _ENHANCED and kind != _SIMPLE and kind != _PACKET:
            tally[slot.BLOCKS_SKIPPED] += _ONE
            at += length
            continue
        index, ticks, captured, original, offset, fits = _packet_block(
            at, length, kind, big, interfaces[0].snap_len
        )
        if not fits:
            status = MALFORMED
            break
        if index >= known:
            tally[slot.PACKETS_WITHOUT_INTERFACE] += _ONE
            at += length
            continue
        interface = interfaces[index]
        packet = packets[count]
        ts_recv = _ZERO
        if kind != _SIMPLE:
            if interface.ticks_min <= ticks and ticks <= interface.ticks_max:
                ts_recv = interface.offset_ns + _nanoseconds(
                    ticks, interface.multiplier, interface.divisor, interface.shift
                )
            else:
                tally[slot.TS_OUT_OF_RANGE] += _ONE
        packet.address = at + offset
        packet.ts_recv = ts_recv
        packet.length = np.uint32(captured)
        packet.wire_length = np.uint32(original)
        packet.link = interface.link
        packet.line = np.uint16(0)
        count += 1
        tally[slot.BYTES] += captured
        tally[slot.PACKETS_CUT] += _ONE if captured < original else _ZERO
        at += length
        status, detail = FULL, _ZERO
    tally[slot.PACKETS] += np.uint64(count)
    return at, count, status, detail


@entry
def walk_messages(begin, end, packets, tally, run_bytes):
    """Runs of whole messages of a daily file from ``begin``, which is at a length prefix."""
    memory.lend_message(begin, end)
    at, count, status, detail = begin, 0, FULL, _ZERO
    while count < packets.size and status == FULL:
        run = at
        limit = min(end, run + run_bytes)
        while True:
            if end - at < prefix.LENGTH:
                status, detail = MORE, prefix.LENGTH
                break
            length = prefix.LENGTH + prefix.message_length(at)
            if at + length > limit:
                if at + length > end:
                    status, detail = MORE, length
                break
            at += length
        if at > run:
            packet = packets[count]
            packet.address = run
            packet.ts_recv = _ZERO
            packet.length = np.uint32(at - run)
            packet.wire_length = np.uint32(at - run)
            packet.link = _MESSAGES
            packet.line = np.uint16(0)
            count += 1
            tally[slot.BYTES] += at - run
    tally[slot.PACKETS] += np.uint64(count)
    return at, count, status, detail
