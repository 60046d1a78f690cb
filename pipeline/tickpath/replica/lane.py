"""A lane: a UDP socket that machine code sends to and takes from, in the loop of an engine.

    lane_sender      beside an active: what is new in its ring leaves as it is published
    lane_receiver    beside a standby: what comes is in its mirror, and acknowledged, at once

Both speak the datagrams of `wire.mirror`, so each also speaks with the other's counterpart of
`replica.mirror`, which stays the one owner of the protocol: machine code does what goes straight
on, and all else that comes waits in the port's inbox for it, to be taken between two steps.  Python
and machine code never run at the same time on one port.

Nothing in it blocks or allocates.  At worst the inbox is full: what comes then is dropped, counted,
and asked for again by whoever misses it.
"""

import socket
import struct
from collections import Counter
from typing import Any, NamedTuple

import numpy as np
from numba import types

from tickpath.jit import leaf
from tickpath.memory import (
    accessors,
    lend_message,
    load_u8,
    load_u32,
    load_u64,
    store_u32,
    store_u64,
)
from tickpath.replica.mirror import Address, Settings
from tickpath.replica.mirror_udp import bound
from tickpath.wire import hot
from tickpath.wire.mirror import MAGIC, MIRROR, VERSION

DATAGRAM_BYTES = 1 << 16
"""More than any UDP datagram has."""

PORT = np.dtype(
    [
        ("socket", "<u8"),
        ("check", "<u8"),  # address of the tables of `_check_of`
        ("inbox", "<u8"),  # address; entries are (length, whence, bytes), each on a multiple of 8
        ("used", "<u8"),  # bytes of it
        ("limit", "<u8"),  # bytes that may be used; room for one more datagram is behind them
        ("peer", "<u8"),  # address of two socket addresses (whence, where to) and a length
        ("out", "<u8"),  # address of the datagram that is made
        ("came", "<u8"),  # datagrams
        ("dropped", "<u8"),  # of these, without room in the inbox
        ("unsent", "<u8"),  # without room in the socket, or where there is no way
    ]
)
port = accessors("lane_port", PORT)

_data = hot.message(MIRROR["data"])
_beat = hot.message(MIRROR["beat"])
ZERO, ONE = np.uint64(0), np.uint64(1)
_ENTRY, _PADDING = np.uint64(16), np.uint64(7)
_SOCKADDR = np.uint64(16)
_LENGTH_AT, _TO_AT = np.uint64(32), np.uint64(16)
_MOST = np.uint64(DATAGRAM_BYTES)
_MAGIC, _VERSION = np.uint64(int.from_bytes(MAGIC.encode(), "big")), np.uint64(VERSION)
_CHECKED_FROM = _data.STREAM_OFFSET
_ONES = np.uint64(0xFFFF_FFFF)
_BYTE, _LAST = np.uint64(0xFF), np.uint64(7 * 1024)
_B1, _B2, _B3, _B4 = (np.uint64(8 * each) for each in (1, 2, 3, 4))
_B5, _B6, _B7 = (np.uint64(8 * each) for each in (5, 6, 7))
_TABLE, _WORD, _QUAD = np.uint64(1024), np.uint64(8), np.uint64(2)
_NONE, _NO_FLAGS = np.int64(0), np.int32(0)

_recvfrom: Any = types.ExternalFunction(
    "recvfrom",
    types.int64(types.int32, types.uint64, types.uint64, types.int32, types.uint64, types.uint64),
)
_sendto: Any = types.ExternalFunction(
    "sendto",
    types.int64(types.int32, types.uint64, types.uint64, types.int32, types.uint64, types.uint32),
)


def _check_tables() -> np.ndarray:
    """CRC-32 (reflected 0xEDB88320) of a byte with up to seven zero bytes behind it."""
    tables = np.zeros((8, 256), np.uint32)
    for value in range(256):
        rest = value
        for _ in range(8):
            rest = rest >> 1 ^ (0xEDB88320 if rest & 1 else 0)
        tables[0, value] = rest
    for at in range(1, 8):
        tables[at] = tables[at - 1] >> 8 ^ tables[0, tables[at - 1] & 0xFF]
    return tables


@leaf
def _looked_up(table, value):
    return load_u32(table + ((value & _BYTE) << _QUAD))


@leaf
def _check_of(table, at, end):
    """CRC-32 of bytes, eight at a time: the table of the first byte of eight is the last."""
    rest = _ONES
    while at + _WORD <= end:
        word = load_u64(at) ^ rest
        each = table + _LAST
        rest = _looked_up(each, word) ^ _looked_up(each - _TABLE, word >> _B1)
        each -= _TABLE + _TABLE
        rest ^= _looked_up(each, word >> _B2) ^ _looked_up(each - _TABLE, word >> _B3)
        each -= _TABLE + _TABLE
        rest ^= _looked_up(each, word >> _B4) ^ _looked_up(each - _TABLE, word >> _B5)
        each -= _TABLE + _TABLE
        rest ^= _looked_up(each, word >> _B6) ^ _looked_up(each - _TABLE, word >> _B7)
        at += _WORD
    while at < end:
        rest = _looked_up(table, rest ^ load_u8(at)) ^ (rest >> _B1)
        at += ONE
    return rest ^ _ONES


# ---------------------------------------------------------------- what comes


@leaf
def datagram_at(p):
    """Where `receive` puts a datagram: behind what is in the inbox."""
    return port.inbox(p) + port.used(p) + _ENTRY


@leaf
def receive(p):
    """Take a datagram from the socket to `datagram_at`; its length, below 0 where none is there."""
    peer = port.peer(p)
    store_u32(peer + _LENGTH_AT, _SOCKADDR)
    length = _recvfrom(
        np.int32(port.socket(p)), datagram_at(p), _MOST, _NO_FLAGS, peer, peer + _LENGTH_AT
    )
    if length >= _NONE:
        port.set_came(p, port.came(p) + ONE)
    return length


