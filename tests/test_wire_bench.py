"""Wire to wire: plans, which packet triggered what, runs with and without loss, the command.

Timing decides nothing here: what is checked is that every order is accounted for, that loss is
found and named, and that wrong answers are called wrong.  Runs need root and the native parts.
"""

import ctypes
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from dataclasses import replace

import msgspec
import numpy as np
import pytest

import namespaces
from tickpath import Engine, command_bench
from tickpath import backend as backends
from tickpath.bench import wire, wire_answer, wire_orders
from tickpath.bench.error import BenchError
from tickpath.bench.held import hold
from tickpath.bench.own import strategy_config
from tickpath.bench.plan import plan_of, session_of
from tickpath.bench.wire_config import DEVICE, ORDERS_TO, TRANSPORTS, config_of, transports_of
from tickpath.bench.wire_orders import OrderSender
from tickpath.bench.wire_plan import BURST_PACKETS, FACTORS, RATE, Scenario, even, scenarios
from tickpath.bench.wire_table import GIVEN, print_wire
from tickpath.capture import create_capture
from tickpath.clock import calibrate
from tickpath.config import Afxdp, Config, Dpdk, Feed, StrategyConfig, Transport
from tickpath.interrupt import Interrupt
from tickpath.report import write_wire_report
from tickpath.session.soup_framing import PacketReader
from tickpath.session.tcp_stream import Stream
from tickpath_backends.exchange import ExchangeWire

SO_ATTACH_FILTER = 26  # Linux
SESSION = replace(session_of(6_000), symbols=8, heartbeat_s=0)
CONFIG = strategy_config(150)


def why_not() -> str | None:
    try:
        backends.find("udp")
        backends.player("exchange")
    except backends.BackendError as error:
        return str(error)
    return None if len(os.sched_getaffinity(0)) > 1 else "there is one core only"


REASON = why_not()
needs_wire = pytest.mark.skipif(REASON is not None, reason=f"no wire to measure: {REASON}")


@pytest.fixture(scope="module")
def held():
    return hold(SESSION)


@pytest.fixture(scope="module")
def answer(held):
    return wire_answer.answer_of(CONFIG, held.packets)


# ---------------------------------------------------------------- plans


@pytest.mark.parametrize("scenario", scenarios(), ids=lambda each: each.name)
def test_a_plan_is_the_same_every_time_never_falls_and_keeps_its_rate(scenario):
    due = scenario.due_ns(20_000)
    assert np.array_equal(due, scenario.due_ns(20_000))
    assert (np.diff(due.astype(np.int64)) >= 0).all()
    assert len(due) / (int(due[-1]) / 1e9) == pytest.approx(scenario.rate, rel=0.05)


def test_rates_and_bursts():
    assert [each.rate for each in scenarios()[:-1]] == [RATE * factor for factor in FACTORS]
    due = Scenario("bursts", 1.0, is_burst=True).due_ns(3 * BURST_PACKETS)
    assert np.unique(due, return_counts=True)[1].tolist() == [BURST_PACKETS] * 3
    assert np.diff(even(1000.0, 5).astype(np.int64)).tolist() == [1_000_000] * 4


# ---------------------------------------------------------------- answers


def test_triggers_are_those_of_packets_taken_one_by_one(held, answer):
    engine = Engine(CONFIG)
    expected = []
    for n in range(len(held.packets)):
        engine.process(held.packets[n : n + 1])
        expected += [(order, n) for order in engine.take_orders()]
    assert len(expected) > 50
    assert list(zip(answer.orders, answer.trigger.tolist(), strict=True)) == expected
    assert len(answer.places) == len(answer.orders)
    assert (answer.book_digest, answer.state_digest) == (engine.book_digest, engine.state_digest)


