"""Fill models: who answers our orders in a replay, where there is no exchange.

None of them moves the market: what our orders would have taken is still there for others, and for
our next order; nobody reacts to them, two of them at one price do not wait for each other, they
never trade with each other, and answers come at once.  So results of a replay are an upper bound
for orders that take, and for those that wait they are what the model says:

    touch      a waiting order is executed when the other side's best price reaches its price, for
               what is shown there; optimistic, it ignores the queue
    through    only when the market has traded beyond its price, or the other side's best price is
               beyond it: then all of it; pessimistic
    queue      it waits behind the shares that stood at its price when it came.  They leave by
               executions and by cancels of orders that came before it (all of which the feed
               shows); what is executed at its price after that is its own.  A market that is
               beyond its price executes all of it, as above
    exchange   no model: answers are inputs (`tickpath.responses`)

In each of them an order that reaches the other side's best price is executed at once at that price
for what is shown at that level, and what is left waits; with an immediate-or-cancel time in force,
and where it is a market order, that is cancelled.  A waiting order is executed at its own price,
when a message changes a touch of its book or prints a trade there; nothing is executed while the
symbol is halted or paused.  Cancels and replaces are always in time, and a replacement is last in
its queue.
Executions have match numbers from 2**63 on, so that they are never taken for the venue's.
"""

import numpy as np

from tickpath import event, own_orders, window
from tickpath.counters import Counter
from tickpath.jit import cold, leaf
from tickpath.layout import (
    Watch,
    book,
    count,
    engine,
    gate,
    level,
    order,
    own,
    position,
    position_of,
    side,
)
from tickpath.risk import BUY, MARKET_PRICE, FillModel

ZERO, ONE = np.uint64(0), np.uint64(1)
_EXCHANGE, _TOUCH, _QUEUE = (np.uint64(FillModel[name]) for name in ("EXCHANGE", "TOUCH", "QUEUE"))
_QUANTITY_MASK = np.uint64((1 << 44) - 1)
_FILLS = np.uint64(Counter.ASSUMED_FILLS)
_WATCH = np.uint64(Watch.FILLS)
_MATCHES = np.uint64(1 << 63)
_BOOK, _TRADE = np.uint64(event.BOOK), np.uint64(event.TRADE)
_HALTED, _PAUSED = np.uint64(ord("H")), np.uint64(ord("P"))
_MARKET_PRICE = np.uint64(MARKET_PRICE)
MOST = 4096
"""Own orders of a book and side that one message is compared with."""
_MOST = np.uint64(MOST)


@leaf
def is_model(eng):
    """True where a model answers."""
    return gate.fill_model(gate.at(eng, ZERO)) != _EXCHANGE


@leaf
def _other_side(eng, o):
    """The side of the book that an order would be executed against."""
    b = own.book(o)
    return side.at(eng, b + b + np.uint64(own.side(o) == BUY))


@leaf
def _reaches(o, price):
    """True where the order's price is the given one or better for the other party."""
    if own.price(o) == _MARKET_PRICE:
        return True
    return own.price(o) >= price if own.side(o) == BUY else own.price(o) <= price


@leaf
def _trades(eng, b):
    """True unless a book is halted or paused: what stands there then may cross, and is no trade."""
    record = book.at(eng, b)
    state = book.trading_state(record)
    return (state != _HALTED) & (state != _PAUSED) & (book.operational_halt(record) == ZERO)


@leaf
def _execute(eng, o, quantity, price):
    count(eng, _FILLS)
    match_number = _MATCHES + engine.next_match(eng)
    engine.set_next_match(eng, engine.next_match(eng) + ONE)
    own_orders.fill(eng, o, quantity, price, match_number)


@leaf
def _take_touch(eng, o):
    """Execute what an order reaches at the other side's best price."""
    s = _other_side(eng, o)
    if side.best(s) != ZERO and _reaches(o, side.best_px(s)) and _trades(eng, own.book(o)):
        shown = level.total(level.at(eng, side.best(s))) & _QUANTITY_MASK
        _execute(eng, o, min(own.leaves(o), shown), side.best_px(s))


@leaf
def _shares_at(eng, o):
    """Shares of the market that stand at an order's price, on its side."""
    b = own.book(o)
    sd = b + b + np.uint64(own.side(o) != BUY)
    lvl = window.level_of(eng, sd, own.price(o))
    if lvl == ZERO:
        lvl = window.level_in_tree(eng, sd, own.price(o))
    return level.total(level.at(eng, lvl)) & _QUANTITY_MASK if lvl != ZERO else ZERO


@leaf
def _enter(eng, user_ref_num):
    """An order that was accepted: what it takes at once, and its place in the queue."""
    o = own_orders.at_place(eng, user_ref_num)
    if own_orders.is_open(o):
        _take_touch(eng, o)
    if own_orders.is_open(o):
        is_immediate = gate.immediate(gate.at(eng, ZERO)) != ZERO
        if is_immediate or own.price(o) == _MARKET_PRICE:
            own_orders.cancelled(eng, user_ref_num, own.leaves(o))
        else:
            own.set_ahead(o, _shares_at(eng, o))


@cold
def answer_new(eng, user_ref_num):
    """A new order was sent."""
    if is_model(eng):
        engine.set_watch(eng, engine.watch(eng) | _WATCH)
        o = own_orders.at_place(eng, user_ref_num)
        own_orders.accepted(eng, user_ref_num, own.leaves(o), own.price(o), ZERO, ONE)
        _enter(eng, user_ref_num)


