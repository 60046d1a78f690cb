"""Writing the journal: records appended to segments, durable as a policy says, nothing silent.

    writer = JournalWriter(directory, identity, JournalPolicy(fsync="batch"))
    writer.append(records)            # whole records one behind the other, checked once more
    writer.durable_number             # all records up to this one survive a loss of power

What was checked is what is written: the caller's bytes must not change during `append`.  A segment
has all of its space from the start, so a full disk is met where a segment begins and not inside a
record.  A directory that is there already is gone on with behind its last whole record, in a new
segment; what a killed writer left behind that is cut off and counted, and a journal that is damaged
is not gone on with.

Worst cases.  No space, or a failing disk: with ``stop`` the writer takes no more and says why, so
that the node may stop; with ``drop`` it tries again every `retry_ns`, and the next segment says in
its header which records are missing.  Either is an alarm.  A failed fsync leaves unknown what is on
the disk: that segment gets no more records, and none of them counts as durable.
"""

import os
import time
from collections import Counter as Tally
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
from numba import types

from tickpath.packet import PACKET
from tickpath.replica.journal_disk import FRESH, locked, punch, sync_directory, write
from tickpath.replica.journal_header import (
    DATA_OFFSET,
    RECORD,
    SEAL,
    Identity,
    JournalError,
    SegmentHeader,
    encode_header,
    encode_seal,
    name_of,
    number_of,
    segments,
)
from tickpath.replica.journal_resume import resume
from tickpath.replica.journal_walk import WALK, Stop, lend
from tickpath.wire.inputs import ALIGNMENT
from tickpath.wire.journal import Absence

_RECORDS_AT_ONCE = 4096
_LEAST_SEGMENT = 1 << 16


class JournalPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a journal is written."""

    segment_bytes: int = 64 << 20
    fsync: Literal["none", "segment", "interval", "batch", "record"] = "interval"
    """When records are made durable: never; with their segment; every `fsync_interval_ns`; after
    each append; after each record."""
    fsync_interval_ns: int = 10_000_000
    on_failure: Literal["stop", "drop"] = "stop"
    retry_ns: int = 1_000_000_000
    """``drop``: how long to wait until space is looked for again."""


class State(Enum):
    """What a writer does with records."""

    WRITING = "writing"
    DROPPING = "dropping"
    FAILED = "failed"
    CLOSED = "closed"


class JournalWriter:
    """Writes one directory; one thread, one writer a directory.

    Attributes: ``state``; ``failure``, why it writes no more; ``last_number``, of the last record
    in the journal, 0: none; ``durable_number``; ``missing``, (first, last) of the records that the
    newest absence has left out, or None; ``counters``: records, bytes, segments, syncs, dropped,
    absences, repeated, torn, torn_bytes, failures.  ``alarm`` is called with a line for everything
    that somebody has to see.  Raises `JournalError`.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        identity: Identity,
        policy: JournalPolicy | None = None,
        *,
        alarm: Callable[[str], None] | None = None,
        clock: Callable[[], int] = time.time_ns,
        monotonic: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.directory, self.identity = Path(directory), identity
        self.policy = policy or JournalPolicy()
        if self.policy.segment_bytes < _LEAST_SEGMENT:
            raise JournalError(f"segments of at least {_LEAST_SEGMENT} bytes are needed")
        self.state, self.failure = State.WRITING, ""
        self.last_number = self.durable_number = 0
        self.missing: tuple[int, int] | None = None
        self.counters: Tally[str] = Tally()
        self._alarm, self._clock, self._monotonic = alarm or (lambda _: None), clock, monotonic
        self._fd = -1
        self._absence = Absence.AWAY
        self._epoch = 0
        self._synced_ns = self._failed_ns = monotonic()
        # Now, so that no record waits for it.
        lend.compile((types.uint64,) * 3)  # type: ignore[attr-defined]
        self._packets = np.zeros(_RECORDS_AT_ONCE, PACKET)
        self._walk = np.zeros(1, WALK)
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            self._lock = locked(self.directory)
            try:
                found = resume(self.directory, identity, self._alarm)
            except BaseException:
                os.close(self._lock)
                raise
        except OSError as error:
            raise JournalError(
                f"{self.directory}: no journal can be written: {error.strerror}"
            ) from None
        self.last_number = self.durable_number = found.last_number
        self._epoch = found.epoch
        self.counters["torn"], self.counters["torn_bytes"] = found.torn, found.torn_bytes

    # ------------------------------------------------------------ writing

    def append(self, records: np.ndarray) -> None:
        """Write whole records, ``uint8``, that stand one behind the other.

        Those that the journal has already are compared with it and counted.  Returns when they are
        written, and durable where the policy says so; with ``drop`` also when they were counted as
        missing.  Raises `JournalError` where the writer stops; all before them is written then.
        """
        if self.state in (State.FAILED, State.CLOSED):
            raise JournalError(self.failure or f"{self.directory}: the journal is closed")
        most = 1 if self.policy.fsync == "record" else _RECORDS_AT_ONCE
        at = 0
        while at < len(records):
            first, sizes = self._checked(records, at, most)
            self._take(records, at, first, sizes)
            at += int(sizes.sum())

    @staticmethod
    def _number_at(records: np.ndarray, at: int) -> int:
        raw = records[at : at + RECORD.length].tobytes()
        return RECORD.decode(raw)["number"] if len(raw) == RECORD.length else 0

    def _checked(self, records: np.ndarray, at: int, most: int) -> tuple[int, np.ndarray]:
        """(number of the first, sizes) of the next whole records in turn."""
        begin = np.uint64(int(records.ctypes.data) + at)
        end = np.uint64(int(records.ctypes.data) + len(records))
        self._walk[0] = (begin, end, 0, 0)
        if self._number_at(records, at) > self.last_number:
            self._walk["epoch"] = self._epoch
        state, address = np.uint64(self._walk.ctypes.data), np.uint64(self._packets.ctypes.data)
        number, why = lend(state, address, np.uint64(most))
        if not number:
            wrong = Stop(why).name.lower()
            raise self.fail(f"a record that cannot be journalled: {wrong}; was memory damaged?")
        first = int(self._walk["expected"][0]) - int(number)
        return first, self._packets["length"][: int(number)].astype(np.int64)

    def _take(self, records: np.ndarray, at: int, first: int, sizes: np.ndarray) -> None:
        """Write records that were checked, as many of them as are new."""
        known = min(max(0, self.last_number + 1 - first), len(sizes))
        if known and self.last_number:
            self._compare(records[at : at + int(sizes[:known].sum())], first)
            self.counters["repeated"] += known
        ends = np.cumsum(sizes)
        while known < len(sizes):
            number = first + known
            begin = at + (int(ends[known - 1]) if known else 0)
            if not self._may_write(number, records[begin:]):
                self.counters["dropped"] += len(sizes) - known
                return
            room = self._allocated - SEAL.length - self._end
            fits = int(np.searchsorted(ends, begin - at + room, side="right")) - known
            if not fits:
                self._end_segment()
                continue
            finish = at + int(ends[known + fits - 1])
            if self._write_through(records[begin:finish], number + fits - 1):
                self.counters["records"] += fits
                known += fits

    def _may_write(self, number: int, records: np.ndarray) -> bool:
        """Whether there is a segment that goes on with record ``number``; begins one."""
        expected = self.last_number + 1
        if self.last_number and number > expected:
            if self._absence is Absence.NONE:
                raise self.fail(f"records {expected} to {number - 1} did not come")
            if self._fd >= 0:
                self._end_segment()
        if self._fd >= 0:
            return True
        if self.state is State.DROPPING:
            if self._monotonic() - self._failed_ns < self.policy.retry_ns:
                return False
        elif self.state is State.FAILED:
            raise JournalError(self.failure)
        return self._begin(number, records)

    def _begin(self, number: int, records: np.ndarray) -> bool:
        """Make a segment whose first record is ``number``, the first of ``records``."""
        header, size = RECORD.decode(records[: RECORD.length].tobytes()), size_at(records, 0)
        previous = self.last_number or number - 1
        of = SegmentHeader(
            first_number=number,
            previous_number=previous,
            epoch=header["epoch"],
            allocated=max(self.policy.segment_bytes, DATA_OFFSET + size + SEAL.length),
            ts_created=self._clock(),
            absence=self._absence if previous + 1 < number else Absence.NONE,
            identity=self.identity,
        )
        try:
            self._make(of)
        except OSError as error:
            self._troubled(error, f"segment {name_of(number)} cannot be made")
            return False
        if of.missing:
            self.missing = of.missing
            self.counters["absences"] += 1
            self._alarm(
                f"{self.directory}: records {of.missing[0]} to {of.missing[1]} are not in the "
                f"journal ({of.absence.name.lower()}): store a snapshot"
            )
        self.state, self._absence = State.WRITING, Absence.NONE
        self.failure = ""
        self.counters["segments"] += 1
        return True

    def _make(self, header: SegmentHeader) -> None:
        path = self.directory / name_of(header.first_number)
        fresh = path.with_name(path.name + FRESH)
        descriptor = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, header.allocated)
            write(descriptor, encode_header(header), 0)
            if self.policy.fsync != "none":
                os.fsync(descriptor)
            os.replace(fresh, path)
            if self.policy.fsync != "none":
                sync_directory(self.directory)
        except BaseException:
            os.close(descriptor)
            with suppress(OSError):
                fresh.unlink()
            raise
        self._fd, self._path = descriptor, path
        self._first, self._allocated, self._end = header.first_number, header.allocated, DATA_OFFSET

    def _write_through(self, records: np.ndarray, last: int) -> bool:
        """Write records into the segment and make them durable; False where that failed."""
        try:
            write(self._fd, records.data, self._end)
        except OSError as error:
            self._abandon(len(records))
            self._troubled(error, f"{self._path.name} cannot be written")
            return False
        self._end += len(records)
        self.last_number, self._epoch = last, int(self._walk["epoch"][0])
        self.counters["bytes"] += len(records)
        if self.policy.fsync in ("batch", "record"):
            self.sync()
        elif self.policy.fsync == "none":
            self.durable_number = last
        else:
            self.tick()
        return True

    # ------------------------------------------------------------ durability

    def tick(self) -> None:
        """Let time pass: what has waited for its interval is made durable."""
        if self.policy.fsync == "interval" and self._fd >= 0:
            waited = self._monotonic() - self._synced_ns
            if self.durable_number < self.last_number and waited >= self.policy.fsync_interval_ns:
                self.sync()

    def sync(self) -> None:
        """Make durable what was written.  Raises `JournalError` with ``stop``, where it fails."""
        if self._fd < 0:
            return
        try:
            os.fdatasync(self._fd)
        except OSError as error:
            self._close_segment()
            self.missing = (self.durable_number + 1, self.last_number)
            self._troubled(error, f"{self._path.name}: what is on the disk is not known, fsync")
            return
        self.counters["syncs"] += 1
        self.durable_number, self._synced_ns = self.last_number, self._monotonic()

    def _end_segment(self) -> None:
        """Seal the segment; what is left of its space is given back."""
        try:
            write(self._fd, encode_seal(self._first, self.last_number, self._end), self._end)
            punch(self._fd, self._end + SEAL.length, self._allocated)
        except OSError as error:
            self._abandon(SEAL.length)
            self._troubled(error, f"{self._path.name} cannot be sealed")
            return
        if self.policy.fsync != "none":
            self.sync()
        self._close_segment()

    def _close_segment(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _abandon(self, length: int) -> None:
        """Leave a segment that cannot be written; what it got of ``length`` bytes goes, if it can.

        Where it cannot, the next segment's header still says which record was the last.
        """
        with suppress(OSError):
            write(self._fd, bytes(min(length, self._allocated - self._end)), self._end)
        self._close_segment()

    def mark_absence(self, absence: Absence) -> None:
        """State why the records that come next do not follow the last ones.

        With ``stop`` that is a failure: raises `JournalError`.
        """
        if self.policy.on_failure == "stop":
            raise self.fail("records were lost before they came here: the ring was too small")
        self._absence = absence

    def _troubled(self, error: OSError, what: str) -> None:
        """The disk failed: stop, or go on without, as the policy says."""
        text = f"{what}: {error.strerror}"
        if self.policy.on_failure == "stop":
            raise self.fail(text) from None
        self.counters["failures"] += 1
        if self.state is State.WRITING:
            self._alarm(f"{self.directory}: {text}; records are dropped until there is space")
        self.state, self._absence = State.DROPPING, Absence.NO_SPACE
        self.failure, self._failed_ns = f"{self.directory}: {text}", self._monotonic()

    def fail(self, text: str) -> JournalError:
        """Write no more, for a reason; gives what is to be raised."""
        self.counters["failures"] += 1
        self.state, self.failure = State.FAILED, f"{self.directory}: {text}"
        self._close_segment()
        self._alarm(f"{self.failure}; the journal has stopped at record {self.last_number}")
        return JournalError(f"{self.failure}; the journal has stopped at record {self.last_number}")

    def _compare(self, records: np.ndarray, first: int) -> None:
        """Records that are in the journal already must be those that came again."""
        from tickpath.replica.journal import JournalReader

        first_kept = number_of(segments(self.directory)[0])
        at, number = 0, first
        while number < first_kept and at < len(records):
            at += size_at(records, at)
            number += 1
        if at == len(records):
            return
        with JournalReader(self.directory, number, last=self.last_number) as reader:
            while at < len(records) and len(lent := reader.poll(_RECORDS_AT_ONCE)):
                for kept in reader.bytes_of(lent):
                    if at < len(records) and records[at : at + len(kept)].tobytes() != kept:
                        raise self.fail(
                            f"another history: record {number} came again and is not the one "
                            "that is here; go on in a new directory"
                        )
                    at += len(kept)
                    number += 1

    def close(self) -> None:
        """Seal and close; does nothing where that was done."""
        if self.state is State.CLOSED:
            return
        try:
            if self._fd >= 0 and self.state is not State.FAILED:
                self._end_segment()
        finally:
            self._close_segment()
            os.close(self._lock)
            self.state = State.CLOSED

    def __enter__(self) -> "JournalWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def size_at(records: np.ndarray, at: int) -> int:
    """Bytes that the record at an offset takes."""
    length = RECORD.decode(records[at : at + RECORD.length].tobytes())["length"]
    return RECORD.length + -(-length // ALIGNMENT) * ALIGNMENT
