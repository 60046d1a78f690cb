"""The last bytes of the order stream: what a node may still have to hand over, or was handed over.

The stream is order messages, each behind a 2-byte big-endian length.  Positions count its bytes
since the day began.  What is kept is bounded; beyond that the oldest bytes are let go, and whoever
asks for them is told so.
"""

LENGTH_BYTES = 2
MAX_TAIL = 1 << 20


class Tail:
    """Bytes of the stream from `first` to `position`."""

    def __init__(self, position: int = 0, max_bytes: int = MAX_TAIL):
        self.position = position
        """Where the stream ends: the position of the next byte."""
        self.max_bytes = max_bytes
        self._bytes = bytearray()

    @property
    def first(self) -> int:
        """The position of the oldest byte that is kept."""
        return self.position - len(self._bytes)

    def append(self, content: bytes) -> int:
        """Take the next bytes; gives how many older ones were let go."""
        self._bytes += content
        self.position += len(content)
        # Let go in large steps: each one moves all that stays.
        gone = len(self._bytes) - self.max_bytes
        if gone <= 0:
            return 0
        gone += min(self.max_bytes // 8, len(self._bytes) - gone)
        del self._bytes[:gone]
        return gone

    def confirmed(self, position: int) -> None:
        """Whatever lies before a position is not wanted any more."""
        if position > self.first:
            del self._bytes[: min(position, self.position) - self.first]

    def since(self, position: int) -> bytes | None:
        """What follows a position; None where that is not kept any more, or lies ahead."""
        if not self.first <= position <= self.position:
            return None
        return bytes(memoryview(self._bytes)[position - self.first :])

    def same(self, position: int, content: bytes) -> bool:
        """Whether these bytes stand at a position; all of them must be kept."""
        at = position - self.first
        return self._bytes[at : at + len(content)] == content


def split(stream: bytes) -> list[bytes] | None:
    """The messages of a piece of the stream; None where it is not whole ones, none of them empty.

    A bound on their length is the session's to set.
    """
    messages, at, end = [], 0, len(stream)
    while at < end:
        begin = at + LENGTH_BYTES
        length = int.from_bytes(stream[at:begin], "big")
        at = begin + length
        if not length or at > end:
            return None
        messages.append(stream[begin:at])
    return messages
