"""Sequenced Unit packets: messages of one unit of PITCH, each of which begins with its length.

A line is a group, a port and a unit.  Units number their messages each for itself, and each has a
time of its own (`tickpath.pitch`).

    count 0             heartbeat: carries the next number (0: the unit is not sequenced)
    sequence 0          messages without a sequence: taken as they come, counted
    header's length     is the datagram's, or less where something stands behind it; more is invalid

What a sequence number means for its line is `tickpath.line`.
"""

import numpy as np

from tickpath.counters import Counter
from tickpath.jit import cold, leaf
from tickpath.layout import LineKind, count, engine, group, line
from tickpath.line import ALL, NO_LINE, ONE, ZERO, comes_on, follow, line_a, make
from tickpath.span import LEAST, UNIT_HEADER, of_pitch, pitch_length
from tickpath.wire.hot import peek
from tickpath.wire.pitch241 import PITCH241

_HEADER = PITCH241["sequenced_unit_header"]
_KIND = np.uint64(LineKind.UNIT)
_length, _count = peek(_HEADER, "length"), peek(_HEADER, "count")
_unit, _sequence = peek(_HEADER, "unit"), peek(_HEADER, "sequence")

_INVALID = np.uint64(Counter.UNIT_INVALID)
_HEARTBEATS = np.uint64(Counter.HEARTBEATS)
_UNSEQUENCED = np.uint64(Counter.UNIT_UNSEQUENCED)
_TIME_UNKNOWN = np.uint64(Counter.UNIT_TIME_UNKNOWN)


@leaf
def is_unit(at, end):
    """True where a datagram is a Sequenced Unit packet: it begins with its own length.

    A MoldUDP64 packet begins with text, which as a length is more than any datagram has.
    """
    return at + UNIT_HEADER <= end and _length(at) == end - at


@cold
def _venue_of(eng, address, port):
    """The venue that the configuration says of a group."""
    for at in range(engine.group_venues(eng)):
        g = group.at(eng, at)
        if group.address(g) == address and group.port(g) == port and group.venue(g) != ZERO:
            return group.venue(g)
    return engine.pitch_venue(eng)


@cold
def make_unit(eng, address, port, unit, sequence):
    """Index of a unit's new line; `NO_LINE`, counted, if all are taken."""
    index = make(eng, address, port, ZERO, unit, sequence, _KIND)
    if index != NO_LINE:
        line.set_venue(line.at(eng, index), _venue_of(eng, address, port))
    return index


@cold
def _find(eng, address, port, unit, sequence):
    """Index of the unit's line, which is made at its first packet; `NO_LINE` if all are taken."""
    address, port = line_a(eng, address, port)
    for index in range(engine.lines(eng)):
        record = line.at(eng, index)
        is_unit = line.session_tail(record) == unit and line.kind(record) == _KIND
        if is_unit and comes_on(record, address, port):
            return index
    return make_unit(eng, address, port, unit, sequence)


@cold
def _skip(eng, at, end, known):
    """Start of the first message that is not known yet; ``end`` where the packet ends before."""
    for _ in range(known):
        if at + LEAST > end or pitch_length(at) < LEAST:
            return end
        at += of_pitch(at)
    return min(at, end)


@cold
def _refuse(eng, why):
    count(eng, why)
    return ZERO, ZERO, ZERO


@cold
def _note_time_unknown(eng):
    count(eng, _TIME_UNKNOWN)


@leaf
def accept(eng, at, end, address, port):
    """(start, end, number) of the messages of a packet that are new; zeros where there are none."""
    if at + UNIT_HEADER > end or _length(at) < UNIT_HEADER or at + _length(at) > end:
        return _refuse(eng, _INVALID)
    unit, sequence, number = _unit(at), _sequence(at), _count(at)
    end = at + _length(at)
    index = engine.line(eng)
    record = line.at(eng, index)
    if (
        line.session_tail(record) != unit
        or line.kind(record) != _KIND
        or not comes_on(record, address, port)
        or engine.lines(eng) == ZERO
    ):
        index = _find(eng, address, port, unit, sequence)
        if index == NO_LINE:
            return ZERO, ZERO, ZERO
        engine.set_line(eng, index)
        record = line.at(eng, index)
    engine.set_run_line(eng, index + ONE)
    engine.set_run_venue(eng, line.venue(record))
    engine.set_unit_ns(eng, line.unit_ns(record))
    engine.set_run_numbered(eng, np.uint64(sequence != ZERO))
    begin = at + UNIT_HEADER
    known = ZERO
    if sequence != ZERO:
        if line.expected(record) == ZERO:
            first = ONE if engine.recovers(eng) != ZERO else sequence
            line.set_first(record, first)
            line.set_expected(record, first)
            line.set_seen(record, first)
        known = follow(eng, index, sequence, number, at, end, address, port)
    elif number != ZERO:
        count(eng, _UNSEQUENCED)
    if number == ZERO:
        return _refuse(eng, _HEARTBEATS)
    if known == ALL:
        return ZERO, ZERO, ZERO
    if line.unit_ns(record) == ZERO:
        _note_time_unknown(eng)
    if known != ZERO:
        begin = _skip(eng, begin, end, known)
    return begin, end, number - known
