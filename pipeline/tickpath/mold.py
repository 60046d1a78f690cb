"""MoldUDP64 packets: the messages of a session, each behind its length.

    message count 0               heartbeat: carries the next number, so it can reveal a gap
    message count 0xFFFF          end of the session, likewise
    another session on the group  counted; the line starts over, books with orders become stale

What a sequence number means for its line is `tickpath.line`.
"""

import numpy as np

from tickpath.counters import Counter
from tickpath.held import NEVER, forget
from tickpath.jit import cold, leaf
from tickpath.layout import LineKind, count, engine, line
from tickpath.line import (
    ALL,
    NO_LINE,
    ONE,
    ZERO,
    comes_on,
    doubt,
    follow,
    line_a,
    make,
    restart,
)
from tickpath.span import MOLD_HEADER, PREFIX, is_whole, of_mold
from tickpath.wire import moldudp64 as wire
from tickpath.wire.hot import peek

_HEARTBEAT, _END = np.uint64(wire.HEARTBEAT), np.uint64(wire.END_OF_SESSION)
_KIND = np.uint64(LineKind.MOLD)

_sequence_number = peek(wire.MOLDUDP64["downstream_packet"], "sequence_number")
_message_count = peek(wire.MOLDUDP64["downstream_packet"], "message_count")
_session = peek(wire.MOLDUDP64["downstream_packet"], "session", 0, 8)
_session_tail = peek(wire.MOLDUDP64["downstream_packet"], "session", 8, 2)


_INVALID = np.uint64(Counter.MOLD_INVALID)
_HEARTBEATS = np.uint64(Counter.HEARTBEATS)
_END_OF_SESSION = np.uint64(Counter.END_OF_SESSION)
_SESSION_CHANGES = np.uint64(Counter.SESSION_CHANGES)


@cold
def _find(eng, address, port, session, tail, sequence, is_whole):
    """Index of the group's line, which is made at its first packet; `NO_LINE` if all are taken.

    Where recovery is at work a damaged packet makes none: what it says could not be recovered.
    """
    address, port = line_a(eng, address, port)
    for index in range(engine.lines(eng)):
        record = line.at(eng, index)
        if comes_on(record, address, port) and line.kind(record) == _KIND:
            if line.session(record) != session or line.session_tail(record) != tail:
                count(eng, _SESSION_CHANGES)
                restart(eng, index, address, port, session, tail, sequence)
                forget(eng, index, NEVER)
                if engine.orders_live(eng) != ZERO:
                    doubt(eng, index)
            return index
    if engine.recovers(eng) != ZERO and not is_whole:
        count(eng, _INVALID)
        return NO_LINE
    return make(eng, address, port, session, tail, sequence, _KIND)


@cold
def _skip(eng, at, end, known):
    """Start of the first message that is not known yet; ``end`` where the packet ends before."""
    for _ in range(known):
        if at + PREFIX > end:
            return end
        at += of_mold(at)
    return min(at, end)


@cold
def _invalid(eng):
    count(eng, _INVALID)
    return ZERO, ZERO


@cold
def _no_messages(eng, record, number):
    """A heartbeat or the end of the session."""
    if number == _END:
        count(eng, _END_OF_SESSION)
        line.set_ended(record, ONE)
    else:
        count(eng, _HEARTBEATS)


@leaf
def accept(eng, at, end, address, port):
    """(start, number) of the messages of a packet that are new; (0, 0) where there are none."""
    if at + MOLD_HEADER > end:
        return _invalid(eng)
    session, tail = _session(at), _session_tail(at)
    sequence, number = _sequence_number(at), _message_count(at)
    has_none = (number == _HEARTBEAT) | (number == _END)
    index = engine.line(eng)
    record = line.at(eng, index)
    if (
        line.session(record) != session
        or line.session_tail(record) != tail
        or not comes_on(record, address, port)
        or engine.lines(eng) == ZERO
    ):
        whole = is_whole(_KIND, at, end, ZERO if has_none else number)
        index = _find(eng, address, port, session, tail, sequence, whole)
        if index == NO_LINE:
            return ZERO, ZERO
        engine.set_line(eng, index)
        record = line.at(eng, index)
    engine.set_run_line(eng, index + ONE)
    engine.set_run_numbered(eng, ONE)
    known = follow(eng, index, sequence, ZERO if has_none else number, at, end, address, port)
    if has_none:
        # One that was refused as far ahead says nothing either.
        if sequence <= line.expected(record):
            _no_messages(eng, record, number)
        return ZERO, ZERO
    if known == ALL:
        return ZERO, ZERO
    begin = at + MOLD_HEADER
    if known != ZERO:
        begin = _skip(eng, begin, end, known)
    return begin, number - known
