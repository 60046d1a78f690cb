"""Frames of the gateway's protocol out of a stream of bytes that is cut anywhere, and into one.

The invariant is that no more than one frame's bytes are held back, and that nothing of a frame is
looked at before its checksum is right.  A frame that cannot be right ends the connection: nobody
knows where the next one would begin.
"""

import struct
from typing import Any
from zlib import crc32

from tickpath.wire.gateway import FRAME, GATEWAY
from tickpath.wire.table import Message, WireError

MAX_MESSAGE = 1 << 20
"""Bytes of the longest message that either side takes."""
_LENGTH = FRAME["length"]
_CHECKSUM = FRAME["checksum"]
_HAND_OVER, _ANSWER = GATEWAY["hand_over"], GATEWAY["answer"]
_BY_CODE = tuple(GATEWAY.by_type.get(chr(code)) for code in range(256))


def _packing(layout: Message) -> struct.Struct:
    """The fixed fields of a message or header, which is ten times faster than the table."""
    codes = {"u8": "B", "u32": "I", "u64": "Q", "ascii:1": "c"}
    kinds = [each.kind for each in layout.fields if not each.is_variable]
    return struct.Struct(">" + "".join(codes[kind] for kind in kinds))


_FRONT = _packing(FRAME)
_ACCEPTED_FIELDS = _packing(GATEWAY["accepted"])
_ANSWER_FIELDS, _HAND_OVER_FIELDS = _packing(_ANSWER), _packing(_HAND_OVER)

assert (_LENGTH.offset, _CHECKSUM.offset) == (0, _LENGTH.size)
assert GATEWAY.type_offset == 0


class FrameError(Exception):
    """Bytes that are no frame; never leaves the gateway and its client."""


def framed(message: bytes) -> bytes:
    """A message behind its length and checksum."""
    return _FRONT.pack(len(message), crc32(message)) + message


def frame(name: str, **values: Any) -> bytes:
    """The frame of a message by its name and fields."""
    return framed(GATEWAY[name].encode(**values))


def answer_frame(sequence: int, payload: bytes) -> bytes:
    """The frame of an answer; there are too many of them for the table's own encoder."""
    return framed(_ANSWER_FIELDS.pack(_ANSWER.type.encode(), sequence) + payload)


def accepted_frame(epoch: int, order_position: int) -> bytes:
    """The frame of an `accepted`, as `answer_frame`."""
    code = GATEWAY["accepted"].type.encode()
    return framed(_ACCEPTED_FIELDS.pack(code, epoch, order_position))


def hand_over_frame(epoch: int, order_position: int, input_number: int, messages: bytes) -> bytes:
    """The frame of a hand-over, as `answer_frame`."""
    code = _HAND_OVER.type.encode()
    return framed(_HAND_OVER_FIELDS.pack(code, epoch, order_position, input_number) + messages)


def hand_over_of(message: bytes) -> tuple[int, int, int, bytes]:
    """Epoch, order position, input number and bytes of a hand-over, which was checked before."""
    _, epoch, position, number = _HAND_OVER_FIELDS.unpack_from(message)
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
        length, checksum = _FRONT.unpack_from(held, at)
        if not 0 < length <= self.max_message:
            raise FrameError(f"a message of {length} bytes: 1 to {self.max_message} are taken")
        begin = at + FRAME.length
        if len(held) < begin + length:
            return None
        message = bytes(held[begin : begin + length])
        if crc32(message) != checksum:
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
    layout = _BY_CODE[message[0]]
    if layout is not None and layout.is_variable and len(message) >= layout.length:
        return layout
    return GATEWAY.message_of(message)
