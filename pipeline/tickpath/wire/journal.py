"""The journal of inputs: what stands around the records in its files, and how they are shipped.

    segment header     who wrote it, which records come, what is missing before them
    record             as in the ring (`tickpath.wire.inputs`), one behind the other
    seal               the segment ended here in order; zeros up to the file's end

A shipment is frames, each this header and its body: a segment's header, bytes behind a segment's
present end, a part of a snapshot, or what the other side has of a segment.
"""

from enum import IntEnum

from tickpath.wire.table import Message, Protocol

FILE_MAGIC = b"tpinputs"
SEAL_MAGIC = b"tpsealed"
FORMAT_VERSION = 2
"""2: a header's ``config`` covers the engine's configuration alone, not where neighbours are."""


class Absence(IntEnum):
    """Why the records before a segment's first one are not in the journal."""

    NONE = 0
    """They are, or the journal begins here."""
    NO_SPACE = 1
    """There was no space for them, or the disk failed."""
    LAPPED = 2
    """The ring had been written over before they were read."""
    AWAY = 3
    """No journal was being written."""


class FrameKind(IntEnum):
    """What a frame says."""

    HAVE = 1
    """The receiver has a segment as far as ``offset``."""
    HAVE_SNAPSHOT = 2
    """The receiver has a snapshot."""
    READY = 3
    """The receiver has said what it has."""
    SEGMENT = 4
    """The body is a segment's header."""
    BYTES = 5
    """The body is what stands in a segment from ``offset`` on: whole records, or its seal."""
    SNAPSHOT = 6
    """The body is a snapshot's bytes from ``offset`` on; an empty one ends it."""
    DONE = 7
    """All that there was has come; the receiver says so back when it is on its disk."""
    REFUSED = 8
    """Why the receiver takes no more; the body is text."""


JOURNAL = Protocol(
    "journal",
    (
        Message(
            "",
            "segment",
            512,
            (
                ("magic", "bytes:8"),
                ("format_version", "u32"),
                ("absence", "u32"),  # `Absence`
                ("first_number", "u64"),
                ("previous_number", "u64"),  # of the last record before it that is in the journal
                ("epoch", "u64"),  # of the first record
                ("ts_created", "u64"),  # nanoseconds since the Unix epoch
                ("allocated", "u64"),  # bytes of the file, from its making on
                ("build", "bytes:64"),
                ("config", "bytes:64"),
                ("strategy", "bytes:64"),
                ("layout", "bytes:64"),
                ("reserved", "bytes:192"),
                ("digest", "bytes:8"),  # BLAKE2b of all that stands before it
            ),
            order="little",
        ),
        Message(
            "",
            "seal",
            40,
            (
                ("magic", "bytes:8"),
                ("first_number", "u64"),
                ("last_number", "u64"),
                ("offset", "u64"),  # where the seal itself stands
                ("digest", "bytes:8"),
            ),
            order="little",
        ),
        Message(
            "",
            "frame",
            32,
            (
                ("kind", "u32"),  # `FrameKind`
                ("length", "u32"),  # of the body
                ("number", "u64"),  # a segment's first record, a snapshot's last one
                ("offset", "u64"),
                ("digest", "bytes:8"),  # of what stands before it and of the body
            ),
            order="little",
        ),
    ),
)
