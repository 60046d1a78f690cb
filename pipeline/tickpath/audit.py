"""The audit file: every record in order, under a chain of hashes that shows what was done to it.

    with AuditWriter(path, dtype, identity, key=read_key(key_path)) as writer:
        writer.append(records, lost=0)

`append` takes a structured array of the file's dtype, from wherever it lies, and has written it
when it returns; what the fields mean is the caller's, who says it once in ``hints`` and
``identity``.  The form is in `tickpath.audit_file`.

What a file proves.  *Plain* (SHA-256), to whoever has only the file: no bit rot, no lost or
exchanged part, no edit by somebody who does not recompute the chain behind it.  It proves nothing
against somebody who does: that needs no secret, and the result is a sound file.  *Keyed*
(HMAC-SHA-256): nobody without the key can make, change, reorder or join blocks; whoever has it,
which is also whoever rules the machine that writes, can write any history.

In neither mode can the file alone show that it was put back to a state that it once had: cut
between two blocks (reported as not closed, which is also what a kill leaves), or exchanged for an
older copy, or cut before a writer went on with it (only that the writer went on is shown), or
removed, or exchanged for another whole file of the same key.  The *head*, the digest of the last
block, shows all of these and every rewriting up to that block, in both modes, when it is kept
where the file's owner cannot change it: ``tickpath audit head FILE`` now, ``tickpath audit verify
--head HASH`` later; the file may have grown since.  Nothing shows records that never came here,
except those that the caller counted as ``lost``, and nothing shows records that were false.

Worst cases.  Killed: the file ends behind a block or inside one; the next writer of the same run
keeps the torn bytes in a block that says so, and the chain goes on.  (Killed just while it does
that, within the 96 bytes of that block's header: the header is damaged, the next writer refuses,
`verify` names the place.)  Disk full: `append` raises, nothing of its records is in the file, and
it may be called again.  Failed fsync: what is on disk is not known any more, so the writer takes
no more.  Going on with a file verifies all of it first, about a second a gigabyte.
"""

import contextlib
import fcntl
import json
import os
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Any

import numpy as np

from tickpath.audit_file import (
    BLOCK_BYTES,
    BLOCK_MAGIC,
    DIGEST_BYTES,
    FILE_MAGIC,
    FORMAT_VERSION,
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
    block_parts,
    read_key,
)
from tickpath.audit_schema import Hint, described, same_run
from tickpath.audit_verify import Verdict, verify
from tickpath.audit_walk import Continued, Position, Walk

__all__ = [
    "AuditError",
    "AuditWriter",
    "Continued",
    "DamagedError",
    "Finding",
    "Flaw",
    "Hint",
    "Verdict",
    "read_key",
    "verify",
]

FSYNC = ("always", "interval", "none")
"""When what was written is made to survive a loss of power: in each append, in the first append
that comes `fsync_interval_s` after the last time, or never.  A kill of the process loses nothing
in either.  Closing does it too, except for ``none``."""
_FILE_ID_BYTES = 16
_MAX_COUNT = (1 << 63) - 1


