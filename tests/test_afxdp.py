"""The afxdp transport over a veth pair between two namespaces, as root.

Senders are ordinary sockets at the far end; what comes out of the transport is compared with what
they sent, packet by packet.
"""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lent import HEADERS, payloads, raw, take
from namespaces import Wire, inside, ip, needs_wire, until, wait_until_it_sends, wire
from tickpath.backend import TransportError
from tickpath.config import Afxdp, Config, Feed, Transport
from tickpath.packet import LINK_ETHERNET
from tickpath_backends import interface
from tickpath_backends.afxdp import AfxdpTransport
from tickpath_backends.multicast import Group

pytestmark = [
    needs_wire,
    pytest.mark.skipif(AfxdpTransport.why_not() is not None, reason=AfxdpTransport.why_not() or ""),
]
A, B, PORT = "239.255.72.1", "239.255.72.2", 45_101
ORDERS = 45_102
COPY_MODES = ("native", "generic")
ROOT = Path(__file__).resolve().parents[1]


class Near:
    """A transport at the near end; every call is made inside its namespace."""

    def __init__(self, ends: Wire, transport: AfxdpTransport) -> None:
        self.ends, self.transport = ends, transport
        self.open()

    def open(self) -> None:
        with inside(self.ends.near):
            self.transport.open()

    def __getattr__(self, name: str):
        return getattr(self.transport, name)


@pytest.fixture
def ends():
    with wire() as made:
        yield made


@pytest.fixture(params=COPY_MODES)
def mode(request):
    return request.param


@pytest.fixture
def near():
    """Opens transports at the near end of a wire, and closes them."""
    opened = []

    def build(ends: Wire, groups=None, lines_b=None, afxdp=None, **transport) -> Near:
        config = Config(
            feed=Feed(groups=groups or [f"{A}:{PORT}"], lines_b=lines_b or {}),
            transport=Transport(
                afxdp=Afxdp(**(afxdp or {})), **{"interface": ends.near_interface, **transport}
            ),
        )
        made = AfxdpTransport(config)
        opened.append(made)
        return Near(ends, made)

    yield build
    for each in opened:
        each.close()


def program_of(ends: Wire) -> tuple[str | None, int]:
    """(mode, number) of the XDP program on the near interface."""
    with inside(ends.near):
        found = interface.find(ends.near_interface)
    return found.xdp_mode, found.xdp_program


# ---------------------------------------------------------------- receiving


def test_packets_are_lent_in_place_and_in_order(ends, near, mode):
    transport = near(ends, lines_b={f"{A}:{PORT}": f"{B}:{PORT}"}, afxdp={"mode": mode})
    assert transport.environment["mode"] == mode and program_of(ends)[0] == mode
    assert msgspec.json.encode(transport.environment)
    sock = ends.sender()
    sent = [(group, b"%d" % number) for number in range(20) for group in (A, B)]
    for group, payload in sent:
        sock.sendto(payload, (group, PORT))
    lent: list[np.ndarray] = []

    def polled():
        lent.append(transport.poll().copy())
        return sum(map(len, lent)) == 40

    until(polled, "40 packets")
    packets = np.concatenate(lent)
    assert payloads(packets, HEADERS) == [payload for _, payload in sent]
    assert [socket.inet_ntoa(raw(packet)[30:34]) for packet in packets] == [g for g, _ in sent]
    assert set(packets["link"].tolist()) == {LINK_ETHERNET} and set(packets["line"].tolist()) == {0}
    assert np.array_equal(packets["length"], packets["wire_length"])
    frames = packets["address"] // transport.environment["buffer_bytes"]
    assert len(set(frames.tolist())) == 40, "a frame of its own for each"
    counters = transport.counters
    assert counters.pop("packets") == 40
    assert counters.pop("bytes") == packets["length"].sum()
    assert not any(counters.values()) and transport.findings == []
    sock.close()


