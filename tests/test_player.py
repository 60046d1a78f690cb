"""Captures played over a private wire: what arrives, in which order, and what is said of the rest.

The packets are scapy's; the receiver is the `udp` transport, which shows what a program on a real
network would get.  Without root, or without the native parts, all of it is skipped with the reason.
"""

import ctypes
import os
import signal
import time
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from captures import daily
from itch_messages import message, mold
from sessions import PLAN, Captured, session, session_messages, write_pcap
from tickpath.backend import BackendError, available
from tickpath.capture import create_capture
from tickpath.config import Config, Feed, Transport
from tickpath.engine import group_text
from tickpath.packet import LINK_DATAGRAM, LINK_ETHERNET, LINK_LINUX_SLL, LINK_RAW
from tickpath.recovery import moldudp64, sequenced_unit
from tickpath_backends import player as module
from tickpath_backends.player import GROUP, WINDOW, Survey, VethPlayer

scapy = pytest.importorskip("scapy.all")

GROUPS = ["239.1.1.1:4001", "239.1.1.2:4002", "239.1.1.1:4003", "10.9.8.7:4004"]


def udp() -> Any:
    return available("transports")["udp"].load()


def why_not() -> str | None:
    if "udp" not in available("transports"):
        return "there is no udp transport"
    return udp().why_not() or VethPlayer.why_not()


REASON = why_not()
pytestmark = pytest.mark.skipif(REASON is not None, reason=f"nothing can be played: {REASON}")


class Taken(NamedTuple):
    """A datagram that arrived."""

    group: str
    payload: bytes


def played(paths, config: Config | None = None, most_s: float = 120.0, **options: Any):
    """(what arrived, the player after it is closed)."""
    player = VethPlayer(options.pop("transport", udp()), paths, config or Config(), **options)
    player.open()
    taken = []
    try:
        player.start()
        end = time.monotonic() + most_s
        while not player.is_finished and time.monotonic() < end:
            packets = player.poll()
            for each in packets:
                assert each["link"] == LINK_DATAGRAM
                raw = ctypes.string_at(int(each["address"]), int(each["length"]))
                taken.append(Taken(group_text(int(each["group"]), int(each["line"])), raw))
            player.release()
        assert time.monotonic() < end
        return taken, player.counters, player.findings
    finally:
        player.close()


def datagram(group: str, payload: bytes, **fields: Any):
    """An IP packet with a UDP datagram."""
    address, port = group.split(":")
    ip = scapy.IP(src="192.0.2.77", dst=address)
    return ip / scapy.UDP(sport=1, dport=int(port), **fields) / scapy.Raw(payload)


def ethernet(packet: Any) -> bytes:
    return bytes(scapy.Ether(dst="01:00:5e:01:01:01", src="02:00:00:00:00:09") / packet)


def capture(path: Path, frames: list[bytes]) -> Path:
    return write_pcap(path, [Captured(1_000_000 * n, raw) for n, raw in enumerate(frames, 1)])


def test_datagrams_arrive_whole_in_order_across_groups(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "WRITE_OFF_NS", 60 * 10**9)  # a pause of this process is no loss
    sent = [(GROUPS[n * n % 4], b"%d" % n * (1 + n % 300)) for n in range(2 * WINDOW)]
    path = capture(tmp_path / "a.pcap", [ethernet(datagram(*each)) for each in sent])
    taken, counters, findings = played([path])
    assert taken == sent and findings == []
    assert counters["wire_wanted"] == counters["wire_taken"] == len(sent)
    assert counters["capture_packets"] == len(sent)


def test_what_no_group_is_for_is_played_and_not_waited_for(tmp_path):
    frames = [
        ethernet(datagram(GROUPS[0], b"first")),
        ethernet(scapy.IP(dst="192.0.2.9") / scapy.TCP(dport=80)),
        bytes(scapy.Ether() / scapy.ARP(pdst="192.0.2.9")),
        bytes(scapy.Ether() / scapy.IPv6(dst="ff02::1") / scapy.UDP(dport=9)),
        ethernet(datagram(GROUPS[1], b"of another group")),
        b"\0" * 20,
        ethernet(datagram(GROUPS[0], b"last")),
    ]
    path = capture(tmp_path / "a.pcap", frames)
    taken, counters, findings = played([path], Config(feed=Feed(groups=[GROUPS[0]])))
    assert taken == [(GROUPS[0], b"first"), (GROUPS[0], b"last")] and findings == []
    assert (counters["wire_wanted"], counters["wire_foreign"]) == (2, 5)


