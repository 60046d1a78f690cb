"""The feed into the engine: bursts that are in order at once, the rest as `catch_up` says.

The engine takes the first packet that it sees for the first there is.  So a session is begun with a
heartbeat of our own that says message 1 is next: what cannot be had of the day so far is a gap like
any other, and the books behind it are stale.  (A packet that is cut short is found out only behind
its burst: what it lacks is a gap where others followed in the same one.)
"""

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from tickpath.config import ConfigError
from tickpath.engine import Engine
from tickpath.trade.catch_up import CatchUp
from tickpath.trade.config import Trade
from tickpath.trade.feed import BURST, Feed, header

MAX_BURSTS = 16
"""Bursts of one socket in a round, so that a feed that never stops does not keep all else waiting.
"""
MILLISECOND_NS = 1_000_000
SAY_INTERVAL_NS = 1_000 * MILLISECOND_NS
START_WAIT_S = 0.0005


class Market:
    """One line of the market.  Raises `ConfigError` where its sockets cannot be had."""

    def __init__(self, engine: Engine, trade: Trade, clock: Callable[[], int]) -> None:
        self._engine, self._trade, self._clock = engine, trade, clock
        self.feed = Feed(trade.feed, trade.interface, trade.requests)
        self.counters: Counter[str] = self.feed.counters
        can_ask = trade.requests is not None
        patience_ns = trade.start_timeout_ms * MILLISECOND_NS if can_ask else 0
        self._session: bytes | None = None  # the one that the engine knows
        self.catch_up = CatchUp(
            1 if can_ask else None, patience_ns, self.counters, trade.feed_session
        )

    def close(self) -> None:
        """Close the sockets."""
        self.feed.close()

    # ------------------------------------------------------------ the start

    def start(self, is_stopped: Callable[[], bool], say: Callable[[str], None]) -> None:
        """Take the day so far.  Raises `ConfigError` where nothing comes at all."""
        catch_up, trade = self.catch_up, self._trade
        begun_ns = said_ns = self._clock()
        while not is_stopped() and not catch_up.is_current:
            if not self.take(lambda: None):
                time.sleep(START_WAIT_S)
            now_ns = self._clock()
            waited_ms = (now_ns - begun_ns) // MILLISECOND_NS
            if catch_up.session is None and waited_ms >= trade.start_timeout_ms:
                what = (
                    "no packet" if trade.feed_session is None else f"none of {trade.feed_session}"
                )
                raise ConfigError(
                    f"trade.feed: {what} came to {trade.feed} over {trade.interface} in "
                    f"{trade.start_timeout_ms / 1000:g} s; is the exchange running?"
                )
            if catch_up.session is not None and now_ns - said_ns >= SAY_INTERVAL_NS:
                said_ns = now_ns
                say(f"the day so far: message {catch_up.expected:,} of {catch_up.highest:,}")
        if trade.requests is not None:
            catch_up.patience_ns = trade.gap_timeout_ms * MILLISECOND_NS

    # ------------------------------------------------------------ rounds

    def take(self, after: Callable[[], None]) -> int:
        """Everything that has come into the engine, ``after`` every burst; gives the datagrams."""
        catch_up, feed = self.catch_up, self.feed
        taken = self._take(feed.live, catch_up.take, after)
        if feed.requests is not None:
            taken += self._take(feed.requests, catch_up.take_answer, after)
        if not catch_up.is_settled:
            self._take_due(after)
            for first, number in catch_up.requests(self._clock()):
                feed.request(catch_up.session or b"", first, number)
        return taken

    def _take(self, source: Any, takes: Callable[..., bool], after: Callable[[], None]) -> int:
        feed, taken = self.feed, 0
        for _ in range(MAX_BURSTS):
            number = feed.poll(source)
            if not number:
                break
            taken += number
            now_ns, first = self._clock(), 0
            for at in range(number):
                datagram = feed.datagram(at)
                if not takes(header(datagram), datagram, now_ns):
                    self._process(first, at)
                    first = at + 1
            self._process(first, number)
            after()
        return taken

    def _process(self, first: int, end: int) -> None:
        """Give datagrams of the burst to the engine, and hear what it expects then."""
        if first < end:
            self._begin()
            self._engine.process(self.feed.lend(first, end))
            self._follow()

    def _begin(self) -> None:
        session = self.catch_up.session
        if session is not None and session != self._session:
            self._session = session
            self._engine.process(self.feed.heartbeat(session, 1))

    def _follow(self) -> None:
        block = self._engine.block
        # There is one line: everything comes to one group.
        if block.get("lines"):
            self.catch_up.follow(int(block.line["expected"][0]))

    def _take_due(self, after: Callable[[], None]) -> None:
        waiting: list[bytes] = []
        for datagram in self.catch_up.due(self._clock()):
            waiting.append(datagram)
            if len(waiting) == BURST:
                self._process_again(waiting, after)
        if waiting:
            self._process_again(waiting, after)

    def _process_again(self, datagrams: list[bytes], after: Callable[[], None]) -> None:
        self._begin()
        self._engine.process(self.feed.lend_again(datagrams))
        datagrams.clear()
        self._follow()
        after()
