"""Operator commands into the gate: kill switches, limits, positions, the day's roll, cancels.

A command is an input like any other (`tickpath.wire.control`): it takes effect at its input number,
and a replay of the inputs gives it again.  A limit is the gate's own number: money and prices in
1e-4, shares, counts.

A limit with an expiry goes back to what it was when engine time reaches that; at most `REVERTS` can
be waiting, what is beyond is counted and refused.  The last word counts: of two changes of a limit
that expire, the second says when it goes back to what it was before both, and one that does not
expire stays.  What was set for all symbols goes back for those that still have it; it can expire
only where they all had one value, and while none of them has a change of its own that expires.
"""

import numpy as np

from tickpath import emit, event, own_orders, risk
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
    position_of,
    recent,
    revert,
    symbol_limit,
)
from tickpath.memory import constants
from tickpath.risk import Collar, Kill
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
kind_of = hot.peek(CONTROL["clock"], "message_type")
LENGTHS = CONTROL.lengths

_COMMANDS, _INVALID = np.uint64(Counter.COMMANDS), np.uint64(Counter.COMMANDS_INVALID)
_REVERTED, _FULL = np.uint64(Counter.LIMITS_REVERTED), np.uint64(Counter.REVERTS_FULL)
_EVERYTHING, _STRATEGY, _BOOK = (np.uint64(ord(scope)) for scope in "GSB")
_HIGHEST = np.uint64(max(Kill))
_BLANK = np.uint64(int.from_bytes(b" " * 8, "big"))
_REVERTS = np.uint64(REVERTS)
_OWN_ORDERS = np.uint64(OWN_ORDERS)
_MOST_INTENTS = np.uint64(MAX_INTENTS)
_LOCATE, _TOTALS = np.uint64(Limit.LOCATE), np.uint64(Limit.TOTAL_MAX_OPEN_ORDERS)
_MOST_U32, _MOST = np.uint64((1 << 32) - 1), np.uint64((1 << 62) - 1)
_KILLED = ZERO
"""Beside the numbers of `Limit`: the level of a symbol's kill switch."""
_OWN_COLLAR = np.uint64(Collar.OWN)
_KEEP_COLLAR = np.uint64(max(Collar) + 1)
_COLLAR_SHIFT, _NUMBER_MASK = np.uint64(16), np.uint64(0xFFFF)
"""A `REVERT` record's ``limit``: the number of the limit, and above it whose collar a symbol's
orders have once a collar has gone back."""
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
    elif scope == _BOOK and kill.symbol(m) != _BLANK:
        return _for_symbol(eng, kill.symbol(m), _KILLED, level)
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
def _is_collar(which):
    return (which == number.COLLAR_BP) | (which == number.COLLAR_PX)


@leaf
def _read(lim, which):
    """One number of a `LIMIT` record."""
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
    """Set one number of a `LIMIT` record; a collar that is set is the symbol's own."""
    small = min(value, _MOST_U32)
    if which == _KILLED:
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
    elif which == number.COLLAR_BP:
        limit.set_own_collar(lim, _OWN_COLLAR)
        limit.set_collar_bp(lim, small)
    elif which == number.COLLAR_PX:
        limit.set_own_collar(lim, _OWN_COLLAR)
        limit.set_collar_px(lim, small)


@leaf
def _means_table(eng, index, symbol):
    """Whether a command for ``symbol`` means a record of the table of symbols' limits."""
    # The first one is of no symbol: the defaults, which only a blank means.
    named = index != ZERO and symbol_limit.symbol(symbol_limit.at(eng, index)) == symbol
    return symbol == _BLANK or named


@leaf
def _means_book(eng, b, symbol):
    """Whether a command for ``symbol`` means a book."""
    record = book.at(eng, b)
    return book.venue(record) != ZERO and (symbol == _BLANK or book.symbol(record) == symbol)


@leaf
def _for_symbol(eng, symbol, which, value):
    """Set a number of a symbol's limits, in its book and for when it gets one; of all, if blank."""
    found = ZERO
    for index in range(engine.symbol_limit_count(eng)):
        if which != _LOCATE and _means_table(eng, np.uint64(index), symbol):
            _write(symbol_limit.at(eng, np.uint64(index)), which, value)
            found = ONE
    for b in range(ONE, engine.books(eng)):
        if _means_book(eng, b, symbol):
            found = ONE
            if which == _LOCATE:
                position.set_locate(position_of(eng, b), min(value, _MOST_U32))
            else:
                _write(limit.at(eng, b), which, value)
    return found if found != ZERO else _invalid(eng)


