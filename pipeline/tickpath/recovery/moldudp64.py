"""MoldUDP64 datagrams, whole or not at all, and the request for missing messages.

A datagram whose message blocks do not end where the datagram ends was damaged on its way: nothing
of it is believed.
"""

import struct

from tickpath.recovery.datagram import Datagram
from tickpath.wire.moldudp64 import END_OF_SESSION, HEARTBEAT, MOLDUDP64
from tickpath.wire.table import Message

_CODES = {"u16": "H", "u64": "Q"}


def _fields(message: Message) -> struct.Struct:
    codes = (_CODES.get(each.kind, f"{each.size}s") for each in message.fields)
    return struct.Struct(">" + "".join(codes))


_HEADER = _fields(MOLDUDP64["downstream_packet"])
_REQUEST = _fields(MOLDUDP64["request_packet"])
_LENGTH = struct.Struct(">" + _CODES[MOLDUDP64["message_block"]["message_length"].kind])
HEADER_BYTES = _HEADER.size
MAX_MESSAGES = END_OF_SESSION - 1
SESSION_BYTES = MOLDUDP64["downstream_packet"]["session"].size

assert MOLDUDP64["downstream_packet"].length == HEADER_BYTES
assert _LENGTH.size == MOLDUDP64["message_block"].length


def block_bytes(message: bytes) -> int:
    """What a message takes in a datagram."""
    return _LENGTH.size + len(message)


def split(raw: bytes) -> Datagram | None:
    """What a datagram says; None where it is not exactly what its header says it is."""
    if len(raw) < HEADER_BYTES:
        return None
    session, sequence, count = _HEADER.unpack_from(raw)
    is_end = count == END_OF_SESSION
    messages, at = [], HEADER_BYTES
    for _ in range(0 if is_end else count):
        begin = at + _LENGTH.size
        if begin > len(raw):
            return None
        at = begin + _LENGTH.unpack_from(raw, begin - _LENGTH.size)[0]
        messages.append(raw[begin:at])
    if at != len(raw):
        return None
    return Datagram(session, 0, sequence, messages, is_end)


def join(session: bytes, unit: int, sequence: int, messages: list[bytes]) -> bytes:
    """The datagram of these messages; a heartbeat where there are none."""
    blocks = b"".join(_LENGTH.pack(len(each)) + each for each in messages)
    return _HEADER.pack(session, sequence, len(messages) or HEARTBEAT) + blocks


def end(session: bytes, sequence: int) -> bytes:
    """The datagram that ends a session, whose next message would have been ``sequence``."""
    return _HEADER.pack(session, sequence, END_OF_SESSION)


def request(session: bytes, first: int, count: int) -> bytes:
    """The packet that asks for ``count`` messages from ``first`` on."""
    return _REQUEST.pack(session, first, count)


def read_request(raw: bytes) -> tuple[bytes, int, int] | None:
    """(session, first, count) of a request packet; None where it is none."""
    return _REQUEST.unpack(raw) if len(raw) == _REQUEST.size else None


def session_name(name: str) -> bytes:
    """A session's name as it stands on the wire."""
    return name.encode("latin-1").ljust(SESSION_BYTES)[:SESSION_BYTES]
