"""Whole days of PITCH: the generator's truth, the market of ITCH, both venues, real files."""

import dataclasses
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from captures import SHARED
from comparison import assert_bytes
from sessions import PLAN, replay, rows, session, tickpath
from structure import validate
from tickpath import Config, Engine
from tickpath.config import Capacity, Feed
from tickpath.generate import Faults, SessionPlan
from tickpath.generate.session import Session

PITCH_PLAN = dataclasses.replace(PLAN, feed="pitch", units=3, long_symbols=5, seed=12)
CONFIG = Config(capacity=Capacity(symbols=512, orders=1 << 17, sparse_orders=1 << 15))
PLANS = {
    "calm": PITCH_PLAN,
    "crossed": dataclasses.replace(PITCH_PLAN, crossed=True, seed=13, units=1),
    "heartbeats": dataclasses.replace(PITCH_PLAN, heartbeat_s=30, units=7, seed=14),
    "many live": dataclasses.replace(PITCH_PLAN, live_orders=8_000, long_symbols=0, seed=15),
}
CLEAN = {"recentres", "overflow_adds", "locked_book", "crossed_book", "broken_trades"}
CLEAN |= {"packets", "bytes", "bytes_headers", "bytes_messages", "bytes_skipped", "heartbeats"}
CLEAN |= {"end_of_session", "messages_longer", "broken_trade_unknown"}
"""What is counted in a day without faults."""
Levels = dict[str, list[list[tuple[int, ...]]]]


def played(
    plan: SessionPlan, config: Config = CONFIG, runs: bool = False
) -> tuple[Engine, Session]:
    made, engine = Session(plan), Engine(config)
    for batch in made.runs() if runs else made.packets():
        engine.process(batch)
    assert_bytes(engine.counters)
    return engine, made


def levels(engine: Engine) -> Levels:
    """Every book that is not empty, by symbol."""
    found = {each.symbol: [each.bids.tolist(), each.asks.tolist()] for each in engine.books()}
    return {name: sides for name, sides in found.items() if any(sides)}


def queues(engine: Engine) -> dict[tuple[str, int], list[tuple[int, ...]]]:
    """(id, price, shares) as they queue, best price first, by symbol and side."""
    names = {number: name for name, number in engine.symbols.items()}
    found = defaultdict(list)
    for ref, book, side, price, shares in engine.resting().tolist():
        found[names[book], side].append((ref, price, shares))
    return found


def true_queues(made: Session) -> dict[tuple[str, int], list[tuple[int, ...]]]:
    names = {int(row["stock_locate"]): row["stock"].decode() for row in made.truth.symbols}
    found = defaultdict(list)
    for locate, side, price, shares, ref in made.resting_orders().tolist():
        found[names[locate], int(side == ord("S"))].append((ref, price, shares))
    return found


def assert_true(engine: Engine, made: Session) -> None:
    """Books, queues, messages and prints are the generator's."""
    truth = made.truth
    types = {f"0x{ord(code):02X}": n for code, n in truth.messages_by_type.items()}
    assert engine.messages_by_type == types and engine.messages == truth.messages
    assert engine.orders_live == truth.live_orders
    assert queues(engine) == true_queues(made)
    for row in truth.symbols:
        name = row["stock"].decode()
        if name not in engine.symbols:
            continue
        book = engine.block.book[engine.symbols[name]]
        printed = int(row["printable_shares"]) - int(row["broken_shares"])
        # Auctions are printed in bulk too, which the truth does not count.
        assert int(book["volume"]) >= printed


# ---------------------------------------------------------------- the generator's truth


@pytest.mark.parametrize("name", PLANS)
@pytest.mark.parametrize("runs", [False, True])
def test_a_generated_day_is_what_the_generator_says(name, runs):
    engine, made = played(PLANS[name], runs=runs)
    assert_true(engine, made)
    counted = {name for name, n in engine.counters.items() if n}
    # Of the runs' one time line nothing is known before its first message.
    assert counted <= CLEAN | {"unit_time_unknown"}, counted - CLEAN
    assert not engine.block.book["stale"].any()
    if runs:
        assert engine.lines() == []
    else:
        lines = engine.lines()
        assert [row["session"] for row in sorted(lines, key=lambda row: row["session"])] == [
            f"unit {n}" for n in range(1, PLANS[name].units + 1)
        ]
        assert sum(row["packets"] for row in lines) == made.truth.packets
    validate(engine)


