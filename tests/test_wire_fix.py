"""FIX 4.4: round trips, independent encoders, and every way in which a message can be wrong."""

from collections import Counter
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strategies import REPEATABLE
from tickpath.wire import fix44
from tickpath.wire.fix44 import FIX44, HEAD, TAIL
from tickpath.wire.tagvalue import (
    FOREIGN_TAG,
    MOST_BYTES,
    UNKNOWN_TAG,
    FixError,
    FixMessage,
    Reason,
    Tag,
    check_sum,
)

HEADER = {
    "sender_comp_id": "US",
    "target_comp_id": "THEM",
    "msg_seq_num": 7,
    "sending_time": "20240101-12:00:00.000",
}
MESSAGES = [pytest.param(each, id=each.name) for each in FIX44.messages]
FILLED = {8, 9, 35, 10, *FIX44.data}


def value_of(each: Tag) -> st.SearchStrategy:
    """A value of the field as `decode` gives it."""
    return {
        "int": st.integers(-(10**17), 10**17),
        "length": st.integers(0, 10**17),
        "seq_num": st.integers(0, 10**17),
        "qty": st.integers(0, 10**12).map(Decimal),
        "price": st.integers(-(10**12), 10**14).map(lambda n: Decimal(n).scaleb(-4)),
        "char": st.sampled_from("019AZaz=|") if each.enum is None else st.sampled_from("0128A"),
        "boolean": st.sampled_from("YN"),
        "utc_timestamp": st.sampled_from(["20240101-12:00:00", "20240229-23:59:60.123456789"]),
        "local_mkt_date": st.just("20240101"),
        "data": st.binary(min_size=1, max_size=20),
    }.get(
        each.kind,
        st.text(st.characters(codec="latin-1", exclude_characters="\0\1"), min_size=1, max_size=20),
    )


@st.composite
def messages(draw, message: FixMessage | None = None) -> tuple[str, dict]:
    """Any message with any of its fields and groups."""
    chosen = message or draw(st.sampled_from(FIX44.messages))
    tags = {*chosen.required, *FIX44.required}
    listed = (*chosen.optional, *FIX44.header, *FIX44.trailer)
    tags |= draw(st.sets(st.sampled_from(sorted(listed)), max_size=12))
    values = {}
    for tag in sorted(tags - FILLED):
        each = FIX44.by_tag[tag]
        if tag in FIX44.groups:
            first, *others = (FIX44.by_tag[one] for one in FIX44.groups[tag])
            element = st.fixed_dictionaries(
                {first.name: value_of(first)},
                optional={one.name: value_of(one) for one in others},
            )
            values[each.name] = draw(st.lists(element, max_size=3))
        else:
            values[each.name] = draw(value_of(each))
    header = {key: value for key, value in values.items() if FIX44.by_name[key].tag in FIX44.header}
    return chosen.name, {**header, **values}


