"""Limits from tables and files: bands, strategies, the start of a day; each mistake is one line."""

from typing import Any

import numpy as np
import pytest

from comparison import Pair, assert_equal
from itch_messages import message, run
from scenes import TS, add
from streams import CAPACITY
from tickpath import Config, ConfigError, Engine
from tickpath.config import Band, Limits, Risk, Total
from tickpath.digest import symbol_number
from tickpath.layout import BAND, BANDS, GATE
from tickpath.limits import read_start, set_bands, set_gate, symbol_limits
from tickpath.risk import Hours, Kill, Reject
from trader import NEW, NEWS, START, script, scripted, start_file
from violations import (
    BID,
    BUY,
    NO_QUOTES,
    OPENING,
    SELL,
    Change,
    Scene,
    last_sale,
    limits,
    own_limits,
    strategys,
)

HEAD = "symbol,position,prior_close,locate\n"


def written(path, text: str) -> str:
    path.write_text(text)
    return str(path)


# ---------------------------------------------------------------- the start-of-day file


def test_a_book_begins_the_day_with_what_the_file_says_of_its_symbol(tmp_path):
    path = start_file(tmp_path / "start.csv")
    risk = Risk(start_of_day=path)
    engine = Engine(Config(capacity=CAPACITY, risk=risk))
    opening = [
        message("R", n, TS, stock=stock) for n, stock in ((1, "MSFT"), (3, "AAPL"), (4, "X"))
    ]
    engine.feed(run([*opening, add(1, locate=2, stock="ZVZZT")]))
    names = ("quantity", "mark", "prior_close", "locate", "start_value", "cash")
    rows = {n: [int(engine.block.position[name][n]) for name in names] for n in (1, 2, 3, 4)}
    assert rows == {
        1: [-300, 1_002_000, 1_002_000, 600, -300 * 1_002_000, 0],
        2: [0, 1_000_000, 1_000_000, 1_500, 0, 0],
        3: [500, 995_000, 995_000, 3_000, 500 * 995_000, 0],
        4: [0, 0, 0, 0, 0, 0],
    }
    gate = engine.block.gate[0]
    assert gate["gross"] == 500 * 995_000 + 300 * 1_002_000
    assert gate["net"] == 500 * 995_000 - 300 * 1_002_000
    assert gate["pnl"] == 0


def test_the_day_begins_once(tmp_path):
    """An entry of the directory that is repeated gives nothing again."""
    risk = Risk(start_of_day=start_file(tmp_path / "start.csv"))
    engine = Engine(Config(capacity=CAPACITY, risk=risk))
    entry = message("R", 3, TS, stock="AAPL")
    engine.feed(run([entry, entry, add(1, locate=3), entry]))
    assert engine.block.position["quantity"][3] == 500
    assert engine.block.gate["gross"] == 500 * 995_000


