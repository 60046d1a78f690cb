"""Lines: which message of which session comes next, and what was missed.

A line is a destination group (address and port), of PITCH one unit of it (`tickpath.unit`).  It
numbers messages from 1; `expected` is the next number.  The first packet seen sets it, so a capture
may begin anywhere; where recovery is at work it is 1, and the day so far is missing.

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

from tickpath import held, latency, publish, span
from tickpath.counters import Counter
from tickpath.jit import cold, leaf
from tickpath.layout import (
    ARRIVALS,
    GAP_RANGES,
    LINES,
    LineKind,
    LineState,
    Stage,
    Watch,
    arrival,
    book,
    count,
    count_by,
    engine,
    gap,
    group,
    histogram,
    line,
)

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
_UNIT = np.uint64(LineKind.UNIT)
_WINDOW, _HOLE = np.uint64(LineState.WINDOW), np.uint64(LineState.HOLE)
_LEAD_A, _LEAD_B = np.uint64(Stage.LEAD_A), np.uint64(Stage.LEAD_B)
_ARRIVALS, _ARRIVAL_MASK = np.uint64(ARRIVALS), np.uint64(ARRIVALS - 1)
_MOLD_CUT = np.uint64(Counter.MOLD_TRUNCATED)
_UNIT_CUT = np.uint64(Counter.UNIT_TRUNCATED)
_SECOND = np.uint64(Counter.PACKETS_SECOND)
_BOOKS_RECOVERED, _SNAPSHOTS = np.uint64(Counter.BOOKS_RECOVERED), np.uint64(Counter.SNAPSHOTS)
_LINES, _GAP_RANGES = np.uint64(LINES), np.uint64(GAP_RANGES)


@leaf
def is_of(eng, b, index):
    """Whether a book's orders come on a line: of a unit its own, of Nasdaq's lines all."""
    record = line.at(eng, index)
    if line.kind(record) == _UNIT:
        return book.line(book.at(eng, b)) == index + ONE
    return b < engine.locates(eng)


@cold
def mark_stale(eng, index):
    """A gap is an input of its own: every book of the line may be wrong from here on."""
    engine.set_input_number(eng, engine.input_number(eng) + ONE)
    record, marked = line.at(eng, index), ZERO
    for b in range(engine.books(eng)):
        known = book.at(eng, b)
        if book.venue(known) != ZERO and book.stale(known) == ZERO and is_of(eng, b, index):
            book.set_stale(known, ONE)
            marked += ONE
    count_by(eng, _BOOKS_STALE, marked)
    engine.set_watch(eng, engine.watch(eng) | _STALE)
    line.set_gapped(record, ONE)
    if line.kind(record) != _UNIT:
        engine.set_gapped(eng, ONE)


@cold
def doubt(eng, index):
    """The line's session changed: its books may be wrong from here on."""
    publish.stale(eng, index)
    mark_stale(eng, index)


@cold
def make_good(eng, index):
    """A snapshot stands for everything that was missed: the line's books are right again."""
    engine.set_input_number(eng, engine.input_number(eng) + ONE)
    record, marked = line.at(eng, index), ZERO
    for b in range(engine.books(eng)):
        known = book.at(eng, b)
        if book.venue(known) != ZERO and book.stale(known) != ZERO and is_of(eng, b, index):
            book.set_stale(known, ZERO)
            marked += ONE
    count_by(eng, _BOOKS_RECOVERED, marked)
    count(eng, _SNAPSHOTS)
    line.set_gapped(record, ZERO)
    if line.kind(record) != _UNIT:
        engine.set_gapped(eng, ZERO)


# ---------------------------------------------------------------- lines and their groups


@cold
def _twin(eng, record):
    """Note where a new line's messages come a second time, if the configuration says so."""
    line.set_b_group(record, ZERO)
    line.set_b_port(record, ZERO)
    for at in range(engine.group_venues(eng)):
        g = group.at(eng, at)
        if group.a_address(g) == line.group(record) and group.a_port(g) == line.port(record):
            line.set_b_group(record, group.address(g))
            line.set_b_port(record, group.port(g))


@cold
def line_a(eng, address, port):
    """(address, port) of the line A that a group is of: its own, if it is no line B."""
    for at in range(engine.group_venues(eng)):
        g = group.at(eng, at)
        if group.address(g) == address and group.port(g) == port and group.a_address(g) != ZERO:
            return group.a_address(g), group.a_port(g)
    return address, port


@leaf
def comes_on(record, address, port):
    """Whether a line's messages come on a group: as its line A or its line B."""
    is_a = (line.group(record) == address) & (line.port(record) == port)
    return is_a | ((line.b_group(record) == address) & (line.b_port(record) == port))


@cold
def _start(eng, record, address, port, session, tail, sequence):
    line.set_group(record, address)
    line.set_port(record, port)
    line.set_session(record, session)
    line.set_session_tail(record, tail)
    # Where recovery is at work, the day so far is a hole too.
    first = ONE if engine.recovers(eng) != ZERO and sequence != ZERO else sequence
    line.set_expected(record, first)
    line.set_first(record, first)
    # One packet alone is not believed: what it says of the day so far, the next one has to say too.
    line.set_seen(record, first)
    line.set_ended(record, ZERO)


@cold
def restart(eng, index, address, port, session, tail, sequence):
    """Begin a line again with another session."""
    record = line.at(eng, index)
    _start(eng, record, address, port, session, tail, sequence)
    publish.line_begins(eng, index, line.first(record), ZERO)


