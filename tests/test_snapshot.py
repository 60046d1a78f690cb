"""Snapshots: restored and continued equals never stopped, and nothing damaged is ever restored."""

import json
import random
from collections import Counter
from collections.abc import Iterable
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

import pitch_messages
import pitch_scenes
import pitch_streams
from itch_messages import frame, message, mold, packets, run
from own_desk import ASK, BID, BUY, Desk, desk_config, validate_own
from own_desk import SELL as SELLS
from scenes import TS, add, delete
from streams import CAPACITY, SMALL, collisions, messages
from structure import validate
from tickpath import Config, Engine, emit, event, view
from tickpath.config import Capacity, Feed, Fills, Indicators, Limits, Orders, Risk, StrategyConfig
from tickpath.generate import Faults, SessionPlan, generate_messages, generate_packets
from tickpath.layout import AUDIT_RECORDS, ENGINE, LINE, OWN_EVENTS, OWN_ORDERS, PAGE, REGIONS
from tickpath.samples import imbalance_taker, two_sided_quoter
from tickpath.snapshot import (
    BY_INDEX,
    BY_KEY,
    LEFT_OUT,
    LISTED,
    NAMED,
    RUN_OPTIONS,
    SCALARS,
    SECTIONS,
)
from tickpath.snapshot_stream import MAGIC, SnapshotError, pack, unpack
from tickpath.state import BBO_ROWS
from tickpath.wire.control import Limit
from trader import busy, eventful, trading
from two_venues import both

TRADING = Risk(
    unknown_trading_state="trade",
    trading_hours="any",
    order_burst=20,
    orders_per_second=5,
    off=["no_reference", "stale_reference", "price_collar", "stale_book", "self_match"],
)
PARAMETERS = {imbalance_taker: [150, 100, 1], two_sided_quoter: [1, 100, 1]}


def config(strategy=None, base: Config = SMALL, **parts) -> Config:
    """The small configuration with a timer, few orders a second, and a strategy's parameters."""
    chosen = StrategyConfig(
        parameters=PARAMETERS.get(strategy, []),
        cells=base.strategy.cells,
        timer_interval_ms=300,
    )
    return msgspec.structs.replace(base, strategy=chosen, risk=TRADING, **parts)


@njit
def watchful(engine, book, kind, flags):
    """Writes down all that it can see, and asks for an order at every timer and gap."""
    cells = view.state(engine)
    seen = view.bid_px(engine, book) * 3 + view.ask_sz(engine, book) * 5 + view.ema(engine, book)
    seen += view.vwap(engine, book) * 7 + view.sma(engine, book) * 11 + view.messages(engine)
    seen += view.quantity_at(engine, 1, view.BUY, 1_000_000) + view.position(engine, book)
    seen += view.pnl(engine, book) + view.order_state(engine, cells[9])
    seen += view.leaves_qty(engine, cells[9]) * 13 + view.cum_qty(engine, cells[9]) * 17
    if kind == event.ORDER:
        seen += view.order_event_kind(engine) * 19 + view.order_event_ref(engine) * 23
        seen += view.order_event_quantity(engine) * 29 + view.order_event_px(engine) * 37
    cells[kind] = cells[kind] * 31 + seen + flags
    if kind == event.TIMER or kind == event.STALE:
        price = max(view.ask_px(engine, 1), 1_000_000)
        cells[9] = emit.new_order(engine, 1, view.BUY, 100, price)
        emit.cancel_order(engine, cells[9], 40)
        emit.replace_order(engine, cells[9], 200, 1_000_000)


STRATEGIES = [None, imbalance_taker, two_sided_quoter, watchful]


class Watched:
    """An engine and all that it gave to the outside."""

    def __init__(self, settings: Config, strategy=None) -> None:
        self.rows: list[tuple] = []
        self.orders: list[bytes] = []
        self.engine = Engine(settings, strategy=strategy, on_bbo=self._keep)

    def _keep(self, columns: dict[str, np.ndarray]) -> None:
        self.rows += zip(*(each.tolist() for each in columns.values()), strict=True)

    def take(self) -> None:
        self.orders += self.engine.take_orders()


def assert_same(restored: Watched, original: Watched) -> None:
    """Whatever can be seen of two engines is equal."""
    here, there = restored.engine, original.engine
    assert here.counters == there.counters
    assert here.book_digest == there.book_digest
    assert here.state_digest == there.state_digest
    assert here.messages_by_type == there.messages_by_type
    assert here.rejects_by_code == there.rejects_by_code
    assert here.resting().tolist() == there.resting().tolist()
    assert here.own_orders().tolist() == there.own_orders().tolist()
    assert (here.lines(), here.gaps()) == (there.lines(), there.gaps())
    assert restored.orders == original.orders
    assert restored.rows == original.rows
    assert here.snapshot() == there.snapshot()


# ---------------------------------------------------------------- restored equals not stopped


MODELS = ["touch", "through", "queue"]


def cut_and_gone_on(whole: bytes, cut: int, strategy, model: Any = "touch") -> Engine:
    """The run as it is and with another engine from the cut on: nothing tells them apart."""
    settings_ = config(strategy, fills=Fills(model=model))
    original, restored = Watched(settings_, strategy), Watched(settings_, strategy)
    original.engine.feed(whole[:cut])
    restored.engine.restore(original.engine.snapshot())
    restored.rows = original.rows.copy()
    validate(restored.engine)
    validate_own(restored.engine)
    assert_same(restored, original)
    for each in (original, restored):
        each.engine.feed(whole[cut:])
        each.take()
    validate(restored.engine)
    assert_same(restored, original)
    return original.engine


