"""What an OUCH message means for the orders of a session, in the same words for 5.0 and 4.2.

An order is named by its ``key``, as the wire has it: the UserRefNum in 5.0, the token in 4.2.  Its
``number`` rises from order to order: the UserRefNum itself, or the number that the token spells
(`tickpath.ouch.token_of`).  Which field is what stands in one table per protocol.
"""

from enum import Enum
from typing import NamedTuple

from tickpath.ouch import OuchError, order_id_of
from tickpath.wire import appendage
from tickpath.wire.ouch42 import OUCH42_INBOUND, OUCH42_OUTBOUND
from tickpath.wire.ouch50 import OUCH50_INBOUND, OUCH50_OUTBOUND
from tickpath.wire.table import Message, Protocol, WireError

Key = int | str


class Kind(Enum):
    """What a message does, seen from its order."""

    ENTER = "a new order"
    REPLACE = "a new order in the place of another"
    CANCEL = "fewer shares of an order, or none"
    MODIFY = "another side or fewer shares of an order"
    QUERY = "the question for the next UserRefNum"
    ACCEPTED = "an order is accepted"
    REPLACED = "an order stands in the place of another"
    REDUCED = "shares of an order are gone, executed or canceled"
    MODIFIED = "an order was modified"
    REJECTED = "an order is rejected"
    REFUSED = "a cancel has no effect, or has to wait"
    ANSWER = "the answer to the question for the next UserRefNum"
    OTHER = "nothing that changes which orders are open"


class Meaning(NamedTuple):
    """One message; a field that it does not have is 0 or None."""

    kind: Kind
    key: Key | None = None
    orig: Key | None = None  # the order that is replaced
    number: int = 0
    quantity: int = 0
    is_dead: bool = False


class Roles(NamedTuple):
    """Which fields of a message are what."""

    kind: Kind
    key: str = ""
    orig: str = ""
    quantity: str = ""


_TOKEN, _OLD, _NEW = "order_token", "existing_order_token", "replacement_order_token_token_14"
_NEW_OUT, _OLD_OUT = "replacement_order_token_alphanumeric_14", "previous_order_token"
_REF, _ORIG = "user_ref_num", "orig_user_ref_num"

_ROLES = {
    OUCH50_INBOUND.name: {
        "enter_order": Roles(Kind.ENTER, _REF, quantity="quantity"),
        "replace_order": Roles(Kind.REPLACE, _REF, _ORIG, "quantity"),
        "cancel_order": Roles(Kind.CANCEL, _REF, quantity="quantity"),
        "modify_order": Roles(Kind.MODIFY, _REF, quantity="quantity"),
        "account_query": Roles(Kind.QUERY),
    },
    OUCH50_OUTBOUND.name: {
        "order_accepted": Roles(Kind.ACCEPTED, _REF, quantity="quantity"),
        "replaced": Roles(Kind.REPLACED, _REF, _ORIG, "quantity"),
        "canceled": Roles(Kind.REDUCED, _REF, quantity="quantity"),
        "aiq_canceled": Roles(Kind.REDUCED, _REF, quantity="decrement_shares"),
        "order_executed": Roles(Kind.REDUCED, _REF, quantity="quantity"),
        "order_modified": Roles(Kind.MODIFIED, _REF, quantity="quantity"),
        "rejected_order": Roles(Kind.REJECTED, _REF),
        "cancel_pending": Roles(Kind.REFUSED, _REF),
        "cancel_reject": Roles(Kind.REFUSED, _REF),
        "account_query_response": Roles(Kind.ANSWER, quantity="next_user_ref_num"),
    },
    OUCH42_INBOUND.name: {
        "enter_order": Roles(Kind.ENTER, _TOKEN, quantity="shares"),
        "replace_order": Roles(Kind.REPLACE, _NEW, _OLD, "shares"),
        "cancel_order": Roles(Kind.CANCEL, _TOKEN, quantity="shares"),
        "modify_order": Roles(Kind.MODIFY, _TOKEN, quantity="shares"),
    },
    OUCH42_OUTBOUND.name: {
        "accepted": Roles(Kind.ACCEPTED, _TOKEN, quantity="shares"),
        "replaced": Roles(Kind.REPLACED, _NEW_OUT, _OLD_OUT, "shares"),
        "canceled": Roles(Kind.REDUCED, _TOKEN, quantity="decrement_shares"),
        "aiq_cancelled": Roles(Kind.REDUCED, _TOKEN, quantity="decrement_shares"),
        "executed": Roles(Kind.REDUCED, _TOKEN, quantity="executed_shares"),
        "executed_with_reference_price": Roles(Kind.REDUCED, _TOKEN, quantity="executed_shares"),
        "order_modified": Roles(Kind.MODIFIED, _TOKEN, quantity="shares"),
        "rejected_order": Roles(Kind.REJECTED, _TOKEN),
        "cancel_pending": Roles(Kind.REFUSED, _TOKEN),
        "cancel_reject": Roles(Kind.REFUSED, _TOKEN),
    },
}
_DEAD = "D"
_NEW_ORDERS = (Kind.ENTER, Kind.REPLACE)


