"""What the journal asks of a file system: whole writes, durable names, space given back, a lock."""

import ctypes
import fcntl
import os
from pathlib import Path

from tickpath.replica.journal_header import JournalError

LOCK = "journal.lock"
FRESH = ".fresh"
"""What the name of a file ends in that is not whole yet."""
_PUNCH_HOLE, _KEEP_SIZE = 2, 1  # of Linux's fallocate
_libc = ctypes.CDLL(None, use_errno=True)


def locked(directory: Path) -> int:
    """A descriptor that keeps a directory for this process.  Raises `JournalError`, `OSError`."""
    descriptor = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise JournalError(
            f"{directory}: is being written by another process; stop it first"
        ) from None
    return descriptor


def is_being_written(directory: str | os.PathLike[str]) -> bool:
    """Whether a writer has a directory now."""
    try:
        descriptor = os.open(Path(directory) / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except OSError:
        return True
    finally:
        os.close(descriptor)


def write(descriptor: int, raw: bytes | memoryview, offset: int) -> None:
    """Write all of it.  Raises `OSError` with some of it written."""
    left = memoryview(raw)
    while len(left):
        written = os.pwrite(descriptor, left, offset)
        if written <= 0:
            raise OSError(0, "nothing was written")
        left, offset = left[written:], offset + written


def punch(descriptor: int, begin: int, end: int) -> None:
    """Give the space of zeros back where the file system can; the size stays, for readers."""
    if begin < end:
        _libc.fallocate(
            descriptor,
            _PUNCH_HOLE | _KEEP_SIZE,
            ctypes.c_int64(begin),
            ctypes.c_int64(end - begin),
        )


def sync_directory(directory: Path) -> None:
    """Make a directory's names durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def store(path: Path, raw: bytes | memoryview) -> None:
    """Write a file whole and durable, or not at all.  Raises `OSError`."""
    fresh = path.with_name(path.name + FRESH)
    try:
        with open(fresh, "wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)
