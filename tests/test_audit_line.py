"""Records as lines: every form in both kinds, and which records are wanted."""

import json
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tickpath.audit import AuditError, Hint
from tickpath.audit_line import RecordLines, choice, quoted, time_of_day, utc
from tickpath.audit_schema import Schema, schema_of

FORMS = {
    "ts_event": ("<u8", Hint("since_midnight", "ns")),
    "ts_recv": ("<u8", Hint("since_epoch", "ns")),
    "number": ("<u8", Hint("symbol")),
    "text": ("S8", Hint("symbol")),
    "note": ("S12", Hint()),
    "price": ("<i8", Hint("decimal:4")),
    "side": ("u1", Hint("character")),
    "reject": ("u1", Hint("code:reject")),
    "state": ("<i2", Hint("code:state")),
    "quantity": ("<i4", Hint()),
    "reserved": ("<u4", Hint()),
    "reserved2": ("S3", Hint()),
}
TABLES = {
    "reject": {"0": "ACCEPTED", "7": "QUANTITY", "9": "GONE"},
    "state": {"-1": "Unknown", "2": "A b", "7": "GONE"},
}
DTYPE = np.dtype([(name, kind) for name, (kind, _) in FORMS.items()])
SCHEMA = schema_of(DTYPE, {name: hint for name, (_, hint) in FORMS.items()}, TABLES)
AAPL = int.from_bytes(b"AAPL    ", "big")


def record(**values: object) -> np.ndarray:
    made = np.zeros(1, DTYPE)
    for name, value in values.items():
        made[name] = value
    return made


def line(rows: np.ndarray, as_json: bool, schema: Schema = SCHEMA) -> str:
    (text,) = RecordLines(schema, TABLES, as_json)(np.array([41], np.uint64), rows)
    assert text.endswith("\n") and text.count("\n") == 1
    return text


FULL = record(
    ts_event=34_200_000_000_123,
    ts_recv=1_700_000_000_000_000_001,
    number=AAPL,
    text=b"BRK.B   ",
    note=b"as it is",
    price=-1_234_567,
    side=ord("B"),
    reject=7,
    state=2,
    quantity=-3,
    reserved=5,
    reserved2=b"abc",
)


def test_a_plain_line():
    assert line(FULL, False) == (
        "        41 ts_event=09:30:00.000000123 ts_recv=2023-11-14T22:13:20.000000001Z number=AAPL "
        'text=BRK.B note="as it is" price=-123.4567 side=B reject=QUANTITY state="A b" '
        "quantity=-3\n"
    )


def test_a_json_line():
    assert json.loads(line(FULL, True)) == {
        "record_number": 41,
        "ts_event": 34_200_000_000_123,
        "ts_recv": 1_700_000_000_000_000_001,
        "number": "AAPL",
        "text": "BRK.B",
        "note": "as it is",
        "price": "-123.4567",
        "side": "B",
        "reject": "QUANTITY",
        "state": "A b",
        "quantity": -3,
    }


def test_what_has_no_name_is_its_number():
    rows = record(side=7, reject=200, state=-2)
    found = json.loads(line(rows, True))
    assert (found["side"], found["reject"], found["state"]) == (7, 200, -2)
    assert " side=7 reject=200 state=-2 " in line(rows, False)


def test_a_terminal_is_not_disturbed():
    rows = record(
        note=b"\x1b[2Jx\n", text=b"\x9b1", number=int.from_bytes(b"\x07\r      ", "big"), side=27
    )
    text = line(rows, False)
    assert text[:-1].isprintable() and text.isascii()
    assert 'note="\\u001b[2Jx\\n"' in text and " side=27 " in text
    assert json.loads(line(rows, True))["note"] == "\x1b[2Jx\n"


