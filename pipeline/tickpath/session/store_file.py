"""A file that only grows, by all of a write or nothing of it, and that one process has open.

Where a write fails (the disk is full, the file at its bound) what it began is cut off again and
the file takes no more: every later call raises the same error.  A failed fsync is final too, since
the system may have dropped the pages that it could not write.
"""

import contextlib
import fcntl
import mmap
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from tickpath.session.error import JournalError, SessionError

Fsync = Literal["always", "interval", "none"]


class AppendFile:
    """See the module's text.  Made with owner-only permissions where it does not exist."""

    def __init__(self, path: Path, *, fsync: Fsync, fsync_interval_ns: int, max_bytes: int):
        self.path = path
        self.fsync = fsync
        self.fsync_interval_ns = fsync_interval_ns
        self.max_bytes = max_bytes
        self.size = 0
        self.fsyncs = 0
        self._failure: str | None = None
        self._unsynced_since_ns: int | None = None
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise SessionError(f"{path}: cannot be opened: {error.strerror}") from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.size = os.fstat(self._file).st_size
        except OSError:
            os.close(self._file)
            raise SessionError(
                f"{path}: another process has this journal open; one session at a time may use it"
            ) from None

    def append(self, content: bytes, now_ns: int) -> None:
        """Write all of ``content`` at the end.  Raises `JournalError` where that fails."""
        self.check()
        pending, at = memoryview(content), self.size
        try:
            if at + len(pending) > self.max_bytes:
                raise OSError(0, f"it may not grow beyond {self.max_bytes} bytes")
            while pending:
                written = os.pwrite(self._file, pending, at)
                at, pending = at + written, pending[written:]
        except OSError as error:
            with contextlib.suppress(OSError):  # what stays is a torn tail, cut when it is opened
                self.cut(self.size)
            self._fail(
                f"{self.path}: cannot be written: {error.strerror}; nothing was sent that is not "
                "recorded; make room, then start the session again"
            )
        self.size = at
        if self._unsynced_since_ns is None:
            self._unsynced_since_ns = now_ns

    def sync_if_due(self, now_ns: int) -> None:
        """Hand what was written to the disk, where the policy wants that by now."""
        self.check()
        due_ns = self.next_deadline
        if due_ns is not None and (self.fsync == "always" or now_ns >= due_ns):
            self.sync()

    def sync(self) -> None:
        """Hand everything to the disk.  Raises `JournalError` where that fails."""
        try:
            os.fdatasync(self._file)
        except OSError as error:
            self._fail(f"{self.path}: cannot be written to the disk: {error.strerror}")
        self._unsynced_since_ns = None
        self.fsyncs += 1

    @property
    def next_deadline(self) -> int | None:
        """When the policy wants the next fsync; None where nothing waits for one."""
        if self._unsynced_since_ns is None or self.fsync == "none":
            return None
        return self._unsynced_since_ns + self.fsync_interval_ns

    def sync_directory(self) -> None:
        """Make the file's name as safe as its content, where the file system can."""
        with contextlib.suppress(OSError):
            directory = os.open(self.path.parent, os.O_RDONLY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)

    def cut(self, size: int) -> None:
        """Let the file end at ``size`` bytes."""
        os.ftruncate(self._file, size)
        self.size = size

    def check(self) -> None:
        """Raise what has made the file unusable."""
        if self._failure is not None:
            raise JournalError(self._failure)

    @contextlib.contextmanager
    def content(self) -> Iterator[mmap.mmap]:
        """The bytes of the file, as far as they are written now; it must not be empty."""
        with mmap.mmap(self._file, self.size, prot=mmap.PROT_READ) as mapped:
            yield mapped

    def close(self) -> None:
        """Sync as configured and close; any later use is an error."""
        if self._file < 0:
            return
        try:
            if self._failure is None and self.next_deadline is not None:
                self.sync()
        finally:
            os.close(self._file)
            self._file = -1
            self._failure = self._failure or f"{self.path} is closed"

    def _fail(self, failure: str) -> None:
        self._failure = failure
        raise JournalError(failure) from None
