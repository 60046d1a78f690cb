"""`tickpath replay`: the object it prints, limits, pace, several files, always the same state."""

import math
import re

import pytest

from captures import SHARED
from itch_messages import frame, mold, run
from sessions import (
    PLAN,
    Captured,
    packets_of,
    replay,
    said,
    same,
    session,
    session_messages,
    tickpath,
    write_pcap,
)
from tickpath import Config, Engine, load_config
from tickpath.counters import Counter
from tickpath.layout import Stage

TAKER = ("--strategy", "tickpath.samples:imbalance_taker")
SUMMARY = ("count", "min", "p50", "p90", "p99", "p99_9", "p99_99", "max")


def assert_bytes(result) -> None:
    """Every byte is accounted for."""
    counters = result["counters"]
    parts = ("bytes_headers", "bytes_messages", "bytes_skipped")
    assert counters["bytes"] == sum(counters[name] for name in parts)


# ---------------------------------------------------------------- the object


@pytest.fixture(scope="module")
def result():
    return replay(session(), *TAKER)


def test_every_key_of_the_contract_is_there(result):
    contract = "schema backend sources packets messages messages_by_type counters symbols "
    contract += "orders_live book_digest state_digest throughput latency_ns orders environment"
    more = "lines gaps findings strategy pace"
    assert set(result) == {*contract.split(), *more.split()}
    assert result["schema"] == "tickpath.replay/1" and result["backend"] == "software"
    assert result["sources"] == [str(session())]
    assert set(result["throughput"]) == {"ns_per_message", "messages_per_second", "seconds"}
    assert set(result["orders"]) == {"sent", "rejected", "rejects_by_code"}
    assert set(result["latency_ns"]) == {"tick_to_order", "stages"}
    assert list(result["latency_ns"]["stages"]) == list(Stage.NAMES)
    for row in (result["latency_ns"]["tick_to_order"], *result["latency_ns"]["stages"].values()):
        assert set(row) >= set(SUMMARY)
    for digest in (result["book_digest"], result["state_digest"]):
        assert re.fullmatch("[0-9a-f]{16}", digest)
    assert (result["strategy"], result["pace"]) == (TAKER[1], "asap")


def test_every_counter_is_there_by_name(result):
    assert {each.name.lower() for each in Counter} <= set(result["counters"])
    others = set(result["counters"]) - {each.name.lower() for each in Counter}
    assert others and all(name.startswith("capture_") for name in others)
    assert result["counters"]["packets"] == result["packets"]
    assert_bytes(result)


def test_what_it_says_is_what_the_engine_finds(result):
    engine = Engine(Config(), strategy=TAKER[1])
    engine.feed(run(session_messages()))
    assert result["messages"] == PLAN.messages == sum(result["messages_by_type"].values())
    assert result["messages_by_type"] == engine.messages_by_type
    assert result["symbols"] == PLAN.symbols == len(engine.symbols)
    assert result["orders_live"] == engine.orders_live
    assert result["book_digest"] == f"{engine.book_digest:016x}"
    assert result["state_digest"] == f"{engine.state_digest:016x}"
    assert result["orders"]["sent"] == len(engine.take_orders()) > 100
    assert result["orders"]["rejects_by_code"] == engine.rejects_by_code


def test_latencies_of_every_order_and_of_a_sample_of_stages(result):
    latencies, orders = result["latency_ns"], result["orders"]
    assert latencies["tick_to_order"]["count"] == orders["sent"]
    values = [latencies["tick_to_order"][name] for name in SUMMARY[1:]]
    assert values == sorted(values) and values[0] > 0
    assert latencies["stages"]["risk"]["count"] == orders["sent"] + orders["rejected"]
    assert latencies["stages"]["encode"]["count"] == orders["sent"]
    sampled = latencies["stages"]["frame"]["count"]
    assert sampled == math.ceil(result["packets"] / result["environment"]["stage_sample"])


