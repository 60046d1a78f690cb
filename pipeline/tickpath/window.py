"""A side's window of price levels: 1,024 ticks that follow the market, best level by bit counts.

A price is a tick (a whole cent, or 1e-4 in a window around a price below one dollar) and then a
key: the tick itself for bids, its complement for offers, so that larger is better on both sides.
A window holds the keys ``base .. base + 1023``; the level of a key is at ``key modulo 1024``,
whatever the base, so that moving the window only touches the levels that enter or leave it.  The
base is a multiple of 64, so one bitmap word covers 64 neighbouring keys and the best level is found
with two bit counts.

Prices that are no tick or outside the window live in `tickpath.overflow`.  The window moves
when it is empty, or when `MISSES` adds have come that a window around the best price would have
held: the cost of moving is spread over them, so no sequence of prices can make it thrash.
"""

import numpy as np

from tickpath import overflow
from tickpath.counters import Counter
from tickpath.jit import cold, leaf
from tickpath.layout import (
    WINDOW,
    WINDOW_BITS,
    bitmap,
    count,
    engine,
    far,
    level,
    order,
    side,
)
from tickpath.memory import leading_zeros

NO_WINDOW = 0x7FFFFFFF
"""Base of a side that has not had an order yet: no key lies in its window."""
MISSES = 64

ZERO, ONE = np.uint64(0), np.uint64(1)
TICK = np.uint64(100)
DOLLAR = np.uint64(10_000)
FINE_SHIFT = np.uint64(31)
"""The top bit of a window's base says that its ticks are 1e-4."""
BASE_MASK = np.uint64((1 << 31) - 1)
KEY_MASK = np.uint64((1 << 26) - 1)
PRICE_MASK = np.uint64(0xFFFFFFFF)
_BITS = np.uint64(WINDOW_BITS)
_SIZE = np.uint64(WINDOW)
_INSIDE = np.uint64(WINDOW - 1)
_WORD, _WORD_MASK, _WORDS, _WORDS_MASK = np.uint64(6), np.uint64(63), np.uint64(16), np.uint64(15)
_SUMMARY = np.uint64(0xFFFF)
_ABOVE = np.uint64(256)
"""Keys better than the best that a fresh window leaves room for."""
_NO_WINDOW = np.uint64(NO_WINDOW)
_MISSES = np.uint64(MISSES)
_RECENTRES = np.uint64(Counter.RECENTRES)
_OVERFLOW_ADDS = np.uint64(Counter.OVERFLOW_ADDS)
_LEVEL_STORE_FULL = np.uint64(Counter.LEVEL_STORE_FULL)


@leaf
def price_key(price, sd):
    """A price as a number that is larger when better; its own inverse."""
    return price ^ (PRICE_MASK * (sd & ONE))


@leaf
def base_of(eng, sd):
    """First key of a side's window, with the bit that says how fine its ticks are."""
    return side.base(side.at(eng, sd))


@leaf
def _tick(price, fine):
    return price if fine != ZERO else price // TICK


