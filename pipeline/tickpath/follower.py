"""Following another engine: its input stream, record by record, through the same pipeline.

A record is taken only where this engine stands as the other one stood before it: the same number of
inputs, the same books, the same bytes of orders.  Where it does not, following ends at once, with
the reason in `engine.diverged`; nothing of that record is applied, and the state stays for study.
Records that were taken already and those of an epoch that is over are passed over and counted.

An engine that follows can publish too: its ring then holds the same records, byte for byte, and
goes on with the same numbers when it becomes the active one.
"""

from enum import IntEnum

import numpy as np

from tickpath import line, publish, repair, scrub, unit
from tickpath.counters import Counter
from tickpath.jit import cold, leaf
from tickpath.layout import LineKind, count, engine
from tickpath.layout import line as line_record
from tickpath.memory import lend_message
from tickpath.packet import LINK_RESPONSES
from tickpath.publish import (
    HEADER,
    checksum_of,
    gap_body,
    line_start,
    record,
    scrub_body,
    size_of,
)
from tickpath.wire.inputs import Flag, Kind


class Divergence(IntEnum):
    """Why following ended."""

    NONE = 0
    DAMAGED = 1
    """The record's checksum or length is wrong."""
    HOLE = 2
    """Records before it are missing."""
    INPUTS = 3
    """The engines had not taken the same number of inputs."""
    BOOKS = 4
    ORDERS = 5
    """They had not encoded the same number of bytes of orders."""
    LINES = 6
    """They do not number their lines alike."""
    UNKNOWN = 7
    """No such kind of record."""
    STATE = 8
    """Positions, own orders, limits or the strategy's state: a slice of them adds up otherwise."""


ZERO, ONE = np.uint64(0), np.uint64(1)
_WORD = np.uint64(8)
_LINK_RESPONSES = np.uint64(LINK_RESPONSES)
_ENDLESS = np.uint64((1 << 64) - 1)
_UNIT = np.uint64(LineKind.UNIT)
_REPEATED, _FENCED = np.uint64(Counter.INPUTS_REPEATED), np.uint64(Counter.INPUTS_FENCED)
_DAMAGED, _HOLE = np.uint64(Divergence.DAMAGED), np.uint64(Divergence.HOLE)
_INPUTS, _BOOKS = np.uint64(Divergence.INPUTS), np.uint64(Divergence.BOOKS)
_ORDERS, _LINES = np.uint64(Divergence.ORDERS), np.uint64(Divergence.LINES)
_UNKNOWN, _STATE = np.uint64(Divergence.UNKNOWN), np.uint64(Divergence.STATE)
_RUN, _LINE, _GAP = np.uint64(Kind.RUN), np.uint64(Kind.LINE), np.uint64(Kind.GAP)
_STALE, _CLEAR, _SPLICE = np.uint64(Kind.STALE), np.uint64(Kind.CLEAR), np.uint64(Kind.SPLICE)
_EPOCH, _NOTE = np.uint64(Kind.EPOCH), np.uint64(Kind.NOTE)
_HOLD, _SCRUB = np.uint64(Kind.HOLD), np.uint64(Kind.SCRUB)
_NUMBERED, _BARE = np.uint64(Flag.NUMBERED), np.uint64(Flag.BARE)
_IS_ENDLESS, _NEW = np.uint64(Flag.ENDLESS), np.uint64(Flag.NEW)


@leaf
def _is_set(r, flag):
    return np.uint64(record.flags(r) & flag != ZERO)


@cold
def _difference(eng, r, length):
    """What keeps a record from being taken: a number of `Divergence`, 0 for nothing."""
    if length < HEADER or size_of(record.length(r)) != length:
        return _DAMAGED
    if checksum_of(r + _WORD, r + length) != record.checksum(r):
        return _DAMAGED
    if record.number(r) <= engine.record_number(eng) or record.epoch(r) < engine.epoch(eng):
        return ZERO
    if record.number(r) != engine.record_number(eng) + ONE:
        return _HOLE
    if record.input_number(r) != engine.input_number(eng):
        return _INPUTS
    if record.book_digest(r) != engine.book_digest(eng):
        return _BOOKS
    return _ORDERS if record.order_position(r) != engine.order_position(eng) else ZERO


