"""Cboe US equities Binary Order Entry 2.3: what every message begins with, and what may follow.

Source: Cboe US Equities BOE 2.3 specification.  Little-endian; prices are signed with four implied
decimals; times are nanoseconds since the Unix epoch.  Text is left-justified and padded with NUL,
which the tables' own text is not: `tickpath.wire.boe` reads and writes whole messages.

A message is the header, a fixed part, and for most of them optional fields.  Which of those follow
is said by bitfields in the message, a bit each, least significant first; the fields stand in the
order of their bits.  `OPTIONAL` says what each bit means in which message.  In answers the exchange
sets the bits that the login asked for (param group return_bitfields).

    new_order   header | cl_ord_id side order_qty | 02 | 35 41 | clearing_firm price ... capacity
                                                    |    bits of two bytes, lowest first
                                                    how many bitfields follow

Two optional fields are not in every edition of the specification and are here because real
captures have them: max_remove_pct (byte 1, bit 8 of an answer, whatever the answer) and
contra_capacity of an execution (byte 6, bit 3).  Where two meanings are printed with one code, the
first is kept; side 6, sell short exempt, is FIX's.
"""

from collections.abc import Mapping

from tickpath.wire.table import Field, Message, Protocol

START_OF_MESSAGE = 0xBABA
"""First two bytes of every message."""

ENUMS = {
    "attributed_quote": {
        "N": "do_not_attribute_firm_mpid",
        "Y": "attribute_firm_mpid",
        "R": "attribute_rtal",
    },
    "base_liquidity_indicator": {
        "A": "added_liquidity",
        "R": "removed_liquidity",
        "X": "routed_to_another_market",
        "C": "auction_or_uncrossing",
    },
    "reason": {
        "A": "admin",
        "D": "duplicate_identifier",
        "E": "size_reduction_due_to_swp_restatement",
        "F": "failed_to_quote",
        "H": "halted",
        "I": "incorrect_data_center",
        "J": "too_late_to_cancel",
        "K": "order_rate_threshold_exceeded",
        "L": "order_would_lock_or_cross_nbbo",
        "M": "order_size_exceeded",
        "N": "ran_out_of_liquidity_to_execute_against",
        "O": "cl_ord_id_doesnt_match_a_known_order",
        "P": "cant_modify_an_order_that_is_pending_fill",
        "Q": "waiting_for_first_trade",
        "R": "routing_unavailable",
        "S": "short_sale_price_violation",
        "T": "fill_would_trade_through_the_nbbo",
        "U": "user_requested",
        "V": "would_wash",
        "W": "add_liquidity_only_order_would_remove",
        "X": "order_expired",
        "Y": "symbol_not_supported",
        "Z": "unforeseen_reason",
        "f": "risk_management_mpid_or_custom_group_id_level",
        "m": "market_access_risk_limit_exceeded",
        "o": "max_open_orders_count_exceeded",
        "r": "reserve_reload",
        "s": "risk_management_risk_root_level",
        "u": "limit_up_limit_down",
        "w": "would_remove_on_unslide",
        "x": "crossed_market",
        "y": "order_received_by_cboe_during_replay",
    },
    "capacity": {
        "A": "agency",
        "P": "principal",
        "R": "riskless_principal",
    },
    "display_indicator": {
        "V": "determined_by_port_level_setting",
        "P": "price_adjust",
        "m": "multiple_price_adjust",
        "R": "cancel_back_the_order_if_it_cannot_be_booked_and_displayed_without_adjustment",
        "r": "hidden_cancel_back_the_order_if_it_cannot_be_booked_without_adjustment",
        "S": "display_price_sliding",
        "L": "display_price_sliding_but_reject_if_order_crosses_the_nbbo_on_entry",
        "M": "multiple_display_price_sliding",
        "v": "visible",
        "I": "invisible",
        "N": "no_rescrape_at_limit",
    },
    "ex_destination": {
        "A": "nyse_american",
        "B": "nasdaq_bx",
        "C": "nyse_national",
        "H": "miax_pearl",
        "I": "investors_exchange",
        "J": "edga",
        "K": "edgx",
        "L": "long_term_stock_exchange",
        "M": "chx",
        "N": "nyse",
        "U": "nyse_arca",
        "Q": "nasdaq",
        "X": "nasdaq_psx",
        "Y": "byx",
    },
    "exec_inst": {
        "f": "intermarket_sweep",
        "P": "market_peg",
        "Q": "market_marker_peg",
        "U": "supplemental_peg_order",
        "M": "midpoint_peg",
        "m": "midpoint_peg_but_no_match_on_nbbo_lock",
        "L": "alternate_midpoint",
        "r": "late",
        "o": "listing_market_opening",
        "c": "listing_market_close",
        "a": "both_listing_market_open_and_close",
    },
    "ext_exec_inst": {
        "N": "none",
        "R": "order_eligible_for_retail_rebate",
    },
    "login_response_status": {
        "A": "login_accepted",
        "N": "not_authorized",
        "D": "session_is_disabled",
        "B": "session_in_use",
        "S": "invalid_session",
        "Q": "sequence_ahead_in_login_message",
        "I": "invalid_unit_given_in_login_message",
        "F": "invalid_return_bit_field_in_login_message",
        "M": "invalid_login_request_message_structure",
    },
    "logout_reason": {
        "U": "user_requested",
        "E": "end_of_day",
        "A": "administrative",
        "!": "protocol_violation",
    },
    "no_unspecified_unit_replay": {
        "0": "false",
        "1": "true",
        "T": "test",
    },
    "ord_type": {
        "1": "market",
        "2": "limit",
        "3": "stop",
        "4": "stop_limit",
        "P": "pegged",
    },
    "restatement_reason": {
        "C": "cboe_market_close",
        "L": "reload",
        "P": "peg_or_price_sliding_reprice",
        "Q": "liquidity_updated",
        "R": "reroute",
        "S": "reduction_of_quantity",
        "W": "wash",
    },
    "side": {
        "1": "buy",
        "2": "sell",
        "5": "short_sell",
        "6": "short_sell_exempt",
    },
    "sub_liquidity_indicator": {
        "E": "trade_added_rpi_liquidity",
        "H": "trade_added_hidden_liquidity",
        "I": "trade_added_hidden_liquidity_that_was_price_improved",
        "m": "midpoint_peg",
        "J": "execution_from_first_order_to_join_the_nbbo",
        "S": "execution_from_first_order_that_set_the_nbbo",
        "V": "visible_liquidity_add_trade_that_was_price_improved",
    },
    "time_in_force": {
        "0": "day",
        "1": "gtc",
        "2": "at_the_open",
        "3": "ioc",
        "4": "fok",
        "5": "gtx",
        "6": "gtd",
        "7": "at_the_close",
        "E": "pre",
        "R": "rho",
        "T": "ptd",
        "X": "ptx",
    },
}