def test_profit_and_loss_begin_at_the_prior_close(tmp_path):
    """500 held at a close of 99.50; at a middle of 100.01 they have gained 0.51 each."""
    path = start_file(tmp_path / "start.csv")
    risk = Risk(start_of_day=path, unknown_trading_state="trade")
    pair = Pair(scripted([(NEW, BUY, 1, BID)], risk=risk), script, START)
    for each in (*OPENING[1:], NEWS):
        pair.feed(each)
    assert_equal(pair.engine, pair.reference)
    assert pair.engine.block.gate["pnl"] == 500 * 5_100


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        (HEAD, []),
        (HEAD + "AAPL,100,1.5,7\n", [("AAPL", 100, 15_000, 7)]),
        (HEAD + "AAPL,-100,1.00004,\n", [("AAPL", -100, 10_000, 0)]),
        (HEAD + "AAPL,,1,\n", [("AAPL", 0, 10_000, 0)]),
        (HEAD + "AAPL,,,\nBRK.A,0,600000.1234,1", None),
        (HEAD + " AAPL ,0,1,0\n\nMSFT,0,2,0\n", [("AAPL", 0, 10_000, 0), ("MSFT", 0, 20_000, 0)]),
        ("locate,x,symbol,prior_close,position\n5,?,Z,2,1\n", [("Z", 1, 20_000, 5)]),
        ("\ufeff" + HEAD + "AAPL,1,1,1\r\n", [("AAPL", 1, 10_000, 1)]),
        (HEAD + '"AAPL","1","1","1"\n', [("AAPL", 1, 10_000, 1)]),
    ],
)
def test_what_a_start_of_day_file_may_look_like(tmp_path, text, rows):
    path = written(tmp_path / "start.csv", text)
    if rows is None:  # above what 32 bits of 1e-4 dollars hold
        with pytest.raises(ConfigError, match="out of range"):
            read_start(path)
        return
    found = [
        (int(row["symbol"]).to_bytes(8, "big").decode().rstrip(), *row.item()[1:])
        for row in read_start(path)
    ]
    assert found == rows


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("", 1, ["no column", "locate, position, prior_close, symbol"]),
        ("symbol,position,prior_close\n", 1, ["no column locate"]),
        (HEAD + "AAPL,1,1,1\nAAPL,1,1,1\n", 3, ["AAPL", "twice"]),
        (HEAD + ",1,1,1\n", 2, ["''", "symbol"]),
        (HEAD + "TOOLONGNAME,1,1,1\n", 2, ["TOOLONGNAME", "one to eight"]),
        (HEAD + "Ä,1,1,1\n", 2, ["symbol"]),
        (HEAD + "AAPL,many,1,1\n", 2, ["whole shares", "dollars"]),
        (HEAD + "AAPL,1.5,1,1\n", 2, ["whole shares"]),
        (HEAD + "AAPL,1,x,1\n", 2, ["dollars"]),
        (HEAD + "AAPL,1,nan,1\n", 2, ["dollars"]),
        (HEAD + "AAPL,1,inf,1\n", 2, ["dollars"]),
        (HEAD + "AAPL,1,1,\u00bd\n", 2, ["whole shares"]),
        (HEAD + "MSFT,0,1,1\n" + "AAPL,1,-1,1\n", 3, ["out of range"]),
        (HEAD + "AAPL,1,1e300,1\n", 2, ["out of range"]),
        (HEAD + "AAPL,1,1,-1\n", 2, ["out of range"]),
        (HEAD + "AAPL,1,1,4294967296\n", 2, ["out of range"]),
        (HEAD + f"AAPL,{1 << 40},0.01,1\n", 2, ["out of range"]),
        (HEAD + "AAPL,1,,1\n", 2, ["needs a prior_close"]),
        (HEAD + "AAPL,-1,0,1\n", 2, ["needs a prior_close"]),
        (HEAD + "AAPL,1\n", 2, ["needs a prior_close"]),
        (HEAD + "AAPL\n", None, None),
    ],
)
def test_a_mistake_in_a_start_of_day_file_is_one_line_that_names_it(tmp_path, text, line, words):
    path = written(tmp_path / "start.csv", text)
    if words is None:  # a symbol alone: nothing is held, nothing known
        assert read_start(path)["quantity"].tolist() == [0]
        return
    with pytest.raises(ConfigError) as error:
        Engine(Config(capacity=CAPACITY, risk=Risk(start_of_day=path)))
    said = str(error.value)
    assert said.startswith(f"{path}:{line}: ") and "\n" not in said
    assert all(word in said for word in words), said


def test_a_start_of_day_file_that_cannot_be_read_is_one_line(tmp_path):
    for path, words in (
        (tmp_path / "none.csv", "No such file"),
        (tmp_path, "directory"),
    ):
        with pytest.raises(ConfigError) as error:
            read_start(str(path))
        assert str(path) in str(error.value) and words in str(error.value)
    raw = tmp_path / "raw.csv"
    for content in (HEAD.encode() + b"\xff\xfe,1,1,1\n", HEAD.encode() + b"A,\0,1,1\n"):
        raw.write_bytes(content)
        with pytest.raises(ConfigError) as error:
            read_start(str(raw))
        assert str(raw) in str(error.value) and "\n" not in str(error.value)


