"""The risk gate: every code alone and in order, switches, limits' last good values, waterfalls."""

from itertools import combinations
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from comparison import Pair, assert_equal
from itch_messages import message, run
from reference_gate import Order
from scenes import FREE, TS, add, delete
from tickpath import Engine
from tickpath.config import SWITCHES, Fills
from tickpath.layout import AUDIT_RECORDS, MAX_INTENTS
from tickpath.own_orders import State
from tickpath.risk import EXPOSURE, MARKET_PRICE, MAX_PRICE, MAX_SHARES, Reject
from tickpath.wire.ouch42 import OUCH42_INBOUND
from tickpath.wire.ouch50 import OUCH50_INBOUND
from trader import CANCEL, MODIFY, NEW, NEWS, REPLACE, script, scripted
from violations import (
    ASK,
    BID,
    BUY,
    CAREFUL,
    MIDDLE,
    MINUTE,
    NO_QUOTES,
    OPENING,
    PRINT,
    SALE,
    SELL,
    TOO_WIDE,
    VIOLATIONS,
    Change,
    Scene,
    both,
    command,
    kill,
    last_sale,
    later,
    limits,
    lose,
    market,
    names,
    order,
    own_limits,
    poke,
    prior_close,
    remember_order,
    status,
    strategys,
    to,
    total,
)

ALONE = [
    pytest.param(code, change, id=f"{code}-{number}")
    for code, changes in VIOLATIONS.items()
    for number, change in enumerate(changes)
]
UNSEEN = {"AUDIT_FULL"}
"""What leaves no record behind."""


CLOSELY = limits(duplicate_window_ms=1)
"""With it no order is seen to pass at once: every check is made."""
LOOKS = pytest.mark.parametrize("look", [to(), CLOSELY], ids=["", "closely"])


def scene(*changes: Change) -> Scene:
    made = Scene()
    for change in changes:
        change(made)
    return made


def verdict(*changes: Change) -> str:
    return scene(*changes).verdict()


# ---------------------------------------------------------------- each check, their order


def test_the_order_passes_where_nothing_is_wrong():
    assert verdict() == verdict(SALE) == "ACCEPTED"
    assert scene().fails() == set() == scene().warned()


@pytest.mark.parametrize(("code", "change"), ALONE)
def test_each_check_alone_rejects_the_order(code, change):
    """Everything else is in order: without this check the order would be sent."""
    assert verdict(change) == code
    if code not in UNSEEN:
        decision = scene(change).decision()
        assert decision["failed"] == 1 << Reject[code] and decision["code"] == Reject[code]
        assert decision["warned"] == 0


def test_every_code_is_met_in_the_order_of_the_checks():
    assert list(VIOLATIONS) == [each.name for each in Reject if each]


EXCLUSIVE = [
    {"HALTED", "LULD_PAUSE", "TRADING_STATE_UNKNOWN"},
    {"NO_REFERENCE", "STALE_REFERENCE", "PRICE_COLLAR"},
    {"PRICE_COLLAR", "MARKET_ORDER"},
    {"POSITION_LONG", "POSITION_SHORT"},
    {"POSITION_LONG", "SHORT_SALE_RESTRICTED"},
    {"POSITION_LONG", "NO_LOCATE"},
]
"""Codes that no order has together."""
FIRST_ONLY = {"MALFORMED", "UNKNOWN_ORDER"}
"""Where these are so, there is nothing that the checks could look at."""
TURNS = {"NO_LOCATE": -1, "PRICE_COLLAR": 1, "MARKET_ORDER": 1, "DUPLICATE_ORDER": 2}
"""Scenes that set the order's price or depend on what it has become: before or after the others."""
PAIRS = [
    pair
    for pair in combinations(VIOLATIONS, 2)
    if not any(set(pair) <= each for each in EXCLUSIVE) and "UNKNOWN_ORDER" not in pair
]


def with_both(first: str, second: str, *changes: Change) -> Scene:
    applied = sorted((second, first), key=lambda code: TURNS.get(code, 0))
    return scene(*(VIOLATIONS[code][0] for code in applied), *changes)


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_the_first_of_two_violations_decides_and_the_audit_shows_both(first, second):
    assert with_both(first, second).verdict() == first
    if first in FIRST_ONLY or {first, second} & UNSEEN:
        return
    assert with_both(first, second).fails() == {first, second}


@pytest.mark.parametrize(
    ("first", "second"), [pair for pair in PAIRS if pair[0].lower() in SWITCHES]
)
def test_a_switch_is_about_its_check_alone(first, second):
    assert with_both(first, second, limits(off=[first.lower()])).verdict() == second


@pytest.mark.parametrize(
    ("code", "change"), [case for case in ALONE if case.values[0].lower() in SWITCHES]
)
def test_a_check_that_is_switched_off_lets_the_order_pass(code, change):
    off = limits(off=[code.lower()])
    assert verdict(change, off) == "ACCEPTED"
    assert scene(change, off).fails() == set()


def test_what_cannot_be_switched_off_keeps_the_gate_sound():
    sound = {"MALFORMED", "UNKNOWN_ORDER", "OWN_ORDERS_FULL", "AUDIT_FULL"}
    kills = {"KILL_SWITCH", "STRATEGY_KILLED", "SYMBOL_KILLED"}
    assert {each.name for each in Reject if each} - {n.upper() for n in SWITCHES} == sound | kills
    everything = limits(off=list(SWITCHES))
    for code in sound | kills:
        assert verdict(VIOLATIONS[code][0], everything) == code
    assert verdict(to(book=3), everything) == "SYMBOL_NOT_ALLOWED", "a book that nobody opened"