@leaf
def _is_tick(price, fine):
    return (fine != ZERO) | (price // TICK * TICK == price)


@leaf
def _key(price, sd, fine):
    return _tick(price, fine) ^ (KEY_MASK * (sd & ONE))


@leaf
def level_of(eng, sd, price):
    """Index of the window's level for a price; 0 where the window does not hold the price."""
    first = base_of(eng, sd)
    fine = first >> FINE_SHIFT
    key = _key(price, sd, fine)
    inside = (key - (first & BASE_MASK) < _SIZE) & _is_tick(price, fine)
    return ((sd << _BITS) | (key & _INSIDE)) * np.uint64(inside)


@leaf
def _price_of_key(key, sd, fine):
    tick = key ^ (KEY_MASK * (sd & ONE))
    return tick if fine != ZERO else tick * TICK


@leaf
def price_of(eng, lvl):
    """Price of a level, in 1e-4."""
    if lvl >= engine.far0(eng):
        node = far.at(eng, lvl - engine.far0(eng))
        return price_key(far.price_key(node), far.side(node))
    sd = lvl >> _BITS
    first = base_of(eng, sd)
    key = (first & BASE_MASK) + ((lvl - first) & _INSIDE)
    return _price_of_key(key, sd, first >> FINE_SHIFT)


@leaf
def side_of(eng, lvl):
    """Side index of a level."""
    if lvl >= engine.far0(eng):
        return far.side(far.at(eng, lvl - engine.far0(eng)))
    return lvl >> _BITS


@leaf
def mark(eng, sd, lvl):
    """Note that a window level has orders now."""
    word = (lvl & _INSIDE) >> _WORD
    b = bitmap.at(eng, sd * _WORDS + word)
    bitmap.set_value(b, bitmap.value(b) | (ONE << (lvl & _WORD_MASK)))
    s = side.at(eng, sd)
    side.set_summary(s, side.summary(s) | (ONE << word))


@leaf
def unmark(eng, sd, lvl):
    """Note that a window level has no orders any more."""
    word = (lvl & _INSIDE) >> _WORD
    b = bitmap.at(eng, sd * _WORDS + word)
    rest = bitmap.value(b) & ~(ONE << (lvl & _WORD_MASK))
    bitmap.set_value(b, rest)
    if rest == ZERO:
        s = side.at(eng, sd)
        side.set_summary(s, side.summary(s) & ~(ONE << word))


@leaf
def top(eng, sd):
    """Index of the best level in a side's window; 0 when the window is empty."""
    s = side.at(eng, sd)
    summary = side.summary(s)
    if summary == ZERO:
        return ZERO
    lowest = (base_of(eng, sd) >> _WORD) & _WORDS_MASK
    rotated = ((summary >> lowest) | (summary << (_WORDS - lowest))) & _SUMMARY
    word = (_WORD_MASK - leading_zeros(rotated) + lowest) & _WORDS_MASK
    bits = bitmap.value(bitmap.at(eng, sd * _WORDS + word))
    return (sd << _BITS) | (word << _WORD) | (_WORD_MASK - leading_zeros(bits))


@leaf
def better(eng, sd, window_level):
    """The better of a window level and the side's best level outside (each may be 0)."""
    outside = side.far_best(side.at(eng, sd))
    if outside == ZERO:
        return window_level
    far_level = engine.far0(eng) + outside
    if window_level == ZERO:
        return far_level
    far_key = far.price_key(far.at(eng, outside))
    return far_level if far_key > price_key(price_of(eng, window_level), sd) else window_level


@cold
def find_best(eng, sd):
    """Recompute a side's best level and price after its best level went away."""
    s = side.at(eng, sd)
    best = better(eng, sd, top(eng, sd))
    side.set_best(s, best)
    side.set_best_px(s, price_of(eng, best) if best != ZERO else price_key(ZERO, sd))


@leaf
def _ideal_base(key):
    """Base of a window around a best key: most of it behind the touch, some room in front."""
    behind = _SIZE - _ABOVE
    first = (key - behind if key > behind else ZERO) & ~_WORD_MASK
    highest = (KEY_MASK + ONE) - _SIZE
    return min(first, highest)


@cold
def _move_level(eng, old, new):
    """Give a level another index: its record moves and its orders follow."""
    source, target = level.at(eng, old), level.at(eng, new)
    level.set_total(target, level.total(source))
    level.set_head(target, level.head(source))
    level.set_tail(target, level.tail(source))
    level.set_total(source, ZERO)
    slot = level.head(target)
    while slot != ZERO:
        o = order.at(eng, slot)
        order.set_level(o, new)
        slot = order.next(o)


@cold
def _move_out(eng, sd, new_base):
    """Move the levels that the new window does not hold into the tree; 0 if they do not fit."""
    s = side.at(eng, sd)
    old_base = base_of(eng, sd)
    if overflow.free_nodes(eng) < _SIZE:
        return ZERO
    same_ticks = old_base >> FINE_SHIFT == new_base >> FINE_SHIFT
    lowest = old_base & BASE_MASK
    summary = side.summary(s)
    for word in range(_WORDS):
        if (summary >> word) & ONE == ZERO:
            continue
        first = lowest + (((word << _WORD) - lowest) & _INSIDE)
        if same_ticks and first - (new_base & BASE_MASK) < _SIZE:
            continue
        bits = bitmap.value(bitmap.at(eng, sd * _WORDS + word))
        while bits != ZERO:
            bit = _WORD_MASK - leading_zeros(bits)
            bits &= ~(ONE << bit)
            lvl = (sd << _BITS) | (word << _WORD) | bit
            n = overflow.find_or_insert(eng, sd, price_key(price_of(eng, lvl), sd))
            _move_level(eng, lvl, engine.far0(eng) + n)
            unmark(eng, sd, lvl)
    return ONE


@cold
def _move_in(eng, sd):
    """Move the tree's levels that the window holds now into it."""
    first = base_of(eng, sd)
    # An offer's window can reach beyond the highest price there is.
    lowest = min(_price_of_key(first & BASE_MASK, sd, first >> FINE_SHIFT), PRICE_MASK)
    worst = price_key(lowest, sd)
    n = side.far_best(side.at(eng, sd))
    while n != ZERO:
        key = far.price_key(far.at(eng, n))
        if key < worst:
            break
        following = overflow.below(eng, n)
        lvl = level_of(eng, sd, price_key(key, sd))
        if lvl != ZERO:
            _move_level(eng, engine.far0(eng) + n, lvl)
            mark(eng, sd, lvl)
            overflow.erase(eng, sd, n)
        n = following


@cold
def recentre(eng, sd, price):
    """Move a side's window so that it suits ``price`` as the best one."""
    s = side.at(eng, sd)
    side.set_misses(s, ZERO)
    fine = np.uint64(price < DOLLAR)
    new_base = _ideal_base(_key(price, sd, fine)) | (fine << FINE_SHIFT)
    if new_base == base_of(eng, sd):
        return
    if side.summary(s) != ZERO and _move_out(eng, sd, new_base) == ZERO:
        return
    count(eng, _RECENTRES)
    side.set_base(s, new_base)
    _move_in(eng, sd)
    if side.best(s) != ZERO:
        # The best price stays what it was; its level may have another index now.
        side.set_best(s, better(eng, sd, top(eng, sd)))


@cold
def _note_miss(eng, sd, price):
    """Move the window if it is empty, or if a better place for it has been missed often enough."""
    s = side.at(eng, sd)
    if side.summary(s) == ZERO:
        if _is_tick(price, np.uint64(price < DOLLAR)):
            recentre(eng, sd, price)
        return
    best = price_key(max(price_key(side.best_px(s), sd), price_key(price, sd)), sd)
    fine = np.uint64(best < DOLLAR)
    if (
        not _is_tick(price, fine)
        or _key(price, sd, fine) - _ideal_base(_key(best, sd, fine)) >= _SIZE
    ):
        return
    side.set_misses(s, side.misses(s) + ONE)
    if side.misses(s) >= _MISSES:
        recentre(eng, sd, best)


@cold
def level_outside(eng, sd, price):
    """A level for a price that the window does not hold: in a moved window, or in the tree.

    Gives 0 when the tree has no room for another level.
    """
    _note_miss(eng, sd, price)
    lvl = level_of(eng, sd, price)
    if lvl != ZERO:
        return lvl
    count(eng, _OVERFLOW_ADDS)
    n = overflow.find_or_insert(eng, sd, price_key(price, sd))
    if n == ZERO:
        count(eng, _LEVEL_STORE_FULL)
        return ZERO
    return engine.far0(eng) + n


@leaf
def level_in_tree(eng, sd, price):
    """Index of a price's level outside the window; 0 where there is none."""
    n = overflow.find(eng, sd, price_key(price, sd))
    return engine.far0(eng) + n if n != ZERO else ZERO


@cold
def window_emptied(eng, sd):
    """The window's last level went: move it to the best level outside, if it can hold that."""
    outside = side.far_best(side.at(eng, sd))
    if outside != ZERO:
        price = price_key(far.price_key(far.at(eng, outside)), sd)
        if _is_tick(price, np.uint64(price < DOLLAR)):
            recentre(eng, sd, price)
