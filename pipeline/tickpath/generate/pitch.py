"""The market's ITCH messages said in PITCH 2.41, one by one: the same market on another venue.

`convert` writes at most one PITCH message for one of ITCH and keeps what is true of the symbols'
prints; `translate` makes runs of them, `pitch_packets` packets.  What the venues say differently:

- An order keeps its identifier when it is modified.  A replacement is a modify that loses its
  place; every fourth partial cancel is one that keeps it, the others are reductions.
- The short form of a message is taken wherever everything fits it, the expanded one where the
  symbol is longer than six characters or a participant is named.
- A cross executes displayed orders one by one at its price, and a summary says what it came to;
  there is no bulk print.  Nothing is said about a cross of no shares, nor if its print is broken.
- PITCH has no directory, market makers, circuit breakers, collars or IPO notices: nothing is said.
  In a pause orders are accepted for queuing, an operational halt is a suspension by the exchange,
  and a status says both trading status and Reg SHO.
"""

import numpy as np

from tickpath.generate import pitch_orders
from tickpath.generate.draw import GOLDEN
from tickpath.generate.pace import SECOND
from tickpath.generate.pitch_state import issue, latest, live, translation, type_count
from tickpath.generate.state import TRADES, inner
from tickpath.generate.templates import HEADER, PREFIX
from tickpath.jit import entry, leaf
from tickpath.memory import lend_message, lend_run, wire_store
from tickpath.wire import hot
from tickpath.wire.itch50 import ITCH50
from tickpath.wire.moldudp64 import MOLDUDP64
from tickpath.wire.pitch241 import DISPLAY, MAINTAIN_PRIORITY, PITCH241
from tickpath.wire.table import Message

block = hot.message(MOLDUDP64["message_block"])
header = hot.message(HEADER)
system_event = hot.message(ITCH50["system_event"])
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
_retail = hot.message(ITCH50["retail_interest"])
_action = hot.message(ITCH50["stock_trading_action"])
_reg_sho = hot.message(ITCH50["reg_sho_short_sale_price_test_restricted_indicator"])
_operational = hot.message(ITCH50["operational_halt"])

time_message = hot.message(PITCH241["time"])
_first_fields = hot.message(PITCH241["unit_clear"])
"""The three fields that every message but these two starts with."""
assert all(
    [each.offset for each in message.fields[:3]] == [0, 1, 2]
    for message in PITCH241.messages
    if message.type
)
end_of_session = hot.message(PITCH241["end_of_session"])
_add_short = hot.message(PITCH241["add_order_short"])
_add_long = hot.message(PITCH241["add_order_long"])
_add_expanded = hot.message(PITCH241["add_order_expanded"])
_order_executed = hot.message(PITCH241["order_executed"])
_at_price = hot.message(PITCH241["order_executed_at_price_size"])
_reduce_short = hot.message(PITCH241["reduce_size_short"])
_reduce_long = hot.message(PITCH241["reduce_size_long"])
_modify_short = hot.message(PITCH241["modify_order_short"])
_modify_long = hot.message(PITCH241["modify_order_long"])
_delete_order = hot.message(PITCH241["delete_order"])
_trade_short = hot.message(PITCH241["trade_short"])
_trade_long = hot.message(PITCH241["trade_long"])
_trade_expanded = hot.message(PITCH241["trade_expanded"])
_trade_break = hot.message(PITCH241["trade_break"])
_trading_status = hot.message(PITCH241["trading_status"])
_auction_update = hot.message(PITCH241["auction_update"])
_auction_summary = hot.message(PITCH241["auction_summary"])
_rpi = hot.message(PITCH241["retail_price_improvement"])

LONGEST = max(each.length for each in PITCH241.messages)
"""Bytes of the longest message."""


def _six_characters(message: Message):
    """Stores of a six-character symbol: its first four characters and its last two."""
    at = message["symbol"].offset
    return wire_store(32, at, True), wire_store(16, at + 4, True)


