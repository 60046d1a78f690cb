"""The indicators of DSLX beside those of the engine, print by print: a differential test that runs.

`indicators_with` gives a function that a strategy calls at each trade of a symbol.  It takes the
print through ``vwap_step`` and ``ema_step``, a broken one through ``vwap_undo``, in state of its
own, and compares what comes out with what `tickpath.trades` made of the same print.  Nothing else
depends on it: no trigger of the hardware uses an indicator.

What is printed is seen by the engine's count of trades.  Where that moved by more than one (the
book is another symbol's now, the strategy was not called for a while) both begin again at the
engine's state, and where a print has more shares than the hardware's 32 bits, too; both are
counted as resumed.
"""

from enum import IntEnum
from typing import Any

import numpy as np
from numba import njit

from tickpath.layout import book as book_record
from tickpath_backends.hdl.compiled import Compiled

RECIPROCAL_BITS = 49
"""As hdl/dslx/indicators.x has it."""
ZERO, ONE = np.uint64(0), np.uint64(1)
_U32_MAX = np.uint64(0xFFFFFFFF)


class Seen(IntEnum):
    """Cells that all symbols share."""

    PRINTS = 0
    BROKEN = 1
    RESUMED = 2
    DIFFERENT = 3


class State(IntEnum):
    """Cells of a symbol, behind those."""

    TRADES = 0
    VOLUME = 1
    NOTIONAL = 2
    AVERAGE = 3
    HAS_PRINT = 4


_PRINTS, _BROKEN, _RESUMED, _DIFFERENT = (int(each) for each in Seen)
_TRADES, _VOLUME, _NOTIONAL, _AVERAGE, _HAS_PRINT = (int(each) for each in State)


def cells_of(symbols: int) -> int:
    """Cells that so many symbols need."""
    return len(Seen) + len(State) * symbols


def divisor_of(window: int) -> dict[str, int]:
    """A window as the hardware divides by it."""
    return {"divisor": window + 1, "reciprocal": (1 << RECIPROCAL_BITS) // (window + 1)}


def _print_with(vwap: Compiled, undo: Compiled, ema: Compiled) -> tuple[Any, Any]:
    """``add`` and ``take``: a print in a symbol's cells, and one that was broken out of them."""
    state, price_in, shares_in = vwap.inputs
    a_state, a_price, a_shares = vwap.at
    u_state, u_price_in, u_shares_in = undo.inputs
    u_a_state, u_a_price, u_a_shares = undo.at
    average, _, e_price_in, e_shares_in = ema.inputs
    a_average, _, e_a_price, e_a_shares = ema.at
    out, a_out, u_out, u_a_out = vwap.output, vwap.result, undo.output, undo.result
    e_out, e_a_out = ema.output, ema.result
    vwap_call, undo_call, ema_call = vwap.call, undo.call, ema.call
    vwap_arguments, undo_arguments = vwap.arguments, undo.arguments
    ema_arguments = ema.arguments
    zero, last = np.uint64(0), np.int64(0)

    @njit
    def add(cells, at, price, shares):
        state.set_volume(a_state, np.uint64(cells[at + _VOLUME]))
        state.set_notional(a_state, np.uint64(cells[at + _NOTIONAL]))
        price_in.set_value(a_price, price)
        shares_in.set_value(a_shares, shares)
        one, two, three = vwap_arguments
        vwap_call(one, two, three, zero, zero, zero, last)
        cells[at + _VOLUME] = np.int64(out.volume(a_out))
        cells[at + _NOTIONAL] = np.int64(out.notional(a_out))
        average.set_has_print(a_average, np.uint64(cells[at + _HAS_PRINT]))
        average.set_value(a_average, np.uint64(cells[at + _AVERAGE]))
        e_price_in.set_value(e_a_price, price)
        e_shares_in.set_value(e_a_shares, shares)
        one, two, three = ema_arguments
        ema_call(one, two, three, zero, zero, zero, last)
        cells[at + _AVERAGE] = np.int64(e_out.value(e_a_out))
        cells[at + _HAS_PRINT] = np.int64(e_out.has_print(e_a_out))

    @njit
    def take(cells, at, price, shares):
        u_state.set_volume(u_a_state, np.uint64(cells[at + _VOLUME]))
        u_state.set_notional(u_a_state, np.uint64(cells[at + _NOTIONAL]))
        u_price_in.set_value(u_a_price, price)
        u_shares_in.set_value(u_a_shares, shares)
        one, two, three = undo_arguments
        undo_call(one, two, three, zero, zero, zero, last)
        cells[at + _VOLUME] = np.int64(u_out.volume(u_a_out))
        cells[at + _NOTIONAL] = np.int64(u_out.notional(u_a_out))

    return add, take


def indicators_with(vwap: Compiled, undo: Compiled, ema: Compiled, base: int) -> Any:
    """``indicators(eng, book, cells, n)``: at a trade of symbol ``n``; cells from ``base`` on."""
    add, take = _print_with(vwap, undo, ema)
    first = base + len(Seen)
    size = len(State)

    @njit
    def resume(b, cells, at):
        cells[at + _VOLUME] = np.int64(book_record.volume(b))
        cells[at + _NOTIONAL] = np.int64(book_record.notional(b))
        cells[at + _AVERAGE] = np.int64(book_record.ema(b))
        cells[at + _HAS_PRINT] = np.int64(book_record.sma_count(b) != ZERO)
        cells[base + _RESUMED] += 1

    @njit
    def indicators(eng, book, cells, n):
        b = book_record.at(eng, np.uint64(book))
        at = first + size * n
        trades = np.int64(book_record.trades(b))
        moved = trades - cells[at + _TRADES]
        cells[at + _TRADES] = trades
        if moved == 0:
            return
        volume = np.uint64(cells[at + _VOLUME])
        shares = book_record.volume(b) - volume
        lost = volume - book_record.volume(b)
        if moved == 1 and shares <= _U32_MAX:
            add(cells, at, book_record.last_px(b), shares)
            cells[base + _PRINTS] += 1
        elif moved == -1 and lost != ZERO and lost <= _U32_MAX:
            money = np.uint64(cells[at + _NOTIONAL]) - book_record.notional(b)
            take(cells, at, money // lost, lost)
            cells[base + _BROKEN] += 1
        else:
            resume(b, cells, at)
            return
        if (
            np.uint64(cells[at + _VOLUME]) != book_record.volume(b)
            or np.uint64(cells[at + _NOTIONAL]) != book_record.notional(b)
            or cells[at + _AVERAGE] != np.int64(book_record.ema(b))
        ):
            cells[base + _DIFFERENT] += 1
            resume(b, cells, at)

    return indicators


def result_of(cells: np.ndarray, base: int) -> dict[str, int]:
    """What was seen, by name."""
    return {each.name.lower(): int(cells[base + each]) for each in Seen}
