"""A ring mirrored over a network that loses, repeats and reorders: the same bytes, in order."""

import random
import socket
import threading
import time

import pytest

from tickpath import Engine
from tickpath.replica.mirror import MILLISECOND_NS, Settings, datagram, read
from tickpath.replica.mirror_receiver import Receiver
from tickpath.replica.mirror_sender import Sender
from tickpath.replica.mirror_udp import receive, send
from tickpath.replica.ring import Ring, RingTransport
from tickpath.wire.control import CONTROL

AT = ("10.0.0.2", 9)
CAPACITY = 1 << 20


@pytest.fixture(scope="module")
def engine():
    return Engine()


def publish(engine: Engine, number: int, rng: random.Random) -> None:
    """So many records of different sizes."""
    for _ in range(number):
        engine.feed_commands(
            b"".join(
                len(raw).to_bytes(2, "big") + raw
                for raw in [CONTROL["clock"].encode(who="test", why="a record")]
                * rng.randrange(1, 30)
            )
        )


class Network:
    """A sender and a receiver, and what is between them."""

    def __init__(self, tmp_path, engine: Engine, seed: int, loss: float = 0.0) -> None:
        self.rng, self.loss = random.Random(seed), loss
        self.engine = engine
        self.ring = Ring.create(tmp_path / "ring", CAPACITY)
        engine.publish_to(self.ring.address)
        settings = Settings(window_bytes=65_536)
        self.sender = Sender(self.ring, settings)
        self.receiver = Receiver(tmp_path / "mirror", "mirror", settings)
        self.now_ns = 0
        self.way: list[tuple[int, bool, bytes]] = []

    def put(self, to_sender: bool, datagrams: list[bytes]) -> None:
        for raw in datagrams:
            for _ in range(1 + (self.rng.random() < self.loss)):
                if self.rng.random() >= self.loss:
                    late = self.rng.randrange(1, 4 if self.loss else 2)
                    self.way.append((self.now_ns + late * MILLISECOND_NS, to_sender, raw))

    def move(self, steps: int = 1) -> None:
        for _ in range(steps):
            self.now_ns += MILLISECOND_NS
            arrived = [each for each in self.way if each[0] <= self.now_ns]
            self.way = [each for each in self.way if each[0] > self.now_ns]
            self.rng.shuffle(arrived) if self.loss else None
            for _, to_sender, raw in arrived:
                if to_sender:
                    self.put(False, self.sender.take(raw, AT, self.now_ns))
                else:
                    self.put(True, self.receiver.take(raw, self.now_ns))
            self.put(True, self.receiver.tick(self.now_ns))
            self.put(False, [raw for _, raw in self.sender.send(self.now_ns, 8)])

    def until_same(self, steps: int = 5_000) -> None:
        head = int(self.ring.header["head"])
        for _ in range(steps):
            self.move()
            mirror = self.receiver.ring
            if mirror is not None and int(mirror.header["head"]) == head:
                return
        raise AssertionError(f"{self.receiver.contiguous} of {head}: {self.receiver.counters}")

    def assert_same(self, since: int = 0) -> None:
        mirror = self.receiver.ring
        assert mirror is not None and mirror.place == self.ring.place
        head = int(mirror.header["head"])
        since = max(since, head - CAPACITY)
        at = since
        while at < head:
            piece = self.ring.read(at, head - at)
            assert mirror.read(at, head - at) == piece
            at += len(piece)


def test_what_is_published_is_mirrored(tmp_path, engine):
    network = Network(tmp_path, engine, 1)
    network.move(5)
    publish(engine, 200, network.rng)
    network.until_same()
    network.assert_same()
    assert network.receiver.counters["naks"] == 0
    network.move(5)
    mine = network.ring.followers[network.ring.followers["name"] == b"mirror"][0]
    assert mine["acknowledged"] == network.ring.place[1]


