"""Operator commands: each does what it says, at its input, and nothing else."""

from itertools import groupby
from typing import Any

import msgspec
import numpy as np
import pytest
from numba import njit

from itch_messages import message, run
from own_desk import (
    ASK,
    BID,
    BUY,
    CANCEL,
    SELL,
    Desk,
    desk_config,
    validate_own,
)
from scenes import TS, add
from tickpath import Config, Engine, emit, event, view
from tickpath.config import Band, Limits, Risk, StrategyConfig
from tickpath.layout import MAX_INTENTS, REVERTS
from tickpath.risk import Collar, Kill
from tickpath.wire.control import CONTROL, Limit
from trader import NEWS

SECOND = 1_000_000_000
PASSES = Risk(
    unknown_trading_state="trade",
    trading_hours="any",
    order_burst=10_000,
    symbol_order_burst=10_000,
    max_notional=1e9,
    symbols={"MSFT": Limits(max_quantity=5_000, max_notional=2e8)},
)
"""Everything reasonable passes; MSFT has a table of its own."""


def desk(**risk: Any) -> Desk:
    return Desk(desk_config(risk=msgspec.structs.replace(PASSES, **risk)))


def command(on: Desk, name: str, **values: Any) -> None:
    on.engine.command(name, who="ops", why="test", **values)
    on._take()


def raw(name: str, **values: Any) -> bytes:
    return CONTROL[name].encode(who="ops", why="test", **values)


def sends(on: Desk, side: int = BUY, quantity: int = 10, price: int = BID, book: int = 1) -> str:
    """What becomes of an order: ACCEPTED, or why not."""
    before = on.engine.rejects_by_code
    on.new(side, quantity, price, book)
    after = on.engine.rejects_by_code
    changed = [name for name, n in after.items() if n != before.get(name, 0)]
    assert len(changed) <= 1 and len(on.take_sent()) == 1 - len(changed)
    return changed[0] if changed else "ACCEPTED"


def invalid(on: Desk) -> int:
    return on.engine.counters["commands_invalid"]


# ---------------------------------------------------------------- kill switches


@pytest.mark.parametrize(
    ("scope", "symbol", "code"),
    [
        ("G", "", "KILL_SWITCH"),
        ("S", "", "STRATEGY_KILLED"),
        ("B", "AAPL", "SYMBOL_KILLED"),
        ("B", "MSFT", "SYMBOL_KILLED"),
    ],
)
def test_a_kill_switch_is_latched_until_it_is_reset(scope, symbol, code):
    on = desk()
    book = 2 if symbol == "MSFT" else 1
    assert sends(on, book=book) == "ACCEPTED"
    command(on, "kill", scope=scope, symbol=symbol, level=Kill.STOP)
    assert sends(on, book=book) == code
    assert sends(on, book=3 - book) == (code if scope != "B" else "ACCEPTED")
    on.tick(3600 * SECOND)
    assert sends(on, book=book) == code
    command(on, "kill", scope=scope, symbol=symbol, level=Kill.NONE)
    assert sends(on, book=book) == "ACCEPTED"
    assert invalid(on) == 0


@pytest.mark.parametrize("scope", ["G", "S", "B"])
def test_reduce_only_lets_a_position_become_smaller(scope):
    on = desk()
    command(on, "position", symbol="AAPL", quantity=100, cash=0)
    command(on, "kill", scope=scope, symbol="AAPL" if scope == "B" else "", level=Kill.REDUCE_ONLY)
    code = {"G": "KILL_SWITCH", "S": "STRATEGY_KILLED", "B": "SYMBOL_KILLED"}[scope]
    assert sends(on, BUY, 10) == code
    assert sends(on, SELL, 101, ASK) == code
    assert sends(on, SELL, 100, ASK) == "ACCEPTED"
    assert sends(on, SELL, 1, ASK) == code, "with what is open it would be a short sale"


def test_cancels_pass_every_kill_switch():
    on = desk()
    ref = on.new(BUY, 10, BID)
    on.take_sent()
    for scope, symbol in (("G", ""), ("S", ""), ("B", "AAPL")):
        command(on, "kill", scope=scope, symbol=symbol, level=Kill.STOP)
    on.cancel(ref)
    assert [sent.kind for sent in on.take_sent()] == [CANCEL]


@pytest.mark.parametrize(
    "values",
    [
        {"scope": "G", "level": 3},
        {"scope": "X", "level": 2},
        {"scope": "", "level": 2},
        {"scope": "B", "symbol": "NONE", "level": 2},
        {"scope": "B", "symbol": "", "level": 0},
        {"scope": "B", "symbol": "\0" * 8, "level": 2},
    ],
)
def test_a_kill_of_nothing_that_there_is_does_nothing(values):
    on = desk()
    command(on, "kill", scope="G", level=Kill.STOP)
    before = on.engine.state_digest
    command(on, "kill", **values)
    assert invalid(on) == 1 and on.engine.state_digest == before
    assert on.engine.block.symbol_limit["killed"].tolist() == [0, 0]


