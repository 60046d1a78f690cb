"""The venue as one machine: time cut anyhow, faults on request, commands understood or refused."""

import random
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from itch_messages import mold, read, split
from tickpath.exchange import command
from tickpath.exchange.config import Exchange, check, load
from tickpath.exchange.error import ExchangeError
from tickpath.exchange.faults import Disconnect, Garbage
from tickpath.exchange.venue import SECOND_NS, Venue
from tickpath.wire import appendage
from tickpath.wire.ouch50 import OUCH50_INBOUND, OUCH50_OUTBOUND

MS = 1_000_000


def venue(**said: Any) -> Venue:
    common = {
        "symbols": ["AAA=150", "BBB=20"],
        "accounts": [{"username": "ONE", "cancel_on_disconnect": True}, {"username": "TWO"}],
        "flow": {"rate": 2_000},
    }
    return Venue(msgspec.convert(common | said, Exchange), "T1")


def quiet(**said: Any) -> Venue:
    made = venue(flow={"kind": "none"}, **said)
    made.open()
    for take in (made.take_packets, made.take_said, made.take_dropped):
        take()
    return made


def enter(number: int, **values: Any) -> bytes:
    common = {
        "side": "B", "quantity": 100, "symbol": "AAA", "price": Decimal("149.00"),
        "time_in_force": "0", "display": "Y", "capacity": "P",
        "inter_market_sweep_eligibility": "N", "cross_type": "N", "clordid": "X",
    }  # fmt: skip
    message = OUCH50_INBOUND["enter_order"]
    return appendage.encode_message(message, {}, **(common | values), user_ref_num=number)


def operate(made: Venue, text: str, now_ns: int | None = None) -> dict[str, Any]:
    asked = command.parse(command.read(text), made)
    return made.operate(asked, made.now_ns + 1 if now_ns is None else now_ns)


def told(made: Venue, port: int = 1) -> list[str]:
    said = [raw for number, raw in made.take_said() if number == port]
    return [appendage.decode_message(OUCH50_OUTBOUND, raw)["message"] for raw in said]


# ---------------------------------------------------------------- the invariant


def _inputs(seed: int, start_ns: int) -> list[tuple[int, str, Any]]:
    """(time, kind, what) of two busy accounts and an operator, over two seconds."""
    chance = random.Random(seed)
    times = sorted(start_ns + chance.randrange(2 * SECOND_NS) for _ in range(300))
    inputs: list[tuple[int, str, Any]] = []
    numbers = {1: 0, 2: 0}
    for time in times:
        port, dice = chance.randint(1, 2), chance.random()
        if dice < 0.6:
            numbers[port] += 1
            price = Decimal(chance.randint(14_950, 15_050)).scaleb(-2)
            values = {"side": chance.choice("BS"), "time_in_force": chance.choice("003")}
            message = enter(numbers[port], price=price, quantity=chance.randint(1, 400), **values)
        elif dice < 0.8:
            number = chance.randint(1, max(numbers[port], 1))
            message = OUCH50_INBOUND["cancel_order"].encode(user_ref_num=number, quantity=0)
        elif dice < 0.95 or not numbers[port]:
            original = chance.randint(1, max(numbers[port], 1))
            numbers[port] += 1
            message = OUCH50_INBOUND["replace_order"].encode(
                orig_user_ref_num=original, user_ref_num=numbers[port], quantity=200,
                price=Decimal(chance.randint(14_950, 15_050)).scaleb(-2), time_in_force="0",
                display="Y", inter_market_sweep_eligibility="N",
            )  # fmt: skip
        else:
            texts = ["drop count=2", "spoil", "delay account=ONE ms=7", "delay account=ONE ms=0",
                     "halt symbol=BBB", "resume symbol=BBB", "reject account=TWO",
                     "mass_cancel account=ONE after_s=0.01"]  # fmt: skip
            inputs.append((time, "operate", chance.choice(texts)))
            continue
        inputs.append((time, "receive", (port, message)))
    return inputs


