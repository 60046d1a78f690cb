"""An engine for teams that have a failover layer of their own: they decide, this replicates.

    with ReplicatedEngine(config, "my.py:mine", ring="/dev/shm/mine-a", on_orders=send) as mine:
        mine.follow("/dev/shm/mine-b")         # a standby of b
        mine.step()                            # in your loop: takes what b published
        mine.promote(epoch, order_position)    # your fencing number; where your gateway stands
        mine.feed(messages)                    # the active's inputs go into its ring first

No lease store, gateway or socket of ours is in it.  What the team's layer has to bring: at most one
active, an epoch that rises with each, and somebody who takes orders and refuses those of an epoch
below the highest he has seen, or knows his place in the order stream.  What this brings: inputs in
order with number, epoch and checksum; a standby that stops at the first record where it differs;
orders by their position in a stream that is the same on every node; snapshots.

At worst the old active still runs when another is promoted.  Then both rings are written, whoever
follows refuses records of the old epoch, and who takes orders has to refuse its orders by theirs.
"""

import json
import secrets
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np

from tickpath.clock import now_cycles
from tickpath.config import Config
from tickpath.engine import Engine
from tickpath.failover.outbox import Outbox
from tickpath.failover.role_state import RoleState
from tickpath.follower import Divergence
from tickpath.replica.error import ReplicaError
from tickpath.replica.ring import CAPACITY, Ring, RingTransport
from tickpath.wire.inputs import Kind

BURST = 256
MOST_RECORDS = 1 << 16
"""Records that one `step` of a standby takes."""
BEAT_TIMEOUT_NS = 50_000_000


class Orders(NamedTuple):
    """Orders that may leave now."""

    epoch: int
    position: int
    """Of their first byte in the order stream."""
    record_number: int
    """The last record that they follow from, or a later one that was taken with it."""
    messages: bytes
    """Encoded, each behind a 2-byte big-endian length."""


class Health(NamedTuple):
    """How an engine stands; ``reasons`` against its being, or becoming, a good active."""

    role: RoleState
    epoch: int
    record_number: int
    lag: int | None
    reasons: tuple[str, ...]

    @property
    def is_well(self) -> bool:
        return not self.reasons


