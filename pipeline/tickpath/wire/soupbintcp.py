"""SoupBinTCP 3.00: the packets under OUCH and GLIMPSE.

Source: Nasdaq SoupBinTCP specification 3.00.  A packet is a big-endian length, which counts what
follows it, a type and a payload.  Sequenced data comes from the server only and carries no number:
the first packet after a login has the `sequence_number` of login_accepted, and each one after it
the next.  Unsequenced data here is the client's; numbers are decimal digits padded on the left.
"""

from collections.abc import Iterator
from typing import Any

from tickpath.wire.table import Message, Protocol, WireError

ENUMS = {
    "reject_reason_code": {
        "A": "not_authorized",
        "S": "session_not_available",
    },
}

SOUPBINTCP = Protocol(
    "soupbintcp",
    (
        Message(
            "+",
            "debug",
            3,
            (
                ("packet_length", "u16"),
                ("packet_type", "ascii:1"),
                ("text", "ascii:*"),
            ),
        ),
        Message(
            "A",
            "login_accepted",
            33,
            (
                ("packet_length", "u16"),
                ("packet_type", "ascii:1"),
                ("session", "ascii:10"),
                ("sequence_number", "digits:20"),
            ),
        ),
        Message(
            "J",
            "login_rejected",
            4,
            (
                ("packet_length", "u16"),
                ("packet_type", "ascii:1"),
                ("reject_reason_code", "ascii:1", "reject_reason_code"),
            ),
        ),
        Message(
            "S",
            "sequenced_data",
            3,
            (
                ("packet_length", "u16"),
                ("packet_type", "ascii:1"),
                ("message", "bytes:*"),
            ),
        ),
        Message(
            "H",
            "server_heartbeat",
            3,
            (
                ("packet_length", "u16"),
                ("packet_type", "ascii:1"),
            ),
        ),
        Message(
            "Z",
            "end_of_session",
            3,
            (
                ("packet_length", "u16"),
                ("packet_type", "ascii:1"),
            ),
        ),
        Message(
            "L",
            "login_request",
            49,
            (
                ("packet_length", "u16"),
                ("packet_type", "ascii:1"),
                ("username", "ascii:6"),
                ("password", "ascii:10"),
                ("requested_session", "ascii:10"),
                ("requested_sequence_number", "digits:20"),
            ),
        ),
        Message(
            "U",
            "unsequenced_data",
            3,
            (
                ("packet_length", "u16"),
                ("packet_type", "ascii:1"),
                ("message", "bytes:*"),
            ),
        ),
        Message(
            "R",
            "client_heartbeat",
            3,
            (
                ("packet_length", "u16"),
                ("packet_type", "ascii:1"),
            ),
        ),
        Message(
            "O",
            "logout_request",
            3,
            (
                ("packet_length", "u16"),
                ("packet_type", "ascii:1"),
            ),
        ),
    ),
    ENUMS,
)

_LENGTH = SOUPBINTCP["server_heartbeat"]["packet_length"]
_SMALLEST = SOUPBINTCP["server_heartbeat"].length


def packet(name: str, **values: Any) -> bytes:
    """The bytes of one packet, with its length filled in."""
    layout = SOUPBINTCP[name]
    length = len(layout.encode(**values)) - _LENGTH.size
    return layout.encode(**{"packet_length": length, **values})


def packets(stream: bytes) -> Iterator[bytes]:
    """The whole packets at the front of ``stream``; what is left is the front of the next one.

    Raises `WireError` at an unknown type and at a length that is not the type's own, also where
    the packet is not whole yet: no later bytes can mend it.
    """
    at = 0
    while len(stream) - at >= _SMALLEST:
        length = _LENGTH.size + _LENGTH.get(stream, at, "big")
        code = chr(stream[at + SOUPBINTCP.type_offset])
        layout = SOUPBINTCP.by_type.get(code)
        if layout is None:
            raise WireError(f"packet at byte {at}: soupbintcp has no packet type {code!r}")
        if length != layout.length and not (layout.is_variable and length > layout.length):
            raise WireError(f"packet at byte {at}: {layout.name} has a length of {length} bytes")
        if at + length > len(stream):
            return
        yield stream[at : at + length]
        at += length
