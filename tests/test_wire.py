"""Every layout of every protocol: round trips, dtype views, published lengths, what is refused."""

import csv
from collections import Counter
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies import REPEATABLE, message_values, options, protocols
from tickpath.wire import appendage, hot, pitch241, soupbintcp
from tickpath.wire.itch50 import ITCH50
from tickpath.wire.ouch42 import OUCH42_INBOUND, OUCH42_OUTBOUND
from tickpath.wire.ouch50 import OUCH50_INBOUND, OUCH50_OUTBOUND
from tickpath.wire.pitch241 import PITCH241
from tickpath.wire.soupbintcp import SOUPBINTCP
from tickpath.wire.table import Field, Message, Protocol, WireError

SPECS = Path(__file__).parents[2] / "shared" / "specs"
DATA = Path(__file__).parents[2] / "shared" / "data"

MESSAGES = [
    pytest.param(protocol, message, id=f"{protocol.name}-{message.name}")
    for protocol in protocols()
    for message in protocol.messages
]

# ---------------------------------------------------------------- every message


@pytest.mark.parametrize(("protocol", "message"), MESSAGES)
@given(data=st.data())
@REPEATABLE
def test_round_trip(protocol, message, data):
    values = data.draw(message_values(message, protocol))
    raw = message.encode(**values)
    decoded = message.decode(raw)
    assert decoded == {**decoded, **values}
    assert message.encode(**decoded) == raw
    assert message.decode(b"\xff" + raw, 1) == decoded
    if message.type:
        assert protocol.message_of(raw) is message


@pytest.mark.parametrize(("protocol", "message"), MESSAGES)
@given(data=st.data())
@REPEATABLE
def test_dtype_agrees_with_decode(protocol, message, data):
    raw = message.encode(**data.draw(message_values(message, protocol)))
    decoded = message.decode(raw)
    record = np.frombuffer(raw, message.dtype, count=1)[0]
    assert message.dtype.itemsize == message.length
    assert set(message.dtype.names) == {e.name for e in message.fields if not e.is_variable}
    for name in message.dtype.names:
        field, seen, value = message[name], record[name], decoded[name]
        if field.base == "digits":
            assert int(seen) == value
        elif not field.is_integer:
            # NumPy drops trailing NULs from text and raw bytes.
            expected = value if isinstance(value, bytes) else value.encode("latin-1")
            assert bytes(seen).rstrip(b" \0") == expected.rstrip(b" \0")
        elif field.size in (1, 2, 4, 8):
            assert Decimal(int(seen)).scaleb(-field.decimals) == value
        else:
            order = "big" if message.order == "big" else "little"
            assert int.from_bytes(bytes(seen), order) == value


@pytest.mark.parametrize(("protocol", "message"), MESSAGES)
def test_short_buffer_is_refused(protocol, message):
    raw = message.encode()
    with pytest.raises(WireError, match=f"{message.name} takes {message.length} bytes"):
        message.decode(raw[:-1])
    if message.type and message.length > protocol.type_offset + 1:
        with pytest.raises(WireError, match=f"{message.name} takes {message.length} bytes"):
            protocol.decode(raw[:-1])


@pytest.mark.parametrize("protocol", protocols(), ids=lambda each: each.name)
def test_type_codes_are_the_messages(protocol):
    typed = [each for each in protocol.messages if each.type]
    assert [protocol.by_type[each.type] for each in typed] == typed
    lengths = {chr(code): int(length) for code, length in enumerate(protocol.lengths) if length}
    assert lengths == {each.type: each.length for each in typed}
    unused = next(chr(code) for code in range(256) if chr(code) not in protocol.by_type)
    with pytest.raises(WireError, match="no message type"):
        protocol.decode(unused.encode("latin-1") * 60)
    with pytest.raises(WireError, match="no message type"):
        protocol.decode(b"")


# ---------------------------------------------------------------- what the specs print

PUBLISHED = [
    (
        ITCH50,
        "S12 R39 H25 Y20 L26 V35 W12 K28 J35 h21 A36 F40 "
        "E31 C36 X23 D19 U35 P44 Q40 B19 I50 N20 O48",
    ),
    (OUCH42_INBOUND, "O49 U47 X19 M20 N15"),
    (OUCH42_OUTBOUND, "S10 A66 U80 C28 D37 E40 B32 G45 F41 J24 P23 I23 T36 M28 N23"),
    (OUCH50_INBOUND, "O47 U40 X9 M10 Q1"),
    (OUCH50_OUTBOUND, "S10 A64 U68 C18 D31 E36 B36 F49 J29 P13 I13 T30 M18 R16 Q13"),
    (SOUPBINTCP, "+3 A33 J4 S3 H3 Z3 L49 U3 R3 O3"),
]


