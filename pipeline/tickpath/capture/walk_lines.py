"""The hot part of reading TCP PITCH text: from lines to binary PITCH messages in a buffer.

A line gives one message and, where its second differs from that of the line before, a time message
in front of it.  Whatever is no line costs a count and the bytes up to the next end of line; nothing
outside the window is read.

What text cannot say stays out: nanoseconds below a millisecond, units and sequence numbers,
modifications, executions at other prices, the session's end.  What binary PITCH cannot say is that
a single symbol's book is cleared: such lines are counted by themselves.
"""

import numpy as np

from tickpath import memory
from tickpath.capture import counters as slot
from tickpath.capture.walk import FULL, MORE
from tickpath.jit import entry, leaf
from tickpath.memory import copy_bytes, load_u8
from tickpath.wire import hot
from tickpath.wire.pitch241 import DISPLAY, PITCH241
from tickpath.wire.pitch_ascii import DISPLAYED, PITCH_ASCII, SEQUENCED

NO_SECOND = 1 << 32
STATE = np.dtype([("second", "<u8"), ("skipping", "<u8")])
"""What goes from one window to the next: the second that was said last, and whether the window
ended inside something that is no line."""

_ZERO, _ONE = np.uint64(0), np.uint64(1)
_TEN, _THIRTY_SIX = np.uint64(10), np.uint64(36)
_THOUSAND, _MILLISECOND = np.uint64(1_000), np.uint64(1_000_000)
_DAY_MS = np.uint64(86_400_000)
_LARGEST_32 = np.uint64(0xFFFF_FFFF)
_BAD = np.uint64(1 << 63)
"""Stands for a number that its characters do not spell."""
_LINE_FEED, _RETURN = np.uint64(ord("\n")), np.uint64(ord("\r"))
_NINE, _A, _LETTERS = np.uint64(ord("0")), np.uint64(ord("A")), np.uint64(26)
_SEQUENCED, _DISPLAYED = np.uint64(ord(SEQUENCED)), np.uint64(ord(DISPLAYED))
_DISPLAY = np.uint64(DISPLAY)
_LENGTHS = PITCH_ASCII.lengths.astype(np.uint64)
_TYPE = np.uint64(PITCH_ASCII.type_offset)

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
_clear = hot.message(PITCH_ASCII["symbol_clear"])

_time = hot.message(PITCH241["time"])
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
    """``(line) -> number`` of a field in digits; `_BAD` where they are not."""
    field = PITCH_ASCII[message][name]
    assert field.base == "digits"
    first, size = np.uint64(field.offset), np.uint64(field.size)

    @leaf
    def read(m):
        number, wrong = _ZERO, False
        for each in range(size):
            digit = load_u8(m + first + np.uint64(each)) - _NINE
            wrong |= digit >= _TEN
            number = number * _TEN + digit
        return _BAD if wrong else number

    return read


def _identifier(message, name):
    """``(line) -> number`` of a field in base 36; `_BAD` where it is not."""
    field = PITCH_ASCII[message][name]
    first, size = np.uint64(field.offset), np.uint64(field.size)
    assert 36**field.size < 1 << 63

    @leaf
    def read(m):
        number, wrong = _ZERO, False
        for each in range(size):
            character = load_u8(m + first + np.uint64(each))
            digit, letter = character - _NINE, character - _A
            wrong |= (digit >= _TEN) & (letter >= _LETTERS)
            number = number * _THIRTY_SIX + (digit if digit < _TEN else letter + _TEN)
        return _BAD if wrong else number

    return read


_milliseconds = _decimal("add_order_short", "timestamp")
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
def _begin(out, message_length, code, offset):
    _any.set_message_length(out, message_length)
    _any.set_message_type(out, code)
    _any.set_time_offset(out, offset)
    return message_length


@leaf
def _say_add(m, out, offset, code):
    order_id, shares = _order_id(m), _shares(m)
    price = _price_6(m) if code == _add.TYPE else _price_8(m)
    if (order_id | shares | price) >= _BAD:
        return _ZERO
    if code == _add.TYPE:
        length = _begin(out, _add_long.LENGTH, _add_long.TYPE, offset)
        flags = _DISPLAY if _add.display(m) == _DISPLAYED else _ZERO
        copy_bytes(out + _add_long.SYMBOL_OFFSET, m + _add.STOCK_SYMBOL_OFFSET, _SIX)
        _add_long.set_price(out, price)
        _add_long.set_add_order_flags(out, flags)
    else:
        length = _begin(out, _add_expanded.LENGTH, _add_expanded.TYPE, offset)
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
    if (order_id | shares | price | execution_id) >= _BAD:
        return _ZERO
    if code == _trade.TYPE:
        length = _begin(out, _trade_long.LENGTH, _trade_long.TYPE, offset)
        copy_bytes(out + _trade_long.SYMBOL_OFFSET, m + _trade.STOCK_SYMBOL_OFFSET, _SIX)
        _trade_long.set_price(out, price)
        _trade_long.set_execution_id(out, execution_id)
    else:
        length = _begin(out, _trade_expanded.LENGTH, _trade_expanded.TYPE, offset)
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
    if (order_id | shares | execution_id) >= _BAD:
        return _ZERO
    _order_executed.set_order_id(out, order_id)
    _order_executed.set_executed_quantity(out, shares)
    _order_executed.set_execution_id(out, execution_id)
    return _begin(out, _order_executed.LENGTH, _order_executed.TYPE, offset)


@leaf
def _say_cancel(m, out, offset):
    order_id, shares = _order_id(m), _canceled_shares(m)
    if (order_id | shares) >= _BAD:
        return _ZERO
    _reduce.set_order_id(out, order_id)
    _reduce.set_canceled_quantity(out, shares)
    return _begin(out, _reduce.LENGTH, _reduce.TYPE, offset)


