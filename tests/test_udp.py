"""The udp transport over the loopback interface, for which nobody needs to be root."""

import socket
import struct
from collections import deque

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lent import payloads, raw, take
from namespaces import inside, ip, needs_wire, until, wait_until_it_sends, wire
from tickpath.backend import TransportError
from tickpath.config import Config, Feed, Transport, Udp
from tickpath.packet import LINK_DATAGRAM, PACKET
from tickpath_backends.live import LiveTransport
from tickpath_backends.udp import UdpTransport

pytestmark = pytest.mark.skipif(
    UdpTransport.why_not() is not None, reason=UdpTransport.why_not() or ""
)
A, B = "239.255.71.1", "239.255.71.2"


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def sender() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
    return sock


@pytest.fixture
def port():
    return free_port()


@pytest.fixture
def opened():
    """Opens a transport, and closes it at the end."""
    transports = []

    def build(groups, lines_b=None, udp=None, **transport) -> UdpTransport:
        transport = {"interface": "lo", **transport}
        made = UdpTransport(
            Config(
                feed=Feed(groups=groups, lines_b=lines_b or {}),
                transport=Transport(udp=udp or Udp(), **transport),
            )
        )
        transports.append(made)
        made.open()
        return made

    yield build
    for each in transports:
        each.close()


def waiting(transport: UdpTransport) -> list[int]:
    """Bytes in each socket's queue."""
    memory = (sock.getsockopt(socket.SOL_SOCKET, 55, 36) for _, sock in transport._sockets)
    return [struct.unpack("=9I", each)[0] for each in memory]


def test_it_has_all_that_a_live_transport_has(opened, port):
    transport = opened([f"{A}:{port}"])
    assert isinstance(transport, LiveTransport)
    assert transport.is_live and not transport.is_finished and transport.position == (0, 0)
    assert all(number > 0 for number in transport.native)
    assert msgspec.json.encode(transport.environment)


def test_both_lines_are_lent_with_group_and_port(opened, port):
    transport = opened([f"{A}:{port}"], {f"{A}:{port}": f"{B}:{port}"})
    with sender() as sock:
        for number in range(3):
            sock.sendto(b"a%d" % number, (A, port))
            sock.sendto(b"b%d" % number, (B, port))
    lent = []

    def polled():
        for packet in transport.poll():
            assert packet["link"] == LINK_DATAGRAM
            assert packet["wire_length"] == packet["length"]
            address = socket.inet_ntoa(int(packet["group"]).to_bytes(4, "big"))
            lent.append((address, int(packet["line"]), raw(packet)))
        transport.release()
        return len(lent) == 6

    until(polled, "six packets")
    for group, letter in ((A, b"a"), (B, b"b")):
        expected = [(group, port, letter + b"%d" % number) for number in range(3)]
        assert [each for each in lent if each[0] == group] == expected
    counters = transport.counters
    assert (counters["packets"], counters["bytes"]) == (6, 12)
    assert not any(counters[name] for name in counters if name not in ("packets", "bytes"))
    assert transport.findings == []


def test_what_is_lent_stays_until_release_and_no_longer(opened, port):
    transport = opened([f"127.0.0.1:{port}"], buffers=64)
    with sender() as sock:
        for number in range(100):
            sock.sendto(b"%03d" % number, ("127.0.0.1", port))
    first = transport.poll(10).copy()
    rest = [transport.poll(10).copy() for _ in range(7)]
    lent = np.concatenate([first, *rest])
    assert len(lent) == 64 and len(transport.poll()) == 0, "no room is left"
    assert payloads(lent) == [b"%03d" % number for number in range(64)]
    assert len(set(lent["address"].tolist())) == 64
    transport.release()
    again = transport.poll(10)
    assert payloads(again) == [b"%03d" % number for number in range(64, 64 + len(again))]
    assert again["address"][0] == lent["address"][0], "the same memory, still in the cache"
    transport.release()
    assert len(take(transport, 36 - len(again))) == 36 - len(again)


