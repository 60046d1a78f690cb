"""Operator commands into the gate: kill switches, limits, positions, the day's roll, cancels.

A command is an input like any other (`tickpath.wire.control`): it takes effect at its input number,
and a replay of the inputs gives it again.  A limit with an expiry goes back to what it was when
engine time reaches that; at most `REVERTS` can be waiting, what is beyond is counted and refused.
A limit is the gate's own number: money and prices in 1e-4, shares, counts.
"""

import numpy as np

from tickpath import emit, event, own_orders
from tickpath.counters import Counter
from tickpath.jit import cold, leaf
from tickpath.layout import (
    MAX_INTENTS,
    OWN_ORDERS,
    REVERTS,
    book,
    count,
    engine,
    gate,
    limit,
    own,
    position,
    revert,
    symbol_limit,
)
from tickpath.memory import constants
from tickpath.risk import Kill
from tickpath.wire import hot
from tickpath.wire.control import CONTROL, Limit

ZERO, ONE = np.uint64(0), np.uint64(1)
NEVER = np.uint64((1 << 64) - 1)


kill = hot.message(CONTROL["kill"])
set_limit = hot.message(CONTROL["limit"])
set_position = hot.message(CONTROL["position"])
day_roll = hot.message(CONTROL["day_roll"])
clock = hot.message(CONTROL["clock"])
cancel_all = hot.message(CONTROL["cancel_all"])
timestamp = clock.timestamp
kind_of = clock.message_type
LENGTHS = CONTROL.lengths

_COMMANDS, _INVALID = np.uint64(Counter.COMMANDS), np.uint64(Counter.COMMANDS_INVALID)
_REVERTED, _FULL = np.uint64(Counter.LIMITS_REVERTED), np.uint64(Counter.REVERTS_FULL)
_EVERYTHING, _STRATEGY, _BOOK = (np.uint64(ord(scope)) for scope in "GSB")
_HIGHEST = np.uint64(max(Kill))
_BLANK = np.uint64(int.from_bytes(b" " * 8, "big"))
_REVERTS = np.uint64(REVERTS)
_OWN_ORDERS = np.uint64(OWN_ORDERS)
_MOST = np.uint64(MAX_INTENTS)
_TOTALS = np.uint64(Limit.TOTAL_MAX_OPEN_ORDERS)
_MOST_U32, _MOST_I64 = np.uint64((1 << 32) - 1), np.uint64((1 << 62) - 1)
number = constants(Limit)


@leaf
def _invalid(eng):
    count(eng, _INVALID)
    return ZERO


# ---------------------------------------------------------------- kill switches


@leaf
def _kill(eng, m):
    scope, level = kill.scope(m), kill.level(m)
    if level > _HIGHEST:
        return _invalid(eng)
    g = gate.at(eng, ZERO)
    if scope == _EVERYTHING:
        gate.set_killed(g, level)
    elif scope == _STRATEGY:
        gate.set_strategy_killed(g, level)
    elif scope == _BOOK:
        return _for_symbol(eng, kill.symbol(m), ZERO, level)
    else:
        return _invalid(eng)
    return ONE


# ---------------------------------------------------------------- limits


@leaf
def _total(eng, which):
    g = gate.at(eng, ZERO)
    if which == number.TOTAL_MAX_OPEN_ORDERS:
        return gate.max_open_orders(g)
    if which == number.TOTAL_MAX_GROSS:
        return np.uint64(gate.max_gross(g))
    if which == number.TOTAL_MAX_NET:
        return np.uint64(gate.max_net(g))
    if which == number.TOTAL_MAX_DAILY_QUANTITY:
        return gate.max_daily_quantity(g)
    if which == number.TOTAL_MAX_DAILY_NOTIONAL:
        return gate.max_daily_notional(g)
    return np.uint64(gate.max_loss(g))


