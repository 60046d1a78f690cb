"""The loop of `tickpath trade`: one thread, one selector, everything in the order it comes.

start    the feed from its first message on, if somebody can be asked; then the journal of
         an earlier process; only then does the strategy see anything, and orders can be sent
         when the session is ready
round    wait for a socket or a deadline; feed, answers, drop copy and operator into the engine;
         what the engine encoded to the session; write
quiet    after `clock_interval_ms` without input, engine time is moved on by a clock command
end      the strategy is stopped, open orders are canceled, the session logs out, files close
"""

import contextlib
import getpass
import selectors
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tickpath.clock import calibrate
from tickpath.decisions import Decisions
from tickpath.digest import symbol_text
from tickpath.engine import Engine
from tickpath.limits import read_start
from tickpath.packet import PACKET
from tickpath.replay import prefault, set_clock
from tickpath.session.credentials import load_credentials
from tickpath.session.ouch import OrderSession
from tickpath.session.ouch_event import ConnectWanted, Ended, LineLost, Ready
from tickpath.session.soup_client import Client
from tickpath.session.soup_event import Sequenced
from tickpath.session.store import Journal
from tickpath.trade import recovery
from tickpath.trade.catch_up import CatchUp
from tickpath.trade.config import TradeConfig, split
from tickpath.trade.desk import WHO, Desk
from tickpath.trade.feed import Feed
from tickpath.trade.line import Line
from tickpath.trade.operator_socket import OperatorSocket
from tickpath.trade.operator_words import Operator, OperatorError
from tickpath.trade.reconcile import Tally, Watch, differences

SCREEN_INTERVAL_S = 0.25
RECONCILE_INTERVAL_NS = 250_000_000
LONGEST_WAIT_S = 0.05
CLOSE_S = 5.0
"""How long cancels and logout may take at the end."""