def test_a_kill_of_a_symbol_that_is_not_traded_yet_waits_for_it():
    on = Desk(desk_config(risk=PASSES), quoted=False)
    command(on, "kill", scope="B", symbol="MSFT", level=Kill.STOP)
    on.feed(add(1, "B", 100, BID), add(3, "B", 300, BID, locate=2, stock="MSFT"))
    on.feed(add(2, "S", 100, ASK), add(4, "S", 200, ASK, locate=2, stock="MSFT"))
    assert (sends(on, book=2), sends(on, book=1)) == ("SYMBOL_KILLED", "ACCEPTED")


# ---------------------------------------------------------------- limits


FIELDS = {
    Limit.MAX_QUANTITY: "max_quantity",
    Limit.MAX_NOTIONAL: "max_notional",
    Limit.MAX_LONG: "max_long",
    Limit.MAX_SHORT: "max_short",
    Limit.MAX_OPEN_ORDERS: "max_open_orders",
    Limit.MAX_DAILY_QUANTITY: "max_daily_quantity",
    Limit.MAX_DAILY_NOTIONAL: "max_daily_notional",
    Limit.MAX_LOSS: "max_loss",
    Limit.ALLOWED: "allowed",
    Limit.COLLAR_BP: "collar_bp",
    Limit.COLLAR_PX: "collar_px",
    Limit.TOTAL_MAX_OPEN_ORDERS: "max_open_orders",
    Limit.TOTAL_MAX_GROSS: "max_gross",
    Limit.TOTAL_MAX_NET: "max_net",
    Limit.TOTAL_MAX_DAILY_QUANTITY: "max_daily_quantity",
    Limit.TOTAL_MAX_DAILY_NOTIONAL: "max_daily_notional",
    Limit.TOTAL_MAX_LOSS: "max_loss",
}


def limits_of(engine: Engine) -> dict[str, int]:
    """Every number of the gate's that commands can change, by where it stands."""
    found: dict[str, int] = {}
    for name in ("limit", "symbol_limit", "gate"):
        view = engine.block.views[name]
        for at, row in enumerate(view.tolist()):
            found |= {
                f"{name}[{at}].{field}": value
                for field, value in zip(view.dtype.names or (), row, strict=True)
            }
    locates = engine.block.position["locate"].tolist()
    return found | {f"position[{at}].locate": value for at, value in enumerate(locates)}


def changes(on: Desk, **values: Any) -> dict[str, int]:
    """What a limit command changes."""
    before = limits_of(on.engine)
    command(on, "limit", **values)
    after = limits_of(on.engine)
    return {name: n for name, n in after.items() if n != before[name]}


def _places(symbol: str) -> list[str]:
    """Where the limits of a symbol stand: in its book, and for when it gets one."""
    all_of_them = {"AAPL": ["limit[1]"], "MSFT": ["limit[2]", "symbol_limit[1]"]}
    if symbol:
        return all_of_them[symbol]
    return ["symbol_limit[0]", *all_of_them["AAPL"], *all_of_them["MSFT"]]


def test_every_limit_has_its_field():
    assert set(FIELDS) | {Limit.LOCATE} == set(Limit)


@pytest.mark.parametrize("symbol", ["AAPL", "MSFT", ""])
@pytest.mark.parametrize("which", [each for each in FIELDS if each < 100])
def test_a_limit_changes_its_number_and_nothing_else(which, symbol):
    value = 0 if which is Limit.ALLOWED else 77
    expected = {f"{place}.{FIELDS[which]}": value for place in _places(symbol)}
    if which in (Limit.COLLAR_BP, Limit.COLLAR_PX):
        expected |= {f"{place}.own_collar": Collar.OWN for place in _places(symbol)}
    on = desk()
    assert changes(on, symbol=symbol, limit=which, value=value) == expected
    assert on.engine.counters["commands"] == 1 and invalid(on) == 0


@pytest.mark.parametrize("which", [each for each in FIELDS if each > 100])
def test_a_total_changes_its_number_and_nothing_else(which):
    assert changes(desk(), limit=which, value=77) == {f"gate[0].{FIELDS[which]}": 77}


@pytest.mark.parametrize(("symbol", "books"), [("AAPL", [1]), ("MSFT", [2]), ("", [1, 2])])
def test_locates_are_those_of_books(symbol, books):
    expected = {f"position[{book}].locate": 500 for book in books}
    assert changes(desk(), symbol=symbol, limit=Limit.LOCATE, value=500) == expected


