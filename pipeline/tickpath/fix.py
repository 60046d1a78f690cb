"""FIX order messages before the first order: what is constant is encoded once.

`fix44_templates` gives one `TEMPLATE` record per kind of message.  The hot path
(`tickpath.fix_encode`) copies a record, writes the fields of constant length in their places, then
quantity, symbol and price, which have any length, and the tail:

    8=FIX.4.4 | 9=198 | 35=D | 34=000000000 | 52=... | 49=... | 56=... | 1=... ...     head
    11=T0000000000030000034 | 54=1 | 38=                                              head, its end
                                        100 | 55=AAPL | 44=100.0100                   any length
    | 60=19700101-00:00:00.000 | 10=123 |                                             tail

BodyLength and CheckSum come from what is written, not from reading it again: the record holds the
sum of the bytes that never change, and each field adds its own.

MsgSeqNum, SendingTime and TransactTime are the session's, which knows them when it sends.  Their
places have a constant width (nine digits; milliseconds) and hold `NO_SEQ_NUM` and `NO_TIME`;
`stamp` writes over them and corrects CheckSum by the difference.  So a message is valid FIX before,
too.

    ENTER     NewOrderSingle               REPLACE   OrderCancelReplaceRequest, also makes smaller
    CANCEL    OrderCancelRequest           MODIFY    there is none: see REPLACE
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np

from tickpath.config import Fix44Orders
from tickpath.order_template import (
    HEAD_LENGTH,
    TAIL_LENGTH,
    TEMPLATE,
    OrderMessage,
    OrderSessionError,
)
from tickpath.order_text import LENGTH, PREFIX
from tickpath.wire import fix44
from tickpath.wire.fix44 import FIX44, HEAD, TAIL
from tickpath.wire.table import Message, WireError
from tickpath.wire.tagvalue import SOH, FixError

NAMES = {
    OrderMessage.ENTER: "new_order_single",
    OrderMessage.REPLACE: "order_cancel_replace_request",
    OrderMessage.CANCEL: "order_cancel_request",
}
LIMIT = "2"
NO_SEQ_NUM = "0" * HEAD["msg_seq_num"].size
NO_TIME = "19700101-00:00:00.000"
_MOST_SEQ_NUM = 10 ** HEAD["msg_seq_num"].size - 1
_ANY = "\0"
"""Stands where the hot path writes, and adds nothing to a sum."""
_NAME = PREFIX + _ANY * (LENGTH - len(PREFIX))
_PARTS = ("data", "length", "num_in_group")
"""Kinds of what is more than one field."""
_OWN = (
    "transact_time",
    "symbol",
    "price",
    "order_qty",
    "side",
    "ord_type",
    "cl_ord_id",
    "orig_cl_ord_id",
)


class FixOrderError(OrderSessionError):
    """Constants of orders that FIX does not have or that do not fit its messages."""


def tag(name: str) -> bytes:
    """A field's tag as it stands in a message, with the equals sign."""
    return b"%d=" % FIX44.by_name[name].tag


SYMBOL, PRICE = SOH + tag("symbol"), SOH + tag("price")
POINT = b"."


def tail() -> bytes:
    """The end of every message, before anything is stamped."""
    return TAIL.encode(
        transact_time_tag=SOH + tag("transact_time"),
        transact_time=NO_TIME,
        check_sum_tag=SOH + tag("check_sum"),
        check_sum=_ANY * TAIL["check_sum"].size,
        soh=SOH,
    )


def fix44_templates(settings: Fix44Orders) -> np.ndarray:
    """`TEMPLATE[4]`, in the order of `OrderMessage`, for `OrderProtocol.FIX44`.

    Raises `FixOrderError`.
    """
    header = {
        "sender_comp_id": settings.sender_comp_id,
        "target_comp_id": settings.target_comp_id,
        "sender_sub_id": settings.sender_sub_id,
        "target_sub_id": settings.target_sub_id,
    }
    for name in ("sender_comp_id", "target_comp_id"):
        if not header[name]:
            raise FixOrderError(f"fix44.{name}: needed where orders are FIX")
    account = {"account": settings.account}
    terms = {
        **account,
        "handl_inst": settings.handl_inst,
        "order_capacity": settings.order_capacity,
        "time_in_force": settings.time_in_force,
        "ex_destination": settings.ex_destination,
    }
    new = {**terms, "locate_reqd": settings.locate_reqd}
    orders = {
        OrderMessage.ENTER: (new, settings.options),
        OrderMessage.REPLACE: (terms, settings.replace_options),
        OrderMessage.CANCEL: (account, {}),
    }
    records = np.zeros(len(OrderMessage), TEMPLATE)
    for kind, (fields, options) in orders.items():
        _fill(records[kind], kind, header, fields, options)
    return records


