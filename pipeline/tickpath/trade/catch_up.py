"""The feed's messages in their order: what is missing is asked for, and what comes meanwhile waits.

At the start the whole day so far is missing, later what the network lost: both are the same here.
No sockets and no clock: headers of datagrams go in, `take` says what to do with each, `due` gives
those whose turn has come, `requests` what to ask for.

    next, or known already     at once: the engine drops what it knows
    beyond what is next        kept, and the messages before it are asked for; where those do not
                               come in `patience_ns`, or are not kept any more, it is the engine's
                               turn: it declares a gap
    far beyond                 at once: the engine does not believe one packet that says so; nor is
                               it believed at the start, where the day may well be that long
    of another session         counted and dropped, until the session that is followed has ended,
                               so that a stray packet cannot end a day; which one that is, the
                               first packet says or the configuration

What is kept is bounded by datagrams and bytes; what has no room is asked for again when it is next.
"""

import heapq
from collections import Counter
from collections.abc import Iterator

from tickpath.line import MAX_JUMP
from tickpath.trade.feed import Header, header
from tickpath.wire.moldudp64 import END_OF_SESSION, HEARTBEAT

MESSAGES = 24
"""Messages of a request: a packet of 1,400 bytes holds as many of the longest type."""
REQUESTS = 64
"""Requests under way."""
AGAIN_NS = 100_000_000
"""When a request is repeated."""
MAX_KEPT = 1 << 16
MAX_KEPT_BYTES = 1 << 26
_FAR = int(MAX_JUMP)


def behind(found: Header) -> int:
    """The number of the message behind a packet."""
    count = found.message_count
    return found.sequence_number + (0 if count in (HEARTBEAT, END_OF_SESSION) else count)


