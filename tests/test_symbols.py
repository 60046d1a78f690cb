"""Books and symbols: when a book is in use, when its symbol may change, whose limits it has."""

import pytest

from itch_messages import frame, message, mold, run
from scenes import TS, add, counted, delete, played
from streams import CAPACITY, SMALL
from tickpath import Config, Engine, digest
from tickpath.config import Limits, Risk
from tickpath.risk import Collar, Kill


def directory(locate=1, stock="AAPL", lot=100):
    return message("R", locate, TS, stock=stock, round_lot_size=lot)


def trade(match, shares=10, locate=1):
    return message("P", locate, TS, shares=shares, price=1_000_000, match_number=match)


@pytest.mark.parametrize("opening", [directory(), add(1), add(1, "?"), add(1, shares=0)])
def test_a_book_is_in_use_from_its_directory_entry_or_first_order(opening):
    engine = played(opening)
    assert engine.symbols == {"AAPL": 1}
    assert engine.number_of("AAPL") == 1


def test_other_messages_do_not_open_a_book():
    others = [message(code, 1, TS, stock="AAPL") for code in "HYLKJhPQINO"]
    assert played(*others).symbols == {}


def test_the_locate_decides_which_book_an_add_is_for():
    engine = played(add(1, stock="AAPL"), add(2, stock="MSFT"))
    assert engine.symbols == {"AAPL": 1} and engine.orders_live == 2
    assert counted(engine) == {}


def test_a_book_with_orders_keeps_its_symbol():
    engine = played(add(1), directory(stock="MSFT", lot=10))
    assert engine.symbols == {"AAPL": 1}
    assert counted(engine) == {"symbol_mismatch": 1}


def test_an_empty_book_takes_another_symbol_and_forgets_the_old_one():
    engine = played(
        *(add(1), trade(5), message("H", 1, TS, stock="AAPL", trading_state="H"), delete(1)),
        *(directory(stock="MSFT"), add(2, stock="MSFT")),
    )
    assert engine.symbols == {"MSFT": 1}
    record = engine.block.book[1]
    assert (record["volume"], record["trading_state"], record["ema"]) == (0, 0, 0)
    assert engine.book_digest == digest.reference([(1, "MSFT", 0, 1_000_000, 2, 100)])


def test_the_old_symbols_trades_cannot_be_broken_out_of_the_new_ones_volume():
    engine = played(
        *(directory(), trade(5), directory(stock="MSFT"), trade(6, 1000)),
        message("B", 1, TS, match_number=5),
    )
    assert engine.block.book["volume"][1] == 1000
    assert counted(engine) == {"broken_trade_unknown": 1}


def test_a_repeated_directory_entry_changes_nothing_but_the_lot():
    engine = played(directory(lot=100), trade(5), directory(lot=10))
    assert engine.block.book["volume"][1] == 10
    assert engine.block.book["round_lot_size"][1] == 10


def test_the_venues_own_locate_is_no_book():
    engine = played(directory(locate=0), add(1, locate=0))
    assert engine.symbols == {} and counted(engine) == {"symbol_out_of_range": 2}


def test_a_locate_beyond_the_capacity_is_counted_and_left_out():
    engine = played(
        *(directory(locate=CAPACITY.symbols), add(1, locate=CAPACITY.symbols)),
        *(add(2, locate=0xFFFF), message("S", 0xFFFF, TS, event_code="O")),
    )
    assert engine.symbols == {} and counted(engine) == {"symbol_out_of_range": 4}


def test_books_opened_after_a_gap_are_stale_too():
    engine = Engine(SMALL)
    engine.feed_packet(frame(mold([add(1)], 1)))
    engine.feed_packet(frame(mold([add(2, locate=2, stock="MSFT")], 5)))
    assert engine.block.book["stale"][:4].tolist() == [0, 1, 1, 0]
    assert engine.counters["books_stale"] == 1


def test_a_book_has_its_symbols_limits_and_the_defaults_where_it_has_none():
    risk = Risk(
        max_quantity=500,
        max_notional=1000.5,
        collar_percent=1.25,
        collar_price=0.01,
        max_position=700,
        max_short=600,
        max_daily_quantity=9_000,
        max_daily_notional=2e6,
        max_loss=300.25,
        max_open_orders=8,
        symbol_orders_per_second=1_000,
        symbol_order_burst=4,
        symbols={
            "MSFT": Limits(max_quantity=7, collar_price=2.5, max_open_orders=3, order_burst=2),
            "AAPL": Limits(allowed=False, kill_switch=True, max_position=3),
        },
    )
    engine = Engine(Config(capacity=CAPACITY, risk=risk))
    engine.feed(run([directory(3, "AAPL"), directory(1, "MSFT"), add(1, locate=2, stock="ZVZZT")]))
    default = {
        "max_quantity": 500,
        "max_notional": 10_005_000,
        "max_long": 700,
        "max_short": 600,
        "max_daily_quantity": 9_000,
        "max_daily_notional": 20_000_000_000,
        "max_loss": 3_002_500,
        "rate_interval": 1_000_000,
        "rate_burst": 3_000_000,
        "max_open_orders": 8,
        "collar_bp": 125,
        "collar_px": 100,
        "own_collar": Collar.BAND,
        "allowed": 1,
        "killed": Kill.NONE,
    }
    rows = {
        number: {name: int(engine.block.limit[name][number]) for name in default}
        for number in (1, 2, 3, 4)
    }
    assert rows == {
        1: {
            **default,
            "max_quantity": 7,
            "max_open_orders": 3,
            "rate_burst": 1_000_000,
            "collar_px": 25_000,
            "own_collar": Collar.OWN,
        },
        2: default,
        3: {**default, "max_long": 3, "max_short": 3, "allowed": 0, "killed": Kill.STOP},
        4: dict.fromkeys(default, 0),
    }


def test_a_book_that_changes_its_symbol_changes_its_limits():
    risk = Risk(max_quantity=500, symbols={"MSFT": Limits(max_quantity=7)})
    engine = Engine(Config(capacity=CAPACITY, risk=risk))
    engine.feed(run([directory(1, "AAPL"), directory(1, "MSFT")]))
    assert engine.block.limit["max_quantity"][1] == 7
    engine.feed(run([directory(1, "AAPL")]))
    assert engine.block.limit["max_quantity"][1] == 500
