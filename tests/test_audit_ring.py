"""The audit ring: one record for every decision, and what happens when there is no more room."""

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest
from numba import njit

from itch_messages import message, run
from own_desk import (
    ANYTHING,
    ASK,
    BID,
    BUY,
    CANCEL,
    MODIFY,
    NEW,
    REPLACE,
    SELL,
    Desk,
    desk_config,
    with_risk,
)
from scenes import TS, add
from tickpath import Config, Engine, emit, event, view
from tickpath.config import StrategyConfig
from tickpath.digest import symbol_number
from tickpath.layout import AUDIT, AUDIT_RECORDS, MAX_INTENTS
from tickpath.risk import Reject

Take = Callable[[np.ndarray, int], bool]
NEWS = message("S", 0, TS, event_code="Q")


class Ring:
    """Takes decisions while it is open, and notes every call."""

    def __init__(self) -> None:
        self.is_open = True
        self.records: list[tuple] = []
        self.calls: list[tuple[int, int]] = []  # (records, lost before them), where taken

    def __call__(self, rows: np.ndarray, lost: int) -> bool:
        assert rows.dtype == AUDIT and len(rows) > 0
        if self.is_open:
            self.records += rows.tolist()
            self.calls.append((len(rows), lost))
        return self.is_open

    def take(self) -> list[dict[str, int]]:
        """Decisions since the last call."""
        taken, self.records = self.records, []
        return [dict(zip(AUDIT.names or (), row, strict=True)) for row in taken]


# ---------------------------------------------------------------- one record each


def scene(**risk: Any) -> tuple[Desk, Ring]:
    ring = Ring()
    off = [each for each in ANYTHING.off if each not in ("quantity", "notional", "price_collar")]
    gate = msgspec.structs.replace(ANYTHING, off=off, max_quantity=1000, **risk)
    return Desk(desk_config(risk=gate), on_audit=ring), ring


def decided(desk: Desk, ring: Ring) -> dict[str, int]:
    """The one decision since the last call, which is the last input's."""
    (record,) = ring.take()
    assert record["input_number"] == desk.engine.block.get("input_number")
    assert record["ts_event"] == desk.now
    assert record["order_id"] == record["input_number"] * MAX_INTENTS
    return {k: v for k, v in record.items() if k not in ("input_number", "ts_event", "order_id")}


NOTHING = dict.fromkeys(
    name for name in AUDIT.names or () if name not in ("input_number", "ts_event", "order_id")
)
BLANK = dict.fromkeys(NOTHING, 0)
AAPL = symbol_number("AAPL")


def test_an_accepted_order_and_its_cancel():
    desk, ring = scene()
    ref = desk.new(BUY, 100, BID)
    common = {"symbol": AAPL, "book": 1, "side": ord("B")}
    assert decided(desk, ring) == BLANK | common | {
        "price": BID,
        "quantity": 100,
        "reference_px": ASK,
        "user_ref_num": ref,
        "kind": NEW,
    }
    desk.answer("accepted", ref)
    desk.answer("executed", ref, quantity=30, price=BID, match=1)
    assert ring.take() == [], "answers are no decisions"
    desk.cancel(ref, 50)
    assert decided(desk, ring) == BLANK | common | {
        "quantity": 50,
        "orig_user_ref_num": ref,
        "kind": CANCEL,
        "reducing": 1,
        "position": 30,
    }
    desk.modify(ref, 40)
    assert decided(desk, ring)["kind"] == MODIFY


def test_an_order_that_is_rejected_for_more_than_one_reason():
    desk, ring = scene(max_notional=50_000.0)
    desk.new(BUY, 1_001, ASK * 2)
    record = decided(desk, ring)
    failed = (Reject.QUANTITY, Reject.NOTIONAL, Reject.PRICE_COLLAR)
    assert record["failed"] == sum(1 << code for code in failed)
    assert record["code"] == Reject.QUANTITY and record["user_ref_num"] == 1
    assert desk.take_sent() == []


def test_an_order_beyond_a_soft_level_is_warned_of():
    desk, ring = scene(soft_percent=50.0)
    desk.new(BUY, 501, BID)
    record = decided(desk, ring)
    assert (record["failed"], record["warned"], record["code"]) == (0, 1 << Reject.QUANTITY, 0)


def test_a_short_sale_has_the_side_that_it_is_sent_with():
    desk, ring = scene()
    desk.new(SELL, 10, ASK)
    assert decided(desk, ring)["side"] == ord("T") and desk.take_sent()[0].side == "T"


