"""The whole benchmark: one session, all contestants in turns, then parts, processes and curves.

Everything runs on one core (see `turns`).  The result is one ``tickpath.bench/1`` object.
"""

import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from tickpath import latency
from tickpath.bench import peers, processes
from tickpath.bench.answer import Answer
from tickpath.bench.core import Watch, pinned
from tickpath.bench.held import HeldSession, hold
from tickpath.bench.own import Decode, EngineRun, strategy_config
from tickpath.bench.parts import parts
from tickpath.bench.plan import BenchPlan
from tickpath.bench.targets import PITCH_BOOK, targets
from tickpath.bench.turns import Result, take_turns, warm_up
from tickpath.clock import Clock, calibrate, jitter
from tickpath.config import Config
from tickpath.engine import Engine
from tickpath.environment import environment
from tickpath.generate import SessionPlan
from tickpath.layout import Stage
from tickpath.packet import PACKET
from tickpath.pipeline import process
from tickpath.wire.pitch241 import PITCH241

SCHEMA = "tickpath.bench/1"
METHOD = {
    "time": "CPU time of the one measuring thread (runs); wall time beside it (runs_wall)",
    "figure": "median over the rounds; every contestant runs once a round, in turns",
    "input": "a generated session in memory on huge pages; no file is read while the clock runs",
    "tables": "pre-faulted before the clock starts: all that the warm-up run used",
    "answers": "books beside the generator's own; digests and order bytes equal in all runs",
}
Say = Callable[[str], None]
Progress = Callable[[str, SessionPlan], Callable[[int], None] | None]


def quiet(text: str) -> None:
    """Nobody watches."""


def _compile() -> dict[str, Any]:
    """Load or compile the pipeline, timed apart from everything else."""
    engine = Engine(Config())
    started = time.perf_counter()
    engine.process(np.zeros(0, PACKET))
    engine.advance(np.zeros(0, PACKET))
    seconds = time.perf_counter() - started
    dispatcher: Any = process
    from_cache = not sum(dispatcher.stats.cache_misses.values())
    return {"seconds": round(seconds, 3), "from_cache": from_cache}


def _own(held: HeldSession, plan: BenchPlan, clock: Clock) -> tuple[EngineRun, ...]:
    """(book, pipeline, packets)."""
    config = strategy_config(plan.ratio_percent)
    return (
        EngineRun(
            "book",
            "decode and L3 books of all symbols, one run of messages, lookahead",
            held,
            held.run,
            Config(),
            clock,
        ),
        EngineRun("pipeline", "", held, held.run, config, clock),
        EngineRun("packets", "", held, held.packets, config, clock),
    )


def _pitch(plan: BenchPlan, clock: Clock, progress: Progress) -> EngineRun:
    """The book over the session's market as PITCH tells it."""
    session = replace(plan.session, feed="pitch")
    held = hold(session, packets=False, progress=progress("generating PITCH", session))
    assert held.truth is not None
    time = held.truth.messages_by_type[PITCH241["time"].type or ""]
    note = (
        f"the book over the same market told by PITCH in {held.truth.messages:,} messages, "
        f"{time:,} of them of time; sparse references, symbols by name"
    )
    return EngineRun(PITCH_BOOK, note, held, held.run, Config(), clock)


def _notes(pipeline: EngineRun, packets: EngineRun) -> None:
    """What the strategy did stands in the notes of the contestants with one."""
    share = pipeline.intents / pipeline.messages
    rejected = sum(pipeline.rejects.values())
    pipeline.note = (
        f"book, strategy firing on {share:.2%} of messages, risk, OUCH 5.0, stamps on every 64th; "
        f"{pipeline.intents:,} intents, {rejected:,} rejected"
    )
    packets.note = (
        f"the pipeline over {len(packets.packets):,} MoldUDP64 packets in arrival order, one at a "
        "time; lookahead within a packet only"
    )


def _cross_check(book: Result, pipeline: Result, packets: Result) -> None:
    """One session has one book; a file and its packets give the same orders and state."""
    answers: list[Answer] = [each.outcomes[-1].answer for each in (book, pipeline, packets)]  # type: ignore[misc]
    for result, answer in zip((pipeline, packets), answers[1:], strict=True):
        if answer.book_digest != answers[0].book_digest:
            result.found.append(f"{result.name}: the book digest is not that of the book run")
    if answers[2].state_digest != answers[1].state_digest:
        packets.found.append("packets: the state digest is not that of the file run")
    if answers[2].orders_digest != answers[1].orders_digest:
        packets.found.append("packets: the orders are not those of the file run")


