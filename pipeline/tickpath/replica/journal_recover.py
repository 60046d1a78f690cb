"""Recovery: the newest whole snapshot and the records behind it give the same state again.

    recovered = recover(engine, directory)      # the engine stands behind `recovered.last_number`

Every record says how the engine stood that wrote it, so replaying proves itself: an engine that
comes to stand otherwise says at which record (`Recovered.divergence`).  Orders that the records
make go where the engine's orders go; what was sent already is known by ``order_position``.
"""

import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from tickpath import __version__
from tickpath.engine import Engine
from tickpath.follower import Divergence
from tickpath.layout import REGIONS
from tickpath.replica.journal import EndsBeforeError, JournalReader
from tickpath.replica.journal_header import (
    TEXT_BYTES,
    Identity,
    JournalError,
    digest,
    number_of,
    segments,
)
from tickpath.replica.journal_snapshot import snapshots
from tickpath.snapshot_stream import SnapshotError
from tickpath.strategy import find

RECORDS_AT_ONCE = 4096
_EVERYTHING = (1 << 64) - 1


class Recovered(NamedTuple):
    """What a recovery did."""

    snapshot: int | None
    """Record number of the snapshot that it began with; None: with nothing."""
    refused: tuple[str, ...]
    """Newer snapshots that could not be used, and why."""
    records: int
    """Taken behind the snapshot."""
    last_number: int
    """Of the last record whose effect the engine has."""
    divergence: Divergence
    diverged_at: int | None
    """The record that the engine refused."""
    identity: Identity
    """Of the run that wrote the last record."""


def identity_of(engine: Engine) -> Identity:
    """The identity of an engine's run, as its journal says it."""
    kinds = repr([(region.name, region.dtype.descr) for region in REGIONS]).encode()
    strategy = "" if engine.strategy is None else strategy_text(str(engine.strategy.name))
    return Identity(__version__, engine.config.digest(), strategy, digest(kinds).hex())


def strategy_text(name: str) -> str:
    """A strategy's name, and a digest of the file that it is in, where it has one."""
    found: Any = find(name) if ":" in name else None
    try:
        source = inspect.getsourcefile(getattr(found, "py_func", found)) if found else None
        code = digest(Path(source).read_bytes()).hex() if source else ""
    except (OSError, TypeError):
        code = ""
    room = TEXT_BYTES - len(code) - 1
    return f"{name.encode()[-room:].decode('utf-8', 'ignore')} {code}".rstrip()


def recover(
    engine: Engine,
    directory: str | os.PathLike[str],
    *,
    to: int | None = None,
    identity: Identity | None = None,
    progress: Callable[[int], None] | None = None,
) -> Recovered:
    """Bring an engine to the state behind the journal's last record, or behind record ``to``.

    Without a snapshot the engine must be one that has taken no record.  ``identity``: where the
    journal's differs nothing is done.  ``progress`` gets the number of the last record taken.

    Raises `JournalError` where records are missing, `DamagedError` where they are damaged; the
    engine then stands behind the last record before that.
    """
    place = Path(directory)
    _check_identity(place, identity)
    base, refused = _restored(engine, place, to)
    taken, last_identity = 0, Identity()
    start = base if base is not None else engine.block.get("record_number")
    try:
        reader = JournalReader(place, start + 1, last=to)
    except EndsBeforeError:
        # The newest records were not kept; the snapshot stands for them.
        if base is None:
            raise
        return Recovered(base, refused, 0, base, Divergence.NONE, None, last_identity)
    with reader:
        while len(packets := reader.poll(RECORDS_AT_ONCE)):
            engine.process(packets)
            reader.release()
            taken = engine.block.get("record_number") - start
            if engine.divergence is not Divergence.NONE:
                break
            if progress is not None:
                progress(start + taken)
        last_identity = reader.identity
    last = start + taken
    if to is not None and last < to and engine.divergence is Divergence.NONE:
        raise JournalError(f"{place}: the journal ends with record {last}, before {to}")
    diverged_at = None if engine.divergence is Divergence.NONE else last + 1
    return Recovered(base, refused, taken, last, engine.divergence, diverged_at, last_identity)


def _check_identity(directory: Path, identity: Identity | None) -> None:
    if identity is None:
        return
    found = segments(directory)
    if not found:
        return
    with JournalReader(directory, number_of(found[-1])) as reader:
        if difference := identity.difference(reader.identity):
            raise JournalError(f"{directory}: {difference}: recover with what wrote the journal")


def _restored(
    engine: Engine, directory: Path, to: int | None
) -> tuple[int | None, tuple[str, ...]]:
    """(record number of the newest snapshot that can be restored, those that cannot)."""
    refused = []
    most = _EVERYTHING if to is None else to
    for number, path in reversed(snapshots(directory)):
        if number > most:
            continue
        try:
            engine.restore(path.read_bytes())
        except (SnapshotError, OSError) as error:
            refused.append(f"{path.name}: {error}")
            continue
        if engine.block.get("record_number") == number:
            engine.begin_to_follow()
            return number, tuple(refused)
        raise JournalError(
            f"{path}: it was taken behind record {engine.block.get('record_number')}, "
            "its name says another"
        )
    return None, tuple(refused)
