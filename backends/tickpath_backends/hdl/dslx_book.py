"""A book made of the DSLX book steps beside the engine's: a differential test that runs.

`Shadow.follow` is a function that a strategy calls at each message about a symbol of the profile.
It takes the message's operation, as the decoder of DSLX gave it, through a book of its own, whose
every number is one of hdl/dslx/book_step.x: what is left of an order, a level's quantity, which
tick of which window a price is, which of two levels is the better one.  Then it compares best
prices and sizes with the engine's.  Nothing else depends on it.

Beside the steps there is what in hardware is memory: orders by reference in a hash table, and a
window of levels a side (`hdl.dslx_window`).  A window is placed around the first price of an empty
side; where a price comes that is better than all of it, or nothing is left in it, it is placed anew
around the best of the side's orders, all of which are looked for, as rescan.sv does.  Orders beyond
the window wait for that.

A symbol is *left*, that is followed no more, where the two can not be compared: a price off the
window's grid, a level of more shares than `CAPACITIES.level_bits` hold, more orders than there is
room for, messages of PITCH, an order that only the engine knew to be a duplicate, another locate,
a state restored from a snapshot (orders here are not part of it), and after a difference.
"""

from enum import IntEnum
from types import SimpleNamespace
from typing import Any

import numpy as np
from numba import njit

from tickpath import itch, view
from tickpath.counters import Counter
from tickpath.jit import leaf
from tickpath.layout import counter, engine
from tickpath.memory import accessors
from tickpath.profile import CAPACITIES
from tickpath.span import PREFIX
from tickpath_backends.hdl.compiled import compiled
from tickpath_backends.hdl.dslx_window import (
    LEVEL,
    NONE,
    ONE,
    SIDE,
    STEPS,
    ZERO,
    Steps,
    level_record,
    runs,
    side_record,
    windows,
)
from tickpath_backends.hdl.profile import Op

ORDER = np.dtype([("reference", "<u8"), ("side", "<u8"), ("price", "<u8"), ("shares", "<u8")])
"""``side``: 2 times the symbol's number, 1 more of offers, and 1; 0: nothing here."""
SLOT_BITS = (CAPACITIES.order_slots - 1).bit_length()
TWO = np.uint64(2)
_SLOTS, _MASK = np.uint64(1 << SLOT_BITS), np.uint64((1 << SLOT_BITS) - 1)
_SPREAD, _TOP = np.uint64(0x9E3779B97F4A7C15), np.uint64(64 - SLOT_BITS)
_MOST = np.uint64(CAPACITIES.live_orders)
_CENTS_TICK, _FINE_TICK = (
    np.uint64(CAPACITIES.tick_from_dollar),
    np.uint64(CAPACITIES.tick_below_dollar),
)
_EXECUTE, _CANCEL = np.uint64(Op.EXECUTE), np.uint64(Op.CANCEL)
_DELETE, _REPLACE = np.uint64(Op.DELETE), np.uint64(Op.REPLACE)
_SELL = np.uint64(ord("S"))
_REFUSALS = np.array([Counter.DUPLICATE_ORDER_REF, Counter.ORDER_STORE_FULL, Counter.LEVEL_FULL])


class Seen(IntEnum):
    """Cells that all symbols share."""

    OPERATIONS = 0
    RESCANS = 1
    DIFFERENT = 2
    LEFT = 3
    ORDERS = 4
    REFUSED = 5


class State(IntEnum):
    """Cells of a symbol, behind those."""

    BOOK = 0
    IS_LEFT = 1


_OPERATIONS, _RESCANS, _DIFFERENT = int(Seen.OPERATIONS), int(Seen.RESCANS), int(Seen.DIFFERENT)
_LEFT, _ORDERS, _REFUSED = int(Seen.LEFT), int(Seen.ORDERS), int(Seen.REFUSED)
_BOOK, _IS_LEFT = int(State.BOOK), int(State.IS_LEFT)


_order = accessors("shadow_order", ORDER)


# ---------------------------------------------------------------- orders by reference


def _orders_at(base: np.uint64) -> tuple[Any, Any, Any, Any]:
    """``slot(n)``, ``find(reference)``, ``keep(o, ...)`` and ``drop(o)`` of the table there."""

    @njit
    def slot(n):
        return base + (n & _MASK) * _order.SIZE

    @njit
    def home(reference):
        return (reference * _SPREAD) >> _TOP

    @njit
    def find(reference):
        """The order's address, or that of the free place where it would be."""
        n = home(reference)
        while True:  # at most `_MOST` places are taken
            o = slot(n)
            if _order.side(o) == ZERO or _order.reference(o) == reference:
                return o
            n += ONE

    @njit
    def keep(o, reference, side, price, shares):
        _order.set_reference(o, reference)
        _order.set_side(o, side + ONE)
        _order.set_price(o, price)
        _order.set_shares(o, shares)

    @njit
    def drop(o):
        """Free a place; those behind it that it had pushed away come nearer."""
        hole = (o - base) // _order.SIZE
        n = hole
        while True:
            n = (n + ONE) & _MASK
            other = slot(n)
            if _order.side(other) == ZERO:
                break
            reference = _order.reference(other)
            if (n - home(reference)) & _MASK >= (n - hole) & _MASK:
                keep(
                    slot(hole),
                    reference,
                    _order.side(other) - ONE,
                    _order.price(other),
                    _order.shares(other),
                )
                hole = n
        _order.set_side(slot(hole), ZERO)

    return slot, find, keep, drop