SHARES_32 = [
    *(Limit.MAX_QUANTITY, Limit.MAX_OPEN_ORDERS, Limit.COLLAR_BP, Limit.COLLAR_PX, Limit.LOCATE),
    Limit.TOTAL_MAX_OPEN_ORDERS,
]


@pytest.mark.parametrize("which", Limit)
def test_the_largest_value_of_a_limit_is_cut_to_its_field(which):
    largest = (1 << 62) - 1
    on = desk()
    expected = (1 << 32) - 1 if which in SHARES_32 else 1 if which is Limit.ALLOWED else largest
    command(on, "limit", limit=Limit.ALLOWED, value=0)
    found = changes(on, limit=which, value=largest)
    del_collar = {name: n for name, n in found.items() if not name.endswith("own_collar")}
    assert set(del_collar.values()) == {expected} and invalid(on) == 0
    assert changes(on, limit=which, value=1 << 62) == {} and invalid(on) == 1


@pytest.mark.parametrize(
    "values",
    [
        {"limit": 0, "value": 1},
        {"limit": 13, "value": 1},
        {"limit": 100, "value": 1},
        {"limit": 107, "value": 1},
        {"limit": 0xFFFF, "value": 1},
        {"limit": Limit.MAX_QUANTITY, "value": (1 << 64) - 1},
        {"limit": Limit.MAX_QUANTITY, "value": 1, "symbol": "NONE"},
        {"limit": Limit.MAX_QUANTITY, "value": 1, "symbol": "NONE", "expires": TS + SECOND},
        {"limit": Limit.MAX_QUANTITY, "value": 1, "symbol": "\0" * 8},
        {"limit": Limit.MAX_QUANTITY, "value": 1, "symbol": "AAPL", "expires": TS},
        {"limit": Limit.MAX_QUANTITY, "value": 1, "symbol": "AAPL", "expires": 1},
        {"limit": Limit.TOTAL_MAX_LOSS, "value": 1, "symbol": "AAPL"},
        {"limit": Limit.TOTAL_MAX_LOSS, "value": 1, "expires": TS},
        # Not all symbols have this one, so there is nothing that all could go back to.
        {"limit": Limit.MAX_QUANTITY, "value": 1, "expires": TS + SECOND},
        {"limit": Limit.LOCATE, "value": 1, "expires": TS + SECOND},
    ],
)
def test_a_limit_that_cannot_be_is_counted_and_changes_nothing(values):
    on = desk()
    before = on.engine.state_digest
    assert changes(on, **values) == {}
    assert invalid(on) == 1 and on.engine.state_digest == before
    on.tick(2 * SECOND)
    assert on.engine.counters["limits_reverted"] == 0 and invalid(on) == 1


REJECTS: list[tuple[Limit, int, str, tuple]] = [
    (Limit.MAX_QUANTITY, 9, "QUANTITY", (BUY, 10, BID)),
    (Limit.MAX_NOTIONAL, 10 * BID - 1, "NOTIONAL", (BUY, 10, BID)),
    (Limit.MAX_LONG, 29, "POSITION_LONG", (BUY, 10, BID)),
    (Limit.MAX_SHORT, 9, "POSITION_SHORT", (SELL, 10, ASK)),
    (Limit.MAX_OPEN_ORDERS, 2, "SYMBOL_OPEN_ORDERS", (BUY, 10, BID)),
    (Limit.MAX_DAILY_QUANTITY, 29, "DAILY_QUANTITY", (BUY, 10, BID)),
    (Limit.MAX_DAILY_NOTIONAL, 30 * BID - 1, "DAILY_NOTIONAL", (BUY, 10, BID)),
    (Limit.ALLOWED, 0, "SYMBOL_NOT_ALLOWED", (BUY, 10, BID)),
    (Limit.TOTAL_MAX_OPEN_ORDERS, 2, "OPEN_ORDERS", (BUY, 10, BID)),
    (Limit.TOTAL_MAX_GROSS, 30 * BID - 1, "GROSS_NOTIONAL", (BUY, 10, BID)),
    (Limit.TOTAL_MAX_NET, 30 * BID - 1, "NET_NOTIONAL", (BUY, 10, BID)),
    # Over all symbols, open orders are not counted as traded already.
    (Limit.TOTAL_MAX_DAILY_QUANTITY, 9, "DAILY_QUANTITY", (BUY, 10, BID)),
    (Limit.TOTAL_MAX_DAILY_NOTIONAL, 30 * BID - 1, "DAILY_NOTIONAL", (BUY, 10, BID)),
]


