"""The encode stage: one order message into the send buffer, in a few nanoseconds.

``encode_<kind>(protocol, template_base, out, ...) -> length``.  The session's template
(`tickpath.ouch`) is copied to ``out`` in one piece of constant size, then only the bytes that
change from order to order are written over it.  The template itself is never written, so the copy
reads bytes that have long settled (patching the template and copying it then makes the copy wait
for the stores), and the engine's state does not depend on what was encoded last.

All arguments are ``uint64``: ``protocol`` a code of `OrderProtocol`, ``template_base`` the address
of the session's `TEMPLATE[4]`, ``out`` the address to write to, with `MAX_LENGTH` bytes of room
whatever the message's own length; ``side`` the ASCII code of B, S, T or E; ``symbol`` the
big-endian number that its eight space-padded characters spell; ``price`` in 1e-4.  ``orig_``
names the order that a message is about: 5.0 goes by its ``user_ref_num``, 4.2 by its ``order_id``.

Result: the message's length; 0, with nothing to be sent, where a value does not fit its field
(quantity or user_ref_num beyond 32 bits; in 4.2 a price beyond 32 bits), where the template is
empty and where there is no such protocol.  The caller counts it.
"""

import numpy as np

from tickpath.jit import leaf
from tickpath.memory import copy_bytes, load_u32, wire_store
from tickpath.order_template import TEMPLATE, OrderMessage, OrderProtocol
from tickpath.ouch import DIGITS, MAX_LENGTH, NAMES
from tickpath.wire import hot
from tickpath.wire.ouch42 import OUCH42_INBOUND
from tickpath.wire.ouch50 import OUCH50_INBOUND
from tickpath.wire.table import Message

OUCH50 = np.uint64(OrderProtocol.OUCH50)
OUCH42 = np.uint64(OrderProtocol.OUCH42)

_NOTHING = np.uint64(0)
_WORD = np.uint64(32)
_ROOM = np.uint64(MAX_LENGTH)
assert TEMPLATE.fields is not None
_LENGTH_AT = np.uint64(TEMPLATE.fields["length"][1])
_BYTES_AT = np.uint64(TEMPLATE.fields["bytes"][1])
_ENTER, _REPLACE, _CANCEL, _MODIFY = (
    np.uint64(kind * TEMPLATE.itemsize)
    for kind in (
        OrderMessage.ENTER,
        OrderMessage.REPLACE,
        OrderMessage.CANCEL,
        OrderMessage.MODIFY,
    )
)

_enter50, _replace50, _cancel50, _modify50 = (
    hot.message(OUCH50_INBOUND[NAMES[kind]]) for kind in OrderMessage
)
_enter42, _replace42, _cancel42, _modify42 = (
    hot.message(OUCH42_INBOUND[NAMES[kind]]) for kind in OrderMessage
)

# ---------------------------------------------------------------- the text of an order's number

_HALF = np.uint64(0x00000000000FFFFF)
_PAIRS = np.uint64(0x000003FF000003FF)
_DIGITS = np.uint64(0x001F001F001F001F)
_ONES = np.uint64(0x0101010101010101)
_ZEROS = _ONES * np.uint64(ord("0"))
_UNTIL_LETTERS = _ONES * np.uint64(0x80 - DIGITS.index("A"))
_LETTERS = np.uint64(ord("A") - ord("0") - DIGITS.index("A"))
_FORTY_BITS = np.uint64((1 << 40) - 1)
_TOP_DIGITS = np.uint64(64 + 1 - 40)  # 13 digits are 65 bits: the first eight begin 25 bits up
_5, _7, _8, _10, _16, _20 = (np.uint64(bits) for bits in (5, 7, 8, 10, 16, 20))


@leaf
def eight_digits(value):
    """The base-32 digits of a 40-bit value as eight ASCII characters, the first one topmost.

    Each step cuts every lane in two and moves the upper half up: 40 bits in one lane, 20 in two of
    32, 10 in four of 16, 5 in eight of 8.  A digit of ten or more reaches its lane's top bit when
    118 is added, and that bit selects the distance from the digits of ASCII to its letters.
    """
    lanes = (value & _HALF) | ((value >> _20) << _WORD)
    lanes = (lanes & _PAIRS) | ((lanes >> _10 & _PAIRS) << _16)
    lanes = (lanes & _DIGITS) | ((lanes >> _5 & _DIGITS) << _8)
    letters = (lanes + _UNTIL_LETTERS) >> _7 & _ONES
    return lanes + _ZEROS + letters * _LETTERS


def _token(layout: Message, name: str):
    """A store of an order's number as text behind the prefix, in two overlapping words."""
    digits = layout[name].offset + 1
    first = wire_store(64, digits, True)
    last = wire_store(64, digits + 5, True)

    @leaf
    def store(message, order_id):
        first(message, eight_digits(order_id >> _TOP_DIGITS))
        last(message, eight_digits(order_id & _FORTY_BITS))

    return store


_set_enter_clordid = _token(OUCH50_INBOUND["enter_order"], "clordid")
_set_replace_clordid = _token(OUCH50_INBOUND["replace_order"], "clordid")
_set_enter_token = _token(OUCH42_INBOUND["enter_order"], "order_token")
_set_existing_token = _token(OUCH42_INBOUND["replace_order"], "existing_order_token")
_set_replacement_token = _token(OUCH42_INBOUND["replace_order"], "replacement_order_token_token_14")
_set_cancel_token = _token(OUCH42_INBOUND["cancel_order"], "order_token")
_set_modify_token = _token(OUCH42_INBOUND["modify_order"], "order_token")