@leaf
def whence(p):
    """Where the datagram comes from that was received last: family, port and address as a word."""
    return load_u64(port.peer(p))


@leaf
def keep(p, length):
    """The datagram that was received last is for Python."""
    used = port.used(p)
    behind = used + _ENTRY + ((length + _PADDING) & ~_PADDING)
    if behind > port.limit(p):
        port.set_dropped(p, port.dropped(p) + ONE)
        return
    store_u64(port.inbox(p) + used, length)
    store_u64(port.inbox(p) + used + _WORD, whence(p))
    port.set_used(p, behind)


@leaf
def is_whole(p, m, length, least):
    """Whether a datagram is of this protocol, undamaged, and has ``least`` bytes."""
    if length < least:
        return False
    lend_message(m, m + length)
    if _beat.magic(m) != _MAGIC or _beat.version(m) != _VERSION:
        return False
    return _beat.check(m) == _check_of(port.check(p), m + _CHECKED_FROM, m + length)


# ---------------------------------------------------------------- what is sent


@leaf
def begin(out, kind, stream):
    """The first fields of a datagram."""
    _data.set_magic(out, _MAGIC)
    _data.set_version(out, _VERSION)
    _data.set_message_type(out, kind)
    _data.set_reserved(out, ZERO)
    _data.set_stream(out, stream)


@leaf
def send(p, to, length):
    """Send the datagram that was made, to a word as of `whence`, or 0 where the port has a peer.

    False where that is not possible; then it is as if it had got lost.
    """
    out, peer = port.out(p), port.peer(p)
    _data.set_check(out, _check_of(port.check(p), out + _CHECKED_FROM, out + length))
    at, size = ZERO, np.uint32(0)
    if to != ZERO:
        store_u64(peer + _TO_AT, to)
        at, size = peer + _TO_AT, np.uint32(_SOCKADDR)
    sent = _sendto(np.int32(port.socket(p)), out, length, _NO_FLAGS, at, size)
    if sent >= _NONE:
        return True
    port.set_unsent(p, port.unsent(p) + ONE)
    return False


_HEAD = struct.Struct("=H")
_PLACE = struct.Struct("!H4s")
_NEXT = struct.Struct("=QQ")


def word_of(address: Address) -> int:
    """An IPv4 address and port as the first word of a socket address."""
    raw = _HEAD.pack(socket.AF_INET) + _PLACE.pack(address[1], socket.inet_aton(address[0]))
    return int.from_bytes(raw, "little")


def address_of(word: int) -> Address:
    """The address and port of such a word."""
    number, host = _PLACE.unpack_from(word.to_bytes(8, "little"), _HEAD.size)
    return socket.inet_ntoa(host), number


class Port:
    """A lane's socket and memory, as Python has it; see the module's text."""

    def __init__(self, address: Address | None, settings: Settings, inbox_bytes: int) -> None:
        """Bound to ``address``, or to any.  Raises `ReplicaError` where that cannot be had."""
        self.socket = bound(address, settings)
        self._inbox = np.zeros(inbox_bytes + DATAGRAM_BYTES + int(_ENTRY), np.uint8)
        self._out = np.zeros(DATAGRAM_BYTES, np.uint8)
        self._peer = np.zeros(5, np.uint64)
        self._tables = _check_tables()
        self.state = np.zeros(1, PORT)
        self.address = np.uint64(self.state.ctypes.data)
        for name, value in (
            ("socket", self.socket.fileno()),
            ("check", self._tables.ctypes.data),
            ("inbox", self._inbox.ctypes.data),
            ("limit", inbox_bytes),
            ("peer", self._peer.ctypes.data),
            ("out", self._out.ctypes.data),
        ):
            self.state[name] = value

    def peer_with(self, address: Address) -> bool:
        """Hear nobody else, which saves each datagram its way being looked up.

        False where there is no way now: then the port is anybody's, as before.
        """
        try:
            self.socket.connect(address)
        except OSError:
            return False
        return True

    @property
    def has_mail(self) -> bool:
        """Whether something waits in the inbox."""
        return bool(self.state["used"][0])

    def mail(self) -> list[tuple[bytes, Address]]:
        """What waits in the inbox, which is empty then."""
        raw, at = self._inbox.data, 0
        found: list[tuple[bytes, Address]] = []
        while at < int(self.state["used"][0]):
            length, word = _NEXT.unpack_from(raw, at)
            at += int(_ENTRY)
            found.append((raw[at : at + length].tobytes(), address_of(word)))
            at += length + 7 & ~7
        self.state["used"] = 0
        return found

    def send(self, raw: bytes, to: Address) -> None:
        """Send a datagram.  What cannot be sent is counted, and is as if it had got lost."""
        try:
            self.socket.sendto(raw, to)
        except OSError:
            self.state["unsent"] += 1

    @property
    def counters(self) -> Counter[str]:
        """Datagrams that came, those without room in the inbox, and what could not be sent."""
        row = self.state[0]
        return Counter({name: int(row[name]) for name in ("came", "dropped", "unsent")})

    def close(self) -> None:
        """Let go of the socket."""
        self.socket.close()


class Lane(NamedTuple):
    """A sender's functions for the loops of an engine: addresses, each is called with ``state``."""

    state: int
    idle: int
    """Nothing came to the engine: send all that is new, look now and then for answers."""
    busy: int
    """Something was taken, more may follow: send whole datagrams."""
    push: int
    """Somebody waits: send all that is new."""
    pull: int
    """Somebody waits: take an answer."""
