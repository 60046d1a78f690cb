"""The dpdk transport over virtual devices: bytes in place, filter, bounds, orders, restarts."""

import random
import shutil
import subprocess
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, Dot1AD, Dot1Q, Ether
from scapy.packet import Raw

from captures import Packet, pcap
from dpdk_process import Child, RefusedError
from sessions import packets_of, session
from tickpath import Config, Engine
from tickpath.backend import Transport
from tickpath.config import Dpdk
from tickpath.config import Transport as TransportConfig
from tickpath_backends.dpdk import DpdkTransport
from tickpath_backends.dpdk_eal import Plan, defaults, free_huge_pages, plan
from tickpath_backends.dpdk_leftover import is_held

REASON = DpdkTransport.why_not()
needs_dpdk = pytest.mark.skipif(REASON is not None, reason=f"dpdk cannot run here: {REASON}")
GROUP, PORT = "239.1.2.3", 26477
OTHER = "239.1.2.4"
FROM, FROM_PORT = "10.7.0.1", 5001
MAC, GROUP_MAC = "02:00:00:00:00:01", "01:00:5e:01:02:03"
ORDERS = {"orders_to": f"{GROUP}:{PORT}", "orders_from": f"{FROM}:{FROM_PORT}"}
LEAST_FRAME = 60


def config(*eal: str, groups: Sequence[str] = (f"{GROUP}:{PORT}",), **transport: Any) -> dict:
    """A configuration of the transport; keys of [transport.dpdk] go there."""
    own = {key: transport.pop(key) for key in Dpdk.__struct_fields__ if key in transport}
    return {
        "feed": {"groups": list(groups)},
        "transport": {**transport, "dpdk": {"eal": list(eal), **own}},
    }


def frame(payload: bytes, address: str = GROUP, port: int = PORT, *tags: Any) -> bytes:
    """A datagram on Ethernet, behind the tags."""
    built = Ether(src=MAC, dst=GROUP_MAC)
    for tag in tags:
        built /= tag
    return bytes(built / IP(src=FROM, dst=address) / UDP(sport=9, dport=port) / Raw(payload))


def capture(path: Path, frames: Sequence[bytes]) -> str:
    """A pcap file of frames; gives its name."""
    path.write_bytes(pcap([Packet(n, each) for n, each in enumerate(frames)]))
    return str(path)


def of_orders(messages: Sequence[bytes], source_mac: str) -> list[bytes]:
    """The frames that orders have to leave as, by scapy's checksums."""
    frames = []
    for message in messages:
        ip = IP(src=FROM, dst=GROUP, id=0, flags="DF", ttl=64)
        udp = UDP(sport=FROM_PORT, dport=PORT)
        built = Ether(src=source_mac, dst=GROUP_MAC) / ip / udp / Raw(message)
        frames.append(bytes(built).ljust(LEAST_FRAME, b"\0"))
    return frames


# ---------------------------------------------------------------- without DPDK


def test_it_has_all_that_a_transport_has():
    members = {name for name in vars(Transport) if not name.startswith("_")}
    members |= set(Transport.__annotations__)
    transport = DpdkTransport(Config())
    assert all(hasattr(type(transport), name) or name == "native" for name in members)
    assert transport.is_live and transport.counters == {} and transport.environment == {}


def test_virtual_devices_are_taken_out_of_the_arguments():
    found = plan(["--no-huge", "--vdev=net_ring0", "-m", "99", "--vdev", "net_pcap1,rx_pcap=a"])
    assert found.arguments == ("--no-huge", "-m", "99")
    assert [(each.name, each.arguments) for each in found.devices] == [
        ("net_ring0", ""),
        ("net_pcap1", "rx_pcap=a"),
    ]