def test_lost_packets_are_found_by_their_messages_also_at_the_end(held):
    lost = np.array([500, 501, 777, 1500, len(held.packets) - 2])
    kept = np.delete(np.arange(len(held.packets)), [*lost, len(held.packets) - 1])
    engine = Engine(CONFIG)
    engine.process(held.packets[kept])
    found = wire_answer.lost_packets(engine, held.packets)
    # The last packet ends the session and has no message that could be missed.
    assert found.tolist() == lost.tolist()
    again = wire_answer.answer_of(CONFIG, held.packets[:-1], found)
    assert (again.book_digest, again.state_digest) == (engine.book_digest, engine.state_digest)
    assert again.orders == engine.take_orders()


def test_nothing_that_came_has_an_answer_too(held):
    nothing = wire_answer.answer_of(CONFIG, held.packets, np.arange(len(held.packets)))
    assert nothing.orders == [] and nothing.book_digest == 0 and nothing.spans == []


# ---------------------------------------------------------------- runs


MOST_RUNS = 8


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """Orders are waited for longer: this thread has no core of its own, as it has in `measure`."""
    monkeypatch.setattr(ExchangeWire.prepare, "__defaults__", (1_000_000_000,))


def bench_of(held, answer, tmp_path, transport: Transport) -> wire.Bench:
    capture = tmp_path / "session.pcap"
    with create_capture(capture) as writer:
        writer.write(held.packets)
    config = msgspec.structs.replace(CONFIG, transport=transport)
    cores = sorted(os.sched_getaffinity(0))[:2]
    silent = wire.quiet
    return wire.Bench(
        held, capture, config, answer, calibrate(), (cores[0], cores[1]), 0, Interrupt(), silent
    )


def opened(bench: wire.Bench, egress: str = "udp", name: str = "udp", interfaces=()):
    found = backends.find(name)
    group = wire.group_text(wire.GROUP, wire.PORT)
    return backends.player("exchange")(
        found.transport, bench.capture, bench.config, [group], bench.cores[0], egress, interfaces
    )


@needs_wire
@pytest.mark.parametrize("name", ["udp", "afxdp", "dpdk"])
@pytest.mark.parametrize("egress", TRANSPORTS)
def test_every_order_arrives_once_and_is_matched_with_its_trigger(
    held, answer, tmp_path, egress, name
):
    try:
        backends.find(name)
    except backends.BackendError as error:
        pytest.skip(str(error))
    bench = bench_of(held, answer, tmp_path, TRANSPORTS[egress])
    with opened(bench, egress, name) as wired:
        whole = 0
        for _ in range(MOST_RUNS):  # a wire serves many runs
            scenario = Scenario("some", 20_000.0)
            run = wire._play(bench, wired, scenario.due_ns(len(held.packets)))
            assert run is not None
            row = wire._row(bench, name, scenario, run, egress)
            assert row["findings"] == [] and row["verified"]
            if row["lost"]:  # this thread had no core for longer than a queue is long
                continue
            whole += 1
            assert (row["backend"], row["egress"]) == (name, egress)
            orders = len(answer.orders)
            assert row["orders"] == {"expected": orders, "arrived": orders, "matched": orders}
            assert row["latency_ns"]["count"] == row["response_ns"]["count"] == orders
            assert 0 < row["latency_ns"]["min"] <= row["response_ns"]["max"]
            if egress == "udp":
                assert row["transport"]["orders_sent"] == orders and row["session"] is None
            else:
                assert "orders_sent" not in row["transport"]
                assert row["session"]["orders"] == orders
                assert len(np.unique(answer.trigger)) <= row["session"]["writes"] <= orders
            assert run.seen.orders == answer.orders
            if whole == 2:
                break
    assert whole == 2, row["transport"]