def _run(made: Venue, inputs: list[tuple[int, str, Any]], cuts: list[int]) -> dict[str, Any]:
    """Feed the inputs, and look at the venue at the cuts between them."""
    made.open()
    out: dict[str, Any] = {"packets": [], "said": [], "dropped": [], "actions": []}

    def take() -> None:
        out["packets"] += made.take_packets()
        out["said"] += made.take_said()
        out["dropped"] += made.take_dropped()
        out["actions"] += made.take_actions()

    looks = sorted([(time, 1, "", None) for time in cuts] + [(t, 0, k, w) for t, k, w in inputs])
    for time, _, kind, what in looks:
        if kind == "receive":
            made.receive(what[0], what[1], time)
        elif kind == "operate":
            made.operate(command.parse(command.read(what), made), time)
        else:
            made.advance(time)
            take()
    made.close(made.start_ns + 3 * SECOND_NS)
    take()
    return {**out, "marks": made.marks()}


@pytest.mark.parametrize("window_us", [0, 300])
def test_inputs_and_their_times_decide_every_byte(window_us):
    feed = {"window_us": window_us, "loss": 0.01, "heartbeat_ms": 3}
    start_ns = venue().start_ns
    inputs, chance = _inputs(1, start_ns), random.Random(2)
    runs = []
    for cuts in (
        [],
        [start_ns + chance.randrange(3 * SECOND_NS) for _ in range(500)],
        list(range(start_ns, start_ns + 3 * SECOND_NS, MS)),
    ):
        runs.append(_run(venue(feed=feed, flow={"rate": 500}), inputs, cuts))
    assert runs[0] == runs[1] == runs[2]
    kinds = [
        appendage.decode_message(OUCH50_OUTBOUND, raw)["message"] for _, raw in runs[0]["said"]
    ]
    assert {"order_accepted", "order_executed", "canceled", "replaced", "rejected_order"} <= set(
        kinds
    )
    assert len(runs[0]["packets"]) > 1000
    other = _run(venue(feed=feed, flow={"rate": 500}, seed=2), inputs, [])
    assert other["packets"] != runs[0]["packets"]


def test_a_clock_that_steps_back_is_counted_and_changes_nothing():
    made = quiet()
    made.advance(made.start_ns + 100)
    made.receive(1, enter(1), made.start_ns + 50)
    assert made.now_ns == made.start_ns + 100 and made.counters["clock_backwards"] == 1
    assert told(made) == ["order_accepted"]


# ---------------------------------------------------------------- faults


def test_the_next_orders_are_rejected():
    made = quiet()
    operate(made, "reject account=one count=2 reason=fat_finger")
    for number in (1, 2, 3):
        made.receive(1, enter(number), made.now_ns + 1)
    made.receive(2, enter(1), made.now_ns + 1)
    said = [appendage.decode_message(OUCH50_OUTBOUND, raw) for _, raw in made.take_said()]
    assert [(m["message"], m.get("rejected_order_reason")) for m in said] == [
        ("rejected_order", 6),
        ("rejected_order", 6),
        ("order_accepted", None),
        ("order_accepted", None),
    ]


def test_answers_come_late_and_in_order():
    made = quiet()
    operate(made, "delay account=ONE ms=50")
    begin = made.now_ns
    made.receive(1, enter(1), begin + 1 * MS)
    made.receive(1, enter(2), begin + 2 * MS)
    operate(made, "delay account=ONE ms=0", begin + 3 * MS)
    made.receive(1, enter(3), begin + 4 * MS)
    made.receive(2, enter(1), begin + 5 * MS)
    assert told(made, 2) == ["order_accepted"]
    assert len(made.take_dropped()) == 4  # the drop copy is not late
    made.advance(begin + 51 * MS)
    assert told(made) == ["order_accepted"]
    made.advance(begin + 52 * MS)
    assert told(made) == ["order_accepted"] * 2
    made.receive(1, enter(4), begin + 53 * MS)
    assert told(made) == ["order_accepted"]
    assert made.faults.counters["answers_delayed"] == 3


