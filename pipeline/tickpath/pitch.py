"""Cboe multicast PITCH 2.41 into book operations, prints and status: the venue's page of code.

`apply` takes a message whose type and length have been checked and gives the event that it made
(see `tickpath.event`).  Messages name symbols in full, in adds, trades and status; an order's other
messages name the order only.  What PITCH says otherwise than ITCH:

    time             a unit's Time message gives seconds since midnight, the others nanoseconds
                     from there; before a unit's first Time message the second is unknown, counted
    modified order   keeps its place in the queue if the message says so and the price is the same;
                     else it goes to the end of the queue of its price
    executed at      the order has `remaining_quantity` from then on, whatever was executed
    price and size
    trading status   A and Q are quotation only, S is an operational halt
    market hours     are not in the feed: Time messages give them by the clock (09:30 and 16:00 New
                     York), as long as no venue has said them; on half days that is too late
    unit clear       all orders of the unit's books leave; best prices are written with the next
                     message about a book

A price of more than 32 bits (429,496.7295) is left out and counted.
"""

import numpy as np

from tickpath import event, fills, sparse_store, symbols, trades
from tickpath.book import price_of_order
from tickpath.by_ref import ANY
from tickpath.by_ref import sparse as orders
from tickpath.counters import Counter
from tickpath.jit import cold, leaf
from tickpath.layout import book, count, engine, line, order
from tickpath.wire import hot
from tickpath.wire.pitch241 import MAINTAIN_PRIORITY, PITCH241

ZERO, ONE = np.uint64(0), np.uint64(1)

time = hot.message(PITCH241["time"])
unit_clear = hot.message(PITCH241["unit_clear"])
add_long = hot.message(PITCH241["add_order_long"])
add_short = hot.message(PITCH241["add_order_short"])
add_expanded = hot.message(PITCH241["add_order_expanded"])
executed = hot.message(PITCH241["order_executed"])
executed_price = hot.message(PITCH241["order_executed_at_price_size"])
reduce_long = hot.message(PITCH241["reduce_size_long"])
reduce_short = hot.message(PITCH241["reduce_size_short"])
modify_long = hot.message(PITCH241["modify_order_long"])
modify_short = hot.message(PITCH241["modify_order_short"])
delete = hot.message(PITCH241["delete_order"])
trade_long = hot.message(PITCH241["trade_long"])
trade_short = hot.message(PITCH241["trade_short"])
trade_expanded = hot.message(PITCH241["trade_expanded"])
trade_break = hot.message(PITCH241["trade_break"])
end_of_session = hot.message(PITCH241["end_of_session"])
trading_status = hot.message(PITCH241["trading_status"])
auction_update = hot.message(PITCH241["auction_update"])
auction_summary = hot.message(PITCH241["auction_summary"])

message_type = hot.peek(PITCH241["time"], "message_type")
LENGTHS = PITCH241.lengths

_BUY, _SELL = np.uint64(ord("B")), np.uint64(ord("S"))
_U32_MAX = np.uint64(0xFFFFFFFF)
_CENT = np.uint64(100)
_TAIL = np.uint64(0x2020)
_SYMBOL_SHIFT = np.uint64(16)
_VENUE_SHIFT = np.uint64(60)
_SECOND = np.uint64(1_000_000_000)
_KEEPS = np.uint64(MAINTAIN_PRIORITY)
_TRADING, _HALTED, _SUSPENDED = (np.uint64(ord(code)) for code in "THS")
_QUOTES = np.uint64(ord("Q"))
_UNKNOWN = np.uint64(Counter.UNKNOWN_ORDER_REF)
_SIDE_INVALID = np.uint64(Counter.SIDE_INVALID)
_OVER_EXECUTION = np.uint64(Counter.OVER_EXECUTION)
_OVER_CANCEL = np.uint64(Counter.OVER_CANCEL)
_PRICE = np.uint64(Counter.PRICE_OUT_OF_RANGE)
_BACKWARDS = np.uint64(Counter.TIME_BACKWARDS)
_END = np.uint64(Counter.END_OF_SESSION)
_CLEARS = np.uint64(Counter.UNIT_CLEARS)
_OPENING_S, _CLOSING_S = np.uint64(34_200), np.uint64(57_600)
_FIRST_S, _LAST_S = np.uint64(14_400), np.uint64(72_000)
_PRE, _OPEN, _POST, _CLOSED = (np.uint64(ord(code)) for code in "SQME")


