"""ITCH messages into MoldUDP64 packets on a multicast group, as captured next to the exchange.

Messages that follow each other within a few microseconds share a packet, up to an MTU of about
1,400 bytes; the wire has the messages exactly as the chunk has them, each behind its length, so a
packet is a header and one copy.  Silence is broken by heartbeats, and the session's end is said.
The end of a chunk ends a packet.  Receive times are the last message's time, some microseconds of
way and now and then a hiccup, and never go back.  `pitch_packets` has its headers and its receive
times from here.
"""

from typing import NamedTuple

import numpy as np

from tickpath.generate.draw import GOLDEN, mix, share
from tickpath.generate.pace import FIRST_MESSAGE, LAST_MESSAGE, SECOND
from tickpath.generate.plan import SessionPlan
from tickpath.generate.state import FRAMER_REGION, inner, lend
from tickpath.generate.templates import PREFIX, SHORTEST
from tickpath.jit import entry, leaf
from tickpath.memory import (
    accessors,
    copy_bytes,
    leading_zeros,
    lend_run,
)
from tickpath.packet import LINK_ETHERNET, PACKET
from tickpath.wire import hot
from tickpath.wire.frame import ETHER_TYPE_IPV4, FRAME, IP_PROTOCOL_UDP
from tickpath.wire.itch50 import ITCH50
from tickpath.wire.moldudp64 import END_OF_SESSION, MOLDUDP64

GROUP = 0xE9360C6F
"""233.54.12.111, the group of Nasdaq's TotalView-ITCH, and its port."""
PORT = 26_477
SOURCE = 0xC0000201
"""192.0.2.1, an address that documentation may use."""
SOURCE_PORT = 49_653
SOURCE_MAC = bytes.fromhex("020000000001")
TIME_TO_LIVE = 21
MAX_PAYLOAD = 1_400
"""Bytes of a datagram's payload at most: MoldUDP64 header and messages."""
WINDOW_NS = 5_000
"""A packet has messages of this many nanoseconds at most."""

FRAMER = np.dtype(
    [
        ("sequence", "<u8"),  # of the next message
        ("packet_number", "<u8"),
        ("jitter", "<u8"),  # where this session's delays start
        ("midnight", "<u8"),
        ("last_sent", "<u8"),  # nanoseconds since midnight of the last packet; 0 before the first
        ("last_recv", "<u8"),
        ("heartbeat", "<u8"),  # nanoseconds of silence; 0 for no heartbeats
        ("heartbeats", "<u8"),
        ("template", "<u8"),
        ("checksum", "<u8"),  # ones' complement sum of the IPv4 header without its length
        ("out", "<u8"),  # where the next packet's bytes go
    ]
)

framer = accessors("framer", FRAMER, FRAMER_REGION)
_packet = accessors("packet", PACKET)
_length_of = hot.peek(MOLDUDP64["message_block"], "message_length")
_time_of = hot.peek(ITCH50["system_event"], "timestamp")
_ipv4 = hot.message(FRAME["ipv4"])
_udp = hot.message(FRAME["udp"])
_mold = hot.message(MOLDUDP64["downstream_packet"])
_IPV4 = np.uint64(FRAME["ethernet"].length)
_UDP = _IPV4 + _ipv4.LENGTH
PAYLOAD = _UDP + _udp.LENGTH
"""Where a datagram's payload begins in its frame."""
_MESSAGES = PAYLOAD + _mold.LENGTH
_HEADROOM = np.uint64(MAX_PAYLOAD) - _mold.LENGTH
_FRAME_LENGTH = int(_MESSAGES)


_ZERO, _ONE, _16 = np.uint64(0), np.uint64(1), np.uint64(16)
_HALF = np.uint64(0xFFFF)
_WINDOW = np.uint64(WINDOW_NS)
_LINK = np.uint64(LINK_ETHERNET)
_END = np.uint64(END_OF_SESSION)
_WAY, _SPREAD = np.uint64(4_000), 3_000
_HICCUP = np.uint64(9)
"""Delays double with each leading zero of a draw beyond so many."""


@leaf
def _folded(total):
    """A ones' complement sum of 16-bit words."""
    total = (total & _HALF) + (total >> _16)
    return (total & _HALF) + (total >> _16)


@inner
def _recv_time(f, sent):
    """When a packet that was sent then is received; never before the one before it."""
    drawn = mix(framer.jitter(f) + framer.packet_number(f) * GOLDEN)
    zeros = leading_zeros(drawn | _ONE)
    way = _WAY + np.uint64(share(drawn << _16, _SPREAD))
    if zeros > _HICCUP:
        way += _WAY << min(zeros - _HICCUP, _HICCUP)
    recv = max(framer.midnight(f) + sent + way, framer.last_recv(f))
    framer.set_last_recv(f, recv)
    return recv


@inner
def lend_packet(f, p, at, length, sent):
    """Fill in the packet record at ``p``; the address of the next record."""
    _packet.set_address(p, at)
    _packet.set_ts_recv(p, _recv_time(f, sent))
    _packet.set_length(p, length)
    _packet.set_wire_length(p, length)
    _packet.set_link(p, _LINK)
    _packet.set_line(p, _ZERO)
    _packet.set_group(p, _ZERO)
    framer.set_packet_number(f, framer.packet_number(f) + _ONE)
    framer.set_last_sent(f, sent)
    return p + _packet.SIZE


