"""From intents to bytes: the risk gate, own orders, the encoder, the send buffer, the audit.

An order's id is ``input number * MAX_INTENTS + place among the message's intents``: it follows from
the inputs alone, so a replay or a standby names the same order the same way.  It is the text of
ClOrdID (OUCH 5.0), of the order token (4.2), and part of the ClOrdID of BOE and FIX.
"""

import numpy as np

from tickpath import emit, encode, fills, ouch_encode, own_orders, risk, stamps
from tickpath.counters import Counter
from tickpath.jit import cold, leaf
from tickpath.layout import (
    AUDIT_RECORDS,
    MAX_INTENTS,
    audit,
    book,
    count,
    egress,
    engine,
    gate,
    intent,
    own,
    position,
    position_of,
    reject,
    template,
)
from tickpath.memory import trailing_zeros
from tickpath.wire import hot
from tickpath.wire.moldudp64 import MOLDUDP64

ZERO, ONE = np.uint64(0), np.uint64(1)
_block = hot.message(MOLDUDP64["message_block"])
ROOM = MAX_INTENTS * (encode.MAX_LENGTH + MOLDUDP64["message_block"].length)
"""Bytes of the send buffer that one message's orders can take."""

_INTENTS = np.uint64(MAX_INTENTS)
_NEW, _CANCEL, _REPLACE = np.uint64(emit.NEW), np.uint64(emit.CANCEL), np.uint64(emit.REPLACE)
_BUY, _SELL = risk.BUY, risk.SELL
_MAX_PRICE = np.uint64(risk.MAX_PRICE)
_UNKNOWN_ORDER = ONE << np.uint64(risk.Reject.UNKNOWN_ORDER)
_OWN_FULL = ONE << np.uint64(risk.Reject.OWN_ORDERS_FULL)
_AUDIT_FULL = ONE << np.uint64(risk.Reject.AUDIT_FULL)
_MALFORMED = ONE << np.uint64(risk.Reject.MALFORMED)
_COUNT_INTENTS = np.uint64(Counter.INTENTS)
_SENT, _REJECTED = np.uint64(Counter.ORDERS_SENT), np.uint64(Counter.ORDERS_REJECTED)
_WARNED, _AUDIT_LOST = np.uint64(Counter.ORDERS_WARNED), np.uint64(Counter.AUDIT_LOST)
_AUDIT_RECORDS = np.uint64(AUDIT_RECORDS)
AUDIT_LIMIT = np.uint64(AUDIT_RECORDS - MAX_INTENTS)
"""Decisions in the ring beyond which it has to be emptied."""


@leaf
def _orig_of(eng, i):
    """The open own order that an intent is about; 0 where there is none."""
    orig = intent.orig_user_ref_num(i)
    o = own_orders.at_place(eng, orig)
    return o if own_orders.is_known(o, orig) and own_orders.is_open(o) else ZERO


@leaf
def _bars(eng, i):
    """Bits of what stands in the way of any new order or replacement."""
    o = own_orders.at_place(eng, intent.user_ref_num(i))
    full = gate.audit_stops(gate.at(eng, ZERO)) & np.uint64(
        engine.audit_used(eng) >= _AUDIT_RECORDS
    )
    return _OWN_FULL * np.uint64(own_orders.is_open(o)) | _AUDIT_FULL * full


@leaf
def _replace_verdict(eng, i, old):
    """The gate's answer to a replacement of an open order."""
    bars, side_code = _bars(eng, i), own.side(old)
    quantity, price, left = intent.quantity(i), intent.price(i), own.leaves(old)
    # What is executed already can not be once more: it is in the position, at any price.
    done = min(own.executed(old), quantity)
    done_notional = done * price if price <= _MAX_PRICE else ZERO
    plain_side = _BUY if side_code == _BUY else _SELL
    failed, warned, reference, wire_side, reducing = risk.check(
        eng,
        own.book(old),
        plain_side,
        quantity,
        price,
        left + done,
        left * own.price(old) + done_notional,
        ZERO,
    )
    # The message has no side: a short sale cannot take a long one's place.
    unmarked = _MALFORMED * np.uint64((wire_side == risk.SELL_SHORT) & (side_code == _SELL))
    return failed | bars | unmarked, warned, reference, side_code, reducing


