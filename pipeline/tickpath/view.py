"""What a strategy may read: books, indicators, positions, its own state.  All values are ``int64``.

Every function takes the ``engine`` handle that the strategy was given; ``book`` is the book's
number (for Nasdaq the stock locate).  Prices are in 1e-4, quantities in shares, times in
nanoseconds since the venue's midnight.  An empty side has price 0 and quantity 0.
"""

import numpy as np
from numba import carray
from numba.core import types
from numba.extending import intrinsic

from tickpath import own_orders, risk, window
from tickpath.jit import leaf
from tickpath.layout import book as _book
from tickpath.layout import cell as _cell
from tickpath.layout import engine as _engine
from tickpath.layout import level as _level
from tickpath.layout import own as _own
from tickpath.layout import own_event as _own_event
from tickpath.layout import position as _position
from tickpath.layout import position_of as _position_of
from tickpath.layout import side as _side
from tickpath.trades import EMA_SHIFT

_ZERO, _ONE = np.uint64(0), np.uint64(1)
_QUANTITY = np.uint64((1 << 44) - 1)
_COUNT = np.uint64(44)

BUY, SELL = 1, -1
"""Sides of an order."""
TRADING, HALTED, PAUSED, QUOTATION_ONLY = ord("T"), ord("H"), ord("P"), ord("Q")
"""Trading states; 0 before the symbol's first trading action."""


@leaf
def _bid(engine, book):
    return _side.at(engine, np.uint64(book) * np.uint64(2))


@leaf
def _ask(engine, book):
    return _side.at(engine, np.uint64(book) * np.uint64(2) + _ONE)


@leaf
def _px(s):
    return np.int64(_side.best_px(s)) if _side.best(s) != _ZERO else np.int64(0)


@leaf
def _sz(engine, s):
    return np.int64(_level.total(_level.at(engine, _side.best(s))) & _QUANTITY)


@leaf
def bid_px(engine, book):
    """Best bid price."""
    return _px(_bid(engine, book))


@leaf
def ask_px(engine, book):
    """Best offer price."""
    return _px(_ask(engine, book))


@leaf
def bid_sz(engine, book):
    """Shares at the best bid."""
    return _sz(engine, _bid(engine, book))


@leaf
def ask_sz(engine, book):
    """Shares at the best offer."""
    return _sz(engine, _ask(engine, book))


@leaf
def bid_ct(engine, book):
    """Orders at the best bid."""
    v = _level.at(engine, _side.best(_bid(engine, book)))
    return np.int64(_level.total(v) >> _COUNT)


@leaf
def ask_ct(engine, book):
    """Orders at the best offer."""
    v = _level.at(engine, _side.best(_ask(engine, book)))
    return np.int64(_level.total(v) >> _COUNT)


@leaf
def quantity_at(engine, book, side, px):
    """Shares at one price of the window (0 for prices outside it); ``side`` is BUY or SELL."""
    sd = np.uint64(book) * np.uint64(2) + np.uint64(side == SELL)
    lvl = window.level_of(engine, sd, np.uint64(px))
    return np.int64(_level.total(_level.at(engine, lvl)) & _QUANTITY)


@leaf
def last_px(engine, book):
    """Price of the last print, 0 before the first."""
    return np.int64(_book.last_px(_book.at(engine, np.uint64(book))))


@leaf
def last_sz(engine, book):
    """Shares of the last print."""
    return np.int64(_book.last_sz(_book.at(engine, np.uint64(book))))


@leaf
def volume(engine, book):
    """Shares printed, without broken trades."""
    return np.int64(_book.volume(_book.at(engine, np.uint64(book))))


