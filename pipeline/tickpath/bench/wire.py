"""Wire to wire: from the exchange sending a packet to the exchange having the order for it.

    result = measure(["udp", "afxdp", "dpdk"], plan_of(None, True))

The exchange (`tickpath_backends.exchange`, found by entry point) is a process on a core of its own
with a private wire to the transport under test; it sends by a plan made beforehand (`wire_plan`)
and takes the orders.  Both ends of a latency are its own readings of one clock.  *Latency* counts
from the send of the trigger's packet, *response* from the moment at which it was due: an exchange
that could not keep its plan shows there, as does a queue that the engine caused.

Orders leave as datagrams by the transport, and then, in runs of their own, by the order session's
TCP connection (`wire_orders`), for which the live loop returns to Python at each of them.

Every run is checked (`wire_answer`): each order that was due arrived once, byte for byte, and the
books are those of the same packets replayed from memory.  A run that is not right says so.
"""

import gc
import os
import resource
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from tickpath import backend as backends
from tickpath import latency
from tickpath.backend import Backend, BackendError
from tickpath.bench.error import BenchError
from tickpath.bench.held import HeldSession, hold
from tickpath.bench.plan import BenchPlan
from tickpath.bench.run import Progress, Say, quiet
from tickpath.bench.wire_answer import Answer, answer_of, lost_packets
from tickpath.bench.wire_config import config_of, transports_of
from tickpath.bench.wire_orders import OrderSender
from tickpath.bench.wire_plan import RATE, Scenario, even, scenarios
from tickpath.capture import create_capture
from tickpath.clock import Clock, calibrate, jitter
from tickpath.config import Config
from tickpath.engine import Engine, group_text
from tickpath.environment import environment
from tickpath.generate import SessionPlan
from tickpath.generate.packets import GROUP, PORT
from tickpath.interrupt import Interrupt, interruptible
from tickpath.latency import HISTOGRAM
from tickpath.layout import Stage
from tickpath.live import Live
from tickpath.replay import set_clock

SCHEMA = "tickpath.wire/1"
STEP_NS = 20_000_000
"""Between two returns of the loop to Python, which take tens of microseconds."""
FIRST = -20
"""Scheduling priority: before all others on the core."""
JITTER_MS = 200.0
SEARCH_PACKETS, SEARCH_STEPS, SEARCH_FROM, SEARCH_TO = 200_000, 5, 100_000.0, 6_400_000.0
TRIES = 2
KEPT_UP = 0.95
"""Share of the planned rate below which the exchange, not the receiver, was the limit."""
DRAIN_PACKETS, DRAIN_TIMES = 400, 20
METHOD = {
    "latency": "from before the exchange's system call that sends the trigger's packet to the "
    "order being seen in its receive ring, or read from its socket, by its own CLOCK_MONOTONIC",
    "response": "the same, from the time at which the packet was due",
    "loop": "open: send times are planned beforehand; overdue packets leave at once, together",
    "egress": "udp: datagrams through the transport; tcp: SoupBinTCP unsequenced data packets by "
    "one connection (TCP_NODELAY), written in Python when the message that asked for them is done, "
    "without login, heartbeats, store or log; dpdk then has net_af_packet, because net_af_xdp "
    "takes TCP from the kernel too",
    "loss": "sent packets that the engine's line missed; the search, with udp egress, sends at "
    "equal distances and builds all books",
    "cpu": "receive_ns: poll and release of packets that wait already, median, no engine; "
    "busy_ns: from lending to release, all stages and orders included",
    "tables": "pre-faulted: all that the reference run used",
    "answers": "orders byte for byte, each once; book and state digest of the same packets "
    "replayed from memory, without those that were lost",
}


def is_wire(names: Sequence[str]) -> bool:
    """Whether these backends are live ones.  Raises `BackendError`, `BenchError`."""
    live = {name: bool(backends.find(name).transport.is_live) for name in names}  # type: ignore[attr-defined]
    if len(set(live.values())) > 1:
        files = ", ".join(name for name, is_live in live.items() if not is_live)
        raise BenchError(
            f"{files} reads files, the other backends a wire: measure them in runs of their own"
        )
    return any(live.values())