@leaf
def _set_total(eng, which, value):
    g = gate.at(eng, ZERO)
    if which == number.TOTAL_MAX_OPEN_ORDERS:
        gate.set_max_open_orders(g, min(value, _MOST_U32))
    elif which == number.TOTAL_MAX_GROSS:
        gate.set_max_gross(g, np.int64(value))
    elif which == number.TOTAL_MAX_NET:
        gate.set_max_net(g, np.int64(value))
    elif which == number.TOTAL_MAX_DAILY_QUANTITY:
        gate.set_max_daily_quantity(g, value)
    elif which == number.TOTAL_MAX_DAILY_NOTIONAL:
        gate.set_max_daily_notional(g, value)
    elif which == number.TOTAL_MAX_LOSS:
        gate.set_max_loss(g, np.int64(value))
    else:
        return _invalid(eng)
    return ONE


@leaf
def _read(lim, which):
    """One number of a `LIMIT` record; 0 for a kill switch."""
    if which == ZERO:
        return limit.killed(lim)
    if which == number.MAX_QUANTITY:
        return limit.max_quantity(lim)
    if which == number.MAX_NOTIONAL:
        return limit.max_notional(lim)
    if which == number.MAX_LONG:
        return np.uint64(limit.max_long(lim))
    if which == number.MAX_SHORT:
        return np.uint64(limit.max_short(lim))
    if which == number.MAX_OPEN_ORDERS:
        return limit.max_open_orders(lim)
    if which == number.MAX_DAILY_QUANTITY:
        return limit.max_daily_quantity(lim)
    if which == number.MAX_DAILY_NOTIONAL:
        return limit.max_daily_notional(lim)
    if which == number.MAX_LOSS:
        return np.uint64(limit.max_loss(lim))
    if which == number.ALLOWED:
        return limit.allowed(lim)
    return limit.collar_bp(lim) if which == number.COLLAR_BP else limit.collar_px(lim)


@leaf
def _write(lim, which, value):
    small = min(value, _MOST_U32)
    if which == ZERO:
        limit.set_killed(lim, value)
    elif which == number.MAX_QUANTITY:
        limit.set_max_quantity(lim, small)
    elif which == number.MAX_NOTIONAL:
        limit.set_max_notional(lim, value)
    elif which == number.MAX_LONG:
        limit.set_max_long(lim, np.int64(value))
    elif which == number.MAX_SHORT:
        limit.set_max_short(lim, np.int64(value))
    elif which == number.MAX_OPEN_ORDERS:
        limit.set_max_open_orders(lim, small)
    elif which == number.MAX_DAILY_QUANTITY:
        limit.set_max_daily_quantity(lim, value)
    elif which == number.MAX_DAILY_NOTIONAL:
        limit.set_max_daily_notional(lim, value)
    elif which == number.MAX_LOSS:
        limit.set_max_loss(lim, np.int64(value))
    elif which == number.ALLOWED:
        limit.set_allowed(lim, np.uint64(value != ZERO))
    else:
        limit.set_own_collar(lim, ONE)
        if which == number.COLLAR_BP:
            limit.set_collar_bp(lim, small)
        else:
            limit.set_collar_px(lim, small)


@leaf
def _for_symbol(eng, symbol, which, value):
    """Set a number of a symbol's limits, in its book and for when it gets one; of all, if blank."""
    found = ZERO
    for index in range(engine.symbol_limit_count(eng)):
        record = symbol_limit.at(eng, np.uint64(index))
        if symbol == _BLANK or symbol_limit.symbol(record) == symbol:
            _write(record, which, value)
            found = ONE
    for b in range(ONE, engine.books(eng)):
        record = book.at(eng, b)
        if book.venue(record) != ZERO and (symbol == _BLANK or book.symbol(record) == symbol):
            found = ONE
            if which == number.LOCATE:
                position.set_locate(position.at(eng, b), min(value, _MOST_U32))
            else:
                _write(limit.at(eng, b), which, value)
    return found if found != ZERO else _invalid(eng)


@leaf
def _present(eng, symbol, which):
    """What a limit is now; where it is set for all symbols, the default."""
    if which >= _TOTALS:
        return _total(eng, which)
    for b in range(ONE, engine.books(eng)):
        record = book.at(eng, b)
        if book.venue(record) != ZERO and book.symbol(record) == symbol:
            if which == number.LOCATE:
                return position.locate(position.at(eng, b))
            return _read(limit.at(eng, b), which)
    return _read(symbol_limit.at(eng, ZERO), which)


@leaf
def _change(eng, symbol, which, value):
    if which >= _TOTALS:
        return _set_total(eng, which, value)
    return _for_symbol(eng, symbol, which, value)


