"""OUCH order messages before the first order: what is constant is encoded once.

A session's constants (time in force, display, capacity, firm, options ...) are fixed when it
starts, so the whole message but its changing bytes can be written then.  `ouch50_templates` and
`ouch42_templates` give one `TEMPLATE` record per kind of message; the hot path
(`tickpath.ouch_encode`) copies a record and writes the changing bytes into the copy.

An order is named by a `uint64`.  On the wire (ClOrdID in 5.0, the order token in 4.2) it is 14
characters: a prefix of the session's own, then 13 digits in base 32 with the alphabet of RFC 4648
section 7 (0-9, A-V), most significant first.  The form has a fixed width and its alphabet rises in
ASCII, so the text is unique and sorts as the numbers do:

    0 -> T0000000000000      31 -> T000000000000V      2**64 - 1 -> TFVVVVVVVVVVVV

Worst case: options whose bytes do not fit a record are refused here, by name and size, so the hot
path never meets them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from tickpath.order_template import (
    HEAD_LENGTH,
    TEMPLATE,
    OrderMessage,
    OrderProtocol,
    OrderSessionError,
)
from tickpath.wire import appendage
from tickpath.wire.ouch42 import OUCH42_INBOUND
from tickpath.wire.ouch50 import OUCH50_INBOUND
from tickpath.wire.table import Message, Protocol, WireError

MAX_LENGTH = 120
"""Room an order message needs where it is encoded to: so much of a template is copied."""

NAMES = {
    OrderMessage.ENTER: "enter_order",
    OrderMessage.REPLACE: "replace_order",
    OrderMessage.CANCEL: "cancel_order",
    OrderMessage.MODIFY: "modify_order",
}

DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUV"
TOKEN_DIGITS = 13
TOKEN_LENGTH = OUCH42_INBOUND["enter_order"]["order_token"].size
assert TOKEN_LENGTH == OUCH50_INBOUND["enter_order"]["clordid"].size == 1 + TOKEN_DIGITS


class OuchError(OrderSessionError):
    """A session's constants that the protocol does not have or that do not fit its messages."""


@dataclass(frozen=True)
class Ouch50Session:
    """What every OUCH 5.0 order of a session has in common, in the codes of the spec.

    ``options`` go into the appendage of every enter_order, ``replace_options`` into that of every
    replace_order: {name of `appendage.OPTIONS`: value}.
    """

    time_in_force: str = "0"
    display: str = "Y"
    capacity: str = "P"
    inter_market_sweep_eligibility: str = "N"
    cross_type: str = "N"
    clordid_prefix: str = "T"
    options: Mapping[str, Any] = field(default_factory=dict)
    replace_options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check(self, OUCH50_INBOUND)
        _check_prefix("clordid_prefix", self.clordid_prefix)


@dataclass(frozen=True)
class Ouch42Session:
    """What every OUCH 4.2 order of a session has in common, in the codes of the spec.

    ``time_in_force`` is in seconds: 0 immediate or cancel, 99998 market hours, 99999 system hours.
    """

    time_in_force: int = 99998
    firm: str = ""
    display: str = "Y"
    capacity: str = "P"
    intermarket_sweep_eligibility: str = "N"
    minimum_quantity: int = 0
    cross_type: str = "N"
    customer_type: str = " "
    order_token_prefix: str = "T"

    def __post_init__(self) -> None:
        _check(self, OUCH42_INBOUND)
        _check_prefix("order_token_prefix", self.order_token_prefix)


OuchSession = Ouch50Session | Ouch42Session


def _check(session: OuchSession, protocol: Protocol) -> None:
    """Raise `OuchError` for a code that is not in the spec's table, naming those that are."""
    enter = protocol["enter_order"]
    for each in fields(session):
        place = enter.by_name.get(each.name)
        codes = protocol.enums[place.enum] if place is not None and place.enum else None
        value = getattr(session, each.name)
        if codes is not None and value not in codes:
            known = ", ".join(f"{code} ({word})" for code, word in codes.items())
            raise OuchError(f"{protocol.name}: {each.name} is one of {known}; got {value!r}")