@dataclass
class Bench:
    """What all runs share."""

    held: HeldSession
    capture: Path
    config: Config
    answer: Answer
    clock: Clock
    cores: tuple[int, int]  # of the exchange, of the engine
    priority: int
    interrupt: Interrupt
    say: Say
    interfaces: Sequence[str] = ()
    """The sender's and the receiver's; none: a private wire."""
    histograms: dict[str, np.void] = field(default_factory=dict)


def _histogram(values_ns: np.ndarray) -> np.void:
    found = np.zeros(1, HISTOGRAM)
    latency.record_values(np.uint64(found.ctypes.data), values_ns.astype(np.uint64))
    return found[0]


def _difference(after: dict[str, int], before: dict[str, int]) -> dict[str, int]:
    """Counters of one run that are not zero."""
    return {
        name: count - before.get(name, 0)
        for name, count in after.items()
        if count != before.get(name, 0)
    }


@dataclass
class Run:
    """One play of the session, or of its start, to a fresh engine."""

    seen: Any
    engine: Engine
    due_ns: np.ndarray
    loop: dict[str, int]
    cpu_s: float
    counters: dict[str, int]
    session: dict[str, int] | None
    """Of `OrderSender`, where orders left by TCP."""

    @property
    def sent(self) -> int:
        """Packets that left."""
        return int(np.count_nonzero(self.seen.sent_ns))

    @property
    def rate(self) -> float:
        """Packets a second, as they left."""
        times = self.seen.sent_ns[self.seen.sent_ns > 0].astype(np.int64)
        return 0.0 if len(times) < 2 else float((len(times) - 1) * 1e9 / (times[-1] - times[0]))

    @property
    def lost(self) -> int:
        """Packets that left, or could not, and that the loop never had."""
        return max(len(self.due_ns) - int(self.loop["received"]), 0)


def _fresh(bench: Bench, config: Config, send: OrderSender | None) -> Engine:
    """An engine, all that it will use of its tables touched.

    Orders leave by the transport, and nobody keeps a copy, or ``send`` gets them.
    """
    engine = Engine(config, on_orders=send)
    set_clock(engine, bench.clock)
    engine.block.prefault(bench.answer.spans)
    return engine


def _play(bench: Bench, wire: Any, due_ns: np.ndarray) -> Run | None:
    """One run; None where it was interrupted."""
    send = OrderSender(wire.orders) if wire.orders else None
    engine = _fresh(bench, wire.config, send)
    before = dict(wire.transport.counters)
    wire.prepare(due_ns)
    gc.collect()
    gc.disable()
    try:
        with Live(engine, wire.transport, bench.clock) as live:
            used = resource.getrusage(resource.RUSAGE_THREAD)
            wire.start()
            while not wire.is_finished and not bench.interrupt.is_set:
                live.step(STEP_NS)
                if send and send.is_waiting:
                    send.flush()
            while live.step(STEP_NS) and not bench.interrupt.is_set:
                pass  # what waited in buffers when the exchange had ended
            after = resource.getrusage(resource.RUSAGE_THREAD)
            loop = live.counters
    finally:
        gc.enable()
    if bench.interrupt.is_set:
        return None
    cpu_s = after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime
    counters = _difference(dict(wire.transport.counters), before)
    session = send.counters if send else None
    return Run(wire.seen(), engine, due_ns, loop, cpu_s, counters, session)


def _problems(bench: Bench, run: Run, answer: Answer, arrived: np.ndarray) -> list[str]:
    """What is not as it should be."""
    found = []
    expected = len(answer.orders)
    matched = arrived >= 0
    if strange := int(np.count_nonzero(~matched)):
        found.append(f"{strange:,} orders arrived that no packet was the trigger of")
    distinct = len(np.unique(arrived[matched]))
    if twice := int(np.count_nonzero(matched)) - distinct:
        found.append(f"{twice:,} orders arrived more than once")
    if expected != distinct:
        found.append(f"{expected - distinct:,} of {expected:,} orders did not arrive")
    if run.engine.book_digest != answer.book_digest:
        found.append("the books are not those of the same packets replayed from memory")
    if run.engine.state_digest != answer.state_digest:
        found.append("the state is not that of the same packets replayed from memory")
    return found