def test_throughput_is_consistent_and_the_environment_is_told(result):
    rate = result["throughput"]
    assert rate["ns_per_message"] == pytest.approx(rate["seconds"] * 1e9 / PLAN.messages, rel=0.01)
    assert rate["messages_per_second"] == pytest.approx(PLAN.messages / rate["seconds"], rel=0.01)
    environment = result["environment"]
    assert environment["config_digest"] == Config().digest()
    assert environment["clock"]["overhead_ns"] > 0 and environment["compile_seconds"] >= 0
    assert environment["tables_prefaulted"] == "small"
    assert {"cpu", "memory", "versions", "kernel", "scheduling", "date"} <= set(environment)


def test_percentiles_of_nothing_are_null(tmp_path):
    empty = tmp_path / "empty.pcap"
    write_pcap(empty, [Captured(1, frame(mold([], 1)))])
    result = replay(empty)
    assert (result["messages"], result["packets"]) == (0, 1)
    row = result["latency_ns"]["tick_to_order"]
    assert row["count"] == 0 and all(row[name] is None for name in SUMMARY[1:])
    assert result["throughput"]["ns_per_message"] is None
    assert "0 messages in 1 packets" in tickpath("replay", empty).stdout


def test_tables_are_touched_where_the_configuration_asks_for_it(tmp_path):
    path = tmp_path / "c.toml"
    path.write_text("[capacity]\nprefault = true\nsymbols = 64\norders = 65536\n")
    result = replay(session(), "--config", path)
    assert result["environment"]["tables_prefaulted"] == "all"
    assert result["environment"]["config_digest"] == load_config(path).digest()
    assert result["messages"] == PLAN.messages


def test_what_is_the_default_can_be_said(result):
    same(
        [result, replay(session(), *TAKER, "--feed", "itch50", "--backend", "software")],
        *("messages", "book_digest", "state_digest", "orders", "counters", "backend"),
    )


def test_text_for_a_person(result):
    text = tickpath("replay", session(), *TAKER).stdout
    assert "20,000 messages in" in text and "50 symbols" in text
    assert f"book digest {result['book_digest']}" in text
    assert f"{result['orders']['sent']:,} orders sent" in text
    for stage in Stage.NAMES:
        assert re.search(rf"^\s+{stage}\s", text, re.MULTILINE)
    assert re.search(r"^\s+tick to order\s", text, re.MULTILINE)
    counted = {name: n for name, n in result["counters"].items() if n}
    for name in ("bytes_messages", "recentres", "assumed_fills"):
        assert re.search(rf"^\s+{name}\s+{counted[name]:,}\s*$", text, re.MULTILINE)


@pytest.mark.parametrize(("width", "columns"), [(120, 8), (80, 6), (50, 6)])
def test_a_narrow_terminal_has_fewer_columns_and_whole_stages(monkeypatch, width, columns):
    monkeypatch.setattr("tickpath.summary.PLAIN_WIDTH", width)
    lines = tickpath("replay", session(), *TAKER).stdout.splitlines()
    latencies = lines[lines.index(next(line for line in lines if line.startswith("latency"))) :]
    assert len(latencies[2].split()) == 1 + columns
    assert any(line.strip().startswith("tick to order") for line in latencies)
    if width >= 80:
        assert all(len(line) <= width for line in latencies)
        assert len(latencies) == 4 + len(Stage.NAMES) + 2


# ---------------------------------------------------------------- limits


@pytest.mark.parametrize("kind", ["session.pcap", "day.itch"])
@pytest.mark.parametrize("limit", [0, 1, 2, 777, 5001, PLAN.messages - 1, PLAN.messages + 1])
def test_a_limit_is_exact_and_leaves_the_state_of_as_many_messages(kind, limit):
    limited = replay(session(kind), "--limit", limit, *TAKER)
    engine = Engine(Config(), strategy=TAKER[1])
    engine.feed(run(session_messages()[:limit]))
    assert limited["messages"] == min(limit, PLAN.messages)
    assert sum(limited["messages_by_type"].values()) == limited["messages"]
    assert limited["book_digest"] == f"{engine.book_digest:016x}"
    assert limited["state_digest"] == f"{engine.state_digest:016x}"
    assert limited["orders"]["sent"] == len(engine.take_orders())
    assert_bytes(limited)


