"""The gateway's file, byte by byte: a header, then records that each vouch for themselves, then 0.

    marker | checksum | length | kind | index | body

``length`` counts the whole record, ``checksum`` is the CRC-32 of everything behind it, ``index``
counts records from 0.  The file is longer than its records: what follows the last one is zero.  A
record that is not whole with no whole one behind it is what a crash left, and was never acted on.
A bad record that a good one does follow was damaged later.
"""

import struct
from collections.abc import Iterator
from enum import IntEnum
from mmap import mmap
from zlib import crc32

import msgspec

from tickpath.wire.table import Message

STORE_VERSION = 1
MAGIC, MARKER = b"TICKGATE", b"\xf2TG\x0a"

HEADER = Message(
    "", "store_header", 20, (("magic", "bytes:8"), ("version", "u16"), ("protocol", "ascii:10"))
)
RECORD = Message(
    "",
    "store_record",
    21,
    (
        ("marker", "bytes:4"),
        ("checksum", "u32"),
        ("length", "u32"),
        ("kind", "u8"),
        ("index", "u64"),
        ("body", "bytes:*"),
    ),
)
GROUP = Message(
    "",
    "group",
    128,
    (
        ("build", "bytes:32"),
        ("configuration", "bytes:32"),
        ("strategy", "bytes:32"),
        ("layout", "bytes:32"),
    ),
)
"""What the nodes of the group run."""
EPOCH = Message("", "epoch", 32, (("epoch", "u64"), ("ts_ns", "u64"), ("node", "ascii:16")))
"""The first use of an epoch, and whose it is."""
HANDED = Message(
    "",
    "handed",
    48,
    (
        ("epoch", "u64"),
        ("order_position", "u64"),
        ("input_number", "u64"),
        ("taken_position", "u64"),
        ("journal_records", "u64"),
        ("ts_ns", "u64"),
        ("messages", "bytes:*"),
    ),
)
"""Bytes of the order stream that will be given to the session.

What lies before ``taken_position`` is in the session's journal or has an outcome, and what is sent
of the bytes stands there behind the first ``journal_records`` records.
"""
OUTCOME = Message(
    "",
    "outcome",
    33,
    (
        ("number", "u64"),
        ("after_sequence", "u64"),
        ("order_position", "u64"),
        ("reason", "u8"),
        ("ts_ns", "u64"),
        ("payload", "bytes:*"),
    ),
)
"""What became of an order message, as the nodes are told."""


class Kind(IntEnum):
    """What a record tells."""

    GROUP = 1
    EPOCH = 2
    HANDED = 3
    OUTCOME = 4


def _packing(layout: Message, names: tuple[str, ...] = ()) -> struct.Struct:
    """Fields of fixed size as a `struct`, which is ten times faster than the table."""
    codes = {"u8": "B", "u32": "I", "u64": "Q", "bytes:4": "4s", "ascii:16": "16s"}
    names = names or tuple(each.name for each in layout.fields if not each.is_variable)
    return struct.Struct(">" + "".join(codes[layout[name].kind] for name in names))


_WHOLE = _packing(RECORD)
_FRONT = _packing(RECORD, ("marker", "checksum"))
_REST = _packing(RECORD, ("length", "kind", "index"))
HANDED_FIELDS, OUTCOME_FIELDS = _packing(HANDED), _packing(OUTCOME)

assert _WHOLE.size == RECORD.length == _FRONT.size + _REST.size
assert (HANDED_FIELDS.size, OUTCOME_FIELDS.size) == (HANDED.length, OUTCOME.length)


class Record(msgspec.Struct, frozen=True):
    """One record, read back."""

    index: int
    kind: Kind
    body: bytes


def packed(record: Record) -> bytes:
    """The bytes of a record."""
    length = RECORD.length + len(record.body)
    rest = _REST.pack(length, record.kind, record.index) + record.body
    return _FRONT.pack(MARKER, crc32(rest)) + rest


def read_record(content: mmap, at: int) -> Record | None:
    """The record at an offset; None where there is none that is whole and right."""
    if len(content) - at < RECORD.length:
        return None
    marker, checksum, length, kind, index = _WHOLE.unpack_from(content, at)
    if marker != MARKER or not RECORD.length <= length <= len(content) - at:
        return None
    if crc32(content[at + _FRONT.size : at + length]) != checksum:
        return None
    try:
        return Record(index, Kind(kind), content[at + RECORD.length : at + length])
    except ValueError:  # a kind of a later version
        return None


def records(content: mmap) -> Iterator[tuple[int, Record]]:
    """(offset behind the record, record) in order, up to the first that is not right."""
    at, index = HEADER.length, 0
    while (record := read_record(content, at)) is not None and record.index == index:
        at += RECORD.length + len(record.body)
        index += 1
        yield at, record


def next_whole_record(content: mmap, at: int) -> int | None:
    """Where, at or behind an offset, a whole record stands; None for nowhere."""
    found = content.find(MARKER, at)
    while found >= 0:
        if read_record(content, found) is not None:
            return found
        found = content.find(MARKER, found + 1)
    return None
