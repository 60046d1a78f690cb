"""Replaying captures: a transport lends packets, an executor runs the stages, a result comes out.

The loop crosses into Python once per burst.  Pacing happens in the jitted loop: ``asap`` takes
packets as they come, ``wire`` at the distance in which they were captured, a factor that many times
faster; then response times count from the moment a packet was due, so that waiting in a queue that
the engine itself caused is not hidden.
"""

import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tickpath import latency, memory
from tickpath.backend import Backend, Executor, Transport, executor_of
from tickpath.clock import Clock, calibrate
from tickpath.config import Config
from tickpath.counters import Counter
from tickpath.digest import symbol_text
from tickpath.engine import Engine
from tickpath.environment import environment
from tickpath.layout import Stage
from tickpath.outputs import BooksCsv, OrdersFile, bbo_output
from tickpath.packet import LINK_MESSAGES, PACKET
from tickpath.pipeline import PACE_SHIFT

SCHEMA = "tickpath.replay/1"
PACKETS_PER_BURST = 4096
RUNS_PER_BURST = 16
"""Runs of messages (up to 1 MiB each) between two looks at the keyboard and the clock."""
FIRST_INTERVAL_S = 0.02
MOST_INTERVALS = 256
"""Points of the timeline before its interval doubles."""
LONGEST_SLEEP_S = 0.1
TOP_SYMBOLS = 20


class ReplayError(ValueError):
    """A replay that cannot be done as asked; the message says why and what to do."""


@dataclass(frozen=True)
class Plan:
    """What to replay and what to write."""

    sources: Sequence[str | os.PathLike[str]]
    pace: float | None = None  # times real time; None: as fast as possible
    limit: int | None = None  # messages
    orders: str | None = None
    books: str | None = None
    bbo: str | None = None
    hgrm: str | None = None
    hlog: str | None = None
    series: bool = False  # keep what a report draws


@dataclass
class _Timeline:
    """What happened per interval of the run, for the report and the interval log."""

    engine: Engine
    keep: bool
    started: float = 0.0
    interval_s: float = FIRST_INTERVAL_S
    points: dict[str, list[Any]] = field(default_factory=dict)
    intervals: list[latency.Interval] = field(default_factory=list)

    def start(self) -> None:
        self.started = self._last_s = time.perf_counter()
        self._epoch_ns = time.time_ns()
        self._messages, self._orders = 0, 0
        self._before = self.engine.histogram("tick_to_order").copy()

    def look(self, final: bool = False) -> None:
        """Close the interval if it is over."""
        now = time.perf_counter()
        if not self.keep or (now - self._last_s < self.interval_s and not final):
            return
        after = self.engine.histogram("tick_to_order").copy()
        between = latency.interval(after, self._before)
        summary = latency.summary(between)
        messages = self.engine.messages
        orders = int(self.engine.block.counter["value"][Counter.ORDERS_SENT])
        for name, value in (
            ("t_s", round(now - self.started, 6)),
            ("messages", messages - self._messages),
            ("orders", orders - self._orders),
            *((f"tick_to_order_ns_{q}", summary[q]) for q in ("p50", "p99", "max")),
        ):
            self.points.setdefault(name, []).append(value)
        start = self._epoch_ns + int((self._last_s - self.started) * 1e9)
        end = self._epoch_ns + int((now - self.started) * 1e9)
        self.intervals.append(latency.Interval(start, end, {"tick_to_order": between}))
        self._last_s, self._messages, self._orders, self._before = now, messages, orders, after
        if len(self.intervals) % MOST_INTERVALS == 0:
            self.interval_s *= 2


class _Interrupt:
    """Ctrl-C as a flag, so that it takes effect between bursts and loses nothing."""

    is_set = False

    def __call__(self, number: int, frame: Any) -> None:
        self.is_set = True


@contextmanager
def _interruptible() -> Iterator[_Interrupt]:
    interrupt = _Interrupt()
    if threading.current_thread() is not threading.main_thread():
        yield interrupt
        return
    previous = signal.signal(signal.SIGINT, interrupt)
    try:
        yield interrupt
    finally:
        signal.signal(signal.SIGINT, previous)


def warm_up(executor: Executor) -> float:
    """Compile, or load from the cache, what the executor runs; seconds that took."""
    started = time.perf_counter()
    executor.run(np.zeros(0, PACKET), 0)
    return time.perf_counter() - started


def set_clock(engine: Engine, clock: Clock) -> None:
    """Give the engine the conversion from cycles to nanoseconds."""
    engine.block.set("multiplier", clock.multiplier)
    engine.block.set("shift", clock.shift)


