"""The feed's sockets: datagrams in bursts, requests, and addresses that cannot be had."""

import socket

import pytest

from tickpath.config import ConfigError
from tickpath.packet import LINK_DATAGRAM
from tickpath.trade.feed import BURST, Feed
from tickpath.wire.moldudp64 import MOLDUDP64
from trading import free_udp_port

HEADER = MOLDUDP64["downstream_packet"]


@pytest.fixture
def feed():
    asked = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    asked.bind(("127.0.0.1", 0))
    asked.settimeout(5)
    host, port = asked.getsockname()
    made = Feed(f"127.0.0.1:{free_udp_port()}", "127.0.0.1", f"{host}:{port}")
    made.asked = asked  # type: ignore[attr-defined]
    yield made
    made.close()
    asked.close()


def send(feed: Feed, *datagrams: bytes) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for each in datagrams:
            sock.sendto(each, feed.live.getsockname())


def test_bursts(feed):
    sent = [bytes([at % 256]) * (at + 1) for at in range(BURST + 10)]
    send(feed, *sent)
    assert feed.poll(feed.live) == BURST
    assert [bytes(feed.datagram(at)) for at in range(BURST)] == sent[:BURST]
    lent = feed.lend(3, 6)
    assert lent["length"].tolist() == lent["wire_length"].tolist() == [4, 5, 6]
    assert set(lent["link"]) == {LINK_DATAGRAM} and set(lent["line"]) == {
        feed.live.getsockname()[1]
    }
    assert feed.poll(feed.live) == 10 and feed.poll(feed.live) == 0
    assert feed.counters["packets"] == BURST + 10


def test_kept_datagrams_are_lent_again(feed):
    lent = feed.lend_again([b"one", b"three"])
    assert lent["length"].tolist() == [3, 5] and bytes(feed.datagram(1)) == b"three"


def test_the_largest_datagram_fits(feed):
    send(feed, b"y" * 65_507)
    assert feed.poll(feed.live) == 1 and len(feed.datagram(0)) == 65_507


def test_requests(feed):
    feed.request(b"T1        ", 77, 24)
    fields = MOLDUDP64["request_packet"].decode(feed.asked.recv(100))
    assert fields == {"session": "T1", "sequence_number": 77, "requested_message_count": 24}
    feed.asked.sendto(b"answer", feed.requests.getsockname())
    assert feed.poll(feed.requests) == 1 and bytes(feed.datagram(0)) == b"answer"


def test_nobody_to_ask(feed):
    feed.asked.close()
    for _ in range(3):  # the first one is what tells
        feed.request(b"T1        ", 1, 1)
        assert feed.poll(feed.requests) == 0
    assert feed.counters["requests_failed"] + feed.counters["receive_errors"] > 0


def test_two_of_one_multicast_group():
    port = free_udp_port()
    feeds = [Feed(f"239.255.78.14:{port}", "127.0.0.1", None) for _ in range(2)]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
        sock.sendto(b"to all", ("239.255.78.14", port))
    for each in feeds:
        assert each.poll(each.live) == 1 and bytes(each.datagram(0)) == b"to all"
        assert each.sockets() == [each.live]
        each.close()


@pytest.mark.parametrize(
    ("group", "interface"),
    [("192.0.2.77:5000", "127.0.0.1"), ("239.255.78.14:5000", "192.0.2.77")],
)
def test_addresses_of_another_machine(group, interface):
    with pytest.raises(ConfigError, match=f"trade.feed: {group} over {interface}: "):
        Feed(group, interface, None)