@leaf
def _verdict(eng, i, old):
    """The gate's answer to one intent: (failed, warned, reference price, side, reducing)."""
    kind, quantity, price = intent.kind(i), intent.quantity(i), intent.price(i)
    if kind == _NEW:
        bars = _bars(eng, i)
        failed, warned, reference, wire_side, reducing = risk.check(
            eng, intent.book(i), intent.side(i), quantity, price, ZERO, ZERO, ONE
        )
        return failed | bars, warned, reference, wire_side, reducing
    if old == ZERO:
        return _UNKNOWN_ORDER, ZERO, ZERO, ZERO, ZERO
    if kind == _REPLACE and own.asked(old) & own_orders.REPLACE_ASKED != ZERO:
        # Its successor is the one to replace: the exchange would ignore a second replacement.
        return _UNKNOWN_ORDER, ZERO, ZERO, ZERO, ZERO
    if kind == _REPLACE:
        return _replace_verdict(eng, i, old)
    # Cancels and modifications only ever take shares off an order: they pass all checks.
    failed = ZERO if quantity < own.quantity(old) else _MALFORMED
    return failed, ZERO, ZERO, own.side(old), ONE


@leaf
def _note_sent(eng, i, old, order_id, wire_side):
    """What an order that was sent changes about the own orders; the fill model answers it."""
    kind, quantity, price = intent.kind(i), intent.quantity(i), intent.price(i)
    ref = intent.user_ref_num(i)
    if kind == _NEW:
        b = intent.book(i)
        risk.take_rate(eng, b, wire_side == _BUY, quantity, price)
        own_orders.place(eng, ref, order_id, b, wire_side, quantity, ZERO, price, ZERO)
        fills.answer_new(eng, ref)
    elif kind == _REPLACE:
        b, orig = own.book(old), intent.orig_user_ref_num(i)
        risk.take_rate(eng, b, wire_side == _BUY, quantity, price)
        done = own.executed(old)
        own_orders.ask(old, own_orders.REPLACE_ASKED)
        own.set_replaced_by(old, ref)
        own_orders.place(eng, ref, order_id, b, own.side(old), quantity, done, price, orig)
        fills.answer_replace(eng, orig, ref)
    else:
        what = own_orders.CANCEL_ASKED if kind == _CANCEL else own_orders.MODIFY_ASKED
        own_orders.ask(old, what)
        fills.answer_less(eng, intent.orig_user_ref_num(i), quantity, kind == _CANCEL)


@leaf
def _write_audit(eng, i, old, order_id, failed, warned, reference, wire_side, reducing):
    """One decision into the audit ring; what it has no room for is counted."""
    if engine.audit_wanted(eng) == ZERO:
        return
    used = engine.audit_used(eng)
    if used >= _AUDIT_RECORDS:
        count(eng, _AUDIT_LOST)
        return
    a = audit.at(eng, used)
    b = intent.book(i) if intent.kind(i) == _NEW else (own.book(old) if old != ZERO else ZERO)
    b = b if b < engine.books(eng) else ZERO
    audit.set_input_number(a, engine.input_number(eng))
    audit.set_ts_event(a, engine.engine_time(eng))
    audit.set_order_id(a, order_id)
    audit.set_symbol(a, book.symbol(book.at(eng, b)))
    audit.set_price(a, intent.price(i))
    audit.set_failed(a, failed)
    audit.set_warned(a, warned)
    audit.set_position(a, position.quantity(position_of(eng, b)))
    audit.set_reference_px(a, reference)
    audit.set_quantity(a, intent.quantity(i))
    audit.set_user_ref_num(a, intent.user_ref_num(i))
    audit.set_orig_user_ref_num(a, intent.orig_user_ref_num(i))
    audit.set_book(a, b)
    audit.set_kind(a, intent.kind(i))
    audit.set_side(a, wire_side if wire_side != ZERO else intent.side(i))
    audit.set_code(a, trailing_zeros(failed) if failed != ZERO else ZERO)
    audit.set_reducing(a, reducing)
    engine.set_audit_used(eng, used + ONE)
    if used + ONE >= AUDIT_LIMIT:
        engine.set_pause(eng, ONE)


