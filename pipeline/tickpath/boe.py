"""BOE order messages before the first order: what is constant is encoded once.

`boe23_templates` gives one `TEMPLATE` record per kind of message, from the wire table's encoder;
the hot path (`tickpath.boe_encode`) copies a record and writes the changing bytes over it.  Which
optional fields a session sends follows from its configuration, so a record says where price,
OrdType and symbol stand.

    ENTER     new_order      names, price, order type, time in force, symbol, capacity, what is set
    REPLACE   modify_order   quantity, price, order type; also makes an order smaller
    CANCEL    cancel_order   all that is left
    MODIFY    there is none: see REPLACE

An order is named as `tickpath.order_text` says.  SequenceNumber and MatchingUnit of the header are
the session's, which stamps them when it sends (`stamp`); until then both are 0.

Worst case: a value that the table has no code for, or that does not fit its field, is refused here
by name.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import numpy as np

from tickpath.config import Boe23Orders
from tickpath.order_template import HEAD_LENGTH, TEMPLATE, OrderMessage, OrderSessionError
from tickpath.order_text import PREFIX
from tickpath.wire import boe
from tickpath.wire.boe23 import BOE23, FIELDS
from tickpath.wire.table import WireError

NAMES = {
    OrderMessage.ENTER: "new_order",
    OrderMessage.REPLACE: "modify_order",
    OrderMessage.CANCEL: "cancel_order",
}
LIMIT = "2"
"""OrdType of what has a price; the hot path writes another one over it where there is none."""
_HEADER = BOE23["client_heartbeat"]


class BoeError(OrderSessionError):
    """Constants of orders that BOE does not have or that do not fit its messages."""


def boe23_templates(settings: Boe23Orders) -> np.ndarray:
    """`TEMPLATE[4]`, in the order of `OrderMessage`, for `OrderProtocol.BOE23`.

    Raises `BoeError`.
    """
    firm = {"clearing_firm": settings.clearing_firm}
    changing: dict[str, Any] = {"price": 0, "ord_type": LIMIT}
    new = {
        **_given(firm | {"clearing_account": settings.clearing_account}),
        **_given({"account": settings.account}),
        **changing,
        "time_in_force": settings.time_in_force,
        "symbol": "",
        "capacity": settings.capacity,
    }
    modify = {**_given(firm), **changing, "order_qty": 0}
    records = np.zeros(len(OrderMessage), TEMPLATE)
    _fill(records[OrderMessage.ENTER], "new_order", new, settings.options)
    _fill(records[OrderMessage.REPLACE], "modify_order", modify, settings.modify_options)
    _fill(records[OrderMessage.CANCEL], "cancel_order", _given(firm), {})
    return records


def _given(values: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in values.items() if value}


def _fill(
    record: Any, name: str, values: Mapping[str, Any], options: Mapping[str, str | int | float]
) -> None:
    for each in options:
        if each in values or each in BOE23[name].by_name:
            raise BoeError(f"{name}: {each} is no option, it has a place of its own")
    chosen = {**values, **{each: _exact(value) for each, value in options.items()}}
    for each, value in chosen.items():
        _check(name, each, value)
    names = {
        each: PREFIX for each in ("cl_ord_id", "orig_cl_ord_id") if each in BOE23[name].by_name
    }
    try:
        raw = boe.encode(name, {**names, **chosen})
        places = boe.layout(name, boe.bitfields_of(name, chosen)).by_name
    except WireError as error:
        raise BoeError(str(error)) from None
    if len(raw) > HEAD_LENGTH:
        raise BoeError(
            f"{name}: the options make {len(raw)} bytes, there is room for {HEAD_LENGTH}"
        )
    record["length"] = len(raw)
    record["bytes"] = np.void(raw.ljust(HEAD_LENGTH, b"\0"))
    for field in (
        "cl_ord_id",
        "orig_cl_ord_id",
        "side",
        "ord_type",
        "order_qty",
        "price",
        "symbol",
    ):
        record[field] = places[field].offset if field in places else 0


def _exact(value: str | int | float) -> Any:
    """A number as it was written, not as the float nearest to it."""
    return Decimal(str(value)) if isinstance(value, float) else value


def _check(message: str, name: str, value: Any) -> None:
    """Refuse text that is not printable, and codes that the table of the field does not have."""
    field = FIELDS.get(name)
    if field is None or field.base != "ascii" or not value:
        return
    if not isinstance(value, str) or not value.isascii() or not value.isprintable():
        raise BoeError(f"{message}: {name} is printable ASCII; got {value!r}")
    codes = BOE23.enums[field.enum] if field.enum else {}
    if codes and value not in codes:
        known = ", ".join(f"{code} ({word})" for code, word in codes.items())
        raise BoeError(f"{message}: {name} is one of {known}; got {value!r}")


def stamp(message: bytearray | memoryview, sequence_number: int, matching_unit: int = 0) -> None:
    """Write what is the session's into the header of an encoded message, in place.

    The exchange takes 0 for the matching unit of what members send.  Raises `BoeError` where a
    number does not fit.
    """
    values = {"matching_unit": matching_unit, "sequence_number": sequence_number}
    try:
        for name, value in values.items():
            field = _HEADER[name]
            at = field.offset
            message[at : at + field.size] = field.put(value, _HEADER.order)
    except WireError as error:
        raise BoeError(f"header: {error}") from None
