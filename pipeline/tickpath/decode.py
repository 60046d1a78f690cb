"""`tickpath decode`: every message of a capture as a line of text or JSON.

ITCH 5.0 comes in MoldUDP64 over UDP or bare in a daily file; PITCH 2.41 in Sequenced Unit packets
over UDP or made of a text file's lines; OUCH 5.0 and 4.2, and ITCH with GLIMPSE, in SoupBinTCP over
TCP.  Every message costs exactly one line: bytes that are no message
of the protocol are an ``unknown`` or ``malformed`` line with their hex, and counted.  Everything
that carries no message (heartbeats, other traffic) is counted under the engine's names.

``seq`` is the message's MoldUDP64 sequence number, or that of its unit, which PITCH's lines name
too; in a daily file and over TCP it is the 1-based number of the message in the file; it is null
where a packet's header was not whole.

TCP is followed as far as a decoder needs: segments of a flow in order, a packet may span them.  A
missing segment drops what was held and goes on at the next one that begins with a packet; a
segment sent twice is passed over.  Both are counted.
"""

import ctypes
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from os import PathLike, fsdecode
from typing import TextIO

from tickpath.capture import open_capture
from tickpath.decode_line import MessageLine, bad_line, message_lines
from tickpath.decode_packet import Payload, payload, reader
from tickpath.decode_pitch import PitchDecoder, is_sequenced_unit
from tickpath.packet import LINK_MESSAGES, LINK_PITCH
from tickpath.wire import appendage, frame, moldudp64
from tickpath.wire.glimpse50 import GLIMPSE50
from tickpath.wire.itch50 import ITCH50
from tickpath.wire.moldudp64 import MOLDUDP64
from tickpath.wire.ouch42 import OUCH42_INBOUND, OUCH42_OUTBOUND
from tickpath.wire.ouch50 import OUCH50_INBOUND, OUCH50_OUTBOUND
from tickpath.wire.soupbintcp import SOUPBINTCP, packets
from tickpath.wire.table import Message, Protocol, WireError

MAX_FLOWS = 1024
"""TCP flows followed at once; segments of further ones are counted and passed over."""
MAX_SESSIONS = 64
"""MoldUDP64 sessions told apart in the summary."""
OTHER_SESSIONS = "(others)"

_HEADER = MOLDUDP64["downstream_packet"]
_BLOCK = MOLDUDP64["message_block"]
_HEADER_FIELDS = reader(_HEADER, ["session", "sequence_number", "message_count"])
_LENGTH = reader(_BLOCK, ["message_length"])
_PREFIX = _BLOCK["message_length"].size
_SEQUENCED = (OUCH50_OUTBOUND, OUCH42_OUTBOUND, ITCH50, GLIMPSE50)
_UNSEQUENCED = (OUCH50_INBOUND, OUCH42_INBOUND)


@dataclass
class Summary:
    """What a run came to.  Lines printed are messages, unknown and malformed together."""

    messages: int = 0
    unknown: int = 0
    malformed: int = 0
    sessions: Counter[str] = field(default_factory=Counter)  # MoldUDP64: messages of each
    counters: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)

    @property
    def lines(self) -> int:
        return self.messages + self.unknown + self.malformed


@dataclass
class _Flow:
    """One direction of a TCP connection: the next sequence number, and bytes of a packet begun."""

    expected: int
    held: bytes = b""


