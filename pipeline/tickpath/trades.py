"""Prints and what is kept of them: last trade, volume, VWAP, moving averages, broken trades.

What counts as a print (Nasdaq TotalView-ITCH 5.0, sections on trade messages): an execution of a
displayed order (E, at the order's price), one at another price (C) if it is printable, a trade
against a hidden order (P) and a cross (Q).  A non-printable execution changes the book but not the
statistics, because the cross that it belongs to is printed in bulk.

A broken trade (B) takes its shares and money out of volume and VWAP again, through a table of the
last trades by match number (a later trade with the same low bits overwrites it; a break that comes
after that is counted as unknown).  The last price and the averages stay as they were: they describe
what was seen at the time.

Fixed point: prices in 1e-4; the exponential average in 1e-4 / 65536, its step
``2 * (price - average) / (window + 1)`` rounded down; the simple average is sum / count, rounded
down by who divides.  `notional` wraps at 2**64.
"""

import numpy as np

from tickpath.counters import Counter
from tickpath.jit import cold, leaf
from tickpath.layout import book, count, engine, sma, trade

ZERO, ONE = np.uint64(0), np.uint64(1)
EMA_SHIFT = 16
_U32_MAX = np.uint64(0xFFFFFFFF)
_BROKEN = np.uint64(Counter.BROKEN_TRADES)
_BROKEN_UNKNOWN = np.uint64(Counter.BROKEN_TRADE_UNKNOWN)


@leaf
def _average(eng, book_index, b, price):
    """Take a trade price into the simple and the exponential moving average."""
    window = engine.sma_window(eng)
    at, have = book.sma_at(b), book.sma_count(b)
    place = sma.at(eng, book_index * window + at)
    total = book.sma_sum(b) + price
    scaled = np.int64(price) << np.int64(EMA_SHIFT)
    if have == window:
        total -= sma.price(place)
    else:
        book.set_sma_count(b, have + ONE)
    if have == ZERO:
        book.set_ema(b, scaled)
    else:
        step = np.int64(2) * (scaled - book.ema(b))
        book.set_ema(b, book.ema(b) + step // np.int64(engine.ema_divisor(eng)))
    sma.set_price(place, price)
    book.set_sma_sum(b, total)
    book.set_sma_at(b, at + ONE if at + ONE < window else ZERO)


@cold
def print_trade(eng, book_index, price, shares, match_number):
    """A print: into the statistics, and into the table that a break would look it up in."""
    if shares == ZERO:
        return
    b = book.at(eng, book_index)
    book.set_last_px(b, price)
    book.set_last_ts(b, engine.engine_time(eng))
    book.set_last_sz(b, min(shares, _U32_MAX))
    book.set_volume(b, book.volume(b) + shares)
    book.set_notional(b, book.notional(b) + price * shares)
    book.set_trades(b, book.trades(b) + ONE)
    _average(eng, book_index, b, price)
    t = trade.at(eng, match_number & engine.trade_mask(eng))
    trade.set_match_number(t, match_number)
    trade.set_book(t, book_index)
    trade.set_price(t, price)
    trade.set_shares(t, shares)
    trade.set_generation(t, book.generation(b))


@cold
def break_trade(eng, match_number):
    """Undo a print; gives its book, or 0 where the match number is not (any more) in the table."""
    t = trade.at(eng, match_number & engine.trade_mask(eng))
    book_index = trade.book(t)
    b = book.at(eng, book_index)
    # The print may be of another symbol that had this book before.
    known = trade.match_number(t) == match_number and trade.generation(t) == book.generation(b)
    if book_index == ZERO or not known:
        count(eng, _BROKEN_UNKNOWN)
        return ZERO
    count(eng, _BROKEN)
    trade.set_book(t, ZERO)
    shares = trade.shares(t)
    book.set_volume(b, book.volume(b) - shares)
    book.set_notional(b, book.notional(b) - trade.price(t) * shares)
    book.set_trades(b, book.trades(b) - ONE)
    return book_index