@leaf
def vwap(engine, book):
    """Volume-weighted average price of the prints, rounded down; 0 before the first."""
    b = _book.at(engine, np.uint64(book))
    shares = _book.volume(b)
    return np.int64(_book.notional(b) // shares) if shares != _ZERO else np.int64(0)


@leaf
def sma(engine, book):
    """Simple average of the last trade prices (config ``indicators.sma_window``), rounded down."""
    b = _book.at(engine, np.uint64(book))
    have = _book.sma_count(b)
    return np.int64(_book.sma_sum(b) // have) if have != _ZERO else np.int64(0)


@leaf
def ema(engine, book):
    """Exponential average of the trade prices (``indicators.ema_window``), rounded down."""
    return _book.ema(_book.at(engine, np.uint64(book))) >> np.int64(EMA_SHIFT)


@leaf
def trading_state(engine, book):
    """Code of the last trading action: TRADING, HALTED, PAUSED, QUOTATION_ONLY, or 0."""
    return np.int64(_book.trading_state(_book.at(engine, np.uint64(book))))


@leaf
def is_trading(engine, book):
    """1 while the risk gate lets orders for the book pass its trading-state check."""
    return np.int64(risk.may_trade(engine, np.uint64(book)))


@leaf
def is_stale(engine, book):
    """1 from a gap on: the book may be wrong."""
    return np.int64(_book.stale(_book.at(engine, np.uint64(book))))


@leaf
def auction(engine, book):
    """Cross type of the auction under way (an ASCII code), 0 for none."""
    return np.int64(_book.auction(_book.at(engine, np.uint64(book))))


@leaf
def reg_sho(engine, book):
    """ASCII code of the last Reg SHO action, 0 before the first."""
    return np.int64(_book.reg_sho(_book.at(engine, np.uint64(book))))


@leaf
def position(engine, book):
    """Shares held, negative when short."""
    return _position.quantity(_position_of(engine, np.uint64(book)))


@leaf
def pnl(engine, book):
    """The day's profit and loss of one book in 1e-4, its position at the present mark."""
    return risk.pnl(_position_of(engine, np.uint64(book)))


@leaf
def order_state(engine, user_ref_num):
    """A number of `own_orders.State`; 0 for an order that is not known (any more)."""
    o = own_orders.at_place(engine, np.uint64(user_ref_num))
    is_it = own_orders.is_known(o, np.uint64(user_ref_num))
    return np.int64(_own.state(o)) if is_it else np.int64(0)


@leaf
def leaves_qty(engine, user_ref_num):
    """Shares of an own order that may still be executed; 0 for one that is not known."""
    o = own_orders.at_place(engine, np.uint64(user_ref_num))
    is_it = own_orders.is_known(o, np.uint64(user_ref_num))
    return np.int64(_own.leaves(o)) if is_it else np.int64(0)


@leaf
def cum_qty(engine, user_ref_num):
    """Shares of an own order that were executed; 0 for one that is not known."""
    o = own_orders.at_place(engine, np.uint64(user_ref_num))
    is_it = own_orders.is_known(o, np.uint64(user_ref_num))
    return np.int64(_own.executed(o)) if is_it else np.int64(0)


@leaf
def _told(engine):
    return _own_event.at(engine, _engine.own_event(engine))


@leaf
def order_event_kind(engine):
    """In an event of kind ORDER: what happened, a number of `own_orders.Happened`."""
    return np.int64(_own_event.kind(_told(engine)))


@leaf
def order_event_ref(engine):
    """In an event of kind ORDER: the order's user_ref_num."""
    return np.int64(_own_event.user_ref_num(_told(engine)))


@leaf
def order_event_quantity(engine):
    """In an event of kind ORDER: the shares that it is about."""
    return np.int64(_own_event.quantity(_told(engine)))


@leaf
def order_event_px(engine):
    """In an event of kind ORDER: the execution's price, or the order's."""
    return np.int64(_own_event.price(_told(engine)))


@leaf
def engine_time(engine):
    """Largest event time applied so far."""
    return np.int64(_engine.engine_time(engine))


@leaf
def messages(engine):
    """Market-data messages so far, this one included."""
    return np.int64(_engine.messages(engine))


@intrinsic
def _as_pointer(context, address):
    def generate(context, builder, signature, args):
        return builder.inttoptr(args[0], context.get_value_type(signature.return_type))

    return types.CPointer(types.int64)(types.uint64), generate


@leaf
def state(engine):
    """The strategy's own state: an ``int64`` array that starts with the configured parameters."""
    return carray(_as_pointer(_cell.at(engine, _ZERO)), np.int64(_engine.cell_count(engine)))
