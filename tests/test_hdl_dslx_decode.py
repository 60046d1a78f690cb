"""Messages as the DSLX function reads them: right, the same; wrong, the engine is wrong."""

import ctypes
import random
import re
import struct

import numpy as np
import pytest

from captures import packets_of
from dslx_sources import changed, lent
from itch_messages import LENGTHS, frame, message, mold, run
from scenes import TS, add
from silicon import market, profile
from streams import CAPACITY
from tickpath import Config, Engine
from tickpath.config import Feed
from tickpath.generate import SessionPlan, generate_packets
from tickpath.packet import (
    LINK_COMMANDS,
    LINK_DATAGRAM,
    LINK_ETHERNET,
    LINK_MESSAGES,
    LINK_PITCH,
)
from tickpath.profile_config import config_of
from tickpath_backends.hdl import xls

pytestmark = pytest.mark.skipif(xls.why_not() is not None, reason=str(xls.why_not()))
if xls.why_not() is None:
    from tickpath_backends.hdl.compiled import compiled
    from tickpath_backends.hdl.dslx_decode import Decoder

SMALL = Config(capacity=CAPACITY)


@pytest.fixture(scope="module")
def decoder():
    return Decoder(compiled("itch_fields", "itch_fields"), SMALL)


def bytes_of(packets):
    """The packets' bytes, one after the other."""
    return [ctypes.string_at(int(each["address"]), int(each["length"])) for each in packets]


def decoded(decoder, chunks, link):
    packets, memory = lent(chunks, link)
    found = bytes_of(decoder.packets(packets, 0))
    assert bytes_of(packets) == [each.tobytes() for each in memory] == list(chunks)
    return found


def random_message(draw, code):
    """A message of a type, all of whose bytes but the type are random; sides and states are not."""
    raw = bytearray(code.encode() + draw.randbytes(LENGTHS[code] - 1))
    if code in "AF":
        raw[19] = draw.choice(b"BS")
    if code == "C":
        raw[31] = draw.choice(b"YN")
    return bytes(raw)


def test_a_right_message_is_the_same_message(decoder):
    draw = random.Random(1)
    messages = [random_message(draw, code) for code in LENGTHS for _ in range(200)]
    draw.shuffle(messages)
    assert decoded(decoder, [run(messages)], LINK_MESSAGES) == [run(messages)]


def test_a_wrong_message_stays_as_wrong(decoder):
    """A length that is not the type's, a type that there is not, a side that is none, no bytes."""
    draw = random.Random(2)
    messages = [random_message(draw, code)[:-1] for code in LENGTHS]
    messages += [random_message(draw, code) + b"x" for code in LENGTHS]
    messages += [b"", b"D", b"z" + bytes(18), bytes(60), b"A" + bytes(1_000)]
    messages += [add(1, side="x"), add(2)]
    counts = []
    for chunk in (run(messages), decoded(decoder, [run(messages)], LINK_MESSAGES)[0]):
        engine = Engine(SMALL)
        packets, memory = lent([chunk], LINK_MESSAGES)
        engine.process(packets)
        del memory
        counts.append((engine.counters, engine.messages_by_type, engine.orders_live))
    assert counts[0] == counts[1]
    assert counts[0][0]["side_invalid"] == 1 and counts[0][2] == 1
    assert counts[0][0]["wrong_length"] > 40 and counts[0][0]["unknown_type"] == 2


def test_packets_of_a_line_are_walked_as_the_engine_walks_them(decoder):
    """Tags, padding, cut packets, heartbeats; and all bytes stay where they are."""
    payload = mold([add(1), message("D", 1, TS, ref=1)], 1)
    plain = frame(payload)
    tagged = plain[:12] + bytes.fromhex("81000064") + plain[12:]
    header = payload[:18]
    chunks = [
        *(plain, tagged, plain + bytes(7), plain[:-5], plain[:30], b""),
        *(frame(header + b"\0\0"), frame(header + b"\xff\xff" + payload[20:])),
        frame(header + struct.pack(">H", 9) + payload[20:]),
        frame(payload[:-7] + b"\xff" * 7),
        frame(payload[:11]),
    ]
    assert decoded(decoder, chunks, LINK_ETHERNET) == chunks
    mixed = [payload, run([add(3)]), b"anything", bytes.fromhex("0620") + bytes(20)]
    links = [LINK_DATAGRAM, LINK_MESSAGES, LINK_COMMANDS, LINK_PITCH]
    assert decoded(decoder, mixed, links) == mixed


def test_pitch_is_not_touched(decoder):
    """A message that would be written anew shows who reads it."""
    pitch = Decoder(compiled("itch_fields", "itch_fields"), Config(feed=Feed(format="pitch")))
    chunk = frame(mold([b"A" + bytes(3)], 1))
    assert decoded(pitch, [chunk], LINK_ETHERNET) == [chunk]
    assert decoded(decoder, [chunk], LINK_ETHERNET) != [chunk]


