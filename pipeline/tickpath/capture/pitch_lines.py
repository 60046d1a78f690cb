"""One line of TCP PITCH text said as a message of binary PITCH.

What text cannot say stays out: nanoseconds below a millisecond, units and sequence numbers,
modifications, executions at other prices, the session's end.  What binary PITCH cannot say is that
a single symbol's book is cleared: `walk_lines` counts such lines by themselves.
"""

import numpy as np

from tickpath.jit import leaf
from tickpath.memory import copy_bytes, load_u8
from tickpath.wire import hot
from tickpath.wire.pitch241 import DISPLAY, PITCH241
from tickpath.wire.pitch_ascii import DISPLAYED, PITCH_ASCII

_ZERO = np.uint64(0)
_TEN, _THIRTY_SIX = np.uint64(10), np.uint64(36)
_LARGEST_32 = np.uint64(0xFFFF_FFFF)
BAD = np.uint64(1 << 63)
"""Stands for a number that its characters do not spell."""
_NOUGHT, _A, _LETTERS = np.uint64(ord("0")), np.uint64(ord("A")), np.uint64(26)
_DISPLAYED = np.uint64(ord(DISPLAYED))
_DISPLAY = np.uint64(DISPLAY)

_add = hot.message(PITCH_ASCII["add_order_short"])
_add_8 = hot.message(PITCH_ASCII["add_order_long"])
_executed = hot.message(PITCH_ASCII["order_executed"])
_cancel = hot.message(PITCH_ASCII["order_cancel"])
_trade = hot.message(PITCH_ASCII["trade_short"])
_trade_8 = hot.message(PITCH_ASCII["trade_long"])
_break = hot.message(PITCH_ASCII["trade_break"])
_status = hot.message(PITCH_ASCII["trading_status"])
_update = hot.message(PITCH_ASCII["auction_update"])
_summary = hot.message(PITCH_ASCII["auction_summary"])
_rpi = hot.message(PITCH_ASCII["retail_price_improvement"])
symbol_clear = hot.message(PITCH_ASCII["symbol_clear"])

time_message = hot.message(PITCH241["time"])
_any = hot.message(PITCH241["unit_clear"])
_add_long = hot.message(PITCH241["add_order_long"])
_add_expanded = hot.message(PITCH241["add_order_expanded"])
_order_executed = hot.message(PITCH241["order_executed"])
_reduce = hot.message(PITCH241["reduce_size_long"])
_trade_long = hot.message(PITCH241["trade_long"])
_trade_expanded = hot.message(PITCH241["trade_expanded"])
_trade_break = hot.message(PITCH241["trade_break"])
_trading_status = hot.message(PITCH241["trading_status"])
_auction_update = hot.message(PITCH241["auction_update"])
_auction_summary = hot.message(PITCH241["auction_summary"])
_retail = hot.message(PITCH241["retail_price_improvement"])

MOST_BYTES = PITCH241["time"].length + max(each.length for each in PITCH241.messages)
"""What one line may give."""


def _decimal(message, name):
    """``(line) -> number`` of a field in digits; `BAD` where they are not."""
    field = PITCH_ASCII[message][name]
    assert field.base == "digits"
    first, size = np.uint64(field.offset), np.uint64(field.size)

    @leaf
    def read(m):
        number, wrong = _ZERO, False
        for each in range(size):
            digit = load_u8(m + first + np.uint64(each)) - _NOUGHT
            wrong |= digit >= _TEN
            number = number * _TEN + digit
        return BAD if wrong else number

    return read


def _identifier(message, name):
    """``(line) -> number`` of a field in base 36; `BAD` where it is not."""
    field = PITCH_ASCII[message][name]
    first, size = np.uint64(field.offset), np.uint64(field.size)
    assert 36**field.size < 1 << 63

    @leaf
    def read(m):
        number, wrong = _ZERO, False
        for each in range(size):
            character = load_u8(m + first + np.uint64(each))
            digit, letter = character - _NOUGHT, character - _A
            wrong |= (digit >= _TEN) & (letter >= _LETTERS)
            number = number * _THIRTY_SIX + (digit if digit < _TEN else letter + _TEN)
        return BAD if wrong else number

    return read


