"""The back of the chain in Verilator: random sessions, limits, hazards, cycles."""

import random
import subprocess
from collections import Counter

import pytest

from tickpath_backends.hdl import back_model, back_orders, registers, verilated
from tickpath_backends.hdl.back_check import DifferenceError, Session
from tickpath_backends.hdl.back_flow import HALTED, TRADING, Flow
from tickpath_backends.hdl.back_model import LATENCY, Access, Back
from tickpath_backends.hdl.back_reference import Reference
from tickpath_backends.hdl.profile import Check, Trigger
from tickpath_backends.hdl.registers import Protocol, Table

if reason := verilated.why_not():
    pytest.skip(reason, allow_module_level=True)

NAMES = {symbol: f"SYM{symbol}" for symbol in range(64)}
INTENT_DEPTH, ORDER_DEPTH = 64, 16
OPEN = {
    "is_enabled": 1,
    "is_cents": 1,
    "max_quantity": 999_999,
    "max_notional": (1 << 64) - 1,
    "collar_ticks": 0xFFFF,
    "max_long": 0xFFFFFFFF,
    "max_short": 0xFFFFFFFF,
}
TOGGLING = {"kind": Trigger.IMBALANCE, "ratio_log2": 0, "quantity": 100}
"""Fires at every top of which the larger side is the other one than before."""
COVERED: Counter[object] = Counter()
READY = {
    "always": lambda draw: lambda cycle: True,
    "often": lambda draw: lambda cycle: draw.random() < 0.7,
    "in spells": lambda draw: lambda cycle: cycle // 40 % 2 == 0,
}


def started(protocol: Protocol = Protocol.OUCH50, seed: int = 1) -> Session:
    """A session with its names and template, the switch off and nothing else."""
    back = Back(back_model.library(protocol), protocol, seed)
    orders = back_orders.session(protocol, NAMES)
    back_model.arm(back, orders.template, NAMES.items())
    reference = Reference(orders.encode)
    reference.killed = False
    return Session(back, reference)


@pytest.fixture
def session():
    made = started()
    yield made
    COVERED.update(made.reference.covered)
    made.back.close()


def open_up(session: Session, *symbols: int, **limits: int) -> None:
    """Symbols that fire when the larger side changes, with limits that are far."""
    for symbol in symbols:
        session.tell(Table.LIMITS, symbol, **{**OPEN, **limits})
        session.tell(Table.TRIGGER, symbol, **TOGGLING)
        session.tell(Table.TRADING, symbol, state=TRADING)
    session.back.settle()


def a_top(symbol: int, number: int, buys: bool, **fields: int) -> dict[str, int]:
    """A top at which a toggling trigger buys, or sells."""
    return {
        "symbol": symbol,
        "bid_px": 999_900,
        "bid_sz": 200 if buys else 100,
        "ask_px": 1_000_000,
        "ask_sz": 100 if buys else 200,
        "input_number": number,
        "ts_event": 1000 * number,
        "tag": number & 0xFFFF,
        **fields,
    }


def finish(session: Session) -> None:
    session.back.run(0, until_quiet=60)
    session.check()


@pytest.mark.parametrize("protocol", [*Protocol], ids=lambda each: each.name)
def test_the_sources_have_no_warning(protocol, tmp_path):
    # Packages and generate blocks have names of their own; nobody uses all fields of a struct.
    flags = ["-Wall", "-Wno-GENUNNAMED", "-Wno-DECLFILENAME", "-Wno-UNUSEDSIGNAL"]
    command = ["verilator", "--lint-only", *flags, f"-GPROTOCOL={protocol.value}"]
    command += [f"-I{folder}" for folder in (back_model.GEN, verilated.RTL)]
    command += ["--top-module", "back_top", *map(str, back_model.SOURCES)]
    environment = verilated.environment()
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# ---------------------------------------------------------------- random sessions


