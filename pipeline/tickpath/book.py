"""Level-3 books of all symbols: first in, first out at every price level.

A book has two sides (side index = book * 2 + 0 for bids, + 1 for offers); a side has price levels;
a level has a queue of orders.  An order is found by reference (`tickpath.order_store`), knows its
level, and its level's index tells its side and price (`tickpath.window`).  Every operation touches
the order, its neighbours in the queue, its level and one line of its side, and keeps the digest.

Operations never fail: what cannot be applied has a counter and a stated outcome.

    unknown reference         ignored
    reference already live    the new order is ignored, the old one stays
    more than is left         executed or cancelled to zero, the order goes
    zero shares               ignored; a replace to zero removes the original
    store or level full       the new order is left out

Each operation gives the event that it made, with the flag `event.TOP` where it changed the best
level of its side; 0 where it had no effect.
"""

import numpy as np

from tickpath import event, order_store, overflow, window
from tickpath.counters import Counter
from tickpath.digest import HOT_C1, HOT_C2, HOT_C3
from tickpath.jit import cold, leaf
from tickpath.layout import (
    QUANTITY_BITS,
    count,
    engine,
    level,
    order,
    page_entry,
    side,
)

ZERO, ONE = np.uint64(0), np.uint64(1)
BID, OFFER = np.uint64(0), np.uint64(1)
ONE_ORDER = np.uint64(1 << QUANTITY_BITS)
QUANTITY_MASK = np.uint64((1 << QUANTITY_BITS) - 1)
COUNT_SHIFT = np.uint64(QUANTITY_BITS)
_GUARDS = np.uint64((1 << (QUANTITY_BITS - 1)) | (1 << 63))
_H29, _H32 = np.uint64(29), np.uint64(32)

_UNKNOWN = np.uint64(Counter.UNKNOWN_ORDER_REF)
_DUPLICATE = np.uint64(Counter.DUPLICATE_ORDER_REF)
_MISMATCH = np.uint64(Counter.SYMBOL_MISMATCH)
_ZERO_QUANTITY = np.uint64(Counter.ZERO_QUANTITY)
_CROSSED = np.uint64(Counter.CROSSED_BOOK)
_LOCKED = np.uint64(Counter.LOCKED_BOOK)
_STORE_FULL = np.uint64(Counter.ORDER_STORE_FULL)
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
def _level_full(eng, entry):
    count(eng, _LEVEL_FULL)
    return _give_up(eng, entry)


@cold
def _give_up(eng, entry):
    """An add that found no room, which has been counted: leave no empty page behind."""
    if page_entry.live(entry) == ZERO:
        order_store.close_page(eng, entry)
    return ZERO


@leaf
def add(eng, sd, price, quantity, ref):
    """A new order at the end of its level's queue."""
    engine.set_newest_ref(eng, ref)
    if quantity == ZERO:
        count(eng, _ZERO_QUANTITY)
        return ZERO
    entry = order_store.entry_of(eng, ref)
    if page_entry.page(entry) == ZERO:
        entry = order_store.open_page(eng, ref)
        if entry == ZERO:
            count(eng, _STORE_FULL)
            return ZERO
    slot = order_store.slot_of(entry, ref)
    o = order.at(eng, slot)
    if order.level(o) != ZERO:
        count(eng, _DUPLICATE)
        return ZERO
    s = side.at(eng, sd)
    lvl = window.level_of(eng, sd, price)
    if lvl == ZERO:
        lvl = window.level_outside(eng, sd, price)
        if lvl == ZERO:
            return _give_up(eng, entry)
    v = level.at(eng, lvl)
    before = level.total(v)
    total = before + ONE_ORDER + quantity
    if total & _GUARDS != ZERO:
        return _level_full(eng, entry)
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
    page_entry.set_live(entry, page_entry.live(entry) + ONE)
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
def _remove(eng, entry, o, ref):
    """Take a live order out of its queue, its level and the store."""
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
    live = page_entry.live(entry) - ONE
    page_entry.set_live(entry, live)
    if live == ZERO:
        order_store.close_page(eng, entry)
    return happened


@cold
def _unknown(eng):
    count(eng, _UNKNOWN)
    return ZERO


@cold
def _nothing(eng):
    count(eng, _ZERO_QUANTITY)
    return ZERO


@leaf
def find(eng, ref):
    """Directory entry and slot of a live order; slot 0 where there is none."""
    entry = order_store.entry_of(eng, ref)
    slot = order_store.slot_of(entry, ref)
    if page_entry.page(entry) == ZERO or order.level(order.at(eng, slot)) == ZERO:
        return entry, ZERO
    return entry, slot


@leaf
def delete(eng, book_index, ref):
    """Remove an order."""
    entry, slot = find(eng, ref)
    if slot == ZERO:
        return _unknown(eng)
    o = order.at(eng, slot)
    check_symbol(eng, o, book_index)
    return _remove(eng, entry, o, ref)


@leaf
def reduce(eng, book_index, ref, by, excess):
    """Take shares off an order that was executed or cancelled in part.

    ``excess`` is the counter for more shares than the order has left.
    """
    entry, slot = find(eng, ref)
    if slot == ZERO:
        return _unknown(eng)
    o = order.at(eng, slot)
    check_symbol(eng, o, book_index)
    if by == ZERO:
        return _nothing(eng)
    quantity = order.quantity(o)
    if by >= quantity:
        if by > quantity:
            count(eng, excess)
        return _remove(eng, entry, o, ref)
    lvl = order.level(o)
    v = level.at(eng, lvl)
    sd = window.side_of(eng, lvl)
    s = side.at(eng, sd)
    order.set_quantity(o, quantity - by)
    level.set_total(v, level.total(v) - by)
    _add_to_digest(eng, ZERO - weight(side.key(s), ref, window.price_of(eng, lvl)) * by)
    return _event(sd, side.best(s) == lvl)


@leaf
def replace(eng, book_index, ref, new_ref, price, quantity):
    """Remove an order and add its replacement at the end of the queue, on the same side.

    The flag is set where the best price or its quantity is another than before.
    """
    entry, slot = find(eng, ref)
    if slot == ZERO:
        return _unknown(eng)
    o = order.at(eng, slot)
    check_symbol(eng, o, book_index)
    sd = window.side_of(eng, order.level(o))
    s = side.at(eng, sd)
    best_px = side.best_px(s)
    best_sz = level.total(level.at(eng, side.best(s))) & QUANTITY_MASK
    _remove(eng, entry, o, ref)
    add(eng, sd, price, quantity, new_ref)
    if side.best(s) == ZERO or side.best_px(s) != best_px:
        return _event(sd, True)
    return _event(sd, level.total(level.at(eng, side.best(s))) & QUANTITY_MASK != best_sz)


@leaf
def check_symbol(eng, o, book_index):
    """Count a message whose stock locate is not its order's; the order decides."""
    if window.side_of(eng, order.level(o)) >> ONE != book_index:
        count(eng, _MISMATCH)


@leaf
def price_of_order(eng, ref):
    """Resting price of a live order; 0 where the reference is unknown."""
    _, slot = find(eng, ref)
    return window.price_of(eng, order.level(order.at(eng, slot))) if slot != ZERO else ZERO
