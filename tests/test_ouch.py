"""Orders from templates: the bytes of the tables' encoder, and what Wireshark reads in them."""

import random
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import njit

from strategies import REPEATABLE, field_value
from tickpath import ouch_encode
from tickpath.jit import HOT
from tickpath.ouch import (
    DIGITS,
    MAX_LENGTH,
    NAMES,
    TEMPLATE,
    OrderMessage,
    OrderProtocol,
    Ouch42Session,
    Ouch50Session,
    OuchError,
    OuchSession,
    order_id_of,
    ouch42_templates,
    ouch50_templates,
    templates,
    token_of,
)
from tickpath.wire import appendage, soupbintcp
from tickpath.wire.ouch42 import OUCH42_INBOUND, OUCH42_OUTBOUND
from tickpath.wire.ouch50 import OUCH50_INBOUND
from tickpath.wire.table import Field, Message

U32, U64 = (1 << 32) - 1, (1 << 64) - 1
CANARY = 0xA5


@njit(**HOT)
def _encode(
    kind, protocol, base, out, orig_urn, orig_id, urn, order_id, side, quantity, symbol, px
):
    if kind == np.uint64(0):
        return ouch_encode.encode_enter(
            protocol, base, out, urn, order_id, side, quantity, symbol, px
        )
    if kind == np.uint64(1):
        return ouch_encode.encode_replace(
            protocol, base, out, orig_urn, orig_id, urn, order_id, quantity, px
        )
    if kind == np.uint64(2):
        return ouch_encode.encode_cancel(protocol, base, out, orig_urn, orig_id, quantity)
    return ouch_encode.encode_modify(protocol, base, out, orig_urn, orig_id, side, quantity)


def encode(kind: OrderMessage, session: OuchSession, order: Mapping, protocol=None) -> bytes:
    """The message as the hot path writes it; fails where it writes beyond its room."""
    known, records = templates(session)
    before = records.tobytes()
    out = np.full(MAX_LENGTH + 64, CANARY, np.uint8)
    numbers = [
        order["orig_user_ref_num"],
        order["orig_order_id"],
        order["user_ref_num"],
        order["order_id"],
        ord(order["side"]),
        order["quantity"],
        int.from_bytes(order["symbol"].encode().ljust(8), "big"),
        order["price"],
    ]
    code = known if protocol is None else protocol
    length = _encode(
        *(np.uint64(n) for n in (kind, code, records.ctypes.data, out.ctypes.data, *numbers))
    )
    assert (out[MAX_LENGTH:] == CANARY).all()
    assert records.tobytes() == before
    if length == 0:
        assert (out == CANARY).all()
    return out[: int(length)].tobytes()


def expected(kind: OrderMessage, session: OuchSession, order: Mapping) -> bytes:
    """The message from the tables, field by field."""
    price = Decimal(order["price"]).scaleb(-4)
    if isinstance(session, Ouch42Session):
        prefix = session.order_token_prefix
        token, orig = token_of(order["order_id"], prefix), token_of(order["orig_order_id"], prefix)
        message = OUCH42_INBOUND[NAMES[kind]]
        changing = {
            "order_token": token if kind is OrderMessage.ENTER else orig,
            "existing_order_token": orig,
            "replacement_order_token_token_14": token,
            "buy_sell_indicator": order["side"],
            "shares": order["quantity"],
            "stock": order["symbol"],
            "price": price,
        }
        options = {}
    else:
        message = OUCH50_INBOUND[NAMES[kind]]
        own = kind in (OrderMessage.ENTER, OrderMessage.REPLACE)
        changing = {
            "orig_user_ref_num": order["orig_user_ref_num"],
            "user_ref_num": order["user_ref_num" if own else "orig_user_ref_num"],
            "side": order["side"],
            "quantity": order["quantity"],
            "symbol": order["symbol"],
            "price": price,
            "clordid": token_of(order["order_id"], session.clordid_prefix),
        }
        options = {
            OrderMessage.ENTER: session.options,
            OrderMessage.REPLACE: session.replace_options,
        }.get(kind, {})
    values = {**vars(session), **changing}
    return appendage.encode_message(
        message, options, **{name: values[name] for name in message.by_name if name in values}
    )


