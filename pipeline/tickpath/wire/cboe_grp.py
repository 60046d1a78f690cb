"""Cboe Gap Request Proxy: how missed messages of multicast PITCH are asked for, over TCP.

Source: Cboe US Equities Multicast PITCH specification 2.41, Gap Request Proxy.  Little-endian.
Everything in either direction stands behind a Sequenced Unit Header whose unit and sequence are 0;
a header with a count of 0 is a heartbeat.  A message begins with its own length, which counts
itself, and its type, a number.  What was asked for comes as PITCH datagrams to the multicast group
of gap responses, for everybody who listens there.
"""

from tickpath.wire.pitch241 import PITCH241
from tickpath.wire.table import Message, Protocol

LOGIN = (
    ("message_length", "u8"),
    ("message_type", "u8"),
    ("session_sub_id", "ascii:4"),
    ("username", "ascii:4"),
    ("filler", "ascii:2"),
    ("password", "ascii:10"),
)
LOGIN_RESPONSE_STATUS = {
    "A": "accepted",
    "N": "not_authorized",
    "B": "session_in_use",
    "S": "invalid_session",
}

ENUMS = {
    "login_response_status": LOGIN_RESPONSE_STATUS,
    "gap_response_status": {
        "A": "accepted",
        "O": "out_of_range",
        "D": "daily_allocation_exhausted",
        "M": "minute_allocation_exhausted",
        "S": "second_allocation_exhausted",
        "C": "count_limit_exceeded",
        "I": "invalid_unit",
        "U": "unit_unavailable",
    },
}

CBOE_GRP = Protocol(
    "cboe_grp",
    (
        PITCH241["sequenced_unit_header"],
        Message(chr(0x01), "login", 22, LOGIN, order="little"),
        Message(
            chr(0x02),
            "login_response",
            3,
            (
                ("message_length", "u8"),
                ("message_type", "u8"),
                ("status", "ascii:1", "login_response_status"),
            ),
            order="little",
        ),
        Message(
            chr(0x03),
            "gap_request",
            9,
            (
                ("message_length", "u8"),
                ("message_type", "u8"),
                ("unit", "u8"),
                ("sequence", "u32"),
                ("count", "u16"),
            ),
            order="little",
        ),
        Message(
            chr(0x04),
            "gap_response",
            10,
            (
                ("message_length", "u8"),
                ("message_type", "u8"),
                ("unit", "u8"),
                ("sequence", "u32"),
                ("count", "u16"),
                ("status", "ascii:1", "gap_response_status"),
            ),
            order="little",
        ),
    ),
    ENUMS,
)
