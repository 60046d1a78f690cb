"""Receiving a shipment: a directory that becomes a copy of a journal, and what it refuses.

A copy takes only what follows its own last record: whole records, a seal, the header of the next
segment.  Everything is verified before it is written, so a copy never holds what its origin did
not.  What was half written when a shipment was cut is found and cut off when the next one begins.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tickpath.replica.journal_disk import FRESH, locked, sync_directory, write
from tickpath.replica.journal_frame import Frame
from tickpath.replica.journal_header import (
    DATA_OFFSET,
    SEAL,
    JournalError,
    decode_header,
    name_of,
    number_of,
    segments,
)
from tickpath.replica.journal_segment import Segment
from tickpath.replica.journal_snapshot import flaw_of_snapshot, name_of_snapshot, snapshots
from tickpath.replica.journal_walk import WALK, lend
from tickpath.wire.journal import SEAL_MAGIC, FrameKind

ZERO = np.uint64(0)
_MOST = np.uint64((1 << 64) - 1)


class Shipped(NamedTuple):
    """What a shipment brought."""

    last_number: int  # of the copy's last record
    bytes: int  # of records, seals and snapshots
    segments: int  # that were begun
    snapshots: int


class Receipt:
    """A directory that becomes a copy; one receiver a directory, and no writer beside it."""

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        """Raises `JournalError` where it cannot be written, or holds a damaged journal."""
        self.directory = Path(directory)
        self.last_number = 0
        self._bytes = self._segments = self._snapshots = 0
        self._fd, self._number, self._end, self._is_sealed = -1, 0, 0, False
        self._incoming: tuple[int, Path, int] | None = None  # a snapshot that is not whole yet
        self._walk = np.zeros(1, WALK)
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            self._lock = locked(self.directory)
            try:
                for left in self.directory.glob(f"*{FRESH}"):
                    left.unlink()
                self._have = list(self._survey())
            except BaseException:
                os.close(self._lock)
                raise
        except OSError as error:
            raise JournalError(f"{self.directory}: cannot be written: {error.strerror}") from None

    @property
    def have(self) -> list[Frame]:
        """What the directory has, for the sender."""
        return [*self._have, Frame(FrameKind.READY)]

    @property
    def shipped(self) -> Shipped:
        return Shipped(self.last_number, self._bytes, self._segments, self._snapshots)

    def _survey(self) -> Iterator[Frame]:
        for number, path in snapshots(self.directory):
            if flaw_of_snapshot(path):
                path.unlink()
            else:
                yield Frame(FrameKind.HAVE_SNAPSHOT, number)
        found = segments(self.directory)
        for path in found[:-1]:
            yield Frame(FrameKind.HAVE, number_of(path), path.stat().st_size)
        if not found:
            return
        segment = Segment(found[-1])
        try:
            extent, number = segment.extent(is_last=True), number_of(found[-1])
            torn = len(segment.bytes[extent.end :].tobytes().rstrip(b"\0")) if extent.torn else 0
        finally:
            segment.close()
        if extent.damage is not None:
            raise JournalError(f"{self.directory}: {extent.damage}; ship to a new place")
        if torn:
            descriptor = os.open(found[-1], os.O_RDWR | os.O_CLOEXEC)
            try:
                write(descriptor, bytes(torn), extent.end)
            finally:
                os.close(descriptor)
        self.last_number = extent.last_number
        self._walk["epoch"] = extent.epoch
        yield Frame(FrameKind.HAVE, number, extent.end + SEAL.length * extent.is_sealed)

    def take(self, frame: Frame) -> Frame | None:
        """Take a frame; gives an answer for the sender, if there is one.

        Raises `JournalError` for what does not follow, and where it cannot be written.
        """
        try:
            if frame.kind is FrameKind.SEGMENT:
                self._begin(frame)
            elif frame.kind is FrameKind.BYTES:
                self._append(frame)
            elif frame.kind is FrameKind.SNAPSHOT:
                self._snapshot(frame)
            elif frame.kind is FrameKind.DONE:
                self._settle()
                return Frame(FrameKind.DONE, self.last_number)
            else:
                raise JournalError(f"a frame that no sender sends: {frame.kind.name.lower()}")
        except OSError as error:
            raise JournalError(f"{self.directory}: cannot be written: {error.strerror}") from None
        return None

    def _begin(self, frame: Frame) -> None:
        header = decode_header(frame.body)
        if isinstance(header, str) or header.first_number != frame.number:
            raise JournalError("a segment's header that is not what was written")
        self._settle()
        path = self.directory / name_of(header.first_number)
        known = {each.number: each.offset for each in self._have if each.kind is FrameKind.HAVE}
        if path.exists():
            if path.read_bytes()[:DATA_OFFSET] != frame.body:
                raise JournalError(f"{path}: is of another journal: ship to a new place")
            self._end = known[frame.number]
            self._is_sealed = self._end > DATA_OFFSET and self._seal_stands(path, self._end)
            self._fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        else:
            if self.last_number not in (0, header.previous_number):
                raise JournalError(
                    f"{path}: follows record {header.previous_number}, the last one here is "
                    f"{self.last_number}: ship to a new place"
                )
            fresh = path.with_name(path.name + FRESH)
            self._fd = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            os.posix_fallocate(self._fd, 0, header.allocated)
            write(self._fd, frame.body, 0)
            os.replace(fresh, path)
            self._end, self._is_sealed = DATA_OFFSET, False
            self._segments += 1
            self.last_number = header.first_number - 1
        self._number, self._allocated = header.first_number, header.allocated

    @staticmethod
    def _seal_stands(path: Path, end: int) -> bool:
        with open(path, "rb") as file:
            file.seek(end - SEAL.length)
            return file.read(len(SEAL_MAGIC)) == SEAL_MAGIC

    def _append(self, frame: Frame) -> None:
        if self._fd < 0 or (frame.number, frame.offset) != (self._number, self._end):
            raise JournalError("bytes of a segment that do not follow those before them")
        if self._is_sealed or self._end + len(frame.body) > self._allocated:
            raise JournalError("bytes behind the end of a segment")
        if frame.body.startswith(SEAL_MAGIC) and len(frame.body) == SEAL.length:
            self._is_sealed = True
        else:
            self._check(frame.body)
        write(self._fd, frame.body, self._end)
        self._end += len(frame.body)
        self._bytes += len(frame.body)

    def _check(self, raw: bytes) -> None:
        """Whole records that follow the last one, and nothing else."""
        lent = np.frombuffer(raw, np.uint8)
        begin = int(lent.ctypes.data)
        epoch = int(self._walk["epoch"][0])
        self._walk[0] = (begin, begin + len(raw), self.last_number + 1, epoch)
        number, _ = lend(np.uint64(self._walk.ctypes.data), ZERO, _MOST)
        if int(self._walk["at"][0]) != begin + len(raw) or not number:
            raise JournalError(f"record {self.last_number + int(number) + 1} came damaged")
        self.last_number += int(number)

    def _snapshot(self, frame: Frame) -> None:
        path = self.directory / name_of_snapshot(frame.number)
        fresh = path.with_name(path.name + FRESH)
        at = self._incoming[2] if self._incoming and self._incoming[0] == frame.number else 0
        if frame.offset != at:
            raise JournalError("a part of a snapshot that does not follow those before it")
        with open(fresh, "ab" if at else "wb") as file:
            file.write(frame.body)
            file.flush()
            if not frame.body:
                os.fsync(file.fileno())
        self._incoming = (frame.number, fresh, at + len(frame.body))
        self._bytes += len(frame.body)
        if frame.body:
            return
        self._incoming = None
        os.replace(fresh, path)
        if flaw := flaw_of_snapshot(path):
            path.unlink()
            raise JournalError(f"{path}: came damaged: {flaw}")
        self._snapshots += 1

    def _settle(self) -> None:
        """Make durable what has come."""
        if self._fd >= 0:
            descriptor, self._fd = self._fd, -1
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            known = [
                each
                for each in self._have
                if each.number != self._number or each.kind is not FrameKind.HAVE
            ]
            self._have = [*known, Frame(FrameKind.HAVE, self._number, self._end)]
        sync_directory(self.directory)

    def close(self) -> None:
        """Let go of the directory; what is not whole is cut off when it is received again."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def __enter__(self) -> "Receipt":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
