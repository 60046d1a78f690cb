"""The encode stage for BOE 2.3: one order message into the send buffer.

``encode_<kind>(template_base, out, ...) -> length``, as `tickpath.ouch_encode` does it: the
session's template (`tickpath.boe`) is copied in one piece of constant size, then the changing bytes
are written over the copy.  What stands behind an optional field has its place in the template.

All arguments are ``uint64``: ``template_base`` the address of the session's `TEMPLATE[4]`, ``out``
the address to write to, with `MAX_LENGTH` bytes of room; ``side`` the ASCII code of B, S, T or E;
``symbol`` eight space-padded characters as a big-endian number; ``price`` in 1e-4, `MARKET_PRICE`
for an order without one; ``orig_order_id`` and ``orig_quantity`` name the order that a message is
about (`tickpath.order_text`).

Result: the message's length; 0, with nothing to be sent, where a value does not fit (a quantity of
`order_text.MOST_SHARES` or more, a price of more than 63 bits), where there is no such side, where
the symbol has a character that text cannot have, and where the template is empty.  The caller
counts it.
"""

import numpy as np

from tickpath.jit import leaf
from tickpath.memory import accessors, copy_bytes, wire_store
from tickpath.order_template import HEAD_LENGTH, TEMPLATE, OrderMessage
from tickpath.order_text import SHARES, side_text, store_cl_ord_id, store_text, trimmed
from tickpath.risk import MARKET_PRICE

MAX_LENGTH = HEAD_LENGTH
ZERO = np.uint64(0)
_template = accessors("order_template", TEMPLATE)
assert TEMPLATE.fields is not None
_BYTES_AT = np.uint64(TEMPLATE.fields["bytes"][1])
_ENTER, _REPLACE, _CANCEL = (
    np.uint64(kind * TEMPLATE.itemsize)
    for kind in (OrderMessage.ENTER, OrderMessage.REPLACE, OrderMessage.CANCEL)
)
_ROOM = np.uint64(MAX_LENGTH)
_SIGN = np.uint64(63)
_MARKET_PRICE = np.uint64(MARKET_PRICE)
_MARKET = np.uint64(ord("1"))

_store_u8 = wire_store(8, 0, False)
_store_u32 = wire_store(32, 0, False)
_store_u64 = wire_store(64, 0, False)


@leaf
def _copy(template, out):
    copy_bytes(out, template + _BYTES_AT, _ROOM)
    return _template.length(template)


@leaf
def _store_terms(template, out, quantity, price):
    """Quantity and price; a market order has no price, which is 0 then."""
    _store_u32(out + _template.order_qty(template), quantity)
    if price == _MARKET_PRICE:
        _store_u8(out + _template.ord_type(template), _MARKET)
    else:
        _store_u64(out + _template.price(template), price)


@leaf
def encode_new(template_base, out, order_id, side, quantity, symbol, price):
    """Write a new_order."""
    template = template_base + _ENTER
    code = side_text(side)
    characters, length = trimmed(symbol)
    if quantity >= SHARES or price >> _SIGN != ZERO or code == ZERO or length == ZERO:
        return ZERO
    size = _copy(template, out)
    store_cl_ord_id(out + _template.cl_ord_id(template), order_id, quantity)
    _store_u8(out + _template.side(template), code)
    _store_terms(template, out, quantity, price)
    store_text(out + _template.symbol(template), characters)
    return size


@leaf
def encode_replace(template_base, out, orig_order_id, orig_quantity, order_id, quantity, price):
    """Write a modify_order: the whole quantity, what is executed included, and the price."""
    template = template_base + _REPLACE
    if quantity >= SHARES or orig_quantity >= SHARES or price >> _SIGN != ZERO:
        return ZERO
    size = _copy(template, out)
    store_cl_ord_id(out + _template.cl_ord_id(template), order_id, quantity)
    store_cl_ord_id(out + _template.orig_cl_ord_id(template), orig_order_id, orig_quantity)
    _store_terms(template, out, quantity, price)
    return size


@leaf
def encode_cancel(template_base, out, orig_order_id, orig_quantity):
    """Write a cancel_order, of all that is left."""
    template = template_base + _CANCEL
    if orig_quantity >= SHARES:
        return ZERO
    size = _copy(template, out)
    store_cl_ord_id(out + _template.orig_cl_ord_id(template), orig_order_id, orig_quantity)
    return size
