"""FIX 4.4: the fields and messages of order entry, as a data dictionary.

Source: FIX 4.4 specification, volumes 1 (session), 4 (order messages) and 6 (fields).  Names are
FIX's in snake_case; a message's table lists its required tags and the optional ones that equity
venues use.  `decode`, `encode` and `message_length` are those of `tickpath.wire.tagvalue`.
"""

from collections import Counter
from typing import Any

from tickpath.wire import tagvalue
from tickpath.wire.table import Message
from tickpath.wire.tagvalue import Dictionary, FixMessage, Tag

ENUMS = {
    "side": {"1": "buy", "2": "sell", "5": "sell_short", "6": "sell_short_exempt"},
    "ord_type": {"1": "market", "2": "limit", "3": "stop", "4": "stop_limit", "P": "pegged"},
    "time_in_force": {
        "0": "day",
        "1": "good_till_cancel",
        "2": "at_the_opening",
        "3": "immediate_or_cancel",
        "4": "fill_or_kill",
        "5": "good_till_crossing",
        "6": "good_till_date",
        "7": "at_the_close",
    },
    "order_capacity": {
        "A": "agency",
        "G": "proprietary",
        "I": "individual",
        "P": "principal",
        "R": "riskless_principal",
        "W": "agent_for_other_member",
    },
    "handl_inst": {
        "1": "automated_private",
        "2": "automated_public",
        "3": "manual",
    },
    "exec_type": {
        "0": "new",
        "3": "done_for_day",
        "4": "canceled",
        "5": "replaced",
        "6": "pending_cancel",
        "7": "stopped",
        "8": "rejected",
        "9": "suspended",
        "A": "pending_new",
        "B": "calculated",
        "C": "expired",
        "D": "restated",
        "E": "pending_replace",
        "F": "trade",
        "G": "trade_correct",
        "H": "trade_cancel",
        "I": "order_status",
    },
    "ord_status": {
        "0": "new",
        "1": "partially_filled",
        "2": "filled",
        "3": "done_for_day",
        "4": "canceled",
        "5": "replaced",
        "6": "pending_cancel",
        "7": "stopped",
        "8": "rejected",
        "9": "suspended",
        "A": "pending_new",
        "B": "calculated",
        "C": "expired",
        "D": "accepted_for_bidding",
        "E": "pending_replace",
    },
    "cxl_rej_response_to": {"1": "order_cancel_request", "2": "order_cancel_replace_request"},
    "mass_cancel_request_type": {
        "1": "security",
        "2": "underlying_security",
        "3": "product",
        "4": "cfi_code",
        "5": "security_type",
        "6": "trading_session",
        "7": "all",
    },
}

