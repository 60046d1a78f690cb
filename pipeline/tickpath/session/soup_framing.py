"""SoupBinTCP packets out of a stream of bytes that is cut anywhere, and into one.

The invariant is that no more than one packet's bytes are ever held back, and that a packet which
cannot be right is named as soon as its header is there: no later byte could mend it.
"""

from tickpath.session.soup_event import Reason
from tickpath.wire.soupbintcp import SOUPBINTCP
from tickpath.wire.table import Message

_SMALLEST = SOUPBINTCP["server_heartbeat"]
_LENGTH = _SMALLEST["packet_length"]
_HEADER = _SMALLEST.length
_TYPE_AT = SOUPBINTCP.type_offset
_BY_CODE: tuple[Message | None, ...] = tuple(
    SOUPBINTCP.by_type.get(chr(code)) for code in range(256)
)
MAX_PAYLOAD = (1 << 8 * _LENGTH.size) - 1 - (_HEADER - _LENGTH.size)
"""Most bytes that a packet can carry behind its type."""

assert _LENGTH.offset == 0 and _LENGTH.size == _TYPE_AT and _HEADER == _TYPE_AT + 1


class FramingError(Exception):
    """Bytes that are no packet; never leaves the session layer."""

    def __init__(self, reason: Reason, detail: str):
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def framed(name: str, payload: bytes = b"") -> bytes:
    """The bytes of a packet of one of the types that carry a payload or nothing."""
    following = _HEADER - _LENGTH.size + len(payload)
    return following.to_bytes(_LENGTH.size, "big") + SOUPBINTCP[name].type.encode() + payload


def payload_of(layout: Message, packet: bytes) -> bytes:
    """What a packet of variable length carries."""
    return packet[layout.length :]


class PacketReader:
    """Takes bytes as they come and gives whole packets."""

    __slots__ = ("_at", "_bytes", "max_payload")

    def __init__(self, max_payload: int = MAX_PAYLOAD):
        self.max_payload = max_payload
        self._bytes = bytearray()
        self._at = 0

    def feed(self, received: bytes) -> None:
        """Take what the transport received; call `next_packet` until it gives None before more."""
        del self._bytes[: self._at]
        self._at = 0
        self._bytes += received

    def next_packet(self) -> tuple[Message, bytes] | None:
        """The next packet's layout and bytes; None where the rest of it has not come yet.

        Raises `FramingError` for bytes that cannot become a packet.
        """
        held, at = self._bytes, self._at
        if len(held) - at < _HEADER:
            return None
        length = _LENGTH.size + int.from_bytes(held[at : at + _LENGTH.size], "big")
        layout = _BY_CODE[held[at + _TYPE_AT]]
        if layout is None:
            code = chr(held[at + _TYPE_AT])
            raise FramingError(Reason.UNKNOWN_PACKET, f"packet type {code!r}")
        if length != layout.length:
            if not layout.is_variable or length < layout.length:
                detail = f"{layout.name} of {length} bytes"
                raise FramingError(Reason.MALFORMED_PACKET, detail)
            if length - layout.length > self.max_payload:
                detail = f"{layout.name} of {length} bytes, {self.max_payload} are taken"
                raise FramingError(Reason.OVERSIZED_PACKET, detail)
        if len(held) - at < length:
            return None
        self._at = at + length
        return layout, bytes(held[at : at + length])

    def forget(self) -> None:
        """Drop what is held back: nothing will follow it."""
        self._bytes.clear()
        self._at = 0

    @property
    def held_bytes(self) -> int:
        """Bytes of a packet that is not whole yet."""
        return len(self._bytes) - self._at
