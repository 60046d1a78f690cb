"""What recovery does to a line: give a hole up, empty its books, splice a snapshot in.

Each is an input of the engine.  Messages that were recovered are no matter of this module: they
come as datagrams, and what waited for them is taken by `Engine.go_on`.
"""

import numpy as np

from tickpath import held, line, publish
from tickpath.by_ref import dense, sparse
from tickpath.jit import cold, entry
from tickpath.layout import LineState, book, engine
from tickpath.layout import line as record_of
from tickpath.sparse_store import note_refs

ZERO, ONE = np.uint64(0), np.uint64(1)
_HOLE = np.uint64(LineState.HOLE)


@entry
def give_up(eng, index):
    """What is missing on a line will not come: declare the gap, mark books stale, go on."""
    line.pass_hole(eng, index)


@cold
def _clear(eng, b):
    if b < engine.locates(eng):
        dense.clear(eng, b)
    else:
        # References are those of the venue whose run is under way.
        engine.set_run_venue(eng, book.venue(book.at(eng, b)))
        sparse.clear(eng, b)


@cold
def empty(eng, index):
    """Empty the books of a line: one input."""
    engine.set_input_number(eng, engine.input_number(eng) + ONE)
    note_refs(eng)
    for b in range(engine.books(eng)):
        if book.venue(book.at(eng, b)) != ZERO and line.is_of(eng, b, index):
            _clear(eng, b)


@entry
def clear(eng, index):
    """Empty the books of a line, because a snapshot of all of them comes."""
    publish.clear(eng, index)
    empty(eng, index)


@entry
def splice(eng, index, next_sequence):
    """A snapshot stands for everything before a message; what waits from there on follows.

    Where later messages were seen that do not wait here, they are the next hole.
    """
    publish.splice(eng, index, next_sequence)
    record = record_of.at(eng, index)
    seen = max(record_of.seen(record), record_of.expected(record))
    line.make_good(eng, index)
    record_of.set_expected(record, next_sequence)
    record_of.set_seen(record, max(seen, next_sequence))
    held.forget(eng, index, next_sequence)
    held.set_state(eng, record, _HOLE)


@entry
def end_windows(eng):
    """Lines whose packets wait for too long, by the engine's receive time."""
    line.end_windows(eng)


@entry
def hole_end(eng, index):
    """Number of the first message behind what is missing on a line."""
    return held.hole_end(eng, index)
