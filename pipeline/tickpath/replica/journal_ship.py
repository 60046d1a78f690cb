"""Shipping a journal: another directory becomes its copy, from where the last shipment ended.

    ship("/var/journal", "/mnt/other/journal")

A shipment is frames (`wire.journal`): the receiver says what it has, the sender gives what is
behind.  Both sides verify: the sender never gives a record that is not whole, the receiver takes
none that does not follow its own last one, so a copy has the records of its origin, byte for byte,
or fewer.  Whoever was interrupted begins again; what was half written is cut off first.  A journal
may be shipped while it is written.
"""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from tickpath.replica.journal_frame import Frame
from tickpath.replica.journal_header import (
    DATA_OFFSET,
    SEAL,
    JournalError,
    name_of,
    number_of,
    segments,
)
from tickpath.replica.journal_receipt import Receipt, Shipped
from tickpath.replica.journal_segment import DamagedError, Flaw, Segment
from tickpath.replica.journal_snapshot import flaw_of_snapshot, snapshots
from tickpath.replica.journal_walk import Stop
from tickpath.wire.journal import FrameKind

_BYTES_AT_ONCE = 1 << 20
_RECORDS_AT_ONCE = 16


def shipment(directory: str | os.PathLike[str], has: Iterable[Frame]) -> Iterator[Frame]:
    """Frames with all that a receiver lacks, by what it says that it has.

    Raises `JournalError` where the copy is of another journal or too far behind, `DamagedError`
    where records are damaged: the frames of all before them were given then.
    """
    said = list(has)
    ends = {each.number: each.offset for each in said if each.kind is FrameKind.HAVE}
    kept = {each.number for each in said if each.kind is FrameKind.HAVE_SNAPSHOT}
    newest = max(ends, default=0)
    place = Path(directory)
    for number, path in snapshots(place):
        if number not in kept and not flaw_of_snapshot(path):
            yield from _snapshot(number, path.read_bytes())
    found = [path for path in segments(place) if number_of(path) >= newest]
    if newest and not (found and number_of(found[0]) == newest):
        raise JournalError(
            f"{place}: the copy's last segment, {name_of(newest)}, is not here: it is a copy of "
            "another journal, or fell too far behind; ship to a new place"
        )
    for path in found:
        yield from _segment(path, ends.get(number_of(path), 0), path == found[-1])
    yield Frame(FrameKind.DONE)


def _segment(path: Path, have: int, is_last: bool) -> Iterator[Frame]:
    segment = Segment(path)
    try:
        number = segment.header.first_number
        yield Frame(FrameKind.SEGMENT, number, 0, segment.bytes[:DATA_OFFSET].tobytes())
        sent, why = max(have, DATA_OFFSET), Stop.FULL
        while why is Stop.FULL:
            while why is Stop.FULL and segment.offset - sent < _BYTES_AT_ONCE:
                _, why = segment.lend(None, _RECORDS_AT_ONCE)
            if segment.offset > sent:
                raw = segment.bytes[sent : segment.offset].tobytes()
                yield Frame(FrameKind.BYTES, number, sent, raw)
                sent = segment.offset
        finding = segment.judge(why, is_last)
        if is_last and finding is not None:
            # It may be written just now: what became whole meanwhile comes with the next shipment.
            _, again = segment.lend(None, 1)
            finding = None if segment.offset > sent else segment.judge(again, is_last)
        if finding is not None and finding.flaw is not Flaw.TORN:
            raise DamagedError(path.parent, finding)
        is_sealed = segment.offset <= sent and segment.seal_here is not None
        end = segment.offset + SEAL.length * is_sealed
        if have > end:
            raise JournalError(f"{path}: the copy has more of it than is here: {have} bytes")
        if is_sealed and have < end:
            seal = segment.bytes[segment.offset : end].tobytes()
            yield Frame(FrameKind.BYTES, number, segment.offset, seal)
    finally:
        segment.close()


def _snapshot(number: int, saved: bytes) -> Iterator[Frame]:
    for begin in range(0, len(saved), _BYTES_AT_ONCE):
        part = saved[begin : begin + _BYTES_AT_ONCE]
        yield Frame(FrameKind.SNAPSHOT, number, begin, part)
    yield Frame(FrameKind.SNAPSHOT, number, len(saved))


def ship(directory: str | os.PathLike[str], target: str | os.PathLike[str]) -> Shipped:
    """Bring a copy of a journal in another directory up to date.

    Raises `JournalError`, `DamagedError`; what came before that is in the copy.
    """
    if Path(directory).resolve() == Path(target).resolve():
        raise JournalError(f"{os.fspath(target)}: is the journal itself")
    segments(directory)  # before a directory is made for nothing
    with Receipt(target) as receipt:
        for frame in shipment(directory, receipt.have):
            receipt.take(frame)
        return receipt.shipped
