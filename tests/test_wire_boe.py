"""BOE 2.3: the layouts of the spec tables, real captures, round trips, what is refused."""

import csv
from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strategies import REPEATABLE, number
from tickpath.wire import boe, boe_login
from tickpath.wire.boe23 import (
    BOE23,
    FIELDS,
    HEADER_LENGTH,
    OPTIONAL,
    PARAM_HEADER,
    RETURN_BITFIELDS,
    UNIT_SEQUENCE,
    UNIT_SEQUENCES,
)
from tickpath.wire.table import Field, WireError

SHARED = Path(__file__).parents[2] / "shared"
SPECS, DATA = SHARED / "specs", SHARED / "data" / "cboe_boe"
needs_specs = pytest.mark.skipif(
    not SPECS.is_dir(), reason="the spec tables (../shared/specs) are not here"
)
needs_data = pytest.mark.skipif(
    not DATA.is_dir(), reason="the real captures (../shared/data) are not here"
)

# ---------------------------------------------------------------- the spec tables


@needs_specs
def test_fixed_parts_are_those_of_the_spec_tables():
    with (SPECS / "boe23.csv").open() as rows:
        expected = {
            (row["message"], row["field"], int(row["offset"]), int(row["size"]))
            for row in csv.DictReader(rows)
            if row["message"] not in ("param_group", "message_header")
        }
        rows.seek(0)
        header = {
            (row["field"], int(row["offset"]), int(row["size"]))
            for row in csv.DictReader(rows)
            if row["message"] == "message_header"
        }
    counted = {"number_of_bitfields", "number_of_return_bitfields"}
    tables = (*BOE23.messages, UNIT_SEQUENCE, UNIT_SEQUENCES, RETURN_BITFIELDS, PARAM_HEADER)
    found = {
        (each.name, one.name, one.offset, one.size)
        for each in tables
        for one in each.fields
        if not one.is_variable and one.name not in counted
    }
    headers = {(each.name, *one) for each in BOE23.messages for one in header}
    assert headers <= found
    # The spec tables have no fields for the answer to a login; the captures have one.
    assert {each for each in found - headers if each[0] != "login_response"} == expected


@needs_specs
def test_optional_fields_are_those_of_the_spec_tables():
    with (SPECS / "boe23.optional.csv").open() as rows:
        expected = {
            (row["message"], int(row["bitfield_byte"]), int(row["bit"]), row["field"], row["size"])
            for row in csv.DictReader(rows)
        }
    found = {
        (name, at, bit, field, "?" if FIELDS[field].is_variable else str(FIELDS[field].size))
        for name, table in OPTIONAL.items()
        for at, byte in table.items()
        for bit, field in byte.items()
    }
    from_captures = {each for each in found if each[3] in ("max_remove_pct", "contra_capacity")}
    assert found - from_captures == expected
    assert {each[1:4] for each in from_captures} == {
        (1, 8, "max_remove_pct"),
        (6, 3, "contra_capacity"),
    }


@needs_specs
def test_types_and_codes_are_those_of_the_spec_tables():
    with (SPECS / "boe23.enums.csv").open() as rows:
        given = [(row["enum_value"], row["code"].strip("'")) for row in csv.DictReader(rows)]
    types = {
        value.removeprefix("message_type_").removesuffix("_message"): int(code, 16)
        for value, code in given
        if value.startswith("message_type_")
    }
    names = {"login_request": "login_request", "mass_cancel_acknowledgment": None}
    assert {each.name: ord(each.type) for each in BOE23.messages} == types, names
    for name, codes in BOE23.enums.items():
        stated = {
            code
            for value, code in given
            if value.startswith(("cancel_" if name == "reason" else "") + name)
        }
        assert set(codes) - {"6"} <= stated and codes


# ---------------------------------------------------------------- real captures


def captured(name: str) -> bytes:
    scapy = pytest.importorskip("scapy.all", reason="scapy is not installed")
    return bytes(scapy.rdpcap(str(DATA / f"{name}Message.pcap"))[0][scapy.Raw].load)


