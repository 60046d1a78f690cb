"""Our own orders: what was sent, what the exchange said of it, and what that does to positions.

An order goes through these states; what has been asked for and not answered yet is kept beside it
(`asked`), because it can still be executed then.

    PENDING           sent, not answered
    LIVE              accepted, nothing executed
    PARTIALLY_FILLED  accepted, something executed, the rest open
    FILLED            everything executed
    CANCELLED         closed with something not executed
    REJECTED          the exchange refused it, or will not answer: the order it was to replace
                      had ended before
    REPLACED          another order took its place, under a user_ref_num of its own
    BROKEN            closed, and one of its executions was undone

Answers come from an exchange (`tickpath.responses`) or a fill model (`tickpath.fills`), through the
same functions.  Each changes positions, open quantities and the gate's totals in the same step.
What does not fit is counted and has a stated outcome: an execution is real whatever state the order
is in (after a cancel, beyond what is left) and changes the position; one that came before (same
match number and order) or of an order that is not known changes nothing.

Quantities are those of a chain of replacements, as in OUCH: a replacement begins with what the
orders before it have executed, and `quantity` is `executed` and `leaves` together (until a trade is
broken or corrected, or too much is executed, which change `executed` alone).  While a replacement
is not answered, both orders are counted as open.

Orders are kept in a table by user_ref_num, in the place of the one `OWN_ORDERS` numbers before: a
place whose order is still open is not taken (`Reject.OWN_ORDERS_FULL`).  Executions are remembered
in a table by a hash, where a later one may take an earlier one's place: a repetition or a break
after that is not recognised as such; a break is counted as unknown then.
"""

from enum import IntEnum

import numpy as np

from tickpath import risk
from tickpath.counters import Counter
from tickpath.jit import cold, entry, leaf
from tickpath.layout import (
    EXECUTION_BITS,
    NAMED_BITS,
    OWN_EVENTS,
    OWN_ORDERS,
    count,
    engine,
    execution,
    gate,
    named,
    own,
    own_books,
    own_event,
    position,
    position_index,
    position_of,
)
from tickpath.memory import constants
from tickpath.risk import BUY

ZERO, ONE = np.uint64(0), np.uint64(1)


class State(IntEnum):
    """Where an order is in its life; FREE is a place that no order has had."""

    FREE = 0
    PENDING = 1
    LIVE = 2
    PARTIALLY_FILLED = 3
    FILLED = 4
    CANCELLED = 5
    REJECTED = 6
    REPLACED = 7
    BROKEN = 8


class Happened(IntEnum):
    """What a strategy is told of its orders."""

    ACCEPTED = 1
    EXECUTED = 2
    CANCELLED = 3  # quantity: shares taken off; closed when nothing is left
    REJECTED = 4
    REPLACED = 5  # user_ref_num: of the new order
    BROKEN = 6
    CANCEL_REJECTED = 7
    MODIFIED = 8


CANCEL_ASKED, REPLACE_ASKED, MODIFY_ASKED = (np.uint64(bit) for bit in (1, 2, 4))
state = constants(State)
happened = constants(Happened)
_OWN_MASK = np.uint64(OWN_ORDERS - 1)
_EVENT_MASK = np.uint64(OWN_EVENTS - 1)
_EVENTS = np.uint64(OWN_EVENTS)
_OWN_ORDERS = np.uint64(OWN_ORDERS)
_NAMED_SHIFT = np.uint64(64 - NAMED_BITS)
_EXECUTION_SHIFT = np.uint64(64 - EXECUTION_BITS)
_MIX = np.uint64(0x9E3779B97F4A7C15)
_NOTHING = np.int64(0)
_WORD, _WORD_MASK = np.uint64(6), np.uint64(63)
_MOST_U32 = np.uint64(0xFFFFFFFF)