def test_rings_wrap_around(ends, near, mode):
    transport = near(ends, buffers=64, afxdp={"mode": mode})
    with ends.sender() as sock:
        for first in range(0, 1000, 25):
            expected = [b"%d" % number for number in range(first, first + 25)]
            for payload in expected:
                sock.sendto(payload, (A, PORT))
            assert take(transport, 25, HEADERS, most=7) == expected
    assert transport.counters["packets"] == 1000
    assert transport.counters["rx_dropped"] == transport.counters["rx_ring_full"] == 0


def test_what_is_not_released_is_not_overwritten_and_the_rest_is_counted(ends, near, mode):
    """More packets than buffers: those that came are intact, those lost are in the counters."""
    transport = near(ends, buffers=64, afxdp={"mode": mode})
    with ends.sender() as sock:
        for number in range(200):
            sock.sendto(b"%03d" % number, (A, PORT))
    lent: list[np.ndarray] = []

    def settled():
        lent.append(transport.poll(9).copy())
        counters = transport.counters
        return counters["packets"] + counters["rx_dropped"] + counters["rx_ring_full"] == 200

    until(settled, "200 packets, lent or counted")
    packets = np.concatenate(lent)
    assert len(packets) == 64 and len(transport.poll()) == 0
    assert payloads(packets, HEADERS) == [b"%03d" % number for number in range(64)]
    assert transport.counters["fill_ring_empty"] > 0, "the cause"
    transport.release()
    with ends.sender() as sock:
        for number in range(64):
            sock.sendto(b"again %d" % number, (A, PORT))
    assert take(transport, 64, HEADERS) == [b"again %d" % number for number in range(64)]


STEPS = st.one_of(
    st.tuples(st.just("send"), st.integers(1, 90)),
    st.tuples(st.just("poll"), st.integers(1, 64)),
    st.tuples(st.just("release"), st.just(0)),
)


def test_any_order_of_calls_loses_nothing_uncounted(ends, near, mode):
    """What is lent comes in order and stays as it is; every packet is lent or counted as lost."""
    transport = near(ends, buffers=64, afxdp={"mode": mode})
    sock = ends.sender()
    lent: list[int] = []
    held: list[tuple[np.void, int]] = []
    sent = 0

    def number_of(packet: np.void) -> int:
        return int(raw(packet)[HEADERS : HEADERS + 8])

    def poll(most: int = 64) -> None:
        for packet in transport.poll(most).copy():
            assert not lent or number_of(packet) > lent[-1], "in the order they were sent in"
            lent.append(number_of(packet))
            held.append((packet, lent[-1]))
        assert len(held) <= 64
        assert all(number_of(packet) == number for packet, number in held)

    def release() -> None:
        transport.release()
        held.clear()

    def settled() -> bool:
        poll()
        release()
        counters = transport.counters
        assert counters["packets"] == len(lent)
        return len(lent) + counters["rx_dropped"] + counters["rx_ring_full"] == sent

    @settings(max_examples=40)
    @given(st.lists(STEPS, max_size=30))
    def check(steps):
        nonlocal sent
        for step, number in steps:
            if step == "send":
                for each in range(sent, sent + number):
                    sock.sendto(b"%08d" % each + b"x" * (each % 1400), (A, PORT))
                sent += number
            elif step == "poll":
                poll(number)
            else:
                release()
        until(settled, "every packet, lent or counted")

    check()
    assert len(lent) > 64
    sock.close()


def test_two_queues(near, mode):
    with wire(queues=2) as ends:
        transport = near(ends, afxdp={"mode": mode, "queues": (0, 1)}, buffers=64)
        assert transport.findings == []
        sent, lines = [], set()
        for number in range(64):  # one flow each: the kernel spreads flows over queues
            with ends.sender() as sock:
                sock.sendto(b"%d" % number, (A, PORT))
            sent.append(b"%d" % number)
        found = []

        def polled():
            packets = transport.poll(5)
            lines.update(packets["line"].tolist())
            found.extend(payloads(packets, HEADERS))
            transport.release()
            return len(found) == 64

        until(polled, "64 packets of two queues")
        assert sorted(found) == sorted(sent)
        # A veth pair knows no receive queues where the driver does not run the program.
        assert lines == ({0, 1} if mode == "native" else {0})


