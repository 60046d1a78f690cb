"""The witness's protocol and its state file: our own layouts, big-endian.

A datagram is one message.  Every question has the same front, and so has every answer:

    prepare   promise `epoch` to `token`, where no lease runs and none as high was promised
    lease     grant or renew the lease of `epoch`, which a majority has promised to `token`
    release   the holder gives it back
    note      keep a note of `epoch`; of two the one with the higher `number` counts
    read      what the witness knows; other witnesses ask it too

`token` names the asking process, for as long as it lives: two processes of one node's name are not
the same.  `number` rises with every question of a process, and the answer repeats it.  `cluster`
is a digest of the cluster's name: a witness answers its own cluster only.  An answer tells what
the witness knows *after* the question was dealt with; the note only if the question was `read`.

The state file has a header, then two slots, written in turn; the one with the higher `generation`
and a right checksum counts.
"""

from enum import IntEnum

from tickpath.wire.table import Message, Protocol

VERSION = 1


class Code(IntEnum):
    """What became of a question."""

    DONE = 0
    HELD = 1  # a lease runs
    OUTBID = 2  # an epoch as high, or higher, is promised to another
    LAPSED = 3  # the lease ran out
    RELEASED = 4  # it was given back
    NOT_VOTING = 5  # no say yet
    DISK = 6  # the disk did not take it
    TOO_LONG = 7  # a longer lease than is granted
    TOO_HIGH = 8  # too far above the last epoch


CODES = {str(each.value): each.name.lower() for each in Code}
FLAGS = ("voting", "running", "new")
"""Bits of `flags`, from the lowest: it votes; its lease may run; it began without a state."""

_FRONT = (
    ("message_type", "ascii:1"),
    ("version", "u8"),
    ("cluster", "u64"),
    ("number", "u64"),
)
_QUESTION = (
    *_FRONT,
    ("token", "u64"),
    ("epoch", "u64"),
    ("ttl_ns", "u64"),
    ("node", "ascii:32"),
)
_KEPT = (
    ("epoch", "u64"),
    ("token", "u64"),
    ("ttl_ns", "u64"),
    ("max_ttl_ns", "u64"),
    ("node", "ascii:32"),
    ("note_epoch", "u64"),
    ("note_number", "u64"),
    ("note", "bytes:*"),
)

WITNESS = Protocol(
    "witness",
    (
        Message("P", "prepare", 74, _QUESTION),
        Message("L", "lease", 74, _QUESTION),
        Message("F", "release", 74, _QUESTION),
        Message("N", "note", 74, (*_QUESTION, ("note", "bytes:*"))),
        Message("Q", "read", 74, _QUESTION),
        Message(
            "A",
            "answer",
            108,
            (
                *_FRONT,
                ("code", "u8", "code"),
                ("flags", "u8"),
                ("remaining_ns", "u64"),
                *_KEPT,
            ),
        ),
    ),
    {"code": CODES},
)

FILE_HEADER = Message(
    "",
    "witness_file",
    18,
    (("magic", "bytes:8"), ("version", "u16"), ("cluster", "u64")),
)
FILE_SLOT = Message(
    "",
    "witness_slot",
    96,
    (("checksum", "u32"), ("length", "u32"), ("generation", "u64"), *_KEPT),
)