_UNKNOWN = np.uint64(Counter.RESPONSES_UNKNOWN_ORDER)
_ORPHANED = np.uint64(Counter.REPLACEMENTS_ORPHANED)
_OUT_OF_STATE = np.uint64(Counter.RESPONSES_OUT_OF_STATE)
_EXECUTIONS = np.uint64(Counter.EXECUTIONS)
_REPEATED = np.uint64(Counter.EXECUTIONS_REPEATED)
_AFTER_CLOSE = np.uint64(Counter.EXECUTIONS_AFTER_CLOSE)
_OVER = np.uint64(Counter.EXECUTIONS_OVER_LEAVES)
_BROKEN_EXECUTIONS = np.uint64(Counter.EXECUTIONS_BROKEN)
_BROKEN_UNKNOWN = np.uint64(Counter.EXECUTIONS_BROKEN_UNKNOWN)
_EVENTS_DROPPED = np.uint64(Counter.OWN_EVENTS_DROPPED)


@leaf
def at_place(eng, user_ref_num):
    """Address of the table's place for a user_ref_num, whichever order is there."""
    return own.at(eng, user_ref_num & _OWN_MASK)


@leaf
def is_known(o, user_ref_num):
    return user_ref_num != ZERO and own.user_ref_num(o) == user_ref_num


@leaf
def is_open(o):
    """True while the order may still be executed."""
    return (own.state(o) != state.FREE) & (own.state(o) <= state.PARTIALLY_FILLED)


@leaf
def tell(eng, kind, o, quantity, price, match_number):
    """Remember what happened for the strategy."""
    end = engine.own_event_end(eng)
    if end - engine.own_event_first(eng) >= _EVENTS:
        count(eng, _EVENTS_DROPPED)
        return
    e = own_event.at(eng, end & _EVENT_MASK)
    own_event.set_kind(e, kind)
    own_event.set_user_ref_num(e, own.user_ref_num(o))
    own_event.set_book(e, own.book(o))
    own_event.set_quantity(e, quantity)
    own_event.set_price(e, price)
    own_event.set_match_number(e, match_number)
    engine.set_own_event_end(eng, end + ONE)


# ---------------------------------------------------------------- by order_id


@leaf
def _chain_of(eng, order_id):
    return named.at(eng, (order_id * _MIX) >> _NAMED_SHIFT)


@cold
def by_order_id(eng, order_id):
    """The user_ref_num of the own order with an order_id; 0 where there is none."""
    at, seen = named.first(_chain_of(eng, order_id)), ZERO
    while at != ZERO and seen < _OWN_ORDERS:
        o = own.at(eng, at - ONE)
        if own.order_id(o) == order_id:
            return own.user_ref_num(o)
        at = own.next_named(o)
        seen += ONE
    return ZERO


@leaf
def _forget_name(eng, o, place):
    """Take the order that had a place before out of its chain."""
    chain = _chain_of(eng, own.order_id(o))
    at, seen = named.first(chain), ZERO
    if at == place:
        named.set_first(chain, own.next_named(o))
        return
    while at != ZERO and seen < _OWN_ORDERS:
        before = own.at(eng, at - ONE)
        at = own.next_named(before)
        if at == place:
            own.set_next_named(before, own.next_named(o))
            return
        seen += ONE


@leaf
def _set_name(eng, o, user_ref_num, order_id):
    at = (user_ref_num & _OWN_MASK) + ONE
    if own.user_ref_num(o) != ZERO:
        _forget_name(eng, o, at)
    chain = _chain_of(eng, order_id)
    own.set_order_id(o, order_id)
    own.set_next_named(o, named.first(chain))
    named.set_first(chain, at)


@entry
def make_chains(eng):
    """Make the chains anew from the orders that are in the table (after a restore)."""
    for n in range(engine.named_count(eng)):
        named.set_first(named.at(eng, np.uint64(n)), ZERO)
    for n in range(engine.own_books_count(eng)):
        own_books.set_value(own_books.at(eng, np.uint64(n)), ZERO)
    for n in range(_OWN_ORDERS):
        o = own.at(eng, np.uint64(n))
        if own.user_ref_num(o) != ZERO:
            chain = _chain_of(eng, own.order_id(o))
            own.set_next_named(o, named.first(chain))
            named.set_first(chain, np.uint64(n) + ONE)
            if is_open(o):
                _set_has_open(eng, own.book(o), True)


