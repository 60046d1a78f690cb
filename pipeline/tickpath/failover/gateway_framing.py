"""Frames of the gateway's protocol out of a stream of bytes that is cut anywhere, and into one.

The invariant is that no more than one frame's bytes are held back, and that nothing of a frame is
looked at before its checksum is right.  A frame that cannot be right ends the connection: nobody
knows where the next one would begin.
"""

from typing import Any
from zlib import crc32

from tickpath.wire.gateway import FRAME, GATEWAY
from tickpath.wire.table import Message, WireError

MAX_MESSAGE = 1 << 20
"""Bytes of the longest message that either side takes."""
_LENGTH = FRAME["length"]
_CHECKSUM = FRAME["checksum"]
_HAND_OVER, _ANSWER = GATEWAY["hand_over"], GATEWAY["answer"]
_U64 = _HAND_OVER["epoch"].size

assert (_LENGTH.offset, _CHECKSUM.offset) == (0, _LENGTH.size)
assert [each.name for each in _ANSWER.fields[1:]] == ["sequence", "payload"]
assert [each.name for each in _HAND_OVER.fields[1:4]] == ["epoch", "order_position", "input_number"]


class FrameError(Exception):
    """Bytes that are no frame; never leaves the gateway and its client."""


def framed(message: bytes) -> bytes:
    """A message behind its length and checksum."""
    length = len(message).to_bytes(_LENGTH.size, "big")
    return length + crc32(message).to_bytes(_CHECKSUM.size, "big") + message


def frame(name: str, **values: Any) -> bytes:
    """The frame of a message by its name and fields."""
    return framed(GATEWAY[name].encode(**values))


def answer_frame(sequence: int, payload: bytes) -> bytes:
    """The frame of an answer; there are too many of them for the table's own encoder."""
    return framed(_ANSWER.type.encode() + sequence.to_bytes(_U64, "big") + payload)


def hand_over_frame(epoch: int, order_position: int, input_number: int, messages: bytes) -> bytes:
    """The frame of a hand-over, as `answer_frame`."""
    numbers = (epoch << 2 * 8 * _U64) | (order_position << 8 * _U64) | input_number
    return framed(_HAND_OVER.type.encode() + numbers.to_bytes(3 * _U64, "big") + messages)


def hand_over_of(message: bytes) -> tuple[int, int, int, bytes]:
    """Epoch, order position, input number and bytes of a hand-over, which was checked before."""
    at = _HAND_OVER["epoch"].offset
    epoch, position, number = (
        int.from_bytes(message[each : each + _U64], "big")
        for each in range(at, _HAND_OVER.length, _U64)
    )
    return epoch, position, number, message[_HAND_OVER.length :]


class FrameReader:
    """Takes bytes as they come and gives whole messages."""

    __slots__ = ("_at", "_bytes", "max_message")

    def __init__(self, max_message: int = MAX_MESSAGE):
        self.max_message = max_message
        self._bytes = bytearray()
        self._at = 0

    def feed(self, received: bytes) -> None:
        """Take what came; call `next_message` until it gives None before more."""
        del self._bytes[: self._at]
        self._at = 0
        self._bytes += received

    def next_message(self) -> tuple[Message, bytes] | None:
        """The next message's layout and bytes; None where the rest of it has not come yet.

        Raises `FrameError` for bytes that cannot become one.
        """
        held, at = self._bytes, self._at
        if len(held) - at < FRAME.length:
            return None
        length = int.from_bytes(held[at : at + _LENGTH.size], "big")
        if not 0 < length <= self.max_message:
            raise FrameError(f"a message of {length} bytes: 1 to {self.max_message} are taken")
        begin = at + FRAME.length
        if len(held) < begin + length:
            return None
        message = bytes(held[begin : begin + length])
        if crc32(message) != int.from_bytes(held[at + _CHECKSUM.offset : begin], "big"):
            raise FrameError("a message's checksum is wrong")
        self._at = begin + length
        try:
            return _layout_of(message), message
        except WireError as error:
            raise FrameError(str(error)) from None

    @property
    def held_bytes(self) -> int:
        """Bytes of a frame that is not whole yet."""
        return len(self._bytes) - self._at


def _layout_of(message: bytes) -> Message:
    """As `Protocol.message_of`, but what a message of variable length carries may be nothing."""
    layout = GATEWAY.by_type.get(chr(message[GATEWAY.type_offset]))
    if layout is not None and layout.is_variable and len(message) == layout.length:
        return layout
    return GATEWAY.message_of(message)
