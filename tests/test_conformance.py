"""All backends that run here, one suite: the same captures give the same everything.

What is expected comes from an `Engine` that is fed the packets one by one, so that the reference
backend is tested like any other.  A backend that cannot run here is skipped with its reason.

Live backends get the captures over a real veth pair between two private namespaces, and send their
orders back over it.  Two things are theirs, and are left out of the comparison: how packets are
framed when they come (`LOCAL`), and the counts of packets that their filters keep from the engine
(`FILTERED`).
"""

import random
from collections.abc import Iterator
from decimal import Decimal
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pytest

from captures import SHARED
from itch_messages import frame, split
from sessions import Captured, columns, packets_of, session, write_pcap
from silicon import filled
from tickpath import Config, Engine
from tickpath.backend import BackendError, find, known
from tickpath.config import (
    Afxdp,
    Capacity,
    Dpdk,
    Feed,
    Fills,
    Fix44Orders,
    Orders,
    Risk,
    StrategyConfig,
    Transport,
)
from tickpath.digest import VENUE_NAMES
from tickpath.frame import PLAIN_LENGTH
from tickpath.generate import Faults, SessionPlan
from tickpath.outputs import BboCsv, price_text
from tickpath.profile import (
    Imbalance,
    Profile,
    Spread,
    Symbol,
    SymbolLimits,
    Through,
    load_profile,
)
from tickpath.replay import Plan, replay
from tickpath_backends.hdl.chain_check import messages_of, ticks_of
from tickpath_backends.hdl.fix_order import widened
from tickpath_backends.hdl.parse_flow import packet as packet_of

LOCAL = {"packets", "bytes", "bytes_headers", "bytes_skipped"}
"""Counters that depend on how a transport frames what it carries."""

FILTERED = {"udp_other_group", "ether_type_other", "ipv6", "tcp", "ip_protocol_other"}
"""Counters of packets that are not of the feed: a live transport does not take them at all."""

CAPTURES: dict[str, SessionPlan] = {
    "clean": SessionPlan(messages=12_000, symbols=30, seed=21, heartbeat_s=0),
    "heartbeats": SessionPlan(messages=8_000, symbols=20, seed=22, heartbeat_s=60),
    "crossed": SessionPlan(messages=8_000, symbols=20, seed=23, heartbeat_s=0, crossed=True),
    "faulty": SessionPlan(
        messages=12_000,
        symbols=30,
        seed=24,
        heartbeat_s=0,
        faults=Faults(loss=0.01, duplicate=0.02, reorder=0.01),
    ),
}
LIVE_CAPTURES: dict[str, SessionPlan] = {
    **CAPTURES,
    "pitch": SessionPlan(
        messages=10_000,
        symbols=20,
        seed=25,
        feed="pitch",
        heartbeat_s=0,
        faults=Faults(loss=0.005, duplicate=0.01),
    ),
    "two lines": SessionPlan(messages=8_000, symbols=20, seed=26, heartbeat_s=0),
    "tags and strangers": SessionPlan(messages=6_000, symbols=20, seed=27, heartbeat_s=0),
}
PLAIN = int(PLAIN_LENGTH)
LINE_A, LINE_B = "233.54.12.111:26477", "233.54.12.112:26478"
_TAKER = StrategyConfig("tickpath.samples:imbalance_taker", [150, 100, 500])
_QUOTER = StrategyConfig("tickpath.samples:two_sided_quoter", [2, 100, 1], timer_interval_ms=1000)
_TIGHT = Risk(max_position=500, max_quantity=150, orders_per_second=2, order_burst=3)
CONFIGS = {
    "books": Config(),
    "taker": Config(strategy=_TAKER),
    "taker, tight limits": Config(strategy=_TAKER, risk=_TIGHT),
    "quoter with a timer": Config(strategy=_QUOTER),
    "taker that queues": Config(strategy=_TAKER, fills=Fills(model="queue")),
    "small tables": Config(strategy=_TAKER, capacity=Capacity(symbols=16, orders=4096)),
}