# ---------------------------------------------------------------- open quantities


@leaf
def _open(eng, o, shares):
    """Count shares (may be negative) of an order as open, at its price."""
    g, p = gate.at(eng, ZERO), position.at(eng, own.position(o))
    money = shares * np.int64(own.price(o))
    if own.side(o) == BUY:
        position.set_open_buy(p, position.open_buy(p) + np.uint64(shares))
        position.set_open_buy_notional(p, position.open_buy_notional(p) + np.uint64(money))
        gate.set_open_buy_notional(g, gate.open_buy_notional(g) + money)
    else:
        position.set_open_sell(p, position.open_sell(p) + np.uint64(shares))
        position.set_open_sell_notional(p, position.open_sell_notional(p) + np.uint64(money))
        gate.set_open_sell_notional(g, gate.open_sell_notional(g) + money)


@leaf
def has_open(eng, b):
    """Whether a book may have open orders of ours: one load of what is always in the cache."""
    return (own_books.value(own_books.at(eng, b >> _WORD)) >> (b & _WORD_MASK)) & ONE


@leaf
def _first(p, is_buy):
    return position.first_buy(p) if is_buy else position.first_sell(p)


@cold
def is_in_use(eng, b):
    """Whether a book has an open order of ours."""
    p = position_of(eng, b)
    for is_buy in (True, False):
        place = _first(p, is_buy)
        while place != ZERO:
            o = own.at(eng, place - ONE)
            if own.book(o) == b:
                return True
            place = own.next(o)
    return False


@leaf
def _set_has_open(eng, b, is_it):
    word, bit = own_books.at(eng, b >> _WORD), ONE << (b & _WORD_MASK)
    before = own_books.value(word)
    own_books.set_value(word, before | bit if is_it else before & ~bit)


@leaf
def _count_open(eng, p, up):
    g = gate.at(eng, ZERO)
    gate.set_open_orders(g, gate.open_orders(g) + up)
    position.set_open_orders(p, position.open_orders(p) + up)


@leaf
def _set_first(p, is_buy, place):
    if is_buy:
        position.set_first_buy(p, place)
    else:
        position.set_first_sell(p, place)


@leaf
def _link(eng, o):
    """Put an order in front of its book's open ones of its side; note the best own price."""
    p = position.at(eng, own.position(o))
    is_buy = own.side(o) == BUY
    place = (own.user_ref_num(o) & _OWN_MASK) + ONE
    following = _first(p, is_buy)
    own.set_next(o, following)
    own.set_previous(o, ZERO)
    if following != ZERO:
        own.set_previous(own.at(eng, following - ONE), place)
    _set_first(p, is_buy, place)
    _count_open(eng, p, ONE)
    _set_has_open(eng, own.book(o), True)
    price = own.price(o)
    if is_buy:
        position.set_best_buy(p, max(position.best_buy(p), price))
    else:
        best = position.best_sell(p)
        position.set_best_sell(p, price if best == ZERO or price < best else best)


@leaf
def _unlink(eng, o):
    p = position.at(eng, own.position(o))
    is_buy = own.side(o) == BUY
    following, previous = own.next(o), own.previous(o)
    if previous != ZERO:
        own.set_next(own.at(eng, previous - ONE), following)
    else:
        _set_first(p, is_buy, following)
    if following != ZERO:
        own.set_previous(own.at(eng, following - ONE), previous)
    _count_open(eng, p, ZERO - ONE)
    # Another venue's book of the symbol may keep its bit: there is nothing to be found then.
    if position.open_orders(p) == ZERO:
        _set_has_open(eng, own.book(o), False)
    if own.price(o) == (position.best_buy(p) if is_buy else position.best_sell(p)):
        risk.find_own_best(eng, p, is_buy)


@leaf
def _shut(eng, o, to):
    """Nothing of an order can be executed any more."""
    if is_open(o):
        _open(eng, o, _NOTHING - np.int64(own.leaves(o)))
        _unlink(eng, o)
    own.set_leaves(o, ZERO)
    own.set_state(o, to)
    own.set_asked(o, ZERO)