def test_the_audit_says_what_was_decided():
    decision = scene(to(position=7), order(quantity=50)).decision()
    assert {
        name: int(decision[name])
        for name in ("price", "quantity", "position", "reference_px", "user_ref_num", "book")
    } == {
        "price": BID,
        "quantity": 50,
        "position": 7,
        "reference_px": ASK,
        "user_ref_num": 1,
        "book": 1,
    }
    assert (decision["ts_event"], decision["input_number"]) == (TS, len(OPENING) + 1)
    assert decision["order_id"] == MAX_INTENTS * decision["input_number"]
    assert (decision["kind"], chr(decision["side"]), decision["reducing"]) == (NEW, "B", 0)
    assert int(decision["symbol"]).to_bytes(8, "big") == b"AAPL    "


# ---------------------------------------------------------------- amounts: hard and soft


class Amount(NamedTuple):
    """What the order makes of something that has a limit."""

    code: str
    field: str
    amount: int
    scale: int = 1
    change: Change = to()
    is_total: bool = False


MONEY = 10_000
AMOUNTS = [
    Amount("QUANTITY", "max_quantity", 100),
    Amount("NOTIONAL", "max_notional", 100 * BID, MONEY),
    Amount("SYMBOL_OPEN_ORDERS", "max_open_orders", 2, 1, to(steps=[(NEW, BUY, 1, BID)])),
    Amount("POSITION_LONG", "max_long", 100),
    Amount("POSITION_LONG", "max_position", 100),
    Amount("POSITION_LONG", "max_long", 700, 1, to(position=600)),
    Amount("POSITION_LONG", "max_long", 130, 1, to(steps=[(NEW, BUY, 30, BID)])),
    # Open sells may never be executed.
    Amount("POSITION_LONG", "max_long", 700, 1, to(position=600, steps=[(NEW, SELL, 30, ASK)])),
    # A reversal: what it was before does not matter.
    Amount("POSITION_LONG", "max_long", 60, 1, to(position=-40)),
    Amount("POSITION_SHORT", "max_short", 100, 1, SALE),
    Amount("POSITION_SHORT", "max_position", 100, 1, SALE),
    Amount("POSITION_SHORT", "max_short", 130, 1, both(SALE, to(position=-30))),
    Amount("POSITION_SHORT", "max_short", 60, 1, both(SALE, to(position=40))),
    Amount("DAILY_QUANTITY", "max_daily_quantity", 100),
    Amount("DAILY_QUANTITY", "max_daily_quantity", 107, 1, poke("position", "day_quantity", 7)),
    Amount("DAILY_QUANTITY", "max_daily_quantity", 130, 1, to(steps=[(NEW, BUY, 30, BID)])),
    Amount("DAILY_NOTIONAL", "max_daily_notional", 100 * BID, MONEY),
    Amount(
        *("DAILY_NOTIONAL", "max_daily_notional", 100 * BID + 7, MONEY),
        poke("position", "day_notional", 7),
    ),
    Amount("LOSS_LIMIT", "max_loss", 50_000, MONEY, lose(5.0)),
    Amount("OPEN_ORDERS", "max_open_orders", 1, 1, to(), True),
    Amount("OPEN_ORDERS", "max_open_orders", 2, 1, to(steps=[(NEW, BUY, 1, BID)]), True),
    Amount("GROSS_NOTIONAL", "max_gross_notional", 100 * BID, MONEY, to(), True),
    # A position at the middle of the market, an open order of either side at its price.
    Amount(
        *("GROSS_NOTIONAL", "max_gross_notional", 100 * BID + 10 * (BID + 100), MONEY),
        *(to(position=-10), True),
    ),
    Amount(
        *("GROSS_NOTIONAL", "max_gross_notional", 100 * BID + 10 * (BID + 100) + 5 * ASK, MONEY),
        *(to(position=10, steps=[(NEW, SELL, 5, ASK)]), True),
    ),
    Amount("NET_NOTIONAL", "max_net_notional", 100 * BID, MONEY, to(), True),
    Amount(
        *("NET_NOTIONAL", "max_net_notional", 90 * BID - 1_000, MONEY),
        *(to(position=-10), True),
    ),
    Amount(
        *("NET_NOTIONAL", "max_net_notional", 110 * BID + 1_000, MONEY),
        *(to(position=10, steps=[(NEW, SELL, 5, ASK)]), True),
    ),
    Amount(
        *("NET_NOTIONAL", "max_net_notional", 100 * ASK + 10 * (BID + 100), MONEY),
        *(both(SALE, to(position=-10)), True),
    ),
    Amount("DAILY_QUANTITY", "max_daily_quantity", 100, 1, to(), True),
    Amount(
        *("DAILY_QUANTITY", "max_daily_quantity", 107, 1),
        *(poke("gate", "day_quantity", 7, at=0), True),
    ),
    Amount("DAILY_NOTIONAL", "max_daily_notional", 100 * BID, MONEY, to(), True),
    Amount(
        *("DAILY_NOTIONAL", "max_daily_notional", 130 * BID, MONEY),
        *(to(steps=[(NEW, BUY, 30, BID)]), True),
    ),
    Amount("LOSS_LIMIT", "max_loss", 50_000, MONEY, lose(5.0), True),
]


def limited(each: Amount, most: int, table=None) -> Change:
    """The amount's limit, and all that is open before the order."""
    table = total if each.is_total else (table or limits)
    value = most if each.scale == 1 else most / each.scale
    return both(each.change, table(**{each.field: value}))


@LOOKS
@pytest.mark.parametrize("table", [limits, own_limits, strategys])
@pytest.mark.parametrize("each", AMOUNTS, ids=lambda each: f"{each.code}-{each.amount}")
def test_a_limit_is_the_last_good_value(each, table, look):
    assert scene(limited(each, each.amount, table), look).fails() == set()
    assert scene(limited(each, each.amount - 1, table), look).fails() == {each.code}


