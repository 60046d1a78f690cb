"""The engine in a profile against the hardware's chain in plain Python, and as native DSLX.

Decision by decision: the same intents at the same messages, every check's answer, the same orders.
"""

import random
from types import SimpleNamespace

import numpy as np
import pytest

from itch_messages import frame, mold, run
from own_desk import Answers
from scenes import add, delete
from silicon import REFERENCE, Decision, Silicon, market, native_kernels, profile
from streams import CAPACITY
from tickpath import Config, Engine, profile_trigger
from tickpath.digest import symbol_text
from tickpath.ouch import order_id_of
from tickpath.profile import (
    CAPACITIES,
    Check,
    Gate,
    Imbalance,
    Profile,
    Spread,
    Symbol,
    SymbolLimits,
    Through,
)
from tickpath.profile_config import checks_of, config_of, decisive, findings_of, result_of
from tickpath.profile_trigger import Head, Overflow, Row, trigger
from tickpath.wire.ouch50 import OUCH50_INBOUND
from tickpath_backends.hdl import xls

SMALL = Config(capacity=CAPACITY)
KERNELS = [
    pytest.param(lambda: REFERENCE, id="python"),
    pytest.param(
        native_kernels,
        id="dslx",
        marks=pytest.mark.skipif(xls.why_not() is not None, reason=str(xls.why_not())),
    ),
]
OPEN = Profile(
    symbols={"AAPL": Symbol(Imbalance(2, 100))},
    gate=Gate(unknown_trading_state="trade", order_burst=1_000_000),
    limits=SymbolLimits(max_long=4_000_000_000, max_short=4_000_000_000, order_burst=100_000),
)
"""Nothing is refused."""


class Desk:
    """An engine with a profile, and every decision of its gate."""

    def __init__(self, given: Profile, base: Config = SMALL) -> None:
        self.profile = given
        self.records: list[np.ndarray] = []
        self.engine = Engine(config_of(given, base), on_audit=self._keep)
        self.sent: list[bytes] = []

    def _keep(self, records: np.ndarray, lost: int) -> bool:
        assert not lost
        self.records.append(records.copy())
        return True

    def feed(self, *messages: bytes) -> None:
        self.engine.feed(run(messages))
        self.sent += self.engine.take_orders()

    def decisions(self) -> list[Decision]:
        found = []
        for a in np.concatenate([np.zeros(0, self.engine.block.audit.dtype), *self.records]):
            failed = checks_of(int(a["failed"]), int(a["quantity"]), int(a["price"]))
            assert failed is not None, "refused for a reason that hardware has not"
            found.append(
                Decision(
                    int(a["order_id"]),
                    int(a["ts_event"]),
                    symbol_text(a["symbol"]),
                    chr(a["side"]) != "B",
                    int(a["price"]),
                    int(a["quantity"]),
                    int(a["reference_px"]),
                    frozenset(failed),
                    chr(a["side"]) == "T",
                )
            )
        return found

    def result(self) -> dict:
        return result_of(self.profile, self.engine.block.cell["value"], self.engine.rejects_by_code)

    def cells(self, name: str = "AAPL") -> np.ndarray:
        number = [*self.profile.symbols].index(name)
        return self.engine.block.cell["value"][
            profile_trigger.ROWS + profile_trigger.ROW * number :
        ]


def comparable(each: Decision) -> Decision:
    """What a malformed intent's decision says is no more than that."""
    if each.price == 0 or (each.failed & {Check.PRICE_COLLAR} and each.price > 1_999_999_900):
        return each._replace(reference_px=0, failed=frozenset(), is_short=False)
    return each