@cold
def _orphan(eng, user_ref_num):
    """What was to replace a closed order, and what was to replace that, will not be answered."""
    at, seen = user_ref_num, ZERO
    while at != ZERO and seen < _OWN_ORDERS:
        o = at_place(eng, at)
        if not is_known(o, at) or own.state(o) != state.PENDING:
            return
        at = own.replaced_by(o)
        seen += ONE
        count(eng, _ORPHANED)
        _shut(eng, o, state.REJECTED)
        tell(eng, happened.REJECTED, o, own.quantity(o), own.price(o), ZERO)


@leaf
def _close(eng, o, to):
    """An order has ended otherwise than by being replaced: the exchange ignores replacements."""
    successor = own.replaced_by(o) if own.asked(o) & REPLACE_ASKED != ZERO else ZERO
    _shut(eng, o, to)
    if successor != ZERO:
        _orphan(eng, successor)


@leaf
def _set_leaves(eng, o, leaves):
    """Set what is left of an open order."""
    _open(eng, o, np.int64(leaves) - np.int64(own.leaves(o)))
    own.set_leaves(o, leaves)


@leaf
def _set_price(eng, o, price):
    """Give an open order another price, of 32 bits and not 0, which says that there is none."""
    leaves = own.leaves(o)
    _set_leaves(eng, o, ZERO)
    _unlink(eng, o)
    own.set_price(o, min(max(price, ONE), _MOST_U32))
    _link(eng, o)
    _set_leaves(eng, o, leaves)


# ---------------------------------------------------------------- positions


@leaf
def _forget_position(eng, p):
    """Take a position out of the gate's totals."""
    g, held, worth = gate.at(eng, ZERO), position.quantity(p), np.int64(position.mark(p))
    gate.set_net(g, gate.net(g) - held * worth)
    gate.set_gross(g, gate.gross(g) - abs(held) * worth)
    gate.set_pnl(g, gate.pnl(g) - risk.pnl(p))


@leaf
def _count_position(eng, p):
    g, held, worth = gate.at(eng, ZERO), position.quantity(p), np.int64(position.mark(p))
    gate.set_net(g, gate.net(g) + held * worth)
    gate.set_gross(g, gate.gross(g) + abs(held) * worth)
    gate.set_pnl(g, gate.pnl(g) + risk.pnl(p))


@leaf
def start_position(eng, b, quantity, prior_close, locate):
    """What a book begins the day with."""
    p = position_of(eng, b)
    position.set_prior_close(p, prior_close)
    position.set_locate(p, locate)
    position.set_mark(p, prior_close)
    position.set_quantity(p, quantity)
    position.set_start_value(p, quantity * np.int64(prior_close))
    _count_position(eng, p)


@leaf
def set_position(eng, b, quantity, cash):
    """A position and its cash as somebody knows them who knows better."""
    p = position_of(eng, b)
    _forget_position(eng, p)
    position.set_quantity(p, quantity)
    position.set_cash(p, cash)
    _count_position(eng, p)


@leaf
def roll_day(p):
    """A new day for a position: what it is worth at its mark is what the day begins with."""
    position.set_prior_close(p, min(position.mark(p), _MOST_U32))
    position.set_start_value(p, position.quantity(p) * np.int64(position.mark(p)))
    position.set_cash(p, _NOTHING)
    position.set_day_quantity(p, ZERO)
    position.set_day_notional(p, ZERO)
    position.set_rate_arrival(p, ZERO)


# ---------------------------------------------------------------- what we send