@needs_wire
@pytest.mark.parametrize("name", ["udp", "afxdp", "dpdk"])
@pytest.mark.parametrize("egress", TRANSPORTS)
def test_interfaces_that_are_given_are_a_wire_and_stay_as_they_were(
    held, answer, tmp_path, egress, name
):
    try:
        backends.find(name)
    except backends.BackendError as error:
        pytest.skip(str(error))

    def as_it_is() -> list[str]:
        return [
            namespaces.ip("-n", each, "-4", *command)
            for each in (ends.far, ends.near)
            for command in (("addr",), ("route",), ("maddr",))
        ]

    bench = bench_of(held, answer, tmp_path, TRANSPORTS[egress])
    scenario = Scenario("some", 20_000.0)
    with namespaces.wire() as ends:
        before = as_it_is()
        names = f"{ends.far}/{ends.far_interface}", f"{ends.near}/{ends.near_interface}"
        with opened(bench, egress, name, names) as wired:
            assert wired.facts == {
                "kind": GIVEN,
                "sender": names[0],
                "receiver": names[1],
            }
            run = wire._play(bench, wired, scenario.due_ns(len(held.packets)))
            assert run is not None
            row = wire._row(bench, name, scenario, run, egress)
        assert as_it_is() == before
    # What a busy machine loses is left out of what is expected.
    assert row["findings"] == [] and row["verified"], row["transport"]
    assert row["lost"] < len(held.packets) // 2, row["transport"]
    assert row["orders"]["matched"] == row["orders"]["expected"] > 20
    assert row["transport"].get("orders_refused", 0) == 0


LAST_BYTE = 14 + 20 + 8 + 10 + 7
"""Of MoldUDP64's sequence number, in a frame: Ethernet, IPv4, UDP, session."""


def drop_one_in_32(wired) -> None:
    """Have the kernel drop packets by their number and count them, as it does without room.

    Classic BPF (linux/filter.h), which sees a datagram from its UDP header on.
    """
    steps = [
        (0x30, 0, 0, LAST_BYTE - 34),  # load a byte
        (0x45, 0, 1, 31),  # if none of these bits is set go on, else skip one
        (0x06, 0, 0, 0xFFFF),  # take all of it
        (0x06, 0, 0, 0),  # take nothing
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in steps))
    program = struct.pack("@HP", len(steps), ctypes.addressof(code))
    for _, sock in wired.transport._sockets:
        sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)


@needs_wire
@pytest.mark.parametrize("egress", TRANSPORTS)
def test_a_run_with_loss_is_checked_against_what_arrived(held, answer, tmp_path, egress):
    bench = bench_of(held, answer, tmp_path, TRANSPORTS[egress])
    last_bytes = [ctypes.string_at(int(at) + LAST_BYTE, 1)[0] for at in held.packets["address"]]
    dropped = sum(last % 32 == 0 for last in last_bytes)
    with opened(bench, egress) as wired:
        scenario = Scenario("some", 20_000.0)
        drop_one_in_32(wired)
        run = wire._play(bench, wired, scenario.due_ns(len(held.packets)))
        assert run is not None
        row = wire._row(bench, "udp", scenario, run, egress)
    # A busy machine may lose more.
    assert row["lost"] == row["transport"]["kernel_drops"] >= dropped > 50
    assert row["findings"] == [] and row["verified"]


@needs_wire
def test_wrong_answers_are_called_wrong(held, answer, tmp_path):
    bench = bench_of(held, answer, tmp_path, Transport(orders_to=ORDERS_TO))
    with opened(bench) as wired:
        run = wire._play(bench, wired, even(50_000.0, len(held.packets)))
    assert run is not None
    right = run.seen
    cases = {
        "1 of {n:,} orders did not arrive": (right.orders[1:], right.arrived_ns[1:]),
        "1 orders arrived more than once": (
            [*right.orders, right.orders[0]],
            np.append(right.arrived_ns, right.arrived_ns[0]),
        ),
        "1 orders arrived that no packet was the trigger of": (
            [*right.orders, b"never sent"],
            np.append(right.arrived_ns, right.arrived_ns[0]),
        ),
    }
    for text, (orders, arrived) in cases.items():
        run.seen = right._replace(orders=orders, arrived_ns=arrived)
        row = wire._row(bench, "udp", Scenario("some", 1.0), run)
        assert text.format(n=len(answer.orders)) in row["findings"] and not row["verified"]
    run.seen = right
    bench.answer = replace(answer, book_digest=answer.book_digest ^ 1)
    row = wire._row(bench, "udp", Scenario("some", 1.0), run)
    assert row["findings"] == ["the books are not those of the same packets replayed from memory"]