@pytest.mark.parametrize(("which", "value", "code", "order"), REJECTS)
def test_a_limit_takes_effect_at_its_input(which, value, code, order):
    """Two orders of ten are open; one before passes, one after does not, one looser passes."""
    on = desk()
    for _ in range(2):
        assert sends(on, order[0], 10, order[2]) == "ACCEPTED"
    symbol = "AAPL" if which < 100 else ""
    command(on, "limit", symbol=symbol, limit=which, value=value)
    assert sends(on, *order) == code
    command(on, "limit", symbol=symbol, limit=which, value=value + 1)
    if which is not Limit.MAX_SHORT:
        assert sends(on, *order) == "ACCEPTED"
    validate_own(on.engine)


@pytest.mark.parametrize(
    ("which", "symbol"), [(Limit.MAX_LOSS, "AAPL"), (Limit.TOTAL_MAX_LOSS, "")]
)
def test_a_loss_limit_takes_effect_at_its_input(which, symbol):
    """A hundred bought for the middle and half a cent more: a loss of fifty cents."""
    on = desk()
    command(on, "position", symbol="AAPL", quantity=100, cash=-100 * (BID + 150))
    assert sends(on) == "ACCEPTED"
    command(on, "limit", symbol=symbol, limit=which, value=4_999)
    assert sends(on) == "LOSS_LIMIT"
    assert sends(on, SELL, 10, ASK) == "ACCEPTED", "what reduces the position passes"
    command(on, "limit", symbol=symbol, limit=which, value=5_000)
    assert sends(on) == "ACCEPTED"


def test_a_collar_goes_before_that_of_the_prices_band():
    on = desk(bands=[Band(from_price=50.0, percent=1.0)])
    edge = ASK + ASK // 100
    assert (sends(on, price=edge), sends(on, price=edge + 1)) == ("ACCEPTED", "PRICE_COLLAR")
    command(on, "limit", symbol="AAPL", limit=Limit.COLLAR_BP, value=0)
    command(on, "limit", symbol="AAPL", limit=Limit.COLLAR_PX, value=300)
    assert (sends(on, price=ASK + 300), sends(on, price=ASK + 301)) == ("ACCEPTED", "PRICE_COLLAR")
    assert sends(on, price=edge, book=2) == "ACCEPTED"


def test_locates_allow_a_short_sale():
    on = desk(locate_required=True)
    assert sends(on, SELL, 10, ASK) == "NO_LOCATE"
    command(on, "limit", symbol="AAPL", limit=Limit.LOCATE, value=15)
    assert sends(on, SELL, 10, ASK) == "ACCEPTED"
    assert sends(on, SELL, 10, ASK) == "NO_LOCATE", "with what is open, twenty"


# ---------------------------------------------------------------- limits that go back


def limit(on: Desk, value: int, after_s: float = 0, symbol: str = "AAPL", which=None) -> None:
    """Set a limit, which goes back so many seconds after the start."""
    expires = TS + round(after_s * SECOND) if after_s else 0
    which = Limit.MAX_QUANTITY if which is None else which
    command(on, "limit", symbol=symbol, limit=which, value=value, expires=expires)


def quantities(on: Desk) -> tuple[int, ...]:
    """max_quantity of the books, and of the tables."""
    block = on.engine.block
    return (
        *block.limit["max_quantity"][1:3].tolist(),
        *block.symbol_limit["max_quantity"].tolist(),
    )


def at(on: Desk, second: float) -> None:
    """Engine time moves on."""
    on.engine.feed_commands(run([raw("clock", timestamp=TS + round(second * SECOND))]))


@pytest.mark.parametrize("which", Limit)
def test_a_limit_goes_back_to_what_it_was_at_its_time(which):
    on = desk()
    start = limits_of(on.engine)
    value, symbol = int(which is not Limit.ALLOWED), "MSFT" if which < 100 else ""
    limit(on, value, 1, symbol, which)
    assert invalid(on) == 0 and limits_of(on.engine) != start
    changed = limits_of(on.engine)
    at(on, 1 - 1e-9)
    assert limits_of(on.engine) == changed
    at(on, 1)
    assert limits_of(on.engine) == start
    assert on.engine.counters["limits_reverted"] == 1
    assert on.engine.block.get("revert_next") == on.engine.block.get("alarm") == (1 << 64) - 1


@pytest.mark.parametrize("how", ["market", "answer", "command"])
def test_a_limit_goes_back_before_the_input_that_brings_the_time(how):
    on = desk()
    limit(on, 9, 1)
    assert sends(on) == "QUANTITY"
    on.now += SECOND
    if how == "answer":
        on.answer("canceled", 1, quantity=1)
    elif how == "command":
        command(on, "clock", timestamp=on.now)
    assert sends(on) == "ACCEPTED"


def test_of_two_changes_that_expire_the_second_says_when():
    on = desk()
    limit(on, 100, 1)
    limit(on, 200, 3)
    at(on, 2)
    assert quantities(on)[0] == 200
    at(on, 3)
    assert quantities(on)[0] == 10_000 and on.engine.counters["limits_reverted"] == 1
    limit(on, 300, 9)
    limit(on, 400, 5)
    at(on, 5)
    assert quantities(on)[0] == 10_000
    at(on, 10)
    assert quantities(on)[0] == 10_000 and on.engine.counters["limits_reverted"] == 2