@cold
def answer_replace(eng, orig_user_ref_num, user_ref_num):
    """A replacement was sent."""
    if is_model(eng):
        o = own_orders.at_place(eng, user_ref_num)
        leaves, price = own.leaves(o), own.price(o)
        own_orders.replaced(eng, orig_user_ref_num, user_ref_num, leaves, price, ZERO, ONE)
        _enter(eng, user_ref_num)


@cold
def answer_less(eng, user_ref_num, quantity, is_cancel):
    """A cancel or a modification was sent: ``quantity`` shares in total are to stay."""
    if not is_model(eng):
        return
    o = own_orders.at_place(eng, user_ref_num)
    done = own.executed(o)
    leaves = min(quantity - done if quantity > done else ZERO, own.leaves(o))
    if is_cancel:
        own_orders.cancelled(eng, user_ref_num, own.leaves(o) - leaves)
    else:
        own_orders.modified(eng, user_ref_num, leaves)


# ---------------------------------------------------------------- orders that wait


@leaf
def _beyond(eng, o, traded):
    """True where the market stands, or has traded at ``traded`` (0: not), beyond the price."""
    s, price = _other_side(eng, o), own.price(o)
    touch = side.best_px(s)
    if own.side(o) == BUY:
        stands = (side.best(s) != ZERO) & (touch < price)
        return stands | ((traded != ZERO) & (traded < price))
    stands = (side.best(s) != ZERO) & (touch > price)
    return stands | (traded > price)


@leaf
def _wait(eng, o, model, traded):
    """One waiting order after a message about its book."""
    s = _other_side(eng, o)
    if model == _TOUCH:
        if side.best(s) != ZERO and _reaches(o, side.best_px(s)):
            shown = level.total(level.at(eng, side.best(s))) & _QUANTITY_MASK
            _execute(eng, o, min(own.leaves(o), shown), own.price(o))
    elif _beyond(eng, o, traded):
        _execute(eng, o, own.leaves(o), own.price(o))


@leaf
def _wait_all(eng, b, first, model, traded):
    """A book's orders of one list; an order that closes leaves it, so the next is read before."""
    at, seen = first, ZERO
    while at != ZERO and seen < _MOST:
        o = own.at(eng, at - ONE)
        at = own.next(o)
        seen += ONE
        if own.book(o) == b and own_orders.is_open(o):
            _wait(eng, o, model, traded)


@leaf
def concerns(eng, happened):
    """True where a message may make own orders be executed: it costs no load but one."""
    kind = (happened >> event.KIND_SHIFT) & event.BYTE_MASK
    moved = (kind == _BOOK) & ((happened >> event.TOP_SHIFT) & ONE != ZERO)
    has_open = own_orders.has_open(eng, happened & event.BOOK_MASK) != ZERO
    return (moved | (kind == _TRADE)) & has_open


@cold
def after(eng, happened):
    """A message changed a book or was a trade: orders that wait there may be executed."""
    b = happened & event.BOOK_MASK
    p, record = position_of(eng, b), book.at(eng, b)
    kind = (happened >> event.KIND_SHIFT) & event.BYTE_MASK
    if position.open_orders(p) == ZERO or not _trades(eng, b):
        return
    # Executions that are not printed and trades that are broken leave the last print as it was.
    is_print = (kind == _TRADE) & (happened & event.HOT_BROKEN == ZERO)
    is_print &= book.last_ts(record) == engine.engine_time(eng)
    traded = book.last_px(record) if is_print else ZERO
    model = gate.fill_model(gate.at(eng, ZERO))
    _wait_all(eng, b, position.first_buy(p), model, traded)
    _wait_all(eng, b, position.first_sell(p), model, traded)


# ---------------------------------------------------------------- places in the queue


@leaf
def _move_up(eng, o, age, shares, is_execution):
    """Shares of a market order leave the queue that an own order waits in."""
    ahead = own.ahead(o)
    if is_execution:
        own.set_ahead(o, ahead - shares if shares < ahead else ZERO)
        if shares > ahead:
            _execute(eng, o, min(shares - ahead, own.leaves(o)), own.price(o))
    elif age <= own.newest_ref(o):
        own.set_ahead(o, ahead - shares if shares < ahead else ZERO)


@cold
def before(eng, slot, age, shares, is_execution):
    """A message is about to take ``shares`` off a market order (all of it, if that is more)."""
    if gate.fill_model(gate.at(eng, ZERO)) != _QUEUE:
        return
    m = order.at(eng, slot)
    sd = window.side_of(eng, order.level(m))
    p = position_of(eng, sd >> ONE)
    price, shares = window.price_of(eng, order.level(m)), min(shares, order.quantity(m))
    at, seen = (position.first_sell(p) if sd & ONE != ZERO else position.first_buy(p)), ZERO
    while at != ZERO and seen < _MOST:
        o = own.at(eng, at - ONE)
        at = own.next(o)
        seen += ONE
        if own.price(o) == price and own.book(o) == sd >> ONE:
            _move_up(eng, o, age, shares, is_execution)


@leaf
def _none_ahead(eng, b, first):
    at, seen = first, ZERO
    while at != ZERO and seen < _MOST:
        o = own.at(eng, at - ONE)
        at = own.next(o)
        seen += ONE
        if own.book(o) == b:
            own.set_ahead(o, ZERO)


@cold
def emptied(eng, b):
    """All of the market's orders have left a book, and not by executions."""
    p = position_of(eng, b)
    _none_ahead(eng, b, position.first_buy(p))
    _none_ahead(eng, b, position.first_sell(p))
