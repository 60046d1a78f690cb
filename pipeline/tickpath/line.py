"""MoldUDP64 lines: which message of which session comes next, and what was missed.

A line is a destination group (address and port).  Its session numbers messages from 1; `expected`
is the next number.  The first packet seen sets it, so a capture may begin anywhere.

    sequence number < expected    messages known already are dropped and counted
    sequence number > expected    the missing range is declared a gap: listed, counted, and all
                                  books of the feed are marked stale, as one input of the engine
    message count 0               heartbeat: carries the next number, so it can reveal a gap
    message count 0xFFFF          end of the session, likewise
    sequence number far ahead     more than `MAX_JUMP` messages: refused and counted, unless the
                                  next packet goes on from there, so that one garbled packet
                                  cannot make the line drop all that follows
    another session on the group  counted; the line starts over, books with orders become stale

A packet cut short advances `expected` by the messages that were there: the next packet then shows
the rest as missing.  What is declared missing is not asked for here.
"""

import numpy as np

from tickpath.counters import Counter
from tickpath.jit import cold, leaf
from tickpath.layout import GAP_RANGES, LINES, Watch, book, count, count_by, engine, gap, line
from tickpath.wire import moldudp64 as wire
from tickpath.wire.hot import peek

ZERO, ONE = np.uint64(0), np.uint64(1)
NO_LINE = np.uint64(0xFFFF)
MAX_JUMP = np.uint64(1 << 20)
"""Messages that one packet alone can declare missing."""

HEADER_LENGTH = np.uint64(wire.MOLDUDP64["downstream_packet"].length)
PREFIX_LENGTH = np.uint64(wire.MOLDUDP64["message_block"].length)
_HEARTBEAT, _END = np.uint64(wire.HEARTBEAT), np.uint64(wire.END_OF_SESSION)

_sequence_number = peek(wire.MOLDUDP64["downstream_packet"], "sequence_number")
_message_count = peek(wire.MOLDUDP64["downstream_packet"], "message_count")
_session = peek(wire.MOLDUDP64["downstream_packet"], "session", 0, 8)
_session_tail = peek(wire.MOLDUDP64["downstream_packet"], "session", 8, 2)
message_length = peek(wire.MOLDUDP64["message_block"], "message_length")

_INVALID = np.uint64(Counter.MOLD_INVALID)
_TRUNCATED = np.uint64(Counter.MOLD_TRUNCATED)
_HEARTBEATS = np.uint64(Counter.HEARTBEATS)
_END_OF_SESSION = np.uint64(Counter.END_OF_SESSION)
_SESSION_CHANGES = np.uint64(Counter.SESSION_CHANGES)
_DUPLICATES = np.uint64(Counter.DUPLICATE_MESSAGES)
_SEQUENCE_JUMPS = np.uint64(Counter.SEQUENCE_JUMPS)
_GAPS = np.uint64(Counter.GAPS)
_GAP_MESSAGES = np.uint64(Counter.GAP_MESSAGES)
_GAPS_NOT_LISTED = np.uint64(Counter.GAPS_NOT_LISTED)
_LINES_FULL = np.uint64(Counter.LINES_FULL)
_BOOKS_STALE = np.uint64(Counter.BOOKS_STALE)
_STALE = np.uint64(Watch.STALE)
_LINES, _GAP_RANGES = np.uint64(LINES), np.uint64(GAP_RANGES)


@cold
def mark_stale(eng):
    """A gap is an input of its own: every book of the feed may be wrong from here on."""
    engine.set_input_number(eng, engine.input_number(eng) + ONE)
    marked = ZERO
    for index in range(engine.books(eng)):
        b = book.at(eng, index)
        if book.venue(b) != ZERO and book.stale(b) == ZERO:
            book.set_stale(b, ONE)
            marked += ONE
    count_by(eng, _BOOKS_STALE, marked)
    engine.set_watch(eng, engine.watch(eng) | _STALE)
    engine.set_gapped(eng, ONE)


@cold
def _start(eng, record, address, port, session, tail, sequence):
    line.set_group(record, address)
    line.set_port(record, port)
    line.set_session(record, session)
    line.set_session_tail(record, tail)
    line.set_expected(record, sequence)
    line.set_first(record, sequence)
    line.set_ended(record, ZERO)