def _start_pace(engine: Engine, clock: Clock, factor: float, first: np.void) -> None:
    """The first packet is due now, all others at their distance from it."""
    from tickpath.clock import now_cycles

    if first["link"] == LINK_MESSAGES or not first["ts_recv"]:
        raise ReplayError("--pace needs receive times, which a daily file does not have: use asap")
    block = engine.block
    block.set("pace_ts", int(first["ts_recv"]))
    block.set("pace_cycles", now_cycles())
    multiplier = math.ceil(clock.cycles_per_ns / factor * (1 << int(PACE_SHIFT)))
    block.set("pace_multiplier", multiplier)
    block.set("paced", 1)


def _sleep_until_due(engine: Engine, clock: Clock) -> None:
    """Sleep through most of the time until the next packet is due."""
    from tickpath.clock import now_cycles

    wait_ns = (engine.block.get("due_at") - now_cycles()) / clock.cycles_per_ns
    time.sleep(min(max(wait_ns / 1e9 - 0.001, 0.0), LONGEST_SLEEP_S))


def _drive(
    transport: Transport,
    packets: np.ndarray,
    executor: Executor,
    plan: Plan,
    clock: Clock,
    interrupt: _Interrupt,
    each_burst: Callable[[], None],
) -> None:
    """Take what the transport has lent, and all that it lends after, through the executor."""
    engine = executor.engine
    while not interrupt.is_set and not engine.block.get("stopped"):
        if not len(packets):
            if transport.is_finished:
                return
            packets = transport.poll(PACKETS_PER_BURST)
            continue
        if plan.pace is not None and not engine.block.get("paced"):
            _start_pace(engine, clock, plan.pace, packets[0])
        step = RUNS_PER_BURST if packets[0]["link"] == LINK_MESSAGES else PACKETS_PER_BURST
        at = 0
        while at < len(packets) and not interrupt.is_set and not engine.block.get("stopped"):
            end = min(at + step, len(packets))
            reached = executor.run(packets[:end], at)
            each_burst()
            if reached < end and plan.pace is not None:
                _sleep_until_due(engine, clock)
            at = reached
        packets = transport.poll(PACKETS_PER_BURST)


