"""Cboe US equities multicast PITCH 2.41: the messages of the feed and the Sequenced Unit Header.

Source: Cboe US Equities Multicast PITCH specification 2.41.  Little-endian.  Every message begins
with its own length, which counts itself, and its type, a number.  Prices have four implied
decimals, those of the short forms two.

Time: a `time` message gives a unit's seconds since midnight; the `time_offset` of the messages
behind it is nanoseconds within that second.  A `unit_clear`'s offset is of the same kind, and so
is the `timestamp` of `end_of_session`.

A datagram is one `sequenced_unit_header`, whose `length` counts the whole datagram, and `count`
messages of one unit back to back.  `sequence` is that of the first message; a count of 0 is a
heartbeat, whose sequence is the next one to be sent (0 where the unit is not sequenced).

`add_order_flags` and `modify_order_flags` are bits: `DISPLAY` and, where an order is modified,
`MAINTAIN_PRIORITY`.
"""

from typing import Any

from tickpath.wire.table import Message, Protocol

DISPLAY = 0x01
"""Flag of an added or modified order: it is displayed."""
MAINTAIN_PRIORITY = 0x02
"""Flag of a modified order: it keeps its place in the queue; without it, the order loses it."""

ENUMS = {
    "auction_type": {
        "O": "opening_auction",
        "C": "closing_auction",
        "H": "halt_auction",
        "I": "ipo_auction",
        "M": "cboe_market_close",
        "V": "volitility_auction",
        "P": "periodic_auction",
    },
    "reg_sho_action": {
        "0": "no_price_test_in_effect",
        "1": "reg_sho_price_test_restriction_in_effect",
    },
    "side_indicator": {
        "B": "buy_order",
        "S": "sell_order",
    },
    "trading_status": {
        "A": "accepting_orders_for_queuing",
        "H": "halted",
        "Q": "quote_only",
        "S": "exchange_specific_suspension",
        "T": "trading",
    },
    "retail_price_improvement": {
        "B": "buy_side_rpi",
        "S": "sell_side_rpi",
        "A": "both_sides_rpi",
        "N": "no_rpi",
    },
}