@pytest.mark.parametrize("ready", [*READY])
@pytest.mark.parametrize(
    "flow",
    [
        {"seed": 1},
        {"seed": 2, "symbols": 64, "most_gap": 6, "host": 0.02},
        {"seed": 3, "symbols": 1, "most_gap": 3, "host": 0.1},
        {"seed": 4, "symbols": 2, "least_gap": 1, "most_gap": 2, "odd": 0.001},
    ],
    ids=["some", "all symbols", "one symbol", "faster than the gate"],
)
def test_a_random_session_is_the_references(session, flow, ready):
    session.back.ready = READY[ready](random.Random(5))
    played = Flow(**flow)
    played.prepare(session)
    played.play(session, 1000)
    session.check_counters()
    session.check_states()
    session.check_latencies()


@pytest.mark.long
@pytest.mark.parametrize("protocol", [*Protocol], ids=lambda each: each.name)
def test_many_random_sessions(protocol):
    for seed in range(100, 130):
        made = started(protocol, seed)
        made.back.ready = READY[[*READY][seed % 3]](random.Random(seed))
        draw = random.Random(seed)
        flow = Flow(seed, draw.choice((1, 3, 20, 64)), draw.choice((1, 2)), draw.choice((2, 6, 30)))
        flow.prepare(made)
        flow.play(made, 2500)
        made.check_counters()
        made.check_states()
        made.check_latencies()
        made.back.close()


# ---------------------------------------------------------------- cycles


def test_a_top_is_an_order_after_eight_cycles(session):
    open_up(session, 3)
    for n in range(20):
        at = session.back.cycle + 2
        session.top(2, a_top(3, n + 1, n % 2 == 0), stamped=9)
        session.back.run(40)
        assert session.back.verdicts[-1].cycle == at + 1 + back_model.RISK_CYCLES
        assert session.back.orders[-1].shown == at + LATENCY
    finish(session)
    session.check_latencies()
    assert session.back.value("HISTOGRAM", 9 + LATENCY) == 20


def test_intents_in_a_row_are_four_cycles_apart(session):
    open_up(session, *range(8))
    first = session.back.cycle + 1
    for n in range(8):
        session.top(1 + n, a_top(n, n + 1, True))
    session.back.run(0, until_quiet=60)
    assert [each.cycle - first for each in session.back.verdicts] == [7 + 4 * n for n in range(8)]
    assert session.back.value("INTENT_QUEUE_PEAK") == 6
    finish(session)


@pytest.mark.parametrize("apart", [1, 2, 3, 4, 5, 6, 7, 8])
def test_intents_of_one_symbol_see_each_other(session, apart):
    open_up(session, 5, max_long=300, max_short=0)
    for n in range(8):
        session.top(1 + apart * n, a_top(5, n + 1, n % 2 == 0))
    session.back.run(0, until_quiet=60)
    found = [(each.is_accepted, each.failed) for each in session.back.verdicts]
    fails = (False, 1 << Check.POSITION)
    # Sales are all refused; of the purchases the fourth.
    assert found == [(True, 0), fails] * 3 + [fails, fails]
    finish(session)
    assert session.back.fetch(Table.STATE, 5)["long_exposure"] == 300


@pytest.mark.parametrize("apart", [1, 3, 4, 5, 9])
def test_the_gates_rate_holds_for_all_symbols(session, apart):
    open_up(session, *range(6))
    session.tell(Table.GATE, 0, rate_interval=1000, rate_burst=2000)
    session.back.settle()
    for n in range(6):
        session.top(1 + apart * n, a_top(n, n + 1, True, ts_event=50_000 + n))
    session.back.run(0, until_quiet=60)
    assert [each.is_accepted for each in session.back.verdicts] == [True] * 3 + [False] * 3
    finish(session)


# ---------------------------------------------------------------- limits