@leaf
def _say_update(m, out, offset):
    reference, indicative = _reference_price(m), _indicative_price(m)
    buys, sells, only = _buy_shares(m), _sell_shares(m), _auction_only_price(m)
    # Ten digits may be more than the binary form's four bytes hold.
    if (reference | indicative | only) >= _BAD or max(buys, sells) > _LARGEST_32:
        return _ZERO
    _auction_update.set_symbol_extended(out, _update.stock_symbol(m))
    _auction_update.set_auction_type(out, _update.auction_type(m))
    _auction_update.set_reference_price(out, reference)
    _auction_update.set_buy_shares(out, buys)
    _auction_update.set_sell_shares(out, sells)
    _auction_update.set_indicative_price(out, indicative)
    _auction_update.set_auction_only_price(out, only)
    return _begin(out, _auction_update.LENGTH, _auction_update.TYPE, offset)


@leaf
def _say_summary(m, out, offset):
    price, shares = _summary_price(m), _summary_shares(m)
    if price >= _BAD or shares > _LARGEST_32:
        return _ZERO
    _auction_summary.set_symbol_extended(out, _summary.stock_symbol(m))
    _auction_summary.set_auction_opening_type(out, _summary.auction_type(m))
    _auction_summary.set_price(out, price)
    _auction_summary.set_shares_contracts(out, shares)
    return _begin(out, _auction_summary.LENGTH, _auction_summary.TYPE, offset)


@leaf
def _say_other(m, out, offset, code):
    if code == _break.TYPE:
        execution_id = _break_id(m)
        if execution_id >= _BAD:
            return _ZERO
        _trade_break.set_execution_id(out, execution_id)
        return _begin(out, _trade_break.LENGTH, _trade_break.TYPE, offset)
    if code == _status.TYPE:
        _trading_status.set_symbol_extended(out, _status.stock_symbol(m))
        _trading_status.set_trading_status(out, _status.halt_status(m))
        _trading_status.set_reg_sho_action(out, _status.reg_sho_action(m))
        reserved = _status.reserved_1(m) << np.uint64(8) | _status.reserved_2(m)
        _trading_status.set_padding(out, reserved)
        return _begin(out, _trading_status.LENGTH, _trading_status.TYPE, offset)
    if code == _update.TYPE:
        return _say_update(m, out, offset)
    if code == _summary.TYPE:
        return _say_summary(m, out, offset)
    _retail.set_symbol(out, _rpi.stock_symbol(m))
    _retail.set_retail_price_improvement(out, _rpi.retail_price_improvement(m))
    return _begin(out, _retail.LENGTH, _retail.TYPE, offset)


@leaf
def _convert(m, out, offset, code):
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


@leaf
def _is_end(character):
    return (character == _LINE_FEED) | (character == _RETURN)


@leaf
def _line_end(at, limit):
    """Where the line that ``at`` is in ends; ``limit`` where that is not before it."""
    while at < limit and not _is_end(load_u8(at)):
        at += _ONE
    return at


@leaf
def _say_line(m, stop, out, tally, state):
    """Say the line in ``[m, stop)``, or count why not; the bytes that were said."""
    has_type = stop - m > _TYPE
    code = load_u8(m + _TYPE) if has_type else _ZERO
    milliseconds = _milliseconds(m) if has_type else _BAD
    if milliseconds >= _DAY_MS or stop - m != _LENGTHS[code]:
        is_unknown = milliseconds < _DAY_MS and _LENGTHS[code] == _ZERO
        tally[slot.LINES_UNKNOWN if is_unknown else slot.LINES_MALFORMED] += _ONE
        return _ZERO
    if code == _clear.TYPE:
        tally[slot.LINES_SYMBOL_CLEAR] += _ONE
        return _ZERO
    second = milliseconds // _THOUSAND
    lead = _ZERO if second == state[0].second else _time.LENGTH
    offset = (milliseconds - second * _THOUSAND) * _MILLISECOND
    said = _convert(m, out + lead, offset, code)
    if said == _ZERO:
        tally[slot.LINES_MALFORMED] += _ONE
        return _ZERO
    if lead != _ZERO:
        _begin(out, _time.LENGTH, _time.TYPE, _ZERO)
        _time.set_time(out, second)
        state[0].second = second
    return lead + said


@entry
def walk_lines(begin, end, final, out, out_end, tally, state):
    """Messages for the lines from ``begin`` on: ``(position, end of what was said, status)``.

    A line ends with a line feed, a carriage return or, where ``final`` says that the content ends
    with the window, there.  What is longer than any line is passed over up to its end, in this
    window and in the next ones.
    """
    memory.lend_message(begin, end)
    at, status = begin, MORE
    if state[0].skipping != _ZERO:
        at = _line_end(at, end)
        state[0].skipping = _ONE if at == end else _ZERO
    while at < end:
        if _is_end(load_u8(at)):
            at += _ONE
            continue
        if out_end - out < _MOST:
            status = FULL
            break
        limit = min(end, at + _LONGEST)
        stop = _line_end(at, limit)
        if stop == end and not final and end - at < _LONGEST:
            break
        if stop == at + _LONGEST:
            tally[slot.LINES_MALFORMED] += _ONE
            stop = _line_end(stop, end)
            state[0].skipping = _ONE if stop == end else _ZERO
        else:
            m = at + _ONE if load_u8(at) == _SEQUENCED else at
            out += _say_line(m, stop, out, tally, state)
        at = stop
    return at, out, status


_MOST = np.uint64(MOST_BYTES)
_LONGEST = np.uint64(len(SEQUENCED) + max(each.length for each in PITCH_ASCII.messages) + 1)
"""Bytes after which something is no line."""