def test_a_limit_inside_a_packet(tmp_path):
    messages = list(session_messages()[:40])
    path = write_pcap(tmp_path / "one.pcap", [Captured(1, frame(mold(messages, 1)))])
    for limit in (1, 39, 40, 41):
        limited = replay(path, "--limit", limit)
        assert (limited["packets"], limited["messages"]) == (1, min(limit, 40))
        assert limited["lines"][0]["messages"] == min(limit, 40)
        assert_bytes(limited)


# ---------------------------------------------------------------- pace

GAP_NS = 10_000_000


@pytest.fixture(scope="module")
def slow(tmp_path_factory):
    """Forty packets, ten milliseconds apart, with the market open from the first on."""
    whole = packets_of(session())
    start = next(n for n, each in enumerate(whole) if len(each.data) > 200 and n > 2000)
    spread = [
        Captured(10**18 + n * GAP_NS, each.data) for n, each in enumerate(whole[start : start + 40])
    ]
    return write_pcap(tmp_path_factory.mktemp("slow") / "slow.pcap", spread)


@pytest.fixture(scope="module")
def eager(tmp_path_factory):
    """A strategy that wants an order at every change of a book, and a gate that lets it."""
    place = tmp_path_factory.mktemp("eager")
    (place / "eager.py").write_text(EAGER)
    (place / "c.toml").write_text('[risk]\nunknown_trading_state = "trade"\n')
    return ("--strategy", f"{place / 'eager.py'}:buys", "--config", place / "c.toml")


EAGER = """
from numba import njit
from tickpath import emit, event, view


@njit
def buys(engine, book, kind, flags):
    if kind == event.BOOK and view.bid_px(engine, book):
        emit.new_order(engine, book, view.BUY, 1, view.bid_px(engine, book))
"""


@pytest.mark.parametrize(("pace", "factor"), [("wire", 1), ("1", 1), ("4", 4), ("0.5", 0.5)])
def test_a_pace_is_kept_and_response_times_come_with_it(slow, eager, pace, factor):
    paced, asap = replay(slow, "--pace", pace, *eager), replay(slow, *eager)
    assert paced["throughput"]["seconds"] >= 39 * GAP_NS / 1e9 / factor
    assert paced["pace"] == factor and asap["pace"] == "asap"
    same([paced, asap], "messages", "book_digest", "state_digest", "orders")
    response, order = paced["latency_ns"]["response"], paced["latency_ns"]["tick_to_order"]
    assert response["count"] == order["count"] == paced["orders"]["sent"] > 0
    # Counted from when the packet was due, a response cannot be shorter than the work itself.
    assert response["min"] >= order["min"] and response["max"] >= order["max"]
    assert "response" not in asap["latency_ns"]


# ---------------------------------------------------------------- several files


def _distinct() -> list[Captured]:
    """The session's packets, no two captured at the same time: then time alone orders them."""
    return [each._replace(ts_recv=each.ts_recv + n) for n, each in enumerate(packets_of(session()))]


def _pieces(tmp_path, deal):
    """The packets of the session dealt to files: ``deal(number)`` says to which."""
    dealt: dict[int, list[Captured]] = {}
    for number, each in enumerate(_distinct()):
        dealt.setdefault(deal(number), []).append(each)
    return [
        write_pcap(tmp_path / f"piece{piece}.pcap", packets) for piece, packets in dealt.items()
    ]


STATE = ("messages", "messages_by_type", "orders_live", "book_digest", "state_digest", "orders")


