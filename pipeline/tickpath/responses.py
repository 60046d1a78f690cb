"""The exchange's answers to our orders, OUCH 5.0 and 4.2, into changes of our own orders.

`apply` takes one outbound message as it came.  A message that is shorter than its table says, or
of a type that the table does not have, is counted and changes nothing; bytes behind what the table
says are a later revision's, or an appendage, and are not read.  OUCH 5.0 names orders by
``user_ref_num``, 4.2 by the order token, which is the order_id as text (`tickpath.ouch`); any other
token is another program's, and its order is not known.
"""

from types import ModuleType

import numpy as np

from tickpath import own_orders
from tickpath.counters import Counter
from tickpath.jit import cold, leaf
from tickpath.layout import count, engine
from tickpath.memory import load_u8
from tickpath.ouch import DIGITS, TOKEN_DIGITS, OrderProtocol, Ouch42Session
from tickpath.wire import hot
from tickpath.wire.ouch42 import OUCH42_OUTBOUND
from tickpath.wire.ouch50 import OUCH50_OUTBOUND
from tickpath.wire.table import Message

ZERO, ONE = np.uint64(0), np.uint64(1)
_OUCH50 = np.uint64(OrderProtocol.OUCH50)
_LIVE = np.uint64(ord("L"))
_RESPONSES = np.uint64(Counter.RESPONSES)
_UNKNOWN_TYPE = np.uint64(Counter.RESPONSES_UNKNOWN_TYPE)
_WRONG_LENGTH = np.uint64(Counter.RESPONSES_WRONG_LENGTH)


def _least(message: Message) -> int:
    """An appendage may be missing, its length too."""
    last = message.by_name.get("appendage_length")
    return message.length if last is None else last.offset


def _message(layout: Message) -> ModuleType:
    return hot.message(layout, _least(layout))


accepted50 = _message(OUCH50_OUTBOUND["order_accepted"])
replaced50 = _message(OUCH50_OUTBOUND["replaced"])
canceled50 = _message(OUCH50_OUTBOUND["canceled"])
aiq50 = _message(OUCH50_OUTBOUND["aiq_canceled"])
executed50 = _message(OUCH50_OUTBOUND["order_executed"])
broken50 = _message(OUCH50_OUTBOUND["broken_trade"])
correction50 = _message(OUCH50_OUTBOUND["trade_correction"])
rejected50 = _message(OUCH50_OUTBOUND["rejected_order"])
cancel_reject50 = _message(OUCH50_OUTBOUND["cancel_reject"])
priority50 = _message(OUCH50_OUTBOUND["order_priority_update"])
modified50 = _message(OUCH50_OUTBOUND["order_modified"])

event42 = _message(OUCH42_OUTBOUND["system_event"])
accepted42 = _message(OUCH42_OUTBOUND["accepted"])
replaced42 = _message(OUCH42_OUTBOUND["replaced"])
canceled42 = _message(OUCH42_OUTBOUND["canceled"])
aiq42 = _message(OUCH42_OUTBOUND["aiq_cancelled"])
executed42 = _message(OUCH42_OUTBOUND["executed"])
executed_reference42 = _message(OUCH42_OUTBOUND["executed_with_reference_price"])
broken42 = _message(OUCH42_OUTBOUND["broken_trade"])
correction42 = _message(OUCH42_OUTBOUND["trade_correction"])
rejected42 = _message(OUCH42_OUTBOUND["rejected_order"])
cancel_reject42 = _message(OUCH42_OUTBOUND["cancel_reject"])
priority42 = _message(OUCH42_OUTBOUND["order_priority_update"])
modified42 = _message(OUCH42_OUTBOUND["order_modified"])

kind = hot.peek(OUCH50_OUTBOUND["system_event"], "message_type")
timestamp = _message(OUCH50_OUTBOUND["system_event"]).timestamp
"""Nanoseconds since the venue's midnight: every answer of either protocol has it there."""


def _lengths(protocol) -> np.ndarray:
    """Least length by type code; 0 where there is no such type."""
    lengths = np.zeros(256, np.uint64)
    for message in protocol.messages:
        lengths[ord(message.type)] = _least(message)
    return lengths


LENGTHS = {"ouch50": _lengths(OUCH50_OUTBOUND), "ouch42": _lengths(OUCH42_OUTBOUND)}

# ---------------------------------------------------------------- order tokens

_PREFIX = np.uint64(ord(Ouch42Session().order_token_prefix))
_0, _A, _TEN, _BASE = (np.uint64(each) for each in (ord("0"), ord("A"), 10, len(DIGITS)))
_BITS = np.uint64(len(DIGITS).bit_length() - 1)
_TOKEN_END = np.uint64(1 + TOKEN_DIGITS)
_HIGHEST = np.uint64((1 << (64 - 5 * (TOKEN_DIGITS - 1))) - 1)
"""Of the first digit: thirteen have room for more than 64 bits."""
assert DIGITS[10:] == "ABCDEFGHIJKLMNOPQRSTUV" and len(DIGITS) == 32


@leaf
def _digit(letter):
    """A letter's value in base 32, more than that where it is no digit."""
    # What lies below a range wraps, and so is beyond it too.
    number, above = letter - _0, letter - _A
    return number if number < _TEN else (above + _TEN if above < _BASE - _TEN else _BASE)