@settings(max_examples=30)
@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("send"), st.integers(0, 40), st.binary(max_size=1500)),
            st.tuples(st.just("poll"), st.integers(1, 64), st.just(b"")),
            st.tuples(st.just("release"), st.just(0), st.just(b"")),
        ),
        max_size=40,
    )
)
def test_any_order_of_calls_gives_every_datagram_once_and_in_order(steps):
    """Against a queue: what was sent comes, never more than there is room for is lent at once."""
    port = free_port()
    config = Config(
        feed=Feed(groups=[f"127.0.0.1:{port}"]), transport=Transport(interface="lo", buffers=64)
    )
    transport = UdpTransport(config)
    transport.open()
    queued: deque[bytes] = deque()
    held: list[tuple[np.void, bytes]] = []
    try:
        with sender() as sock:
            for step, number, payload in [*steps, ("release", 0, b"")]:
                if step == "send":
                    for count in range(number):
                        sock.sendto(b"%d" % count + payload, ("127.0.0.1", port))
                        queued.append(b"%d" % count + payload)
                elif step == "poll":
                    packets = transport.poll(number).copy()
                    assert len(packets) <= min(number, 64 - len(held))
                    held += [(packet, queued.popleft()) for packet in packets]
                else:
                    assert all(raw(packet) == expected for packet, expected in held)
                    transport.release()
                    held.clear()
        assert take(transport, len(queued)) == list(queued)
    finally:
        transport.close()


def test_kernel_drops_are_what_was_sent_and_not_received(opened, port):
    transport = opened([f"127.0.0.1:{port}"], udp=Udp(receive_buffer=4096))
    with sender() as sock:
        for number in range(200):
            sock.sendto(b"%03d" % number + bytes(500), ("127.0.0.1", port))
    received = []
    while len(packets := transport.poll()):
        received += payloads(packets)
        transport.release()
    counters = transport.counters
    assert 0 < len(received) < 200
    assert counters["kernel_drops"] == 200 - len(received)
    transport.close()
    assert transport.counters == counters, "they outlive the transport"


def test_what_is_larger_than_a_buffer_is_counted_and_not_lent(opened, port):
    transport = opened([f"127.0.0.1:{port}"], interface=None)
    with sender() as sock:
        for payload in (b"one", bytes(2049), b"two", bytes(60_000), bytes(2048)):
            sock.sendto(payload, ("127.0.0.1", port))
    assert take(transport, 3) == [b"one", b"two", bytes(2048)]
    assert (transport.counters["packets"], transport.counters["oversize"]) == (5, 2)


def test_what_is_not_lent_takes_no_buffer(opened, port):
    """The loop gives nothing back where nothing was lent."""
    transport = opened([f"127.0.0.1:{port}"], interface=None, buffers=64)
    with sender() as sock:
        for _ in range(100):
            sock.sendto(bytes(2049), ("127.0.0.1", port))
            assert len(transport.poll()) == 0
        until(lambda: not len(transport.poll()) and transport.counters["oversize"] == 100, "100")
        sock.sendto(b"one", ("127.0.0.1", port))
        assert take(transport, 1) == [b"one"]


@pytest.mark.parametrize("others", [0, 6])
def test_no_group_starves_another(opened, port, others):
    idle = [f"{A}:{free_port()}" for _ in range(others)]
    transport = opened([f"{A}:{port}", f"{B}:{port}", *idle])
    with sender() as sock:
        for _ in range(100):
            sock.sendto(b"a", (A, port))
        sock.sendto(b"b", (B, port))
    until(lambda: all(waiting(transport)[:2]), "both queues")
    first = payloads(transport.poll(8)) + payloads(transport.poll(8))
    assert b"b" in first and b"a" in first
    transport.release()
    assert take(transport, 101 - len(first)).count(b"b") == 0


@pytest.mark.parametrize("busy_poll_us", [0, 10])
@pytest.mark.parametrize("number", [1, 3, 8])
def test_more_groups_than_a_poll_has_room_for(opened, number, busy_poll_us):
    """With busy polling each group is looked at, without it the kernel names them."""
    ports = [free_port() for _ in range(8)]
    udp = Udp(busy_poll_us=busy_poll_us)
    transport = opened([f"{A}:{each}" for each in ports], udp=udp)
    with sender() as sock:
        for each in ports:
            sock.sendto(b"%d" % each, (A, each))
    until(lambda: all(waiting(transport)), "all queues")
    found = take(transport, 8, most=number)
    assert sorted(found) == sorted(b"%d" % each for each in ports)


