"""The exchange's messages as bytes: every type, every length, options, tokens, garbage."""

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comparison import assert_bytes
from itch_messages import run
from own_desk import BID, BUY, Desk, Told, desk_config, encoded, validate_own
from scenes import TS
from strategies import REPEATABLE, message_values, options
from test_own_orders import Pair, steps_of
from tickpath import responses
from tickpath.layout import OWN_ORDERS
from tickpath.ouch import DIGITS, order_id_of, token_of
from tickpath.own_orders import Happened, State
from tickpath.wire import appendage
from tickpath.wire.ouch42 import OUCH42_OUTBOUND
from tickpath.wire.ouch50 import OUCH50_OUTBOUND
from tickpath.wire.table import Message

TABLES = {"ouch50": OUCH50_OUTBOUND, "ouch42": OUCH42_OUTBOUND}
WHOLE = [(protocol, each) for protocol, table in TABLES.items() for each in table.messages]
IDS = [f"{protocol}-{each.name}" for protocol, each in WHOLE]
OPTIONAL = [(p, m) for p, m in WHOLE if appendage.has_appendage(m)]
NOT_ABOUT_ORDERS = {
    *("system_event", "cancel_pending", "order_restated", "account_query_response"),
    "sequenced_trade_now",
}
LATER = 1_000_000
"""Nanoseconds after the last input at which answers come."""


def scene(protocol: str) -> Desk:
    """Order 1 is live and was executed in part, 2 was not answered, 3 is to replace 1."""
    desk = Desk(desk_config(protocol))
    for _ in range(2):
        desk.new(BUY, 100, BID)
    desk.answer("accepted", 1)
    desk.answer("executed", 1, quantity=30, price=BID, match=7)
    desk.replace(1, 80, BID - 100)
    desk.told()
    desk.take_sent()
    return desk


REFS = {"order_accepted": 2, "accepted": 2, "replaced": 3, "rejected_order": 2}
"""Which order of the scene a message is about; 1 for the others."""


def fields_of(desk: Desk, layout: Message) -> dict[str, Any]:
    """A message's fields that fit the scene."""
    ref = REFS.get(layout.name, 1)
    token = desk.answers.token(ref)
    values: dict[str, Any] = {
        "timestamp": desk.now + LATER,
        "user_ref_num": ref,
        "orig_user_ref_num": 1,
        "order_token": token,
        "replacement_order_token_alphanumeric_14": token,
        "previous_order_token": desk.answers.token(1),
        "quantity": 50,
        "shares": 50,
        "decrement_shares": 50,
        "executed_shares": 50,
        "price": BID // 10_000,
        "execution_price": BID // 10_000,
        "match_number": 7 if layout.name in ("broken_trade", "trade_correction") else 8,
        "order_state": "L",
        "order_reference_number": 4711,
        "symbol": "AAPL",
        "stock": "AAPL",
    }
    return {name: value for name, value in values.items() if name in layout.by_name}


def feed(desk: Desk, *raws: bytes) -> None:
    desk.engine.feed_responses(run(raws))


EXPECTED: dict[str, tuple[list[Told], tuple[str, int, int]]] = {
    "accepted": ([Told(Happened.ACCEPTED, 2, 50, BID)], ("LIVE", 0, 50)),
    "replaced": ([Told(Happened.REPLACED, 3, 50, BID)], ("PARTIALLY_FILLED", 30, 50)),
    "canceled": ([Told(Happened.CANCELLED, 1, 50, BID)], ("PARTIALLY_FILLED", 30, 20)),
    "executed": ([Told(Happened.EXECUTED, 1, 50, BID)], ("PARTIALLY_FILLED", 80, 20)),
    "broken_trade": ([Told(Happened.BROKEN, 1, 30, BID)], ("PARTIALLY_FILLED", 0, 70)),
    "trade_correction": ([Told(Happened.EXECUTED, 1, 0, BID)], ("PARTIALLY_FILLED", 50, 70)),
    "rejected_order": ([Told(Happened.REJECTED, 2, 100, BID)], ("REJECTED", 0, 0)),
    "cancel_reject": ([Told(Happened.CANCEL_REJECTED, 1, 70, BID)], ("PARTIALLY_FILLED", 30, 70)),
    "order_priority_update": ([], ("PARTIALLY_FILLED", 30, 70)),
    "order_modified": ([Told(Happened.MODIFIED, 1, 50, BID)], ("PARTIALLY_FILLED", 30, 50)),
}
SAME = {
    "order_accepted": "accepted",
    "aiq_canceled": "canceled",
    "aiq_cancelled": "canceled",
    "order_executed": "executed",
    "executed_with_reference_price": "executed",
}


