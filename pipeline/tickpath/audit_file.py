"""The form of an audit file: a header that describes the records, then a chain of blocks.

    preamble       who wrote it, when, under which scheme
    description    JSON: {"record": what `tickpath.audit_schema` writes, "identity": the caller's}
    digest         of preamble and description: what the first block's `previous` is

    block_header   its number, its records' numbers, `previous`: the digest of the block before
    payload        records, packed one behind the other; or what the block's kind says
    digest         of block_header and payload

Numbers are little-endian.  A digest is SHA-256, or HMAC-SHA-256 under a key.  A block's header ends
with a check of its own, the beginning of the digest of what stands before it, so that no length is
believed before it is known to be the writer's: a file that ends inside a block can be told from a
block whose length was changed.

The invariant: every byte of the file is under a digest, and every digest under the next one.
Record numbers run from 0 and include the records that were lost before they could be written:
`first_record` is the number of records and losses before the block, plus its own `lost`, which
stand before its records.
"""

import hashlib
import hmac
import os
import stat
import struct
from enum import IntEnum, StrEnum
from typing import NamedTuple

from tickpath.wire.table import Message, Protocol

FILE_MAGIC = b"TPAUDIT\n"
BLOCK_MAGIC = b"TPAB"
FORMAT_VERSION = 1
DIGEST_BYTES = hashlib.sha256().digest_size
CHECK_BYTES = 16
KEY_ID_BYTES = 8

AUDIT = Protocol(
    "audit",
    (
        Message(
            "",
            "preamble",
            52,
            (
                ("magic", "bytes:8"),
                ("format_version", "u32"),
                ("scheme", "u32"),
                ("ts_created", "u64"),  # nanoseconds since the Unix epoch
                ("file_id", "bytes:16"),  # random: two files never begin with the same digest
                ("key_id", "bytes:8"),  # tells a wrong key from a changed file; zeros without one
                ("description_length", "u32"),
            ),
            order="little",
        ),
        Message(
            "",
            "block_header",
            96,
            (
                ("magic", "bytes:4"),
                ("kind", "u32"),
                ("block_number", "u64"),  # from 0
                ("first_record", "u64"),
                ("record_count", "u32"),
                ("payload_length", "u32"),
                ("lost", "u64"),
                ("ts_written", "u64"),  # nanoseconds since the Unix epoch
                ("previous", "bytes:32"),
                ("check", "bytes:16"),
            ),
            order="little",
        ),
        Message(
            "",
            "totals",  # the payload of the last block
            32,
            (
                ("blocks", "u64"),  # before this one
                ("records", "u64"),
                ("lost", "u64"),
                ("continued", "u64"),
            ),
            order="little",
        ),
    ),
)

MAX_DESCRIPTION_BYTES = 1 << 20
BLOCK_BYTES = 1 << 20
"""Most bytes of records in one block; what a reader holds at a time follows from it."""
MAX_PAYLOAD_BYTES = 2 * BLOCK_BYTES
"""Most bytes of any payload: a block that was torn fits into the block that tells of it."""


class AuditError(Exception):
    """An audit file that cannot be read or written; one line: the file, what, what to do."""


class Scheme(IntEnum):
    """How digests are made."""

    SHA256 = 1
    HMAC_SHA256 = 2


class BlockKind(IntEnum):
    """What a block's payload is."""

    RECORDS = 1
    CONTINUED = 2  # what stood behind the last sound block when a writer went on with the file
    END = 3  # totals: the file was closed in order


class Flaw(StrEnum):
    """What can be wrong with an audit file."""

    CHANGE = "change"  # bytes are not those that were written
    GAP = "gap"  # blocks or records are missing
    ORDER = "order"  # a block stands here a second time, or at another's place
    CHAIN = "chain"  # a block that did not follow the one before it, such as another file's
    TORN = "torn"  # the file ends inside a block
    NOT_CLOSED = "not_closed"  # there is no end: killed, still being written, or cut
    TRAILING = "trailing"  # bytes behind the end
    FORM = "form"  # soundly linked, but not what a writer of this version makes
    HEAD = "head"  # the chain never had the head that was kept elsewhere
    KEY = "key"  # not written with this key, or with none


class Finding(NamedTuple):
    """One thing that is wrong, and where: block None is the file's header or the whole file."""

    flaw: Flaw
    block: int | None
    offset: int
    text: str

    def __str__(self) -> str:
        where = "" if self.block is None else f"block {self.block}, "
        return f"{where}at offset {self.offset}: {self.text}"


class DamagedError(AuditError):
    """A file whose bytes are not those that its writer left; `finding` says which."""

    def __init__(self, path: str, finding: Finding) -> None:
        super().__init__(f"{path}: {finding}")
        self.finding = finding


