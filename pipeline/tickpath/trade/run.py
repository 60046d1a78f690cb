"""The loop of `tickpath trade`: one thread, one selector, everything in the order it comes.

start    the feed from its first message on, or from a snapshot; then the journal of an earlier
         process; only then does the strategy see anything, and orders can be sent when the
         session is ready
round    wait for a socket or a deadline; feed, answers, drop copy and operator into the engine;
         what the engine encoded to the session, at once
quiet    after `clock_interval_ms` without input, engine time is moved on by a clock command
end      the strategy is stopped, open orders are canceled, the session logs out, files close
"""

import contextlib
import getpass
import hashlib
import selectors
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tickpath import __version__, incomplete
from tickpath.clock import calibrate
from tickpath.config import Config, ConfigError
from tickpath.decisions import Decisions
from tickpath.digest import symbol_text
from tickpath.engine import Engine
from tickpath.limits import read_start
from tickpath.operator_socket import OperatorSocket
from tickpath.packet import PACKET
from tickpath.replay import is_compiled, prefault, set_clock
from tickpath.session.credentials import Credentials, load_credentials
from tickpath.session.log import SessionLog
from tickpath.session.ouch import OrderSession
from tickpath.session.ouch_event import End, Ended, LineLost, Ready
from tickpath.session.ouch_message import DIALECTS
from tickpath.session.soup_event import Event, Reason, Sequenced
from tickpath.session.store import Journal
from tickpath.session.tcp import resolve, unix_epoch_ns
from tickpath.trade.config import TradeConfig, split
from tickpath.trade.desk import WHO, Desk
from tickpath.trade.drop_copy import DropCopy
from tickpath.trade.latch import Latch
from tickpath.trade.line import Line
from tickpath.trade.market import Market
from tickpath.trade.operator_words import Operator, OperatorError
from tickpath.trade.reconcile import Watch
from tickpath.trade.recovery import Recovery

MILLISECOND_NS = 1_000_000
SCREEN_INTERVAL_NS = 250 * MILLISECOND_NS
RECONCILE_INTERVAL_NS = 250 * MILLISECOND_NS
LONGEST_WAIT_NS = 50 * MILLISECOND_NS
CLOSE_NS = 5_000 * MILLISECOND_NS
"""How long cancels, last answers and logout may take at the end."""

ORDERLY = (End.LOGOUT, End.STOPPED, End.END_OF_SESSION)
HINTS = {
    End.NOT_AUTHORIZED: "check TICKPATH_USERNAME and TICKPATH_PASSWORD, or trade.credentials",
    End.OTHER_SESSION: "another day has begun: name another trade.directory",
    End.ATTEMPTS: "is the exchange running?",
}

Say = Callable[[str], None]


