"""Datagrams with Cboe's Sequenced Unit Header, whole or not at all.

The header counts the whole datagram's bytes and its messages, and each message says its own length:
a datagram of which these three do not agree was damaged on its way, and nothing of it is believed.
"""

import struct

from tickpath.recovery.datagram import Datagram
from tickpath.wire.pitch241 import PITCH241

_LAYOUT = PITCH241["sequenced_unit_header"]
_CODES = {"u8": "B", "u16": "H", "u32": "I"}
_HEADER = struct.Struct("<" + "".join(_CODES[each.kind] for each in _LAYOUT.fields))
HEADER_BYTES = _HEADER.size
MAX_MESSAGES = (1 << 8 * _LAYOUT["count"].size) - 1
MAX_BYTES = (1 << 8 * _LAYOUT["length"].size) - 1
SHORTEST = 2
"""Bytes of a message at least: its length and its type."""

assert _LAYOUT.length == HEADER_BYTES and _LAYOUT["length"].offset == 0


def block_bytes(message: bytes) -> int:
    """What a message takes in a datagram."""
    return len(message)


def length_of(raw: bytes | bytearray) -> int:
    """Bytes of the datagram whose header begins ``raw``."""
    return int(_HEADER.unpack_from(raw)[0])


def split(raw: bytes) -> Datagram | None:
    """What a datagram says; None where it is not exactly what its header says it is."""
    if len(raw) < HEADER_BYTES:
        return None
    length, count, unit, sequence = _HEADER.unpack_from(raw)
    if length != len(raw):
        return None
    messages, at = [], HEADER_BYTES
    for _ in range(count):
        if at >= length or raw[at] < SHORTEST:
            return None
        messages.append(raw[at : at + raw[at]])
        at += raw[at]
    if at != length:
        return None
    return Datagram(b"", unit, sequence, messages)


def join(session: bytes, unit: int, sequence: int, messages: list[bytes]) -> bytes:
    """The datagram of these messages; a heartbeat where there are none."""
    body = b"".join(messages)
    return _HEADER.pack(HEADER_BYTES + len(body), len(messages), unit, sequence) + body