def test_positions_that_are_worth_more_than_can_be_counted(tmp_path):
    huge = [f"S{n},{(1 << 40) - 1},100000.0,0\n" for n in range(3)]
    path = written(tmp_path / "start.csv", HEAD + "".join(huge))
    with pytest.raises(ConfigError, match="worth more"):
        read_start(path)


# ---------------------------------------------------------------- bands


BANDED = {
    "collar_percent": 20.0,
    "collar_price": 0.05,
    "bands": [
        Band(from_price=1.0, percent=10.0),
        Band(from_price=100.0, percent=5.0, price=7.5),
        Band(from_price=200.0, percent=2.0),
    ],
}
"""The defaults up to a dollar, then three bands."""


def collared(price: int, *changes: Change) -> int:
    """Width of the collar around a last sale: the widest that passes, checked from both sides."""

    def fails(side: int, away: int) -> set[str]:
        made = Scene()
        for change in (NO_QUOTES, last_sale(price), *changes):
            change(made)
        made.position = 100
        made.order = (side, 1, price + away)
        return made.fails()

    low, high = 0, 1 << 30
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if not fails(BUY, middle) else (low, middle - 1)
    assert fails(BUY, low + 1) == {"PRICE_COLLAR"}
    if low + 1 < price:
        assert fails(SELL, -low) == set() and fails(SELL, -low - 1) == {"PRICE_COLLAR"}
    return low


@pytest.mark.parametrize(
    ("price", "width"),
    [
        # The wider of percent and price.
        *((100, 500), (2_500, 500), (2_600, 520), (9_999, 1_999)),
        *((10_000, 1_000), (999_999, 99_999)),
        *((1_000_000, 75_000), (1_500_000, 75_000), (1_600_000, 80_000), (1_999_999, 99_999)),
        *((2_000_000, 40_000), (1_000_000_000, 20_000_000)),
    ],
)
def test_the_collar_is_that_of_the_reference_prices_band(price, width):
    assert collared(price, limits(**BANDED)) == width


def test_a_band_at_zero_goes_before_the_defaults():
    first = {**BANDED, "bands": [Band(from_price=0.0, percent=1.0), *BANDED["bands"]]}
    assert collared(9_000, limits(**first)) == 90
    assert collared(10_000, limits(**first)) == 1_000


def test_bands_that_are_not_given_are_the_last_one():
    rows = np.zeros(BANDS, BAND)
    set_bands(rows, Risk(**BANDED))
    assert [tuple(row) for row in rows.tolist()] == [
        (0, 2_000, 500),
        (10_000, 1_000, 0),
        (1_000_000, 500, 75_000),
        *[(2_000_000, 200, 0)] * 5,
    ]
    whole = [Band(from_price=float(n), percent=float(n + 1)) for n in range(BANDS)]
    set_bands(rows, Risk(bands=whole))
    assert rows["from_px"].tolist() == [10_000 * n for n in range(BANDS)]