CAPTURED = {
    "NewOrder": {
        "message": "new_order",
        "cl_ord_id": "1409538419471684",
        "side": "1",
        "order_qty": 100,
        "clearing_firm": "CFAA",
        "price": Decimal("20"),
        "ord_type": "2",
        "time_in_force": "0",
        "symbol": "A",
        "capacity": "P",
        "display_indicator": "S",
        "attributed_quote": "N",
        "ext_exec_inst": "N",
    },
    "CancelOrder": {
        "message": "cancel_order",
        "orig_cl_ord_id": "1409538419471693",
        "clearing_firm": "BATS",
    },
    "ModifyOrder": {
        "message": "modify_order",
        "cl_ord_id": "1409538419471689",
        "orig_cl_ord_id": "1409538419471687",
        "clearing_firm": "BATS",
        "order_qty": 200,
        "price": Decimal("20"),
    },
    "OrderAcknowledgement": {
        "message": "order_acknowledgment",
        "matching_unit": 1,
        "sequence_number": 53,
        "transact_time": 1_409_538_502_854_120_000,
        "cl_ord_id": "1409538419471693",
        "order_id": 245_620_911_467_925_533,
        "price": Decimal("0.0025"),
        "symbol": "A",
        "order_qty": 100,
        "prevent_match": "NN",
        "leaves_qty": 100,
        "working_price": Decimal("0.0025"),
        "sub_liquidity_indicator": "S",
        "rout_strategy": "ROUT",
        "route_delivery_method": "RTI",
    },
    "OrderModified": {
        "message": "order_modified",
        "cl_ord_id": "1409538419471689",
        "orig_cl_ord_id": "1409538419471687",
        "price": Decimal("20"),
        "leaves_qty": 200,
        "display_price": Decimal("20"),
        "base_liquidity_indicator": "A",
        "rout_strategy": "ROUT",
    },
    "OrderCancelled": {
        "message": "order_cancelled",
        "cl_ord_id": "1409537237077786",
        "cancel_reason": "A",
        "order_qty": 600,
        "leaves_qty": 0,
    },
    "OrderExecution": {
        "message": "order_execution",
        "cl_ord_id": "1409538419471695",
        "exec_id": 146_932_807_687,
        "last_shares": 100,
        "last_px": Decimal("20.01"),
        "leaves_qty": 0,
        "contra_broker": "BATS",
        "contra_capacity": "P",
        "clearing_firm": "BATS",
        "order_qty": 100,
    },
    "OrderRejected": {
        "message": "order_rejected",
        "cl_ord_id": "1409538419471684",
        "order_reject_reason": "A",
        "text": "ClearingFirm not allowed (for trading firm CFAA)",
        "clearing_firm": "CFAA",
        "symbol": "A",
    },
    "LoginRequest": {
        "message": "login_request",
        "session_sub_id": "0010",
        "username": "BATS",
        "password": "test",
        "number_of_param_groups": 17,
    },
    "LoginResponse": {
        "message": "login_response",
        "login_response_status": "A",
        "login_response_text": "Login Accepted",
        "last_received_sequence_number": 30,
        "units": [
            {"unit_number": 1, "sequence_number": 46},
            {"unit_number": 2, "sequence_number": 0},
            {"unit_number": 3, "sequence_number": 0},
        ],
    },
    "ClientHeartbeat": {"message": "client_heartbeat", "message_length": 8},
    "ServerHeartbeat": {"message": "server_heartbeat", "message_length": 8},
    "ReplayComplete": {"message": "replay_complete", "message_length": 8},
}


@needs_data
@pytest.mark.parametrize("name", CAPTURED)
def test_real_messages_decode_as_recorded_and_encode_to_the_same_bytes(name):
    raw, counters = captured(name), Counter()
    values = boe.decode(raw, counters)
    assert values == {**values, **CAPTURED[name]}
    assert boe.encode(values["message"], values) == raw
    # The acknowledgment sets a bit that the login did not ask for, and that takes no bytes.
    assert counters["undefined_bit"] == (1 if name == "OrderAcknowledgement" else 0)


@needs_data
def test_every_capture_is_looked_at():
    assert {path.name.removesuffix("Message.pcap") for path in DATA.glob("*.pcap")} == set(CAPTURED)


@needs_data
@pytest.mark.parametrize("name", ["NewOrder", "CancelOrder", "ModifyOrder"])
def test_real_orders_encode_from_what_they_say(name):
    """The bytes from the values alone: their bitfields follow, where no empty ones end them."""
    raw = captured(name)
    values = {key: value for key, value in CAPTURED[name].items() if key != "message"}
    bitfields = boe.decode(raw)["bitfields"]
    message = CAPTURED[name]["message"]
    assert boe.encode(message, {**values, "bitfields": bitfields}) == raw
    shorter = boe.encode(message, values)
    assert boe.decode(shorter)["bitfields"] == bitfields.rstrip(b"\0")


