"""The encode stage for FIX 4.4: one order message into the send buffer.

``encode_<kind>(template_base, out, ...) -> length``.  The session's template (`tickpath.fix`) is
copied in one piece of constant size; names, side and order type are written in their places;
quantity, symbol and price follow with as many characters as they have, then the tail.  Words of
eight characters are written whole, and what is too much of one is overwritten by the next.

BodyLength is the distance from its end to the tail's, CheckSum the template's sum and that of every
word written, eight bytes at a time: nothing is read back.

Arguments are those of `tickpath.boe_encode`, ``price`` with four decimals.  Result: the message's
length; 0, with nothing to be sent, where a value has more than eight digits before the point, where
there is no such side, where the symbol has a character that text cannot have, and where the
template is empty.  The caller counts it.  ``out`` has `MAX_LENGTH` bytes of room.
"""

import numpy as np

from tickpath.fix import POINT, PRICE, SYMBOL
from tickpath.jit import leaf
from tickpath.memory import accessors, copy_bytes, wire_store
from tickpath.order_template import HEAD_LENGTH, TAIL_LENGTH, TEMPLATE, OrderMessage
from tickpath.order_text import (
    EIGHT,
    MOST_DECIMAL,
    byte_sum,
    decimal,
    side_text,
    store_cl_ord_id,
    store_text,
    trimmed,
    without_zeros,
)
from tickpath.risk import MARKET_PRICE
from tickpath.wire.fix44 import HEAD, TAIL

DECIMALS = 4
WORD = 8
MAX_LENGTH = (
    HEAD_LENGTH
    + WORD
    + len(SYMBOL)
    + WORD
    + len(PRICE)
    + WORD
    + len(POINT)
    + DECIMALS
    + TAIL_LENGTH
)
"""The longest message, and what is copied of a tail beyond its end."""

ZERO, ONE = np.uint64(0), np.uint64(1)
_template = accessors("order_template", TEMPLATE)
assert TEMPLATE.fields is not None
_BYTES_AT = np.uint64(TEMPLATE.fields["bytes"][1])
_TAIL_AT = np.uint64(TEMPLATE.fields["tail"][1])
_ENTER, _REPLACE, _CANCEL = (
    np.uint64(kind * TEMPLATE.itemsize)
    for kind in (OrderMessage.ENTER, OrderMessage.REPLACE, OrderMessage.CANCEL)
)
_HEAD_LENGTH, _TAIL_LENGTH = np.uint64(HEAD_LENGTH), np.uint64(TAIL_LENGTH)
_LENGTH_AT = np.uint64(HEAD["body_length"].offset)
_BODY_AT = np.uint64(HEAD["msg_type_tag"].offset + 1)
_BODY_END = np.uint64(TAIL["check_sum_tag"].offset + 1)
_SUM_AT = np.uint64(TAIL["check_sum"].offset)
_TAIL_END = np.uint64(TAIL.length)

_MARKET_PRICE = np.uint64(MARKET_PRICE)
_MARKET, _LIMIT = np.uint64(ord("1")), np.uint64(ord("2"))
_SCALE = np.uint64(10**DECIMALS)
_SYMBOL, _PRICE = (np.uint64(int.from_bytes(each, "big")) for each in (SYMBOL, PRICE))
_TAG = np.uint64(len(SYMBOL))
assert len(SYMBOL) == len(PRICE) == 4
_PRICE_SUM = np.uint64(sum(PRICE))
_POINT = np.uint64(ord(POINT) << 56)
_FRACTION = np.uint64(len(POINT) + DECIMALS)
_FRACTION_MASK, _FRACTION_SHIFT = np.uint64(0xFFFFFFFF), np.uint64(24)
_THREE, _LOW_BYTE, _SOH = np.uint64(0xFFFFFF), np.uint64(0xFF), np.uint64(1)

_store_u8 = wire_store(8, 0, True)
_store_u32 = wire_store(32, 0, True)


@leaf
def _store_three(at, value):
    """Three digits and the SOH behind them; the sum of the digits."""
    digits = decimal(value) & _THREE
    _store_u32(at, digits << EIGHT | _SOH)
    return byte_sum(digits)


