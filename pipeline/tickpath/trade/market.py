"""The market into the engine: what has come, and what is done about what has not.

    feed       who receives: lends datagrams of all groups; or a live transport, whose packets go
               into the engine without crossing into Python (`tickpath.live`)
    sessions   which of them are of the day that is followed
    engine     arbitrates between lines A and B, waits for what is late, says what is missing
    holes      asks for that, fetches snapshots, or declares a gap

At the start the whole day so far is missing, later what all lines lost: both are the same here.
"""

import socket
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Literal

import numpy as np

from tickpath import backend
from tickpath.backend import LiveTransport
from tickpath.config import ConfigError, parse_group
from tickpath.engine import Engine
from tickpath.live import Live
from tickpath.recovery.engine import LineName
from tickpath.recovery.engine_lines import EngineLines
from tickpath.recovery.limits import MILLISECOND_NS
from tickpath.session.credentials import Credentials
from tickpath.session.tcp_stream import unix_epoch_ns
from tickpath.trade.config import TradeConfig, split
from tickpath.trade.feed import Feed
from tickpath.trade.holes import Holes
from tickpath.trade.sessions import Sessions

MAX_BURSTS = 16
"""Bursts in a round, so that a feed that never stops does not keep all else waiting."""
SAY_INTERVAL_NS = 1_000 * MILLISECOND_NS
START_WAIT_S = 0.0005
STEP_NS = 20_000
"""How long a live transport is polled before the order session and the operator have their turn."""


