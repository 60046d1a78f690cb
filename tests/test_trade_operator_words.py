"""What an operator says, what the engine does of it, and what is answered."""

import numpy as np
import pytest

from itch_messages import message, run
from tickpath.own_orders import adopt
from tickpath.risk import Kill
from tickpath.trade.operator_words import Operator, OperatorError, open_orders, positions
from trading import engine_with


@pytest.fixture
def engine():
    engine = engine_with()
    engine.feed(
        run(
            [
                message("A", 1, 5, ref=1, side="B", shares=100, stock="AAA", price=99_900),
                message("A", 1, 5, ref=2, side="S", shares=200, stock="AAA", price=100_100),
            ]
        )
    )
    for ref, b, side in ((1, 1, "B"), (2, 1, "S"), (3, 2, "B")):
        values = (ref, 16 * ref, b, ord(side), 100, 100_000, 0)
        adopt(engine.block.address, *(np.uint64(each) for each in values))
    return engine


@pytest.fixture
def operator(engine):
    switches: list[tuple] = []
    made = Operator(engine, lambda: {"notes": ["a note"]}, lambda *switch: switches.append(switch))
    made.switches = switches  # type: ignore[attr-defined]
    return made


def test_status(operator):
    status = operator.run("status")
    assert status["killed"] == "NONE" and status["open_orders"] == 3 and status["gaps"] == 0
    assert status["notes"] == ["a note"] and operator.run("notes") == {"notes": ["a note"]}


def test_orders_and_positions(operator, engine):
    rows = operator.run("orders")["orders"]
    assert [(row["user_ref_num"], row["symbol"], row["side"]) for row in rows] == [
        (1, "AAA", "B"),
        (2, "AAA", "S"),
        (3, "BBB", "B"),
    ]
    assert rows[0]["price"] == 10.0 and rows[0]["state"] == "PENDING"
    assert [row["user_ref_num"] for row in open_orders(engine, 2)] == [2, 3]
    rows = operator.run("positions")["positions"]
    assert [(row["symbol"], row["open_orders"]) for row in rows] == [("AAA", 2), ("BBB", 1)]
    assert len(positions(engine, 1)) == 1


def test_books(operator):
    assert operator.run("books aaa")["books"]["AAA"] == {
        "bids": [{"px": 9.99, "sz": 100}],
        "asks": [{"px": 10.01, "sz": 200}],
    }
    assert set(operator.run("books")["books"]) == {"AAA", "BBB"}


@pytest.mark.parametrize(
    ("line", "switch"),
    [
        ("kill --why x", ("G", "", 2)),
        ("kill all --why x", ("G", "", 2)),
        ("kill reduce --why x", ("G", "", 1)),
        ("kill stop --why x", ("G", "", 2)),
        ("kill strategy --why x", ("S", "", 2)),
        ("kill strategy reduce --why x", ("S", "", 1)),
        ("kill aaa --why x", ("B", "AAA", 2)),
        ("kill aaa reduce --why x", ("B", "AAA", 1)),
    ],
)
def test_kill_and_reset(operator, engine, line, switch):
    scope, symbol, level = switch

    def now() -> int:
        if scope == "B":
            return int(engine.block.limit[1]["killed"])
        return int(engine.block.gate[0]["killed" if scope == "G" else "strategy_killed"])

    answer = operator.run(line, "ann")
    assert answer["done"] == "kill" and answer["level"] == level
    assert operator.switches == [("ann", "x", scope, symbol, level)] and now() == level
    what = {"G": "", "S": "strategy", "B": "AAA"}[scope]
    operator.run(f"reset {what} --why fine", "ann")
    assert now() == Kill.NONE and operator.switches[-1] == ("ann", "fine", scope, symbol, 0)


def test_no_kill_waits_for_its_text(operator, engine):
    answer = operator.run("kill --why 'Preise ungültig: seit einer Minute keine Bewegung mehr'")
    assert answer["why"] == "Preise ung?ltig: seit einer Minu"
    assert engine.block.gate[0]["killed"] == Kill.STOP
    assert operator.switches[0][0] == "operator"


def test_limits(operator, engine):
    assert operator.run("limit max_quantity 50 AAA --why x")["value"] == 50
    assert operator.run("limit max_notional 1000.5 AAA --why x")["value"] == 10_005_000
    assert operator.run("limit total_max_loss 99 --why x")["done"] == "limit"
    own, default = operator.run("limits AAA")["limits"], operator.run("limits")["limits"]
    assert own["max_quantity"] == 50 and own["max_notional"] == 1000.5
    assert default["max_quantity"] == 10_000 and default["max_notional"] == 1_000_000.0
    totals = operator.run("limits")["totals"]
    assert totals["max_loss"] == 99.0 and totals["max_open_orders"] == 10_000


def test_a_limit_that_goes_back(operator, engine):
    operator.run("limit max_quantity 50 AAA --for 2 --why x")
    assert operator.run("limits AAA")["limits"]["max_quantity"] == 50
    now = engine.block.get("engine_time")
    engine.command("clock", who="x", why="y", timestamp=now + 2_000_000_001)
    assert operator.run("limits AAA")["limits"]["max_quantity"] == 10_000


def test_cancel(operator, engine):
    assert operator.run("cancel BBB --why x") == {"done": "cancel_all", "sent": 1}
    assert operator.run("cancel --why x") == {"done": "cancel_all", "sent": 2}
    assert operator.run("cancel all --why x") == {"done": "cancel_all", "sent": 0}
    assert len(engine.take_orders()) == 3


def test_many_are_canceled_at_once(engine):
    for ref in range(4, 500):
        values = (ref, 16 * ref, 1, ord("B"), 100, 100_000, 0)
        adopt(engine.block.address, *(np.uint64(each) for each in values))
    assert Operator(engine, dict).run("cancel --why x")["sent"] == 499


def test_day_roll(operator, engine):
    engine.block.position["day_quantity"][1] = 7
    operator.run("roll --why 'a new day'")
    assert engine.block.position["day_quantity"][1] == 0


@pytest.mark.parametrize(
    "line",
    [
        *("", "nonsense", "kill", "kill --why", "kill ZZZ --why x", "kill aaa never --why x"),
        *("limit --why x", "limit max_quantity --why x", "limit max_quantity ten --why x"),
        *("limit max_quantity -1 --why x", "limit max_quantity nan --why x"),
        *("limit max_quantity inf --why x", "limit max_quantity 1e30 --why x"),
        *("limit no_such_limit 1 --why x", "limit max_quantity 1 ZZZ --why x"),
        *("limit max_quantity 1 --for -1 --why x", "limit max_quantity 1 --for nan --why x"),
        *("books ZZZ", "limits ZZZ", "cancel ZZZ --why x", 'kill --why "open', "status --help"),
        *("-h", "status status", "roll", "reset", "kill --who root --why x"),
    ],
)
def test_what_cannot_be_done_is_said_and_changes_nothing(operator, engine, line):
    before = engine.state_digest
    with pytest.raises(OperatorError) as caught:
        operator.run(line)
    assert str(caught.value) and "\n" not in str(caught.value)
    assert engine.state_digest == before and operator.switches == []
