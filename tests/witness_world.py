"""Witnesses and nodes in a simulated world: clocks, a network, disks and crashes, by a seed.

True time is the world's; every process has a clock of its own that runs up to `DRIFT` too fast or
too slow.  Datagrams are lost, doubled, late, out of order and stopped by partitions that may be
one-way.  A disk takes its time, refuses, and keeps a part of a write that a crash cut short.  A
minority of witnesses at a time may come back with no state, or an older one.

What must hold is checked whenever anything happens: `ViolationError` says what did not.
"""

import heapq
import random
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

from tickpath.failover.lease import Held, Lease, LeaseError, Lost, Stored
from tickpath.failover.witness import Step, Witness
from tickpath.failover.witness_call import Call
from tickpath.failover.witness_client import WitnessClient
from tickpath.failover.witness_file import (
    new_file,
    next_slot,
    slot_bytes,
    state_of,
)
from tickpath.failover.witness_message import Kept, cluster_id

MS = 1_000_000
TTL_NS, MAX_TTL_NS = 50 * MS, 80 * MS
RENEW_NS = 10 * MS
DRIFT = 0.08
CLUSTER = "simulated"
QUEUE = 64
"""Datagrams that wait for a witness whose disk is busy."""


class ViolationError(AssertionError):
    """Something that must never be."""


class Clock:
    """A clock that is not quite right, and that began somewhere."""

    def __init__(self, generator: random.Random, drift: float = DRIFT) -> None:
        self._rate = 1 + generator.uniform(-drift, drift)
        self._offset = generator.randrange(1 << 40)

    def local(self, true_ns: int) -> int:
        return self._offset + int(true_ns * self._rate)

    def true(self, local_ns: int) -> int:
        """The earliest true time at which the clock shows at least that."""
        true_ns = max(0, int((local_ns - self._offset) / self._rate) - 2)
        while self.local(true_ns) < local_ns:
            true_ns += 1
        return true_ns


