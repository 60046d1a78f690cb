"""The hardware's order messages: the software's bytes, what peers read, what cannot be sent."""

import random
from decimal import Decimal

import pytest
from msgspec import structs

import named_orders
import test_ouch
from tickpath import fix, ouch
from tickpath.config import Fix44Orders
from tickpath.order_template import OrderMessage, OrderProtocol
from tickpath.order_text import cl_ord_id_of
from tickpath.risk import MAX_PRICE, MAX_SHARES
from tickpath.wire import fix44
from tickpath.wire.ouch42 import OUCH42_INBOUND
from tickpath.wire.ouch50 import OUCH50_INBOUND
from tickpath_backends.hdl import fix_order, xls
from tickpath_backends.hdl.error import HdlError
from tickpath_backends.hdl.profile import PROFILE

pytestmark = pytest.mark.skipif(xls.why_not() is not None, reason=str(xls.why_not()))

FIX = Fix44Orders(sender_comp_id="US", target_comp_id="THEM")
NO_STAMP = {"msg_seq_num": 0, "sending_time": int.from_bytes(fix.NO_TIME.encode(), "big")}
SYMBOLS = ("A", "BB", "AAPL", "GOOGL", "ABCDEFGH", "BRK.A", "ZVZZT", "ABC+DE=")
ENTER = OrderMessage.ENTER


def kernel(module: str, function: str):
    """A kernel compiled to machine code: `Frame.call`."""
    from tickpath_backends.hdl import aot

    return aot.Frame(aot.native(module, function)).call


def number(raw: bytes) -> int:
    return int.from_bytes(raw, "big")


def an_order(draw: random.Random, most_quantity: int, most_price: int) -> dict:
    """An order in the words of the software's test encoders."""
    digits = draw.randint(1, 7)
    return {
        "orig_user_ref_num": 0,
        "orig_order_id": 0,
        "orig_quantity": 0,
        "user_ref_num": draw.getrandbits(32),
        "order_id": draw.choice((draw.getrandbits(64), draw.getrandbits(20), (1 << 64) - 1, 0)),
        "side": draw.choice("BST"),
        "quantity": min(draw.randrange(10**digits), most_quantity),
        "symbol": draw.choice(SYMBOLS),
        "price": min(draw.randrange(10 ** (digits + 4)), most_price),
    }


def numbers(order: dict) -> dict[str, int]:
    """The same for a kernel."""
    return {
        "order_id": order["order_id"],
        "user_ref_num": order["user_ref_num"],
        "side": ord(order["side"]),
        "quantity": order["quantity"],
        "symbol": number(order["symbol"].encode().ljust(8)),
        "price": order["price"],
    }


# ---------------------------------------------------------------- OUCH


@pytest.mark.parametrize(
    ("function", "session", "layout"),
    [
        ("ouch50_encode", ouch.Ouch50Session(clordid_prefix="Q"), OUCH50_INBOUND["enter_order"]),
        (
            "ouch42_encode",
            ouch.Ouch42Session(firm="LIME", minimum_quantity=7, order_token_prefix="Z"),
            OUCH42_INBOUND["enter_order"],
        ),
    ],
)
def test_ouch_is_the_softwares_byte_for_byte(function, session, layout):
    call, draw = kernel("ouch", function), random.Random(60)
    record = ouch.templates(session)[1][ENTER]
    assert record["length"] == layout.length
    template = number(bytes(record["bytes"])[: layout.length])
    for _ in range(3000):
        order = an_order(draw, (1 << 32) - 1, (1 << 32) - 1)
        found = call(template, numbers(order)).to_bytes(layout.length, "big")
        assert found == test_ouch.encode(ENTER, session, order), order


def test_orders_are_numbered_by_their_message():
    call = kernel("ouch", "order_id_of")
    from tickpath.layout import MAX_INTENTS

    for input_number in (1, 2, 12_345_678_901, (1 << 60) - 1):
        assert call(input_number) == input_number * MAX_INTENTS


# ---------------------------------------------------------------- FIX


def filled(settings: Fix44Orders) -> Fix44Orders:
    """The settings with as long a text as makes their constants fill the hardware's head."""
    for length in range(1, PROFILE.fix_head_bytes):
        options = {**settings.options, "text": "x" * length}
        full = structs.replace(settings, options=options)
        try:
            fix_order.head(full)
        except HdlError:
            continue
        return full
    raise AssertionError("no text fills the head")