@pytest.mark.parametrize("each", AMOUNTS, ids=lambda each: f"{each.code}-{each.amount}")
def test_an_order_beyond_a_soft_level_passes_and_is_warned_of(each):
    """At half of the limit nothing is said; beyond it the order is counted and its bit is set."""
    half = limits(soft_percent=50.0)
    made = scene(half, limited(each, 2 * each.amount))
    assert (made.fails(), made.warned()) == (set(), set())
    beyond = half, limited(each, 2 * each.amount - 1)
    assert (scene(*beyond).fails(), scene(*beyond).warned()) == (set(), {each.code})
    engine = (made := scene(*beyond)).prepared()
    warned = engine.counters["orders_warned"]  # by the orders before
    made.tick(engine)
    assert engine.counters["orders_warned"] == warned + 1


@pytest.mark.parametrize(
    ("percent", "quantity", "is_warned"),
    [
        # 80 percent are 205/256, of 100 shares 80.
        *((80.0, 80, False), (80.0, 81, True)),
        *((100.0, 100, False), (99.0, 100, True)),
        *((0.1, 1, True), (0.4, 1, True), (1.0, 1, False), (1.0, 2, True)),
    ],
)
def test_soft_levels_of_small_limits(percent, quantity, is_warned):
    made = scene(limits(soft_percent=percent, max_quantity=100), order(quantity=quantity))
    assert ("QUANTITY" in made.warned()) == is_warned


def test_a_rejected_order_is_not_counted_as_warned_of():
    made = scene(limits(soft_percent=50.0, max_quantity=150, max_notional=1.0))
    engine = made.played()
    assert engine.rejects_by_code == {"NOTIONAL": 1} and engine.counters["orders_warned"] == 0
    assert names(made.decisions[-1][-1]["warned"]) == {"QUANTITY"}


WITHIN: list[list[Change]] = [
    [order(quantity=MAX_SHARES)],
    [order(price=MAX_PRICE), limits(collar_percent=1000.0, collar_price=199_999.0)],
    [order(price=1)],
    [order(side=SELL), to(position=100)],
    [order(side=SELL, price=200_000_000), to(position=100)],
    [order(price=1_010_202)],
    [order(side=SELL, price=990_000), to(position=100)],
    [own_limits(collar_price=3.0), order(price=ASK + 30_000)],
    [status("H", stock="AAPL", trading_state="H"), market(OPENING[2])],
    [status("h", market_code="Q", action="H"), status("h", market_code="Q", action="T")],
    [status("h", market_code="X", action="H")],
    [status("I", cross_type="H"), status("Q", shares=0, price=0, match_number=1)],
    [limits(unknown_trading_state="trade"), lambda made: made.market.remove(OPENING[2])],
    [limits(unknown_trading_state="trade"), lambda made: made.market.remove(OPENING[0])],
    [limits(allowed=False), own_limits(allowed=True)],
    [to(position=-100), order(quantity=100)],
    # A sale of all that is owned is none of what is not.
    [
        *(order(side=SELL), to(position=100), poke("position", "locate", 0)),
        status("Y", stock="AAPL", reg_sho_action="1"),
    ],
    [poke("gate", "rate_arrival", TS, at=0)],
    [poke("position", "rate_arrival", TS)],
    [poke("position", "best_sell", BID + 1)],
    [poke("position", "best_buy", BID + 1)],
]


@LOOKS
@pytest.mark.parametrize("changes", WITHIN, ids=range(len(WITHIN)))
def test_what_is_just_within_passes(changes, look):
    assert scene(*changes, look).fails() == set()


# ---------------------------------------------------------------- orders that reduce

HELD_LONG = both(to(position=1_000), order(side=SELL))
HELD_SHORT = to(position=-1_000)
NEVER_OF_A_REDUCING_ONE = {"UNKNOWN_ORDER", "SHORT_SALE_RESTRICTED", "NO_LOCATE"}


def reducing(code: str, held: Change) -> Scene:
    """A violation, and an order that makes a position smaller."""
    made = scene(held, limits(max_position=99) if code == "POSITION_SHORT" else VIOLATIONS[code][0])
    if code == "NET_NOTIONAL":  # of all symbols: others are held the other way, and more of them
        poke("gate", "net", -made.position * MIDDLE, at=0)(made)
    return made


REDUCING = [
    pytest.param(code, held, id=f"{code}-{name}")
    for code in VIOLATIONS
    if code not in NEVER_OF_A_REDUCING_ONE
    for name, held in (("long", HELD_LONG), ("short", HELD_SHORT))
]


@pytest.mark.parametrize(("code", "held"), REDUCING)
def test_what_reducing_orders_pass(code, held):
    """Size, count, rate and exposure; not what is wrong with the order or cannot be traded now."""
    passes = bool(EXPOSURE >> Reject[code] & 1)
    assert reducing(code, held).verdict() == ("ACCEPTED" if passes else code)
    if passes:
        decision = reducing(code, held).decision()
        assert (decision["failed"], decision["warned"], decision["reducing"]) == (0, 0, 1)


def test_exactly_these_checks_let_reducing_orders_pass():
    assert names(EXPOSURE) == {
        *("QUANTITY", "NOTIONAL", "DUPLICATE_ORDER", "ORDER_RATE", "SYMBOL_ORDER_RATE"),
        *("OPEN_ORDERS", "SYMBOL_OPEN_ORDERS", "POSITION_LONG", "POSITION_SHORT"),
        *("GROSS_NOTIONAL", "NET_NOTIONAL", "DAILY_QUANTITY", "DAILY_NOTIONAL", "LOSS_LIMIT"),
    }


NO_MORE = limits(max_quantity=1)
"""What only reducing orders pass."""