@cold
def make(eng, address, port, session, tail, sequence, kind):
    """Index of a new line; `NO_LINE`, counted, if all are taken."""
    index = engine.lines(eng)
    if index >= _LINES:
        count(eng, _LINES_FULL)
        return NO_LINE
    engine.set_lines(eng, index + ONE)
    record = line.at(eng, index)
    _start(eng, record, address, port, session, tail, sequence)
    line.set_kind(record, kind)
    _twin(eng, record)
    publish.line_begins(eng, index, line.first(record), ONE)
    return index


@cold
def declare_gap(eng, index, first, last):
    """Messages ``first`` to ``last`` of a line will not come: an input, listed; on behind it."""
    publish.gap(eng, index, first, last)
    record = line.at(eng, index)
    line.set_expected(record, last + ONE)
    missing = last - first + ONE
    line.set_gap_messages(record, line.gap_messages(record) + missing)
    count(eng, _GAPS)
    count_by(eng, _GAP_MESSAGES, missing)
    mark_stale(eng, index)
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


@cold
def pass_hole(eng, index):
    """What is missing on a line will not come: declare the gap, go on behind it."""
    record, end = line.at(eng, index), held.hole_end(eng, index)
    if end > line.expected(record):
        declare_gap(eng, index, line.expected(record), end - ONE)
        line.set_waits_since(record, engine.ts_recv(eng))


@cold
def end_window(eng, index):
    """A line has waited for long enough: a hole for recovery, or a gap."""
    if engine.recovers(eng) != ZERO:
        held.set_state(eng, line.at(eng, index), _HOLE)
    else:
        pass_hole(eng, index)


@cold
def end_windows(eng):
    """Lines whose packets wait for too long, by the receive time of any packet."""
    for index in range(engine.lines(eng)):
        record = line.at(eng, index)
        if line.state(record) == _WINDOW and held.is_over(eng, record):
            end_window(eng, index)


@cold
def _ahead(eng, index, sequence, number, at, end):
    """A packet beyond the next message; gives how many of its messages are known, `ALL` to wait."""
    record = line.at(eng, index)
    expected = line.expected(record)
    # What is missing already is no reason to doubt the packets behind it.
    known = max(expected, line.seen(record))
    is_far = sequence > known and sequence - known > MAX_JUMP
    if is_far and not _is_believed(eng, record, sequence, number):
        return ALL
    if engine.reorder_packets(eng) == ZERO and engine.recovers(eng) == ZERO:
        declare_gap(eng, index, expected, sequence - ONE)
        line.set_seen(record, max(line.seen(record), sequence + number))
        return ZERO
    # What a damaged packet says of itself would open a hole that nobody can fill.
    if number != ZERO and not span.is_whole(line.kind(record), at, end, number):
        count(eng, _UNIT_CUT if line.kind(record) == _UNIT else _MOLD_CUT)
        return ALL
    line.set_seen(record, max(line.seen(record), sequence + number))
    held.wait(eng, index)
    kept = number == ZERO or held.hold(eng, index, sequence, number, at, end)
    if line.state(record) == _WINDOW and (not kept or held.is_over(eng, record)):
        end_window(eng, index)
        # What found no room comes at its turn, if that is now.
        if not kept and sequence <= line.expected(record):
            return ZERO
    return ALL


@cold
def _second(eng, index, sequence, is_b):
    """A packet that came on the other line before: by how much that was ahead."""
    count(eng, _SECOND)
    known = arrival.at(eng, index * _ARRIVALS + (sequence & _ARRIVAL_MASK))
    if arrival.sequence(known) == sequence and engine.ts_recv(eng) >= arrival.ts_recv(known):
        which = _LEAD_A if is_b else _LEAD_B
        latency.record(histogram.at(eng, which), engine.ts_recv(eng) - arrival.ts_recv(known))


@leaf
def _note_arrival(eng, index, sequence, is_b):
    """Which of two lines brought a packet first, and when."""
    known = line.at(eng, index)
    if is_b:
        line.set_first_b(known, line.first_b(known) + ONE)
    else:
        line.set_first_a(known, line.first_a(known) + ONE)
    came = arrival.at(eng, index * _ARRIVALS + (sequence & _ARRIVAL_MASK))
    arrival.set_sequence(came, sequence)
    arrival.set_ts_recv(came, engine.ts_recv(eng))


@leaf
def follow(eng, index, sequence, number, at, end, address, port):
    """How many of a packet's messages are known already; `ALL` where none is to be taken.

    ``number`` messages begin with number ``sequence``; with none of them it is the next one's.
    The datagram stands from ``at`` to ``end``; ``address`` and ``port`` are where it was sent to.
    """
    here = line.at(eng, index)
    is_fresh = engine.run_held(eng) == ZERO
    if is_fresh:
        line.set_packets(here, line.packets(here) + ONE)
    expected = line.expected(here)
    if sequence > expected:
        return _ahead(eng, index, sequence, number, at, end)
    known = min(expected - sequence, number)
    has_twin = is_fresh & (line.b_group(here) != ZERO) & (number != ZERO)
    if known != ZERO:
        count_by(eng, _DUPLICATES, known)
    if has_twin:
        is_b = (address == line.b_group(here)) & (port == line.b_port(here))
        if known == number:
            _second(eng, index, sequence, is_b)
        else:
            _note_arrival(eng, index, sequence, is_b)
    return known if known < number else ALL


@leaf
def advance(eng):
    """One message of the line under way was taken."""
    record = line.at(eng, engine.run_line(eng) - ONE)
    line.set_expected(record, line.expected(record) + ONE)
    line.set_messages(record, line.messages(record) + ONE)
