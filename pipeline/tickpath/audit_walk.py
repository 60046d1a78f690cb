"""Reading an audit file from its beginning, block by block, believing nothing unverified.

`Walk` is the one reader: verification, printing and a writer that goes on with a file all use it.
It holds one block at a time, so memory does not grow with the file, and it stops at the first
block that is not sound, with a `Finding` that says which and what.  What each scheme proves and
what none can is said in `tickpath.audit`.

A tail is *torn* (as a kill, a full disk or a loss of power leaves it) where the file ends inside a
block whose header is sound, inside a header, or in zeros that were never overwritten.  Anything
else behind the last sound block is a change.
"""

import json
import os
import stat
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

from tickpath.audit_file import (
    BLOCK_BYTES,
    BLOCK_HEADER,
    BLOCK_MAGIC,
    BLOCK_OVERHEAD,
    CHECKED_BYTES,
    DIGEST_BYTES,
    FILE_MAGIC,
    FORMAT_VERSION,
    MAX_DESCRIPTION_BYTES,
    MAX_PAYLOAD_BYTES,
    PREAMBLE,
    TOTALS,
    AuditError,
    BlockHeader,
    BlockKind,
    Chain,
    DamagedError,
    Finding,
    Flaw,
    Preamble,
    Scheme,
    Totals,
    Unchecked,
)
from tickpath.audit_schema import Schema, Tables, schema_from, tables_in


class Block(NamedTuple):
    """A sound block: its header, where it begins, its payload and its digest."""

    header: BlockHeader
    offset: int
    payload: bytes | memoryview
    digest: bytes


class Position(NamedTuple):
    """Where a chain stands behind a block, or behind the file's header."""

    offset: int
    previous: bytes
    blocks: int = 0
    records: int = 0
    lost: int = 0
    continued: int = 0

    @property
    def next_record(self) -> int:
        return self.records + self.lost

    def totals(self) -> Totals:
        return Totals(self.blocks, self.records, self.lost, self.continued)

    def behind(self, header: BlockHeader, digest: bytes) -> "Position":
        """The position behind one more block."""
        return Position(
            self.offset + BLOCK_OVERHEAD + header.payload_length,
            digest,
            self.blocks + 1,
            self.records + header.record_count,
            self.lost + header.lost,
            self.continued + (header.kind == BlockKind.CONTINUED),
        )


class Continued(NamedTuple):
    """A writer went on with the file, and in which state it had found it."""

    block: int
    after: str  # "end": closed in order; "no_end": killed between blocks; "torn": inside a block
    cut_bytes: int  # of the torn block; they are the payload
    end_head: bytes | None  # the head that the closed file had

    def __str__(self) -> str:
        found = {
            "end": "that had been closed",
            "no_end": "that had not been closed",
            "torn": f"that ended inside a block; its {self.cut_bytes} bytes are kept in this one",
        }
        return f"block {self.block}: a writer went on with the file {found[self.after]}"


