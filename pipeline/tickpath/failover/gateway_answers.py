"""The exchange's messages by sequence number: the latest ones, for whoever wants them again.

The session's journal has all of them; what is here is bounded, and is what a node can begin from.
"""


class Answers:
    """Messages `first` to `next` - 1."""

    def __init__(self, first: int, max_answers: int):
        self.first = first
        self.max_answers = max_answers
        self._kept: list[bytes] = []

    @property
    def next(self) -> int:
        """The sequence of the next message of the exchange."""
        return self.first + len(self._kept)

    def append(self, payload: bytes) -> None:
        """Keep the next message; lets the oldest go where there are too many."""
        self._kept.append(payload)
        # In large steps: each one moves all that stays.
        gone = len(self._kept) - self.max_answers
        if gone > 0:
            gone += min(self.max_answers // 8, len(self._kept) - gone)
            del self._kept[:gone]
            self.first += gone

    def get(self, sequence: int) -> bytes:
        """The message with a sequence from `first` to `next` - 1."""
        return self._kept[sequence - self.first]
