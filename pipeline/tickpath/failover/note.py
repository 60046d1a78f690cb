"""The durable note: which members may take over, as the active recorded it with the lease store.

The invariant of synchronous mode: whatever left for the exchange was acknowledged by *every* member
that the note in force names, so any of them may take over and none beside them.  The active writes
a smaller set down before it stops waiting for those who left, and waits for a new member before it
writes it down; `in_sync.py` keeps that order.  A note holds until the next one, over changes of the
lease's holder: it is read after the lease was granted, when no one else can write any more.
"""

import msgspec

from tickpath.failover.member import Member

MOST_BYTES = 4096


class NoteError(ValueError):
    """A note that cannot be read; the message says what is wrong with it."""


class Note(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the active of ``epoch`` recorded before it let orders go under it."""

    epoch: int
    active: Member
    in_sync: tuple[Member, ...] = ()
    """Members that acknowledge before an order leaves; none: the active runs alone."""
    is_synchronous: bool = True
    hands_over: bool = False
    """The active is about to hand the role over: an heir may lead next, and let orders go under
    this note, before it has one of its own."""

    @property
    def heirs(self) -> tuple[Member, ...]:
        """Those who know all that may have left in synchronous mode."""
        return (self.active, *self.in_sync)

    def encode(self) -> bytes:
        """The note as the lease store keeps it: JSON, so that people can read it there."""
        return msgspec.json.encode(self)


def decode(note: bytes) -> Note | None:
    """A note from the store, or None where none was ever recorded.  Raises `NoteError`."""
    if not note:
        return None
    if len(note) > MOST_BYTES:
        raise NoteError(f"the store's note has {len(note)} bytes; one of ours has at most 4096")
    try:
        return msgspec.json.decode(note, type=Note)
    except msgspec.DecodeError as error:
        raise NoteError(f"the store's note is not one of ours: {error}") from None