@leaf
def _change(eng, symbol, which, value):
    if which >= _TOTALS:
        return _set_total(eng, which, value)
    return _for_symbol(eng, symbol, which, value)


# ---------------------------------------------------------------- limits that go back


@leaf
def _present(eng, symbol, which):
    """(whether all that are meant have one value, the value, whose collar they have)."""
    found, same, value, collar = False, True, ZERO, ZERO
    for index in range(engine.symbol_limit_count(eng)):
        if which != _LOCATE and _means_table(eng, np.uint64(index), symbol):
            lim = symbol_limit.at(eng, np.uint64(index))
            if found:
                same &= (_read(lim, which) == value) & (limit.own_collar(lim) == collar)
            value, collar, found = _read(lim, which), limit.own_collar(lim), True
    for b in range(ONE, engine.books(eng)):
        if _means_book(eng, b, symbol):
            lim, here = limit.at(eng, b), position.locate(position_of(eng, b))
            if which != _LOCATE:
                here = _read(lim, which)
            if found:
                same &= (here == value) & (limit.own_collar(lim) == collar)
            value, collar, found = here, limit.own_collar(lim), True
    return found & same, value, collar


@leaf
def set_alarm(eng):
    """The next thing that engine time makes happen."""
    engine.set_alarm(eng, min(engine.timer_next(eng), engine.revert_next(eng)))


@leaf
def _set_next_revert(eng):
    following = NEVER
    for n in range(_REVERTS):
        expires = revert.expires(revert.at(eng, np.uint64(n)))
        following = min(following, expires) if expires != ZERO else following
    engine.set_revert_next(eng, following)
    set_alarm(eng)


@leaf
def _is_of(r, which):
    """Whether a record is of a limit and waits to go back."""
    return (revert.expires(r) != ZERO) & (revert.limit(r) & _NUMBER_MASK == which)


@leaf
def _waiting(eng, symbol, which):
    """The record of a limit that waits to go back; 0 where it does not."""
    for n in range(_REVERTS):
        r = revert.at(eng, np.uint64(n))
        if _is_of(r, which) and revert.symbol(r) == symbol:
            return r
    return ZERO


@leaf
def _is_barred(eng, symbol, which):
    """Whether the same limit waits to go back for all symbols and should for one, or likewise."""
    barred = False
    for n in range(_REVERTS):
        r = revert.at(eng, np.uint64(n))
        same = _is_of(r, which)
        if _is_collar(which):
            same = _is_of(r, number.COLLAR_BP) | _is_of(r, number.COLLAR_PX)
        barred |= same & ((revert.symbol(r) == _BLANK) != (symbol == _BLANK))
    return barred


@leaf
def _free_revert(eng):
    for n in range(_REVERTS):
        r = revert.at(eng, np.uint64(n))
        if revert.expires(r) == ZERO:
            return r
    return ZERO


@leaf
def _remember(eng, symbol, which, expires):
    """Note when a limit goes back, and to what; 0 where that cannot be."""
    r = _waiting(eng, symbol, which)
    if r == ZERO:
        same, value, collar = True, ZERO, ZERO
        if which >= _TOTALS:
            value = _total(eng, which)
        else:
            same, value, collar = _present(eng, symbol, which)
        # Books that are opened later have locates of their own.
        if not same or _is_barred(eng, symbol, which) or (symbol == _BLANK and which == _LOCATE):
            return _invalid(eng)
        r = _free_revert(eng)
        if r == ZERO:
            count(eng, _FULL)
            return ZERO
        changes_collar = _is_collar(which) and collar != _OWN_COLLAR
        revert.set_value(r, value)
        revert.set_symbol(r, symbol)
        revert.set_limit(r, which | (collar if changes_collar else _KEEP_COLLAR) << _COLLAR_SHIFT)
    revert.set_expires(r, expires)
    _set_next_revert(eng)
    return ONE


@leaf
def _keep_collar(r):
    """What goes back by this record does not change whose collar it is."""
    revert.set_limit(r, revert.limit(r) & _NUMBER_MASK | _KEEP_COLLAR << _COLLAR_SHIFT)


@leaf
def _forget(eng, symbol, which):
    """A limit was set for good: what it would have gone back to is of no interest any more."""
    for n in range(_REVERTS):
        r = revert.at(eng, np.uint64(n))
        if symbol != _BLANK and symbol != revert.symbol(r):
            continue
        if _is_of(r, which):
            revert.set_expires(r, ZERO)
        elif _is_collar(which) and (_is_of(r, number.COLLAR_BP) or _is_of(r, number.COLLAR_PX)):
            _keep_collar(r)
    _set_next_revert(eng)