class AuditWriter:
    """Writes one audit file; one thread, one writer a file.

    ``dtype``: packed, little-endian integers and ``S`` text.  ``identity``: what the file says
    about the run, JSON (build version, configuration's digest, strategy); ``identity["tables"]``
    are code tables, ``{"reject": {0: "ACCEPTED", ...}}``.  ``hints``: a `Hint` by field.  A file
    that is there already is gone on with where it has the same dtype, hints, identity and scheme,
    so an identity must not hold what differs between two starts of a run.  ``clock`` gives
    nanoseconds since the Unix epoch.

    Attributes: `continued`, what was found where there was a file already; `head`, `records`,
    `lost`, `next_record`.  Raises `AuditError` for everything that goes wrong.
    """

    _at: Position
    _synced: int  # of the monotonic clock

    def __init__(
        self,
        path: str | os.PathLike[str],
        dtype: np.dtype,
        identity: Mapping[str, Any],
        key: bytes | None = None,
        fsync: str = "interval",
        *,
        hints: Mapping[str, Hint] | None = None,
        fsync_interval_s: float = 1.0,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        if fsync not in FSYNC:
            raise AuditError(f"fsync is one of {', '.join(FSYNC)}, not {fsync!r}")
        self.path = os.fspath(path)
        self.dtype = np.dtype(dtype)
        self.continued: Continued | None = None
        self._chain, self._clock = Chain(key), clock
        self._fsync, self._interval_ns = fsync, int(fsync_interval_s * 1e9)
        self._refuses = ""
        description = described(self.dtype, identity, hints or {})
        self._fd = self._open()
        try:
            if os.fstat(self._fd).st_size == 0:
                self._begin(description)
            else:
                self._go_on(json.loads(description), key)
            self._sync_new()
        except BaseException:
            os.close(self._fd)
            raise

    # ------------------------------------------------------------ what is known

    @property
    def head(self) -> str:
        """The chain's digest as it stands, in hex: to be kept elsewhere."""
        return self._at.previous.hex()

    @property
    def records(self) -> int:
        return self._at.records

    @property
    def lost(self) -> int:
        return self._at.lost

    @property
    def next_record(self) -> int:
        """The number of the next record: records and losses so far."""
        return self._at.next_record

    # ------------------------------------------------------------ writing

    def append(self, records: np.ndarray, lost: int = 0) -> None:
        """Write records, of which ``lost`` more stood before them and are gone.

        ``records`` is one-dimensional and of the file's dtype; it may be empty.  All of them are
        in the file when this returns, none when `AuditError` says that it cannot be written.  Where
        it says that fsync failed they are in the file, and the writer takes no more.
        """
        self._ready()
        if records.dtype != self.dtype or records.ndim != 1:
            raise AuditError(f"{self.path}: records must be one-dimensional, of the file's dtype")
        if not 0 <= lost <= _MAX_COUNT - self.next_record - len(records):
            raise AuditError(f"{self.path}: lost is a count of records, not {lost}")
        payload = np.ascontiguousarray(records).view(np.uint8).data
        size = self.dtype.itemsize
        step = BLOCK_BYTES // size * size
        with self._all_or_nothing():
            if lost and not len(records):
                self._write(BlockKind.RECORDS, b"", 0, lost)
            for begin in range(0, len(payload), step):
                part = payload[begin : begin + step]
                self._write(BlockKind.RECORDS, part, len(part) // size, lost)
                lost = 0
        if self._fsync == "always":
            self.sync()
        elif self._fsync == "interval" and time.monotonic_ns() - self._synced >= self._interval_ns:
            self.sync()

    def sync(self) -> None:
        """Wait until what was written is on the disk."""
        self._ready()
        try:
            os.fdatasync(self._fd)
        except OSError as error:
            self._refuses = f"fsync failed before ({error.strerror}); go on in a new file"
            raise AuditError(
                f"{self.path}: fsync failed: {error.strerror}; what is on disk is not known: "
                "check it with tickpath audit verify, go on in a new file"
            ) from None
        self._synced = time.monotonic_ns()

    def close(self) -> None:
        """Write the end and close the file; does nothing where that was done.

        The file is closed in any case; where `AuditError` is raised it has no end.
        """
        if self._fd < 0:
            return
        try:
            self._ready()
            with self._all_or_nothing():
                self._write(BlockKind.END, TOTALS.pack(*self._at.totals()))
            if self._fsync != "none":
                self.sync()
        finally:
            self._release()

    def _release(self) -> None:
        descriptor, self._fd = self._fd, -1
        os.close(descriptor)

    def __enter__(self) -> "AuditWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close; behind an exception without an end, since the run had none."""
        if kind is None:
            self.close()
        elif self._fd >= 0:
            with contextlib.suppress(AuditError):  # the exception says what went wrong
                if self._fsync != "none":
                    self.sync()
            self._release()

    def _ready(self) -> None:
        if self._fd < 0:
            raise AuditError(f"{self.path}: is closed")
        if self._refuses:
            raise AuditError(f"{self.path}: {self._refuses}")

    def _write(
        self, kind: BlockKind, payload: bytes | memoryview, count: int = 0, lost: int = 0
    ) -> None:
        """Write one block behind the last one."""
        at = self._at
        header = BlockHeader(
            *(BLOCK_MAGIC, kind, at.blocks, at.next_record + lost, count, len(payload), lost),
            *(self._clock(), at.previous, b""),
        )
        packed, digest = block_parts(self._chain, header, payload)
        self._put([packed, payload, digest], at.offset)
        self._at = at.behind(header, digest)

    def _put(self, parts: list[bytes | memoryview], offset: int) -> None:
        """Write the parts at an offset; raises `OSError` with some of them written."""
        left = [memoryview(part) for part in parts if len(part)]
        while left:
            written = os.pwritev(self._fd, left, offset)
            if written <= 0:
                raise OSError(0, "nothing was written")
            offset += written
            while left and written >= len(left[0]):
                written -= len(left.pop(0))
            if written:
                left[0] = left[0][written:]

    @contextlib.contextmanager
    def _all_or_nothing(self, behind: bytes = b"") -> Iterator[None]:
        """Blocks written inside stay only where all of them could be written.

        ``behind``: bytes that stood behind the last sound block and are being written over.
        """
        before = self._at
        try:
            yield
        except BaseException as error:
            self._at = before
            try:
                if behind:
                    self._put([behind], before.offset)
                os.ftruncate(self._fd, before.offset + len(behind))
            except OSError:
                self._refuses = "a block is half written and could not be taken back"
            if isinstance(error, OSError):
                raise AuditError(
                    f"{self.path}: cannot be written: {error.strerror}; it has "
                    f"{before.records} records and is sound; make room and append again"
                    if not self._refuses
                    else f"{self.path}: cannot be written: {error.strerror}; {self._refuses}"
                ) from None
            raise

    # ------------------------------------------------------------ beginning and going on

    def _open(self) -> int:
        """Open or make the file, for this process alone."""
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
        try:
            descriptor = os.open(self.path, flags, 0o600)
        except OSError as error:
            raise AuditError(f"{self.path}: cannot be written: {error.strerror}") from None
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise AuditError(f"{self.path}: is not a file")
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise AuditError(f"{self.path}: is being written by another process") from None
        except OSError as error:
            os.close(descriptor)
            raise AuditError(f"{self.path}: cannot be locked: {error.strerror}") from None
        except AuditError:
            os.close(descriptor)
            raise
        return descriptor

    def _begin(self, description: bytes) -> None:
        preamble = PREAMBLE.pack(
            *Preamble(
                FILE_MAGIC,
                FORMAT_VERSION,
                self._chain.scheme,
                self._clock(),
                os.urandom(_FILE_ID_BYTES),
                self._chain.key_id,
                len(description),
            )
        )
        digest = self._chain.digest(preamble, description)
        self._at = Position(0, b"")
        with self._all_or_nothing():
            self._put([preamble, description, digest], 0)
            self._at = Position(len(preamble) + len(description) + DIGEST_BYTES, digest)

    def _go_on(self, description: dict[str, Any], key: bytes | None) -> None:
        """Verify the file and write behind its last sound block that it goes on."""
        with os.fdopen(os.dup(self._fd), "rb") as file:
            try:
                walk = Walk(file, self.path, key)
            except DamagedError as error:
                raise AuditError(f"{error}; go on in a new file") from None
            same_run(self.path, walk.description, description)
            try:
                for _ in walk:
                    pass
            except DamagedError as error:
                if error.finding.flaw is not Flaw.TORN:
                    raise AuditError(f"{error}; it is damaged: go on in a new file") from None
            self._at = walk.before_end if walk.end else walk.at
            behind = os.pread(self._fd, MAX_PAYLOAD_BYTES + 1, self._at.offset)
            if len(behind) > MAX_PAYLOAD_BYTES:
                raise AuditError(
                    f"{self.path}: at offset {self._at.offset}: more bytes than one block has "
                    "stand behind the last sound one; it is damaged: go on in a new file"
                )
            block = self._at
            with self._all_or_nothing(behind):
                self._write(BlockKind.CONTINUED, behind)
            after = "end" if walk.end else "torn" if behind else "no_end"
            cut = len(behind) if after == "torn" else 0
            head = walk.end.digest if walk.end else None
            self.continued = Continued(block.blocks, after, cut, head)

    def _sync_new(self) -> None:
        """Make the file's beginning, and its name, survive a loss of power."""
        self._synced = time.monotonic_ns()
        if self._fsync == "none":
            return
        self.sync()
        with contextlib.suppress(OSError):  # a directory that cannot be opened for reading
            directory = os.open(os.path.dirname(self.path) or ".", os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)