@settings(max_examples=80)
@given(messages(60), st.data(), st.sampled_from(STRATEGIES), st.sampled_from(MODELS))
def test_a_run_that_is_cut_anywhere_goes_on_as_if_it_had_not(given_messages, data, strategy, model):
    whole = run(given_messages)
    cut = data.draw(st.integers(0, len(whole)), label="cut")
    cut_and_gone_on(whole, cut, strategy, model)


def test_long_runs_that_are_cut_anywhere_go_on_as_if_they_had_not():
    """With orders sent, filled and rejected, prints broken and windows moved on both sides."""
    seen: Counter[str] = Counter()
    for seed in range(60):
        whole = run(collisions(seed, 500))
        cut = random.Random(seed).randrange(len(whole))
        model = MODELS[seed // 4 % 3]
        seen.update(cut_and_gone_on(whole, cut, STRATEGIES[seed % 4], model).counters)
    for name in ("orders_sent", "orders_rejected", "assumed_fills", "timers", "broken_trades"):
        assert seen[name] > 20, name
    assert seen["recentres"] > 100 and seen["overflow_adds"] > 100


@settings(max_examples=60)
@given(st.integers(0, 1 << 32), st.data(), st.sampled_from(STRATEGIES))
def test_lines_with_loss_and_duplicates_go_on_as_well(seed, data, strategy):
    stream = packets(list(collisions(seed, 120)), 3)
    way = data.draw(st.lists(st.integers(0, len(stream) - 1), min_size=5, max_size=60))
    cut = data.draw(st.integers(0, len(way)))
    settings_ = config(strategy)
    original, restored = Watched(settings_, strategy), Watched(settings_, strategy)
    for at in sorted(way[:cut]):  # rising, with what is missing and what comes twice
        original.engine.feed_packet(stream[at])
    original.take()
    restored.engine.restore(original.engine.snapshot())
    restored.rows, restored.orders = original.rows.copy(), original.orders.copy()
    for each in (original, restored):
        for at in way[cut:]:
            each.engine.feed_packet(stream[at])
        each.take()
    assert_same(restored, original)


def _fed(each: Watched, steps: list[tuple[bool, bytes]]) -> None:
    for is_pitch, raw in steps:
        if is_pitch:
            pitch_scenes.feed(each.engine, [raw])
        else:
            each.engine.feed(run([raw]))
    each.take()


@pytest.mark.parametrize("seed", range(9))
def test_two_venues_go_on_from_anywhere(seed):
    """Orders of both kinds in their queues, own orders on both, one position a symbol."""
    settings_ = trading(timer_interval_ms=200, model=MODELS[seed % 3])
    original, restored = Watched(settings_, busy), Watched(settings_, busy)
    steps = list(both(eventful(seed, 500), seed))
    cut = random.Random(seed).randrange(len(steps) // 3, len(steps))
    _fed(original, steps[:cut])
    restored.engine.restore(original.engine.snapshot())
    restored.rows, restored.orders = original.rows.copy(), original.orders.copy()
    for engine in (original.engine, restored.engine):
        validate(engine)
        validate_own(engine)
    assert_same(restored, original)
    for each in (original, restored):
        _fed(each, steps[cut:])
        validate(each.engine)
    assert_same(restored, original)
    own = original.engine.own_orders()["book"]
    assert (own < CAPACITY.symbols).any() and (own >= CAPACITY.symbols).any()


@pytest.mark.parametrize("seed", range(6))
def test_units_of_several_venues_go_on_from_anywhere(seed):
    """Sequences, seconds, venues and gaps of units; a clear behind the cut still finds them."""
    rng = random.Random(seed)
    groups = [("224.0.62.2", 30001), ("224.0.62.130", 30002)]
    feed = Feed(venues={"224.0.62.130:30002": "cboe-edgx"})
    settings_ = msgspec.structs.replace(SMALL, feed=feed)
    original, restored = Watched(settings_), Watched(settings_)
    stream = [
        raw for raw in pitch_streams.collisions(seed, 900, lively=seed % 2 == 0) if raw[0] > 1
    ]
    wire, following = [], dict.fromkeys([(n, group) for n in (1, 2) for group in groups], 1)
    while stream:
        name = rng.choice(list(following))
        count = rng.randint(1, 9)
        sent, stream = stream[:count], stream[count:]
        if rng.random() > 0.05:
            raw = pitch_messages.unit(sent, name[0], following[name])
            wire.append(pitch_messages.frame(raw, name[1]))
        following[name] += len(sent)
    last = pitch_messages.message("unit_clear")
    for (number, group), sequence in following.items():
        wire.append(pitch_messages.frame(pitch_messages.unit([last], number, sequence), group))
    cut = rng.randrange(len(wire) - 4)
    for raw in wire[:cut]:
        original.engine.feed_packet(raw)
    restored.engine.restore(original.engine.snapshot())
    restored.rows = original.rows.copy()
    assert_same(restored, original)
    for raw in wire[cut:]:
        for each in (original, restored):
            each.engine.feed_packet(raw)
    validate(restored.engine)
    assert_same(restored, original)
    assert original.engine.orders_live == 0 and original.engine.counters["orders_cleared"] > 0


def _session(**plan) -> bytes:
    chunks = generate_messages(SessionPlan(heartbeat_s=0, **plan))
    return b"".join(chunk.tobytes() for chunk in chunks)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_generated_session_in_many_pieces_each_by_another_engine(strategy):
    session = _session(messages=30_000, symbols=40, seed=5, crossed=True)
    settings_ = config(strategy, Config(capacity=Capacity(symbols=64, orders=1 << 17, trades=4096)))
    original = Watched(settings_, strategy)
    relay = Watched(settings_, strategy)
    step = len(session) // 7
    for at in range(0, len(session), step):
        saved = relay.engine.snapshot()
        following = Watched(settings_, strategy)
        following.rows, following.orders = relay.rows, relay.orders
        following.engine.restore(saved)
        assert following.engine.snapshot() == saved
        relay = following
        for each in (original, relay):
            each.engine.feed(session[at : at + step])
        if at > len(session) // 2:  # until then they wait inside the engine
            original.take()
            relay.take()
    assert_same(relay, original)
    assert original.engine.orders_live > 1000 and original.engine.counters["overflow_adds"] > 0


def test_a_faulty_session_of_packets_in_two_pieces():
    plan = SessionPlan(
        messages=20_000,
        symbols=30,
        seed=8,
        faults=Faults(0.02, 0.05, 0.02, 0.01, 0.01),
    )
    settings_ = config(watchful, Config(capacity=Capacity(symbols=64, orders=1 << 16)))
    original, restored = Watched(settings_, watchful), Watched(settings_, watchful)
    for number, lent in enumerate(generate_packets(plan)):
        original.engine.process(lent)
        if number:
            restored.engine.process(lent)
        else:
            restored.engine.restore(original.engine.snapshot())
            restored.rows = original.rows.copy()
    for each in (original, restored):
        each.take()
    assert original.engine.counters["gaps"] > 10
    assert_same(restored, original)


def test_prices_far_from_the_touch_stay_where_they_were():
    """An empty window beside a far level, and misses that are counted: nothing moves."""
    sub_penny = add(1, price=1_000_001)
    around = [add(10 + n, price=2_000_000 - 100 * n) for n in range(3)]
    far = [add(40 + n, price=1_000_000 + 100 * n) for n in range(50)]
    cheap = [add(100, price=9_999), add(101, "S", price=9_998), add(102, "S", price=20_050)]
    behind = [add(200 + n, price=1_050_000 + 100 * n) for n in range(100)]
    left_behind = [add(1), add(2, price=1_200_000), *behind, delete(2)]
    for stream in (
        [sub_penny],
        [sub_penny, *around, *far],
        [*around, *far, sub_penny, *cheap],
        left_behind,
    ):
        original, restored = Watched(SMALL), Watched(SMALL)
        original.engine.feed(run(stream))
        restored.engine.restore(original.engine.snapshot())
        here, there = (each.engine.block.side for each in (restored, original))
        for field in ("key", "base", "best_px", "summary", "misses"):
            assert here[field].tolist() == there[field].tolist(), field
        validate(restored.engine)


# ---------------------------------------------------------------- which engine


def test_an_engine_that_was_used_becomes_what_the_snapshot_says():
    settings_ = config(imbalance_taker)
    original, used = (Watched(settings_, imbalance_taker) for _ in range(2))
    original.engine.feed(run(collisions(1, 400)))
    used.engine.feed(run(collisions(2, 700)) + b"\0")
    used.engine.block.gate["killed"] = 1
    used.engine.restore(original.engine.snapshot())
    used.rows = original.rows
    assert_same(used, original)
    assert used.engine.strategy is not None and used.engine.block.get("strategy")


def test_other_capacities_will_do_where_everything_fits():
    large = msgspec.structs.replace(
        config(), capacity=Capacity(symbols=100, orders=1 << 18, trades=4096)
    )
    original, restored = Watched(config()), Watched(large)
    stream = list(collisions(3, 800))
    original.engine.feed(run(stream[:500]))
    restored.engine.restore(original.engine.snapshot())
    assert restored.engine.snapshot() == original.engine.snapshot()
    back = Watched(config())
    back.engine.restore(restored.engine.snapshot())
    for each in (original, back):
        each.rows.clear()
        each.engine.feed(run(stream[500:]))
        each.take()
    assert_same(back, original)


def _prints(numbers: Iterable[int]) -> list[bytes]:
    return [
        message("P", 1, TS, ref=0, side="B", shares=5, stock="AAPL", price=100, match_number=n)
        for n in numbers
    ]


@pytest.mark.parametrize(
    ("name", "stream", "small"),
    [
        ("capacity.symbols is 8, 10 are needed", [add(1, locate=9)], {}),
        (
            "capacity.orders is too small",
            [add(1 + n * PAGE) for n in range(40)],
            {"orders": 16 * PAGE},
        ),
        (
            "capacity.overflow_levels is too small: 2047 of 3000 orders fit",
            [add(1 + n, price=1_000_001 + 3 * 100 * n) for n in range(3000)],
            {"overflow_levels": 2048},
        ),
        (
            "capacity.trades is too small: 2 records do not fit 1024 places",
            [add(1), *_prints([7, 7 + 1024])],
            {"trades": 1024},
        ),
    ],
)
def test_what_does_not_fit_is_named_and_changes_nothing(name, stream, small):
    large = msgspec.structs.replace(
        SMALL, capacity=Capacity(symbols=16, orders=1 << 18, overflow_levels=8192, trades=4096)
    )
    original = Engine(large)
    original.feed(run(stream))
    limits = {"symbols": 16, "orders": 1 << 18, "overflow_levels": 8192, "trades": 4096}
    limits = limits | small if small else limits | {"symbols": 8}
    other = Engine(msgspec.structs.replace(SMALL, capacity=Capacity(**limits)))
    _refused(other, original.snapshot(), name)


def _refused(engine: Engine, saved: bytes, *texts: str) -> None:
    """Restoring raises one line with each of the texts and leaves the engine as it was."""
    engine.feed(run([add(77, stock="MSFT")]))
    before, block = engine.snapshot(), engine.block
    with pytest.raises(SnapshotError) as raised:
        engine.restore(saved)
    for text in texts:
        assert text in str(raised.value)
    assert "\n" not in str(raised.value)
    assert engine.block is block and engine.snapshot() == before


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("indicators.sma_window", {"indicators": Indicators(sma_window=6, ema_window=9)}),
        ("indicators.ema_window", {"indicators": Indicators(sma_window=5, ema_window=8)}),
        ("strategy.cells", {"strategy": StrategyConfig(cells=17)}),
        ("strategy.timer_interval_ms", {"strategy": StrategyConfig(cells=16, timer_interval_ms=1)}),
        ("orders.protocol", {"orders": Orders(protocol="ouch42")}),
        ("fills.model", {"fills": Fills(model="queue")}),
        ("risk.symbols", {"risk": Risk(symbols={"ZVZZT": Limits()})}),
    ],
)
def test_another_configuration_is_refused_by_name(name, change):
    original = Engine(SMALL)
    original.feed(run([add(1)]))
    _refused(Engine(msgspec.structs.replace(SMALL, **change)), original.snapshot(), name)