@pytest.mark.parametrize(
    ("check", "limits", "inside", "beyond"),
    [
        (Check.QUANTITY, {"max_quantity": 100}, {}, {"quantity": 101}),
        (
            Check.QUANTITY,
            {"max_quantity": 0xFFFFFFFF},
            {"quantity": 999_999},
            {"quantity": 1 << 20},
        ),
        (Check.QUANTITY, {}, {"quantity": 1}, {"quantity": 0}),
        (Check.NOTIONAL, {"max_notional": 100_000_000}, {}, {"slippage": 1}),
        (Check.PRICE_COLLAR, {"collar_ticks": 3}, {"slippage": 300}, {"slippage": 301}),
        (
            Check.PRICE_COLLAR,
            {"collar_ticks": 3, "is_cents": 0},
            {"slippage": 3},
            {"slippage": 4},
        ),
        (Check.POSITION, {"max_long": 100}, {}, {"quantity": 101}),
        (Check.SYMBOL_ENABLED, {"is_enabled": 1}, {}, None),
    ],
)
def test_a_limit_is_exact(session, check, limits, inside, beyond):
    open_up(session, 2, **limits)
    for given in (inside, beyond):
        if given is None:
            session.tell(Table.LIMITS, 2, **{**OPEN, **limits, "is_enabled": 0})
        # New parameters fire again.
        session.tell(Table.TRIGGER, 2, **{**TOGGLING, **(given or {})})
        session.back.settle()
        state = session.back.fetch(Table.STATE, 2)
        session.tell(Table.RELEASE, 2, long_change=-state["long_exposure"])
        session.back.settle()
        session.top(1, a_top(2, 1 + (given is not inside), True))
        session.back.run(40)
    one, other = session.back.verdicts
    assert (one.is_accepted, one.failed) == (True, 0)
    assert (other.is_accepted, other.failed) == (False, 1 << check)
    finish(session)


# ---------------------------------------------------------------- the host beside the traffic


def test_the_switch_takes_effect_on_the_next_intent(session):
    """Thrown at every cycle around an intent: it counts or does not, and never halfway."""
    open_up(session, 1)
    outcomes = []
    for offset in range(12):
        session.top(1, a_top(1, offset + 1, offset % 2 == 0))
        session.back.run(offset)
        session.kill(True)
        session.back.run(60)
        session.back.settle()
        outcomes.append(session.back.verdicts[-1].is_accepted)
        session.kill(False)
        session.back.settle()
        session.back.run(20)
    finish(session)
    assert outcomes == sorted(outcomes) and len({*outcomes}) == 2


def test_new_parameters_count_from_one_top_on(session):
    """Written at every cycle around three tops in a row: one of them, or the next, fires."""
    open_up(session, 1)
    session.top(1, a_top(1, 1, True))
    session.back.run(40)
    number, fired = 1, []
    for offset in range(1, 48):
        session.tell(Table.TRIGGER, 1, **TOGGLING)
        for at in (offset, offset + 1, offset + 2, offset + 60):
            number += 1
            session.top(at, a_top(1, number, True))
        before = len(session.back.verdicts)
        session.back.run(120)
        session.back.settle()
        fired.append(len(session.back.verdicts) - before)
    assert fired == [1] * len(fired)
    finish(session)


def test_orders_under_way_leave_whole_when_the_switch_is_thrown(session):
    open_up(session, *range(6))
    session.back.ready = lambda cycle: cycle % 3 == 0
    for n in range(6):
        session.top(1 + 4 * n, a_top(n, n + 1, True))
    session.back.run(14)
    session.kill(True)
    finish(session)
    assert 0 < session.counted["ORDERS"] < 6
    assert session.counted["FAILED_KILL_SWITCH"] == 6 - session.counted["ORDERS"]


def test_a_release_is_never_lost_nor_counted_twice(session):
    """In the middle of checks of its symbol, at every distance."""
    open_up(session, 4)
    for n in range(40):
        session.tell(Table.RELEASE, 4, long_change=-7, short_change=3)
        for k in range(8):
            session.top(1 + (n % 5) + 4 * k, a_top(4, 8 * n + k + 1, k % 2 == 0))
        session.back.run(0, until_quiet=20)
    finish(session)
    session.check_states()
    assert session.back.fetch(Table.STATE, 4)["long_exposure"] == 160 * 100 - 40 * 7