def open_file(path: str | os.PathLike[str]) -> BinaryIO:
    """The file for reading.  Raises `AuditError` for what is no file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        file = os.fdopen(descriptor, "rb", buffering=1 << 18)
    except IsADirectoryError:
        raise AuditError(f"{path}: is a directory") from None
    except FileNotFoundError:
        raise AuditError(f"{path}: does not exist") from None
    except OSError as error:
        raise AuditError(f"{path}: cannot be opened: {error.strerror}") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        file.close()
        raise AuditError(f"{path}: is not a file")
    return file


class Walk:
    """The blocks of a file in order, each verified before it is given.

    ``for block in walk`` raises `DamagedError` at the first that is not sound; the attributes then
    say how far the file is sound.  A keyed file needs its key unless ``unchecked`` allows to read
    it without proof.  Raises `AuditError` for what is no audit file.

    Attributes: ``preamble``, ``identity``, ``tables``, ``schema``; ``at``, the `Position` behind
    the last sound block; ``end``, the last block where it closes the file; ``proved``, False where
    a keyed file is read without its key.
    """

    def __init__(
        self, file: BinaryIO, path: str, key: bytes | None = None, *, unchecked: bool = False
    ) -> None:
        self._file, self._path = file, path
        self.preamble = self._preamble()
        self._chain = self._chain_under(key, unchecked)
        self.proved = not isinstance(self._chain, Unchecked)
        self.description = self._description(key)
        self.identity: dict[str, Any] = self.description["identity"]
        try:
            self.tables: Tables = tables_in(self.identity)
            self.schema: Schema = schema_from(self.description["record"], self.tables)
        except AuditError as error:
            raise AuditError(f"{path}: {error}") from None
        self.end: Block | None = None
        self.before_end = self.at

    # ------------------------------------------------------------ the header

    def _read(self, size: int) -> bytes:
        try:
            return self._file.read(size)
        except OSError as error:
            raise AuditError(f"{self._path}: cannot be read: {error.strerror}") from None

    def _preamble(self) -> Preamble:
        raw = self._read(PREAMBLE.size)
        if not raw:
            raise AuditError(f"{self._path}: is empty")
        if not raw.startswith(FILE_MAGIC):
            raise AuditError(f"{self._path}: is no audit file: it does not begin with its mark")
        if len(raw) < PREAMBLE.size:
            raise self._flaw(Flaw.TORN, None, 0, "the file ends inside its header")
        preamble = Preamble(*PREAMBLE.unpack(raw))
        if preamble.format_version != FORMAT_VERSION:
            raise AuditError(
                f"{self._path}: audit format version {preamble.format_version}; this package reads "
                f"version {FORMAT_VERSION}: use the one that wrote it"
            )
        if preamble.scheme not in tuple(Scheme):
            raise self._flaw(
                Flaw.CHANGE, None, 0, f"the header was changed: no scheme {preamble.scheme}"
            )
        return preamble

    def _chain_under(self, key: bytes | None, unchecked: bool) -> Chain:
        if self.preamble.scheme == Scheme.SHA256:
            if key is not None:
                text = "a plain chain, which anybody could have written; a keyed one was expected"
                raise self._flaw(Flaw.KEY, None, 0, text)
            return Chain(None)
        if key is None and not unchecked:
            raise AuditError(f"{self._path}: is under a key: give its file (--key-file)")
        return Unchecked() if key is None else Chain(key)

    def _description(self, key: bytes | None) -> dict[str, Any]:
        length = self.preamble.description_length
        raw = self._read(min(length, MAX_DESCRIPTION_BYTES) + DIGEST_BYTES)
        text, digest = raw[:-DIGEST_BYTES], raw[-DIGEST_BYTES:]
        whole, begin = len(text) == length, PREAMBLE.pack(*self.preamble)
        if not whole or not self._chain.matches(digest, begin, text):
            if key is not None and self.preamble.key_id != self._chain.key_id:
                what = "not written with this key, or its header was changed"
                raise self._flaw(Flaw.KEY, None, 0, what)
            if length <= MAX_DESCRIPTION_BYTES and len(raw) < length + DIGEST_BYTES:
                raise self._flaw(Flaw.TORN, None, 0, "the file ends inside its header")
            raise self._flaw(Flaw.CHANGE, None, 0, "the header was changed")
        self.at = Position(PREAMBLE.size + len(raw), digest)
        try:
            description = json.loads(text)
            if all(isinstance(description[part], dict) for part in ("record", "identity")):
                return description
        except (ValueError, KeyError, TypeError, RecursionError):
            pass
        raise AuditError(f"{self._path}: its header does not describe its records")

    # ------------------------------------------------------------ blocks

    def __iter__(self) -> Iterator[Block]:
        while (block := self._next()) is not None:
            yield block

    def _next(self) -> Block | None:
        raw = self._read(BLOCK_HEADER.size)
        if not raw:
            return None
        offset = self.at.offset
        if self.end is not None:
            raise self._flaw(Flaw.TRAILING, None, offset, "bytes behind the file's end")
        header = self._sound_header(raw)
        body = self._read(header.payload_length + DIGEST_BYTES)
        payload, digest = memoryview(body)[:-DIGEST_BYTES], body[-DIGEST_BYTES:]
        if len(payload) < header.payload_length:
            raise self._torn(header)
        if not self._chain.matches(digest, raw, payload):
            raise self._changed(raw + body, "its records were changed", header)
        if header.kind == BlockKind.END and TOTALS.unpack(payload) != self.at.totals():
            raise self._here(Flaw.FORM, "its totals are not those of the blocks before it")
        block = Block(header, offset, payload, digest)
        self.before_end = self.at
        self.at = self.at.behind(header, digest)
        if header.kind == BlockKind.END:
            self.end = block
        return block

    def _sound_header(self, raw: bytes) -> BlockHeader:
        """The header of the block that comes next.  Raises `DamagedError`."""
        if len(raw) < BLOCK_HEADER.size:
            raise self._torn(None)
        header = BlockHeader(*BLOCK_HEADER.unpack(raw))
        if header.magic != BLOCK_MAGIC:
            raise self._changed(raw, "no block begins here", None)
        if not self._chain.matches(header.check, raw[:CHECKED_BYTES]):
            raise self._changed(raw, "its header was changed", None)
        expected = self.at.blocks
        if header.block_number > expected:
            text = f"block {header.block_number} follows: {header.block_number - expected} missing"
            raise self._here(Flaw.GAP, text)
        if header.block_number < expected:
            raise self._here(Flaw.ORDER, f"block {header.block_number} stands here again")
        if header.previous != self.at.previous:
            raise self._here(Flaw.CHAIN, "it did not follow the block before it")
        if wrong := self._wrong_form(header):
            raise self._here(Flaw.FORM, wrong)
        if header.first_record != self.at.next_record + header.lost:
            missing = header.first_record - self.at.next_record - header.lost
            text = f"it begins with record {header.first_record}: {missing} are not accounted for"
            raise self._here(Flaw.GAP, text)
        return header

    def _wrong_form(self, header: BlockHeader) -> str:
        if header.kind == BlockKind.RECORDS:
            length = header.record_count * self.schema.dtype.itemsize
            fits = header.payload_length == length <= BLOCK_BYTES
        elif header.kind == BlockKind.CONTINUED:
            fits = header.payload_length <= MAX_PAYLOAD_BYTES
        elif header.kind == BlockKind.END:
            fits = header.payload_length == TOTALS.size
        else:
            return f"there is no kind {header.kind} of block"
        if header.kind != BlockKind.RECORDS and (header.record_count or header.lost):
            fits = False
        return "" if fits else "its length is not that of its records"

    # ------------------------------------------------------------ what is wrong

    def _flaw(self, flaw: Flaw, block: int | None, offset: int, text: str) -> DamagedError:
        return DamagedError(self._path, Finding(flaw, block, offset, text))

    def _here(self, flaw: Flaw, text: str) -> DamagedError:
        return self._flaw(flaw, self.at.blocks, self.at.offset, text)

    def _torn(self, header: BlockHeader | None) -> DamagedError:
        of = f" of {header.record_count} records" if header and header.record_count else ""
        return self._here(Flaw.TORN, f"the file ends inside this block{of}")

    def _changed(self, raw: bytes, text: str, header: BlockHeader | None) -> DamagedError:
        """A change, unless all that is left ends in zeros that no digest ends in."""
        rest = raw + self._read(MAX_PAYLOAD_BYTES + BLOCK_OVERHEAD)
        if len(rest) <= MAX_PAYLOAD_BYTES and not any(rest[-DIGEST_BYTES:]):
            return self._torn(header)
        return self._here(Flaw.CHANGE, text)

    def continued(self, block: Block) -> Continued:
        """What a block of kind `BlockKind.CONTINUED`, given last, tells."""
        number, payload = block.header.block_number, bytes(block.payload)
        end_bytes = BLOCK_OVERHEAD + TOTALS.size
        if len(payload) == end_bytes:
            header = BlockHeader(*BLOCK_HEADER.unpack_from(payload))
            body, digest = payload[:-DIGEST_BYTES], payload[-DIGEST_BYTES:]
            is_end = header.kind == BlockKind.END and header.previous == block.header.previous
            if is_end and self._chain.matches(digest, body):
                return Continued(number, "end", 0, digest)
        return Continued(number, "torn" if payload else "no_end", len(payload), None)
