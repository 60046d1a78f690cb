"""Which symbol and which order the next action is about.

Symbols are drawn by their activity, or stay those of the burst.  Most deletes and replaces hit one
of the symbol's latest orders, with a probability that halves as the number of later ones doubles,
so lifetimes have a heavy tail; orders that the market has run over go first, and now and then any
old one goes.
"""

import numpy as np

from tickpath.generate import book
from tickpath.generate.draw import below, bits, chance, octave, share
from tickpath.generate.state import RECENT, SELL, alias, inner, order, recent, session, symbol
from tickpath.jit import leaf

TRADING, QUOTING, HALTED, PAUSED = ord("T"), ord("Q"), ord("H"), ord("P")
_AGAIN = 40_960
"""Odds of a burst going on with its symbol."""
_RECENT_ODDS = 52_000
"""Odds in 65,536 of a delete hitting a recent order."""


@inner
def _drawn_symbol(s):
    drawn = bits(s)
    index = share(drawn, session.symbols(s))
    a = alias.at(s, index)
    if np.int64(drawn & np.uint64(0xFFFF_FFFF)) < alias.keep(a):
        return index
    return alias.other(a)


@inner
def _is_dead(s, index):
    """True where a halted symbol has nothing on its books that could be deleted."""
    y = symbol.at(s, index)
    if symbol.trading_state(y) != HALTED:
        return False
    return book.best(s, 2 * index) == 0 and book.best(s, 2 * index + SELL) == 0


@inner
def next_symbol(s):
    index = session.burst_symbol(s)
    if index < 0 or not chance(s, _AGAIN):
        index = _drawn_symbol(s)
        session.set_burst_symbol(s, index)
    return session.leader(s) if _is_dead(s, index) else index


@leaf
def remember(s, index, new):
    y = symbol.at(s, index)
    position = (symbol.recent(y) + 1) & (RECENT - 1)
    symbol.set_recent(y, position)
    recent.set_order(recent.at(s, index * RECENT + position), new)


@inner
def recent_order(s, index):
    """A live order of the symbol, most likely one of its latest; -1 where none was found."""
    y = symbol.at(s, index)
    for _ in range(4):
        back = octave(s, 6) - 1
        position = (symbol.recent(y) - back) & (RECENT - 1)
        chosen = np.int64(recent.order(recent.at(s, index * RECENT + position)))
        if chosen >= 0 and order.side(order.at(s, chosen)) >> 1 == index:
            return chosen
    return np.int64(-1)


@inner
def _any_order(s):
    """A live order of any symbol and age; -1 where none was found."""
    if session.live(s) == 0:
        return np.int64(-1)
    for _ in range(16):
        chosen = below(s, session.orders_used(s))
        if order.side(order.at(s, chosen)) >= 0:
            return chosen
    return np.int64(-1)


@leaf
def best_pair(s, index):
    """(best offer, best bid) of a symbol, 0 for none."""
    return book.best(s, 2 * index + SELL), book.best(s, 2 * index)


@inner
def order_to_delete(s, index, fair):
    """One that the market has run over, else a recent one, else one that stood for long."""
    offer, bid = best_pair(s, index)
    if offer and fair >= offer:
        return book.latest(s, 2 * index + SELL)
    if bid and fair <= bid:
        return book.latest(s, 2 * index)
    if chance(s, _RECENT_ODDS):
        chosen = recent_order(s, index)
        if chosen >= 0:
            return chosen
    return _any_order(s)