def test_a_change_for_good_stays():
    on = desk()
    limit(on, 100, 1)
    limit(on, 5)
    at(on, 2)
    assert quantities(on)[0] == 5 and on.engine.counters["limits_reverted"] == 0
    assert on.engine.block.get("revert_next") == (1 << 64) - 1
    limit(on, 100, 3)
    at(on, 3)
    assert quantities(on)[0] == 5, "and is what the next one goes back to"


def test_a_change_of_all_for_good_ends_what_single_ones_wait_for():
    on = desk()
    limit(on, 100, 1, "AAPL")
    limit(on, 50, symbol="")
    at(on, 2)
    assert quantities(on) == (50, 50, 50, 50)


def test_all_symbols_go_back_together_but_for_those_that_were_changed():
    on = Desk(desk_config(risk=msgspec.structs.replace(PASSES, symbols={"MSFT": Limits()})))
    limit(on, 50, 1, symbol="")
    assert quantities(on) == (50, 50, 50, 50)
    limit(on, 20, symbol="MSFT")
    at(on, 1)
    assert quantities(on) == (10_000, 20, 10_000, 20) and invalid(on) == 0


def test_all_symbols_and_one_of_them_do_not_wait_at_the_same_time():
    on = Desk(desk_config(risk=msgspec.structs.replace(PASSES, symbols={"MSFT": Limits()})))
    limit(on, 50, 1, symbol="")
    limit(on, 20, 2, symbol="MSFT")
    assert invalid(on) == 1 and quantities(on) == (50, 50, 50, 50)
    at(on, 1)
    assert quantities(on) == (10_000,) * 4
    limit(on, 20, 3, symbol="MSFT")
    limit(on, 50, 2, symbol="")
    assert invalid(on) == 2 and quantities(on) == (10_000, 20, 10_000, 20)
    limit(on, 10_000, symbol="MSFT", which=Limit.MAX_NOTIONAL)
    at(on, 3)
    assert quantities(on) == (10_000,) * 4


def collars(on: Desk, book: int = 1) -> tuple[int, int, int]:
    row = on.engine.block.limit[book]
    return int(row["own_collar"]), int(row["collar_bp"]), int(row["collar_px"])


def test_a_collar_goes_back_to_that_of_the_prices_band():
    start = (Collar.BAND, 500, 500)
    for first, second in ((1, 2), (2, 1)):
        on = desk()
        assert collars(on) == start
        limit(on, 7, first, which=Limit.COLLAR_BP)
        limit(on, 8, second, which=Limit.COLLAR_PX)
        assert collars(on) == (Collar.OWN, 7, 8)
        at(on, 1)
        assert collars(on) == ((Collar.OWN, 500, 8) if first == 1 else (Collar.OWN, 7, 500))
        at(on, 2)
        assert collars(on) == start


def test_a_collar_that_was_set_for_good_stays_the_symbols_own():
    on = desk()
    limit(on, 7, 1, which=Limit.COLLAR_BP)
    limit(on, 8, which=Limit.COLLAR_PX)
    at(on, 1)
    assert collars(on) == (Collar.OWN, 500, 8)


def test_collars_of_all_symbols_go_back_but_for_those_that_were_changed():
    on = Desk(desk_config(risk=msgspec.structs.replace(PASSES, symbols={"MSFT": Limits()})))
    limit(on, 7, 1, "", Limit.COLLAR_BP)
    limit(on, 8, symbol="MSFT", which=Limit.COLLAR_PX)
    limit(on, 9, 2, "MSFT", Limit.COLLAR_PX)
    assert invalid(on) == 1, "the collar of all waits to go back"
    at(on, 1)
    assert collars(on) == (Collar.BAND, 500, 500) and collars(on, 2) == (Collar.OWN, 500, 8)


def test_no_more_limits_can_wait_than_there_is_room_for():
    on = desk()
    for n in range(3, 8):
        on.feed(add(100 + n, "B", 1, BID, locate=n, stock=f"S{n}"))
    whole = [(symbol, which) for symbol in on.engine.symbols for which in FIELDS if which < 100]
    assert len(whole) > REVERTS
    for symbol, which in whole:
        limit(on, 1, 5, symbol, which)
    assert on.engine.counters["reverts_full"] == len(whole) - REVERTS and invalid(on) == 0
    assert int((on.engine.block.revert["expires"] != 0).sum()) == REVERTS
    waits, refused = whole[:REVERTS], whole[REVERTS:]
    for symbol, which in whole:
        book = on.engine.symbols[symbol]
        now = int(on.engine.block.limit[FIELDS[which]][book])
        assert (now == 1) == ((symbol, which) in waits or which is Limit.ALLOWED)
    limit(on, 2, 5, *waits[0])
    assert on.engine.counters["reverts_full"] == len(refused), "one that waits has its place"
    at(on, 5)
    assert on.engine.counters["limits_reverted"] == REVERTS
    limit(on, 1, 6, *refused[0])
    assert on.engine.counters["reverts_full"] == len(refused)


