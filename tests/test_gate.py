"""Orders leave by the live loop when standbys have their record and the lease runs, or wait."""

import random
import threading

import numpy as np
import pytest

from memory_transport import MemoryTransport
from sessions import session
from tickpath import Config, Engine, gate
from tickpath.capture import open_capture
from tickpath.clock import now_cycles
from tickpath.config import Transport
from tickpath.live import Live
from tickpath.replica.lane_receiver import LaneReceiver, LaneTransport
from tickpath.replica.lane_sender import LaneSender
from tickpath.replica.mirror import Settings
from tickpath.replica.ring import Ring, RingTransport

TAKER = "tickpath.samples:imbalance_taker"
PLACE, LIFE = 2, 77
"""The follower of most of these tests: its place in the ring, and its incarnation."""
PATIENT = Settings(silence_ms=60_000)
"""A lane whose other side may have no core for a while."""


@pytest.fixture(scope="module")
def packets():
    with open_capture(session()) as capture:
        yield np.concatenate([batch.copy() for batch in capture.batches()])


class Active:
    """An engine that publishes, on a transport in memory, with the orders of each record."""

    def __init__(self, path, packets, listen=None):
        self.ring = Ring.create(path, 1 << 23)
        self.made: list[tuple[int, bytes]] = []
        config = Config(transport=Transport(burst=16, orders_to="10.0.0.2:26500"))
        self.engine = Engine(config, strategy=TAKER, on_orders=self._made)
        self.engine.publish_to(self.ring.address)
        self.transport = MemoryTransport(packets)
        self.lane = None if listen is None else LaneSender(self.ring, listen, PATIENT)
        self.live = Live(self.engine, self.transport, lane=self.lane)
        self.live.gate.wait_ns = 0

    def _made(self, orders: memoryview) -> None:
        self.made.append((self.engine.block.get("record_number"), bytes(orders)))

    def acknowledge(self, number: int, life: int = LIFE) -> None:
        row = self.ring.followers[PLACE]
        row["incarnation"], row["acknowledged"] = life, number

    def made_up_to(self, number: int) -> bytes:
        return b"".join(orders for record, orders in self.made if record <= number)

    @property
    def all_made(self) -> bytes:
        return b"".join(orders for _, orders in self.made)

    def run(self, steps: int = 2_000) -> None:
        with self.live:
            for _ in range(steps):
                self.live.step(50_000)
                if self.transport.is_empty:
                    return


@pytest.fixture
def active(tmp_path, packets):
    return Active(tmp_path / "ring", packets)


@pytest.mark.parametrize("seed", range(3))
def test_no_order_leaves_before_its_record_is_acknowledged(active, seed):
    rng = random.Random(seed)
    active.live.gate.require({PLACE: LIFE})
    with active.live:
        acknowledged = 0
        while not active.transport.is_empty:
            active.live.step(20_000)
            assert active.transport.orders == active.made_up_to(acknowledged)
            if rng.random() < 0.2:
                acknowledged = rng.randint(acknowledged, int(active.ring.header["number"]))
                active.acknowledge(acknowledged)
                active.live.gate.try_again()
                assert active.transport.orders == active.made_up_to(acknowledged)
        assert active.live.gate.shut > 10 and len(active.made) > 100
        active.acknowledge(int(active.ring.header["number"]))
        active.live.gate.try_again()
    assert active.transport.orders == active.all_made
    assert active.live.gate.waiting_bytes == 0 and not active.live.gate.counters


def test_another_life_of_the_follower_does_not_count(active):
    active.live.gate.require({PLACE: LIFE})
    active.acknowledge(1 << 40, life=LIFE + 1)
    active.run()
    assert active.transport.orders == b"" and len(active.made) > 100
    active.acknowledge(1 << 40)
    active.live.gate.try_again()
    assert active.transport.orders == active.all_made


def test_all_that_are_required_have_to_acknowledge(active):
    active.live.gate.require({PLACE: LIFE, PLACE + 1: LIFE})
    active.acknowledge(1 << 40)
    active.run()
    assert active.transport.orders == b""
    active.live.gate.require({PLACE: LIFE})
    active.live.gate.try_again()
    assert active.transport.orders == active.all_made != b""


