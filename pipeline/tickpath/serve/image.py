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
    """Follows a stream, as far as it is published, when it is asked for."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.image: Image = ItchImage() if stream.codec is moldudp64 else PitchImage()
        self._applied = stream.first

    def snapshot(self) -> tuple[int, int, list[bytes]]:
        """(the number that the feed goes on with, orders, messages)."""
        stream = self.stream
        for message in stream.between(self._applied, stream.next_sequence):
            self.image.apply(message)
        self._applied = stream.next_sequence
        return self._applied, len(self.image), self.image.snapshot()
