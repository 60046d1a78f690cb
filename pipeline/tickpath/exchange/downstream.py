"""MoldUDP64 as its server says it: packets of numbered messages, heartbeats, the end, requests.

A packet holds the messages of one cause, and of those that follow within a window, up to a size.
Where packets begin and end follows from the messages' times alone, never from when somebody looked:
a window is closed at its own end, and a heartbeat has the time at which it was due.

    window 0                 a packet for each cause: what one order or one participant did
    window w                 a packet for what happened in w nanoseconds since its first message

A bounded number of messages is kept for requests; a request for older ones is counted, and its
answer begins with the oldest that is kept, or is none.
"""

from collections import Counter

from tickpath.exchange.error import ExchangeError
from tickpath.exchange.packing import Packing, padded
from tickpath.wire.moldudp64 import END_OF_SESSION, HEARTBEAT, MOLDUDP64

_HEADER = Packing(MOLDUDP64["downstream_packet"])
_REQUEST = Packing(MOLDUDP64["request_packet"])
_BLOCK = Packing(MOLDUDP64["message_block"])
_SESSION = MOLDUDP64["downstream_packet"]["session"].size
SECOND_NS = 1_000_000_000
LARGEST = 1_400
"""Bytes of a packet by default: what any Ethernet carries in one frame."""


class Downstream:
    """One session's stream.  ``packets`` are those that wait to be sent, in order."""

    def __init__(
        self,
        session: str,
        now_ns: int,
        *,
        max_bytes: int = LARGEST,
        window_ns: int = 0,
        heartbeat_ns: int = SECOND_NS,
        max_kept: int = 1 << 20,
    ) -> None:
        """``max_kept`` messages are kept for requests.  Raises `ExchangeError`."""
        if not session.isascii() or not 1 <= len(session) <= _SESSION:
            raise ExchangeError(f"session {session!r}: not 1 to {_SESSION} ASCII characters")
        self.session, self.max_bytes, self.max_kept = session, max_bytes, max_kept
        self.window_ns, self.heartbeat_ns = window_ns, heartbeat_ns
        self.packets: list[bytes] = []
        self.counters: Counter[str] = Counter()
        self.next_sequence = 1
        self._name = padded(session, _SESSION)
        self._kept: list[bytes] = []
        self._forgotten = 0  # messages at the front of _kept that are only waiting to be deleted
        self._open: list[bytes] = []  # messages and their lengths, of the packet being filled
        self._open_bytes = self._open_ns = 0
        self._last_ns = now_ns

    # ------------------------------------------------------------ messages in, packets out

    def publish(self, messages: list[bytes], now_ns: int) -> None:
        """Number the messages of one cause and put them into packets."""
        self.advance(now_ns)
        for message in messages:
            size = _BLOCK.message.length + len(message)
            if self._open and self._open_bytes + size > self.max_bytes:
                self._close(now_ns)
            if not self._open:
                self._open_ns, self._open_bytes = now_ns, _HEADER.message.length
            self._open.append(message)
            self._open_bytes += size
        if self._open and not self.window_ns:
            self._close(now_ns)

    def advance(self, now_ns: int) -> None:
        """Let time pass: windows close, heartbeats fall due."""
        if self._open and now_ns - self._open_ns >= self.window_ns:
            self._close(self._open_ns + self.window_ns)
        while not self._open and now_ns - self._last_ns >= self.heartbeat_ns:
            self._last_ns += self.heartbeat_ns
            self.counters["heartbeats"] += 1
            self.packets.append(_HEADER.pack(self._name, self.next_sequence, HEARTBEAT))

    @property
    def behind(self) -> int:
        """The number of the message behind all that were published, also those not sent yet."""
        return self.next_sequence + len(self._open)

    @property
    def due_ns(self) -> int:
        """When `advance` has something to do next."""
        return self._open_ns + self.window_ns if self._open else self._last_ns + self.heartbeat_ns

    def end(self, now_ns: int) -> None:
        """Close the session; may be said again, for those who miss a packet."""
        self.advance(now_ns)
        if self._open:
            self._close(now_ns)
        self.packets.append(_HEADER.pack(self._name, self.next_sequence, END_OF_SESSION))

    def take(self) -> list[bytes]:
        """The packets that wait, which are then somebody else's."""
        taken, self.packets = self.packets, []
        return taken

    def _close(self, now_ns: int) -> None:
        self.packets.append(self._packet(self.next_sequence, self._open))
        self.next_sequence += len(self._open)
        self.counters["packets"] += 1
        self.counters["messages"] += len(self._open)
        self._keep(self._open)
        self._open = []
        self._last_ns = now_ns

    def _packet(self, sequence: int, messages: list[bytes]) -> bytes:
        blocks = b"".join(_BLOCK.pack(len(message)) + message for message in messages)
        return _HEADER.pack(self._name, sequence, len(messages)) + blocks

    # ------------------------------------------------------------ requests

    @property
    def first_sequence(self) -> int:
        """The oldest message that is kept."""
        return self.next_sequence - len(self._kept) + self._forgotten

    def answer(self, request: bytes) -> bytes | None:
        """The packet that answers a request packet; None, and a counter, where there is none."""
        if len(request) != _REQUEST.message.length:
            self.counters["requests_malformed"] += 1
            return None
        asked = _REQUEST.unpack(request)
        if asked.session != self._name:
            self.counters["requests_other_session"] += 1
            return None
        packet = self.again(asked.sequence_number, asked.requested_message_count)
        self.counters["requests_answered" if packet else "requests_unanswerable"] += 1
        return packet

    def again(self, sequence: int, count: int) -> bytes | None:
        """A packet of kept messages from a number on: at most ``count``, and what fits."""
        first = max(sequence, self.first_sequence)
        begin = first - self.next_sequence + len(self._kept)
        messages: list[bytes] = []
        size = _HEADER.message.length
        for message in self._kept[begin : begin + max(sequence + count - first, 0)]:
            size += _BLOCK.message.length + len(message)
            if size > self.max_bytes and messages:
                break
            messages.append(message)
        return self._packet(first, messages) if messages else None

    def _keep(self, messages: list[bytes]) -> None:
        self._kept += messages
        over = len(self._kept) - self._forgotten - self.max_kept
        if over > 0:
            self._forgotten += over
            self.counters["messages_forgotten"] += over
        if self._forgotten > 1024 and self._forgotten > len(self._kept) // 2:
            del self._kept[: self._forgotten]
            self._forgotten = 0
