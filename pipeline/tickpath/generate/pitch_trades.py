"""Executions, trades and crosses in PITCH, what they add up to, and which of them are broken.

A cross executes displayed orders one by one at its price, and a summary says what it came to: there
is no bulk print.  Nothing is said about a cross of no shares, nor when its print is broken.
"""

import numpy as np

from tickpath.generate import pitch_live
from tickpath.generate.pitch_forms import (
    CENT,
    LARGEST_32,
    begin,
    fits,
    is_long,
    reduced,
    set_long_symbol,
    set_short_symbol,
    stranger,
)
from tickpath.generate.pitch_state import issue, latest, live, translation
from tickpath.generate.state import TRADES, inner
from tickpath.wire import hot
from tickpath.wire.itch50 import ITCH50
from tickpath.wire.pitch241 import PITCH241

_executed = hot.message(ITCH50["order_executed"])
_priced = hot.message(ITCH50["order_executed_with_price"])
_hidden = hot.message(ITCH50["non_cross_trade"])
_cross = hot.message(ITCH50["cross_trade"])
_broken = hot.message(ITCH50["broken_trade"])
_order_executed = hot.message(PITCH241["order_executed"])
_at_price = hot.message(PITCH241["order_executed_at_price_size"])
_trade_short = hot.message(PITCH241["trade_short"])
_trade_long = hot.message(PITCH241["trade_long"])
_trade_expanded = hot.message(PITCH241["trade_expanded"])
_trade_break = hot.message(PITCH241["trade_break"])
_auction_summary = hot.message(PITCH241["auction_summary"])

_TRADES = np.uint64(TRADES)
_YES = np.uint64(ord("Y"))
_ZERO = np.uint64(0)
_ONE = np.uint64(1)


@inner
def _note_print(t, locate, match, shares, price, cross):
    """A print that the market may break later; a cross's is none for PITCH."""
    p = latest.at(t, translation.prints(t) % _TRADES)
    latest.set_match(p, match)
    latest.set_issue(p, locate - _ONE)
    latest.set_shares(p, shares)
    latest.set_price(p, price)
    latest.set_cross(p, cross)
    translation.set_prints(t, translation.prints(t) + _ONE)


@inner
def _tally(y, shares, price):
    """An execution or trade counts for its symbol."""
    issue.set_printable_shares(y, issue.printable_shares(y) + shares)
    issue.set_printable_notional(y, issue.printable_notional(y) + shares * price)
    issue.set_last_price(y, price)


@inner
def say_executed(t, y, locate, m, out, offset, code):
    o = pitch_live.find(t, _executed.order_reference_number(m))
    if o == _ZERO:
        return stranger(t)
    order_id, shares = live.order_id(o), _executed.executed_shares(m)
    match = _executed.match_number(m)
    execution_id = translation.execution_base(t) + match
    price = _priced.execution_price(m) if code == _priced.TYPE else live.price(o)
    left = reduced(t, o, shares)
    if code == _priced.TYPE:
        length = begin(t, out, _at_price.LENGTH, _at_price.TYPE, offset)
        _at_price.set_executed_quantity(out, shares)
        _at_price.set_remaining_quantity(out, left)
        _at_price.set_execution_id(out, execution_id)
        _at_price.set_price(out, price)
    else:
        length = begin(t, out, _order_executed.LENGTH, _order_executed.TYPE, offset)
        _order_executed.set_executed_quantity(out, shares)
        _order_executed.set_execution_id(out, execution_id)
    _order_executed.set_order_id(out, order_id)
    issue.set_executed_shares(y, issue.executed_shares(y) + shares)
    _tally(y, shares, price)
    if code == _executed.TYPE or _priced.printable(m) == _YES:
        _note_print(t, locate, match, shares, price, _ZERO)
    return length


@inner
def say_trade(t, y, locate, m, out, offset):
    """A trade against an order that was never displayed."""
    shares, price, stock = _hidden.shares(m), _hidden.price(m), _hidden.stock(m)
    match = _hidden.match_number(m)
    execution_id = translation.execution_base(t) + match
    if is_long(stock):
        length = begin(t, out, _trade_expanded.LENGTH, _trade_expanded.TYPE, offset)
        _trade_expanded.set_quantity(out, shares)
        _trade_expanded.set_symbol_extended(out, stock)
        _trade_expanded.set_price(out, price)
        _trade_expanded.set_execution_id(out, execution_id)
    elif fits(shares, price):
        length = begin(t, out, _trade_short.LENGTH, _trade_short.TYPE, offset)
        _trade_short.set_quantity_short(out, shares)
        set_short_symbol(out, stock)
        _trade_short.set_price_short(out, price // CENT)
        _trade_short.set_execution_id(out, execution_id)
    else:
        length = begin(t, out, _trade_long.LENGTH, _trade_long.TYPE, offset)
        _trade_long.set_quantity(out, shares)
        set_long_symbol(out, stock)
        _trade_long.set_price(out, price)
        _trade_long.set_execution_id(out, execution_id)
    _trade_short.set_order_id(out, issue.order_base(y) + translation.hidden_base(t) + match)
    _trade_short.set_side_indicator(out, _hidden.buy_sell_indicator(m))
    _tally(y, shares, price)
    _note_print(t, locate, match, shares, price, _ZERO)
    return length


@inner
def say_break(t, m, out, offset):
    match = _broken.match_number(m)
    for number in range(_TRADES):
        p = latest.at(t, np.uint64(number))
        if latest.match(p) == match:
            if latest.cross(p) != _ZERO:
                return _ZERO
            y = issue.at(t, latest.issue(p))
            shares = latest.shares(p)
            issue.set_broken_shares(y, issue.broken_shares(y) + shares)
            issue.set_broken_notional(y, issue.broken_notional(y) + shares * latest.price(p))
            length = begin(t, out, _trade_break.LENGTH, _trade_break.TYPE, offset)
            _trade_break.set_execution_id(out, translation.execution_base(t) + match)
            return length
    return stranger(t)


@inner
def say_cross(t, y, locate, m, out, offset):
    shares, price = _cross.cross_shares(m), _cross.cross_price(m)
    if shares == _ZERO:
        return _ZERO
    _note_print(t, locate, _cross.match_number(m), shares, price, _ONE)
    length = begin(t, out, _auction_summary.LENGTH, _auction_summary.TYPE, offset)
    _auction_summary.set_symbol_extended(out, issue.stock(y))
    _auction_summary.set_auction_opening_type(out, _cross.cross_type(m))
    _auction_summary.set_price(out, price)
    _auction_summary.set_shares_contracts(out, min(shares, LARGEST_32))
    return length