def _row(
    bench: Bench, name: str, scenario: Scenario, run: Run, egress: str = "udp"
) -> dict[str, Any]:
    """A scenario's part of the result."""
    answer, packets = bench.answer, bench.held.packets
    if run.lost:
        lost = lost_packets(run.engine, packets)
        answer = answer_of(run.engine.config, packets, lost)
    places = answer.places
    arrived = np.array([places.get(each, -1) for each in run.seen.orders], np.int64)
    problems = _problems(bench, run, answer, arrived)
    is_known = arrived >= 0
    trigger = answer.trigger[arrived[is_known]]
    at = run.seen.arrived_ns[is_known].astype(np.int64)
    sent = run.seen.sent_ns.astype(np.int64)
    wire_ns = np.maximum(at - sent[trigger], 0)[sent[trigger] > 0]
    due = run.seen.start_ns + run.due_ns.astype(np.int64)
    left = sent > 0
    measured = {
        "latency": _histogram(wire_ns),
        "response": _histogram(np.maximum(at - due[trigger], 0)),
        "late": _histogram(np.maximum(sent - due, 0)[left]),
    }
    bench.histograms[f"{name}-{egress}-{scenario.name}"] = measured["latency"]
    engine, received = run.engine, max(int(run.loop["received"]), 1)
    return {
        "backend": name,
        "scenario": scenario.name,
        "egress": egress,
        "planned_rate": scenario.rate,
        "rate": round(run.rate),
        "packets": len(run.due_ns),
        "lost": run.lost,
        "lost_share": run.lost / max(len(run.due_ns), 1),
        "refused": run.seen.refused,
        "orders": {
            "expected": len(answer.orders),
            "arrived": len(run.seen.orders),
            "matched": int(np.count_nonzero(is_known)),
        },
        "latency_ns": latency.summary(measured["latency"]),
        "response_ns": latency.summary(measured["response"]),
        "exchange_late_ns": latency.summary(measured["late"]),
        "tick_to_order_ns": latency.summary(engine.histogram("tick_to_order")),
        "stages_ns": {each: latency.summary(engine.histogram(each)) for each in Stage.NAMES},
        "cpu": {
            "busy_ns_per_packet": round(run.loop["busy_ns"] / received, 1),
            "thread_s": round(run.cpu_s, 3),
            "polls": run.loop["polls"],
            "bursts": run.loop["bursts"],
        },
        "transport": run.counters,
        "session": run.session,
        "histograms": {each: latency.buckets(of) for each, of in measured.items()},
        "verified": not problems,
        "findings": problems,
    }


def _search(bench: Bench, wire: Any) -> dict[str, Any]:
    """The highest rate without loss: doubled until there is some, then halved in between."""
    packets = min(SEARCH_PACKETS, len(bench.held.packets))
    tried: list[dict[str, Any]] = []
    good, bad, limit = 0.0, 0.0, "none up to the highest rate tried"

    def clean(rate: float) -> bool | None:
        """Whether nothing was lost, in one of `TRIES`: others use the machine too."""
        for _ in range(TRIES):
            verdict = once(rate)
            if verdict is not False:
                break
        return verdict

    def once(rate: float) -> bool | None:
        nonlocal limit
        run = _play(bench, wire, even(rate, packets))
        if run is None:
            return None
        kept_up = run.rate >= KEPT_UP * rate
        tried.append(
            {
                "planned_rate": round(rate),
                "rate": round(run.rate),
                "lost": run.lost,
                "refused": run.seen.refused,
                "busy_ns_per_packet": round(
                    run.loop["busy_ns"] / max(int(run.loop["received"]), 1), 1
                ),
            }
        )
        if run.lost:
            limit = "the receiver"
        elif not kept_up:
            limit = "the exchange: it cannot send faster"
        return not run.lost and kept_up

    rate = SEARCH_FROM
    while rate <= SEARCH_TO:
        verdict = clean(rate)
        if verdict is None:
            return {"interrupted": True, "tried": tried}
        if not verdict:
            bad = rate
            break
        good, rate = rate, rate * 2
    for _ in range(SEARCH_STEPS if bad else 0):
        verdict = clean((good + bad) / 2)
        if verdict is None:
            return {"interrupted": True, "tried": tried}
        good, bad = ((good + bad) / 2, bad) if verdict else (good, (good + bad) / 2)
    without = [each["rate"] for each in tried if not each["lost"]]
    return {
        "packets": packets,
        "no_loss_rate": max(without, default=0),
        "limited_by": limit,
        "tried": tried,
    }


