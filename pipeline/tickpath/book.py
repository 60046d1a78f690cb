"""Level-3 books of all symbols: first in, first out at every price level.

A book has two sides (side index = book * 2 + 0 for bids, + 1 for offers); a side has price levels;
a level has a queue of orders.  An order knows its level, and its level's index tells its side and
price (`tickpath.window`).  Every operation touches the order, its neighbours in the queue, its
level and one line of its side, and keeps the digest.

An order here is its slot; how a slot is found by reference, and what happens to messages about
orders that there are not, is `tickpath.by_ref`.  Each operation gives the event that it made, with
the flag `event.TOP` where it changed the best level of its side; 0 where it had no effect.
"""

import numpy as np

from tickpath import event, overflow, window
from tickpath.counters import Counter
from tickpath.digest import HOT_C1, HOT_C2, HOT_C3
from tickpath.jit import cold, leaf
from tickpath.layout import (
    QUANTITY_BITS,
    count,
    engine,
    level,
    order,
    side,
)

ZERO, ONE = np.uint64(0), np.uint64(1)
BID, OFFER = np.uint64(0), np.uint64(1)
ONE_ORDER = np.uint64(1 << QUANTITY_BITS)
QUANTITY_MASK = np.uint64((1 << QUANTITY_BITS) - 1)
COUNT_SHIFT = np.uint64(QUANTITY_BITS)
_GUARDS = np.uint64((1 << (QUANTITY_BITS - 1)) | (1 << 63))
_H29, _H32 = np.uint64(29), np.uint64(32)

_CROSSED = np.uint64(Counter.CROSSED_BOOK)
_LOCKED = np.uint64(Counter.LOCKED_BOOK)
_LEVEL_FULL = np.uint64(Counter.LEVEL_FULL)


@leaf
def weight(key, ref, price):
    """Digest weight of an order: see `tickpath.digest`."""
    x = key + ref * HOT_C1 + price * HOT_C2
    y = (x ^ (x >> _H32)) * HOT_C3
    return (y ^ (y >> _H29)) | ONE


@leaf
def _add_to_digest(eng, amount):
    engine.set_book_digest(eng, engine.book_digest(eng) + amount)


@leaf
def _event(sd, top):
    return event.HOT_BOOK | (sd >> ONE) | (np.uint64(top) << event.TOP_SHIFT)


@cold
def _count_crossing(eng, sd, bid_px, ask_px):
    # An empty side looks like the worst price there is, which an order on the other may have.
    if side.best(side.at(eng, sd ^ ONE)) != ZERO:
        count(eng, _CROSSED if bid_px > ask_px else _LOCKED)


@leaf
def _note_best(eng, sd, s, lvl, price):
    """A level got its first order: it may be the best of its side now."""
    if side.best(s) == ZERO or window.price_key(price, sd) > window.price_key(side.best_px(s), sd):
        side.set_best(s, lvl)
        side.set_best_px(s, price)
        bid_px = side.best_px(side.at(eng, sd & ~ONE))
        ask_px = side.best_px(side.at(eng, sd | ONE))
        if bid_px >= ask_px:
            _count_crossing(eng, sd, bid_px, ask_px)


@cold
def _level_full(eng):
    count(eng, _LEVEL_FULL)
    return ZERO


@leaf
def add(eng, sd, price, quantity, ref, slot):
    """A new order at the end of its level's queue; 0 where the level has no room."""
    o = order.at(eng, slot)
    s = side.at(eng, sd)
    lvl = window.level_of(eng, sd, price)
    if lvl == ZERO:
        lvl = window.level_outside(eng, sd, price)
        if lvl == ZERO:
            return ZERO
    v = level.at(eng, lvl)
    before = level.total(v)
    total = before + ONE_ORDER + quantity
    if total & _GUARDS != ZERO:
        return _level_full(eng)
    level.set_total(v, total)
    order.set_quantity(o, quantity)
    order.set_level(o, lvl)
    order.set_next(o, ZERO)
    if before == ZERO:
        level.set_head(v, slot)
        order.set_previous(o, ZERO)
        if lvl < engine.far0(eng):
            window.mark(eng, sd, lvl)
        _note_best(eng, sd, s, lvl, price)
    else:
        tail = level.tail(v)
        order.set_previous(o, tail)
        order.set_next(order.at(eng, tail), slot)
    level.set_tail(v, slot)
    engine.set_orders_live(eng, engine.orders_live(eng) + ONE)
    _add_to_digest(eng, weight(side.key(s), ref, price) * quantity)
    return _event(sd, side.best(s) == lvl)