@leaf
def place(eng, user_ref_num, order_id, b, side_code, quantity, done, price, replaces):
    """A new order was sent; gives its address.

    ``quantity`` is that of the whole chain of replacements, ``done`` what it has executed so far.
    """
    o = at_place(eng, user_ref_num)
    _set_name(eng, o, user_ref_num, order_id)
    own.set_price(o, price)
    own.set_market_ref(o, ZERO)
    own.set_ahead(o, ZERO)
    # Nasdaq's references are ages themselves.
    by_ref = b < engine.locates(eng)
    own.set_newest_ref(o, engine.newest_ref(eng) if by_ref else engine.sparse_age(eng))
    own.set_ts_sent(o, engine.engine_time(eng))
    own.set_user_ref_num(o, user_ref_num)
    own.set_book(o, b)
    own.set_position(o, position_index(eng, b))
    own.set_quantity(o, quantity)
    own.set_executed(o, done)
    own.set_leaves(o, ZERO)
    own.set_replaces(o, replaces)
    own.set_replaced_by(o, ZERO)
    own.set_side(o, side_code)
    own.set_state(o, state.PENDING)
    own.set_asked(o, ZERO)
    _link(eng, o)
    _set_leaves(eng, o, quantity - done if quantity > done else ZERO)
    return o


@leaf
def ask(o, what):
    """Something was asked for about an open order."""
    own.set_asked(o, own.asked(o) | what)


@entry
def adopt(eng, user_ref_num, order_id, b, side_code, quantity, price, replaces):
    """An order that an earlier process sent, as its journal says; 1, or 0 where it has no room.

    ``quantity`` is the whole of it; of a replacement, what the order that it replaces has done is
    taken off.
    """
    if is_open(at_place(eng, user_ref_num)):
        return ZERO
    old, done, side_of_it = at_place(eng, replaces), ZERO, side_code
    if replaces != ZERO and is_known(old, replaces):
        done, side_of_it = own.executed(old), own.side(old)
        ask(old, REPLACE_ASKED)
        own.set_replaced_by(old, user_ref_num)
    place(eng, user_ref_num, order_id, b, side_of_it, quantity, done, price, replaces)
    engine.set_user_ref_num(eng, max(engine.user_ref_num(eng), user_ref_num))
    return ONE


# ---------------------------------------------------------------- what we are answered


@leaf
def _answered(eng, user_ref_num):
    """The order that an answer is about; 0, counted, where there is none."""
    o = at_place(eng, user_ref_num)
    if not is_known(o, user_ref_num):
        count(eng, _UNKNOWN)
        return ZERO
    return o


@leaf
def _pending(eng, user_ref_num):
    """The order that waits for this answer; 0, counted, where there is none."""
    o = _answered(eng, user_ref_num)
    if o != ZERO and own.state(o) != state.PENDING:
        count(eng, _OUT_OF_STATE)
        return ZERO
    return o


@leaf
def _open_one(eng, user_ref_num):
    """The open order that an answer is about; 0, counted, where there is none."""
    o = _answered(eng, user_ref_num)
    if o != ZERO and not is_open(o):
        count(eng, _OUT_OF_STATE)
        return ZERO
    return o


@leaf
def _take_over(eng, o, leaves, price, market_ref):
    """What the exchange says that an order is, which may be another than was asked for."""
    own.set_market_ref(o, market_ref)
    if price != own.price(o):
        _set_price(eng, o, price)
    _set_leaves(eng, o, leaves)
    own.set_quantity(o, own.executed(o) + leaves)
    own.set_state(o, state.LIVE if own.executed(o) == ZERO else state.PARTIALLY_FILLED)


@leaf
def _close_dead(eng, o, is_live):
    """Close an order that was cancelled in the moment in which it was taken."""
    if is_live == ZERO or own.leaves(o) == ZERO:
        tell(eng, happened.CANCELLED, o, own.leaves(o), own.price(o), ZERO)
        _close(eng, o, state.CANCELLED)


@cold
def accepted(eng, user_ref_num, leaves, price, market_ref, is_live):
    """The exchange took the order; it may have been closed at once."""
    o = _pending(eng, user_ref_num)
    if o == ZERO:
        return
    _take_over(eng, o, leaves, price, market_ref)
    tell(eng, happened.ACCEPTED, o, leaves, own.price(o), ZERO)
    _close_dead(eng, o, is_live)


@leaf
def _execution_of(eng, user_ref_num, match_number):
    return execution.at(eng, ((match_number ^ user_ref_num * _MIX) * _MIX) >> _EXECUTION_SHIFT)