def _check_prefix(name: str, prefix: str) -> None:
    if len(prefix) != 1 or not prefix.isascii() or not prefix.isalnum():
        raise OuchError(f"{name} is one ASCII letter or digit; got {prefix!r}")


# ---------------------------------------------------------------- templates


def ouch50_templates(session: Ouch50Session) -> np.ndarray:
    """`TEMPLATE[4]`, in the order of `OrderMessage`, for `OrderProtocol.OUCH50`.

    Raises `OuchError` for an unknown option, and for options that do not fit a template.
    """
    constants = {each.name: getattr(session, each.name) for each in fields(session)}
    constants["clordid"] = session.clordid_prefix
    options = {"enter_order": session.options, "replace_order": session.replace_options}
    return _templates(OUCH50_INBOUND, constants, options)


def ouch42_templates(session: Ouch42Session) -> np.ndarray:
    """`TEMPLATE[4]`, in the order of `OrderMessage`, for `OrderProtocol.OUCH42`.

    Raises `OuchError` for a value that does not fit its field.
    """
    constants = {each.name: getattr(session, each.name) for each in fields(session)}
    for token in (
        "order_token",
        "existing_order_token",
        "replacement_order_token_token_14",
    ):
        constants[token] = session.order_token_prefix
    return _templates(OUCH42_INBOUND, constants, {})


def templates(session: OuchSession) -> tuple[OrderProtocol, np.ndarray]:
    """The protocol's code and its `TEMPLATE[4]`, whichever protocol the session is of."""
    if isinstance(session, Ouch50Session):
        return OrderProtocol.OUCH50, ouch50_templates(session)
    return OrderProtocol.OUCH42, ouch42_templates(session)


def _templates(
    protocol: Protocol,
    constants: Mapping[str, Any],
    options: Mapping[str, Mapping[str, Any]],
) -> np.ndarray:
    records = np.zeros(len(OrderMessage), TEMPLATE)
    for kind, name in NAMES.items():
        message = protocol[name]
        values = {each: constants[each] for each in message.by_name if each in constants}
        raw = _encoded(protocol, message, values, options.get(name, {}))
        records[kind]["length"] = len(raw)
        records[kind]["bytes"] = np.void(raw.ljust(HEAD_LENGTH, b"\0"))
    return records


def _encoded(
    protocol: Protocol, message: Message, values: dict[str, Any], options: Mapping[str, Any]
) -> bytes:
    try:
        raw = appendage.encode_message(message, options, **values)
    except WireError as error:
        raise OuchError(f"{protocol.name} {message.name}: {error}") from None
    if len(raw) > MAX_LENGTH:
        room, taken = MAX_LENGTH - message.length, len(raw) - message.length
        raise OuchError(
            f"{protocol.name} {message.name}: the options take {taken} bytes, there is room for "
            f"{room}; leave some out"
        )
    return raw


# ---------------------------------------------------------------- an order's number as text


def token_of(order_id: int, prefix: str = "T") -> str:
    """The 14 characters by which an order is named on the wire; the hot path writes the same."""
    if not 0 <= order_id < 1 << 64:
        raise OuchError(f"an order_id is an unsigned 64-bit integer; got {order_id}")
    _check_prefix("prefix", prefix)
    return prefix + "".join(DIGITS[order_id >> 5 * n & 31] for n in reversed(range(TOKEN_DIGITS)))


def order_id_of(token: str) -> int:
    """The order that a ClOrdID or order token names; the inverse of `token_of` for any prefix.

    Raises `OuchError` where the text is not one that `token_of` gives.
    """
    digits = token[1:]
    if len(token) != TOKEN_LENGTH or not set(digits) <= set(DIGITS):
        raise OuchError(f"{token!r} is not a prefix and {TOKEN_DIGITS} digits of {DIGITS}")
    order_id = int(digits, len(DIGITS))
    if order_id >= 1 << 64:
        raise OuchError(f"{token!r} does not fit 64 bits")
    return order_id