@cold
def _find(eng, address, port, session, tail, sequence):
    """Index of the group's line, which is made at its first packet; `NO_LINE` if all are taken."""
    for index in range(engine.lines(eng)):
        record = line.at(eng, index)
        if line.group(record) == address and line.port(record) == port:
            if line.session(record) != session or line.session_tail(record) != tail:
                count(eng, _SESSION_CHANGES)
                _start(eng, record, address, port, session, tail, sequence)
                if engine.orders_live(eng) != ZERO:
                    mark_stale(eng)
            return index
    index = engine.lines(eng)
    if index >= _LINES:
        count(eng, _LINES_FULL)
        return NO_LINE
    engine.set_lines(eng, index + ONE)
    _start(eng, line.at(eng, index), address, port, session, tail, sequence)
    return index


@cold
def _declare_gap(eng, index, first, last):
    record = line.at(eng, index)
    missing = last - first + ONE
    line.set_gap_messages(record, line.gap_messages(record) + missing)
    count(eng, _GAPS)
    count_by(eng, _GAP_MESSAGES, missing)
    mark_stale(eng)
    listed = engine.gaps(eng)
    if listed >= _GAP_RANGES:
        count(eng, _GAPS_NOT_LISTED)
        return
    g = gap.at(eng, listed)
    gap.set_first(g, first)
    gap.set_last(g, last)
    gap.set_line(g, index)
    gap.set_input_number(g, engine.input_number(eng))
    engine.set_gaps(eng, listed + ONE)


@cold
def _is_believed(eng, record, sequence, number):
    """Whether a sequence number so far ahead is taken: if the packet before it says the same."""
    if line.candidate(record) == sequence:
        return True
    count(eng, _SEQUENCE_JUMPS)
    taken = ZERO if number in (_HEARTBEAT, _END) else number
    line.set_candidate(record, sequence + taken)
    return False


@cold
def _skip(eng, at, end, known):
    """Start of the first message that is not known yet; ``end`` where the packet ends before."""
    for _ in range(known):
        if at + PREFIX_LENGTH > end:
            return end
        at += PREFIX_LENGTH + message_length(at)
    return min(at, end)


@cold
def _invalid(eng):
    count(eng, _INVALID)
    return ZERO, ZERO


@cold
def _no_messages(eng, record, sequence, number):
    """A heartbeat or the end of the session."""
    if number == _END:
        count(eng, _END_OF_SESSION)
        line.set_ended(record, ONE)
    else:
        count(eng, _HEARTBEATS)


@leaf
def accept(eng, at, end, address, port):
    """(start, number) of the messages of a packet that are new; (0, 0) where there are none."""
    if at + HEADER_LENGTH > end:
        return _invalid(eng)
    session, tail = _session(at), _session_tail(at)
    sequence, number = _sequence_number(at), _message_count(at)
    index = engine.line(eng)
    record = line.at(eng, index)
    if (
        line.session(record) != session
        or line.group(record) != address
        or line.port(record) != port
        or line.session_tail(record) != tail
        or engine.lines(eng) == ZERO
    ):
        index = _find(eng, address, port, session, tail, sequence)
        if index == NO_LINE:
            return ZERO, ZERO
        engine.set_line(eng, index)
        record = line.at(eng, index)
    line.set_packets(record, line.packets(record) + ONE)
    expected = line.expected(record)
    if sequence > expected:
        if sequence - expected > MAX_JUMP and not _is_believed(eng, record, sequence, number):
            return ZERO, ZERO
        _declare_gap(eng, index, expected, sequence - ONE)
        line.set_expected(record, sequence)
        expected = sequence
    if number == _HEARTBEAT or number == _END:
        _no_messages(eng, record, sequence, number)
        return ZERO, ZERO
    start = at + HEADER_LENGTH
    if sequence < expected:
        known = min(expected - sequence, number)
        count_by(eng, _DUPLICATES, known)
        if known == number:
            return ZERO, ZERO
        start = _skip(eng, start, end, known)
        number -= known
    return start, number


@cold
def cut(eng):
    """A message block that overruns its packet."""
    count(eng, _TRUNCATED)


@leaf
def advance(eng):
    """One message of the line under way was taken."""
    record = line.at(eng, engine.line(eng))
    line.set_expected(record, line.expected(record) + ONE)
    line.set_messages(record, line.messages(record) + ONE)
