"""What a scenario is, and the scene that it plays on.

A scenario is declared: its name, what it does, what has to hold beside all that always has to, and
how soon the group must be whole again.  `Scenario.act` does it to a `Scene`; chance in it comes
from the scene's generator alone, which the run's seed decides.
"""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from tickpath.chaos.group import Group
from tickpath.chaos.judge import Judge

Epochs = Literal["new", "same", "any"]
TAKEOVER_TIMEOUTS = 20
"""How many of a node's timeouts a takeover may take before it has not come."""
SETTLED_TIMEOUTS = 4
"""How many of a node's timeouts a standby has to be in the gate to be sure of its place."""
TRADE_S = 30.0
WATCH_S = 0.002
ORDERS = 3
"""Orders behind a fault that show that trading goes on."""


class Scene:
    """One run of a scenario on a group that is whole."""

    def __init__(self, group: Group, judge: Judge, seed: str) -> None:
        self.group, self.judge = group, judge
        self.chance = random.Random(seed)
        self.epoch_before = max(group.epochs().values(), default=0)
        self.active = str(group.until(group.active, "somebody is active before anything is done"))
        self.fault_ns = 0
        """The moment of the fault, by the monotonic clock."""
        self.back_ns = 0
        """The moment in which what was taken away was there again; 0: it need not be."""
        self.pause_ns: int | None = None
        """How long no order could leave in a switchover, as the node says that was handed the
        role (`failover.node_pause`)."""
        self.findings: list[str] = []

    @property
    def standbys(self) -> list[str]:
        """All nodes but the one that was active at the start."""
        return [each for each in self.group.names if each != self.active]

    @property
    def timeout_s(self) -> float:
        """The silence that a node waits for."""
        return self.group.layout.timeout_ms / 1e3

    def between(self, low: float, high: float) -> float:
        """A number that the seed decides."""
        return self.chance.uniform(low, high)

    def rest(self, low_s: float, high_s: float | None = None) -> None:
        """Let some time pass, between the two."""
        self.group.rest(self.between(low_s, low_s if high_s is None else high_s))

    def fault(self, moment_ns: int | None = None) -> None:
        """Times are measured from here on."""
        self.fault_ns = time.monotonic_ns() if moment_ns is None else moment_ns

    def back(self, name: str) -> None:
        """Wait until a server that was just started listens.

        How long it was away, the start of its process included, is told apart from how soon the
        group trades then.
        """
        is_there = lambda: self.group.listens(name)  # noqa: E731
        self.group.until(is_there, f"{name} is there again", poll_s=WATCH_S)
        self.back_ns = time.monotonic_ns()

    def taken_over(self) -> str:
        """Wait until another epoch begins; gives whose it is.  Raises `ChaosError`."""
        group = self.group
        before = self.epoch_before

        def leads() -> str | None:
            epochs = group.epochs()
            found = [each for each, epoch in epochs.items() if epoch > before]
            return max(found, key=epochs.__getitem__) if found else None

        most_s = max(5.0, TAKEOVER_TIMEOUTS * self.timeout_s)
        name = group.until(leads, "a takeover", most_s, WATCH_S)
        self.judge.note_acknowledged()
        return name

    def guarded(self) -> str:
        """Wait until one node has been active with a standby in its gate for some time; gives it.

        The gate waits for a standby before the lease store's note names it, and only who is named
        may take over: so the note is read too.  Raises `ChaosError`.
        """
        group = self.group
        since: dict[str, tuple[int, float]] = {}

        def is_settled() -> str | None:
            now_s, name = time.monotonic(), group.active()
            said = group.status(name) if name else {}
            if name is None or not said.get("gate"):
                since.clear()
                return None
            epoch, begun_s = since.setdefault(name, (said["epoch"], now_s))
            if epoch != said["epoch"]:
                since.clear()
                return None
            if now_s - begun_s <= SETTLED_TIMEOUTS * self.timeout_s:
                return None
            note = group.note()
            is_ours = note is not None and (note.epoch, note.active.name) == (epoch, name)
            return name if note is not None and is_ours and note.in_sync else None

        name = group.until(is_settled, "an active that has had a standby in sync for some time")
        self.epoch_before = max(group.epochs().values())
        self.judge.note_acknowledged()
        return name

    def trades(self, orders: int = ORDERS) -> None:
        """Wait until so many orders more came to the exchange.  Raises `ChaosError`."""
        before = self.group.taken()
        done = lambda: self.group.taken() >= before + orders  # noqa: E731
        self.group.until(done, f"{orders} orders at the exchange", TRADE_S)

    def must(self, is_so: bool, what: str) -> None:
        """Note a finding where something does not hold."""
        if not is_so:
            self.findings.append(what)


@dataclass(frozen=True)
class Scenario:
    """See the module's text."""

    name: str
    does: str
    act: Callable[[Scene], None] = field(repr=False)
    holds: tuple[str, ...] = ()
    """Beside what the judge always demands."""
    epochs: Epochs = "new"
    """Whether somebody has to take over, or must not."""
    measures: Literal["takeover", "pause", "recovery", "silence"] = "takeover"
    """takeover: from the fault to the first order of the new epoch.  pause: from the moment from
    which the old active took no input to that from which the new one's orders could leave, as the
    new one says; ``between_orders_ns`` is from the last order of the old epoch to the first of the
    new at the exchange.  recovery: from the moment in which what was taken away is there again
    (`Scene.back`) to the first order.  silence: the longest time without an order behind the
    fault."""
    nodes: int = 2
    stores: int = 1
    """Servers of the lease store."""
    needs_hosts: bool = False
    is_impaired: bool = False
    journals: bool = False
    needs_fresh: bool = False
    """Whether every run needs a group of its own."""
    whole_within_s: float = 60.0
