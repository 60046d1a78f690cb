"""A SoupBinTCP session: a named stream of numbered messages that outlives its connections.

The invariant is that a message, once published, has its number for good; the memory of a session is
bounded by `Kept` alone, because connections read from it with cursors of their own.
"""

from collections.abc import Iterable
from typing import Annotated, Protocol

import msgspec
from msgspec import Meta

from tickpath.session.error import SessionError
from tickpath.session.soup_framing import MAX_PAYLOAD, framed, payload_of
from tickpath.wire.soupbintcp import SOUPBINTCP

_NAME = SOUPBINTCP["login_accepted"]["session"]
_SEQUENCED = SOUPBINTCP["sequenced_data"]


class Reader(Protocol):
    """The connection that is logged in, as its session sees it."""

    peer: str

    def will_publish(self, now_ns: int) -> None:
        """A message is about to be published, or the session to end."""

    def published(self) -> None:
        """It was published."""

    def taken_over(self, peer: str) -> None:
        """Somebody else has the session now."""


class Kept(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many of its messages a session keeps for clients that come back.

    Beyond either bound the oldest are dropped and counted; a login that asks for one of them is
    rejected (`Reason.SEQUENCE_NOT_AVAILABLE`).
    """

    max_messages: Annotated[int, Meta(ge=1)] = 1 << 22
    max_bytes: Annotated[int, Meta(ge=1)] = 1 << 29


class ServerSession:
    """A named stream of numbered messages, from 1, and whoever is logged into it."""

    def __init__(
        self,
        name: str,
        *,
        kept: Kept = Kept(),  # noqa: B008 - frozen
        messages: Iterable[bytes] = (),
    ):
        """``messages`` are those of an earlier process, in order from number 1."""
        self.name = name.strip()
        if not 0 < len(self.name) <= _NAME.size or not self.name.isascii():
            raise SessionError(f"session {name!r}: a name has 1 to {_NAME.size} ASCII characters")
        self.kept = kept
        self.has_ended = False
        self.connection: Reader | None = None
        self.messages_dropped = 0
        """Oldest messages that are no longer kept."""
        self.takeovers = 0
        """Connections that a newer login ended."""
        self.bytes_published = 0
        self._packets: list[bytes] = []
        self._first = 1  # number of the message in _packets[0]
        self._forgotten = 0  # messages at the front of _packets that are dropped, not yet deleted
        self._held_bytes = 0
        for payload in messages:
            self._append(payload)

    @property
    def next_sequence(self) -> int:
        """The number that the next message will have."""
        return self._first + len(self._packets)

    @property
    def first_sequence(self) -> int:
        """The oldest message that is kept; equal to `next_sequence` where there is none."""
        return self._first + self._forgotten

    def publish(self, payload: bytes, now_ns: int) -> int:
        """Add a message to the stream; gives its number.  It goes out by `Server.take_output`.

        Raises `SessionError` where the session has ended or no packet can carry the message.
        """
        if self.has_ended:
            raise SessionError(f"session {self.name} has ended: nothing can be published")
        sequence = self.next_sequence
        connection = self.connection
        if connection is not None:
            connection.will_publish(now_ns)
        self._append(payload)
        if connection is not None:
            connection.published()
        return sequence

    def end(self, now_ns: int) -> None:
        """End the session for good: whoever is logged in gets the rest of it and the end."""
        self.has_ended = True
        if self.connection is not None:
            self.connection.will_publish(now_ns)

    def message(self, sequence: int) -> bytes:
        """A message that is kept, as it was published.  Raises `SessionError` for any other."""
        if not self.first_sequence <= sequence < self.next_sequence:
            raise SessionError(
                f"session {self.name} keeps messages {self.first_sequence} to "
                f"{self.next_sequence - 1}, not {sequence}"
            )
        return payload_of(_SEQUENCED, self._packets[sequence - self._first])

    def packets_from(self, sequence: int, most_bytes: int) -> tuple[bytes, int]:
        """Whole packets from a message on, at least one and then up to ``most_bytes``; how many."""
        at = begin = sequence - self._first
        total = 0
        while at < len(self._packets) and (at == begin or total < most_bytes):
            total += len(self._packets[at])
            at += 1
        return b"".join(self._packets[begin:at]), at - begin

    def log_in(self, connection: Reader) -> None:
        """Make a connection the session's own; an older one ends."""
        if self.connection is not None:
            self.takeovers += 1
            self.connection.taken_over(connection.peer)
        self.connection = connection

    def log_out(self, connection: Reader) -> None:
        """Let a connection go that has ended; one that was taken over changes nothing."""
        if self.connection is connection:
            self.connection = None

    def _append(self, payload: bytes) -> None:
        if not 0 < len(payload) <= MAX_PAYLOAD:
            raise SessionError(f"a message of {len(payload)} bytes: 1 to {MAX_PAYLOAD} can be sent")
        made = framed(_SEQUENCED.name, payload)
        self._packets.append(made)
        self._held_bytes += len(made)
        self.bytes_published += len(made)
        while self._is_full():
            self._held_bytes -= len(self._packets[self._forgotten])
            self._packets[self._forgotten] = b""
            self._forgotten += 1
            self.messages_dropped += 1
        if self._forgotten > 1024 and self._forgotten > len(self._packets) // 2:
            del self._packets[: self._forgotten]
            self._first += self._forgotten
            self._forgotten = 0

    def _is_full(self) -> bool:
        held = len(self._packets) - self._forgotten
        return held > self.kept.max_messages or self._held_bytes > self.kept.max_bytes