# ---------------------------------------------------------------- operations


@leaf
def _ticks_off(price, base, tick):
    return price % tick != base % tick


def _rescan_with(slot: Any, window: SimpleNamespace) -> Any:
    """``rescan(s)``: whether all quantities are right."""
    level, place, put = window.level, window.place, window.put

    @njit
    def rescan(s):
        """Place the window around the best of the side's orders, which there are."""
        best, is_first = ZERO, True
        for n in range(_SLOTS):
            o = slot(n)
            if _order.side(o) == s + ONE:
                price = _order.price(o)
                if is_first or (price < best if s & ONE != ZERO else price > best):
                    best, is_first = price, False
        for index in range(NONE):
            level_record.set_quantity(level(s, index), ZERO)
        place(s, best)
        counts = True
        for n in range(_SLOTS):
            o = slot(n)
            if _order.side(o) == s + ONE:
                _, fits = put(s, _order.price(o), _order.shares(o))
                counts &= fits
        return counts

    return rescan


def _operations_on(
    steps: Steps, orders: np.uint64, sides: np.uint64, levels: np.uint64, total: np.uint64
) -> tuple[Any, ...]:
    """``find``, ``add``, ``reduce`` and ``top``; ``add`` and ``reduce`` give (could be followed,
    rescans)."""
    slot, find, keep, drop = _orders_at(orders)
    window = windows(steps, sides, levels)
    side, place, put, take = window.side, window.place, window.put, window.take
    rescan = _rescan_with(slot, window)
    step = steps["order_reduce"]
    run_step, out, at = runs(step), step.output, step.result

    @njit
    def count(s, by):
        """Orders of a side, and of all."""
        sd = side(s)
        side_record.set_orders(sd, side_record.orders(sd) + by)
        side_record.set_orders(total, side_record.orders(total) + by)

    @njit
    def add(s, reference, price, shares):
        o = find(reference)
        if _order.side(o) != ZERO or shares == ZERO:
            return True, 0
        if side_record.orders(total) == _MOST:
            return False, 0
        keep(o, reference, s, price, shares)
        count(s, ONE)
        sd = side(s)
        if side_record.orders(sd) == ONE:
            place(s, price)
        is_in, counts = put(s, price, shares)
        if is_in:
            return counts, 0
        base, is_cents = side_record.base(sd), side_record.is_cents(sd) != ZERO
        unit = _CENTS_TICK if is_cents else _FINE_TICK
        if _ticks_off(price, base, unit):
            return False, 0
        is_nearer = price < base if s & ONE != ZERO else price >= base + NONE * unit
        return (rescan(s), 1) if is_nearer else (True, 0)

    @njit
    def reduce(o, op, shares):
        run_step(_order.shares(o), op, shares)
        s = _order.side(o) - ONE
        counts = take(s, _order.price(o), out.taken(at))
        sd = side(s)
        if out.is_gone(at) != ZERO:
            drop(o)
            count(s, ZERO - ONE)
        else:
            _order.set_shares(o, out.remaining(at))
        if side_record.best(sd) == NONE and side_record.orders(sd) != ZERO:
            return counts & rescan(s), 1
        return counts, 0

    return find, add, reduce, window.top