def assert_effect(desk: Desk, layout: Message, before: int) -> None:
    """What a message of the scene changes, and what it tells."""
    assert desk.engine.counters["responses"] == 3 and desk.counted() == {
        "executions": 1 + ("executed" in layout.name),
        **({"executions_broken": 1} if layout.name == "broken_trade" else {}),
    }
    if layout.name in NOT_ABOUT_ORDERS:
        assert desk.engine.state_digest == before and desk.told() == []
        return
    told, state = EXPECTED[SAME.get(layout.name, layout.name)]
    assert desk.told() == told and desk.state(REFS.get(layout.name, 1)) == state
    assert desk.engine.state_digest != before or layout.name == "cancel_reject"
    validate_own(desk.engine)


@pytest.mark.parametrize(("protocol", "layout"), WHOLE, ids=IDS)
def test_every_message_has_its_effect_and_moves_time(protocol, layout):
    desk = scene(protocol)
    before = desk.engine.state_digest
    feed(desk, encoded(layout, fields_of(desk, layout)))
    assert_effect(desk, layout, before)
    assert desk.engine.block.get("engine_time") == desk.now + LATER


@pytest.mark.parametrize(("protocol", "layout"), OPTIONAL, ids=lambda each: str(each)[:20])
@pytest.mark.parametrize("how", ["options", "no length", "half a length", "wrong length"])
def test_options_behind_a_message_change_nothing(protocol, layout, how):
    """The appendage may be there, be missing with its length, or not add up: it is not read."""
    desk = scene(protocol)
    before = desk.engine.state_digest
    values = fields_of(desk, layout)
    raw = appendage.encode_message(layout, {"firm": "LIME", "minqty": 5}, **values)
    at = layout["appendage_length"].offset
    ways = {
        "options": raw,
        "no length": raw[:at],
        "half a length": raw[: at + 1],
        "wrong length": raw[:at] + b"\xff\xff" + raw[at + 2 :],
    }
    feed(desk, ways[how])
    assert_effect(desk, layout, before)


@pytest.mark.parametrize(("protocol", "layout"), WHOLE, ids=IDS)
def test_bytes_behind_what_the_table_says_are_a_later_revisions(protocol, layout):
    desk = scene(protocol)
    before = desk.engine.state_digest
    feed(desk, encoded(layout, fields_of(desk, layout)) + b"\x00\x02\x05\x07more")
    assert_effect(desk, layout, before)


@pytest.mark.parametrize(("protocol", "layout"), WHOLE, ids=IDS)
def test_a_message_of_any_shorter_length_changes_nothing(protocol, layout):
    desk = scene(protocol)
    before, number = desk.engine.state_digest, desk.engine.block.get("input_number")
    raw = encoded(layout, fields_of(desk, layout))
    least = int(responses.LENGTHS[protocol][ord(layout.type)])
    without = layout["appendage_length"].offset if appendage.has_appendage(layout) else len(raw)
    assert least == without
    feed(desk, *(raw[:length] for length in range(least)))
    assert desk.engine.state_digest == before and desk.told() == []
    counters = desk.engine.counters
    assert counters["responses"] == 2 + least
    assert counters["responses_wrong_length"] == least - 1
    assert counters["responses_unknown_type"] == 1, "without a byte it has no type"
    assert desk.engine.block.get("input_number") == number + least
    assert_bytes(counters)