class Trader:
    """A running pipeline.  Raises `ConfigError`, `SessionError`, `StrategyError`, `AuditError`."""

    def __init__(self, config: TradeConfig, strategy: str | None) -> None:
        self.config = config
        trade = config.trade
        credentials = load_credentials(trade.credentials)
        self.directory = Path(trade.directory)
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._stack = contextlib.ExitStack()
        with contextlib.ExitStack() as stack:
            name = strategy or config.strategy.name
            path = trade.audit or str(self.directory / "decisions.audit")
            self.decisions = Decisions(path, config, strategy=name or "", stops_on_error=False)
            stack.callback(self.decisions.close)
            self.engine = Engine(config, strategy=strategy, on_audit=self.decisions.write)
            journal = Journal(
                self.directory / "orders.journal",
                protocol=config.orders.protocol,
                fsync=trade.fsync,  # type: ignore[arg-type]
            )
            self.journal = stack.enter_context(journal)
            self.feed = Feed(trade.feed, trade.interface, trade.requests)
            stack.callback(self.feed.close)
            self._selector = stack.enter_context(selectors.DefaultSelector())
            self.session = OrderSession(
                journal,
                credentials.username,
                credentials.password,
                now_ns=self._now(),
                settings=trade.session,
                epoch_ns=time.time_ns() - self._now(),
            )
            self.desk = Desk(self.engine, self.session)
            self.line = Line(split(trade.orders), self._selector)
            stack.callback(self.line.close)
            self._copy: Client | None = None
            self._copy_line: Line | None = None
            self.watch: Watch | None = None
            if trade.drop_copy:
                self._copy_line = Line(split(trade.drop_copy), self._selector)
                stack.callback(self._copy_line.close)
            self._credentials = credentials
            self.operator = Operator(self.engine, self._state)
            self._control = OperatorSocket(
                str(self.directory / "control.sock"), self._selector, self._command
            )
            stack.callback(self._control.close)
            self._stack = stack.pop_all()
        self._stopping = False
        self._strategy = 0  # its address; the engine has it only while orders can be sent
        self._last_input_ns = self._now()
        self._engine_time_at = 0
        self._next_reconcile_ns = 0

    def __enter__(self) -> "Trader":
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    @staticmethod
    def _now() -> int:
        return time.monotonic_ns()

    # ------------------------------------------------------------ the start

    def start(self, say: Callable[[str], None]) -> None:
        """Books as they are now, orders as they were left; the strategy is off until the end."""
        engine, block = self.engine, self.engine.block
        self._strategy = block.get("strategy")
        block.set("strategy", 0)
        say("compiling ...")
        set_clock(engine, calibrate())
        engine.process(np.zeros(0, PACKET))
        prefault(engine)
        say("asking for the day so far ...")
        if self.feed.requests is not None and not CatchUp(engine, self.feed).run(self._is_stopped):
            self.desk.note("the day so far could not be had in full: books may be wrong")
        found = recovery.recover(engine, self.journal)
        if found.orders or found.answers:
            self.desk.note(f"recovered {found.orders:,} orders and {found.answers:,} answers")
        for symbol in found.unknown_symbols:
            self.desk.note(f"the journal has orders for {symbol}, which the feed does not have")
        engine.take_orders()
        say("")

    # ------------------------------------------------------------ the loop

    def run(
        self,
        seconds: float | None = None,
        *,
        show: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        """Trade until the time is over, `stop` is called or the session has ended."""
        for each in self.feed.sockets():
            self._selector.register(each, selectors.EVENT_READ, None)
        if self._copy_line is not None:
            self._begin_copy()
        end = None if seconds is None else time.monotonic() + seconds
        shown = 0.0
        while not self._stopping and self.desk.ended is None:
            self._round()
            now = time.monotonic()
            if show is not None and now - shown >= SCREEN_INTERVAL_S:
                shown = now
                show(self._state())
            if end is not None and now >= end:
                break
        self._finish()

    def _is_stopped(self) -> bool:
        return self._stopping

    def stop(self) -> None:
        """End in an orderly way after the present round."""
        self._stopping = True

    def _wait_s(self) -> float:
        deadline = self.session.next_deadline
        if self.session.has_output or deadline is None:
            return 0.0 if self.session.has_output else LONGEST_WAIT_S
        return min(max((deadline - self._now()) / 1e9, 0.0), LONGEST_WAIT_S)

    def _round(self) -> None:
        ready = self._selector.select(self._wait_s())
        now = self._now()
        for key, _ in ready:
            if callable(key.data):
                key.data(now)
        self._take_feed()
        self._take_session(now)
        self._take_copy(now)
        self._move_clock(now)
        self._reconcile(now)
        self._act(self.desk.take(self.desk.flush(now), now))
        self._write(now)

    def _take_feed(self) -> None:
        for source in self.feed.sockets():
            while len(packets := self.feed.poll(source)):
                self.engine.process(packets)
                self._last_input_ns = self._now()
                self._act(self.desk.take(self.desk.flush(self._now()), self._now()))

    def _take_session(self, now: int) -> None:
        events = self.session.tick(now)
        connected = self.line.progress()
        if connected is True:
            events += self.session.connected(now)
        elif connected is False:
            events += self.session.connect_failed(self.line.why, now)
        if received := self.line.take():
            events += self.session.receive(received, now)
        if self.line.was_lost():
            events += self.session.disconnected(now)
        self._act(self.desk.take(events, now))

    def _act(self, events: list) -> None:
        for event in events:
            if isinstance(event, ConnectWanted):
                self.line.open()
            elif isinstance(event, Ready) and not self._stopping:
                self.engine.block.set("strategy", self._strategy)
            elif isinstance(event, LineLost | Ended):
                self.engine.block.set("strategy", 0)

    def _write(self, now: int) -> None:
        while self.session.has_output and self.line.has_room:
            self.line.write(self.session.take_output())
        if not self.session.has_line and not self.session.has_output:
            self.line.close_when_written()
        self.line.flush()

    # ------------------------------------------------------------ the drop copy

    def _begin_copy(self) -> None:
        trade = self.config.trade
        start = {
            symbol_text(row["symbol"]): int(row["quantity"])
            for row in read_start(self.config.risk.start_of_day)
        }
        tally = Tally(self.config.orders.protocol)
        self.watch = Watch(tally, start, trade.reconcile_grace_ms * 1_000_000)
        assert self._copy_line is not None
        self._copy_line.open()

    def _take_copy(self, now: int) -> None:
        line = self._copy_line
        if line is None or self.watch is None:
            return
        connected = line.progress()
        if connected is True:
            self._copy = Client(
                self._credentials.username, self._credentials.password, sequence=1, now_ns=now
            )
        elif connected is False:
            self.desk.note(f"drop copy: {line.why}")
        if self._copy is None:
            return
        events = self._copy.tick(now)
        if received := line.take():
            events += self._copy.receive(received, now)
        for event in events:
            if isinstance(event, Sequenced):
                self.watch.tally.take(event.payload)
        while self._copy.has_output and line.has_room:
            line.write(self._copy.take_output())
        line.flush()
        if line.was_lost():
            self._copy = None
            self.desk.note("drop copy: the connection is lost")

    def _reconcile(self, now: int) -> None:
        if self.watch is None or self._copy is None or now < self._next_reconcile_ns:
            return
        self._next_reconcile_ns = now + RECONCILE_INTERVAL_NS
        for line in self.watch.check(self.engine, now):
            gate = self.engine.block.gate[0]
            if not gate["killed"]:
                self.desk.note(f"positions differ, kill switch latched: {line}")
                self.engine.command("kill", who=WHO, why="drop copy differs", scope="G", level=2)

    # ------------------------------------------------------------ clock and operator

    def _move_clock(self, now: int) -> None:
        """Without input for a while, time goes on by ours."""
        interval = self.config.trade.clock_interval_ms * 1_000_000
        quiet = now - self._last_input_ns
        if not interval or quiet < interval or not self.engine.messages:
            return
        self._last_input_ns = now
        time_ns = self.engine.block.get("engine_time") + quiet
        self.engine.command("clock", who=WHO, why="no input", timestamp=time_ns)

    def _command(self, line: str, who: str) -> dict[str, Any]:
        try:
            return self.operator.run(line, who)
        except OperatorError as error:
            return {"error": str(error)}

    def _state(self) -> dict[str, Any]:
        differs = differences(self.engine, self.watch.tally, {}) if self.watch else []
        return {
            "ready": self.desk.is_ready,
            "session": self.session.state.name,
            "notes": self.desk.notes,
            "differs_from_drop_copy": differs,
            "desk": dict(self.desk.counters),
            "feed": dict(self.feed.counters),
            "audit_error": str(self.decisions.error) if self.decisions.error else None,
        }

    # ------------------------------------------------------------ the end

    def _finish(self) -> None:
        """No new orders, cancels for the open ones, a logout; bounded in time."""
        self._stopping = True
        self.engine.block.set("strategy", 0)
        end = time.monotonic() + CLOSE_S
        if self.desk.is_ready:
            self.operator.run("cancel all --why 'end of trading'", getpass.getuser())
            while time.monotonic() < end and self.engine.block.gate[0]["open_orders"]:
                self._round()
            self._act(self.desk.take(self.session.logout(self._now()), self._now()))
        while time.monotonic() < end and self.desk.ended is None and self.line.is_open:
            self._round()

    def result(self) -> dict[str, Any]:
        """What was done, for the end."""
        engine = self.engine
        return {
            "schema": "tickpath.trade/1",
            **self.operator.run("status"),
            "positions": self.operator.run("positions")["positions"],
            "open_own_orders": self.operator.run("orders")["orders"],
            "state_digest": f"{engine.state_digest:016x}",
            "audit": {"records": self.decisions.records, "head": self.decisions.head},
        }


def install(trader: Trader) -> None:
    """Stop in an orderly way on the signals that ask for it."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: trader.stop())
