"""A mirror whose host takes the feed itself: only the plan is sent, and the ring is the same."""

import ctypes
import random
import socket
import threading
import time

import numpy as np
import pytest

from sessions import session
from test_replica_mirror import CAPACITY, Network, free_port, publish
from tickpath import Engine
from tickpath.capture import open_capture
from tickpath.config import Feed
from tickpath.generate import SessionPlan
from tickpath.replica.mirror import Settings
from tickpath.replica.mirror_receiver import Receiver
from tickpath.replica.mirror_sender import Sender
from tickpath.replica.mirror_udp import receive, send
from tickpath.replica.plan import HEADER_BYTES, OwnFeed, boundary, cut, header_at
from tickpath.replica.plan_feed import ReceivedFeed
from tickpath.replica.ring import Ring, RingTransport
from tickpath.trade.config import TradeConfig
from tickpath.wire.inputs import Kind

UDP_AT = 42
"""Where the payload begins in the generated frames: Ethernet, IPv4 without options, UDP."""
PITCH = SessionPlan(messages=30_000, symbols=20, seed=3, feed="pitch")


def payload_of(packet: np.void) -> bytes:
    return ctypes.string_at(int(packet["address"]) + UDP_AT, int(packet["length"]) - UDP_AT)


@pytest.fixture(scope="module", params=["itch", "pitch"])
def packets(request):
    path = session() if request.param == "itch" else session("pitch.pcap", PITCH)
    with open_capture(path) as capture:
        found = np.concatenate([batch.copy() for batch in capture.batches()])
        count_at = 19 if request.param == "itch" else 2  # heartbeats are left out
        yield found[[payload_of(each)[count_at] > 0 for each in found]]


class Planned(Network):
    """A mirror with a feed of its own; `give` brings the engine and the feed a packet each."""

    def __init__(self, tmp_path, seed: int, loss: float = 0.0, **settings) -> None:
        super().__init__(tmp_path, Engine(), seed, loss)
        settings = {"window_bytes": 65_536, "resend_ms": 2, "feed_wait_ms": 5} | settings
        chosen = Settings(**settings)
        self.feed = OwnFeed()
        self.sender = Sender(self.ring, chosen)
        self.receiver = Receiver(tmp_path / "mirror", "mirror", chosen, self.feed)
        self.move(5)

    def give(self, packets: np.ndarray, *, feed_loss: float = 0.0, is_damaged=False) -> None:
        for at in range(len(packets)):
            self.engine.process(packets[at : at + 1])
            if self.rng.random() >= feed_loss:
                raw = payload_of(packets[at])
                self.feed.keep(raw[:-1] + bytes([raw[-1] ^ 1]) if is_damaged else raw)
            if self.rng.random() < 0.2:
                self.move()

    @property
    def sent(self) -> int:
        return self.sender.counters["sent_bytes"]


def test_messages_of_the_feed_are_not_sent(tmp_path, packets):
    network = Planned(tmp_path, 1)
    network.give(packets)
    network.until_same()
    network.assert_same()
    counters, published = network.receiver.counters, int(network.ring.header["head"])
    assert counters["not_by_feed"] == counters["naks"] == 0
    assert network.sent + network.sender.counters["planned_bytes"] == published
    # What goes is less than the headers of all records and what is no run.
    assert network.sent < published * 0.85
    assert counters["completed"] > 500


@pytest.mark.parametrize("seed", range(4))
def test_what_the_feed_did_not_bring_is_asked_for(tmp_path, packets, seed):
    network = Planned(tmp_path, seed, loss=0.05)
    network.give(packets[:800], feed_loss=0.05)
    network.until_same()
    network.assert_same()
    counters = network.receiver.counters
    assert counters["not_by_feed"] > 0 and counters["completed"] > 300
    assert counters["broken"] == 0


def test_a_feed_that_says_something_else_is_not_believed(tmp_path, packets):
    network = Planned(tmp_path, 5)
    network.give(packets[:100])
    network.give(packets[100:200], is_damaged=True)
    network.until_same()
    network.assert_same()
    assert network.feed.counters["feed_differs"] > 0
    assert network.receiver.counters["not_by_feed"] > 50


def test_without_any_feed_all_comes_as_bytes(tmp_path, packets):
    network = Planned(tmp_path, 6)
    network.give(packets[:300], feed_loss=1.0)
    network.until_same()
    network.assert_same()
    assert network.receiver.counters["completed"] == 0


def test_a_late_feed_completes_what_waits(tmp_path, packets):
    network = Planned(tmp_path, 7, feed_wait_ms=50)
    for at in range(200):
        network.engine.process(packets[at : at + 1])
    network.move(10)
    assert network.receiver.counters["completed"] == 0
    for packet in packets[:200]:
        network.feed.keep(payload_of(packet))
    network.until_same()
    network.assert_same()
    assert network.receiver.counters["naks"] == 0
    assert network.receiver.counters["completed"] > 100


