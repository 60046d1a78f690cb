"""Looking ahead within a run of PITCH messages: as `tickpath.lookahead`, by sparse references.

The first look fetches where the table says an order's slot is, and where a symbol's book is said;
the second reads those, and fetches the slot and the sides of the book.  The level of an order is
not fetched: that would take a third look.
"""

import numpy as np

from tickpath import pitch, sparse_store, symbols
from tickpath.jit import leaf
from tickpath.layout import LOOKAHEAD, ahead, engine, order, side
from tickpath.lookahead import ring
from tickpath.memory import prefetch
from tickpath.span import of_pitch
from tickpath.wire.hot import peek
from tickpath.wire.pitch241 import PITCH241

ZERO = np.uint64(0)
_SHORT, _LONG = PITCH241["add_order_short"], PITCH241["add_order_long"]
_type, _ref = peek(_SHORT, "message_type"), peek(_SHORT, "order_id")
_short_symbol, _long_symbol = peek(_SHORT, "symbol"), peek(_LONG, "symbol")
_ADD_SHORT, _ADD_LONG = pitch.add_short.TYPE, pitch.add_long.TYPE
_RING = np.uint64(LOOKAHEAD - 1)
_TAIL, _SHIFT = np.uint64(0x2020), np.uint64(16)
BYTES = np.uint64(_LONG.length)
"""Bytes of a message that the first look may read."""


@leaf
def _symbol(m):
    """The symbol of an add; of other messages, bytes that are none."""
    six = _long_symbol(m) if _type(m) == _ADD_LONG else _short_symbol(m)
    return (six << _SHIFT) | _TAIL


@leaf
def _look_first(eng, m, k):
    ahead.set_message(ahead.at(eng, k & _RING), m)
    sparse_store.fetch(eng, _ref(m))
    if _type(m) == _ADD_SHORT or _type(m) == _ADD_LONG:
        symbols.fetch(eng, engine.run_venue(eng), _symbol(m))


@leaf
def _look_again(eng, k):
    m = ahead.message(ahead.at(eng, k & _RING))
    if _type(m) == _ADD_SHORT or _type(m) == _ADD_LONG:
        b = symbols.book_of(eng, engine.run_venue(eng), _symbol(m))
        prefetch(side.at(eng, b + b))
    else:
        _, slot = sparse_store.find(eng, _ref(m))
        prefetch(order.at(eng, slot))


fill, step = ring(of_pitch, ZERO, BYTES, _look_first, _look_again)