@pytest.mark.parametrize(
    ("own", "strategy", "width"),
    [
        # Five percent or 7.50: the band's.
        ({}, {}, 75_000),
        # A symbol's own collar takes the band's place, tighter or not.
        ({"collar_percent": 1.0}, {}, 10_000),
        ({"collar_percent": 30.0}, {}, 300_000),
        ({"collar_price": 12.5}, {}, 200_000),
        ({"collar_percent": 0.0, "collar_price": 0.0}, {}, 0),
        # A strategy's makes it tighter, never wider; what it does not say is the default's.
        ({}, {"collar_percent": 1.0}, 10_000),
        ({}, {"collar_percent": 0.01}, 500),
        ({}, {"collar_percent": 30.0}, 75_000),
        ({}, {"collar_percent": 0.0, "collar_price": 3.0}, 30_000),
        # Of two collars each number's tighter one.
        ({"collar_percent": 1.0, "collar_price": 3.0}, {"collar_percent": 4.0}, 10_000),
        ({"collar_percent": 6.0, "collar_price": 3.0}, {"collar_percent": 4.0}, 40_000),
        (
            {"collar_percent": 1.0, "collar_price": 3.0},
            *({"collar_percent": 1.0, "collar_price": 2.0}, 20_000),
        ),
    ],
)
def test_of_symbols_strategys_and_bands_collars(own, strategy, width):
    changes = [limits(**BANDED)]
    changes += [own_limits(**own)] if own else []
    changes += [strategys(**strategy)] if strategy else []
    assert collared(1_000_000, *changes) == width


# ---------------------------------------------------------------- strategies and symbols


def limit_of(symbol: str = "", strategy: str | None = "mine", **risk) -> dict[str, int]:
    """A symbol's limits as the gate has them."""
    rows = symbol_limits(Config(risk=Risk(**risk)), strategy)
    row = next(
        row for row in rows if int(row["symbol"]) == (symbol_number(symbol) if symbol else 0)
    )
    return dict(zip(rows.dtype.names, row.item(), strict=True))


NUMBERS = {
    "max_quantity": (500, 400, 1),
    "max_notional": (5_000.5, 4_000.25, 10_000),
    "max_long": (500, 400, 1),
    "max_short": (500, 400, 1),
    "max_open_orders": (50, 40, 1),
    "max_daily_quantity": (500, 400, 1),
    "max_daily_notional": (5_000.0, 4_000.0, 10_000),
    "max_loss": (5_000.0, 4_000.0, 10_000),
}


@pytest.mark.parametrize(("name", "numbers"), NUMBERS.items())
@pytest.mark.parametrize("of", ["default", "symbol"])
def test_of_the_symbols_and_the_strategys_limit_the_tighter_one_applies(name, numbers, of):
    loose, tight, scale = numbers
    for symbols, strategys_, expected in (
        *((loose, tight, tight), (tight, loose, tight)),
        *((loose, None, loose), (tight, tight, tight)),
    ):
        tables = (
            {"symbols": {"AAPL": Limits(**{name: symbols})}} if of == "symbol" else {name: symbols}
        )
        given = {} if strategys_ is None else {name: strategys_}
        found = limit_of(
            "AAPL" if of == "symbol" else "", strategies={"mine": Limits(**given)}, **tables
        )
        assert found[name] == round(expected * scale)
        plain = limit_of("AAPL" if of == "symbol" else "", **tables)
        assert {**found, name: 0} == {**plain, name: 0}, "nothing else has changed"


def test_positions_of_both_sides_stand_for_what_is_not_said_of_one():
    def reach(own: dict, strategy: dict, **risk) -> tuple[int, int]:
        found = limit_of(
            "AAPL",
            symbols={"AAPL": Limits(**own)},
            strategies={"mine": Limits(**strategy)},
            **risk,
        )
        return found["max_long"], found["max_short"]

    assert reach({}, {}, max_position=70) == (70, 70)
    assert reach({}, {}, max_position=70, max_short=0) == (70, 0)
    assert reach({"max_long": 5}, {}, max_position=70, max_short=60) == (5, 60)
    assert reach({"max_position": 80}, {}, max_position=70, max_short=60) == (80, 80)
    assert reach({"max_position": 80, "max_long": 9}, {}, max_position=70) == (9, 80)
    assert reach({}, {"max_position": 50}, max_position=70, max_short=60) == (50, 50)
    assert reach({}, {"max_position": 65}, max_position=70, max_short=60) == (65, 60)
    assert reach({}, {"max_position": 50, "max_long": 55}, max_position=70) == (55, 50)
    assert reach({}, {"max_short": 0}, max_position=70) == (70, 0)