def test_a_replacement_names_both_orders():
    desk, ring = scene()
    ref = desk.new(BUY, 100, BID)
    desk.answer("accepted", ref)
    ring.take()
    new = desk.replace(ref, 90, BID - 100)
    record = decided(desk, ring)
    names = ("kind", "user_ref_num", "orig_user_ref_num", "price", "quantity", "book", "symbol")
    assert [record[name] for name in names] == [REPLACE, new, ref, BID - 100, 90, 1, AAPL]


@pytest.mark.parametrize("kind", [CANCEL, MODIFY, REPLACE])
def test_what_is_asked_about_an_order_that_never_was(kind):
    desk, ring = scene()
    desk._do(kind, 77, 10, BID, 0)
    record = decided(desk, ring)
    assert record["code"] == Reject.UNKNOWN_ORDER and record["orig_user_ref_num"] == 77
    assert record["failed"] == 1 << Reject.UNKNOWN_ORDER
    assert (record["book"], record["symbol"], record["kind"]) == (0, 0, kind)


@pytest.mark.parametrize("book", [0, 16, 1 << 20, (1 << 32) - 1])
def test_an_order_for_a_book_that_there_is_not(book):
    desk, ring = scene()
    desk.new(BUY, 10, BID, book)
    record = decided(desk, ring)
    assert (record["code"], record["book"]) == (Reject.MALFORMED, 0)


def test_an_operators_cancels_are_decisions_too():
    desk, ring = scene()
    refs = [desk.new(BUY, 10, BID - 100 * n) for n in range(3)]
    ring.take()
    desk.engine.command("cancel_all", who="ops", why="test")
    records = ring.take()
    assert [each["orig_user_ref_num"] for each in records] == refs
    # The last input is that the strategy was told.
    number = desk.engine.block.get("input_number") - 1
    assert [each["order_id"] for each in records] == [number * MAX_INTENTS + n for n in range(3)]
    assert {each["code"] for each in records} == {0}


# ---------------------------------------------------------------- many of them


@njit
def floods(engine, book, kind, flags):
    """On every message as many intents as the first cell says; one in four is a cancel."""
    cells = view.state(engine)
    if kind == event.ORDER:
        return
    for n in range(cells[0]):
        if n % 4 == 3:
            emit.cancel_order(engine, cells[1], 0)
        else:
            cells[1] = emit.new_order(engine, 1, view.BUY, 1 + n, BID - 100 * n)


def flooding(intents: int, model: str = "touch", **risk: Any) -> Config:
    risk = {"order_burst": 10**7, "symbol_order_burst": 10**7, **risk}
    config = with_risk(desk_config(model=model), **risk)
    strategy = StrategyConfig(cells=16, parameters=[intents])
    return msgspec.structs.replace(config, strategy=strategy)


