"""PITCH into books beside the reference: every message of streams made to collide, and by hand."""

import pytest
from hypothesis import given, settings

import pitch_messages
import pitch_streams
from pitch_messages import message
from pitch_scenes import (
    BASE,
    LONG_AGO,
    add,
    clear,
    delete,
    execute,
    execute_at,
    follow,
    modify,
    played,
    reduce,
    status,
)
from pitch_streams import PITCH, collisions
from scenes import counted, queue
from tickpath import Engine

SECOND = 1_000_000_000
LATE = 34_200 * SECOND


def book_of(engine: Engine, symbol: str = "AAPL") -> dict[str, int]:
    record = engine.block.book[engine.number_of(symbol)]
    return {name: int(record[name]) for name in record.dtype.names}


# ---------------------------------------------------------------- streams


@pytest.mark.parametrize("seed", range(6))
def test_a_stream_of_collisions_beside_the_reference(seed):
    engine = follow(collisions(seed, 3000, lively=seed % 2 == 1), whole_every=100)
    assert len(engine.messages_by_type) == (20 if seed % 2 else 21)
    expected = {"unknown_order_ref", "duplicate_order_ref", "over_execution", "over_cancel"}
    expected |= {"zero_quantity", "side_invalid", "messages_longer", "unknown_type", "wrong_length"}
    assert expected <= {name for name, n in engine.counters.items() if n}


@settings(max_examples=120)
@given(pitch_streams.messages())
def test_what_hypothesis_chooses_beside_the_reference(stream):
    played(*stream)


def test_many_live_orders_beside_the_reference():
    ids = [BASE + 977 * n for n in range(900)]
    follow(collisions(77, 6000, ids, lively=True), whole_every=1500)


# ---------------------------------------------------------------- orders


FORMS = {
    "add_order_short": {"quantity_short": 300, "symbol": "AAPL", "price_short": 10_000},
    "add_order_long": {"quantity": 300, "symbol": "AAPL", "price": 1_000_000},
    "add_order_expanded": {"quantity": 300, "symbol_extended": "AAPL", "price": 1_000_000},
}


def test_the_three_forms_of_an_add_are_one_order_each_of_one_book():
    adds = [
        message(name, time_offset=1, order_id=BASE + n, side_indicator="S", **values)
        for n, (name, values) in enumerate(FORMS.items())
    ]
    engine = played(*adds)
    assert queue(engine) == [(BASE + n, 1, 1_000_000, 300) for n in range(3)]
    assert list(engine.symbols) == ["AAPL"] and counted(engine) == {}


def test_symbols_of_eight_characters_are_others_than_their_first_six():
    engine = played(add(1, stock="ZVZZTX"), add(2, stock="ZVZZTX.A"), add(3, stock="ZVZZTX.B"))
    assert engine.symbols == {"ZVZZTX": 8, "ZVZZTX.A": 9, "ZVZZTX.B": 10}


def test_an_order_that_keeps_its_priority_stays_where_it_is():
    stream = [add(1), add(2), add(3)]
    kept = [modify(1, 40, flags=2), modify(2, 500, flags=3)]  # less and more
    assert queue(played(*stream, *kept)) == [
        (1, 0, 1_000_000, 40),
        (2, 0, 1_000_000, 500),
        (3, 0, 1_000_000, 100),
    ]


def test_an_order_that_does_not_goes_to_the_end():
    engine = played(add(1), add(2), add(3), modify(1, 100, flags=1), modify(2, 40, flags=0))
    assert [ref for ref, *_ in queue(engine)] == [3, 1, 2]


def test_at_another_price_priority_cannot_be_kept():
    engine = played(add(1), add(2, price=1_000_100), modify(1, 100, 1_000_100, flags=2))
    assert queue(engine) == [(2, 0, 1_000_100, 100), (1, 0, 1_000_100, 100)]


@pytest.mark.parametrize("flags", [0, 2])
def test_a_modification_to_nothing_removes_the_order(flags):
    engine = played(add(1), modify(1, 0, flags=flags))
    assert queue(engine) == []
    assert counted(engine) == ({} if flags else {"zero_quantity": 1})