@LOOKS
@pytest.mark.parametrize(
    ("held", "side", "quantity", "steps", "reduces"),
    [
        (300, SELL, 300, [], True),
        (300, SELL, 301, [], False),
        (300, BUY, 2, [], False),
        (0, SELL, 2, [], False),
        (0, BUY, 2, [], False),
        (-300, BUY, 300, [], True),
        (-300, BUY, 301, [], False),
        (-300, SELL, 2, [], False),
        # What is open on the order's side could be executed first.
        (300, SELL, 200, [(NEW, SELL, 100, ASK)], True),
        (300, SELL, 201, [(NEW, SELL, 100, ASK)], False),
        (-300, BUY, 200, [(NEW, BUY, 100, BID)], True),
        (-300, BUY, 201, [(NEW, BUY, 100, BID)], False),
        # What is open on the other side could, but then the position is larger still.
        (300, SELL, 300, [(NEW, BUY, 1, BID - 500)], True),
    ],
)
def test_an_order_reduces_if_whatever_is_executed_makes_the_position_smaller(
    held, side, quantity, steps, reduces, look
):
    changes = [
        NO_MORE,
        limits(locate_required=False),
        order(side, quantity, ASK if side == SELL else BID),
    ]
    made = scene(*changes, to(position=held, steps=steps), look)
    decision = made.decision()
    assert bool(decision["reducing"]) == reduces
    assert decision["failed"] == (0 if reduces else 1 << Reject.QUANTITY)
    if not steps:  # those would be refused, too
        decision = scene(*changes, to(position=held), look, limits(reducing="check")).decision()
        assert decision["failed"] == 1 << Reject.QUANTITY and not decision["reducing"]


@pytest.mark.parametrize(("quantity", "fails"), [(300, set()), (301, {"KILL_SWITCH", "MALFORMED"})])
def test_a_replacement_reduces_in_the_place_of_what_it_replaces(quantity, fails):
    """Of 300 held, 100 are offered: their replacement may offer all, and no more as a long sale."""
    made = scene(
        kill("G", 1),
        limits(locate_required=False),
        to(position=300, steps=[(NEW, SELL, 100, ASK)], kind=REPLACE, order=(1, quantity, ASK)),
    )
    assert made.fails() == fails


@pytest.mark.parametrize(("quantity", "fails"), [(100, set()), (101, {"KILL_SWITCH"})])
def test_what_was_executed_of_a_replaced_order_is_not_counted_again(quantity, fails):
    """Short 100, 60 were bought back: the replacement of that order can buy the other 40."""
    made = scene(
        kill("G", 1),
        to(position=-100, model="touch", kind=REPLACE, order=(1, quantity, BID)),
        to(steps=[(NEW, BUY, 100, ASK)]),
    )
    made.market[-1] = add(2, "S", 60, ASK)
    assert made.fails() == fails


def test_replacements_count_with_what_they_add():
    """Limits of 130 shares: an order of 100 can become one of 130, partly executed or not."""
    for model, position in (("exchange", 0), ("touch", 0)):
        for quantity, fails in ((130, set()), (131, {"POSITION_LONG", "DAILY_QUANTITY"})):
            made = scene(
                limits(max_long=130, max_daily_quantity=130),
                to(position=position, model=model, kind=REPLACE, order=(1, quantity, BID)),
                to(steps=[(NEW, BUY, 100, ASK)]),
            )
            made.market[-1] = add(2, "S", 60, ASK)
            assert made.fails() == fails, (model, quantity)


# ---------------------------------------------------------------- kill switches

SCOPES = {"G": "KILL_SWITCH", "S": "STRATEGY_KILLED", "B": "SYMBOL_KILLED"}


@pytest.mark.parametrize(("scope", "code"), SCOPES.items())
def test_levels_of_a_kill_switch(scope, code):
    """1 lets only reducing orders pass, 2 none; it stays until it is reset."""
    assert verdict(kill(scope, 0)) == "ACCEPTED"
    assert verdict(kill(scope, 1)) == verdict(kill(scope, 2)) == code
    assert verdict(kill(scope, 1), HELD_LONG) == "ACCEPTED"
    assert verdict(kill(scope, 2), HELD_LONG) == code
    assert verdict(kill(scope, 2), kill(scope, 0)) == "ACCEPTED"
    assert verdict(kill(scope, 2), command("day_roll")) == code, "a new day resets nothing"


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("step", [(CANCEL, 1, 0, 0), (CANCEL, 1, 40, 0), (MODIFY, 1, 40, 0)])
def test_cancels_pass_every_switch(scope, step):
    kind, *asked = step
    made = scene(kill(scope, 2), to(steps=[(NEW, BUY, 100, BID)], kind=kind, order=tuple(asked)))
    assert made.fails() == set()


def test_cancels_and_modifications_pass_every_check():
    """Whatever is so, shares can be taken off an order; a replacement is checked."""
    for code, changes in VIOLATIONS.items():
        if code in ("MALFORMED", "UNKNOWN_ORDER", "OWN_ORDERS_FULL"):
            continue
        for kind, asked in ((CANCEL, (1, 0, 0)), (MODIFY, (1, 40, 0))):
            made = scene(changes[0])
            made.kind, made.order = kind, asked
            made.early.append(open_an_order)
            engine = made.played()
            assert engine.rejects_by_code == {}, code
            assert [raw[:1] for raw in engine.take_orders()] == [b"X" if kind == CANCEL else b"M"]


def open_an_order(engine: Engine) -> None:
    """An order of ours that is open, whatever the gate would say of it."""
    record = engine.block.own[1]
    record["user_ref_num"], record["book"], record["side"] = 1, 1, ord("B")
    record["quantity"], record["leaves"], record["price"] = 100, 100, BID
    record["state"] = State.LIVE