# ---------------------------------------------------------------- what belongs to it


def test_limits_and_switches_that_were_changed_at_run_time_are_kept():
    settings_ = config(imbalance_taker)
    original, restored = Engine(settings_), Engine(settings_)
    original.feed(run([add(1)]))
    original.command("kill", who="ops", why="test", scope="G", level=1)
    original.command("kill", who="ops", why="test", scope="B", symbol="AAPL", level=2)
    change = {"limit": Limit.MAX_QUANTITY, "value": 7, "expires": TS + 10**9}
    original.command("limit", who="ops", why="test", **change)
    original.block.cell["value"][0] = 0  # a parameter that the strategy has set to nothing
    restored.restore(original.snapshot())
    for name in ("cell", "limit", "symbol_limit", "gate", "revert"):
        assert restored.block.views[name].tobytes() == original.block.views[name].tobytes(), name
    for engine in (original, restored):
        engine.feed(run([add(2, locate=2, stock="MSFT")]))
        assert engine.block.limit["max_quantity"][2] == 7, "a symbol that was not seen before"
        engine.feed(run([message("S", 0, TS + 10**9, event_code="Q")]))
        assert engine.block.limit["max_quantity"][1:3].tolist() == [10_000, 10_000]
    assert restored.snapshot() == original.snapshot()