@needs_wire
def test_the_exchange_takes_a_stream_that_is_cut_anywhere(held, answer, tmp_path):
    bench = bench_of(held, answer, tmp_path, TRANSPORTS["tcp"])
    pieces = [b"\0", b"\4Uab", b"c\0\1R\0\3Ud", b"e\0\0\0\2U", b"f\0\3U"]
    with opened(bench, "tcp") as wired:
        assert wired.orders is not None
        assert wired.orders.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)

        def play(parts: list[bytes]):
            wired.prepare(np.zeros(1, np.uint64))
            wired.start()
            for part in parts:
                assert wired.orders.sock.send(part) == len(part)
                time.sleep(0.002)
            while not wired.is_finished:
                time.sleep(0.001)
            return wired.seen()

        first = play(pieces)
        # What is no order's packet stays as it is, so that nothing can be taken for its trigger.
        assert first.orders == [b"abc", b"R", b"de", b"", b"f"]
        assert (np.diff(first.arrived_ns.astype(np.int64)) >= 0).all()
        # A packet whose start came in one run arrives in the next.
        assert play([b"gh\0\2Ui"]).orders == [b"gh", b"i"]
        wired.prepare(np.zeros(1, np.uint64))
        wired.orders.sock.close()
        with pytest.raises(backends.BackendError, match="cannot go on: Connection reset by peer"):
            wired.start()
            wired.seen()


def test_only_one_way_for_orders(tmp_path):
    for egress, other in (("udp", "tcp"), ("tcp", "udp")):
        config = msgspec.structs.replace(CONFIG, transport=TRANSPORTS[other])
        exchange = backends.available("players")["exchange"].load()
        with pytest.raises(ValueError, match="orders_to"):
            exchange(object, tmp_path / "any", config, [], 0, egress)


def test_where_no_tcp_passes_the_result_says_so(held, answer, tmp_path, monkeypatch):
    bench = bench_of(held, answer, tmp_path, TRANSPORTS["udp"])

    class Refusing:
        def __enter__(self):
            raise backends.BackendError("no TCP connection passes by the transport")

        def __exit__(self, *_):
            raise AssertionError("it was never entered")

    monkeypatch.setattr(wire, "_exchange", lambda bench, each, egress: Refusing())
    monkeypatch.setattr(wire, "_by_datagrams", lambda bench, each, plans: iter(()))
    found = wire._measured(bench, backends.Backend("greedy", object, object), scenarios())
    assert found["rows"] == []
    assert found["missing"] == ["greedy, orders by tcp: no TCP connection passes by the transport"]


def test_another_device_beside_tcp_is_said():
    text = "dpdk: packet0 where orders leave by tcp, as xdp0 takes TCP from the kernel"
    assert wire._remarks("dpdk", {"device": "xdp0"}, {"device": "packet0"}) == [text]
    for facts in ({}, {"device": "xdp0"}):
        assert wire._remarks("any", facts, facts) == wire._remarks("any", facts, {}) == []


@needs_wire
def test_net_af_xdp_takes_tcp_from_the_kernel(held, answer, tmp_path):
    try:
        backends.find("dpdk")
    except backends.BackendError as error:
        pytest.skip(str(error))
    transport = msgspec.structs.replace(TRANSPORTS["udp"], orders_to=None)
    bench = bench_of(held, answer, tmp_path, transport)
    with (
        pytest.raises(backends.BackendError, match=r"^no TCP connection passes .*: timed out$"),
        opened(bench, "tcp", "dpdk"),
    ):
        pass


# ---------------------------------------------------------------- the sender


@pytest.fixture
def connection():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    with near, far:
        yield Stream(near), far