def test_a_symbols_switch_is_that_of_the_symbol():
    assert verdict(kill("B", 2, "MSFT")) == "ACCEPTED"
    assert verdict(kill("B", 2, "")) == "ACCEPTED", "no symbol: refused, the scope is a book"


# ---------------------------------------------------------------- reference price and collar


@LOOKS
@pytest.mark.parametrize(
    ("changes", "reference"),
    [
        ([], ASK),
        ([order(side=SELL), to(position=100)], BID),
        # One side is no market: the last sale, while it is fresh.
        ([market(delete(2)), last_sale(1_000_500)], 1_000_500),
        ([market(delete(1)), last_sale(1_000_500)], 1_000_500),
        ([NO_QUOTES, last_sale(1_000_500), later(10 * MINUTE)], 1_000_500),
        # A last sale that is too old, or none: the prior close.
        ([NO_QUOTES, last_sale(1_000_500), later(10 * MINUTE + 1), prior_close(999_000)], 999_000),
        ([NO_QUOTES, prior_close(999_000)], 999_000),
        ([prior_close(999_000), last_sale(1_000_500)], ASK),
        # A market of 2 ticks on 100.02 is 0.02 percent wide.
        ([limits(max_spread_percent=0.02), last_sale(1_000_500)], ASK),
        ([limits(max_spread_percent=0.01), last_sale(1_000_500)], 1_000_500),
        # A crossed market is not too wide.
        ([TOO_WIDE, market(add(9, "S", 100, BID - 100))], BID - 100),
        ([limits(last_sale_max_age_s=1), NO_QUOTES, last_sale(BID), later(10**9)], BID),
    ],
)
def test_the_waterfall_of_reference_prices(changes, reference, look):
    made = scene(*changes, look)
    assert (made.fails(), int(made.decision()["reference_px"])) == (set(), reference)


@LOOKS
@pytest.mark.parametrize(
    ("order_", "expected"),
    [
        ((BUY, 1, 1_010_202), "ACCEPTED"),
        ((BUY, 1, 1_010_203), "PRICE_COLLAR"),
        ((BUY, 1, 1), "ACCEPTED"),
        ((SELL, 1, 990_000), "ACCEPTED"),
        ((SELL, 1, 989_999), "PRICE_COLLAR"),
        ((SELL, 1, 200_000_000), "ACCEPTED"),
    ],
)
def test_a_collar_is_one_sided_around_the_other_sides_best_price(order_, expected, look):
    assert verdict(to(order=order_, position=1), look) == expected


@pytest.mark.parametrize(
    ("changes", "side", "counts_at"),
    [
        ([], BUY, 1_010_202),  # one percent above the offer
        ([], SELL, BID),
        ([limits(collar_percent=0.0)], BUY, ASK),
        ([NO_QUOTES, market(PRINT)], BUY, 1_010_000),
    ],
)
def test_a_market_order_counts_at_the_worst_price_of_the_collar(changes, side, counts_at):
    asked = [
        limits(market_orders=True, locate_required=False),
        order(side=side, price=MARKET_PRICE),
    ]
    for code, table in (
        ("NOTIONAL", lambda n: limits(max_notional=n)),
        ("GROSS_NOTIONAL", lambda n: total(max_gross_notional=n)),
        ("NET_NOTIONAL", lambda n: total(max_net_notional=n)),
        ("DAILY_NOTIONAL", lambda n: total(max_daily_notional=n)),
    ):
        most = 100 * counts_at
        assert scene(*changes, *asked, table(most / MONEY)).fails() == set()
        assert scene(*changes, *asked, table((most - 1) / MONEY)).fails() == {code}


# ---------------------------------------------------------------- short sales


@pytest.mark.parametrize("protocol", ["ouch50", "ouch42"])
@pytest.mark.parametrize(
    ("held", "steps", "quantity", "side"),
    [
        (100, [], 100, "S"),
        (100, [], 101, "T"),
        (0, [], 1, "T"),
        (-5, [], 1, "T"),
        (100, [(NEW, SELL, 60, ASK)], 40, "S"),
        (100, [(NEW, SELL, 60, ASK)], 41, "T"),
        # What will be bought is not owned.
        (0, [(NEW, BUY, 60, BID)], 60, "T"),
    ],
)
def test_a_sale_of_more_than_is_owned_is_marked_short_on_the_wire(
    held, steps, quantity, side, protocol
):
    made = scene(
        order(SELL, quantity, ASK + 100),
        limits(locate_required=False),
        to(position=held, steps=steps, orders={"protocol": protocol}),
    )
    raw = made.played().take_orders()[-1]
    if protocol == "ouch50":
        marked = OUCH50_INBOUND["enter_order"].decode(raw)["side"]
    else:
        marked = OUCH42_INBOUND["enter_order"].decode(raw)["buy_sell_indicator"]
    assert marked == side == chr(made.decisions[-1][-1]["side"])


@LOOKS
@pytest.mark.parametrize(
    ("held", "steps", "quantity", "located", "passes"),
    [
        *((0, [], 100, 100, True), (0, [], 101, 100, False)),
        *((50, [], 150, 100, True), (50, [], 151, 100, False)),
        # Shares that were sold short already are located once.
        *((-60, [], 40, 100, True), (-60, [], 41, 100, False)),
        *((0, [(NEW, SELL, 60, ASK)], 40, 100, True), (0, [(NEW, SELL, 60, ASK)], 41, 100, False)),
        (50, [], 50, 0, True),
    ],
)
def test_a_short_sale_needs_shares_located(held, steps, quantity, located, passes, look):
    made = scene(order(SELL, quantity, ASK), to(position=held, steps=steps), look)
    made.early.append(lambda engine: set_located(engine, located))
    assert made.fails() == (set() if passes else {"NO_LOCATE"})


