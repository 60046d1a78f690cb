"""The dpdk transport over a veth pair, and what a killed process leaves there."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from dpdk_process import A, B, Child, RefusedError, inside, transmit, veth, why_no_network
from sessions import packets_of, session
from test_dpdk import FROM, GROUP, MAC, ORDERS, PORT, config, frame, needs_dpdk, of_orders
from tickpath import Engine

REASON = why_no_network()
pytestmark = [needs_dpdk, pytest.mark.skipif(REASON is not None, reason=str(REASON))]

PACKET = f"--vdev=net_af_packet0,iface={B}"
XDP = f"--vdev=net_af_xdp0,iface={B},busy_budget=0"
DRIVERS = pytest.mark.parametrize("device", [PACKET, XDP], ids=["af_packet", "af_xdp"])
WITHOUT_PRIVILEGE = ("setpriv", "--bounding-set=-all", "--inh-caps=-all")
KERNELS_OWN = 5
IPV4_PROTOCOL, IGMP = 9, 2
ON_WIRE, AT_ONCE = 3000, 250
"""Packets that an engine gets over the wire, and how many of them wait in a ring meanwhile."""


@pytest.fixture(scope="module")
def shared():
    """A pair for tests that leave it as it was."""
    with veth() as namespace:
        yield namespace


def xdp_on(namespace: str) -> bool:
    return "prog/xdp" in inside(namespace, "ip", "-d", "link", "show", B)


LISTENER = f"""
import socket, sys, time
sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800))
sock.bind(("{A}", 0x0800))
sock.settimeout(60)
print("ready", flush=True)
for _ in range(int(sys.argv[1])):
    print(sock.recv(65536).hex(), flush=True)