@pytest.mark.parametrize(
    ("eal", "reason"),
    [
        (["--vdev"], "--vdev names no device"),
        (["--vdev=,x=1"], "--vdev names no device"),
        (["--vdev=net_ring0", "--vdev=net_ring0,x=1"], "'net_ring0' is there twice"),
    ],
)
def test_devices_that_cannot_be_told_apart_are_refused(eal, reason):
    own = TransportConfig(dpdk=Dpdk(eal=eal))
    with pytest.raises(RuntimeError, match=f"transport.dpdk.eal: {reason}"):
        DpdkTransport(Config(transport=own))


def test_defaults_leave_alone_what_is_given():
    given = Plan(("--no-huge", "-m99", "-l", "0", "-a", "0000:03:00.0", "--file-prefix=x"), ())
    assert defaults(given, 4096, None, False) == ["--no-telemetry", "--log-level=error"]
    assert "-m" in defaults(Plan(("--no-huge",), ()), 4096, None, False)
    assert "--lcores=0@(3)" in defaults(given._replace(arguments=()), 4096, 3, False)
    assert "--no-huge" not in defaults(Plan((), ()), 4096, None, True)


def test_free_huge_pages_are_added_up(tmp_path):
    for name, free in (("hugepages-2048kB", "3\n"), ("hugepages-1048576kB", "1\n"), ("other", "9")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "free_hugepages").write_text(free)
    assert free_huge_pages(tmp_path) == 3 * (2 << 20) + (1 << 30)
    assert free_huge_pages(tmp_path / "nowhere") == 0


def test_who_holds_a_program_is_read_from_proc(tmp_path):
    for process, number in (("7", 12), ("8", 130), ("self", 13)):
        for part in ("fd", "fdinfo"):
            (tmp_path / process / part).mkdir(parents=True)
        (tmp_path / process / "fd" / "5").symlink_to("anon_inode:bpf-prog")
        (tmp_path / process / "fdinfo" / "5").write_text(f"pos:\t0\nprog_id:\t{number}\n")
        (tmp_path / process / "fd" / "6").symlink_to("socket:[1]")
    assert is_held(12, tmp_path) and is_held(130, tmp_path)
    assert not is_held(13, tmp_path) and not is_held(1, tmp_path)


# ---------------------------------------------------------------- rings and files


@needs_dpdk
def test_orders_come_back_over_a_ring_as_scapy_writes_them():
    messages = [
        b"%d" % (n % 10) * n for n in (0, 1, 2, 3, 17, 18, 19, 47, 48, 255, 1000, 1471, 1472)
    ]
    with Child(config("--vdev=net_ring0", **ORDERS)) as child:
        environment = child.open()
        assert child.send(messages) == len(messages)
        assert child.frames(len(messages)) == of_orders(messages, environment["mac"])
        counters = child.counters
    assert counters["packets"] == counters["orders_sent"] == len(messages)
    assert environment["driver"] == "net_ring" and environment["version"].startswith("DPDK ")
    assert not environment["huge_pages"] or "--no-huge" not in environment["eal"]


@needs_dpdk
def test_orders_that_cannot_leave_are_counted():
    with Child(config("--vdev=net_ring0", **ORDERS)) as child:
        child.open()
        assert child.send([b"x" * 1473, b"y"]) == 1
        assert child.ask("send", run="0005abcd") == 0
        # The ring of the driver takes 1,023 frames.
        assert child.send([b"z"] * 1500) == 1022
        counters = child.counters
        assert len(child.frames(1023)) == 1023
        assert child.send([b"again"]) == 1
    wanted = {"sent": 1023, "dropped": 478, "oversize": 1, "malformed": 1}
    assert {name: counters[f"orders_{name}"] for name in wanted} == wanted


@needs_dpdk
def test_orders_are_written_to_a_file(tmp_path):
    messages = [b"%d" % n * 20 for n in range(150)]
    out = tmp_path / "orders.pcap"
    device = f"--vdev=net_pcap0,rx_pcap={capture(tmp_path / 'in.pcap', [])},tx_pcap={out}"
    with Child(config(device, **ORDERS)) as child:
        environment = child.open()
        assert child.send(messages) == len(messages)
        child.ask("close")
    assert [each.data for each in packets_of(out)] == of_orders(messages, environment["mac"])


