"""A datagram of numbered messages, whichever protocol it is of, in plain Python."""

from typing import NamedTuple, Protocol


class Datagram(NamedTuple):
    """What a whole datagram says: messages ``sequence`` and on of a session or unit."""

    session: bytes
    unit: int
    sequence: int
    messages: list[bytes]
    is_end: bool = False
    """True where it says that the session is over."""

    @property
    def behind(self) -> int:
        """The number of the message behind it."""
        return self.sequence + len(self.messages)


class Codec(Protocol):
    """A protocol's datagrams (`moldudp64`, `sequenced_unit`): modules with these functions."""

    MAX_MESSAGES: int
    """Messages that one datagram can count."""
    HEADER_BYTES: int

    def split(self, raw: bytes) -> Datagram | None:
        """What a datagram says; None where it is not exactly what its header says it is."""

    def join(self, session: bytes, unit: int, sequence: int, messages: list[bytes]) -> bytes:
        """The datagram of these messages; a heartbeat where there are none."""

    def block_bytes(self, message: bytes) -> int:
        """What a message takes in a datagram."""