_TAGS = (
    Tag(1, "account", "string"),
    Tag(6, "avg_px", "price"),
    Tag(8, "begin_string", "string"),
    Tag(9, "body_length", "length"),
    Tag(10, "check_sum", "string"),
    Tag(11, "cl_ord_id", "string"),
    Tag(14, "cum_qty", "qty"),
    Tag(15, "currency", "string"),
    Tag(17, "exec_id", "string"),
    Tag(18, "exec_inst", "string"),
    Tag(19, "exec_ref_id", "string"),
    Tag(21, "handl_inst", "char", "handl_inst"),
    Tag(30, "last_mkt", "string"),
    Tag(31, "last_px", "price"),
    Tag(32, "last_qty", "qty"),
    Tag(34, "msg_seq_num", "seq_num"),
    Tag(35, "msg_type", "string"),
    Tag(37, "order_id", "string"),
    Tag(38, "order_qty", "qty"),
    Tag(39, "ord_status", "char", "ord_status"),
    Tag(40, "ord_type", "char", "ord_type"),
    Tag(41, "orig_cl_ord_id", "string"),
    Tag(43, "poss_dup_flag", "boolean"),
    Tag(44, "price", "price"),
    Tag(45, "ref_seq_num", "seq_num"),
    Tag(47, "rule80a", "char"),
    Tag(48, "security_id", "string"),
    Tag(49, "sender_comp_id", "string"),
    Tag(50, "sender_sub_id", "string"),
    Tag(52, "sending_time", "utc_timestamp"),
    Tag(54, "side", "char", "side"),
    Tag(55, "symbol", "string"),
    Tag(56, "target_comp_id", "string"),
    Tag(57, "target_sub_id", "string"),
    Tag(58, "text", "string"),
    Tag(59, "time_in_force", "char", "time_in_force"),
    Tag(60, "transact_time", "utc_timestamp"),
    Tag(64, "settl_date", "local_mkt_date"),
    Tag(65, "symbol_sfx", "string"),
    Tag(66, "list_id", "string"),
    Tag(75, "trade_date", "local_mkt_date"),
    Tag(89, "signature", "data"),
    Tag(90, "secure_data_len", "length"),
    Tag(91, "secure_data", "data"),
    Tag(93, "signature_length", "length"),
    Tag(97, "poss_resend", "boolean"),
    Tag(99, "stop_px", "price"),
    Tag(100, "ex_destination", "string"),
    Tag(102, "cxl_rej_reason", "int"),
    Tag(103, "ord_rej_reason", "int"),
    Tag(110, "min_qty", "qty"),
    Tag(111, "max_floor", "qty"),
    Tag(114, "locate_reqd", "boolean"),
    Tag(115, "on_behalf_of_comp_id", "string"),
    Tag(116, "on_behalf_of_sub_id", "string"),
    Tag(122, "orig_sending_time", "utc_timestamp"),
    Tag(126, "expire_time", "utc_timestamp"),
    Tag(128, "deliver_to_comp_id", "string"),
    Tag(129, "deliver_to_sub_id", "string"),
    Tag(142, "sender_location_id", "string"),
    Tag(143, "target_location_id", "string"),
    Tag(144, "on_behalf_of_location_id", "string"),
    Tag(145, "deliver_to_location_id", "string"),
    Tag(150, "exec_type", "char", "exec_type"),
    Tag(151, "leaves_qty", "qty"),
    Tag(198, "secondary_order_id", "string"),
    Tag(207, "security_exchange", "string"),
    Tag(212, "xml_data_len", "length"),
    Tag(213, "xml_data", "data"),
    Tag(336, "trading_session_id", "string"),
    Tag(337, "contra_trader", "string"),
    Tag(347, "message_encoding", "string"),
    Tag(354, "encoded_text_len", "length"),
    Tag(355, "encoded_text", "data"),
    Tag(369, "last_msg_seq_num_processed", "seq_num"),
    Tag(371, "ref_tag_id", "int"),
    Tag(372, "ref_msg_type", "string"),
    Tag(373, "session_reject_reason", "int"),
    Tag(375, "contra_broker", "string"),
    Tag(378, "exec_restatement_reason", "int"),
    Tag(379, "business_reject_ref_id", "string"),
    Tag(380, "business_reject_reason", "int"),
    Tag(382, "no_contra_brokers", "num_in_group"),
    Tag(434, "cxl_rej_response_to", "char", "cxl_rej_response_to"),
    Tag(437, "contra_trade_qty", "qty"),
    Tag(438, "contra_trade_time", "utc_timestamp"),
    Tag(447, "party_id_source", "char"),
    Tag(448, "party_id", "string"),
    Tag(452, "party_role", "int"),
    Tag(453, "no_party_ids", "num_in_group"),
    Tag(526, "secondary_cl_ord_id", "string"),
    Tag(528, "order_capacity", "char", "order_capacity"),
    Tag(529, "order_restrictions", "string"),
    Tag(530, "mass_cancel_request_type", "char", "mass_cancel_request_type"),
    Tag(531, "mass_cancel_response", "char"),
    Tag(532, "mass_cancel_reject_reason", "string"),
    Tag(533, "total_affected_orders", "int"),
    Tag(534, "no_affected_orders", "num_in_group"),
    Tag(535, "affected_order_id", "string"),
    Tag(536, "affected_secondary_order_id", "string"),
    Tag(655, "contra_leg_ref_id", "string"),
    Tag(851, "last_liquidity_ind", "int"),
)