@pytest.mark.parametrize("timestamps", ["none", "software", "hardware"])
def test_receive_times_lie_between_sending_and_polling(opened, port, timestamps):
    import time

    transport = opened([f"{A}:{port}"], udp=Udp(timestamps=timestamps))
    before = time.time_ns()
    with sender() as sock:
        for _ in range(3):
            sock.sendto(b"x", (A, port))
    times: list[int] = []

    def polled():
        times.extend(transport.poll()["ts_recv"].tolist())
        transport.release()
        return len(times) == 3

    until(polled, "three packets")
    assert before <= times[0] <= times[1] <= times[2] <= time.time_ns()
    hardware = [each for each in transport.findings if "no hardware timestamps" in each]
    assert len(hardware) == (timestamps == "hardware"), "the loopback interface has none"
    expected = "software" if timestamps == "hardware" else timestamps
    assert transport.environment["timestamps"] == expected
    assert transport.counters["timestamps_missing"] == 0


def test_it_starts_and_stops_three_times(opened, port):
    transport = opened([f"{A}:{port}"])
    transport.close()
    for number in range(3):
        transport.open()
        with sender() as sock:
            sock.sendto(b"%d" % number, (A, port))
        assert take(transport, 1) == [b"%d" % number]
        assert transport.counters["packets"] == 1
        transport.close()
        assert len(transport.poll()) == 0 and transport.counters["packets"] == 1
        transport.release()
        transport.close()
        with pytest.raises(TransportError, match="not open"):
            _ = transport.native
    assert open_sockets_at(port) == 0


def open_sockets_at(port: int) -> int:
    with open("/proc/net/udp") as table:
        return sum(line.split()[1].endswith(f":{port:04X}") for line in list(table)[1:])


# ---------------------------------------------------------------- orders


def run_of(*messages: bytes) -> bytes:
    return b"".join(len(each).to_bytes(2, "big") + each for each in messages)