def set_located(engine: Engine, shares: int) -> None:
    engine.block.position["locate"][1] = shares


@LOOKS
@pytest.mark.parametrize(
    ("action", "price", "changes", "passes"),
    [
        *(("0", BID, [], True), ("0", BID - 100, [], True)),
        *(("1", BID, [], False), ("2", BID, [], False), ("1", BID - 1, [], False)),
        *(("1", BID + 1, [], True), ("2", ASK, [], True)),
        # A sale of what is owned is no short one.
        ("1", BID, [to(position=100)], True),
        # The best bid is that of now.
        ("1", BID, [market(add(7, "B", 1, BID + 100))], False),
        ("1", BID, [market(add(7, "B", 1, BID - 100), delete(1))], True),
        # Without a bid nothing can be sold at it.
        ("1", 1_000, [market(delete(1), PRINT)], True),
        ("1", MARKET_PRICE, [market(delete(1), PRINT), limits(market_orders=True)], False),
    ],
)
def test_the_price_test_of_short_sales(action, price, changes, passes, look):
    made = scene(
        SALE,
        order(price=price),
        status("Y", stock="AAPL", reg_sho_action=action),
        limits(collar_percent=1000.0),
        look,
        *changes,
    )
    assert made.fails() == (set() if passes else {"SHORT_SALE_RESTRICTED"})


@pytest.mark.parametrize("protocol", ["ouch50", "ouch42"])
def test_a_replacement_cannot_make_a_long_sale_a_short_one(protocol):
    """Its message has no side: it would be marked as what it is not."""
    for quantity, fails in ((100, set()), (101, {"MALFORMED"})):
        made = scene(
            limits(locate_required=False),
            to(
                position=100,
                steps=[(NEW, SELL, 40, ASK)],
                kind=REPLACE,
                order=(1, quantity, ASK),
                orders={"protocol": protocol},
            ),
        )
        assert made.fails() == fails


# ---------------------------------------------------------------- when may be traded


@pytest.mark.parametrize(
    ("hours", "open_on"),
    [("regular", "Q"), ("extended", "SQM"), ("any", "-OSQMEC")],
)
@pytest.mark.parametrize("unknown", ["reject", "trade"])
def test_trading_hours_by_the_venues_system_events(hours, open_on, unknown):
    for code in "-OSQMEC":
        made = scene(limits(trading_hours=hours, unknown_trading_state=unknown))
        made.market.remove(OPENING[0])
        if code != "-":  # else nothing was heard of the day yet
            made.market.append(message("S", 0, TS, event_code=code))
        passes = code in open_on or (code == "-" and unknown == "trade")
        assert made.fails() == (set() if passes else {"MARKET_HOURS"}), code


@pytest.mark.parametrize("auctions", ["reject", "trade"])
def test_auctions_by_their_kind(auctions):
    for cross in "OCAHI":
        made = scene(limits(auctions=auctions), status("I", cross_type=cross))
        passes = auctions == "trade" and cross in "OCA"
        assert made.fails() == (set() if passes else {"AUCTION"}), cross


@pytest.mark.parametrize("unknown", ["reject", "trade"])
def test_trading_states(unknown):
    codes = {"H": "HALTED", "P": "LULD_PAUSE", "Q": "TRADING_STATE_UNKNOWN", "T": ""}
    for state, code in codes.items():
        made = scene(
            limits(unknown_trading_state=unknown),
            status("H", stock="AAPL", trading_state=state),
        )
        assert made.fails() == ({code} if code else set())


# ---------------------------------------------------------------- repetition


@pytest.mark.parametrize(
    ("step", "after_ns", "repeats"),
    [
        ((NEW, BUY, 100, BID), 0, True),
        ((NEW, BUY, 100, BID), 999_999, True),
        ((NEW, BUY, 100, BID), 1_000_000, False),
        ((NEW, BUY, 101, BID), 0, False),
        ((NEW, BUY, 100, BID - 100), 0, False),
        ((NEW, SELL, 100, BID), 0, False),
        # One that was rejected was not sent.
        ((NEW, BUY, 100, BID * 2), 0, False),
    ],
)
def test_an_order_like_one_sent_just_now_is_a_repetition(step, after_ns, repeats):
    made = scene(limits(duplicate_window_ms=1, locate_required=False), to(steps=[step]))
    engine = made.prepared()
    made.tick(engine, after_ns)
    expected = {"DUPLICATE_ORDER": 1} if repeats else {}
    if step[3] == BID * 2:
        expected = {"PRICE_COLLAR": 1}
    elif step[1] == SELL:
        expected = {"SELF_MATCH": 1}
    assert engine.rejects_by_code == expected


def test_a_replacement_is_a_repetition_too():
    steps = [(NEW, BUY, 100, BID), (NEW, BUY, 50, BID)]
    made = scene(limits(duplicate_window_ms=1), to(steps=steps, kind=REPLACE, order=(1, 50, BID)))
    assert made.fails() == {"DUPLICATE_ORDER"}


def test_an_order_of_another_book_is_none():
    for book, code in ((1, "DUPLICATE_ORDER"), (2, "ACCEPTED")):
        made = scene(limits(duplicate_window_ms=1))
        like = Order(book, True, 100, BID)
        made.pokes.append(lambda engine, like=like: remember_order(engine, like))
        assert made.verdict() == code


# ---------------------------------------------------------------- order rates