@leaf
def _store_price(at, price):
    """A price with its tag: (where it ends, the sum of its bytes)."""
    whole = price // _SCALE
    digits, length = without_zeros(decimal(whole))
    part = _POINT | (decimal(price - whole * _SCALE) & _FRACTION_MASK) << _FRACTION_SHIFT
    _store_u32(at, _PRICE)
    store_text(at + _TAG, digits)
    store_text(at + _TAG + length, part)
    return at + _TAG + length + _FRACTION, _PRICE_SUM + byte_sum(digits) + byte_sum(part)


@leaf
def _begin(template, out, order_id, quantity, code):
    """The head with the order's name and side; the sum so far."""
    copy_bytes(out, template + _BYTES_AT, _HEAD_LENGTH)
    _store_u8(out + _template.side(template), code)
    total = _template.sum(template) + code
    return total + store_cl_ord_id(out + _template.cl_ord_id(template), order_id, quantity)


@leaf
def _store_symbol(template, out, quantity, characters, length):
    """Quantity and symbol: (where they end, the sum of their bytes)."""
    digits, count = without_zeros(decimal(quantity))
    at = out + _template.order_qty(template)
    store_text(at, digits)
    at += count
    _store_u32(at, _SYMBOL)
    store_text(at + _TAG, characters)
    return at + _TAG + length, byte_sum(digits) + byte_sum(characters)


@leaf
def _end(template, out, at, total):
    """The tail, BodyLength and CheckSum; the message's length."""
    copy_bytes(at, template + _TAIL_AT, _TAIL_LENGTH)
    total += _store_three(out + _LENGTH_AT, at + _BODY_END - out - _BODY_AT)
    _store_three(at + _SUM_AT, total & _LOW_BYTE)
    return at + _TAIL_END - out


@leaf
def _terms(template, out, at, total, price):
    """Order type, the price of one that has one, and the end; the message's length."""
    is_market = price == _MARKET_PRICE
    ord_type = _MARKET if is_market else _LIMIT
    _store_u8(out + _template.ord_type(template), ord_type)
    total += ord_type
    if not is_market:
        at, added = _store_price(at, price)
        total += added
    return _end(template, out, at, total)


@leaf
def _fits(template, quantity, price, code, length):
    """True where every value has a text."""
    known = (code != ZERO) & (length != ZERO) & (_template.length(template) != ZERO)
    return known & (quantity < MOST_DECIMAL) & (price // _SCALE < MOST_DECIMAL)


@leaf
def encode_new(template_base, out, order_id, side, quantity, symbol, price):
    """Write a NewOrderSingle."""
    template = template_base + _ENTER
    code = side_text(side)
    characters, length = trimmed(symbol)
    if not _fits(template, quantity, price, code, length):
        return ZERO
    total = _begin(template, out, order_id, quantity, code)
    at, added = _store_symbol(template, out, quantity, characters, length)
    return _terms(template, out, at, total + added, price)


@leaf
def encode_replace(
    template_base, out, orig_order_id, orig_quantity, order_id, side, quantity, symbol, price
):
    """Write an OrderCancelReplaceRequest: the whole quantity, what is executed included."""
    template = template_base + _REPLACE
    code = side_text(side)
    characters, length = trimmed(symbol)
    if not _fits(template, max(quantity, orig_quantity), price, code, length):
        return ZERO
    total = _begin(template, out, order_id, quantity, code)
    orig_at = out + _template.orig_cl_ord_id(template)
    total += store_cl_ord_id(orig_at, orig_order_id, orig_quantity)
    at, added = _store_symbol(template, out, quantity, characters, length)
    return _terms(template, out, at, total + added, price)


@leaf
def encode_cancel(template_base, out, orig_order_id, orig_quantity, order_id, side, symbol):
    """Write an OrderCancelRequest, of all that is left; OrderQty is the order's."""
    template = template_base + _CANCEL
    code = side_text(side)
    characters, length = trimmed(symbol)
    if not _fits(template, orig_quantity, ZERO, code, length):
        return ZERO
    total = _begin(template, out, order_id, ZERO, code)
    orig_at = out + _template.orig_cl_ord_id(template)
    total += store_cl_ord_id(orig_at, orig_order_id, orig_quantity)
    at, added = _store_symbol(template, out, orig_quantity, characters, length)
    return _end(template, out, at, total + added)