@pytest.mark.parametrize(
    ("own", "strategy", "interval", "orders"),
    [
        ({}, {}, 1_000_000, 100),
        ({"orders_per_second": 10}, {}, 100_000_000, 100),
        ({"order_burst": 5}, {}, 1_000_000, 5),
        ({}, {"orders_per_second": 10}, 100_000_000, 100),
        ({}, {"order_burst": 5}, 1_000_000, 5),
        # The slower of the rates, the smaller of the buckets.
        ({"orders_per_second": 1, "order_burst": 5}, {"orders_per_second": 999}, 10**9, 5),
        (
            {"orders_per_second": 999, "order_burst": 500},
            *({"orders_per_second": 1, "order_burst": 5}, 10**9, 5),
        ),
        ({"orders_per_second": 1, "order_burst": 5}, {"order_burst": 7}, 10**9, 5),
    ],
)
def test_order_rates_of_symbols_and_strategies(own, strategy, interval, orders):
    found = limit_of(
        "AAPL",
        symbol_orders_per_second=1_000,
        symbol_order_burst=100,
        symbols={"AAPL": Limits(**own)},
        strategies={"mine": Limits(**strategy)},
    )
    assert found["rate_interval"] == interval
    assert found["rate_burst"] == (orders - 1) * interval


def test_what_may_be_traded():
    def may(own: bool | None, strategy: bool | None, default: bool) -> int:
        return limit_of(
            "AAPL",
            allowed=default,
            symbols={"AAPL": Limits(allowed=own)},
            strategies={"mine": Limits(allowed=strategy)},
        )["allowed"]

    assert (may(None, None, True), may(None, None, False)) == (1, 0)
    assert (may(True, None, False), may(False, None, True)) == (1, 0)
    assert (may(True, False, False), may(False, True, True), may(True, True, False)) == (0, 0, 1)


def test_a_strategys_table_is_about_that_strategy():
    risk = {"max_quantity": 500, "strategies": {"mine": Limits(max_quantity=7, kill_switch=True)}}
    assert limit_of(strategy="mine", **risk)["max_quantity"] == 7
    assert limit_of(strategy="other", **risk)["max_quantity"] == 500
    assert limit_of(strategy=None, **risk)["max_quantity"] == 500
    for name, level in (("mine", Kill.STOP), ("other", Kill.NONE)):
        gate = np.zeros(1, GATE)
        set_gate(gate[0], Config(risk=Risk(**risk)), name)
        assert (gate["killed"][0], gate["strategy_killed"][0]) == (Kill.NONE, level)


def test_symbols_have_their_own_switch():
    found = limit_of("AAPL", symbols={"AAPL": Limits(kill_switch=True), "MSFT": Limits()})
    assert found["killed"] == Kill.STOP
    assert limit_of("MSFT", symbols={"MSFT": Limits(kill_switch=False)})["killed"] == Kill.NONE


# ---------------------------------------------------------------- every number by itself


def numbers(symbol: str = "", strategy: str | None = None, **risk: Any) -> dict[str, int]:
    """A symbol's limits, or the defaults."""
    records = symbol_limits(Config(risk=Risk(**risk)), strategy)
    wanted = symbol_number(symbol) if symbol else 0
    (row,) = records[records["symbol"] == wanted].tolist()
    return dict(zip(records.dtype.names or (), row, strict=True))


OWN: list[tuple[str, Any, str, int]] = [
    ("allowed", False, "allowed", 0),
    ("kill_switch", True, "killed", Kill.STOP),
    ("max_quantity", 7, "max_quantity", 7),
    ("max_notional", 7.5, "max_notional", 75_000),
    ("max_long", 7, "max_long", 7),
    ("max_short", 0, "max_short", 0),
    ("max_open_orders", 7, "max_open_orders", 7),
    ("max_daily_quantity", 7, "max_daily_quantity", 7),
    ("max_daily_notional", 7.0, "max_daily_notional", 70_000),
    ("max_loss", 7.0, "max_loss", 70_000),
    ("collar_percent", 1.25, "collar_bp", 125),
    ("collar_price", 0.5, "collar_px", 5_000),
    ("orders_per_second", 500, "rate_interval", 2_000_000),
    ("order_burst", 11, "rate_burst", 10 * 100_000),
]