@leaf
def _change_position(eng, o, quantity, price, sign):
    """Shares bought or sold (``sign`` 1), or that undone (-1), in position and totals."""
    g, p = gate.at(eng, ZERO), position.at(eng, own.position(o))
    if position.mark(p) == ZERO:
        _forget_position(eng, p)
        position.set_mark(p, price)
        _count_position(eng, p)
    worth = np.int64(position.mark(p))
    shares = np.int64(quantity) * sign if own.side(o) == BUY else -np.int64(quantity) * sign
    paid = shares * np.int64(price)
    before = position.quantity(p)
    after = before + shares
    position.set_quantity(p, after)
    position.set_cash(p, position.cash(p) - paid)
    gate.set_net(g, gate.net(g) + shares * worth)
    gate.set_gross(g, gate.gross(g) + (abs(after) - abs(before)) * worth)
    gate.set_pnl(g, gate.pnl(g) + shares * worth - paid)
    traded = np.int64(quantity) * sign
    money = traded * np.int64(price)
    position.set_day_quantity(p, position.day_quantity(p) + np.uint64(traded))
    position.set_day_notional(p, position.day_notional(p) + np.uint64(money))
    gate.set_day_quantity(g, gate.day_quantity(g) + np.uint64(traded))
    gate.set_day_notional(g, gate.day_notional(g) + np.uint64(money))


@leaf
def fill(eng, o, quantity, price, match_number):
    """Shares of a known order were executed."""
    count(eng, _EXECUTIONS)
    _change_position(eng, o, quantity, price, np.int64(1))
    own.set_executed(o, own.executed(o) + quantity)
    tell(eng, happened.EXECUTED, o, quantity, price, match_number)
    if not is_open(o):
        count(eng, _AFTER_CLOSE)
        return
    left = own.leaves(o)
    if quantity > left:
        count(eng, _OVER)
    _set_leaves(eng, o, left - quantity if quantity < left else ZERO)
    own.set_state(o, state.PARTIALLY_FILLED)
    if own.leaves(o) == ZERO:
        _close(eng, o, state.FILLED)


@cold
def executed(eng, user_ref_num, quantity, price, match_number):
    """The exchange executed shares of an order."""
    o = _answered(eng, user_ref_num)
    if o == ZERO:
        return
    e = _execution_of(eng, user_ref_num, match_number)
    if execution.user_ref_num(e) == user_ref_num and execution.match_number(e) == match_number:
        count(eng, _REPEATED)
        return
    execution.set_match_number(e, match_number)
    execution.set_user_ref_num(e, user_ref_num)
    execution.set_quantity(e, quantity)
    execution.set_price(e, price)
    fill(eng, o, quantity, price, match_number)


@cold
def broken(eng, user_ref_num, match_number):
    """The exchange broke a trade: the execution is taken back, the order stays closed or open."""
    o = _answered(eng, user_ref_num)
    if o == ZERO:
        return
    e = _execution_of(eng, user_ref_num, match_number)
    quantity, price = execution.quantity(e), execution.price(e)
    is_it = execution.user_ref_num(e) == user_ref_num and execution.match_number(e) == match_number
    if not is_it or quantity == ZERO:
        count(eng, _BROKEN_UNKNOWN)
        return
    # The entry stays, with nothing left to break: a repetition of either message is one still.
    execution.set_quantity(e, ZERO)
    count(eng, _BROKEN_EXECUTIONS)
    _change_position(eng, o, quantity, price, np.int64(-1))
    own.set_executed(o, own.executed(o) - min(quantity, own.executed(o)))
    if not is_open(o):
        own.set_state(o, state.BROKEN)
    tell(eng, happened.BROKEN, o, quantity, price, match_number)