def _apply_on(find: Any, add: Any, reduce: Any) -> Any:
    """``apply(m, n)``: a message about symbol ``n``; gives (could be followed, rescans), rescans
    being -1 where it is no operation."""

    @njit
    def reduced(reference, n, op, shares):
        o = find(reference)
        side = _order.side(o)
        if side == ZERO or (side - ONE) // TWO != n or (shares == ZERO and op != _DELETE):
            return True, 0
        return reduce(o, op, shares)

    @njit
    def added(m, n):
        is_sell = np.uint64(itch.add_order.buy_sell_indicator(m) == _SELL)
        reference = itch.add_order.order_reference_number(m)
        return add(TWO * n + is_sell, reference, itch.add_order.price(m), itch.add_order.shares(m))

    @njit
    def replaced(m, n):
        o = find(itch.replace.original_order_reference_number(m))
        side = _order.side(o)
        if side == ZERO or (side - ONE) // TWO != n:
            return True, 0
        follows, rescans = reduce(o, _REPLACE, ZERO)
        reference = itch.replace.new_order_reference_number(m)
        fits, more = add(side - ONE, reference, itch.replace.price(m), itch.replace.shares(m))
        return follows & fits, rescans + more

    @njit
    def apply(m, n):
        kind = itch.message_type(m)
        if kind == itch.add_order.TYPE or kind == itch.add_order_mpid.TYPE:
            return added(m, n)
        if kind == itch.delete.TYPE:
            return reduced(itch.delete.order_reference_number(m), n, _DELETE, ZERO)
        if kind == itch.executed.TYPE:
            shares = itch.executed.executed_shares(m)
            return reduced(itch.executed.order_reference_number(m), n, _EXECUTE, shares)
        if kind == itch.executed_price.TYPE:
            shares = itch.executed_price.executed_shares(m)
            return reduced(itch.executed_price.order_reference_number(m), n, _EXECUTE, shares)
        if kind == itch.cancel.TYPE:
            shares = itch.cancel.canceled_shares(m)
            return reduced(itch.cancel.order_reference_number(m), n, _CANCEL, shares)
        if kind == itch.replace.TYPE:
            return replaced(m, n)
        return True, -1

    return apply


# ---------------------------------------------------------------- beside an engine


def cells_of(symbols: int) -> int:
    """Cells that so many symbols need."""
    return len(Seen) + len(State) * symbols


def result_of(cells: np.ndarray, base: int) -> dict[str, int]:
    """What was seen, by name."""
    named = (Seen.OPERATIONS, Seen.RESCANS, Seen.DIFFERENT, Seen.LEFT)
    return {each.name.lower(): int(cells[base + each]) for each in named}


class Shadow:
    """The book of a profile's symbols; ``follow(eng, book, cells, n)`` at a message of number n."""

    def __init__(self, symbols: int, base: int) -> None:
        """``base``: its first cell.  Raises `HdlError`."""
        sides = 2 * symbols
        self._orders = np.zeros(1 << SLOT_BITS, ORDER)
        self._sides = np.zeros(sides + 1, SIDE)
        self._sides["best"] = NONE
        self._levels = np.zeros(sides * int(NONE), LEVEL)
        orders, table, levels = (
            np.uint64(each.ctypes.data) for each in (self._orders, self._sides, self._levels)
        )
        total = table + np.uint64(sides) * side_record.SIZE
        self._steps = {name: compiled("book_step", name) for name in STEPS}
        """Their memory, which lives as long as this does."""
        find, add, reduce, top = _operations_on(self._steps, orders, table, levels, total)
        self.follow = _follow_with(_apply_on(find, add, reduce), top, total, base)


def _follow_with(apply: Any, top: Any, total: np.uint64, base: int) -> Any:
    """`Shadow.follow`."""
    first, size = base + len(Seen), len(State)

    @njit
    def is_followed(eng, book, cells, at):
        """Whether symbol and engine are still those whose orders are here."""
        known = cells[at + _BOOK]
        cells[at + _BOOK] = book
        same = (known == 0) | (known == book)
        return same & (cells[base + _ORDERS] == np.int64(side_record.orders(total)))

    @njit
    def refusals(eng):
        """Orders that the engine left out: each would be here, if this could not know it."""
        left_out = ZERO
        for n in range(len(_REFUSALS)):
            left_out += counter.value(counter.at(eng, np.uint64(_REFUSALS[n])))
        return np.int64(left_out)

    @njit
    def is_other(eng, book, n):
        bid_px, bid_sz = top(TWO * n)
        ask_px, ask_sz = top(TWO * n + ONE)
        return (
            (np.int64(bid_px) != view.bid_px(eng, book))
            | (np.int64(bid_sz) != view.bid_sz(eng, book))
            | (np.int64(ask_px) != view.ask_px(eng, book))
            | (np.int64(ask_sz) != view.ask_sz(eng, book))
        )

    @njit
    def follow(eng, book, cells, n):
        at = first + size * n
        if cells[at + _IS_LEFT] != 0:
            return
        follows = is_followed(eng, book, cells, at) & (engine.run_kind(eng) == ZERO)
        if follows:
            could, rescans = apply(engine.cursor(eng) + PREFIX, np.uint64(n))
            cells[base + _ORDERS] = np.int64(side_record.orders(total))
            cells[base + _OPERATIONS] += rescans >= 0
            cells[base + _RESCANS] += max(rescans, 0)
            refused = refusals(eng)
            follows = could & (refused == cells[base + _REFUSED])
            cells[base + _REFUSED] = refused
            if follows and is_other(eng, book, np.uint64(n)):
                cells[base + _DIFFERENT] += 1
                follows = False
        if not follows:
            cells[at + _IS_LEFT] = 1
            cells[base + _LEFT] += 1

    return follow