class Market:
    """See the module's text.

    Raises `ConfigError` where its sockets cannot be had, `SessionError` for an unknown host.
    """

    def __init__(
        self,
        engine: Engine,
        config: TradeConfig,
        credentials: Credentials,
        clock: Callable[[], int],
    ) -> None:
        """``config`` is a `checked` one; ``credentials`` are those of the feed's servers."""
        trade, feed = config.trade, config.feed
        self._engine, self._trade, self._clock = engine, trade, clock
        self._epoch_ns = unix_epoch_ns(clock)
        self.counters_here: Counter[str] = Counter()
        lines_a = [LineName(*split(each)) for each in feed.groups]
        lines_b = {LineName(*split(b)): LineName(*split(a)) for a, b in feed.lines_b.items()}
        self._lines_a, self._lines_b = lines_a, list(lines_b)
        groups = [(each.group, each.port) for each in (*lines_a, *lines_b)]
        self._stack = ExitStack()
        self._live: Live | None = None
        self.transport: LiveTransport | None = None
        self.feed: Feed | None = None
        if trade.backend is not None:
            self.transport = _opened(trade.backend, config)
            self._stack.callback(self.transport.close)
        else:
            self.feed = Feed(groups, trade.interface, self._wall_ns)
            self._stack.callback(self.feed.close)
        self._lines = EngineLines(engine)
        line_of = {each: each for each in lines_a} | lines_b
        self._sessions = Sessions(
            engine,
            self._lines,
            {parse_group(f"{each.group}:{each.port}"): a for each, a in line_of.items()},
            trade.feed_session,
            self.counters_here,
        )
        try:
            self._holes = Holes(engine, self._lines, lines_a, trade, credentials, clock)
        except BaseException:
            self._stack.close()
            raise

    def _wall_ns(self) -> int:
        return self._epoch_ns + self._clock()

    def close(self) -> None:
        """Close the sockets."""
        self._stack.close()
        self._holes.close()

    # ------------------------------------------------------------ the start

    def begin(self) -> None:
        """Compile what is called when something is missing; a live transport begins to lend."""
        self._lines.warm_up()
        if self.transport is not None and self._live is None:
            self._live = self._stack.enter_context(Live(self._engine, self.transport))

    def give(self, packets: np.ndarray) -> None:
        """Packets that were received before, into the engine."""
        self._sessions.give(packets)

    def start(self, is_stopped: Callable[[], bool], say: Callable[[str], None]) -> None:
        """Take the day so far.  Raises `ConfigError` where nothing comes to a group."""
        self.begin()
        begun_ns = said_ns = self._clock()
        while not is_stopped() and not self.is_current:
            if not self.take(lambda: None) and self._live is None:
                time.sleep(START_WAIT_S)
            now_ns = self._clock()
            silent = self._silent()
            waited_ms = (now_ns - begun_ns) // MILLISECOND_NS
            if silent and waited_ms >= self._trade.start_timeout_ms:
                self._refuse(silent[0])
            if not silent and now_ns - said_ns >= SAY_INTERVAL_NS:
                said_ns = now_ns
                say(self._progress())
        self._holes.be_patient(self._trade.gap_timeout_ms)

    def _silent(self) -> list[LineName]:
        """Lines A of which nothing has come, on their line B either."""
        heard = {(each.group, each.port) for each in self._lines.names()}
        return [each for each in self._lines_a if (each.group, each.port) not in heard]

    def _refuse(self, silent: LineName) -> None:
        trade = self._trade
        what = "no packet" if trade.feed_session is None else f"none of {trade.feed_session}"
        over = trade.interface if self.transport is None else trade.backend
        raise ConfigError(
            f"trade.feed: {what} came to {silent.group}:{silent.port} over {over} in "
            f"{trade.start_timeout_ms / 1000:g} s; is the exchange running?"
        )

    def _progress(self) -> str:
        """How far those lines are that lack something."""
        parts = []
        for name in self._lines.names():
            if not self._holes.is_current(name):
                expected, seen = self._lines.seen(name)
                unit = f"unit {name.unit}: " if name.unit else ""
                parts.append(f"{unit}message {expected:,} of {seen:,}")
        return f"the day so far: {'; '.join(parts)}"

    # ------------------------------------------------------------ rounds

    def take(self, after: Callable[[], None]) -> int:
        """Everything that has come into the engine, ``after`` every burst; gives how much it was.

        Windows of lines end by the time of now, and what is missing is seen to.
        """
        if self._live is not None:
            return self._take_live(self._live, after)
        assert self.feed is not None
        taken = 0
        for _ in range(MAX_BURSTS):
            packets = self.feed.poll()
            if len(packets):
                taken += len(packets)
                self._sessions.give(packets)
                self.feed.release()
                after()
            self._engine.pass_time(self._wall_ns())
            if self._holes.poll():
                taken += 1
                after()
            if not len(packets):
                break
        return taken

    def _take_live(self, live: Live, after: Callable[[], None]) -> int:
        """The same from a live transport, which is polled for a moment."""
        taken = live.step(STEP_NS)
        after()
        if self._holes.poll():
            taken += 1
            after()
        return taken

    @property
    def is_polled(self) -> bool:
        """Whether `take` looks for packets itself, so that nobody should wait for them."""
        return self._live is not None

    def waited_for(self) -> list[socket.socket | Any]:
        """What can become readable, for a selector."""
        return [*(self.feed.sockets if self.feed is not None else ()), *self._holes.networks]

    @property
    def next_deadline(self) -> int | None:
        """When `take` has something to do even if nothing comes."""
        due = self._holes.next_deadline
        if self._engine.block.get("waiting"):
            window_ns = self._clock() + self._engine.block.get("reorder_ns")
            due = window_ns if due is None else min(due, window_ns)
        return due

    def use_line(self, line: Literal["A", "B", "both"]) -> str | None:
        """Take the feed from lines A or B alone, or from both; gives why that cannot be."""
        if self.feed is None:
            return f"{self._trade.backend} lends what comes on both lines"
        if line != "both" and not self._lines_b:
            return "there are no lines B (feed.lines_b)"
        others = {"both": [], "A": self._lines_b, "B": self._lines_a}[line]
        self.feed.heed_not((each.group, each.port) for each in others)
        return None

    # ------------------------------------------------------------ what is known

    @property
    def is_current(self) -> bool:
        """True where every group has brought something, and no line lacks anything."""
        return not self._silent() and all(map(self._holes.is_current, self._lines.names()))

    @property
    def counters(self) -> Counter[str]:
        """Everything that was counted beside what the engine counts."""
        counted = self.counters_here + self._holes.counters
        if self.transport is not None:
            return counted + Counter(self.transport.counters)
        assert self.feed is not None
        self.feed.note_drops()
        return self.feed.counters + counted

    def lines(self) -> list[dict[str, Any]]:
        """As `Engine.lines`, with where recovery stands: its state's name."""
        states = self._holes.states
        return [
            {**each, "recovery": states[name].name}
            for name, each in zip(self._lines.names(), self._engine.lines(), strict=True)
            if name in states
        ]


def _opened(name: str, config: TradeConfig) -> LiveTransport:
    """The transport of a live backend.  Raises `BackendError`, `ConfigError`."""
    found = backend.find(name)
    if not found.transport.is_live:  # type: ignore[attr-defined]
        raise ConfigError(f"trade.backend: {name}: it receives nothing live")
    transport: LiveTransport = found.transport(config)
    transport.open()
    return transport