@cold
def corrected(eng, user_ref_num, quantity, price, match_number):
    """The exchange corrected an execution: its shares or its price were others."""
    o = _answered(eng, user_ref_num)
    if o == ZERO:
        return
    e = _execution_of(eng, user_ref_num, match_number)
    before, at = execution.quantity(e), execution.price(e)
    is_it = execution.user_ref_num(e) == user_ref_num and execution.match_number(e) == match_number
    if not is_it or before == ZERO:
        count(eng, _BROKEN_UNKNOWN)
        return
    _change_position(eng, o, before, at, np.int64(-1))
    _change_position(eng, o, quantity, price, np.int64(1))
    execution.set_quantity(e, quantity)
    execution.set_price(e, price)
    own.set_executed(o, own.executed(o) - min(before, own.executed(o)) + quantity)
    tell(eng, happened.EXECUTED, o, ZERO, price, match_number)


@cold
def moved(eng, user_ref_num, price, market_ref):
    """The exchange gave an order another price or reference, and another place in the queue."""
    o = _open_one(eng, user_ref_num)
    if o == ZERO:
        return
    own.set_market_ref(o, market_ref)
    if price != own.price(o):
        _set_price(eng, o, price)


@cold
def cancelled(eng, user_ref_num, quantity):
    """``quantity`` shares of an order were taken off by the exchange."""
    o = _open_one(eng, user_ref_num)
    if o == ZERO:
        return
    left = own.leaves(o)
    taken = min(quantity, left)
    tell(eng, happened.CANCELLED, o, taken, own.price(o), ZERO)
    own.set_asked(o, own.asked(o) & ~CANCEL_ASKED)
    own.set_quantity(o, own.quantity(o) - min(taken, own.quantity(o)))
    if taken == left:
        _close(eng, o, state.CANCELLED)
    else:
        _set_leaves(eng, o, left - taken)


@cold
def rejected(eng, user_ref_num):
    """The exchange refused an order; one that was to be replaced by it stays as it was."""
    o = _pending(eng, user_ref_num)
    if o == ZERO:
        return
    tell(eng, happened.REJECTED, o, own.quantity(o), own.price(o), ZERO)
    _close(eng, o, state.REJECTED)
    orig = own.replaces(o)
    old = at_place(eng, orig)
    if is_known(old, orig) and own.replaced_by(old) == user_ref_num:
        own.set_replaced_by(old, ZERO)
        own.set_asked(old, own.asked(old) & ~REPLACE_ASKED)


@cold
def replaced(eng, orig_user_ref_num, user_ref_num, leaves, price, market_ref, is_live):
    """The exchange put a new order in an old one's place, with ``leaves`` shares open.

    The old one is gone also where the new one is not known: the exchange says so.
    """
    o, old = at_place(eng, user_ref_num), at_place(eng, orig_user_ref_num)
    if is_known(o, user_ref_num) and own.state(o) != state.PENDING:
        count(eng, _OUT_OF_STATE)
        return
    has_old = is_known(old, orig_user_ref_num) and old != o
    if has_old and is_open(old):
        _shut(eng, old, state.REPLACED)
    o = _answered(eng, user_ref_num)
    if o == ZERO:
        return
    if has_old:
        own.set_executed(o, own.executed(old))
    _take_over(eng, o, leaves, price, market_ref)
    tell(eng, happened.REPLACED, o, leaves, own.price(o), ZERO)
    _close_dead(eng, o, is_live)


@cold
def cancel_rejected(eng, user_ref_num):
    """The exchange did not cancel an order, or a modification was not even sent."""
    o = _open_one(eng, user_ref_num)
    if o == ZERO:
        return
    own.set_asked(o, own.asked(o) & ~(CANCEL_ASKED | MODIFY_ASKED))
    tell(eng, happened.CANCEL_REJECTED, o, own.leaves(o), own.price(o), ZERO)


@cold
def modified(eng, user_ref_num, leaves):
    """The exchange cut an order down to ``leaves`` open shares, in its place in the queue."""
    o = _open_one(eng, user_ref_num)
    if o == ZERO:
        return
    tell(eng, happened.MODIFIED, o, leaves, own.price(o), ZERO)
    own.set_asked(o, own.asked(o) & ~MODIFY_ASKED)
    own.set_quantity(o, own.executed(o) + leaves)
    _set_leaves(eng, o, leaves)
    if leaves == ZERO:
        _close(eng, o, state.CANCELLED)