@inner
def put_headers(f, template, size):
    """The ``template`` bytes of headers, at the buffer's end, for ``size`` bytes behind them.

    Returns the packet's length.
    """
    at = framer.out(f)
    copy_bytes(at, framer.template(f), template)
    length = template + size
    total = length - _IPV4
    _ipv4.set_total_length(at + _IPV4, total)
    _ipv4.set_header_checksum(at + _IPV4, _folded(framer.checksum(f) + total) ^ _HALF)
    _udp.set_length(at + _UDP, length - _UDP)
    return length


@inner
def _headers(f, count, size):
    """Headers, at the buffer's end, for ``size`` bytes of messages; the packet's length."""
    at = framer.out(f) + PAYLOAD
    length = put_headers(f, _MESSAGES, size)
    _mold.set_sequence_number(at, framer.sequence(f))
    _mold.set_message_count(at, count)
    return length


@inner
def _beat(f, p, until):
    """Heartbeats for the silence until the next packet; they share their bytes."""
    interval, sent = framer.heartbeat(f), framer.last_sent(f)
    if interval == _ZERO or sent == _ZERO or sent + interval >= until:
        return p
    at = framer.out(f)
    length = _headers(f, _ZERO, _ZERO)
    framer.set_out(f, at + length)
    while sent + interval < until:
        sent += interval
        p = lend_packet(f, p, at, length, sent)
        framer.set_heartbeats(f, framer.heartbeats(f) + _ONE)
    return p


@entry
def frame(f, begin, end, p):
    """Packets for the messages in ``[begin, end)``: records from address ``p`` on; their end."""
    lend_run(begin, end)
    at = begin
    while at < end:
        first, count = at, _ZERO
        opened = sent = _time_of(at + PREFIX)
        while at < end:
            time = _time_of(at + PREFIX)
            after = at + PREFIX + _length_of(at)
            if time - opened > _WINDOW or after - first > _HEADROOM:
                break
            at, sent, count = after, time, count + _ONE
        p = _beat(f, p, opened)
        size = at - first
        out = framer.out(f)
        length = _headers(f, count, size)
        copy_bytes(out + _MESSAGES, first, size)
        p = lend_packet(f, p, out, length, sent)
        framer.set_out(f, out + length)
        framer.set_sequence(f, framer.sequence(f) + count)
    return p


@entry
def end_session(f, p):
    """The packet that ends the session; the records' end."""
    out = framer.out(f)
    length = _headers(f, _END, _ZERO)
    framer.set_out(f, out + length)
    return lend_packet(f, p, out, length, framer.last_sent(f) + framer.heartbeat(f))


def header_template(group: int, port: int, payload_header: bytes) -> np.ndarray:
    """Every header with what never changes; UDP's checksum is 0, which says there is none."""
    multicast_mac = 0x01005E000000 | (group & 0x7FFFFF)
    headers = b"".join(
        (
            FRAME["ethernet"].encode(
                destination=multicast_mac.to_bytes(6, "big"),
                source=SOURCE_MAC,
                ether_type=ETHER_TYPE_IPV4,
            ),
            FRAME["ipv4"].encode(
                version_ihl=0x45,
                flags_fragment_offset=0x4000,  # don't fragment
                time_to_live=TIME_TO_LIVE,
                protocol=IP_PROTOCOL_UDP,
                source_address=SOURCE,
                destination_address=group,
            ),
            FRAME["udp"].encode(source_port=SOURCE_PORT, destination_port=port),
            payload_header,
        )
    )
    return np.frombuffer(headers, np.uint8)


class Framing(NamedTuple):
    """Buffers of a framer, allocated once: they hold the packets of any one chunk."""

    record: np.ndarray
    template: np.ndarray
    packets: np.ndarray
    wire: np.ndarray


def new_framer(dtype: np.dtype, plan: SessionPlan, jitter: int, template: np.ndarray) -> np.ndarray:
    """The record of a framer, ``dtype[1]``, which begins with the fields of `FRAMER`."""
    record = np.zeros(1, dtype)
    record["sequence"] = 1
    record["jitter"], record["midnight"] = jitter, plan.midnight_ns
    record["heartbeat"] = plan.heartbeat_s * SECOND
    record["template"] = template.ctypes.data
    header = template[int(_IPV4) : int(_UDP)].view(">u2")
    record["checksum"] = int(header.sum(dtype=np.uint64))
    return record


def new_framing(owner: object, plan: SessionPlan, jitter: int, chunk_bytes: int) -> Framing:
    """Framing for chunks of at most ``chunk_bytes``, which lives as long as ``owner``."""
    most = chunk_bytes // SHORTEST + 1
    beats = (LAST_MESSAGE - FIRST_MESSAGE) // (plan.heartbeat_s * SECOND) if plan.heartbeat_s else 0
    mold_header = MOLDUDP64["downstream_packet"].encode(session=plan.session)
    template = header_template(GROUP, PORT, mold_header)
    packets = np.zeros(most + beats + 2, PACKET)
    # A chunk's packets and, between any two of them, the heartbeats' shared bytes.
    wire = np.zeros(chunk_bytes + (2 * most + 2) * _FRAME_LENGTH, np.uint8)
    record = new_framer(FRAMER, plan, jitter, template)
    lend(owner, record, FRAMER_REGION)
    return Framing(record, template, packets, wire)