HEADER = (
    ("start_of_message", "u16"),
    ("message_length", "u16"),  # without the two bytes in front of it
    ("message_type", "u8"),
    ("matching_unit", "u8"),  # 0 in what members send
    ("sequence_number", "u32"),  # 0 where a message is not sequenced
)
BITFIELDS = ("number_of_bitfields", "u8")
"""How many bitfields follow.  The bitfields themselves, and the optional fields, are behind it."""

_TIME = ("transaction_time", "u64")
_TRANSACT = ("transact_time", "u64")  # the same, by another name
_CL_ORD_ID = ("cl_ord_id", "ascii:20")
_ORDER_ID = ("order_id", "u64")
_TEXT = ("text", "ascii:60")
_RESERVED = ("reserved_internal", "ascii:1")
_BODY = ("optional_fields", "bytes:*")


def _message(code: int, name: str, length: int, *fields: tuple[str, ...]) -> Message:
    """A message without optional fields."""
    return Message(chr(code), name, length, (*HEADER, *fields), order="little")


def _with_optional(code: int, name: str, length: int, *fields: tuple[str, ...]) -> Message:
    """A message of ``length`` bytes before the number of its bitfields."""
    return _message(code, name, length + 1, *fields, BITFIELDS, _BODY)


BOE23 = Protocol(
    "boe23",
    (
        # Session
        _message(
            0x37,
            "login_request",
            29,
            ("session_sub_id", "ascii:4"),
            ("username", "ascii:4"),
            ("password", "ascii:10"),
            ("number_of_param_groups", "u8"),
            ("param_groups", "bytes:*"),
        ),
        _message(
            0x24,
            "login_response",
            77,
            ("login_response_status", "ascii:1", "login_response_status"),
            ("login_response_text", "ascii:60"),
            ("no_unspecified_unit_replay", "u8"),
            ("last_received_sequence_number", "u32"),
            ("number_of_units", "u8"),
            ("units_and_param_groups", "bytes:*"),
        ),
        _message(0x02, "logout_request", 10),
        _message(
            0x08,
            "logout",
            76,
            ("logout_reason", "ascii:1", "logout_reason"),
            ("logout_reason_text", "ascii:60"),
            ("last_received_sequence_number", "u32"),
            ("number_of_units", "u8"),
            ("units", "bytes:*"),
        ),
        _message(0x03, "client_heartbeat", 10),
        _message(0x09, "server_heartbeat", 10),
        _message(0x13, "replay_complete", 10),
        # Member to exchange
        _with_optional(
            0x38, "new_order", 35, _CL_ORD_ID, ("side", "ascii:1", "side"), ("order_qty", "u32")
        ),
        _with_optional(0x39, "cancel_order", 30, ("orig_cl_ord_id", "ascii:20")),
        _with_optional(0x3A, "modify_order", 50, _CL_ORD_ID, ("orig_cl_ord_id", "ascii:20")),
        _with_optional(0x47, "purge_order", 11, _RESERVED),
        # Exchange to member
        _with_optional(
            0x25, "order_acknowledgment", 47, _TRANSACT, _CL_ORD_ID, _ORDER_ID, _RESERVED
        ),
        _with_optional(
            0x26,
            "order_rejected",
            100,
            _TIME,
            _CL_ORD_ID,
            ("order_reject_reason", "ascii:1", "reason"),
            _TEXT,
            _RESERVED,
        ),
        _with_optional(0x27, "order_modified", 47, _TIME, _CL_ORD_ID, _ORDER_ID, _RESERVED),
        _with_optional(
            0x28,
            "order_restated",
            48,
            _TIME,
            _CL_ORD_ID,
            _ORDER_ID,
            ("restatement_reason", "ascii:1", "restatement_reason"),
            _RESERVED,
        ),
        _with_optional(
            0x29,
            "user_modify_rejected",
            100,
            _TIME,
            _CL_ORD_ID,
            ("modify_reject_reason", "ascii:1", "reason"),
            _TEXT,
            _RESERVED,
        ),
        _with_optional(
            0x2A,
            "order_cancelled",
            40,
            _TRANSACT,
            _CL_ORD_ID,
            ("cancel_reason", "ascii:1", "reason"),
            _RESERVED,
        ),
        _with_optional(
            0x2B,
            "cancel_rejected",
            100,
            _TIME,
            _CL_ORD_ID,
            ("cancel_reject_reason", "ascii:1", "reason"),
            _TEXT,
            _RESERVED,
        ),
        _with_optional(
            0x2C,
            "order_execution",
            69,
            _TIME,
            _CL_ORD_ID,
            ("exec_id", "u64"),
            ("last_shares", "u32"),
            ("last_px", "i64/1e4"),
            ("leaves_qty", "u32"),
            ("base_liquidity_indicator", "ascii:1", "base_liquidity_indicator"),
            ("sub_liquidity_indicator", "ascii:1", "sub_liquidity_indicator"),
            ("contra_broker", "ascii:4"),
            _RESERVED,
        ),
        _with_optional(
            0x2D,
            "trade_cancel_or_correct",
            93,
            _TIME,
            _CL_ORD_ID,
            _ORDER_ID,
            ("exec_ref_id", "u64"),
            ("side", "ascii:1", "side"),
            ("base_liquidity_indicator", "ascii:1", "base_liquidity_indicator"),
            ("clearing_firm", "ascii:4"),
            ("clearing_account", "ascii:4"),
            ("last_shares", "u32"),
            ("last_px", "i64/1e4"),
            ("corrected_price", "i64/1e4"),
            ("orig_time", "u64"),
            _RESERVED,
        ),
        _message(
            0x36,
            "mass_cancel_acknowledgment",
            43,
            _TIME,
            ("mass_cancel_id", "ascii:20"),
            ("cancelled_order_count", "u32"),
            _RESERVED,
        ),
        _with_optional(
            0x48,
            "purge_rejected",
            80,
            _TIME,
            ("purge_reject_reason", "ascii:1", "reason"),
            _TEXT,
            _RESERVED,
        ),
    ),
    ENUMS,
)