_ORDER: tuple[int, ...] = (
    1,
    15,
    18,
    21,
    38,
    44,
    47,
    48,
    58,
    59,
    64,
    65,
    99,
    100,
    110,
    111,
    114,
    126,
    207,
)
_ORDER += (336, 354, 355, 453, 526, 528, 529)

FIX44 = Dictionary(
    begin_string="FIX.4.4",
    tags=_TAGS,
    messages=(
        FixMessage("D", "new_order_single", (11, 55, 54, 60, 40), _ORDER),
        FixMessage(
            "F",
            "order_cancel_request",
            (41, 11, 55, 54, 60),
            (1, 37, 38, 48, 58, 65, 66, 207, 354, 355, 453, 526),
        ),
        FixMessage(
            "G", "order_cancel_replace_request", (41, 11, 55, 54, 60, 40), (37, 66, *_ORDER)
        ),
        FixMessage(
            "q",
            "order_mass_cancel_request",
            (11, 530, 60),
            (48, 54, 55, 58, 65, 207, 336, 354, 355, 526),
        ),
        FixMessage(
            "8",
            "execution_report",
            (37, 17, 150, 39, 55, 54, 151, 14, 6),
            (
                *(11, 19, 30, 31, 32, 40, 41, 60, 66, 75, 103, 198, 378, 382, 851),
                *_ORDER,
            ),
        ),
        FixMessage(
            "9",
            "order_cancel_reject",
            (37, 11, 41, 39, 434),
            (1, 58, 60, 66, 102, 198, 354, 355, 526),
        ),
        FixMessage(
            "r",
            "order_mass_cancel_report",
            (37, 530, 531),
            (11, 48, 54, 55, 58, 60, 65, 198, 207, 336, 354, 355, 526, 532, 533, 534),
        ),
        FixMessage("3", "reject", (45,), (58, 354, 355, 371, 372, 373)),
        FixMessage("j", "business_message_reject", (372, 380), (45, 58, 354, 355, 379)),
    ),
    header=(
        *(8, 9, 35, 49, 56, 115, 128, 90, 91, 34, 50, 142, 57, 143, 116, 144, 129, 145, 43, 97),
        *(52, 122, 212, 213, 347, 369),
    ),
    trailer=(93, 89, 10),
    required=(8, 9, 35, 49, 56, 34, 52, 10),
    groups={382: (375, 337, 437, 438, 655), 453: (448, 447, 452), 534: (41, 535, 536)},
    data={90: 91, 93: 89, 212: 213, 354: 355},
    enums=ENUMS,
)

# ---------------------------------------------------------------- what the hot path writes in place

HEAD = Message(
    "",
    "head",
    59,
    (
        ("begin_string", "bytes:10"),  # 8=FIX.4.4 |
        ("body_length_tag", "bytes:2"),
        ("body_length", "ascii:3"),
        ("msg_type_tag", "bytes:4"),  # with the SOH in front of it, as all behind here
        ("msg_type", "ascii:1"),
        ("msg_seq_num_tag", "bytes:4"),
        ("msg_seq_num", "ascii:9"),
        ("sending_time_tag", "bytes:4"),
        ("sending_time", "ascii:21"),  # YYYYMMDD-HH:MM:SS.sss
        ("soh", "bytes:1"),
    ),
)
"""How our order messages begin: MsgSeqNum has leading zeros, so that everything has its place."""

TAIL = Message(
    "",
    "tail",
    33,
    (
        ("transact_time_tag", "bytes:4"),
        ("transact_time", "ascii:21"),
        ("check_sum_tag", "bytes:4"),
        ("check_sum", "ascii:3"),
        ("soh", "bytes:1"),
    ),
)
"""How they end."""


def decode(buffer: bytes, counters: Counter[str] | None = None) -> dict[str, Any]:
    """`tagvalue.decode` of a FIX 4.4 message."""
    return tagvalue.decode(FIX44, buffer, counters)


def encode(name: str, **values: Any) -> bytes:
    """`tagvalue.encode` of a FIX 4.4 message."""
    return tagvalue.encode(FIX44, name, **values)


def message_length(buffer: bytes) -> int | None:
    """`tagvalue.message_length` of FIX 4.4."""
    return tagvalue.message_length(FIX44, buffer)
