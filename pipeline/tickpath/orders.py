"""From intents to bytes: the risk gate, own orders, the encoder, the send buffer.

An order's id is ``input number * MAX_INTENTS + place among the message's intents``: it follows from
the inputs alone, so a replay or a standby names the same order the same way.  It is the text of
ClOrdID (OUCH 5.0) or the order token (4.2).  Own orders are kept by user_ref_num in a ring of
`OWN_ORDERS`; an order that has been overwritten there counts as unknown.
"""

import numpy as np

from tickpath import emit, ouch_encode, risk, stamps
from tickpath.counters import Counter
from tickpath.jit import cold, leaf
from tickpath.layout import (
    MAX_INTENTS,
    OWN_ORDERS,
    book,
    count,
    egress,
    engine,
    intent,
    own,
    reject,
    template,
)
from tickpath.ouch import MAX_LENGTH
from tickpath.wire import hot
from tickpath.wire.moldudp64 import MOLDUDP64

ZERO, ONE = np.uint64(0), np.uint64(1)
_block = hot.message(MOLDUDP64["message_block"])
ROOM = MAX_INTENTS * (MAX_LENGTH + MOLDUDP64["message_block"].length)
"""Bytes of the send buffer that one message's orders can take."""

_OWN_MASK = np.uint64(OWN_ORDERS - 1)
_INTENTS = np.uint64(MAX_INTENTS)
_NEW, _CANCEL, _REPLACE = np.uint64(emit.NEW), np.uint64(emit.CANCEL), np.uint64(emit.REPLACE)
_UNKNOWN_ORDER = np.uint64(risk.Reject.UNKNOWN_ORDER)
_MALFORMED = np.uint64(risk.Reject.MALFORMED)
_COUNT_INTENTS = np.uint64(Counter.INTENTS)
_SENT, _REJECTED = np.uint64(Counter.ORDERS_SENT), np.uint64(Counter.ORDERS_REJECTED)


@leaf
def _own_of(eng, user_ref_num):
    return own.at(eng, user_ref_num & _OWN_MASK)


@leaf
def _is_open(o, user_ref_num):
    return user_ref_num != ZERO and own.user_ref_num(o) == user_ref_num and own.leaves(o) != ZERO


@leaf
def _verdict(eng, i):
    """The gate's answer to one intent."""
    kind, quantity = intent.kind(i), intent.quantity(i)
    if kind == _NEW:
        return risk.check(eng, intent.book(i), intent.side(i), quantity, intent.price(i))
    orig = intent.orig_user_ref_num(i)
    o = _own_of(eng, orig)
    if not _is_open(o, orig):
        return _UNKNOWN_ORDER
    if kind == _REPLACE:
        return risk.check(eng, own.book(o), own.side(o), quantity, intent.price(i))
    # Cancels and modifications only ever take shares off an order: they always pass.
    return ZERO if quantity < own.quantity(o) else _MALFORMED


@leaf
def _keep(eng, i, order_id, b, side_code):
    """A new own order, which may be filled at once."""
    o = _own_of(eng, intent.user_ref_num(i))
    own.set_order_id(o, order_id)
    own.set_user_ref_num(o, intent.user_ref_num(i))
    own.set_book(o, b)
    own.set_side(o, side_code)
    own.set_price(o, intent.price(i))
    own.set_quantity(o, intent.quantity(i))
    own.set_leaves(o, intent.quantity(i))
    risk.assume_fill(eng, o)


@leaf
def _take_off(o, quantity):
    """Cut an own order down to ``quantity`` shares in total."""
    executed = own.quantity(o) - own.leaves(o)
    own.set_quantity(o, quantity)
    own.set_leaves(o, quantity - executed if quantity > executed else ZERO)


@leaf
def _encode(eng, i, order_id, out):
    """Write the message of an accepted intent; gives its length."""
    protocol, templates = engine.order_protocol(eng), template.at(eng, ZERO)
    kind, orig = intent.kind(i), intent.orig_user_ref_num(i)
    ref, quantity, price = intent.user_ref_num(i), intent.quantity(i), intent.price(i)
    o = _own_of(eng, orig)
    if kind == _NEW:
        symbol = book.symbol(book.at(eng, intent.book(i)))
        return ouch_encode.encode_enter(
            protocol, templates, out, ref, order_id, intent.side(i), quantity, symbol, price
        )
    if kind == _REPLACE:
        return ouch_encode.encode_replace(
            protocol, templates, out, orig, own.order_id(o), ref, order_id, quantity, price
        )
    if kind == _CANCEL:
        return ouch_encode.encode_cancel(protocol, templates, out, orig, own.order_id(o), quantity)
    return ouch_encode.encode_modify(
        protocol, templates, out, orig, own.order_id(o), own.side(o), quantity
    )


@leaf
def _note_own(eng, i, order_id):
    """What an order that was sent changes about the own orders."""
    kind, orig = intent.kind(i), intent.orig_user_ref_num(i)
    o = _own_of(eng, orig)
    if kind == _NEW:
        _keep(eng, i, order_id, intent.book(i), intent.side(i))
    elif kind == _REPLACE:
        b, side_code = own.book(o), own.side(o)
        own.set_leaves(o, ZERO)
        _keep(eng, i, order_id, b, side_code)
    else:
        _take_off(o, intent.quantity(i))


@leaf
def _refuse(eng, code):
    count(eng, _REJECTED)
    r = reject.at(eng, code)
    reject.set_value(r, reject.value(r) + ONE)


@cold
def send(eng):
    """Take the intents of the message under way through risk and encode, into the send buffer."""
    made = engine.intents(eng)
    engine.set_intents(eng, ZERO)
    stamps.start(eng)
    for at in range(made):
        count(eng, _COUNT_INTENTS)
        i = intent.at(eng, at)
        code = _verdict(eng, i)
        stamps.stage(eng, stamps.RISK)
        if code != ZERO:
            _refuse(eng, code)
            continue
        order_id = engine.input_number(eng) * _INTENTS + at
        out = egress.at(eng, engine.egress_used(eng))
        length = _encode(eng, i, order_id, out + _block.LENGTH)
        if length == ZERO:
            _refuse(eng, _MALFORMED)
            continue
        _block.set_message_length(out, length)
        stamps.stage(eng, stamps.ENCODE)
        stamps.order_sent(eng)
        count(eng, _SENT)
        _note_own(eng, i, order_id)
        if engine.orders_wanted(eng) != ZERO:
            used = engine.egress_used(eng) + length + _block.LENGTH
            engine.set_egress_used(eng, used)
            if used > engine.egress_limit(eng):
                engine.set_pause(eng, ONE)