@pytest.mark.parametrize("message", MESSAGES)
@given(data=st.data())
@settings(REPEATABLE, max_examples=60)
def test_round_trip(message, data):
    name, values = data.draw(messages(message))
    # An element's field and a plain one of the same tag cannot stand in one message's reading.
    inside = {
        FIX44.by_tag[tag].name
        for key in values
        if FIX44.by_name[key].tag in FIX44.groups
        for tag in FIX44.groups[FIX44.by_name[key].tag]
    }
    values = {key: value for key, value in values.items() if key not in inside}
    raw, counters = fix44.encode(name, **values), Counter()
    decoded = fix44.decode(raw, counters)
    assert decoded == {**decoded, **values, "message": name}
    assert fix44.encode(name, **decoded) == raw
    assert counters == Counter({FOREIGN_TAG: 0})
    assert fix44.message_length(raw) == fix44.message_length(raw + b"more") == len(raw)
    for cut in {1, len(raw) // 2, len(raw) - 1}:
        assert fix44.message_length(raw[:cut]) in (None, len(raw))
        with pytest.raises(FixError):
            fix44.decode(raw[:cut])


@given(messages())
@REPEATABLE
def test_simplefix_reads_and_writes_the_same(given_message):
    simplefix = pytest.importorskip("simplefix", reason="simplefix is not installed")
    name, values = given_message
    without = {key: value for key, value in values.items() if FIX44.by_name[key].kind != "data"}
    raw = fix44.encode(name, **without)
    parser = simplefix.FixParser()
    parser.append_buffer(raw)
    message = parser.get_message()
    assert message is not None and message.encode(raw=True) == raw
    # simplefix puts BodyLength and CheckSum in by itself.
    again = simplefix.FixMessage()
    for tag, value in message.pairs:
        if tag not in (b"9", b"10"):
            again.append_pair(tag, value)
    assert again.encode() == raw
    assert fix44.decode(again.encode()) == fix44.decode(raw)


def order(**changes) -> dict:
    return {
        **HEADER,
        "cl_ord_id": "A1",
        "symbol": "AAPL",
        "side": "1",
        "transact_time": "20240101-12:00:00.000",
        "order_qty": 100,
        "ord_type": "2",
        "price": Decimal("10.5"),
        **changes,
    }


def test_an_order_by_hand():
    raw = (
        "8=FIX.4.4|9=113|35=D|49=US|56=THEM|34=7|52=20240101-12:00:00.000|11=A1|55=AAPL|54=1|"
        "60=20240101-12:00:00.000|38=100|40=2|44=10.5|"
    )
    body = raw[raw.index("35=") :].replace("|", "\1")
    assert len(body) == 113
    whole = raw.replace("|", "\1").encode()
    whole += b"10=%03d\1" % (sum(whole) % 256)
    assert fix44.encode("new_order_single", **order()) == whole
    assert fix44.decode(whole) == {
        "message": "new_order_single",
        "begin_string": "FIX.4.4",
        "body_length": 113,
        "msg_type": "D",
        **order(),
        "check_sum": check_sum(whole[:-7]).decode(),
    }


def signed(text: str, length: int | None = None) -> bytes:
    """A message from its body, with BodyLength and CheckSum."""
    body = text.replace("|", "\1").encode("latin-1")
    raw = b"8=FIX.4.4\x019=%d\x01%b" % (len(body) if length is None else length, body)
    return raw + b"10=%b\x01" % check_sum(raw)


BODY = (
    "35=F|49=US|56=THEM|34=7|52=20240101-12:00:00.000|41=A0|11=A1|55=AAPL|54=1|"
    "60=20240101-12:00:00.000|"
)
HEAD_OF = len("8=FIX.4.4|9=100|")
assert fix44.decode(signed(BODY))["orig_cl_ord_id"] == "A0"
REFUSED = [
    (b"", Reason.TRUNCATED, 0),
    (b"8=FIX.4.2\x019=5\x01", Reason.BEGIN_STRING, 0),
    (b"\xba\xba", Reason.BEGIN_STRING, 0),
    (b"8=FIX.4.4\x0110=000\x01", Reason.BEGIN_STRING, 0),
    (b"8=FIX.4.4\x019=\x01", Reason.BODY_LENGTH, 12),
    (b"8=FIX.4.4\x019=1x\x01", Reason.BODY_LENGTH, 12),
    (b"8=FIX.4.4\x019=-1\x01", Reason.BODY_LENGTH, 12),
    (b"8=FIX.4.4\x019=1000000000", Reason.BODY_LENGTH, 12),
    (b"8=FIX.4.4\x019=65536\x01", Reason.TOO_LONG, 12),
    (signed(BODY)[:-1], Reason.TRUNCATED, len(signed(BODY)) - 1),
    (signed(BODY, len(BODY) - 1), Reason.BODY_LENGTH, HEAD_OF + len(BODY) - 2),
    (signed(BODY)[:-4] + b"000\x01", Reason.CHECK_SUM, len(signed(BODY)) - 7),
    (signed(BODY)[:-4] + b"1 2\x01", Reason.CHECK_SUM, len(signed(BODY)) - 7),
    (signed(BODY).replace(b"AAPL", b"AAPM"), Reason.CHECK_SUM, len(signed(BODY)) - 7),
    (signed(BODY) + b"8", Reason.TRAILING, len(signed(BODY))),
    (signed("49=US|" + BODY), Reason.MSG_TYPE, HEAD_OF),
    (signed(BODY.replace("35=F", "35=f")), Reason.MSG_TYPE, HEAD_OF - 1),
    (signed(BODY + "x=1|"), Reason.TAG, HEAD_OF + len(BODY)),
    (signed(BODY + "058=1|"), Reason.TAG, HEAD_OF + len(BODY)),
    (signed(BODY + "58|"), Reason.TAG, HEAD_OF + len(BODY)),
    (signed(BODY + "=5|"), Reason.TAG, HEAD_OF + len(BODY)),
    (signed(BODY + "|"), Reason.TAG, HEAD_OF + len(BODY)),
    (signed(BODY + "58=|"), Reason.NO_VALUE, HEAD_OF + len(BODY)),
    (signed(BODY + "38=1e5|"), Reason.VALUE, HEAD_OF + len(BODY)),
    (signed(BODY + "38=.|"), Reason.VALUE, HEAD_OF + len(BODY)),
    (signed(BODY + "38=" + "1" * 40 + "|"), Reason.VALUE, HEAD_OF + len(BODY)),
    (signed(BODY + "43=J|"), Reason.VALUE, HEAD_OF + len(BODY)),
    (signed(BODY + "122=20240101|"), Reason.VALUE, HEAD_OF + len(BODY)),
    (signed(BODY + "354=5|355=abc|"), Reason.VALUE, HEAD_OF + len(BODY) + 10),
    (signed(BODY + "354=x|355=abc|"), Reason.VALUE, HEAD_OF + len(BODY) + 4),
    (signed(BODY + "354=3|58=abc|"), Reason.TAG, HEAD_OF + len(BODY) + 6),
    (signed(BODY + "354=0|355=|"), Reason.NO_VALUE, HEAD_OF + len(BODY) + 6),
    (signed(BODY + "54=1|"), Reason.REPEATED, HEAD_OF + len(BODY)),
    (signed(BODY + "453=2|448=a|"), Reason.GROUP, HEAD_OF + len(BODY)),
    (signed(BODY + "453=1|447=a|"), Reason.GROUP, HEAD_OF + len(BODY) + 6),
    (signed(BODY + "453=1|448=a|447=D|447=D|"), Reason.GROUP, HEAD_OF + len(BODY) + 18),
    (signed(BODY.replace("41=A0|", "")), Reason.REQUIRED, HEAD_OF + len(BODY) - 7),
    (signed(BODY.replace("34=7|", "")), Reason.REQUIRED, HEAD_OF + len(BODY) - 6),
]


@pytest.mark.parametrize(("raw", "reason", "offset"), REFUSED)
def test_what_is_refused_and_where(raw, reason, offset):
    with pytest.raises(FixError) as error:
        fix44.decode(raw)
    short = len(str(len(BODY))) < 3  # BodyLength of two digits moves everything
    assert (error.value.reason, error.value.offset + short) == (reason, offset + short)
    assert str(offset) in str(error.value) and "\n" not in str(error.value)


def test_every_reason_of_the_decoder_is_seen():
    encoders = {Reason.UNKNOWN_FIELD}
    assert {reason for _, reason, _ in REFUSED} | encoders == set(Reason)


def test_fields_that_the_tables_do_not_have_are_kept_and_counted():
    counters = Counter()
    values = fix44.decode(signed(BODY + "9001=a|9001=b|31=5|"), counters)
    assert values["unknown"] == [(9001, "a"), (9001, "b")]
    assert values["last_px"] == 5
    assert counters == Counter({UNKNOWN_TAG: 2, FOREIGN_TAG: 1})
    again = {key: value for key, value in values.items() if key != "message"}
    assert (
        fix44.decode(fix44.encode("order_cancel_request", **again))["unknown"] == values["unknown"]
    )


def test_data_may_hold_anything():
    raw = fix44.encode("new_order_single", **order(encoded_text=b"a\x0110=000\x01=b"))
    assert fix44.decode(raw)["encoded_text"] == b"a\x0110=000\x01=b"
    assert fix44.decode(raw)["encoded_text_len"] == 11


@pytest.mark.parametrize(
    ("name", "values", "reason"),
    [
        ("new_order", {}, Reason.MSG_TYPE),
        ("new_order_single", {"colour": 1}, Reason.UNKNOWN_FIELD),
        ("new_order_single", {"symbol": ""}, Reason.VALUE),
        ("new_order_single", {"symbol": "A\x01B"}, Reason.VALUE),
        ("new_order_single", {"symbol": "\u4e2d"}, Reason.VALUE),
        ("new_order_single", {"price": Decimal("NaN")}, Reason.VALUE),
        ("new_order_single", {"price": 1e300}, Reason.VALUE),
        ("new_order_single", {"side": "12"}, Reason.VALUE),
        ("new_order_single", {"text": "x" * MOST_BYTES}, Reason.TOO_LONG),
        ("new_order_single", {"no_party_ids": [{"party_role": 1}]}, Reason.GROUP),
        ("order_cancel_request", {}, Reason.REQUIRED),
    ],
)
def test_what_cannot_be_encoded(name, values, reason):
    with pytest.raises(FixError) as error:
        fix44.encode(name, **order(**values))
    assert error.value.reason is reason and "\n" not in str(error.value)


@given(data=st.data())
@settings(REPEATABLE, max_examples=400)
def test_whatever_comes_is_decoded_or_refused(data):
    """Changed bytes behind a right sum, and bytes that never were a message."""
    name, values = data.draw(messages())
    raw = bytearray(fix44.encode(name, **values))
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(HEAD_OF, len(raw) - 8))
        raw[at] = data.draw(st.sampled_from(b"\x00\x010123=|A\xff") | st.integers(0, 255))
    raw[-4:-1] = check_sum(raw[:-7])
    noise = data.draw(st.binary(max_size=60))
    for each in (bytes(raw), noise, b"8=FIX.4.4\x019=" + noise, signed(noise.decode("latin-1"))):
        try:
            fix44.decode(each)
        except FixError as error:
            assert 0 <= error.offset <= len(each) and "\n" not in str(error)


def test_the_dictionary_is_whole():
    for message in FIX44.messages:
        tags = (*message.required, *message.optional)
        assert len(tags) == len(set(tags)) and set(tags) <= set(FIX44.by_tag), message.name
    everything = {*FIX44.header, *FIX44.trailer, *FIX44.required, *FIX44.groups, *FIX44.data}
    everything |= {*FIX44.data.values(), *(tag for each in FIX44.groups.values() for tag in each)}
    assert everything <= set(FIX44.by_tag)
    assert {each.enum for each in FIX44.tags if each.enum} == set(FIX44.enums)
    assert {each.type for each in FIX44.messages} == set("DFGq89r3j")
    assert (HEAD["sending_time"].size, TAIL["transact_time"].size) == (21, 21)
