"""Publishing inputs: the hot path writes each one into a ring of memory before it applies it.

    Ring (header, `RING`)   head: bytes ever written; number; epoch; beat; what followers have
    behind it               `capacity` bytes (a power of two) of records (`wire.inputs`)

There is one writer, the engine, which never waits: a follower that lags by more than the ring holds
has lost its place, sees it by the numbers, and needs a snapshot.  `head` is stored after the bytes
before it, so whoever loads it can read all of them.  A record never wraps: where it does not fit
before the ring's end a pad does, or nothing where not even that fits.

Worst case: a run of 64 KiB costs a copy of it and its checksum, some 15 us.
"""

import numpy as np

from tickpath.counters import Counter
from tickpath.jit import cold, entry, leaf
from tickpath.layout import count, engine
from tickpath.layout import line as line_record
from tickpath.memory import accessors, copy_bytes, load_u64, store_release, store_u64
from tickpath.packet import LINK_RESPONSES
from tickpath.wire import hot
from tickpath.wire.inputs import ALIGNMENT, INPUTS, Flag, Kind

RING_MAGIC = int.from_bytes(b"tickring", "little")
RING_VERSION = 1
FOLLOWERS = 8
"""Most that can follow one ring."""
DATA_OFFSET = 4096
"""Where the records begin, from the ring's address."""

RING = np.dtype(
    {
        "names": [
            *("magic", "version", "capacity", "identity"),
            *("head", "number", "broken"),
            *("beat", "committed"),
            *("epoch", "epoch_began"),  # with the number of the record that says so
        ],
        "formats": ["<u8"] * 11,
        # What is written often has cache lines of its own.
        "offsets": [0, 8, 16, 24, 64, 72, 80, 128, 136, 192, 200],
        "itemsize": 256,
    }
)
FOLLOWER = np.dtype(
    {
        "names": ["taken", "acknowledged", "echo", "incarnation", "epoch", "ready", "name"],
        "formats": ["<u8"] * 6 + ["S16"],
        "itemsize": 64,
    }
)
FOLLOWERS_OFFSET = RING.itemsize
MARK = np.dtype([("position", "<u8"), ("number", "<u8")])
MARKS = 64
"""Places of records by their number, one in every such part of the ring: where to begin reading."""
MARKS_OFFSET = 2048

STAGE_OFFSET = 3072
STAGE_BYTES = DATA_OFFSET - STAGE_OFFSET
"""Where the writer puts a record together that fits there.  The checksum reads what was just
written, in words of another size; in lines that a follower has read a moment ago that would wait
until they are this core's own again, here it does not."""

ring = accessors("ring", RING)
mark = accessors("ring_mark", MARK)
record = hot.message(INPUTS["record"])
line_start = hot.message(INPUTS["line"])
gap_body = hot.message(INPUTS["gap"])
scrub_body = hot.message(INPUTS["scrub"])

ZERO, ONE = np.uint64(0), np.uint64(1)
HEAD_OFFSET = np.uint64(RING.fields["head"][1])  # type: ignore[index]
LARGEST = np.uint64(8)
"""A record takes at most this part of the ring."""
_OVERSIZE = np.uint64(Counter.INPUTS_OVERSIZE)
HEADER = record.LENGTH
_DATA = np.uint64(DATA_OFFSET)
_STAGE, _STAGE_BYTES = np.uint64(STAGE_OFFSET), np.uint64(STAGE_BYTES)
_MARKS, _MARKS_AT = np.uint64(MARKS), np.uint64(MARKS_OFFSET)
_PADDING = np.uint64(ALIGNMENT - 1)
_WORD = np.uint64(8)
_LINK_RESPONSES = np.uint64(LINK_RESPONSES)
_ENDLESS = np.uint64((1 << 64) - 1)
_RUN, _LINE, _GAP = np.uint64(Kind.RUN), np.uint64(Kind.LINE), np.uint64(Kind.GAP)
_STALE, _CLEAR, _SPLICE = np.uint64(Kind.STALE), np.uint64(Kind.CLEAR), np.uint64(Kind.SPLICE)
_PAD, _HOLD, _SCRUB = np.uint64(Kind.PAD), np.uint64(Kind.HOLD), np.uint64(Kind.SCRUB)
_NUMBERED, _BARE = np.uint64(Flag.NUMBERED), np.uint64(Flag.BARE)
_IS_ENDLESS, _NEW = np.uint64(Flag.ENDLESS), np.uint64(Flag.NEW)
_FACTORS = tuple(
    np.uint64(each)
    for each in (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93)
)
_K0, _K1, _K2, _K3 = _FACTORS
_SHIFT = np.uint64(29)
_FOUR_WORDS = np.uint64(32)