milliseconds_of = _decimal("add_order_short", "timestamp")
_order_id = _identifier("add_order_short", "order_id")
_shares = _decimal("add_order_short", "shares")
_price_6 = _decimal("add_order_short", "price")
_price_8 = _decimal("add_order_long", "price")
_executed_shares = _decimal("order_executed", "executed_shares")
_executed_id = _identifier("order_executed", "execution_id")
_canceled_shares = _decimal("order_cancel", "canceled_shares")
_trade_id_6 = _identifier("trade_short", "execution_id")
_trade_id_8 = _identifier("trade_long", "execution_id")
_break_id = _identifier("trade_break", "execution_id")
_reference_price = _decimal("auction_update", "reference_price")
_buy_shares = _decimal("auction_update", "buy_shares")
_sell_shares = _decimal("auction_update", "sell_shares")
_indicative_price = _decimal("auction_update", "indicative_price")
_auction_only_price = _decimal("auction_update", "auction_only_price")
_summary_price = _decimal("auction_summary", "price")
_summary_shares = _decimal("auction_summary", "shares")

_SAME_PLACE = {
    "order_id": ("add_order_long", "order_executed", "order_cancel", "trade_short", "trade_long"),
    "shares": ("add_order_long", "trade_short", "trade_long"),
    "side_indicator": ("add_order_long", "trade_short", "trade_long"),
}
assert all(
    PITCH_ASCII[message][name].offset == PITCH_ASCII["add_order_short"][name].offset
    for name, messages in _SAME_PLACE.items()
    for message in messages
)
assert PITCH_ASCII["trade_short"]["price"] == PITCH_ASCII["add_order_short"]["price"]
assert PITCH_ASCII["trade_long"]["price"] == PITCH_ASCII["add_order_long"]["price"]


@leaf
def begin(out, message_length, code, offset):
    _any.set_message_length(out, message_length)
    _any.set_message_type(out, code)
    _any.set_time_offset(out, offset)
    return message_length


@leaf
def _say_add(m, out, offset, code):
    order_id, shares = _order_id(m), _shares(m)
    price = _price_6(m) if code == _add.TYPE else _price_8(m)
    if (order_id | shares | price) >= BAD:
        return _ZERO
    if code == _add.TYPE:
        length = begin(out, _add_long.LENGTH, _add_long.TYPE, offset)
        flags = _DISPLAY if _add.display(m) == _DISPLAYED else _ZERO
        copy_bytes(out + _add_long.SYMBOL_OFFSET, m + _add.STOCK_SYMBOL_OFFSET, _SIX)
        _add_long.set_price(out, price)
        _add_long.set_add_order_flags(out, flags)
    else:
        length = begin(out, _add_expanded.LENGTH, _add_expanded.TYPE, offset)
        flags = _DISPLAY if _add_8.display(m) == _DISPLAYED else _ZERO
        _add_expanded.set_symbol_extended(out, _add_8.stock_symbol(m))
        _add_expanded.set_price(out, price)
        _add_expanded.set_add_order_flags(out, flags)
        _add_expanded.set_participant_id(out, _add_8.participant_id(m))
        _add_expanded.set_customer_indicator(out, _add_8.customer_indicator(m))
    # These stand at the same place in both forms.
    _add_long.set_order_id(out, order_id)
    _add_long.set_side_indicator(out, _add.side_indicator(m))
    _add_long.set_quantity(out, shares)
    return length


_SIX = np.uint64(PITCH241["add_order_long"]["symbol"].size)
assert PITCH_ASCII["add_order_short"]["stock_symbol"].size == _SIX
assert all(
    PITCH241[message][name].offset == PITCH241["add_order_long"][name].offset
    for name in ("order_id", "side_indicator", "quantity")
    for message in ("add_order_expanded", "trade_long", "trade_expanded")
)


@leaf
def _say_trade(m, out, offset, code):
    order_id, shares = _order_id(m), _shares(m)
    price = _price_6(m) if code == _trade.TYPE else _price_8(m)
    execution_id = _trade_id_6(m) if code == _trade.TYPE else _trade_id_8(m)
    if (order_id | shares | price | execution_id) >= BAD:
        return _ZERO
    if code == _trade.TYPE:
        length = begin(out, _trade_long.LENGTH, _trade_long.TYPE, offset)
        copy_bytes(out + _trade_long.SYMBOL_OFFSET, m + _trade.STOCK_SYMBOL_OFFSET, _SIX)
        _trade_long.set_price(out, price)
        _trade_long.set_execution_id(out, execution_id)
    else:
        length = begin(out, _trade_expanded.LENGTH, _trade_expanded.TYPE, offset)
        _trade_expanded.set_symbol_extended(out, _trade_8.stock_symbol(m))
        _trade_expanded.set_price(out, price)
        _trade_expanded.set_execution_id(out, execution_id)
    _trade_long.set_order_id(out, order_id)
    _trade_long.set_side_indicator(out, _trade.side_indicator(m))
    _trade_long.set_quantity(out, shares)
    return length