def wanted_by(data: bytes, groups: set[tuple[bytes, int]]) -> str:
    """Plain reading of a frame: `lent`, `filtered` or `oversize`."""
    at, kind = 14, data[12:14]
    for _ in range(4):
        if kind not in (b"\x81\x00", b"\x88\xa8", b"\x91\x00"):
            break
        at, kind = at + 4, data[at + 2 : at + 4]
    ip = data[at:]
    if kind != b"\x08\x00" or len(ip) < 20 or ip[9] != 17:
        return "filtered"
    if int.from_bytes(ip[6:8], "big") & 0x3FFF:
        return "filtered"
    udp = ip[(ip[0] & 15) * 4 :]
    if len(udp) < 8 or (ip[16:20], int.from_bytes(udp[2:4], "big")) not in groups:
        return "filtered"
    return "lent" if len(ip) >= int.from_bytes(ip[2:4], "big") else "oversize"


def named_frames() -> dict[str, bytes]:
    """Frames that are wanted and frames that are not, by what is special about them."""
    plain = frame(b"plain")
    options = IP(src=FROM, dst=GROUP, options=[b"\x94\x04\x00\x00"])
    return {
        "plain": plain,
        "second group": frame(b"second", OTHER, PORT + 1),
        "group and port crossed": frame(b"crossed", OTHER, PORT),
        "other port": frame(b"port", GROUP, PORT + 2),
        "a tag": frame(b"tag", GROUP, PORT, Dot1Q(vlan=7)),
        "two tags": frame(b"tags", GROUP, PORT, Dot1AD(vlan=7), Dot1Q(vlan=8)),
        "four tags": frame(b"tags", GROUP, PORT, *[Dot1Q(vlan=n) for n in range(4)]),
        "five tags": frame(b"tags", GROUP, PORT, *[Dot1Q(vlan=n) for n in range(5)]),
        "options": bytes(Ether(dst=GROUP_MAC) / options / UDP(dport=PORT) / Raw(b"o")),
        "fragment": bytes(Ether() / IP(dst=GROUP, flags="MF") / UDP(dport=PORT) / Raw(b"f")),
        "later fragment": bytes(Ether() / IP(dst=GROUP, frag=3) / UDP(dport=PORT) / Raw(b"f")),
        "TCP": bytes(Ether() / IP(dst=GROUP) / TCP(dport=PORT)),
        "IPv6": bytes(Ether() / IPv6(dst="ff02::1") / UDP(dport=PORT)),
        "ARP": bytes(Ether() / ARP()),
        "nothing but Ethernet": plain[:14],
        "cut in Ethernet": plain[:9],
        "cut in the tag": frame(b"tag", GROUP, PORT, Dot1Q(vlan=7))[:16],
        "cut in IPv4": plain[:30],
        "cut in UDP": plain[:40],
        "cut behind UDP": plain[:44],
        "padded": plain.ljust(LEAST_FRAME, b"\0"),
        "nothing in it": frame(b""),
        "as large as a frame is": frame(b"L" * 1472),
    }


@needs_dpdk
def test_only_whole_datagrams_of_the_groups_are_lent(tmp_path):
    groups = {(b"\xef\x01\x02\x03", PORT), (b"\xef\x01\x02\x04", PORT + 1)}
    draw = random.Random(5)
    frames = list(named_frames().values())
    for _ in range(3000):
        each = bytearray(draw.choice(frames))
        for _ in range(draw.randrange(3)):
            if each:
                each[draw.randrange(min(len(each), 50))] = draw.choice((0, 8, 17, 0x45, 0x81, 239))
        frames.append(bytes(each[: draw.randrange(14, 80)] if draw.random() < 0.2 else each))
    expected = [(wanted_by(each, groups), each) for each in frames]
    lent = [each for verdict, each in expected if verdict == "lent"]
    path = capture(tmp_path / "in.pcap", frames)
    texts = [f"{GROUP}:{PORT}", f"{OTHER}:{PORT + 1}"]
    with Child(config(f"--vdev=net_pcap0,rx_pcap={path}", groups=texts)) as child:
        child.open()
        assert child.frames(len(lent)) == lent
        assert child.frames(0) == []
        counters = child.counters
    verdicts = [verdict for verdict, _ in expected]
    assert {name: counters[name] for name in ("filtered", "oversize")} == {
        name: verdicts.count(name) for name in ("filtered", "oversize")
    }
    assert counters["packets"] == len(lent) > 200 and counters["filtered"] > 1000
    assert counters["bytes"] == sum(map(len, lent))