@leaf
def set_alarm(eng):
    """The next thing that engine time makes happen."""
    engine.set_alarm(eng, min(engine.timer_next(eng), engine.revert_next(eng)))


@leaf
def _remember(eng, symbol, which, value, expires):
    """Note what a limit goes back to; 0 where there is no room for it."""
    for n in range(_REVERTS):
        r = revert.at(eng, np.uint64(n))
        if revert.expires(r) == ZERO:
            revert.set_expires(r, expires)
            revert.set_value(r, value)
            revert.set_symbol(r, symbol)
            revert.set_limit(r, which)
            engine.set_revert_next(eng, min(engine.revert_next(eng), expires))
            set_alarm(eng)
            return ONE
    count(eng, _FULL)
    return ZERO


@leaf
def _limit(eng, m):
    which, value, expires = set_limit.limit(m), set_limit.value(m), set_limit.expires(m)
    symbol = set_limit.symbol(m)
    known = (ONE <= which <= number.LOCATE) or (_TOTALS <= which <= number.TOTAL_MAX_LOSS)
    if not known or value > _MOST_I64:
        return _invalid(eng)
    if expires != ZERO:
        if expires <= engine.engine_time(eng):
            return _invalid(eng)
        if _remember(eng, symbol, which, _present(eng, symbol, which), expires) == ZERO:
            return ZERO
    return _change(eng, symbol, which, value)


@cold
def revert_due(eng):
    """Let the limits go back whose time has come."""
    now, following = engine.engine_time(eng), NEVER
    for n in range(_REVERTS):
        r = revert.at(eng, np.uint64(n))
        expires = revert.expires(r)
        if expires == ZERO:
            continue
        if expires <= now:
            revert.set_expires(r, ZERO)
            _change(eng, revert.symbol(r), revert.limit(r), revert.value(r))
            count(eng, _REVERTED)
        else:
            following = min(following, expires)
    engine.set_revert_next(eng, following)
    set_alarm(eng)


# ---------------------------------------------------------------- positions and the day


@leaf
def _position(eng, m):
    symbol = set_position.symbol(m)
    for b in range(ONE, engine.books(eng)):
        record = book.at(eng, b)
        if book.venue(record) != ZERO and book.symbol(record) == symbol:
            own_orders.set_position(
                eng, b, np.int64(set_position.quantity(m)), np.int64(set_position.cash(m))
            )
            return ONE
    return _invalid(eng)


@leaf
def _roll(eng):
    for b in range(ONE, engine.books(eng)):
        if book.venue(book.at(eng, b)) != ZERO:
            own_orders.roll_day(eng, b)
    g = gate.at(eng, ZERO)
    gate.set_pnl(g, np.int64(0))
    gate.set_day_quantity(g, ZERO)
    gate.set_day_notional(g, ZERO)
    return ONE


@leaf
def _cancel(eng, symbol):
    """Ask for cancels of own open orders that were not asked for yet, as intents."""
    for n in range(_OWN_ORDERS):
        if engine.intents(eng) >= _MOST:
            break
        o = own.at(eng, np.uint64(n))
        if own_orders.is_open(o) and own.asked(o) & own_orders.CANCEL_ASKED == ZERO:
            if symbol == _BLANK or book.symbol(book.at(eng, own.book(o))) == symbol:
                emit.cancel_order(eng, np.int64(own.user_ref_num(o)), np.int64(0))
    return ONE


@cold
def apply(eng, m, length, right_length):
    """Apply one command; gives an event for the strategy, 0 where it had no effect."""
    count(eng, _COMMANDS)
    if right_length == ZERO or length != right_length:
        return _invalid(eng)
    kind = kind_of(m)
    done = ONE
    if kind == kill.TYPE:
        done = _kill(eng, m)
    elif kind == set_limit.TYPE:
        done = _limit(eng, m)
    elif kind == set_position.TYPE:
        done = _position(eng, m)
    elif kind == day_roll.TYPE:
        done = _roll(eng)
    elif kind == cancel_all.TYPE:
        done = _cancel(eng, cancel_all.symbol(m))
    return event.HOT_COMMAND if done != ZERO else ZERO