@leaf
def _limit(eng, m):
    which, value, expires = set_limit.limit(m), set_limit.value(m), set_limit.expires(m)
    symbol = set_limit.symbol(m)
    known = (ONE <= which <= _LOCATE) or (_TOTALS <= which <= number.TOTAL_MAX_LOSS)
    if not known or value > _MOST or (which >= _TOTALS and symbol != _BLANK):
        return _invalid(eng)
    if expires != ZERO:
        if expires <= engine.engine_time(eng):
            return _invalid(eng)
        if _remember(eng, symbol, which, expires) == ZERO:
            return ZERO
    else:
        _forget(eng, symbol, which)
    return _change(eng, symbol, which, value)


@leaf
def _collar_of(eng, r):
    """Whose collar it is after a record; left to the collar's other number, if that waits too."""
    which, collar = revert.limit(r) & _NUMBER_MASK, revert.limit(r) >> _COLLAR_SHIFT
    if collar == _KEEP_COLLAR:
        return collar
    other = number.COLLAR_PX if which == number.COLLAR_BP else number.COLLAR_BP
    waits = _waiting(eng, revert.symbol(r), other)
    if waits == ZERO:
        return collar
    revert.set_limit(waits, other | collar << _COLLAR_SHIFT)
    return _KEEP_COLLAR


@leaf
def _restore(lim, is_all, which, value, was, bp, px, collar):
    """Let a number of a `LIMIT` record go back; of all of them, those that still are as ``was``."""
    has_collar = (limit.collar_bp(lim) == bp) & (limit.collar_px(lim) == px)
    if not is_all or _read(lim, which) == was:
        _write(lim, which, value)
    if collar != _KEEP_COLLAR and (has_collar or not is_all):
        limit.set_own_collar(lim, collar)


@leaf
def _go_back(eng, r):
    symbol, which, value = revert.symbol(r), revert.limit(r) & _NUMBER_MASK, revert.value(r)
    revert.set_expires(r, ZERO)
    count(eng, _REVERTED)
    if which >= _LOCATE:
        _change(eng, symbol, which, value)
        return
    is_all, collar, standard = symbol == _BLANK, _collar_of(eng, r), symbol_limit.at(eng, ZERO)
    was, bp, px = _read(standard, which), limit.collar_bp(standard), limit.collar_px(standard)
    for index in range(engine.symbol_limit_count(eng)):
        if _means_table(eng, np.uint64(index), symbol):
            lim = symbol_limit.at(eng, np.uint64(index))
            _restore(lim, is_all, which, value, was, bp, px, collar)
    for b in range(ONE, engine.books(eng)):
        if _means_book(eng, b, symbol):
            _restore(limit.at(eng, b), is_all, which, value, was, bp, px, collar)


@cold
def revert_due(eng):
    """Let the limits go back whose time has come."""
    for n in range(_REVERTS):
        r = revert.at(eng, np.uint64(n))
        if revert.expires(r) != ZERO and revert.expires(r) <= engine.engine_time(eng):
            _go_back(eng, r)
    _set_next_revert(eng)


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
def _begin_time(eng):
    """Engine time begins anew with the day, and with it all that was measured in the old one's."""
    engine.set_engine_time(eng, ZERO)
    engine.set_timer_next(eng, ZERO if engine.timer_interval(eng) != ZERO else NEVER)
    for n in range(_REVERTS):
        r = revert.at(eng, np.uint64(n))
        if revert.expires(r) != ZERO:
            _go_back(eng, r)
    _set_next_revert(eng)
    for n in range(engine.recent_count(eng)):
        like = recent.at(eng, np.uint64(n))
        recent.set_key(like, ZERO)
        recent.set_ts(like, ZERO)


@leaf
def _roll(eng):
    g = gate.at(eng, ZERO)
    # Where several venues have a symbol, the first one's mark is the last to be written.
    for n in range(ONE, engine.books(eng)):
        b = engine.books(eng) - n
        record = book.at(eng, b)
        if book.venue(record) != ZERO:
            book.set_last_ts(record, ZERO)
            risk.mark_again(eng, b)
    for index in range(ONE, engine.positions(eng)):
        own_orders.roll_day(position.at(eng, index))
    gate.set_pnl(g, np.int64(0))
    gate.set_day_quantity(g, ZERO)
    gate.set_day_notional(g, ZERO)
    gate.set_rate_arrival(g, ZERO)
    _begin_time(eng)
    return ONE


# ---------------------------------------------------------------- cancels


@leaf
def _cancel(eng, symbol):
    """Ask for cancels of own open orders that were not asked for yet, as intents."""
    for n in range(_OWN_ORDERS):
        if engine.intents(eng) >= _MOST_INTENTS:
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
