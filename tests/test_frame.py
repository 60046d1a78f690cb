"""Frames that scapy builds: what carries the feed is taken, everything else is counted by kind."""

import struct

import numpy as np
import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_NOP, IPOption_Router_Alert
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, LLC, CookedLinux, CookedLinuxV2, Dot1AD, Dot1Q, Dot3, Ether
from scapy.packet import Raw

from itch_messages import frame, message, mold, packets
from streams import CAPACITY
from tickpath import Config, Engine
from tickpath.config import Feed
from tickpath.packet import (
    LINK_ETHERNET,
    LINK_IPV4,
    LINK_LINUX_SLL,
    LINK_LINUX_SLL2,
    LINK_RAW,
    PACKET,
)

CONFIG = Config(capacity=CAPACITY)
PAYLOAD = mold([message("H", 1, 5, trading_state="T")], 1)
BLOCKS = len(PAYLOAD) - 20
GROUP = "233.54.12.111"
TAKEN = {"bytes_messages": BLOCKS}


def ip(**fields):
    return IP(dst=GROUP, **fields) / UDP(dport=26477, sport=1)


def datagram(payload=PAYLOAD, **fields):
    return ip(**fields) / Raw(payload)


def counted(raw: bytes, link: int = LINK_ETHERNET, config: Config = CONFIG) -> dict[str, int]:
    """Every counter that one packet made, without `packets` and `bytes`, which are checked here."""
    engine = Engine(config)
    engine.feed_packet(raw, link=link)
    counters = engine.counters
    assert counters.pop("packets") == 1 and counters.pop("bytes") == len(raw)
    parts = [counters[name] for name in ("bytes_headers", "bytes_messages", "bytes_skipped")]
    assert sum(parts) == len(raw)
    assert engine.messages == (counters["bytes_messages"] == BLOCKS)
    return {name: count for name, count in counters.items() if count}


def ether(packet) -> bytes:
    return bytes(Ether(dst="01:00:5e:36:0c:6f", src="02:00:00:00:00:01") / packet)


TAGS = [Dot1Q(vlan=7), Dot1AD(vlan=9), Dot1Q(vlan=3), Dot1AD(vlan=1)]


def tagged(count: int) -> bytes:
    packet = Ether(dst="01:00:5e:36:0c:6f", src="02:00:00:00:00:01")
    for tag in TAGS[:count]:
        packet /= tag
    return bytes(packet / datagram())


@pytest.mark.parametrize(
    ("raw", "link", "headers"),
    [
        (ether(datagram()), LINK_ETHERNET, 14 + 20),
        (tagged(1), LINK_ETHERNET, 18 + 20),
        (tagged(2), LINK_ETHERNET, 22 + 20),
        (tagged(4), LINK_ETHERNET, 30 + 20),
        (ether(datagram(options=[IPOption_Router_Alert()])), LINK_ETHERNET, 14 + 24),
        (ether(datagram(options=[IPOption_NOP()] * 40)), LINK_ETHERNET, 14 + 60),
        (bytes(CookedLinux(proto=0x800) / datagram()), LINK_LINUX_SLL, 16 + 20),
        (bytes(CookedLinux(proto=0x8100) / Dot1Q() / datagram()), LINK_LINUX_SLL, 20 + 20),
        (bytes(CookedLinuxV2(proto=0x800) / datagram()), LINK_LINUX_SLL2, 20 + 20),
        (bytes(datagram()), LINK_RAW, 20),
        (bytes(datagram()), LINK_IPV4, 20),
        (ether(datagram(flags="DF")), LINK_ETHERNET, 34),
        (ether(datagram(tos=0xB8, ttl=1, id=77)), LINK_ETHERNET, 34),
    ],
    ids=lambda each: str(each) if isinstance(each, int) else "",
)
def test_what_carries_the_feed_is_taken(raw, link, headers):
    assert counted(raw, link) == {**TAKEN, "bytes_headers": headers + 8 + 20}


def test_a_frames_padding_is_skipped():
    raw = ether(datagram()) + bytes(17)
    assert counted(raw) == {**TAKEN, "bytes_headers": 62, "bytes_skipped": 17}


def test_a_datagrams_padding_behind_udp_is_skipped():
    whole = datagram()
    whole = IP(bytes(whole / Raw(bytes(9))))
    whole[UDP].len = 8 + len(PAYLOAD)
    del whole.chksum
    assert counted(ether(whole)) == {**TAKEN, "bytes_headers": 62, "bytes_skipped": 9}


def other(kind: str, raw: bytes, link: int = LINK_ETHERNET):
    return pytest.param(raw, link, kind, id=f"{kind}-{len(raw)}")


def changed(offset: int, value: bytes) -> bytes:
    """The plain Ethernet frame with other bytes at an offset."""
    raw = bytearray(ether(datagram()))
    raw[offset : offset + len(value)] = value
    return bytes(raw)


WHOLE = ether(datagram())