@settings(max_examples=60)
@given(
    st.booleans(),
    st.sampled_from([1, 3, 7, 1000, 1_000_000_000]),
    st.integers(1, 5),
    st.lists(st.integers(0, 1_200_000_000), min_size=1, max_size=12),
)
def test_a_rate_is_that_of_a_token_bucket(of_symbol, rate, burst, waits):
    """A bucket of ``burst`` tokens that gains one each interval, counted in exact integers."""
    names_ = (
        ("symbol_orders_per_second", "symbol_order_burst")
        if of_symbol
        else ("orders_per_second", "order_burst")
    )
    risk = replace(FREE, **dict(zip(names_, (rate, burst), strict=True)))
    engine = Engine(scripted([(NEW, BUY, 1, BID)] * len(waits), risk=risk), strategy=script)
    interval, now = 1_000_000_000 // rate, TS
    engine.feed(run(OPENING[3:]))
    filled, seen = burst * interval, now
    verdicts = []
    for wait in waits:
        now += wait
        filled, seen = min(burst * interval, filled + now - seen), now
        verdicts.append(filled >= interval)
        filled -= interval * verdicts[-1]
        engine.feed(run([message("S", 0, now, event_code="Q")]))
        assert bool(engine.take_orders()) == verdicts[-1], verdicts
    refused = {"SYMBOL_ORDER_RATE" if of_symbol else "ORDER_RATE": verdicts.count(False)}
    assert engine.rejects_by_code == {code: n for code, n in refused.items() if n}


def test_reducing_orders_empty_a_bucket_and_owe_nothing():
    """Ten of them at once, with room for two in a second: a second later there is room for one."""
    steps = [*[(NEW, SELL, 5, ASK)] * 10, *[(NEW, BUY, 1, BID)] * 4]
    for names_ in (
        ("orders_per_second", "order_burst"),
        ("symbol_orders_per_second", "symbol_order_burst"),
    ):
        made = scene(limits(**dict(zip(names_, (1, 2), strict=True))), to(position=1_000))
        made.steps, made.order = steps[:-1], steps[-1][1:]
        engine = made.prepared_until(10)
        assert engine.counters["orders_sent"] == 10
        for after_ns, sent in ((999_999_999, 10), (1, 11), (0, 11), (10**9, 12)):
            made.tick(engine, after_ns)
            assert engine.counters["orders_sent"] == sent, after_ns


def test_rejected_orders_and_cancels_take_nothing_from_the_rate_and_replacements_do():
    steps = [(NEW, BUY, 0, BID), (CANCEL, 9, 0, 0), (NEW, BUY, 1, BID), (REPLACE, 2, 2, BID)]
    steps += [(NEW, BUY, 1, BID), (CANCEL, 3, 0, 0)]
    risk = replace(FREE, orders_per_second=1, order_burst=2)
    engine = Engine(scripted(steps, risk=risk), strategy=script)
    engine.feed(run([*OPENING[3:], *[NEWS] * len(steps)]))
    assert [raw[:1] for raw in engine.take_orders()] == [b"O", b"U", b"X"]
    assert engine.rejects_by_code == {"MALFORMED": 1, "UNKNOWN_ORDER": 1, "ORDER_RATE": 1}


# ---------------------------------------------------------------- the audit ring


def test_a_full_audit_ring_stops_new_orders_or_counts_what_is_lost():
    """Nobody takes the decisions: 4,096 of them fit."""
    steps = [(NEW, BUY, 1, BID)] * 2 + [(CANCEL, 1, 0, 0)]
    for rule, sent, rejects, lost in (
        ("stop", [b"X"], {"AUDIT_FULL": 2}, 3),
        ("count", [b"O", b"O", b"X"], {}, 3),
    ):
        made = scene(limits(audit_full=rule), to(steps=steps[:2], kind=CANCEL, order=(9, 0, 0)))
        made.keeps = False
        made.early.append(open_an_order_at_9)
        made.early.append(lambda engine: engine.block.set("audit_used", AUDIT_RECORDS))
        engine = made.played()
        assert [raw[:1] for raw in engine.take_orders()] == sent
        assert (engine.rejects_by_code, engine.counters["audit_lost"]) == (rejects, lost)


def open_an_order_at_9(engine: Engine) -> None:
    record = engine.block.own[9]
    record["user_ref_num"], record["book"], record["side"] = 9, 1, ord("B")
    record["quantity"], record["leaves"], record["state"] = 5, 5, State.LIVE


def test_decisions_wait_in_the_ring_until_they_are_taken():
    steps = [(NEW, BUY, n, BID) for n in range(1, 6)]
    made = scene(to(steps=steps))
    made.keeps = False
    engine = made.prepared()
    assert made.decisions == [] and engine.block.get("audit_used") == 5
    made.keeps = True
    made.tick(engine)
    (taken,) = made.decisions
    assert taken["quantity"].tolist() == [1, 2, 3, 4, 5, 100]
    assert engine.block.get("audit_used") == 0


# ---------------------------------------------------------------- self matches, with real orders


