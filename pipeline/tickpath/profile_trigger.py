"""The hardware profile's trigger as a strategy: one symbol's top of book in, an order out, once.

    through      the other side's best price has come to ``price``: buying, the ask is at or below
                 it; selling, the bid is at or above it
    spread       the ask is at most ``spread`` above the bid
    imbalance    one side's best size is more than 2 to the power of ``ratio_log2`` times the
                 other's, and at least ``least``: buys where it is the bid, sells where it is the
                 ask

It fires when the condition comes to hold, not while it holds: ``held`` keeps what held at the
symbol's last top (bit 0 buying, bit 1 selling).  Nothing holds with an empty side, in a book behind
a gap, or once the symbol has left what the hardware can hold:

    orders     an order came while the profile's symbols had as many alive as the hardware has room
               for: at the same order in both.  The hardware's store is a hash table four times that
               size, which says so, too, where an order finds both of its buckets full: that follows
               from the references, is not counted here, and practically never comes before the
               count is reached
    off grid   the best price of a side is no multiple of the symbol's tick.  The hardware has such
               an order in no level, and stops at the first one that is added, at whatever price: so
               not later than here
    level      a best size is more than half of what the hardware can hold, beyond which it does
               not trust itself: at the same top in both; the hardware says it of other levels, too

Each stays until the end of the run, and is counted.  The hardware's window follows the market and
is refilled from its order store, so that a price outside of it is no overflow.  What follows from
cycles has no counterpart here, and is the hardware's alone to say: operations that found no room in
front of its book, intents and orders that found none behind it.

Everything it knows is in the strategy's cells, so that snapshots and digests have it.  Live orders
are counted by what each message does to the engine's number of them: one message is one order.

    cells    header | table: rows by symbol (open addressing, row's cell, 0 for none) | rows
"""

from enum import IntEnum

import numpy as np
from numba import njit

from tickpath import emit, event, view
from tickpath.digest import symbol_number
from tickpath.jit import leaf
from tickpath.layout import book as book_record
from tickpath.layout import engine as engine_record
from tickpath.profile import (
    CAPACITIES,
    Profile,
    Trigger,
    tick_of,
    trigger_parameters,
)

NAME = "tickpath.profile_trigger:trigger"
"""What `config.StrategyConfig` calls it."""


class Head(IntEnum):
    """Cells of the header."""

    LIVE_BEFORE = 0  # live orders of the engine after the message before
    LIVE = 1  # of the profile's symbols
    LIVE_PEAK = 2


class Row(IntEnum):
    """Cells of a symbol's row."""

    SYMBOL = 0
    KIND = 1
    IS_SELL = 2
    PRICE = 3
    SPREAD = 4
    RATIO_LOG2 = 5
    LEAST = 6
    QUANTITY = 7
    SLIPPAGE = 8
    TICK = 9
    HELD = 10
    FIRED = 11
    LIVE = 12
    FLAGS = 13  # bit n: `Overflow` n
    OVERFLOWS = 14  # how often: a cell for each `Overflow`


class Overflow(IntEnum):
    """How a symbol can leave what the hardware holds."""

    ORDERS = 0
    OFF_GRID = 1
    LEVEL = 2


HEAD = 8
TABLE_BITS = 8
TABLE = 1 << TABLE_BITS
ROW = 24
ROWS = HEAD + TABLE
CELLS = ROWS + ROW * CAPACITIES.symbols

_LIVE_BEFORE, _ALL_LIVE, _PEAK = (int(each) for each in Head)
_SYMBOL, _KIND, _IS_SELL, _PRICE, _SPREAD = (int(Row(n)) for n in range(5))
_RATIO, _LEAST, _QUANTITY, _SLIPPAGE, _TICK = (int(Row(n)) for n in range(5, 10))
_HELD, _FIRED, _LIVE, _FLAGS, _OVERFLOWS = (int(Row(n)) for n in range(10, 15))
_ORDERS, _OFF_GRID, _LEVEL = (int(each) for each in Overflow)
_THROUGH, _SPREADS, _IMBALANCE = int(Trigger.THROUGH), int(Trigger.SPREAD), int(Trigger.IMBALANCE)
_MOST_LIVE, _LEVEL_BITS = CAPACITIES.live_orders, CAPACITIES.level_bits
_MOST_PRICE = (1 << CAPACITIES.size_bits) - 1
_BUYS, _SELLS = 1, 2
_MIX, _SHIFT = np.uint64(0x9E3779B97F4A7C15), np.uint64(64 - TABLE_BITS)
_MASK = TABLE - 1


def _place(symbol: int) -> int:
    """Where the search for a symbol begins in the table."""
    return (symbol * int(_MIX) & (1 << 64) - 1) >> int(_SHIFT)


def cells_of(profile: Profile) -> list[int]:
    """The cells that a run begins with."""
    cells = [0] * CELLS
    for number, (name, symbol) in enumerate(profile.symbols.items()):
        at, place = ROWS + ROW * number, _place(symbol_number(name))
        while cells[HEAD + place]:
            place = (place + 1) & _MASK
        cells[HEAD + place] = at
        cells[at + Row.SYMBOL] = symbol_number(name)
        cells[at + Row.TICK] = tick_of(symbol)
        for key, value in trigger_parameters(profile, name).items():
            cells[at + Row[key.upper()]] = value
    return cells