PITCH241 = Protocol(
    "pitch241",
    (
        Message(
            "",
            "sequenced_unit_header",
            8,
            (
                ("length", "u16"),
                ("count", "u8"),
                ("unit", "u8"),
                ("sequence", "u32"),
            ),
            order="little",
        ),
        Message(
            chr(0x20),
            "time",
            6,
            (
                ("message_length", "u8"),
                ("message_type", "u8"),
                ("time", "u32"),
            ),
            order="little",
        ),
        Message(
            chr(0x21),
            "add_order_long",
            34,
            (
                ("message_length", "u8"),
                ("message_type", "u8"),
                ("time_offset", "u32"),
                ("order_id", "u64"),
                ("side_indicator", "ascii:1", "side_indicator"),
                ("quantity", "u32"),
                ("symbol", "ascii:6"),
                ("price", "u64/1e4"),
                ("add_order_flags", "u8"),
            ),
            order="little",
        ),
        Message(
            chr(0x22),
            "add_order_short",
            26,
            (
                ("message_length", "u8"),
                ("message_type", "u8"),
                ("time_offset", "u32"),
                ("order_id", "u64"),
                ("side_indicator", "ascii:1", "side_indicator"),
                ("quantity_short", "u16"),
                ("symbol", "ascii:6"),
                ("price_short", "u16/1e2"),
                ("add_order_flags", "u8"),
            ),
            order="little",
        ),
        Message(
            chr(0x23),
            "order_executed",
            26,
            (
                ("message_length", "u8"),
                ("message_type", "u8"),
                ("time_offset", "u32"),
                ("order_id", "u64"),
                ("executed_quantity", "u32"),
                ("execution_id", "u64"),
            ),
            order="little",
        ),
        Message(
            chr(0x24),
            "order_executed_at_price_size",
            38,
            (
                ("message_length", "u8"),
                ("message_type", "u8"),
                ("time_offset", "u32"),
                ("order_id", "u64"),
                ("executed_quantity", "u32"),
                ("remaining_quantity", "u32"),
                ("execution_id", "u64"),
                ("price", "u64/1e4"),
            ),
            order="little",
        ),
        Message(
            chr(0x25),
            "reduce_size_long",
            18,
            (
                ("message_length", "u8"),
                ("message_type", "u8"),
                ("time_offset", "u32"),
                ("order_id", "u64"),
                ("canceled_quantity", "u32"),
            ),
            order="little",
        ),
        Message(
            chr(0x26),
            "reduce_size_short",
            16,
            (
                ("message_length", "u8"),
                ("message_type", "u8"),
                ("time_offset", "u32"),
                ("order_id", "u64"),
                ("canceled_quantity_short", "u16"),
            ),
            order="little",
        ),
        Message(
            chr(0x27),
            "modify_order_long",
            27,
            (
                ("message_length", "u8"),
                ("message_type", "u8"),
                ("time_offset", "u32"),
                ("order_id", "u64"),
                ("quantity", "u32"),
                ("price", "u64/1e4"),
                ("modify_order_flags", "u8"),
            ),
            order="little",
        ),
        Message(
            chr(0x28),
            "modify_order_short",
            19,
            (
                ("message_length", "u8"),
                ("message_type", "u8"),
                ("time_offset", "u32"),
                ("order_id", "u64"),
                ("quantity_short", "u16"),
                ("price_short", "u16/1e2"),
                ("modify_order_flags", "u8"),
            ),
            order="little",
        ),
        Message(
            chr(0x29),
            "delete_order",
            14,
            (
                ("message_length", "u8"),
                ("message_type", "u8"),
                ("time_offset", "u32"),
                ("order_id", "u64"),
            ),
            order="little",
        ),
        Message(
            chr(0x2A),
            "trade_long",
            41,
            (
                ("message_length", "u8"),
                ("message_type", "u8"),
                ("time_offset", "u32"),
                ("order_id", "u64"),
                ("side_indicator", "ascii:1", "side_indicator"),
                ("quantity", "u32"),
                ("symbol", "ascii:6"),
                ("price", "u64/1e4"),
                ("execution_id", "u64"),
            ),
            order="little",
        ),
        Message(
            chr(0x2B),
            "trade_short",
            33,
            (
                ("message_length", "u8"),
                ("message_type", "u8"),
                ("time_offset", "u32"),
                ("order_id", "u64"),
                ("side_indicator", "ascii:1", "side_indicator"),
                ("quantity_short", "u16"),
                ("symbol", "ascii:6"),
                ("price_short", "u16/1e2"),
                ("execution_id", "u64"),
            ),
            order="little",
        ),
        Message(
            chr(0x2C),
            "trade_break",
            14,
            (
                ("message_length", "u8"),
                ("message_type", "u8"),
                ("time_offset", "u32"),
                ("execution_id", "u64"),
            ),
            order="little",
        ),
        Message(
            chr(0x2D),
            "end_of_session",
            6,
            (
                ("message_length", "u8"),
                ("message_type", "u8"),
                ("timestamp", "u32"),
            ),
            order="little",
        ),
        Message(
            chr(0x2F),
            "add_order_expanded",
            41,
            (
                ("message_length", "u8"),
                ("message_type", "u8"),
                ("time_offset", "u32"),
                ("order_id", "u64"),
                ("side_indicator", "ascii:1", "side_indicator"),
                ("quantity", "u32"),
                ("symbol_extended", "ascii:8"),
                ("price", "u64/1e4"),
                ("add_order_flags", "u8"),
                ("participant_id", "ascii:4"),
                ("customer_indicator", "ascii:1"),
            ),
            order="little",
        ),
        Message(
            chr(0x30),
            "trade_expanded",
            43,
            (
                ("message_length", "u8"),
                ("message_type", "u8"),
                ("time_offset", "u32"),
                ("order_id", "u64"),
                ("side_indicator", "ascii:1", "side_indicator"),
                ("quantity", "u32"),
                ("symbol_extended", "ascii:8"),
                ("price", "u64/1e4"),
                ("execution_id", "u64"),
            ),
            order="little",
        ),
        Message(
            chr(0x31),
            "trading_status",
            18,
            (
                ("message_length", "u8"),
                ("message_type", "u8"),
                ("time_offset", "u32"),
                ("symbol_extended", "ascii:8"),
                ("trading_status", "ascii:1", "trading_status"),
                ("reg_sho_action", "ascii:1", "reg_sho_action"),
                ("padding", "ascii:2"),
            ),
            order="little",
        ),
        Message(
            chr(0x95),
            "auction_update",
            47,
            (
                ("message_length", "u8"),
                ("message_type", "u8"),
                ("time_offset", "u32"),
                ("symbol_extended", "ascii:8"),
                ("auction_type", "ascii:1", "auction_type"),
                ("reference_price", "u64/1e4"),
                ("buy_shares", "u32"),
                ("sell_shares", "u32"),
                ("indicative_price", "u64/1e4"),
                ("auction_only_price", "u64/1e4"),
            ),
            order="little",
        ),
        Message(
            chr(0x96),
            "auction_summary",
            27,
            (
                ("message_length", "u8"),
                ("message_type", "u8"),
                ("time_offset", "u32"),
                ("symbol_extended", "ascii:8"),
                ("auction_opening_type", "ascii:1", "auction_type"),
                ("price", "u64/1e4"),
                ("shares_contracts", "u32"),
            ),
            order="little",
        ),
        Message(
            chr(0x97),
            "unit_clear",
            6,
            (
                ("message_length", "u8"),
                ("message_type", "u8"),
                ("time_offset", "u32"),
            ),
            order="little",
        ),
        Message(
            chr(0x98),
            "retail_price_improvement",
            15,
            (
                ("message_length", "u8"),
                ("message_type", "u8"),
                ("time_offset", "u32"),
                ("symbol", "ascii:8"),
                ("retail_price_improvement", "ascii:1", "retail_price_improvement"),
            ),
            order="little",
        ),
    ),
    ENUMS,
)


def message(name: str, **values: Any) -> bytes:
    """The bytes of one message, with its length and type filled in."""
    layout = PITCH241[name]
    return layout.encode(**{"message_length": layout.length, **values})
