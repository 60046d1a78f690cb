"""An engine in somebody else's failover layer: a controller moves the role, digests are equal."""

import random
import runpy
from pathlib import Path

import numpy as np
import pytest

from sessions import session
from test_replica_ring import packets_of
from tickpath.failover.replicated import Orders, ReplicatedEngine
from tickpath.failover.role_state import RoleState
from tickpath.replica.error import ReplicaError
from tickpath.snapshot import SnapshotError

TAKER = "tickpath.samples:imbalance_taker"
README = Path(__file__).parents[1] / "README.md"
RING_BYTES = 1 << 22


class Gateway:
    """Whoever takes orders: epochs never fall, and bytes come in their places, each once."""

    def __init__(self) -> None:
        self.epoch, self.taken = 0, b""

    def take(self, orders: Orders) -> None:
        assert orders.epoch >= self.epoch
        assert orders.position == len(self.taken)
        self.epoch = orders.epoch
        self.taken += orders.messages


class Controller:
    """The external layer: it says who is active, and nobody else decides anything."""

    def __init__(self, path: Path, **settings: object) -> None:
        self.path, self.gateway, self.epoch = path, Gateway(), 0
        self.now_ns = 0
        self.engines = {
            name: ReplicatedEngine(
                None,
                TAKER,
                name=name,
                ring=str(path / name),
                ring_bytes=RING_BYTES,
                on_orders=self.gateway.take,
                clock=lambda: self.now_ns,
                **settings,
            )
            for name in "ab"
        }
        self.a, self.b = self.engines["a"], self.engines["b"]

    def promote(self, engine: ReplicatedEngine) -> int:
        self.epoch += 1
        return engine.promote(self.epoch, len(self.gateway.taken))

    def close(self) -> None:
        for engine in self.engines.values():
            engine.close()


@pytest.fixture
def controller(tmp_path):
    made = Controller(tmp_path)
    yield made
    made.close()


@pytest.fixture(scope="module")
def packets() -> np.ndarray:
    return packets_of(session())


def assert_same(a: ReplicatedEngine, b: ReplicatedEngine) -> None:
    assert a.state_digest == b.state_digest
    assert (a.record_number, a.order_position, a.epoch) == (
        b.record_number,
        b.order_position,
        b.epoch,
    )


def alone(packets: np.ndarray) -> tuple[int, bytes]:
    """What one engine makes of it that never changes its role."""
    from tickpath import Engine

    made = bytearray()
    engine = Engine(None, strategy=TAKER, on_orders=lambda orders: made.extend(orders))
    engine.process(packets)
    return engine.book_digest, bytes(made)


def test_the_role_goes_to_and_fro_and_every_order_leaves_once(controller, packets):
    active, standby = controller.a, controller.b
    controller.promote(active)
    standby.follow(str(active.ring.path))
    rng = random.Random(3)
    for begin in range(0, len(packets), 40):
        active.process(packets[begin : begin + 40])
        if rng.random() < 0.7:
            standby.step(rng.randrange(1, 100))
        if rng.random() < 0.15:
            handed = active.demote()
            assert handed == len(controller.gateway.taken)
            controller.promote(standby)  # takes what is still in the ring first
            active.follow(str(standby.ring.path))
            active, standby = standby, active
    standby.step()
    assert controller.epoch > 3
    assert_same(active, standby)
    assert standby.lag == 0 and active.followers == {standby.name: 0}
    digest, orders = alone(packets)
    assert active.engine.book_digest == digest
    assert controller.gateway.taken == orders and len(orders) > 1000