def test_the_short_modification_says_the_same():
    short = message(
        "modify_order_short", time_offset=1, order_id=2, quantity_short=70, price_short=10_001,
        modify_order_flags=1,
    )  # fmt: skip
    kept = message(
        "modify_order_short", time_offset=1, order_id=1, quantity_short=7, price_short=10_000,
        modify_order_flags=3,
    )  # fmt: skip
    engine = played(add(1), add(2), kept, short)
    assert queue(engine) == [(2, 0, 1_000_100, 70), (1, 0, 1_000_000, 7)]


def test_executions_print_at_the_orders_price():
    engine = played(LONG_AGO, add(1, shares=300), execute(1, 100, 7), execute(1, 200, 8))
    record = book_of(engine)
    assert (record["volume"], record["trades"], record["last_px"]) == (300, 2, 1_000_000)
    assert record["last_ts"] == LATE + 5 and queue(engine) == []


@pytest.mark.parametrize("left", [0, 20, 100, 150, 0xFFFFFFFF])
def test_an_order_executed_at_a_price_has_what_the_message_says_is_left(left):
    engine = played(add(1), add(2), execute_at(1, 30, left, 1_000_500))
    assert [(ref, n) for ref, _, _, n in queue(engine)] == [(1, left)] * bool(left) + [(2, 100)]
    assert book_of(engine)["volume"] == 30 and book_of(engine)["last_px"] == 1_000_500


def test_more_than_there_is_removes_the_order_and_is_counted():
    engine = played(add(1), add(2), execute(1, 101), reduce(2, 102))
    assert queue(engine) == []
    assert counted(engine) == {"over_execution": 1, "over_cancel": 1}


@pytest.mark.parametrize("price", [1 << 32, (1 << 64) - 1])
def test_a_price_that_does_not_fit_is_left_out(price):
    trade = message(
        "trade_long", time_offset=1, side_indicator="B", quantity=9, symbol="AAPL", price=price
    )
    engine = played(add(1), add(2, price=price), trade)
    assert counted(engine) == {"price_out_of_range": 2} and engine.orders_live == 1
    engine = played(add(1), add(2), modify(1, 50, price), execute_at(2, 10, 90, price))
    assert queue(engine) == [(2, 0, 1_000_000, 90)]
    assert counted(engine) == {"price_out_of_range": 2} and book_of(engine)["volume"] == 0


def test_unknown_and_repeated_orders():
    gone = [execute(9, 1), execute_at(9, 1, 1, 5), reduce(9, 1), modify(9, 1), delete(9)]
    engine = played(add(1), add(1, "S", 7), *gone, modify(9, 1, 1 << 40))
    assert queue(engine) == [(1, 0, 1_000_000, 100)]
    assert counted(engine) == {
        "duplicate_order_ref": 1, "unknown_order_ref": 6, "price_out_of_range": 1,
    }  # fmt: skip


# ---------------------------------------------------------------- time


def test_time_is_the_units_second_and_the_offset():
    def at(second: int, offset: int) -> list[bytes]:
        return [
            message("time", time=second), message("delete_order", time_offset=offset, order_id=1)
        ]  # fmt: skip

    engine = played(*at(34_200, 7))
    assert engine.block.get("engine_time") == LATE + 7
    engine = played(*at(34_200, 7), *at(34_199, 999_999_999), *at(34_201, 0))
    assert engine.block.get("engine_time") == LATE + SECOND
    assert engine.counters["time_backwards"] == 1


@pytest.mark.parametrize(
    ("second", "code"),
    [
        *((0, 0), (14_399, 0), (14_400, "S"), (34_199, "S"), (34_200, "Q"), (57_599, "Q")),
        *((57_600, "M"), (71_999, "M"), (72_000, "E"), ((1 << 32) - 1, "E")),
    ],
)
def test_the_markets_hours_go_by_the_clock(second, code):
    engine = played(message("time", time=second))
    assert engine.block.get("market_hours") == (ord(code) if code else 0)


# ---------------------------------------------------------------- status, trades, clears