def test_a_run_that_stopped_goes_on_where_it_was(decoder):
    """Paced, the engine comes back for the rest of the same packets: they are not decoded again."""
    packets, memory = lent([run([add(n)]) for n in range(1, 9)], LINK_MESSAGES)
    first = decoder.packets(packets, 0)
    decoder.stopped_at(packets, 3)
    assert decoder.packets(packets, 3) is first
    decoder.stopped_at(packets, 8)
    again = decoder.packets(packets, 0)
    assert again is not first and bytes_of(again) == [each.tobytes() for each in memory]
    assert bytes_of(decoder.packets(packets[2:6], 1)[1:]) == [m.tobytes() for m in memory[3:6]]


# ---------------------------------------------------------------- faults


def moved(name):
    """Take a field from a byte before its own."""

    def change(layout, fields):
        place = rf"(fn itch50_{name}\(m: uN\[400\]\) -> u\d+ \{{ m\[)(\d+):(\d+)"
        found = re.search(place, layout)
        begin, end = int(found[2]) + 8, int(found[3]) + 8
        return re.sub(place, rf"\g<1>{begin}:{end}", layout), fields

    return change


def replaced(old, new):
    def change(layout, fields):
        assert fields.count(old) == 1, old
        return layout, fields.replace(old, new)

    return change


FAULTS = {
    "price of an add": moved("add_order_no_mpid_attribution_price"),
    "side": replaced(
        "is_sell: letter == layout::ITCH50_BUY_SELL_INDICATOR_SELL",
        "is_sell: letter == layout::ITCH50_BUY_SELL_INDICATOR_BUY",
    ),
    "length of a delete": replaced(
        "expected as u16 != length", "expected as u16 + u16:1 != length"
    ),
    "shares of an add": moved("add_order_no_mpid_attribution_shares"),
    "reference of an add": moved("add_order_no_mpid_attribution_order_reference_number"),
    "reference of an execution": moved("order_executed_order_reference_number"),
    "shares of a cancel": moved("order_cancel_canceled_shares"),
    "a cancel is a delete": replaced("op: layout::OP_CANCEL", "op: layout::OP_DELETE"),
    "new reference of a replace": moved("order_replace_new_order_reference_number"),
    "locate": moved("system_event_stock_locate"),
    "time": moved("system_event_timestamp"),
    "trading state": moved("stock_trading_action_trading_state"),
    "executions are nothing": replaced(
        "        layout::ITCH50_ORDER_EXECUTED_TYPE => executed(m, common),\n", ""
    ),
}
QUICK = ("price of an add", "side")


def traded(given, raw, made=None):
    """What an engine with a profile makes of messages, read by ``made`` or by itself."""
    rows = []
    engine = Engine(config_of(given, SMALL), on_bbo=lambda c: rows.append(np.stack([*c.values()])))
    packets, memory = lent([raw], LINK_MESSAGES)
    engine.process(packets if made is None else made.packets(packets, 0))
    del memory
    tops = np.concatenate(rows, axis=1).T.tolist() if rows else []  # a fault may leave none
    return engine.take_orders(), tops, engine.rejects_by_code


@pytest.mark.parametrize(
    "fault",
    [each if each in QUICK else pytest.param(each, marks=pytest.mark.long) for each in FAULTS],
)
def test_a_fault_in_the_function_makes_other_orders(fault, tmp_path):
    draw = random.Random(4)
    given = profile(draw)
    raw = run(market(draw, 6_000))
    right = traded(given, raw)
    assert len(right[0]) > 5 and len(right[1]) > 500
    with changed(tmp_path) as sources:
        paths = sources / "gen" / "layout.x", sources / "dslx" / "itch_fields.x"
        before = tuple(each.read_text() for each in paths)
        after = FAULTS[fault](*before)
        assert after != before
        for path, text in zip(paths, after, strict=True):
            path.write_text(text)
        wrong = Decoder(compiled("itch_fields", "itch_fields"), SMALL)
        assert traded(given, raw, wrong) != right


def test_without_a_fault_the_orders_are_the_softwares(decoder):
    draw = random.Random(4)
    given = profile(draw)
    raw = run(market(draw, 6_000))
    assert traded(given, raw, decoder) == traded(given, raw)


def test_a_generated_session_is_the_same_packets(decoder):
    plan = SessionPlan(messages=3_000, symbols=12, seed=5)
    chunks = [p.data for batch in generate_packets(plan) for p in packets_of(batch)]
    assert decoded(decoder, chunks, LINK_ETHERNET) == chunks and len(chunks) > 100