@pytest.mark.parametrize("intents", [1, 5, MAX_INTENTS])
def test_one_run_of_any_length_is_handed_over_whole(intents):
    """The ring is emptied on the way, before it is full."""
    ring = Ring()
    engine = Engine(flooding(intents), strategy=floods, on_audit=ring)
    engine.feed(run([add(1, "B", 300, BID), *[NEWS] * (3 * AUDIT_RECORDS // intents)]))
    counters = engine.counters
    assert len(ring.records) == counters["intents"] > 3 * AUDIT_RECORDS
    assert counters["audit_lost"] == 0 and "AUDIT_FULL" not in engine.rejects_by_code
    codes = [dict(zip(AUDIT.names or (), row, strict=True))["code"] for row in ring.records]
    assert sum(1 for code in codes if code) == counters["orders_rejected"]
    assert {lost for _, lost in ring.calls} == {0}
    most = max(number for number, _ in ring.calls)
    assert AUDIT_RECORDS - 2 * MAX_INTENTS < most <= AUDIT_RECORDS
    ids = [row[2] for row in ring.records]
    assert ids == sorted(set(ids)), "each decision has a number of its own, and they rise"


@pytest.mark.parametrize("model", ["touch", "queue", "exchange"])
def test_the_state_is_the_same_whether_decisions_are_wanted_or_not(model):
    outcomes = []
    for ring in (None, Ring()):
        engine = Engine(flooding(7, model), strategy=floods, on_audit=ring)
        engine.feed(run([add(1, "B", 300, BID), *[NEWS] * 900]))
        outcomes.append((engine.state_digest, engine.take_orders(), engine.counters))
        if ring is None:
            assert not engine.block.audit.tobytes().strip(b"\0")
            assert engine.block.get("audit_used") == 0
    assert outcomes[0] == outcomes[1]


# ---------------------------------------------------------------- full


def full(rule: str) -> tuple[Engine, Ring]:
    """An engine whose decisions nobody takes, up to the last place of the ring."""
    ring = Ring()
    ring.is_open = False
    engine = Engine(flooding(MAX_INTENTS, audit_full=rule), strategy=floods, on_audit=ring)
    engine.feed(run([add(1, "B", 300, BID)]))
    engine.feed(run([NEWS] * (AUDIT_RECORDS // MAX_INTENTS - 1)))
    assert engine.block.get("audit_used") == AUDIT_RECORDS
    assert engine.counters["audit_lost"] == 0
    return engine, ring


def test_a_full_ring_stops_orders_but_not_cancels():
    engine, ring = full("stop")
    sent, rejected = engine.counters["orders_sent"], engine.counters["orders_rejected"]
    engine.take_orders()
    engine.feed(run([NEWS]))
    assert engine.rejects_by_code["AUDIT_FULL"] == 12
    # The strategy's cancels are of orders that were rejected just now.
    assert {raw[:1] for raw in engine.take_orders()} == set()
    assert engine.counters["orders_sent"] == sent
    assert engine.counters["orders_rejected"] == rejected + MAX_INTENTS
    assert engine.counters["audit_lost"] == MAX_INTENTS, "what was not written is counted"
    assert ring.calls == []


def test_a_full_ring_lets_cancels_of_open_orders_pass():
    ring = Ring()
    desk = Desk(with_risk(desk_config(), audit_full="stop"), on_audit=ring)
    ref, other = desk.new(BUY, 10, BID), desk.new(BUY, 10, BID)
    desk.take_sent()
    ring.is_open = False
    desk.engine.block.set("audit_used", AUDIT_RECORDS)
    desk.new(BUY, 10, BID)
    desk.replace(ref, 5, BID)
    assert desk.take_sent() == [] and desk.engine.rejects_by_code == {"AUDIT_FULL": 2}
    desk.cancel(ref)
    desk.modify(other, 5)
    assert [sent.kind for sent in desk.take_sent()] == [CANCEL, MODIFY]
    assert desk.engine.counters["audit_lost"] == 4


def test_trading_goes_on_once_the_ring_is_emptied():
    engine, ring = full("stop")
    engine.feed(run([NEWS] * 3))
    sent = engine.counters["orders_sent"]
    ring.is_open = True
    engine.feed(run([NEWS]))
    assert engine.counters["orders_sent"] == sent, "it was full when they were decided"
    engine.feed(run([NEWS]))
    assert engine.counters["orders_sent"] > sent
    # Those four messages' decisions were lost between the two that were taken.
    assert ring.calls == [(AUDIT_RECORDS, 0), (MAX_INTENTS, 4 * MAX_INTENTS)]
    engine.feed(run([NEWS]))
    assert ring.calls[-1] == (MAX_INTENTS, 0)
    assert len(ring.records) + engine.counters["audit_lost"] == engine.counters["intents"]


def test_a_full_ring_that_is_only_counted():
    engine, ring = full("count")
    sent = engine.counters["orders_sent"]
    engine.feed(run([NEWS] * 5))
    assert engine.counters["orders_sent"] > sent + 50
    assert "AUDIT_FULL" not in engine.rejects_by_code
    assert engine.counters["audit_lost"] == 5 * MAX_INTENTS
    ring.is_open = True
    for _ in range(2):
        engine.feed(run([NEWS]))
    assert ring.calls == [(AUDIT_RECORDS, 0), (MAX_INTENTS, 6 * MAX_INTENTS)]
    assert sum(lost for _, lost in ring.calls) == engine.counters["audit_lost"]
    assert len(ring.records) + engine.counters["audit_lost"] == engine.counters["intents"]


@pytest.mark.parametrize("rule", ["stop", "count"])
def test_what_is_decided_does_not_depend_on_when_the_ring_is_emptied(rule):
    """Unless it is full: as long as there is room, taking late changes nothing."""
    outcomes = []
    for late in (False, True):
        ring = Ring()
        engine = Engine(flooding(4, audit_full=rule), strategy=floods, on_audit=ring)
        engine.feed(run([add(1, "B", 300, BID)]))
        for number in range(600):
            ring.is_open = not late or number % 150 == 149
            engine.feed(run([NEWS]))
        ring.is_open = True
        engine.feed(run([NEWS]))
        outcomes.append((engine.state_digest, ring.records, engine.take_orders()))
    assert outcomes[0] == outcomes[1]


def test_where_nobody_wants_decisions_there_is_no_ring_to_be_full():
    engine = Engine(flooding(MAX_INTENTS, audit_full="stop"), strategy=floods)
    engine.feed(run([add(1, "B", 300, BID), *[NEWS] * 600]))
    assert engine.counters["intents"] > 2 * AUDIT_RECORDS
    assert "AUDIT_FULL" not in engine.rejects_by_code and engine.counters["audit_lost"] == 0