class Decoder:
    """Turns packets into lines, and counts into ``summary`` what they were.

    ``feed`` says what UDP datagrams are: ``itch50``, ``pitch``, or ``auto``, by their first bytes.
    """

    def __init__(self, as_json: bool, summary: Summary, feed: str = "auto") -> None:
        self._as_json, self._summary, self._feed = as_json, summary, feed
        self._pitch = PitchDecoder(as_json, summary)
        self._counters = summary.counters
        self._lines: dict[str, dict[int, MessageLine]] = {}
        self._itch = self._lines_of(ITCH50)
        self._flows: dict[tuple[int, int, int, int], _Flow] = {}

    def packet(self, link: int, packet: bytes) -> Iterator[str]:
        """The lines of one packet; ``link`` as in `tickpath.packet.PACKET`."""
        if link == LINK_MESSAGES:
            yield from self._run(packet)
            return
        if link == LINK_PITCH:
            yield from self._pitch.run(packet)
            return
        self._counters["packets"] += 1
        carried = payload(link, packet, self._counters)
        if carried is None:
            return
        if carried.protocol == frame.IP_PROTOCOL_UDP:
            is_pitch = self._feed == "pitch"
            if self._feed == "auto":
                is_pitch = is_sequenced_unit(carried.data)
            datagram = self._pitch.datagram if is_pitch else self._datagram
            yield from datagram(carried.data)
        else:
            yield from self._segment(carried)

    # -------------------------------------------------------------- ITCH

    def _run(self, run: bytes) -> Iterator[str]:
        """A run of a daily file: messages behind their lengths."""
        at = 0
        while at < len(run):
            begin = at + _PREFIX
            end = begin + (_LENGTH.unpack_from(run, at)[0] if begin <= len(run) else 0)
            if end > len(run):
                yield self._malformed(self._next(), "the message is not whole", run[at:])
                return
            yield self._message(self._next(), run[begin:end])
            at = end

    def _datagram(self, data: bytes) -> Iterator[str]:
        """A MoldUDP64 packet."""
        if len(data) < _HEADER.length:
            self._counters["mold_invalid"] += 1
            reason = f"a MoldUDP64 packet takes {_HEADER.length} bytes, got {len(data)}"
            yield self._malformed(None, reason, data)
            return
        session, seq, count = _HEADER_FIELDS.unpack_from(data)
        if count in _COUNTS:
            self._counters[_COUNTS[count]] += 1
            count = 0
        elif len(data) == _HEADER.length:
            self._counters["mold_requests"] += 1  # the same header, upstream
            return
        yield from self._blocks(seq, count, data)
        self._note_session(session.decode("latin-1").strip(" "), count)

    def _blocks(self, seq: int, count: int, data: bytes) -> Iterator[str]:
        at = _HEADER.length
        for number in range(seq, seq + count):
            begin = at + _PREFIX
            end = begin + (_LENGTH.unpack_from(data, at)[0] if begin <= len(data) else 0)
            if end > len(data):
                self._counters["mold_truncated"] += 1
                left = seq + count - number
                reason = f"{left} of the packet's {count} messages are not whole"
                yield self._malformed(number, reason, data[at:])
                return
            yield self._message(number, data[begin:end])
            at = end
        if at < len(data):
            self._counters["mold_trailing_bytes"] += len(data) - at

    def _note_session(self, session: str, count: int) -> None:
        sessions = self._summary.sessions
        is_known = session in sessions or len(sessions) < MAX_SESSIONS
        sessions[session if is_known else OTHER_SESSIONS] += count

    def _message(self, seq: int, raw: bytes) -> str:
        """The line of an ITCH message."""
        line = self._itch.get(raw[0]) if raw else None
        if line is None or len(raw) != line.length:
            return self._any_of(seq, raw, (ITCH50,))
        self._summary.messages += 1
        return line(seq, raw, self._counters)

    def _next(self) -> int:
        return self._summary.lines + 1

    # -------------------------------------------------------------- SoupBinTCP

    def _segment(self, segment: Payload) -> Iterator[str]:
        """A TCP segment: the SoupBinTCP packets that are whole with it."""
        if segment.is_first:
            self._flows.pop(segment.flow, None)
        if not segment.data:
            return
        flow = self._flows.get(segment.flow)
        if flow is None:
            if len(self._flows) >= MAX_FLOWS:
                self._counters["tcp_flows_over"] += 1
                return
            flow = self._flows[segment.flow] = _Flow(segment.sequence_number)
        fresh = self._in_order(flow, segment)
        stream, used = flow.held + fresh, 0
        flow.held = b""
        try:
            for raw in packets(stream):
                used += len(raw)
                yield from self._soup(raw)
        except WireError:
            self._counters["tcp_not_soupbintcp"] += 1
            return
        flow.held = stream[used:]

    def _in_order(self, flow: _Flow, segment: Payload) -> bytes:
        """The part of a segment that was not seen yet; what is missing before it is given up."""
        data = segment.data
        seen = (flow.expected - segment.sequence_number) % _TCP_NUMBERS
        if seen > _TCP_NUMBERS // 2:
            self._counters["tcp_gaps"] += 1
            flow.held, seen = b"", 0
        elif seen:
            self._counters["tcp_retransmitted"] += 1
        if seen < len(data):
            flow.expected = (segment.sequence_number + len(data)) % _TCP_NUMBERS
        return data[seen:]

    def _soup(self, raw: bytes) -> Iterator[str]:
        layout = SOUPBINTCP.message_of(raw)
        if layout.name not in _CARRIED:
            self._counters[f"soupbintcp_{layout.name}"] += 1
            return
        yield self._any_of(self._next(), raw[layout.length :], _CARRIED[layout.name])

    # -------------------------------------------------------------- any message

    def _any_of(self, seq: int, raw: bytes, protocols: tuple[Protocol, ...]) -> str:
        """The line of a message of the first of ``protocols`` that it fits."""
        reason = ""
        for protocol in protocols:
            counters: Counter[str] = Counter()
            try:
                message = _message_of(protocol, raw)
                line = self._lines_of(protocol)[ord(message.type)](seq, raw, counters)
            except WireError as error:
                if raw and chr(raw[0]) in protocol.by_type:
                    reason = reason or str(error)
                continue
            self._counters.update(counters)
            self._summary.messages += 1
            return line
        if reason:
            return self._malformed(seq, reason, raw)
        self._summary.unknown += 1
        code = chr(raw[0]) if raw else ""
        reason = f"{protocols[0].name} has no message type {code!r}"
        return bad_line(seq, "unknown", reason, raw, self._as_json)

    def _lines_of(self, protocol: Protocol) -> dict[int, MessageLine]:
        if protocol.name not in self._lines:
            self._lines[protocol.name] = message_lines(protocol, self._as_json)
        return self._lines[protocol.name]

    def _malformed(self, seq: int | None, reason: str, raw: bytes) -> str:
        self._summary.malformed += 1
        return bad_line(seq, "malformed", reason, raw, self._as_json)


