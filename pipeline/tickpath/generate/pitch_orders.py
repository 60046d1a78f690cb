"""Orders in PITCH: added, modified, reduced, deleted.

An order keeps its identifier when it is modified.  The market's replacement is a modify that loses
its place; every fourth partial cancel is one that keeps it, the others are reductions.
"""

import numpy as np

from tickpath.generate import pitch_live
from tickpath.generate.draw import GOLDEN
from tickpath.generate.pitch_forms import (
    CENT,
    LARGEST_16,
    begin,
    fits,
    is_long,
    reduced,
    set_long_symbol,
    set_short_symbol,
    stranger,
)
from tickpath.generate.pitch_state import issue, live
from tickpath.generate.state import inner
from tickpath.wire import hot
from tickpath.wire.itch50 import ITCH50
from tickpath.wire.pitch241 import DISPLAY, MAINTAIN_PRIORITY, PITCH241

_add = hot.message(ITCH50["add_order_no_mpid_attribution"])
_attributed = hot.message(ITCH50["add_order_with_mpid_attribution"])
_cancel = hot.message(ITCH50["order_cancel"])
_delete = hot.message(ITCH50["order_delete"])
_replace = hot.message(ITCH50["order_replace"])
_add_short = hot.message(PITCH241["add_order_short"])
_add_long = hot.message(PITCH241["add_order_long"])
_add_expanded = hot.message(PITCH241["add_order_expanded"])
_reduce_short = hot.message(PITCH241["reduce_size_short"])
_reduce_long = hot.message(PITCH241["reduce_size_long"])
_modify_short = hot.message(PITCH241["modify_order_short"])
_modify_long = hot.message(PITCH241["modify_order_long"])
_delete_order = hot.message(PITCH241["delete_order"])

_FOUR_BLANKS = np.uint64(0x20202020)
_BLANK = np.uint64(ord(" "))
_DISPLAY = np.uint64(DISPLAY)
_KEEPS = np.uint64(DISPLAY | MAINTAIN_PRIORITY)
_62 = np.uint64(62)
_ZERO = np.uint64(0)


@inner
def say_add(t, y, m, out, offset, code):
    reference, side = _add.order_reference_number(m), _add.buy_sell_indicator(m)
    shares, price, stock = _add.shares(m), _add.price(m), _add.stock(m)
    order_id = issue.order_base(y) + reference
    pitch_live.insert(t, reference, order_id, price, shares)
    if (code == _attributed.TYPE) | is_long(stock):
        participant = _attributed.attribution(m) if code == _attributed.TYPE else _FOUR_BLANKS
        length = begin(t, out, _add_expanded.LENGTH, _add_expanded.TYPE, offset)
        _add_expanded.set_quantity(out, shares)
        _add_expanded.set_symbol_extended(out, stock)
        _add_expanded.set_price(out, price)
        _add_expanded.set_add_order_flags(out, _DISPLAY)
        _add_expanded.set_participant_id(out, participant)
        _add_expanded.set_customer_indicator(out, _BLANK)
    elif fits(shares, price):
        length = begin(t, out, _add_short.LENGTH, _add_short.TYPE, offset)
        _add_short.set_quantity_short(out, shares)
        set_short_symbol(out, stock)
        _add_short.set_price_short(out, price // CENT)
        _add_short.set_add_order_flags(out, _DISPLAY)
    else:
        length = begin(t, out, _add_long.LENGTH, _add_long.TYPE, offset)
        _add_long.set_quantity(out, shares)
        set_long_symbol(out, stock)
        _add_long.set_price(out, price)
        _add_long.set_add_order_flags(out, _DISPLAY)
    # Identifier and side stand at the same place in every form.
    _add_short.set_order_id(out, order_id)
    _add_short.set_side_indicator(out, side)
    return length


@inner
def _say_modify(t, out, offset, order_id, shares, price, flags):
    if fits(shares, price):
        length = begin(t, out, _modify_short.LENGTH, _modify_short.TYPE, offset)
        _modify_short.set_quantity_short(out, shares)
        _modify_short.set_price_short(out, price // CENT)
        _modify_short.set_modify_order_flags(out, flags)
    else:
        length = begin(t, out, _modify_long.LENGTH, _modify_long.TYPE, offset)
        _modify_long.set_quantity(out, shares)
        _modify_long.set_price(out, price)
        _modify_long.set_modify_order_flags(out, flags)
    _modify_short.set_order_id(out, order_id)
    return length


@inner
def say_replace(t, m, out, offset):
    o = pitch_live.find(t, _replace.original_order_reference_number(m))
    if o == _ZERO:
        return stranger(t)
    order_id, price, shares = live.order_id(o), _replace.price(m), _replace.shares(m)
    pitch_live.remove(t, o)
    pitch_live.insert(t, _replace.new_order_reference_number(m), order_id, price, shares)
    return _say_modify(t, out, offset, order_id, shares, price, _DISPLAY)


@inner
def say_cancel(t, m, out, offset):
    """Part of an order is cancelled."""
    reference, shares = _cancel.order_reference_number(m), _cancel.canceled_shares(m)
    o = pitch_live.find(t, reference)
    if o == _ZERO:
        return stranger(t)
    order_id, price = live.order_id(o), live.price(o)
    left = reduced(t, o, shares)
    if (reference * GOLDEN) >> _62 == _ZERO and left != _ZERO:
        return _say_modify(t, out, offset, order_id, left, price, _KEEPS)
    if shares <= LARGEST_16:
        length = begin(t, out, _reduce_short.LENGTH, _reduce_short.TYPE, offset)
        _reduce_short.set_canceled_quantity_short(out, shares)
    else:
        length = begin(t, out, _reduce_long.LENGTH, _reduce_long.TYPE, offset)
        _reduce_long.set_canceled_quantity(out, shares)
    _reduce_short.set_order_id(out, order_id)
    return length


@inner
def say_delete(t, m, out, offset):
    o = pitch_live.find(t, _delete.order_reference_number(m))
    if o == _ZERO:
        return stranger(t)
    _delete_order.set_order_id(out, live.order_id(o))
    pitch_live.remove(t, o)
    return begin(t, out, _delete_order.LENGTH, _delete_order.TYPE, offset)
