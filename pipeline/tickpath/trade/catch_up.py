"""The market's day so far: every message from the first on, asked for before trading begins.

A request is answered by one packet, so many are under way at a time, each for as many messages as
a packet surely holds.  Answers are fed in order; what does not come is asked for again.  Datagrams
that come live meanwhile wait, and follow.
"""

import time
from collections.abc import Callable

from tickpath.engine import Engine
from tickpath.trade.feed import Feed, header

TIMEOUT_S = 60.0
AGAIN_S = 0.1
MESSAGES = 24
"""Messages of a request: a packet of 1,400 bytes holds as many of the longest type."""
REQUESTS = 64
"""Requests under way."""
MAX_WAITING = 1 << 18
"""Live datagrams that may wait."""


class CatchUp:
    """Asks a feed for its past and puts it into an engine."""

    def __init__(self, engine: Engine, feed: Feed) -> None:
        self._engine = engine
        self._feed = feed
        self._waiting: list[bytes] = []
        self._session = ""
        self._wanted = 0  # the first message that came live
        self._answers: dict[int, bytes] = {}
        self._asked: dict[int, float] = {}

    def run(self, is_stopped: Callable[[], bool]) -> bool:
        """Ask until nothing is missing; False where that could not be had in time."""
        deadline = time.monotonic() + TIMEOUT_S
        while time.monotonic() < deadline and not is_stopped():
            self._listen()
            if self._session:
                if self._next() >= self._wanted:
                    break
                self._ask(time.monotonic())
            self._take()
        done = bool(self._session) and self._next() >= self._wanted
        for datagram in self._waiting:
            self._engine.process(self._feed.lend(datagram))
        return done

    def _next(self) -> int:
        """The next message that the engine expects."""
        lines = self._engine.lines()
        return max(lines[0]["next"] if lines else 1, 1)

    def _listen(self) -> None:
        for packet in self._feed.poll():
            datagram = self._feed.datagram(packet)
            if not self._session and (found := header(datagram)) is not None:
                self._session, self._wanted, _ = found
            if len(self._waiting) < MAX_WAITING:
                self._waiting.append(datagram)

    def _ask(self, now: float) -> None:
        first = self._next()
        for at in range(first, min(first + MESSAGES * REQUESTS, self._wanted), MESSAGES):
            if at not in self._answers and now - self._asked.get(at, 0.0) > AGAIN_S:
                self._asked[at] = now
                self._feed.request(self._session, at, min(MESSAGES, self._wanted - at))

    def _take(self) -> None:
        """Keep answers, and feed those whose turn has come."""
        for packet in self._feed.poll(self._feed.requests):
            datagram = self._feed.datagram(packet)
            if (found := header(datagram)) is not None and len(self._answers) < 2 * REQUESTS:
                self._answers[found[1]] = datagram
        while (datagram := self._answers.pop(self._next(), b"")) != b"":
            self._engine.process(self._feed.lend(datagram))
        if self._asked:
            first = self._next()
            self._asked = {at: when for at, when in self._asked.items() if at >= first}
            self._answers = {at: raw for at, raw in self._answers.items() if at >= first}
        if not self._answers:
            time.sleep(0.0002)
