"""Records of the input stream made without an engine, and journals of them."""

from collections.abc import Iterable
from pathlib import Path
from random import Random

import numpy as np

from tickpath.publish import checksum
from tickpath.replica.journal import Identity, JournalPolicy, JournalReader, JournalWriter
from tickpath.wire.inputs import INPUTS, Kind

RECORD = INPUTS["record"]
IDENTITY = Identity("1.0", "c0ffee", "samples:taker", "f00d")
SMALL = JournalPolicy(segment_bytes=1 << 16, fsync="none")


def record(number: int, payload: bytes = b"", epoch: int = 1, kind: int = Kind.RUN) -> bytes:
    """A whole record."""
    raw = bytearray(RECORD.encode(number=number, epoch=epoch, length=len(payload), kind=kind))
    raw += payload + bytes(-len(payload) % 8)
    lent = np.frombuffer(raw, np.uint8)
    found = int(checksum(np.uint64(lent.ctypes.data), np.uint64(len(lent))))
    raw[:8] = found.to_bytes(8, "little")
    return bytes(raw)


def made(first: int, last: int, seed: int = 1, epoch: int = 1) -> list[bytes]:
    """Records ``first`` to ``last``; each depends on its number and the seed alone."""
    numbers = range(first, last + 1)
    return [
        record(each, (of := Random(each * 1_000_003 + seed)).randbytes(of.randrange(200)), epoch)
        for each in numbers
    ]


def run(records: Iterable[bytes]) -> np.ndarray:
    """Records one behind the other, as `JournalWriter.append` takes them."""
    return np.frombuffer(b"".join(records), np.uint8)


def journal(place: Path, records: list[bytes], policy: JournalPolicy = SMALL) -> Path:
    """A journal of records that was closed in order."""
    with JournalWriter(place, IDENTITY, policy) as writer:
        writer.append(run(records))
    return place


def killed(place: Path, records: list[bytes], policy: JournalPolicy = SMALL) -> Path:
    """A journal whose writer died behind the last record."""
    writer = JournalWriter(place, IDENTITY, policy)
    writer.append(run(records))
    abandon(writer)
    return place


def abandon(writer: JournalWriter) -> None:
    """Let go of a writer's files as a kill does."""
    writer._close_segment()
    writer.state = writer.state.FAILED
    writer.close()


def all_of(place: Path, first: int = 1, last: int | None = None) -> list[bytes]:
    """Copies of the records that a reader lends."""
    found: list[bytes] = []
    with JournalReader(place, first, last=last) as reader:
        while len(lent := reader.poll(97)):
            found += reader.bytes_of(lent)
            reader.release()
    return found
