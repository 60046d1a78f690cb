"""A feed's packets at a pace, on every line, each line with faults of its own.

`poll` gives what is to be sent by now; `next_deadline` when there is more.  Servers see a packet's
messages as published from the moment at which it was due, whether a line lost it or not.  Silence
is broken by heartbeats, without which nobody would miss the last packets; what ends a session is
said several times.
"""

import heapq
from collections import Counter
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from tickpath.recovery import moldudp64
from tickpath.recovery.limits import SECOND_NS
from tickpath.serve.line_faults import LineFaults
from tickpath.serve.stream import Packed, Stream

MAX_POLL = 256
"""Packets that are due in one poll at most, so that servers get their turn."""
MAX_QUEUE = 1 << 16
"""Packets that wait for their time on a line; beyond it the publisher waits for them."""


class Pace(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How fast: as captured times ``factor`` (0: as fast as ``packets_per_second`` allows)."""

    factor: Annotated[float, Meta(ge=0)] = 0.0
    packets_per_second: Annotated[float, Meta(ge=0)] = 0.0
    """0: no bound."""
    heartbeat_ns: Annotated[int, Meta(ge=1)] = SECOND_NS
    ends: Annotated[int, Meta(ge=0)] = 3
    """Times that the end of a session is said, a heartbeat's interval apart."""


class Sent(NamedTuple):
    """A datagram for a line of a stream."""

    line: int
    stream: int
    datagram: bytes


class Publisher:
    """See the module's text.  ``both`` is what befalls all lines at once."""

    def __init__(
        self,
        streams: list[Stream],
        lines: list[LineFaults],
        both: LineFaults,
        pace: Pace,
        now_ns: int,
    ) -> None:
        self.streams, self.lines, self.both, self.pace = streams, lines, both, pace
        self.counters: Counter[str] = Counter()
        self.packets = sum(len(stream.packets) for stream in streams)
        self._plan = heapq.merge(
            *(
                [(each.ts_ns, number, each) for each in s.packets]
                for number, s in enumerate(streams)
            ),
            key=lambda each: each[0],
        )
        self._start_ns = self._due_ns = now_ns
        self._first_ts: int | None = None
        self._next = self._step()
        self._queue: list[tuple[int, int, Sent]] = []
        self._serial = 0
        self._said_ns = [now_ns] * len(streams)
        self._ends_left = [pace.ends] * len(streams)
        self._left = Counter(number for number, s in enumerate(streams) for _ in s.packets)

    def poll(self, now_ns: int) -> list[Sent]:
        """What is to be sent now, in order."""
        for _ in range(MAX_POLL):
            if self._next is None or self._due_ns > now_ns or len(self._queue) >= MAX_QUEUE:
                break
            number, packed = self._next
            stream = self.streams[number]
            self._put(number, stream.datagram(packed), self._due_ns)
            stream.next_sequence = packed.behind
            self.counters["packets"] += 1
            self.counters["messages"] += packed.behind - packed.first
            self._left[number] -= 1
            self._next = self._step()
        self._beat(now_ns)
        sent = []
        while self._queue and self._queue[0][0] <= now_ns:
            sent.append(heapq.heappop(self._queue)[2])
        return sent

    @property
    def has_sent_all(self) -> bool:
        """True where every packet has left; heartbeats and ends still follow."""
        return self._next is None and not self._queue

    @property
    def next_deadline(self) -> int:
        """When `poll` has something to give."""
        due = [said + self.pace.heartbeat_ns for said in self._said_ns]
        if self._next is not None:
            due.append(self._due_ns)
        if self._queue:
            due.append(self._queue[0][0])
        return min(due)

    def _step(self) -> tuple[int, Packed] | None:
        """The next packet, and when it is due."""
        found = next(self._plan, None)
        if found is None:
            return None
        ts_ns, number, packed = found
        pace = self.pace
        first = self._first_ts
        if first is None:
            first = self._first_ts = ts_ns
        elif pace.packets_per_second:
            self._due_ns += int(SECOND_NS / pace.packets_per_second)
        if pace.factor:
            self._due_ns = max(self._due_ns, self._start_ns + int((ts_ns - first) / pace.factor))
        return number, packed

    def _beat(self, now_ns: int) -> None:
        for number, stream in enumerate(self.streams):
            if now_ns - self._said_ns[number] < self.pace.heartbeat_ns:
                continue
            if self._left[number]:
                raw = stream.codec.join(stream.session, stream.unit, stream.next_sequence, [])
            elif self._ends_left[number]:
                self._ends_left[number] -= 1
                raw = self._end(stream)
            else:
                raw = stream.codec.join(stream.session, stream.unit, stream.next_sequence, [])
            self.counters["heartbeats"] += 1
            self._put(number, raw, now_ns)

    def _end(self, stream: Stream) -> bytes:
        """What says that all was said: PITCH has a message for it, so a heartbeat is enough."""
        if stream.codec is moldudp64:
            return moldudp64.end(stream.session, stream.next_sequence)
        return stream.codec.join(stream.session, stream.unit, stream.next_sequence, [])

    def _put(self, number: int, raw: bytes, due_ns: int) -> None:
        """Onto every line, with what befalls it there."""
        self._said_ns[number] = due_ns
        is_lost = self.both.is_lost()
        codec = self.streams[number].codec
        for line, faults in enumerate(self.lines):
            copies = faults.copies(codec, raw)  # drawn also for what is lost everywhere
            for late_ns, copy in [] if is_lost else copies:
                self._serial += 1
                sent = Sent(line, number, copy)
                heapq.heappush(self._queue, (due_ns + late_ns, self._serial, sent))