def test_several_files_in_any_order_are_one_capture(tmp_path, result):
    total = result["packets"]
    deals = {
        "one behind the other": lambda n: n * 3 // total,
        "in turns": lambda n: n % 2,
        "in uneven turns": lambda n: 0 if n % 7 else 1 + n % 2,
    }
    for name, deal in deals.items():
        place = tmp_path / name.replace(" ", "-")
        place.mkdir()
        pieces = _pieces(place, deal)
        assert len(pieces) > 1
        for order in (pieces, pieces[::-1]):
            merged = replay(*order, *TAKER)
            same([merged, result], *STATE, "packets", "gaps")
            assert merged["counters"]["gaps"] == 0, name
            assert merged["sources"] == [str(each) for each in order]


def test_both_lines_of_a_feed_are_one_stream_with_every_message_twice(tmp_path, result):
    packets = packets_of(session())
    other = [Captured(each.ts_recv + 500, each.data) for each in packets]
    second = write_pcap(tmp_path / "second.pcap", other)
    merged = replay(session(), second, *TAKER)
    same([merged, result], *STATE)
    assert merged["counters"]["duplicate_messages"] == PLAN.messages
    assert merged["packets"] == 2 * result["packets"]


def test_what_one_line_lost_the_other_has(tmp_path, result):
    packets = _distinct()
    first = write_pcap(tmp_path / "a.pcap", [p for n, p in enumerate(packets) if n % 10 != 3])
    second = write_pcap(tmp_path / "b.pcap", [p for n, p in enumerate(packets) if n % 10 != 7])
    merged = replay(second, first, *TAKER)
    same([merged, result], *STATE, "gaps")
    lossy = replay(first, *TAKER)
    assert lossy["counters"]["gaps"] > 100 and lossy["state_digest"] != result["state_digest"]


def test_daily_files_follow_each_other_as_they_are_given(tmp_path, result):
    messages = session_messages()
    parts = []
    for number, chosen in enumerate((messages[:7000], messages[7000:15_000], messages[15_000:])):
        parts.append(tmp_path / f"part{number}.itch")
        parts[-1].write_bytes(run(chosen))
    same([replay(*parts, *TAKER), replay(session("day.itch"), *TAKER), result], *STATE)
    assert replay(*parts[::-1])["counters"]["unknown_order_ref"] > 0


@pytest.mark.parametrize(
    "name", ["s.pcapng", "s.pcap.gz", "s.pcap.zst", "s.pcapng.zst", "day.itch", "day.itch.gz"]
)
def test_the_same_state_from_every_kind_of_capture(name, result):
    same([replay(session(name), *TAKER), result], *STATE)


def test_a_file_that_ends_early_ends_alone(tmp_path):
    first, second = _pieces(tmp_path, lambda n: n % 2)
    first.write_bytes(first.read_bytes()[: first.stat().st_size // 2])
    merged = replay(first, second, code=1)
    assert len(merged["findings"]) == 1 and str(first) in merged["findings"][0]
    alone = replay(second)
    assert alone["packets"] < merged["packets"] < 2 * alone["packets"]


AAPL = SHARED / "nasdaq_itch50" / "aapl_20191230_part1.pcap"


@pytest.mark.skipif(not AAPL.exists(), reason="no real captures in ../shared/data")
def test_a_real_capture_and_its_daily_file():
    packed = replay(AAPL, *TAKER)
    bare = replay(AAPL.with_suffix(".NASDAQ_ITCH50"), *TAKER)
    same([packed, bare], *STATE)
    assert packed["messages"] == 26_000 and packed["symbols"] == 993
    assert packed["counters"]["unknown_type"] == packed["counters"]["wrong_length"] == 0


# ---------------------------------------------------------------- narration


def test_nothing_is_said_on_stderr_when_all_is_well():
    printed = tickpath("replay", session())
    assert said(printed.stderr) == []
    assert "compiling the strategy" in tickpath("replay", session(), *TAKER).stderr