@pytest.mark.parametrize("protocol", TABLES)
def test_unknown_types_are_counted_and_change_nothing(protocol):
    desk = scene(protocol)
    before = desk.engine.state_digest
    codes = [code for code in range(256) if chr(code) not in TABLES[protocol].by_type]
    feed(desk, *(bytes([code]) + desk.now.to_bytes(8, "big") + bytes(70) for code in codes))
    assert desk.engine.counters["responses_unknown_type"] == len(codes)
    assert desk.engine.state_digest == before and desk.told() == []


def test_each_protocol_knows_its_own_types():
    for protocol, table in TABLES.items():
        known = {chr(code) for code in np.flatnonzero(responses.LENGTHS[protocol])}
        assert known == set(table.by_type)


@pytest.mark.parametrize("protocol", TABLES)
def test_the_time_of_what_is_no_message_is_not_believed(protocol):
    desk = scene(protocol)
    feed(desk, b"~" + ((1 << 63) - 1).to_bytes(8, "big") + bytes(70))
    assert desk.engine.block.get("engine_time") == desk.now


@pytest.mark.parametrize("protocol", TABLES)
def test_time_does_not_go_back_with_an_answer(protocol):
    desk = scene(protocol)
    layout = TABLES[protocol]["system_event"]
    feed(desk, layout.encode(timestamp=TS - 5, event_code="S"))
    assert desk.engine.block.get("engine_time") == desk.now
    assert desk.engine.counters["time_backwards"] == 0, "clocks differ; nothing is wrong"


# ---------------------------------------------------------------- tokens


def executed42(desk: Desk, token: str) -> None:
    layout = OUCH42_OUTBOUND["executed"]
    values = {"executed_shares": 1, "execution_price": 100, "match_number": 99}
    feed(desk, layout.encode(timestamp=desk.now, order_token=token, **values))


def test_a_token_is_known_by_every_one_of_its_characters():
    """One that differs anywhere is another program's, whatever number it would spell."""
    desk = scene("ouch42")
    token = desk.answers.token(1)
    assert order_id_of(token) == desk.order(1)["order_id"]
    characters = [*DIGITS, *" @[`/:;Tatv~\x00\x7f\xff"]
    ours = {desk.answers.token(ref) for ref in (1, 2, 3)}
    unknown = 0
    for at in range(len(token)):
        for letter in characters:
            changed = token[:at] + letter + token[at + 1 :]
            if changed in ours:
                continue
            executed42(desk, changed)
            unknown += 1
            assert desk.engine.counters["responses_unknown_order"] == unknown, repr(changed)
    executed42(desk, token)
    assert desk.state(1) == ("PARTIALLY_FILLED", 31, 69)


@pytest.mark.parametrize(
    "token",
    ["", "T", "MYORDER1", "T" + "0" * 13, "T" + "V" * 13, "TG000000000000", "X0000000000010"],
)
def test_a_token_that_is_none_of_ours_is_an_unknown_order(token):
    desk = scene("ouch42")
    before = desk.engine.state_digest
    executed42(desk, token)
    assert desk.counted()["responses_unknown_order"] == 1
    assert desk.engine.state_digest == before


def test_thirteen_digits_have_room_for_more_than_there_are_numbers():
    """The first digit of ours with 16 more would spell the same 64 bits."""
    desk = scene("ouch42")
    token = desk.answers.token(1)
    assert token[1] == "0"
    executed42(desk, token[0] + "G" + token[2:])
    assert desk.counted()["responses_unknown_order"] == 1
    assert desk.state(1) == ("PARTIALLY_FILLED", 30, 70)


