"""All backends that run here, one suite: the same captures give the same everything.

What is expected comes from an `Engine` that is fed the packets one by one, so that the reference
backend is tested like any other.  A backend that cannot run here is skipped with its reason.
"""

from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from itch_messages import split
from sessions import columns, packets_of, session
from tickpath import Config, Engine
from tickpath.backend import BackendError, find, known
from tickpath.config import Capacity, Fills, Risk, StrategyConfig
from tickpath.generate import Faults, SessionPlan
from tickpath.outputs import BboCsv, price_text
from tickpath.replay import Plan, replay

LOCAL = {"packets", "bytes", "bytes_headers", "bytes_skipped"}
"""Counters that depend on how a transport frames what it carries."""

CAPTURES = {
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


@cache
def expected(capture: str, config: str) -> Outcome:
    """From an engine that is given one packet at a time."""
    rows: list[tuple[int, ...]] = []

    def keep(arrays: dict[str, np.ndarray]) -> None:
        rows.extend(columns(arrays))

    engine = Engine(CONFIGS[config], on_bbo=keep)
    for packet in packets_of(session("capture.pcap", CAPTURES[capture])):
        engine.feed_packet(packet.data, ts_recv=packet.ts_recv)
    names = {number: symbol for symbol, number in engine.symbols.items()}
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
    return f"{seq},{ts},nasdaq,{names[book]},{bid},{ask}"


def outcome(name: str, capture: str, config: str, place: Path, **plan: Any) -> Outcome:
    """From a replay through a backend."""
    try:
        found = find(name)
    except BackendError as error:
        pytest.skip(str(error))
    orders, bbo = str(place / "orders"), str(place / "bbo.csv")
    path = session("capture.pcap", CAPTURES[capture])
    result = replay(found, CONFIGS[config], Plan([path], orders=orders, bbo=bbo, **plan))
    assert result["backend"] == name and result["findings"] in ([], _held_back(result))
    counters = result["counters"].items()
    return Outcome(
        split(Path(orders).read_bytes()),
        result["orders"]["rejects_by_code"],
        result["book_digest"],
        result["state_digest"],
        result["messages_by_type"],
        {n: c for n, c in counters if n not in LOCAL and not n.startswith("capture_")},
        result["gaps"],
        Path(bbo).read_text().splitlines(),
    )


def _held_back(result: dict[str, Any]) -> list[str]:
    return [each for each in result["findings"] if "no trading actions" in each]


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("capture", CAPTURES)
@pytest.mark.parametrize("name", known())
def test_a_backend_does_what_the_reference_does(name, capture, config, tmp_path):
    assert outcome(name, capture, config, tmp_path) == expected(capture, config)


@pytest.mark.parametrize("name", known())
def test_a_paced_run_does_what_the_reference_does(name, tmp_path):
    assert outcome(name, "clean", "taker", tmp_path, pace=1e6) == expected("clean", "taker")


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