def test_a_queue_that_nobody_takes_is_a_finding(near):
    with wire(queues=2) as ends:
        transport = near(ends)
        (finding,) = transport.findings
        assert "has queues that are not taken (1)" in finding and "ethtool -L" in finding


@pytest.mark.parametrize("option", ["need_wakeup", "busy_poll"])
def test_options(ends, near, mode, option):
    transport = near(ends, afxdp={"mode": mode, option: True})
    assert transport.environment[option] is True
    with ends.sender() as sock:
        for number in range(100):
            sock.sendto(b"%d" % number, (A, PORT))
    assert take(transport, 100, HEADERS) == [b"%d" % number for number in range(100)]
    if option == "busy_poll":
        assert len(transport.poll()) == 0
        assert transport.counters["wakeups"] > 0


def test_generic_where_the_driver_offers_nothing_else(ends, near):
    """The loopback interface, which also has an MTU that no frame has room for."""
    group = f"127.0.0.1:{PORT}"
    transport = near(ends, [group], interface="lo")
    found = transport.environment
    assert found["mode"] == "generic" and list(found["refused"]) == ["zero-copy", "native"]
    with inside(ends.near), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"to myself", ("127.0.0.1", PORT))
    assert take(transport, 1, HEADERS) == [b"to myself"]
    transport.close()
    with pytest.raises(TransportError, match="takes no frames of ours from lo; use the udp"):
        near(ends, [group], interface="lo", orders_to=f"127.0.0.1:{ORDERS}")


def test_the_best_mode_is_the_first_that_is_offered(ends, near):
    transport = near(ends)
    found = transport.environment
    assert (found["mode"], found["mode_asked"]) == ("native", "best")
    assert list(found["refused"]) == ["zero-copy"], "which a veth pair does not offer"


# ---------------------------------------------------------------- what is not ours


def _frame(ends: Wire, **options) -> bytes:
    """An Ethernet frame with a UDP datagram in it, made by scapy."""
    from scapy.all import IP, UDP, Dot1Q, Ether, IPOption_NOP, Raw

    ether = Ether(dst="01:00:5e:7f:48:01", src="02:00:00:00:00:01")
    for tag in options.get("tags", ()):
        ether /= Dot1Q(vlan=tag)
    ip_options = [IPOption_NOP()] * options.get("ip_options", 0)
    header = IP(
        src=ends.FAR,
        dst=options.get("dst", A),
        options=ip_options,
        flags=options.get("flags", 0),
        frag=options.get("frag", 0),
    )
    if "proto" in options:
        return bytes(ether / header / Raw(options["payload"]))
    port = UDP(sport=1, dport=options.get("dport", PORT))
    return bytes(ether / header / port / Raw(options["payload"]))


def test_only_the_groups_datagrams_are_taken(ends, near, mode):
    pytest.importorskip("scapy")
    transport = near(ends, [f"{A}:{PORT}", f"{B}:{PORT + 1}"], afxdp={"mode": mode})
    cases = [
        ({}, True),
        ({"dst": B, "dport": PORT + 1}, True),
        ({"tags": (7,)}, True),
        ({"dport": PORT + 1}, False),
        ({"dst": B}, False),
        ({"dst": "239.255.72.3"}, False),
        ({"tags": (7, 8)}, False),
        ({"ip_options": 4}, False),
        ({"flags": "MF"}, False),
        ({"frag": 2}, False),
        ({"proto": "not UDP"}, False),
    ]
    with ends.raw() as sock:
        for number, (options, _) in enumerate(cases):
            sock.send(_frame(ends, payload=b"%02d" % number, **options))
        sock.send(_frame(ends, payload=b"")[:41])
        sock.send(_frame(ends, payload=b"end"))
    found = take(transport, 1 + sum(taken for _, taken in cases))
    expected = [b"%02d" % number for number, (_, taken) in enumerate(cases) if taken]
    assert [each.rstrip(b"\0")[-2:] for each in found[:-1]] == expected
    assert found[-1].endswith(b"end")


