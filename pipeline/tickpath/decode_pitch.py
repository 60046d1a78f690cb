"""The lines of multicast PITCH: Sequenced Unit packets, and runs of bare messages.

Every message states its own length, so a message of an unknown type is passed over and the next
one is found; one that is longer than this revision's is read as far as it is known and counted, as
the specification asks.  ``seq`` is the unit's sequence number, null where the sender did not number
the packet (sequence 0); in a run of bare messages it is the 1-based number of the line in the file
and the unit is null.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tickpath.decode_line import bad_line, message_lines
from tickpath.decode_packet import reader
from tickpath.wire.pitch241 import PITCH241

if TYPE_CHECKING:
    from tickpath.decode import Summary

_HEADER = PITCH241["sequenced_unit_header"]
_HEADER_FIELDS = reader(_HEADER, ["length", "count", "unit", "sequence"])
_LENGTH_ONLY = reader(_HEADER, ["length"])
_TYPE_AT = PITCH241.type_offset
_SMALLEST = _TYPE_AT + 1
"""Bytes of the length and the type: what every message has at least."""


def is_sequenced_unit(data: bytes) -> bool:
    """True where a datagram begins with its own length, as Sequenced Unit packets do.

    A MoldUDP64 packet begins with its session instead: text, which would have to be blank in front
    of a datagram of exactly 8,224 bytes, or to state a longer one, to be taken for a length.
    """
    return len(data) >= _HEADER.length and _LENGTH_ONLY.unpack_from(data)[0] == len(data)


class PitchDecoder:
    """Turns Sequenced Unit packets and runs of messages into lines, and counts what they were."""

    def __init__(self, as_json: bool, summary: Summary) -> None:
        self._as_json, self._summary = as_json, summary
        self._lines = message_lines(PITCH241, as_json, has_unit=True)

    def datagram(self, data: bytes) -> Iterator[str]:
        """The lines of one Sequenced Unit packet."""
        counters = self._summary.counters
        length = _LENGTH_ONLY.unpack_from(data)[0] if len(data) >= _HEADER.length else 0
        if not _HEADER.length <= length <= len(data):
            counters["unit_invalid"] += 1
            reason = f"a Sequenced Unit packet states a length of {length}, got {len(data)}"
            yield self._bad(None, None, "malformed", reason, data)
            return
        _, count, unit, sequence = _HEADER_FIELDS.unpack_from(data)
        if not count:
            counters["heartbeats"] += 1
        at = _HEADER.length
        for number in range(count):
            seq = sequence + number if sequence else None
            after = _end_of(data, at, length)
            if not after:
                counters["unit_truncated"] += 1
                reason = f"{count - number} of the packet's {count} messages are not whole"
                yield self._bad(seq, unit, "malformed", reason, data[at:length])
                return
            yield self._message(seq, unit, data[at:after])
            at = after
        if at < len(data):
            counters["unit_trailing_bytes"] += len(data) - at

    def run(self, run: bytes) -> Iterator[str]:
        """The lines of messages back to back."""
        at = 0
        while at < len(run):
            seq, after = self._summary.lines + 1, _end_of(run, at, len(run))
            if not after:
                yield self._bad(seq, None, "malformed", "the message is not whole", run[at:])
                return
            yield self._message(seq, None, run[at:after])
            at = after

    def _message(self, seq: int | None, unit: int | None, raw: bytes) -> str:
        line = self._lines.get(raw[_TYPE_AT])
        if line is None:
            reason = f"{PITCH241.name} has no message type {raw[_TYPE_AT]:#04x}"
            return self._bad(seq, unit, "unknown", reason, raw)
        if len(raw) < line.length:
            reason = f"{line.name} takes {line.length} bytes, got {len(raw)}"
            return self._bad(seq, unit, "malformed", reason, raw)
        if len(raw) > line.length:
            self._summary.counters["messages_longer"] += 1
        self._summary.messages += 1
        return line(seq, raw[: line.length], self._summary.counters, unit)

    def _bad(self, seq: int | None, unit: int | None, what: str, reason: str, raw: bytes) -> str:
        if what == "unknown":
            self._summary.unknown += 1
        else:
            self._summary.malformed += 1
        return bad_line(seq, what, reason, raw, self._as_json, {"unit": unit})


def _end_of(data: bytes, at: int, end: int) -> int:
    """Where the message at ``at`` ends; 0 where it does not fit before ``end``."""
    if end - at < _SMALLEST or data[at] < _SMALLEST or at + data[at] > end:
        return 0
    return at + data[at]
