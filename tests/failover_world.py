"""The world around the nodes of the failover simulator: network, store, gateway, exchange.

Everything happens in one queue of events in true time, drawn from one seed.  The lease store and
the gateway are strict references of their contracts; ``flaws`` take one of their rules away each,
for the mutation check.  The exchange judges and never forgives a second copy.
"""

import heapq
import random
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

MS = 1_000_000
ORDER_BYTES = 8


class BrokenError(AssertionError):
    """Something that must hold does not."""


class Clock:
    """A monotonic clock of its own rate, which may step forward."""

    def __init__(self, begin_ns: int, rate: float):
        self._offset_ns, self.rate = begin_ns, rate
        self._since_ns = 0

    def at(self, true_ns: int) -> int:
        return self._offset_ns + int((true_ns - self._since_ns) * self.rate)

    def step(self, true_ns: int, by_ns: int) -> None:
        self._offset_ns, self._since_ns = self.at(true_ns) + by_ns, true_ns


class Faults(NamedTuple):
    """What may go wrong in a run: chances a message, and how many of each in the bad time."""

    loss: float = 0.0
    copies: float = 0.0
    slow: float = 0.0
    slow_ns: int = 60 * MS
    partitions: int = 0
    crashes: int = 0
    pauses: int = 0
    steps: int = 0
    store_crashes: int = 0
    gateway_crashes: int = 0
    switchovers: int = 0
    commands: int = 0
    forces: int = 0
    disk_ns: int = MS // 2
    skew: float = 0.0
    keeps_journal: float = 0.0
    store_steps: int = 0
    aimed: float = 0.0
    """The chance that a step of the protocol is the moment at which others fail."""


class Sim:
    """The queue of events, the dice and the log."""

    def __init__(self, seed: int, *, logs: bool = False):
        self.dice = random.Random(seed)
        self.now_ns = 0
        self._queue: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._number = 0
        self.log_lines: deque[str] | None = deque(maxlen=2000) if logs else None

    def log(self, text: str, *values: object) -> None:
        if self.log_lines is not None:
            self.log_lines.append(f"{self.now_ns / MS:10.3f}  {text.format(*values)}")

    def after(self, delay_ns: int, call: Callable[..., None], *arguments: Any) -> None:
        self._number += 1
        heapq.heappush(self._queue, (self.now_ns + delay_ns, self._number, call, arguments))

    def run(self, until_ns: int) -> None:
        queue = self._queue
        while queue and queue[0][0] <= until_ns:
            self.now_ns, _, call, arguments = heapq.heappop(queue)
            call(*arguments)
        self.now_ns = until_ns


class Network:
    """Messages between parts by name; lost, doubled, late and out of order, or cut one way."""

    def __init__(self, sim: Sim, faults: Faults):
        self.sim, self.faults = sim, faults
        self.is_bad = True
        self.cut: set[tuple[str, str]] = set()
        self.inboxes: dict[str, Callable[[str, str, tuple[Any, ...]], None]] = {}

    def send(self, source: str, target: str, what: str, *values: Any) -> None:
        if source == target or (source, target) in self.cut:
            return
        dice, faults = self.sim.dice, self.faults
        if self.is_bad and dice.random() < faults.loss:
            return
        copies = 2 if self.is_bad and dice.random() < faults.copies else 1
        for _ in range(copies):
            delay_ns = 50_000 + int(dice.random() * 400_000)
            if self.is_bad and dice.random() < faults.slow:
                delay_ns += int(dice.random() * faults.slow_ns)
            self.sim.after(delay_ns, self._arrive, source, target, what, values)

    def _arrive(self, source: str, target: str, what: str, values: tuple[Any, ...]) -> None:
        self.inboxes[target](source, what, values)


class Store:
    """The lease store: epoch and note durable, monotone; expiry by a clock of its own."""

    def __init__(self, sim: Sim, network: Network, clock: Clock, flaws: frozenset[str]):
        self.sim, self.network, self.clock, self.flaws = sim, network, clock, flaws
        self.disk_ns = network.faults.disk_ns
        self.takes_late_notes = sim.dice.random() < 0.5
        """Whether a note is taken from a holder whose lease ended, while nobody else has one."""
        self.epoch, self.note, self.holder = 0, b"", ""
        self.expires_ns = 0
        self.ttl_ns = 0
        self.is_up = True
        self.life = 0
        network.inboxes["store"] = self.receive

    def receive(self, source: str, what: str, values: tuple[Any, ...]) -> None:
        if self.is_up:
            delay_ns = (
                0 if what in ("renew", "read") else int(self.sim.dice.random() * self.disk_ns)
            )
            self.sim.after(delay_ns, self._carry_out, self.life, source, what, values)

    def _carry_out(self, life: int, source: str, what: str, values: tuple[Any, ...]) -> None:
        if not self.is_up or life != self.life:
            return
        request, *rest = values
        reply = getattr(self, "_" + what)(source, *rest)
        self.sim.log("store: {} of {} {} -> {}", what, source, rest, reply)
        self.network.send("store", source, "answer", request, *reply)

    def _now(self) -> int:
        return self.clock.at(self.sim.now_ns)

    def _acquire(self, source: str, ttl_ns: int) -> tuple[Any, ...]:
        if self.holder and self._now() < self.expires_ns:
            return ("Held", self.holder, self.epoch)
        if "store_repeats_epoch" not in self.flaws or not self.epoch:
            self.epoch += 1
        self.holder, self.ttl_ns = source, ttl_ns
        self.expires_ns = self._now() + ttl_ns
        return ("Acquired", self.epoch, ttl_ns)

    def _is_current(self, epoch: int) -> bool:
        return epoch == self.epoch and bool(self.holder) and self._now() < self.expires_ns

    def _renew(self, source: str, epoch: int, ttl_ns: int) -> tuple[Any, ...]:
        if not self._is_current(epoch):
            return ("Lost", f"epoch {self.epoch}")
        self.expires_ns = self._now() + ttl_ns
        return ("Renewed", ttl_ns)

    def _release(self, source: str, epoch: int) -> tuple[Any, ...]:
        if epoch == self.epoch or "store_releases_any" in self.flaws:
            self.holder = ""
        return ("Released",)

    def _record(self, source: str, epoch: int, note: bytes) -> tuple[Any, ...]:
        is_current = epoch == self.epoch if self.takes_late_notes else self._is_current(epoch)
        if is_current:
            self.note = note
        return ("Recorded", is_current)

    def _read(self, source: str) -> tuple[Any, ...]:
        return ("Stored", self.epoch, self.holder or None, self.note)

    def crash(self) -> None:
        self.is_up = False
        self.life += 1

    def restart(self) -> None:
        self.is_up = True
        # It does not know what it renewed before it died: as if just now.
        self.expires_ns = self._now() + self.ttl_ns