def test_two_expiries_at_one_time_and_one_that_was_passed_over():
    on = desk()
    limit(on, 100, 1)
    limit(on, 100, 1, which=Limit.MAX_LONG)
    limit(on, 100, 2, which=Limit.MAX_SHORT)
    at(on, 1.5)
    assert on.engine.block.get("revert_next") == TS + 2 * SECOND
    at(on, 9)
    assert on.engine.counters["limits_reverted"] == 3
    row = on.engine.block.limit[1]
    assert (row["max_quantity"], row["max_long"], row["max_short"]) == (10_000, 50_000, 50_000)


# ---------------------------------------------------------------- positions, the day, time


def test_a_position_is_set_and_the_totals_follow():
    on = desk()
    ref = on.new(BUY, 100, BID)
    on.answer("accepted", ref)
    on.answer("executed", ref, quantity=60, price=BID, match=1)
    command(on, "position", symbol="AAPL", quantity=-500, cash=-(1 << 40))
    command(on, "position", symbol="MSFT", quantity=200, cash=12)
    assert on.position() == (-500, -(1 << 40)) and on.position(2) == (200, 12)
    validate_own(on.engine)
    on.answer("executed", ref, quantity=40, price=BID, match=2)
    assert on.position() == (-460, -(1 << 40) - 40 * BID)
    validate_own(on.engine)


@pytest.mark.parametrize("symbol", ["NONE", "", "\0" * 8])
def test_a_position_of_no_symbol_is_invalid(symbol):
    on = desk()
    before = on.engine.state_digest
    command(on, "position", symbol=symbol, quantity=5, cash=5)
    assert invalid(on) == 1 and on.engine.state_digest == before


def traded(on: Desk) -> None:
    """Buy 100 and sell 30 short of MSFT; something stays open."""
    for side, price, book, quantity in ((BUY, ASK, 1, 100), (SELL, BID, 2, 30)):
        ref = on.new(side, quantity + 5, price, book)
        on.answer("accepted", ref)
        on.answer("executed", ref, quantity=quantity, price=price, match=ref)