@leaf
def timestamp(eng, m):
    """Event time, nanoseconds since midnight: all but Time have their offset at the same place."""
    return engine.unit_ns(eng) + unit_clear.time_offset(m)


# ---------------------------------------------------------------- orders


@cold
def _refuse(eng, why):
    count(eng, why)
    return ZERO


@leaf
def _book_of(eng, symbol):
    """The book of a symbol of the run's venue, which is opened where there is none."""
    venue = engine.run_venue(eng)
    b = symbols.book_of(eng, venue, symbol)
    return b if b != ZERO else symbols.open_listed(eng, venue, symbol)


@leaf
def _add(eng, symbol, letter, price, quantity, ref):
    b = _book_of(eng, symbol)
    if b == ZERO:
        return ZERO
    # One test, because neither letter can be foreseen.
    if (letter != _BUY) & (letter != _SELL):
        return _refuse(eng, _SIDE_INVALID)
    if price > _U32_MAX:
        return _refuse(eng, _PRICE)
    return orders.add(eng, b + b + np.uint64(letter == _SELL), price, quantity, ref)


@leaf
def _six(symbol):
    """A symbol of six characters as one of eight."""
    return (symbol << _SYMBOL_SHIFT) | _TAIL


@leaf
def _added(eng, kind, m):
    if kind == add_short.TYPE:
        symbol, price = _six(add_short.symbol(m)), add_short.price_short(m) * _CENT
        quantity = add_short.quantity_short(m)
    elif kind == add_long.TYPE:
        symbol, price = _six(add_long.symbol(m)), add_long.price(m)
        quantity = add_long.quantity(m)
    else:
        symbol, price = add_expanded.symbol_extended(m), add_expanded.price(m)
        quantity = add_expanded.quantity(m)
    return _add(eng, symbol, add_short.side_indicator(m), price, quantity, add_short.order_id(m))


@leaf
def _match(eng, execution_id):
    """An execution id as a number that no other venue has: those have at most 62 bits."""
    return execution_id ^ (engine.run_venue(eng) << _VENUE_SHIFT)


@leaf
def _loss(kind, m):
    """(shares that an order loses, the counter for more than it has) by what happened to it."""
    if kind == executed.TYPE:
        return executed.executed_quantity(m), _OVER_EXECUTION
    if kind == reduce_short.TYPE:
        return reduce_short.canceled_quantity_short(m), _OVER_CANCEL
    return reduce_long.canceled_quantity(m), _OVER_CANCEL


@leaf
def _lost(eng, kind, m):
    """An order was executed at its price, or has fewer shares."""
    ref = reduce_short.order_id(m)
    shares, excess = _loss(kind, m)
    entry, slot = orders.find(eng, ref)
    if slot == ZERO:
        return _refuse(eng, _UNKNOWN)
    price = price_of_order(eng, slot)
    happened = orders.reduce_found(eng, entry, slot, ref, shares, excess)
    if happened == ZERO or kind != executed.TYPE:
        return happened
    match_number = _match(eng, executed.execution_id(m))
    trades.print_trade(eng, happened & event.BOOK_MASK, price, shares, match_number)
    return happened ^ event.BOOK_INTO_TRADE


@cold
def _executed_price(eng, m):
    shares, price = executed_price.executed_quantity(m), executed_price.price(m)
    ref, left = executed_price.order_id(m), executed_price.remaining_quantity(m)
    entry, slot = orders.find(eng, ref)
    if slot == ZERO:
        return _refuse(eng, _UNKNOWN)
    happened = orders.resize_found(eng, entry, slot, ref, left)
    if happened == ZERO:
        return ZERO
    if price > _U32_MAX:
        count(eng, _PRICE)
        return happened
    b = happened & event.BOOK_MASK
    trades.print_trade(eng, b, price, shares, _match(eng, executed_price.execution_id(m)))
    return happened ^ event.BOOK_INTO_TRADE


@leaf
def _modification(kind, m):
    """(price, quantity, whether the place in the queue is kept) of a modified order."""
    if kind == modify_short.TYPE:
        flags, price = modify_short.modify_order_flags(m), modify_short.price_short(m) * _CENT
        return price, modify_short.quantity_short(m), flags & _KEEPS
    flags = modify_long.modify_order_flags(m)
    return modify_long.price(m), modify_long.quantity(m), flags & _KEEPS