def test_second_lines_are_groups(tmp_path):
    frames = [ethernet(datagram(group, b"x")) for group in GROUPS]
    config = Config(feed=Feed(groups=[GROUPS[0]], lines_b={GROUPS[0]: GROUPS[2]}))
    taken, _, _ = played([capture(tmp_path / "a.pcap", frames)], config)
    assert [each.group for each in taken] == [GROUPS[0], GROUPS[2]]


def test_checksums_that_were_never_right_are_mended(tmp_path):
    wrong_udp = datagram(GROUPS[0], b"offloaded", chksum=0x1234)
    wrong_ip = datagram(GROUPS[0], b"damaged header")
    wrong_ip[scapy.IP].chksum = 0x4321
    none = datagram(GROUPS[0], b"none at all", chksum=0)
    path = capture(tmp_path / "a.pcap", [ethernet(each) for each in (wrong_udp, wrong_ip, none)])
    taken, counters, _ = played([path])
    assert [each.payload for each in taken] == [b"offloaded", b"damaged header", b"none at all"]
    assert counters["wire_mended"] == 2


def test_tags_are_taken_off_for_a_receiver_that_cannot_have_them(tmp_path):
    inner = datagram(GROUPS[0], b"tagged")
    once = bytes(scapy.Ether() / scapy.Dot1Q(vlan=7) / inner)
    twice = bytes(scapy.Ether() / scapy.Dot1AD(vlan=7) / scapy.Dot1Q(vlan=8) / inner)
    taken, counters, _ = played([capture(tmp_path / "a.pcap", [once, twice])])
    assert taken == [(GROUPS[0], b"tagged")] * 2
    assert counters["wire_untagged"] == 2


def test_packets_of_other_links_get_an_ethernet_header(tmp_path):
    path = tmp_path / "a.pcapng"
    ip = bytes(datagram(GROUPS[0], b"other links"))
    cooked = bytes(scapy.CookedLinux(proto=0x0800) / datagram(GROUPS[0], b"other links"))
    with create_capture(path) as writer:
        writer.write_bytes(ip, 1, link=LINK_RAW)
        writer.write_bytes(cooked, 2, link=LINK_LINUX_SLL)
        writer.write_bytes(ethernet(datagram(GROUPS[0], b"other links")), 3, link=LINK_ETHERNET)
    taken, _, findings = played([path])
    assert taken == [(GROUPS[0], b"other links")] * 3 and findings == []


def test_what_cannot_be_played_is_counted(tmp_path):
    path = tmp_path / "a.pcap"
    whole = ethernet(datagram(GROUPS[0], b"cut off"))
    with create_capture(path) as writer:
        writer.write_bytes(whole[:-3], 1, wire_length=len(whole))
        writer.write_bytes(ethernet(datagram(GROUPS[0], b"x" * 8000)), 2)
    taken, counters, _ = played([path])
    assert [len(each.payload) for each in taken] == [8000]  # the wire is as wide as it has to be
    assert counters["wire_cut"] == 1


def test_a_daily_file_is_packed_as_a_feed_would_be(tmp_path):
    path = session("day.itch", PLAN)
    taken, counters, findings = played([path])
    assert {each.group for each in taken} == {GROUP} and findings == []
    messages, at = [], 1
    for each in taken:
        found = moldudp64.split(each.payload)
        assert found is not None and found.sequence == at
        at = found.behind
        messages += found.messages
    assert messages == list(session_messages(PLAN))
    assert counters["wire_wanted"] == len(taken) > PLAN.messages // 20


def test_a_daily_file_goes_to_the_configured_group(tmp_path):
    path = tmp_path / "a.itch"
    path.write_bytes(daily([message("S", 0, 1, event_code=b"O")]))
    taken, _, _ = played([path], Config(feed=Feed(groups=[GROUPS[1]])))
    assert [each.group for each in taken] == [GROUPS[1]]


def test_units_of_pitch_hold_what_one_datagram_can(tmp_path):
    from tickpath_backends.play import _units

    run = b"".join(bytes([6 + n % 60, 0x20]) + bytes(4 + n % 60) for n in range(1000))
    found = list(_units(run, 5))
    assert b"".join(b"".join(each.messages) for each in found) == run
    assert [each.sequence for each in found] == [
        5 + sum(len(each.messages) for each in found[:n]) for n in range(len(found))
    ]
    for each in found:
        assert sequenced_unit.split(sequenced_unit.join(*each[:4])) == each