def test_everything_else_goes_on_to_the_kernel(ends, near, mode):
    """Another port by UDP, a connection by TCP, and with it ARP."""
    near(ends, [f"{ends.NEAR}:{PORT}"], afxdp={"mode": mode})
    with inside(ends.near):
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind((ends.NEAR, PORT + 1))
        udp.settimeout(10)
        tcp = socket.create_server((ends.NEAR, PORT))
        tcp.settimeout(10)
    ip("-n", ends.far, "neigh", "flush", "all")
    ip("-n", ends.near, "neigh", "flush", "all")
    with ends.sender() as sock:
        sock.sendto(b"other port", (ends.NEAR, PORT + 1))
    assert udp.recv(99) == b"other port"
    with inside(ends.far):
        client = socket.create_connection((ends.NEAR, PORT), timeout=10)
    server, _ = tcp.accept()
    client.sendall(b"by TCP")
    assert server.recv(99) == b"by TCP"
    for sock in (udp, tcp, client, server):
        sock.close()


def test_groups_are_joined(ends, near):
    def memberships() -> str:
        with inside(ends.near):
            return Path("/proc/thread-self/net/igmp").read_text()

    in_table = f"{int.from_bytes(socket.inet_aton(A), 'little'):08X}"
    assert in_table not in memberships()
    transport = near(ends)
    assert in_table in memberships()
    transport.close()
    assert in_table not in memberships()


# ---------------------------------------------------------------- starting and ending


def test_it_starts_and_stops_three_times(ends, near, mode):
    transport = near(ends, afxdp={"mode": mode})
    transport.close()
    for number in range(3):
        transport.open()
        assert program_of(ends)[0] == mode
        with ends.sender() as sock:
            sock.sendto(b"%d" % number, (A, PORT))
        assert take(transport, 1, HEADERS) == [b"%d" % number]
        transport.close()
        assert program_of(ends) == (None, 0)
        assert transport.counters["packets"] == 1 and len(transport.poll()) == 0


