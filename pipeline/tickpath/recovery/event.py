"""What happens to a line under recovery, and what it wants done.

Messages are numbered as on the line; ranges are inclusive, ``behind`` is the number after a range.
"""

import msgspec

from tickpath.recovery.state import Refusal


class Event(msgspec.Struct, frozen=True):
    """Something that happened."""


class Hole(Event, frozen=True):
    """The engine holds packets behind messages ``first`` to ``last``, which came on no line.

    On a line that nothing was known of, they are the day so far.
    """

    first: int
    last: int
    session: bytes = b""


class Advanced(Event, frozen=True):
    """The engine has taken everything before a message."""

    next_sequence: int


class Answer(Event, frozen=True):
    """A datagram of messages ``first`` to ``behind`` - 1 that was asked for, by whomever."""

    first: int
    behind: int
    datagram: bytes


class Refused(Event, frozen=True):
    """A server will not answer the request that began with message ``first``."""

    server: int
    first: int
    refusal: Refusal


class SnapshotReady(Event, frozen=True):
    """A whole snapshot: the state before message ``next_sequence``."""

    next_sequence: int
    messages: list[bytes]


class SnapshotFailed(Event, frozen=True):
    """The snapshot will not come."""

    reason: str


class Tick(Event, frozen=True):
    """Time passes."""


class Action(msgspec.Struct, frozen=True):
    """Something to be done, in the order in which it is given."""


class Ask(Action, frozen=True):
    """Ask a server for ``count`` messages from ``first`` on."""

    server: int
    first: int
    count: int


class OpenSnapshot(Action, frozen=True):
    """Fetch a snapshot, of the state behind message ``at_least`` - 1 or later if it can be had."""

    at_least: int


class CloseSnapshot(Action, frozen=True):
    """Nobody waits for the snapshot any more."""


class Deliver(Action, frozen=True):
    """Give a recovered datagram to the engine: its first unknown message is the next expected."""

    datagram: bytes


class Clear(Action, frozen=True):
    """Empty the line's books: a snapshot comes."""


class DeliverSnapshot(Action, frozen=True):
    """Give a snapshot's messages to the engine."""

    messages: list[bytes]


class Splice(Action, frozen=True):
    """The snapshot stands for all messages before ``next_sequence``."""

    next_sequence: int


class GiveUp(Action, frozen=True):
    """Declare messages ``first`` to ``last`` lost."""

    first: int
    last: int