# ---------------------------------------------------------------- strategies

PREFIXES = st.sampled_from("TAZaz09")


def _codes(protocol, name):
    return st.sampled_from(sorted(protocol.enums[protocol["enter_order"][name].enum]))


def _few_options():
    """Options that fit a template together with any message."""
    known = {each.name: field_value(each) for each in appendage.OPTIONS.values()}
    return st.lists(st.sampled_from(sorted(known)), unique=True, max_size=6).flatmap(
        lambda names: st.fixed_dictionaries({name: known[name] for name in names})
    )


SESSIONS_50 = st.builds(
    Ouch50Session,
    **{
        name: _codes(OUCH50_INBOUND, name)
        for name in (
            "time_in_force",
            "display",
            "capacity",
            "inter_market_sweep_eligibility",
            "cross_type",
        )
    },
    clordid_prefix=PREFIXES,
    options=_few_options(),
    replace_options=_few_options(),
)
SESSIONS_42 = st.builds(
    Ouch42Session,
    time_in_force=st.integers(0, U32),
    minimum_quantity=st.integers(0, U32),
    firm=st.sampled_from(["", "LIME", "AB"]),
    **{
        name: _codes(OUCH42_INBOUND, name)
        for name in (
            "display",
            "capacity",
            "intermarket_sweep_eligibility",
            "cross_type",
            "customer_type",
        )
    },
    order_token_prefix=PREFIXES,
)
SYMBOLS = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ.+-=", min_size=1, max_size=8)


def orders(max_price):
    return st.fixed_dictionaries(
        {
            "orig_user_ref_num": st.integers(0, U32),
            "orig_order_id": st.integers(0, U64),
            "user_ref_num": st.integers(0, U32),
            "order_id": st.integers(0, U64),
            "side": st.sampled_from("BSTE"),
            "quantity": st.integers(0, U32),
            "symbol": SYMBOLS,
            "price": st.integers(0, max_price),
        }
    )


ORDER = {
    "orig_user_ref_num": 41,
    "orig_order_id": 4100,
    "user_ref_num": 42,
    "order_id": 4200,
    "side": "B",
    "quantity": 100,
    "symbol": "AAPL",
    "price": 2_000_000,
}

# ---------------------------------------------------------------- the same bytes as the tables


@pytest.mark.parametrize("kind", OrderMessage, ids=lambda kind: kind.name.lower())
@given(session=SESSIONS_50, order=orders(U64))
@REPEATABLE
def test_ouch50_equals_the_table(kind, session, order):
    raw = encode(kind, session, order)
    assert raw == expected(kind, session, order)
    assert appendage.decode_message(OUCH50_INBOUND, raw)["message"] == NAMES[kind]


@pytest.mark.parametrize("kind", OrderMessage, ids=lambda kind: kind.name.lower())
@given(session=SESSIONS_42, order=orders(U32))
@REPEATABLE
def test_ouch42_equals_the_table(kind, session, order):
    raw = encode(kind, session, order)
    assert raw == expected(kind, session, order)
    assert OUCH42_INBOUND.decode(raw)["message"] == NAMES[kind]


def test_enter_order_by_hand():
    session = Ouch50Session(time_in_force="3", capacity="A", options={"firm": "LIME"})
    assert encode(OrderMessage.ENTER, session, ORDER) == bytes.fromhex(
        "4f 0000002a 42 00000064 4141504c20202020 00000000001e8480"
        "33 59 41 4e 4e 5430303030303030303030343338 0006 0502 4c494d45"
    )
    assert encode(OrderMessage.CANCEL, Ouch42Session(), {**ORDER, "quantity": 0}) == bytes.fromhex(
        "58 5430303030303030303030343034 00000000"
    )