class Dialect:
    """The words of one protocol, in both directions."""

    def __init__(self, name: str, inbound: Protocol, outbound: Protocol):
        self.name = name
        self.inbound = inbound
        self.outbound = outbound
        self.has_query = "account_query" in inbound.by_name

    def request(self, message: bytes) -> Meaning:
        """What a message for the exchange asks for.

        Raises `WireError` where it is none, or where a new order's token is not one of ours.
        """
        meaning = _meaning(self.inbound, message)
        if meaning.kind not in _NEW_ORDERS:
            return meaning
        if isinstance(meaning.key, int):
            return meaning._replace(number=meaning.key)
        try:
            return meaning._replace(number=order_id_of(str(meaning.key)))
        except OuchError as error:
            raise WireError(str(error)) from None

    def answer(self, message: bytes) -> Meaning:
        """What a message of the exchange tells.  Raises `WireError` where it is none."""
        return _meaning(self.outbound, message)

    def cancel(self, key: Key) -> bytes:
        """The message that cancels the whole of an order."""
        layout = self.inbound["cancel_order"]
        return layout.encode(**{_ROLES[self.inbound.name]["cancel_order"].key: key})

    def query(self) -> bytes:
        """The message that asks for the next UserRefNum; only where `has_query`."""
        return self.inbound["account_query"].encode()


def _layout_of(protocol: Protocol, message: bytes) -> Message:
    if protocol is OUCH42_INBOUND or protocol is OUCH42_OUTBOUND:
        return protocol.message_of(message)
    layout = appendage.message_of(protocol, message)
    appendage.decode_rest(layout, message)  # refuses lengths that do not add up
    return layout


def _meaning(protocol: Protocol, message: bytes) -> Meaning:
    layout = _layout_of(protocol, message)
    roles = _ROLES[protocol.name].get(layout.name)
    if roles is None:
        return Meaning(Kind.OTHER)
    return Meaning(
        roles.kind,
        _field(layout, roles.key, message),
        _field(layout, roles.orig, message),
        0,
        _field(layout, roles.quantity, message) or 0,
        "order_state" in layout.by_name and _field(layout, "order_state", message) == _DEAD,
    )


def _field(layout: Message, name: str, message: bytes):
    if not name:
        return None
    field = layout[name]
    return field.get(message, field.offset, layout.order)


DIALECTS = {
    "ouch50": Dialect("ouch50", OUCH50_INBOUND, OUCH50_OUTBOUND),
    "ouch42": Dialect("ouch42", OUCH42_INBOUND, OUCH42_OUTBOUND),
}
"""By the name that `tickpath.config.Orders.protocol` has."""

for _protocol in (OUCH50_INBOUND, OUCH50_OUTBOUND, OUCH42_INBOUND, OUCH42_OUTBOUND):
    for _name, _roles in _ROLES[_protocol.name].items():
        assert all(each in _protocol[_name].by_name for each in _roles[1:] if each), _name
