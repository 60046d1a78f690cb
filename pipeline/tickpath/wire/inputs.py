"""The input stream: every input of an engine as a record, for standbys and journals.

A record is this header, its payload, and zeros up to a multiple of 8 bytes.  Records are numbered
from 1 without holes; which input numbers of the engine a record takes follows from what is in it,
so ``input_number``, ``book_digest`` and ``order_position`` say how the engine stood *before* it: a
follower that stands otherwise has diverged, and knows where.

    run       messages of the market, answers of an exchange or operator commands, as they came in
              one packet, after arbitration; `link` says which.  ``sequence`` is that of the first
              on its line, or the number that its session gave the last answer
    line      a line begins, or begins again with another session; ``sequence`` is its first
    gap       messages ``sequence`` to the payload's ``last`` of a line will not come
    stale     the books of a line may be wrong: its session changed
    clear     the books of a line are emptied: a snapshot of all of them comes
    splice    a snapshot stands for everything on a line before ``sequence``
    epoch     another node is active from here on; the payload is its name
    note      something that the failover layer records, a change of its mode; the engine passes it
    hold      the strategy is not called while any bit of ``sequence`` is set; the payload says why
    scrub     the checksum of slice ``sequence`` of the state (`tickpath.scrub`)
    pad       fills a ring up to its end; it has no number
"""

from enum import IntEnum

from tickpath.wire.table import Message, Protocol

ALIGNMENT = 8
"""Records begin at multiples of so many bytes, and their payloads are filled up to one."""


class Kind(IntEnum):
    """What a record is: see above."""

    RUN = 1
    LINE = 2
    GAP = 3
    STALE = 4
    CLEAR = 5
    SPLICE = 6
    EPOCH = 7
    NOTE = 8
    PAD = 9
    HOLD = 10
    SCRUB = 11


class Flag(IntEnum):
    """Bits of ``flags``."""

    NUMBERED = 1
    """The run's messages have numbers on its line."""
    BARE = 2
    """The run came in no packet."""
    ENDLESS = 4
    """How many messages the run has is not said."""
    NEW = 8
    """The line is a new one."""


INPUTS = Protocol(
    "inputs",
    (
        Message(
            "",
            "record",
            88,
            (
                ("checksum", "u64"),  # `publish.checksum` of all that follows, with the payload
                ("number", "u64"),
                ("input_number", "u64"),
                ("epoch", "u64"),
                ("book_digest", "u64"),
                ("order_position", "u64"),  # bytes of encoded orders, with their lengths
                ("ts_recv", "u64"),
                ("unit_ns", "u64"),
                ("sequence", "u64"),
                ("length", "u32"),  # of the payload, without what fills it up
                ("messages", "u32"),
                ("link", "u16"),
                ("line", "u16"),  # index + 1 of the line; 0: none
                ("venue", "u16"),
                ("kind", "u8"),
                ("flags", "u8"),
            ),
            order="little",
        ),
        Message(
            "",
            "line",
            24,
            (
                ("session", "u64"),
                ("group", "u32"),
                ("port", "u16"),
                ("session_tail", "u16"),
                ("line_kind", "u32"),
                ("reserved", "u32"),
            ),
            order="little",
        ),
        Message("", "gap", 8, (("last", "u64"),), order="little"),
        Message("", "scrub", 8, (("total", "u64"),), order="little"),
    ),
)