# ---------------------------------------------------------------- OUCH 5.0


@leaf
def _copy(template, out):
    """Copy a template, at a constant size that compiles to a few wide moves."""
    copy_bytes(out, template + _BYTES_AT, _ROOM)
    return load_u32(template + _LENGTH_AT)


@leaf
def _enter_ouch50(template, out, user_ref_num, order_id, side, quantity, symbol, price):
    if (quantity | user_ref_num) >> _WORD != _NOTHING:
        return _NOTHING
    length = _copy(template, out)
    _enter50.set_user_ref_num(out, user_ref_num)
    _enter50.set_side(out, side)
    _enter50.set_quantity(out, quantity)
    _enter50.set_symbol(out, symbol)
    _enter50.set_price(out, price)
    _set_enter_clordid(out, order_id)
    return length


@leaf
def _replace_ouch50(template, out, orig_user_ref_num, user_ref_num, order_id, quantity, price):
    if (quantity | user_ref_num | orig_user_ref_num) >> _WORD != _NOTHING:
        return _NOTHING
    length = _copy(template, out)
    _replace50.set_orig_user_ref_num(out, orig_user_ref_num)
    _replace50.set_user_ref_num(out, user_ref_num)
    _replace50.set_quantity(out, quantity)
    _replace50.set_price(out, price)
    _set_replace_clordid(out, order_id)
    return length


@leaf
def _cancel_ouch50(template, out, user_ref_num, quantity):
    if (quantity | user_ref_num) >> _WORD != _NOTHING:
        return _NOTHING
    length = _copy(template, out)
    _cancel50.set_user_ref_num(out, user_ref_num)
    _cancel50.set_quantity(out, quantity)
    return length


@leaf
def _modify_ouch50(template, out, user_ref_num, side, quantity):
    if (quantity | user_ref_num) >> _WORD != _NOTHING:
        return _NOTHING
    length = _copy(template, out)
    _modify50.set_user_ref_num(out, user_ref_num)
    _modify50.set_side(out, side)
    _modify50.set_quantity(out, quantity)
    return length


# ---------------------------------------------------------------- OUCH 4.2


@leaf
def _enter_ouch42(template, out, order_id, side, quantity, symbol, price):
    if (quantity | price) >> _WORD != _NOTHING:
        return _NOTHING
    length = _copy(template, out)
    _set_enter_token(out, order_id)
    _enter42.set_buy_sell_indicator(out, side)
    _enter42.set_shares(out, quantity)
    _enter42.set_stock(out, symbol)
    _enter42.set_price(out, price)
    return length


@leaf
def _replace_ouch42(template, out, orig_order_id, order_id, quantity, price):
    if (quantity | price) >> _WORD != _NOTHING:
        return _NOTHING
    length = _copy(template, out)
    _set_existing_token(out, orig_order_id)
    _set_replacement_token(out, order_id)
    _replace42.set_shares(out, quantity)
    _replace42.set_price(out, price)
    return length


@leaf
def _cancel_ouch42(template, out, order_id, quantity):
    if quantity >> _WORD != _NOTHING:
        return _NOTHING
    length = _copy(template, out)
    _set_cancel_token(out, order_id)
    _cancel42.set_shares(out, quantity)
    return length


@leaf
def _modify_ouch42(template, out, order_id, side, quantity):
    if quantity >> _WORD != _NOTHING:
        return _NOTHING
    length = _copy(template, out)
    _set_modify_token(out, order_id)
    _modify42.set_buy_sell_indicator(out, side)
    _modify42.set_shares(out, quantity)
    return length


# ---------------------------------------------------------------- whichever protocol


@leaf
def encode_enter(
    protocol, template_base, out, user_ref_num, order_id, side, quantity, symbol, price
):
    """Write an enter_order; 4.2 has no user_ref_num."""
    template = template_base + _ENTER
    if protocol == OUCH50:
        return _enter_ouch50(template, out, user_ref_num, order_id, side, quantity, symbol, price)
    if protocol == OUCH42:
        return _enter_ouch42(template, out, order_id, side, quantity, symbol, price)
    return _NOTHING


@leaf
def encode_replace(
    protocol,
    template_base,
    out,
    orig_user_ref_num,
    orig_order_id,
    user_ref_num,
    order_id,
    quantity,
    price,
):
    """Write a replace_order: the new order's whole quantity and its price."""
    template = template_base + _REPLACE
    if protocol == OUCH50:
        return _replace_ouch50(
            template, out, orig_user_ref_num, user_ref_num, order_id, quantity, price
        )
    if protocol == OUCH42:
        return _replace_ouch42(template, out, orig_order_id, order_id, quantity, price)
    return _NOTHING


@leaf
def encode_cancel(protocol, template_base, out, orig_user_ref_num, orig_order_id, quantity):
    """Write a cancel_order: ``quantity`` is what may be executed in total, 0 to cancel it all."""
    template = template_base + _CANCEL
    if protocol == OUCH50:
        return _cancel_ouch50(template, out, orig_user_ref_num, quantity)
    if protocol == OUCH42:
        return _cancel_ouch42(template, out, orig_order_id, quantity)
    return _NOTHING


@leaf
def encode_modify(protocol, template_base, out, orig_user_ref_num, orig_order_id, side, quantity):
    """Write a modify_order: another kind of sell, or a smaller quantity at the same priority."""
    template = template_base + _MODIFY
    if protocol == OUCH50:
        return _modify_ouch50(template, out, orig_user_ref_num, side, quantity)
    if protocol == OUCH42:
        return _modify_ouch42(template, out, orig_order_id, side, quantity)
    return _NOTHING