@needs_dpdk
def test_second_lines_are_taken_and_without_groups_every_datagram(tmp_path):
    frames = [frame(b"a"), frame(b"b", OTHER), frame(b"c", "239.9.9.9", 1), bytes(Ether() / ARP())]
    device = f"--vdev=net_pcap0,rx_pcap={capture(tmp_path / 'in.pcap', frames)}"
    both = config(device)
    both["feed"]["lines_b"] = {f"{GROUP}:{PORT}": f"{OTHER}:{PORT}"}
    with Child(both) as child:
        child.open()
        assert child.frames(2) == frames[:2]
        child.ask("close")
        child.open(**config(device, groups=[]))
        assert child.frames(3) == frames[:3]
        assert child.frames(0) == []
        assert child.counters["filtered"] == 1


@needs_dpdk
def test_a_packet_larger_than_a_buffer_is_counted(tmp_path):
    frames = [frame(b"before"), frame(b"x" * 4000), frame(b"behind")]
    path = capture(tmp_path / "in.pcap", frames)
    with Child(config(f"--vdev=net_pcap0,rx_pcap={path}")) as child:
        child.open()
        assert child.frames(2) == [frames[0], frames[2]]
        assert child.counters["oversize"] == 1


@needs_dpdk
def test_what_is_lent_adds_up_until_no_buffer_is_left(tmp_path):
    frames = [frame(b"%d" % n) for n in range(300)]
    path = capture(tmp_path / "in.pcap", frames)
    with Child(config(f"--vdev=net_pcap0,rx_pcap={path}", buffers=64, descriptors=64)) as child:
        child.open()
        assert child.frames(0, release=False) == frames[:64]
        before = child.counters
        assert child.frames(0, release=False) == []
        child.ask("release")
        assert child.frames(300 - 64) == frames[64:]
        counters = child.counters
    assert before["lent_full"] > 0 and before["packets"] == 64
    assert counters["packets"] == 300 and counters["no_buffers"] == 0


@needs_dpdk
def test_it_starts_again_with_the_same_and_with_other_devices(tmp_path):
    frames = [frame(b"%d" % n) for n in range(100)]
    path = capture(tmp_path / "in.pcap", frames)
    files = config(f"--vdev=net_pcap0,rx_pcap={path}")
    with Child(files) as child:
        for _ in range(3):
            child.open()
            assert child.frames(100) == frames
            child.ask("close")
            # Counters outlive it, and begin anew with the next one.
            assert child.counters["packets"] == 100
        # With packets in the ring that nobody takes any more.
        ring = config("--vdev=net_ring0", **ORDERS)
        for _ in range(3):
            child.open(**ring)
            assert child.send([b"x"] * 700) == 700
            assert len(child.frames(10, release=False)) >= 10
            child.ask("close")
        child.open(**files, latency={"sample": 1})
        assert child.frames(100) == frames