class Trader:
    """A running pipeline.

    Raises `ConfigError`, `SessionError`, `StrategyError`, `AuditError`: before anything was sent.
    """

    def __init__(
        self,
        config: TradeConfig,
        strategy: Any = None,
        *,
        say: Say = lambda text: None,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """``strategy`` is as the engine's; ``say`` is told what an operator should know."""
        self.config, self._clock = config, clock
        self._stack = contextlib.ExitStack()
        with contextlib.ExitStack() as stack:
            self._open(stack, strategy, say, load_credentials(config.trade.credentials))
            self._stack = stack.pop_all()
        self.difference: list[str] = []
        """What engine and drop copy say differently, once the kill switch has latched for it."""
        self.failure: str | None = None
        """Why there is no use in trying on, where the session was never ready."""
        self._stopping = False
        self._say = say
        self._strategy = 0  # its address; the engine has it only while orders can be sent
        self._has_begun = False  # the session was ready once
        self._lacking = 0
        self._last_input_ns = self._next_reconcile_ns = clock()

    def _open(
        self, stack: contextlib.ExitStack, strategy: Any, say: Say, credentials: Credentials
    ) -> None:
        config, trade, clock = self.config, self.config.trade, self._clock
        self.directory = _directory(trade.directory)
        protocol = config.orders.protocol
        journal = Journal(self.directory / "orders.journal", protocol=protocol, fsync=trade.fsync)
        self.journal = stack.enter_context(journal)  # locked: one trader for a directory
        self.latch = Latch(self.directory)
        self.decisions = _decisions(config, strategy, self.directory)
        stack.callback(self.decisions.close)
        self.engine = Engine(config, strategy=strategy, on_audit=self.decisions.write)
        of_feed = trade.feed_credentials
        self.market = Market(
            self.engine,
            config,
            credentials if of_feed is None else load_credentials(of_feed),
            clock,
        )
        stack.callback(self.market.close)
        self._selector = stack.enter_context(selectors.DefaultSelector())
        for each in self.market.waited_for():
            self._selector.register(each, selectors.EVENT_READ, None)
        epoch_ns = unix_epoch_ns(clock)
        self.session = OrderSession(
            journal,
            credentials.username,
            credentials.password,
            now_ns=clock(),
            settings=trade.session,
            epoch_ns=epoch_ns,
        )
        self.desk = Desk(self.engine, self.session, say, lambda: time.strftime("%H:%M:%S"))
        log = None
        if trade.log_bytes:
            log = SessionLog(
                self.directory / "session.log",
                dialect=DIALECTS[protocol],
                secrets=[credentials.password],
                epoch_ns=epoch_ns,
                max_bytes=trade.log_bytes,
            )
            stack.callback(log.close)
        address = resolve(*split(trade.orders))
        self.line = Line(
            self.session,
            address,
            self._selector,
            busy_poll_us=trade.busy_poll_us,
            log=log,
            clock=clock,
        )
        stack.callback(self.line.close)
        self._open_drop_copy(stack, credentials)
        self.operator = Operator(self.engine, self.state, self.latch.set)
        socket = str(self.directory / "control.sock")
        self._control = OperatorSocket(
            socket, self._selector, self._operate, "trader", OperatorError
        )
        stack.callback(self._control.close)

    def _open_drop_copy(self, stack: contextlib.ExitStack, credentials: Credentials) -> None:
        trade = self.config.trade
        self.watch: Watch | None = None
        if trade.drop_copy is None:
            return
        start = {
            symbol_text(row["symbol"]): int(row["quantity"])
            for row in read_start(self.config.risk.start_of_day)
        }
        grace_ns = trade.reconcile_grace_ms * MILLISECOND_NS
        self.watch = Watch(self.config.orders.protocol, start, grace_ns)
        self.drop_copy = DropCopy(
            credentials.username,
            credentials.password,
            trade.session,
            self._clock(),
            self.desk.note,
        )
        address = resolve(*split(trade.drop_copy))
        self._copy_line = Line(self.drop_copy, address, self._selector, clock=self._clock)
        stack.callback(self._copy_line.close)

    def __enter__(self) -> "Trader":
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    # ------------------------------------------------------------ the start

    def start(self) -> None:
        """Books as they are now, orders as they were left; the strategy is off until the end.

        Raises `ConfigError` where there is no feed.
        """
        engine, block, note = self.engine, self.engine.block, self.desk.note
        self._strategy = block.get("strategy")
        block.set("strategy", 0)
        if not is_compiled():
            self._say("compiling the pipeline (first run only, a minute) ...")
        set_clock(engine, calibrate())
        engine.advance(np.zeros(0, PACKET))
        prefault(engine)
        self.market.start(self._is_stopped, self._say)
        if self._stopping:
            return
        if given_up := self.market.counters["messages_given_up"]:
            note(f"{given_up:,} messages of the day so far could not be had: books are stale")
        self.latch.apply(engine)
        if self.latch.switches:
            note(f"{len(self.latch.switches)} kill switches are latched from before: see ctl reset")
        self._recover()
        engine.take_orders()

    def _recover(self) -> None:
        """Take up what an earlier process left; where that is not possible, stop everything."""
        note, now_ns = self.desk.note, self._clock()
        watch = self.watch
        on_answer = None if watch is None else lambda each: watch.take_answer(each, now_ns)
        found = Recovery(self.engine, self.journal, on_answer).run()
        if found.orders or found.answers:
            note(f"recovered {found.orders:,} orders and {found.answers:,} answers")
        problems = [f"orders for {each}, which the feed does not have" for each in
                    found.unknown_symbols]  # fmt: skip
        if found.without_room:
            problems.append(f"{found.without_room:,} orders more than there is room for")
        for each in problems:
            note(f"the journal has {each}: kill switch latched")
        if problems:
            self._kill("journal not taken up in full")

    def _kill(self, why: str) -> None:
        values: dict[str, Any] = {"scope": "G", "symbol": "", "level": 2}
        self.latch.set(WHO, why, **values)
        self.engine.command("kill", who=WHO, why=why, **values)

    # ------------------------------------------------------------ the loop

    def run(
        self, seconds: float | None = None, show: Callable[[dict[str, Any]], None] | None = None
    ) -> None:
        """Trade until the time is over, `stop` is called or the session has ended."""
        now_ns = shown_ns = self._clock()
        end_ns = None if seconds is None else now_ns + round(seconds * 1e9)
        while not self._stopping and self.desk.ended is None:
            self.round()
            now_ns = self._clock()
            if show is not None and now_ns - shown_ns >= SCREEN_INTERVAL_NS:
                shown_ns = now_ns
                show(self.state())
            if end_ns is not None and now_ns >= end_ns:
                break
        self.finish()

    def stop(self) -> None:
        """End in an orderly way after the present round; may be called from a signal handler."""
        self._stopping = True

    def _is_stopped(self) -> bool:
        return self._stopping

    def round(self, longest_ns: int = LONGEST_WAIT_NS) -> None:
        """Wait at most so long; then everything that has come, and what comes of it."""
        for key, _ in self._selector.select(self._wait_ns(longest_ns) / 1e9):
            if callable(key.data):
                key.data(self._clock())
        if self.market.take(self._send):
            self._last_input_ns = self._clock()
        self._act(self.line.poll(0))
        self._take_copy()
        self._send()
        now_ns = self._clock()
        self._move_clock(now_ns)
        self._reconcile(now_ns)
        self._watch_books()

    def _wait_ns(self, longest_ns: int) -> int:
        if self.market.is_polled:
            return 0
        now_ns = self._clock()
        deadlines = [self.line.next_deadline, self.market.next_deadline, now_ns + longest_ns]
        if self.watch is not None:
            deadlines.append(self._copy_line.next_deadline)
        return max(min(each for each in deadlines if each is not None) - now_ns, 0)

    def _send(self) -> None:
        """What the engine has encoded to the session, and onto the wire."""
        events = self.desk.flush(self._clock())
        self.line.flush()
        if events:
            self._act(events)

    def _act(self, events: list[Event]) -> None:
        if not events:
            return
        now_ns = self._clock()
        for event in self.desk.take(events):
            if isinstance(event, Sequenced):
                self._last_input_ns = now_ns
                if self.watch is not None:
                    self.watch.take_answer(event.payload, now_ns)
            elif isinstance(event, Ready):
                self._begin()
            elif isinstance(event, LineLost | Ended):
                self.engine.block.set("strategy", 0)
                self._note_failure(event)

    def _begin(self) -> None:
        """Orders can be sent, for the first time or again."""
        if self._stopping:
            return
        if not self._has_begun and self.config.trade.cancel_at_start:
            left = int(self.engine.block.gate[0]["open_orders"])
            if left:
                self.desk.note(f"{left:,} orders of an earlier process are canceled")
                self._operate("cancel --why 'left by an earlier process'", WHO, self._clock())
        self._has_begun = True
        self.engine.block.set("strategy", self._strategy)

    def _note_failure(self, event: LineLost | Ended) -> None:
        if self.desk.was_ready:
            return
        where = self.config.trade.orders
        if isinstance(event, Ended):
            if event.end not in ORDERLY:
                self.failure = f"{where}: {event}; {HINTS.get(event.end, 'see the session log')}"
        elif event.reason is Reason.SESSION_NOT_AVAILABLE and self.journal.session:
            self.failure = (
                f"{where}: {event.reason.value}: {self.journal.path} is of session "
                f"{self.journal.session}; {HINTS[End.OTHER_SESSION]}"
            )
            self._stopping = True

    def _watch_books(self) -> None:
        """No trading on books that lack orders, until an operator has reset the switch."""
        lacking = incomplete.lacking(self.engine.block)
        if lacking == self._lacking:
            return
        is_first, self._lacking = not self.engine.block.gate[0]["killed"], lacking
        if is_first:
            self.desk.note(f"{incomplete.words(lacking)}; kill switch latched")
            self._kill("books lack orders")

    # ------------------------------------------------------------ the drop copy

    def _take_copy(self) -> None:
        if self.watch is None:
            return
        events = self._copy_line.poll(0)
        now_ns = self._clock()
        for event in events:
            if isinstance(event, Sequenced):
                self.watch.take_copy(event.payload, now_ns)

    def _reconcile(self, now_ns: int) -> None:
        if self.watch is None or now_ns < self._next_reconcile_ns:
            return
        self._next_reconcile_ns = now_ns + RECONCILE_INTERVAL_NS
        if not (self.desk.is_ready and self.drop_copy.is_ready):
            self.watch.pause(now_ns)
            return
        found = self.watch.check(self.engine, now_ns)
        if found and not self.difference:
            for line in found:
                self.desk.note(f"differs from the drop copy, kill switch latched: {line}")
            self._kill("drop copy differs")
        self.difference = found or self.difference

    # ------------------------------------------------------------ clock and operator

    def _move_clock(self, now_ns: int) -> None:
        """Without input for a while, time goes on by ours."""
        interval_ns = self.config.trade.clock_interval_ms * MILLISECOND_NS
        quiet_ns = now_ns - self._last_input_ns
        if not interval_ns or quiet_ns < interval_ns or not self.engine.messages:
            return
        self._last_input_ns = now_ns
        time_ns = self.engine.block.get("engine_time") + quiet_ns
        self.engine.command("clock", who=WHO, why="no input", timestamp=time_ns)

    def _operate(self, line: str, who: str, now_ns: int) -> dict[str, Any]:
        answer = self.operator.run(line, who)
        self._send()
        return answer

    def state(self) -> dict[str, Any]:
        """What the loop knows beside the engine, for the screen and the operator."""
        watch = self.watch
        copy = "none" if watch is None else "ready" if self.drop_copy.is_ready else "lost"
        return {
            "ready": self.desk.is_ready,
            "session": self.session.state.name,
            "ended": str(self.desk.ended) if self.desk.ended is not None else None,
            "notes": self.desk.notes,
            "drop_copy": copy,
            "differs_from_drop_copy": self.difference,
            "unmatched_executions": watch.unmatched if watch is not None else 0,
            "desk": dict(self.desk.counters),
            "feed": dict(self.market.counters),
            "lines": self.market.lines(),
            "operator": dict(self._control.counters),
            "strategy_error": self.engine.strategy_error,
            "audit_error": str(self.decisions.error) if self.decisions.error else None,
            "latch_error": self.latch.error,
        }

    # ------------------------------------------------------------ the end

    def finish(self) -> None:
        """No new orders, cancels for the open ones, a logout; bounded in time."""
        self._stopping = True
        self.engine.block.set("strategy", 0)
        end_ns = self._clock() + CLOSE_NS
        if self.desk.is_ready:
            self._operate("cancel --why 'end of trading'", getpass.getuser(), self._clock())
            while self._clock() < end_ns and self.desk.is_ready and self._is_waiting():
                self.round()
            self._act(self.session.logout(self._clock()))
            self.line.flush()
        while self._clock() < end_ns and self.desk.ended is None and self.line.is_connected:
            self.round()
        left = int(self.engine.block.gate[0]["open_orders"])
        if left and self.desk.was_ready:
            self.desk.note(f"{left:,} orders may still be open at the exchange")

    def _is_waiting(self) -> bool:
        """Whether something that was asked for, or is to be compared, is still to come."""
        is_open = int(self.engine.block.gate[0]["open_orders"]) > 0
        can_match = self.watch is not None and self.drop_copy.is_ready and not self.difference
        return is_open or (can_match and self.watch is not None and self.watch.unmatched > 0)

    def result(self) -> dict[str, Any]:
        """What was done, for the end."""
        return {
            "schema": "tickpath.trade/1",
            **self.operator.run("status"),
            "positions": self.operator.run("positions")["positions"],
            "open_own_orders": self.operator.run("orders")["orders"],
            "state_digest": f"{self.engine.state_digest:016x}",
            "audit": {"records": self.decisions.records, "head": self.decisions.head},
        }


def _decisions(config: TradeConfig, strategy: Any, directory: Path) -> Decisions:
    """The audit file; another configuration or strategy than before has a file of its own."""
    engine = Config(**{name: getattr(config, name) for name in Config.__struct_fields__})
    name = strategy if isinstance(strategy, str) else config.strategy.name
    run = hashlib.sha256(f"{__version__} {engine.digest()} {name}".encode()).hexdigest()[:8]
    path = config.trade.audit or str(directory / f"decisions-{run}.audit")
    return Decisions(path, engine, strategy=name or "", stops_on_error=False)


def _directory(name: str) -> Path:
    """The trader's directory, for its owner only.  Raises `ConfigError`."""
    path = Path(name)
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"trade.directory: {path}: {error.strerror}") from None
    return path


def install(trader: Trader) -> None:
    """Stop in an orderly way on the signals that ask for it."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: trader.stop())