class ReplicatedEngine:
    """See the module's text.  One thread at a time; nothing blocks."""

    def __init__(
        self,
        config: Config | None = None,
        strategy: Callable[..., Any] | str | None = None,
        *,
        ring: str,
        name: str = "a",
        on_orders: Callable[[Orders], None] = lambda orders: None,
        acknowledged_by: int = 0,
        scrub_records: int = 1_000,
        ring_bytes: int = CAPACITY,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """A standby that follows nobody, with an empty state.

        ``ring`` is the file that it publishes in, ``name`` (up to 16 bytes) its own among whom it
        follows.  ``on_orders`` gets an active's orders once so many standbys have applied the input
        that they follow from (``acknowledged_by``; 0: at once).  Every ``scrub_records`` records an
        active's `step` says the next slice of its state, which standbys compare (`tickpath.scrub`;
        0: never).  ``clock`` is in nanoseconds.

        Raises `ConfigError`, `StrategyError`, `ReplicaError`.
        """
        self.name, self._path, self._ring_bytes = name, ring, ring_bytes
        self._on_orders, self._acknowledged_by, self._clock = on_orders, acknowledged_by, clock
        self._scrub_records = scrub_records
        self.engine = Engine(config, strategy=strategy, on_orders=self._made)
        """What is read of it is the state; feed it through this object alone."""
        self.ring = Ring.create(ring, ring_bytes)
        self.engine.publish_to(self.ring.address)
        self._outbox = Outbox()
        self._is_active = False
        self._lost: str | None = None
        self._transport: RingTransport | None = None
        self._heard, self._heard_ns = 0, clock()

    def _made(self, orders: memoryview) -> None:
        self._outbox.add(bytes(orders), self.engine.block.get("record_number"))

    def close(self) -> None:
        """Follow nobody; the ring's file goes, and whoever follows it keeps what is in it."""
        self._leave()
        self._is_active = False
        self.ring.path.unlink(missing_ok=True)

    def __enter__(self) -> "ReplicatedEngine":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # ------------------------------------------------------------ how it stands

    @property
    def role(self) -> RoleState:
        """ACTIVE or STANDBY."""
        return RoleState.ACTIVE if self._is_active else RoleState.STANDBY

    @property
    def epoch(self) -> int:
        """The epoch of the last record; 0 before the first promotion."""
        return self.engine.block.get("epoch")

    @property
    def record_number(self) -> int:
        """The last record that is applied."""
        return self.engine.block.get("record_number")

    @property
    def order_position(self) -> int:
        """Bytes of the order stream that follow from the inputs so far, on every node alike."""
        return self.engine.block.get("order_position")

    @property
    def lag(self) -> int | None:
        """Records that were published and are not applied here; None for who follows nobody."""
        return None if self._transport is None else self._transport.lag

    @property
    def followers(self) -> dict[str, int]:
        """Who follows this engine's ring, and how many records each has not applied."""
        rows = self.ring.followers
        number = int(self.ring.header["number"])
        return {
            row["name"].decode(): max(0, number - int(row["taken"]))
            for row in rows[rows["incarnation"] > 0]
        }

    @property
    def state_digest(self) -> int:
        """As `Engine.state_digest`: the same on two nodes at the same record."""
        return self.engine.state_digest

    def health(self) -> Health:
        """See `Health`."""
        reasons = [] if self._lost is None else [self._lost]
        if not self._is_active and self._transport is None and self._lost is None:
            reasons.append("it follows nobody")
        if self._transport is not None:
            silent_ns = self._clock() - self._heard_ns
            if silent_ns > BEAT_TIMEOUT_NS:
                reasons.append(f"the active has not beaten for {silent_ns / 1e6:.0f} ms")
        if self.engine.strategy_error is not None:
            reasons.append(f"the strategy raised: {self.engine.strategy_error}")
        return Health(self.role, self.epoch, self.record_number, self.lag, tuple(reasons))

    # ------------------------------------------------------------ standing by

    def follow(self, ring: str) -> None:
        """Follow another engine by its ring (or a mirror of it) from the next record on.

        Raises `ReplicaError` where a snapshot is needed first: the record is not kept there, or
        this state has records that the other's epoch does not know of.
        """
        self._only(RoleState.STANDBY, "follow")
        if self._lost is not None:
            raise ReplicaError(f"{self._lost}: restore a snapshot")
        self._leave()
        other = Ring.attach(ring)
        epoch, began = int(other.header["epoch"]), int(other.header["epoch_began"])
        if epoch < self.epoch or (epoch > self.epoch and began <= self.record_number):
            raise ReplicaError(
                f"{ring}: epoch {epoch} began at record {began}; record {self.record_number} here "
                f"is of epoch {self.epoch}: restore a snapshot"
            )
        self._transport = RingTransport(other, self.name, self.record_number)
        self._transport.mine["incarnation"] = secrets.randbits(62) | 1
        self._heard_ns = self._clock()

    def step(self, most: int = MOST_RECORDS) -> int:
        """Your loop's turn: a standby takes records, an active beats and gives orders out.

        Gives how many records came.  A standby that cannot go on stays where it is, which `health`
        says.
        """
        if self._is_active:
            self.engine.scrub()
            self._beats()
            return 0
        taken = 0
        while self._transport is not None and taken < most:
            packets = self._transport.poll(min(BURST, most - taken))
            if len(packets):
                self.engine.process(packets)
                self._transport.release()
                taken += len(packets)
            self._look()
            if not len(packets):
                break
        self._hear()
        return taken

    def _beats(self) -> None:
        """An active's sign of life, and what may leave now."""
        self.ring.header["beat"] = now_cycles()
        self._flush()

    def _look(self) -> None:
        """Whether it can go on."""
        assert self._transport is not None
        why = self.engine.divergence
        if why is not Divergence.NONE:
            self._lost = f"diverged behind record {self.record_number}: {why.name.lower()}"
        elif self._transport.is_lapped:
            self._lost = f"records behind {self.record_number} are not kept any more"
        if self._lost is not None:
            self._leave()

    def _hear(self) -> None:
        if self._transport is None:
            return
        beat = int(self._transport.ring.header["beat"])
        if beat != self._heard:
            self._heard, self._heard_ns = beat, self._clock()

    def _leave(self) -> None:
        if self._transport is not None:
            self._transport.close()
            self._transport = None

    # ------------------------------------------------------------ changes of the role

    def promote(self, epoch: int, order_position: int | None = None) -> int:
        """Be the active of ``epoch``, after all that is still in the ring that was followed.

        ``order_position`` is how much of the order stream whoever takes orders has: ``on_orders``
        gets the rest again, which the one before may not have sent.  None: he has everything.
        Gives the number of the first record of the epoch.

        Raises `ReplicaError` where the epoch is not higher than all before, this state has lost its
        place, or that position is not one that it can go on from; it is a standby still then.
        """
        self._only(RoleState.STANDBY, "promote")
        if self._transport is not None:
            self.step(self._transport.lag)
        known = self.epoch
        if self._transport is not None:
            known = max(known, int(self._transport.ring.header["epoch"]))
        position = self.order_position if order_position is None else order_position
        if self._lost is not None:
            raise ReplicaError(f"{self._lost}: restore a snapshot")
        if epoch <= known:
            raise ReplicaError(f"epoch {epoch} is not above {known}")
        if not self._outbox.tail_position <= position <= self.order_position:
            raise ReplicaError(
                f"byte {position} of the order stream: this state knows it from "
                f"{self._outbox.tail_position} to {self.order_position}"
            )
        self._leave()
        self._outbox.go_on_from(position)
        first = self.record_number + 1
        self.engine.block.set("epoch", epoch)
        self.ring.header["epoch_began"], self.ring.header["epoch"] = first, epoch
        self._is_active = True
        self.engine.publish_to(self.ring.address, self._scrub_records)
        self.engine.say(Kind.EPOCH, json.dumps({"active": self.name}).encode(), epoch)
        self._beats()
        return first

    def demote(self) -> int:
        """Be a standby that follows nobody: from here on nothing is published or given out.

        Gives the position up to which ``on_orders`` got the order stream; the next active goes on
        from there (`promote`).
        """
        self._only(RoleState.ACTIVE, "demote")
        self._is_active = False
        self.engine.publish_to(self.ring.address)
        return self._outbox.handed

    def _only(self, role: RoleState, what: str) -> None:
        if self.role is not role:
            raise ReplicaError(f"{what}: this engine is {self.role.name.lower()}")

    # ------------------------------------------------------------ snapshots

    def snapshot(self) -> bytes:
        """The state as portable bytes, between two steps; of a standby, so that the active need
        not stop for it."""
        if self._lost is not None:
            raise ReplicaError(self._lost)
        return self.engine.snapshot()

    def restore(self, saved: bytes) -> None:
        """Become what a snapshot says, and go on from there: `follow`, or `promote`.

        Its ring begins anew.  Raises `SnapshotError`; nothing has changed then.
        """
        self._only(RoleState.STANDBY, "restore")
        self.engine.restore(saved)
        self._leave()
        self._lost = None
        self.engine.begin_to_follow()
        self.ring.header["broken"] = 1
        self.ring = Ring.create(self._path, self._ring_bytes)
        self.engine.publish_to(self.ring.address)
        self._outbox = Outbox(self.order_position)

    # ------------------------------------------------------------ an active's inputs

    def feed(self, messages: bytes) -> None:
        """As `Engine.feed`.  Like all inputs: raises `ReplicaError` in a standby."""
        self._only(RoleState.ACTIVE, "feed")
        self.engine.feed(messages)
        self._beats()

    def feed_packet(self, packet: bytes, **of: Any) -> None:
        """As `Engine.feed_packet`."""
        self._only(RoleState.ACTIVE, "feed_packet")
        self.engine.feed_packet(packet, **of)
        self._beats()

    def process(self, packets: np.ndarray) -> None:
        """As `Engine.process`."""
        self._only(RoleState.ACTIVE, "process")
        self.engine.process(packets)
        self._beats()

    def feed_responses(self, messages: bytes, answered: int | None = None) -> None:
        """As `Engine.feed_responses`."""
        self._only(RoleState.ACTIVE, "feed_responses")
        self.engine.feed_responses(messages, answered)
        self._beats()

    def command(self, name: str, *, who: str, why: str, **values: Any) -> None:
        """As `Engine.command`."""
        self._only(RoleState.ACTIVE, "command")
        self.engine.command(name, who=who, why=why, **values)
        self._beats()

    # ------------------------------------------------------------ orders

    def confirm(self, position: int) -> None:
        """Whoever takes orders has the stream up to here: it need not be kept, on any node."""
        self._outbox.confirm(position)

    def _acknowledged(self) -> int:
        """The last record that enough standbys have applied."""
        number = int(self.ring.header["number"])
        if not self._acknowledged_by:
            return number
        rows = self.ring.followers
        taken = np.sort(rows["taken"][rows["incarnation"] > 0])[::-1]
        enough = len(taken) >= self._acknowledged_by
        return min(number, int(taken[self._acknowledged_by - 1])) if enough else 0

    def _flush(self) -> None:
        if not self._outbox.waiting_bytes:
            return
        piece = self._outbox.due(self._acknowledged())
        if piece is not None:
            self._outbox.hand_over(piece)
            self._on_orders(Orders(self.epoch, piece.begin, piece.record_number, piece.orders))
