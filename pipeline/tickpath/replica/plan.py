"""The sequence plan: records without the market's messages, for a host that takes the feed itself.

Which message was which input is all that such a host does not know.  A run of numbered messages of
a line is sent as its header; who has the feed puts the messages in, and the record's checksum, over
header and messages, says whether they are the same.  Everything else goes whole.  What the feed did
not bring there in time is asked for, and comes as bytes of the ring.

A line's index is the active's.  Which of our own lines it is, is found by the first record that
fits by its checksum, and remembered.
"""

from bisect import bisect_right
from collections import Counter
from typing import NamedTuple

import numpy as np

from tickpath.publish import HEADER, checksum
from tickpath.replica.ring import Ring
from tickpath.wire.inputs import ALIGNMENT, INPUTS, Flag, Kind
from tickpath.wire.moldudp64 import END_OF_SESSION, MOLDUDP64
from tickpath.wire.pitch241 import PITCH241

HEADER_BYTES = int(HEADER)
_RECORD = INPUTS["record"].dtype
_NAMES = _RECORD.names or ()
_MOLD = MOLDUDP64["downstream_packet"]
_UNIT = PITCH241["sequenced_unit_header"]
_BLOCK = MOLDUDP64["message_block"]["message_length"].size
KEPT = 1 << 16
"""Datagrams of each line that are kept, some hundred milliseconds of a busy one."""


