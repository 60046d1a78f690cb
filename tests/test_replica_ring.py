"""A standby that follows a ring: the same state as the active engine, and the same order bytes."""

import random

import numpy as np
import pytest

import pitch_scenes
from sessions import session
from tickpath import Engine
from tickpath.capture import open_capture
from tickpath.config import Config, Feed
from tickpath.follower import Divergence
from tickpath.generate import SessionPlan
from tickpath.packet import LINK_INPUT, PACKET
from tickpath.replica.error import ReplicaError
from tickpath.replica.ring import Ring, RingTransport
from tickpath.wire.inputs import INPUTS, Kind

TAKER = "tickpath.samples:imbalance_taker"
RECORD = INPUTS["record"].dtype


_OPEN = []


def packets_of(path) -> np.ndarray:
    """The packets of a capture, which stays open: they are lent from its memory."""
    capture = open_capture(path)
    _OPEN.append(capture)
    capture.__enter__()
    return np.concatenate([batch.copy() for batch in capture.batches()])


@pytest.fixture(scope="module", autouse=True)
def _close():
    yield
    while _OPEN:
        _OPEN.pop().__exit__(None, None, None)


class Pair:
    """An engine that publishes, and one that follows it."""

    def __init__(self, path, config: Config | None = None, capacity: int = 1 << 22) -> None:
        self.ring = Ring.create(path, capacity)
        self.active = Engine(config, strategy=TAKER)
        self.active.publish_to(self.ring.address)
        self.standby = Engine(config, strategy=TAKER)
        self.transport = RingTransport(self.ring, "standby")
        self.orders: tuple[list[bytes], list[bytes]] = ([], [])

    def follow(self, most: int = 1 << 30) -> int:
        """Let the standby take what was published; gives how many records."""
        taken = 0
        while taken < most and len(packets := self.transport.poll(min(64, most - taken))):
            self.standby.process(packets)
            self.transport.release()
            taken += len(packets)
        return taken

    def assert_same(self) -> None:
        assert self.standby.divergence is Divergence.NONE and not self.transport.is_lapped
        assert self.standby.state_digest == self.active.state_digest
        assert self.standby.book_digest == self.active.book_digest
        for name in ("record_number", "input_number", "order_position", "engine_time", "messages"):
            assert self.standby.block.get(name) == self.active.block.get(name), name
        for kept, engine in zip(self.orders, (self.active, self.standby), strict=True):
            kept.extend(engine.take_orders())
        assert self.orders[0] == self.orders[1]
        assert sum(len(each) + 2 for each in self.orders[0]) == self.active.block.get(
            "order_position"
        )
        assert self.transport.lag == 0


@pytest.fixture
def pair(tmp_path):
    return Pair(tmp_path / "ring")


def test_a_session_is_followed_to_the_same_state_and_orders(pair):
    packets = packets_of(session())
    for begin in range(0, len(packets), 50):
        pair.active.process(packets[begin : begin + 50])
        pair.follow()
    pair.assert_same()
    assert len(pair.orders[0]) > 100
    assert pair.standby.counters["inputs_repeated"] == 0
    assert pair.active.block.get("record_number") > len(packets) // 2


