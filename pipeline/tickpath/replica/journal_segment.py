"""A segment of the journal: one file of records, and how its soundness is judged.

    inputs-00000000000000000001.tpj      named by its first record's number

    header    `wire.journal`: identity of the run, first number, what is missing before it, digest
    records   exactly as in the ring, one behind the other, numbered without holes
    seal      the number of the last one; zeros from there to the end

A file has its full size from the start, so one that was cut is seen by its size alone.  A segment
without a seal was being written when its writer died, or still is: a record that is not whole at
its end is *torn*, unless whole records or a seal stand behind it, which makes it *damage*.  The
invariant: every byte of a file is under the header's digest, a record's checksum or the seal's
digest, or is zero; so any changed bit is found.  What the files alone cannot tell: that whole files
at the beginning or the end are gone, or were exchanged for older ones, and that bytes at the end of
a segment without a seal were made zeros.
"""

import mmap
import os
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tickpath.replica.journal_header import (
    DATA_OFFSET,
    HEADER,
    RECORD,
    SEAL,
    JournalError,
    decode_header,
    encode_seal,
    number_of,
)
from tickpath.replica.journal_walk import WALK, Stop, find_whole, lend
from tickpath.wire.journal import SEAL_MAGIC

_EVERYTHING = np.uint64((1 << 64) - 1)
ZERO = np.uint64(0)


class Flaw(StrEnum):
    """What can be wrong with a journal."""

    HEADER = "header"  # a segment's header is not what its writer left
    CHANGE = "change"  # a record's or the seal's bytes are not those that were written
    HOLE = "hole"  # record numbers are missing inside a segment
    ORDER = "order"  # a record or a segment that stands where another one belongs
    EPOCH = "epoch"  # a record of an epoch that was over
    CUT = "cut"  # the file is shorter than it was made
    TRAILING = "trailing"  # bytes behind the seal
    TORN = "torn"  # the journal ends inside a record: its writer died
    SEGMENT = "segment"  # a segment is missing
    MISSING = "missing"  # records that were not written, as the journal itself says
    IDENTITY = "identity"  # segments of different runs
    SNAPSHOT = "snapshot"  # a snapshot that cannot be read
    BASE = "base"  # the journal begins behind its newest snapshot


class Finding(NamedTuple):
    """One thing that is wrong, and where: the file's name, the offset, the record's number."""

    flaw: Flaw
    file: str
    offset: int
    number: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}, at offset {self.offset}: {self.text}"


class DamagedError(JournalError):
    """A journal whose bytes are not those that were written; `finding` says which."""

    def __init__(self, directory: str | os.PathLike[str], finding: Finding) -> None:
        super().__init__(f"{os.fspath(directory)}: {finding}")
        self.finding = finding


class Extent(NamedTuple):
    """How far a segment is sound."""

    last_number: int  # of its last whole record; the first one's less 1 where it has none
    epoch: int
    end: int  # offset behind it
    is_sealed: bool
    findings: tuple[Finding, ...]

    @property
    def damage(self) -> Finding | None:
        """The first finding that is not what a killed writer leaves."""
        return next((each for each in self.findings if each.flaw is not Flaw.TORN), None)

    @property
    def torn(self) -> Finding | None:
        return next((each for each in self.findings if each.flaw is Flaw.TORN), None)