@pytest.mark.parametrize(("name", "value", "field", "number"), OWN)
def test_a_symbols_own_table_goes_before_the_defaults(name, value, field, number):
    """And what it does not say is as for the others."""
    tables = {"AAPL": Limits(**{name: value})}
    own, plain = numbers("AAPL", symbols=tables), numbers(symbols=tables)
    assert plain == numbers() | {"symbol": 0}
    assert own[field] == number != plain[field]
    follows = {"orders_per_second": "rate_burst"}.get(name)
    changed = {key for key in own if own[key] != plain[key]} - {"symbol", follows}
    assert changed == {field} | ({"own_collar"} if name.startswith("collar") else set())


def gate(strategy: str | None = None, **risk: Any) -> dict[str, int]:
    record = np.zeros(1, GATE)
    set_gate(record[0], Config(risk=Risk(**risk)), strategy)
    return dict(zip(GATE.names or (), record.tolist()[0], strict=True))


@pytest.mark.parametrize(
    ("risk", "field", "expected"),
    [
        ({"kill_switch": True}, "killed", Kill.STOP),
        ({"orders_per_second": 100, "order_burst": 5}, "rate_burst", 4 * 10**7),
        ({"duplicate_window_ms": 20}, "duplicate_window", 20_000_000),
        ({"last_sale_max_age_s": 9}, "max_age", 9 * 10**9),
        ({"max_spread_percent": 1.5}, "max_spread_bp", 150),
        ({"soft_percent": 100.0}, "soft", 256),
        ({"soft_percent": 50.0}, "soft", 128),
        ({"soft_percent": 0.01}, "soft", 1),
        ({"unknown_trading_state": "trade"}, "unknown_state_trades", 1),
        ({"trading_hours": "regular"}, "hours", Hours.REGULAR),
        ({"trading_hours": "any"}, "hours", Hours.ANY),
        ({"auctions": "reject"}, "auctions_trade", 0),
        ({"market_orders": True}, "market_orders", 1),
        ({"locate_required": True}, "locate_required", 1),
        ({"reducing": "check"}, "reducing_checked", 1),
        ({"audit_full": "count"}, "audit_stops", 0),
        ({"total": Total(max_open_orders=3)}, "max_open_orders", 3),
        ({"total": Total(max_gross_notional=3.5)}, "max_gross", 35_000),
        ({"total": Total(max_net_notional=3.5)}, "max_net", 35_000),
        ({"total": Total(max_daily_quantity=3)}, "max_daily_quantity", 3),
        ({"total": Total(max_daily_notional=3.5)}, "max_daily_notional", 35_000),
        ({"total": Total(max_loss=3.5)}, "max_loss", 35_000),
    ],
)
def test_the_gates_own_numbers(risk, field, expected):
    assert gate(**risk)[field] == expected != gate()[field]


def test_checks_that_are_off_and_a_killed_strategy():
    everything = sum(1 << code for code in Reject)
    assert gate()["enabled"] == everything
    off = gate(off=["halted", "loss_limit", "halted"])["enabled"]
    assert everything & ~off == 1 << Reject.HALTED | 1 << Reject.LOSS_LIMIT
    tables = {"mine": Limits(kill_switch=True)}
    assert gate("mine", strategies=tables)["strategy_killed"] == Kill.STOP
    assert gate("other", strategies=tables)["strategy_killed"] == Kill.NONE
    assert numbers("", "mine", strategies=tables)["killed"] == Kill.NONE