@pytest.mark.parametrize(
    ("steps", "asked", "passes"),
    [
        ([(NEW, BUY, 5, BID)], (SELL, 1, BID), False),
        ([(NEW, BUY, 5, BID)], (SELL, 1, BID - 1), False),
        ([(NEW, BUY, 5, BID)], (SELL, 1, BID + 1), True),
        ([(NEW, SELL, 5, ASK)], (BUY, 1, ASK), False),
        ([(NEW, SELL, 5, ASK)], (BUY, 1, ASK - 1), True),
        ([(NEW, BUY, 5, BID)], (BUY, 1, BID), True),
        # The best of them counts, and after it the next.
        ([(NEW, BUY, 5, BID - 200), (NEW, BUY, 5, BID)], (SELL, 1, BID), False),
        ([(NEW, BUY, 5, BID), (NEW, BUY, 5, BID - 200)], (SELL, 1, BID), False),
        ([(NEW, BUY, 5, BID), (NEW, BUY, 5, BID - 200), (CANCEL, 1, 0, 0)], (SELL, 1, BID), True),
        (
            [(NEW, BUY, 5, BID), (NEW, BUY, 5, BID - 200), (CANCEL, 1, 0, 0)],
            *((SELL, 1, BID - 200), False),
        ),
        ([(NEW, BUY, 5, BID), (CANCEL, 1, 0, 0)], (SELL, 1, BID - 500), True),
        ([(NEW, BUY, 5, BID), (REPLACE, 1, 5, BID - 300)], (SELL, 1, BID - 200), True),
        ([(NEW, BUY, 5, BID), (REPLACE, 1, 5, BID - 300)], (SELL, 1, BID - 300), False),
        ([(NEW, BUY, 5, BID)], (SELL, 1, MARKET_PRICE), False),
        ([(NEW, SELL, 5, ASK + 5_000)], (BUY, 1, MARKET_PRICE), False),
    ],
)
def test_an_order_that_would_meet_our_own_is_rejected(steps, asked, passes):
    made = scene(
        limits(locate_required=False, market_orders=True),
        # Takers find nothing at their price, so that what is asked for waits.
        to(steps=steps, order=asked, model="through"),
    )
    assert made.fails() == (set() if passes else {"SELF_MATCH"})


# ---------------------------------------------------------------- replacements


@pytest.mark.parametrize(
    ("quantity", "price", "expected"),
    [
        (50, BID + 100, {}),
        (0, BID, {"MALFORMED": 1}),
        (501, BID, {"QUANTITY": 1}),
        (100, 1_020_000, {"PRICE_COLLAR": 1}),
        (100, MAX_PRICE + 1, {"MALFORMED": 1}),
    ],
)
def test_a_replacement_passes_the_gate_as_the_order_it_would_become(quantity, price, expected):
    made = scene(
        limits(max_quantity=500),
        to(steps=[(NEW, BUY, 100, BID)], kind=REPLACE, order=(1, quantity, price), model="through"),
    )
    engine = made.played()
    assert engine.rejects_by_code == expected
    leaves = {int(row["user_ref_num"]): int(row["leaves"]) for row in engine.block.own[1:3]}
    assert leaves == ({1: 100, 0: 0} if expected else {1: 0, 2: quantity})


# ---------------------------------------------------------------- what is executed at once


@pytest.mark.parametrize("model", ["touch", "through", "queue"])
@pytest.mark.parametrize(
    ("asked", "position", "cash", "leaves"),
    [
        ((BUY, 100, ASK), 100, -100 * ASK, 0),
        ((BUY, 100, ASK + 500), 100, -100 * ASK, 0),  # at the touch's price, not the order's
        ((BUY, 250, ASK), 200, -200 * ASK, 50),  # up to what is shown
        ((BUY, 100, ASK - 1), 0, 0, 100),
        ((SELL, 100, BID), -100, 100 * BID, 0),
        ((SELL, 400, BID - 500), -300, 300 * BID, 100),
        ((SELL, 100, BID + 1), 0, 0, 100),
    ],
)
def test_what_could_be_taken_at_the_touch_is_assumed_filled(asked, position, cash, leaves, model):
    engine = scene(limits(locate_required=False), to(order=asked, model=model)).played()
    assert engine.block.position["quantity"][1] == position
    assert engine.block.position["cash"][1] == cash
    assert engine.block.own["leaves"][1] == leaves
    assert engine.counters["assumed_fills"] == (position != 0)
    taken = abs(position)
    assert engine.block.position["day_quantity"][1] == engine.block.gate["day_quantity"] == taken
    assert engine.block.position["day_notional"][1] == abs(cash)


@pytest.mark.parametrize(("side", "gone"), [(BUY, 2), (SELL, 1)])
def test_nothing_is_filled_against_an_empty_side(side, gone):
    """The order passes by the last sale, and waits."""
    made = scene(
        limits(locate_required=False),
        market(delete(gone), PRINT),
        to(order=(side, 100, BID), model="touch"),
    )
    engine = made.played()
    assert engine.counters["orders_sent"] == 1 and engine.counters["assumed_fills"] == 0


def test_a_filled_position_counts_against_the_limit():
    """Two orders of 100 with room for 150: the second is rejected, a sale passes."""
    steps = [(NEW, BUY, 100, ASK), (NEW, BUY, 100, ASK), (NEW, SELL, 100, BID)]
    config = scripted(steps, risk=replace(CAREFUL, max_position=150), fills=Fills(model="touch"))
    pair = Pair(config, script)
    for each in OPENING[1:]:
        pair.feed(each)
    for _ in steps:
        pair.feed(NEWS)
    assert_equal(pair.engine, pair.reference)
    assert pair.engine.rejects_by_code == {"POSITION_LONG": 1}
    assert pair.engine.block.position["cash"][1] == -100 * ASK + 100 * BID


def test_a_loss_is_that_of_positions_at_the_present_mark():
    """100 bought at the offer of 100.02; the market falls by a dollar: 100 times 1.01 are lost."""
    steps = [(NEW, BUY, 100, ASK), (NEW, BUY, 1, BID - 10_100), (NEW, SELL, 100, BID - 10_000)]
    fall = [delete(1), delete(2), add(3, "B", 300, BID - 10_000), add(4, "S", 200, ASK - 10_000)]
    for most, rejects in ((101.0, {}), (100.9999, {"LOSS_LIMIT": 1})):
        config = scripted(steps, risk=replace(CAREFUL, max_loss=most), fills=Fills(model="touch"))
        pair = Pair(config, script)
        for each in (*OPENING[1:], NEWS, *fall, NEWS, NEWS):
            pair.feed(each)
        assert pair.engine.rejects_by_code == rejects, "and a sale of what is held passes"
