"""Packets that came too early: they wait for those before them, in bounded memory.

A packet beyond what is next on its line may only have overtaken others, or those come on the
other line (A or B).  So it is copied and waits; the line is in its window then.

    what is missing comes      it is taken, then what waits, in sequence
    the window ends            after `reorder_packets` packets of the line or `reorder_ns` of
                               receive time: the gap is declared, or, where recovery is at work,
                               the line has a hole, and waits until it is filled or given up
    no room to wait            without recovery the window ends at once; with it the packet is
                               dropped and counted, and will be asked for

Memory is `HELD` packets for all lines together.  Receive time decides about windows only; what
comes of it (a gap, packets in their order) is the same inputs as ever.
"""

import numpy as np

from tickpath.counters import Counter
from tickpath.jit import cold, leaf
from tickpath.layout import (
    HELD,
    HELD_BYTES,
    LineState,
    count,
    count_by,
    engine,
    held_bytes,
    held_packet,
    line,
)
from tickpath.memory import copy_bytes

ZERO, ONE = np.uint64(0), np.uint64(1)
NEVER = np.uint64((1 << 64) - 1)
_HELD, _BYTES = np.uint64(HELD), np.uint64(HELD_BYTES)
_STEADY, _WINDOW = np.uint64(LineState.STEADY), np.uint64(LineState.WINDOW)
_REORDERED = np.uint64(Counter.PACKETS_REORDERED)
_DROPPED = np.uint64(Counter.PACKETS_HELD_DROPPED)
_SKIPPED = np.uint64(Counter.BYTES_SKIPPED)


@leaf
def set_state(eng, record, state):
    """Set a line's state, and count the lines that are not steady."""
    was, now = line.state(record) != _STEADY, state != _STEADY
    engine.set_waiting(eng, engine.waiting(eng) + np.uint64(now) - np.uint64(was))
    line.set_state(record, state)


@cold
def first_held(eng, index):
    """(place, sequence number) of the first packet of a line that waits; (0, NEVER) for none."""
    found, lowest = ZERO, NEVER
    left = line.held(line.at(eng, index))
    for at in range(_HELD):
        if left == ZERO:
            break
        p = held_packet.at(eng, np.uint64(at))
        if held_packet.line(p) == index + ONE:
            left -= ONE
            if held_packet.sequence(p) < lowest:
                found, lowest = np.uint64(at), held_packet.sequence(p)
    return found, lowest


@cold
def hole_end(eng, index):
    """Number of the first message behind what is missing on a line."""
    _, lowest = first_held(eng, index)
    return min(lowest, max(line.seen(line.at(eng, index)), line.expected(line.at(eng, index))))


@cold
def _free(eng, at):
    p = held_packet.at(eng, at)
    record = line.at(eng, held_packet.line(p) - ONE)
    held_packet.set_line(p, ZERO)
    line.set_held(record, line.held(record) - ONE)
    engine.set_held(eng, engine.held(eng) - ONE)


@cold
def forget(eng, index, before):
    """Drop the packets of a line that wait and hold nothing from ``before`` on."""
    for at in range(_HELD):
        p = held_packet.at(eng, np.uint64(at))
        if held_packet.line(p) == index + ONE and held_packet.behind(p) <= before:
            count_by(eng, _SKIPPED, held_packet.length(p))
            _free(eng, np.uint64(at))


@cold
def hold(eng, index, sequence, number, at, end):
    """Let a datagram wait; False, counted, where there is no room for it."""
    record, length = line.at(eng, index), end - at
    place = ZERO
    while place < _HELD and held_packet.line(held_packet.at(eng, place)) != ZERO:
        place += ONE
    if place == _HELD or length > _BYTES:
        count(eng, _DROPPED)
        return False
    p = held_packet.at(eng, place)
    held_packet.set_sequence(p, sequence)
    held_packet.set_behind(p, sequence + number)
    held_packet.set_line(p, index + ONE)
    held_packet.set_length(p, length)
    copy_bytes(held_bytes.at(eng, place * _BYTES), at, length)
    line.set_held(record, line.held(record) + ONE)
    engine.set_held(eng, engine.held(eng) + ONE)
    engine.set_kept(eng, length)
    count(eng, _REORDERED)
    return True


@cold
def wait(eng, index):
    """Something is missing on a line from now on, or still is."""
    record = line.at(eng, index)
    if line.state(record) == _STEADY:
        set_state(eng, record, _WINDOW)
        line.set_waits_since(record, engine.ts_recv(eng))


@leaf
def is_over(eng, record):
    """Whether a line's window has ended."""
    waited = engine.ts_recv(eng) - line.waits_since(record)
    is_late = (engine.reorder_ns(eng) != ZERO) & (engine.ts_recv(eng) > line.waits_since(record))
    return (line.held(record) > engine.reorder_packets(eng)) | (
        is_late & (waited > engine.reorder_ns(eng))
    )


@cold
def next_run(eng):
    """The place + 1 of a packet whose turn has come, of any line; 0 where none waits for that.

    A line that waits for nothing any more is steady again.
    """
    for index in range(engine.lines(eng)):
        record = line.at(eng, np.uint64(index))
        if line.state(record) == _STEADY:
            continue
        place, lowest = first_held(eng, np.uint64(index))
        if lowest <= line.expected(record):
            return place + ONE
        if lowest == NEVER and line.seen(record) <= line.expected(record):
            set_state(eng, record, _STEADY)
    return ZERO


@cold
def finish(eng):
    """The run of a held packet is done: its place is free."""
    _free(eng, engine.run_held(eng) - ONE)
    engine.set_run_held(eng, ZERO)
