"""What recovery asks of an engine.

The engine reports a hole when one stays open (`feed.FeedRecovery.hole`), holds the line's later
packets, bounded, and goes on by itself with what it holds when the hole is closed.  Packets that it
has no room to hold are counted and dropped: they are the next hole.
"""

from typing import NamedTuple, Protocol


class LineName(NamedTuple):
    """A line group: where its datagrams go, and the unit in them (0 where there are none)."""

    group: str
    port: int
    unit: int = 0


class LineEngine(Protocol):
    """Books that are fed by lines.  No method may call recovery back before it returns."""

    def deliver(self, line: LineName, datagram: bytes) -> None:
        """Take recovered messages: a datagram of the line's protocol, next in sequence."""

    def clear(self, line: LineName) -> None:
        """Empty the books of a line: a snapshot of all of them comes at once."""

    def deliver_snapshot(self, line: LineName, messages: list[bytes]) -> None:
        """Take a snapshot's messages, which have no numbers, in their order."""

    def splice(self, line: LineName, next_sequence: int) -> None:
        """The snapshot stands for everything before ``next_sequence``: the books are good again.

        What is held from there on follows.  Where the engine has seen later messages that it does
        not hold (it went on while the line was stale), they are a hole, which it reports.
        """

    def give_up(self, line: LineName, first: int, last: int) -> None:
        """Messages will not come: declare the gap, mark the line's books stale, go on behind it."""
