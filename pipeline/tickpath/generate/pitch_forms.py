"""What the messages of a translation to PITCH share: their first fields, and which form they take.

The short form of a message is taken wherever everything fits it, the expanded one where the symbol
is longer than six characters.
"""

import numpy as np

from tickpath.generate import pitch_live
from tickpath.generate.pitch_state import live, translation, type_count
from tickpath.generate.state import inner
from tickpath.jit import leaf
from tickpath.memory import wire_store
from tickpath.wire import hot
from tickpath.wire.pitch241 import PITCH241
from tickpath.wire.table import Message

_first_fields = hot.message(PITCH241["unit_clear"])
"""The three fields that every message but time and the session's end starts with."""
assert all(
    [each.offset for each in message.fields[:3]] == [0, 1, 2]
    for message in PITCH241.messages
    if message.type
)
_FORMS = ("add_order_long", "add_order_expanded", "trade_short", "trade_long", "trade_expanded")
assert all(
    PITCH241[form][name].offset == PITCH241["add_order_short"][name].offset
    for form in _FORMS
    for name in ("order_id", "side_indicator")
), "identifier and side stand at the same place in every form"

_ZERO, _ONE = np.uint64(0), np.uint64(1)
_16, _32 = np.uint64(16), np.uint64(32)
LARGEST_16, LARGEST_32 = np.uint64(0xFFFF), np.uint64(0xFFFF_FFFF)
CENT = np.uint64(100)
_TWO_BLANKS = np.uint64(0x2020)


def _six_characters(message: Message):
    """Stores of a six-character symbol: its first four characters and its last two."""
    at = message["symbol"].offset
    return wire_store(32, at, True), wire_store(16, at + 4, True)


_set_short_4, _set_short_2 = _six_characters(PITCH241["add_order_short"])
_set_long_4, _set_long_2 = _six_characters(PITCH241["add_order_long"])
# A trade's symbol stands where that of the add of the same form does.
assert PITCH241["trade_short"]["symbol"] == PITCH241["add_order_short"]["symbol"]
assert PITCH241["trade_long"]["symbol"] == PITCH241["add_order_long"]["symbol"]


@leaf
def set_short_symbol(out, stock):
    """The symbol of a short add or trade."""
    _set_short_4(out, stock >> _32)
    _set_short_2(out, stock >> _16)


@leaf
def set_long_symbol(out, stock):
    """The symbol of a long add or trade."""
    _set_long_4(out, stock >> _32)
    _set_long_2(out, stock >> _16)


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
def fits(shares, price):
    """True where both fit the short forms: two bytes each, the price in cents."""
    return (shares <= LARGEST_16) & (price % CENT == _ZERO) & (price // CENT <= LARGEST_16)


@leaf
def is_long(stock):
    """True for a symbol of more than six characters."""
    return stock & LARGEST_16 != _TWO_BLANKS


@inner
def stranger(t):
    translation.set_strangers(t, translation.strangers(t) + _ONE)
    return _ZERO


@inner
def reduced(t, o, shares):
    """Take shares off an order, which is forgotten when none are left; what is left."""
    left = live.shares(o) - shares
    if left == _ZERO:
        pitch_live.remove(t, o)
    else:
        live.set_shares(o, left)
    return left