CONFIGS_LIVE = {
    "two lines": Config(strategy=_TAKER, feed=Feed(groups=[LINE_A], lines_b={LINE_A: LINE_B})),
    "tags and strangers": Config(strategy=_TAKER, feed=Feed(groups=[LINE_A])),
}
FILE = Transport()
ORDERS_TO = "192.0.2.2:31000"
_AF_PACKET = Dpdk(eal=["--vdev=net_af_packet0,iface=any"])
_AF_XDP = Dpdk(eal=["--vdev=net_af_xdp0,iface=any,busy_budget=0"])
LIVE = {
    "udp": ("udp", Transport(orders_to=ORDERS_TO)),
    "afxdp, generic": ("afxdp", Transport(orders_to=ORDERS_TO, afxdp=Afxdp(mode="generic"))),
    "afxdp, native": ("afxdp", Transport(orders_to=ORDERS_TO, afxdp=Afxdp(mode="native"))),
    "dpdk, net_af_packet": ("dpdk", Transport(orders_to=ORDERS_TO, dpdk=_AF_PACKET)),
    "dpdk, net_af_xdp": ("dpdk", Transport(orders_to=ORDERS_TO, dpdk=_AF_XDP)),
}
LIVE_CASES = [
    *((capture, "taker") for capture in LIVE_CAPTURES),
    ("clean", "quoter with a timer"),
    ("clean", "taker, tight limits"),
]


class Outcome(NamedTuple):
    """What must be the same everywhere."""

    orders: list[bytes]
    rejects: dict[str, int]
    book_digest: str
    state_digest: str
    messages_by_type: dict[str, int]
    counters: dict[str, int]
    gaps: list[dict[str, Any]]
    bbo: list[str]


def configured(capture: str, config: str) -> Config:
    """A capture with groups of its own has its own configuration."""
    return CONFIGS_LIVE.get(capture, CONFIGS[config])


@cache
def path_of(capture: str) -> Path:
    """The capture as a file."""
    path = session("capture.pcap", LIVE_CAPTURES[capture])
    change = {"two lines": on_two_lines, "tags and strangers": among_strangers}.get(capture)
    if change is None:
        return path
    changed = path.with_name(f"{capture}.pcap")
    return write_pcap(changed, change(packets_of(path)))


def on_two_lines(packets: list[Captured]) -> Iterator[Captured]:
    """Every packet on both lines, which lose some behind the start; what both lose is a gap."""
    draw = random.Random(1)
    for n, each in enumerate(packets):
        payload = each.data[PLAIN:]
        for line, loss in ((LINE_A, 0.02), (LINE_B, 0.05)):
            address, port = line.split(":")
            if draw.random() >= loss or n < len(packets) // 4:
                yield Captured(each.ts_recv, frame(payload, (address, int(port))))


def among_strangers(packets: list[Captured]) -> Iterator[Captured]:
    """VLAN tags on every third packet, and between packets what no feed handler wants."""
    strangers = [
        bytes.fromhex("ffffffffffff0200000000010806") + bytes(28),  # ARP
        bytes.fromhex("33330000000102000000000186dd60") + bytes(39),  # IPv6
        frame(b"of another group", ("233.54.12.99", 26477)),
        frame(b"of another port", ("233.54.12.111", 26478)),
        _tcp(),
    ]
    for n, each in enumerate(packets):
        data = each.data
        if n % 3 == 0:
            data = data[:12] + bytes.fromhex("81000064") + data[12:]
        yield Captured(each.ts_recv, data)
        yield Captured(each.ts_recv, strangers[n % len(strangers)])


def _tcp() -> bytes:
    raw = bytearray(frame(b"x" * 40))
    raw[23] = 6  # the header's protocol; its checksum is the kernel's business
    return bytes(raw)