class Planned(NamedTuple):
    """What of a record's header decides how it is sent, and what belongs into it."""

    checksum: int
    sequence: int
    length: int
    messages: int
    line: int
    kind: int
    flags: int

    @property
    def size(self) -> int:
        """Of the whole record in the ring."""
        return HEADER_BYTES + -(-self.length // ALIGNMENT) * ALIGNMENT

    @property
    def is_numbered_run(self) -> bool:
        """Whether who has the feed has what is in it."""
        if self.kind != Kind.RUN or not self.length:
            return False
        return self.flags & (Flag.NUMBERED | Flag.BARE | Flag.ENDLESS) == Flag.NUMBERED


_FIELDS = tuple(_NAMES.index(name) for name in Planned._fields)


def header_at(raw: bytes, at: int = 0) -> Planned:
    """What a record's header says, of one that begins at ``at``."""
    values = np.frombuffer(raw, _RECORD, 1, at)[0].item()
    return Planned(*(values[field] for field in _FIELDS))


def boundary(ring: Ring, position: int) -> int | None:
    """The begin of the first record that does not begin before a position; None: not known."""
    marks = ring.marks[(ring.marks["number"] > 0) & (ring.marks["position"] <= position)]
    head, capacity = int(ring.header["head"]), int(ring.header["capacity"])
    if position >= head or not len(marks):
        return head if position == head else None
    at = int(marks["position"].max())
    if head - at > capacity:
        return None
    while at < position:
        at += _step(ring, at, capacity)[0]
    return at


def _step(ring: Ring, position: int, capacity: int) -> tuple[int, bytes, Planned | None]:
    """How many bytes are at a position of the ring, the first of them, and their header."""
    left = capacity - position % capacity
    if left < HEADER_BYTES:
        return left, ring.read(position, left), None
    raw = ring.read(position, HEADER_BYTES)
    header = header_at(raw)
    return header.size, raw, header


def cut(ring: Ring, begin: int, end: int, room: int) -> tuple[bytes, int]:
    """The plan of what is from the record at ``begin`` on, and where that ends.

    At most ``room`` bytes, up to the last record before ``end``.  Empty where the first record has
    no room: it then ends where that record does.
    """
    capacity = int(ring.header["capacity"])
    parts: list[bytes] = []
    used, at = 0, begin
    while at < end:
        size, raw, header = _step(ring, at, capacity)
        if header is not None and not (header.is_numbered_run or header.kind == Kind.PAD):
            raw = ring.read(at, size) if size <= room else bytes(size)
        if used + len(raw) > room:
            return b"".join(parts), at if parts else at + size
        parts.append(raw)
        used += len(raw)
        at += size
    return b"".join(parts), at


class _Line:
    """The last messages of one of our lines: blocks of bytes by the number of their first."""

    def __init__(self, prefix: int) -> None:
        self.prefix = prefix
        self.firsts: list[int] = []
        self.blocks: list[tuple[int, bytes]] = []
        self.next = 0

    def keep(self, first: int, count: int, raw: bytes) -> None:
        if first >= self.next:
            at = len(self.firsts)
        else:  # from the other line, or late
            at = bisect_right(self.firsts, first)
            if at and first + count <= self.firsts[at - 1] + self.blocks[at - 1][0]:
                return
        self.firsts.insert(at, first)
        self.blocks.insert(at, (count, raw))
        self.next = max(self.next, first + count)
        if len(self.firsts) > 2 * KEPT:
            del self.firsts[:KEPT], self.blocks[:KEPT]

    def _behind(self, raw: bytes, at: int, messages: int) -> int:
        """Where so many messages from ``at`` on end."""
        for _ in range(messages):
            size = int.from_bytes(raw[at : at + self.prefix], "big")
            at += size + (self.prefix if self.prefix == _BLOCK else 0)
        return at

    def find(self, sequence: int, messages: int) -> bytes | None:
        """The bytes of so many messages, with what is behind the last in its datagram's place."""
        parts: list[bytes] = []
        while messages:
            at = bisect_right(self.firsts, sequence) - 1
            if at < 0:
                return None
            count, raw = self.blocks[at]
            skipped = sequence - self.firsts[at]
            if skipped >= count:
                return None
            taken = min(messages, count - skipped)
            begin = self._behind(raw, 0, skipped)
            is_rest = taken == count - skipped
            parts.append(raw[begin:] if is_rest else raw[begin : self._behind(raw, begin, taken)])
            sequence += taken
            messages -= taken
        return b"".join(parts)


class OwnFeed:
    """What this host has received of the feed, and the records that it completes."""

    def __init__(self) -> None:
        self.counters: Counter[str] = Counter()
        self._lines: dict[tuple[bytes, int], _Line] = {}
        self._known: dict[int, _Line] = {}

    def keep(self, raw: bytes, place: int = 0) -> None:
        """A datagram; ``place`` tells groups apart whose sessions have the same name.

        Lines A and B of the same messages have the same place.
        """
        if len(raw) >= _UNIT.length and self._keep_unit(raw, place):
            return
        if len(raw) < _MOLD.length:
            self.counters["feed_not_understood"] += 1
            return
        header = _MOLD.decode(raw[: _MOLD.length])
        count = header["message_count"]
        if count and count != END_OF_SESSION:
            session = raw[: _MOLD["session"].size]
            line = self._line((session, place), _BLOCK)
            line.keep(header["sequence_number"], count, raw[_MOLD.length :])

    def _keep_unit(self, raw: bytes, place: int) -> bool:
        header = _UNIT.decode(raw[: _UNIT.length])
        if header["length"] != len(raw):
            return False
        if header["count"] and header["sequence"]:
            line = self._line((bytes([header["unit"]]), place), 1)
            line.keep(header["sequence"], header["count"], raw[_UNIT.length :])
        return True

    def _line(self, key: tuple[bytes, int], prefix: int) -> _Line:
        known = self._lines.get(key)
        if known is None:
            known = self._lines[key] = _Line(prefix)
        return known

    def complete(self, raw: bytes, header: Planned) -> bytes | None:
        """The whole record of a header ``raw``; None where the feed has not brought it (yet)."""
        known = self._known.get(header.line)
        lines = [known] if known is not None else list(self._lines.values())
        for line in lines:
            found = line.find(header.sequence, header.messages)
            if found is None or len(found) != header.length:
                continue
            record = np.frombuffer((raw + found).ljust(header.size, b"\0"), np.uint8)
            if int(checksum(np.uint64(record.ctypes.data), np.uint64(len(record)))) == (
                header.checksum
            ):
                self._known[header.line] = line
                return record.tobytes()
            if line is known:
                # Another session, or a sender that says something else on our line.
                self.counters["feed_differs"] += 1
                del self._known[header.line]
        return None