def test_nothing_stays_behind_a_transport_that_is_killed(ends, near, mode):
    code = (
        "import sys, time\n"
        "from tickpath.config import Afxdp, Config, Feed, Transport\n"
        "from tickpath_backends.afxdp import AfxdpTransport\n"
        f"config = Config(feed=Feed(groups=['{A}:{PORT}']), transport=Transport("
        f"interface='{ends.near_interface}', afxdp=Afxdp(mode='{mode}')))\n"
        "transport = AfxdpTransport(config)\n"
        "transport.open()\n"
        "print('open', flush=True)\n"
        "time.sleep(60)\n"
    )
    child = subprocess.Popen(
        ["ip", "netns", "exec", ends.near, sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{ROOT}/pipeline{os.pathsep}{ROOT}/backends"},
    )
    try:
        assert child.stdout and child.stdout.readline() == "open\n"
        assert program_of(ends)[0] == mode
        child.send_signal(signal.SIGKILL)
        child.wait(timeout=10)
    finally:
        child.kill()
        child.wait()
        child.stdout.close()
    until(lambda: program_of(ends) == (None, 0), "the program is detached")
    transport = near(ends, afxdp={"mode": mode})
    with ends.sender() as sock:
        sock.sendto(b"next", (A, PORT))
    assert take(transport, 1, HEADERS) == [b"next"]


def test_an_interface_that_goes_down_and_comes_back(ends, near, mode):
    transport = near(ends, afxdp={"mode": mode}, orders_to=f"{ends.FAR}:{ORDERS}", buffers=64)
    ip("-n", ends.near, "link", "set", ends.near_interface, "down")
    until(lambda: transport.counters["interface_down"] == 1, "the notification")
    for _ in range(100):  # more than the ring has slots
        assert transport.send(memoryview(b"\0\4late")) == 0
    assert transport.counters["orders_dropped"] == 100
    ip("-n", ends.near, "link", "set", ends.near_interface, "up")
    until(lambda: transport.counters["interface_up"] == 1, "the notification")
    ip("-n", ends.near, "route", "replace", "224.0.0.0/4", "dev", ends.near_interface)
    wait_until_it_sends(ends.far, ends.far_interface)
    with ends.sender() as sock:
        sock.sendto(b"again", (A, PORT))
    assert take(transport, 1, HEADERS) == [b"again"]
    assert not transport.is_finished
    down, up = transport.findings
    assert "went down" in down and "came up again" in up
    with ends.listener(ORDERS) as venue:
        timely = [b"%d" % number for number in range(10)]
        assert [transport.send(memoryview(run_of(each))) for each in timely] == [1] * 10
        assert [venue.recv(99) for _ in timely] == timely, "once each, and none that was too late"
    assert transport.counters["tx_invalid_descs"] == 0


def test_an_interface_that_is_deleted(ends, near, mode):
    transport = near(ends, afxdp={"mode": mode}, orders_to=f"{ends.FAR}:{ORDERS}")
    with ends.sender() as sock:
        sock.sendto(b"before", (A, PORT))
    assert take(transport, 1, HEADERS) == [b"before"]
    ip("-n", ends.far, "link", "del", ends.far_interface)
    until(lambda: transport.is_finished, "the notification")
    assert len(transport.poll()) == 0
    assert transport.send(memoryview(b"\0\4late")) == 0
    assert transport.counters["orders_dropped"] == 1
    assert any("was deleted" in finding for finding in transport.findings)
    transport.close()
    assert any("was deleted" in finding for finding in transport.findings)


def test_a_changed_mtu_is_told(ends, near, mode):
    transport = near(ends, afxdp={"mode": mode})
    ip("-n", ends.near, "link", "set", ends.near_interface, "mtu", "1400")
    until(lambda: transport.counters["mtu_changes"] == 1, "the notification")
    (finding,) = transport.findings
    assert finding.endswith("its MTU changed from 1500 to 1400")
    with ends.sender() as sock:
        sock.sendto(b"small enough", (A, PORT))
    assert take(transport, 1, HEADERS) == [b"small enough"]


def test_large_packets_need_large_frames(ends, near):
    for name, link in ((ends.far, ends.far_interface), (ends.near, ends.near_interface)):
        ip("-n", name, "link", "set", link, "mtu", "3000")
    transport = near(ends, afxdp={"mode": "generic"})
    assert transport.environment["buffer_bytes"] == 4096
    with ends.sender() as sock:
        sock.sendto(bytes(2900), (A, PORT))
    assert take(transport, 1, HEADERS) == [bytes(2900)]


def test_packets_larger_than_a_frame_are_counted(ends, near):
    for name, link in ((ends.far, ends.far_interface), (ends.near, ends.near_interface)):
        ip("-n", name, "link", "set", link, "mtu", "9000")
    transport = near(ends, afxdp={"mode": "generic"})
    assert any("MTU of 9000; larger packets" in finding for finding in transport.findings)
    with ends.sender() as sock:
        for payload in (b"one", bytes(8000), b"two"):
            sock.sendto(payload, (A, PORT))
    assert take(transport, 2, HEADERS) == [b"one", b"two"]
    assert transport.counters["rx_dropped"] == 1


# ---------------------------------------------------------------- orders


def run_of(*messages: bytes) -> bytes:
    return b"".join(len(each).to_bytes(2, "big") + each for each in messages)


def test_orders_leave_as_datagrams_with_right_checksums(ends, near, mode):
    scapy = pytest.importorskip("scapy.all")
    source = f"{ends.NEAR}:4711"
    transport = near(
        ends, afxdp={"mode": mode}, orders_to=f"{ends.FAR}:{ORDERS}", orders_from=source
    )
    random = np.random.default_rng(1)
    orders = [random.bytes(size) for size in [*range(80), 255, 1471, 1472]]
    orders += [b"\xff" * 40, bytes(40)]
    # One whose checksum comes out as zero, which must not be written: zero means there is none.
    header = scapy.IP(src=ends.NEAR, dst=ends.FAR) / scapy.UDP(sport=4711, dport=ORDERS)
    orders.append(bytes(header / scapy.Raw(bytes(2)))[26:28])
    with ends.listener(ORDERS) as venue, ends.raw() as tap:
        assert transport.send(memoryview(run_of(*orders))) == len(orders)
        assert [venue.recvfrom(2000) for _ in orders] == [
            (order, (ends.NEAR, 4711)) for order in orders
        ]
        frames = []
        while len(frames) < len(orders):
            frame = tap.recv(2000)
            if scapy.UDP in (packet := scapy.Ether(frame)) and packet[scapy.UDP].dport == ORDERS:
                frames.append(frame)
    for frame, order in zip(frames, orders, strict=True):
        packet = scapy.Ether(frame)
        assert bytes(packet[scapy.UDP].payload)[: len(order)] == order and len(frame) >= 60
        sums = packet[scapy.IP].chksum, packet[scapy.UDP].chksum
        assert sums[1] != 0
        del packet[scapy.IP].chksum, packet[scapy.UDP].chksum
        again = scapy.Ether(bytes(packet))
        assert (again[scapy.IP].chksum, again[scapy.UDP].chksum) == sums
    assert transport.counters["orders_sent"] == len(orders)


def test_frames_of_orders_are_used_again(ends, near, mode):
    transport = near(ends, afxdp={"mode": mode}, buffers=64, orders_to=f"{ends.FAR}:{ORDERS}")
    with ends.listener(ORDERS) as venue:
        for number in range(500):
            assert transport.send(memoryview(run_of(b"%d" % number))) == 1
            assert venue.recv(99) == b"%d" % number


def test_more_orders_than_there_are_frames_are_dropped_and_counted(ends, near, mode):
    transport = near(ends, afxdp={"mode": mode}, buffers=64, orders_to=f"{ends.FAR}:{ORDERS}")
    orders = [b"%d" % number for number in range(100)]
    with ends.listener(ORDERS) as venue:
        sent = transport.send(memoryview(run_of(*orders)))
        counters = transport.counters
        assert counters["orders_sent"] == sent == 64
        assert counters["orders_dropped"] == 100 - sent
        assert [venue.recv(99) for _ in range(sent)] == orders[:sent]


def test_orders_that_are_no_datagrams_are_counted(ends, near):
    transport = near(ends, orders_to=f"{ends.FAR}:{ORDERS}")
    with ends.listener(ORDERS) as venue:
        messages = run_of(b"one", bytes(1473), b"two") + b"\0"
        assert transport.send(memoryview(messages)) == 2
        assert [venue.recv(99), venue.recv(99)] == [b"one", b"two"]
    counters = transport.counters
    assert (counters["orders_oversize"], counters["orders_malformed"]) == (1, 1)


def test_a_given_mac_address_is_taken(ends, near):
    transport = near(ends, orders_to=f"{ends.FAR}:{ORDERS}", orders_mac="02:00:5e:00:53:01")
    with ends.raw() as tap:
        assert transport.send(memoryview(run_of(b"x"))) == 1
        frame = tap.recv(2000)
        while frame[23] != 17:
            frame = tap.recv(2000)
    assert frame[:6] == bytes.fromhex("02005e005301")


# ---------------------------------------------------------------- what cannot be had


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"interface": None}, "transport.interface is not set"),
        ({"interface": "nothere"}, "no interface 'nothere'; here are: lo, near0"),
        ({"afxdp": {"queues": (1,)}}, "near0 has no queue 1: it has 1"),
        ({"afxdp": {"queues": (0, 0)}}, "at least one, and each once"),
        ({"afxdp": {"mode": "zero-copy"}}, "near0 does not offer afxdp: zero-copy: "),
        ({"groups": [f"{A}:0"]}, "is not an address and a port"),
        ({"groups": [f"{A}:{port}" for port in range(1, 1026)]}, "afxdp takes 1024"),
        ({"huge_pages": True, "buffers": 1 << 20}, "transport.huge_pages: .* are not free; run:"),
        ({"orders_to": "192.0.2.1:9"}, "no way to 192.0.2.1: Network is unreachable"),
        ({"orders_to": "127.0.0.1:9"}, "the way to 127.0.0.1:9 is by lo, not near0"),
        ({"orders_to": "10.98.0.1:9", "orders_from": "10.98.0.9:1"}, "orders_from: 10.98.0.9:1 is"),
        ({"orders_to": "10.98.0.1:9", "orders_mac": "nonsense"}, "'nonsense' is not an address"),
        ({"orders_to": "10.98.0.7:9"}, "10.98.0.7 is not known: nobody answers ARP; set"),
    ],
)
def test_what_cannot_be_had_is_one_line(ends, near, options, reason):
    with pytest.raises(TransportError, match=reason) as caught:
        near(ends, **options)
    assert "\n" not in str(caught.value)
    assert program_of(ends) == (None, 0)
    assert near(ends).is_open, "nothing of the failed one stands in the way"