@pytest.mark.parametrize(
    ("session", "kind", "beyond"),
    [
        *[
            (Ouch50Session(), kind, name)
            for kind, names in {
                OrderMessage.ENTER: ("quantity", "user_ref_num"),
                OrderMessage.REPLACE: ("quantity", "user_ref_num", "orig_user_ref_num"),
                OrderMessage.CANCEL: ("quantity", "orig_user_ref_num"),
                OrderMessage.MODIFY: ("quantity", "orig_user_ref_num"),
            }.items()
            for name in names
        ],
        *[
            (Ouch42Session(), kind, name)
            for kind, names in {
                OrderMessage.ENTER: ("quantity", "price"),
                OrderMessage.REPLACE: ("quantity", "price"),
                OrderMessage.CANCEL: ("quantity",),
                OrderMessage.MODIFY: ("quantity",),
            }.items()
            for name in names
        ],
    ],
)
def test_value_beyond_its_field_sends_nothing(session, kind, beyond):
    assert encode(kind, session, {**ORDER, beyond: U32}) != b""
    for value in (U32 + 1, U64):
        assert encode(kind, session, {**ORDER, beyond: value}) == b""


@pytest.mark.parametrize("kind", OrderMessage, ids=lambda kind: kind.name.lower())
def test_unknown_protocol_sends_nothing(kind):
    unknown = max(OrderProtocol) + 1
    assert encode(kind, Ouch50Session(), ORDER, protocol=unknown) == b""


def test_price_of_64_bits_is_sent_by_ouch50():
    raw = encode(OrderMessage.ENTER, Ouch50Session(), {**ORDER, "price": U64})
    assert OUCH50_INBOUND.decode(raw)["price"] == Decimal(U64).scaleb(-4)


# ---------------------------------------------------------------- templates


def test_templates_are_in_the_order_of_their_kinds():
    for session, protocol, lengths in (
        (Ouch50Session(), OrderProtocol.OUCH50, [47, 40, 9, 10]),
        (Ouch42Session(), OrderProtocol.OUCH42, [49, 47, 19, 20]),
    ):
        code, records = templates(session)
        assert (code, records.dtype, records.shape) == (protocol, TEMPLATE, (len(OrderMessage),))
        assert records["length"].tolist() == lengths
    assert ouch50_templates(Ouch50Session()).tobytes() == templates(Ouch50Session())[1].tobytes()
    assert ouch42_templates(Ouch42Session()).tobytes() == templates(Ouch42Session())[1].tobytes()


def test_options_that_fill_a_template_and_one_more():
    room = MAX_LENGTH - OUCH50_INBOUND["enter_order"].length
    filled = {"tag_200": bytes(room - 2)}
    records = ouch50_templates(Ouch50Session(options=filled))
    assert int(records[OrderMessage.ENTER]["length"]) == MAX_LENGTH
    raw = encode(OrderMessage.ENTER, Ouch50Session(options=filled), ORDER)
    assert raw == expected(OrderMessage.ENTER, Ouch50Session(options=filled), ORDER)
    with pytest.raises(OuchError, match=f"options take {room + 1} bytes, there is room for {room}"):
        ouch50_templates(Ouch50Session(options={"tag_200": bytes(room - 1)}))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Ouch50Session(time_in_force="9"), r"time_in_force is one of 0 \(day\), 3 \(ioc\)"),
        (lambda: Ouch50Session(capacity=""), "capacity is one of"),
        (lambda: Ouch50Session(clordid_prefix="TT"), "clordid_prefix is one ASCII letter"),
        (lambda: Ouch42Session(order_token_prefix="-"), "order_token_prefix is one ASCII letter"),
        (lambda: Ouch42Session(display="z"), "display is one of"),
        (lambda: Ouch42Session(customer_type="X"), "customer_type is one of"),
        (
            lambda: ouch50_templates(Ouch50Session(options={"colour": 1})),
            "ouch50_inbound enter_order: OUCH 5.0 has no option colour",
        ),
        (
            lambda: ouch50_templates(Ouch50Session(replace_options={"minqty": -1})),
            "ouch50_inbound replace_order: minqty is u32: -1 does not fit",
        ),
        (
            lambda: ouch42_templates(Ouch42Session(firm="LIMES")),
            "ouch42_inbound enter_order: firm takes 4 characters, not 5",
        ),
        (
            lambda: ouch42_templates(Ouch42Session(time_in_force=1 << 32)),
            "ouch42_inbound enter_order: time_in_force is u32",
        ),
    ],
)
def test_session_that_the_protocol_does_not_have(build, message):
    with pytest.raises(OuchError, match=message):
        build()


