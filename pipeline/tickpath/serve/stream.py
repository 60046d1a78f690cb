"""One session or unit: its numbered messages, how they were packed, and how far it is published.

The invariant is that numbers have no hole: what a capture lost cannot be served, and `source`
refuses it.
"""

from typing import NamedTuple

from tickpath.recovery.datagram import Codec


class Packed(NamedTuple):
    """Messages that share a packet, and when it was captured."""

    first: int
    behind: int
    ts_ns: int


class Stream:
    """Messages from number ``first`` on; nothing of them is published yet."""

    def __init__(
        self,
        codec: Codec,
        session: bytes,
        unit: int,
        first: int,
        messages: list[bytes],
        packets: list[Packed],
    ) -> None:
        self.codec, self.session, self.unit = codec, session, unit
        self.first, self.messages, self.packets = first, messages, packets
        self.next_sequence = first
        """The first message that is not published."""

    @property
    def behind(self) -> int:
        """The number behind the last message."""
        return self.first + len(self.messages)

    def between(self, first: int, behind: int) -> list[bytes]:
        """Published messages of a range; what is not published or not there is left out."""
        behind = min(behind, self.next_sequence)
        return self.messages[max(first - self.first, 0) : max(behind - self.first, 0)]

    def datagram(self, packed: Packed) -> bytes:
        """A packet as it was."""
        messages = self.messages[packed.first - self.first : packed.behind - self.first]
        return self.codec.join(self.session, self.unit, packed.first, messages)

    def fitting(self, first: int, count: int, max_bytes: int) -> bytes | None:
        """A datagram of published messages from ``first`` on: at most ``count``, and what fits."""
        chosen: list[bytes] = []
        size = self.codec.HEADER_BYTES
        for message in self.between(first, first + min(count, self.codec.MAX_MESSAGES)):
            size += self.codec.block_bytes(message)
            if size > max_bytes and chosen:
                break
            chosen.append(message)
        if not chosen or first < self.first:
            return None
        return self.codec.join(self.session, self.unit, first, chosen)