def test_groups_sizes_and_links_are_found_beforehand(tmp_path):
    frames = [ethernet(datagram(group, b"x" * 5000)) for group in GROUPS]
    survey = Survey([capture(tmp_path / "a.pcap", frames)], [])
    assert sorted(survey.groups) == sorted(GROUPS)
    assert survey.unicast == ["10.9.8.7"] and survey.mtu == 5028 and survey.has_times
    survey = Survey([session("day.itch", PLAN)], [])
    assert survey.groups == [GROUP] and survey.mtu == 1500 and not survey.has_times


def test_too_many_groups_are_refused_in_one_line(tmp_path):
    frames = [ethernet(datagram(f"239.1.{n // 200}.{n % 200}:1", b"x")) for n in range(257)]
    with pytest.raises(BackendError, match="more than 256 groups: name those that matter"):
        Survey([capture(tmp_path / "a.pcap", frames)], [])


class Deaf:
    """A receiver that joined one group less than it should have."""

    def __new__(cls, config: Config):
        feed = msgspec.structs.replace(config.feed, groups=config.feed.groups[1:])
        return udp()(msgspec.structs.replace(config, feed=feed))


def test_what_does_not_arrive_is_a_finding(tmp_path):
    path = capture(tmp_path / "a.pcap", [ethernet(datagram(each, b"x")) for each in GROUPS[:2]])
    options = {"transport": Deaf, "pace": 1e6}
    taken, counters, findings = played([path], **options)
    assert len(taken) == 1 and counters["wire_wanted"] == 2
    assert len(findings) == 1 and findings[0].startswith("1 packets were lost on the wire")


def test_a_receiver_that_takes_nothing_is_not_waited_for_for_ever(tmp_path):
    frames = [ethernet(datagram(GROUPS[n % 2], b"x")) for n in range(6)]
    taken, _, findings = played([capture(tmp_path / "a.pcap", frames)], transport=Deaf)
    assert len(taken) == 3 and len(findings) == 1 and findings[0].startswith("3 packets were lost")


def test_at_a_pace_packets_keep_their_distance(tmp_path):
    frames = [ethernet(datagram(GROUPS[0], b"%d" % n)) for n in range(4)]
    path = capture(tmp_path / "a.pcap", frames)  # a millisecond apart
    started = time.monotonic()
    taken, _, _ = played([path], pace=0.01)
    assert len(taken) == 4 and time.monotonic() - started >= 0.3


def test_a_paced_play_says_that_it_has_no_response_times():
    for pace in (None, 1e6):
        player = VethPlayer(udp(), [session("session.pcap", PLAN)], Config(), pace=pace)
        player.open()
        try:
            said = player.environment["wire"]["response"]
        finally:
            player.close()
        assert said is None if pace is None else said.startswith("not measured: the engine does")


def test_a_player_that_is_killed_is_a_finding():
    player = VethPlayer(udp(), [session("session.pcap", PLAN)], Config(), pace=0.001)
    player.open()
    try:
        player.start()
        assert player._child
        os.kill(player._child.pid, signal.SIGKILL)
        end = time.monotonic() + 20
        while not player.is_finished and time.monotonic() < end:
            player.poll()
            player.release()
        assert any("the player ended early" in each for each in player.findings)
    finally:
        player.close()


def test_it_can_be_closed_before_it_began_and_twice():
    player = VethPlayer(udp(), [session("session.pcap", PLAN)], Config())
    player.open()
    child = player._child
    player.close()
    player.close()
    assert child and child.returncode is not None


def test_what_the_transport_refuses_leaves_nothing_open():
    class Refusing(udp()):  # type: ignore[misc]
        def open(self) -> None:
            raise BackendError("no")

    files = len(os.listdir("/proc/self/fd"))
    player = VethPlayer(Refusing, [session("session.pcap", PLAN)], Config())
    with pytest.raises(BackendError, match="no"):
        player.open()
    assert len(os.listdir("/proc/self/fd")) == files


def test_the_transport_gets_the_private_interface_and_all_groups(tmp_path):
    seen: list[Config] = []

    def transport(config: Config):
        seen.append(config)
        return udp()(config)

    config = Config(transport=Transport(interface="eth9", burst=32))
    path = capture(tmp_path / "a.pcap", [ethernet(datagram(each, mold([], 1))) for each in GROUPS])
    played([path], config, transport=transport)
    assert seen[0].transport.interface == "tickpath-rx" and seen[0].transport.burst == 32
    assert sorted(seen[0].feed.groups) == sorted(GROUPS)
