"""Cboe Spin server: all open orders of a unit, to go on with multicast PITCH from, over TCP.

Source: Cboe US Equities Multicast PITCH specification 2.41, Spin Server.  Little-endian, framed
like `cboe_grp`.  `spin_image_available` comes every second or so: an image is current through its
`sequence`.  A request names one; the orders follow the response as PITCH messages, then
`spin_finished`, and the multicast feed goes on with the message behind `sequence`.
"""

from tickpath.wire.cboe_grp import LOGIN, LOGIN_RESPONSE_STATUS
from tickpath.wire.table import Message, Protocol

ENUMS = {
    "login_response_status": LOGIN_RESPONSE_STATUS,
    "spin_response_status": {
        "A": "accepted",
        "O": "out_of_range",
        "S": "spin_already_in_progress",
    },
}
_SEQUENCE = (("message_length", "u8"), ("message_type", "u8"), ("sequence", "u32"))

CBOE_SPIN = Protocol(
    "cboe_spin",
    (
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
        Message(chr(0x80), "spin_image_available", 6, _SEQUENCE, order="little"),
        Message(chr(0x81), "spin_request", 6, _SEQUENCE, order="little"),
        Message(
            chr(0x82),
            "spin_response",
            11,
            (
                *_SEQUENCE,
                ("order_count", "u32"),
                ("status", "ascii:1", "spin_response_status"),
            ),
            order="little",
        ),
        Message(chr(0x83), "spin_finished", 6, _SEQUENCE, order="little"),
    ),
    ENUMS,
)