def test_session_is_frozen():
    with pytest.raises(AttributeError):
        Ouch42Session().display = "N"  # type: ignore[misc]
    assert replace(Ouch42Session(), display="N").display == "N"


# ---------------------------------------------------------------- an order's number as text


def test_tokens_by_hand():
    assert token_of(0) == "T0000000000000"
    assert token_of(31) == "T000000000000V"
    assert token_of(32, "A") == "A0000000000010"
    assert token_of(U64) == "TFVVVVVVVVVVVV"


@given(low=st.integers(0, U64), high=st.integers(0, U64))
@REPEATABLE
def test_tokens_sort_as_their_numbers(low, high):
    assert (token_of(low) < token_of(high)) == (low < high)
    assert order_id_of(token_of(low)) == low
    assert len(token_of(low)) == OUCH50_INBOUND["enter_order"]["clordid"].size


@pytest.mark.parametrize("bit", range(64))
def test_every_bit_of_an_order_id_is_written(bit):
    for order_id in (1 << bit, U64 ^ 1 << bit, (1 << bit) - 1):
        raw = encode(OrderMessage.ENTER, Ouch50Session(), {**ORDER, "order_id": order_id})
        assert OUCH50_INBOUND.decode(raw)["clordid"] == token_of(order_id)


def test_every_digit_is_written():
    for digit in range(len(DIGITS)):
        order_id = sum(digit << 5 * place for place in range(13)) & U64
        raw = encode(OrderMessage.ENTER, Ouch42Session(), {**ORDER, "order_id": order_id})
        assert OUCH42_INBOUND.decode(raw)["order_token"] == token_of(order_id)


@pytest.mark.parametrize(
    "token", ["", "T", "T000000000000", "T00000000000000", "T000000000000W", "T00000000000 1",
              "TG000000000000", "TVVVVVVVVVVVVV", "T000000000000v"]
)  # fmt: skip
def test_token_that_names_no_order(token):
    with pytest.raises(OuchError):
        order_id_of(token)


@pytest.mark.parametrize("order_id", [-1, 1 << 64])
def test_number_that_is_no_order_id(order_id):
    with pytest.raises(OuchError, match="unsigned 64-bit"):
        token_of(order_id)


# ---------------------------------------------------------------- what Wireshark reads

TSHARK = shutil.which("tshark")
PORT = 8000
WORDS = {
    "packet_type": ("message_type",),
    "iso_eligible": ("intermarket_sweep_eligibility",),
    "tif": ("time_in_force",),
    "min_quantity": ("minimum_quantity",),
    "cancel_reason": ("cancel_order_reason",),
    "reject_reason": ("rejected_order_reason",),
    "trade_correction_reason": ("reason",),
    "replacement_order_token": (
        "replacement_order_token_token_14",
        "replacement_order_token_alphanumeric_14",
    ),
}
"""Wireshark's words where they are not the table's."""
UNKNOWN_TO_WIRESHARK = {"trade_now", "sequenced_trade_now"}


def _value(field: Field, random_: random.Random):
    if field.name in ("stock", "firm"):
        return "".join(random_.choices("ABCXYZ", k=random_.randint(1, field.size)))
    if "token" in field.name:
        return token_of(random_.getrandbits(64))
    if field.base == "ascii":
        return random_.choice("ABCDEHINORSTUXYZ0178jkm")
    if field.name == "timestamp":
        return random_.randrange(86_400 * 10**9)
    number = random_.getrandbits(field.size * 8)
    # 0x7fffffff is a market order to Wireshark, which prints no price for it.
    return Decimal(number & 0x3FFFFFFF).scaleb(-4) if field.decimals else number


