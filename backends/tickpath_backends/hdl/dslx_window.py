"""Windows of price levels made of the DSLX book steps, in Numba: see `hdl.dslx_book`.

A window has a quantity for each of `CAPACITIES.window_ticks` prices from its base on, of one side
of one symbol's book, and knows the best of them by its rank.
"""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
from numba import njit

from tickpath.memory import accessors
from tickpath.profile import CAPACITIES
from tickpath_backends.hdl.compiled import Compiled

Steps = Mapping[str, Compiled]
STEPS = (
    *("order_reduce", "level_add", "level_reduce", "is_cents"),
    *("tick_of", "price_of", "centred_base", "rank_of", "is_better"),
)
"""Functions of hdl/dslx/book_step.x."""
SIDE = np.dtype([("base", "<u8"), ("is_cents", "<u8"), ("best", "<u8"), ("orders", "<u8")])
"""``best``: the rank of the best level, `NONE`: there is none in the window."""
LEVEL = np.dtype([("quantity", "<u8")])
ZERO, ONE = np.uint64(0), np.uint64(1)
NONE = np.uint64(CAPACITIES.window_ticks)
side_record, level_record = accessors("shadow_side", SIDE), accessors("shadow_level", LEVEL)


def runs(step: Compiled) -> Any:
    """``run(...)`` of a step of one, two or three numbers; what it gives stands in its frame."""
    inputs, at, call, (one, two, three) = step.inputs, step.at, step.call, step.arguments
    first, a_first, second, a_second = inputs[0], at[0], inputs[-1], at[-1]
    zero, last = ZERO, np.int64(0)

    @njit
    def of_one(a):
        first.set_value(a_first, a)
        call(one, two, three, zero, zero, zero, last)

    @njit
    def of_two(a, b):
        second.set_value(a_second, b)
        of_one(a)

    if len(inputs) < 3:
        return of_one if len(inputs) == 1 else of_two
    middle, a_middle = inputs[1], at[1]

    @njit
    def of_three(a, b, c):
        middle.set_value(a_middle, b)
        of_two(a, c)

    return of_three


def _number(step: Compiled) -> Any:
    """``give(a, b)``: a step of two numbers that gives one."""
    run, out, at = runs(step), step.output, step.result

    @njit
    def give(a, b):
        run(a, b)
        return out.value(at)

    return give


def _level(step: Compiled) -> Any:
    """``change(quantity, shares)``: a level's new quantity, and whether that is right."""
    run, out, at = runs(step), step.output, step.result

    @njit
    def change(quantity, shares):
        run(quantity, shares)
        return out.quantity(at), out.is_lost(at) == ZERO

    return change


def _prices(steps: Steps) -> tuple[Any, Any, Any]:
    """``window_of(price)`` gives (base, whether ticks are cents), ``tick_of`` (index, whether it is
    there), ``price_of`` a price."""
    cents, tick, price = steps["is_cents"], steps["tick_of"], steps["price_of"]
    centred = _number(steps["centred_base"])
    run_cents, cents_out, a_cents = runs(cents), cents.output, cents.result
    run_tick, tick_out, a_tick = runs(tick), tick.output, tick.result
    run_price, price_out, a_price = runs(price), price.output, price.result

    @njit
    def window_of(price):
        run_cents(price)
        is_cents = cents_out.value(a_cents)
        return centred(price, is_cents), is_cents

    @njit
    def tick_of(price, base, is_cents):
        run_tick(price, base, is_cents)
        return tick_out.index(a_tick), tick_out.is_tracked(a_tick) != ZERO

    @njit
    def price_of(index, base, is_cents):
        run_price(index, base, is_cents)
        return price_out.value(a_price)

    return window_of, tick_of, price_of


def windows(steps: Steps, sides: np.uint64, levels: np.uint64) -> SimpleNamespace:
    """``side``, ``level``, ``place``, ``put``, ``take`` and ``top`` of the tables at these
    addresses, whose n-th side has the number n, offers odd ones."""
    window_of, tick_of, price_of = _prices(steps)
    more, less = _level(steps["level_add"]), _level(steps["level_reduce"])
    rank_of, is_better = _number(steps["rank_of"]), _number(steps["is_better"])

    @njit
    def side(s):
        return sides + s * side_record.SIZE

    @njit
    def level(s, index):
        return levels + (s * NONE + index) * level_record.SIZE

    @njit
    def place(s, price):
        """A window around a price, whose levels are all empty."""
        sd = side(s)
        base, is_cents = window_of(price)
        side_record.set_base(sd, base)
        side_record.set_is_cents(sd, is_cents)
        side_record.set_best(sd, NONE)

    @njit
    def put(s, price, shares):
        """Shares come to a level: (it is in the window, its quantity is right)."""
        sd = side(s)
        index, is_tracked = tick_of(price, side_record.base(sd), side_record.is_cents(sd))
        if not is_tracked:
            return False, True
        v = level(s, index)
        quantity, is_right = more(level_record.quantity(v), shares)
        level_record.set_quantity(v, quantity)
        rank, best = rank_of(index, s & ONE), side_record.best(sd)
        if best == NONE or is_better(rank, best) != ZERO:
            side_record.set_best(sd, rank)
        return True, is_right

    @njit
    def take(s, price, shares):
        """Shares leave their level; one behind it is the best where it was and is empty."""
        sd = side(s)
        index, is_tracked = tick_of(price, side_record.base(sd), side_record.is_cents(sd))
        if not is_tracked:
            return True
        v = level(s, index)
        quantity, is_right = less(level_record.quantity(v), shares)
        level_record.set_quantity(v, quantity)
        rank = rank_of(index, s & ONE)
        if quantity == ZERO and rank == side_record.best(sd):
            while rank != NONE and level_record.quantity(level(s, rank_of(rank, s & ONE))) == ZERO:
                rank += ONE
            side_record.set_best(sd, rank)
        return is_right

    @njit
    def top(s):
        """(price, size) of the best level; (0, 0): none."""
        sd = side(s)
        best = side_record.best(sd)
        if best == NONE:
            return ZERO, ZERO
        index = rank_of(best, s & ONE)
        price = price_of(index, side_record.base(sd), side_record.is_cents(sd))
        return price, level_record.quantity(level(s, index))

    return SimpleNamespace(side=side, level=level, place=place, put=put, take=take, top=top)
