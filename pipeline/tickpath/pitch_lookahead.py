"""Looking ahead within a run of PITCH messages: as `tickpath.lookahead`, by sparse references.

Here a message's order is three loads away instead of two, and an add's book two instead of none, so
there are three looks:

    first    fetches where the table says an order's slot is, or a symbol's book
    second   reads that; fetches the order, or the sides of the book and the level of the add
    third    fetches the order's level and neighbours, or the end of the queue that the add joins

What the second look found is kept in the ring: slots and levels that may have changed by the third
look, whose fetch is useless then and no more.
"""

import numpy as np

from tickpath import pitch, sparse_store, symbols
from tickpath.jit import leaf
from tickpath.layout import LOOKAHEAD, ahead, engine, level, order, side
from tickpath.lookahead import fetch_level, likely_level, ring
from tickpath.memory import prefetch
from tickpath.span import of_pitch
from tickpath.wire.hot import peek
from tickpath.wire.pitch241 import PITCH241

ZERO = np.uint64(0)
_SHORT, _LONG = PITCH241["add_order_short"], PITCH241["add_order_long"]
_type, _ref = peek(_SHORT, "message_type"), peek(_SHORT, "order_id")
_short_symbol, _long_symbol = peek(_SHORT, "symbol"), peek(_LONG, "symbol")
_short_price, _long_price = peek(_SHORT, "price_short"), peek(_LONG, "price")
_letter = peek(_SHORT, "side_indicator")
_ADD_SHORT, _ADD_LONG = pitch.add_short.TYPE, pitch.add_long.TYPE
_RING = np.uint64(LOOKAHEAD - 1)
_TAIL, _SHIFT = np.uint64(0x2020), np.uint64(16)
_CENT, _S = np.uint64(100), np.uint64(ord("S"))
BYTES = np.uint64(_LONG.length)
"""Bytes of a message that the looks may read."""


@leaf
def _is_add(m):
    """True for the adds of six-character symbols, which are nearly all."""
    return (_type(m) == _ADD_SHORT) | (_type(m) == _ADD_LONG)


@leaf
def _symbol(m):
    six = _short_symbol(m) if _type(m) == _ADD_SHORT else _long_symbol(m)
    return (six << _SHIFT) | _TAIL


@leaf
def _look_first(eng, m, k):
    place = ahead.at(eng, k & _RING)
    ahead.set_message(place, m)
    # The first messages of a run get no second look: nobody's slot stands for what it would find.
    ahead.set_order(place, order.at(eng, ZERO))
    sparse_store.fetch(eng, _ref(m))
    if _is_add(m):
        symbols.fetch(eng, engine.run_venue(eng), _symbol(m))


@leaf
def _look_again(eng, k):
    place = ahead.at(eng, k & _RING)
    m = ahead.message(place)
    if _is_add(m):
        b = symbols.book_of(eng, engine.run_venue(eng), _symbol(m))
        sd = b + b + np.uint64(_letter(m) == _S)
        price = _short_price(m) * _CENT if _type(m) == _ADD_SHORT else _long_price(m)
        lvl = likely_level(sd, price)
        prefetch(side.at(eng, b + b))
        fetch_level(eng, lvl)
        ahead.set_order(place, ZERO)
        ahead.set_level(place, level.at(eng, lvl))
    else:
        _, slot = sparse_store.find(eng, _ref(m))
        prefetch(order.at(eng, slot))
        ahead.set_order(place, order.at(eng, slot))


@leaf
def _look_once_more(eng, k):
    place = ahead.at(eng, k & _RING)
    o = ahead.order(place)
    if o == ZERO:
        prefetch(order.at(eng, level.tail(ahead.level(place))))
        return
    lvl = order.level(o)
    prefetch(order.at(eng, order.next(o)))
    prefetch(order.at(eng, order.previous(o)))
    if lvl < engine.far0(eng):
        fetch_level(eng, lvl)
    else:
        prefetch(level.at(eng, lvl))


fill, step = ring(of_pitch, ZERO, BYTES, _look_first, _look_again, _look_once_more)
