"""Prints: what counts, volume and VWAP, averages with the stated rounding, broken trades."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import njit

from itch_messages import message, run
from scenes import TS, add, counted, execute, played
from streams import CAPACITY, SMALL
from tickpath import Config, Engine, view
from tickpath.config import Indicators, StrategyConfig

U64 = (1 << 64) - 1


def trade(price, shares=100, match=1, locate=1):
    return message("P", locate, TS, shares=shares, price=price, match_number=match, stock="AAPL")


def cross(price, shares, match=1, kind="O"):
    return message("Q", 1, TS, shares=shares, price=price, match_number=match, cross_type=kind)


def at_price(ref, shares, price, printable="Y", match=1):
    return message(
        "C", 1, TS, ref=ref, shares=shares, price=price, printable=printable, match_number=match
    )


def broken(match):
    return message("B", 1, TS, match_number=match)


def totals(engine: Engine) -> tuple[int, int, int]:
    """Volume, notional, prints."""
    record = engine.block.book[1]
    return int(record["volume"]), int(record["notional"]), int(record["trades"])


@pytest.mark.parametrize(
    ("given_message", "expected"),
    [
        (execute(1, 40), (40, 40 * 1_000_000, 1)),
        (at_price(1, 40, 999_000), (40, 40 * 999_000, 1)),
        (at_price(1, 40, 999_000, printable="N"), (0, 0, 0)),
        (trade(1_000_100, 30), (30, 30 * 1_000_100, 1)),
        (cross(1_000_200, 5000), (5000, 5000 * 1_000_200, 1)),
        (cross(1_000_200, 0), (0, 0, 0)),
        (trade(1_000_100, 0), (0, 0, 0)),
        (execute(1, 0), (0, 0, 0)),
        (execute(9, 40), (0, 0, 0)),
        (at_price(9, 40, 999_000), (40, 40 * 999_000, 1)),
        (execute(1, 140), (140, 140 * 1_000_000, 1)),
    ],
)
def test_what_counts_as_a_print(given_message, expected):
    assert totals(played(add(1), given_message)) == expected


def test_last_price_and_size():
    engine = played(trade(1_000_100, 30), trade(999_900, 20))
    assert (engine.block.book["last_px"][1], engine.block.book["last_sz"][1]) == (999_900, 20)
    engine = played(cross(5, 1 << 40))
    assert engine.block.book["last_sz"][1] == 0xFFFFFFFF, "saturates"


def test_volume_and_notional_wrap_at_two_to_the_64():
    huge = (1 << 64) - 5
    engine = played(cross(0xFFFFFFFF, huge), trade(10, 100, match=2))
    volume, notional, prints = totals(engine)
    assert volume == 95
    assert notional == (0xFFFFFFFF * huge + 1000) & U64 and prints == 2
    engine.feed(run([broken(1)]))
    assert totals(engine) == (100, 1000, 1)


# ---------------------------------------------------------------- broken trades


def test_a_broken_trade_leaves_volume_and_vwap_but_not_the_averages():
    engine = played(trade(1_000_000, 10, 1), trade(2_000_000, 30, 2), broken(2))
    assert totals(engine) == (10, 10_000_000, 1)
    record = engine.block.book[1]
    assert int(record["last_px"]) == 2_000_000 and int(record["sma_sum"]) == 3_000_000
    assert counted(engine) == {"broken_trades": 1}


def test_a_trade_is_broken_once():
    engine = played(trade(1_000_000), broken(1), broken(1), broken(7))
    assert totals(engine) == (0, 0, 0)
    assert counted(engine) == {"broken_trades": 1, "broken_trade_unknown": 2}


def test_a_later_trade_with_the_same_low_bits_takes_the_place():
    other = 1 + CAPACITY.trades
    engine = played(trade(1_000_000, 10, 1), trade(1_000_000, 20, other), broken(1), broken(other))
    assert totals(engine) == (10, 10_000_000, 1)
    assert counted(engine) == {"broken_trades": 1, "broken_trade_unknown": 1}


def test_a_break_is_the_printing_books_whatever_its_locate():
    engine = played(trade(1_000_000, 10, 1, locate=2), message("B", 3, TS, match_number=1))
    assert int(engine.block.book["volume"][2]) == 0
    assert counted(engine) == {"broken_trades": 1}


def test_a_print_without_a_book_cannot_be_broken():
    engine = played(trade(1_000_000, 10, 1, locate=0), broken(1))
    assert counted(engine) == {"broken_trade_unknown": 1}


# ---------------------------------------------------------------- averages


PRICES = st.lists(st.integers(0, 0xFFFFFFFF), min_size=1, max_size=40)


@given(PRICES, st.integers(1, 12))
def test_the_simple_average_is_over_the_last_prices(prices, window):
    config = Config(capacity=CAPACITY, indicators=Indicators(sma_window=window))
    engine = Engine(config)
    for number, price in enumerate(prices, 1):
        engine.feed(run([trade(price, 1)]))
        last = prices[:number][-window:]
        record = engine.block.book[1]
        assert (int(record["sma_sum"]), int(record["sma_count"])) == (sum(last), len(last))


@given(PRICES, st.sampled_from([1, 2, 9, 32, 1000, 1_000_000]))
def test_the_exponential_average_is_the_real_one_rounded_down_at_each_step(prices, window):
    config = Config(capacity=CAPACITY, indicators=Indicators(ema_window=window))
    engine = Engine(config)
    engine.feed(run([trade(price, 1) for price in prices]))
    exact = Fraction(prices[0])
    average = prices[0] << 16
    for price in prices[1:]:
        exact += Fraction(2, window + 1) * (price - exact)
        average += (2 * ((price << 16) - average)) // (window + 1)
    assert int(engine.block.book["ema"][1]) == average
    # One rounding down a step, each of which fades as older prices do.
    assert 0 <= exact * 65536 - average <= len(prices)


@njit
def note(engine, book, kind, flags):
    cells = view.state(engine)
    cells[0], cells[1], cells[2] = (
        view.vwap(engine, book),
        view.sma(engine, book),
        view.ema(engine, book),
    )


def test_what_a_strategy_reads_is_rounded_down():
    config = Config(
        capacity=CAPACITY,
        indicators=Indicators(sma_window=3, ema_window=2),
        strategy=StrategyConfig(cells=4),
    )
    engine = Engine(config, strategy=note)
    engine.feed(run([trade(10, 1), trade(11, 1), trade(11, 1)]))
    # ema: 10, then + 2/3 of (11 - ema) twice: 10.88...
    assert engine.block.cell["value"].tolist() == [32 // 3, 32 // 3, 10, 0]


def test_averages_are_per_book():
    engine = played(trade(100, 1, 1, locate=1), trade(300, 1, 2, locate=2))
    assert engine.block.book["ema"][1] == 100 << 16
    assert engine.block.book["ema"][2] == 300 << 16
    window = SMALL.indicators.sma_window
    assert engine.block.sma["price"][window] == 100
    assert engine.block.sma["price"][2 * window] == 300