HEADER_LENGTH = BOE23["client_heartbeat"].length
FRAMED = BOE23["client_heartbeat"]["message_length"].offset
"""Bytes of a message that its message_length does not count."""

UNIT_SEQUENCE = Message(
    "", "unit_sequence", 5, (("unit_number", "u8"), ("sequence_number", "u32")), order="little"
)
PARAM_HEADER = Message(
    "",
    "param_header",
    3,
    (("param_group_length", "u16"), ("param_group_type", "u8")),  # the length counts itself
    order="little",
)
UNIT_SEQUENCES = Message(
    "",
    "unit_sequences",
    2,
    (("no_unspecified_unit_replay", "u8"), ("number_of_units", "u8"), ("units", "bytes:*")),
    order="little",
)
RETURN_BITFIELDS = Message(
    "",
    "return_bitfields",
    2,
    (
        ("application_message_type", "u8"),
        ("number_of_return_bitfields", "u8"),
        ("return_bitfields", "bytes:*"),
    ),
    order="little",
)
PARAM_GROUPS = {0x80: UNIT_SEQUENCES, 0x81: RETURN_BITFIELDS}
"""Param groups of a login by their type."""

# ---------------------------------------------------------------- optional fields

FIELDS: Mapping[str, Field] = {
    each.name: each
    for each in (
        Field("account", "ascii:16"),
        Field("attributed_quote", "ascii:1", "attributed_quote"),
        Field("base_liquidity_indicator", "ascii:1", "base_liquidity_indicator"),
        Field("cancel_orig_on_reject", "ascii:1"),
        Field("capacity", "ascii:1", "capacity"),
        Field("clearing_account", "ascii:4"),
        Field("clearing_firm", "ascii:4"),
        Field("contra_capacity", "ascii:1", "capacity"),
        Field("custom_group_id", "u16"),
        Field("discretion_amount", "u16"),
        Field("display_indicator", "ascii:1", "display_indicator"),
        Field("display_price", "i64/1e4"),
        Field("display_range", "u32"),
        Field("echo_text", "ascii:64"),
        Field("ex_destination", "ascii:1", "ex_destination"),
        Field("exec_inst", "ascii:1", "exec_inst"),
        Field("expire_time", "u64"),
        Field("ext_exec_inst", "ascii:1", "ext_exec_inst"),
        Field("fee_code", "ascii:2"),
        Field("last_px", "i64/1e4"),
        Field("last_shares", "u32"),
        Field("leaves_qty", "u32"),
        Field("locate_reqd", "ascii:1"),
        Field("mass_cancel_id", "ascii:20"),
        Field("mass_cancel_inst", "ascii:16"),
        # The tables say that it is there and not how long it is: it is the last one of a message.
        Field("mass_cancelled", "bytes:*"),
        Field("max_floor", "u32"),
        Field("max_remove_pct", "u8"),
        Field("min_qty", "u32"),
        Field("ord_type", "ascii:1", "ord_type"),
        Field("order_qty", "u32"),
        Field("orig_cl_ord_id", "ascii:20"),
        Field("peg_difference", "i64/1e4"),
        Field("prevent_match", "ascii:3"),
        Field("price", "i64/1e4"),
        Field("risk_reset", "ascii:8"),
        Field("rout_strategy", "ascii:6"),
        Field("route_delivery_method", "ascii:3"),
        Field("routing_inst", "ascii:4"),
        Field("secondary_order_id", "u64"),
        Field("side", "ascii:1", "side"),
        Field("stop_px", "i64/1e4"),
        Field("sub_liquidity_indicator", "ascii:1", "sub_liquidity_indicator"),
        Field("symbol", "ascii:8"),
        Field("symbol_sfx", "ascii:8"),
        Field("time_in_force", "ascii:1", "time_in_force"),
        Field("working_price", "i64/1e4"),
    )
}
"""Every optional field, whatever the message."""