@needs_data
@pytest.mark.parametrize(
    "name", ["OrderModified", "OrderCancelled", "OrderExecution", "OrderRejected"]
)
def test_a_login_says_where_the_fields_of_answers_are(name):
    asked = boe_login.return_bitfields(boe.decode(captured("LoginRequest")))
    assert asked == boe_login.return_bitfields(boe.decode(captured("LoginResponse")))
    raw = captured(name)
    values = boe.decode(raw)
    layout = boe.layout(values["message"], asked[values["message_type"]])
    assert layout.length == len(raw)
    # As a hot decoder reads them: at the places of the layout.
    assert {
        each.name: each.get(raw, each.offset, "little") for each in layout.fields if each.is_integer
    } == {each.name: values[each.name] for each in layout.fields if each.is_integer}


# ---------------------------------------------------------------- any message


def field_value(field: Field) -> st.SearchStrategy:
    if field.base == "ascii":
        text = st.text(st.characters(codec="latin-1"), max_size=field.size)
        return text.map(lambda value: value.rstrip("\0"))
    if field.base == "bytes":
        return st.binary(max_size=20)
    return number(field)


@st.composite
def messages(draw) -> tuple[str, dict]:
    """A message with optional fields, any of them, some bits of no known field among them."""
    name = draw(st.sampled_from(sorted(OPTIONAL)))
    places = [(at, bit) for at, byte in OPTIONAL[name].items() for bit in byte]
    # Two fields of a length that is not known cannot stand in one message.
    places = [each for each in places if each[0] < 16]
    chosen = draw(st.sets(st.sampled_from(places)))
    bitfields = bytearray(draw(st.integers(max((at for at, _ in chosen), default=0), 20)))
    for at, bit in chosen:
        bitfields[at - 1] |= 1 << bit - 1
    fixed = [each for each in BOE23[name].fields[3:] if not each.is_variable]
    fields = fixed[:-1] + [FIELDS[OPTIONAL[name][at][bit]] for at, bit in chosen]
    values = {each.name: draw(field_value(each)) for each in fields}
    return name, {**values, "bitfields": bytes(bitfields)} if bitfields else values


@given(messages())
@settings(REPEATABLE, max_examples=300)
def test_round_trip(given_message):
    name, values = given_message
    raw = boe.encode(name, values)
    decoded = boe.decode(raw)
    assert decoded == {**decoded, **values, "message": name}
    assert boe.encode(name, decoded) == raw
    assert boe.message_length(raw[:HEADER_LENGTH]) == len(raw)
    for wrong in (raw[:-1], raw + b"\0"):
        with pytest.raises(WireError):
            boe.decode(wrong)


GROUPS = st.lists(
    st.builds(
        lambda replay, units: {
            "param_group_type": 0x80,
            "no_unspecified_unit_replay": replay,
            "number_of_units": len(units),
            "units": [{"unit_number": n, "sequence_number": s} for n, s in units],
        },
        st.integers(0, 255),
        st.lists(st.tuples(st.integers(0, 255), st.integers(0, (1 << 32) - 1)), max_size=4),
    )
    | st.builds(
        lambda code, bits: {
            "param_group_type": 0x81,
            "application_message_type": code,
            "number_of_return_bitfields": len(bits),
            "return_bitfields": bits,
        },
        st.integers(0, 255),
        st.binary(max_size=12),
    )
    | st.builds(
        lambda code, contents: {"param_group_type": code, "contents": contents},
        st.integers(0, 0x7F),
        st.binary(max_size=9),
    ),
    max_size=6,
)


@pytest.mark.parametrize("name", ["login_request", "login_response", "logout"])
@given(groups=GROUPS, units=st.lists(st.integers(0, 255), max_size=5))
@REPEATABLE
def test_logins_round_trip(name, groups, units):
    values = {"units": [{"unit_number": n, "sequence_number": n << 20} for n in units]}
    if name == "login_request":
        values = {"param_groups": groups, "password": "secret"}
    elif name == "login_response":
        values["param_groups"] = groups
    raw, counters = boe.encode(name, values), Counter()
    decoded = boe.decode(raw, counters)
    assert decoded == {**decoded, **values}
    assert boe.encode(name, decoded) == raw
    unknown = sum("contents" in each for each in values.get("param_groups", []))
    assert counters[boe_login.UNKNOWN_PARAM_GROUP] == unknown


