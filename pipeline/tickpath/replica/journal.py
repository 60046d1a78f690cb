"""Reading the journal: records from a number on, lent in place, as the ring lends them.

    with JournalReader(directory, first=1_000) as reader:
        while len(packets := reader.poll(4096)):
            engine.process(packets)               # `LINK_INPUT`: as any follower of the ring
            reader.release()

The files may be written meanwhile: a record that is not whole yet is waited for.  Every record's
checksum and number are verified before it is lent.  Where records are missing or damaged the reader
raises and lends nothing behind that place; `replica.journal_verify` goes on and names everything.
"""

import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tickpath.packet import PACKET
from tickpath.replica.journal_disk import is_being_written
from tickpath.replica.journal_header import Identity, JournalError, number_of, segments
from tickpath.replica.journal_segment import DamagedError, Finding, Flaw, Segment
from tickpath.replica.journal_walk import Stop
from tickpath.replica.journal_writer import JournalPolicy, JournalWriter

__all__ = [
    "DamagedError",
    "EndsBeforeError",
    "Finding",
    "Flaw",
    "Identity",
    "JournalError",
    "JournalPolicy",
    "JournalReader",
    "JournalWriter",
]

NONE = np.zeros(0, PACKET)


class EndsBeforeError(JournalError):
    """A journal that ends before the record that was asked for."""


class JournalReader:
    """Lends the records of a directory's segments; follows a journal that is being written."""

    def __init__(
        self, directory: str | os.PathLike[str], first: int = 1, *, last: int | None = None
    ) -> None:
        """Stand before record ``first``, at the earliest the one behind the last that there is.

        ``last``: no record behind this one is lent.  Raises `JournalError` where the journal begins
        behind ``first``, `EndsBeforeError` where it ends before, `DamagedError` where records
        before it cannot be passed over.
        """
        self.directory = Path(directory)
        self.last = last
        self.number = first
        """Number of the next record."""
        self._segment: Segment | None = None
        self._end_at = -1  # offset at which the last segment may end
        self._open_at(first)

    @property
    def identity(self) -> Identity:
        """Of the run whose records are read now."""
        return Identity() if self._segment is None else self._segment.header.identity

    def _open_at(self, first: int) -> None:
        """Open the segment that has a record, and pass over those before it."""
        found = segments(self.directory)
        before = [each for each in found if number_of(each) <= first]
        if found and not before:
            raise JournalError(
                f"{self.directory}: the journal begins with record {number_of(found[0])}: record "
                f"{first} is not there, begin with a newer snapshot"
            )
        if not before:
            return
        self._segment = Segment(before[-1])
        self.number = self._segment.expected
        while self.number < first:
            if not self._advance(None, first - self.number):
                raise EndsBeforeError(
                    f"{self.directory}: the journal ends with record {self.number - 1}, "
                    f"before {first}"
                )

    # ------------------------------------------------------------ lending

    def poll(self, most: int) -> np.ndarray:
        """Up to ``most`` lent `PACKET` records, in order; none: nothing more is there yet."""
        if self.last is not None:
            most = min(most, self.last + 1 - self.number)
        if most <= 0 or not self._has_segment():
            return NONE
        packets = np.zeros(most, PACKET)
        return packets[: self._advance(packets, most)]

    def release(self) -> None:
        """What the last `poll` lent may go; it stays until the next one."""

    def bytes_of(self, packets: np.ndarray) -> Iterator[bytes]:
        """Copies of records that are lent."""
        for address, length in zip(
            packets["address"].tolist(), packets["length"].tolist(), strict=True
        ):
            yield ctypes.string_at(address, length)

    def _has_segment(self) -> bool:
        if self._segment is None:
            self._open_at(self.number)
        return self._segment is not None

    def _advance(self, packets: np.ndarray | None, most: int) -> int:
        """Pass over up to ``most`` records of one segment; 0: there are no more yet."""
        while True:
            here = self._segment
            assert here is not None
            if here.expected != self.number:
                self._refuse_absence(self.number)
            passed, why = here.lend(packets, most)
            following = None if passed else self._following(here)
            if not passed and following is not None:
                # What was written before that file was made is there by now.
                passed, why = here.lend(packets, most)
            if not passed and following is None and not self._is_end(here, why):
                passed, why = here.lend(packets, most)
                finding = None if passed else here.judge(why, is_last=True)
                if finding is not None:
                    raise DamagedError(self.directory, finding)
            if passed or following is None:
                self.number += passed
                return passed
            self._go_over(here, following, why)

    def _following(self, here: Segment) -> Path | None:
        """The file behind this one, where there is one."""
        behind = [
            each for each in segments(self.directory) if number_of(each) > here.header.first_number
        ]
        return behind[0] if behind else None

    def _is_end(self, here: Segment, why: Stop) -> bool:
        """Whether the journal may end where the walk of its last segment did."""
        if here.offset == self._end_at:
            return True
        if why is Stop.UNWRITTEN and is_being_written(self.directory):
            return True  # looking at all of what is not written yet would take too long
        finding = here.judge(why, is_last=True)
        # A record that was being written when the walk came to it may be whole by now.
        if finding is None or finding.flaw is Flaw.TORN:
            self._end_at = here.offset
            return True
        return False

    def _go_over(self, here: Segment, path: Path, why: Stop) -> None:
        """Go on with the next segment, which says the last record of the one before it."""
        following = Segment(path)
        try:
            finding = here.judge(why, following.header.previous_number == here.expected - 1)
            if finding is None or finding.flaw is Flaw.TORN:
                finding = unlinked(following, here.expected - 1)
            if finding is not None:
                raise DamagedError(self.directory, finding)
        except BaseException:
            following.close()
            raise
        here.close()
        self._segment, self._end_at = following, -1

    def _refuse_absence(self, number: int) -> None:
        assert self._segment is not None
        header = self._segment.header
        raise JournalError(
            f"{self._segment.path}: records {number} to {header.first_number - 1} are not in the "
            f"journal ({header.absence.name.lower()}): begin with a newer snapshot"
        )

    def close(self) -> None:
        """Let go of the files; what is lent is gone."""
        if self._segment is not None:
            self._segment.close()
            self._segment = None

    def __enter__(self) -> "JournalReader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def unlinked(following: Segment, last: int) -> Finding | None:
    """What is wrong where a segment does not say the last record of the one before it."""
    previous = following.header.previous_number
    if previous == last:
        return None
    if previous > last:
        flaw, text = Flaw.SEGMENT, f"records {last + 1} to {previous} before it are missing"
    else:
        flaw, text = Flaw.ORDER, f"it follows record {previous}, before it stands {last}"
    return Finding(flaw, following.path.name, 0, following.header.first_number, text)