@pytest.mark.parametrize(("protocol", "lengths"), PUBLISHED, ids=[p.name for p, _ in PUBLISHED])
def test_published_lengths(protocol, lengths):
    stated = {each[0]: int(each[1:]) for each in lengths.split()}
    assert {each.type: each.length for each in protocol.messages} == stated


def test_published_lengths_of_pitch():
    stated = (
        "20:6 21:34 22:26 23:26 24:38 25:18 26:16 27:27 28:19 29:14 2a:41 2b:33 2c:14 2d:6 "
        "2f:41 30:43 31:18 95:47 96:27 97:6 98:15"
    )
    found = [f"{ord(each.type):x}:{each.length}" for each in PITCH241.messages if each.type]
    assert found == stated.split()
    assert PITCH241["sequenced_unit_header"].length == 8


def test_pitch_fills_in_length_and_type():
    for each in PITCH241.messages:
        if each.type:
            raw = pitch241.message(each.name)
            assert (raw[0], raw[1]) == (len(raw), ord(each.type))
            space = hot.message(each)
            assert (int(space.LENGTH), int(space.TYPE)) == (raw[0], raw[1])
    assert PITCH241.type_offset == 1
    assert PITCH241["add_order_short"].encode()[:2] == b"\0\x22"


def test_add_order_short_of_pitch_by_hand():
    raw = bytes.fromhex(
        "1a 22 18d20600 05405b7783ec2f00 42 204e 5a565a5a5420 0a28 01".replace(" ", "")
    )
    assert PITCH241.decode(raw) == {
        "message": "add_order_short",
        "message_length": 26,
        "message_type": 0x22,
        "time_offset": 447_000,
        "order_id": 0x2FEC83775B4005,
        "side_indicator": "B",
        "quantity_short": 20_000,
        "symbol": "ZVZZT",
        "price_short": Decimal("102.50"),
        "add_order_flags": pitch241.DISPLAY,
    }


def test_enter_order_of_ouch50_by_hand():
    raw = bytes.fromhex(
        "4f 0000002a 42 00000064 4141504c20202020 00000000001e8480"
        "30 59 50 4e 4e 5430303030303030303030303141 0006 0502 4c494d45"
    )
    fields = appendage.decode_message(OUCH50_INBOUND, raw)
    assert fields == {
        "message": "enter_order",
        "message_type": "O",
        "user_ref_num": 42,
        "side": "B",
        "quantity": 100,
        "symbol": "AAPL",
        "price": Decimal("200.0000"),
        "time_in_force": "0",
        "display": "Y",
        "capacity": "P",
        "inter_market_sweep_eligibility": "N",
        "cross_type": "N",
        "clordid": "T000000000001A",
        "appendage_length": 6,
        "enter_order_appendage": {"firm": "LIME"},
    }


def test_executed_of_ouch42_by_hand():
    raw = bytes.fromhex(
        "45 00001d7c8ba63a00 5430303030303030303030303141 00000064 000186a0 41 0000000000000007"
    )
    assert OUCH42_OUTBOUND.decode(raw) == {
        "message": "executed",
        "message_type": "E",
        "timestamp": 0x00001D7C8BA63A00,
        "order_token": "T000000000001A",
        "executed_shares": 100,
        "execution_price": Decimal("10.0000"),
        "liquidity_flag": "A",
        "match_number": 7,
    }


SPEC_TABLES = {
    "itch50": (ITCH50,),
    "moldudp64": tuple(each for each in protocols() if each.name == "moldudp64"),
    "ouch42": (OUCH42_INBOUND, OUCH42_OUTBOUND),
    "ouch50": (OUCH50_INBOUND, OUCH50_OUTBOUND),
    "soupbintcp": (SOUPBINTCP,),
    "glimpse50": tuple(each for each in protocols() if each.name == "glimpse50"),
    "pitch241": (PITCH241,),
}


