"""Every message the market says, written in place: a template's copy with its changing fields set.

A template is the message's constant bytes behind its length, encoded once by the wire table.  Each
``say_...`` appends one message to the session's chunk, stamps it with the session's time, counts
it, and leaves the book alone; what a print means for a symbol's statistics is kept here too, so
that both always agree.
"""

import numpy as np

from tickpath.generate.draw import bits, chance, share
from tickpath.generate.state import TRADES, count, inner, order, script, session, symbol, trade
from tickpath.generate.templates import HEADER, PREFIX, template
from tickpath.jit import leaf
from tickpath.memory import copy_bytes, wire_store
from tickpath.wire import hot
from tickpath.wire.itch50 import ITCH50

_ADD = template("add_order_no_mpid_attribution")
_ATTRIBUTED = template("add_order_with_mpid_attribution")
_EXECUTED = template("order_executed")
_PRICED = template("order_executed_with_price")
_CANCEL = template("order_cancel")
_DELETE = template("order_delete")
_REPLACE = template("order_replace")
_HIDDEN = template("non_cross_trade")
_CROSS = template("cross_trade")
_BROKEN = template("broken_trade")
_IMBALANCE = template("net_order_imbalance_indicator")
_COLLAR = template("luld_auction_collar")
_RETAIL = template("retail_interest")


_header = hot.message(HEADER)
_set_time_high = wire_store(16, HEADER["timestamp"].offset, True)
_set_time_low = wire_store(32, HEADER["timestamp"].offset + 2, True)

_add = hot.message(ITCH50["add_order_no_mpid_attribution"])
_attributed = hot.message(ITCH50["add_order_with_mpid_attribution"])
_executed = hot.message(ITCH50["order_executed"])
_priced = hot.message(ITCH50["order_executed_with_price"])
_cancel = hot.message(ITCH50["order_cancel"])
_delete = hot.message(ITCH50["order_delete"])
_replace = hot.message(ITCH50["order_replace"])
_hidden = hot.message(ITCH50["non_cross_trade"])
_cross = hot.message(ITCH50["cross_trade"])
_broken = hot.message(ITCH50["broken_trade"])
_imbalance = hot.message(ITCH50["net_order_imbalance_indicator"])
_collar = hot.message(ITCH50["luld_auction_collar"])
_retail = hot.message(ITCH50["retail_interest"])

_B, _S = np.uint64(ord("B")), np.uint64(ord("S"))
_YES, _NO = np.uint64(ord("Y")), np.uint64(ord("N"))
_ENGINES = 15
"""Tracking numbers are small even numbers, as if one matching engine in eight served a symbol."""
_32 = np.uint64(32)


@inner
def _stamp(s, m, length, code):
    """Put the time into a message that stands at the end of the chunk, and count it."""
    now = np.uint64(session.now(s))
    _set_time_high(m, now >> _32)
    _set_time_low(m, now)
    session.set_out(s, m + length)
    session.set_messages(s, session.messages(s) + 1)
    c = count.at(s, np.int64(code))
    count.set_messages(c, count.messages(c) + 1)


@leaf
def _begin(s, template, length, code, locate):
    """A copy of a template at the end of the chunk; the message's address."""
    m = session.out(s) + PREFIX
    copy_bytes(m - PREFIX, session.templates(s) + template, length + PREFIX)
    _header.set_stock_locate(m, np.uint64(locate))
    _header.set_tracking_number(m, np.uint64((locate * 2) & _ENGINES))
    _stamp(s, m, length, code)
    return m


@leaf
def _locate_of(s, sd):
    return symbol.locate(symbol.at(s, sd >> 1))


@inner
def next_reference(s):
    """The next order reference: one more, or now and then some more than that."""
    step = 1 + (share(bits(s), 9) if chance(s, 8192) else 0)
    session.set_reference(s, session.reference(s) + step)
    return session.reference(s)


@inner
def _next_match(s):
    step = 1 + (share(bits(s), 4) if chance(s, 4096) else 0)
    session.set_match(s, session.match(s) + step)
    return session.match(s)