def test_a_day_rolls():
    on = desk()
    traded(on)
    on.feed(add(50, "B", 100, BID + 100))
    validate_own(on.engine)
    g, p = on.engine.block.gate[0], on.engine.block.position
    assert int(g["day_quantity"]) == 130 and int(g["pnl"]) != 0
    command(on, "day_roll")
    middle = (BID + 100 + ASK) // 2
    assert [int(g[name]) for name in ("pnl", "day_quantity", "day_notional")] == [0, 0, 0]
    assert p["quantity"][1:3].tolist() == [100, -30] and p["cash"][1:3].tolist() == [0, 0]
    assert p["prior_close"][1:3].tolist() == [middle, (BID + ASK) // 2] == p["mark"][1:3].tolist()
    assert p["start_value"][1:3].tolist() == [100 * middle, -30 * (BID + ASK) // 2]
    assert p["day_quantity"].sum() == 0 and int(g["open_orders"]) == 2
    validate_own(on.engine)
    on.feed(add(51, "S", 100, BID + 150))
    on.new(BUY, 1, BID)
    assert int(g["pnl"]) == 100 * ((2 * BID + 250) // 2 - middle), "from there on"
    validate_own(on.engine)


def test_time_begins_anew_with_the_day():
    """Messages of the new day have smaller times, and rates and expiries go by these."""
    config = desk_config(risk=msgspec.structs.replace(PASSES, orders_per_second=1, order_burst=1,
                                                      duplicate_window_ms=1000))  # fmt: skip
    on = Desk(config)
    assert sends(on) == "ACCEPTED"
    assert sends(on, quantity=20) == "ORDER_RATE"
    limit(on, 100, 3600)
    command(on, "day_roll")
    assert on.engine.block.get("engine_time") == 0 and quantities(on)[0] == 10_000
    on.now = 14_400 * SECOND
    assert sends(on) == "ACCEPTED" and on.engine.counters["time_backwards"] == 0
    assert on.engine.block.get("engine_time") == on.now
    assert sends(on) == "DUPLICATE_ORDER"
    on.now += SECOND
    assert sends(on, quantity=20) == "ACCEPTED"


def test_the_last_sale_of_another_day_is_no_fresh_one():
    on = Desk(desk_config(risk=PASSES), quoted=False)
    on.feed(message("P", 1, TS, side="B", shares=5, stock="AAPL", price=BID, match_number=1))
    on.feed(message("R", 1, TS, stock="AAPL"))
    on.feed(message("P", 1, TS, side="B", shares=5, stock="AAPL", price=BID, match_number=2))
    command(on, "day_roll")
    on.now = TS
    assert sends(on, price=BID) == "ACCEPTED", "the prior close is the reference"
    assert on.engine.block.book["last_ts"][1] == 0


@njit
def listens(engine, book, kind, flags):
    """Count events by kind."""
    view.state(engine)[kind] += 1


def test_the_clock_moves_timers_and_expiries():
    config = Config(
        capacity=desk_config().capacity,
        strategy=StrategyConfig(cells=16, timer_interval_ms=1000),
        risk=PASSES,
    )
    engine = Engine(config, strategy=listens)
    engine.feed(run([add(1)]))
    values = {"who": "ops", "why": "test", "symbol": "AAPL", "limit": Limit.MAX_LONG, "value": 3}
    engine.command("limit", expires=TS + SECOND, **values)
    cells = engine.block.cell["value"]
    timers, commands = int(cells[event.TIMER]), int(cells[event.COMMAND])
    for n, ns in enumerate((SECOND // 2, SECOND, SECOND, 5 * SECOND, 0), 1):
        engine.feed_commands(run([raw("clock", timestamp=TS + ns if ns else 0)]))
        assert cells[event.COMMAND] == commands + n
    assert engine.block.get("engine_time") == TS + 5 * SECOND
    assert cells[event.TIMER] - timers == engine.counters["timers"] - timers == 2
    assert engine.counters["limits_reverted"] == 1
    assert engine.counters["time_backwards"] == 0


# ---------------------------------------------------------------- cancel all


def test_cancel_all_in_portions_until_nothing_is_left():
    on = desk()
    refs = [on.new(BUY, 10, BID - 100 * n, 1 + n % 2) for n in range(40)]
    closed = refs.pop(7)
    on.answer("canceled", closed, quantity=10)
    on.answer("accepted", refs[0])
    on.take_sent()
    portions = []
    for _ in range(5):
        command(on, "cancel_all", symbol="")
        portions.append([(sent.kind, sent.ref, sent.quantity) for sent in on.take_sent()])
    assert [len(each) for each in portions] == [MAX_INTENTS, MAX_INTENTS, 7, 0, 0]
    asked = [each for portion in portions for each in portion]
    assert sorted(asked) == [(CANCEL, ref, 0) for ref in refs]
    for ref in refs:
        on.answer("canceled", ref, quantity=10)
    assert len(on.engine.own_orders(open_only=True)) == 0
    validate_own(on.engine)


def test_cancel_all_of_one_symbol():
    on = desk()
    for n in range(6):
        on.new(BUY, 10, BID - 100 * n, 1 + n % 2)
    on.take_sent()
    command(on, "cancel_all", symbol="MSFT")
    assert [sent.ref for sent in on.take_sent()] == [2, 4, 6]
    command(on, "cancel_all", symbol="NONE")
    assert on.take_sent() == [] and invalid(on) == 0


def test_cancel_all_passes_the_kill_switch_and_needs_no_strategy():
    on = desk()
    on.new(BUY, 10, BID)
    command(on, "kill", scope="G", level=Kill.STOP)
    on.take_sent()
    on.engine.block.set("strategy_latched", 1)
    command(on, "cancel_all")
    assert [sent.kind for sent in on.take_sent()] == [CANCEL]


@njit
def breaks_down(engine, book, kind, flags):
    """Sends orders until an operator says something."""
    if kind == event.COMMAND:
        raise ValueError("no commands, please")
    emit.new_order(engine, 1, view.BUY, 10, BID)


def test_cancel_all_is_sent_also_where_the_strategy_breaks_down():
    engine = Engine(desk_config(risk=PASSES), strategy=breaks_down)
    engine.feed(run([add(1, "B", 300, BID), add(2, "S", 200, ASK), NEWS]))
    sent = len(engine.take_orders())
    assert sent > 0
    engine.command("cancel_all", who="ops", why="test")
    assert "no commands" in str(engine.strategy_error)
    assert len(engine.take_orders()) == sent


@pytest.mark.parametrize("model", ["touch", "through", "queue"])
def test_cancel_all_where_a_model_answers(model):
    on = Desk(desk_config(model=model, risk=PASSES))
    for n in range(20):
        on.new(BUY, 10, BID - 100 * n)
    command(on, "cancel_all")
    command(on, "cancel_all")
    assert len(on.engine.own_orders(open_only=True)) == 0
    validate_own(on.engine)


# ---------------------------------------------------------------- what is no command


@pytest.mark.parametrize("name", [each.name for each in CONTROL.messages])
def test_a_command_of_another_length_is_counted_and_changes_nothing(name):
    on = desk()
    whole = raw(name, timestamp=TS + SECOND)
    before = on.engine.state_digest
    lengths = [*range(len(whole)), len(whole) + 1, len(whole) + 40]
    for n, length in enumerate(lengths, 1):
        on.engine.feed_commands(run([(whole + bytes(40))[:length]]))
        assert invalid(on) == on.engine.counters["commands"] == n
    assert on.engine.state_digest == before
    assert on.engine.block.get("engine_time") == TS, "and its time is not believed"


def test_commands_of_unknown_types():
    on = desk()
    known = {each.type for each in CONTROL.messages}
    codes = [code for code in range(256) if chr(code) not in known]
    before = on.engine.state_digest
    for code in codes:
        on.engine.feed_commands(run([bytes([code]) + bytes(56)]))
    assert invalid(on) == len(codes) and on.engine.state_digest == before


def test_a_command_is_an_input_of_its_own_and_nothing_else_counts_it():
    on = desk()
    before = on.engine.block.get("input_number")
    messages = on.engine.messages
    on.engine.feed_commands(run([raw("clock", timestamp=TS), raw("clock")[:5], raw("day_roll")]))
    assert on.engine.block.get("input_number") == before + 3
    assert on.engine.messages == messages and on.engine.counters["commands"] == 3


# ---------------------------------------------------------------- replay


def inputs(seed: int) -> list[tuple[str, bytes]]:
    """Market data, answers and commands, mixed."""
    rng = np.random.default_rng(seed)
    found: list[tuple[str, bytes]] = []
    names = ["AAPL", "MSFT", "", "NONE"]
    for n in range(200):
        now = TS + n * 50_000_000
        kind = rng.integers(4)
        if kind == 0:
            side, price = ("B", BID) if rng.integers(2) else ("S", ASK)
            book = int(rng.integers(1, 3))
            found.append(("feed", message("A", book, now, ref=100 + n, side=side, shares=50,
                                          stock=names[book - 1], price=price)))  # fmt: skip
        elif kind == 1:
            found.append(("feed", NEWS))
        else:
            name = ["kill", "limit", "limit", "position", "day_roll", "clock", "cancel_all"]
            chosen = name[rng.integers(7 if n % 40 == 39 else 4)]
            values: dict[str, Any] = {"timestamp": now}
            if chosen in ("kill", "limit", "position", "cancel_all"):
                values["symbol"] = names[rng.integers(4)]
            if chosen == "kill":
                values |= {
                    "scope": "GSB"[rng.integers(3)],
                    "level": int(rng.choice([0, 0, 0, 0, 1, 2])),
                }
            elif chosen == "limit":
                expires = int(rng.choice([0, now + 200_000_000, now + 10**9]))
                values |= {"limit": int(rng.choice(list(Limit))), "expires": expires}
                values["value"] = int(rng.choice([50, 10**5, 10**12]))
            elif chosen == "position":
                values |= {"quantity": int(rng.integers(-500, 500)), "cash": int(rng.integers(99))}
            found.append(("feed_commands", raw(chosen, **values)))
    return found


@njit
def tries(engine, book, kind, flags):
    """An order for nearly everything that is heard, at prices around the market."""
    cells = view.state(engine)
    cells[0] = (cells[0] * 1_103_515_245 + 12_345 + kind) % 2_147_483_648
    dice = cells[0] // 1024
    side = view.BUY if dice % 2 else view.SELL
    if dice % 5 == 0:
        emit.cancel_order(engine, cells[1], 0)
    elif dice % 5 == 1:
        cells[1] = emit.replace_order(engine, cells[1], 1 + dice % 40, BID + dice % 7 * 100)
    else:
        cells[1] = emit.new_order(engine, 1 + dice % 2, side, 1 + dice % 90, BID + dice % 7 * 100)


@pytest.mark.parametrize("model", ["exchange", "touch"])
def test_the_same_inputs_give_the_same_state_and_orders(model):
    """One input at a time, or seven."""
    sent = reverted = 0
    for seed in range(6):
        outcomes = []
        for size in (1, 7):
            engine = Engine(desk_config(model=model, risk=PASSES), strategy=tries)
            engine.feed(run([add(1, "B", 300, BID), add(2, "S", 200, ASK)]))
            for how, group in groupby(inputs(seed), key=lambda each: each[0]):
                same = [each for _, each in group]
                for first in range(0, len(same), size):
                    getattr(engine, how)(run(same[first : first + size]))
            validate_own(engine)
            outcomes.append((engine.state_digest, engine.take_orders(), engine.rejects_by_code))
            reverted += engine.counters["limits_reverted"]
        assert outcomes[0] == outcomes[1]
        sent += len(outcomes[0][1])
    assert sent > 150 and reverted > 20