def run_of(*orders: bytes) -> memoryview:
    return memoryview(b"".join(len(each).to_bytes(2, "big") + each for each in orders))


def test_orders_are_unsequenced_data_packets_written_at_once(connection, answer):
    stream, far = connection
    send = OrderSender(stream)
    send(run_of(b"abc", b"d"))
    assert far.recv(100) == b"\0\4Uabc\0\2Ud"
    reader = PacketReader()
    for order in answer.orders[:20]:
        send(run_of(order))
        reader.feed(far.recv(1000))
        packet = reader.next_packet()
        assert packet is not None and packet[0].name == "unsequenced_data"
        assert packet[1] == (len(order) + 1).to_bytes(2, "big") + b"U" + order
        assert reader.next_packet() is None
    assert send.counters == {"orders": 22, "writes": 21, "waited": 0}


def test_what_has_no_room_waits_in_order_and_has_a_bound(connection, monkeypatch):
    stream, far = connection
    send = OrderSender(stream)
    orders = [n.to_bytes(4, "big") * 8000 for n in range(400)]
    for order in orders:
        send(run_of(order))
    assert send.is_waiting and send.counters["waited"] > 0
    monkeypatch.setattr(wire_orders, "MOST_WAITING", 1000)
    with pytest.raises(BenchError, match="does not read"):
        send.flush()
    monkeypatch.undo()
    far.settimeout(10)
    reader, found = PacketReader(), []
    while len(found) < len(orders):
        reader.feed(far.recv(1 << 20))
        while (packet := reader.next_packet()) is not None:
            found.append(packet[1][3:])
        if send.is_waiting:
            send.flush()
    assert found == orders and not send.is_waiting


def test_a_connection_that_is_gone_is_an_error(connection):
    stream, far = connection
    send = OrderSender(stream)
    far.close()
    with pytest.raises(BenchError, match="connection is gone"):
        for _ in range(100):
            send(run_of(b"abc"))
            time.sleep(0.01)


