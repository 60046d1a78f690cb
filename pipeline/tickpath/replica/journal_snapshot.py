"""Snapshots beside the journal, and how far back it is kept.

    snapshot-00000000000000001000.tps    the state behind record 1,000: `Engine.snapshot`'s bytes

A snapshot is taken on a standby, not on the active engine, and is in the directory whole or not at
all.  Keeping is counted in whole snapshots: segments go only where a snapshot that was just read
and found sound stands for every record in them, the oldest first.
"""

import os
import re
from itertools import pairwise
from pathlib import Path

from tickpath.replica.journal_disk import store
from tickpath.replica.journal_header import JournalError, number_of, segments

_NAME = re.compile(r"snapshot-(\d{20})\.tps")


def name_of_snapshot(number: int) -> str:
    """The name of the snapshot behind a record."""
    return f"snapshot-{number:020}.tps"


def store_snapshot(directory: str | os.PathLike[str], number: int, saved: bytes) -> Path:
    """Keep `Engine.snapshot` bytes, taken behind record ``number``.  Raises `JournalError`."""
    path = Path(directory) / name_of_snapshot(number)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        store(path, saved)
    except OSError as error:
        raise JournalError(f"{path}: cannot be written: {error.strerror}") from None
    return path


def snapshots(directory: str | os.PathLike[str]) -> list[tuple[int, Path]]:
    """(record number, path) of the snapshots, the oldest first.  Raises `JournalError`."""
    place = Path(directory)
    try:
        names = sorted(each.name for each in place.iterdir())
    except OSError as error:
        raise JournalError(f"{place}: no journal can be read: {error.strerror}") from None
    found = (_NAME.fullmatch(name) for name in names)
    return [(int(each[1]), place / each[0]) for each in found if each]


def flaw_of_snapshot(path: Path) -> str:
    """What is wrong with a snapshot's bytes; empty where they are what was stored."""
    from tickpath.snapshot_stream import SnapshotError, unpack

    try:
        found = unpack(path.read_bytes())
        number = int(found["engine"]["record_number"][0])
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    except (SnapshotError, KeyError, ValueError, IndexError) as error:
        return str(error)
    if path.name != name_of_snapshot(number):
        return f"it was taken behind record {number}, its name says another"
    return ""


def retain(directory: str | os.PathLike[str], kept: int = 2) -> list[Path]:
    """Remove what is older than the newest ``kept`` whole snapshots; gives what was removed.

    The newest segment stays.  Nothing goes where there are fewer whole snapshots.  Raises
    `JournalError`.
    """
    if kept < 1:
        raise JournalError(f"{kept} snapshots cannot be kept: at least 1")
    whole = [each for each in reversed(snapshots(directory)) if not flaw_of_snapshot(each[1])]
    if len(whole) < kept:
        return []
    oldest = whole[kept - 1][0]
    found = segments(directory)
    # A segment ends, at the latest, before the next one begins.
    old = [each for each, following in pairwise(found) if number_of(following) <= oldest + 1]
    old += [path for number, path in snapshots(directory) if number < oldest]
    try:
        for each in old:
            each.unlink()
    except OSError as error:
        raise JournalError(f"{error.filename}: cannot be removed: {error.strerror}") from None
    return old
