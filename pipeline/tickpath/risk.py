"""The pre-trade risk gate: every intent is accepted, or rejected with one of a closed set of codes.

The checks run in the order of `Reject` and the first that fails decides.  Each takes constant time
and nothing but the engine's state, so a replay gives the same verdicts.  Cancels of own orders
always pass.  Limits are per symbol (`layout.LIMIT`), filled from the defaults and the per-symbol
tables of the configuration.

    price collar     a buy may not exceed the reference price by more than the collar, a sell not
                     undercut it; the reference is the best price of the other side, or that of the
                     own side where the other is empty; without either the order is rejected
    position         the position after a full fill must be within the limit, or smaller than before
    order rate       a token bucket in engine time (GCRA: one arrival time instead of tokens)

Simple fill assumption, for replay: what an accepted order could take at the touch at once is filled
at the touch's price, up to the quantity shown there; the rest is assumed never to fill.
"""

from enum import IntEnum

import numpy as np

from tickpath.counters import Counter
from tickpath.jit import leaf
from tickpath.layout import book, count, engine, gate, level, limit, own, position, side

ZERO, ONE = np.uint64(0), np.uint64(1)


class Reject(IntEnum):
    """Why an intent was not sent; ACCEPTED is none."""

    ACCEPTED = 0
    MALFORMED = 1  # no shares, a side, price or book that cannot be
    UNKNOWN_ORDER = 2  # cancel or replace of an order that is closed or was never sent
    KILL_SWITCH = 3
    SYMBOL_NOT_ALLOWED = 4
    TRADING_STATE = 5  # halted, paused, quotation only, or not known
    STALE_BOOK = 6
    QUANTITY = 7
    NOTIONAL = 8
    PRICE_COLLAR = 9
    POSITION = 10
    ORDER_RATE = 11


_MALFORMED, _KILL = np.uint64(Reject.MALFORMED), np.uint64(Reject.KILL_SWITCH)
_NOT_ALLOWED, _STATE = np.uint64(Reject.SYMBOL_NOT_ALLOWED), np.uint64(Reject.TRADING_STATE)
_STALE, _QUANTITY = np.uint64(Reject.STALE_BOOK), np.uint64(Reject.QUANTITY)
_NOTIONAL, _COLLAR = np.uint64(Reject.NOTIONAL), np.uint64(Reject.PRICE_COLLAR)
_POSITION, _RATE = np.uint64(Reject.POSITION), np.uint64(Reject.ORDER_RATE)

MAX_PRICE = 1_999_999_900
"""Highest price that OUCH takes, in 1e-4: $199,999.99."""
MAX_SHARES = 999_999
"""Most shares that one OUCH order takes."""
_MAX_PRICE, _MAX_SHARES = np.uint64(MAX_PRICE), np.uint64(MAX_SHARES)
_BUY = np.uint64(ord("B"))
_TRADING = np.uint64(ord("T"))
_BASIS = np.uint64(10_000)
_QUANTITY_MASK = np.uint64((1 << 44) - 1)
_FILLS = np.uint64(Counter.ASSUMED_FILLS)


@leaf
def is_well_formed(eng, b, quantity, price):
    return (
        ZERO < quantity <= _MAX_SHARES
        and ZERO < price <= _MAX_PRICE
        and ZERO < b < engine.books(eng)
    )


@leaf
def may_trade(eng, b):
    """True while orders may be sent for a book."""
    record, g = book.at(eng, b), gate.at(eng, ZERO)
    state = book.trading_state(record)
    known = state == _TRADING or (state == ZERO and gate.unknown_state_trades(g) != ZERO)
    return known and book.operational_halt(record) == ZERO


@leaf
def _within_collar(eng, b, is_buy, price):
    bids, offers = side.at(eng, b + b), side.at(eng, b + b + ONE)
    near, other = (bids, offers) if is_buy else (offers, bids)
    if side.best(other) == ZERO:
        other = near
        if side.best(near) == ZERO:
            return False
    reference = side.best_px(other)
    lim = limit.at(eng, b)
    collar = max(reference * limit.collar_bp(lim) // _BASIS, limit.collar_px(lim))
    return price <= reference + collar if is_buy else price + collar >= reference


@leaf
def _within_position(eng, b, is_buy, quantity):
    held = position.quantity(position.at(eng, b))
    after = held + np.int64(quantity) if is_buy else held - np.int64(quantity)
    return abs(after) <= limit.max_position(limit.at(eng, b)) or abs(after) < abs(held)


@leaf
def _takes_rate(eng):
    """Take one order from the bucket, if it has one."""
    g = gate.at(eng, ZERO)
    now = engine.engine_time(eng)
    arrival = max(gate.rate_arrival(g), now)
    if arrival - now > gate.rate_burst(g):
        return False
    gate.set_rate_arrival(g, arrival + gate.rate_interval(g))
    return True


@leaf
def check(eng, b, side_code, quantity, price):
    """Verdict on a new order, or on what an order would be after a replace: a `Reject` code."""
    if side_code == ZERO or not is_well_formed(eng, b, quantity, price):
        return _MALFORMED
    g, lim = gate.at(eng, ZERO), limit.at(eng, b)
    is_buy = side_code == _BUY
    if gate.killed(g) != ZERO or limit.killed(lim) != ZERO:
        return _KILL
    if limit.allowed(lim) == ZERO:
        return _NOT_ALLOWED
    if not may_trade(eng, b):
        return _STATE
    if book.stale(book.at(eng, b)) != ZERO:
        return _STALE
    if quantity > limit.max_quantity(lim):
        return _QUANTITY
    if quantity * price > limit.max_notional(lim):
        return _NOTIONAL
    if not _within_collar(eng, b, is_buy, price):
        return _COLLAR
    if not _within_position(eng, b, is_buy, quantity):
        return _POSITION
    if not _takes_rate(eng):
        return _RATE
    return ZERO


@leaf
def assume_fill(eng, o):
    """Fill what the own order at address ``o`` could take at the touch: see the module's text."""
    b = own.book(o)
    is_buy = own.side(o) == _BUY
    other = side.at(eng, b + b + np.uint64(is_buy))
    if side.best(other) == ZERO:
        return
    touch = side.best_px(other)
    if (touch > own.price(o)) if is_buy else (touch < own.price(o)):
        return
    shown = level.total(level.at(eng, side.best(other))) & _QUANTITY_MASK
    filled = min(own.leaves(o), shown)
    own.set_leaves(o, own.leaves(o) - filled)
    p = position.at(eng, b)
    shares, paid = np.int64(filled), np.int64(filled * touch)
    position.set_quantity(p, position.quantity(p) + (shares if is_buy else -shares))
    position.set_cash(p, position.cash(p) + (-paid if is_buy else paid))
    count(eng, _FILLS)