def test_orders_whose_tokens_have_one_hash_are_told_apart():
    """Many orders, many of them in one chain: each is found by its own token, in any order."""
    desk = Desk(desk_config("ouch42"))
    table = desk.engine.block
    refs = [desk.new(BUY, 5, BID) for _ in range(300)]
    mix, shift = 0x9E3779B97F4A7C15, 48
    home = [(int(desk.order(ref)["order_id"]) * mix % (1 << 64)) >> shift for ref in refs]
    assert len(table.named) == 1 << 16 and len(set(home)) > 290
    rng = random.Random(3)
    rng.shuffle(refs)
    for ref in refs:
        desk.answer("accepted", ref)
        desk.answer("executed", ref, quantity=1, price=BID, match=ref)
    assert {desk.state(ref) for ref in refs} == {("PARTIALLY_FILLED", 1, 4)}
    validate_own(desk.engine)


def test_chains_of_a_hash_are_kept_when_places_are_taken_again():
    """The engine's numbers are led around so that order_ids of one hash meet in the table."""
    desk = Desk(desk_config("ouch42"))
    mix = 0x9E3779B97F4A7C15
    inverse = pow(mix, -1, 1 << 64)
    # Numbers with the same upper 16 bits after the mix are in one chain.
    wanted = sorted(
        ((7 << 48 | low * 16 + rest) * inverse) % (1 << 64)
        for low in range(40)
        for rest in range(16)
    )
    inputs = [number // 16 for number in wanted if number % 16 == 0][:12]
    assert len(inputs) == 12
    refs = []
    for n, number in enumerate(inputs):
        desk.engine.block.set("input_number", number - 1)
        if n >= 4:
            desk.engine.block.set("user_ref_num", OWN_ORDERS * (n // 4) + refs[n % 4] - 1)
        ref = desk.new(BUY, 5, BID)
        refs.append(ref)
        validate_own(desk.engine)
        firsts = desk.engine.block.named["first"]
        assert np.flatnonzero(firsts).tolist() == [7]
        desk.answer("accepted", ref)
        for each in refs[max(0, n - 3) : n + 1]:
            desk.answer("executed", each, quantity=1, price=BID, match=1000 * n + each)
        if n >= 3:
            desk.answer("canceled", refs[n - 3], quantity=99)
    assert desk.engine.counters["responses_unknown_order"] == 0


# ---------------------------------------------------------------- determinism


def recorded(seed: int, protocol: str) -> tuple[list[tuple[str, Any]], Desk]:
    """A life by hand, and what was done and answered in it."""
    pair = Pair(protocol)
    log: list[tuple[str, Any]] = []
    desk = pair.desk
    original = desk.engine.feed_responses

    def noting(raw: bytes) -> None:
        log.append(("answer", raw))
        original(raw)

    desk.engine.feed_responses = noting  # type: ignore[method-assign]
    act = desk._do

    def noting_acts(*values: int) -> int:
        log.append(("act", values))
        return act(*values)

    desk._do = noting_acts  # type: ignore[method-assign]
    for step in steps_of(seed, 150):
        pair.step(step)
    desk.engine.feed_responses = original  # type: ignore[method-assign]
    return log, desk


@pytest.mark.parametrize("protocol", TABLES)
@pytest.mark.parametrize("seed", range(2))
def test_the_same_answers_give_the_same_state_however_they_come(seed, protocol):
    """Each by itself, or in runs of any number of whole messages."""
    log, desk = recorded(seed, protocol)
    rng = random.Random(seed)
    for most in (1, 3, 1000):
        other = Desk(desk.config)
        waiting = b""
        for kind, what in [*log, ("end", None)]:
            if kind == "answer":
                waiting += what
                if waiting.count(what) < rng.randint(1, most):
                    continue
            if waiting:
                other.engine.feed_responses(waiting)
                waiting = b""
            if kind == "act":
                other._do(*what)
        for each in (desk, other):
            each.engine.block.cell["value"] = 0  # where `hand` writes down what it is told
        assert other.engine.state_digest == desk.engine.state_digest
        packets = {"packets": desk.engine.counters["packets"]}
        assert other.engine.counters | packets == desk.engine.counters
        validate_own(other.engine)


@pytest.mark.parametrize("protocol", TABLES)
def test_a_run_cut_at_any_message_is_the_same_run(protocol):
    desk = scene(protocol)
    layouts = [m for p, m in WHOLE if p == protocol and m.name != "replaced"]
    whole = [encoded(layout, fields_of(desk, layout)) for layout in layouts]
    digests = set()
    for cut in range(len(whole) + 1):
        other = scene(protocol)
        feed(other, *whole[:cut])
        feed(other, *whole[cut:])
        digests.add((other.engine.state_digest, *other.told()))
    assert len(digests) == 1


# ---------------------------------------------------------------- garbage


@pytest.mark.parametrize("protocol", TABLES)
@REPEATABLE
@given(data=st.data())
def test_any_values_in_any_fields(protocol, data):
    """Whatever the layouts can hold: totals stay what the table says."""
    desk = scene(protocol)
    for _ in range(data.draw(st.integers(1, 8))):
        layout = data.draw(st.sampled_from(TABLES[protocol].messages))
        values = data.draw(message_values(layout, TABLES[protocol]))
        about = {
            "user_ref_num": data.draw(st.sampled_from([0, 1, 2, 3, 4, (1 << 32) - 1])),
            "order_token": desk.answers.token(data.draw(st.integers(1, 4))),
            "replacement_order_token_alphanumeric_14": desk.answers.token(3),
        }
        values |= {name: each for name, each in about.items() if name in layout.by_name}
        values["timestamp"] = desk.now
        if appendage.has_appendage(layout):
            values.pop("appendage_length")
            values.pop(layout.fields[-1].name)
            raw = appendage.encode_message(layout, data.draw(options()), **values)
        else:
            raw = layout.encode(**values)
        feed(desk, raw)
        validate_own(desk.engine)
    assert desk.engine.counters["responses_wrong_length"] == 0


@pytest.mark.parametrize("protocol", TABLES)
def test_random_bytes_never_do_harm(protocol):
    """Known types with random fields, and with the scene's orders named, of any length."""
    rng = random.Random(5)
    types = [each.type.encode() for each in TABLES[protocol].messages]
    for _ in range(40):
        desk = scene(protocol)
        raws = []
        for _ in range(60):
            ref = rng.randrange(5)
            named = ref.to_bytes(4, "big") if desk.is50 else desk.answers.token(ref).encode()
            head = rng.choice(types) + (desk.now + rng.randrange(1000)).to_bytes(8, "big")
            raws.append((head + named + rng.randbytes(80))[: rng.choice([5, 30, 41, 70, 93])])
        feed(desk, *raws)
        validate_own(desk.engine)
        assert desk.engine.counters["responses"] == 2 + len(raws)
        assert_bytes(desk.engine.counters)


@settings(max_examples=100, deadline=None)
@given(raw=st.binary(max_size=300), protocol=st.sampled_from(list(TABLES)))
def test_a_run_of_any_bytes_is_accounted_for(raw, protocol):
    desk = scene(protocol)
    before = desk.engine.counters["responses"]
    desk.engine.feed_responses(raw)
    whole, at = 0, 0
    while at + 2 <= len(raw) and at + 2 + int.from_bytes(raw[at : at + 2], "big") <= len(raw):
        at += 2 + int.from_bytes(raw[at : at + 2], "big")
        whole += 1
    assert desk.engine.counters["responses"] - before == whole
    assert_bytes(desk.engine.counters)
    validate_own(desk.engine)
    desk.answer("canceled", 1, quantity=1)
    assert desk.state(1)[0] in {each.name for each in State}


def test_the_order_in_which_numbers_are_spelled_is_that_of_the_encoder():
    assert [order_id_of(token_of(n)) for n in (0, 31, 32, (1 << 64) - 1)] == [
        0,
        31,
        32,
        (1 << 64) - 1,
    ]