@cache
def expected(capture: str, config: str) -> Outcome:
    """From an engine that is given one packet at a time."""
    rows: list[tuple[int, ...]] = []

    def keep(arrays: dict[str, np.ndarray]) -> None:
        rows.extend(columns(arrays))

    engine = Engine(configured(capture, config), on_bbo=keep)
    for packet in packets_of(path_of(capture)):
        engine.feed_packet(packet.data, ts_recv=packet.ts_recv)
    names = {
        number: f"{VENUE_NAMES[int(engine.block.book['venue'][number])]},{symbol}"
        for symbol, number in engine.symbols.items()
    }
    return Outcome(
        engine.take_orders(),
        engine.rejects_by_code,
        f"{engine.book_digest:016x}",
        f"{engine.state_digest:016x}",
        engine.messages_by_type,
        {name: n for name, n in engine.counters.items() if name not in LOCAL},
        [vars(each) for each in engine.gaps()],
        [",".join(BboCsv.HEAD), *(_row(row, names) for row in rows)],
    )


def _row(row: tuple[int, ...], names: dict[int, str]) -> str:
    seq, ts, book, bid_px, bid_sz, ask_px, ask_sz = row
    bid = f"{price_text(bid_px)},{bid_sz}" if bid_sz else ","
    ask = f"{price_text(ask_px)},{ask_sz}" if ask_sz else ","
    return f"{seq},{ts},{names[book]},{bid},{ask}"


def outcome(
    name: str,
    capture: str,
    config: str,
    place: Path,
    transport: Transport = FILE,
    **plan: Any,
) -> Outcome:
    """From a replay through a backend."""
    try:
        found = find(name)
    except BackendError as error:
        pytest.skip(str(error))
    orders, bbo = str(place / "orders"), str(place / "bbo.csv")
    wanted = configured(capture, config)
    wanted = msgspec.structs.replace(wanted, transport=transport)
    try:
        result = replay(found, wanted, Plan([path_of(capture)], orders=orders, bbo=bbo, **plan))
    except BackendError as error:
        pytest.skip(str(error))
    assert result["backend"] == name and result["findings"] in ([], _held_back(result))
    if transport.orders_to is not None:
        sent = result["orders"]["sent"]
        assert sent == result["counters"]["transport_orders_sent"]
        assert sent == result["counters"]["wire_orders_arrived"]
    return _told(result, orders, bbo)


def _told(result: dict[str, Any], orders: str, bbo: str) -> Outcome:
    others = ("capture_", "wire_", "transport_")
    counters = result["counters"].items()
    return Outcome(
        split(Path(orders).read_bytes()),
        result["orders"]["rejects_by_code"],
        result["book_digest"],
        result["state_digest"],
        result["messages_by_type"],
        {n: c for n, c in counters if n not in LOCAL and not n.startswith(others)},
        result["gaps"],
        Path(bbo).read_text().splitlines(),
    )


def _held_back(result: dict[str, Any]) -> list[str]:
    return [each for each in result["findings"] if "no trading actions" in each]


SILICON = ("fpga-hls", "fpga-sim", "alveo")
"""Backends that run a hardware profile and nothing else."""
REPLAYING = [name for name in known() if name not in ("udp", "afxdp", "dpdk", *SILICON)]
"""Backends that read files themselves."""


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("capture", CAPTURES)
@pytest.mark.parametrize("name", REPLAYING)
def test_a_backend_does_what_the_reference_does(name, capture, config, tmp_path):
    assert outcome(name, capture, config, tmp_path) == expected(capture, config)


@pytest.mark.parametrize("name", REPLAYING)
def test_a_paced_run_does_what_the_reference_does(name, tmp_path):
    assert outcome(name, "clean", "taker", tmp_path, pace=1e6) == expected("clean", "taker")


@pytest.mark.parametrize(("capture", "config"), LIVE_CASES)
@pytest.mark.parametrize("variant", LIVE)
def test_a_live_backend_does_what_the_reference_does(variant, capture, config, tmp_path):
    name, transport = LIVE[variant]
    found = outcome(name, capture, config, tmp_path, transport)
    wanted = expected(capture, config)
    assert _unfiltered(found) == _unfiltered(wanted)


def _unfiltered(each: Outcome) -> Outcome:
    """Without the counts of what a live transport never lends."""
    counters = {name: n for name, n in each.counters.items() if name not in FILTERED}
    return each._replace(counters=counters)