@pytest.mark.parametrize("seed", range(6))
def test_loss_repetition_and_disorder_are_mended(tmp_path, engine, seed):
    network = Network(tmp_path, engine, seed, loss=0.15)
    since = None
    for _ in range(12):
        publish(engine, network.rng.randrange(60), network.rng)
        network.move(network.rng.randrange(1, 30))
        if since is None and network.receiver.ring is not None:
            since = int(network.receiver.ring.header["head"])
    network.until_same()
    network.assert_same(since or 0)
    assert network.receiver.counters["naks"] > 0 and network.receiver.counters["repeated"] > 0
    assert network.receiver.counters["broken"] == 0


def test_a_ring_that_goes_round_is_mirrored(tmp_path, engine):
    network = Network(tmp_path, engine, 3, loss=0.05)
    network.move(20)
    for _ in range(40):
        publish(engine, 40, network.rng)
        network.move(40)
    network.until_same()
    assert int(network.ring.header["head"]) > CAPACITY
    network.assert_same()


def test_who_follows_the_mirror_takes_the_same(tmp_path, engine):
    network = Network(tmp_path, engine, 4, loss=0.1)
    network.until_same()
    begun = engine.snapshot()
    standby = Engine()
    standby.restore(begun)
    standby.begin_to_follow()
    assert network.receiver.ring is not None
    follower = RingTransport(network.receiver.ring, "mirror")
    mine = follower.mine
    mine["incarnation"], mine["epoch"], mine["ready"], mine["echo"] = 11, 3, 1, 77
    network.ring.header["committed"], network.ring.header["epoch_began"] = 5, 4
    for _ in range(20):
        publish(engine, 20, network.rng)
        network.move(10)
        while len(packets := follower.poll(64)):
            standby.process(packets)
            follower.release()
    network.until_same()
    while len(packets := follower.poll(64)):
        standby.process(packets)
        follower.release()
    assert standby.state_digest == engine.state_digest
    assert standby.block.get("record_number") == engine.block.get("record_number")
    network.move(10)
    mine = network.ring.followers[network.ring.followers["name"] == b"mirror"][0]
    assert mine["taken"] == standby.block.get("record_number")
    assert [int(mine[name]) for name in ("incarnation", "epoch", "ready", "echo")] == [11, 3, 1, 77]
    header = network.receiver.ring.header
    assert (header["committed"], header["epoch_began"]) == (5, 4)


def test_a_mirror_that_is_too_late_begins_anew(tmp_path, engine):
    network = Network(tmp_path, engine, 5)
    network.until_same()
    assert network.receiver.ring is not None
    follower = RingTransport(network.receiver.ring, "standby")
    publish(engine, 1_500, network.rng)
    assert int(network.ring.header["head"]) > CAPACITY
    network.until_same()
    counters = network.receiver.counters
    assert counters["broken"] == 1 and counters["starts"] == 2
    assert follower.is_lapped
    publish(engine, 10, network.rng)
    network.until_same()


def test_beats_go_on_only_while_the_loop_lives(tmp_path, engine):
    network = Network(tmp_path, engine, 6)
    network.ring.header["beat"] = 1
    network.until_same()
    network.move(50)
    assert network.receiver.ring is not None
    seen = []
    for beat in (1, 1, 2, 3):
        network.ring.header["beat"] = beat
        network.move(50)
        seen.append(int(network.receiver.ring.header["beat"]))
    assert seen[0] == seen[1] < seen[2] < seen[3]


def test_a_receiver_that_is_silent_is_let_go_of(tmp_path, engine):
    network = Network(tmp_path, engine, 7)
    network.until_same()
    assert b"mirror" in network.ring.followers["name"]
    network.sender.send(network.now_ns + 2_000 * MILLISECOND_NS)
    assert b"mirror" not in network.ring.followers["name"]
    assert network.sender.counters["silent"] == 1
    # It says where it stands, and goes on from there.
    network.now_ns += 2_000 * MILLISECOND_NS
    publish(engine, 20, network.rng)
    network.until_same()
    network.assert_same()
    assert network.receiver.counters["starts"] == 1