def test_trading_status():
    engine = played(status("T", sho="1"))
    record = book_of(engine)
    assert (record["trading_state"], record["reg_sho"]) == (ord("T"), ord("1"))
    for code in "QA":
        assert book_of(played(status(code)))["trading_state"] == ord("Q")
    halted = book_of(played(status("T"), status("S")))
    assert (halted["trading_state"], halted["operational_halt"]) == (ord("T"), 1)
    again = book_of(played(status("S"), status("H")))
    assert (again["trading_state"], again["operational_halt"]) == (ord("H"), 0)


def test_an_auction_is_told_until_its_summary():
    update = message(
        "auction_update", symbol_extended="AAPL", auction_type="C", reference_price=1_000_000,
        buy_shares=100, sell_shares=400, indicative_price=1 << 40, auction_only_price=7,
    )  # fmt: skip
    summary = message(
        "auction_summary", symbol_extended="AAPL", auction_opening_type="C", price=999_900,
        shares_contracts=900,
    )  # fmt: skip
    record = book_of(played(update))
    assert (record["auction"], record["imbalance"], record["imbalance_side"]) == (
        ord("C"), 300, ord("S"),
    )  # fmt: skip
    assert (record["near_px"], record["far_px"]) == (0xFFFFFFFF, 7)
    record = book_of(played(update, summary))
    assert (record["auction"], record["volume"], record["last_px"]) == (0, 900, 999_900)


def test_trades_of_all_forms_are_printed_and_can_be_broken():
    values = {"side_indicator": "B", "order_id": 4}
    trades = [
        message(
            "trade_short", quantity_short=10, symbol="AAPL", price_short=10_000, execution_id=1,
            **values,
        ),
        message(
            "trade_long", quantity=20, symbol="AAPL", price=1_000_050, execution_id=2, **values
        ),
        message(
            "trade_expanded", quantity=40, symbol_extended="AAPL", price=5, execution_id=1 << 63,
            **values,
        ),
    ]  # fmt: skip
    assert book_of(played(*trades))["volume"] == 70
    breaks = [message("trade_break", execution_id=each) for each in (1, 1 << 63, 9, 1)]
    engine = played(*trades, *breaks)
    assert book_of(engine)["volume"] == 20 and book_of(engine)["notional"] == 20 * 1_000_050
    assert counted(engine) == {"broken_trades": 2, "broken_trade_unknown": 2}


def test_a_clear_empties_the_units_books():
    engine = played(
        *(add(1), add(2, "S", price=1_000_100), add(3, stock="MSFT"), add(4, price=1)),
        *(clear(), add(1), delete(2)),
    )
    assert queue(engine) == [(1, 0, 1_000_000, 100)]
    assert counted(engine) == {"unit_clears": 1, "orders_cleared": 4, "unknown_order_ref": 1}


# ---------------------------------------------------------------- messages that are none


@pytest.mark.parametrize("name", list(pitch_streams.WEIGHTS))
def test_messages_of_every_length_around_their_own(name):
    """Too short is refused; what stands behind the fields of a longer one is passed over."""
    whole = message(name)
    streams = []
    for length in range(2, len(whole) + 4):
        streams.append(bytes([length]) + (whole + b"\xff" * 4)[1:length])
    engine = played(*streams)
    assert engine.counters["wrong_length"] == len(whole) - 2
    assert engine.counters["messages_longer"] == 3


def test_types_that_are_not_known_are_passed_over_by_their_length():
    codes = [code for code in range(256) if code not in pitch_messages.NAMES]
    engine = played(*(bytes([9, code]) + bytes(7) for code in codes), add(1))
    assert counted(engine) == {"unknown_type": len(codes)} and engine.orders_live == 1
    assert engine.messages_by_type == {"0x2F": 1}


def test_books_without_room_are_counted():
    names = [f"A{n}" for n in range(PITCH.capacity.symbols + 3)]
    engine = played(*(add(n, stock=name) for n, name in enumerate(names)), add(90, stock="A0"))
    assert set(engine.symbols) == set(names[:-3])
    assert counted(engine) == {"symbol_out_of_range": 3}