@leaf
def _modified(eng, kind, m):
    ref = modify_short.order_id(m)
    price, quantity, keeps = _modification(kind, m)
    entry, slot = orders.find(eng, ref)
    if price > _U32_MAX:
        count(eng, _PRICE)
    if slot == ZERO:
        return _refuse(eng, _UNKNOWN)
    if price > _U32_MAX:
        return orders.take(eng, entry, slot, ref)
    if keeps != ZERO and price == price_of_order(eng, slot):
        return orders.resize_found(eng, entry, slot, ref, quantity)
    return orders.requeue_found(eng, entry, slot, ref, price, quantity)


# ---------------------------------------------------------------- trades and status


@cold
def _trade(eng, symbol, price, shares, execution_id):
    b = _book_of(eng, symbol)
    if b == ZERO:
        return ZERO
    if price > _U32_MAX:
        return _refuse(eng, _PRICE)
    trades.print_trade(eng, b, price, shares, _match(eng, execution_id))
    return event.HOT_TRADE | b


@cold
def _traded(eng, kind, m):
    if kind == trade_short.TYPE:
        symbol, price = _six(trade_short.symbol(m)), trade_short.price_short(m) * _CENT
        shares, execution_id = trade_short.quantity_short(m), trade_short.execution_id(m)
        return _trade(eng, symbol, price, shares, execution_id)
    if kind == trade_long.TYPE:
        symbol, price = _six(trade_long.symbol(m)), trade_long.price(m)
        shares, execution_id = trade_long.quantity(m), trade_long.execution_id(m)
        return _trade(eng, symbol, price, shares, execution_id)
    symbol, price = trade_expanded.symbol_extended(m), trade_expanded.price(m)
    shares, execution_id = trade_expanded.quantity(m), trade_expanded.execution_id(m)
    return _trade(eng, symbol, price, shares, execution_id)


@cold
def _status(eng, m):
    b = _book_of(eng, trading_status.symbol_extended(m))
    if b == ZERO:
        return ZERO
    code, record = trading_status.trading_status(m), book.at(eng, b)
    book.set_operational_halt(record, np.uint64(code == _SUSPENDED))
    if code != _SUSPENDED:
        plain = (code == _TRADING) | (code == _HALTED)
        book.set_trading_state(record, code if plain else _QUOTES)
    book.set_reg_sho(record, trading_status.reg_sho_action(m))
    return event.HOT_STATUS | b


@leaf
def _small(price):
    """A price of an auction, which is only told: saturating."""
    return min(price, _U32_MAX)


@cold
def _auction(eng, m):
    b = _book_of(eng, auction_update.symbol_extended(m))
    if b == ZERO:
        return ZERO
    record = book.at(eng, b)
    buys, sells = auction_update.buy_shares(m), auction_update.sell_shares(m)
    book.set_auction(record, auction_update.auction_type(m))
    book.set_reference_px(record, _small(auction_update.reference_price(m)))
    book.set_near_px(record, _small(auction_update.indicative_price(m)))
    book.set_far_px(record, _small(auction_update.auction_only_price(m)))
    book.set_imbalance(record, buys - sells if buys > sells else sells - buys)
    book.set_imbalance_side(record, _BUY if buys > sells else _SELL)
    return event.HOT_STATUS | b


@cold
def _auctioned(eng, m):
    symbol, price = auction_summary.symbol_extended(m), auction_summary.price(m)
    shares = auction_summary.shares_contracts(m)
    # A summary has no execution id: it cannot be broken.
    happened = _trade(eng, symbol, price, shares, ZERO)
    if happened != ZERO:
        book.set_auction(book.at(eng, happened & event.BOOK_MASK), ZERO)
    return happened


# ---------------------------------------------------------------- time, sessions, units


@leaf
def _hours(seconds):
    """Nasdaq's code of the market's hours by the clock."""
    if seconds < _OPENING_S:
        return _PRE if seconds >= _FIRST_S else ZERO
    if seconds < _CLOSING_S:
        return _OPEN
    return _POST if seconds < _LAST_S else _CLOSED