def written(call, head: bytes, order: dict, stamp: dict | None = None) -> bytes:
    found = call(number(head), fix_order.constant_sum(head), numbers(order), stamp or NO_STAMP)
    raw = found["message"].to_bytes(PROFILE.fix_message_bytes, "big")
    assert not any(raw[found["length"] :]) or not found["length"]
    return raw[: found["length"]]


def test_fix_is_the_softwares_where_no_number_has_a_leading_zero():
    call, draw, settings = kernel("fix44", "fix44_encode"), random.Random(61), filled(FIX)
    head, records = fix_order.head(settings), fix.fix44_templates(settings)
    for _ in range(1500):
        order = an_order(draw, MAX_SHARES, MAX_PRICE)
        order |= {
            "quantity": draw.randint(100_000, MAX_SHARES),
            "price": draw.randint(1_000_000_000, MAX_PRICE),
        }
        expected = named_orders.encoded(ENTER, OrderProtocol.FIX44, records, order)
        assert written(call, head, order) == expected


def test_fix_says_the_order_to_the_dictionary_and_to_simplefix():
    simplefix = pytest.importorskip("simplefix", reason="simplefix is not installed")
    call, draw, settings = kernel("fix44", "fix44_encode"), random.Random(62), filled(FIX)
    head = fix_order.head(settings)
    for _ in range(1500):
        order = an_order(draw, MAX_SHARES, MAX_PRICE)
        raw = written(call, head, order)
        # The dictionary's decoder refuses a wrong BodyLength or CheckSum.
        fields = fix44.decode(raw)
        price = Decimal(order["price"]).scaleb(-4)
        expected = {
            "cl_ord_id": cl_ord_id_of(order["order_id"], order["quantity"]),
            "side": named_orders.SIDES[order["side"]],
            "order_qty": order["quantity"],
            "symbol": order["symbol"],
            "price": price,
            "ord_type": fix.LIMIT,
            "sender_comp_id": "US",
            "text": settings.options["text"],
        }
        assert {name: fields[name] for name in expected} == expected
        parser = simplefix.FixParser()
        parser.append_buffer(raw)
        message = parser.get_message()
        # simplefix writes BodyLength and CheckSum anew.
        assert message is not None and message.encode() == raw
        assert (
            int(message.get(38)) == order["quantity"] and Decimal(message.get(44).decode()) == price
        )


def test_a_stamp_in_hardware_is_the_sessions():
    call, draw, settings = kernel("fix44", "fix44_encode"), random.Random(63), filled(FIX)
    head = fix_order.head(settings)
    for _ in range(500):
        order = an_order(draw, MAX_SHARES, MAX_PRICE)
        seq, time_ns = draw.randrange(10**9), draw.randrange(4 * 10**18)
        stamp = {
            "msg_seq_num": int(str(seq), 16),
            "sending_time": number(fix.utc_timestamp(time_ns).encode()),
        }
        later = bytearray(written(call, head, order))
        fix.stamp(later, seq, time_ns)
        assert written(call, head, order, stamp) == bytes(later)


@pytest.mark.parametrize(
    "wrong",
    [
        {"quantity": MAX_SHARES + 1},
        {"price": MAX_PRICE + 1},
        {"price": named_orders.MARKET},
        {"symbol": ""},
        {"symbol": "A B"},
        {"symbol": "A\x01"},
        {"symbol": "A\xe9"},
        {"side": "X"},
    ],
    ids=str,
)
def test_what_has_no_text_sends_nothing(wrong):
    order = {**named_orders.ORDER, "user_ref_num": 0}
    head, call = fix_order.head(filled(FIX)), kernel("fix44", "fix44_encode")
    assert written(call, head, order)
    symbol = {**order, **wrong}["symbol"].encode("latin-1").ljust(8)
    given = {**numbers({**order, **wrong, "symbol": ""}), "symbol": number(symbol)}
    found = call(number(head), fix_order.constant_sum(head), given, NO_STAMP)
    assert found["length"] == 0


def test_constants_that_do_not_fill_the_head_are_refused():
    with pytest.raises(HdlError, match=r"^fix44: .* make 30 bytes, .* 69: .* \+39$"):
        fix_order.head(FIX)
    full = filled(FIX)
    longer = structs.replace(full, options={"text": full.options["text"] + "x"})
    with pytest.raises(HdlError, match="by -1"):
        fix_order.head(longer)