def code(stated: str) -> str:
    """A spec table's type code as the layouts have it: Cboe's are numbers, printed as such."""
    return chr(int(stated, 16)) if stated.startswith("0x") else stated


@pytest.mark.skipif(not SPECS.is_dir(), reason="the spec tables (../shared/specs) are not here")
@pytest.mark.parametrize("spec", SPEC_TABLES)
def test_layouts_are_those_of_the_spec_tables(spec):
    with (SPECS / f"{spec}.csv").open() as rows:
        expected = {
            (row["message"], code(row["type"]), row["field"], int(row["offset"]), row["size"])
            for row in csv.DictReader(rows)
            # The elements of an appendage have a layout of their own: appendage.ELEMENT.
            if not row["message"].endswith("_appendage")
        }
    found = {
        (each.name, each.type, one.name, one.offset, "var" if one.is_variable else str(one.size))
        for protocol in SPEC_TABLES[spec]
        for each in protocol.messages
        for one in each.fields
    }
    # The spec names account_query and prints no fields for it.
    assert found - {("account_query", "Q", "message_type", 0, "1")} == expected


@pytest.mark.skipif(not SPECS.is_dir(), reason="the spec tables (../shared/specs) are not here")
def test_kinds_and_codes_of_pitch_are_those_of_the_spec_tables():
    kinds = {"bits8": "u8"}
    with (SPECS / "pitch241.csv").open() as rows:
        for row in csv.DictReader(rows):
            field = PITCH241[row["message"]][row["field"]]
            assert field.kind.partition(":")[0] == kinds.get(row["kind"], row["kind"]), field
    with (SPECS / "pitch241.enums.csv").open() as rows:
        stated = {row["enum_value"]: row["code"] for row in csv.DictReader(rows)}
    found = {
        f"{enum}_{value}": repr(each)
        for enum, codes in PITCH241.enums.items()
        for each, value in codes.items()
        # The tables have no codes for it; these are the specification's.
        if enum != "retail_price_improvement"
    }
    types = {name: each for name, each in stated.items() if name.startswith("message_type_")}
    assert found == {name: each for name, each in stated.items() if name not in types}
    expected = {each.type for each in PITCH241.messages if each.type}
    # Nor do they list the type of the retail price improvement message.
    assert expected == {code(each) for each in types.values()} | {"\x98"}


# ---------------------------------------------------------------- what a table refuses


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        ("u8", 256, "does not fit"),
        ("u16", -1, "does not fit"),
        ("i8", 128, "does not fit"),
        ("u32", 1 << 32, "does not fit"),
        ("u48", 1 << 48, "does not fit"),
        ("u64", 1 << 64, "does not fit"),
        ("u32/1e4", Decimal("0.00001"), "takes 4 decimals"),
        ("u32/1e4", Decimal("429496.7296"), "does not fit"),
        ("ascii:4", "LIMES", "takes 4 characters"),
        ("bytes:4", b"123", "takes 4 bytes"),
        ("digits:3", 1000, "takes 3 digits"),
        ("digits:3", -1, "takes 3 digits"),
    ],
)
def test_value_that_does_not_fit(kind, value, message):
    with pytest.raises(WireError, match=message):
        Field("each", kind).put(value, "big")


def test_digits_are_padded_on_the_left_and_blank_is_zero():
    field = Field("sequence_number", "digits:5")
    assert field.put(42, "big") == b"   42"
    assert field.get(b"   42", 0, "big") == 42
    assert field.get(b"     ", 0, "big") == 0
    for wrong in (b"  4 2", b"  -42", b"  4x2", b"\0\0\0\0\0"):
        with pytest.raises(WireError, match="takes decimal digits"):
            field.get(wrong, 0, "big")


def test_text_that_is_longer_than_its_field_is_refused_but_not_cut():
    with pytest.raises(WireError, match="symbol takes 8 characters, not 9"):
        OUCH50_INBOUND["enter_order"].encode(symbol="TOOLONGED")


def test_unknown_field_is_refused():
    with pytest.raises(WireError, match="cancel_order has no field price"):
        OUCH50_INBOUND["cancel_order"].encode(price=1)