class CatchUp:
    """See the module's text.  ``first`` is the message that the engine begins with.

    Where nobody can be asked ``first`` is None, the first that comes, and there is no patience.
    """

    def __init__(
        self,
        first: int | None,
        patience_ns: int,
        counters: Counter[str],
        only: str | None = None,
    ) -> None:
        """``only`` is the name of the one session that is followed; None for any."""
        self.session: bytes | None = None
        self.expected = first or 0
        """The next message; 0 before any has come."""
        self.highest = 0
        """The next message as the other side counts."""
        self.patience_ns = patience_ns
        self.counters = counters
        self._only = None if only is None else only.strip().encode("latin-1")
        self._is_new = True  # the day so far is missing
        self._has_ended = False
        self._kept: list[tuple[int, int, bytes]] = []  # heap: sequence number, serial, datagram
        self._kept_bytes = self._serial = 0
        self._asked: dict[int, tuple[int, int]] = {}  # first message -> the one behind, when
        self._missing_end = 0  # the lowest message that came live and is kept
        self._candidate = 0  # what the packet behind one that was far beyond has to begin with
        self._stuck_since_ns: int | None = None

    @property
    def is_current(self) -> bool:
        """True where nothing is missing."""
        return self.session is not None and self.expected >= self.highest and not self._kept

    @property
    def is_settled(self) -> bool:
        """True where `due` and `requests` have nothing to do."""
        return self._stuck_since_ns is None and not self._is_new and self.is_current

    # ------------------------------------------------------------ datagrams in

    def take(self, found: Header | None, datagram: memoryview, now_ns: int) -> bool:
        """True where the engine is to have a live datagram now; else it is kept or dropped."""
        if found is None:
            return True  # the engine counts what is no packet
        if found.session != self.session and not self._begin(found):
            self.counters["packets_of_another_session"] += 1
            return False
        sequence = found.sequence_number
        if sequence - self.expected > _FAR and self.patience_ns:
            if not self._is_new:
                return True
            if sequence != self._candidate:
                self._candidate = behind(found)
                self.counters["packets_not_believed"] += 1
                return False
        if sequence <= self.expected or not self.patience_ns:
            self._move(behind(found), now_ns)
            self._has_ended |= found.message_count == END_OF_SESSION
            return True
        if self.expected >= self._missing_end or sequence < self._missing_end:
            self._missing_end = sequence
        self.highest = max(self.highest, behind(found))
        if self._stuck_since_ns is None:
            self._stuck_since_ns = now_ns
        self._keep(sequence, datagram)
        return False

    def take_answer(self, found: Header | None, datagram: memoryview, now_ns: int) -> bool:
        """As `take`, of an answer to a request."""
        if found is None or found.session != self.session:
            self.counters["answers_odd"] += 1
            return False
        sequence = found.sequence_number
        if sequence > self.expected and sequence in self._asked:
            self._keep(sequence, datagram)
            return False
        if sequence > self.expected:
            if not self._asked or sequence > self.highest:
                self.counters["answers_odd"] += 1
                return False
            # It begins with the oldest message that is kept there.
            self.counters["messages_not_kept"] += sequence - self.expected
        self._move(behind(found), now_ns)
        return True

    def _begin(self, found: Header) -> bool:
        """Whether another session than so far is followed from now on."""
        if self._only is not None and found.session.strip() != self._only:
            return False
        if self.session is not None:
            if not self._has_ended:
                return False
            self.counters["sessions"] += 1
            self.expected = 1 if self.patience_ns else 0
        self.session, self._has_ended, self._is_new = found.session, False, True
        self.expected = self.expected or found.sequence_number
        is_far = found.sequence_number - self.expected > _FAR
        self.highest = self.expected + 1 if is_far else behind(found)
        self._kept, self._kept_bytes, self._missing_end = [], 0, 0
        self._asked.clear()
        return True

    def _move(self, to: int, now_ns: int) -> None:
        """The engine gets all messages before a number."""
        self.highest = max(self.highest, to)
        if to > self.expected:
            self.expected = to
            self._stuck_since_ns = None if self.is_current else now_ns

    def _keep(self, sequence: int, datagram: memoryview) -> None:
        if len(self._kept) >= MAX_KEPT or self._kept_bytes + len(datagram) > MAX_KEPT_BYTES:
            self.counters["packets_not_kept"] += 1
            return
        self._serial += 1
        self._kept_bytes += len(datagram)
        heapq.heappush(self._kept, (sequence, self._serial, bytes(datagram)))

    def follow(self, expected: int) -> None:
        """What the engine says is next.

        That is less than was thought where a packet was cut short, or not believed: then the next
        one that comes says how far the other side is.
        """
        if expected < self.expected:
            self.highest = expected
        self.expected = expected
        self.highest = max(self.highest, expected)

    # ------------------------------------------------------------ what comes of it

    def due(self, now_ns: int) -> Iterator[bytes]:
        """Kept datagrams whose turn has come."""
        since = self._stuck_since_ns
        if self._kept and since is not None and now_ns - since >= self.patience_ns:
            self.counters["gaps_given_up"] += 1
            self.counters["messages_given_up"] += self._kept[0][0] - self.expected
            self._stuck_since_ns, self.expected = now_ns, self._kept[0][0]
        while self._kept and self._kept[0][0] <= self.expected:
            _, _, datagram = heapq.heappop(self._kept)
            self._kept_bytes -= len(datagram)
            found = header(datagram)
            assert found is not None
            self._move(behind(found), now_ns)
            self._has_ended |= found.message_count == END_OF_SESSION
            yield datagram
        if self.is_current:
            self._stuck_since_ns, self._is_new = None, False
            self._asked.clear()

    def requests(self, now_ns: int) -> Iterator[tuple[int, int]]:
        """(first message, number) of what is to be asked for now."""
        if self.session is None or not self.patience_ns or self.is_current:
            return
        asked: dict[int, tuple[int, int]] = {}
        for first, (end, when) in self._asked.items():
            if first < self.expected < end:  # the answer had room for some of it
                asked[self.expected] = end, now_ns - AGAIN_NS
            elif first >= self.expected:
                asked[first] = end, when
        missing_end = self._missing_end
        if missing_end <= self.expected:
            missing_end = self._kept[0][0] if self._kept else self.highest
        first = max((end for end, _ in asked.values()), default=self.expected)
        while first < missing_end and len(asked) < REQUESTS:
            end = min(first + MESSAGES, missing_end)
            asked[first] = end, now_ns - AGAIN_NS
            first = end
        for first, (end, when) in asked.items():
            if now_ns - when >= AGAIN_NS:
                asked[first] = end, now_ns
                yield first, end - first
        self._asked = asked