@inner
def say_add(s, index):
    o = order.at(s, index)
    sd = order.side(o)
    y = symbol.at(s, sd >> 1)
    m = _begin(s, _ADD, _add.LENGTH, _add.TYPE, symbol.locate(y))
    _add.set_order_reference_number(m, np.uint64(order.reference(o)))
    _add.set_buy_sell_indicator(m, _S if sd & 1 else _B)
    _add.set_shares(m, np.uint64(order.shares(o)))
    _add.set_stock(m, symbol.stock(y))
    _add.set_price(m, np.uint64(order.price(o)))


@inner
def say_attributed_add(s, index, mpid):
    o = order.at(s, index)
    sd = order.side(o)
    y = symbol.at(s, sd >> 1)
    m = _begin(s, _ATTRIBUTED, _attributed.LENGTH, _attributed.TYPE, symbol.locate(y))
    _attributed.set_order_reference_number(m, np.uint64(order.reference(o)))
    _attributed.set_buy_sell_indicator(m, _S if sd & 1 else _B)
    _attributed.set_shares(m, np.uint64(order.shares(o)))
    _attributed.set_stock(m, symbol.stock(y))
    _attributed.set_price(m, np.uint64(order.price(o)))
    _attributed.set_attribution(m, mpid)


@inner
def say_delete(s, index):
    o = order.at(s, index)
    m = _begin(s, _DELETE, _delete.LENGTH, _delete.TYPE, _locate_of(s, order.side(o)))
    _delete.set_order_reference_number(m, np.uint64(order.reference(o)))


@inner
def say_cancel(s, index, shares):
    o = order.at(s, index)
    m = _begin(s, _CANCEL, _cancel.LENGTH, _cancel.TYPE, _locate_of(s, order.side(o)))
    _cancel.set_order_reference_number(m, np.uint64(order.reference(o)))
    _cancel.set_canceled_shares(m, np.uint64(shares))


@inner
def say_replace(s, original, index):
    """The order at ``index`` stands where the one with reference ``original`` stood."""
    o = order.at(s, index)
    m = _begin(s, _REPLACE, _replace.LENGTH, _replace.TYPE, _locate_of(s, order.side(o)))
    _replace.set_original_order_reference_number(m, np.uint64(original))
    _replace.set_new_order_reference_number(m, np.uint64(order.reference(o)))
    _replace.set_shares(m, np.uint64(order.shares(o)))
    _replace.set_price(m, np.uint64(order.price(o)))


@inner
def _print(s, index, match, shares, price):
    """A print on the tape: it counts for its symbol, and can be broken later."""
    y = symbol.at(s, index)
    symbol.set_printable_shares(y, symbol.printable_shares(y) + shares)
    symbol.set_printable_notional(y, symbol.printable_notional(y) + shares * price)
    symbol.set_last_price(y, price)
    t = trade.at(s, session.trades(s) % TRADES)
    trade.set_match(t, match)
    trade.set_symbol(t, index)
    trade.set_shares(t, shares)
    trade.set_price(t, price)
    session.set_trades(s, session.trades(s) + 1)


@leaf
def _count_executed(s, sd, shares):
    y = symbol.at(s, sd >> 1)
    symbol.set_executed_shares(y, symbol.executed_shares(y) + shares)


@inner
def say_executed(s, index, shares):
    """An execution at the order's own price."""
    o, match = order.at(s, index), _next_match(s)
    m = _begin(s, _EXECUTED, _executed.LENGTH, _executed.TYPE, _locate_of(s, order.side(o)))
    _executed.set_order_reference_number(m, np.uint64(order.reference(o)))
    _executed.set_executed_shares(m, np.uint64(shares))
    _executed.set_match_number(m, np.uint64(match))
    _count_executed(s, order.side(o), shares)
    _print(s, order.side(o) >> 1, match, shares, order.price(o))


@inner
def say_executed_at(s, index, shares, price, printable):
    """An execution at a price of its own; not printable where a bulk print will follow."""
    o, match = order.at(s, index), _next_match(s)
    m = _begin(s, _PRICED, _priced.LENGTH, _priced.TYPE, _locate_of(s, order.side(o)))
    _priced.set_order_reference_number(m, np.uint64(order.reference(o)))
    _priced.set_executed_shares(m, np.uint64(shares))
    _priced.set_match_number(m, np.uint64(match))
    _priced.set_printable(m, _YES if printable else _NO)
    _priced.set_execution_price(m, np.uint64(price))
    _count_executed(s, order.side(o), shares)
    if printable:
        _print(s, order.side(o) >> 1, match, shares, price)