def test_large_records_and_laps_go_with_the_plan(tmp_path, packets):
    """Commands of several datagrams between the market's messages, round and round the ring."""
    network = Planned(tmp_path, 8, loss=0.02)
    rng = random.Random(8)
    for begin in range(0, 720, 60):
        network.give(packets[begin : begin + 60])
        publish(network.engine, 100, rng)
        network.move(100)
    network.until_same()
    assert int(network.ring.header["head"]) > CAPACITY
    standby_ring = network.receiver.ring
    assert standby_ring is not None and standby_ring.place == network.ring.place


def test_a_standby_takes_the_same_from_it(tmp_path, packets):
    network = Planned(tmp_path, 9, loss=0.05)
    network.until_same()
    standby = Engine()
    assert network.receiver.ring is not None
    follower = RingTransport(network.receiver.ring, "mirror")
    for begin in range(0, 600, 50):
        network.give(packets[begin : begin + 50], feed_loss=0.02)
        network.move(20)
        while len(lent := follower.poll(64)):
            standby.process(lent)
            follower.release()
    network.until_same()
    while len(lent := follower.poll(64)):
        standby.process(lent)
        follower.release()
    assert standby.state_digest == network.engine.state_digest
    assert standby.block.get("record_number") == network.engine.block.get("record_number") > 300


def test_who_comes_back_goes_on_at_a_record(tmp_path, packets):
    network = Planned(tmp_path, 10)
    network.give(packets[:100])
    network.move(3)
    network.way.clear()
    address = next(iter(network.sender._mirrors))
    del network.sender._mirrors[address]  # forgotten, somewhere within a record
    network.now_ns += 2_000_000_000
    network.give(packets[100:200])
    network.until_same()
    network.assert_same()
    assert network.receiver.counters["starts"] == 1


def test_the_cut_is_at_records(tmp_path, packets):
    network = Planned(tmp_path, 11)
    network.give(packets[:60])
    ring, head = network.ring, int(network.ring.header["head"])
    at, kinds = 0, []
    while at < head:
        assert boundary(ring, at) == at
        header = header_at(ring.read(at, HEADER_BYTES))
        assert boundary(ring, at + 8) == at + header.size
        kinds.append(header.kind)
        raw, behind = cut(ring, at, at + 1, 4_096)
        assert behind == at + header.size
        is_elided = header.is_numbered_run
        assert raw == ring.read(at, HEADER_BYTES if is_elided else header.size)
        at = behind
    assert kinds.count(Kind.RUN) > 15 and Kind.LINE in kinds
    whole, behind = cut(ring, 0, head, 1 << 20)
    assert behind == head and len(whole) < head
    assert cut(ring, 0, head, 16) == (b"", header_at(ring.read(0, HEADER_BYTES)).size)


def test_over_sockets(tmp_path, packets):
    """The market comes by multicast to both hosts, the plan from one to the other."""
    network = Planned(tmp_path, 12)  # only for its engine and ring
    port = free_port()
    address = ("127.0.0.1", free_port())
    config = TradeConfig(feed=Feed(groups=(f"239.255.77.8:{port}",)))
    feed, over = ReceivedFeed(config), threading.Event()
    results: list[Sender | Receiver] = []
    path = tmp_path / "far"
    settings = Settings(feed_wait_ms=500)
    threads = [
        threading.Thread(target=each)
        for each in (
            lambda: results.append(send(network.ring, address, over.is_set)),
            lambda: results.append(receive(path, "far", address, over.is_set, settings, feed=feed)),
        )
    ]
    for each in threads:
        each.start()
    deadline = time.monotonic() + 30
    followers = network.ring.followers
    try:
        while b"far" not in followers["name"] and time.monotonic() < deadline:
            time.sleep(0.01)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as exchange:
            exchange.setsockopt(
                socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1")
            )
            for at in range(400):
                network.engine.process(packets[at : at + 1])
                exchange.sendto(payload_of(packets[at]), ("239.255.77.8", port))
                if at % 20 == 19:
                    time.sleep(0.002)
        while time.monotonic() < deadline:
            mine = followers[followers["name"] == b"far"]
            if len(mine) and mine["acknowledged"][0] == network.ring.place[1]:
                break
            time.sleep(0.01)
    finally:
        over.set()
        for each in threads:
            each.join(10)
        feed.close()
    assert Ring.attach(path).place == network.ring.place
    (receiver,) = [each for each in results if isinstance(each, Receiver)]
    assert receiver.counters["completed"] > 200