def _sent() -> list[tuple[str, Message, bytes]]:
    """Every OUCH 4.2 message of both directions by the table's encoder, orders by both."""
    random_ = random.Random(42)
    sent = []
    for packet, protocol in (
        ("unsequenced_data", OUCH42_INBOUND),
        ("sequenced_data", OUCH42_OUTBOUND),
    ):
        for message in protocol.messages:
            free = [each for each in message.fields if each.name != "message_type"]
            for _ in range(3):
                raw = message.encode(**{each.name: _value(each, random_) for each in free})
                sent.append((packet, message, raw))
    session = Ouch42Session(firm="LIME", minimum_quantity=100, customer_type="R")
    for kind in OrderMessage:
        raw = encode(kind, session, ORDER)
        sent.append(("unsequenced_data", OUCH42_INBOUND[NAMES[kind]], raw))
    return sent


def _write_capture(path, sent) -> None:
    scapy = pytest.importorskip("scapy.all", reason="scapy is not installed")
    frames, next_seq = [], {"unsequenced_data": 1000, "sequenced_data": 5000}
    for packet, _, raw in sent:
        inbound = packet == "unsequenced_data"
        ports = (40_000, PORT) if inbound else (PORT, 40_000)
        hosts = ("10.0.0.1", "10.0.0.2") if inbound else ("10.0.0.2", "10.0.0.1")
        other = "sequenced_data" if inbound else "unsequenced_data"
        payload = soupbintcp.packet(packet, message=raw)
        frames.append(
            scapy.Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
            / scapy.IP(src=hosts[0], dst=hosts[1])
            / scapy.TCP(
                sport=ports[0],
                dport=ports[1],
                seq=next_seq[packet],
                ack=next_seq[other],
                flags="PA",
            )
            / scapy.Raw(payload)
        )
        next_seq[packet] += len(payload)
    scapy.wrpcap(str(path), frames)


def _read_by_wireshark(element, begin: int) -> tuple:
    """(words, offset, size, value) of one field as Wireshark shows it."""
    word = element.get("name").removeprefix("ouch.")
    show, shown = element.get("show"), element.get("showname")
    if "$" in shown:
        value = Decimal(re.search(r"\$([0-9.]+)", shown)[1])
    elif word == "timestamp":
        hours, minutes, seconds = show.split(":")
        value = (int(hours) * 3600 + int(minutes) * 60) * 10**9 + int(seconds.replace(".", ""))
    elif word == "reference_price_type":
        value = chr(int(show))
    elif re.fullmatch("'.'", show):
        value = show[1]
    elif show.isdecimal() and element.get("value") != show.encode().hex():
        value = int(show)
    else:
        value = show.rstrip(" ")
    return (
        WORDS.get(word, (word,)),
        int(element.get("pos")) - begin,
        int(element.get("size")),
        value,
    )


@pytest.mark.skipif(TSHARK is None, reason="tshark is not installed (Debian: tshark)")
def test_wireshark_reads_the_same_fields(tmp_path):
    sent = _sent()
    capture = tmp_path / "ouch42.pcap"
    _write_capture(capture, sent)
    command = [TSHARK, "-r", str(capture), "-d", f"tcp.port=={PORT},soupbintcp", "-T", "pdml"]
    read = subprocess.run(command, capture_output=True, check=True, timeout=120)
    packets = ElementTree.fromstring(read.stdout).findall("packet")
    assert len(packets) == len(sent)
    compared = set()
    for (_, message, raw), packet in zip(sent, packets, strict=True):
        dissected = packet.find("proto[@name='ouch']")
        if dissected is None:
            assert message.name in UNKNOWN_TO_WIRESHARK
            continue
        begin = int(dissected.get("pos"))
        read_fields = [_read_by_wireshark(each, begin) for each in dissected]
        own = message.decode(raw)
        assert len(read_fields) == len(message.fields), message.name
        for field, (words, offset, size, value) in zip(message.fields, read_fields, strict=True):
            assert field.name in words
            assert (field.offset, field.size, own[field.name]) == (offset, size, value), field.name
        compared.add((message.name, message.length))
    everything = {
        (message.name, message.length)
        for protocol in (OUCH42_INBOUND, OUCH42_OUTBOUND)
        for message in protocol.messages
    }
    assert {name for name, _ in everything - compared} == UNKNOWN_TO_WIRESHARK