def test_an_interface_that_is_down(ends, near):
    ip("-n", ends.near, "link", "set", ends.near_interface, "down")
    with pytest.raises(TransportError, match="near0 is down; run: sudo ip link set near0 up"):
        near(ends)


def test_another_program_on_the_interface(ends, near, mode):
    first = near(ends, afxdp={"mode": mode})
    with pytest.raises(TransportError, match=r"queue 0 of near0 is taken by another program"):
        near(ends, afxdp={"mode": mode})
    with ends.sender() as sock:
        sock.sendto(b"undisturbed", (A, PORT))
    assert take(first, 1, HEADERS) == [b"undisturbed"]


def test_another_program_without_a_socket(ends, near, mode):
    """Somebody's own XDP program, which takes no queue."""
    from tickpath_backends import native, xdp_program

    lib = native.load("afxdp").lib
    table = lib.afxdp_map(1)
    code = xdp_program.assemble([Group(1, 1)], table)
    log = native.load("afxdp").ffi.new("char[]", 4096)
    program = lib.afxdp_program(code, len(code) // 8, log, 4096)
    with inside(ends.near):
        ifindex = interface.find(ends.near_interface).ifindex
        link = lib.afxdp_attach(program, ifindex, 4 if mode == "native" else 2)
    try:
        assert link >= 0
        with pytest.raises(TransportError, match="another XDP program is on near0; run:"):
            near(ends, afxdp={"mode": mode})
    finally:
        for descriptor in (link, program, table):
            os.close(descriptor)


def test_without_privilege():
    """The reason and the command, as a user without rights sees them; and of opening all the same.

    Everything is loaded before root is given up, because nobody may not read every checkout.
    """
    code = (
        "import os\n"
        "from tickpath.backend import TransportError\n"
        "from tickpath.config import Config, Feed, Transport\n"
        "from tickpath_backends import native\n"
        "from tickpath_backends.afxdp import AfxdpTransport\n"
        "native.load('afxdp')\n"
        "native.why_not = lambda name: None\n"
        "os.setgroups([]), os.setgid(65534), os.setuid(65534)\n"
        "print(AfxdpTransport.why_not())\n"
        f"config = Config(feed=Feed(groups=['{A}:{PORT}']), transport=Transport(interface='lo'))\n"
        "try:\n"
        "    AfxdpTransport(config).open()\n"
        "except TransportError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": f"{ROOT}/pipeline{os.pathsep}{ROOT}/backends"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    reason, refusal = done.stdout.splitlines()
    assert reason.startswith("privilege is missing: CAP_NET_ADMIN, CAP_NET_RAW, CAP_BPF; run: sudo")
    assert refusal == (
        "afxdp: lo: socket: not permitted; it takes root, or CAP_NET_ADMIN, CAP_NET_RAW, CAP_BPF"
    )
