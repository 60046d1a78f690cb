"""Our own contestants: parse alone, decode and book, the whole pipeline by file and by packet.

Each run gets a fresh engine whose tables are pre-faulted: every page that the warm-up run used is
touched before the clock starts, so that a run measures the pipeline and not the kernel handing out
memory.  The engine's configuration is the default one, but for the strategy.
"""

import gc
import hashlib

import numpy as np

from tickpath.bench import kernels
from tickpath.bench.answer import TOUCH, Answer, queue_problems, touch, truth_problems
from tickpath.bench.held import HeldSession, huge_page_bytes
from tickpath.bench.turns import Outcome, timed
from tickpath.clock import Clock
from tickpath.config import Config, StrategyConfig
from tickpath.counters import Counter
from tickpath.engine import Engine
from tickpath.latency import HISTOGRAM
from tickpath.layout import PAGE, REGIONS, WINDOW, Stage
from tickpath.replay import set_clock
from tickpath.state import Block

STRATEGY = "tickpath.samples:imbalance_taker"
RATIO_PERCENT, LEAST_SHARES = 5_600, 1_000
"""Fires on about 1 % of the default session's messages; the share is measured and stated."""


def strategy_config(ratio_percent: int = RATIO_PERCENT) -> Config:
    """The default configuration with the imbalance taker."""
    parameters = [ratio_percent, 100, LEAST_SHARES]
    return Config(strategy=StrategyConfig(name=STRATEGY, parameters=parameters))


def used_spans(engine: Engine) -> list[tuple[str, int]]:
    """What to pre-fault for a run like the one that this engine made, as `Block.prefault` has it.

    Order pages up to the last one used, the window levels of books in use, tables of sparse
    references where there are any, everything else whole.
    """
    block = engine.block
    books = int(np.flatnonzero(block.book["venue"])[-1]) + 1
    used = {
        "order": block.get("page_fresh") * PAGE,
        "level": 2 * books * WINDOW,
        "far": block.get("far_fresh"),
        "sparse_order": block.get("sparse_fresh"),
        "sparse_entry": len(block.sparse_entry) if block.get("sparse_age") else 0,
    }
    return [
        (region.name, min(used.get(region.name, 1 << 62), len(block.views[region.name])))
        for region in REGIONS
    ]


class Decode:
    """Every message's frame, type, length and time, and nothing else: see `kernels.decode`."""

    name = "decode"
    note = (
        "length prefix, type, length against the table, count by type, time stamp and its order; "
        "the fields of orders are read where they are applied"
    )
    warm_ups = 1

    def __init__(self, held: HeldSession) -> None:
        self.held = held
        self.messages = len_of(held)
        self._block = Block(Config())

    def run(self) -> Outcome:
        counts = self._block.type_count["value"]
        counts[:] = 0
        messages = self.held.messages
        begin = np.uint64(messages.ctypes.data)
        end = begin + np.uint64(len(messages))
        (number, wrong, backwards, _), timing = timed(
            kernels.decode, self._block.address, begin, end
        )
        by_type = tuple((chr(code), int(counts[code])) for code in np.flatnonzero(counts))
        problems = []
        if self.held.truth is not None:
            if dict(by_type) != dict(self.held.truth.messages_by_type):
                problems.append("messages by type are not the generator's")
            if wrong or backwards:
                problems.append(f"{wrong} of a wrong length, {backwards} back in time")
        return Outcome(timing, (int(number), int(wrong), by_type), tuple(problems))


class EngineRun:
    """One session through `Engine.process`, from an empty engine, by one form of lending."""

    warm_ups = 1

    def __init__(
        self,
        name: str,
        note: str,
        held: HeldSession,
        packets: np.ndarray,
        config: Config,
        clock: Clock,
    ) -> None:
        self.name, self.note = name, note
        self.held, self.packets, self.config = held, packets, config
        self.messages = len_of(held)
        self.clock = clock
        self.spans: list[tuple[str, int]] = []
        self.prefaulted_bytes = 0
        self.huge_page_bytes: int | None = None  # of the process, session included
        self.histograms: list[np.ndarray] = []  # HISTOGRAM[Stage.COUNT] of each run that counts
        self.intents = 0
        self.rejects: dict[str, int] = {}
        self.touch = np.zeros(0, TOUCH)  # of the last run, by book number
        self.symbols: dict[str, int] = {}
        self.orders_live = 0

    def run(self) -> Outcome:
        gc.collect()  # the last run's tables go before the next one's come
        sent = hashlib.blake2b(digest_size=16)
        taken: list[bytes] = []
        engine = Engine(self.config, on_orders=lambda orders: taken.append(bytes(orders)))
        set_clock(engine, self.clock)
        engine.process(self.packets[:0])
        warm_up = not self.spans
        if not warm_up:
            self.prefaulted_bytes = engine.block.prefault(self.spans)
            self.huge_page_bytes = huge_page_bytes()
        _, timing = timed(engine.process, self.packets)
        for orders in taken:
            sent.update(orders)
        problems = [] if self.held.truth is None else truth_problems(engine, self.held.truth)
        if warm_up:
            self.spans = used_spans(engine)
            if self.held.resting is not None:
                problems += queue_problems(engine, self.held)
        else:
            self.histograms.append(engine.block.histogram.copy())
        if error := engine.strategy_error:
            problems.append(f"the strategy raised: {error}")
        counters = engine.block.counter["value"]
        self.intents = int(counters[Counter.INTENTS])
        self.rejects = engine.rejects_by_code
        self.touch, self.symbols = touch(engine), engine.symbols
        self.orders_live = engine.orders_live
        answer = Answer(
            messages=engine.messages,
            orders_live=engine.orders_live,
            book_digest=f"{engine.book_digest:016x}",
            state_digest=f"{engine.state_digest:016x}",
            orders_sent=int(counters[Counter.ORDERS_SENT]),
            orders_digest=sent.hexdigest(),
        )
        return Outcome(timing, answer, tuple(problems))

    def pooled(self, stage: str) -> np.void:
        """The values that all counted runs recorded for a stage, in one histogram."""
        number = (*Stage.NAMES, "tick_to_order", "response").index(stage)
        return pool([each[number] for each in self.histograms])


def pool(histograms: list[np.void]) -> np.void:
    """One histogram of the values of several."""
    total = np.zeros(1, HISTOGRAM)[0]
    filled = [each for each in histograms if each["total_count"]]
    for name in ("total_count", "overflow", "sum", "counts"):
        for each in filled:
            total[name] += each[name]
    if filled:
        total["min"] = min(int(each["min"]) for each in filled)
        total["max"] = max(int(each["max"]) for each in filled)
    return total


def len_of(held: HeldSession) -> int:
    """Messages of a session, counted by walking over their length prefixes where nobody knows."""
    if held.truth is not None:
        return held.truth.messages
    begin = np.uint64(held.messages.ctypes.data)
    end = begin + np.uint64(len(held.messages))
    block = Block(Config())  # by a name, so that its memory outlives the call
    return int(kernels.decode(block.address, begin, end)[0])
