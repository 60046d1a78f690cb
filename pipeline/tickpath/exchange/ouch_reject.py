"""Reject and cancel reasons: one vocabulary, that of OUCH 5.0, and its codes in both versions.

The table of OUCH 4.2 does not enumerate its reject reasons; those used here are from the OUCH 4.2
specification, section 3 (rejected order message), as Wireshark's dissector lists them too.
"""

from tickpath.exchange.reason import Reason, Why
from tickpath.wire.ouch50 import ENUMS

HALTED = "halted"
SYMBOL = "invalid_symbol"
PRICE = "invalid_price"
QUANTITY = "invalid_quantity"
SIDE = "invalid_side"
DISPLAY = "invalid_display"
MINIMUM = "invalid_min_quantity"
FLOOR = "invalid_max_floor"
CROSS = "invalid_cross_order"
PEG = "pegging_not_allowed"
ROUTE = "routing_not_allowed"
RETAIL = "retail_not_allowed"
SHARES = "shares_exceed_threshold"
NOTIONAL = "exceeds_maximum_allowed_notional_value"
CLOSED = "destination_closed"
CANCEL_PENDING = "cancel_pending"
REPLACE = "replace_not_allowed"
MALFORMED = "processing_error"
OTHER = "other"

CODES_50 = {name: int(code) for code, name in ENUMS["rejected_order_reason"].items()}
_OTHER_42 = b"O"
CODES_42 = {
    HALTED: b"H",
    SYMBOL: b"S",
    PRICE: b"X",
    DISPLAY: b"D",
    MINIMUM: b"N",
    CROSS: b"R",
    SHARES: b"Z",
    NOTIONAL: b"n",
    CLOSED: b"C",
    "firm_not_authorized": b"L",
    "test": b"T",
    "invalid_midpoint_post_only_price": b"W",
}
"""What 4.2 can say; every other reason is its ``O``, other."""

BY_REASON = {
    Reason.SYMBOL: SYMBOL,
    Reason.HALTED: HALTED,
    Reason.QUANTITY: QUANTITY,
    Reason.PRICE: PRICE,
    Reason.MINIMUM: MINIMUM,
    Reason.FLOOR: FLOOR,
    Reason.DISPLAY: DISPLAY,
    Reason.FULL: OTHER,
    Reason.ORDER: OTHER,
}
"""Matching's refusals in the words of the protocol."""

_CANCELS = {name: code.encode() for code, name in ENUMS["cancel_order_reason"].items()}
CANCEL_CODES = {
    Why.USER: _CANCELS["user_requested_cancel"],
    Why.IMMEDIATE: _CANCELS["immediate_or_cancel_order"],
    Why.TIMEOUT: _CANCELS["timeout"],
    Why.SUPERVISORY: _CANCELS["supervisory"],
    Why.SYSTEM: _CANCELS["system_cancel"],
    Why.CLOSED: _CANCELS["closed"],
    Why.SELF_MATCH: _CANCELS["self_match_prevention"],
    Why.POST_ONLY: _CANCELS["post_only_cancel"],
}
"""The codes of cancel reasons, which both versions share."""

assert set(BY_REASON.values()) | set(CODES_42) <= set(CODES_50)
assert set(BY_REASON) == set(Reason) and set(CANCEL_CODES) == set(Why)


def code_42(reason: str) -> bytes:
    """OUCH 4.2's code of a reject reason."""
    return CODES_42.get(reason, _OTHER_42)