def test_packets_and_runs_of_one_day_have_one_book():
    packets, _ = played(PITCH_PLAN)
    runs, _ = played(PITCH_PLAN, runs=True)
    assert packets.book_digest == runs.book_digest != 0
    assert queues(packets) == queues(runs)


@pytest.mark.parametrize("name", PLANS)
def test_the_market_is_that_of_itch(name):
    pitch, _ = played(PLANS[name])
    itch, _ = played(dataclasses.replace(PLANS[name], feed="itch50"))
    assert levels(pitch) == levels(itch)
    assert pitch.orders_live == itch.orders_live > 1000


# ---------------------------------------------------------------- faults


def test_packets_that_come_twice_change_nothing():
    plan = dataclasses.replace(PITCH_PLAN, faults=Faults(duplicate=0.2))
    engine, made = played(plan)
    assert_true(engine, made)
    counters = engine.counters
    assert counters["duplicate_messages"] == made.truth.faults.messages_duplicated > 1000
    assert counters["gaps"] == 0 and not engine.block.book["stale"].any()


def test_late_packets_are_put_in_order_by_the_window():
    plan = dataclasses.replace(PITCH_PLAN, faults=Faults(reorder=0.05))
    window = replace(CONFIG, feed=Feed(reorder_packets=64))
    engine, made = played(plan, window)
    assert_true(engine, made)
    assert engine.counters["packets_reordered"] > 100 and engine.counters["gaps"] == 0


@pytest.mark.parametrize("seed", range(3))
def test_what_is_lost_makes_the_books_of_its_unit_stale_and_no_others(seed):
    faults = Faults(loss=0.0005, truncate=0.0005)
    plan = dataclasses.replace(PITCH_PLAN, units=8, seed=20 + seed, faults=faults)
    engine, made = played(plan)
    lines = engine.block.line[: engine.block.get("lines")]
    missing = {int(n) + 1 for n in np.flatnonzero(lines["gap_messages"])}
    assert 0 < len(missing) < 8 and made.truth.faults.loss > 0
    books = engine.block.book[engine.block.book["venue"] > 0]
    assert set(books["line"][books["stale"] == 1].tolist()) == missing
    assert not books["stale"][~np.isin(books["line"], list(missing))].any()
    assert engine.counters["gap_messages"] == int(lines["gap_messages"].sum())
    right, fine = played(dataclasses.replace(plan, faults=Faults())), set()
    for name, sides in levels(right[0]).items():
        number = engine.symbols[name]
        if not engine.block.book["stale"][number]:
            fine.add(name)
            assert levels(engine)[name] == sides
    assert len(fine) > 3
    validate(engine)


@pytest.mark.parametrize("seed", range(3))
def test_a_day_with_every_fault_is_accounted_for(seed):
    faults = Faults(loss=0.01, duplicate=0.01, reorder=0.01, truncate=0.01, garbage=0.02)
    plan = dataclasses.replace(PITCH_PLAN, seed=30 + seed, faults=faults)
    engine, made = played(plan)
    counters = engine.counters
    seen = sum(engine.messages_by_type.values())
    assert engine.messages == seen + counters["unknown_type"] + counters["wrong_length"]
    assert counters["packets"] > made.truth.packets * 0.9
    assert counters["gaps"] > 0 and counters["duplicate_messages"] > 0
    validate(engine)


# ---------------------------------------------------------------- the command line


BOTH = dataclasses.replace(PLAN, messages=15_000, symbols=30, seed=41)
BOTH_PITCH = dataclasses.replace(BOTH, feed="pitch", units=2)


@pytest.fixture(scope="module")
def files() -> tuple[Path, Path]:
    return session("both.pcap", BOTH), session("both-pitch.pcap", BOTH_PITCH)


def by_venue(path: Path, first: int) -> dict[str, list[list[str]]]:
    """Rows of an output from column ``first`` on, by what stands in front: the venue."""
    found = defaultdict(list)
    head, *body = rows(path)
    assert "venue" in head and "symbol" in head
    for row in body:
        found[row[head.index("venue")]].append(row[first:])
    return found