def test_a_release_waits_at_most_ten_cycles_and_holds_up_nothing(session):
    open_up(session, 4)
    alone = Back(back_model.library(), seed=9)
    accesses = alone.access(*alone.committing(Table.RELEASE, 4, 0))
    alone.settle()
    took = accesses[-1].ended - accesses[-1].began
    alone.close()
    first = session.back.cycle + 1
    for n in range(40):
        session.top(1 + 4 * n, a_top(4, n + 1, n % 2 == 0))
    for _ in range(8):
        session.tell(Table.RELEASE, 4, long_change=-1)
    session.back.run(0, until_quiet=60)
    assert [each.cycle - first for each in session.back.verdicts] == [7 + 4 * n for n in range(40)]
    slowest = max(
        access.ended - access.began for access, what, _ in session._told if what is Table.RELEASE
    )
    assert slowest <= took + 10
    finish(session)


def test_registers_are_read_while_orders_are_sent(session):
    """Every register that can be read, beside traffic that is not changed by it."""
    open_up(session, *range(4))
    first = session.back.cycle + 1
    reads = []
    for each in registers.REGISTERS:
        if each.access is not registers.Access.WRITE and each.name != "STAGE":
            reads += [Access(each.offset + 4 * n) for n in range(each.words)]
    session.back.access(*reads)
    for n in range(500):
        session.top(1 + 6 * n, a_top(n % 4, n + 1, n // 4 % 2 == 0))
    session.back.run(0, until_quiet=60)
    session.back.settle()
    assert all(each.response == back_model.OKAY for each in reads)
    assert [each.cycle - first for each in session.back.verdicts] == [7 + 6 * n for n in range(500)]
    finish(session)
    session.check_counters()


# ---------------------------------------------------------------- what does not fit


def test_orders_that_find_no_room_are_refused_whole(session):
    symbols = range(ORDER_DEPTH + 6)
    open_up(session, *symbols)
    session.back.ready = lambda cycle: False
    for n in symbols:
        session.top(1 + 5 * n, a_top(n, n + 1, True))
    session.back.run(200)
    assert not session.back.orders
    session.back.ready = lambda cycle: True
    finish(session)
    session.check_counters()
    assert (session.counted["ORDERS"], session.refused) == (ORDER_DEPTH + 1, 5)
    assert session.back.value("ORDER_QUEUE_PEAK") == ORDER_DEPTH
    assert session.back.value("ORDERS_OVERFLOW") == 0b11111 << ORDER_DEPTH + 1
    # What was refused for want of room had passed the gate, and its exposure stays.
    session.check_states()


def test_intents_that_find_no_room_are_counted(session):
    open_up(session, *range(64))
    for n in range(200):
        session.top(1 + n, a_top(n % 64, n + 1, n // 64 % 2 == 0))
    finish(session)
    session.check_counters()
    # One leaves every four cycles, until the queue is full; then three of four symbols stop.
    assert session.dropped > 40 and session.intents - session.dropped > 80
    assert session.back.value("INTENT_QUEUE_PEAK") == INTENT_DEPTH
    stopped = session.back.value("ORDERS_OVERFLOW")
    assert 0 < stopped.bit_count() <= session.dropped + session.refused
    # A symbol that had no room fires again once the host says so, and no earlier.
    symbol = stopped.bit_length() - 1
    session.top(1, a_top(symbol, 500, True))
    session.top(9, a_top(symbol, 501, False))
    finish(session)
    before = session.intents
    session.clear("ORDERS_OVERFLOW")
    session.back.settle()
    session.top(1, a_top(symbol, 502, True))
    finish(session)
    assert session.intents == before + 1 and session.back.value("ORDERS_OVERFLOW") == 0


# ---------------------------------------------------------------- what cannot be trusted


@pytest.mark.parametrize(
    ("flag", "register"),
    [
        (8, "WINDOW_OVERFLOW"),
        (4, "WINDOW_OVERFLOW"),
        (2, "WINDOW_OVERFLOW"),
        (1, "ORDERS_OVERFLOW"),
    ],
)
@pytest.mark.parametrize("rescanned", [0, 1])
def test_a_flag_stops_its_symbol_until_the_host_clears_it(session, flag, register, rescanned):
    open_up(session, 40, 41)
    session.top(1, a_top(40, 1, True, flags=flag, rescanned=rescanned))
    session.top(3, a_top(40, 2, True))
    session.top(8, a_top(41, 3, True))
    session.back.run(50)
    assert [each.intent >> 193 for each in session.back.verdicts] == [41]
    assert session.back.value(register) == 1 << 40
    session.clear(register)
    session.back.settle()
    session.top(1, a_top(40, 4, True))
    finish(session)
    assert session.back.value(register) == 0
    assert session.counted["ORDERS"] == 2


@pytest.mark.parametrize("symbol", [None, 40])
def test_a_gap_stops_symbols_from_its_own_cycle_on(session, symbol):
    open_up(session, 40, 41)
    session.gap(3, symbol)
    session.top(1, a_top(40, 1, True))
    session.top(3, a_top(40, 2, False))
    session.top(8, a_top(40, 3, False))
    session.top(12, a_top(41, 4, True))
    finish(session)
    expected = (1 << 64) - 1 if symbol is None else 1 << symbol
    assert session.back.value("STALE") == expected
    assert session.counted["ORDERS"] == (1 if symbol is None else 2)


def test_a_trading_action_counts_for_the_messages_behind_it(session):
    """It comes ahead of tops of earlier messages: those are judged by the state before."""
    open_up(session, 9)
    session.action(1, 9, HALTED, 12)
    session.top(3, a_top(9, 10, True))
    session.top(9, a_top(9, 12, False))
    session.top(15, a_top(9, 13, True))
    session.back.run(500)
    session.action(1, 9, TRADING, 20)
    session.top(3, a_top(9, 19, False))
    session.top(9, a_top(9, 21, True))
    session.back.run(0, until_quiet=60)
    halts = 1 << Check.HALT
    assert [each.failed for each in session.back.verdicts] == [0, halts, halts, halts, 0]
    finish(session)


def test_nothing_is_sent_after_reset_until_the_host_says_so(session):
    open_up(session, 1)
    session.back.reset()
    session.reference = Reference(session.reference.encode)
    assert session.back.value("CONTROL") == 1
    assert session.back.value("HALTED") == (1 << 64) - 1
    session.top(1, a_top(1, 1, True))
    session.back.run(40)
    session.tell(Table.TRIGGER, 1, **TOGGLING)
    session.back.settle()
    session.top(1, a_top(1, 2, True))
    session.back.run(0, until_quiet=60)
    (only,) = session.back.verdicts
    every = {Check.KILL_SWITCH, Check.SYMBOL_ENABLED, Check.HALT, Check.QUANTITY, Check.NOTIONAL}
    assert only.failed == sum(1 << check for check in {*every, Check.POSITION})
    finish(session)


def test_reset_in_the_middle_of_an_order(session):
    open_up(session, 1)
    session.back.ready = lambda cycle: cycle % 5 == 0
    session.top(1, a_top(1, 1, True))
    session.back.run(16)
    session.back.reset()
    session.back.orders.clear()
    session.back.verdicts.clear()
    session.back.ready = lambda cycle: True
    session.back.run(60)
    assert not session.back.orders and not session.back.verdicts
    assert session.back.counters() == {each.name: 0 for each in registers.Counter}


def test_a_difference_is_seen(session):
    """The comparison itself: an order, a verdict and a counter that are not the reference's."""
    open_up(session, 1)
    for n in range(3):
        session.top(1 + 20 * n, a_top(1, n + 1, n % 2 == 0))
    session.back.run(0, until_quiet=60)
    session.back.orders[1].data = session.back.orders[1].data[:-1] + b"\1"
    with pytest.raises(DifferenceError, match="nobody ordered"):
        session.check()
    session.counted["TOPS"] += 1
    with pytest.raises(DifferenceError, match="TOPS"):
        session.check_counters()


def test_zz_coverage_is_complete():
    """Runs last: every check fails, alone too; every trigger, either way; every kind of sale."""
    wanted = [("fails", check) for check in Check] + [("fails alone", check) for check in Check]
    kinds = [kind for kind in Trigger if kind is not Trigger.OFF]
    wanted += [("trigger", kind, sells) for kind in kinds for sells in (False, True)]
    wanted += [("side", False, False), ("side", True, False), ("side", True, True), "accepted"]
    print({str(each): COVERED[each] for each in wanted})
    assert not [each for each in wanted if not COVERED[each]]
