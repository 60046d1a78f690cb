"""The file of a witness: two slots, written in turn, each with a checksum and a generation.

All of the file is allocated when it is made, so that a disk that fills up later takes nothing away.
A state goes over the *older* slot and is on disk when `write` returns; whatever happens in between,
the newer slot is whole.  A slot with a wrong checksum is therefore a write that a crash cut short,
and nothing was answered for it: it is named in `findings`, the other slot counts.  Since damage to
a finished slot looks the same, the epoch leaps by `LEAP` then, far beyond any that was in use.
With both slots damaged nothing is known, and the file is refused.

A write that fails (no room, whatever the disk says) changes nothing and may be tried again.  After
a failed sync nobody knows what is on disk: every later write is refused until a new start.
"""

import contextlib
import fcntl
import os
from pathlib import Path
from zlib import crc32

import msgspec

from tickpath.failover.lease import MAX_NOTE
from tickpath.failover.witness import MAX_LEAP, WitnessError
from tickpath.failover.witness_message import Kept
from tickpath.wire.witness import FILE_HEADER, FILE_SLOT

MAGIC, FILE_VERSION = b"TPWITNES", 1
BLOCK = 4_096
SLOT_BYTES = 2 * BLOCK
FILE_BYTES = BLOCK + 2 * SLOT_BYTES
LEAP = MAX_LEAP // 2
"""Over the epochs that a damaged slot may have had; elections go up one at a time."""
_CHECKED = FILE_SLOT["length"].offset
"""What the checksum covers begins here."""

assert FILE_SLOT.length + MAX_NOTE <= SLOT_BYTES


def slot_bytes(kept: Kept, generation: int) -> bytes:
    """A slot's content."""
    values = msgspec.structs.asdict(kept)
    length = FILE_SLOT.length + len(kept.note)
    whole = FILE_SLOT.encode(length=length, generation=generation, **values)
    return crc32(whole[_CHECKED:]).to_bytes(_CHECKED, FILE_SLOT.order) + whole[_CHECKED:]  # type: ignore[arg-type]


def slot_of(raw: bytes) -> tuple[int, Kept] | None:
    """(generation, state) of a slot's content; None where it is damaged or was never written."""
    values = FILE_SLOT.decode(raw)
    checksum, length, generation = (
        values.pop(name) for name in ("checksum", "length", "generation")
    )
    if not FILE_SLOT.length <= length <= SLOT_BYTES:
        return None
    if crc32(raw[_CHECKED:length]) != checksum:
        return None
    values["note"] = values["note"][: length - FILE_SLOT.length]
    return generation, Kept(**values)


def new_file(cluster: int, kept: Kept) -> bytes:
    """The content of a file that begins with a state."""
    header = FILE_HEADER.encode(magic=MAGIC, version=FILE_VERSION, cluster=cluster)
    content = header.ljust(BLOCK, b"\0") + slot_bytes(kept, 1).ljust(SLOT_BYTES, b"\0")
    return content.ljust(FILE_BYTES, b"\0")


def state_of(content: bytes, cluster: int, where: str) -> tuple[int, Kept, list[str]]:
    """(generation, state, findings) of a file's content.

    Raises `WitnessError` where it is no witness's file, another cluster's, or damaged throughout.
    """
    if len(content) != FILE_BYTES:
        raise WitnessError(
            f"{where}: {len(content)} bytes, a witness's file has {FILE_BYTES}: it was cut off, or "
            "is something else; move it away and begin anew as after a loss"
        )
    header = FILE_HEADER.decode(content)
    if (header["magic"], header["version"]) != (MAGIC, FILE_VERSION):
        raise WitnessError(f"{where}: not a witness's file of version {FILE_VERSION}")
    if header["cluster"] != cluster:
        raise WitnessError(f"{where}: the file is another cluster's; name that, or another file")
    slots = [content[at : at + SLOT_BYTES] for at in (BLOCK, BLOCK + SLOT_BYTES)]
    read = [slot_of(each) for each in slots]
    whole = [each for each in read if each is not None]
    if not whole:
        raise WitnessError(
            f"{where}: both slots are damaged, so the epochs that were promised are not known; "
            "move it away and begin anew as after a loss"
        )
    generation, kept = max(whole, key=lambda each: each[0])
    damaged = [at for at in (0, 1) if read[at] is None and slots[at].strip(b"\0")]
    if not damaged:
        return generation, kept, []
    finding = (
        f"{where}: slot {damaged[0]} was not written to its end (epoch {kept.epoch} of the other "
        f"counts, the next one is above {kept.epoch + LEAP})"
    )
    leapt = msgspec.structs.replace(kept, epoch=kept.epoch + LEAP, token=0)
    return generation, leapt, [finding]


def next_slot(generation: int) -> int:
    """Where in the file the state after a generation goes."""
    return BLOCK + generation % 2 * SLOT_BYTES


class WitnessFile:
    """See the module's text.  One process at a time has the file open."""

    def __init__(self, path: str | Path, cluster: int):
        """Open a file that exists.  Raises `WitnessError`."""
        self.path = Path(path)
        self.writes = 0
        self._is_lost = False
        try:
            self._file = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise WitnessError(f"{self.path}: cannot be opened: {error.strerror}") from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            content = os.pread(self._file, FILE_BYTES + 1, 0)
            self._generation, self.kept, self.findings = state_of(content, cluster, str(path))
            if self.findings:
                self.write(self.kept)  # the leap must not depend on the damage being seen again
        except BlockingIOError:
            os.close(self._file)
            raise WitnessError(f"{self.path}: another witness has this file open") from None
        except OSError as error:
            os.close(self._file)
            raise WitnessError(f"{self.path}: cannot be read: {error.strerror}") from None
        except WitnessError:
            os.close(self._file)
            raise

    def write(self, kept: Kept) -> None:
        """Put a state on disk.  Raises `WitnessError`; the state before is there then."""
        if self._is_lost:
            raise WitnessError(f"{self.path}: a sync failed before: start the witness again")
        raw = slot_bytes(kept, self._generation + 1)
        try:
            _write_all(self._file, raw, next_slot(self._generation))
        except OSError as error:
            raise WitnessError(f"{self.path}: cannot be written: {error.strerror}") from None
        try:
            os.fdatasync(self._file)
        except OSError as error:
            self._is_lost = True
            raise WitnessError(f"{self.path}: cannot be synced: {error.strerror}") from None
        self._generation += 1
        self.writes += 1
        self.kept = kept

    def close(self) -> None:
        """Let go of the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def create(path: str | Path, cluster: int, kept: Kept) -> None:
    """Make a file, durably, where there is none.  Raises `WitnessError`."""
    path = Path(path)
    draft = path.with_name(path.name + ".new")
    try:
        file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            _write_all(file, new_file(cluster, kept), 0)
            os.fsync(file)
        finally:
            os.close(file)
        os.link(draft, path)  # unlike a rename it does not go over a file that is there
        os.unlink(draft)
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.unlink(draft)
        raise WitnessError(f"{path}: cannot be made: {error.strerror}") from None


def _write_all(file: int, content: bytes, at: int) -> None:
    pending = memoryview(content)
    while pending:
        written = os.pwrite(file, pending, at)
        at, pending = at + written, pending[written:]
