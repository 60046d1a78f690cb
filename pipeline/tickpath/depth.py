"""Reading books from Python: levels best first, orders in queue order, copied into arrays."""

import numpy as np

from tickpath import overflow, window
from tickpath.jit import cold, entry, leaf
from tickpath.layout import bitmap, engine, far, level, order, side, sparse_order
from tickpath.memory import accessors, leading_zeros
from tickpath.order_store import ref_of
from tickpath.sparse_store import note_refs

DEPTH = np.dtype([("price", "<u8"), ("quantity", "<u8"), ("orders", "<u8")])
"""One price level; the price in 1e-4."""
RESTING = np.dtype(
    [
        ("order_ref", "<u8"),
        ("book", "<u4"),
        ("side", "<u4"),  # 0 bid, 1 offer
        ("price", "<u4"),
        ("quantity", "<u4"),
    ]
)
"""One live order."""
QUEUED = np.dtype([*((name, RESTING[name].str) for name in RESTING.names or ()), ("age", "<u8")])
"""A live order with its age (`layout.SPARSE_ORDER`): 0 where its reference says that."""

_depth = accessors("depth", DEPTH)
_queued = accessors("queued", QUEUED)
ZERO, ONE = np.uint64(0), np.uint64(1)
_QUANTITY_MASK, _COUNT_SHIFT = np.uint64((1 << 44) - 1), np.uint64(44)
_INSIDE, _WORD, _WORD_MASK = np.uint64(1023), np.uint64(6), np.uint64(63)
_WORDS, _WORDS_MASK, _BITS = np.uint64(16), np.uint64(15), np.uint64(10)


@cold
def _window_below(eng, sd, lvl):
    """The window's next worse level, 0 where there is none."""
    lowest = window.base_of(eng, sd) >> _WORD
    at = lvl & _INSIDE
    word = ((at >> _WORD) - lowest) & _WORDS_MASK
    bits = bitmap.value(bitmap.at(eng, sd * _WORDS + (at >> _WORD)))
    bits &= (ONE << (at & _WORD_MASK)) - ONE
    while bits == ZERO and word != ZERO:
        word -= ONE
        bits = bitmap.value(bitmap.at(eng, sd * _WORDS + ((word + lowest) & _WORDS_MASK)))
    if bits == ZERO:
        return ZERO
    physical = (word + lowest) & _WORDS_MASK
    return (sd << _BITS) | (physical << _WORD) | (_WORD_MASK - leading_zeros(bits))


@leaf
def _better(eng, sd, w, f):
    """Index of the better of a window level and a tree node, 0 where both are missing."""
    if f == ZERO:
        return w
    far_level = engine.far0(eng) + f
    if w == ZERO:
        return far_level
    key = window.price_key(window.price_of(eng, w), sd)
    return far_level if far.price_key(far.at(eng, f)) > key else w


@leaf
def _step(eng, sd, lvl, w, f):
    """The two cursors behind level ``lvl``, which was the better of them."""
    if lvl >= engine.far0(eng):
        return w, overflow.below(eng, f)
    return _window_below(eng, sd, w), f


@entry
def read_levels(eng, sd, out, most):
    """Write up to ``most`` `DEPTH` records of a side, best first; gives their number."""
    w, f, number = window.top(eng, sd), side.far_best(side.at(eng, sd)), ZERO
    lvl = _better(eng, sd, w, f)
    while lvl != ZERO and number < most:
        total = level.total(level.at(eng, lvl))
        row = out + number * _depth.SIZE
        _depth.set_price(row, window.price_of(eng, lvl))
        _depth.set_quantity(row, total & _QUANTITY_MASK)
        _depth.set_orders(row, total >> _COUNT_SHIFT)
        number += ONE
        w, f = _step(eng, sd, lvl, w, f)
        lvl = _better(eng, sd, w, f)
    return number


@entry
def read_orders(eng, first, last, out, most):
    """Write up to ``most`` `QUEUED` records of sides ``first .. last - 1``; gives their number.

    Sides in order, levels best first, orders as they queue.
    """
    number = ZERO
    if last > engine.locates(eng) + engine.locates(eng):
        note_refs(eng)
    for sd in range(first, last):
        w, f = window.top(eng, sd), side.far_best(side.at(eng, sd))
        lvl = _better(eng, sd, w, f)
        while lvl != ZERO:
            price = window.price_of(eng, lvl)
            slot = level.head(level.at(eng, lvl))
            while slot != ZERO and number < most:
                o = order.at(eng, slot)
                row = out + number * _queued.SIZE
                _queued.set_order_ref(row, ref_of(eng, slot))
                _queued.set_age(row, sparse_order.age(sparse_order.at(eng, slot)))
                _queued.set_book(row, sd >> ONE)
                _queued.set_side(row, sd & ONE)
                _queued.set_price(row, price)
                _queued.set_quantity(row, order.quantity(o))
                number += ONE
                slot = order.next(o)
            w, f = _step(eng, sd, lvl, w, f)
            lvl = _better(eng, sd, w, f)
    return number


@entry
def count_levels(eng, sd):
    """Number of a side's price levels."""
    w, f, number = window.top(eng, sd), side.far_best(side.at(eng, sd)), ZERO
    lvl = _better(eng, sd, w, f)
    while lvl != ZERO:
        number += ONE
        w, f = _step(eng, sd, lvl, w, f)
        lvl = _better(eng, sd, w, f)
    return number


def queued(address: np.uint64, first: int, last: int, most: int) -> np.ndarray:
    """Live orders of sides ``first .. last - 1`` as `QUEUED`; ``most``: at least their number."""
    rows = np.zeros(most, QUEUED)
    number = read_orders(
        address, np.uint64(first), np.uint64(last), np.uint64(rows.ctypes.data), np.uint64(most)
    )
    return rows[: int(number)]
