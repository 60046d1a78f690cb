"""MoldUDP64 1.0: the downstream packet's header and the blocks of messages behind it.

Source: Nasdaq MoldUDP64 protocol specification 1.00.  Big-endian.  A packet's sequence number is
that of its first message; message count 0 is a heartbeat (its sequence number is the next one to
be sent), 0xFFFF the end of the session.
"""

from tickpath.wire.table import Message, Protocol

MOLDUDP64 = Protocol(
    "moldudp64",
    (
        Message(
            "",
            "downstream_packet",
            20,
            (("session", "ascii:10"), ("sequence_number", "u64"), ("message_count", "u16")),
        ),
        Message("", "message_block", 2, (("message_length", "u16"), ("message_data", "bytes:*"))),
        Message(
            "",
            "request_packet",
            20,
            (
                ("session", "ascii:10"),
                ("sequence_number", "u64"),
                ("requested_message_count", "u16"),
            ),
        ),
    ),
)

HEARTBEAT = 0
END_OF_SESSION = 0xFFFF
