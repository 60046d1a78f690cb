"""Answers that came before their turn, bounded by packets and bytes.

The invariant is that nothing is kept twice from the same message on, so the ranges that are still
missing can be walked in one pass.
"""

from bisect import bisect_left
from collections.abc import Iterator


class Kept:
    """Datagrams by their first message."""

    def __init__(self, max_packets: int, max_bytes: int) -> None:
        self.max_packets, self.max_bytes = max_packets, max_bytes
        self._firsts: list[int] = []
        self._packets: dict[int, tuple[int, bytes]] = {}  # first -> (behind, datagram)
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._firsts)

    @property
    def is_full(self) -> bool:
        """True where no further packet has room."""
        return len(self._firsts) >= self.max_packets or self._bytes >= self.max_bytes

    def keep(self, first: int, behind: int, datagram: bytes) -> bool:
        """Keep an answer; False where there is no room for it."""
        known = self._packets.get(first)
        if known is not None:
            if known[0] >= behind:
                return True
            self._drop(first)
        if len(self._firsts) >= self.max_packets or self._bytes + len(datagram) > self.max_bytes:
            return False
        self._firsts.insert(bisect_left(self._firsts, first), first)
        self._packets[first] = behind, datagram
        self._bytes += len(datagram)
        return True

    def due(self, expected: int) -> tuple[int, bytes] | None:
        """(behind, datagram) of a kept answer that message ``expected`` is in; older ones go."""
        while self._firsts and self._firsts[0] <= expected:
            behind, datagram = self._drop(self._firsts[0])
            if behind > expected:
                return behind, datagram
        return None

    def ranges(self) -> Iterator[tuple[int, int]]:
        """(first, behind) of what is kept, in order."""
        for first in self._firsts:
            yield first, self._packets[first][0]

    def clear(self) -> None:
        """Keep nothing."""
        self._firsts.clear()
        self._packets.clear()
        self._bytes = 0

    def _drop(self, first: int) -> tuple[int, bytes]:
        del self._firsts[bisect_left(self._firsts, first)]
        behind, datagram = self._packets.pop(first)
        self._bytes -= len(datagram)
        return behind, datagram
