"""What happened in each stretch of a replay: for the report's timeline and the interval log.

A stretch is `FIRST_INTERVAL_S` long at first; whenever there are `MOST_INTERVALS` more of them it
becomes twice as long, so that a run of any length has a few hundred points.
"""

import time
from dataclasses import dataclass, field
from typing import Any

from tickpath import latency
from tickpath.counters import Counter
from tickpath.engine import Engine

FIRST_INTERVAL_S = 0.02
MOST_INTERVALS = 256
"""Points after which each next one is twice as long."""


@dataclass
class Timeline:
    """``points`` are columns for the report, ``intervals`` histograms for the log, where kept."""

    engine: Engine
    keep: bool
    started: float = 0.0
    seconds: float = 0.0
    """How long the run took, once it is over."""
    interval_s: float = FIRST_INTERVAL_S
    points: dict[str, list[Any]] = field(default_factory=dict)
    intervals: list[latency.Interval] = field(default_factory=list)

    def start(self) -> None:
        self.started = self._last_s = time.perf_counter()
        self._epoch_ns = time.time_ns()
        self._messages, self._orders = 0, 0
        self._before = self.engine.histogram("tick_to_order").copy()

    def look(self, final: bool = False) -> None:
        """Close the stretch if it is over; ``final`` closes the last one, and the run."""
        now = time.perf_counter()
        self.seconds = now - self.started
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