def assert_alike(desk: Desk, silicon: Silicon) -> None:
    """The same decisions, the same orders, the same counts."""
    assert silicon.overflows == 0 and not any(desk.result()["overflows"].values())
    expected = silicon.decisions
    assert [*map(comparable, desk.decisions())] == [*map(comparable, expected)]
    orders = [OUCH50_INBOUND.decode(raw) for raw in desk.sent]
    assert [
        (order_id_of(o["clordid"]), o["symbol"], o["side"], o["quantity"], int(o["price"] * 10_000))
        for o in orders
    ] == [
        (e.order_id, e.symbol, "T" if e.is_short else "BS"[e.is_sell], e.quantity, e.price)
        for e in expected
        if not e.failed
    ]
    refused = [decisive(sum(1 << c for c in e.failed), e.price) for e in expected if e.failed]
    counted = {each.name.lower(): refused.count(each) for each in Check}
    assert desk.result()["rejects_by_check"] == counted
    assert desk.result()["rejects_beyond"] == {} == dict(enumerate(findings_of(desk.result())))


def assert_same_tops(desk: Desk, silicon: Silicon) -> None:
    for n, name in enumerate(silicon.names):
        top = silicon.book.top(n)
        if name in desk.engine.symbols:
            found = desk.engine.book(name, 1)
            sides = [
                (int(side[0]["price"]), int(side[0]["quantity"])) if len(side) else (0, 0)
                for side in (found.bids, found.asks)
            ]
            assert sides == [(top.bid_px, top.bid_sz), (top.ask_px, top.ask_sz)]


@pytest.mark.parametrize("kernels", KERNELS)
def test_decisions_are_the_hardwares(kernels):
    """Random profiles over random markets; every check fails, alone and with others, and passes."""
    draw, functions = random.Random(6), kernels()
    failed, fired, sent, alone = set(), set(), 0, set()
    for _ in range(40):
        given = profile(draw)
        desk, silicon = Desk(given), Silicon(given, functions)
        messages = [*market(draw, 1_500)]
        for raw in messages:
            silicon.apply(raw)
        desk.feed(*messages)
        assert_alike(desk, silicon)
        assert_same_tops(desk, silicon)
        failed |= {each for d in silicon.decisions for each in d.failed}
        alone |= {each for d in silicon.decisions if len(d.failed) == 1 for each in d.failed}
        fired |= {type(given.symbols[d.symbol].trigger) for d in silicon.decisions}
        sent += len(desk.sent)
    assert failed == alone == {*Check} and fired == {Through, Spread, Imbalance} and sent > 250


BOTH_WAYS = Profile(
    symbols={name: Symbol(Imbalance(1, 100)) for name in ("AAPL", "MSFT")},
    gate=OPEN.gate,
    limits=SymbolLimits(max_long=600, max_short=300),
)
"""Buys and sells, up to limits that fills and cancels move."""


def test_answers_are_what_the_host_releases():
    """Fills and cancels change what a position can still become, in both alike."""
    draw = random.Random(7)
    shorts, failed = set(), set()
    for given in (BOTH_WAYS, *(profile(draw) for _ in range(5))):
        desk, silicon, match = Desk(given), Silicon(given), 0
        for raw in market(draw, 2_000):
            # Answers, and what the strategy is told of them, are inputs of their own.
            silicon.input_number = desk.engine.block.get("input_number")
            silicon.apply(raw)
            before = len(desk.sent)
            desk.feed(raw)
            if len(desk.sent) > before and draw.random() < 0.9:
                match += 1
                _answer(desk, silicon, match, draw)
        assert_alike(desk, silicon)
        shorts |= {d.is_short for d in silicon.decisions if d.is_sell and not d.failed}
        failed |= {each for d in silicon.decisions for each in d.failed}
    assert shorts == {False, True} and Check.POSITION in failed