def test_layouts_that_do_not_add_up():
    with pytest.raises(WireError, match="fields add up to 5, the spec says 6"):
        Message("A", "each", 6, (("message_type", "ascii:1"), ("value", "u32")))
    with pytest.raises(WireError, match="only the last field"):
        Message("A", "each", 4, (("rest", "bytes:*"), ("value", "u32")))
    with pytest.raises(WireError, match="no enumeration colour"):
        Protocol("p", (Message("A", "each", 1, (("message_type", "ascii:1", "colour"),)),))
    with pytest.raises(WireError, match="type code is not where"):
        Protocol(
            "p",
            (
                Message("A", "first", 1, (("message_type", "ascii:1"),)),
                Message("B", "second", 2, (("length", "u8"), ("message_type", "ascii:1"))),
            ),
        )


# ---------------------------------------------------------------- appendages

WITH_APPENDAGE = [
    (protocol, message)
    for protocol in (OUCH50_INBOUND, OUCH50_OUTBOUND)
    for message in protocol.messages
    if appendage.has_appendage(message)
]


def test_messages_with_an_appendage():
    assert [message.name for _, message in WITH_APPENDAGE] == [
        "enter_order",
        "replace_order",
        "order_accepted",
        "replaced",
        "order_executed",
        "order_restated",
    ]


@given(options=options(), chosen=st.sampled_from(WITH_APPENDAGE), data=st.data())
@REPEATABLE
def test_appendage_round_trip(options, chosen, data):
    protocol, message = chosen
    values = data.draw(message_values(message, protocol))
    raw = appendage.encode_message(message, options, **values)
    counters = Counter()
    fields = appendage.decode_message(protocol, raw, counters)
    assert fields[message.fields[-1].name] == options
    assert list(fields[message.fields[-1].name]) == list(options)
    assert fields["appendage_length"] == len(raw) - message.length
    unknown = sum(name.startswith("tag_") for name in options)
    assert counters == ({"unknown_option": unknown} if unknown else {})


def test_empty_appendage_has_a_length():
    raw = appendage.encode_message(OUCH50_INBOUND["enter_order"], {})
    assert len(raw) == 47
    assert appendage.decode_message(OUCH50_INBOUND, raw)["enter_order_appendage"] == {}


def test_appendage_of_a_later_revision():
    plain = OUCH50_INBOUND["cancel_order"].encode(user_ref_num=7)
    fields = {"message": "cancel_order", "message_type": "X", "user_ref_num": 7, "quantity": 0}
    assert appendage.decode_message(OUCH50_INBOUND, plain) == fields
    raw = appendage.encode_message(
        OUCH50_INBOUND["cancel_order"], {"user_ref_idx": 3}, user_ref_num=7
    )
    assert raw == plain + bytes.fromhex("0003 021c 03")
    assert appendage.decode_message(OUCH50_INBOUND, raw) == {
        **fields,
        "appendage_length": 3,
        "appendage": {"user_ref_idx": 3},
    }
    empty = plain + bytes(2)
    assert appendage.decode_message(OUCH50_INBOUND, empty)["appendage"] == {}


def test_known_option_of_unknown_size_is_kept():
    counters = Counter()
    assert appendage.decode(bytes.fromhex("0302abcd"), counters) == {"tag_2": b"\xab\xcd"}
    assert counters == {"option_of_unknown_size": 1}


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ("00", "element of length 0 at byte 0"),
        ("05024c494d45 00", "element of length 0 at byte 6"),
        ("05024c494d", "element of length 5 at byte 0 does not fit"),
        ("ff02", "element of length 255 at byte 0"),
        ("05024c494d45 05024c494d45", "firm stands twice"),
        ("02aa00 02aa01", "tag_170 stands twice"),
    ],
)
def test_appendage_that_does_not_add_up(raw, message):
    with pytest.raises(WireError, match=message):
        appendage.decode(bytes.fromhex(raw))


@pytest.mark.parametrize("length", [0, 5, 7, 0xFFFF])
def test_appendage_length_is_compared_with_the_message(length):
    enter = OUCH50_INBOUND["enter_order"]
    raw = enter.encode(
        appendage_length=length, enter_order_appendage=appendage.encode({"firm": "LIME"})
    )
    with pytest.raises(WireError, match=f"appendage_length is {length}, 6 bytes follow"):
        appendage.decode_message(OUCH50_INBOUND, raw)


def test_one_byte_behind_a_message_is_no_appendage():
    raw = OUCH50_INBOUND["cancel_order"].encode() + b"\0"
    with pytest.raises(WireError, match="cancel_order takes 9 bytes, got 10"):
        appendage.decode_message(OUCH50_INBOUND, raw)
    with pytest.raises(WireError, match="no message type"):
        appendage.decode_message(OUCH50_INBOUND, b"")