@pytest.mark.parametrize("at", range(0, 60, 5))
def test_damaged_datagrams_are_counted(tmp_path, engine, at):
    network = Network(tmp_path, engine, 8)
    network.until_same()
    raw = bytearray(datagram("data", network.receiver.stream, position=0, bytes=b"x" * 20))
    raw[at] ^= 0x40
    assert read(bytes(raw)) is None
    before = network.receiver.ring.place
    assert network.receiver.take(bytes(raw), network.now_ns) == []
    assert network.receiver.take(b"", network.now_ns) == []
    assert network.receiver.counters["damaged"] == 2
    assert network.receiver.ring.place == before


def test_a_new_ring_in_the_same_place_is_sent_on(tmp_path, engine):
    """As of a node that was started again."""
    path, mirror = tmp_path / "ring", tmp_path / "mirror"
    first = Ring.create(path, CAPACITY)
    engine.publish_to(first.address)
    address, over = ("127.0.0.1", free_port()), threading.Event()
    quick = Settings(silence_ms=200)
    threads = [
        threading.Thread(target=lambda: send(first, address, over.is_set, quick)),
        threading.Thread(target=lambda: receive(mirror, "far", address, over.is_set, quick)),
    ]
    for each in threads:
        each.start()

    def until(condition) -> bool:
        deadline = time.monotonic() + 60
        while not condition() and time.monotonic() < deadline:
            time.sleep(0.01)
        return condition()

    try:
        assert until(lambda: mirror.exists() and b"far" in first.followers["name"])
        followed = Ring.attach(mirror)
        second = Ring.create(path, CAPACITY)
        engine.publish_to(second.address)
        assert until(lambda: b"far" in second.followers["name"])
        assert until(lambda: bool(followed.header["broken"])), "its follower is not told"
        publish(engine, 50, random.Random(1))
        assert until(lambda: Ring.attach(mirror).place == second.place)
    finally:
        over.set()
        for each in threads:
            each.join(10)


PATIENT = Settings(silence_ms=10_000)
"""Who is silent for less than that has had no core, as all these threads share a few."""


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.parametrize("receivers", [0, 1, 3], ids=["unicast", "group", "group of three"])
def test_over_sockets(tmp_path, engine, receivers):
    ring = Ring.create(tmp_path / "ring", CAPACITY)
    engine.publish_to(ring.address)
    address = ("127.0.0.1", free_port())
    group = ("239.255.77.9", free_port()) if receivers else None
    names = [f"far-{number}" for number in range(max(1, receivers))]
    over = threading.Event()
    results: list[Sender | Receiver] = []

    def keep(name: str) -> None:
        joined = None if group is None else (group, "127.0.0.1")
        results.append(receive(tmp_path / name, name, address, over.is_set, PATIENT, group=joined))

    threads = [
        threading.Thread(
            target=lambda: results.append(send(ring, address, over.is_set, PATIENT, group=group))
        ),
        *(threading.Thread(target=keep, args=(name,)) for name in names),
    ]
    for each in threads:
        each.start()

    def until(condition) -> bool:
        deadline = time.monotonic() + 60
        while not condition() and time.monotonic() < deadline:
            time.sleep(0.01)
        return condition()

    def are_there() -> bool:
        return all(name.encode() in ring.followers["name"] for name in names)

    def have_all() -> bool:
        mine = ring.followers[ring.followers["name"] != b""]
        return len(mine) == len(names) and bool((mine["acknowledged"] == ring.place[1]).all())

    try:
        assert until(are_there)
        publish(engine, 300, random.Random(1))
        assert until(have_all)
    finally:
        over.set()
        for each in threads:
            each.join(10)
    assert len(results) == 1 + len(names)
    for name in names:
        assert Ring.attach(tmp_path / name).place == ring.place
    (sender,) = [each for each in results if isinstance(each, Sender)]
    published = int(ring.header["head"])
    if receivers:  # once for all, but for what somebody asked for again
        assert sender.counters["sent_bytes"] - sender.counters["resent_bytes"] <= published