@pytest.mark.parametrize("reorder", [0, 4])
def test_loss_reordering_and_duplicates_are_decided_once(tmp_path, reorder):
    packets = packets_of(session())
    rng = random.Random(reorder)
    order = [at for at in range(len(packets)) if rng.random() > 0.02]
    for _ in range(len(order) // 10):
        at = rng.randrange(len(order) - 2)
        order[at], order[at + 1] = order[at + 1], order[at]
        order.insert(at + 2, order[at])
    pair = Pair(tmp_path / "ring", Config(feed=Feed(reorder_packets=reorder)))
    for at in order:
        pair.active.process(packets[at : at + 1])
        if rng.random() < 0.1:
            pair.follow(rng.randrange(1, 20))
    pair.follow()
    pair.assert_same()
    counters = pair.active.counters
    assert counters["gaps"] > 3 and counters["duplicate_messages"] > 10
    assert (counters["packets_reordered"] > 10) == (reorder > 0)
    assert pair.standby.counters["gaps"] == counters["gaps"]
    # What is next on each line is known where the feed has to be taken over.
    lines = [
        {name: each[name] for name in ("session", "group", "next", "missing")}
        for engine in (pair.active, pair.standby)
        for each in engine.lines()
    ]
    assert lines[: len(lines) // 2] == lines[len(lines) // 2 :]


def test_pitch_is_followed(tmp_path):
    pair = Pair(tmp_path / "ring")
    plan = SessionPlan(messages=5_000, symbols=20, seed=3, feed="pitch")
    packets = packets_of(session("pitch.pcap", plan))
    half = len(packets) // 2
    pair.active.process(packets[:half])
    pair.follow()
    pair.active.process(packets[half:])
    pair.follow()
    pair.assert_same()
    assert len(pair.active.symbols) > 5


def test_commands_answers_and_bare_messages_are_inputs_too(pair):
    packets = packets_of(session())
    rng = random.Random(5)
    for begin in range(0, len(packets), 20):
        pair.active.process(packets[begin : begin + 20])
        if rng.random() < 0.3:
            pair.active.command("clock", who="test", why="time")
        if rng.random() < 0.1:
            pair.active.command("cancel_all", who="test", why="less")
        if rng.random() < 0.1:
            pair.active.command("kill", who="test", why="on and off", scope="G", level=0)
        pair.active.feed_responses(b"\x00\x03???", answered=begin)
        pair.follow()
        assert pair.standby.block.get("answered") == begin
    pitch_scenes.feed(pair.active, [])
    pair.follow()
    pair.assert_same()
    assert pair.standby.counters["commands"] == pair.active.counters["commands"] > 10


def test_a_hold_keeps_the_strategy_quiet_on_both(pair):
    packets = packets_of(session())
    third = len(packets) // 3
    pair.active.process(packets[:third])
    pair.active.say(Kind.EPOCH, b"node a", 1)
    pair.active.say(Kind.HOLD, b"an operator", 0b100)
    pair.follow()
    before = pair.standby.block.get("order_position")
    assert pair.standby.block.get("holds") == 0b100 and before > 0
    pair.active.process(packets[third : 2 * third])
    pair.follow()
    assert pair.standby.block.get("order_position") == before
    pair.active.say(Kind.HOLD, b"an operator", 0)
    pair.active.process(packets[2 * third :])
    pair.follow()
    pair.assert_same()
    assert pair.standby.block.get("order_position") > before


@pytest.mark.parametrize("capacity", [1 << 20, 1 << 22])
def test_a_follower_finds_its_place_by_the_number(tmp_path, capacity):
    pair = Pair(tmp_path / "ring", capacity=capacity)
    packets = packets_of(session(plan=SessionPlan(messages=40_000, symbols=50, seed=12)))
    pair.active.process(packets[:100])
    at_first = pair.active.block.get("record_number")
    for begin in range(100, len(packets), 100):
        pair.active.process(packets[begin : begin + 100])
    last = pair.active.block.get("record_number")
    for behind in (last, last - 1, last - 500):
        other = RingTransport(pair.ring, "other", behind)
        assert other.first <= behind + 1
        numbers = []
        while len(lent := other.poll(64)):
            numbers += [
                int.from_bytes(
                    pair.ring._bytes[int(each["address"]) - int(pair.ring.address) + 8 :][
                        :8
                    ].tobytes(),
                    "little",
                )
                for each in lent
            ]
            other.release()
        assert numbers == list(range(other.first, last + 1))
    if capacity == 1 << 20:
        with pytest.raises(ReplicaError, match="a snapshot is needed"):
            RingTransport(pair.ring, "other", at_first)
    with pytest.raises(ReplicaError, match="a snapshot is needed"):
        RingTransport(pair.ring, "other", last + 1)


def test_a_late_standby_begins_with_a_snapshot(pair):
    packets = packets_of(session())
    third = len(packets) // 3
    pair.active.process(packets[:third])
    pair.orders[0].extend(pair.active.take_orders())
    pair.orders[1].extend(pair.orders[0])
    late = Engine(strategy=TAKER)
    pair.standby, pair.transport = late, RingTransport(pair.ring, "late")
    pair.active.process(packets[third : 2 * third])
    pair.orders[0].extend(pair.active.take_orders())
    pair.orders[1].extend(pair.orders[0][len(pair.orders[1]) :])
    late.restore(pair.active.snapshot())
    late.begin_to_follow()
    pair.active.process(packets[2 * third :])
    pair.follow()
    assert late.counters["inputs_repeated"] >= 1
    pair.assert_same()


def test_who_follows_can_publish_the_same_records(tmp_path):
    pair = Pair(tmp_path / "ring")
    second = Ring.create(tmp_path / "second", 1 << 22)
    pair.standby.publish_to(second.address)
    pair.active.process(packets_of(session())[:400])
    pair.follow()
    pair.assert_same()
    assert int(second.header["head"]) == int(pair.ring.header["head"]) > 0
    used = 4096 + int(second.header["head"])
    first_bytes = (tmp_path / "ring").read_bytes()[4096:used]
    assert (tmp_path / "second").read_bytes()[4096:used] == first_bytes


def record_at(ring: Ring, at: int = 0) -> np.ndarray:
    """The record at a place of the ring, which can be changed."""
    return ring._bytes[4096 + at : 4096 + at + RECORD.itemsize].view(RECORD)


@pytest.mark.parametrize("name", ["number", "sequence", "kind", "book_digest", "epoch", "length"])
def test_a_damaged_record_is_not_taken(pair, name):
    pair.active.process(packets_of(session())[:1])
    record_at(pair.ring)[name] += 1
    before = pair.standby.state_digest
    packets = np.zeros(1, PACKET)
    address = int(pair.ring.address) + 4096
    length = int(pair.ring.header["head"])
    packets[0] = (address, 0, length, length, LINK_INPUT, 0, 0)
    pair.standby.process(packets)
    assert pair.standby.divergence is Divergence.DAMAGED
    assert pair.standby.state_digest == before


def test_a_hole_and_a_difference_end_following(pair):
    packets = packets_of(session())
    pair.active.process(packets[:10])
    lent = pair.transport.poll(64)
    pair.standby.process(lent[:3])
    pair.standby.process(lent[4:])
    assert pair.standby.divergence is Divergence.HOLE
    pair.standby.process(lent[3:])
    assert pair.standby.block.get("record_number") == 3
    pair.transport.release()


def test_other_books_are_found_out_at_the_first_record(pair):
    packets = packets_of(session())
    pair.active.process(packets[:200])
    pair.follow()
    pair.standby.block.set("book_digest", pair.standby.book_digest ^ 1)
    pair.active.process(packets[200:202])
    taken = pair.standby.block.get("record_number")
    lent = pair.transport.poll(64)
    pair.standby.process(lent)
    assert pair.standby.divergence is Divergence.BOOKS
    assert pair.standby.block.get("record_number") == taken


def test_whoever_lags_by_more_than_the_ring_is_told(tmp_path):
    pair = Pair(tmp_path / "ring", capacity=1 << 20)
    packets = packets_of(session())
    for _ in range(3):
        pair.active.process(packets)
        pair.active.restore(Engine(strategy=TAKER).snapshot())
    assert int(pair.ring.header["head"]) > 1 << 20
    assert not len(pair.transport.poll(64)) and pair.transport.is_lapped


def test_a_ring_goes_round(tmp_path):
    pair = Pair(tmp_path / "ring", capacity=1 << 20)
    packets = packets_of(session(plan=SessionPlan(messages=60_000, symbols=50, seed=12)))
    for begin in range(0, len(packets), 100):
        pair.active.process(packets[begin : begin + 100])
        pair.follow()
    pair.assert_same()
    assert int(pair.ring.header["head"]) > 2 << 20


def test_a_record_of_an_epoch_that_is_over_is_fenced(pair):
    packets = packets_of(session())
    pair.active.process(packets[:5])
    pair.follow()
    taken = pair.standby.block.get("record_number")
    pair.standby.block.set("epoch", 7)
    pair.active.process(packets[5:6])
    pair.standby.process(pair.transport.poll(8))
    assert pair.standby.counters["inputs_fenced"] == 1
    assert pair.standby.block.get("record_number") == taken
    assert pair.standby.divergence is Divergence.NONE


def test_rings_that_are_none(tmp_path):
    with pytest.raises(ReplicaError, match="power of two"):
        Ring.create(tmp_path / "a", 3 << 20)
    with pytest.raises(ReplicaError, match="No such file"):
        Ring.attach(tmp_path / "a")
    (tmp_path / "short").write_bytes(b"x")
    with pytest.raises(ReplicaError, match="no ring of inputs"):
        Ring.attach(tmp_path / "short")
    (tmp_path / "other").write_bytes(bytes(8192))
    with pytest.raises(ReplicaError, match="of this version"):
        Ring.attach(tmp_path / "other")
    ring = Ring.create(tmp_path / "full", 1 << 20)
    for at in range(8):
        RingTransport(ring, f"standby-{at}")
    with pytest.raises(ReplicaError, match="8 followers already"):
        RingTransport(ring, "one-more")
    RingTransport(Ring.attach(tmp_path / "full"), "standby-3")