@leaf
def _level_emptied(eng, sd, s, lvl):
    """A level lost its last order: it leaves the window or the tree, and maybe the touch."""
    was_best = side.best(s) == lvl
    if lvl >= engine.far0(eng):
        overflow.erase(eng, sd, lvl - engine.far0(eng))
    else:
        window.unmark(eng, sd, lvl)
        if side.summary(s) == ZERO:
            if was_best:
                side.set_best(s, ZERO)
            window.window_emptied(eng, sd)
    if was_best:
        window.find_best(eng, sd)


@leaf
def remove(eng, slot, ref):
    """Take a live order out of its queue and its level."""
    o = order.at(eng, slot)
    lvl = order.level(o)
    sd = window.side_of(eng, lvl)
    s = side.at(eng, sd)
    v = level.at(eng, lvl)
    quantity = order.quantity(o)
    _add_to_digest(eng, ZERO - weight(side.key(s), ref, window.price_of(eng, lvl)) * quantity)
    happened = _event(sd, side.best(s) == lvl)
    following, previous = order.next(o), order.previous(o)
    # Slot 0 is nobody's: where a neighbour is missing, the stores below land there.
    order.set_previous(order.at(eng, following), previous)
    order.set_next(order.at(eng, previous), following)
    level.set_tail(v, level.tail(v) if following != ZERO else previous)
    level.set_head(v, level.head(v) if previous != ZERO else following)
    order.set_level(o, ZERO)
    total = level.total(v) - ONE_ORDER - quantity
    level.set_total(v, total)
    if total == ZERO:
        _level_emptied(eng, sd, s, lvl)
    engine.set_orders_live(eng, engine.orders_live(eng) - ONE)
    return happened


@leaf
def reduce(eng, slot, ref, by):
    """Take shares off a live order that has more of them."""
    o = order.at(eng, slot)
    lvl = order.level(o)
    v = level.at(eng, lvl)
    sd = window.side_of(eng, lvl)
    s = side.at(eng, sd)
    order.set_quantity(o, order.quantity(o) - by)
    level.set_total(v, level.total(v) - by)
    _add_to_digest(eng, ZERO - weight(side.key(s), ref, window.price_of(eng, lvl)) * by)
    return _event(sd, side.best(s) == lvl)


@leaf
def resize(eng, slot, ref, quantity):
    """Give a live order another quantity, not 0; 0 and as it was where the level has no room."""
    o = order.at(eng, slot)
    lvl = order.level(o)
    v = level.at(eng, lvl)
    more = quantity - order.quantity(o)
    total = level.total(v) + more
    if total & _GUARDS != ZERO:
        return _level_full(eng)
    sd = window.side_of(eng, lvl)
    s = side.at(eng, sd)
    order.set_quantity(o, quantity)
    level.set_total(v, total)
    _add_to_digest(eng, weight(side.key(s), ref, window.price_of(eng, lvl)) * more)
    return _event(sd, (side.best(s) == lvl) & (more != ZERO))


@leaf
def touch(eng, s):
    """(best price, shares there) of a side; shares 0 where it is empty."""
    return side.best_px(s), level.total(level.at(eng, side.best(s))) & QUANTITY_MASK


@leaf
def moved(eng, sd, px, sz):
    """The event of an order that left and came again: `TOP` where the touch is another now."""
    s = side.at(eng, sd)
    new_px, new_sz = touch(eng, s)
    return _event(sd, (side.best(s) == ZERO) | (new_px != px) | (new_sz != sz))


@leaf
def side_of_order(eng, slot):
    """Side index of a live order."""
    return window.side_of(eng, order.level(order.at(eng, slot)))


@leaf
def price_of_order(eng, slot):
    """Resting price of a live order; 0 for slot 0."""
    return window.price_of(eng, order.level(order.at(eng, slot))) if slot != ZERO else ZERO