_set_short_4, _set_short_2 = _six_characters(PITCH241["add_order_short"])
_set_long_4, _set_long_2 = _six_characters(PITCH241["add_order_long"])
# A trade's symbol stands where that of the add of the same form does.
assert PITCH241["trade_short"]["symbol"] == PITCH241["add_order_short"]["symbol"]
assert PITCH241["trade_long"]["symbol"] == PITCH241["add_order_long"]["symbol"]

_ZERO, _ONE = np.uint64(0), np.uint64(1)
_16, _32, _62 = np.uint64(16), np.uint64(32), np.uint64(62)
_LARGEST_16, _LARGEST_32 = np.uint64(0xFFFF), np.uint64(0xFFFF_FFFF)
_SECOND = np.uint64(SECOND)
_CENT = np.uint64(100)
_BLANK, _TWO_BLANKS = np.uint64(ord(" ")), np.uint64(0x2020)
_DISPLAY = np.uint64(DISPLAY)
_KEEPS = np.uint64(DISPLAY | MAINTAIN_PRIORITY)
_TRADES = np.uint64(TRADES)
_YES, _HALTED, _PAUSED = np.uint64(ord("Y")), np.uint64(ord("H")), np.uint64(ord("P"))
_QUEUING = np.uint64(ord("A"))
_SUSPENDED, _NO_TEST, _TEST = np.uint64(ord("S")), np.uint64(ord("0")), np.uint64(ord("1"))
_BUY, _SELL = np.uint64(ord("B")), np.uint64(ord("S"))


# ---------------------------------------------------------------- what messages share


@leaf
def begin(t, out, length, code, offset):
    """The first fields of a message, and its count; its length."""
    _first_fields.set_message_length(out, length)
    _first_fields.set_message_type(out, code)
    _first_fields.set_time_offset(out, offset)
    counted = type_count.at(t, code)
    type_count.set_messages(counted, type_count.messages(counted) + _ONE)
    translation.set_messages(t, translation.messages(t) + _ONE)
    return length