@needs_wire
def test_the_whole_of_it(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(wire, "SEARCH_PACKETS", 500)
    monkeypatch.setattr(wire, "SEARCH_STEPS", 1)
    monkeypatch.setattr(wire, "SEARCH_TO", 200_000.0)
    affinity, priority = os.sched_getaffinity(0), os.getpriority(os.PRIO_PROCESS, 0)
    plan = replace(plan_of(4_000, True), ratio_percent=150)
    plans = [Scenario("1x", 20_000.0), Scenario("bursts", 1.0, is_burst=True)]
    result, histograms = wire.measure(["udp"], plan, plans=plans)
    assert os.sched_getaffinity(0) == affinity
    assert os.getpriority(os.PRIO_PROCESS, 0) == priority
    assert result["schema"] == "tickpath.wire/1" and result["verified"]
    assert json.loads(json.dumps(result))["session"]["orders"] > 20
    (found,) = result["backends"]
    names = [f"udp-{row['egress']}-{row['scenario']}" for row in found["rows"]]
    assert names == ["udp-udp-1x", "udp-udp-bursts", "udp-tcp-1x", "udp-tcp-bursts"]
    assert set(histograms) == set(names)
    assert result["missing"] == found["missing"] == found["remarks"] == []
    assert found["receive_ns_per_packet"] > 0 and found["search"]["tried"]
    assert found["environment"]["transport"] == found["environment_tcp"]["transport"] == "udp"
    assert set(result["jitter"]) == {"before", "after"}
    print_wire(result)
    assert "udp" in capsys.readouterr().out
    page = write_wire_report(tmp_path / "wire.html", result).read_text()
    for text in (
        "udp, udp",
        "udp, tcp",
        "Stages, udp, tcp,",
        "Latency at 1x",
        "Response at bursts",
        "Where loss begins",
        "own jitter",
    ):
        assert text in page


def test_lost_packets_are_a_finding_of_the_report(tmp_path):
    rows = [
        {"backend": "udp", "egress": egress, "scenario": scenario, "lost": lost, "packets": 1000}
        for egress, scenario, lost in (("udp", "1x", 0), ("udp", "8x", 12), ("udp", "10x", 300))
    ]

    def page(rows) -> str:
        result = {"schema": wire.SCHEMA, "backends": [{"backend": "udp", "rows": rows}]}
        return write_wire_report(tmp_path / "wire.html", result).read_text()

    said = page(rows)
    assert "1 finding" in said and "No findings" not in said
    assert "udp, udp: packets were lost: 12 of 1,000 at 8x; 300 of 1,000 at 10x." in said
    said = page(rows[:1])
    assert "No findings." in said and "No packet was lost" in said
    assert "finding" not in page([]).lower().partition("<main")[2].partition("</main")[0]


# ---------------------------------------------------------------- a user's configuration


def test_what_the_bench_decides_of_a_configuration():
    plain = config_of(Config(), 150)
    assert plain == CONFIG
    assert transports_of(plain.transport) == TRANSPORTS
    own = Config(
        strategy=StrategyConfig(name="mine.py:mine", parameters=[7]),
        feed=Feed(groups=["239.9.9.9:1"], lines_b={"239.9.9.9:1": "239.9.9.8:1"}, reorder_us=5),
        transport=Transport(
            interface="eth9",
            burst=16,
            orders_to="192.0.2.1:7000",
            orders_mac="02:00:00:00:00:09",
            afxdp=Afxdp(mode="generic"),
            dpdk=Dpdk(eal=["--no-huge"], descriptors=512),
        ),
    )
    found = config_of(own, 150)
    assert found.strategy == own.strategy and found.feed == Feed(reorder_us=5)
    assert found.transport == own.transport
    ways = transports_of(found.transport)
    assert ways["udp"].orders_to == "192.0.2.1:7000" and ways["tcp"].orders_to is None
    for each in ways.values():
        assert (each.burst, each.afxdp, each.orders_mac) == (16, own.transport.afxdp, None)
        assert each.dpdk.descriptors == 512 and each.dpdk.eal[0] == "--no-huge"
    assert ways["udp"].dpdk.eal[1] == DEVICE
    mine = msgspec.structs.replace(own.transport, dpdk=Dpdk(eal=["--vdev=net_ring0"]))
    assert {each.dpdk.eal[0] for each in transports_of(mine).values()} == {"--vdev=net_ring0"}


def test_packets_can_come_from_another_address(held):
    scapy = pytest.importorskip("scapy.all")
    process = pytest.importorskip("tickpath_backends.exchange_process")
    chosen = held.packets[:300]
    parts = [ctypes.string_at(int(each["address"]), int(each["length"])) for each in chosen]
    raw = np.frombuffer(bytearray(b"".join(parts)), np.uint8)
    packets = chosen.copy()
    packets["address"] = raw.ctypes.data + np.cumsum(packets["length"]) - packets["length"]
    process.send_from(raw, packets, "10.98.0.1")
    for each, before in zip(packets, parts, strict=True):
        frame = ctypes.string_at(int(each["address"]), int(each["length"]))
        expected = scapy.Ether(before)
        expected[scapy.IP].src = "10.98.0.1"
        expected[scapy.UDP].chksum = 0
        del expected[scapy.IP].chksum
        assert frame == bytes(expected)


# ---------------------------------------------------------------- the command


@pytest.mark.parametrize(
    ("backend", "options", "reason"),
    [
        ("udp", {"interfaces": ("eth1",)}, "--interface: twice, the sender's and then"),
        ("udp", {"interfaces": ("a", "b", "c")}, "--interface: twice"),
        ("udp", {"hgrm": "nowhere/at/all.hgrm"}, "there is no directory nowhere/at"),
        ("software", {"hgrm": "out.hgrm"}, "--hgrm: for live backends only; add --backend udp"),
        (None, {"config": "a.toml", "interfaces": ("a", "b")}, "--interface, --config: for live"),
    ],
)
def test_options_that_say_nothing_are_refused_at_once(monkeypatch, backend, options, reason):
    monkeypatch.setattr(command_bench, "is_wire", lambda names: names == ("udp",))
    names = (backend,) if backend else ()
    with pytest.raises(BenchError, match=reason) as refused:
        command_bench.run(names, messages=None, quick=True, as_json=True, report=None, **options)
    assert "\n" not in str(refused.value)


@needs_wire
def test_a_core_that_is_not_ours_is_refused():
    with pytest.raises(BenchError, match=r"transport\.cpu: 4095 is not a core of this process"):
        wire.measure(["udp"], plan_of(4_000, True), config=Config(transport=Transport(cpu=4095)))


@needs_wire
def test_interfaces_that_are_no_wire_are_refused_before_anything_is_generated():
    def say(text: str) -> None:
        raise AssertionError(text)

    names = ("nowhere/eth1", "eth2")
    with pytest.raises(backends.BackendError, match="--interface nowhere/eth1"):
        wire.measure(["udp"], plan_of(4_000, True), say=say, interfaces=names)


@needs_wire
def test_the_command_over_given_interfaces_with_a_configuration(monkeypatch, tmp_path, capsys):
    some = [Scenario("1x", 20_000.0)]
    monkeypatch.setattr(wire, "scenarios", lambda: some)
    monkeypatch.setattr(wire, "SEARCH_PACKETS", 500)
    monkeypatch.setattr(wire, "SEARCH_STEPS", 1)
    monkeypatch.setattr(wire, "SEARCH_TO", 100_000.0)
    toml = tmp_path / "bench.toml"
    toml.write_text(
        '[strategy]\nname = "tickpath.samples:imbalance_taker"\nparameters = [150, 100, 1000]\n'
        "[transport]\nburst = 32\n"
    )
    with namespaces.wire() as ends:
        names = f"{ends.far}/{ends.far_interface}", f"{ends.near}/{ends.near_interface}"
        code = command_bench.run(
            ("udp",),
            messages=4_000,
            quick=True,
            as_json=True,
            report=None,
            interfaces=names,
            config=str(toml),
            hgrm=str(tmp_path / "out.hgrm"),
        )
    result = json.loads(capsys.readouterr().out)
    assert code == 0 and result["verified"], result["findings"]
    (found,) = result["backends"]
    assert found["wire"]["kind"] == GIVEN and found["environment"]["burst"] == 32
    assert result["session"]["orders"] > 20
    written = sorted(each.name for each in tmp_path.glob("*.hgrm"))
    assert written == ["out.udp-tcp-1x.hgrm", "out.udp-udp-1x.hgrm"]
    print_wire(result)
    assert f"over {GIVEN}: {names[0]} sends, {names[1]} receives" in capsys.readouterr().out


def test_live_backends_and_files_are_measured_apart(monkeypatch):
    live = {"software": False, "udp": True}

    def find(name: str) -> backends.Backend:
        return backends.Backend(name, type("Any", (), {"is_live": live[name]}), object)

    monkeypatch.setattr(backends, "find", find)
    assert wire.is_wire(["udp"]) and not wire.is_wire(["software"])
    with pytest.raises(BenchError, match="software reads files"):
        wire.is_wire(["udp", "software"])


@needs_wire
def test_ctrl_c_gives_what_was_measured_by_then():
    command = [sys.executable, "-m", "tickpath.cli", "bench", "--backend", "udp", "--json"]
    code = "from tickpath.cli import main; main()"
    command[1:3] = ["-c", code]
    child = subprocess.Popen(
        [*command, "--messages", "20000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stderr
    for line in child.stderr:
        if "8x" in line:
            child.send_signal(signal.SIGINT)
            break
    output, _ = child.communicate(timeout=120)
    assert child.returncode == 130
    result = json.loads(output)
    assert result["interrupted"] is True
    assert 1 <= len(result["backends"][0]["rows"]) < 10  # of ten
