"""Taking up a journal whose writer ended or died: where its last whole record is.

The last segment is sealed there, so that nothing is ever written behind what a writer left; bytes
of a record that was not whole are cut off and counted.  A segment without a record goes.  What is
damaged otherwise, or is another run's, is refused and stays as it is.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tickpath.replica.journal_disk import FRESH, punch, write
from tickpath.replica.journal_header import (
    SEAL,
    Identity,
    JournalError,
    SegmentHeader,
    encode_seal,
    segments,
)
from tickpath.replica.journal_segment import Extent, Segment


@dataclass
class Found:
    """What a directory held."""

    last_number: int = 0
    epoch: int = 0
    torn: int = 0
    """Segments that ended in bytes of a record that was not whole."""
    torn_bytes: int = 0


def resume(directory: Path, identity: Identity, alarm: Callable[[str], None]) -> Found:
    """Find the last whole record, and end the segment that it stands in.

    Raises `JournalError` where the journal is damaged or another run's, `OSError`.
    """
    for left in directory.glob(f"*{FRESH}"):
        left.unlink()
    found, paths = Found(), segments(directory)
    while paths and not _end(found, paths[-1], identity, alarm):
        paths.pop().unlink()
    return found


def _end(found: Found, path: Path, identity: Identity, alarm: Callable[[str], None]) -> bool:
    """Take up behind a segment; False where its writer died before it had a record."""
    if not np.fromfile(path, np.uint8).any():
        # Its name was on the disk before its bytes were.
        found.torn += 1
        return False
    segment = Segment(path)
    try:
        header, extent = segment.header, segment.extent(is_last=True)
        torn = len(segment.bytes[extent.end :].tobytes().rstrip(b"\0")) if extent.torn else 0
    finally:
        segment.close()
    if extent.damage is not None:
        raise JournalError(
            f"{path.parent}: {extent.damage}; it is damaged: go on in a new directory, "
            "from a snapshot of a standby"
        )
    if difference := identity.difference(header.identity):
        raise JournalError(f"{path}: {difference}: go on in a new directory")
    if torn:
        found.torn += 1
        found.torn_bytes += torn
        alarm(f"{path}: {torn} bytes of a record that was not whole are cut off")
    if extent.last_number < header.first_number:
        found.last_number = header.previous_number
        return False
    found.last_number, found.epoch = extent.last_number, extent.epoch
    _seal(path, header, extent, torn)
    return True


def _seal(path: Path, header: SegmentHeader, extent: Extent, torn: int) -> None:
    """Cut off what is torn, seal, and make durable what its writer may not have."""
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        if not extent.is_sealed:
            seal = encode_seal(header.first_number, extent.last_number, extent.end)
            write(descriptor, bytes(torn), extent.end)
            write(descriptor, seal, extent.end)
            punch(descriptor, extent.end + SEAL.length, header.allocated)
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)
