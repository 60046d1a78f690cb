"""The encode stage of the protocols that go by ClOrdID: one intent, BOE 2.3 or FIX 4.4.

OUCH names an order by its user_ref_num or token for as long as it lives and has a message for every
kind of intent (`tickpath.ouch_encode`).  BOE and FIX give an order a new ClOrdID whenever it is
changed, and know three requests:

    intent             BOE            FIX                          ClOrdID
    new                new_order      NewOrderSingle               a new order's
    replace            modify_order   OrderCancelReplaceRequest    a new order's
    modify, cancel to  modify_order   OrderCancelReplaceRequest    the order's own, with the smaller
      some quantity                                                  quantity
    cancel             cancel_order   OrderCancelRequest           FIX: the request's

An order that is to keep no more than what it has executed is cancelled.  Arguments and results are
those of `tickpath.boe_encode`; ``protocol`` is a code of `OrderProtocol`.
"""

import numpy as np

from tickpath import boe_encode, fix_encode, ouch
from tickpath.jit import leaf
from tickpath.order_template import OrderProtocol

MAX_LENGTH = max(ouch.MAX_LENGTH, boe_encode.MAX_LENGTH, fix_encode.MAX_LENGTH)
"""Room that an order message needs where it is encoded to, whatever the protocol."""

ZERO = np.uint64(0)
_OUCH42 = np.uint64(OrderProtocol.OUCH42)
_BOE23, _FIX44 = np.uint64(OrderProtocol.BOE23), np.uint64(OrderProtocol.FIX44)


@leaf
def goes_by_cl_ord_id(protocol):
    """True for the protocols of this module."""
    return protocol > _OUCH42


@leaf
def encode_new(protocol, templates, out, order_id, side, quantity, symbol, price):
    """Write a new order."""
    if protocol == _BOE23:
        return boe_encode.encode_new(templates, out, order_id, side, quantity, symbol, price)
    if protocol == _FIX44:
        return fix_encode.encode_new(templates, out, order_id, side, quantity, symbol, price)
    return ZERO


@leaf
def encode_replace(
    protocol,
    templates,
    out,
    orig_order_id,
    orig_quantity,
    order_id,
    side,
    quantity,
    symbol,
    price,
):
    """Write a replacement, or a reduction, whose ``order_id`` is the order's own."""
    if protocol == _BOE23:
        return boe_encode.encode_replace(
            templates, out, orig_order_id, orig_quantity, order_id, quantity, price
        )
    if protocol == _FIX44:
        return fix_encode.encode_replace(
            templates, out, orig_order_id, orig_quantity, order_id, side, quantity, symbol, price
        )
    return ZERO


@leaf
def encode_cancel(protocol, templates, out, orig_order_id, orig_quantity, order_id, side, symbol):
    """Write the cancel of all that is left of an order."""
    if protocol == _BOE23:
        return boe_encode.encode_cancel(templates, out, orig_order_id, orig_quantity)
    if protocol == _FIX44:
        return fix_encode.encode_cancel(
            templates, out, orig_order_id, orig_quantity, order_id, side, symbol
        )
    return ZERO