def replay(
    backend: Backend,
    config: Config,
    plan: Plan,
    *,
    strategy: Any = None,
    progress: Callable[[int, int, int], None] | None = None,
    status: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Replay captures through a backend; gives the ``tickpath.replay/1`` object of the design.

    ``progress(done_bytes, total_bytes, messages)`` is called about ten times a second, ``status``
    with what takes a while.  Raises `CaptureError`, `ConfigError`, `StrategyError`, `ReplayError`,
    `OutputError`.
    """
    say = status or (lambda _: None)
    with ExitStack() as stack:
        transport = backend.transport(plan.sources)
        transport.open()
        stack.callback(transport.close)
        orders = stack.enter_context(OrdersFile(plan.orders)) if plan.orders else None
        bbo = stack.enter_context(bbo_output(plan.bbo)) if plan.bbo else None
        options: dict[str, Any] = {"strategy": strategy}
        options["on_orders"] = orders.write if orders else lambda _: None
        if bbo:
            options["on_bbo"] = lambda columns: bbo.write(executor.engine, columns)
        say("compiling the pipeline (first run only) ...")
        executor = executor_of(backend, config, **options)
        engine = executor.engine
        compile_s = warm_up(executor)
        say("calibrating the clock ...")
        clock = calibrate()
        set_clock(engine, clock)
        engine.block.set("message_limit", plan.limit if plan.limit is not None else (1 << 63))
        say("")
        timeline = _Timeline(engine, plan.series or plan.hlog is not None)
        looked = [0.0]

        def each_burst() -> None:
            timeline.look()
            now = time.perf_counter()
            if progress and now - looked[0] > 0.1:
                looked[0] = now
                progress(*transport.position, engine.messages)

        with _interruptible() as interrupt:
            first = transport.poll(PACKETS_PER_BURST)
            timeline.start()
            _drive(transport, first, executor, plan, clock, interrupt, each_burst)
            seconds = time.perf_counter() - timeline.started
            timeline.look(final=True)
        result = _result(backend, plan, executor, transport, clock, seconds, compile_s)
        if interrupt.is_set:
            result["interrupted"] = True
        _write(plan, engine, timeline)
        if plan.series:
            result["series"] = _series(engine, timeline)
        return result


def _latencies(engine: Engine) -> dict[str, Any]:
    found = {
        "tick_to_order": latency.summary(engine.histogram("tick_to_order")),
        "stages": {name: latency.summary(engine.histogram(name)) for name in Stage.NAMES},
    }
    if engine.block.get("paced"):
        found["response"] = latency.summary(engine.histogram("response"))
    return found


def _findings(engine: Engine, transport: Transport, strategy: str) -> list[str]:
    found = list(transport.findings)
    if error := engine.strategy_error:
        found.append(f"strategy {strategy} raised and was latched off: {error}")
    if violations := memory.violations()[0]:
        found.append(f"checked accessors recorded {violations} bad addresses: please report it")
    rejected = engine.rejects_by_code.get("TRADING_STATE", 0)
    if rejected and not int(engine.block.type_count["value"][ord("H")]):
        found.append(
            f"{rejected} orders were rejected because the capture has no trading actions: set "
            'risk.unknown_trading_state = "trade" to trade all the same'
        )
    return found


def _result(
    backend: Backend,
    plan: Plan,
    executor: Executor,
    transport: Transport,
    clock: Clock,
    seconds: float,
    compile_s: float,
) -> dict[str, Any]:
    engine = executor.engine
    messages, counters = engine.messages, engine.counters
    captures = {f"capture_{name}": count for name, count in transport.counters.items()}
    strategy = engine.strategy.name if engine.strategy else None
    return {
        "schema": SCHEMA,
        "backend": backend.name,
        "sources": [os.fspath(source) for source in plan.sources],
        "packets": counters["packets"],
        "messages": messages,
        "messages_by_type": engine.messages_by_type,
        "counters": {**counters, **captures},
        "symbols": len(engine.symbols),
        "orders_live": engine.orders_live,
        "book_digest": f"{engine.book_digest:016x}",
        "state_digest": f"{engine.state_digest:016x}",
        "throughput": {
            "ns_per_message": round(seconds * 1e9 / messages, 3) if messages else None,
            "messages_per_second": round(messages / seconds) if messages else None,
            "seconds": round(seconds, 6),
        },
        "latency_ns": _latencies(engine),
        "orders": {
            "sent": counters["orders_sent"],
            "rejected": counters["orders_rejected"],
            "rejects_by_code": engine.rejects_by_code,
        },
        "lines": engine.lines(),
        "gaps": [vars(each) for each in engine.gaps()],
        "findings": _findings(engine, transport, strategy or ""),
        "strategy": strategy,
        "pace": plan.pace if plan.pace is not None else "asap",
        "environment": {
            **environment(clock),
            "config_digest": engine.config.digest(),
            "stage_sample": engine.config.latency.sample,
            "compile_seconds": round(compile_s, 3),
            "tables_prefaulted": False,
        },
    }


def _series(engine: Engine, timeline: _Timeline) -> dict[str, Any]:
    """What the report draws."""
    names = ["tick_to_order", *Stage.NAMES]
    if engine.block.get("paced"):
        names.insert(1, "response")
    return {
        "histograms": {name: latency.buckets(engine.histogram(name)) for name in names},
        "timeline": timeline.points,
        "symbols": _top_symbols(engine),
    }


def _top_symbols(engine: Engine) -> list[dict[str, Any]]:
    """The symbols with the largest volume printed."""
    books, positions = engine.block.book, engine.block.position
    busiest = np.argsort(books["volume"])[::-1][:TOP_SYMBOLS]
    orders = np.bincount(engine.block.own["book"][engine.block.own["user_ref_num"] > 0])
    rows = []
    for number in busiest.tolist():
        record = books[number]
        if not record["venue"] or not record["volume"]:
            continue
        rows.append(
            {
                "symbol": symbol_text(record["symbol"]),
                "volume": int(record["volume"]),
                "trades": int(record["trades"]),
                "last_px": int(record["last_px"]) / 10_000,
                "vwap": int(record["notional"]) / int(record["volume"]) / 10_000,
                "orders": int(orders[number]) if number < len(orders) else 0,
                "position": int(positions[number]["quantity"]),
            }
        )
    return rows


def _write(plan: Plan, engine: Engine, timeline: _Timeline) -> None:
    """The outputs that come at the end."""
    if plan.books:
        with BooksCsv(plan.books) as books:
            books.write(engine.books())
    if plan.hgrm:
        names = [
            "tick_to_order",
            *(["response"] if engine.block.get("paced") else []),
            *Stage.NAMES,
        ]
        latency.write_hgrm(plan.hgrm, {name: engine.histogram(name) for name in names})
    if plan.hlog:
        latency.write_hlog(plan.hlog, timeline.intervals)