@inner
def say_hidden_trade(s, index, shares, price):
    """A trade against an order that was never displayed: no reference, and always a buy."""
    y, match = symbol.at(s, index), _next_match(s)
    m = _begin(s, _HIDDEN, _hidden.LENGTH, _hidden.TYPE, symbol.locate(y))
    _hidden.set_shares(m, np.uint64(shares))
    _hidden.set_stock(m, symbol.stock(y))
    _hidden.set_price(m, np.uint64(price))
    _hidden.set_match_number(m, np.uint64(match))
    _print(s, index, match, shares, price)


@inner
def say_cross(s, index, shares, price, cross_type):
    """A cross's bulk print; zero shares where there was nothing to cross."""
    y, match = symbol.at(s, index), _next_match(s)
    m = _begin(s, _CROSS, _cross.LENGTH, _cross.TYPE, symbol.locate(y))
    _cross.set_cross_shares(m, np.uint64(shares))
    _cross.set_stock(m, symbol.stock(y))
    _cross.set_cross_price(m, np.uint64(price))
    _cross.set_match_number(m, np.uint64(match))
    _cross.set_cross_type(m, np.uint64(cross_type))
    if shares:
        _print(s, index, match, shares, price)


@inner
def say_broken(s):
    """One of the latest prints is broken; False where the one that was drawn already is."""
    t = trade.at(s, share(bits(s), TRADES))
    shares = trade.shares(t)
    if shares == 0:
        return False
    y = symbol.at(s, trade.symbol(t))
    m = _begin(s, _BROKEN, _broken.LENGTH, _broken.TYPE, symbol.locate(y))
    _broken.set_match_number(m, np.uint64(trade.match(t)))
    symbol.set_broken_shares(y, symbol.broken_shares(y) + shares)
    symbol.set_broken_notional(y, symbol.broken_notional(y) + shares * trade.price(t))
    trade.set_shares(t, 0)
    return True


@inner
def say_imbalance(s, index, paired, imbalance, direction, reference, near, far, cross_type, varied):
    y = symbol.at(s, index)
    m = _begin(s, _IMBALANCE, _imbalance.LENGTH, _imbalance.TYPE, symbol.locate(y))
    _imbalance.set_paired_shares(m, np.uint64(paired))
    _imbalance.set_imbalance_shares(m, np.uint64(imbalance))
    _imbalance.set_imbalance_direction(m, np.uint64(direction))
    _imbalance.set_stock(m, symbol.stock(y))
    _imbalance.set_far_price(m, np.uint64(far))
    _imbalance.set_near_price(m, np.uint64(near))
    _imbalance.set_current_reference_price(m, np.uint64(reference))
    _imbalance.set_cross_type(m, np.uint64(cross_type))
    _imbalance.set_price_variation_indicator(m, np.uint64(varied))


@inner
def say_collar(s, index, reference, lower, upper, extension):
    y = symbol.at(s, index)
    m = _begin(s, _COLLAR, _collar.LENGTH, _collar.TYPE, symbol.locate(y))
    _collar.set_stock(m, symbol.stock(y))
    _collar.set_auction_collar_reference_price(m, np.uint64(reference))
    _collar.set_upper_auction_collar_price(m, np.uint64(upper))
    _collar.set_lower_auction_collar_price(m, np.uint64(lower))
    _collar.set_auction_collar_extension(m, np.uint64(extension))


@inner
def say_retail_interest(s, index, interest):
    y = symbol.at(s, index)
    m = _begin(s, _RETAIL, _retail.LENGTH, _retail.TYPE, symbol.locate(y))
    _retail.set_stock(m, symbol.stock(y))
    _retail.set_interest_flag(m, np.uint64(interest))


@inner
def say_prepared(s, entry):
    """A message that the script has ready: its bytes as they are, but for the time."""
    length = np.uint64(script.length(entry))
    m = session.out(s) + PREFIX
    source = session.prepared(s) + np.uint64(script.message(entry))
    copy_bytes(m - PREFIX, source, length + PREFIX)
    _stamp(s, m, length, script.code(entry))
