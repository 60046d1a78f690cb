"""TCP PITCH in text, as Cboe (BATS before) wrote it to files: one line of ASCII a message.

Source: BATS and Cboe US Equities TCP PITCH specifications, in the form of 2022, which the lines of
2008 fit as far as they have them.  A line is a timestamp in milliseconds since midnight, a type
and fields of fixed width; recorded sessions put the letter S (a sequenced message of the
transport) in front of it.  Numbers are zero-padded digits; a price's last four are decimals;
identifiers are numbers in base 36.  Symbols have six characters in the short forms, eight in the
others.
"""

from typing import Any

from tickpath.wire.pitch241 import ENUMS as PITCH_ENUMS
from tickpath.wire.table import Message, Protocol, WireError

SEQUENCED = "S"
"""Stands in front of each line of a recorded session."""
PRICE_DECIMALS = 4
DISPLAYED = "Y"

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"

ENUMS = {
    "side_indicator": PITCH_ENUMS["side_indicator"],
    "display": {"Y": "displayed", "N": "not_displayed"},
    "halt_status": PITCH_ENUMS["trading_status"],
    "reg_sho_action": PITCH_ENUMS["reg_sho_action"],
    "auction_type": PITCH_ENUMS["auction_type"],
    "retail_price_improvement": PITCH_ENUMS["retail_price_improvement"],
}

PITCH_ASCII = Protocol(
    "pitch_ascii",
    (
        Message(
            "s",
            "symbol_clear",
            17,
            (
                ("timestamp", "digits:8"),
                ("message_type", "ascii:1"),
                ("stock_symbol", "ascii:8"),
            ),
        ),
        Message(
            "A",
            "add_order_short",
            45,
            (
                ("timestamp", "digits:8"),
                ("message_type", "ascii:1"),
                ("order_id", "ascii:12"),
                ("side_indicator", "ascii:1", "side_indicator"),
                ("shares", "digits:6"),
                ("stock_symbol", "ascii:6"),
                ("price", "digits:10"),
                ("display", "ascii:1", "display"),
            ),
        ),
        Message(
            "d",
            "add_order_long",
            52,
            (
                ("timestamp", "digits:8"),
                ("message_type", "ascii:1"),
                ("order_id", "ascii:12"),
                ("side_indicator", "ascii:1", "side_indicator"),
                ("shares", "digits:6"),
                ("stock_symbol", "ascii:8"),
                ("price", "digits:10"),
                ("display", "ascii:1", "display"),
                ("participant_id", "ascii:4"),
                ("customer_indicator", "ascii:1"),
            ),
        ),
        Message(
            "E",
            "order_executed",
            39,
            (
                ("timestamp", "digits:8"),
                ("message_type", "ascii:1"),
                ("order_id", "ascii:12"),
                ("executed_shares", "digits:6"),
                ("execution_id", "ascii:12"),
            ),
        ),
        Message(
            "X",
            "order_cancel",
            27,
            (
                ("timestamp", "digits:8"),
                ("message_type", "ascii:1"),
                ("order_id", "ascii:12"),
                ("canceled_shares", "digits:6"),
            ),
        ),
        Message(
            "P",
            "trade_short",
            56,
            (
                ("timestamp", "digits:8"),
                ("message_type", "ascii:1"),
                ("order_id", "ascii:12"),
                ("side_indicator", "ascii:1", "side_indicator"),
                ("shares", "digits:6"),
                ("stock_symbol", "ascii:6"),
                ("price", "digits:10"),
                ("execution_id", "ascii:12"),
            ),
        ),
        Message(
            "r",
            "trade_long",
            58,
            (
                ("timestamp", "digits:8"),
                ("message_type", "ascii:1"),
                ("order_id", "ascii:12"),
                ("side_indicator", "ascii:1", "side_indicator"),
                ("shares", "digits:6"),
                ("stock_symbol", "ascii:8"),
                ("price", "digits:10"),
                ("execution_id", "ascii:12"),
            ),
        ),
        Message(
            "B",
            "trade_break",
            21,
            (
                ("timestamp", "digits:8"),
                ("message_type", "ascii:1"),
                ("execution_id", "ascii:12"),
            ),
        ),
        Message(
            "H",
            "trading_status",
            21,
            (
                ("timestamp", "digits:8"),
                ("message_type", "ascii:1"),
                ("stock_symbol", "ascii:8"),
                ("halt_status", "ascii:1", "halt_status"),
                ("reg_sho_action", "ascii:1", "reg_sho_action"),
                ("reserved_1", "ascii:1"),
                ("reserved_2", "ascii:1"),
            ),
        ),
        Message(
            "I",
            "auction_update",
            68,
            (
                ("timestamp", "digits:8"),
                ("message_type", "ascii:1"),
                ("stock_symbol", "ascii:8"),
                ("auction_type", "ascii:1", "auction_type"),
                ("reference_price", "digits:10"),
                ("buy_shares", "digits:10"),
                ("sell_shares", "digits:10"),
                ("indicative_price", "digits:10"),
                ("auction_only_price", "digits:10"),
            ),
        ),
        Message(
            "J",
            "auction_summary",
            38,
            (
                ("timestamp", "digits:8"),
                ("message_type", "ascii:1"),
                ("stock_symbol", "ascii:8"),
                ("auction_type", "ascii:1", "auction_type"),
                ("price", "digits:10"),
                ("shares", "digits:10"),
            ),
        ),
        Message(
            "R",
            "retail_price_improvement",
            18,
            (
                ("timestamp", "digits:8"),
                ("message_type", "ascii:1"),
                ("stock_symbol", "ascii:8"),
                ("retail_price_improvement", "ascii:1", "retail_price_improvement"),
            ),
        ),
    ),
    ENUMS,
)


def base36(number: int, width: int = 12) -> str:
    """An identifier as text; `WireError` where it takes more characters."""
    text = ""
    while number > 0:
        number, digit = divmod(number, len(_DIGITS))
        text = _DIGITS[digit] + text
    if len(text) > width:
        raise WireError(f"identifiers take {width} characters: {text} does not fit")
    return text.rjust(width, "0")


def line(name: str, **values: Any) -> bytes:
    """One line, without its end: numbers are padded with zeros, identifiers may be integers."""
    layout = PITCH_ASCII[name]
    texts = {
        each: base36(value) if each.endswith("_id") and isinstance(value, int) else value
        for each, value in values.items()
    }
    raw = bytearray(layout.encode(**texts))
    for each in layout.fields:
        if each.base == "digits":
            end = each.offset + each.size
            raw[each.offset : end] = raw[each.offset : end].replace(b" ", b"0")
    return bytes(raw)