def test_late_answers_are_not_lost_when_the_day_ends():
    made = quiet()
    operate(made, "delay account=ONE ms=5000")
    made.receive(1, enter(1), made.now_ns + 1)
    made.close(made.now_ns + 1)
    assert told(made) == ["order_accepted", "canceled", "system_event"]


def test_connections_are_cut():
    made = quiet()
    assert operate(made, "disconnect account=TWO") == {}
    operate(made, "disconnect_after account=ONE messages=2")
    for number in (1, 2, 3):
        made.receive(1, enter(number), made.now_ns + 1)
    assert made.take_actions() == [Disconnect(2), Disconnect(1)]


def test_packets_are_lost_and_spoilt_but_can_be_asked_for():
    made, clean = quiet(), quiet()
    first = made.packets_made + 1
    operate(made, f"drop first={first + 1} last={first + 2}")
    assert operate(made, "spoil") == {"first": first, "last": first}
    for number in (1, 2, 3, 4):
        for each in (made, clean):
            each.receive(1, enter(number), each.start_ns + number * MS)
    sent, whole = made.take_packets(), clean.take_packets()
    assert len(whole) == 4 and [sent[1]] == whole[3:] and len(sent) == 2
    differing = [
        i for i, pair in enumerate(zip(sent[0], whole[0], strict=True)) if len(set(pair)) > 1
    ]
    assert len(differing) == 1
    asked = mold([], made.downstream.next_sequence - 3, b"T1".ljust(10), number=2)
    assert split(made.downstream.answer(asked)[20:]) == [split(p[20:])[0] for p in whole[1:3]]
    assert made.faults.counters == {"packets_dropped": 2, "packets_spoilt": 1}


def test_a_part_of_the_packets_is_lost():
    made = venue(feed={"loss": 0.1}, flow={"rate": 2000})
    made.open()
    made.advance(made.start_ns + SECOND_NS)
    lost = made.faults.packets([])
    assert lost == []
    sent = made.take_packets()
    share = made.faults.counters["packets_dropped"] / made.packets_made
    assert (
        0.07 < share < 0.13
        and len(sent) == made.packets_made - made.faults.counters["packets_dropped"]
    )


def test_garbage_is_the_shells_to_write():
    made = quiet()
    said = operate(made, "garbage account=ONE bytes=5")
    (action,) = made.take_actions()
    assert isinstance(action, Garbage) and action.raw.hex() == said["bytes"]
    assert len(action.raw) == 5 and action.port == 1


def test_a_halt_is_published():
    made = quiet()
    operate(made, "halt symbol=aaa cause=T1")
    operate(made, "halt symbol=AAA state=Q cause=T3")
    operate(made, "resume symbol=AAA")
    said = [read(m) for packet in made.take_packets() for m in split(packet[20:])]
    assert [(m.code, m.trading_state, m.reason) for m in said] == [
        ("H", b"H", b"T1  "),
        ("H", b"Q", b"T3  "),
        ("H", b"T", b"    "),
    ]


def test_commands_of_the_configuration_come_in_their_time():
    faults = [
        {"do": "halt", "symbol": "AAA", "after_s": 0.5},
        {"do": "reject", "account": "ONE", "after_s": 0.25, "count": 1},
    ]
    made = venue(flow={"kind": "none"}, faults=faults)
    made.open()
    made.advance(made.start_ns + 400 * MS)
    assert made.matching.books[1].state == "T" and made.gate.rejects[1] == 1
    made.advance(made.start_ns + 500 * MS)
    assert made.matching.books[1].state == "H"


# ---------------------------------------------------------------- commands


def test_status_tells_what_is_going_on():
    made = quiet()
    made.connect(1, made.now_ns)
    made.receive(1, enter(1), made.now_ns + 1)
    status = operate(made, "status")
    assert (status["session"], status["symbols"], status["orders_live"]) == ("T1", 2, 1)
    assert status["accounts"]["ONE"] == {
        "connected": True,
        "open_orders": 1,
        "counters": {"enter": 1},
    }
    assert status["next_sequence"] == made.downstream.next_sequence


