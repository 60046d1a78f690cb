"""What members do in continuous trading: add, delete, replace, cancel, take, trade hidden.

Every function acts on the book and says what it did.  A step draws a symbol (Zipf-like, or the one
its burst is about) and an action whose odds keep the mix of a real day while steering the number
of live orders to its goal.  What cannot be done is replaced by what can, so a step always says at
least one message as long as one is left to say.  Aggressive orders execute the head of the best
queue first; nothing is ever priced across the other side, unless the plan wants it so.
"""

import numpy as np

from tickpath.generate import book, quote
from tickpath.generate.draw import below, chance, octave
from tickpath.generate.messages import (
    next_reference,
    say_add,
    say_attributed_add,
    say_broken,
    say_cancel,
    say_delete,
    say_executed,
    say_executed_at,
    say_hidden_trade,
    say_replace,
    say_retail_interest,
)
from tickpath.generate.pace import MARKET_OPEN, breed, spare
from tickpath.generate.pick import (
    HALTED,
    TRADING,
    best_pair,
    next_symbol,
    order_to_delete,
    recent_order,
    remember,
)
from tickpath.generate.state import SELL, inner, order, session, symbol
from tickpath.generate.templates import LONGEST
from tickpath.jit import leaf

# Odds in 65,536, of what a step does; adds and deletes share the rest.
_REPLACE = 6_000
_CANCEL = 1_150
_TAKE = 1_560
_HIDDEN = 720
_RETAIL = 110
_BROKEN = 6
_REST = 65_536 - (_REPLACE + _CANCEL + _TAKE + _HIDDEN + _RETAIL + _BROKEN)
_UP_TO_REPLACE = _REST + _REPLACE
_UP_TO_CANCEL = _UP_TO_REPLACE + _CANCEL
_UP_TO_TAKE = _UP_TO_CANCEL + _TAKE
_UP_TO_HIDDEN = _UP_TO_TAKE + _HIDDEN
_UP_TO_RETAIL = _UP_TO_HIDDEN + _RETAIL
_CONSUMED = 1_800
"""Orders that trades take off the book, in the same odds: adds make up for them."""
_ATTRIBUTED = 4_000
"""Adds among 65,536 that name their participant."""
_PRICED = 2_000
"""Executions among 65,536 at a price better than the displayed one."""
_NOT_PRINTED = 6_000
MAX_TAKEN = 12
"""Orders that one aggressive order executes at most."""
MOST_BYTES = (MAX_TAKEN + 2) * LONGEST
"""Room that a step may need in the chunk."""
_A = ord("A")
_INTERESTS = (ord("B"), ord("S"), ord("A"), ord("N"))