@given(data=st.data())
@settings(REPEATABLE, max_examples=400)
def test_whatever_comes_is_decoded_or_refused(data):
    """Changed bytes of a message, and bytes that never were one: no other error than one."""
    name, values = data.draw(messages())
    raw = bytearray(boe.encode(name, values))
    for _ in range(data.draw(st.integers(1, 6))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    noise = data.draw(st.binary(max_size=80))
    head = b"\xba\xba" + (len(noise) + 8).to_bytes(2, "little")
    code = ord(data.draw(st.sampled_from([each.type for each in BOE23.messages])))
    for each in (bytes(raw), noise, head + bytes([code, 0, 0, 0, 0, 0]) + noise):
        try:
            decoded = boe.decode(each)
        except WireError as error:
            assert "\n" not in str(error)
        else:
            assert boe.encode(decoded["message"], decoded) == each


# ---------------------------------------------------------------- what is refused

NEW = {"cl_ord_id": "x", "side": "1", "order_qty": 1, "price": 1, "symbol": "A"}


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: boe.encode("new_ordre", {}), "no message new_ordre"),
        (lambda: boe.encode("new_order", {"colour": 1}), "new_order has no field colour"),
        (
            lambda: boe.encode("client_heartbeat", {"price": 1}),
            "client_heartbeat has no field price",
        ),
        (lambda: boe.encode("client_heartbeat", {"bitfields": b"\0"}), "no optional fields"),
        (lambda: boe.encode("new_order", {"cl_ord_id": "x" * 21}), "takes 20 characters, not 21"),
        (lambda: boe.encode("new_order", {"cl_ord_id": "\u4e2d"}), "cl_ord_id cannot be"),
        (lambda: boe.encode("new_order", {"cl_ord_id": 5}), "cl_ord_id cannot be 5"),
        (lambda: boe.encode("new_order", {"order_qty": -1}), "order_qty is u32: -1 does not fit"),
        (lambda: boe.encode("new_order", {"price": Decimal("NaN")}), "price cannot be"),
        (lambda: boe.encode("new_order", {"price": Decimal("0.00001")}), "price takes 4 decimals"),
        (lambda: boe.encode("new_order", {**NEW, "bitfields": b"\x04"}), "has no field symbol"),
        (lambda: boe.layout("client_heartbeat", b""), "no optional fields"),
        (lambda: boe.layout("new_order", bytes(256)), "256 bitfields are more than 255"),
        (
            lambda: boe.layout("order_modified", bytes(14) + b"\x08\x08"),
            "only the last field may be of variable length",
        ),
        (lambda: boe.decode(b""), "takes 10 bytes, got 0"),
        (lambda: boe.decode(b"\xba\xbb" + bytes(8)), "begins with BA BA, got ba bb"),
        (lambda: boe.decode(bytes.fromhex("baba07000300000000")), "takes 10 bytes, got 9"),
        (lambda: boe.decode(bytes.fromhex("baba0700030000000000")), "less than a header"),
        (lambda: boe.decode(bytes.fromhex("baba0900030000000000")), "is 11 bytes long, got 10"),
        (lambda: boe.decode(bytes.fromhex("baba0800ff0000000000")), "no message type"),
        (
            lambda: boe.decode(bytes.fromhex("baba1d00390000000000") + bytes(20) + b"\x05"),
            "5 bitfields do not fit at offset 31",
        ),
        (
            lambda: boe.decode(bytes.fromhex("baba1e00390000000000") + bytes(20) + b"\x01\x01"),
            "announce 36 bytes, got 32",
        ),
        (
            lambda: boe.decode(bytes.fromhex("baba1f00390000000000") + bytes(20) + b"\x01\x02x"),
            "announce 32 bytes, 1 bits of no known field, got 33",
        ),
        (
            lambda: boe.decode(bytes.fromhex("baba1b00370000000000") + bytes(18) + b"\x01"),
            "param_header takes 3 bytes, got 0",
        ),
        (
            lambda: boe.decode(
                bytes.fromhex("baba1e00370000000000") + bytes(18) + b"\x01\x02\0\x80"
            ),
            "a param group of 2 bytes, 3 are left",
        ),
        (
            lambda: boe.decode(bytes.fromhex("baba1c00370000000000") + bytes(18) + b"\0\0"),
            "1 bytes behind its last group",
        ),
        (
            lambda: boe.decode(bytes.fromhex("baba4a00080000000000") + bytes(65) + b"\x01"),
            "1 units take 5 bytes, got 0",
        ),
        (
            lambda: boe.decode(bytes.fromhex("baba4b00240000000000") + bytes(67)),
            "number_of_param_groups is missing",
        ),
    ],
)
def test_what_is_refused(build, words):
    with pytest.raises(WireError, match=words) as error:
        build()
    assert "\n" not in str(error.value)


def test_a_field_of_unknown_length_takes_what_is_left():
    bits = bytes(14) + b"\x08"
    raw = boe.encode("order_modified", {"bitfields": bits, "mass_cancelled": b"abc"})
    assert boe.decode(raw)["mass_cancelled"] == b"abc"
