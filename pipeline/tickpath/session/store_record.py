"""The order session's journal, byte by byte: a header, then records that each vouch for themselves.

    marker | checksum | length | kind | index | number | ts_ns | payload

``length`` counts the whole record, ``checksum`` is the CRC-32 of everything behind it, ``index``
counts records from 0.  What ``number`` and the payload are depends on the kind: see `Kind`.

A crash can leave the last record unfinished, so whatever no whole record follows is a torn tail:
it was never acted on, because acting comes after writing.  A bad record that a good one does
follow was damaged later, and nothing behind it can be trusted to be all there is.
"""

import struct
from collections.abc import Iterator
from enum import IntEnum
from mmap import mmap
from zlib import crc32

import msgspec

from tickpath.wire.table import Message

JOURNAL_VERSION = 1
MAGIC, MARKER = b"TICKPATH", b"\xf1TP\x0a"

HEADER = Message(
    "",
    "journal_header",
    20,
    (("magic", "bytes:8"), ("version", "u16"), ("protocol", "ascii:10")),
)
RECORD = Message(
    "",
    "journal_record",
    37,
    (
        ("marker", "bytes:4"),
        ("checksum", "u32"),
        ("length", "u32"),
        ("kind", "u8"),
        ("index", "u64"),
        ("number", "u64"),
        ("ts_ns", "u64"),
        ("payload", "bytes:*"),
    ),
)
MAX_RECORD = RECORD.length + 65_535
"""Longest record: no payload is longer than what a SoupBinTCP packet can carry."""


class Kind(IntEnum):
    """What a record tells."""

    SESSION = 1  # a session begins: payload its name, number the first expected sequence
    SENT = 2  # an order message for the exchange: number the user_ref_num that it uses up, or 0
    RECEIVED = 3  # a message of the session: number its sequence
    SETTLED = 4  # a sent message was settled without an answer: number its index, payload how


_KINDS = frozenset(Kind)


class Entry(msgspec.Struct, frozen=True):
    """One record, read back."""

    index: int
    kind: Kind
    number: int
    ts_ns: int
    payload: bytes


def _packing(names: tuple[str, ...]) -> struct.Struct:
    """Consecutive fields of a record as a `struct`, which is ten times faster than the table."""
    codes = {"u8": "B", "u16": "H", "u32": "I", "u64": "Q", "bytes:4": "4s"}
    return struct.Struct(">" + "".join(codes[RECORD[name].kind] for name in names))


_NAMES = tuple(each.name for each in RECORD.fields[:-1])
_FRONT, _BODY = _packing(_NAMES[:2]), _packing(_NAMES[2:])
_WHOLE = _packing(_NAMES)

assert _WHOLE.size == RECORD.length == _FRONT.size + _BODY.size
assert _FRONT.size == RECORD["length"].offset


def packed(entry: Entry) -> bytes:
    """The bytes of a record."""
    length = RECORD.length + len(entry.payload)
    body = _BODY.pack(length, entry.kind, entry.index, entry.number, entry.ts_ns) + entry.payload
    return _FRONT.pack(MARKER, crc32(body)) + body


def read_record(content: mmap, at: int) -> Entry | None:
    """The record at an offset; None where there is none that is whole and right."""
    if len(content) - at < RECORD.length:
        return None
    marker, checksum, length, kind, index, number, ts_ns = _WHOLE.unpack_from(content, at)
    if marker != MARKER or not RECORD.length <= length <= min(MAX_RECORD, len(content) - at):
        return None
    if crc32(content[at + _FRONT.size : at + length]) != checksum:
        return None
    try:
        return Entry(index, Kind(kind), number, ts_ns, content[at + RECORD.length : at + length])
    except ValueError:  # a kind of a later version
        return None


def records(content: mmap) -> Iterator[tuple[int, Entry]]:
    """(offset behind the record, record) from the first one on, up to the first that is not right.

    A record whose index is not the next one is not right either.
    """
    at, index = HEADER.length, 0
    while (entry := read_record(content, at)) is not None and entry.index == index:
        at += RECORD.length + len(entry.payload)
        index += 1
        yield at, entry


def next_whole_record(content: mmap, at: int) -> int | None:
    """Where, at or behind an offset, a whole record stands; None for nowhere."""
    found = content.find(MARKER, at)
    while found >= 0:
        if read_record(content, found) is not None:
            return found
        found = content.find(MARKER, found + 1)
    return None