@njit
def buyer(engine, book, kind, flags):
    if kind == event.BOOK:
        emit.new_order(engine, book, view.BUY, 10, 1_000_000)


def test_a_strategys_own_limits_hold_for_symbols_that_are_seen_after_a_restore():
    risk = msgspec.structs.replace(TRADING, strategies={"buyer": Limits(max_quantity=9)})
    settings_ = msgspec.structs.replace(config(), risk=risk)
    original, restored = (Engine(settings_, strategy=buyer) for _ in range(2))
    original.feed(run([add(1)]))
    restored.restore(original.snapshot())
    for engine in (original, restored):
        engine.feed(run([add(2, locate=2, stock="MSFT")]))
        assert engine.rejects_by_code == {"QUANTITY": 2}


@njit
def raises(engine, book, kind, flags):
    raise ValueError("not today")


def test_a_strategy_that_was_latched_off_stays_so_and_says_why():
    original, restored = Engine(SMALL, strategy=raises), Engine(SMALL, strategy=raises)
    original.feed(run([add(1), add(2)]))
    assert "not today" in (original.strategy_error or "")
    restored.restore(original.snapshot())
    assert restored.strategy_error == original.strategy_error
    assert restored.snapshot() == original.snapshot()
    restored.feed(run([add(3)]))
    assert restored.counters["strategy_raised"] == 1


def test_what_was_said_about_a_gap_is_said_once():
    """Saved between the gap and the next message, the strategy is told by who was restored."""
    stream = packets([add(n) for n in range(1, 9)], 1)
    original, restored = (Watched(config(watchful), watchful) for _ in range(2))
    original.engine.feed_packet(stream[0])
    original.engine.feed_packet(frame(mold([], 5)))  # a heartbeat that reveals a gap
    assert original.engine.block.get("gapped")
    assert unpack(original.engine.snapshot())["engine"]["stale_untold"].tolist() == [1]
    restored.engine.restore(original.engine.snapshot())
    for each in (original, restored):
        each.engine.feed_packet(stream[4])
        each.take()
    restored.rows = original.rows
    assert original.engine.block.cell["value"][event.STALE] != 0
    assert_same(restored, original)