def _answer(desk: Desk, silicon: Silicon, match: int, draw: random.Random) -> None:
    """The exchange fills a part of the order sent last and cancels the rest; the host says so."""
    order = OUCH50_INBOUND.decode(desk.sent[-1])
    ref, quantity = order["user_ref_num"], order["quantity"]
    filled = draw.choice((0, quantity // 2, quantity, quantity, quantity))
    answers = Answers(SimpleNamespace(engine=desk.engine, is50=True, now=silicon.now))
    told = [answers.accepted(ref)]
    if filled:
        told.append(answers.executed(ref, filled, int(order["price"] * 10_000), match))
    if filled < quantity:
        told.append(answers.canceled(ref, quantity - filled))
    desk.engine.feed_responses(run(told))
    left, is_buy = filled - quantity, order["side"] == "B"
    silicon.release(order["symbol"], *((left, -filled) if is_buy else (-filled, left)))


# ---------------------------------------------------------------- the trigger alone


def quotes(desk: Desk, bid: int, bid_sz: int, ask: int, ask_sz: int) -> None:
    """Another top of book for AAPL."""
    old = [*desk.engine.resting("AAPL")["order_ref"]] if "AAPL" in desk.engine.symbols else []
    ref = desk.engine.block.get("input_number") + 1
    desk.feed(*(delete(int(each)) for each in old))
    desk.feed(add(ref, "B", bid_sz, bid), add(ref + 1, "S", ask_sz, ask))


def test_fires_once_while_it_holds():
    desk = Desk(OPEN)
    desk.feed(add(1, "B", 500, 1_000_000), add(2, "S", 100, 1_000_100))
    assert len(desk.sent) == 1
    desk.feed(add(3, "B", 500, 1_000_000), add(4, "S", 100, 1_000_100))
    assert len(desk.sent) == 1, "it held all the time"
    desk.feed(add(5, "S", 400, 1_000_100))
    desk.feed(delete(5))
    assert len(desk.sent) == 2, "it came to hold again"
    assert desk.cells()[Row.FIRED] == 2 and desk.cells()[Row.HELD] == 1


def test_only_the_profiles_symbols_of_nasdaq_count():
    desk = Desk(OPEN)
    desk.feed(
        add(1, "B", 500, 1_000_000, locate=2, stock="MSFT"),
        add(2, "S", 100, 1_000_100, locate=2, stock="MSFT"),
        add(3, "B", 500, 1_000_000),
        delete(3),
        add(4, "B", 500, 1_000_000),
    )
    result = desk.result()
    assert result["orders_live"] == result["symbols"]["AAPL"]["orders_live"] == 1
    assert result["orders_live_peak"] == 1 and desk.engine.orders_live == 3
    assert not desk.sent


def test_nothing_is_sent_from_a_book_behind_a_gap():
    desk = Desk(OPEN)
    desk.engine.feed_packet(frame(mold([add(1, "B", 500, 1_000_000)], 1)))
    desk.engine.feed_packet(frame(mold([add(2, "S", 100, 1_000_100)], 5)))
    assert desk.engine.counters["intents"] == 0 and desk.cells()[Row.HELD] == 0
    assert desk.engine.book("AAPL", 1).asks[0]["price"] == 1_000_100


def test_a_price_of_nothing_is_refused():
    """The hardware's gate has no collar around an offer of zero."""
    desk = Desk(Profile(symbols={"AAPL": Symbol(Imbalance(1, 100, slippage=0.01))}, gate=OPEN.gate))
    desk.feed(add(1, "B", 500, 100), add(2, "S", 100, 0))
    (found,) = desk.decisions()
    assert found.failed == {Check.PRICE_COLLAR} and found.price == 0 and not desk.sent


# ---------------------------------------------------------------- overflows


def stopped(desk: Desk) -> dict[str, int]:
    """What the one symbol overflowed by; its trigger never fires again."""
    found, before = desk.result(), len(desk.sent)
    assert found["symbols"]["AAPL"]["stopped"] and len(findings_of(found)) == 1
    desk.feed(*(add(9_000_000 + n, "B", 50_000, 1_000_000 - 100 * n) for n in range(3)))
    quotes(desk, 900_000, 100, 900_100, 90_000)
    assert len(desk.sent) == before
    return {name: n for name, n in desk.result()["overflows"].items() if n}


def test_a_best_price_off_the_grid_stops_the_symbol():
    desk = Desk(OPEN)
    desk.feed(add(1, "B", 100, 1_000_000), add(2, "S", 100, 1_000_200))
    desk.feed(add(3, "B", 100, 999_950))
    assert not desk.result()["symbols"]["AAPL"]["stopped"], "behind the best it changes no top"
    desk.feed(add(4, "S", 100, 1_000_150), delete(4))
    assert stopped(desk)["off_grid"] >= 1


def test_a_symbol_below_one_dollar_has_a_finer_grid():
    desk = Desk(Profile(symbols={"AAPL": Symbol(Imbalance(2, 100), tick=0.0001)}, gate=OPEN.gate))
    desk.feed(add(1, "B", 500, 9_001), add(2, "S", 100, 9_003))
    assert len(desk.sent) == 1 and not desk.result()["symbols"]["AAPL"]["stopped"]


def test_more_at_a_price_than_the_hardware_counts_stops_the_symbol():
    desk = Desk(OPEN)
    desk.feed(*(add(n, "B", 0xFFFFFFFF, 1_000_000) for n in range(1, 9)))
    assert not desk.result()["symbols"]["AAPL"]["stopped"]
    desk.feed(add(17, "B", 8, 1_000_000))  # 2**35 shares
    assert stopped(desk).keys() == {"level"}


def test_more_orders_than_the_hardware_keeps_stop_the_symbol():
    """The count is moved up to the limit, so that not all the orders have to come."""
    desk = Desk(OPEN)
    desk.feed(add(1, "B", 100, 1_000_000), add(2, "S", 100, 1_000_100))
    cells = desk.engine.block.cell["value"]
    cells[Head.LIVE] = CAPACITIES.live_orders - 1
    desk.feed(add(3, "B", 10, 1_000_000))
    assert not desk.result()["symbols"]["AAPL"]["stopped"]
    desk.feed(add(4, "B", 10, 1_000_000))
    assert desk.cells()[Row.FLAGS] == 1 << Overflow.ORDERS
    desk.feed(delete(4), delete(3), delete(2))
    cells[Head.LIVE] = 2
    assert stopped(desk) == {"orders": 1}
    assert desk.result()["orders_live_peak"] == CAPACITIES.live_orders + 1


# ---------------------------------------------------------------- state


def test_a_snapshot_goes_on_as_if_nothing_had_been():
    given, messages = BOTH_WAYS, [*market(random.Random(8), 800)]
    whole = Desk(given)
    whole.feed(*messages)
    first, second = Desk(given), Desk(given)
    first.feed(*messages[:500])
    second.engine.restore(first.engine.snapshot())
    second.feed(*messages[500:])
    assert second.engine.state_digest == whole.engine.state_digest
    assert first.sent + second.sent == whole.sent and whole.sent
    assert second.result()["symbols"] == whole.result()["symbols"]


def test_every_symbol_finds_its_row():
    """64 of them in a table of 256: those that meet in it are told apart."""
    names = [f"S{n}" for n in range(CAPACITIES.symbols)]
    symbols = {name: Symbol(Spread("buy", 1.0, 1)) for name in names}
    given = Profile(symbols=symbols, gate=OPEN.gate, limits=OPEN.limits)
    desk = Desk(given, Config())
    for locate, name in enumerate(reversed(names), 1):
        desk.feed(
            add(2 * locate, "B", 5, 1_000_000, locate, name),
            add(2 * locate + 1, "S", 5, 1_000_100, locate, name),
        )
    assert [desk.result()["symbols"][name]["fired"] for name in names] == [1] * len(names)
    sent = [OUCH50_INBOUND.decode(raw)["symbol"] for raw in desk.sent]
    assert sent == names[::-1]


def test_the_trigger_is_what_the_configuration_names():
    from tickpath.strategy import find

    assert find(profile_trigger.NAME) is trigger
