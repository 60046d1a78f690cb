"""Who receives: datagrams of several groups in bursts, in turn; addresses that cannot be had."""

import ctypes
import socket

import pytest

from tickpath.config import ConfigError
from tickpath.packet import LINK_DATAGRAM
from tickpath.trade.feed import BURST, Feed
from trading import free_udp_port

LOOPBACK = "127.0.0.1"


def read(packets) -> list[bytes]:
    """The bytes that were lent."""
    return [ctypes.string_at(int(each["address"]), int(each["length"])) for each in packets.copy()]


class Clock:
    """One nanosecond later every time."""

    def __init__(self) -> None:
        self.now_ns = 1_000

    def __call__(self) -> int:
        self.now_ns += 1
        return self.now_ns


@pytest.fixture
def feed():
    made = Feed([(LOOPBACK, free_udp_port()) for _ in range(2)], LOOPBACK, Clock())
    yield made
    made.close()


def send(feed: Feed, *datagrams: bytes, to: int = 0) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for each in datagrams:
            sock.sendto(each, feed.sockets[to].getsockname())


def test_bursts(feed):
    sent = [bytes([at % 256]) * (at + 1) for at in range(BURST + 10)]
    send(feed, *sent)
    lent = feed.poll()
    assert read(lent) == sent[:BURST]
    assert lent["length"].tolist() == lent["wire_length"].tolist() == list(range(1, BURST + 1))
    assert set(lent["link"]) == {LINK_DATAGRAM}
    assert set(lent["line"]) == {feed.sockets[0].getsockname()[1]}
    assert set(lent["group"]) == {0x7F000001}
    assert lent["ts_recv"].tolist() == list(range(1_001, 1_001 + BURST))
    feed.release()
    assert len(feed.poll()) == 10 and len(feed.poll()) == 0
    assert feed.counters == {"packets": BURST + 10}


def test_two_groups_take_turns(feed):
    send(feed, b"a1", b"a2", b"a3")
    send(feed, b"b1", b"b2", to=1)
    lent = feed.poll()
    assert read(lent) == [b"a1", b"b1", b"a2", b"b2", b"a3"]
    ports = [each.getsockname()[1] for each in feed.sockets]
    assert lent["line"].tolist() == [ports[0], ports[1], ports[0], ports[1], ports[0]]


def test_groups_that_are_not_heeded_are_read_and_dropped(feed):
    others = [feed.sockets[1].getsockname()]
    feed.heed_not(others)
    send(feed, b"a1", b"a2")
    send(feed, *[b"b"] * (BURST + 10), to=1)
    assert read(feed.poll()) == [b"a1", b"a2"]
    assert len(feed.poll()) == 0
    assert feed.counters["packets_unheeded"] == BURST + 10
    feed.heed_not([])
    send(feed, b"b1", to=1)
    assert read(feed.poll()) == [b"b1"]


def test_no_more_than_wanted(feed):
    send(feed, b"1", b"2", b"3")
    assert read(feed.poll(2)) == [b"1", b"2"] and read(feed.poll(2)) == [b"3"]


def test_the_largest_datagram_fits(feed):
    send(feed, b"y" * 65_507)
    assert read(feed.poll()) == [b"y" * 65_507]


def test_what_the_kernel_drops_is_counted(feed):
    feed.sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    send(feed, *[b"z" * 1_000] * 200)
    feed.note_drops()
    received = len(feed.poll())
    if "packets_dropped_by_kernel" not in feed.counters:
        pytest.skip("this kernel does not say what a socket dropped")
    assert feed.counters["packets_dropped_by_kernel"] == 200 - received > 0


def test_two_of_one_multicast_group():
    port = free_udp_port()
    feeds = [Feed([("239.255.78.14", port)], LOOPBACK, Clock()) for _ in range(2)]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(LOOPBACK))
        sock.sendto(b"to all", ("239.255.78.14", port))
    for each in feeds:
        assert read(each.poll()) == [b"to all"]
        each.close()


@pytest.mark.parametrize(
    ("group", "interface"),
    [("192.0.2.77", LOOPBACK), ("239.255.78.14", "192.0.2.77")],
)
def test_addresses_of_another_machine(group, interface):
    with pytest.raises(ConfigError, match=f"trade.feed: {group}:5000 over {interface}: "):
        Feed([(LOOPBACK, free_udp_port()), (group, 5000)], interface, Clock())