def test_a_book_is_shown():
    made = quiet()
    made.receive(1, enter(1), made.now_ns + 1)
    made.receive(2, enter(1, side="S", price=Decimal("151.00")), made.now_ns + 1)
    assert operate(made, "book symbol=AAA") == {
        "symbol": "AAA",
        "state": "T",
        "bids": [{"price": 1_490_000, "quantity": 100, "orders": 1}],
        "asks": [{"price": 1_510_000, "quantity": 100, "orders": 1}],
    }


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "no ''; known: status"),
        ("launch", "no 'launch'"),
        ("halt", "halt: which symbol"),
        ("halt symbol=NONE", "halt: no symbol 'NONE'"),
        ("halt symbol=AAA state=Z", "state='Z': one of H, P, Q, T"),
        ("halt symbol=AAA cause=LONGER", "at most 4 letters"),
        ("reject account=NONE", "no account 'NONE'; known: ONE, TWO"),
        ("reject account=ONE count=many", "count='many' is no number"),
        ("reject account=ONE reason=none", "reason='none': one of"),
        ("delay account=ONE ms=99999999", "between 0 and 60000"),
        ("drop frist=1", "drop takes no frist"),
        ("drop first", "'first' is not KEY=VALUE"),
        ("drop 'first", "No closing quotation"),
        ('{"do": ', "is not a JSON object"),
        ("break match=77", "match 77 is no trade"),
        ("spoil after_s=-1", "after_s=-1 is not between"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(text, error):
    made = quiet()
    before = made.marks()
    with pytest.raises(ExchangeError, match=r"^command: ") as raised:
        operate(made, text)
    assert error in str(raised.value) and "\n" not in str(raised.value)
    assert made.marks() == before


def test_commands_survive_being_written_down():
    made = quiet()
    for text in ("halt symbol=AAA state=P", "drop first=4", "mass_cancel account=ONE after_s=2"):
        asked = command.parse(command.read(text), made)
        assert command.parse(command.read(asked.encode().decode()), made) == asked
        assert not asked.is_question
    assert command.parse(command.read("status"), made).is_question


# ---------------------------------------------------------------- configuration


def test_configuration_is_read_whole_and_refused_in_a_line(tmp_path):
    path = tmp_path / "venue.toml"
    path.write_text(
        'symbols = ["AAPL=187.50", "MSFT"]\nseed = 7\n[flow]\nrate = 500\n'
        '[[accounts]]\nusername = "ALPHA"\ncancel_on_disconnect = true\n'
        '[[faults]]\ndo = "drop"\nafter_s = 2\ncount = 3\n'
    )
    config = load(path)
    assert (config.seed, config.flow.rate, config.accounts[0].username) == (7, 500.0, "ALPHA")
    for text, error in (
        ("seed = -1", "seed: "),
        ("sed = 1", "unknown field `sed`"),
        ("[flow]\nkind = 'odd'", "flow.kind: "),
        ("[flow]\nkind = 'recorded'", "flow.recorded: which file?"),
        ("[[accounts]]\nusername = 'A'\n[[accounts]]\nusername = 'a'", "a username stands twice"),
        ("[[accounts]]\npassword_env = 'NOT_SET_HERE'", "has no NOT_SET_HERE"),
        ("symbols = ['A=']", "symbols: 'A='"),
        ("seed", "not TOML"),
    ):
        path.write_text(text)
        with pytest.raises(ExchangeError) as raised:
            load(path)
        assert error in str(raised.value) and str(path) in str(raised.value)
    with pytest.raises(ExchangeError, match="cannot be read"):
        load(tmp_path / "none.toml")


def test_only_what_decides_the_output_is_in_the_digest():
    def digest(**said: Any) -> str:
        config = msgspec.convert(said, Exchange)
        check(config)
        return config.digest()

    same = digest()
    assert digest(orders={"port": 7000}) == digest(feed={"group": "239.1.1.1:5"}) == same
    assert digest(accounts=[{"password": "secret"}]) == same
    different = {
        digest(seed=2),
        digest(flow={"rate": 2.0}),
        digest(feed={"window_us": 1}),
        digest(accounts=[{"username": "OTHER"}]),
        same,
    }
    assert len(different) == 5
