"""A preallocated file that is appended to by one process, and that ends in zeros.

Room is taken from the disk in steps and before it is needed, so that a disk which is full is known
before a record is begun, and an fsync has no new length to write.  Where anything fails the file
takes no more: every later call raises the same error.
"""

import contextlib
import fcntl
import mmap
import os
from collections.abc import Iterator
from pathlib import Path

from tickpath.failover.gateway_error import GatewayError, StoreError
from tickpath.session.store_file import Fsync

STEP = 4 << 20
"""Bytes that are taken from the disk at a time."""


class PreallocatedFile:
    """See the module's text.  Made with owner-only permissions where it does not exist."""

    def __init__(self, path: Path, *, fsync: Fsync, fsync_interval_ns: int, max_bytes: int):
        """Raises `GatewayError`."""
        self.path, self.fsync = path, fsync
        self.fsync_interval_ns, self.max_bytes = fsync_interval_ns, max_bytes
        self.end = 0
        """Where the next record goes."""
        self.fsyncs = 0
        self.failure: str | None = None
        self._unsynced_since_ns: int | None = None
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise GatewayError(f"{path}: cannot be opened: {error.strerror}") from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.size = os.fstat(self._file).st_size
        except OSError:
            os.close(self._file)
            raise GatewayError(
                f"{path}: another gateway has it open; name another directory, or end that one"
            ) from None

    def append(self, content: bytes, now_ns: int) -> None:
        """Write all of ``content`` behind what is there.  Raises `StoreError`."""
        self.check()
        pending, at = memoryview(content), self.end
        try:
            if at + len(pending) > self.size:
                self._grow(at + len(pending))
            while pending:
                written = os.pwrite(self._file, pending, at)
                at, pending = at + written, pending[written:]
        except OSError as error:
            self._fail(
                f"{self.path}: cannot be written: {error.strerror}; nothing is taken that is not "
                "recorded: make room, then start the gateway again"
            )
        self.end = at
        if self._unsynced_since_ns is None:
            self._unsynced_since_ns = now_ns

    def _grow(self, needed: int) -> None:
        if needed > self.max_bytes:
            raise OSError(0, f"it may not grow beyond {self.max_bytes} bytes")
        size = min(max(self.size + STEP, needed), self.max_bytes)
        os.posix_fallocate(self._file, self.size, size - self.size)
        self.size = size

    def sync_if_due(self, now_ns: int) -> None:
        """Hand what was written to the disk, where the policy wants that by now."""
        self.check()
        due_ns = self.next_deadline
        if due_ns is not None and (self.fsync == "always" or now_ns >= due_ns):
            self.sync()

    def sync(self) -> None:
        """Hand everything to the disk.  Raises `StoreError`."""
        self.check()
        try:
            os.fdatasync(self._file)
        except OSError as error:
            self._fail(f"{self.path}: cannot be written to the disk: {error.strerror}")
        self._unsynced_since_ns = None
        self.fsyncs += 1

    def sync_directory(self) -> None:
        """Make the file's name as safe as its content, where the file system can."""
        with contextlib.suppress(OSError):
            directory = os.open(self.path.parent, os.O_RDONLY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)

    @property
    def next_deadline(self) -> int | None:
        """When the policy wants the next fsync; None where nothing waits for one."""
        if self.failure is not None or self._unsynced_since_ns is None or self.fsync == "none":
            return None
        return self._unsynced_since_ns + self.fsync_interval_ns

    def cut(self, end: int) -> None:
        """Let nothing but zeros follow ``end``, and what is appended next stand there."""
        try:
            os.ftruncate(self._file, end)
            if self.size > end:
                os.posix_fallocate(self._file, end, self.size - end)
        except OSError as error:
            self._fail(f"{self.path}: cannot be written: {error.strerror}")
        self.end = end

    @contextlib.contextmanager
    def content(self) -> Iterator[mmap.mmap]:
        """All bytes of the file, the zeros too; it must not be empty."""
        with mmap.mmap(self._file, self.size, prot=mmap.PROT_READ) as mapped:
            yield mapped

    def check(self) -> None:
        """Raise what has made the file unusable."""
        if self.failure is not None:
            raise StoreError(self.failure)

    def close(self) -> None:
        """Sync as configured and close; any later use is an error."""
        if self._file < 0:
            return
        try:
            if self.next_deadline is not None:
                self.sync()
        finally:
            os.close(self._file)
            self._file = -1
            self.failure = self.failure or f"{self.path} is closed"

    def _fail(self, failure: str) -> None:
        self.failure = failure
        raise StoreError(failure) from None
