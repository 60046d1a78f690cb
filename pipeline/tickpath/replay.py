"""Replaying captures: a transport lends packets, an executor runs the stages, a result comes out.

The loop crosses into Python once per burst.  Pacing happens in the jitted loop: ``asap`` takes
packets as they come, ``wire`` at the distance in which they were captured, a factor that many times
faster; then response times count from the moment a packet was due, so that waiting in a queue that
the engine itself caused is not hidden.
"""

import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tickpath import backend as backends
from tickpath import latency, pipeline, profile_config
from tickpath.backend import Backend, Executor, Transport, executor_of
from tickpath.clock import Clock, calibrate, now_cycles
from tickpath.config import Config
from tickpath.counters import Counter
from tickpath.decisions import Decisions
from tickpath.engine import Engine
from tickpath.interrupt import Interrupt, interruptible
from tickpath.jit import cache_directory
from tickpath.layout import WINDOW
from tickpath.live import Live
from tickpath.outputs import BooksCsv, OrdersFile, bbo_output
from tickpath.packet import LINK_MESSAGES, LINK_PITCH, PACKET
from tickpath.pipeline import PACE_SHIFT
from tickpath.profile import Profile
from tickpath.replay_result import measured_stages, result_of, series_of
from tickpath.timeline import Timeline

PACKETS_PER_BURST = 4096
RUNS_PER_BURST = 16
"""Runs of messages (up to 1 MiB each) between two looks at the keyboard and the clock."""
LONGEST_SLEEP_S = 0.1
PROGRESS_INTERVAL_S = 0.1
NO_LIMIT = 1 << 63
NONE = np.zeros(0, PACKET)
RUNS = (LINK_MESSAGES, LINK_PITCH)
"""Links of packets that are runs of many messages."""
LARGE = ("level", "order", "far", "page_entry")
"""Tables that grow with the market: touched beforehand only where the configuration asks for it."""
MOST_SMALL_BYTES = 16 << 20


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
    audit: str | None = None
    hgrm: str | None = None
    hlog: str | None = None
    series: bool = False  # keep what a report draws


class Prepared(NamedTuple):
    """What was done before the clock started."""

    clock: Clock
    compile_seconds: float
    tables_prefaulted: str


def is_compiled() -> bool:
    """Whether the pipeline's machine code is in the cache."""
    return any(Path(cache_directory(Path(pipeline.__file__).resolve())).rglob("*.nbc"))


def warm_up(executor: Executor) -> float:
    """Compile, or load from the cache, what the executor runs; seconds that took."""
    started = time.perf_counter()
    executor.run(np.zeros(0, PACKET), 0)
    return time.perf_counter() - started


def _tables_of(engine: Engine) -> Iterator[tuple[str, int]]:
    """All tables with their lengths; Cboe's part of them only if the feed is said to be PITCH."""
    is_pitch = engine.config.feed.format == "pitch"
    of_nasdaq = {
        "level": 2 * engine.block.get("locates") * WINDOW,
        "sparse_entry": 0,
        "sparse_order": 0,
    }
    for name, view in engine.block.views.items():
        yield name, len(view) if is_pitch else of_nasdaq.get(name, len(view))


def prefault(engine: Engine) -> str:
    """Touch the small tables, or all where the configuration says so; gives which: small or all.

    A page fault takes as long as a thousand messages.
    """
    views = engine.block.views
    if engine.config.capacity.prefault:
        engine.block.prefault(_tables_of(engine))
        return "all"
    small = (name for name in views if name not in LARGE and views[name].nbytes <= MOST_SMALL_BYTES)
    engine.block.prefault((name, len(views[name])) for name in small)
    return "small"


def set_clock(engine: Engine, clock: Clock) -> None:
    """Give the engine the conversion from cycles to nanoseconds."""
    engine.block.set("multiplier", clock.multiplier)
    engine.block.set("shift", clock.shift)


def _check_pace(plan: Plan, has_times: bool) -> None:
    if plan.pace is not None and not has_times:
        raise ReplayError(
            "--pace needs receive times, which text or a daily file does not have: use asap"
        )