@cold
def _order_at(eng, token):
    """The user_ref_num of the order whose token is at an address; 0 where there is none."""
    order_id = ZERO
    is_ours = load_u8(token) == _PREFIX and _digit(load_u8(token + ONE)) <= _HIGHEST
    for at in range(ONE, _TOKEN_END):
        digit = _digit(load_u8(token + at))
        is_ours &= digit < _BASE
        order_id = (order_id << _BITS) | digit
    return own_orders.by_order_id(eng, order_id) if is_ours else ZERO


# The first field behind type and timestamp is the token, in all that are about an order.
for each in OUCH42_OUTBOUND.messages[1:]:
    token = each.fields[2]
    assert (token.offset, token.size) == (accepted42.ORDER_TOKEN_OFFSET, 1 + TOKEN_DIGITS), each


# ---------------------------------------------------------------- one answer


@leaf
def _is_live(state):
    return np.uint64(state == _LIVE)


@cold
def _apply50(eng, code, m):
    if code == executed50.TYPE:
        ref, quantity = executed50.user_ref_num(m), executed50.quantity(m)
        own_orders.executed(eng, ref, quantity, executed50.price(m), executed50.match_number(m))
    elif code == accepted50.TYPE:
        own_orders.accepted(
            eng,
            accepted50.user_ref_num(m),
            accepted50.quantity(m),
            accepted50.price(m),
            accepted50.order_reference_number(m),
            _is_live(accepted50.order_state(m)),
        )
    elif code == canceled50.TYPE:
        own_orders.cancelled(eng, canceled50.user_ref_num(m), canceled50.quantity(m))
    elif code == replaced50.TYPE:
        own_orders.replaced(
            eng,
            replaced50.orig_user_ref_num(m),
            replaced50.user_ref_num(m),
            replaced50.quantity(m),
            replaced50.price(m),
            replaced50.order_reference_number(m),
            _is_live(replaced50.order_state(m)),
        )
    elif code == rejected50.TYPE:
        own_orders.rejected(eng, rejected50.user_ref_num(m))
    elif code == aiq50.TYPE:
        own_orders.cancelled(eng, aiq50.user_ref_num(m), aiq50.decrement_shares(m))
    elif code == modified50.TYPE:
        own_orders.modified(eng, modified50.user_ref_num(m), modified50.quantity(m))
    elif code == broken50.TYPE:
        own_orders.broken(eng, broken50.user_ref_num(m), broken50.match_number(m))
    elif code == correction50.TYPE:
        ref, quantity = correction50.user_ref_num(m), correction50.quantity(m)
        match_number = correction50.match_number(m)
        own_orders.corrected(eng, ref, quantity, correction50.price(m), match_number)
    elif code == cancel_reject50.TYPE:
        own_orders.cancel_rejected(eng, cancel_reject50.user_ref_num(m))
    elif code == priority50.TYPE:
        market_ref = priority50.order_reference_number(m)
        own_orders.moved(eng, priority50.user_ref_num(m), priority50.price(m), market_ref)


@cold
def _apply42(eng, code, m):
    if code == event42.TYPE:
        return
    ref = _order_at(eng, m + accepted42.ORDER_TOKEN_OFFSET)
    if code == executed42.TYPE or code == executed_reference42.TYPE:
        # The second is the first with something behind it.
        quantity, price = executed42.executed_shares(m), executed42.execution_price(m)
        own_orders.executed(eng, ref, quantity, price, executed42.match_number(m))
    elif code == accepted42.TYPE:
        own_orders.accepted(
            eng,
            ref,
            accepted42.shares(m),
            accepted42.price(m),
            accepted42.order_reference_number(m),
            _is_live(accepted42.order_state(m)),
        )
    elif code == canceled42.TYPE:
        own_orders.cancelled(eng, ref, canceled42.decrement_shares(m))
    elif code == aiq42.TYPE:
        own_orders.cancelled(eng, ref, aiq42.decrement_shares(m))
    elif code == replaced42.TYPE:
        own_orders.replaced(
            eng,
            _order_at(eng, m + replaced42.PREVIOUS_ORDER_TOKEN_OFFSET),
            ref,
            replaced42.shares(m),
            replaced42.price(m),
            replaced42.order_reference_number(m),
            _is_live(replaced42.order_state(m)),
        )
    elif code == rejected42.TYPE:
        own_orders.rejected(eng, ref)
    elif code == modified42.TYPE:
        own_orders.modified(eng, ref, modified42.shares(m))
    elif code == broken42.TYPE:
        own_orders.broken(eng, ref, broken42.match_number(m))
    elif code == correction42.TYPE:
        quantity, price = correction42.executed_shares(m), correction42.execution_price(m)
        own_orders.corrected(eng, ref, quantity, price, correction42.match_number(m))
    elif code == cancel_reject42.TYPE:
        own_orders.cancel_rejected(eng, ref)
    elif code == priority42.TYPE:
        market_ref = priority42.order_reference_number(m)
        own_orders.moved(eng, ref, priority42.price(m), market_ref)


@cold
def apply(eng, m, length, least_length):
    """Apply one answer; ``least_length`` is what the table says of its type."""
    count(eng, _RESPONSES)
    if least_length == ZERO:
        count(eng, _UNKNOWN_TYPE)
    elif length < least_length:
        count(eng, _WRONG_LENGTH)
    elif engine.order_protocol(eng) == _OUCH50:
        _apply50(eng, kind(m), m)
    else:
        _apply42(eng, kind(m), m)