class Simulated:
    """A witness: its disk, which survives, and its process, which may not."""

    def __init__(self, world: "World", index: int) -> None:
        self.world, self.index = world, index
        self.disk: bytes | None = None
        self.older: list[bytes] = []
        self.witness: Witness | None = None
        self.is_bad = False
        """Its state was lost or put back, and it has not learnt from others since."""
        self.disk_refuses = False
        self.life, self.paused_until_ns = 0, 0
        self._queue: deque[tuple[bytes, Any]] = deque()
        self._busy: tuple[bytes, Any] | None = None  # slot that is being written, whom to answer
        self._generation = 0

    def begin(self) -> None:
        """Start the process, from what is on the disk."""
        world = self.world
        self.life += 1
        self.clock = Clock(world.random, world.drift)
        if self.disk is None:
            self.disk = new_file(cluster_id(CLUSTER), Kept())
        self._generation, kept, findings = state_of(self.disk, cluster_id(CLUSTER), "disk")
        world.counts["torn"] += len(findings)
        if findings:
            self._put(slot_bytes(kept, self._generation + 1))
            self._generation += 1
        self.witness = world.witness_class(
            CLUSTER,
            kept,
            self.now_ns,
            token=world.random.getrandbits(63) | 1,
            others=world.count - 1,
            max_ttl_ns=MAX_TTL_NS,
        )
        self._wake()

    @property
    def now_ns(self) -> int:
        return self.clock.local(self.world.now_ns)

    def crash(self) -> None:
        """Stop at once; a write that is under way reaches the disk in part, whole, or not."""
        if self._busy is not None:
            raw = self._busy[0]
            kept = self.world.random.choice((0, 1, len(raw) // 2, len(raw) - 1, len(raw)))
            self._put(raw[:kept])
            self.world.counts["cut_writes"] += 1
        self._busy, self.witness = None, None
        self._queue.clear()
        self.life += 1

    def receive(self, datagram: bytes, whence: Any) -> None:
        if self.witness is None:
            return
        if self._busy is not None:
            if len(self._queue) < QUEUE:
                self._queue.append((datagram, whence))
            return
        if isinstance(whence, Simulated):
            if datagram[:1] == b"A":
                other = whence.index - (whence.index > self.index)
                step = self.witness.hear(other, datagram, self.now_ns)
            else:
                step = self.witness.receive(datagram, self.now_ns)
        else:
            step = self.witness.receive(datagram, self.now_ns)
        self._do(step, whence)

    def _do(self, step: Step, whence: Any) -> None:
        if step.write is None:
            self._answer(step.answer, whence)
            return
        raw = slot_bytes(step.write, self._generation + 1)
        self._busy = raw, whence
        if self.world.answers_early:
            self._answer(self.witness.written(), whence)
        life = self.life
        self.world.after(self.world.disk_delay(), lambda: self._synced(life))

    def _synced(self, life: int) -> None:
        if life != self.life:
            return
        (raw, whence), self._busy = self._busy, None
        if self.disk_refuses:
            self._put(raw[: len(raw) // 3])
            self.world.counts["refused_writes"] += 1
            if not self.world.answers_early:
                self._answer(self.witness.not_written(), whence)
        else:
            self._put(raw)
            self._generation += 1
            if self.world.random.random() < 0.3:
                self.older.append(self.disk)
            if self.world.random.random() < self.world.crash_after_sync:
                self.world.counts["crashed_after_sync"] += 1
                self.world.restart(self)
                return
            if not self.world.answers_early:
                self._answer(self.witness.written(), whence)
            self.is_bad = self.is_bad and not self.witness.is_voting
        while self._queue and self._busy is None and self.witness is not None:
            self.receive(*self._queue.popleft())

    def _put(self, raw: bytes) -> None:
        at = next_slot(self._generation)
        self.disk = self.disk[:at] + raw + self.disk[at + len(raw) :]

    def _answer(self, datagram: bytes | None, whence: Any) -> None:
        if datagram is not None:
            self.world.send(self, whence, datagram)

    def _wake(self) -> None:
        """Ask the others what there is to know, until it votes."""
        witness, life = self.witness, self.life
        if witness is None or witness.next_deadline is None:
            return
        if self._busy is None:
            for other, datagram in witness.questions(self.now_ns):
                to = self.world.witnesses[other + (other >= self.index)]
                self.world.send(self, to, datagram)
        due = max(self.clock.true(witness.next_deadline), self.world.now_ns + MS)
        self.world.at(due, lambda: self._wake() if life == self.life else None)


class Node:
    """A node that wants the lease, renews it, notes things, gives it back or dies with it."""

    def __init__(self, world: "World", name: str) -> None:
        self.world, self.name = world, name
        self.life, self.paused_until_ns = 0, 0
        self.lease: Lease | None = None
        self.call: Call | None = None
        self.begin()

    def begin(self) -> None:
        """A new process, which knows nothing."""
        random_ = self.world.random
        self.life += 1
        self.lease = self.call = None
        self.clock = Clock(random_, self.world.drift)
        self.client = self.world.client_class(
            CLUSTER,
            self.world.count,
            token=random_.getrandbits(63) | 1,
            number=random_.getrandbits(56),
            generator=random.Random(random_.getrandbits(32)),
            timeout_ns=random_.choice((15, 40, 120)) * MS,
            resend_ns=4 * MS,
            draw_back_ns=4 * MS,
        )
        self._later(random_.randrange(20 * MS), self._act)

    @property
    def now_ns(self) -> int:
        return self.clock.local(self.world.now_ns)

    @property
    def holds(self) -> bool:
        """Whether it believes to, by its own clock."""
        return self.lease is not None and self.now_ns < self.lease.ends_ns()

    def receive(self, datagram: bytes, whence: Simulated) -> None:
        if self.call is not None:
            self.call.receive(whence.index, datagram, self.now_ns)
            self._drive()

    def _later(self, ns: int, what: Callable[[], None]) -> None:
        life = self.life

        def run() -> None:
            if life != self.life:
                return
            if self.paused_until_ns > self.world.now_ns:
                self.world.at(self.paused_until_ns, run)
            else:
                what()

        self.world.after(ns, run)

    def _act(self) -> None:
        """Begin the next call."""
        random_, now_ns = self.world.random, self.now_ns
        if self.lease is not None and not self.holds:
            self.lease = None
        lease = self.lease
        chance = random_.random()
        if lease is None:
            if chance < 0.2:
                self._begin(self.client.read(now_ns), self._was_read())
            else:
                self._begin(self.client.acquire(self.name, TTL_NS, now_ns), self._was_acquired)
        elif chance < 0.02 and not self.world.is_calm:
            self.lease = None  # stopped first, then given back
            self._begin(self.client.release(lease, now_ns), lambda _: None)
        elif chance < 0.15:
            self.world.notes += 1
            note = (lease.epoch, self.world.notes)
            call = self.client.record(lease, repr(note).encode(), now_ns)
            self._begin(call, lambda kept: self._was_recorded(note, kept))
        else:
            self._begin(self.client.renew(lease, now_ns), self._was_renewed)

    def _begin(self, call: Call, then: Callable[[Any], None]) -> None:
        self.call, self._then = call, then
        self._drive()

    def _drive(self) -> None:
        call = self.call
        for witness, datagram in call.take_output():
            self.world.send(self, self.world.witnesses[witness], datagram)
        if not call.is_over:
            due = max(self.clock.true(call.next_deadline), self.world.now_ns + MS // 10)
            self._later(due - self.world.now_ns, lambda: self._pass(call))
            return
        self.call = None
        if call.error is None:
            self._then(call.result)
        else:
            assert isinstance(call.error, LeaseError)
            self.world.counts["unreachable"] += 1
        self._later(RENEW_NS if self.lease else self.world.random.randrange(1, 15 * MS), self._act)

    def _pass(self, call: Call) -> None:
        if call is self.call:
            call.pass_time(self.now_ns)
            self._drive()

    def _was_acquired(self, result: Lease | Held) -> None:
        if isinstance(result, Lease):
            self.lease = result
            self.world.was_granted(self, result)
        else:
            self.world.counts["held"] += 1

    def _was_renewed(self, result: Lease | Lost) -> None:
        if isinstance(result, Lost):
            self.lease = None
            self.world.counts["lost"] += 1
        elif self.lease is not None:
            self.lease = result
            self.world.counts["renewed"] += 1

    def _was_recorded(self, note: tuple[int, int], kept: bool) -> None:
        self.world.counts["noted" if kept else "not_noted"] += 1
        if kept:
            self.world.confirmed = max(self.world.confirmed, note)

    def _was_read(self) -> Callable[[Stored], None]:
        confirmed, granted = self.world.confirmed, self.world.epoch

        def check(stored: Stored) -> None:
            self.world.counts["read"] += 1
            seen = eval(stored.note) if stored.note else (0, 0)
            if seen < confirmed:
                raise ViolationError(f"note {confirmed} was kept, then {seen} was read")
            if stored.epoch < granted:
                raise ViolationError(f"epoch {granted} was granted, then {stored.epoch} was read")

        return check


class World:
    """Everything, and what happens to it."""

    def __init__(
        self,
        seed: int,
        count: int = 3,
        nodes: int = 3,
        *,
        witness_class: type[Witness] = Witness,
        client_class: type[WitnessClient] = WitnessClient,
        answers_early: bool = False,
        forgetful: int | None = None,
        drift: float = DRIFT,
    ) -> None:
        """``forgetful`` is how many at a time may lose their state; by default a minority."""
        self.random = random.Random(seed)
        self.count = count
        self.witness_class, self.client_class = witness_class, client_class
        self.answers_early = answers_early
        self.forgetful = (count - 1) // 2 if forgetful is None else forgetful
        self.drift = drift
        self.now_ns = 0
        self.counts = Counter[str]()
        self.epoch, self.notes, self.confirmed = 0, 0, (0, 0)
        self.is_calm = False
        self.loss = self.random.choice((0, 0.01, 0.1, 0.3))
        self.doubled = self.random.choice((0, 0.05, 0.3))
        self.slowness = self.random.choice((0.2, 1, 5))
        self.crash_after_sync = self.random.choice((0, 0.02, 0.2))
        self.rest_ns = self.random.choice((30, 80, 200)) * MS
        self.blocked: set[tuple[Any, Any]] = set()
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._event = 0
        self.witnesses = [Simulated(self, each) for each in range(count)]
        for each in self.witnesses:
            each.begin()
        self.nodes = [Node(self, f"node{each}") for each in range(nodes)]
        self.after(self.random.randrange(200 * MS), self._trouble)

    # ------------------------------------------------------------ time

    def at(self, true_ns: int, what: Callable[[], None]) -> None:
        self._event += 1
        heapq.heappush(self._events, (max(true_ns, self.now_ns), self._event, what))

    def after(self, ns: int, what: Callable[[], None]) -> None:
        self.at(self.now_ns + ns, what)

    def run(self, until_ns: int) -> None:
        while self._events and self._events[0][0] <= until_ns:
            self.now_ns, _, what = heapq.heappop(self._events)
            what()
            self._check()
        self.now_ns = until_ns

    def _check(self) -> None:
        holders = [each.name for each in self.nodes if each.holds]
        if len(holders) > 1:
            epochs = [each.lease.epoch for each in self.nodes if each.holds]
            raise ViolationError(f"{holders} hold at once, epochs {epochs}, at {self.now_ns} ns")

    def was_granted(self, node: Node, lease: Lease) -> None:
        self.counts["granted"] += 1
        if lease.epoch <= self.epoch:
            raise ViolationError(f"{node.name} was granted epoch {lease.epoch} after {self.epoch}")
        self.epoch = lease.epoch

    # ------------------------------------------------------------ network and disks

    def send(self, whence: Any, to: Any, datagram: bytes) -> None:
        if (whence, to) in self.blocked:
            return
        copies = 1 + (self.random.random() < self.doubled)
        for _ in range(copies):
            if self.random.random() < self.loss:
                continue
            delay = self.random.expovariate(1) * 0.3 * self.slowness
            if self.random.random() < 0.02 and not self.is_calm:
                delay += self.random.uniform(0, 150)  # far beyond a lease
            self.after(int(delay * MS) + 1000, lambda: self._deliver(to, datagram, whence))

    def _deliver(self, to: Any, datagram: bytes, whence: Any) -> None:
        if to.paused_until_ns > self.now_ns:
            self.at(to.paused_until_ns, lambda: self._deliver(to, datagram, whence))
        else:
            to.receive(datagram, whence)

    def disk_delay(self) -> int:
        slow = self.random.random() < 0.05 and not self.is_calm
        return int((self.random.uniform(10, 150) if slow else self.random.uniform(0.1, 3)) * MS)

    # ------------------------------------------------------------ trouble

    def _trouble(self) -> None:
        if self.is_calm:
            return
        happening = self.random.choice(
            (
                *(self._partition, self._heal, self._crash, self._crash),
                *(self._die, self._fill, self._pause, self._pause),
            )
        )
        happening()
        self.after(self.random.randrange(5 * MS, self.rest_ns), self._trouble)

    def _partition(self) -> None:
        self.counts["partitions"] += 1
        everyone = [*self.witnesses, *self.nodes]
        apart = {each for each in everyone if self.random.random() < 0.4}
        one_way = self.random.random() < 0.4
        for one in apart:
            for other in everyone:
                if other not in apart:
                    self.blocked.add((one, other))
                    if not one_way:
                        self.blocked.add((other, one))

    def _heal(self) -> None:
        self.blocked.clear()
        for each in self.witnesses:
            each.disk_refuses = False

    def _pause(self) -> None:
        """Stop a process; it goes on later and has not noticed."""
        self.counts["pauses"] += 1
        paused = self.random.choice([*self.witnesses, *self.nodes, *self.nodes])
        paused.paused_until_ns = self.now_ns + self.random.randrange(5 * MS, 200 * MS)

    def _fill(self) -> None:
        self.random.choice(self.witnesses).disk_refuses = True

    def _crash(self) -> None:
        self.restart(self.random.choice(self.witnesses))

    def restart(self, witness: Simulated) -> None:
        """Kill a witness; it comes back later, now and then without its memory."""
        if witness.witness is None:
            return
        self.counts["restarts"] += 1
        witness.crash()
        bad = sum(each.is_bad for each in self.witnesses if each is not witness)
        if bad < self.forgetful:
            chance = self.random.random()
            if chance < 0.25:
                witness.disk, witness.is_bad = None, True
                self.counts["forgotten"] += 1
            elif chance < 0.5 and witness.older:
                witness.disk, witness.is_bad = self.random.choice(witness.older), True
                self.counts["put_back"] += 1
        life = witness.life

        def begin() -> None:
            if life == witness.life:
                witness.begin()

        self.after(int(self.random.choice((0.1, 5, 60, 300)) * MS), begin)

    def _die(self) -> None:
        self.counts["deaths"] += 1
        self.random.choice(self.nodes).begin()

    def calm(self) -> None:
        """No more trouble: everything works and is there."""
        self.is_calm = True
        self.loss = self.doubled = self.crash_after_sync = 0
        self.slowness = min(self.slowness, 1)
        self._heal()


def simulate(seed: int, count: int = 3, ms: int = 1500, **options: Any) -> World:
    """A world in trouble for a time, then in peace; in the end somebody must get the lease."""
    world = World(seed, count, **options)
    world.run(ms * MS)
    world.calm()
    before = world.counts["granted"], world.counts["renewed"]
    world.run((ms + 1500) * MS)
    if (world.counts["granted"], world.counts["renewed"]) == before:
        raise ViolationError("in the end nobody gets the lease, though everything works")
    return world