# ---------------------------------------------------------------- at each message


@leaf
def _row_of(engine, cells, book):
    """The cell at which a book's row begins; 0 where the profile does not have its symbol."""
    b = np.uint64(book)
    if b >= engine_record.locates(engine):
        return 0
    symbol = book_record.symbol(book_record.at(engine, b))
    place = np.int64((symbol * _MIX) >> _SHIFT)
    # A quarter of the table is in use at most, so that there is an end.
    while cells[HEAD + place] != 0:
        at = cells[HEAD + place]
        if cells[at + _SYMBOL] == np.int64(symbol):
            return at
        place = (place + 1) & _MASK
    return 0


@leaf
def _overflow(cells, at, which):
    cells[at + _FLAGS] |= 1 << which
    cells[at + _OVERFLOWS + which] += 1


@leaf
def _count_live(cells, at, change):
    cells[at + _LIVE] += change
    cells[_ALL_LIVE] += change
    cells[_PEAK] = max(cells[_PEAK], cells[_ALL_LIVE])
    if change > 0 and cells[_ALL_LIVE] > _MOST_LIVE:
        _overflow(cells, at, _ORDERS)


@leaf
def _outweighs(size, other, cells, at):
    return (size > other << cells[at + _RATIO]) & (size >= cells[at + _LEAST])


@leaf
def _holding(cells, at, bid_px, bid_sz, ask_px, ask_sz):
    """What holds at a top with both sides: bits buying, selling."""
    kind = cells[at + _KIND]
    own = _SELLS if cells[at + _IS_SELL] != 0 else _BUYS
    if kind == _THROUGH:
        price = cells[at + _PRICE]
        reached = bid_px >= price if own == _SELLS else ask_px <= price
        return own if reached else 0
    if kind == _SPREADS:
        return own if ask_px - bid_px <= cells[at + _SPREAD] else 0
    if kind == _IMBALANCE:
        if _outweighs(bid_sz, ask_sz, cells, at):
            return _BUYS
        return _SELLS if _outweighs(ask_sz, bid_sz, cells, at) else 0
    return 0


@leaf
def _fire(engine, book, cells, at, is_sell, bid_px, ask_px):
    """Ask for the order: at the other side's best price, and so much further."""
    slippage = cells[at + _SLIPPAGE]
    reference = bid_px if is_sell else ask_px
    price = max(bid_px - slippage, 0) if is_sell else min(ask_px + slippage, _MOST_PRICE)
    # The gate has no collar around nothing: without a price the order is refused as malformed.
    price = price if reference > 0 else 0
    cells[at + _FIRED] += 1
    side = view.SELL if is_sell else view.BUY
    emit.new_order(engine, book, side, cells[at + _QUANTITY], price)


@leaf
def note_overflows(cells, at, bid_px, bid_sz, ask_px, ask_sz):
    """Stop a symbol whose top the hardware does not hold.  An empty side has price and size 0."""
    if (bid_px % cells[at + _TICK] != 0) | (ask_px % cells[at + _TICK] != 0):
        _overflow(cells, at, _OFF_GRID)
    if (bid_sz | ask_sz) >> (_LEVEL_BITS - 1) != 0:
        _overflow(cells, at, _LEVEL)


@leaf
def _look(engine, book, cells, at):
    """One top of book of a symbol of the profile."""
    bid_px, bid_sz = view.bid_px(engine, book), view.bid_sz(engine, book)
    ask_px, ask_sz = view.ask_px(engine, book), view.ask_sz(engine, book)
    note_overflows(cells, at, bid_px, bid_sz, ask_px, ask_sz)
    usable = (bid_sz != 0) & (ask_sz != 0) & (cells[at + _FLAGS] == 0)
    holds = 0
    if usable and view.is_stale(engine, book) == 0:
        holds = _holding(cells, at, bid_px, bid_sz, ask_px, ask_sz)
    new = holds & ~cells[at + _HELD]
    cells[at + _HELD] = holds
    if new != 0:
        _fire(engine, book, cells, at, new == _SELLS, bid_px, ask_px)


@leaf
def row_of_message(engine, cells, book, kind):
    """Count live orders; the row of the symbol whose book a message was about, 0 for none."""
    live = np.int64(engine_record.orders_live(engine))
    change = live - cells[_LIVE_BEFORE]
    cells[_LIVE_BEFORE] = live
    if kind != event.BOOK and kind != event.TRADE:
        return 0
    at = _row_of(engine, cells, book)
    if at != 0 and change != 0:
        _count_live(cells, at, change)
    return at


@njit
def trigger(engine, book, kind, flags):
    """The strategy: see above.  At most one order a message."""
    cells = view.state(engine)
    at = row_of_message(engine, cells, book, kind)
    if at != 0:
        _look(engine, book, cells, at)