def test_the_live_captures_reach_what_is_to_be_compared():
    pitch, two = expected("pitch", "taker"), expected("two lines", "taker")
    assert len(pitch.orders) > 20 and len(pitch.gaps) > 3
    assert len(two.orders) > 20 and len(two.gaps) > 3
    assert two.counters["packets_second"] > 1000
    among = expected("tags and strangers", "taker")
    assert len(among.orders) > 20
    for name in ("ether_type_other", "ipv6", "tcp", "udp_other_group"):
        assert among.counters[name] > 100


def test_the_captures_and_configurations_reach_what_is_to_be_compared():
    """The suite proves nothing about orders, rejects or gaps if there are none."""
    taken = expected("clean", "taker")
    assert len(taken.orders) > 100 and taken.counters["assumed_fills"] > 100
    tight = expected("clean", "taker, tight limits")
    assert {"POSITION_LONG", "POSITION_SHORT", "ORDER_RATE"} <= set(tight.rejects)
    assert len(tight.orders) > 3 and tight.counters["orders_warned"] > 10
    assert expected("clean", "taker that queues").orders != taken.orders
    quoted = expected("clean", "quoter with a timer")
    assert quoted.counters["timers"] > 1000
    assert {raw[:1] for raw in quoted.orders} >= {b"O", b"U"}
    faulty = expected("faulty", "taker")
    assert len(faulty.gaps) > 10 and faulty.counters["duplicate_messages"] > 10
    assert expected("crossed", "books").counters["crossed_book"] > 0
    assert expected("clean", "small tables").counters["symbol_out_of_range"] > 0
    assert expected("heartbeats", "books").counters["heartbeats"] > 100
    assert len(taken.bbo) > 1000


# ---------------------------------------------------------------- hardware profiles

SESSIONS: dict[str, tuple[str, SessionPlan]] = {
    "packets": ("one.pcap", SessionPlan(messages=8_000, symbols=20, seed=31, heartbeat_s=0)),
    "a daily file": ("one.itch", SessionPlan(messages=20_000, symbols=40, seed=32)),
    "crossed": (
        "two.pcap",
        SessionPlan(messages=6_000, symbols=64, seed=33, heartbeat_s=600, crossed=True),
    ),
}
AAPL = SHARED / "nasdaq_itch50" / "aapl_20191230_part1.pcap"
EXAMPLE = Path(__file__).parents[1] / "hdl" / "profiles" / "example.toml"
WIDE = Config(capacity=Capacity(symbols=4_096))


class Traded(NamedTuple):
    """What of a profile's run must be the same in hardware."""

    orders: list[bytes]
    profile: dict[str, Any]
    counters: dict[str, int]
    book_digest: str
    messages_by_type: dict[str, int]
    bbo: list[str]
    findings: list[str]


@cache
def given(capture: str) -> tuple[Path, Profile]:
    """A session, and a profile of its symbols in which triggers and limits are met often."""
    if capture == "AAPL":
        if not AAPL.exists():
            pytest.skip(f"no real data at {AAPL}")
        return AAPL, load_profile(EXAMPLE)
    name, plan = SESSIONS[capture]
    path = session(f"profiled {name}", plan)
    draw = random.Random(plan.seed)
    raw = run_of(path)
    packets = (packet_of(raw[n : n + 20], "0000000001", 1) for n in range(0, len(raw), 20))
    ticks = list(ticks_of([frame(each) for each in packets]).items())[:64]
    symbols = {each: Symbol(_trigger(draw), tick) for each, tick in ticks}
    limits = SymbolLimits(
        max_long=draw.choice((1_500, 4_000)),
        max_short=draw.choice((1_200, 3_000)),
        collar_ticks=draw.choice((1, 5)),
        orders_per_second=draw.choice((5, 20)),
        order_burst=2,
    )
    return path, Profile(symbols=symbols, limits=limits)


@cache
def run_of(path: Path) -> list[bytes]:
    """The messages of a session."""
    if path.suffix == ".itch":
        return split(path.read_bytes())
    return [raw for each in packets_of(path) for raw, _ in messages_of(each.data)]


