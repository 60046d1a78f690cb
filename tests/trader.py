"""A strategy that does everything, for comparisons: it must not depend on packing, only on inputs.

Its cells: 0 a generator of pseudo-random numbers, 1 the last user_ref_num that it was given, 2 and
3 what it saw of gaps and timers, 4 a sum over every view, so that a wrong one shows in the state.
"""

from collections.abc import Iterable

from numba import njit

from itch_messages import message
from scenes import TS
from streams import CAPACITY, SMALL
from tickpath import Config, emit, event, view
from tickpath.config import Limits, Orders, Risk, StrategyConfig

LIMITS = Risk(
    max_quantity=5_000,
    max_notional=400_000.0,
    max_position=3_000,
    collar_percent=2.0,
    orders_per_second=20,
    order_burst=10,
    unknown_trading_state="trade",
    symbols={
        "MSFT": Limits(max_quantity=100, collar_price=199_000.0),
        "BRK.A": Limits(allowed=False),
        "ZVZZT": Limits(kill_switch=True),
    },
)


def trading(protocol: str = "ouch50", timer_interval_ms: int = 0, **orders) -> Config:
    """A configuration with every limit, in which most kinds of order pass now and then."""
    return Config(
        capacity=CAPACITY,
        indicators=SMALL.indicators,
        strategy=StrategyConfig(cells=16, parameters=[12345], timer_interval_ms=timer_interval_ms),
        risk=LIMITS,
        orders=Orders(protocol=protocol, **orders),
    )


@njit
def look(engine, book, cells):
    """Everything that can be seen of a book, in one number."""
    seen = view.bid_px(engine, book) + 3 * view.ask_px(engine, book)
    seen += 5 * view.bid_sz(engine, book) + 7 * view.ask_sz(engine, book)
    seen += 11 * view.bid_ct(engine, book) + 13 * view.ask_ct(engine, book)
    seen += 17 * view.last_px(engine, book) + 19 * view.last_sz(engine, book)
    seen += 23 * view.sma(engine, book) + 29 * view.ema(engine, book)
    seen += 31 * view.trading_state(engine, book) + 37 * view.is_trading(engine, book)
    seen += 41 * view.is_stale(engine, book) + 43 * view.auction(engine, book)
    seen += 47 * view.reg_sho(engine, book) + 53 * view.position(engine, book)
    seen += 59 * (view.engine_time(engine) % 1_000_003) + 61 * view.messages(engine)
    seen += 67 * (view.vwap(engine, book) % 1_000_003) + 71 * (view.volume(engine, book) % 1009)
    cells[4] = (cells[4] * 31 + seen) % 1_000_000_007


@njit
def act(engine, book, cells, dice):
    """One of the things that a strategy can ask for."""
    what, quantity = dice % 9, 1 + dice // 9 % 300
    bid_px, ask_px = view.bid_px(engine, book), view.ask_px(engine, book)
    ref = cells[1]
    if what == 0:
        ref = emit.new_order(engine, book, view.BUY, quantity, ask_px)
    elif what == 1:
        ref = emit.new_order(engine, book, view.SELL, quantity, bid_px)
    elif what == 2:
        ref = emit.new_order(engine, book, view.BUY, quantity * 7, bid_px - 100 * (dice % 5))
    elif what == 3:
        emit.cancel_order(engine, ref, dice % 3 * 20)
    elif what == 4:
        emit.modify_order(engine, ref, quantity)
    elif what == 5:
        ref = emit.replace_order(engine, ref, quantity, bid_px + 100 * (dice % 3))
    elif what == 6:
        ref = emit.new_order(engine, book, view.SELL, quantity, ask_px + 100)
    elif what == 7:
        emit.cancel_order(engine, dice % 50, 0)
    elif dice % 5 == 1:
        emit.new_order(engine, book, view.BUY, quantity, ask_px + ask_px // 20)
        emit.new_order(engine, book, view.SELL, quantity, bid_px - bid_px // 20)
    elif dice % 5 == 0:
        for number in range(18):
            ref = emit.new_order(engine, book, view.BUY, number, ask_px)
    else:
        wild = dice // 9 % 6
        emit.new_order(engine, 99 if wild == 0 else book, wild - 1, 10**wild, 7 * 10 ** (2 * wild))
    if ref:
        cells[1] = ref


@njit
def busy(engine, book, kind, flags):
    """Look at everything, and often ask for something."""
    cells = view.state(engine)
    if kind == event.STALE:
        cells[2] += 1
        emit.cancel_order(engine, cells[1], 0)
        return
    if kind == event.TIMER:
        cells[3] += 1
        cells[1] = emit.new_order(engine, 1, view.BUY, 10, view.bid_px(engine, 1))
        return
    look(engine, book, cells)
    cells[0] = (cells[0] * 1_103_515_245 + 12_345 + kind + flags // 2) % 2_147_483_648
    if cells[0] // 256 % 3 == 0:
        act(engine, book, cells, cells[0] // 1024)


CELLS = 64
NEW, CANCEL, REPLACE, MODIFY = 1, 2, 3, 4
"""What a step of `script` asks for."""
NEWS = message("S", 0, TS, event_code="Q")
"""A message on which `script` takes its next step: the book stays as it is."""


@njit
def script(engine, book, kind, flags):
    """Take the steps in the cells from 1 on: (what, side or reference, quantity, price) each.

    New orders are for the book in the last cell.
    """
    if kind != event.STATUS or book != 0:
        return
    cells = view.state(engine)
    row = 1 + 4 * cells[0]
    cells[0] += 1
    what, which, quantity, price = cells[row], cells[row + 1], cells[row + 2], cells[row + 3]
    if what == NEW:
        emit.new_order(engine, cells[len(cells) - 1], which, quantity, price)
    elif what == CANCEL:
        emit.cancel_order(engine, which, quantity)
    elif what == REPLACE:
        emit.replace_order(engine, which, quantity, price)
    elif what == MODIFY:
        emit.modify_order(engine, which, quantity)


def scripted(steps: Iterable[tuple[int, int, int, int]], book: int = 1, **config) -> Config:
    """A configuration for `script` with these steps."""
    flat = [0, *(number for step in steps for number in step)]
    assert len(flat) < CELLS
    parameters = [*flat, *[0] * (CELLS - 1 - len(flat)), book]
    return Config(
        capacity=CAPACITY, strategy=StrategyConfig(cells=CELLS, parameters=parameters), **config
    )
