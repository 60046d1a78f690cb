"""Walking over records of the input stream that stand one behind the other in memory.

A record is whole where its length fits, its checksum is right, and its number is the next one; the
walk ends at the first place where that is not so and says why.  Nothing behind that place has been
believed.  What was never written is zeros, which no record begins with.
"""

from enum import IntEnum

import numpy as np

from tickpath.jit import cold, entry, leaf
from tickpath.memory import accessors
from tickpath.packet import LINK_INPUT, PACKET
from tickpath.publish import HEADER, checksum_of, size_of
from tickpath.wire.inputs import ALIGNMENT, INPUTS, Kind


class Stop(IntEnum):
    """Why a walk ended."""

    FULL = 0
    """As many records as were asked for."""
    UNWRITTEN = 1
    """Nothing was written here yet, or there is no room for a record."""
    DAMAGED = 2
    """The checksum is not that of the bytes, or the length leads too far."""
    KIND = 3
    """A whole record of no kind that there is, or a ring's pad."""
    HOLE = 4
    """A whole record with too high a number: others are missing before it."""
    REPEATED = 5
    """A whole record with too low a number."""
    EPOCH = 6
    """A whole record of an epoch that was over."""


WALK = np.dtype(
    [
        ("at", "<u8"),  # address of the next record
        ("end", "<u8"),
        ("expected", "<u8"),  # its number
        ("epoch", "<u8"),  # of the record before it
    ]
)
walk = accessors("walk", WALK)
record = accessors("journal_record", INPUTS["record"].dtype)
lent = accessors("journal_lent", PACKET)

ZERO, ONE = np.uint64(0), np.uint64(1)
_WORD, _STEP = np.uint64(8), np.uint64(ALIGNMENT)
_LINK, _SIZE = np.uint64(LINK_INPUT), np.uint64(PACKET.itemsize)
_PAD, _LAST_KIND = np.uint64(Kind.PAD), np.uint64(max(Kind))
_FULL, _UNWRITTEN, _DAMAGED = np.uint64(Stop.FULL), np.uint64(Stop.UNWRITTEN), np.uint64(2)
_KIND, _HOLE = np.uint64(Stop.KIND), np.uint64(Stop.HOLE)
_REPEATED, _EPOCH = np.uint64(Stop.REPEATED), np.uint64(Stop.EPOCH)


@leaf
def _is_whole(at, end):
    size = size_of(record.length(at))
    return size <= end - at and checksum_of(at + _WORD, at + size) == record.checksum(at)


@cold
def _flaw(at, end, expected, epoch):
    """What is wrong with the record at ``at``; FULL for nothing."""
    if end - at < HEADER or (record.checksum(at) == ZERO and record.number(at) == ZERO):
        return _UNWRITTEN
    if not _is_whole(at, end):
        return _DAMAGED
    kind = record.kind(at)
    if kind == ZERO or kind == _PAD or kind > _LAST_KIND:
        return _KIND
    if record.number(at) != expected:
        return _HOLE if record.number(at) > expected else _REPEATED
    return _EPOCH if record.epoch(at) < epoch else _FULL


@leaf
def _lend(p, at, size):
    lent.set_address(p, at)
    lent.set_ts_recv(p, record.ts_recv(at))
    lent.set_length(p, size)
    lent.set_wire_length(p, size)
    lent.set_link(p, _LINK)
    lent.set_line(p, ZERO)
    lent.set_group(p, ZERO)


@leaf
def _pass(w, at, size):
    walk.set_at(w, at + size)
    walk.set_expected(w, record.number(at) + ONE)
    walk.set_epoch(w, record.epoch(at))


@entry
def lend(w, packets, most):
    """Pass over up to ``most`` whole records; gives (how many, `Stop`).

    ``w``: address of a `WALK`, which goes on behind them.  ``packets``: address of so many `PACKET`
    records that lead to them; 0: none are filled in.  A walk that expects number 0 takes whatever
    number comes first.
    """
    number, why = ZERO, _FULL
    while number < most:
        at, expected = walk.at(w), walk.expected(w)
        if expected == ZERO and walk.end(w) - at >= HEADER:
            expected = record.number(at)
        why = _flaw(at, walk.end(w), expected, walk.epoch(w))
        if why != _FULL:
            break
        size = size_of(record.length(at))
        if packets != ZERO:
            _lend(packets + number * _SIZE, at, size)
        _pass(w, at, size)
        number += ONE
    return number, why


@entry
def find_whole(at, end, least, most):
    """Where the next whole record with a number from ``least`` to ``most`` is; ``end``: nowhere."""
    while end - at >= HEADER:
        if least <= record.number(at) <= most and _is_whole(at, end):
            return at
        at += _STEP
    return end
