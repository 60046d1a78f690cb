"""ITCH 5.0: every message's effect and event, what is refused, what a strategy is told."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import njit

from comparison import assert_equal
from itch_messages import LENGTHS, message, run
from reference import BOOK, BROKEN, LAST, STATUS, TOP, TRADE, Reference
from scenes import TS, add, cancel, counted, delete, execute, played, replace
from streams import CAPACITY, SMALL, collisions
from tickpath import Config, Engine, event, view
from tickpath.config import StrategyConfig
from tickpath.counters import Counter
from tickpath.wire.itch50 import ITCH50

RECORDING = Config(
    capacity=CAPACITY, indicators=SMALL.indicators, strategy=StrategyConfig(cells=1 << 16)
)


@njit
def recorder(engine, book, kind, flags):
    """Keep every event: how many in the first cell, then one a cell."""
    cells = view.state(engine)
    cells[0] += 1
    cells[cells[0]] = (kind << 40) | (flags << 32) | book


def told(engine: Engine) -> list[tuple[int, int, int]]:
    """(kind, book, flags) of every event that the recorder was told."""
    cells = engine.block.cell["value"]
    return [
        (int(each) >> 40, int(each) & 0xFFFFFFFF, int(each) >> 32 & 0xFF)
        for each in cells[1 : 1 + cells[0]]
    ]


def events(*given_messages: bytes) -> list[tuple[int, int, int]]:
    engine = Engine(RECORDING, strategy=recorder)
    engine.feed(run(given_messages))
    return [(kind, book, flags & ~LAST) for kind, book, flags in told(engine)]


def test_the_tables_lengths_are_the_specifications():
    assert {code: ITCH50.by_type[code].length for code in ITCH50.by_type} == LENGTHS


@pytest.mark.parametrize("code", LENGTHS)
@pytest.mark.parametrize("wrong", [-1, 1, 20])
def test_a_known_type_with_another_length_is_counted_and_skipped(code, wrong):
    raw = message(code, 1, TS)
    raw = raw[:wrong] if wrong < 0 else raw + bytes(wrong)
    engine = played(raw, add(1))
    assert counted(engine) == {"wrong_length": 1}
    assert engine.orders_live == 1 and engine.messages_by_type == {"A": 1}


def test_every_unknown_type_is_counted_and_skipped():
    unknown = [n for n in range(256) if chr(n) not in LENGTHS]
    engine = played(*(bytes([n]) + bytes(30) for n in unknown), b"", b"A")
    assert counted(engine) == {"unknown_type": len(unknown), "wrong_length": 2}
    assert engine.messages == len(unknown) + 2 and engine.messages_by_type == {}


def test_messages_are_counted_by_type_in_the_specs_order():
    engine = played(*(message(code, 1, TS) for code in sorted(LENGTHS) for _ in range(2)))
    assert engine.messages_by_type == dict.fromkeys(ITCH50.by_type, 2)
    assert list(engine.messages_by_type) == list(ITCH50.by_type)


@pytest.mark.parametrize(
    ("code", "values", "fields"),
    [
        ("H", {"trading_state": "P"}, {"trading_state": ord("P")}),
        ("Y", {"reg_sho_action": "1"}, {"reg_sho": ord("1")}),
        ("h", {"market_code": "Q", "action": "H"}, {"operational_halt": 1}),
        ("h", {"market_code": "B", "action": "H"}, {"operational_halt": 0}),
        ("h", {"market_code": "X", "action": "H"}, {"operational_halt": 0}),
        (
            "J",
            {"upper_price": 1_100_000, "lower_price": 900_000},
            {"upper_collar_px": 1_100_000, "lower_collar_px": 900_000},
        ),
        (
            "I",
            {
                "cross_type": "C",
                "imbalance_shares": 1 << 33,
                "direction": "S",
                "reference_price": 5,
                "near_price": 6,
                "far_price": 7,
            },
            {
                "auction": ord("C"),
                "imbalance": 0xFFFFFFFF,
                "imbalance_side": ord("S"),
                "reference_px": 5,
                "near_px": 6,
                "far_px": 7,
            },
        ),
        ("R", {"stock": "AAPL", "round_lot_size": 10}, {"round_lot_size": 10, "venue": 1}),
    ],
)
def test_status_is_kept_per_symbol(code, values, fields):
    engine = played(message(code, 3, TS, **values))
    for name, expected in fields.items():
        column = engine.block.book[name]
        assert int(column[3]) == expected, name
        assert not column[:3].any() and not column[4:].any(), name


def test_an_operational_halt_ends():
    halts = [message("h", 1, TS, market_code="Q", action=action) for action in "HT"]
    assert played(*halts[:1]).block.book["operational_halt"][1] == 1
    assert played(*halts).block.book["operational_halt"][1] == 0


def test_a_cross_ends_the_auction():
    imbalance = message("I", 1, TS, cross_type="O", direction="B")
    engine = played(imbalance, message("Q", 1, TS, shares=5, price=10, cross_type="O"))
    assert engine.block.book["auction"][1] == 0


def test_market_hours_are_the_last_system_event():
    engine = played(*(message("S", 0, TS, event_code=code) for code in "OSQM"))
    assert engine.block.get("market_hours") == ord("M")


@pytest.mark.parametrize("letter", [b"b", b"T", b"\0", b" "])
def test_a_side_that_is_neither_is_counted_and_left_out(letter):
    engine = played(add(1, letter))
    assert counted(engine) == {"side_invalid": 1} and engine.orders_live == 0


def test_time_going_backwards_is_counted_and_the_message_applied():
    engine = played(message("S", 0, 1000, event_code="O"), message("H", 1, 900, trading_state="T"))
    assert counted(engine) == {"time_backwards": 1}
    assert engine.block.get("engine_time") == 1000
    assert engine.block.book["trading_state"][1] == ord("T")


# ---------------------------------------------------------------- events


@pytest.mark.parametrize(
    ("given_messages", "last"),
    [
        ([add(1)], (BOOK, 1, TOP)),
        ([add(1), add(2, price=999_900)], (BOOK, 1, 0)),
        ([add(1), add(2)], (BOOK, 1, TOP)),
        ([add(1), add(2, price=999_900), delete(2)], (BOOK, 1, 0)),
        ([add(1), add(2, price=999_900), delete(1)], (BOOK, 1, TOP)),
        ([add(1), cancel(1, 10)], (BOOK, 1, TOP)),
        ([add(1), add(2, price=999_900), cancel(2, 10)], (BOOK, 1, 0)),
        ([add(1), execute(1, 10)], (TRADE, 1, TOP)),
        ([add(1), add(2, price=999_900), execute(2, 10)], (TRADE, 1, 0)),
        ([add(1), replace(1, 2)], (BOOK, 1, 0)),
        ([add(1), replace(1, 2, shares=99)], (BOOK, 1, TOP)),
        ([add(1), replace(1, 2, price=1_000_100)], (BOOK, 1, TOP)),
        ([add(1), add(9), replace(1, 9)], (BOOK, 1, TOP)),
        ([add(1), add(2, locate=2), delete(2, locate=1)], (BOOK, 2, TOP)),
        ([add(1), add(2, locate=2), execute(2, 5, locate=1)], (TRADE, 2, TOP)),
        ([message("P", 2, TS, shares=5, price=5, match_number=1)], (TRADE, 2, 0)),
        ([message("Q", 2, TS, shares=5, price=5, match_number=1)], (TRADE, 2, 0)),
        (
            [
                message("P", 2, TS, shares=5, price=5, match_number=1),
                message("B", 0, TS, match_number=1),
            ],
            (TRADE, 2, BROKEN),
        ),
        *([[message(code, 2, TS)], (STATUS, 2, 0)] for code in "SRHYLVWKJhINO"),
    ],
)
def test_what_a_strategy_is_told(given_messages, last):
    assert events(*given_messages)[-1] == last
    assert len(events(*given_messages)) == len(given_messages)


@pytest.mark.parametrize(
    "nothing",
    [
        *(execute(9, 1), cancel(9, 1), delete(9), replace(9, 10), add(1), add(2, shares=0)),
        *(cancel(1, 0), execute(1, 0), add(2, "?"), add(2, locate=0), add(2, locate=99)),
        *(message("B", 1, TS, match_number=9), b"A", b"?" * 20, b""),
    ],
)
def test_what_has_no_effect_is_not_told(nothing):
    assert events(add(1), nothing) == [(BOOK, 1, TOP)]


@pytest.mark.parametrize("seed", range(3))
def test_the_events_of_a_stream_are_the_references(seed):
    stream = list(collisions(50 + seed, 4000, None if seed else range(1, 200)))
    engine = Engine(RECORDING, strategy=recorder)
    reference = Reference(RECORDING)
    for at in range(0, len(stream), 7):
        engine.feed(run(stream[at : at + 7]))
        reference.run(stream[at : at + 7])
    assert told(engine) == reference.events
    assert_equal(engine, reference, orders=False)
    assert {flags for _, _, flags in reference.events} >= {0, LAST, TOP, TOP | LAST, BROKEN}


def test_event_codes_are_those_of_the_module():
    assert (event.BOOK, event.TRADE, event.STATUS) == (BOOK, TRADE, STATUS)
    assert (event.LAST, event.TOP, event.BROKEN) == (LAST, TOP, BROKEN)


@given(st.lists(st.binary(max_size=60), max_size=20))
def test_bytes_that_are_no_messages_change_nothing_but_counters(garbage):
    engine = Engine(SMALL)
    engine.feed(run([*garbage, add(1)]))
    counters = engine.counters
    seen = sum(engine.messages_by_type.values()) + counters["unknown_type"]
    assert seen + counters["wrong_length"] == len(garbage) + 1 == engine.messages
    assert counters["bytes_messages"] == sum(map(len, garbage)) + 2 * len(garbage) + 38
    assert np.count_nonzero(engine.block.counter["value"]) <= len(Counter)