def _exchange(bench: Bench, each: Backend, egress: str) -> Any:
    """The wire of a backend, on which orders leave in this way."""
    return backends.player("exchange")(
        each.transport,
        bench.capture,
        msgspec.structs.replace(
            bench.config, transport=transports_of(bench.config.transport)[egress]
        ),
        [group_text(GROUP, PORT)],
        bench.cores[0],
        egress,
        bench.interfaces,
    )


def _scenarios(
    bench: Bench, name: str, wire: Any, plans: Sequence[Scenario]
) -> Iterator[dict[str, Any]]:
    """A row for each, until one is interrupted."""
    for scenario in plans:
        bench.say(
            f"{name}, orders by {wire.egress}: {scenario.name}, "
            f"{scenario.rate:,.0f} packets a second"
        )
        run = _play(bench, wire, scenario.due_ns(len(bench.held.packets)))
        if run is None:
            return
        yield _row(bench, name, scenario, run, wire.egress)


def _by_datagrams(
    bench: Bench, each: Backend, plans: Sequence[Scenario]
) -> Iterator[dict[str, Any]]:
    """Receiving alone, rows as they come, the search last."""
    with _exchange(bench, each, "udp") as wire:
        facts = dict(wire.transport.environment)
        bench.say(f"{each.name}: receiving alone")
        drained = wire.drain_ns(min(DRAIN_PACKETS, len(bench.held.packets)), DRAIN_TIMES)
        said = [f"{each.name}: {finding}" for finding in wire.transport.findings]
        yield {"drain_ns": drained, "environment": facts, "wire": wire.facts, "remarks": said}
        yield from _scenarios(bench, each.name, wire, plans)
        if bench.interrupt.is_set:
            return
        bench.say(f"{each.name}: the rate at which loss begins")
        yield {"search": _search(bench, wire)}


def _remarks(name: str, facts: dict[str, Any], beside_tcp: dict[str, Any]) -> list[str]:
    """What a backend had beside a TCP connection that it had not without."""
    used, used_then = facts.get("device"), beside_tcp.get("device")
    if used is None or used_then is None or used == used_then:
        return []
    return [f"{name}: {used_then} where orders leave by tcp, as {used} takes TCP from the kernel"]


def _by_session(bench: Bench, each: Backend, plans: Sequence[Scenario]) -> Iterator[dict[str, Any]]:
    """Rows as they come; where no TCP passes by the transport, why."""
    wire = _exchange(bench, each, "tcp")
    with ExitStack() as stack:
        try:
            stack.enter_context(wire)
        except BackendError as error:
            yield {"missing": [f"{each.name}, orders by tcp: {error}"]}
            return
        yield {"environment_tcp": dict(wire.transport.environment)}
        yield from _scenarios(bench, each.name, wire, plans)


def _measured(bench: Bench, each: Backend, plans: Sequence[Scenario]) -> dict[str, Any]:
    """All of one backend."""
    rows: list[dict[str, Any]] = []
    more: dict[str, Any] = {
        "search": None,
        "drain_ns": [],
        "remarks": [],
        "wire": {},
        "environment": {},
        "environment_tcp": {},
        "missing": [],
    }
    for measured in (_by_datagrams, _by_session):
        if bench.interrupt.is_set:
            break
        for found in measured(bench, each, plans):
            if "scenario" in found:
                rows.append(found)
            else:
                more.update(found)
    drained = more.pop("drain_ns")
    return {
        "backend": each.name,
        "rows": rows,
        "receive_ns_per_packet": round(statistics.median(drained), 1) if drained else None,
        "receive_ns_runs": [round(ns, 1) for ns in drained],
        **more,
        "remarks": [
            *more["remarks"],
            *_remarks(each.name, more["environment"], more["environment_tcp"]),
        ],
    }