def _trigger(draw: random.Random) -> Imbalance | Spread | Through:
    which = draw.randrange(4)
    slippage = draw.choice((0.0, 0.01, 0.02))
    if which == 0:
        return Through(draw.choice(("buy", "sell")), draw.choice((20.0, 60.0)), 100, slippage)
    if which == 1:
        return Spread(draw.choice(("buy", "sell")), draw.choice((0.01, 0.03)), 150, slippage)
    return Imbalance(draw.choice((1, 2, 4)), 100, draw.choice((0, 200)), slippage)


def traded(name: str, capture: str, protocol: str, place: Path) -> tuple[Traded, dict[str, Any]]:
    """A profile's run on a backend, and its whole result."""
    path, wanted = given(capture)
    wanted = msgspec.structs.replace(wanted, orders=ORDERS[protocol])
    orders, bbo = place / f"{name}.orders", place / f"{name}.csv"
    plan = Plan([path], orders=str(orders), bbo=str(bbo))
    try:
        result = replay(find(name), WIDE, plan, profile=wanted)
    except BackendError as error:
        pytest.skip(str(error))
    rows = Path(bbo).read_text().splitlines()
    counted = ("intents", "orders_sent", "orders_rejected", "messages", "gaps")
    return Traded(
        split(orders.read_bytes()),
        result["profile"],
        {key: result["counters"][key] for key in counted if key in result["counters"]},
        result["book_digest"],
        result["messages_by_type"],
        [row for row in rows if row.split(",")[3] in wanted.symbols],
        result["findings"],
    ), result


@cache
def traded_by_software(capture: str, protocol: str) -> Traded:
    with TemporaryDirectory() as place:
        return traded("software", capture, protocol, Path(place))[0]


FIX = Orders(protocol="fix44", fix44=filled(Fix44Orders("TRADER", "EXCHANGE")))
ORDERS = {"ouch50": Orders(), "ouch42": Orders(protocol="ouch42"), "fix44": FIX}
PROFILED = [
    *((capture, "ouch50") for capture in (*SESSIONS, "AAPL")),
    ("packets", "ouch42"),
    ("packets", "fix44"),
]


@pytest.mark.parametrize(("capture", "protocol"), PROFILED)
@pytest.mark.parametrize("name", SILICON[:2])
def test_silicon_does_what_software_does_in_the_same_profile(name, capture, protocol, tmp_path):
    """Orders, refusals, counts and best prices; and neither side may have left the profile."""
    found, result = traded(name, capture, protocol, tmp_path)
    wanted = traded_by_software(capture, protocol)
    if protocol == "fix44":
        assert_same_fields(found.orders, wanted.orders)
        wanted = wanted._replace(orders=[widened(each) for each in wanted.orders])
    assert found == wanted
    assert found.findings == [] and not any(found.profile["overflows"].values())
    assert not any(found.profile["rejects_beyond"].values())
    assert len(found.orders) > 20 and sum(found.profile["rejects_by_check"].values()) > 20
    assert len(found.bbo) > 1_000
    if name == "fpga-sim":
        counted = result["chain"]["counters"]
        assert counted["orders_sent"] == len(found.orders) == result["latency_cycles"]["count"]
        assert counted["intents"] == found.counters["intents"]
        assert not any(counted[n] for n in ("intents_dropped", "orders_dropped", "bus_errors"))
        counts = result["latency_cycles"]
        assert counts["min"] <= counts["p50"] <= counts["p99"] <= counts["max"]
        assert counts["min"] == (28 if protocol == "fix44" else 19)


def assert_same_fields(found: list[bytes], wanted: list[bytes]) -> None:
    """FIX orders to a parser that is not ours: the same fields in order, numbers as numbers."""
    simplefix = pytest.importorskip("simplefix", reason="simplefix is not installed")
    for pair in zip(found, wanted, strict=True):
        fields = []
        for raw in pair:
            parser = simplefix.FixParser()
            parser.append_buffer(raw)
            message = parser.get_message()
            assert message is not None and message.encode() == raw
            counted = [(tag, value) for tag, value in message.pairs if tag not in (b"9", b"10")]
            fields.append([(t, Decimal(v.decode()) if t in _NUMBERS else v) for t, v in counted])
        assert fields[0] == fields[1]


_NUMBERS = (b"38", b"44")