def _session(
    plan: BenchPlan, core: int, clock: Clock, folder: Path, say: Say, progress: Progress
) -> tuple[dict[str, Any], Result]:
    """(what was measured on the main session, the book's result)."""
    say(f"generating {plan.session.messages:,} messages")
    held = hold(plan.session, progress=progress("generating", plan.session))
    assert held.truth is not None
    file = held.write(folder / "session.itch")
    runs = book, pipeline, packets = _own(held, plan, clock)
    say("generating the same market told by PITCH")
    pitch = Result(_pitch(plan, clock, progress))
    results = [Result(Decode(held)), *map(Result, runs)]
    warm_up([*results, pitch], say)
    _notes(pipeline, packets)
    others, skipped = peers.at_hand(held, book, file, folder)
    everyone = [*results, pitch, *map(Result, others)]
    watch = Watch(core)
    take_turns(everyone, plan.rounds, say)
    beside = watch.shares()
    _cross_check(*results[1:])
    peers.check_touch(everyone, say)
    small = [Result(each) for each in parts(held, plan.parts)]
    warm_up(small, say)
    take_turns(small, plan.rounds, say)
    say("measuring memory and start-up in processes of their own")
    answer: Any = results[2].outcomes[-1].answer
    ratio = plan.ratio_percent
    found = {
        "session": {
            **{name: value for name, value in asdict(plan.session).items() if name != "faults"},
            "messages_by_type": dict(held.truth.messages_by_type),
            "orders_live": held.truth.live_orders,
            "packets": len(held.packets),
            "bytes": len(held.messages),
            "held_bytes": sum(each.used for each in held.owners),
        },
        "results": [each.row() for each in (*everyone, *small)],
        "prefaulted_bytes": book.prefaulted_bytes,
        "huge_page_bytes": book.huge_page_bytes,
        "firing_share": round(pipeline.intents / pipeline.messages, 6),
        "orders": {"intents": pipeline.intents, "rejects_by_code": pipeline.rejects},
        "book_digest": answer.book_digest,
        "state_digest": answer.state_digest,
        **_latency(packets),
        "memory": processes.memory(file, pipeline, answer, ratio),
        "start": processes.start(file),
        "skipped": skipped,
        "beside_us": beside,
        "findings": [each for result in (*everyone, *small) for each in result.problems],
    }
    return found, results[1]


def _latency(packets: EngineRun) -> dict[str, Any]:
    """Tick to order and stages of the packet by packet runs: all rounds together, and each."""
    names = ("tick_to_order", *Stage.NAMES)
    pooled = {name: packets.pooled(name) for name in names}
    return {
        "latency": {name: latency.buckets(each) for name, each in pooled.items()},
        "latency_ns": {
            "tick_to_order": latency.summary(pooled["tick_to_order"]),
            "tick_to_order_runs": [
                latency.summary(each[Stage.TICK_TO_ORDER]) for each in packets.histograms
            ],
            "stages": {name: latency.summary(pooled[name]) for name in Stage.NAMES},
        },
    }


def _book_over(
    name: str, sessions: tuple[SessionPlan, ...], plan: BenchPlan, clock: Clock, main: Result,
    say: Say, progress: Progress,
) -> tuple[dict[str, Any], list[str]]:  # fmt: skip
    """(ns a message of the book over sessions that differ in one size, what was wrong)."""
    results = []
    for session in sessions:
        if session == plan.session:
            results.append(main)
            continue
        size = session.live_goal if name == "live orders" else session.symbols
        say(f"book at {size:,} {name}: generating {session.messages:,} messages")
        held = hold(session, packets=False, progress=progress("generating", session))
        run = EngineRun(f"book at {size:,} {name}", "", held, held.run, Config(), clock)
        result = Result(run)
        warm_up([result], say)
        take_turns([result], plan.rounds, say)
        results.append(result)
    curve = {
        "name": "book",
        "x_label": name,
        "x": [
            session.live_goal if name == "live orders" else session.symbols for session in sessions
        ],
        "messages": [session.messages for session in sessions],
        "ns_per_message": [each.median_ns for each in results],
        "runs": [[round(each.per_message(o), 3) for o in each.outcomes] for each in results],
        "verified": not any(each.problems for each in results),
    }
    return curve, [problem for each in results if each is not main for problem in each.problems]


def bench(
    plan: BenchPlan, *, say: Say = quiet, progress: Progress = lambda title, session: None
) -> dict[str, Any]:
    """Measure everything of ``plan``; gives the ``tickpath.bench/1`` object.

    ``verified`` is False where any answer is wrong; ``findings`` say which.  ``say`` is told what
    happens, ``progress(title, session)`` may give what is called with the messages made so far.
    Raises `GenerateError`, `BenchError`, `ClockError`.
    """
    with pinned() as core, tempfile.TemporaryDirectory(prefix="tickpath-") as folder:
        say("compiling the pipeline (first run only)")
        compiled = _compile()
        clock = calibrate()
        noise = jitter(clock=clock)
        measured, book = _session(plan, core, clock, Path(folder), say, progress)
        curves, findings = [], measured.pop("findings")
        for name, sessions in (("live orders", plan.live_curve), ("symbols", plan.symbol_curve)):
            if sessions:
                curve, wrong = _book_over(name, sessions, plan, clock, book, say, progress)
                curves.append(curve)
                findings += wrong
        if not measured["memory"]["verified"]:
            findings.append("memory: the process that was measured came to another answer")
        if not measured["start"]["verified"]:
            findings.append("start: a replay of one message did not take one message")
        result = {
            "schema": SCHEMA,
            "core": core,
            "rounds": plan.rounds,
            "method": METHOD,
            **measured,
            "curves": curves,
            "verified": not findings,
            "findings": findings,
            "jitter": noise,
            "environment": {
                **environment(clock),
                "compile_seconds": compiled["seconds"],
                "compiled_from_cache": compiled["from_cache"],
                "load_average_1m_after": os.getloadavg()[0],
                "stage_sample": Config().latency.sample,
                "tables_prefaulted": True,
            },
        }
        result["targets"] = targets(result) if plan.has_targets else []
        return result