class Segment:
    """A segment's file, mapped for reading; records that it lent stay until it is closed."""

    def __init__(self, path: Path) -> None:
        """Raises `JournalError` where it cannot be read, `DamagedError` for another header."""
        self.path = path
        try:
            with open(path, "rb") as file:
                raw = file.read(HEADER.length)
                size = os.fstat(file.fileno()).st_size
                found = decode_header(raw)
                if isinstance(found, str):
                    raise DamagedError(path.parent, self._finding(Flaw.HEADER, 0, 0, found))
                self._map = mmap.mmap(file.fileno(), size, prot=mmap.PROT_READ)
        except OSError as error:
            raise JournalError(f"{path}: cannot be read: {error.strerror}") from None
        self.header = found
        self.bytes = np.frombuffer(self._map, np.uint8)
        self.address = int(self.bytes.ctypes.data)
        self.walk = np.zeros(1, WALK)
        self._state = np.uint64(self.walk.ctypes.data)
        self.rewind()

    def rewind(self) -> None:
        """Go back to the first record."""
        header, size = self.header, min(len(self.bytes), self.header.allocated)
        self.walk[0] = (
            self.address + DATA_OFFSET,
            self.address + max(size, DATA_OFFSET),
            header.first_number,
            header.epoch,
        )

    def close(self) -> None:
        """Let go of the memory."""
        del self.bytes
        self._map.close()

    # ------------------------------------------------------------ walking

    @property
    def offset(self) -> int:
        """Offset of the next record."""
        return int(self.walk["at"][0]) - self.address

    @property
    def expected(self) -> int:
        """Its number."""
        return int(self.walk["expected"][0])

    def lend(self, packets: np.ndarray | None, most: int) -> tuple[int, Stop]:
        """Pass over up to ``most`` records, lending them to ``packets``; (how many, `Stop`)."""
        address = ZERO if packets is None else np.uint64(packets.ctypes.data)
        number, why = lend(self._state, address, np.uint64(most))
        return int(number), Stop(why)

    @property
    def seal_here(self) -> int | None:
        """The last record's number that a seal says which stands at the walk's place, if any."""
        return self._seal_at(self.offset)

    def _seal_at(self, at: int) -> int | None:
        raw = self.bytes[at : at + SEAL.length].tobytes()
        if len(raw) < SEAL.length or not raw.startswith(SEAL_MAGIC):
            return None
        values = SEAL.decode(raw)
        first, last = values["first_number"], values["last_number"]
        whole = first == self.header.first_number and raw == encode_seal(first, last, at)
        return last if whole else None

    @property
    def has_more(self) -> bool:
        """Whether a whole record or a seal stands behind the walk's place."""
        begin, end = np.uint64(int(self.walk["at"][0]) + 8), self.walk["end"][0]
        most = np.uint64(self.expected + len(self.bytes) // RECORD.length)
        if begin < end and find_whole(begin, end, np.uint64(self.expected), most) != end:
            return True
        behind = self.bytes[self.offset :].tobytes()
        at = behind.find(SEAL_MAGIC)
        while at >= 0:
            if self._seal_at(self.offset + at) is not None:
                return True
            at = behind.find(SEAL_MAGIC, at + 1)
        return False

    # ------------------------------------------------------------ judging

    def _finding(self, flaw: Flaw, offset: int, number: int, text: str) -> Finding:
        return Finding(flaw, self.path.name, offset, number, text)

    def judge(self, why: Stop, is_last: bool) -> Finding | None:
        """What a walk's end means; None where the segment ends there in order.

        ``is_last``: there is no segment behind it, so that a writer may have died in it.
        """
        at, number = self.offset, self.expected
        if why is Stop.FULL or self.seal_here == number - 1:
            return None
        if len(self.bytes) != self.header.allocated:
            text = f"the file has {len(self.bytes)} bytes and was made with {self.header.allocated}"
            return self._finding(Flaw.CUT, at, number, text)
        if why in _WRONG:
            flaw, said = _WRONG[why]
            found = RECORD.decode(self.bytes[at : at + RECORD.length].tobytes())
            return self._finding(flaw, at, number, said(number, found))
        if why is Stop.UNWRITTEN and not self.bytes[at:].any():
            return None
        if is_last and not self.has_more:
            filled = int(np.flatnonzero(self.bytes[at:])[-1]) + 1
            text = f"record {number} was not written whole: {filled} bytes of it"
            return self._finding(Flaw.TORN, at, number, text)
        text = f"record {number}, or the seal before it, is not what was written"
        return self._finding(Flaw.CHANGE, at, number, text)

    def extent(self, is_last: bool) -> Extent:
        """Walk over all of it; the walk stands behind the last whole record then."""
        self.rewind()
        if self.header.first_number != number_of(self.path):
            text = f"it begins with record {self.header.first_number}, its name says another"
            return self._extent(self._finding(Flaw.ORDER, 0, self.header.first_number, text))
        _, why = self.lend(None, int(_EVERYTHING))
        return self._extent(self.judge(why, is_last) or self._trailing())

    def _trailing(self) -> Finding | None:
        """What stands behind the seal that the walk has come to."""
        if len(self.bytes) != self.header.allocated:
            text = f"the file has {len(self.bytes)} bytes and was made with {self.header.allocated}"
            return self._finding(Flaw.CUT, len(self.bytes), self.expected, text)
        behind = self.offset + SEAL.length
        if not self.bytes[behind:].any():
            return None
        at = behind + int(np.flatnonzero(self.bytes[behind:])[0])
        return self._finding(Flaw.TRAILING, at, self.expected, "bytes stand behind the seal")

    def _extent(self, finding: Finding | None) -> Extent:
        return Extent(
            self.expected - 1,
            int(self.walk["epoch"][0]),
            self.offset,
            self.seal_here is not None,
            () if finding is None else (finding,),
        )


_WRONG: dict[Stop, tuple[Flaw, Callable[[int, dict[str, Any]], str]]] = {
    Stop.KIND: (Flaw.ORDER, lambda n, r: f"record {n} is of kind {r['kind']}, which none is"),
    Stop.HOLE: (Flaw.HOLE, lambda n, r: f"records {n} to {r['number'] - 1} are missing"),
    Stop.REPEATED: (Flaw.ORDER, lambda n, r: f"record {r['number']} stands where {n} belongs"),
    Stop.EPOCH: (Flaw.EPOCH, lambda n, r: f"record {n} is of epoch {r['epoch']}, which was over"),
}