@contextmanager
def _cores(wanted: int | None) -> Iterator[tuple[int, int]]:
    """Keep this thread on a core, ``wanted`` if that is one, and leave another one to the exchange;
    gives both, the exchange's first.
    """
    allowed = os.sched_getaffinity(0)
    if len(allowed) < 2:
        raise BenchError("wire to wire needs two cores, one of them for the exchange")
    if wanted is not None and wanted not in allowed:
        cores = ", ".join(map(str, sorted(allowed)))
        raise BenchError(f"transport.cpu: {wanted} is not a core of this process: {cores}")
    exchange, engine = sorted(allowed)[:2]
    if wanted is not None:
        exchange, engine = min(allowed - {wanted}), wanted
    os.sched_setaffinity(0, {engine})
    priority = os.getpriority(os.PRIO_PROCESS, 0)
    with suppress(OSError):  # who may not be is not first, and the tails say so
        os.setpriority(os.PRIO_PROCESS, 0, FIRST)
    try:
        yield exchange, engine
    finally:
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, 0, priority)
        os.sched_setaffinity(0, allowed)


def measure(
    names: Sequence[str],
    plan: BenchPlan,
    *,
    say: Say = quiet,
    progress: Progress = lambda title, session: None,
    plans: Sequence[Scenario] | None = None,
    config: Config | None = None,
    interfaces: Sequence[str] = (),
) -> tuple[dict[str, Any], dict[str, np.void]]:
    """Measure live backends wire to wire.

    Gives a ``tickpath.wire/1`` object and the latencies (`latency.HISTOGRAM`) of each backend and
    scenario; ``plans`` are the scenarios, by default all of them.  ``config`` is a user's, of which
    `wire_config` says what counts; ``interfaces`` are the sender's and the receiver's, in place of
    a private wire, each as ``eth1`` or, in a named network namespace, as ``venue/eth1``.  Ctrl-C
    ends it after the run under way: what was measured by then is given, marked as interrupted.
    Raises `BackendError`, `BenchError`, `GenerateError`.
    """
    chosen = [backends.find(name) for name in dict.fromkeys(names)]
    own = config_of(config or Config(), plan.ratio_percent)
    if interfaces:
        backends.player("exchange").check(interfaces)  # type: ignore[attr-defined]
    # Every packet is one of messages: those that are lost can be named.
    session = replace(plan.session, heartbeat_s=0)
    with ExitStack() as stack:
        cores = stack.enter_context(_cores(own.transport.cpu))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tickpath-")))
        say(f"generating {session.messages:,} messages")
        held = hold(session, progress=progress("generating", session))
        capture = folder / "session.pcap"
        with create_capture(capture) as writer:
            writer.write(held.packets)
        say("compiling the pipeline (first run only)")
        answer = answer_of(own, held.packets)
        clock = calibrate()
        before = jitter(JITTER_MS, clock)
        priority = os.getpriority(os.PRIO_PROCESS, 0)
        interrupt = stack.enter_context(interruptible())
        bench = Bench(
            held, capture, own, answer, clock, cores, priority, interrupt, say, interfaces
        )
        results = []
        for each in chosen:
            if interrupt.is_set:
                break
            results.append(_measured(bench, each, plans or scenarios()))
        after = jitter(JITTER_MS, clock)
        return _result(bench, session, results, before, after), bench.histograms


def _result(
    bench: Bench,
    session: SessionPlan,
    results: list[dict[str, Any]],
    before: dict[str, Any],
    after: dict[str, Any],
) -> dict[str, Any]:
    findings = [
        f"{row['backend']}, orders by {row['egress']}, {row['scenario']}: {problem}"
        for each in results
        for row in each["rows"]
        for problem in row["findings"]
    ]
    found = {
        "schema": SCHEMA,
        "method": METHOD,
        "cores": {"exchange": bench.cores[0], "engine": bench.cores[1]},
        "rate_1x": RATE,
        "session": {
            "messages": session.messages,
            "symbols": session.symbols,
            "seed": session.seed,
            "packets": len(bench.held.packets),
            "orders": len(bench.answer.orders),
            "firing_share": round(len(bench.answer.orders) / session.messages, 6),
        },
        "book_digest": f"{bench.answer.book_digest:016x}",
        "state_digest": f"{bench.answer.state_digest:016x}",
        "backends": results,
        "verified": not findings and all(each["rows"] for each in results),
        "findings": findings,
        "missing": [reason for each in results for reason in each["missing"]],
        "jitter": {"before": before, "after": after},
        "environment": {
            **environment(bench.clock),
            "config_digest": bench.config.digest(),
            "loop_returns_to_python_ns": STEP_NS,
            "priority": bench.priority,
            "load_average_1m_after": os.getloadavg()[0],
        },
    }
    if bench.interrupt.is_set:
        found["interrupted"] = True
    return found
