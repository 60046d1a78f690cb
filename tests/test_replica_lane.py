"""Lanes: a ring over UDP by machine code, against its counterpart in Python and its own other side.

A proxy stands between the two, real sockets on loopback: it loses, repeats and reorders by a seed.
"""

import random
import socket
import time
import zlib

import numpy as np
import pytest

from test_replica_mirror import publish
from tickpath import Engine
from tickpath.jit import entry
from tickpath.memory import load_u64
from tickpath.replica import lane as lanes
from tickpath.replica.error import ReplicaError
from tickpath.replica.lane import Port, address_of, word_of
from tickpath.replica.lane_receiver import LaneReceiver, LaneTransport
from tickpath.replica.lane_sender import LaneSender
from tickpath.replica.mirror import MILLISECOND_NS, Settings, datagram, read
from tickpath.replica.mirror_receiver import Receiver
from tickpath.replica.mirror_sender import Sender
from tickpath.replica.ring import Ring

CAPACITY = 1 << 20
SETTINGS = Settings(window_bytes=65_536)
LOOPBACK = ("127.0.0.1", 0)


@pytest.fixture(scope="module")
def engine():
    return Engine()


def udp() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 21)
    made.bind(LOOPBACK)
    made.setblocking(False)
    return made


def arrived(at: socket.socket) -> list[bytes]:
    found = []
    while True:
        try:
            found.append(at.recvfrom(1 << 16)[0])
        except BlockingIOError:
            return found


class PythonSender:
    """`Sender` with the same face as a `LaneSender`."""

    def __init__(self, ring: Ring) -> None:
        self.sender, self.socket = Sender(ring, SETTINGS), udp()
        self.address = self.socket.getsockname()

    def turn(self, now_ns: int) -> None:
        while True:
            try:
                raw, source = self.socket.recvfrom(1 << 16)
            except BlockingIOError:
                break
            for answer in self.sender.take(raw, source, now_ns):
                self.socket.sendto(answer, source)
        for address, raw in self.sender.send(now_ns, 8):
            self.socket.sendto(raw, address)

    @property
    def counters(self):
        return self.sender.counters

    def close(self) -> None:
        self.socket.close()


class PythonReceiver:
    """`Receiver` with the same face as a `LaneReceiver`."""

    def __init__(self, path, name: str, source) -> None:
        self.receiver, self.socket, self.source = Receiver(path, name, SETTINGS), udp(), source

    def turn(self, now_ns: int) -> None:
        out = []
        for raw in arrived(self.socket):
            out += self.receiver.take(raw, now_ns)
        for raw in out + self.receiver.tick(now_ns):
            self.socket.sendto(raw, self.source)

    @property
    def ring(self):
        return self.receiver.ring

    @property
    def counters(self):
        return self.receiver.counters

    def close(self) -> None:
        self.socket.close()


class Proxy:
    """Between a sender and a receiver; each knows only this."""

    def __init__(self, sender, seed: int, loss: float) -> None:
        self.near, self.far = udp(), udp()  # towards the sender, and towards the receiver
        self.sender, self.receiver = sender, None
        self.rng, self.loss = random.Random(seed), loss
        self.kept: list[tuple[bool, bytes]] = []

    @property
    def address(self):
        return self.far.getsockname()

    def turn(self) -> None:
        came = [(False, raw) for raw in arrived(self.near)]
        while True:
            try:
                raw, self.receiver = self.far.recvfrom(1 << 16)
            except BlockingIOError:
                break
            came.append((True, raw))
        due = self.kept + [each for each in came for _ in range(1 + self.strikes())]
        if self.loss:
            self.rng.shuffle(due)
        self.kept = []
        for to_sender, raw in due:
            if self.strikes():
                self.kept.append((to_sender, raw))
            elif self.strikes():
                continue  # lost
            elif to_sender:
                self.near.sendto(raw, self.sender)
            elif self.receiver is not None:
                self.far.sendto(raw, self.receiver)

    def strikes(self) -> bool:
        return self.rng.random() < self.loss

    def close(self) -> None:
        self.near.close()
        self.far.close()