@leaf
def _say_executed(m, out, offset):
    order_id, shares, execution_id = _order_id(m), _executed_shares(m), _executed_id(m)
    if (order_id | shares | execution_id) >= BAD:
        return _ZERO
    _order_executed.set_order_id(out, order_id)
    _order_executed.set_executed_quantity(out, shares)
    _order_executed.set_execution_id(out, execution_id)
    return begin(out, _order_executed.LENGTH, _order_executed.TYPE, offset)


@leaf
def _say_cancel(m, out, offset):
    order_id, shares = _order_id(m), _canceled_shares(m)
    if (order_id | shares) >= BAD:
        return _ZERO
    _reduce.set_order_id(out, order_id)
    _reduce.set_canceled_quantity(out, shares)
    return begin(out, _reduce.LENGTH, _reduce.TYPE, offset)


@leaf
def _say_update(m, out, offset):
    reference, indicative = _reference_price(m), _indicative_price(m)
    buys, sells, only = _buy_shares(m), _sell_shares(m), _auction_only_price(m)
    # Ten digits may be more than the binary form's four bytes hold.
    if (reference | indicative | only) >= BAD or max(buys, sells) > _LARGEST_32:
        return _ZERO
    _auction_update.set_symbol_extended(out, _update.stock_symbol(m))
    _auction_update.set_auction_type(out, _update.auction_type(m))
    _auction_update.set_reference_price(out, reference)
    _auction_update.set_buy_shares(out, buys)
    _auction_update.set_sell_shares(out, sells)
    _auction_update.set_indicative_price(out, indicative)
    _auction_update.set_auction_only_price(out, only)
    return begin(out, _auction_update.LENGTH, _auction_update.TYPE, offset)


@leaf
def _say_summary(m, out, offset):
    price, shares = _summary_price(m), _summary_shares(m)
    if price >= BAD or shares > _LARGEST_32:
        return _ZERO
    _auction_summary.set_symbol_extended(out, _summary.stock_symbol(m))
    _auction_summary.set_auction_opening_type(out, _summary.auction_type(m))
    _auction_summary.set_price(out, price)
    _auction_summary.set_shares_contracts(out, shares)
    return begin(out, _auction_summary.LENGTH, _auction_summary.TYPE, offset)


@leaf
def _say_other(m, out, offset, code):
    if code == _break.TYPE:
        execution_id = _break_id(m)
        if execution_id >= BAD:
            return _ZERO
        _trade_break.set_execution_id(out, execution_id)
        return begin(out, _trade_break.LENGTH, _trade_break.TYPE, offset)
    if code == _status.TYPE:
        _trading_status.set_symbol_extended(out, _status.stock_symbol(m))
        _trading_status.set_trading_status(out, _status.halt_status(m))
        _trading_status.set_reg_sho_action(out, _status.reg_sho_action(m))
        reserved = _status.reserved_1(m) << np.uint64(8) | _status.reserved_2(m)
        _trading_status.set_padding(out, reserved)
        return begin(out, _trading_status.LENGTH, _trading_status.TYPE, offset)
    if code == _update.TYPE:
        return _say_update(m, out, offset)
    if code == _summary.TYPE:
        return _say_summary(m, out, offset)
    _retail.set_symbol(out, _rpi.stock_symbol(m))
    _retail.set_retail_price_improvement(out, _rpi.retail_price_improvement(m))
    return begin(out, _retail.LENGTH, _retail.TYPE, offset)


@leaf
def convert(m, out, offset, code):
    """Say the whole line at ``m`` at ``out``; the message's length, 0 for a line that is wrong."""
    if code == _add.TYPE or code == _add_8.TYPE:
        return _say_add(m, out, offset, code)
    if code == _cancel.TYPE:
        return _say_cancel(m, out, offset)
    if code == _executed.TYPE:
        return _say_executed(m, out, offset)
    if code == _trade.TYPE or code == _trade_8.TYPE:
        return _say_trade(m, out, offset, code)
    return _say_other(m, out, offset, code)