def test_nothing_leaves_behind_the_lease(active):
    active.live.gate.open_until(now_cycles())
    active.run()
    assert active.transport.orders == b""
    assert b"".join(active.live.gate.give_up()) == active.all_made != b""
    active.live.gate.open_until(None)
    active.live.gate.try_again()
    assert active.transport.orders == b"", "what was given up leaves by nobody"


def test_a_lease_that_runs_lets_pass(active):
    active.live.gate.open_until(now_cycles() + active.live.clock.cycles(3_600 * 10**9))
    active.run()
    assert active.transport.orders == active.all_made != b""
    assert active.live.gate.shut == 0


def test_what_has_no_room_is_counted(active, monkeypatch):
    monkeypatch.setattr(gate, "MOST_BYTES", 1_000)
    active.live.gate.require({PLACE: LIFE})
    active.run()
    kept = b"".join(active.live.gate.give_up())
    dropped = active.live.gate.counters["orders_dropped_bytes"]
    assert len(kept) <= 1_000 and len(kept) + dropped == len(active.all_made)
    assert active.all_made.startswith(kept)


def test_a_standby_beside_it_lets_all_pass(active, tmp_path):
    """With a follower that keeps up, in a thread: the loop itself waits and sends."""
    standby = Engine(strategy=TAKER)
    transport = RingTransport(active.ring, "standby")
    transport.mine["incarnation"] = LIFE
    place = int(np.flatnonzero(active.ring.followers["name"] == b"standby")[0])
    is_over = threading.Event()

    def follow() -> None:
        with Live(standby, transport) as live:
            while not is_over.is_set() or transport.lag:
                live.step(50_000)

    active.live.gate.require({place: LIFE})
    active.live.gate.wait_ns = 50_000
    beside = threading.Thread(target=follow)
    beside.start()
    try:
        active.run()
        while active.live.gate.waiting_bytes:
            active.live.gate.try_again()
    finally:
        is_over.set()
        beside.join()
    assert active.transport.orders == active.all_made != b""
    assert standby.state_digest == active.engine.state_digest


def test_a_standby_elsewhere_lets_all_pass(tmp_path, packets):
    """By a lane on loopback: the loops of both do it all, and nothing leaves before it is there."""
    active = Active(tmp_path / "ring", packets, ("127.0.0.1", 0))
    receiver = LaneReceiver(tmp_path / "mirror", "standby", active.lane.listens, PATIENT)
    while receiver.ring is None:
        active.lane.turn()
        receiver.turn()
    standby = Engine(strategy=TAKER)
    transport = LaneTransport(receiver.ring, "standby", receiver)
    transport.mine["incarnation"] = LIFE
    is_over = threading.Event()

    def follow() -> None:
        with Live(standby, transport) as live:
            while not is_over.is_set() or transport.lag:
                live.step(50_000)
                receiver.turn()

    (place,) = np.flatnonzero(active.ring.followers["name"] == b"standby")
    active.live.gate.require({int(place): LIFE})
    active.live.gate.wait_ns = 1_000_000
    beside = threading.Thread(target=follow)
    beside.start()
    try:
        with active.live:
            while not active.transport.is_empty or active.live.gate.waiting_bytes:
                active.live.step(50_000)
                acknowledged = int(active.ring.followers["acknowledged"][place])
                assert active.made_up_to(acknowledged).startswith(active.transport.orders)
            while transport.lag or receiver.ring.place != active.ring.place:
                active.lane.turn()
    finally:
        is_over.set()
        beside.join()
        counters = active.lane.counters
        active.lane.close()
        receiver.close()
    assert active.transport.orders == active.all_made != b""
    assert standby.state_digest == active.engine.state_digest
    assert counters["lane_acknowledgements"] > 100


def test_a_lane_that_nobody_hears_lets_nothing_pass(tmp_path, packets):
    active = Active(tmp_path / "ring", packets, ("127.0.0.1", 0))
    active.live.gate.require({PLACE: LIFE})
    active.run()
    assert active.transport.orders == b"" and len(active.made) > 100
    active.lane.close()


def test_wrong_places_are_refused(active):
    for followers in ({8: LIFE}, {-1: LIFE}, {0: 0}):
        with pytest.raises(ValueError, match="places are 0 to 7"):
            active.live.gate.require(followers)
    active.engine.publish_to(0)
    with pytest.raises(ValueError, match="publishes to no ring"):
        active.live.gate.require({PLACE: LIFE})