@inner
def aim(s):
    """Set the odds of adding and deleting so that the live orders reach their goal in time.

    Until the market opens the goal is a good part of the final one, so that it opens with books.
    """
    left, goal = max(spare(s), 1), session.live_goal(s)
    if session.due(s) < MARKET_OPEN:
        weight, later = session.weight_left(s), session.open_weight(s)
        left = max(left * (weight - later) // max(weight, 1) + session.slice_left(s), 1)
        goal = session.open_goal(s)
    growth = (goal - session.live(s)) * 65_536 // left + _CONSUMED
    growth = min(max(growth, -_REST * 3 // 4), _REST * 15 // 16)
    session.set_add_below(s, (_REST + growth) // 2)


@inner
def _participant(s):
    """One of some forty four-letter participants, as the number its letters spell."""
    number = octave(s, 4) * 5 + below(s, 5)
    letters = np.int64(0)
    for stride in (7, 11, 5, 3):
        letters = (letters << 8) | (_A + number * stride % 26)
    return np.uint64(letters)


@inner
def _add(s, index):
    """A new order that rests; False where the book has no place for it."""
    if book.is_full(s) or symbol.trading_state(symbol.at(s, index)) == HALTED:
        return False
    sd = 2 * index + below(s, 2)
    price = quote.price(s, sd)
    if price == 0:
        sd ^= 1
        price = quote.price(s, sd)
    level = book.place(s, sd, price)
    if level < 0:
        _delete_order(s, book.deepest(s, sd))
        return True
    shares = quote.size(s, symbol.small(symbol.at(s, index)))
    new = book.join(s, level, sd, next_reference(s), shares)
    remember(s, index, new)
    if chance(s, _ATTRIBUTED):
        say_attributed_add(s, new, _participant(s))
    else:
        say_add(s, new)
    return True


@inner
def _delete_order(s, chosen):
    say_delete(s, chosen)
    book.leave(s, chosen)


@inner
def _delete(s, index, fair):
    chosen = order_to_delete(s, index, fair)
    if chosen < 0:
        return False
    _delete_order(s, chosen)
    return True


@inner
def _replace(s, index):
    """A recent order changes its price, and sometimes its size; it goes to the end of a queue."""
    chosen = recent_order(s, index)
    if chosen < 0 or symbol.trading_state(symbol.at(s, index)) == HALTED:
        return False
    o = order.at(s, chosen)
    sd, original, shares = np.int64(order.side(o)), order.reference(o), order.shares(o)
    price = quote.price(s, sd)
    if price == 0:
        return False
    level = book.place(s, sd, price)
    if level < 0:
        _delete_order(s, chosen)
        return True
    if chance(s, 16_384):
        shares = quote.size(s, symbol.small(symbol.at(s, index)))
    # The new one joins before the old one leaves, so that a level they share stays.
    new = book.join(s, level, sd, next_reference(s), shares)
    book.leave(s, chosen)
    remember(s, index, new)
    say_replace(s, original, new)
    return True


@inner
def _cancel(s, index):
    """A part of a recent order is cancelled."""
    chosen = recent_order(s, index)
    if chosen < 0:
        return False
    shares = order.shares(order.at(s, chosen))
    if shares < 2:
        return False
    some = 1 + below(s, shares - 1)
    if some > 100:
        some -= some % 100
    say_cancel(s, chosen, some)
    book.reduce(s, chosen, some)
    return True


@leaf
def may_trade(s, index):
    y = symbol.at(s, index)
    return symbol.trading_state(y) == TRADING and symbol.operational(y) == 0


@leaf
def is_near(fair, price):
    """True where a price is within a sixteenth of the fair one: stub quotes do not trade."""
    return abs(price - fair) <= fair >> 4


@inner
def _execute(s, chosen, shares):
    """Say and apply one execution of a resting order, now and then better than its price shows."""
    o = order.at(s, chosen)
    if chance(s, _PRICED):
        improvement = 1 + below(s, 99) if order.price(o) > quote.DOLLAR else 1
        better = order.price(o) + (-improvement if order.side(o) & 1 else improvement)
        say_executed_at(s, chosen, shares, max(better, 1), not chance(s, _NOT_PRINTED))
    else:
        say_executed(s, chosen, shares)
    book.reduce(s, chosen, shares)


@inner
def _take(s, index, fair):
    """An aggressive order meets the best queue, head first, until it is filled or out of price."""
    if not may_trade(s, index):
        return False
    offer, bid = best_pair(s, index)
    sells = fair + fair < offer + bid
    if chance(s, 16_384):
        sells = not sells
    sd = 2 * index + (0 if sells else SELL)
    left = quote.size(s, symbol.small(symbol.at(s, index)))
    if chance(s, 16_384):
        left *= octave(s, 4)
    taken = 0
    while left > 0 and taken < MAX_TAKEN and spare(s) > 0:
        price = book.best(s, sd)
        if price == 0 or not is_near(fair, price):
            break
        chosen = book.first(s, sd)
        shares = min(left, np.int64(order.shares(order.at(s, chosen))))
        _execute(s, chosen, shares)
        left -= shares
        taken += 1
    if taken:
        breed(s)
    return taken > 0


@inner
def _trade_hidden(s, index, fair):
    """A trade inside the spread, at its middle or on a tick of it."""
    offer, bid = best_pair(s, index)
    if not may_trade(s, index) or not (is_near(fair, offer) and is_near(fair, bid)):
        return False
    price = (offer + bid) // 2
    if chance(s, 24_576):
        price = min(max(quote.floor_tick(fair), bid), offer)
    say_hidden_trade(s, index, quote.size(s, symbol.small(symbol.at(s, index))), price)
    return True


@inner
def _say_retail(s, index):
    say_retail_interest(s, index, _INTERESTS[below(s, 4)])
    return True


@inner
def step(s):
    """One action of one member: between 1 and `MAX_TAKEN` messages."""
    if session.burst_left(s) & 15 == 1:
        aim(s)
    index = next_symbol(s)
    fair = quote.wander(s, index)
    drawn = below(s, 65_536)
    if drawn < session.add_below(s):
        done = _add(s, index)
    elif drawn < _REST:
        done = _delete(s, index, fair)
    elif drawn < _UP_TO_REPLACE:
        done = _replace(s, index)
    elif drawn < _UP_TO_CANCEL:
        done = _cancel(s, index)
    elif drawn < _UP_TO_TAKE:
        done = _take(s, index, fair)
    elif drawn < _UP_TO_HIDDEN:
        done = _trade_hidden(s, index, fair)
    elif drawn < _UP_TO_RETAIL:
        done = _say_retail(s, index)
    else:
        done = say_broken(s)
    # What could not be done becomes an add or, where the books are full or closed, a delete.
    if not done and not _add(s, index) and not _delete(s, index, fair):
        _say_retail(s, index)