"""


@contextmanager
def listening(namespace: str) -> Iterator[subprocess.Popen]:
    """A process that prints the IPv4 frames that arrive at `A`, until the block is over."""
    command = ["ip", "netns", "exec", namespace, sys.executable, "-c", LISTENER, str(1 << 20)]
    listener = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert listener.stdout and listener.stdout.readline() == "ready\n"
        yield listener
    finally:
        listener.kill()
        listener.wait()
        listener.stdout.close()


def come_up(namespace: str) -> None:
    """`B`, and the queues of both ends, which the kernel switches on some time later."""
    inside(namespace, "ip", "link", "set", B, "up")
    end = time.monotonic() + 20
    while not all("state UP" in inside(namespace, "ip", "link", "show", each) for each in (A, B)):
        assert time.monotonic() < end, "the wire does not come up"
        time.sleep(0.01)


def heard(listener: subprocess.Popen, last: bytes) -> list[bytes]:
    """The frames up to ``last``; all, where that does not come."""
    found: list[bytes] = []
    assert listener.stdout
    for line in listener.stdout:
        found.append(bytes.fromhex(line))
        if found[-1] == last:
            break
    return found


def refusal(child: Child) -> str:
    """Why it does not open."""
    with pytest.raises(RefusedError) as refused:
        child.open()
    return str(refused.value)


@DRIVERS
def test_frames_come_as_they_were_sent_and_orders_leave(shared, device):
    frames = [frame(b"%d" % n * (n % 200)) for n in range(2000)]
    others = [frame(b"other", GROUP, PORT + 1)] * 50
    messages = [b"%d" % n * 20 for n in range(100)]
    with Child(config(device, **ORDERS), shared) as child:
        environment = child.open()
        assert environment["interface"] == B and environment["link"] == "up"
        transmit(shared, others)
        came = []
        for start in range(0, len(frames), AT_ONCE):
            transmit(shared, frames[start : start + AT_ONCE])
            came += child.frames(len(frames[start : start + AT_ONCE]))
        assert came == frames
        expected = of_orders(messages, environment["mac"])
        with listening(shared) as listener:
            assert child.send(messages) == len(messages)
            left = heard(listener, expected[-1])
        counters = child.counters
    # The kernel's own reports of membership (IGMP) leave there when it likes.
    assert [each for each in left if each[14 + IPV4_PROTOCOL] != IGMP] == expected
    # The kernel's own packets that leave there, for its groups, come by a packet socket too.
    assert counters["filtered"] - len(others) in range(KERNELS_OWN)
    assert counters["packets"] == len(frames)
    assert counters["kernel_ring_full"] == 0 and counters["interface_down"] == 0
    assert not xdp_on(shared)
    assert "PROMISC" not in inside(shared, "ip", "link", "show", B)


@DRIVERS
def test_it_stops_and_starts_again(shared, device):
    with Child(config(device), shared) as child:
        open_files = []
        for n in range(4):
            frames = [frame(b"%d-%d" % (n, m)) for m in range(200)]
            child.open()
            transmit(shared, frames)
            assert child.frames(200) == frames
            child.ask("close")
            assert not xdp_on(shared)
            transmit(shared, [frame(b"nobody takes this")])
            open_files.append(child.ask("open_files"))
        assert len(set(open_files)) == 1
        for _ in range(5):
            child.open()
            child.ask("close")
        assert child.ask("open_files") == open_files[0]


@DRIVERS
def test_what_the_kernel_has_no_room_for_is_counted(shared, device):
    small = device if "xdp" in device else device + ",framecnt=64,blocksz=65536,framesz=2048"
    frames = [frame(b"%d" % n) for n in range(6000)]
    with Child(config(small, buffers=4096), shared) as child:
        child.open()
        transmit(shared, frames)
        came = child.frames(0)
        counters = child.counters
        child.ask("close")
        assert child.counters == counters
    lost = [counters.get(name, 0) for name in ("kernel_ring_full", "fill_ring_empty", "ring_full")]
    assert 0 < len(came) < len(frames) and came == frames[: len(came)]
    assert len(came) + max(lost) - len(frames) in range(KERNELS_OWN)


def test_packets_that_are_lent_stay_as_they_are(shared):
    frames = [frame(b"%d" % n) for n in range(64 + 500)]
    with Child(config(PACKET, buffers=64, descriptors=64), shared) as child:
        child.open()
        transmit(shared, frames[:200])
        assert child.frames(0, release=False) == frames[:64]
        child.ask("release")
        assert child.frames(136) == frames[64:200]
        transmit(shared, frames[200:])
        assert child.frames(364) == frames[200:]


@DRIVERS
def test_an_interface_that_goes_down_and_up(shared, device):
    with Child(config(device, **ORDERS), shared) as child:
        child.open()
        for n in range(2):
            transmit(shared, [frame(b"%d" % n)])
            assert child.frames(1) == [frame(b"%d" % n)]
            inside(shared, "ip", "link", "set", B, "down")
            assert child.frames(0) == [] and not child.ask("is_finished")
            come_up(shared)
        transmit(shared, [frame(b"again")])
        assert child.frames(1) == [frame(b"again")]
        counters, findings = child.counters, child.ask("findings")
    assert counters["interface_down"] >= 2 <= counters["interface_up"]
    down, up, orders = findings
    assert down == f"{B} went down: packets were lost meanwhile" and up == f"{B} came up again"
    assert orders.startswith(f"dpdk: {B} went down: orders that its driver had taken by then")


@DRIVERS
def test_orders_leave_again_when_the_interface_is_up(shared, device):
    with Child(config(device, **ORDERS), shared) as child:
        mac = child.open()["mac"]
        inside(shared, "ip", "link", "set", B, "down")
        assert child.frames(0) == []
        with listening(shared) as listener:
            come_up(shared)
            # A packet socket first says that it was down: that order leaves with the next one.
            orders = [b"%d" % n for n in range(5)]
            assert [child.send([each]) for each in orders] == [1] * 5
            expected = of_orders(orders, mac)
            assert [each for each in heard(listener, expected[-1]) if each in expected] == expected


@DRIVERS
def test_a_changed_mtu_is_told_and_larger_packets_are_counted(device):
    """Packets that are larger than a buffer, once the wire lets them through."""
    with veth() as namespace, Child(config(device), namespace) as child:
        child.open()
        inside(namespace, "ip", "link", "set", B, "mtu", "1400")
        transmit(namespace, [frame(b"small enough")])
        assert child.frames(1) == [frame(b"small enough")]
        assert child.counters["mtu_changes"] == 1
        assert child.ask("findings") == [f"{B}: its MTU changed from 1500 to 1400"]
        for end in (A, B):
            inside(namespace, "ip", "link", "set", end, "mtu", "3000")
        transmit(namespace, [frame(bytes(2900)), frame(b"behind it")])
        assert child.frames(1) == [frame(b"behind it")]
        counters = child.counters
    assert counters["mtu_changes"] == 2
    assert counters["oversize"] + counters.get("kernel_dropped", 0) == 1


@DRIVERS
def test_an_interface_that_is_deleted(device):
    with veth() as namespace, Child(config(device, **ORDERS), namespace) as child:
        child.open()
        transmit(namespace, [frame(b"before")])
        assert child.frames(1) == [frame(b"before")] and not child.ask("is_finished")
        inside(namespace, "ip", "link", "del", A)
        assert child.frames(0) == [] and child.ask("is_finished")
        child.send([b"too late"])
        for _ in range(2):  # open, and closed
            assert f"{B} was deleted: nothing comes from it any more" in child.ask("findings")
            assert child.counters["packets"] == 1
            child.ask("close")
        assert child.ask("leftovers") == []
        # Another one of the same name is as good as the first.
        inside(namespace, "ip", "link", "add", A, "type", "veth", "peer", "name", B)
        for end in (A, B):
            inside(namespace, "ip", "link", "set", end, "up")
        child.open()
        transmit(namespace, [frame(b"after")])
        assert child.frames(1) == [frame(b"after")]


def test_groups_are_joined_while_it_is_open(shared):
    def members() -> str:
        return inside(shared, "ip", "maddr", "show", "dev", B)

    with Child(config(PACKET), shared) as child:
        child.open()
        assert GROUP in members()
        child.kill()
    assert GROUP not in members()


def test_no_privilege_is_needed_without_an_interface(shared):
    with Child(config("--vdev=net_ring0", **ORDERS), shared, WITHOUT_PRIVILEGE) as child:
        mac = child.open()["mac"]
        assert child.send([b"x"]) == 1
        assert child.frames(1) == of_orders([b"x"], mac)


def test_privilege_is_asked_for_in_one_line(shared):
    with Child(config(PACKET), shared, WITHOUT_PRIVILEGE) as child:
        reason = f"taking packets from {B} needs root, or CAP_NET_RAW and CAP_NET_ADMIN"
        assert reason in str(refusal(child))


def test_orders_to_a_neighbour(shared):
    inside(shared, "ip", "addr", "add", f"{FROM}/24", "dev", B)
    inside(shared, "ip", "neigh", "replace", "10.7.0.9", "lladdr", MAC, "dev", B)
    own = config(XDP, orders_to="10.7.0.9:7000", orders_from=f"{FROM}:5001")
    with Child(own, shared) as child:
        child.open()
        assert child.send([b"x"]) == 1


# ---------------------------------------------------------------- what is left behind


def test_what_a_killed_process_left_is_named_and_removed_at_the_next_start():
    with veth() as namespace:
        with Child(config(XDP), namespace) as child:
            child.open()
            # While somebody is behind it, it is no leftover, and nobody else gets the interface.
            with Child(config(XDP), namespace) as second:
                assert f"{B} has the XDP program xsk_def_prog" in refusal(second)
                assert second.ask("leftovers") == []
            assert xdp_on(namespace)
            child.kill()
        assert xdp_on(namespace)
        with Child(config(XDP), namespace) as child:
            found = child.ask("leftovers")
            assert len(found) == 1
            assert child.ask("doctor") == [["left by dpdk", "warning", *found[0]]]
            assert found[0][0].startswith(f"{B}: XDP program xsk_def_prog (id ")
            assert found[0][1] == f"sudo ip link set dev {B} xdpdrv off"
            child.open()
            assert any("of a killed process was removed" in each for each in child.ask("findings"))
            frames = [frame(b"%d" % n) for n in range(100)]
            transmit(namespace, frames)
            assert child.frames(100) == frames
            child.ask("close")
            assert child.ask("leftovers") == []
        assert not xdp_on(namespace)


def test_the_command_that_is_named_removes_it():
    with veth() as namespace:
        with Child(config(XDP), namespace) as child:
            child.open()
            child.kill()
        with Child(config(XDP), namespace) as child:
            ((_, command),) = child.ask("leftovers")
            inside(namespace, *command.split()[1:])
            assert child.ask("leftovers") == []
        assert not xdp_on(namespace)


def test_nothing_is_left_by_a_killed_process_on_a_packet_socket(shared):
    with Child(config(PACKET), shared) as child:
        child.open()
        child.kill()
    with Child(config(PACKET), shared) as child:
        assert child.ask("leftovers") == []
        child.open()
        transmit(shared, [frame(b"x")])
        assert child.frames(1) == [frame(b"x")]


# ---------------------------------------------------------------- the engine


@DRIVERS
def test_an_engine_on_the_wire_is_where_a_replay_is(shared, device):
    packets = packets_of(session())[:ON_WIRE]
    engine = Engine()
    for each in packets:
        engine.feed_packet(each.data, ts_recv=each.ts_recv)
    with Child(config(device, groups=[]), shared) as child:
        child.open()
        taken = 0
        for start in range(0, ON_WIRE, AT_ONCE):
            transmit(shared, [each.data for each in packets[start : start + AT_ONCE]])
            *digests, number = child.ask("digests", count=AT_ONCE)
            taken += int(number)
        counters = child.counters
    assert taken == counters["packets"] == ON_WIRE
    assert digests == [f"{engine.book_digest:016x}", f"{engine.state_digest:016x}"]
