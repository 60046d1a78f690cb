"""Nasdaq TotalView-ITCH 5.0 into book operations, prints and status: the venue's page of code.

`apply` takes a message whose type and length have been checked and gives the event that it made
(see `tickpath.event`).  A book's index is the message's stock locate.
"""

import numpy as np

from tickpath import event, fills, symbols, trades
from tickpath.by_ref import dense as orders
from tickpath.counters import Counter
from tickpath.digest import VENUES
from tickpath.jit import cold, leaf
from tickpath.layout import book as book_record
from tickpath.layout import count, engine
from tickpath.wire import hot
from tickpath.wire.itch50 import ITCH50

ZERO, ONE = np.uint64(0), np.uint64(1)
VENUE = np.uint64(VENUES["nasdaq"])

system_event = hot.message(ITCH50["system_event"])
stock_directory = hot.message(ITCH50["stock_directory"])
trading_action = hot.message(ITCH50["stock_trading_action"])
reg_sho = hot.message(ITCH50["reg_sho_short_sale_price_test_restricted_indicator"])
luld_collar = hot.message(ITCH50["luld_auction_collar"])
operational_halt = hot.message(ITCH50["operational_halt"])
imbalance = hot.message(ITCH50["net_order_imbalance_indicator"])
add_order = hot.message(ITCH50["add_order_no_mpid_attribution"])
add_order_mpid = hot.message(ITCH50["add_order_with_mpid_attribution"])
executed = hot.message(ITCH50["order_executed"])
executed_price = hot.message(ITCH50["order_executed_with_price"])
cancel = hot.message(ITCH50["order_cancel"])
delete = hot.message(ITCH50["order_delete"])
replace = hot.message(ITCH50["order_replace"])
trade = hot.message(ITCH50["non_cross_trade"])
cross = hot.message(ITCH50["cross_trade"])
broken_trade = hot.message(ITCH50["broken_trade"])

_BUY, _SELL, _NASDAQ = np.uint64(ord("B")), np.uint64(ord("S")), np.uint64(ord("Q"))
_HALTED, _YES = np.uint64(ord("H")), np.uint64(ord("Y"))
_U32_MAX = np.uint64(0xFFFFFFFF)
_SIDE_INVALID = np.uint64(Counter.SIDE_INVALID)
_OUT_OF_RANGE = np.uint64(Counter.SYMBOL_OUT_OF_RANGE)
_OVER_EXECUTION = np.uint64(Counter.OVER_EXECUTION)
_OVER_CANCEL = np.uint64(Counter.OVER_CANCEL)


message_type = hot.peek(ITCH50["system_event"], "message_type")
"""Type code of a message, which may be shorter than any that is known."""


@leaf
def timestamp(m):
    """Event time, nanoseconds since midnight: every message has it at the same place."""
    return system_event.timestamp(m)


@cold
def _out_of_range(eng):
    count(eng, _OUT_OF_RANGE)
    return ZERO


@cold
def _no_side(eng):
    count(eng, _SIDE_INVALID)
    return ZERO


@leaf
def _add(eng, b, m):
    if not symbols.is_open(eng, b):
        symbols.open_book(eng, b, VENUE, add_order.stock(m))
    letter = add_order.buy_sell_indicator(m)
    # One test, because neither letter can be foreseen.
    if (letter != _BUY) & (letter != _SELL):
        return _no_side(eng)
    sd = b + b + np.uint64(letter == _SELL)
    ref = add_order.order_reference_number(m)
    return orders.add(eng, sd, add_order.price(m), add_order.shares(m), ref)


@leaf
def _executed(eng, b, m):
    ref, shares = executed.order_reference_number(m), executed.executed_shares(m)
    price = orders.price_of(eng, ref)
    happened = orders.reduce(eng, b, ref, shares, _OVER_EXECUTION)
    if happened == ZERO:
        return ZERO
    at = happened & event.BOOK_MASK
    trades.print_trade(eng, at, price, shares, executed.match_number(m))
    return happened ^ event.BOOK_INTO_TRADE


@cold
def _executed_price(eng, b, m):
    shares = executed_price.executed_shares(m)
    ref = executed_price.order_reference_number(m)
    happened = orders.reduce(eng, b, ref, shares, _OVER_EXECUTION)
    if executed_price.printable(m) == _YES and shares != ZERO:
        # The price is in the message, so that it is a print even where the order is unknown.
        at = happened & event.BOOK_MASK if happened != ZERO else b
        price = executed_price.execution_price(m)
        trades.print_trade(eng, at, price, shares, executed_price.match_number(m))
        if happened == ZERO:
            return event.HOT_TRADE | b
    return happened ^ event.BOOK_INTO_TRADE if happened != ZERO else ZERO


@cold
def _cross(eng, b, m):
    trades.print_trade(eng, b, cross.cross_price(m), cross.cross_shares(m), cross.match_number(m))
    book_record.set_auction(book_record.at(eng, b), ZERO)
    return event.HOT_TRADE | b