@needs_dpdk
def test_ports_are_numbered_as_devices_are_given(tmp_path):
    paths = [capture(tmp_path / f"{n}.pcap", [frame(b"%d" % n)]) for n in range(2)]
    devices = [f"--vdev=net_pcap{n},rx_pcap={path}" for n, path in enumerate(paths)]
    with Child(config(*devices)) as child:
        for number in (0, 1):
            environment = child.open(**config(*devices, port=number))
            assert environment["device"] == f"net_pcap{number}"
            assert child.frames(1) == [frame(b"%d" % number)]
            child.ask("close")
        with pytest.raises(RefusedError, match=r"transport.dpdk.port: no port 2: 2 are there"):
            child.open(**config(*devices, port=2))


@needs_dpdk
def test_a_port_that_is_not_a_virtual_device_of_ours_starts_again():
    # A long option's beginning is enough for EAL, which then keeps the device as it does a card.
    kept = config("--vde=net_ring0", "--no-pci", **ORDERS)
    with Child(kept) as child:
        for buffers in (1024, 1024, 2048):
            kept["transport"]["buffers"] = buffers
            child.open(**kept)
            assert child.send([b"x"] * 500) == 500
            assert len(child.frames(500)) == 500
            child.ask("close")


@needs_dpdk
@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (config(), "transport.dpdk.port: no port 0: there is none"),
        (config("--vdev=net_ring0", "--nonsense"), "unrecognized option '--nonsense'"),
        (config("--vdev=net_nonsense0"), "net_nonsense0 cannot be added: "),
        (config("--vdev=net_pcap0,rx_pcap=/nowhere.pcap"), "Couldn't open /nowhere.pcap"),
        (config("--vdev=net_af_packet0,iface=none9"), "there is no interface 'none9'; here are: "),
        (config("--vdev=net_ring0", huge_pages=True, cpu=0), "huge"),
        (config("--no-huge", "--vdev=net_ring0", huge_pages=True), "transport.huge_pages: EAL has"),
        (
            config("--no-huge", "-m", "8", "--vdev=net_ring0", buffers=65_536),
            "there is no memory for its buffers",
        ),
        (config("--vdev=net_ring0", orders_to="10.0.0.1:9"), "transport.orders_from: needed"),
        (config("--vdev=net_ring0", **{**ORDERS, "orders_mac": "02:00"}), "transport.orders_mac: "),
        (
            config("--vdev=net_ring0", **{**ORDERS, "orders_to": "10.0.0.1:9"}),
            "transport.orders_mac: needed",
        ),
    ],
)
def test_what_cannot_start_is_refused_in_one_line(wrong, reason):
    if reason == "huge" and Path("/proc/sys/vm/nr_hugepages").read_text().strip() != "0":
        pytest.skip("there are huge pages here")
    with Child(wrong) as child:
        with pytest.raises(RefusedError) as refused:
            child.open()
        assert child.counters == {}
    assert reason in str(refused.value) and "\n" not in str(refused.value)


@needs_dpdk
def test_more_queues_than_the_port_has_are_refused(tmp_path):
    path = capture(tmp_path / "in.pcap", [frame(b"x")])
    with Child(config(f"--vdev=net_pcap0,rx_pcap={path}", queues=2)) as child:
        with pytest.raises(RefusedError, match=r"port 0 \(net_pcap0\): it has fewer queues"):
            child.open()
        child.open(**config(f"--vdev=net_pcap0,rx_pcap={path}"))
        assert child.frames(1) == [frame(b"x")]


@needs_dpdk
def test_several_queues_are_polled_in_turn(tmp_path):
    paths = [
        capture(tmp_path / f"{queue}.pcap", [frame(b"%d %d" % (queue, n)) for n in range(200)])
        for queue in range(3)
    ]
    files = ",".join(f"rx_pcap={path}" for path in paths)
    with Child(config(f"--vdev=net_pcap0,{files}", queues=3)) as child:
        assert child.open()["queues"] == 3
        frames = child.frames(600)
    for queue in range(3):
        own = [frame(b"%d %d" % (queue, n)) for n in range(200)]
        assert [each for each in frames if each in own] == own
    # None waits until another one's packets are all taken.
    assert {each[42:43] for each in frames[:192]} == {b"0", b"1", b"2"}


