"""Nasdaq GLIMPSE 5.0: what it adds to ITCH 5.0, the end of the snapshot.

Source: Nasdaq GLIMPSE 5.0 specification, Snapshot Message.  Over SoupBinTCP; the snapshot itself
is made of ITCH 5.0 messages, and `sequence_number` is where to go on in the multicast feed.
"""

from tickpath.wire.table import Message, Protocol

GLIMPSE50 = Protocol(
    "glimpse50",
    (
        Message(
            "G",
            "end_of_snapshot",
            21,
            (
                ("message_type", "ascii:1"),
                ("sequence_number", "digits:20"),
            ),
        ),
    ),
)
