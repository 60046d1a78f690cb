"""Lines: which message of which session comes next, and what was missed.

A line is a destination group (address and port), of PITCH one unit of it (`tickpath.unit`).  It
numbers messages from 1; `expected` is the next number.  The first packet seen sets it, so a capture
may begin anywhere.

    sequence number < expected    messages known already are dropped and counted
    sequence number > expected    the missing range is declared a gap: listed, counted, and all
                                  books of the feed are marked stale, as one input of the engine
    sequence number far ahead     more than `MAX_JUMP` messages: refused and counted, unless the
                                  next packet goes on from there, so that one garbled packet
                                  cannot make the line drop all that follows

A packet cut short advances `expected` by the messages that were there: the next packet then shows
the rest as missing.  What is declared missing is not asked for here.
"""

import numpy as np

from tickpath.counters import Counter
from tickpath.jit import cold, leaf
from tickpath.layout import GAP_RANGES, LINES, Watch, book, count, count_by, engine, gap, line

ZERO, ONE = np.uint64(0), np.uint64(1)
ALL = np.uint64((1 << 64) - 1)
"""Instead of the number of known messages: none of the packet's are to be taken."""
NO_LINE = np.uint64(0xFFFF)
MAX_JUMP = np.uint64(1 << 20)
"""Messages that one packet alone can declare missing."""

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
def start(eng, record, address, port, session, tail, sequence):
    """Begin a line, or begin it again with another session."""
    line.set_group(record, address)
    line.set_port(record, port)
    line.set_session(record, session)
    line.set_session_tail(record, tail)
    line.set_expected(record, sequence)
    line.set_first(record, sequence)
    line.set_ended(record, ZERO)


@cold
def make(eng, address, port, session, tail, sequence, kind):
    """Index of a new line; `NO_LINE`, counted, if all are taken."""
    index = engine.lines(eng)
    if index >= _LINES:
        count(eng, _LINES_FULL)
        return NO_LINE
    engine.set_lines(eng, index + ONE)
    record = line.at(eng, index)
    start(eng, record, address, port, session, tail, sequence)
    line.set_kind(record, kind)
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
    line.set_candidate(record, sequence + number)
    return False


@leaf
def follow(eng, index, sequence, number):
    """How many of a packet's messages are known already; `ALL` where none is to be taken.

    ``number`` messages begin with number ``sequence``; with none of them it is the next one's.
    """
    record = line.at(eng, index)
    line.set_packets(record, line.packets(record) + ONE)
    expected = line.expected(record)
    if sequence > expected:
        if sequence - expected > MAX_JUMP and not _is_believed(eng, record, sequence, number):
            return ALL
        _declare_gap(eng, index, expected, sequence - ONE)
        line.set_expected(record, sequence)
        return ZERO
    known = min(expected - sequence, number)
    if known != ZERO:
        count_by(eng, _DUPLICATES, known)
    return known if known < number else ALL


@leaf
def advance(eng):
    """One message of the line under way was taken."""
    record = line.at(eng, engine.run_line(eng) - ONE)
    line.set_expected(record, line.expected(record) + ONE)
    line.set_messages(record, line.messages(record) + ONE)
