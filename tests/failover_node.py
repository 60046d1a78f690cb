"""A node of the failover simulator: the real role around a small deterministic engine.

The engine turns records into orders by nothing but its state, as the real one does.  Its loop sends
records, beats and orders by itself, within what the role allowed; role and loop tell each other
with a delay.  `Judge` compares whatever happens with what must hold.
"""

import zlib
from typing import Any, NamedTuple

from failover_world import (
    MS,
    ORDER_BYTES,
    BrokenError,
    Clock,
    Exchange,
    Gateway,
    Network,
    Order,
    Sim,
)

STEP_NS = 3 * MS
BEAT_NS = 10 * MS
AIMED = frozenset(
    ("RecordNote", "Require", "Promote", "Freeze", "Release", "Drain", "HandOver", "StopSending")
)
"""Steps of the protocol at which others are made to fail."""
MASK = (1 << 61) - 1
KINDS = ("feed", "promotion", "hold", "resume", "gate")


def _cell(value: Any) -> int:
    """A value as a number: what strings hash to differs from process to process."""
    return zlib.crc32(value.encode()) if isinstance(value, str) else value


class Record(NamedTuple):
    """An input: each names the one before it, so that a stream of another history does not fit."""

    number: int
    epoch: int
    before: tuple[int, int]
    kind: str
    value: Any
    digest: int
    """Of the state behind it, as its maker has it."""


class Feed:
    """The market: the same messages for everybody."""

    def __init__(self, sim: Sim, interval_ns: int):
        self.sim, self.interval_ns, self.last = sim, interval_ns, 0
        sim.after(interval_ns, self._next)

    def _next(self) -> None:
        self.last += 1
        self.sim.after(int(self.interval_ns * (0.5 + self.sim.dice.random())), self._next)


