"""A FIX 4.4 NewOrderSingle as the hardware writes it: every number has a fixed width.

    head        `wire.fix44.HEAD`, then what is constant in a session: `Profile.fix_head_bytes`
    terms       40=2 | 11=<ClOrdID> | 54=<Side> | 38=<six digits> | 55=
    symbol      as many characters as it has: 1 to 8, constant for a symbol
    price       | 44=<six digits>.<four digits>
    tail        `wire.fix44.TAIL`

Numbers have leading zeros, which FIX allows in int and float fields.  The order of the fields is
that of `tickpath.fix`, so the message is byte for byte the software's where no number has a
leading zero.  BodyLength has three digits: the longest message is shorter than 1000 bytes.
"""

from tickpath import fix, order_text
from tickpath.config import Fix44Orders
from tickpath.order_template import OrderMessage
from tickpath.wire.fix44 import HEAD, TAIL
from tickpath.wire.table import Message
from tickpath.wire.tagvalue import SOH
from tickpath_backends.hdl.error import HdlError
from tickpath_backends.hdl.profile import PROFILE

QUANTITY_DIGITS = 6
"""`tickpath.risk.MAX_SHARES` has so many."""
WHOLE_DIGITS, DECIMALS = 6, 4
"""Of a price: all that 32 bits of 1e-4 dollars can be."""

TERMS = Message(
    "",
    "terms",
    47,
    (
        ("ord_type_tag", "bytes:3"),
        ("ord_type", "ascii:1"),
        ("cl_ord_id_tag", "bytes:4"),  # with the SOH in front of it, as all behind here
        ("cl_ord_id", f"ascii:{order_text.LENGTH}"),
        ("side_tag", "bytes:4"),
        ("side", "ascii:1"),
        ("order_qty_tag", "bytes:4"),
        ("order_qty", f"ascii:{QUANTITY_DIGITS}"),
        ("symbol_tag", "bytes:4"),
    ),
)
PRICE = Message(
    "",
    "price",
    15,
    (
        ("price_tag", "bytes:4"),
        ("whole", f"ascii:{WHOLE_DIGITS}"),
        ("point", "bytes:1"),
        ("decimals", f"ascii:{DECIMALS}"),
    ),
)


def terms() -> bytes:
    """The terms of a limit order with nothing but its prefix filled in."""
    return TERMS.encode(
        ord_type_tag=fix.tag("ord_type"),
        ord_type=fix.LIMIT,
        cl_ord_id_tag=SOH + fix.tag("cl_ord_id"),
        cl_ord_id=order_text.PREFIX.ljust(order_text.LENGTH, "\0"),
        side_tag=SOH + fix.tag("side"),
        side="\0",
        order_qty_tag=SOH + fix.tag("order_qty"),
        order_qty="\0" * QUANTITY_DIGITS,
        symbol_tag=fix.SYMBOL,
    )


def price() -> bytes:
    """The price with nothing filled in."""
    return PRICE.encode(
        price_tag=fix.PRICE,
        whole="\0" * WHOLE_DIGITS,
        point=fix.POINT,
        decimals="\0" * DECIMALS,
    )


SYMBOL_BYTES = 8
assert (
    PROFILE.fix_head_bytes + TERMS.length + SYMBOL_BYTES + PRICE.length + TAIL.length
    == PROFILE.fix_message_bytes
    < 1000
)
assert PROFILE.fix_head_bytes > HEAD.length


def head(settings: Fix44Orders) -> bytes:
    """What stands in front of an order's terms, `Profile.fix_head_bytes` long; BodyLength is blank.

    Raises `HdlError` where the session's constants are shorter or longer, and `FixOrderError`.
    """
    record = fix.fix44_templates(settings)[OrderMessage.ENTER]
    end = int(record["ord_type"]) - len(fix.tag("ord_type"))
    given, room = end - HEAD.length, PROFILE.fix_head_bytes - HEAD.length
    if given != room:
        raise HdlError(
            f"fix44: the session's constants make {given} bytes, the hardware's are {room}: "
            f"change fix44.options (text takes any) by {room - given:+d}"
        )
    return bytes(record["bytes"])[:end]


def widened(raw: bytes) -> bytes:
    """A message of the software's with numbers as wide as the hardware's, and so with other sums.

    Raises `HdlError` for one whose numbers are wider, or that is no such order.
    """
    wide = _widened(raw, SOH + fix.tag("order_qty"), QUANTITY_DIGITS, SOH)
    wide = _widened(wide, fix.PRICE, WHOLE_DIGITS, fix.POINT)
    length, check_sum = HEAD["body_length"], TAIL["check_sum"]
    wide = wide[: -check_sum.size - len(SOH)]
    # Both count to the SOH in front of CheckSum's tag, and that.
    end = len(wide) - TAIL["check_sum_tag"].size + len(SOH)
    begin = length.offset + length.size
    body = end - begin - len(SOH)
    wide = wide[: length.offset] + f"{body:0{length.size}}".encode() + wide[begin:]
    return wide + f"{sum(wide[:end]) & 0xFF:0{check_sum.size}}".encode() + SOH


def _widened(raw: bytes, tag: bytes, digits: int, end: bytes) -> bytes:
    """The number behind a tag, up to ``end``, with leading zeros."""
    if raw.count(tag) != 1:
        raise HdlError(f"fix44: not one {tag!r} in {raw!r}")
    at = raw.index(tag) + len(tag)
    number = raw[at : raw.index(end, at)]
    if len(number) > digits:
        raise HdlError(f"fix44: {number!r} has more than {digits} digits")
    return raw[:at] + number.rjust(digits, b"0") + raw[at + len(number) :]


def constant_sum(head_bytes: bytes) -> int:
    """The sum, modulo 256, of all bytes that no order changes; blanks add nothing.

    MsgSeqNum and the times are not among them: see `stamped`.
    """
    fixed = bytearray(head_bytes + terms() + price() + fix.tail() + b"")
    for base, layout, name in (
        (0, HEAD, "body_length"),
        (0, HEAD, "msg_seq_num"),
        (0, HEAD, "sending_time"),
        (len(fixed) - TAIL.length, TAIL, "transact_time"),
        (len(fixed) - TAIL.length, TAIL, "check_sum"),
    ):
        at = base + layout[name].offset
        fixed[at : at + layout[name].size] = bytes(layout[name].size)
    # CheckSum does not count itself: neither its tag nor the SOH behind it.
    sum_at = len(fixed) - TAIL.length + TAIL["check_sum_tag"].offset + len(SOH)
    return sum(fixed[:sum_at]) & 0xFF