@cold
def _encode_by_cl_ord_id(eng, i, o, order_id, wire_side, out):
    """Write the message of an accepted intent in a protocol that `encode` knows."""
    protocol, templates = engine.order_protocol(eng), template.at(eng, ZERO)
    kind, quantity, price = intent.kind(i), intent.quantity(i), intent.price(i)
    if kind == _NEW:
        symbol = book.symbol(book.at(eng, intent.book(i)))
        return encode.encode_new(
            protocol, templates, out, order_id, wire_side, quantity, symbol, price
        )
    symbol = book.symbol(book.at(eng, own.book(o)))
    orig_id, orig_quantity, side_code = own.order_id(o), own.quantity(o), own.side(o)
    if kind == _REPLACE:
        new_id = order_id
    elif quantity <= own.executed(o):
        return encode.encode_cancel(
            protocol, templates, out, orig_id, orig_quantity, order_id, side_code, symbol
        )
    else:
        new_id, price = orig_id, own.price(o)
    return encode.encode_replace(
        protocol,
        templates,
        out,
        orig_id,
        orig_quantity,
        new_id,
        side_code,
        quantity,
        symbol,
        price,
    )


@leaf
def _encode(eng, i, o, order_id, wire_side, out):
    """Write the message of an accepted intent; gives its length."""
    protocol, templates = engine.order_protocol(eng), template.at(eng, ZERO)
    if encode.goes_by_cl_ord_id(protocol):
        return _encode_by_cl_ord_id(eng, i, o, order_id, wire_side, out)
    kind, orig = intent.kind(i), intent.orig_user_ref_num(i)
    ref, quantity, price = intent.user_ref_num(i), intent.quantity(i), intent.price(i)
    if kind == _NEW:
        symbol = book.symbol(book.at(eng, intent.book(i)))
        return ouch_encode.encode_enter(
            protocol, templates, out, ref, order_id, wire_side, quantity, symbol, price
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
def _refuse(eng, failed):
    count(eng, _REJECTED)
    r = reject.at(eng, trailing_zeros(failed))
    reject.set_value(r, reject.value(r) + ONE)


@leaf
def _take(eng, i, order_id):
    """One intent through risk and encode, into the send buffer."""
    old = _orig_of(eng, i)
    failed, warned, reference, wire_side, reducing = _verdict(eng, i, old)
    stamps.stage(eng, stamps.RISK)
    length, out = ZERO, egress.at(eng, engine.egress_used(eng))
    if failed == ZERO:
        length = _encode(eng, i, old, order_id, wire_side, out + _block.LENGTH)
        failed = _MALFORMED if length == ZERO else ZERO
    _write_audit(eng, i, old, order_id, failed, warned, reference, wire_side, reducing)
    if failed != ZERO:
        _refuse(eng, failed)
        return
    _block.set_message_length(out, length)
    stamps.stage(eng, stamps.ENCODE)
    stamps.order_sent(eng)
    count(eng, _SENT)
    if warned != ZERO:
        count(eng, _WARNED)
    _note_sent(eng, i, old, order_id, wire_side)
    length += _block.LENGTH
    engine.set_order_position(eng, engine.order_position(eng) + length)
    if engine.orders_wanted(eng) != ZERO:
        used = engine.egress_used(eng) + length
        engine.set_egress_used(eng, used)
        if used > engine.egress_limit(eng):
            engine.set_pause(eng, ONE)


@cold
def send(eng):
    """Take the intents of the message under way through risk and encode, into the send buffer."""
    made = engine.intents(eng)
    engine.set_intents(eng, ZERO)
    stamps.start(eng)
    for at in range(made):
        count(eng, _COUNT_INTENTS)
        _take(eng, intent.at(eng, at), engine.input_number(eng) * _INTENTS + at)