_COUNTS = {moldudp64.HEARTBEAT: "heartbeats", moldudp64.END_OF_SESSION: "end_of_session"}
_CARRIED = {"sequenced_data": _SEQUENCED, "unsequenced_data": _UNSEQUENCED}
_QUIET = {"mold_requests", *_COUNTS.values()} | {
    f"soupbintcp_{each.name}" for each in SOUPBINTCP.messages
}
"""Counters that show a line of these protocols on which nothing was said."""
_TCP_NUMBERS = 1 << 32


def _message_of(protocol: Protocol, raw: bytes) -> Message:
    if protocol in (OUCH50_INBOUND, OUCH50_OUTBOUND):
        return appendage.message_of(protocol, raw)
    return protocol.message_of(raw)


def decode_capture(
    path: str | PathLike[str],
    out: TextIO,
    as_json: bool = False,
    limit: int | None = None,
    summary: Summary | None = None,
    is_stopped: Callable[[], bool] = lambda: False,
    feed: str = "auto",
) -> Summary:
    """Write a line for each of the first ``limit`` messages (all of them by default) to ``out``.

    ``is_stopped`` is asked after each line; ``feed`` is as in `Decoder`.  ``summary`` may be given
    to have the counts even where the run is interrupted.  Findings are what the capture found wrong
    with the file, and that nothing in it is of these protocols.  Raises
    `tickpath.capture.CaptureError` where the file cannot be read, and what ``out`` raises.
    """
    summary = Summary() if summary is None else summary
    decoder = Decoder(as_json, summary, feed)
    with open_capture(path) as capture:
        lines = (
            line
            for batch in capture.batches()
            for address, _, length, _, link, *_ in batch.tolist()
            for line in decoder.packet(link, ctypes.string_at(address, length))
        )
        for line in islice(lines, limit):
            out.write(line)
            if is_stopped():
                break
        summary.findings += capture.findings
    if not summary.lines and limit != 0 and not _QUIET.intersection(summary.counters):
        summary.findings.append(_nothing_found(path, summary.counters))
    return summary


def _nothing_found(path: str | PathLike[str], counters: Counter[str]) -> str:
    seen = ", ".join(f"{name} {count}" for name, count in sorted(counters.items()) if count)
    return f"{fsdecode(path)}: no message was found ({seen or 'no packets'})"
