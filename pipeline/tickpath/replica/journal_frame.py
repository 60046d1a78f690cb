"""Frames of a shipment: a header (`wire.journal`), a body, and a digest over both."""

from collections.abc import Iterator
from typing import NamedTuple

from tickpath.replica.journal_header import DIGEST_BYTES, JournalError, digest
from tickpath.wire.journal import JOURNAL, FrameKind

FRAME = JOURNAL["frame"]
MAX_BODY = 1 << 28
"""Longer frames are refused."""


class Frame(NamedTuple):
    """One frame; ``number``: of a segment's first record, or of a snapshot."""

    kind: FrameKind
    number: int = 0
    offset: int = 0
    body: bytes = b""


def encode(frame: Frame) -> bytes:
    """A frame's bytes."""
    kind, number, offset, body = frame
    head = FRAME.encode(kind=kind, length=len(body), number=number, offset=offset)
    head = head[:-DIGEST_BYTES]
    return head + digest(head, body) + body


class Frames:
    """Frames from a stream of bytes that is cut anywhere."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, received: bytes) -> Iterator[Frame]:
        """The frames that are whole now.  Raises `JournalError` for what is none."""
        self._rest += received
        while len(self._rest) >= FRAME.length:
            head = FRAME.decode(bytes(self._rest[: FRAME.length]))
            if head["length"] > MAX_BODY:
                raise JournalError(f"a frame of {head['length']} bytes: no shipment of a journal")
            end = FRAME.length + head["length"]
            if len(self._rest) < end:
                return
            body = bytes(self._rest[FRAME.length : end])
            said = bytes(self._rest[: FRAME.length - DIGEST_BYTES])
            if digest(said, body) != head["digest"] or head["kind"] not in set(FrameKind):
                raise JournalError("a frame that is not what was sent: no shipment of a journal")
            del self._rest[:end]
            yield Frame(FrameKind(head["kind"]), head["number"], head["offset"], body)
