"""The hot part of writing: from an array of packets to records in an output buffer.

Each loop composes packets from ``first`` on into ``[out, out_end)`` and returns ``(next, position,
status)``: the first packet it did not write, where the buffer is filled up to, and why it stopped
(see `Status`).  No record is written in part, except that a run of messages may be.
"""

from enum import IntEnum

import numpy as np

from tickpath import memory
from tickpath.capture.order import either_order
from tickpath.jit import entry
from tickpath.wire import pcapng
from tickpath.wire.pcap import PCAP
from tickpath.wire.pcapng import PCAPNG


class Status(IntEnum):
    """Why a loop stopped, which concerns the packet it returns."""

    DONE = 0  # nothing is left
    FULL = 1  # the record does not fit in the buffer any more
    LINK = 2  # its link type was not announced in the file yet
    LENGTH = 3  # it is longer than readers take
    TIME = 4  # its time is beyond what the format holds


# Plain integers: what Numba freezes into the machine code.
DONE, FULL, LINK, LENGTH, TIME = (int(each) for each in Status)

REASONS = {
    LENGTH: "has {length} bytes, more than readers take; cut it, and give wire_length",
    TIME: "has ts_recv {ts_recv}, later than pcap can say; write .pcapng",
}
"""Why a packet is refused, by status; the names are those of `PACKET`."""

_ZERO = np.uint64(0)
_LARGEST_U32 = np.uint64(0xFFFF_FFFF)
_THIRTY_TWO = np.uint64(32)
_ENHANCED = np.uint64(pcapng.ENHANCED_PACKET)
_PADDING = np.uint64(pcapng.ALIGNMENT - 1)

record = either_order(PCAP, "packet_record")
enhanced = either_order(PCAPNG, "enhanced_packet")
trailer = either_order(PCAPNG, "block_trailer")


@entry
def compose_pcap(packets, first, out, out_end, big, fractions, link, longest):
    """Records of a pcap file of link type ``link``, ``fractions`` to the second."""
    fraction_ns = np.uint64(10**9) // fractions
    status = DONE
    while first < packets.size:
        packet = packets[first]
        length = np.uint64(packet.length)
        ticks = packet.ts_recv // fraction_ns
        seconds = ticks // fractions
        if np.uint64(packet.link) != link:
            status = LINK
            break
        if length > longest:
            status = LENGTH
            break
        if seconds > _LARGEST_U32:
            status = TIME
            break
        if out_end - out < record.LENGTH + length:
            status = FULL
            break
        record.set_ts_seconds(out, seconds, big)
        record.set_ts_fraction(out, ticks - seconds * fractions, big)
        record.set_captured_packet_length(out, length, big)
        record.set_original_packet_length(out, max(length, np.uint64(packet.wire_length)), big)
        memory.copy_bytes(out + record.LENGTH, packet.address, length)
        out += record.LENGTH + length
        first += 1
    return first, out, status


@entry
def compose_pcapng(packets, first, out, out_end, big, tick_ns, interfaces, longest):
    """Enhanced Packet Blocks; ``interfaces[link]`` is a link type's, negative where it has none."""
    status = DONE
    while first < packets.size:
        packet = packets[first]
        length = np.uint64(packet.length)
        interface = interfaces[packet.link]
        padded = (length + _PADDING) & ~_PADDING
        total = enhanced.LENGTH + padded + trailer.LENGTH
        if interface < 0:
            status = LINK
            break
        if length > longest:
            status = LENGTH
            break
        if out_end - out < total:
            status = FULL
            break
        ticks = packet.ts_recv // tick_ns
        enhanced.set_block_type(out, _ENHANCED, big)
        enhanced.set_block_total_length(out, total, big)
        enhanced.set_interface_id(out, np.uint64(interface), big)
        enhanced.set_timestamp_high(out, ticks >> _THIRTY_TWO, big)
        enhanced.set_timestamp_low(out, ticks & _LARGEST_U32, big)
        enhanced.set_captured_packet_length(out, length, big)
        enhanced.set_original_packet_length(out, max(length, np.uint64(packet.wire_length)), big)
        if padded > length:
            # The padding is the last bytes of this word; the packet then covers the others.
            memory.store_u32(out + enhanced.LENGTH + padded - trailer.LENGTH, _ZERO)
        memory.copy_bytes(out + enhanced.LENGTH, packet.address, length)
        trailer.set_block_total_length(out + enhanced.LENGTH + padded, total, big)
        out += total
        first += 1
    return first, out, status


@entry
def compose_messages(packets, first, out, out_end, link, offset):
    """Runs of messages as they are, of the first packet those from ``offset`` on.

    Returns ``(next, position, status, offset)``, the last for the packet that comes next.
    """
    status = DONE
    while first < packets.size:
        packet = packets[first]
        if np.uint64(packet.link) != link:
            status = LINK
            break
        left = np.uint64(packet.length) - offset
        count = min(left, out_end - out)
        memory.copy_bytes(out, packet.address + offset, count)
        out += count
        if count < left:
            offset += count
            status = FULL
            break
        offset = _ZERO
        first += 1
    return first, out, status, offset