@cold
def _imbalance(eng, b, m):
    record = book_record.at(eng, b)
    book_record.set_auction(record, imbalance.cross_type(m))
    book_record.set_reference_px(record, imbalance.current_reference_price(m))
    book_record.set_near_px(record, imbalance.near_price(m))
    book_record.set_far_px(record, imbalance.far_price(m))
    book_record.set_imbalance(record, min(imbalance.imbalance_shares(m), _U32_MAX))
    book_record.set_imbalance_side(record, imbalance.imbalance_direction(m))


@cold
def _status(eng, b, kind, m):
    """The rest: what a symbol's state is, and messages that only the strategy may care for."""
    record = book_record.at(eng, b)
    if kind == system_event.TYPE:
        engine.set_market_hours(eng, system_event.event_code(m))
        engine.set_hours_said(eng, ONE)
    elif kind == stock_directory.TYPE:
        if b == ZERO:
            return _out_of_range(eng)
        symbols.open_book(eng, b, VENUE, stock_directory.stock(m))
        book_record.set_round_lot_size(record, stock_directory.round_lot_size(m))
    elif kind == trading_action.TYPE:
        book_record.set_trading_state(record, trading_action.trading_state(m))
    elif kind == operational_halt.TYPE:
        # Halts on the operator's other venues (BX, PSX) do not stop this one.
        if operational_halt.market_code(m) == _NASDAQ:
            halted = operational_halt.operational_halt_action(m) == _HALTED
            book_record.set_operational_halt(record, np.uint64(halted))
    elif kind == reg_sho.TYPE:
        book_record.set_reg_sho(record, reg_sho.reg_sho_action(m))
    elif kind == luld_collar.TYPE:
        book_record.set_upper_collar_px(record, luld_collar.upper_auction_collar_price(m))
        book_record.set_lower_collar_px(record, luld_collar.lower_auction_collar_price(m))
    elif kind == imbalance.TYPE:
        _imbalance(eng, b, m)
    return event.HOT_STATUS | b


@cold
def _rare(eng, b, kind, m):
    if kind == executed_price.TYPE:
        return _executed_price(eng, b, m)
    if kind == trade.TYPE:
        trades.print_trade(eng, b, trade.price(m), trade.shares(m), trade.match_number(m))
        return event.HOT_TRADE | b
    if kind == cross.TYPE:
        return _cross(eng, b, m)
    if kind == broken_trade.TYPE:
        broken = trades.break_trade(eng, broken_trade.match_number(m))
        return event.HOT_TRADE | event.HOT_BROKEN | broken if broken != ZERO else ZERO
    return _status(eng, b, kind, m)


@leaf
def _leaves(eng, ref, shares, is_execution):
    _, slot = orders.find(eng, ref)
    if slot != ZERO:
        fills.before(eng, slot, orders.age_of(eng, ref, slot), shares, is_execution)


@cold
def announce(eng, kind, m):
    """Tell the fill model what a message is about to take off an order of the market."""
    if kind == executed.TYPE:
        _leaves(eng, executed.order_reference_number(m), executed.executed_shares(m), True)
    elif kind == cancel.TYPE:
        _leaves(eng, cancel.order_reference_number(m), cancel.canceled_shares(m), False)
    elif kind == delete.TYPE:
        _leaves(eng, delete.order_reference_number(m), _U32_MAX, False)
    elif kind == replace.TYPE:
        _leaves(eng, replace.original_order_reference_number(m), _U32_MAX, False)
    elif kind == executed_price.TYPE:
        # Executed elsewhere than at its price: it leaves the queue, but takes nobody's turn.
        ref, shares = executed_price.order_reference_number(m), executed_price.executed_shares(m)
        _leaves(eng, ref, shares, False)


@leaf
def apply(eng, kind, m):
    """Apply one message; gives its event, 0 where it had no effect."""
    b = system_event.stock_locate(m)
    if b >= engine.locates(eng):
        return _out_of_range(eng)
    if kind == add_order.TYPE or kind == add_order_mpid.TYPE:
        # F is A with an attribution behind it.
        return _add(eng, b, m) if b != ZERO else _out_of_range(eng)
    if kind == delete.TYPE:
        return orders.delete(eng, b, delete.order_reference_number(m))
    if kind == executed.TYPE:
        return _executed(eng, b, m)
    if kind == replace.TYPE:
        return orders.replace(
            eng,
            b,
            replace.original_order_reference_number(m),
            replace.new_order_reference_number(m),
            replace.price(m),
            replace.shares(m),
        )
    if kind == cancel.TYPE:
        ref, shares = cancel.order_reference_number(m), cancel.canceled_shares(m)
        return orders.reduce(eng, b, ref, shares, _OVER_CANCEL)
    return _rare(eng, b, kind, m)
