"""How a strategy asks for orders: bounded, and checked by the risk gate before anything is sent.

At most `tickpath.layout.MAX_INTENTS` intents a message; what is beyond is dropped and counted.
Each new order or replacement gets its ``user_ref_num`` at once, by which it can be cancelled or
replaced later; a rejected one's number is not used again.
"""

import numpy as np

from tickpath.counters import Counter
from tickpath.jit import leaf
from tickpath.layout import MAX_INTENTS, count, engine, intent
from tickpath.risk import MARKET_PRICE
from tickpath.view import BUY, SELL

NEW, CANCEL, REPLACE, MODIFY = 1, 2, 3, 4
"""Kinds of intent."""

_MOST = np.uint64(MAX_INTENTS)
_ZERO, _ONE = np.uint64(0), np.uint64(1)
_DROPPED = np.uint64(Counter.INTENTS_DROPPED)
_BUY_CODE, _SELL_CODE = np.uint64(ord("B")), np.uint64(ord("S"))
_MOST_U32 = np.uint64(0xFFFFFFFF)


@leaf
def _fits(value):
    """A value as an intent's field holds it: one too large must not become a small one."""
    return min(value, _MOST_U32)


@leaf
def _emit(eng, kind, book, side, quantity, price, orig_user_ref_num):
    made = engine.intents(eng)
    if made >= _MOST:
        count(eng, _DROPPED)
        return np.int64(0)
    engine.set_intents(eng, made + _ONE)
    ref = _ZERO
    if kind == np.uint64(NEW) or kind == np.uint64(REPLACE):
        ref = engine.user_ref_num(eng) + _ONE
        engine.set_user_ref_num(eng, ref)
    i = intent.at(eng, made)
    intent.set_kind(i, kind)
    intent.set_book(i, _fits(book))
    intent.set_side(i, side)
    intent.set_quantity(i, _fits(quantity))
    intent.set_price(i, price)
    intent.set_user_ref_num(i, ref)
    intent.set_orig_user_ref_num(i, _fits(orig_user_ref_num))
    return np.int64(ref)


@leaf
def new_order(eng, book, side, quantity, price):
    """A limit order; ``side`` BUY or SELL, price in 1e-4.  Gives its user_ref_num, 0 if dropped."""
    # Anything else than the two is no side, and the gate refuses it.
    code = _BUY_CODE if side == BUY else (_SELL_CODE if side == SELL else _ZERO)
    return _emit(
        eng, np.uint64(NEW), np.uint64(book), code, np.uint64(quantity), np.uint64(price), _ZERO
    )


@leaf
def market_order(eng, book, side, quantity):
    """An order at any price; the gate refuses it unless ``risk.market_orders`` is set."""
    return new_order(eng, book, side, quantity, np.int64(MARKET_PRICE))


@leaf
def cancel_order(eng, user_ref_num, quantity):
    """Cancel an own order down to ``quantity`` shares in total; 0 cancels all that is left."""
    return _emit(
        eng, np.uint64(CANCEL), _ZERO, _ZERO, np.uint64(quantity), _ZERO, np.uint64(user_ref_num)
    )


@leaf
def modify_order(eng, user_ref_num, quantity):
    """Reduce an own order to ``quantity`` shares in total; it keeps its place in the queue."""
    return _emit(
        eng, np.uint64(MODIFY), _ZERO, _ZERO, np.uint64(quantity), _ZERO, np.uint64(user_ref_num)
    )


@leaf
def replace_order(eng, user_ref_num, quantity, price):
    """Replace an own order's quantity and price.  Gives the new user_ref_num, 0 if dropped."""
    return _emit(
        eng,
        np.uint64(REPLACE),
        _ZERO,
        _ZERO,
        np.uint64(quantity),
        np.uint64(price),
        np.uint64(user_ref_num),
    )
