"""The session's own order book: every order in its queue, every queue on its rung of a ladder.

A side's ladder is a sorted array of at most `RUNGS` keys, best last, so that the many changes near
the touch move few of them.  A key is a price's rank (larger is better on both sides) above the
index of its level.  It shares no line with the engine's book: what is true at the end must not
come from the code that is checked against it.
"""

import numpy as np

from tickpath.generate.state import RUNGS, inner, level, order, rung, session, side
from tickpath.jit import leaf

PRICE_LIMIT = 1 << 31
_LEVEL_BITS = 32
_LEVEL_MASK = (1 << _LEVEL_BITS) - 1


@leaf
def rank(price, sd):
    """A price as a number that is larger when better; its own inverse."""
    return price if sd & 1 == 0 else PRICE_LIMIT - price


@leaf
def rung_at(s, sd, position):
    return rung.at(s, sd * RUNGS + position)


@leaf
def rungs_of(s, sd):
    return side.rungs(side.at(s, sd))


@leaf
def level_on(s, sd, position):
    """Index of the level on a rung."""
    return rung.key(rung_at(s, sd, position)) & _LEVEL_MASK


@inner
def best(s, sd):
    """Best price of a side, 0 where it is empty."""
    n = rungs_of(s, sd)
    if n == 0:
        return np.int64(0)
    return rank(rung.key(rung_at(s, sd, n - 1)) >> _LEVEL_BITS, sd)


@inner
def _position(s, sd, wanted):
    """First position whose rank is at least ``wanted``."""
    low, high = np.int64(0), rungs_of(s, sd)
    while low < high:
        middle = (low + high) >> 1
        if rung.key(rung_at(s, sd, middle)) >> _LEVEL_BITS < wanted:
            low = middle + 1
        else:
            high = middle
    return low


@inner
def _new_level(s, price):
    index = session.level_free(s)
    if index >= 0:
        session.set_level_free(s, level.head(level.at(s, index)))
    else:
        index = session.levels_used(s)
        session.set_levels_used(s, index + 1)
    lv = level.at(s, index)
    level.set_price(lv, price)
    level.set_head(lv, -1)
    level.set_tail(lv, -1)
    level.set_orders(lv, 0)
    level.set_shares(lv, 0)
    return index


@inner
def place(s, sd, price):
    """The level of a price, made where there is none; -1 where the ladder is full."""
    wanted, n = rank(price, sd), rungs_of(s, sd)
    position = _position(s, sd, wanted)
    if position < n:
        key = rung.key(rung_at(s, sd, position))
        if key >> _LEVEL_BITS == wanted:
            return key & _LEVEL_MASK
    if n == RUNGS:
        return np.int64(-1)
    for above in range(n, position, -1):
        rung.set_key(rung_at(s, sd, above), rung.key(rung_at(s, sd, above - 1)))
    index = _new_level(s, price)
    rung.set_key(rung_at(s, sd, position), (wanted << _LEVEL_BITS) | index)
    side.set_rungs(side.at(s, sd), n + 1)
    return index


@inner
def _drop_level(s, sd, index):
    lv, n = level.at(s, index), rungs_of(s, sd)
    for above in range(_position(s, sd, rank(level.price(lv), sd)) + 1, n):
        rung.set_key(rung_at(s, sd, above - 1), rung.key(rung_at(s, sd, above)))
    side.set_rungs(side.at(s, sd), n - 1)
    level.set_head(lv, session.level_free(s))
    session.set_level_free(s, index)


@leaf
def is_full(s):
    """True where no further order can be kept."""
    return session.live(s) >= session.orders_limit(s)


@inner
def join(s, index, sd, reference, shares):
    """A new order at the end of a level's queue; its index.  The book must not be full."""
    new = session.order_free(s)
    if new >= 0:
        session.set_order_free(s, order.next(order.at(s, new)))
    else:
        new = session.orders_used(s)
        session.set_orders_used(s, new + 1)
    lv, o, b = level.at(s, index), order.at(s, new), side.at(s, sd)
    last = level.tail(lv)
    order.set_reference(o, reference)
    order.set_price(o, level.price(lv))
    order.set_shares(o, shares)
    order.set_next(o, -1)
    order.set_previous(o, last)
    order.set_level(o, index)
    order.set_side(o, sd)
    if last >= 0:
        order.set_next(order.at(s, last), new)
    else:
        level.set_head(lv, new)
    level.set_tail(lv, new)
    level.set_orders(lv, level.orders(lv) + 1)
    level.set_shares(lv, level.shares(lv) + shares)
    side.set_orders(b, side.orders(b) + 1)
    side.set_shares(b, side.shares(b) + shares)
    session.set_live(s, session.live(s) + 1)
    return new


@inner
def leave(s, index):
    """Take an order off the book, whatever is left of it; its record is free afterwards."""
    o = order.at(s, index)
    at, sd, shares = order.level(o), order.side(o), order.shares(o)
    before, after = order.previous(o), order.next(o)
    lv, b = level.at(s, at), side.at(s, sd)
    if before >= 0:
        order.set_next(order.at(s, before), after)
    else:
        level.set_head(lv, after)
    if after >= 0:
        order.set_previous(order.at(s, after), before)
    else:
        level.set_tail(lv, before)
    level.set_orders(lv, level.orders(lv) - 1)
    level.set_shares(lv, level.shares(lv) - shares)
    side.set_orders(b, side.orders(b) - 1)
    side.set_shares(b, side.shares(b) - shares)
    session.set_live(s, session.live(s) - 1)
    order.set_side(o, -1)
    order.set_next(o, session.order_free(s))
    session.set_order_free(s, index)
    if level.orders(lv) == 0:
        _drop_level(s, sd, at)


@inner
def reduce(s, index, shares):
    """Take ``shares``, at most all of them, from an order, which leaves when none are left."""
    o = order.at(s, index)
    if shares == order.shares(o):
        leave(s, index)
        return
    order.set_shares(o, order.shares(o) - shares)
    lv, b = level.at(s, order.level(o)), side.at(s, order.side(o))
    level.set_shares(lv, level.shares(lv) - shares)
    side.set_shares(b, side.shares(b) - shares)


@inner
def first(s, sd):
    """The order that executes next on a side: head of the best queue; -1 where it is empty."""
    n = rungs_of(s, sd)
    return level.head(level.at(s, level_on(s, sd, n - 1))) if n else np.int64(-1)


@inner
def latest(s, sd):
    """The order that came last to a side's best price; -1 where the side is empty."""
    n = rungs_of(s, sd)
    return level.tail(level.at(s, level_on(s, sd, n - 1))) if n else np.int64(-1)


@inner
def deepest(s, sd):
    """The last order on the second rung from the bottom, where there are two: stub quotes stay."""
    return level.tail(level.at(s, level_on(s, sd, min(np.int64(1), rungs_of(s, sd) - 1))))


@leaf
def price_on(s, sd, position):
    """Price of a rung."""
    return rank(rung.key(rung_at(s, sd, position)) >> _LEVEL_BITS, sd)
