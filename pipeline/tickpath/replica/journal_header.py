"""What stands around the records of a segment: its name, its header, its seal.

A header says what must be equal where the records are replayed (`Identity`), and the number of the
last record before it in the journal: where that is not the one before its own first, records are
missing, and why is said too.
"""

import hashlib
import os
import re
from pathlib import Path
from typing import NamedTuple

from tickpath.replica.error import ReplicaError
from tickpath.wire.inputs import INPUTS
from tickpath.wire.journal import FILE_MAGIC, FORMAT_VERSION, JOURNAL, SEAL_MAGIC, Absence

HEADER = JOURNAL["segment"]
SEAL = JOURNAL["seal"]
DATA_OFFSET = HEADER.length
"""Where the first record of a segment begins."""
RECORD = INPUTS["record"]
DIGEST_BYTES = HEADER["digest"].size
TEXT_BYTES = HEADER["build"].size
_NAME = re.compile(r"inputs-(\d{20})\.tpj")


class JournalError(ReplicaError):
    """A journal that cannot be written, read or replayed; one line: the file, what, what to do."""


class Identity(NamedTuple):
    """What must be equal where records are replayed: texts of at most 64 bytes."""

    build: str = ""
    config: str = ""
    strategy: str = ""
    layout: str = ""

    def difference(self, other: "Identity") -> str:
        """The first thing in which another one differs; empty where nothing does."""
        for name, here, there in zip(self._fields, self, other, strict=True):
            if here != there:
                return f"{name} is {here or 'not said'} here and {there or 'not said'} there"
        return ""


class SegmentHeader(NamedTuple):
    """A segment's header, without magic and digest."""

    first_number: int
    previous_number: int
    epoch: int
    allocated: int
    ts_created: int
    absence: Absence
    identity: Identity

    @property
    def missing(self) -> tuple[int, int] | None:
        """(first, last) number of the records that were not written before this segment."""
        if self.previous_number + 1 >= self.first_number:
            return None
        return self.previous_number + 1, self.first_number - 1


def digest(*parts: bytes | memoryview) -> bytes:
    """64 bits over the parts, one behind the other."""
    hashed = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for part in parts:
        hashed.update(part)
    return hashed.digest()


def name_of(first_number: int) -> str:
    """The name of the segment that begins with a record."""
    return f"inputs-{first_number:020}.tpj"


def segments(directory: str | os.PathLike[str]) -> list[Path]:
    """The journal's segments by rising first number.  Raises `JournalError`."""
    place = Path(directory)
    try:
        return sorted(each for each in place.iterdir() if _NAME.fullmatch(each.name))
    except OSError as error:
        raise JournalError(f"{place}: no journal can be read: {error.strerror}") from None


def number_of(path: Path) -> int:
    """The first record's number that a segment's name says."""
    found = _NAME.fullmatch(path.name)
    assert found is not None
    return int(found[1])


def encode_header(header: SegmentHeader) -> bytes:
    """The bytes of a segment's header.  Raises `JournalError` for an identity that is too long."""
    texts = {}
    for name, text in header.identity._asdict().items():
        raw = text.encode()
        if len(raw) > TEXT_BYTES:
            raise JournalError(f"the journal's {name} takes {TEXT_BYTES} bytes: {text}")
        texts[name] = raw.ljust(TEXT_BYTES, b"\0")
    values = header._asdict() | texts
    del values["identity"]
    raw = HEADER.encode(magic=FILE_MAGIC, format_version=FORMAT_VERSION, **values)
    return raw[:-DIGEST_BYTES] + digest(raw[:-DIGEST_BYTES])


def decode_header(raw: bytes) -> SegmentHeader | str:
    """A segment's header, or what is wrong with it."""
    if len(raw) < HEADER.length:
        return "it ends inside its header"
    if digest(raw[: HEADER.length - DIGEST_BYTES]) != raw[HEADER.length - DIGEST_BYTES :]:
        return "its header is not what was written"
    values = HEADER.decode(raw)
    if values["magic"] != FILE_MAGIC or values["format_version"] != FORMAT_VERSION:
        return "it is no segment of a journal of this version"
    texts = (values[name].rstrip(b"\0").decode("utf-8", "replace") for name in Identity._fields)
    kept = {name: values[name] for name in SegmentHeader._fields if name in values}
    kept |= {"absence": Absence(values["absence"]), "identity": Identity(*texts)}
    return SegmentHeader(**kept)


def encode_seal(first_number: int, last_number: int, offset: int) -> bytes:
    """The bytes of a seal that stands at an offset."""
    raw = SEAL.encode(
        magic=SEAL_MAGIC, first_number=first_number, last_number=last_number, offset=offset
    )
    return raw[:-DIGEST_BYTES] + digest(raw[:-DIGEST_BYTES])