@cold
def set_time(eng, m):
    """A unit's Time message: where the offsets behind it count from."""
    seconds = time.time(m)
    now = seconds * _SECOND
    if now < engine.unit_ns(eng):
        count(eng, _BACKWARDS)
    engine.set_unit_ns(eng, now)
    if engine.run_line(eng) != ZERO:
        line.set_unit_ns(line.at(eng, engine.run_line(eng) - ONE), now)
    else:
        engine.set_bare_ns(eng, now)
    if engine.hours_said(eng) == ZERO:
        engine.set_market_hours(eng, _hours(seconds))


@cold
def _clear(eng):
    """All orders of a unit are void."""
    count(eng, _CLEARS)
    sparse_store.note_refs(eng)
    for b in range(engine.locates(eng), engine.listed(eng)):
        record = book.at(eng, b)
        of_venue = book.venue(record) == engine.run_venue(eng)
        if of_venue and book.line(record) == engine.run_line(eng):
            orders.clear(eng, b)
            fills.emptied(eng, b)
    return event.HOT_STATUS


@cold
def _rare(eng, kind, m):
    if kind == executed_price.TYPE:
        return _executed_price(eng, m)
    if kind == trade_long.TYPE or kind == trade_short.TYPE or kind == trade_expanded.TYPE:
        return _traded(eng, kind, m)
    if kind == trade_break.TYPE:
        broken = trades.break_trade(eng, _match(eng, trade_break.execution_id(m)))
        return event.HOT_TRADE | event.HOT_BROKEN | broken if broken != ZERO else ZERO
    if kind == trading_status.TYPE:
        return _status(eng, m)
    if kind == auction_update.TYPE:
        return _auction(eng, m)
    if kind == auction_summary.TYPE:
        return _auctioned(eng, m)
    if kind == unit_clear.TYPE:
        return _clear(eng)
    if kind == end_of_session.TYPE:
        count(eng, _END)
    # Retail price improvement: nothing that a book keeps.
    return ZERO


# ---------------------------------------------------------------- one message


@leaf
def _less(eng, slot, quantity):
    """Shares that an order loses if it is to have a quantity."""
    left = order.quantity(order.at(eng, slot))
    return left - quantity if quantity < left else ZERO


@leaf
def _leaving(eng, kind, m, slot):
    """Shares that a message takes off an order's place in its queue."""
    if kind == executed.TYPE or kind == reduce_short.TYPE or kind == reduce_long.TYPE:
        return _loss(kind, m)[0]
    if kind == executed_price.TYPE:
        return _less(eng, slot, executed_price.remaining_quantity(m))
    if kind == modify_long.TYPE or kind == modify_short.TYPE:
        price, quantity, keeps = _modification(kind, m)
        if keeps != ZERO and price == price_of_order(eng, slot):
            return _less(eng, slot, quantity)
    return _U32_MAX


@leaf
def _is_about_order(kind):
    """True for messages that change an order which there is."""
    changed = (kind == executed.TYPE) | (kind == executed_price.TYPE) | (kind == delete.TYPE)
    reduced = (kind == reduce_short.TYPE) | (kind == reduce_long.TYPE)
    return changed | reduced | (kind == modify_short.TYPE) | (kind == modify_long.TYPE)


@cold
def announce(eng, kind, m):
    """Tell the fill model what a message is about to take off an order of the market."""
    if not _is_about_order(kind):
        return
    ref = delete.order_id(m)
    _, slot = orders.find(eng, ref)
    if slot != ZERO:
        shares = _leaving(eng, kind, m, slot)
        fills.before(eng, slot, orders.age_of(eng, ref, slot), shares, kind == executed.TYPE)


@leaf
def apply(eng, kind, m):
    """Apply one message; gives its event, 0 where it had no effect."""
    if kind == add_short.TYPE or kind == add_long.TYPE or kind == add_expanded.TYPE:
        return _added(eng, kind, m)
    if kind == delete.TYPE:
        return orders.delete(eng, ANY, delete.order_id(m))
    if kind == executed.TYPE or kind == reduce_short.TYPE or kind == reduce_long.TYPE:
        return _lost(eng, kind, m)
    if kind == modify_long.TYPE or kind == modify_short.TYPE:
        return _modified(eng, kind, m)
    return _rare(eng, kind, m)