@pytest.mark.parametrize(
    ("decimals", "value", "text"),
    [
        (4, 0, "0.0000"),
        (4, 5, "0.0005"),
        (4, -5, "-0.0005"),
        (4, 1_999_999_900, "199999.9900"),
        (1, -10, "-1.0"),
        (18, -(1 << 63), "-9.223372036854775808"),
    ],
)
def test_decimals(decimals, value, text):
    dtype = np.dtype([("px", "<i8")])
    schema = schema_of(dtype, {"px": Hint(f"decimal:{decimals}")}, {})
    assert line(np.array([(value,)], dtype), False, schema) == f"        41 px={text}\n"
    assert json.loads(line(np.array([(value,)], dtype), True, schema))["px"] == text


def test_times():
    assert time_of_day(0) == "00:00:00.000000000"
    assert time_of_day(86_399_999_999_999) == "23:59:59.999999999"
    assert time_of_day(100 * 3_600 * 10**9) == "100:00:00.000000000"
    assert utc(0) == "1970-01-01T00:00:00.000000000Z"
    assert utc((1 << 64) - 1) == "2554-07-21T23:34:33.709551615Z"
    assert datetime.fromisoformat(utc(1_709_164_800 * 10**9)) == datetime(2024, 2, 29, tzinfo=UTC)
    assert utc(10**30) == str(10**30)


@given(st.text(max_size=8))
def test_quoted_text_is_one_printable_word_or_json(text):
    shown = quoted(text)
    assert shown.isascii() and shown.isprintable()
    assert (shown == text and " " not in text) or json.loads(shown) == text


@given(arrays.arrays(DTYPE, st.integers(0, 4)))
def test_any_bytes_are_lines(rows):
    numbers = np.arange(len(rows), dtype=np.uint64)
    plain = list(RecordLines(SCHEMA, TABLES, False)(numbers, rows))
    assert all(each.isascii() and each[:-1].isprintable() for each in plain)
    found = [json.loads(each) for each in RecordLines(SCHEMA, TABLES, True)(numbers, rows)]
    for name in ("ts_event", "ts_recv", "quantity"):
        assert [each[name] for each in found] == rows[name].tolist()
    assert len(plain) == len(found) == len(rows)


# ---------------------------------------------------------------- choosing


def chosen(rows: np.ndarray, code: str | None = None, symbol: str | None = None) -> list[int]:
    wanted = choice(SCHEMA, TABLES, code, symbol)
    assert wanted is not None
    return np.flatnonzero(wanted(rows)).tolist()


def test_by_code_and_symbol():
    rows = np.concatenate(
        [
            record(reject=7, number=AAPL),
            record(reject=7, text=b"AAPL"),
            record(reject=0, text=b"AAPL    ", state=7),
            record(reject=9, number=int.from_bytes(b"AAPL\0\0\0\0", "big")),
            record(reject=1, number=int.from_bytes(b"AAPLX   ", "big"), state=-1),
        ]
    )
    assert chosen(rows, code="QUANTITY") == chosen(rows, code="quantity") == [0, 1]
    assert chosen(rows, code="GONE") == [2, 3]
    assert chosen(rows, code="unknown") == [4]
    assert chosen(rows, symbol="AAPL") == [0, 1, 2, 3]
    assert chosen(rows, symbol="AAPLX") == [4] and chosen(rows, symbol="A") == []
    assert chosen(rows, code="GONE", symbol="AAPLX") == []
    assert chosen(rows, code="ACCEPTED", symbol="AAPL") == [2]
    assert choice(SCHEMA, TABLES, None, None) is None


def test_names_that_the_file_does_not_have():
    with pytest.raises(AuditError, match=r'called NOTIONAL; .*"A b", ACCEPTED, GONE, QUANTITY'):
        choice(SCHEMA, TABLES, "NOTIONAL", None)
    for symbol, text in (("", "1 to 8"), ("NINECHARS", "1 to 8"), ("€", "is not a symbol")):
        with pytest.raises(AuditError, match=text):
            choice(SCHEMA, TABLES, None, symbol)
    bare = schema_of(np.dtype([("a", "<u8")]), {}, {})
    with pytest.raises(AuditError, match="have no symbol"):
        choice(bare, {}, None, "AAPL")
    with pytest.raises(AuditError, match="has no codes"):
        choice(bare, {}, "QUANTITY", None)
