"""Questions to the kernel about its network, over rtnetlink.

It answers for the network namespace that the thread is in, which /sys and /proc/net do not always:
they show what was mounted.  Requests are answered at once, so a question is one send and a bounded
number of reads.  Layouts: the kernel's ``linux/netlink.h``, ``rtnetlink.h``, ``neighbour.h``.
"""

import os
import socket
import struct
import sys
from collections.abc import Iterator

HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port
ATTRIBUTE = struct.Struct("=HH")  # length, type
ERROR, DONE = 2, 3
REQUEST, ACKNOWLEDGE, CREATE = 0x1, 0x4, 0x400
_TYPE_MASK = 0x3FFF
_ROOM = 1 << 16
_MOST_READS = 16
_TIMEOUT_S = 2.0

Attributes = dict[int, bytes]


def pack(kind: int, payload: bytes) -> bytes:
    """One attribute, padded to four bytes."""
    raw = ATTRIBUTE.pack(ATTRIBUTE.size + len(payload), kind) + payload
    return raw + bytes(-len(raw) % 4)


def unpack(raw: bytes) -> Attributes:
    """Attributes by type; what is cut short ends them."""
    found: Attributes = {}
    at = 0
    while at + ATTRIBUTE.size <= len(raw):
        length, kind = ATTRIBUTE.unpack_from(raw, at)
        if length < ATTRIBUTE.size or at + length > len(raw):
            break
        found[kind & _TYPE_MASK] = raw[at + ATTRIBUTE.size : at + length]
        at += -(-length // 4) * 4
    return found


def messages(raw: bytes) -> Iterator[tuple[int, bytes]]:
    """(type, body) of each message of a datagram."""
    at = 0
    while at + HEADER.size <= len(raw):
        length, kind = HEADER.unpack_from(raw, at)[:2]
        if length < HEADER.size or at + length > len(raw):
            return
        yield kind, raw[at + HEADER.size : at + length]
        at += -(-length // 4) * 4


def listen(groups: int) -> socket.socket:
    """A socket, not blocking, that gets notifications of the groups (a bit mask)."""
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    try:
        sock.bind((0, groups))
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock


def request(kind: int, body: bytes, flags: int = 0) -> bytes:
    """A question as the kernel takes it."""
    return HEADER.pack(HEADER.size + len(body), kind, REQUEST | flags, 1, 0) + body


def error_of(body: bytes) -> int:
    """The errno of an answer of type `ERROR`; 0: it only acknowledges."""
    return -int.from_bytes(body[:4], sys.byteorder, signed=True)


def ask(kind: int, body: bytes, flags: int = 0) -> bytes:
    """The body of the kernel's answer; empty where it only acknowledges.  Raises `OSError`."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as sock:
        sock.settimeout(_TIMEOUT_S)
        sock.bind((0, 0))
        sock.send(request(kind, body, flags))
        for _ in range(_MOST_READS):
            for got, answer in messages(sock.recv(_ROOM)):
                if got != ERROR:
                    return answer
                if code := error_of(answer):
                    raise OSError(code, os.strerror(code))
                return b""
    raise OSError(0, "the kernel gave no answer")