@leaf
def _mixed(lane, word, factor):
    """One more word into a lane: a bijection of either, so that no single change gets lost."""
    lane = (lane ^ word) * factor
    return lane ^ (lane >> _SHIFT)


@leaf
def mixed(total, word):
    """One more word into a sum that is kept elsewhere."""
    return _mixed(total, word, _K0)


@leaf
def checksum_of(at, end):
    """64 bits over the words from ``at`` to ``end``: four lanes, mixed at the end."""
    a, b, c, d = _K0, _K1, _K2, _K3
    while at + _FOUR_WORDS <= end:
        a = _mixed(a, load_u64(at), _K0)
        b = _mixed(b, load_u64(at + np.uint64(8)), _K1)
        c = _mixed(c, load_u64(at + np.uint64(16)), _K2)
        d = _mixed(d, load_u64(at + np.uint64(24)), _K3)
        at += _FOUR_WORDS
    while at < end:
        a = _mixed(a, load_u64(at), _K1)
        at += _WORD
    return _mixed(_mixed(_mixed(a, b, _K2), c, _K3), d, _K0)


@entry
def checksum(address, length):
    """The checksum of a record of ``length`` bytes (a multiple of 8) at ``address``."""
    return checksum_of(address + _WORD, address + length)


@leaf
def size_of(length):
    """Bytes of a record whose payload has ``length``."""
    return HEADER + ((length + _PADDING) & ~_PADDING)


@cold
def _wrap(r, head, left):
    """Fill the ring up to its end; gives where the next record begins."""
    if left >= HEADER:
        out = r + _DATA + (head & (ring.capacity(r) - ONE))
        at = out
        while at < out + HEADER:
            store_u64(at, ZERO)
            at += _WORD
        record.set_kind(out, _PAD)
        record.set_length(out, left - HEADER)
    return head + left


@leaf
def _room(r, size):
    """Where the next record of ``size`` bytes begins, as a count of bytes ever written."""
    head = ring.head(r)
    left = ring.capacity(r) - (head & (ring.capacity(r) - ONE))
    return head if size <= left else _wrap(r, head, left)