@leaf
def _fits(shares, price):
    """True where both fit the short forms: two bytes each, the price in cents."""
    return (shares <= _LARGEST_16) & (price % _CENT == _ZERO) & (price // _CENT <= _LARGEST_16)


@leaf
def _is_long(stock):
    """True for a symbol of more than six characters."""
    return stock & _LARGEST_16 != _TWO_BLANKS


@inner
def _stranger(t):
    translation.set_strangers(t, translation.strangers(t) + _ONE)
    return _ZERO


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
def _reduced(t, o, shares):
    """Take shares off an order, which is forgotten when none are left; what is left."""
    left = live.shares(o) - shares
    if left == _ZERO:
        pitch_orders.remove(t, o)
    else:
        live.set_shares(o, left)
    return left


# ---------------------------------------------------------------- orders


@inner
def _say_add(t, y, m, out, offset, code):
    reference, side = _add.order_reference_number(m), _add.buy_sell_indicator(m)
    shares, price, stock = _add.shares(m), _add.price(m), _add.stock(m)
    order_id = issue.order_base(y) + reference
    pitch_orders.insert(t, reference, order_id, price, shares)
    if (code == _attributed.TYPE) | _is_long(stock):
        participant = _attributed.attribution(m) if code == _attributed.TYPE else _FOUR_BLANKS
        length = begin(t, out, _add_expanded.LENGTH, _add_expanded.TYPE, offset)
        _add_expanded.set_quantity(out, shares)
        _add_expanded.set_symbol_extended(out, stock)
        _add_expanded.set_price(out, price)
        _add_expanded.set_add_order_flags(out, _DISPLAY)
        _add_expanded.set_participant_id(out, participant)
        _add_expanded.set_customer_indicator(out, _BLANK)
    elif _fits(shares, price):
        length = begin(t, out, _add_short.LENGTH, _add_short.TYPE, offset)
        _add_short.set_quantity_short(out, shares)
        _set_short_4(out, stock >> _32)
        _set_short_2(out, stock >> _16)
        _add_short.set_price_short(out, price // _CENT)
        _add_short.set_add_order_flags(out, _DISPLAY)
    else:
        length = begin(t, out, _add_long.LENGTH, _add_long.TYPE, offset)
        _add_long.set_quantity(out, shares)
        _set_long_4(out, stock >> _32)
        _set_long_2(out, stock >> _16)
        _add_long.set_price(out, price)
        _add_long.set_add_order_flags(out, _DISPLAY)
    # Identifier and side stand at the same place in every form.
    _add_short.set_order_id(out, order_id)
    _add_short.set_side_indicator(out, side)
    return length


_FOUR_BLANKS = np.uint64(0x20202020)
_FORMS = ("add_order_long", "add_order_expanded", "trade_short", "trade_long", "trade_expanded")
assert all(
    PITCH241[form][name].offset == PITCH241["add_order_short"][name].offset
    for form in _FORMS
    for name in ("order_id", "side_indicator")
)


@inner
def _say_modify(t, out, offset, order_id, shares, price, flags):
    if _fits(shares, price):
        length = begin(t, out, _modify_short.LENGTH, _modify_short.TYPE, offset)
        _modify_short.set_quantity_short(out, shares)
        _modify_short.set_price_short(out, price // _CENT)
        _modify_short.set_modify_order_flags(out, flags)
    else:
        length = begin(t, out, _modify_long.LENGTH, _modify_long.TYPE, offset)
        _modify_long.set_quantity(out, shares)
        _modify_long.set_price(out, price)
        _modify_long.set_modify_order_flags(out, flags)
    _modify_short.set_order_id(out, order_id)
    return length


@inner
def _say_replace(t, m, out, offset):
    o = pitch_orders.find(t, _replace.original_order_reference_number(m))
    if o == _ZERO:
        return _stranger(t)
    order_id, price, shares = live.order_id(o), _replace.price(m), _replace.shares(m)
    pitch_orders.remove(t, o)
    pitch_orders.insert(t, _replace.new_order_reference_number(m), order_id, price, shares)
    return _say_modify(t, out, offset, order_id, shares, price, _DISPLAY)


@inner
def _say_cancel(t, m, out, offset):
    """Part of an order is cancelled."""
    reference, shares = _cancel.order_reference_number(m), _cancel.canceled_shares(m)
    o = pitch_orders.find(t, reference)
    if o == _ZERO:
        return _stranger(t)
    order_id, price = live.order_id(o), live.price(o)
    left = _reduced(t, o, shares)
    if (reference * GOLDEN) >> _62 == _ZERO and left != _ZERO:
        return _say_modify(t, out, offset, order_id, left, price, _KEEPS)
    if shares <= _LARGEST_16:
        length = begin(t, out, _reduce_short.LENGTH, _reduce_short.TYPE, offset)
        _reduce_short.set_canceled_quantity_short(out, shares)
    else:
        length = begin(t, out, _reduce_long.LENGTH, _reduce_long.TYPE, offset)
        _reduce_long.set_canceled_quantity(out, shares)
    _reduce_short.set_order_id(out, order_id)
    return length


@inner
def _say_delete(t, m, out, offset):
    o = pitch_orders.find(t, _delete.order_reference_number(m))
    if o == _ZERO:
        return _stranger(t)
    _delete_order.set_order_id(out, live.order_id(o))
    pitch_orders.remove(t, o)
    return begin(t, out, _delete_order.LENGTH, _delete_order.TYPE, offset)


# ---------------------------------------------------------------- executions and trades


@inner
def _say_executed(t, y, locate, m, out, offset, code):
    o = pitch_orders.find(t, _executed.order_reference_number(m))
    if o == _ZERO:
        return _stranger(t)
    order_id, shares = live.order_id(o), _executed.executed_shares(m)
    match = _executed.match_number(m)
    execution_id = translation.execution_base(t) + match
    price = _priced.execution_price(m) if code == _priced.TYPE else live.price(o)
    left = _reduced(t, o, shares)
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
def _say_trade(t, y, locate, m, out, offset):
    """A trade against an order that was never displayed."""
    shares, price, stock = _hidden.shares(m), _hidden.price(m), _hidden.stock(m)
    match = _hidden.match_number(m)
    execution_id = translation.execution_base(t) + match
    if _is_long(stock):
        length = begin(t, out, _trade_expanded.LENGTH, _trade_expanded.TYPE, offset)
        _trade_expanded.set_quantity(out, shares)
        _trade_expanded.set_symbol_extended(out, stock)
        _trade_expanded.set_price(out, price)
        _trade_expanded.set_execution_id(out, execution_id)
    elif _fits(shares, price):
        length = begin(t, out, _trade_short.LENGTH, _trade_short.TYPE, offset)
        _trade_short.set_quantity_short(out, shares)
        _set_short_4(out, stock >> _32)
        _set_short_2(out, stock >> _16)
        _trade_short.set_price_short(out, price // _CENT)
        _trade_short.set_execution_id(out, execution_id)
    else:
        length = begin(t, out, _trade_long.LENGTH, _trade_long.TYPE, offset)
        _trade_long.set_quantity(out, shares)
        _set_long_4(out, stock >> _32)
        _set_long_2(out, stock >> _16)
        _trade_long.set_price(out, price)
        _trade_long.set_execution_id(out, execution_id)
    _trade_short.set_order_id(out, issue.order_base(y) + translation.hidden_base(t) + match)
    _trade_short.set_side_indicator(out, _hidden.buy_sell_indicator(m))
    _tally(y, shares, price)
    _note_print(t, locate, match, shares, price, _ZERO)
    return length


@inner
def _say_break(t, m, out, offset):
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
    return _stranger(t)


@inner
def _say_cross(t, y, locate, m, out, offset):
    shares, price = _cross.cross_shares(m), _cross.cross_price(m)
    if shares == _ZERO:
        return _ZERO
    _note_print(t, locate, _cross.match_number(m), shares, price, _ONE)
    length = begin(t, out, _auction_summary.LENGTH, _auction_summary.TYPE, offset)
    _auction_summary.set_symbol_extended(out, issue.stock(y))
    _auction_summary.set_auction_opening_type(out, _cross.cross_type(m))
    _auction_summary.set_price(out, price)
    _auction_summary.set_shares_contracts(out, min(shares, _LARGEST_32))
    return length


@inner
def _say_imbalance(t, y, m, out, offset):
    paired, more = _imbalance.paired_shares(m), _imbalance.imbalance_shares(m)
    direction = _imbalance.imbalance_direction(m)
    buys = paired + (more if direction == _BUY else _ZERO)
    sells = paired + (more if direction == _SELL else _ZERO)
    length = begin(t, out, _auction_update.LENGTH, _auction_update.TYPE, offset)
    _auction_update.set_symbol_extended(out, issue.stock(y))
    _auction_update.set_auction_type(out, _imbalance.cross_type(m))
    _auction_update.set_reference_price(out, _imbalance.current_reference_price(m))
    _auction_update.set_buy_shares(out, min(buys, _LARGEST_32))
    _auction_update.set_sell_shares(out, min(sells, _LARGEST_32))
    _auction_update.set_indicative_price(out, _imbalance.near_price(m))
    _auction_update.set_auction_only_price(out, _imbalance.far_price(m))
    return length


# ---------------------------------------------------------------- the symbol's state


@inner
def _say_status(t, y, out, offset):
    status = issue.trading_state(y) if issue.operational(y) == _ZERO else _SUSPENDED
    issue.set_trading_status(y, status)
    length = begin(t, out, _trading_status.LENGTH, _trading_status.TYPE, offset)
    _trading_status.set_symbol_extended(out, issue.stock(y))
    _trading_status.set_trading_status(out, status)
    _trading_status.set_reg_sho_action(out, issue.reg_sho_action(y))
    _trading_status.set_padding(out, _TWO_BLANKS)
    return length


@inner
def _say_about_symbol(t, y, m, out, offset, code):
    if code == _action.TYPE:
        state = _action.trading_state(m)
        issue.set_trading_state(y, _QUEUING if state == _PAUSED else state)
        return _say_status(t, y, out, offset)
    if code == _operational.TYPE:
        halts = _operational.operational_halt_action(m) == _HALTED
        issue.set_operational(y, _ONE if halts else _ZERO)
        return _say_status(t, y, out, offset)
    if code == _reg_sho.TYPE:
        tested = _TEST if _reg_sho.reg_sho_action(m) != _NO_TEST else _NO_TEST
        if tested == issue.reg_sho_action(y):
            return _ZERO
        issue.set_reg_sho_action(y, tested)
        return _say_status(t, y, out, offset)
    if code == _imbalance.TYPE:
        return _say_imbalance(t, y, m, out, offset)
    if code == _retail.TYPE:
        length = begin(t, out, _rpi.LENGTH, _rpi.TYPE, offset)
        _rpi.set_symbol(out, issue.stock(y))
        _rpi.set_retail_price_improvement(out, _retail.interest_flag(m))
        return length
    return _ZERO


@inner
def convert(t, m, out, offset):
    """Say the ITCH message at ``m`` at ``out``, ``offset`` ns into its second; its length or 0.

    The message is one about a symbol.
    """
    code, locate = header.message_type(m), header.stock_locate(m)
    y = issue.at(t, locate - _ONE)
    if code == _add.TYPE or code == _attributed.TYPE:
        return _say_add(t, y, m, out, offset, code)
    if code == _delete.TYPE:
        return _say_delete(t, m, out, offset)
    if code == _replace.TYPE:
        return _say_replace(t, m, out, offset)
    if code == _executed.TYPE or code == _priced.TYPE:
        return _say_executed(t, y, locate, m, out, offset, code)
    if code == _cancel.TYPE:
        return _say_cancel(t, m, out, offset)
    if code == _hidden.TYPE:
        return _say_trade(t, y, locate, m, out, offset)
    if code == _cross.TYPE:
        return _say_cross(t, y, locate, m, out, offset)
    if code == _broken.TYPE:
        return _say_break(t, m, out, offset)
    return _say_about_symbol(t, y, m, out, offset, code)


@inner
def say_time(t, out, second):
    """A time message; its length."""
    length = begin(t, out, time_message.LENGTH, time_message.TYPE, _ZERO)
    time_message.set_time(out, second)
    return length


@inner
def say_end(t, out, offset):
    """The end of the session; its length."""
    return begin(t, out, end_of_session.LENGTH, end_of_session.TYPE, offset)


@leaf
def is_end(m):
    """True for the ITCH message that ends the session."""
    return (header.message_type(m) == system_event.TYPE) & (
        system_event.event_code(m) == _END_OF_MESSAGES
    )


_END_OF_MESSAGES = np.uint64(ord("C"))


# ---------------------------------------------------------------- runs


@entry
def translate(t, at, end, out):
    """The ITCH messages in ``[at, end)`` as one run of PITCH at ``out``; the run's end.

    A time message stands wherever the second changes, as if all symbols were one unit's.
    """
    lend_message(at, end)
    lend_run(at, end)
    while at < end:
        m = at + PREFIX
        at = m + block.message_length(at)
        time = header.timestamp(m)
        second = time // _SECOND
        offset, is_last = time - second * _SECOND, is_end(m)
        if header.stock_locate(m) == _ZERO and not is_last:
            continue
        lead = _ZERO if second == translation.second(t) else time_message.LENGTH
        if is_last:
            length = say_end(t, out + lead, offset)
        else:
            length = convert(t, m, out + lead, offset)
        if length == _ZERO:
            continue
        if lead != _ZERO:
            say_time(t, out, second)
            translation.set_second(t, second)
        out += lead + length
    return out


@entry
def order_ids(t, references):
    """Replace the market's references, ``int64[n]``, by the identifiers that PITCH says."""
    for index in range(references.size):
        o = pitch_orders.find(t, np.uint64(references[index]))
        references[index] = -1 if o == _ZERO else np.int64(live.order_id(o))