class Pair:
    """A sender and a receiver of given kinds, of one ring."""

    def __init__(self, tmp_path, engine, sends, receives, seed=1, loss=0.0) -> None:
        self.engine, self.rng = engine, random.Random(seed)
        self.ring = Ring.create(tmp_path / "ring", CAPACITY)
        engine.publish_to(self.ring.address)
        if sends is LaneSender:
            self.sender = LaneSender(self.ring, LOOPBACK, SETTINGS)
            at = self.sender.listens
        else:
            self.sender = PythonSender(self.ring)
            at = self.sender.address
        self.proxy = Proxy(at, seed, loss)
        path, source = tmp_path / "mirror", self.proxy.address
        if receives is LaneReceiver:
            self.receiver = LaneReceiver(path, "mirror", source, SETTINGS)
        else:
            self.receiver = PythonReceiver(path, "mirror", source)
        self.now_ns = 0

    def move(self, steps: int = 1) -> None:
        for _ in range(steps):
            self.now_ns += MILLISECOND_NS
            self.sender.turn(self.now_ns)
            self.proxy.turn()
            self.receiver.turn(self.now_ns)
            self.proxy.turn()

    def until_same(self, steps: int = 5_000) -> None:
        for _ in range(steps):
            self.move()
            mirror = self.receiver.ring
            if mirror is not None and mirror.place == self.ring.place:
                return
        raise AssertionError(f"{self.ring.place}: {self.sender.counters} {self.receiver.counters}")

    def assert_same(self, since: int) -> None:
        mirror = self.receiver.ring
        assert mirror is not None and mirror.place == self.ring.place
        head = int(mirror.header["head"])
        at = max(since, head - CAPACITY)
        while at < head:
            piece = self.ring.read(at, head - at)
            assert mirror.read(at, head - at) == piece
            at += len(piece)

    @property
    def row(self):
        rows = self.ring.followers
        return rows[rows["name"] == b"mirror"][0]

    def close(self) -> None:
        for each in (self.sender, self.receiver, self.proxy):
            each.close()


KINDS = [(LaneSender, LaneReceiver), (LaneSender, PythonReceiver), (PythonSender, LaneReceiver)]
both = pytest.mark.parametrize("kinds", KINDS, ids=["lanes", "to Python", "from Python"])


@pytest.fixture
def paired(tmp_path, engine):
    made = []

    def pair(kinds, **settings) -> Pair:
        made.append(Pair(tmp_path, engine, *kinds, **settings))
        return made[-1]

    yield pair
    for each in made:
        each.close()


@both
def test_what_is_published_is_there(paired, kinds):
    pair = paired(kinds)
    pair.move(5)
    assert pair.receiver.ring is not None
    for _ in range(30):
        publish(pair.engine, 10, pair.rng)
        pair.move(3)
    pair.until_same()
    pair.assert_same(0)
    assert pair.receiver.counters["naks"] == pair.receiver.counters["strangers"] == 0
    pair.move(5)
    assert pair.row["acknowledged"] == pair.ring.place[1]
    if kinds[0] is LaneSender:
        counters = pair.sender.counters
        assert counters["lane_datagrams"] >= 30 and counters["lane_acknowledgements"] >= 30
    if kinds[1] is LaneReceiver:
        assert pair.receiver.counters["lane_bytes"] == int(pair.ring.header["head"])


@both
@pytest.mark.parametrize("seed", range(5))
def test_loss_repetition_and_disorder_are_mended(paired, kinds, seed):
    pair = paired(kinds, seed=seed, loss=0.15)
    since = None
    for _ in range(20):
        publish(pair.engine, pair.rng.randrange(60), pair.rng)
        pair.move(pair.rng.randrange(1, 30))
        if since is None and pair.receiver.ring is not None:
            since = int(pair.receiver.ring.header["head"])
    pair.until_same()
    pair.assert_same(since or 0)
    counters = pair.receiver.counters
    assert counters["naks"] > 0 and counters["repeated"] > 0 and counters["broken"] == 0