def test_option_that_does_not_exist():
    with pytest.raises(WireError, match="no option colour"):
        appendage.encode({"colour": 1})
    with pytest.raises(WireError, match="no option tag_x"):
        appendage.encode({"tag_x": b""})


@given(raw=st.binary(max_size=80))
@REPEATABLE
def test_any_bytes_are_options_or_an_error(raw):
    try:
        decoded = appendage.decode(raw)
    except WireError:
        return
    assert appendage.encode(decoded) == raw


# ---------------------------------------------------------------- SoupBinTCP


def test_packets_of_a_stream():
    sent = [
        soupbintcp.packet("login_accepted", session="SESSION001", sequence_number=1),
        soupbintcp.packet("sequenced_data", message=b"abc"),
        soupbintcp.packet("server_heartbeat"),
        soupbintcp.packet("debug", text="hello"),
    ]
    assert [each.hex(" ", 1)[:8] for each in sent] == [
        "00 1f 41",
        "00 04 53",
        "00 01 48",
        "00 06 2b",
    ]
    stream = b"".join(sent)
    assert list(soupbintcp.packets(stream)) == sent
    for cut in range(len(stream)):
        whole = list(soupbintcp.packets(stream[:cut]))
        assert whole == sent[: len(whole)]
        assert cut - sum(map(len, whole)) < len([*sent, b""][len(whole)])
    assert SOUPBINTCP.message_of(sent[3]).decode(sent[3])["text"] == "hello"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("000000", r"packet at byte 3: soupbintcp has no packet type '\\x00'"),
        ("000078", "packet at byte 3: soupbintcp has no packet type 'x'"),
        ("000053", "packet at byte 3: sequenced_data has a length of 2 bytes"),
        ("000248", "packet at byte 3: server_heartbeat has a length of 4 bytes"),
        ("ffff4c", "packet at byte 3: login_request has a length of 65537 bytes"),
    ],
)
def test_stream_that_cannot_be_mended(wrong, message):
    stream = soupbintcp.packets(soupbintcp.packet("server_heartbeat") + bytes.fromhex(wrong))
    assert next(stream) == soupbintcp.packet("server_heartbeat")
    with pytest.raises(WireError, match=message):
        next(stream)


# ---------------------------------------------------------------- real bytes

OUCH50_CAPTURES = {
    "EnterOrderMessage": (
        OUCH50_INBOUND,
        "enter_order",
        {
            "symbol": "CVLT",
            "price": Decimal("63.0200"),
            "capacity": "A",
            "clordid": "H8FUB8IV",
            "enter_order_appendage": {"firm": "LIME"},
        },
    ),
    "CancelOrderMessage": (OUCH50_INBOUND, "cancel_order", {"user_ref_num": 7679601}),
    "CanceledMessage": (OUCH50_OUTBOUND, "canceled", {"cancel_order_reason": "U", "quantity": 40}),
    "OrderAcceptedMessage": (
        OUCH50_OUTBOUND,
        "order_accepted",
        {
            "symbol": "ADBE",
            "price": Decimal("477.7800"),
            "order_accepted_appendage": {"firm": "MLRO", "bbo_weight_indicator": "0"},
        },
    ),
}


@pytest.mark.skipif(not DATA.is_dir(), reason="real captures (../shared/data) are not here")
@pytest.mark.parametrize("name", OUCH50_CAPTURES)
def test_real_ouch50_messages(name):
    scapy = pytest.importorskip("scapy.all", reason="scapy is not installed")
    protocol, message, expected = OUCH50_CAPTURES[name]
    frame = scapy.rdpcap(str(DATA / "nasdaq_ouch50" / f"{name}.pcap"))[0]
    segment = frame[scapy.IP]
    payload = bytes(segment[scapy.TCP].payload)[: segment.len - 40]
    (raw,) = (each for each in soupbintcp.packets(payload))
    packet = SOUPBINTCP.message_of(raw).decode(raw)
    assert packet["packet_type"] == ("U" if protocol is OUCH50_INBOUND else "S")
    fields = appendage.decode_message(protocol, packet["message"])
    assert fields == {**fields, "message": message, **expected}