@leaf
def set_mark(r, position, number):
    """Note where a record begins, if it is the first in its part of the ring."""
    step = ring.capacity(r) // _MARKS
    m = r + _MARKS_AT + (position // step % _MARKS) * mark.SIZE
    if mark.number(m) == ZERO or mark.position(m) // step != position // step:
        mark.set_position(m, position)
        mark.set_number(m, number)


@leaf
def _place(r, head):
    return r + _DATA + (head & (ring.capacity(r) - ONE))


@leaf
def _begin(eng, r, size):
    """Write what every record says; gives its place, and where it is put together."""
    head = _room(r, size)
    out = r + _STAGE if size <= _STAGE_BYTES else _place(r, head)
    number = engine.record_number(eng) + ONE
    engine.set_record_number(eng, number)
    set_mark(r, head, number)
    record.set_number(out, number)
    record.set_input_number(out, engine.input_number(eng))
    record.set_epoch(out, engine.epoch(eng))
    record.set_book_digest(out, engine.book_digest(eng))
    record.set_order_position(out, engine.order_position(eng))
    record.set_ts_recv(out, engine.ts_recv(eng))
    return head, out


@leaf
def _end(eng, r, head, out, size):
    record.set_checksum(out, checksum_of(out + _WORD, out + size))
    if size <= _STAGE_BYTES:
        copy_bytes(_place(r, head), out, size)
    ring.set_number(r, engine.record_number(eng))
    store_release(r + HEAD_OFFSET, head + size)


@leaf
def _is_too_long(eng, r, size):
    """A run that would fill a good part of the ring is not published: followers have to go."""
    if size > ring.capacity(r) // LARGEST:
        ring.set_broken(r, ONE)
        count(eng, _OVERSIZE)
        return True
    return False


@cold
def run(eng, begin, end, number):
    """A run of messages is about to be taken."""
    r = engine.publishes(eng)
    length = end - begin
    size = size_of(length)
    if _is_too_long(eng, r, size):
        return
    head, out = _begin(eng, r, size)
    of = engine.run_line(eng)
    numbered = engine.run_numbered(eng)
    sequence = (
        line_record.expected(line_record.at(eng, of - ONE)) * numbered if of != ZERO else ZERO
    )
    if engine.run_kind(eng) == _LINK_RESPONSES:
        sequence = engine.answered(eng)
    endless = np.uint64(number == _ENDLESS)
    record.set_unit_ns(out, engine.unit_ns(eng))
    record.set_sequence(out, sequence)
    record.set_length(out, length)
    record.set_messages(out, ZERO if endless != ZERO else number)
    record.set_link(out, engine.run_kind(eng))
    record.set_line(out, of)
    record.set_venue(out, engine.run_venue(eng))
    record.set_kind(out, _RUN)
    record.set_flags(out, numbered * _NUMBERED | engine.bare(eng) * _BARE | endless * _IS_ENDLESS)
    if length != ZERO:
        # What fills the payload up is zero: the copy overwrites the rest of this word.
        store_u64(out + size - _WORD, ZERO)
        copy_bytes(out + HEADER, begin, length)
    _end(eng, r, head, out, size)


@leaf
def _event(eng, r, kind, index, sequence, flags, length):
    """Begin a record about a line: see `_begin`."""
    head, out = _begin(eng, r, size_of(length))
    record.set_unit_ns(out, ZERO)
    record.set_sequence(out, sequence)
    record.set_length(out, length)
    record.set_messages(out, ZERO)
    record.set_link(out, ZERO)
    record.set_line(out, index + ONE)
    record.set_venue(out, ZERO)
    record.set_kind(out, kind)
    record.set_flags(out, flags)
    return head, out


@cold
def line_begins(eng, index, first, is_new):
    """A line was made, or begun again; it says itself what it is."""
    r = engine.publishes(eng)
    if r == ZERO:
        return
    of = line_record.at(eng, index)
    head, out = _event(eng, r, _LINE, index, first, is_new * _NEW, line_start.LENGTH)
    body = out + HEADER
    line_start.set_session(body, line_record.session(of))
    line_start.set_group(body, line_record.group(of))
    line_start.set_port(body, line_record.port(of))
    line_start.set_session_tail(body, line_record.session_tail(of))
    line_start.set_line_kind(body, line_record.kind(of))
    line_start.set_reserved(body, ZERO)
    _end(eng, r, head, out, size_of(line_start.LENGTH))


@cold
def gap(eng, index, first, last):
    """Messages of a line will not come."""
    r = engine.publishes(eng)
    if r == ZERO:
        return
    head, out = _event(eng, r, _GAP, index, first, ZERO, gap_body.LENGTH)
    gap_body.set_last(out + HEADER, last)
    _end(eng, r, head, out, size_of(gap_body.LENGTH))


@cold
def scrub(eng, index, total):
    """What a slice of the state adds up to."""
    r = engine.publishes(eng)
    if r == ZERO:
        return
    head, out = _event(eng, r, _SCRUB, ZERO, index, ZERO, scrub_body.LENGTH)
    record.set_line(out, ZERO)
    scrub_body.set_total(out + HEADER, total)
    _end(eng, r, head, out, size_of(scrub_body.LENGTH))


@leaf
def _plain(eng, kind, index, sequence):
    r = engine.publishes(eng)
    if r != ZERO:
        head, out = _event(eng, r, kind, index, sequence, ZERO, ZERO)
        _end(eng, r, head, out, HEADER)


@cold
def stale(eng, index):
    """The books of a line may be wrong from here on."""
    _plain(eng, _STALE, index, ZERO)


@cold
def clear(eng, index):
    """The books of a line are emptied."""
    _plain(eng, _CLEAR, index, ZERO)


@cold
def splice(eng, index, next_sequence):
    """A snapshot stands for what was before a message."""
    _plain(eng, _SPLICE, index, next_sequence)


@cold
def say(eng, kind, value, begin, length):
    """What the failover layer says: `inputs.Kind.EPOCH`, ``NOTE`` or ``HOLD``; text at ``begin``.

    ``value`` is the record's ``sequence``: of a hold its bits, which count from here on.
    """
    if kind == _HOLD:
        engine.set_holds(eng, value)
    r = engine.publishes(eng)
    if r == ZERO:
        return
    size = size_of(length)
    head, out = _event(eng, r, kind, ZERO, value, ZERO, length)
    record.set_line(out, ZERO)
    if length != ZERO:
        store_u64(out + size - _WORD, ZERO)
        copy_bytes(out + HEADER, begin, length)
    _end(eng, r, head, out, size)


@entry
def note(eng, kind, value, begin, length):
    """`say`, from Python."""
    say(eng, kind, value, begin, length)