Byte = Mapping[int, str]
"""Names of the fields by their bits, 1 the least significant."""

_ANSWER_1: Byte = {
    1: "side",
    2: "peg_difference",
    3: "price",
    4: "exec_inst",
    5: "ord_type",
    6: "time_in_force",
    7: "min_qty",
    8: "max_remove_pct",
}
_ANSWER_2: Byte = {1: "symbol", 2: "symbol_sfx", 7: "capacity"}
_ANSWER_3: Byte = {
    1: "account",
    2: "clearing_firm",
    3: "clearing_account",
    4: "display_indicator",
    5: "max_floor",
    6: "discretion_amount",
    7: "order_qty",
    8: "prevent_match",
}
_ANSWER_5: Byte = {
    1: "orig_cl_ord_id",
    2: "leaves_qty",
    3: "last_shares",
    4: "last_px",
    5: "display_price",
    6: "working_price",
    7: "base_liquidity_indicator",
    8: "expire_time",
}
_ATTRIBUTES: Byte = {4: "attributed_quote", 5: "ext_exec_inst"}
_SECONDARY: Byte = {1: "secondary_order_id", **_ATTRIBUTES}
_ROUTE: Byte = {
    2: "echo_text",
    3: "stop_px",
    4: "routing_inst",
    5: "rout_strategy",
    6: "route_delivery_method",
    7: "ex_destination",
}
_FEE: Byte = {1: "fee_code", **_ROUTE}
_SUB_LIQUIDITY: Byte = {1: "sub_liquidity_indicator"}
_MASS: Byte = {4: "mass_cancelled"}

