"""What the clients of snapshot servers have in common: a whole snapshot, or why there is none."""

from typing import Protocol

from tickpath.session.soup_event import Closed, Event


class Snapshot(Event, frozen=True):
    """A whole snapshot: the state before message ``next_sequence``."""

    next_sequence: int
    messages: list[bytes]


class SnapshotClient(Protocol):
    """A connection that gives one `Snapshot` and then is of no more use; see `soup_link`."""

    @property
    def closed(self) -> Closed | None:
        """Why it ended; None while it has not."""

    def receive(self, received: bytes, now_ns: int) -> list[Event]:
        """Take bytes from the transport."""

    def tick(self, now_ns: int) -> list[Event]:
        """Let time pass."""

    def disconnected(self, now_ns: int) -> list[Event]:
        """The connection is gone."""

    def take_output(self) -> bytes:
        """Bytes to write now."""

    @property
    def next_deadline(self) -> int | None:
        """When `tick` has something to do."""