def _transport_of(backend: Backend, config: Config, plan: Plan) -> Any:
    """The transport of the captures: a live one has them played to it."""
    if backend.transport.is_live:  # type: ignore[attr-defined]
        return backends.player()(backend.transport, plan.sources, config, plan.pace)
    return backend.transport(plan.sources)


def _start_pace(engine: Engine, clock: Clock, factor: float, first: np.void) -> None:
    """The first packet is due now, all others at their distance from it."""
    block = engine.block
    block.set("pace_ts", int(first["ts_recv"]))
    block.set("pace_cycles", now_cycles())
    multiplier = math.ceil(clock.cycles_per_ns / factor * (1 << int(PACE_SHIFT)))
    block.set("pace_multiplier", multiplier)
    block.set("paced", 1)


def _sleep_until_due(engine: Engine, clock: Clock) -> None:
    """Sleep through most of the time until the next packet is due."""
    wait_ns = (engine.block.get("due_at") - now_cycles()) / clock.cycles_per_ns
    time.sleep(min(max(wait_ns / 1e9 - 0.001, 0.0), LONGEST_SLEEP_S))


def _drive(
    transport: Transport,
    packets: np.ndarray,
    executor: Executor,
    plan: Plan,
    clock: Clock,
    interrupt: Interrupt,
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
        step = RUNS_PER_BURST if packets[0]["link"] in RUNS else PACKETS_PER_BURST
        at = 0
        while at < len(packets) and not interrupt.is_set and not engine.block.get("stopped"):
            end = min(at + step, len(packets))
            reached = executor.run(packets[:end], at)
            each_burst()
            if reached < end and plan.pace is not None:
                _sleep_until_due(engine, clock)
            at = reached
        packets = transport.poll(PACKETS_PER_BURST)


def _nobody(transport: Transport, config: Config) -> Callable[[memoryview], None] | None:
    """Who gets orders that nobody keeps; None where the live loop sends them without Python."""
    if transport.is_live and config.transport.orders_to is not None:
        return None
    return lambda _: None


def _drive_live(
    live: Live,
    transport: Any,
    interrupt: Interrupt,
    each_burst: Callable[[], None],
) -> None:
    """Take what is played until all of it has come, or what is left is lost."""
    block = live.engine.block
    while not interrupt.is_set and not block.get("stopped") and not transport.is_finished:
        live.step()
        each_burst()


def _prepared(executor: Executor, plan: Plan, say: Callable[[str], None]) -> Prepared:
    """Everything that takes time before the first packet and must not be in the measurement."""
    engine = executor.engine
    if not is_compiled():
        say("compiling the pipeline (first run only, half a minute) ...")
    compile_s = warm_up(executor)
    prefaulted = prefault(engine)
    clock = calibrate()
    set_clock(engine, clock)
    engine.block.set("message_limit", NO_LIMIT if plan.limit is None else plan.limit)
    say("")
    return Prepared(clock, round(compile_s, 3), prefaulted)


def _decisions(
    stack: ExitStack, path: str | None, config: Config, strategy: Any
) -> Decisions | None:
    """The audit file, sealed when the replay is over."""
    if path is None:
        return None
    name = strategy if isinstance(strategy, str) else getattr(strategy, "__qualname__", "")
    decisions = Decisions(path, config, strategy=name)
    stack.callback(decisions.close)
    return decisions


def _profiled(
    config: Config, profile: Profile | None, strategy: Any
) -> tuple[Config, dict[str, Any]]:
    """The configuration that runs a profile, and what an executor is told of it."""
    if profile is None:
        return config, {}
    if strategy is not None:
        raise ReplayError("--strategy: a profile's trigger is the strategy, give one of the two")
    return profile_config.config_of(profile, config), {"profile": profile}


def _add_profile(result: dict[str, Any], profile: Profile, engine: Engine) -> None:
    cells = engine.block.cell["value"]
    found = profile_config.result_of(profile, cells, engine.rejects_by_code)
    result["profile"] = found
    result["findings"] += profile_config.findings_of(found)


def replay(
    backend: Backend,
    config: Config,
    plan: Plan,
    *,
    strategy: Any = None,
    profile: Profile | None = None,
    progress: Callable[[int, int, int], None] | None = None,
    status: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Replay captures through a backend; gives the ``tickpath.replay/1`` object of the design.

    A hardware ``profile`` says which strategy runs behind which limits: ``strategy`` and what the
    configuration says of these must not be given with it, and the result has ``profile``.

    ``progress(done_bytes, total_bytes, messages)`` is called about ten times a second, ``status``
    with what takes a while, and with nothing when that is over.  Raises `CaptureError`,
    `ConfigError`, `StrategyError`, `ReplayError`, `OutputError`, `LatencyError`.
    """
    say = status or (lambda _: None)
    config, options = _profiled(config, profile, strategy)
    with ExitStack() as stack:
        transport = _transport_of(backend, config, plan)
        transport.open()
        stack.callback(transport.close)
        if transport.is_live:
            first = NONE
            _check_pace(plan, transport.has_times)
        else:
            first = transport.poll(PACKETS_PER_BURST)
            _check_pace(plan, not len(first) or first[0]["link"] not in RUNS)
        orders = stack.enter_context(OrdersFile(plan.orders)) if plan.orders else None
        bbo = stack.enter_context(bbo_output(plan.bbo)) if plan.bbo else None
        books = stack.enter_context(BooksCsv(plan.books)) if plan.books else None
        decisions = _decisions(stack, plan.audit, config, strategy or config.strategy.name)
        if named := strategy or config.strategy.name:
            say(f"compiling the strategy {named} ...")
        executor: Executor = executor_of(
            backend,
            config,
            strategy=strategy,
            on_orders=orders.write if orders else _nobody(transport, config),
            on_bbo=(lambda columns: bbo.write(executor.engine, columns)) if bbo else None,
            on_audit=decisions.write if decisions else None,
            **options,
        )
        engine = executor.engine
        prepared = _prepared(executor, plan, say)
        timeline = Timeline(engine, plan.series or plan.hlog is not None)
        shown_s = 0.0

        def each_burst() -> None:
            nonlocal shown_s
            timeline.look()
            if progress and time.perf_counter() - shown_s > PROGRESS_INTERVAL_S:
                shown_s = time.perf_counter()
                done, total = transport.position
                progress(done, total, engine.messages)

        with ExitStack() as loop, interruptible() as interrupt:
            live = None
            if transport.is_live:
                live = loop.enter_context(Live(engine, transport, prepared.clock))
                transport.start()
            timeline.start()
            if live:
                _drive_live(live, transport, interrupt, each_burst)
            else:
                _drive(transport, first, executor, plan, prepared.clock, interrupt, each_burst)
            timeline.look(final=True)
        _pass_over_the_rest(engine)
        result = result_of(backend, transport, engine, timeline.seconds, prepared.clock)
        if live:
            result["live"] = live.counters
        if profile is not None:
            _add_profile(result, profile, engine)
        if add := getattr(executor, "add_result", None):
            add(result)
        result["sources"] = [os.fspath(source) for source in plan.sources]
        if decisions:
            decisions.close()
            result["audit"] = {"records": decisions.records, "head": decisions.head}
        result["pace"] = plan.pace if plan.pace is not None else "asap"
        result["environment"]["compile_seconds"] = prepared.compile_seconds
        result["environment"]["tables_prefaulted"] = prepared.tables_prefaulted
        if interrupt.is_set:
            result["interrupted"] = True
        if books:
            books.write(engine.books())
        _write_histograms(plan, engine, timeline)
        if plan.series:
            result["series"] = series_of(engine, timeline)
        return result


def _pass_over_the_rest(engine: Engine) -> None:
    """The packet in which the limit was reached is not read any further: its rest is skipped."""
    block = engine.block
    if block.get("cursor"):
        rest = block.get("run_end") - block.get("cursor")
        block.counter["value"][Counter.BYTES_SKIPPED] += np.uint64(rest)
        block.set("cursor", 0)


def _write_histograms(plan: Plan, engine: Engine, timeline: Timeline) -> None:
    if plan.hgrm:
        names = measured_stages(engine)
        latency.write_hgrm(plan.hgrm, {name: engine.histogram(name) for name in names})
    if plan.hlog:
        latency.write_hlog(plan.hlog, timeline.intervals)
