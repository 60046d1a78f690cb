"""The jitted loops that only measurements need: parse alone, encode alone, the risk gate alone.

Each calls the pipeline's own functions, so what is timed is what runs; the loop around a call adds
about a nanosecond.  All arguments are ``uint64``: addresses and counts.
"""

import numpy as np

from tickpath import boe_encode, fix_encode, itch, ouch_encode, risk, span
from tickpath.jit import entry, leaf
from tickpath.layout import message_length, type_count
from tickpath.memory import accessors, copy_bytes, lend_message, lend_run, trailing_zeros
from tickpath.ouch import MAX_LENGTH
from tickpath.packet import PACKET
from tickpath.wire.frame import FRAME
from tickpath.wire.moldudp64 import MOLDUDP64

ZERO, ONE = np.uint64(0), np.uint64(1)
PREFIX = span.PREFIX
HEADERS = np.uint64(
    FRAME["ethernet"].length
    + FRAME["ipv4"].length
    + FRAME["udp"].length
    + MOLDUDP64["downstream_packet"].length
)
"""Bytes before the first message of a packet as `tickpath.generate` frames it."""

packet = accessors("packet", PACKET)


@entry
def strip(packets, number, out):
    """Write the messages of ``number`` framed packets back to back to ``out``; bytes written."""
    at = out
    for n in range(number):
        p = packets + n * packet.SIZE
        size = packet.length(p) - HEADERS
        copy_bytes(at, packet.address(p) + HEADERS, size)
        at += size
    return at - out


# ---------------------------------------------------------------- parse


@entry
def decode(eng, begin, end):
    """Parse a run of messages as the pipeline does before a message reaches its book.

    For each message: its length prefix, that it ends inside the run, its type, the length that the
    type must have, one count by type, the 48-bit time stamp and whether time went backwards.  Not
    in it: the fields of orders and trades, which are read where they are applied.

    Gives (messages, of a wrong length or type, back in time, last time stamp).
    """
    lend_run(begin, end)
    m, messages, wrong, backwards, now = begin, ZERO, ZERO, ZERO, ZERO
    while m + PREFIX <= end:
        length = span.mold_length(m)
        following = m + PREFIX + length
        if following > end:
            break
        body = m + PREFIX
        lend_message(body, following)
        m = following
        messages += ONE
        kind = itch.message_type(body) if length != ZERO else ZERO
        if message_length.value(message_length.at(eng, kind)) != length or length == ZERO:
            wrong += ONE
            continue
        seen = type_count.at(eng, kind)
        type_count.set_value(seen, type_count.value(seen) + ONE)
        time = itch.timestamp(body)
        backwards += np.uint64(time < now)
        now = max(now, time)
    return messages, wrong, backwards, now


# ---------------------------------------------------------------- encode

SLOTS = 64
"""Messages that stay where they were written, to be compared; a power of two."""
SLOT_BYTES = 128
assert SLOT_BYTES >= MAX_LENGTH
NAMED_SLOT_BYTES = 512
"""Of a message in BOE or FIX."""
assert max(boe_encode.MAX_LENGTH, fix_encode.MAX_LENGTH) <= NAMED_SLOT_BYTES
FIRST_PRICE, TICK = 1_000_000, 100
FIRST_QUANTITY = 100
QUANTITIES, PRICES = 1 << 10, 1 << 16

_SLOT_MASK, _SLOT_BYTES = np.uint64(SLOTS - 1), np.uint64(SLOT_BYTES)
_NAMED_SLOT_BYTES = np.uint64(NAMED_SLOT_BYTES)
_QUANTITY_MASK, _PRICE_MASK = np.uint64(QUANTITIES - 1), np.uint64(PRICES - 1)
_FIRST_QUANTITY, _FIRST_PRICE = np.uint64(FIRST_QUANTITY), np.uint64(FIRST_PRICE)
_TICK = np.uint64(TICK)
_BUY, _SELL = np.uint64(ord("B")), np.uint64(ord("S"))
_ID_SHIFT = np.uint64(4)


@leaf
def _slot(out, n):
    return out + (n & _SLOT_MASK) * _SLOT_BYTES


@leaf
def _quantity(n):
    return _FIRST_QUANTITY + (n & _QUANTITY_MASK)


@leaf
def _price(n):
    return _FIRST_PRICE + (n & _PRICE_MASK) * _TICK