def test_a_snapshot_is_refused_inside_a_packet_be_it_in_a_callback_or_at_a_limit():
    outcomes = []

    def taken(_: object) -> None:
        try:
            outcomes.append(len(engine.snapshot()))
        except SnapshotError as error:
            outcomes.append(str(error)[:38])

    engine = Engine(SMALL, on_bbo=taken)
    stream = [add(1), delete(1)] * (BBO_ROWS // 2 + 10)
    engine.feed(run(stream))
    # The first time in the middle of the run, the second time behind its last message.
    assert outcomes == ["a snapshot is taken between packets: n", len(engine.snapshot())]
    stopped = Engine(SMALL)
    stopped.block.set("message_limit", 3)
    stopped.feed(run(stream[:5]))
    with pytest.raises(SnapshotError, match="message limit may have stopped"):
        stopped.snapshot()


def test_a_message_limit_that_the_snapshot_is_beyond_lets_nothing_more_in():
    original, restored = Engine(SMALL), Engine(SMALL)
    original.feed(run([add(n) for n in range(1, 6)]))
    restored.block.set("message_limit", 3)
    restored.restore(original.snapshot())
    restored.feed(run([add(6)]))
    assert restored.messages == 5 and restored.block.get("stopped")


def test_every_field_of_the_engine_is_saved_or_is_known_not_to_matter():
    """A new field or region fails here until somebody has decided what it is."""
    derived = "book_digest orders_live timer_interval books locates listed listed_used "
    derived += "listed_shift holding_shift positions far0 "
    derived += "far_fresh far_free far_used "
    derived += "page_mask page_fresh page_free page_entries trade_mask sma_window ema_divisor "
    derived += "feed_format pitch_venue group_venues "
    derived += "reorder_packets reorder_ns recovers held waiting "
    derived += "sparse_shift sparse_fresh sparse_free sparse_live "
    derived += "order_protocol groups egress_limit bbo_limit"
    under_way = (
        "intents egress_used bbo_used stopped pause line cursor run_end run_left bare watch "
    )
    under_way += "run_line run_venue run_numbered unit_ns run_kind own_event audit_used warned "
    under_way += "reference_px ts_recv bare_line run_held kept diverged"
    latency = "sample_mask lent_at polled_at due_at stamp paced pace_ts pace_cycles pace_multiplier"
    outside = "strategy_error "  # its text is in the header
    outside += "scrub_next scrub_slice"  # where whoever leads stands
    places = [f"{region.name}_{what}" for region in REGIONS for what in ("at", "count")]
    decided = [*SCALARS, *RUN_OPTIONS, *places]
    decided += [name for text in (derived, under_way, latency, outside) for name in text.split()]
    assert sorted(decided) == sorted(ENGINE.names or ())
    made_again = (
        "holding side bitmap level far order page_entry page_owner sma band start template named "
    )
    made_again += (
        "group message_length pitch_length response_length command_length intent egress ahead "
    )
    made_again += "audit histogram sparse_entry sparse_order listed own_books "
    made_again += "held_packet held_bytes arrival "
    made_again += "bbo_seq bbo_ts_event bbo_book bbo_bid_px bbo_bid_sz bbo_ask_px bbo_ask_sz"
    saved = [*BY_INDEX, *BY_KEY, *LISTED, *NAMED, "type_count"]
    assert sorted([*saved, *made_again.split()]) == sorted(region.name for region in REGIONS)
    left_out = {
        name for region in REGIONS if region.name in saved for name in region.dtype.names
    } & LEFT_OUT
    assert left_out == LEFT_OUT


# ---------------------------------------------------------------- own orders


def followed(desk: Desk, steps: list) -> None:
    """Send, answer, command and trade as the steps say, whatever becomes of it."""
    for what, *values in steps:
        if what == "command":
            name, fields = values
            desk.engine.command(name, who="ops", why="test", **fields)
        elif what == "market":
            desk.feed(*values)
        elif what in ("new", "replace", "cancel", "modify"):
            getattr(desk, what)(*values)
        else:
            ref, fields = values
            desk.answer(what, ref, **fields)


OWN_STEPS: list = [
    ("new", BUY, 100, BID),
    ("accepted", 1, {}),
    ("executed", 1, {"quantity": 30, "price": BID, "match": 1}),
    ("new", SELLS, 50, ASK, 2),
    ("replace", 1, 90, BID - 100),
    ("replace", 3, 80, BID - 200),
    (
        "command",
        "limit",
        {"symbol": "AAPL", "limit": Limit.COLLAR_PX, "value": 9, "expires": TS + 5},
    ),
    ("accepted", 2, {"price": ASK + 100}),
    ("cancel", 2, 20),
    ("command", "limit", {"limit": Limit.TOTAL_MAX_GROSS, "value": 10**15, "expires": TS + 9}),
    ("command", "kill", {"scope": "B", "symbol": "MSFT", "level": 1}),
    ("replaced", 3, {"orig": 1}),
    ("executed", 1, {"quantity": 1, "price": BID, "match": 2}),
    ("executed", 1, {"quantity": 30, "price": BID, "match": 1}),
    ("market", message("S", 0, TS + 6, event_code="Q")),
    ("broken", 1, {"match": 2}),
    ("executed", 3, {"quantity": 60, "price": BID - 100, "match": 3}),
    ("new", BUY, 10, BID),
    ("command", "position", {"symbol": "MSFT", "quantity": -5, "cash": 77}),
    ("rejected", 5, {}),
    ("canceled", 2, {"quantity": 30}),
    ("command", "cancel_all", {}),
    ("command", "kill", {"scope": "B", "symbol": "MSFT", "level": 0}),
    ("command", "day_roll", {}),
    ("moved", 2, {"price": ASK}),
    ("new", BUY, 10, BID, 2),
]
"""Replacements of replacements, limits that wait to go back, repeated and broken trades."""


@pytest.mark.parametrize("protocol", ["ouch50", "ouch42"])
def test_own_orders_go_on_from_any_step(protocol):
    settings_ = desk_config(protocol)
    whole = Desk(settings_)
    followed(whole, OWN_STEPS)
    seen = whole.engine.counters
    assert seen["limits_reverted"] == 2 and seen["replacements_orphaned"] == 1
    assert seen["executions_repeated"] == seen["executions_broken"] == 1
    assert seen["commands_invalid"] == 0 and seen["responses_unknown_order"] == 0
    for cut in range(len(OWN_STEPS) + 1):
        desk, other = Desk(settings_), Desk(settings_, quoted=False)
        followed(desk, OWN_STEPS[:cut])
        sent = desk.take_sent()
        other.engine.restore(desk.engine.snapshot())
        assert other.engine.snapshot() == desk.engine.snapshot()
        validate_own(other.engine)
        other._refs, other.now = desk._refs, desk.now
        followed(other, OWN_STEPS[cut:])
        validate_own(other.engine)
        assert other.engine.snapshot() == whole.engine.snapshot(), cut
        assert other.engine.state_digest == whole.engine.state_digest
        assert sent + other.take_sent() == whole.sent


@njit
def chatty(engine, book, kind, flags):
    """Sixteen orders for a message of a book; remembers the last event that it was told."""
    cells = view.state(engine)
    if kind == event.BOOK:
        for n in range(16):
            emit.new_order(engine, book, view.BUY, 1 + n, 1_000_000)
    elif kind == event.ORDER:
        cells[0] = cells[0] * 31 + view.order_event_ref(engine)
        cells[1] += 1
        if cells[1] < 400:
            emit.new_order(engine, book, view.BUY, 1, 1_000_000)


def test_events_that_wait_for_the_strategy_are_told_by_who_was_restored():
    """More happens than one input tells: the rest waits for the next one."""
    risk = msgspec.structs.replace(TRADING, order_burst=10_000, symbol_order_burst=10_000)
    settings_ = msgspec.structs.replace(config(), risk=risk)
    original, restored = (Engine(settings_, strategy=chatty) for _ in range(2))
    original.feed(run([add(1, "S", 10_000, 1_000_000)]))
    waiting = original.block.get("own_event_end") - original.block.get("own_event_first")
    assert waiting > 0 and original.block.cell["value"][1] == OWN_EVENTS
    restored.restore(original.snapshot())
    for engine in (original, restored):
        engine.feed(run([add(2, "S", 1, 1_000_100)]))
    assert restored.snapshot() == original.snapshot()
    assert original.block.cell["value"][1] == 2 * OWN_EVENTS


def test_a_snapshot_is_refused_while_decisions_wait_to_be_written():
    taken = []
    engine = Engine(config(), strategy=buyer, on_audit=lambda rows, lost: bool(taken))
    engine.feed(run([add(1)]))
    assert 0 < engine.block.get("audit_used") < AUDIT_RECORDS
    with pytest.raises(SnapshotError, match="some wait in the audit ring"):
        engine.snapshot()
    taken.append(1)
    engine.feed(run([add(2)]))
    assert engine.snapshot()


# ---------------------------------------------------------------- damage


@pytest.fixture(scope="module")
def saved() -> bytes:
    engine = Engine(config(watchful), strategy=watchful)
    engine.feed(run(collisions(4, 300)))
    change = {"limit": Limit.TOTAL_MAX_GROSS, "value": 10**15, "expires": 1 << 46}
    engine.command("limit", who="ops", why="test", **change)
    for packet in packets([add(9000 + n) for n in range(6)], 2)[::2]:
        engine.feed_packet(packet)
    engine.feed(b"\0\x13")
    return engine.snapshot()


def test_a_flipped_bit_anywhere_is_found_and_located(saved):
    words = ("damaged: the preamble", "damaged: section", "damaged: the end", "not a snapshot")
    for at in range(len(saved)):
        broken = bytearray(saved)
        broken[at] ^= 1 << at % 8
        with pytest.raises(SnapshotError) as raised:
            unpack(broken)
        assert str(raised.value).startswith(words), at


def test_a_missing_tail_of_any_length_is_found(saved):
    for length in range(len(saved)):
        with pytest.raises(SnapshotError, match=r"truncated: it has|not a snapshot|damaged"):
            unpack(saved[:length])


def test_damage_is_named_by_its_section_and_changes_nothing(saved):
    at = saved.index(b'{"name":"position"') + 60
    broken = saved[:at] + bytes([saved[at] ^ 1]) + saved[at + 1 :]
    _refused(Engine(config()), broken, "section", "(position)")
    _refused(Engine(config()), saved[:-5], "truncated", f"{len(saved)} were written")
    _refused(Engine(config()), saved + b"x", "followed by other bytes")
    _refused(Engine(config()), b"", "not a snapshot")
    _refused(Engine(config()), b"\n" * 1000, "not a snapshot")


def test_another_format_version_is_named(saved, monkeypatch):
    sections = unpack(saved)
    monkeypatch.setattr("tickpath.snapshot_stream.FORMAT_VERSION", 2)
    newer = pack(sections)
    monkeypatch.undo()
    assert newer.startswith(MAGIC)
    _refused(Engine(config()), newer, "format version 2; this package reads version 1")


@settings(max_examples=200)
@given(st.binary(max_size=300), st.booleans())
def test_arbitrary_bytes_are_refused(content, with_magic):
    with pytest.raises(SnapshotError):
        unpack(MAGIC + content if with_magic else content)


# ---------------------------------------------------------------- another build's sections


def _changed(saved: bytes, name: str, rows: np.ndarray | None) -> bytes:
    sections = unpack(saved)
    if rows is None:
        del sections[name]
    else:
        sections[name] = rows
    return pack(sections)


def _retyped(rows: np.ndarray, **kinds: str | None) -> np.ndarray:
    """The rows with other types of fields, more of them, or (None) less."""
    old = {name: rows.dtype[name].str for name in rows.dtype.names or ()}
    fields = {name: kind for name, kind in {**old, **kinds}.items() if kind}
    result = np.zeros(len(rows), np.dtype(list(reversed(fields.items()))))
    for name in old.keys() & fields.keys():
        result[name] = rows[name]
    return result


def test_fields_are_found_by_name_and_may_be_wider(saved):
    rows = _retyped(unpack(saved)["order"], price="<u8", quantity="<i8", order_ref="<u8")
    engine = Engine(config())
    engine.restore(_changed(saved, "order", rows))
    assert engine.snapshot() == saved


@pytest.mark.parametrize(
    ("name", "change", "text"),
    [
        ("position", None, "section position is missing"),
        ("header", None, "section header is missing"),
        ("weather", {}, "section weather is not known"),
        ("order", {"price": None}, "in section order, field price is missing"),
        ("order", {"mood": "<u4"}, "in section order, field mood is not known"),
        ("own", {"price": "<u2"}, "state_digest"),
    ],
)
def test_what_another_build_lacks_or_has_more_is_named(saved, name, change, text):
    rows = unpack(saved).get(name, np.zeros(1, [("a", "<u4")]))
    _refused(
        Engine(config()),
        _changed(saved, name, None if change is None else _retyped(rows, **change)),
        text,
    )


def test_a_value_that_does_not_fit_is_named(saved):
    rows = _retyped(unpack(saved)["order"], price="<u8")
    rows["price"][0] = 1 << 32
    changed = _changed(saved, "order", rows)
    _refused(Engine(config()), changed, "section order: a price does not fit <u4")


# ---------------------------------------------------------------- snapshots that somebody made up


def _first(name: str, field: str, value: Any):
    return lambda sections: sections[name][field].__setitem__(0, value)


FORGERIES = {
    "book beyond capacity": (_first("trade", "book", 1 << 30), "capacity.symbols"),
    "unknown venue": (_first("book", "venue", 77), "section book"),
    "average longer than its ring": (_first("book", "sma_count", 6), "section book"),
    "average of another book": (_first("average", "book", 7), "section average"),
    "third side": (_first("order", "side", 2), "section order"),
    "no shares": (_first("order", "quantity", 0), "order 1 of section order cannot rest"),
    "other shares": (_first("order", "quantity", 123_457), "its book_digest is"),
    "another position": (_first("position", "cash", 5), "its state_digest is"),
    "another cell": (_first("cell", "value", 5), "its state_digest is"),
    "cell beyond": (_first("cell", "cell", 16), "section cell"),
    "window of no multiple of 64": (_first("window", "base", 65), "section window"),
    "window beyond prices": (_first("window", "base", (1 << 26) - 512), "section window"),
    "lines that are not there": (_first("engine", "lines", 2), "section line"),
    "a gap of no line": (_first("gap", "line", 1), "section gap"),
    "unknown counter": (_first("counter", "name", b"sunshine"), "sunshine is not known"),
    "limits of another symbol": (_first("symbol_limit", "symbol", 5), "section symbol_limit"),
    "a limit that there is not": (_first("revert", "limit", 13), "section revert"),
    "more events than there is room for": (_first("engine", "own_event_end", 1 << 40), "own_event"),
    "events before the first": (_first("engine", "own_event_first", 1 << 40), "own_event"),
    "an event of a book beyond": (_first("own_event", "book", 1 << 20), "capacity.symbols"),
    "an own order of a book beyond": (_first("own", "book", 1 << 20), "capacity.symbols"),
}


def _own(field: str, value: int, at: int = 0):
    """Change a field of an open own order."""

    def change(sections: dict) -> None:
        rows = sections["own"]
        is_open = np.flatnonzero((rows["state"] >= 1) & (rows["state"] <= 3))
        rows[field][is_open[at]] = value

    return change


def _itself(field: str):
    def change(sections: dict) -> None:
        rows = sections["own"]
        at = np.flatnonzero((rows["state"] >= 1) & (rows["state"] <= 3))[1]
        rows[field][at] = rows["user_ref_num"][at] + 1

    return change


def _position(field: str, value: int):
    def change(sections: dict) -> None:
        rows = sections["position"]
        rows[field][np.flatnonzero(rows["first_buy"])[0]] = value

    return change


def _two_in_a_circle(sections: dict) -> None:
    """The last of a list leads to the first one, which knows of it."""
    rows, book = sections["own"], sections["position"]
    first = int(book["first_buy"][np.flatnonzero(book["first_buy"])[0]]) - 1
    places = {int(ref) % OWN_ORDERS: n for n, ref in enumerate(rows["user_ref_num"])}
    at = places[first]
    while rows["next"][at]:
        at = places[int(rows["next"][at]) - 1]
    rows["next"][at] = first + 1
    rows["previous"][places[first]] = int(rows["user_ref_num"][at]) % OWN_ORDERS + 1


LISTS = {
    "leads to itself": _itself("next"),
    "comes from itself": _itself("previous"),
    "a circle": _two_in_a_circle,
    "leads beyond the table": _own("next", OWN_ORDERS + 1),
    "leads far beyond": _own("next", (1 << 32) - 1),
    "leads to no order": _own("next", 60_000, 1),
    "comes from beyond": _own("previous", OWN_ORDERS + 1),
    "an open one in another book": _own("book", 2),
    "an open one on the other side": _own("side", ord("S")),
    "a closed one in a list": _own("state", 5),
    "another one's number": _own("user_ref_num", 60_001),
    "a list that begins nowhere": _position("first_buy", 60_000),
    "a list that begins beyond": _position("first_buy", OWN_ORDERS + 9),
    "a list that is not there": _position("first_buy", 0),
    "more open ones than there are": _position("open_orders", 77),
}


@pytest.fixture(scope="module")
def with_own_orders() -> bytes:
    desk = Desk(desk_config())
    followed(desk, OWN_STEPS[:11])
    for n in range(3):
        desk.new(BUY, 5, BID - 100 * n)
    assert len(desk.engine.own_orders(open_only=True)) == 7
    return desk.engine.snapshot()


@pytest.mark.parametrize("forgery", LISTS)
def test_lists_of_own_orders_that_lead_astray_are_refused(with_own_orders, forgery):
    """Compiled code would follow them for ever, or out of the table."""
    sections = {name: rows.copy() for name, rows in unpack(with_own_orders).items()}
    before = pack(sections)
    LISTS[forgery](sections)
    assert pack(sections) != before
    _refused(Engine(desk_config()), pack(sections), "inconsistent: section own has")


@settings(max_examples=150)
@given(st.data())
def test_own_orders_with_any_links_are_refused_or_harmless(with_own_orders, data):
    """Whatever is believed has lists that end, and the engine goes on with it."""
    sections = {name: rows.copy() for name, rows in unpack(with_own_orders).items()}
    for _ in range(data.draw(st.integers(1, 3))):
        name = data.draw(st.sampled_from(["own", "position"]))
        fields = {
            "own": [
                "next",
                "previous",
                "state",
                "book",
                "side",
                "replaces",
                "replaced_by",
                "asked",
            ],
            "position": ["first_buy", "first_sell", "open_orders", "best_buy", "open_buy"],
        }
        field = data.draw(st.sampled_from(fields[name]))
        row = data.draw(st.integers(0, len(sections[name]) - 1))
        value = data.draw(st.integers(0, 12) | st.sampled_from([66, 83, 255]))
        sections[name][field][row] = value
    header = json.loads(sections["header"].tobytes())
    desk = Desk(desk_config(), quoted=False)
    try:
        desk.engine.restore(pack(sections))
    except SnapshotError as error:
        text = str(error)
        if "state_digest" not in text:
            return
        header["state_digest"] = text.rpartition("not ")[2]
        raw = np.frombuffer(json.dumps(header).encode(), sections["header"].dtype)
        desk.engine.restore(pack({**sections, "header": raw}))
    for ref in range(1, 9):
        desk.answer("canceled", ref, quantity=1000)
        desk.answer("executed", ref, quantity=1, price=BID, match=50)
    desk.engine.command("cancel_all", who="ops", why="test")
    desk.new(BUY, 1, BID)


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_made_up_snapshot_with_sound_checksums_is_refused(saved, forgery):
    change, text = FORGERIES[forgery]
    sections = {name: rows.copy() for name, rows in unpack(saved).items()}
    change(sections)
    _refused(Engine(config()), pack(sections), text)


def test_more_lines_than_there_is_room_for_are_refused(saved):
    sections = {name: rows.copy() for name, rows in unpack(saved).items()}
    sections["line"] = np.resize(sections["line"], 65)
    sections["engine"]["lines"] = 65
    _refused(Engine(config()), pack(sections), "section line")
    assert set(LINE.names or ()) >= set(sections["line"].dtype.names or ())


def test_the_header_can_be_read_by_anybody(saved):
    sections = unpack(saved)
    assert list(sections) == list(SECTIONS)
    header = json.loads(sections["header"].tobytes())
    assert header["package"] and header["configuration"]["indicators.sma_window"] == 5
    assert set(header) == {
        *("package", "configuration", "book_digest", "state_digest", "strategy_error"),
    }