_ORDER = {1: _ANSWER_1, 2: _ANSWER_2, 3: _ANSWER_3}
_STATE = {**_ORDER, 5: _ANSWER_5, 6: _SECONDARY, 8: _ROUTE, 15: _MASS, 16: _MASS}

OPTIONAL: Mapping[str, Mapping[int, Byte]] = {
    "new_order": {
        1: {
            1: "clearing_firm",
            2: "clearing_account",
            3: "price",
            4: "exec_inst",
            5: "ord_type",
            6: "time_in_force",
            7: "min_qty",
            8: "max_floor",
        },
        2: {1: "symbol", 2: "symbol_sfx", 7: "capacity", 8: "routing_inst"},
        3: {
            1: "account",
            2: "display_indicator",
            4: "discretion_amount",
            5: "peg_difference",
            6: "prevent_match",
            7: "locate_reqd",
            8: "expire_time",
        },
        4: {4: "risk_reset"},
        5: {2: "attributed_quote", 4: "ext_exec_inst"},
        6: {
            1: "display_range",
            2: "stop_px",
            3: "rout_strategy",
            4: "route_delivery_method",
            5: "ex_destination",
            6: "echo_text",
        },
        7: {2: "custom_group_id"},
    },
    "cancel_order": {1: {1: "clearing_firm"}},
    "modify_order": {
        1: {
            1: "clearing_firm",
            3: "order_qty",
            4: "price",
            5: "ord_type",
            6: "cancel_orig_on_reject",
            7: "exec_inst",
            8: "side",
        },
        2: {1: "max_floor", 2: "stop_px"},
    },
    "purge_order": {
        1: {1: "clearing_firm", 3: "mass_cancel_inst", 5: "mass_cancel_id"},
        2: {1: "symbol", 2: "symbol_sfx"},
    },
    "order_acknowledgment": {
        **_ORDER,
        5: _ANSWER_5,
        6: _SECONDARY,
        7: _SUB_LIQUIDITY,
        8: _FEE,
        15: _MASS,
    },
    "order_rejected": {**_ORDER, 6: _SECONDARY, 8: _ROUTE},
    "order_modified": _STATE,
    "order_restated": _STATE,
    "user_modify_rejected": {7: _SUB_LIQUIDITY},
    "order_cancelled": _STATE,
    "cancel_rejected": {
        1: _ANSWER_1,
        2: _ANSWER_2,
        8: {2: "echo_text", 3: "stop_px", 5: "rout_strategy"},
    },
    "order_execution": {**_ORDER, 6: {3: "contra_capacity", **_ATTRIBUTES}, 8: _FEE},
    "trade_cancel_or_correct": {2: _ANSWER_2, 7: _SUB_LIQUIDITY},
    "purge_rejected": {7: _SUB_LIQUIDITY, 15: {4: "mass_cancel_id"}},
}
"""Per message, bitfield byte and bit: which field a set bit says is there."""