def test_each_order_leaves_as_a_datagram(opened, port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as venue:
        venue.bind(("127.0.0.1", 0))
        venue.settimeout(10)
        to = venue.getsockname()[1]
        transport = opened([f"{A}:{port}"], orders_to=f"127.0.0.1:{to}", orders_from="127.0.0.1:0")
        orders = [b"enter", b"", bytes(range(256)), b"cancel"]
        assert transport.send(memoryview(run_of(*orders))) == 4
        assert [venue.recv(2000) for _ in orders] == orders
        assert transport.send(memoryview(run_of(b"last") + b"\0\5cut")) == 1
        assert venue.recv(2000) == b"last"
        assert transport.send(memoryview(b"")) == 0
        counted = {name: transport.counters[f"orders_{name}"] for name in ("sent", "malformed")}
        assert counted == {"sent": 5, "malformed": 1}


def test_orders_that_nobody_takes_are_counted(opened, port):
    to = free_port()
    transport = opened([f"{A}:{port}"], orders_to=f"127.0.0.1:{to}")
    assert transport.send(memoryview(run_of(b"one"))) == 1
    assert transport.send(memoryview(run_of(b"two"))) == 1
    assert transport.counters["orders_refused"] == 1, "of the first one; the second did leave"
    assert transport.send(memoryview(run_of(bytes(65_520)))) == 0
    counters = transport.counters
    assert (counters["orders_sent"], counters["orders_dropped"]) == (2, 1)


def test_orders_without_a_way(opened, port):
    transport = opened([f"{A}:{port}"])
    with pytest.raises(TransportError, match="orders_to is not set"):
        transport.send(memoryview(run_of(b"x")))
    with pytest.raises(TransportError, match="not open"):
        UdpTransport(Config()).send(memoryview(b""))


# ---------------------------------------------------------------- what cannot be had


@pytest.mark.parametrize(
    ("feed", "transport", "reason"),
    [
        ({}, {}, "no groups are configured: set feed.groups"),
        ({"groups": [f"{A}:0"]}, {}, "is not an address and a port"),
        ({"groups": [f"0.0.0.0:{free_port()}"]}, {}, "is not an address and a port"),
        ({"groups": ["192.0.2.1:4000"]}, {}, "neither a multicast group nor an address"),
        ({"groups": [f"{A}:4000"]}, {"interface": "nothere"}, "no interface 'nothere'; here are:"),
        ({"groups": [f"{A}:4000"]}, {"interface": "n" * 40}, "no interface 'nnn"),
        ({"groups": [f"{A}:4000"]}, {"cpu": 4000}, "transport.cpu: core 4000 is not one"),
        ({"groups": [f"{A}:4000"]}, {"orders_to": "255.255.255.255:1"}, "255.255.255.255:1 cannot"),
        (
            {"groups": [f"{A}:4000"]},
            {"orders_to": "127.0.0.1:9", "orders_from": "192.0.2.1:9"},
            "transport.orders_from: 192.0.2.1:9 is neither",
        ),
    ],
)
def test_what_cannot_be_had_is_one_line(feed, transport, reason):
    made = UdpTransport(Config(feed=Feed(**feed), transport=Transport(**transport)))
    for _ in range(2):
        with pytest.raises(TransportError, match=reason) as caught:
            made.open()
        assert "\n" not in str(caught.value)
        assert not made.is_open and len(made.poll()) == 0
        assert msgspec.json.encode(made.environment) and made.counters == {}


def test_a_port_that_is_taken_is_one_line(port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", port))
        made = UdpTransport(Config(feed=Feed(groups=[f"127.0.0.1:{port}"])))
        with pytest.raises(TransportError, match="is taken by another program"):
            made.open()


def test_opening_twice_is_refused(opened, port):
    transport = opened([f"{A}:{port}"])
    with pytest.raises(TransportError, match="already open"):
        transport.open()
    with sender() as sock:
        sock.sendto(b"still", (A, port))
    assert take(transport, 1) == [b"still"]


def test_a_smaller_receive_buffer_than_asked_for_is_a_finding(opened, port, monkeypatch):
    """As for somebody who is not root: SO_RCVBUFFORCE is refused."""
    monkeypatch.setattr("tickpath_backends.udp._SO_RCVBUFFORCE", 9999)
    transport = opened([f"{A}:{port}"], udp=Udp(receive_buffer=1 << 30))
    assert len(transport.findings) == 1
    assert "instead of 1073741824; run: sudo sysctl net.core.rmem_max" in transport.findings[0]


def test_pinning_is_undone(opened, port):
    import os

    before = os.sched_getaffinity(0)
    transport = opened([f"{A}:{port}"], cpu=min(before))
    assert os.sched_getaffinity(0) == {min(before)}
    transport.close()
    assert os.sched_getaffinity(0) == before


def test_records_of_c_are_those_of_python(opened, port):
    transport = opened([f"{A}:{port}"])
    ffi = transport._module.ffi
    assert ffi.sizeof("struct packet") == PACKET.itemsize
    for name, field in ffi.typeof("struct packet").fields:
        dtype, offset = PACKET.fields[name][:2]
        assert (field.offset, ffi.sizeof(field.type)) == (offset, dtype.itemsize)


# ---------------------------------------------------------------- interfaces of one's own


@needs_wire
def test_only_the_configured_interface_is_listened_on(opened, port):
    """A group on a veth, while the same one is sent to over the loopback interface."""
    with wire() as ends:
        with inside(ends.near):
            transport = opened([f"{A}:{port}"], interface=ends.near_interface)
            with sender() as sock:
                sock.sendto(b"loopback", (A, port))
        with ends.sender() as sock:
            sock.sendto(b"wire", (A, port))
        assert take(transport, 1) == [b"wire"]


@needs_wire
def test_an_interface_that_goes_down_comes_back_and_is_deleted(opened, port):
    with wire() as ends:
        with inside(ends.near):
            transport = opened([f"{A}:{port}"], interface=ends.near_interface)
        ip("-n", ends.near, "link", "set", "near0", "down")
        ip("-n", ends.near, "link", "set", "near0", "up")
        ip("-n", ends.near, "route", "replace", "224.0.0.0/4", "dev", "near0")
        wait_until_it_sends(ends.far, "far0")
        with ends.sender() as sock:
            sock.sendto(b"again", (A, port))
        assert take(transport, 1) == [b"again"]
        counters = transport.counters
        assert (counters["interface_down"], counters["interface_up"]) == (1, 1)
        assert not transport.is_finished
        ip("-n", ends.far, "link", "del", "far0")
        until(lambda: transport.is_finished, "the notification")
        assert len(transport.poll()) == 0
        assert transport.findings[-1] == ("near0 was deleted: nothing comes from it any more")


@needs_wire
def test_a_group_that_no_route_leads_to(port):
    with wire() as ends:
        ip("-n", ends.near, "route", "del", "224.0.0.0/4")
        made = UdpTransport(Config(feed=Feed(groups=[f"{A}:{port}"])))
        with inside(ends.near), pytest.raises(TransportError, match="cannot be joined: no route"):
            made.open()