@needs_dpdk
def test_other_arguments_need_another_process():
    with Child(config("--vdev=net_ring0", "--no-huge")) as child:
        child.open()
        child.ask("close")
        with pytest.raises(
            RefusedError, match="was with other arguments: --no-huge; use these, or"
        ):
            child.open(**config("--vdev=net_ring0", "--no-huge", "-m", "99"))
        child.open()


@needs_dpdk
def test_two_processes_over_shared_memory(tmp_path):
    path = tmp_path / "memif.sock"
    ends = [
        config(f"--vdev=net_memif0,role={role},socket={path},socket-abstract=no", **ORDERS)
        for role in ("server", "client")
    ]
    with Child(ends[0]) as server, Child(ends[1]) as client:
        macs = [each.open()["mac"] for each in (server, client)]
        pairs = ((server, client, macs[0]), (client, server, macs[1]))
        for sender, receiver, mac in pairs:
            # The two ends find each other a moment after they are open.
            for _ in range(50):
                # The client offers buffers to the server when it polls.
                assert receiver.frames(0) == []
                if sender.send([b"first"]):
                    break
            messages = [b"%d" % n * 30 for n in range(400)]
            assert sender.send(messages) == len(messages)
            wanted = of_orders([b"first", *messages], mac)
            assert receiver.frames(len(wanted)) == wanted


@needs_dpdk
def test_an_engine_on_a_file_is_where_a_replay_is():
    path = session()
    packets = packets_of(path)
    engine = Engine()
    for each in packets:
        engine.feed_packet(each.data, ts_recv=each.ts_recv)
    with Child(config(f"--vdev=net_pcap0,rx_pcap={path}", groups=[])) as child:
        child.open()
        digests = child.ask("digests", count=len(packets))
    assert digests == [
        f"{engine.book_digest:016x}",
        f"{engine.state_digest:016x}",
        str(len(packets)),
    ]


def test_clock_of_a_card(tmp_path):
    """The line through two readings, compiled alone and compared with exact arithmetic."""
    if not (compiler := shutil.which("gcc")):
        pytest.skip("needs gcc")
    source = tmp_path / "clock.c"
    source.write_text(
        '#include "dpdk_clock.h"\n#include <stdio.h>\nint main(void)\n{\n'
        "    struct device_clock clock = {0};\n    char what;\n    unsigned long long a, b;\n"
        '    while (scanf(" %c %llu %llu", &what, &a, &b) == 3) {\n'
        "        if (what == 'm')\n            clock_move(&clock, a, b);\n"
        '        else\n            printf("%llu\\n", (unsigned long long)clock_ns(&clock, a));\n'
        "    }\n    return 0;\n}\n"
    )
    native = Path(__file__).resolve().parents[1] / "native"
    program = tmp_path / "clock"
    subprocess.run([compiler, f"-I{native}", "-o", program, source], check=True)
    draw = random.Random(3)
    lines, expected, tolerance = [], [], []
    for rate in map(Fraction, ("1/8", "9/10", "1", "16/5", "8")):  # ns a tick
        ticks, ns = draw.randrange(1 << 60), draw.randrange(1 << 60)
        then = ticks + 1_000_000_000
        then_ns = ns + round((then - ticks) * rate)
        lines += [f"m {ticks - 1} {ns - 1}", f"m {ticks} {ns}", f"m {then} {then_ns}"]
        for offset in (0, 1, -1, 10**6, -(10**6), 10**9, -(10**9)):
            lines.append(f"c {then + offset} 0")
            expected.append(then_ns + offset * rate)
            tolerance.append(2 + abs(offset) * 1e-9)
    text = "\n".join(lines)
    told = subprocess.run([program], input=text, capture_output=True, text=True, check=True)
    found = [int(each) for each in told.stdout.split()]
    assert len(found) == len(expected)
    assert all(abs(a - b) <= t for a, b, t in zip(found, expected, tolerance, strict=True))