class Engine:
    """State from records; a position of the order stream that follows from them alone."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.where: dict[int, int] = {}
        self.digest = 1
        self.feed = 0
        self.held: frozenset[str] = frozenset()
        self.position = 0
        self.orders: list[tuple[int, Order]] = []
        """Each with the position at which it begins."""

    @property
    def last(self) -> tuple[int, int]:
        return (self.records[-1].number, self.records[-1].epoch) if self.records else (0, 0)

    def copy(self) -> "Engine":
        other = Engine()
        other.records, other.where = self.records.copy(), self.where.copy()
        other.orders = self.orders.copy()
        other.digest, other.feed, other.held = self.digest, self.feed, self.held
        other.position = self.position
        return other

    def apply(self, number: int, epoch: int, kind: str, value: Any) -> Record:
        """Take an input; the digest says what became of it."""
        before = self.last
        self.digest = hash((self.digest, number, epoch, KINDS.index(kind), _cell(value))) & MASK
        if kind == "feed":
            self.feed = value
            if not self.held and self.digest % 3 == 0:
                self.orders.append((self.position, Order(number, value, self.digest)))
                self.position += ORDER_BYTES
        elif kind == "promotion":
            self.held = (self.held - {"takeover", "gate"}) | {"takeover"}
            if value > self.position:
                # Orders of the gateway that nobody here knows: the stream goes on behind them.
                self.position = value
        elif kind == "hold":
            self.held |= {value}
        elif kind == "resume":
            self.held -= {value}
        record = Record(number, epoch, before, kind, value, self.digest)
        self.where[number] = len(self.records)
        self.records.append(record)
        return record

    def from_position(self, position: int) -> list[tuple[int, Order]]:
        behind = 0
        for _, _ in reversed(self.orders):
            if self.orders[-behind - 1][0] < position:
                break
            behind += 1
        return self.orders[len(self.orders) - behind :]


class Judge:
    """What must hold at any moment, over all nodes."""

    def __init__(self, sim: Sim, exchange: Exchange, gateway: Gateway, members: dict[str, "Node"]):
        self.sim, self.exchange, self.gateway, self.nodes = sim, exchange, gateway, members
        self.digests: dict[tuple[int, int], int] = {}
        self.committed: tuple[int, int, int] = (0, 0, 1)
        self.promotions: list[tuple[int, str, int, bool]] = []
        self.is_store_honest = True
        """The store's clock never stepped: a lease is never granted before another's end."""
        self.last_epoch = 0
        self.losses = 0
        self.unsent: set[Order] = set()
        """Orders of a state that missed an epoch, and so declared that they may not be sent."""
        self.excused: set[Order] = set()
        """Orders that a takeover declared as unknown to it."""

    def applied(self, node: str, record: Record, digest: int) -> None:
        if self.digests.setdefault((record.number, record.epoch), digest) != digest:
            raise BrokenError(f"{node} has another record {record.number} of epoch {record.epoch}")

    def released(self, node: "Node", number: int) -> None:
        """Orders up to this record may leave in synchronous mode: nobody may forget it."""
        if number > self.committed[0]:
            record = node.engine.records[node.engine.where[number]]
            self.committed = (number, record.epoch, record.digest)

    def promoted(self, node: "Node", action: Any) -> None:
        epoch, engine = action.epoch, node.engine
        if self.gateway.seen_epoch < epoch:
            raise BrokenError(f"{node.name} is promoted without asking the gateway as {epoch}")
        if self.is_store_honest and epoch <= self.last_epoch:
            raise BrokenError(
                f"{node.name} is promoted in epoch {epoch}, not above {self.last_epoch}"
            )
        self.last_epoch = epoch
        unknown = self.gateway.position - engine.position
        if action.unknown_order_bytes != max(0, unknown):
            raise BrokenError(
                f"{node.name} told of {action.unknown_order_bytes} bytes, not {unknown}"
            )
        unknown_orders = set(self.gateway.orders) - {order for _, order in engine.orders}
        is_known = unknown_orders <= self.excused
        sent = self.gateway.position
        unsent = {order for at, order in engine.orders if at < sent} - set(self.gateway.orders)
        if unsent - self.unsent and not action.missed_epochs:
            raise BrokenError(f"{node.name} takes its orders {unsent} for the gateway's")
        self.unsent |= unsent
        at = engine.where.get(self.committed[0])
        keeps = not self.committed[0] or (
            at is not None and engine.records[at].digest == self.committed[2]
        )
        note = node.code.decode(node.world.store.note)
        may_lose = action.is_forced or (note is not None and not note.is_synchronous)
        is_declared = may_lose and (action.is_forced or action.unheard_ns != 0)
        if action.unheard_ns != 0 and not may_lose:
            raise BrokenError(f"{node.name} is promoted in {epoch} and was not in sync")
        self.sim.log("judge: {} knows {} keeps {} {}", node.name, is_known, keeps, is_declared)
        if not (is_known and keeps):
            if not is_declared:
                what = "an order" if not is_known else f"record {self.committed[0]}"
                raise BrokenError(
                    f"{node.name} is promoted in epoch {epoch} and does not know {what}"
                )
            self.losses += 1
            self.excused |= unknown_orders
            self.exchange.forgives_feed = True
            self.committed = (*engine.last, engine.digest)
        self.promotions.append((self.sim.now_ns, node.name, epoch, is_declared))

    def sent(self, node: "Node", epoch: int, local_ns: int, store: Any) -> None:
        """An order leaves the node's loop."""
        end_ns = node.lease_ends.get(epoch, 0)
        if local_ns >= end_ns:
            raise BrokenError(f"{node.name} sends {local_ns - end_ns} ns behind its lease's end")
        if self.is_store_honest and store.epoch != epoch:
            raise BrokenError(f"{node.name} sends in epoch {epoch}, {store.epoch} was granted")