# ---------------------------------------------------------------- headers


class Preamble(NamedTuple):
    """The fields of `AUDIT["preamble"]`."""

    magic: bytes
    format_version: int
    scheme: int
    ts_created: int
    file_id: bytes
    key_id: bytes
    description_length: int


class BlockHeader(NamedTuple):
    """The fields of `AUDIT["block_header"]`."""

    magic: bytes
    kind: int
    block_number: int
    first_record: int
    record_count: int
    payload_length: int
    lost: int
    ts_written: int
    previous: bytes
    check: bytes


class Totals(NamedTuple):
    """The fields of `AUDIT["totals"]`."""

    blocks: int
    records: int
    lost: int
    continued: int


def _struct(name: str, fields: tuple[str, ...]) -> struct.Struct:
    """The table as a `struct`: a header is read once a block, small blocks are many."""
    table = AUDIT[name].fields
    assert fields == tuple(each.name for each in table)
    codes = {"u32": "I", "u64": "Q"}
    made = struct.Struct("<" + "".join(codes.get(each.base, f"{each.size}s") for each in table))
    assert made.size == AUDIT[name].length
    return made


PREAMBLE = _struct("preamble", Preamble._fields)
BLOCK_HEADER = _struct("block_header", BlockHeader._fields)
TOTALS = _struct("totals", Totals._fields)
CHECKED_BYTES = AUDIT["block_header"]["check"].offset
"""How much of a block's header is under its check."""
BLOCK_OVERHEAD = BLOCK_HEADER.size + DIGEST_BYTES
"""Bytes that a block takes beside its payload."""


# ---------------------------------------------------------------- digests


class Chain:
    """How the digests of one file are made and compared."""

    def __init__(self, key: bytes | None) -> None:
        self._new = hmac.new(key, digestmod="sha256") if key else hashlib.sha256()
        self.scheme = Scheme.HMAC_SHA256 if key else Scheme.SHA256
        self.key_id = self.digest(b"tickpath audit key")[:KEY_ID_BYTES] if key else b""
        self.key_id = self.key_id.ljust(KEY_ID_BYTES, b"\0")

    def digest(self, *parts: bytes | memoryview) -> bytes:
        """The digest of the parts, one behind the other."""
        hashed = self._new.copy()
        for part in parts:
            hashed.update(part)
        return hashed.digest()

    def matches(self, digest: bytes, *parts: bytes | memoryview) -> bool:
        """True where ``digest`` is, or begins, that of the parts."""
        return hmac.compare_digest(self.digest(*parts)[: len(digest)], digest)


class Unchecked(Chain):
    """A keyed file without its key: links are followed, nothing is proved."""

    def __init__(self) -> None:
        super().__init__(None)

    def matches(self, digest: bytes, *parts: bytes | memoryview) -> bool:
        """True."""
        return True


def block_parts(
    chain: Chain, header: BlockHeader, payload: bytes | memoryview
) -> tuple[bytes, bytes]:
    """A block's header with its check filled in, and the digest that stands behind the payload."""
    begin = BLOCK_HEADER.pack(*header)[:CHECKED_BYTES]
    packed = begin + chain.digest(begin)[:CHECK_BYTES]
    return packed, chain.digest(packed, payload)


# ---------------------------------------------------------------- keys

MIN_KEY_BYTES, MAX_KEY_BYTES = 32, 4096


def read_key(path: str | os.PathLike[str]) -> bytes:
    """The key in a file that nobody but its owner (this user, or root) may read.

    The key is the file's bytes without line ends behind them, 32 to 4096 of them.  Raises
    `AuditError` for a file that others may read or write, and for a key that is too short.
    """
    make = f"make one: (umask 077; openssl rand -hex 32 > {path})"
    try:
        # Not to wait where the name is that of a pipe.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise AuditError(f"{path}: the key cannot be read: {error.strerror}; {make}") from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise AuditError(f"{path}: is not a file with a key; {make}")
        if status.st_uid not in (0, os.geteuid()):
            raise AuditError(f"{path}: belongs to another user, who could change the key")
        if status.st_mode & 0o077:
            raise AuditError(
                f"{path}: others may read or write the key (mode {status.st_mode & 0o777:03o}): "
                f"chmod 600 {path}"
            )
        key = os.read(descriptor, MAX_KEY_BYTES + 3).rstrip(b"\r\n")
    except OSError as error:
        raise AuditError(f"{path}: the key cannot be read: {error.strerror}") from None
    finally:
        os.close(descriptor)
    if not MIN_KEY_BYTES <= len(key) <= MAX_KEY_BYTES:
        raise AuditError(
            f"{path}: a key has {MIN_KEY_BYTES} to {MAX_KEY_BYTES} bytes, not {len(key)}; {make}"
        )
    return key