def _fill(
    record: Any,
    kind: OrderMessage,
    header: Mapping[str, str],
    fields: Mapping[str, str],
    options: Mapping[str, str | int | float],
) -> None:
    name = NAMES[kind]
    for each in options:
        known = FIX44.by_name.get(each)
        if known is None:
            raise FixOrderError(f"fix44 {name}: FIX 4.4 has no field {each}")
        if each in _OWN or each in fields or known.tag in (*FIX44.header, *FIX44.trailer):
            raise FixOrderError(f"fix44 {name}: {each} is no option, it has a place of its own")
        if known.kind in _PARTS:
            raise FixOrderError(f"fix44 {name}: {each} ({known.kind}) cannot be an option")
    constant = {key: value for key, value in {**fields, **options}.items() if value != ""}
    _check(name, {**header, **constant})
    values = {
        **{key: value for key, value in header.items() if value},
        **constant,
        **({} if kind is OrderMessage.CANCEL else {"ord_type": _ANY}),
        **({} if kind is OrderMessage.ENTER else {"orig_cl_ord_id": _NAME}),
        "cl_ord_id": _NAME,
        "side": _ANY,
    }
    raw = bytearray(_head(FIX44.of_name[name].type))
    for key, value in values.items():
        raw += tag(key)
        if key in _OWN:
            record[key] = len(raw)
        raw += str(value).encode("ascii") + SOH
    raw += tag("order_qty")
    if len(raw) > HEAD_LENGTH:
        raise FixOrderError(
            f"fix44 {name}: its constants make {len(raw)} bytes, there is room for {HEAD_LENGTH}"
        )
    record["length"] = record["order_qty"] = len(raw)
    record["bytes"] = np.void(bytes(raw.ljust(HEAD_LENGTH, b"\0")))
    end = tail()
    record["tail"] = np.void(end.ljust(TAIL_LENGTH, b"\0"))
    summed = bytes(raw) + SYMBOL + end[: TAIL["check_sum_tag"].offset] + SOH
    record["sum"] = sum(summed)


def _head(msg_type: str) -> bytes:
    return HEAD.encode(
        begin_string=tag("begin_string") + FIX44.begin_string.encode() + SOH,
        body_length_tag=tag("body_length"),
        body_length=_ANY * HEAD["body_length"].size,
        msg_type_tag=SOH + tag("msg_type"),
        msg_type=msg_type,
        msg_seq_num_tag=SOH + tag("msg_seq_num"),
        msg_seq_num=NO_SEQ_NUM,
        sending_time_tag=SOH + tag("sending_time"),
        sending_time=NO_TIME,
        soh=SOH,
    )


def _check(name: str, values: Mapping[str, Any]) -> None:
    """Refuse what the dictionary's encoder refuses, and text that is not printable ASCII."""
    for key, value in values.items():
        text = str(value)
        if not text.isascii() or not text.isprintable() or " " in text:
            raise FixOrderError(f"fix44 {name}: {key} is printable ASCII; got {value!r}")
        known = FIX44.by_name.get(key)
        codes = FIX44.enums[known.enum] if known is not None and known.enum else {}
        if codes and text and text not in codes:
            words = ", ".join(f"{code} ({word})" for code, word in codes.items())
            raise FixOrderError(f"fix44 {name}: {key} is one of {words}; got {value!r}")
    required = {FIX44.by_tag[each].name: "1" for each in FIX44.of_name[name].required}
    given = {key: value for key, value in values.items() if value != ""}
    times = dict.fromkeys(("sending_time", "transact_time"), NO_TIME)
    try:
        fix44.encode(name, **{**required, **times, "msg_seq_num": 0, **given})
    except FixError as error:
        raise FixOrderError(f"fix44 {name}: {error}") from None


# ---------------------------------------------------------------- what the session stamps


def utc_timestamp(time_ns: int) -> str:
    """UTCTimestamp with milliseconds, rounded down, of nanoseconds since the Unix epoch."""
    seconds, rest = divmod(time_ns, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y%m%d-%H:%M:%S}.{rest // 1_000_000:03d}"


def stamp(message: bytearray | memoryview, msg_seq_num: int, sending_time_ns: int) -> None:
    """Write MsgSeqNum, SendingTime and TransactTime into a message of the hot path, in place.

    Times are nanoseconds since the Unix epoch, both the same.  CheckSum changes by what the bytes
    changed, whatever was stamped before.  Raises `FixOrderError` for a number of more than nine
    digits and for bytes that are not such a message.
    """
    if not 0 <= msg_seq_num <= _MOST_SEQ_NUM:
        raise FixOrderError(f"msg_seq_num is 0 to {_MOST_SEQ_NUM}; got {msg_seq_num}")
    end = len(message) - TAIL.length
    check = end + TAIL["check_sum"].offset
    stated = bytes(message[check : check + TAIL["check_sum"].size])
    if end < HEAD.length or not stated.isdigit() or bytes(message[:2]) != tag("begin_string"):
        raise FixOrderError("not a message that was encoded from a template")
    time = utc_timestamp(sending_time_ns)
    number = f"{msg_seq_num:0{len(NO_SEQ_NUM)}d}"
    change = _write(message, 0, HEAD, "msg_seq_num", number)
    change += _write(message, 0, HEAD, "sending_time", time)
    change += _write(message, end, TAIL, "transact_time", time)
    message[check : check + len(stated)] = b"%03d" % ((int(stated) + change) & 0xFF)


def _write(
    message: bytearray | memoryview, base: int, layout: Message, name: str, text: str
) -> int:
    """Write a field; by how much the sum of its bytes has grown."""
    field = layout[name]
    at = base + field.offset
    try:
        raw = field.put(text, layout.order)
    except WireError as error:
        raise FixOrderError(str(error)) from None
    before = sum(message[at : at + field.size])
    message[at : at + field.size] = raw
    return sum(raw) - before