class Node:
    """A process with a role, a loop and an engine; it can be stopped, killed and started."""

    def __init__(self, name: str, world: Any, clock: Clock):
        self.name, self.world, self.clock = name, world, clock
        self.sim: Sim = world.sim
        self.network: Network = world.network
        self.judge: Judge = world.judge
        self.code, self.flaws, self.config = world.code, world.flaws, world.config
        self.incarnation = 0
        self.life = 0
        self.is_up = False
        self.engine = Engine()
        self.paused_until_ns = 0
        self.asked: dict[int, int] = {}
        self.lease_ends: dict[int, int] = {}
        self.network.inboxes[name] = self.receive
        self.actions_by_name: dict[str, int] = {}
        self.texts: list[Any] = []

    # ------------------------------------------------------------ process

    def start(self) -> None:
        self.life += 1
        self.is_up = True
        if not self.world.keeps_journal(self.name):
            self.engine = Engine()
        if not self.engine.records:
            self.incarnation = self.world.next_incarnation()
        if self.engine.records and "node_keeps_incarnation" in self.flaws:
            del self.engine.records[len(self.engine.records) // 2 :]
            records, self.engine = self.engine.records, Engine()
            for each in records:
                self.engine.apply(each.number, each.epoch, each.kind, each.value)
        self.is_leading = self.is_draining = self.is_frozen = False
        self.epoch, self.until_ns, self.follow_epoch = 0, 0, 0
        self.gate: tuple[Any, ...] | None = None
        self.gate_is_synchronous = True
        self.acks: dict[Any, int] = {}
        self.confirmed, self.beat, self.beat_due_ns, self.resend_ns = 0, 0, 0, 0
        self.missing_since_ns: int | None = None
        self.active = ""
        member = self.code.Member(self.name, self.incarnation)
        self.role = self.code.Role(member, self.config, self.local())
        self.sim.log("{} starts as {}", self.name, member)
        self.tell_standing()
        self.sim.after(0, self.tick, self.life)

    def crash(self) -> None:
        self.sim.log("{} dies", self.name)
        self.is_up = False
        self.life += 1

    def local(self) -> int:
        return self.clock.at(self.sim.now_ns)

    def later(self, delay_ns: int, call: Any, *arguments: Any) -> None:
        self.sim.after(delay_ns, self._if_alive, self.life, call, arguments)

    def _if_alive(self, life: int, call: Any, arguments: tuple[Any, ...]) -> None:
        if not self.is_up or life != self.life:
            return
        if self.sim.now_ns < self.paused_until_ns:
            wait_ns = self.paused_until_ns - self.sim.now_ns
            self.sim.after(wait_ns, self._if_alive, life, call, arguments)
            return
        call(*arguments)

    def tick(self, life: int) -> None:
        if not self.is_up or life != self.life:
            return
        if self.sim.now_ns < self.paused_until_ns:
            self.sim.after(self.paused_until_ns - self.sim.now_ns, self.tick, life)
            return
        self.loop()
        self.step(self.code.Tick())
        self.sim.after(STEP_NS, self.tick, life)

    # ------------------------------------------------------------ role

    def step(self, event: Any) -> None:
        now_ns = self.local()
        actions = self.role.step(event, now_ns)
        if self.role.is_active and now_ns >= self.lease_ends.get(self.role.epoch, 0):
            raise BrokenError(f"{self.name} is active behind its lease's end")
        for action in actions:
            self.carry_out(action)

    def tell_standing(self) -> None:
        self.step(self.standing())

    def standing(self) -> Any:
        number, epoch = self.engine.last
        return self.code.Standing(
            number=number,
            epoch=epoch,
            order_position=self.engine.position,
            tail_position=0,
            is_missing=self.missing_since_ns is not None,
            held=tuple(sorted(self.engine.held)),
            incarnation=self.incarnation,
        )

    def carry_out(self, action: Any) -> None:
        name = type(action).__name__
        self.actions_by_name[name] = self.actions_by_name.get(name, 0) + 1
        self.sim.log("{}: {}", self.name, action)
        getattr(self, "_do_" + name)(action)
        if name in AIMED:
            self.world.aim(self.name)

    def _do_Acquire(self, action: Any) -> None:  # noqa: N802
        self.asked[action.request] = self.local()
        self.network.send(self.name, "store", "acquire", action.request, action.ttl_ns)

    def _do_Renew(self, action: Any) -> None:  # noqa: N802
        self.asked[action.request] = self.local()
        ttl_ns = self.config.lease_ttl_ns
        self.network.send(self.name, "store", "renew", action.request, action.epoch, ttl_ns)

    def _do_Release(self, action: Any) -> None:  # noqa: N802
        self.network.send(self.name, "store", "release", action.request, action.epoch)

    def _do_RecordNote(self, action: Any) -> None:  # noqa: N802
        values = (action.request, action.epoch, action.note)
        dice = self.sim.dice
        if self.network.is_bad and dice.random() < self.world.faults.aimed:
            # The answer will be given up, and the note come true when others were recorded since.
            late_ns = dice.randint(30 * MS, 150 * MS)
            self.sim.after(late_ns, self.network.send, self.name, "store", "record", *values)
        else:
            self.network.send(self.name, "store", "record", *values)

    def _do_ReadStore(self, action: Any) -> None:  # noqa: N802
        self.network.send(self.name, "store", "read", action.request)

    def _do_AskGateway(self, action: Any) -> None:  # noqa: N802
        self.network.send(self.name, "gateway", "ask", action.request, action.epoch)

    def _do_HandOver(self, action: Any) -> None:  # noqa: N802
        values = (self.name, action.epoch, action.number)
        self.network.send(self.name, action.to, "handed_over", *values)

    def _do_Freeze(self, action: Any) -> None:  # noqa: N802
        self.later(self._loop_ns(), self._freeze, action.request)

    def _freeze(self, request: int) -> None:
        self.is_frozen = True
        self.step(self.code.Frozen(request, self.standing()))

    def _do_Follow(self, action: Any) -> None:  # noqa: N802
        self.is_frozen = self.is_leading = self.is_draining = False

    def _do_Promote(self, action: Any) -> None:  # noqa: N802
        if action.number != self.engine.last[0]:
            raise BrokenError(
                f"{self.name} is promoted at {action.number}, is at {self.engine.last}"
            )
        self.judge.promoted(self, action)
        self.is_frozen = self.is_draining = False
        self.is_leading, self.epoch = True, action.epoch
        self.until_ns = action.until_ns
        self.gate, self.acks = None, {}
        self.gate_is_synchronous = True
        self.confirmed = action.order_position
        self.make(
            max(action.next_number, self.engine.last[0] + 1), "promotion", action.order_position
        )

    def _do_Extend(self, action: Any) -> None:  # noqa: N802
        self.until_ns = action.until_ns

    def _do_Require(self, action: Any) -> None:  # noqa: N802
        self.later(self._loop_ns(), self._require, action)

    def _require(self, action: Any) -> None:
        if not self.is_leading:
            return
        self.gate, self.gate_is_synchronous = action.members, action.is_synchronous
        self.make_next("gate", len(action.members))
        self.step(self.code.Required(action.request, self.engine.last[0]))
        self.hand_over()

    def _do_Hold(self, action: Any) -> None:  # noqa: N802
        self.make_next("hold", action.source)

    def _do_Resume(self, action: Any) -> None:  # noqa: N802
        self.make_next("resume", action.source)

    def _do_Drain(self, action: Any) -> None:  # noqa: N802
        self.later(self._loop_ns(), self._drain, action.request)

    def _drain(self, request: int) -> None:
        if self.is_leading:
            self.is_draining = True
            number, _ = self.engine.last
            self.step(self.code.Drained(request, number, self.engine.position))

    def _do_Undrain(self, action: Any) -> None:  # noqa: N802
        self.is_draining = False

    def _do_StopSending(self, action: Any) -> None:  # noqa: N802
        self.later(self._loop_ns(), self._stop, action.request)

    def _stop(self, request: int) -> None:
        self.is_leading = False
        self.step(self.code.Stopped(request))

    def _do_Abort(self, action: Any) -> None:  # noqa: N802
        raise BrokenError(f"{self.name} aborts: {action.reason}")

    def _note_text(self, action: Any) -> None:
        self.texts.append(action)

    _do_Entered = _do_Alarm = _do_Refused = _do_Done = _note_text  # noqa: N815

    def _loop_ns(self) -> int:
        return int(self.sim.dice.random() * MS)

    # ------------------------------------------------------------ loop

    def loop(self) -> None:
        """What the engine's own loop does between two looks at its inputs."""
        now_ns = self.local()
        if not self.is_leading or not self.may_send(now_ns):
            return
        if not self.is_draining:
            for message in range(self.engine.feed + 1, self.world.feed.last + 1):
                self.make_next("feed", message)
        if now_ns >= self.beat_due_ns:
            self.beat_due_ns = now_ns + BEAT_NS
            self.beat += 1
            number = self.engine.last[0]
            beat = (self.epoch, self.beat, number, self.released_number())
            for peer in self.world.names:
                self.network.send(self.name, peer, "beat", *beat)
        self.hand_over()

    def may_send(self, now_ns: int) -> bool:
        return now_ns < self.until_ns or "loop_ignores_end" in self.flaws

    def make_next(self, kind: str, value: Any) -> None:
        self.make(self.engine.last[0] + 1, kind, value)

    def make(self, number: int, kind: str, value: Any) -> None:
        record = self.engine.apply(number, self.epoch, kind, value)
        self.judge.applied(self.name, record, record.digest)
        for peer in self.world.names:
            self.network.send(self.name, peer, "record", self.epoch, record)
        self.tell_standing()

    def released_number(self) -> int:
        """The last record whose orders may leave."""
        last = self.engine.last[0]
        if self.gate is None:
            return 0
        if "loop_ignores_gate" in self.flaws:
            return last
        return min((self.acks.get(member, 0) for member in self.gate), default=last)

    def hand_over(self) -> None:
        """Send what may leave and the gateway has not confirmed."""
        now_ns = self.local()
        if not self.is_leading or self.gate is None or not self.may_send(now_ns):
            return
        released = self.released_number()
        if self.gate_is_synchronous:
            numbers = [n for n in (released,) if n in self.engine.where]
            for number in numbers:
                self.judge.released(self, number)
        behind = self.engine.from_position(self.confirmed)
        orders = [each for each in behind if each[1].number <= released]
        if not orders or (
            orders[-1][0] < self.world.last_sent.get((self.name, self.epoch), 0)
            and now_ns < self.resend_ns
        ):
            return
        self.resend_ns = now_ns + 5 * MS
        self.world.last_sent[self.name, self.epoch] = orders[-1][0] + ORDER_BYTES
        self.judge.sent(self, self.epoch, now_ns, self.world.store)
        position, sent = orders[0][0], [order for _, order in orders]
        values = (self.epoch, position, orders[-1][1].number, sent)
        self.network.send(self.name, "gateway", "hand_over", *values)

    # ------------------------------------------------------------ what comes in

    def receive(self, source: str, what: str, values: tuple[Any, ...]) -> None:
        self._if_alive(self.life, getattr(self, "_on_" + what), (source, *values))

    def _on_answer(self, source: str, request: int, name: str, *values: Any) -> None:
        if name in ("Acquired", "Renewed"):
            asked_ns = self.asked.get(request)
            if asked_ns is None:
                return  # of an earlier life
            if name == "Acquired":
                epoch, ttl_ns = values
                values = (epoch, asked_ns, ttl_ns)
            else:
                epoch, values = self.role.epoch, (asked_ns, *values)
            tenure_ns = self.config.lease_ttl_ns * 80 // 100
            if self.role.requests.is_open(
                self.code.Kind["ACQUIRE" if name == "Acquired" else "RENEW"]
            ):
                end_ns = max(self.lease_ends.get(epoch, 0), asked_ns + tenure_ns)
                self.lease_ends[epoch] = end_ns
        event = getattr(self.code, name)(request, *values)
        self.step(event)

    def _on_refused(self, source: str, epoch: int, highest: int, reason: str) -> None:
        self.step(self.code.GatewayRefused(epoch, highest, reason))

    def _on_confirmed(self, source: str, epoch: int, position: int) -> None:
        if self.is_leading and epoch == self.epoch:
            self.confirmed = max(self.confirmed, position)

    def _on_handed_over(self, source: str, name: str, epoch: int, number: int) -> None:
        self.step(self.code.HandedOver(name, epoch, number))

    def _on_beat(self, source: str, epoch: int, beat: int, number: int, committed: int) -> None:
        self.step(self.code.Beat(epoch, beat, number, committed))
        if epoch < self.follow_epoch or self.is_leading:
            return
        self.follow_epoch, self.active = epoch, source
        if self.engine.last != (number, epoch):
            self.ask_for_missing()
        self.acknowledge(number if "acks_before_applying" in self.flaws else None)

    def _on_record(self, source: str, epoch: int, record: Record) -> None:
        stale = epoch < self.follow_epoch
        if stale or self.is_leading or self.is_frozen:
            return
        self.follow_epoch, self.active = epoch, source
        self.take(source, record)
        self.tell_standing()
        self.acknowledge(record.number if "acks_before_applying" in self.flaws else None)

    def take(self, source: str, record: Record) -> None:
        number, epoch = self.engine.last
        at = self.engine.where.get(record.number)
        if at is not None:
            if self.engine.records[at].epoch != record.epoch:
                self.ask_for_snapshot(source)
        elif record.before == (number, epoch) or (
            "joins_any_history" in self.flaws and record.before[0] == number
        ):
            self.missing_since_ns = None
            self.engine.apply(record.number, record.epoch, record.kind, record.value)
            self.judge.applied(self.name, record, self.engine.digest)
        elif record.number > number:
            self.ask_for_missing()

    def ask_for_missing(self) -> None:
        now_ns = self.local()
        since_ns = self.missing_since_ns
        if since_ns is None or now_ns - since_ns > 8 * MS:
            self.missing_since_ns = now_ns
            self.network.send(self.name, self.active, "missing", self.engine.last)
            self.tell_standing()

    def ask_for_snapshot(self, source: str) -> None:
        self.network.send(self.name, source, "missing", (-1, 0))

    def _on_missing(self, source: str, last: tuple[int, int]) -> None:
        if not self.is_leading:
            return
        number, epoch = last
        if number == 0:
            at = 0
        else:
            found = self.engine.where.get(number)
            if found is None or self.engine.records[found].epoch != epoch:
                self.network.send(self.name, source, "snapshot", self.epoch, self.engine.copy())
                return
            at = found + 1
        batch = self.engine.records[at : at + 200]
        self.network.send(self.name, source, "batch", self.epoch, batch)

    def _on_batch(self, source: str, epoch: int, batch: list[Record]) -> None:
        if epoch < self.follow_epoch or self.is_leading or self.is_frozen:
            return
        self.follow_epoch, self.active = epoch, source
        self.missing_since_ns = None
        for record in batch:
            if record.number not in self.engine.where:
                self.take(source, record)
        self.tell_standing()
        self.acknowledge(None)

    def _on_snapshot(self, source: str, epoch: int, engine: Engine) -> None:
        if epoch < self.follow_epoch or self.is_leading or self.is_frozen:
            return
        if engine.last[0] < self.engine.last[0] and self.engine.last[1] == epoch:
            return  # a late copy
        self.follow_epoch, self.active = epoch, source
        self.engine = engine.copy()
        self.missing_since_ns = None
        self.incarnation = self.world.next_incarnation()
        self.tell_standing()
        self.acknowledge(None)

    def acknowledge(self, number: int | None) -> None:
        """Only what is applied, and only of the epoch that made it or took it over."""
        if not self.active:
            return
        last, epoch = self.engine.last
        if epoch != self.follow_epoch and number is None:
            return
        is_ready = not self.role.unfit()
        values = (self.incarnation, self.follow_epoch, number or last, is_ready)
        self.network.send(self.name, self.active, "acked", *values)

    def _on_acked(
        self, source: str, incarnation: int, epoch: int, number: int, is_ready: bool
    ) -> None:
        member = self.code.Member(source, incarnation)
        if self.is_leading and epoch == self.epoch:
            self.acks[member] = max(self.acks.get(member, 0), number)
            self.hand_over()
        self.step(self.code.Acked(member, epoch, number, is_ready))
