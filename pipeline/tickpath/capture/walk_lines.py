"""The hot part of reading TCP PITCH text: from lines to binary PITCH messages in a buffer.

A line gives one message and, where its second differs from that of the line before, a time message
in front of it.  Whatever is no line costs a count and the bytes up to the next end of line; nothing
outside the window is read.
"""

import numpy as np

from tickpath import memory
from tickpath.capture import counters as slot
from tickpath.capture.pitch_lines import (
    BAD,
    MOST_BYTES,
    begin,
    convert,
    milliseconds_of,
    symbol_clear,
    time_message,
)
from tickpath.capture.walk import FULL, MORE
from tickpath.jit import entry, leaf
from tickpath.memory import load_u8
from tickpath.wire.pitch_ascii import PITCH_ASCII, SEQUENCED

NO_SECOND = 1 << 32
STATE = np.dtype([("second", "<u8"), ("skipping", "<u8")])
"""What goes from one window to the next: the second that was said last, and whether the window
ended inside something that is no line."""

_ZERO, _ONE = np.uint64(0), np.uint64(1)
_THOUSAND, _MILLISECOND = np.uint64(1_000), np.uint64(1_000_000)
_DAY_MS = np.uint64(86_400_000)
_LINE_FEED, _RETURN = np.uint64(ord("\n")), np.uint64(ord("\r"))
_SEQUENCED = np.uint64(ord(SEQUENCED))
_LENGTHS = PITCH_ASCII.lengths.astype(np.uint64)
_TYPE = np.uint64(PITCH_ASCII.type_offset)


@leaf
def _is_end(character):
    return (character == _LINE_FEED) | (character == _RETURN)


@leaf
def _line_end(at, limit):
    """Where the line that ``at`` is in ends; ``limit`` where that is not before it."""
    while at < limit and not _is_end(load_u8(at)):
        at += _ONE
    return at


@leaf
def _say_line(m, stop, out, tally, state):
    """Say the line in ``[m, stop)``, or count why not; the bytes that were said."""
    has_type = stop - m > _TYPE
    code = load_u8(m + _TYPE) if has_type else _ZERO
    milliseconds = milliseconds_of(m) if has_type else BAD
    if milliseconds >= _DAY_MS or stop - m != _LENGTHS[code]:
        is_unknown = milliseconds < _DAY_MS and _LENGTHS[code] == _ZERO
        tally[slot.LINES_UNKNOWN if is_unknown else slot.LINES_MALFORMED] += _ONE
        return _ZERO
    if code == symbol_clear.TYPE:
        tally[slot.LINES_SYMBOL_CLEAR] += _ONE
        return _ZERO
    second = milliseconds // _THOUSAND
    lead = _ZERO if second == state[0].second else time_message.LENGTH
    offset = (milliseconds - second * _THOUSAND) * _MILLISECOND
    said = convert(m, out + lead, offset, code)
    if said == _ZERO:
        tally[slot.LINES_MALFORMED] += _ONE
        return _ZERO
    if lead != _ZERO:
        begin(out, time_message.LENGTH, time_message.TYPE, _ZERO)
        time_message.set_time(out, second)
        state[0].second = second
    return lead + said


@entry
def walk_lines(first, end, final, out, out_end, tally, state):
    """Messages for the lines from ``first`` on: ``(position, end of what was said, status)``.

    A line ends with a line feed, a carriage return or, where ``final`` says that the content ends
    with the window, there.  What is longer than any line is passed over up to its end, in this
    window and in the next ones.
    """
    memory.lend_message(first, end)
    at, status = first, MORE
    if state[0].skipping != _ZERO:
        at = _line_end(at, end)
        state[0].skipping = _ONE if at == end else _ZERO
    while at < end:
        if _is_end(load_u8(at)):
            at += _ONE
            continue
        if out_end - out < _MOST:
            status = FULL
            break
        limit = min(end, at + _LONGEST)
        stop = _line_end(at, limit)
        if stop == end and not final and end - at < _LONGEST:
            break
        if stop == at + _LONGEST:
            tally[slot.LINES_MALFORMED] += _ONE
            stop = _line_end(stop, end)
            state[0].skipping = _ONE if stop == end else _ZERO
        else:
            m = at + _ONE if load_u8(at) == _SEQUENCED else at
            out += _say_line(m, stop, out, tally, state)
        at = stop
    return at, out, status


_MOST = np.uint64(MOST_BYTES)
_LONGEST = np.uint64(len(SEQUENCED) + max(each.length for each in PITCH_ASCII.messages) + 1)
"""Bytes after which something is no line."""