class Order(NamedTuple):
    """An order as the exchange gets it."""

    number: int
    """Of the record that made it: its id."""
    feed: int
    """The message of the feed that it answers."""
    digest: int
    """What the engine's state was: two engines that differ send other bytes."""


class Exchange:
    """Takes what it gets; a second copy of anything is the end of the run."""

    def __init__(self) -> None:
        self.orders: list[Order] = []
        self._ids: set[int] = set()
        self._feeds: set[int] = set()
        self.epoch = 0
        self.nodes: dict[int, str] = {}
        self.forgives_feed = False
        """After a declared loss the same market moves another node again."""

    def take(self, node: str, epoch: int, orders: list[Order]) -> None:
        if epoch < self.epoch:
            raise BrokenError(f"an order of epoch {epoch} behind one of epoch {self.epoch}")
        self.epoch = epoch
        if self.nodes.setdefault(epoch, node) != node:
            raise BrokenError(f"{node} and {self.nodes[epoch]} both trade in epoch {epoch}")
        for order in orders:
            if order.number in self._ids:
                raise BrokenError(f"order {order.number} reached the exchange twice")
            if order.feed in self._feeds and not self.forgives_feed:
                raise BrokenError(f"two orders answer message {order.feed} of the feed")
            self._ids.add(order.number)
            self._feeds.add(order.feed)
        self.orders += orders


class Gateway:
    """The resource that takes orders: an epoch that never falls, a position that never jumps."""

    def __init__(self, sim: Sim, network: Network, exchange: Exchange, flaws: frozenset[str]):
        self.sim, self.network, self.exchange, self.flaws = sim, network, exchange, flaws
        self.highest_epoch = 0
        self.seen_epoch = 0
        """What the contract says of `highest_epoch`, whatever the flaws."""
        self.input_number = 0
        self.orders: list[Order] = []
        self.is_up = True
        network.inboxes["gateway"] = self.receive

    @property
    def position(self) -> int:
        return len(self.orders) * ORDER_BYTES

    def receive(self, source: str, what: str, values: tuple[Any, ...]) -> None:
        if not self.is_up:
            return
        if what == "ask":
            request, epoch = values
            self.seen_epoch = max(self.seen_epoch, epoch)
            if "gateway_ask_does_not_fence" not in self.flaws:
                self.highest_epoch = max(self.highest_epoch, epoch)
            where = (self.highest_epoch, self.position, self.input_number)
            self.sim.log("gateway: {} asks with epoch {} -> {}", source, epoch, where)
            self.network.send("gateway", source, "answer", request, "GatewayAnswer", *where)
            return
        self._hand_over(source, *values)

    def _hand_over(
        self, source: str, epoch: int, position: int, number: int, orders: list[Order]
    ) -> None:
        refuses = epoch < self.highest_epoch
        if "gateway_refuses_equal" in self.flaws:
            refuses = epoch <= self.highest_epoch
        if refuses and "gateway_takes_old_epochs" not in self.flaws:
            self.sim.log("gateway: refuses epoch {} of {}", epoch, source)
            reason = f"epoch {self.highest_epoch} was seen"
            self.network.send("gateway", source, "refused", epoch, self.highest_epoch, reason)
            return
        self.highest_epoch = max(self.highest_epoch, epoch)
        if epoch < self.seen_epoch:
            raise BrokenError(f"the gateway takes {epoch} of {source}, has seen {self.seen_epoch}")
        self.seen_epoch = epoch
        if position > self.position:
            self._confirm(source, epoch)
            return
        known = (self.position - position) // ORDER_BYTES
        if "gateway_takes_overlap" in self.flaws:
            known = 0
        overlap = orders[:known]
        begin = position // ORDER_BYTES
        if overlap != self.orders[begin : begin + len(overlap)]:
            raise BrokenError(f"{source} handed over other bytes at {position} in epoch {epoch}")
        new = orders[known:]
        if new:
            self.sim.log("gateway: {} sends {} in epoch {}", source, new, epoch)
            self.exchange.take(source, epoch, new)
            self.orders += new
            self.input_number = max(self.input_number, number)
        self._confirm(source, epoch)

    def _confirm(self, source: str, epoch: int) -> None:
        self.network.send("gateway", source, "confirmed", epoch, self.position)

    def crash(self) -> None:
        self.is_up = False
        if "gateway_forgets_epoch" in self.flaws:
            self.highest_epoch = 0

    def restart(self) -> None:
        self.is_up = True
