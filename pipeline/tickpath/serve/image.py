"""The image of a stream: its open orders as of the last published message."""

from typing import Protocol

from tickpath.recovery import moldudp64
from tickpath.serve.itch_image import ItchImage
from tickpath.serve.pitch_image import PitchImage
from tickpath.serve.stream import Stream


class Image(Protocol):
    """Open orders, kept message by message."""

    def __len__(self) -> int:
        """Open orders."""

    def apply(self, raw: bytes) -> None:
        """Take the next message."""

    def snapshot(self) -> list[bytes]:
        """The messages of a snapshot."""


class StreamImage:
    """Follows a stream as far as it is published: a little in every round, the rest when asked.

    A snapshot of a stream that was not followed meanwhile would keep everything else waiting.
    """

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.image: Image = ItchImage() if stream.codec is moldudp64 else PitchImage()
        self._applied = stream.first

    def catch_up(self, most: int) -> None:
        """Take published messages that it has not, at most so many."""
        behind = min(self._applied + most, self.stream.next_sequence)
        for message in self.stream.between(self._applied, behind):
            self.image.apply(message)
        self._applied = behind

    def snapshot(self) -> tuple[int, int, list[bytes]]:
        """(the number that the feed goes on with, orders, messages)."""
        self.catch_up(self.stream.next_sequence - self._applied)
        return self._applied, len(self.image), self.image.snapshot()