def test_both_venues_in_one_run_are_each_alone(files, tmp_path):
    itch, pitch = files
    outputs = {name: {} for name in ("itch", "pitch", "both")}
    results = {}
    for name, given in (("itch", [itch]), ("pitch", [pitch]), ("both", [itch, pitch])):
        paths = {each: tmp_path / f"{name}-{each}.csv" for each in ("books", "bbo")}
        results[name] = replay(*given, "--books", paths["books"], "--bbo", paths["bbo"])
        outputs[name] = {
            "books": by_venue(paths["books"], 0),
            # Without the number of the message and engine time, which are those of the run.
            "bbo": by_venue(paths["bbo"], 2),
        }
    for output in ("books", "bbo"):
        both = outputs["both"][output]
        assert set(both) == {"nasdaq", "cboe-bzx"}
        for venue, name in (("nasdaq", "itch"), ("cboe-bzx", "pitch")):
            assert len(outputs[name][output]) == 1
            assert both[venue] == outputs[name][output][venue]
    books = outputs["both"]["books"]
    alike = [[row[1:] for row in books[venue]] for venue in ("nasdaq", "cboe-bzx")]
    assert alike[0] == alike[1], "one market"
    assert results["both"]["messages"] == sum(results[n]["messages"] for n in ("itch", "pitch"))
    # One symbol on two venues is one symbol.
    assert results["both"]["symbols"] == results["itch"]["symbols"] == 30
    assert results["both"]["orders_live"] == 2 * results["itch"]["orders_live"]


def test_orders_of_both_venues(files, tmp_path):
    """A strategy that trades on what it sees of either; files in either order."""
    found = []
    for given in (files, files[::-1]):
        out = tmp_path / f"orders{len(found)}.bin"
        taker = ("--strategy", "tickpath.samples:imbalance_taker", "--orders", out)
        result = replay(*given, *taker)
        found.append((result["orders"]["sent"], result["book_digest"]))
        assert out.stat().st_size > 0
    assert found[0][1] == found[1][1] and min(sent for sent, _ in found) > 10


def test_the_feed_can_be_said(files):
    itch, pitch = files
    said = replay(pitch, "--feed", "pitch")
    assert said["book_digest"] == replay(pitch)["book_digest"]
    for file, feed in ((pitch, "itch50"), (itch, "pitch")):
        assert replay(file, "--feed", feed)["orders_live"] == 0
    tickpath("replay", pitch, "--feed", "cboe", code=2)


# ---------------------------------------------------------------- real files


REAL = pytest.mark.skipif(
    not SHARED.is_dir(), reason="real captures are not here: see the data folder's README"
)


@REAL
def test_real_captures_of_a_unit():
    for name, types in (
        ("AddOrderShortMessage", {"0x22": 1}),
        ("ModifyOrderShortMessage", {"0x28": 1}),
        ("MultipleMessages", None),
    ):
        result = replay(SHARED / "cboe_pitch" / f"{name}.pcap")
        counters = result["counters"]
        assert result["messages"] > 0 and sum(result["messages_by_type"].values())
        if types is not None:
            assert set(result["messages_by_type"]) >= set(types)
        for bad in ("unknown_type", "wrong_length", "unit_invalid", "unit_truncated"):
            assert counters.get(bad, 0) == 0, (name, bad)


@REAL
def test_the_real_file_of_text():
    result = replay(SHARED / "pitch_ascii" / "bats_2008_first10000.txt")
    counters = result["counters"]
    assert result["messages"] > 10_000 and result["orders_live"] > 500
    bad = {"unknown_type", "wrong_length", "duplicate_order_ref", "over_execution", "over_cancel"}
    bad |= {"zero_quantity", "side_invalid", "price_out_of_range", "unit_truncated"}
    assert not {name: counters[name] for name in bad if counters.get(name)}
    types = result["messages_by_type"]
    assert counters["unknown_order_ref"] < 0.01 * result["messages"], "the file begins mid-day"
    assert types["0x21"] + types.get("0x2F", 0) > 1000
