"""Circuit breakers: what is not well is not used until it has shown that it is.

Closed, everything goes through and is measured over a window.  Beyond its threshold (with enough
samples to say so) a breaker opens, and its actions, which are data, tell the shell what to do.
After a cool-down it is half-open: as many probes as configured go through, one bad one opens it
again for longer, enough good ones in a row close it.  It never stays half-open: probes that are not
answered in time count as bad.

The state follows from the samples and the times they are given with, and from nothing else, so a
standby that gets the same has the same breakers.  At worst a window holds ``most_samples``; older
ones leave first and are counted.
"""

from bisect import bisect_left, insort
from collections import Counter, deque
from enum import Enum
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Nanoseconds = Annotated[int, Meta(ge=1, le=86_400_000_000_000)]
SECOND = 1_000_000_000


class BreakerState(Enum):
    """Where a breaker stands."""

    CLOSED = "all goes through"
    OPEN = "nothing goes through until the cool-down is over"
    HALF_OPEN = "probes go through"


# ---------------------------------------------------------------- actions, as data


class StopNewOrders(msgspec.Struct, frozen=True, tag_field="do", tag="stop_new_orders"):
    """`HoldTrading` with the breaker's name as source; resumed when it closes, or by people."""

    resumes: Literal["when_closed", "by_operator"] = "when_closed"


class CancelAll(msgspec.Struct, frozen=True, tag_field="do", tag="cancel_all"):
    """Cancel all open orders."""


class SwitchLine(msgspec.Struct, frozen=True, tag_field="do", tag="switch_line"):
    """Take the feed from one line alone, until the operator takes both again."""

    line: Literal["A", "B"]


class HandOverRole(msgspec.Struct, frozen=True, tag_field="do", tag="hand_over"):
    """`Switchover` to a node by name, or to the best one."""

    to: str | None = None


BreakerAction = StopNewOrders | CancelAll | SwitchLine | HandOverRole


# ---------------------------------------------------------------- configuration


class BreakerConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One breaker.  Samples and threshold are in the unit of what it measures:

    - ``order_latency``: nanoseconds of an order; the window's percentile
    - ``feed_staleness``: nanoseconds since the feed was heard; each sample says that it was
    - ``reject_rate``: 1 for an order that was rejected, else 0; millionths of the window's orders
    - ``session_errors``: 1 for an error, 0 for a sign of life; errors in the window

    Raises `ValueError` where the parts contradict each other.
    """

    name: str
    measures: Literal["order_latency", "feed_staleness", "reject_rate", "session_errors"]
    threshold: Annotated[int, Meta(ge=0)]
    """Bad is what is greater."""
    percentile_ppm: Annotated[int, Meta(ge=1, le=1_000_000)] = 990_000
    window_ns: Nanoseconds = 10 * SECOND
    most_samples: Annotated[int, Meta(ge=1, le=65_536)] = 4096
    min_samples: Annotated[int, Meta(ge=1, le=65_536)] = 20
    """Fewer say nothing (a feed's staleness needs none)."""
    cool_down_ns: Nanoseconds = SECOND
    cool_down_growth_percent: Annotated[int, Meta(ge=100, le=1000)] = 200
    """Of each cool-down to the next, while probes fail."""
    max_cool_down_ns: Nanoseconds = 60 * SECOND
    probes: Annotated[int, Meta(ge=1, le=1000)] = 3
    probe_timeout_ns: Nanoseconds = SECOND
    """For all probes together."""
    actions: tuple[BreakerAction, ...] = (StopNewOrders(),)

    def __post_init__(self) -> None:
        if self.min_samples > self.most_samples:
            raise ValueError(
                f"breaker {self.name}: min_samples {self.min_samples} never fit into most_samples "
                f"{self.most_samples}"
            )
        if self.max_cool_down_ns < self.cool_down_ns:
            raise ValueError(
                f"breaker {self.name}: max_cool_down_ns {self.max_cool_down_ns} is below "
                f"cool_down_ns {self.cool_down_ns}"
            )


# ---------------------------------------------------------------- what a breaker tells


class Opened(msgspec.Struct, frozen=True):
    """The breaker is open now: carry its actions out."""

    name: str
    reason: str
    actions: tuple[BreakerAction, ...]


class HalfOpened(msgspec.Struct, frozen=True):
    """The cool-down is over: ``probes`` may go through."""

    name: str
    probes: int


class Closed(msgspec.Struct, frozen=True):
    """All is well again; ``undo`` are those of its actions that end with that."""

    name: str
    undo: tuple[BreakerAction, ...]


BreakerEvent = Opened | HalfOpened | Closed


# ---------------------------------------------------------------- the window


class Window:
    """Samples of the last while, in order of time and of size."""

    def __init__(self, config: BreakerConfig):
        self._config = config
        self._samples: deque[tuple[int, int]] = deque()
        self._sorted: list[int] = []
        self._sum = 0
        self.dropped = 0
        """Samples that left because of their number, before their time."""

    def __len__(self) -> int:
        return len(self._samples)

    def add(self, value: int, now_ns: int) -> None:
        """Take a sample."""
        if len(self._samples) >= self._config.most_samples:
            self._remove_first()
            self.dropped += 1
        self._samples.append((now_ns, value))
        insort(self._sorted, value)
        self._sum += value

    def advance(self, now_ns: int) -> None:
        """Let go what is older than the window."""
        while self._samples and now_ns - self._samples[0][0] >= self._config.window_ns:
            self._remove_first()

    def _remove_first(self) -> None:
        _, value = self._samples.popleft()
        del self._sorted[bisect_left(self._sorted, value)]
        self._sum -= value

    def clear(self) -> None:
        """Forget everything."""
        self._samples.clear()
        self._sorted.clear()
        self._sum = 0

    def measure(self) -> int:
        """What the samples say, by the breaker's measure; there is at least one."""
        count = len(self._sorted)
        match self._config.measures:
            case "order_latency":
                # The nearest rank: the smallest value that the share does not exceed.
                rank = -(-count * self._config.percentile_ppm // 1_000_000)
                return self._sorted[max(rank, 1) - 1]
            case "reject_rate":
                return self._sum * 1_000_000 // count
            case _:
                return self._sum


# ---------------------------------------------------------------- the breaker


class Breaker:
    """See the module's text."""

    def __init__(self, config: BreakerConfig, now_ns: int):
        self.config = config
        self.name = config.name
        self.state = BreakerState.CLOSED
        self.window = Window(config)
        self.counters: Counter[str] = Counter()
        self.reason: str | None = None
        """Why it opened last."""
        self._heard_ns = now_ns
        self._until_ns = 0
        self._cool_down_ns = config.cool_down_ns
        self._permits = 0
        self._good = 0

    @property
    def is_closed(self) -> bool:
        """Whether all goes through."""
        return self.state is BreakerState.CLOSED

    def due_ns(self) -> int | None:
        """When `advance` changes something though no sample comes; None: never."""
        if not self.is_closed:
            return self._until_ns
        if self.config.measures == "feed_staleness":
            return self._heard_ns + self.config.threshold + 1
        return None

    def may_pass(self, now_ns: int) -> bool:
        """Whether one order may go; in the half-open state this takes one of the probes."""
        if self.state is BreakerState.HALF_OPEN and self._permits > 0 and now_ns < self._until_ns:
            self._permits -= 1
            return True
        if not self.is_closed:
            self.counters["held_back"] += 1
        return self.is_closed

    def sample(self, value: int, now_ns: int) -> list[BreakerEvent]:
        """Take a sample (`BreakerConfig` gives its unit)."""
        events = self.advance(now_ns)
        if self.state is BreakerState.OPEN:
            self._heard_ns = now_ns
            self.counters["samples_while_open"] += 1
            return events
        if self.state is BreakerState.HALF_OPEN:
            self._heard_ns = now_ns
            return events + self._probed(value, now_ns)
        self._heard_ns = now_ns
        if self.config.measures != "feed_staleness":
            self.window.add(value, now_ns)
            events += self._judged(now_ns)
        return events

    def advance(self, now_ns: int) -> list[BreakerEvent]:
        """Let time go by."""
        if self.state is BreakerState.OPEN:
            return self._half_opened(now_ns) if now_ns >= self._until_ns else []
        if self.state is BreakerState.HALF_OPEN:
            if now_ns < self._until_ns:
                return []
            self.counters["probes_unanswered"] += 1
            return self._opened(f"{self._good} of {self.config.probes} probes came in time", now_ns)
        self.window.advance(now_ns)
        if self.config.measures == "feed_staleness":
            silent_ns = now_ns - self._heard_ns
            if silent_ns > self.config.threshold:
                return self._opened(f"the feed was silent for {silent_ns} ns", now_ns)
        return []

    def _judged(self, now_ns: int) -> list[BreakerEvent]:
        if len(self.window) < self.config.min_samples:
            return []
        value = self.window.measure()
        if value <= self.config.threshold:
            return []
        what = self.config.measures.replace("_", " ")
        count = len(self.window)
        text = f"{what} is {value}, at most {self.config.threshold} is well ({count} samples)"
        return self._opened(text, now_ns)

    def _probed(self, value: int, now_ns: int) -> list[BreakerEvent]:
        """A probe's answer: alone it says good or bad."""
        bound = self.config.threshold if self.config.measures == "order_latency" else 0
        if value > bound and self.config.measures != "feed_staleness":
            self.counters["probes_bad"] += 1
            return self._opened(f"a probe gave {value}", now_ns)
        self._good += 1
        if self._good < self.config.probes:
            return []
        self.state = BreakerState.CLOSED
        self.counters["closed"] += 1
        self._cool_down_ns = self.config.cool_down_ns
        undo = tuple(
            action
            for action in self.config.actions
            if isinstance(action, StopNewOrders) and action.resumes == "when_closed"
        )
        return [Closed(self.name, undo)]

    def _opened(self, reason: str, now_ns: int) -> list[BreakerEvent]:
        was_closed = self.is_closed
        if not was_closed:
            grown_ns = self._cool_down_ns * self.config.cool_down_growth_percent // 100
            self._cool_down_ns = min(grown_ns, self.config.max_cool_down_ns)
        self.state = BreakerState.OPEN
        self.reason = reason
        self.window.clear()
        self._until_ns = now_ns + self._cool_down_ns
        self.counters["opened" if was_closed else "reopened"] += 1
        # What was done when it first opened still holds: it is not done again for a bad probe.
        return [Opened(self.name, reason, self.config.actions if was_closed else ())]

    def _half_opened(self, now_ns: int) -> list[BreakerEvent]:
        self.state = BreakerState.HALF_OPEN
        self.counters["half_opened"] += 1
        self._permits, self._good = self.config.probes, 0
        self._until_ns = now_ns + self.config.probe_timeout_ns
        return [HalfOpened(self.name, self.config.probes)]