@cold
def end(eng, why):
    """Stop following; what is applied stays as it is."""
    engine.set_diverged(eng, why)
    engine.set_stopped(eng, ONE)
    engine.set_pause(eng, ONE)


@cold
def _line(eng, r):
    body, sequence = r + HEADER, record.sequence(r)
    address, port = line_start.group(body), line_start.port(body)
    session, tail = line_start.session(body), line_start.session_tail(body)
    index, kind = record.line(r) - ONE, line_start.line_kind(body)
    if _is_set(r, _NEW) == ZERO:
        if index >= engine.lines(eng):
            return _LINES
        line.restart(eng, index, address, port, session, tail, sequence)
        return ZERO
    if index != engine.lines(eng):
        return _LINES
    if kind == _UNIT:
        made = unit.make_unit(eng, address, port, tail, sequence)
    else:
        made = line.make(eng, address, port, session, tail, sequence, kind)
    return ZERO if made == index else _LINES


@cold
def _splice(eng, r, index):
    publish.splice(eng, index, record.sequence(r))
    line.make_good(eng, index)
    of = line_record.at(eng, index)
    line_record.set_expected(of, record.sequence(r))
    line_record.set_seen(of, record.sequence(r))


@cold
def _scrub(eng, r):
    index, total = record.sequence(r), scrub_body.total(r + HEADER)
    if index >= engine.scrub_slices(eng) or scrub.checksum(eng, index) != total:
        return _STATE
    publish.scrub(eng, index, total)
    return ZERO


@cold
def _event(eng, r):
    """Take a record that is no run; gives a `Divergence`."""
    kind, index = record.kind(r), record.line(r) - ONE
    if kind == _EPOCH or kind == _NOTE or kind == _HOLD:
        publish.say(eng, kind, record.sequence(r), r + HEADER, record.length(r))
        return ZERO
    if kind == _SCRUB:
        return _scrub(eng, r)
    if kind == _LINE:
        return _line(eng, r)
    if index >= engine.lines(eng):
        return _LINES
    if kind == _GAP:
        line.declare_gap(eng, index, record.sequence(r), gap_body.last(r + HEADER))
    elif kind == _STALE:
        line.doubt(eng, index)
    elif kind == _CLEAR:
        publish.clear(eng, index)
        repair.empty(eng, index)
    elif kind == _SPLICE:
        _splice(eng, r, index)
    else:
        return _UNKNOWN
    return ZERO


@cold
def _run(eng, r):
    """Set the engine up for a run as the other one was."""
    of = record.line(r)
    if of > engine.lines(eng):
        return _LINES
    numbered = _is_set(r, _NUMBERED)
    if numbered != ZERO:
        known = line_record.at(eng, of - ONE)
        line_record.set_expected(known, record.sequence(r))
        line_record.set_seen(known, max(record.sequence(r), line_record.seen(known)))
    if record.link(r) == _LINK_RESPONSES:
        engine.set_answered(eng, record.sequence(r))
    engine.set_run_line(eng, of)
    engine.set_run_numbered(eng, numbered)
    engine.set_run_kind(eng, record.link(r))
    engine.set_run_venue(eng, record.venue(r))
    engine.set_unit_ns(eng, record.unit_ns(r))
    engine.set_bare(eng, _is_set(r, _BARE))
    return ZERO


@leaf
def messages_of(r):
    """Number of a run's messages; as many as there are where it is not said."""
    return _ENDLESS if _is_set(r, _IS_ENDLESS) != ZERO else record.messages(r)


@cold
def take(eng, r, length):
    """Take a record at ``r``; True where it is a run that the pipeline has to begin now."""
    if engine.diverged(eng) != ZERO:
        return False
    lend_message(r, r + length)
    why = _difference(eng, r, length)
    if why != ZERO:
        end(eng, why)
        return False
    # Number first: a record that comes again is not of another's epoch.
    if record.number(r) <= engine.record_number(eng):
        count(eng, _REPEATED)
        return False
    if record.epoch(r) < engine.epoch(eng):
        count(eng, _FENCED)
        return False
    engine.set_epoch(eng, record.epoch(r))
    is_run = record.kind(r) == _RUN
    why = _run(eng, r) if is_run else _event(eng, r)
    if why != ZERO:
        end(eng, why)
        return False
    if not is_run:
        engine.set_record_number(eng, record.number(r))
    return is_run