@both
def test_a_ring_that_goes_round_is_mirrored(paired, kinds):
    pair = paired(kinds, seed=3, loss=0.03)
    pair.move(30)
    for _ in range(50):
        publish(pair.engine, 40, pair.rng)
        pair.move(20)
    pair.until_same()
    assert int(pair.ring.header["head"]) > CAPACITY
    pair.assert_same(int(pair.ring.header["head"]) - CAPACITY // 2)


@both
def test_one_that_is_lapped_begins_anew(paired, kinds):
    pair = paired(kinds)
    pair.until_same()
    first = pair.receiver.ring
    publish(pair.engine, 3_000, pair.rng)
    pair.until_same()
    assert first.header["broken"] and pair.receiver.counters["broken"] == 1
    publish(pair.engine, 100, pair.rng)
    pair.until_same()


@both
def test_what_the_follower_says_comes_back(paired, kinds):
    pair = paired(kinds)
    pair.until_same()
    ring = pair.receiver.ring
    mine = ring.followers[ring.place_of("mirror")]
    said = {"taken": 7, "echo": 77, "incarnation": 11, "epoch": 3, "ready": 1}
    for name, value in said.items():
        mine[name] = value
    header = pair.ring.header
    header["committed"], header["epoch_began"], header["epoch"], header["beat"] = 5, 4, 3, 99
    publish(pair.engine, 3, pair.rng)
    pair.until_same()
    pair.move(12)
    assert {name: int(pair.row[name]) for name in said} == said
    there = ring.header
    assert [int(there[name]) for name in ("committed", "epoch_began", "epoch")] == [5, 4, 3]
    assert there["beat"] > 0


def test_beats_go_on_only_while_the_loop_lives(paired):
    pair = paired(KINDS[0])
    pair.ring.header["beat"] = 1
    pair.until_same()
    pair.move(50)
    seen = []
    for beat in (1, 1, 2, 3):
        pair.ring.header["beat"] = beat
        pair.move(50)
        seen.append(int(pair.receiver.ring.header["beat"]))
    assert seen[0] == seen[1] < seen[2] < seen[3]


def test_a_follower_says_what_it_has_taken_as_soon_as_it_has(paired, engine):
    pair = paired(KINDS[0])
    pair.until_same()
    begun = engine.snapshot()
    standby = Engine()
    standby.restore(begun)
    standby.begin_to_follow()
    transport = LaneTransport(Ring.attach(pair.receiver.ring.path), "mirror", pair.receiver)
    publish(engine, 20, pair.rng)
    lanes_native = pair.sender.native
    assert lanes_native.state == int(pair.sender.address)
    for _ in range(200):
        pair.sender.turn(pair.now_ns)  # no time goes by: machine code alone sends and takes
        pair.proxy.turn()
        packets = transport.poll(64)
        if len(packets):
            standby.process(packets)
            transport.release()
        pair.proxy.turn()
    assert standby.state_digest == engine.state_digest
    number = standby.block.get("record_number")
    assert (pair.row["taken"], pair.row["acknowledged"]) == (number, number)
    transport.close()


# ---------------------------------------------------------------- who may acknowledge


def an_ack(stream: int, position: int, number: int, incarnation: int = 5) -> bytes:
    rest = {"taken": number, "echo": 1, "follower_epoch": 1, "ready": 1}
    return datagram(
        "ack", stream, position=position, number=number, incarnation=incarnation, **rest
    )


@pytest.fixture
def joined(tmp_path, engine):
    """A lane's sender, one who has joined it, and nothing published since."""
    ring = Ring.create(tmp_path / "ring", CAPACITY)
    engine.publish_to(ring.address)
    sender, peer = LaneSender(ring, LOOPBACK, SETTINGS), udp()
    at = sender.listens
    peer.sendto(datagram("join", 0, name="far", takes_plan=0), at)
    sender.turn(0)
    (start, *_) = arrived(peer)
    assert read(start)["message"] == "start"
    assert sender.receivers == [peer.getsockname()]
    publish(engine, 10, random.Random(1))
    yield ring, sender, peer, at
    sender.close()
    peer.close()


def acknowledged(ring: Ring) -> tuple[int, int]:
    row = ring.followers[ring.followers["name"] == b"far"][0]
    return int(row["acknowledged"]), int(row["incarnation"])


def test_an_acknowledgement_counts_at_once(joined):
    ring, sender, peer, at = joined
    head, number = ring.place
    peer.sendto(an_ack(sender.sender.stream, head, number), at)
    sender.turn(0)
    assert acknowledged(ring) == (number, 5)
    assert sender.counters["lane_acknowledgements"] == 1


@pytest.mark.parametrize("stranger", ["source", "stream", "damaged", "ahead", "short", "silent"])
def test_what_is_no_acknowledgement_of_this_ring_does_not_count(joined, stranger):
    ring, sender, peer, at = joined
    head, number = ring.place
    stream = sender.sender.stream
    raw = an_ack(stream, head, number)
    now_ns = 2 * MILLISECOND_NS
    with udp() as other:
        match stranger:
            case "source":
                other.sendto(raw, at)
            case "stream":
                peer.sendto(an_ack(stream - 1, head, number), at)
            case "damaged":
                peer.sendto(raw[:-1] + bytes([raw[-1] ^ 1]), at)
            case "ahead":
                peer.sendto(an_ack(stream, head + 8, number + 1), at)
            case "short":
                peer.sendto(raw[:-8], at)
            case "silent":
                now_ns = 2_000 * MILLISECOND_NS
                sender.turn(now_ns)
                assert sender.receivers == [] and b"far" not in ring.followers["name"]
                peer.sendto(raw, at)
        sender.turn(now_ns)
        counters = sender.counters
    assert counters["lane_acknowledgements"] == 0
    assert counters["damaged" if stranger in ("damaged", "short") else "strangers"] == 1
    if stranger != "silent":
        assert acknowledged(ring) == (0, 0)


def test_a_new_ring_is_not_acknowledged_by_who_had_the_last_one(joined, engine):
    ring, sender, peer, at = joined
    head, number = ring.place
    fresh = Ring.create(ring.path, CAPACITY)
    engine.publish_to(fresh.address)
    publish(engine, 100, random.Random(1))
    stream = sender.sender.stream
    sender.begin(fresh)
    assert sender.receivers == []
    peer.sendto(an_ack(stream, head, number), at)
    sender.turn(2 * MILLISECOND_NS)
    assert sender.counters["strangers"] == 1 and not fresh.followers["acknowledged"].any()
    said = [read(raw) for raw in arrived(peer)]
    assert ("lost", stream) in [(each["message"], each["stream"]) for each in said]


def test_a_receiver_of_a_ring_that_is_gone_begins_anew_at_once(paired, engine):
    pair = paired(KINDS[0])
    pair.until_same()
    first = pair.receiver.ring
    pair.ring = Ring.create(pair.ring.path, CAPACITY)
    engine.publish_to(pair.ring.address)
    pair.sender.begin(pair.ring)
    publish(engine, 5, pair.rng)
    pair.until_same(steps=200)  # milliseconds; it would notice silence after a second
    assert first.header["broken"] and pair.receiver.counters["starts"] == 2


def test_one_that_joins_again_keeps_its_place(joined):
    """From another port, as a process that was started again; the earlier one falls silent."""
    ring, sender, _peer, at = joined
    with udp() as again:
        again.sendto(datagram("join", 0, name="far", takes_plan=0), at)
        for now_ms in range(0, 1_500, 10):
            sender.turn(now_ms * MILLISECOND_NS)
            again.sendto(an_ack(sender.sender.stream, *ring.place), at)
        assert sender.receivers == [again.getsockname()]
    assert acknowledged(ring) == (ring.place[1], 5) and sender.counters["silent"] == 0


# ---------------------------------------------------------------- bounds


def test_an_inbox_that_is_full_is_counted(tmp_path):
    with udp() as peer:
        ours = Port(LOOPBACK, SETTINGS, 4_096)
        for at in range(10):
            peer.sendto(bytes([at]) * 1_000, ours.socket.getsockname())
        peer.sendto(b"", ours.socket.getsockname())
        _receive_all(ours.address)
        assert [raw for raw, _ in ours.mail()] == [bytes([at]) * 1_000 for at in range(4)] + [b""]
        assert ours.counters == {"came": 11, "dropped": 6, "unsent": 0}
        assert ours.mail() == [] and not ours.has_mail
        peer.sendto(b"again", ours.socket.getsockname())
        _receive_all(ours.address)
        assert ours.mail() == [(b"again", peer.getsockname())]
        ours.close()


@entry
def _receive_all(p):
    while True:
        length = lanes.receive(p)
        if length < 0:
            return
        lanes.keep(p, np.uint64(length))


@entry
def _check(p, at, end):
    return lanes._check_of(lanes.port.check(p), at, end)


def test_the_check_is_that_of_the_table():
    ours, rng = Port(None, SETTINGS, 4_096), np.random.default_rng(7)
    for length in (*range(40), 1_472, 65_507):
        raw = rng.integers(0, 256, length, np.uint8)
        begin = np.uint64(raw.ctypes.data)
        assert _check(ours.address, begin, begin + np.uint64(length)) == zlib.crc32(raw)
    ours.close()


@entry
def _word(address):
    return load_u64(address)


def test_addresses_are_socket_addresses():
    for address in (("127.0.0.1", 1), ("10.200.3.4", 65_535), ("255.255.255.255", 0)):
        assert address_of(word_of(address)) == address
    with udp() as peer:
        ours = Port(LOOPBACK, SETTINGS, 4_096)
        peer.sendto(b"x", ours.socket.getsockname())
        _receive_all(ours.address)
        assert _word(np.uint64(ours.state["peer"][0])) == word_of(peer.getsockname())
        ours.close()


def test_an_address_that_is_taken_is_said(tmp_path, engine):
    ring = Ring.create(tmp_path / "ring", CAPACITY)
    with udp() as other, pytest.raises(ReplicaError, match="in use"):
        LaneSender(ring, other.getsockname(), SETTINGS)


def test_records_that_are_none_break_the_mirror(paired):
    pair = paired(KINDS[0])
    pair.until_same()
    first = pair.receiver.ring
    head, number = first.place
    place = {"head": head + 256, "number": number + 1, "epoch": 0, "beats": 1}
    place |= {"committed": 0, "epoch_began": 0}
    raw = datagram(
        "data", pair.receiver.receiver.stream, position=head, **place, bytes=b"\xff" * 256
    )
    pair.proxy.far.sendto(raw, pair.proxy.receiver)
    deadline = time.monotonic() + 10
    while not first.header["broken"] and time.monotonic() < deadline:
        pair.move()
    assert first.header["broken"] and first.place == (head, number)
    publish(pair.engine, 10, pair.rng)
    pair.until_same()