@pytest.mark.parametrize(
    ("raw", "link", "kind"),
    [
        other("ether_type_other", ether(ARP())),
        other("ether_type_other", bytes(Dot3() / LLC() / Raw(bytes(50)))),
        other("ether_type_other", ether(Raw(bytes(60)))),
        other("ether_type_other", changed(12, b"\x00\x00")),
        other("ether_type_other", ether(Dot1Q() / Dot1Q() / Dot1Q() / Dot1Q() / Dot1Q() / ip())),
        other("ipv6", ether(IPv6() / UDP() / Raw(PAYLOAD))),
        other("ipv6", bytes(IPv6() / UDP() / Raw(PAYLOAD)), LINK_RAW),
        other("ipv6", ether(Dot1Q() / IPv6() / UDP() / Raw(PAYLOAD))),
        other("ether_type_other", b"\x00" + bytes(datagram())[1:], LINK_RAW),
        other("ether_type_other", b"\xf5" + bytes(datagram())[1:], LINK_IPV4),
        other("tcp", ether(IP(dst=GROUP) / TCP() / Raw(PAYLOAD))),
        other("ip_protocol_other", ether(IP(dst=GROUP) / ICMP() / Raw(PAYLOAD))),
        other("ip_protocol_other", ether(IP(dst=GROUP, proto=2) / Raw(PAYLOAD))),
        other("ipv4_fragment", ether(datagram(flags="MF"))),
        other("ipv4_fragment", ether(datagram(frag=3))),
        other("ipv4_invalid", changed(14, b"\x65")),  # version 6 where the type says 4
        other("ipv4_invalid", changed(14, b"\x44")),  # a header of 16 bytes
        other("ipv4_invalid", changed(16, b"\x00\x13")),  # a datagram shorter than its header
        other("ipv4_invalid", changed(16, b"\x00\x00")),
        other("frame_truncated", changed(16, b"\xff\xff")),  # longer than the frame
        other("udp_invalid", changed(38, b"\x00\x07")),  # shorter than its header
        other("udp_invalid", changed(38, b"\xff\xff")),  # longer than the datagram
        other("udp_invalid", ether(IP(dst=GROUP, proto=17) / Raw(bytes(7)))),
        other("mold_invalid", ether(datagram(PAYLOAD[:19]))),
        other("mold_invalid", ether(datagram(b""))),
        other("link_unknown", WHOLE, 0),
        other("link_unknown", WHOLE, 105),
        other("link_unknown", WHOLE, 0xFFFB),
    ],
)
def test_everything_else_is_counted_by_kind_and_passed_over(raw, link, kind):
    assert counted(raw, link) == {kind: 1, "bytes_skipped": len(raw)}


CUTS = {
    LINK_ETHERNET: (WHOLE, 34 + 8 + 20),
    LINK_RAW: (bytes(datagram()), 20 + 8 + 20),
    LINK_LINUX_SLL: (bytes(CookedLinux(proto=0x800) / datagram()), 36 + 8 + 20),
    LINK_LINUX_SLL2: (bytes(CookedLinuxV2(proto=0x800) / datagram()), 40 + 8 + 20),
}


@pytest.mark.parametrize("link", CUTS)
def test_a_frame_cut_anywhere_is_truncated(link):
    raw, _ = CUTS[link]
    for length in range(len(raw)):
        expected = {"frame_truncated": 1, **({"bytes_skipped": length} if length else {})}
        assert counted(raw[:length], link) == expected, length


@pytest.mark.parametrize("count", range(1, 5))
def test_tags_cut_anywhere_are_truncated(count):
    raw = tagged(count)
    for length in range(12, len(raw)):
        assert counted(raw[:length]) == {"frame_truncated": 1, "bytes_skipped": length}, length


def test_what_was_captured_shorter_than_it_was_on_the_wire_is_counted():
    engine = Engine(CONFIG)
    raw = np.frombuffer(WHOLE, np.uint8)
    lent = np.zeros(1, PACKET)
    lent[0] = (raw.ctypes.data, 0, len(raw) - 1, len(raw), LINK_ETHERNET, 0, 0)
    engine.process(lent)
    counters = {name: count for name, count in engine.counters.items() if count}
    assert counters == {
        "packets": 1,
        "bytes": len(raw) - 1,
        "bytes_skipped": len(raw) - 1,
        "packets_cut": 1,
        "frame_truncated": 1,
    }


def test_other_groups_are_counted_where_groups_are_configured():
    config = Config(capacity=CAPACITY, feed=Feed(groups=["233.54.12.111:26477", "1.2.3.4:5"]))
    assert counted(WHOLE, config=config) == {**TAKEN, "bytes_headers": 62}
    for raw in (
        ether(IP(dst=GROUP) / UDP(dport=26478) / Raw(PAYLOAD)),
        ether(IP(dst="233.54.12.112") / UDP(dport=26477) / Raw(PAYLOAD)),
        ether(IP(dst="1.2.3.4") / UDP(dport=26477) / Raw(PAYLOAD)),
    ):
        assert counted(raw, config=config) == {"udp_other_group": 1, "bytes_skipped": len(raw)}
    raw = ether(IP(dst="1.2.3.4") / UDP(dport=5) / Raw(PAYLOAD))
    assert counted(raw, config=config) == {**TAKEN, "bytes_headers": 62}


def test_the_tests_own_frames_are_what_scapy_reads():
    """`itch_messages.frame`, on which the other tests build."""
    for raw in (frame(PAYLOAD), packets([message("H", 1, 5, trading_state="T")], 1)[0]):
        read = Ether(raw)
        assert (read[IP].dst, read[UDP].dport) == (GROUP, 26477)
        assert bytes(read[UDP].payload) == PAYLOAD
        assert read[IP].len == len(raw) - 14 and read[UDP].len == len(PAYLOAD) + 8
        assert struct.unpack_from(">QH", PAYLOAD, 10) == (1, 1)