def test_an_active_that_died_is_gone_on_from_where_the_gateway_stands(controller, packets):
    """It had made orders, published their inputs, and given none of them out."""
    a, b = controller.a, controller.b
    controller.promote(a)
    b.follow(str(a.ring.path))
    half = len(packets) // 2
    a.process(packets[: half // 2])
    a._on_orders = lambda orders: None  # what it gives out from here on comes to nobody
    a.process(packets[half // 2 : half])
    assert a.order_position > len(controller.gateway.taken) > 0
    controller.promote(b)
    assert len(controller.gateway.taken) == b.order_position == a.order_position
    b.process(packets[half:])
    assert controller.gateway.taken == alone(packets)[1]
    # The one that died runs still: a record that nobody else has bars its way back.
    a.command("clock", who="test", why="of an epoch that is over")
    a.demote()
    with pytest.raises(ReplicaError, match=r"epoch 2 began at record .*restore a snapshot"):
        a.follow(str(b.ring.path))
    a.restore(b.snapshot())
    a.follow(str(b.ring.path))
    assert_same(a, b)


def test_a_late_standby_begins_with_a_snapshot(controller, packets):
    a, b = controller.a, controller.b
    controller.promote(a)
    a.process(packets[:300])
    # Its records are still in the ring here; a snapshot is the way where they are not.
    saved = a.snapshot()
    a.process(packets[300:400])
    b.restore(saved)
    b.follow(str(a.ring.path))
    assert b.lag and b.step() and b.lag == 0
    assert_same(a, b)
    # A standby's snapshot serves as well, and the active need not stop for it.
    third = ReplicatedEngine(
        None, TAKER, name="c", ring=str(controller.path / "c"), ring_bytes=RING_BYTES
    )
    third.restore(b.snapshot())
    third.follow(str(a.ring.path))
    a.process(packets[400:500])
    third.step()
    assert_same(a, third)
    assert a.followers == {"b": b.lag, "c": 0}
    with pytest.raises(SnapshotError):
        third.restore(b"no snapshot")
    assert_same(a, third)
    third.close()


def test_orders_wait_for_as_many_acknowledgements_as_are_asked_for(tmp_path, packets):
    controller = Controller(tmp_path, acknowledged_by=1)
    a, b = controller.a, controller.b
    controller.promote(a)
    a.process(packets[: len(packets) // 2])
    assert a.order_position and not controller.gateway.taken
    b.follow(str(a.ring.path))
    a.step()
    assert not controller.gateway.taken
    b.step(), a.step()
    assert len(controller.gateway.taken) == a.order_position
    controller.close()


def test_health_says_what_is_wrong(controller, packets):
    a, b = controller.a, controller.b
    assert b.health().reasons == ("it follows nobody",) and b.lag is None
    controller.promote(a)
    assert a.health() == (RoleState.ACTIVE, 1, 1, None, ()) and a.health().is_well
    b.follow(str(a.ring.path))
    b.step()
    assert b.health() == (RoleState.STANDBY, 1, 1, 0, ())
    controller.now_ns += 60_000_000
    b.step()
    assert b.health().reasons == ("the active has not beaten for 60 ms",)
    a.step(), b.step()
    assert b.health().is_well
    # A state that differs stops at the first record that shows it, and is never promoted.
    b.engine.block.set("book_digest", 5)
    a.process(packets[:50])
    b.step()
    assert b.health().reasons == (f"diverged behind record {b.record_number}: books",)
    assert b.step() == 0
    for what in (lambda: b.promote(2), lambda: b.follow(str(a.ring.path)), b.snapshot):
        with pytest.raises(ReplicaError, match="diverged behind record"):
            what()
    b.restore(a.snapshot())
    b.follow(str(a.ring.path))
    assert b.health().is_well and b.state_digest == a.state_digest


def test_what_no_record_says_is_compared_by_slices(tmp_path, packets):
    controller = Controller(tmp_path, scrub_records=1)
    a, b = controller.a, controller.b
    controller.promote(a)
    b.follow(str(a.ring.path))
    a.process(packets[:50])
    b.step()
    b.engine.block.position["cash"][3] += 1  # nobody's books or orders are another's by that
    for _ in range(100_000):
        a.command("clock", who="test", why="time")
        a.step()
        if b.step() == 0:
            break
    assert b.health().reasons == (f"diverged behind record {b.record_number}: state",)
    controller.close()


def test_a_standby_that_was_overtaken_says_so(controller, packets):
    a, b = controller.a, controller.b
    controller.promote(a)
    b.follow(str(a.ring.path))
    while a.ring.header["head"] < 2 * RING_BYTES:
        a.feed_responses(b"\x10\x00" + bytes(4096))
    assert b.step() == 0
    assert b.health().reasons == ("records behind 0 are not kept any more",)


def test_what_a_role_does_not_do(controller, packets):
    a, b = controller.a, controller.b
    controller.promote(a)
    for what in (
        lambda: b.feed(b""),
        lambda: b.feed_packet(b""),
        lambda: b.process(packets[:1]),
        lambda: b.feed_responses(b""),
        lambda: b.command("clock", who="x", why="y"),
        lambda: b.demote(),
        lambda: a.promote(2),
        lambda: a.follow(str(b.ring.path)),
        lambda: a.restore(b""),
    ):
        with pytest.raises(ReplicaError, match=r"this engine is (standby|active)"):
            what()
    b.follow(str(a.ring.path))
    for epoch in (0, 1):
        with pytest.raises(ReplicaError, match=f"epoch {epoch} is not above 1"):
            b.promote(epoch)
    with pytest.raises(ReplicaError, match="byte 9 of the order stream: this state knows it from"):
        b.promote(2, 9)
    assert b.role is RoleState.STANDBY


def test_the_readmes_example_runs(tmp_path, monkeypatch):
    text = README.read_text()
    (block,) = [each for each in text.split("```python\n") if "ReplicatedEngine(" in each]
    code = block.partition("```")[0]
    file = tmp_path / "example.py"
    file.write_text(code)
    monkeypatch.chdir(tmp_path)
    said = runpy.run_path(str(file))
    assert said["b"].state_digest == said["a"].state_digest
    for name in "ab":
        said[name].close()