@entry
def encode_enters(protocol, templates, out, number, symbol):
    """Encode ``number`` enter_orders into a ring of `SLOTS`; the sum of their lengths.

    Order n has user_ref_num n + 1 and order_id 16 n.
    """
    total = ZERO
    for n in range(number):
        side = _BUY if n & ONE == ZERO else _SELL
        total += ouch_encode.encode_enter(
            protocol,
            templates,
            _slot(out, n),
            n + ONE,
            n << _ID_SHIFT,
            side,
            _quantity(n),
            symbol,
            _price(n),
        )
    return total


@entry
def encode_replaces(protocol, templates, out, number, symbol):
    """Encode ``number`` replace_orders, of order n by order n + 1; the sum of their lengths."""
    total = ZERO
    for n in range(number):
        total += ouch_encode.encode_replace(
            protocol,
            templates,
            _slot(out, n),
            n + ONE,
            n << _ID_SHIFT,
            n + ONE + ONE,
            (n + ONE) << _ID_SHIFT,
            _quantity(n),
            _price(n),
        )
    return total


@entry
def encode_cancels(protocol, templates, out, number, symbol):
    """Encode ``number`` cancel_orders, of order n; the sum of their lengths."""
    total = ZERO
    for n in range(number):
        total += ouch_encode.encode_cancel(
            protocol, templates, _slot(out, n), n + ONE, n << _ID_SHIFT, _quantity(n)
        )
    return total


@leaf
def _named_slot(out, n):
    return out + (n & _SLOT_MASK) * _NAMED_SLOT_BYTES


@entry
def encode_boe_news(protocol, templates, out, number, symbol):
    """Encode ``number`` new_orders of BOE 2.3, order n with order_id 16 n; sum of lengths."""
    total = ZERO
    for n in range(number):
        side = _BUY if n & ONE == ZERO else _SELL
        total += boe_encode.encode_new(
            templates, _named_slot(out, n), n << _ID_SHIFT, side, _quantity(n), symbol, _price(n)
        )
    return total


@entry
def encode_boe_replaces(protocol, templates, out, number, symbol):
    """Encode ``number`` modify_orders of BOE 2.3, of order n by order n + 1; sum of lengths."""
    total = ZERO
    for n in range(number):
        total += boe_encode.encode_replace(
            templates,
            _named_slot(out, n),
            n << _ID_SHIFT,
            _quantity(n),
            (n + ONE) << _ID_SHIFT,
            _quantity(n),
            _price(n),
        )
    return total


@entry
def encode_fix_news(protocol, templates, out, number, symbol):
    """Encode ``number`` NewOrderSingles of FIX 4.4, order n with order_id 16 n; sum of lengths."""
    total = ZERO
    for n in range(number):
        side = _BUY if n & ONE == ZERO else _SELL
        total += fix_encode.encode_new(
            templates, _named_slot(out, n), n << _ID_SHIFT, side, _quantity(n), symbol, _price(n)
        )
    return total


@entry
def encode_fix_replaces(protocol, templates, out, number, symbol):
    """Encode ``number`` OrderCancelReplaceRequests, of order n by order n + 1; sum of lengths."""
    total = ZERO
    for n in range(number):
        side = _BUY if n & ONE == ZERO else _SELL
        total += fix_encode.encode_replace(
            templates,
            _named_slot(out, n),
            n << _ID_SHIFT,
            _quantity(n),
            (n + ONE) << _ID_SHIFT,
            side,
            _quantity(n),
            symbol,
            _price(n),
        )
    return total


# ---------------------------------------------------------------- risk

CASE = np.dtype(
    [
        ("book", "<u8"),
        ("side", "<u8"),  # ASCII code
        ("quantity", "<u8"),
        ("price", "<u8"),
        ("verdict", "<u8"),  # a `risk.Reject` code, written by `check_cases`
    ]
)
"""An order for the risk gate."""

_case = accessors("case", CASE)


@entry
def check_cases(eng, cases, number, times):
    """Put ``number`` cases through the gate, ``times`` times over; how many were accepted."""
    accepted = ZERO
    for _ in range(times):
        for n in range(number):
            c = cases + n * _case.SIZE
            b, side, quantity, price = (
                _case.book(c),
                _case.side(c),
                _case.quantity(c),
                _case.price(c),
            )
            failed, _, _, _, _ = risk.check(eng, b, side, quantity, price, ZERO, ZERO, ONE)
            if failed == ZERO:
                risk.take_rate(eng, b, side == risk.BUY, quantity, price)
                accepted += ONE
            _case.set_verdict(c, trailing_zeros(failed) if failed != ZERO else ZERO)
    return accepted
