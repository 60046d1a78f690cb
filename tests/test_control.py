"""Operator commands as bytes: every field there and back, and what the hot path reads of them."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies import REPEATABLE, message_values
from tickpath import commands
from tickpath.risk import Kill
from tickpath.wire.control import CONTROL, ENUMS, Limit
from tickpath.wire.table import WireError

NAMES = [each.name for each in CONTROL.messages]


@pytest.mark.parametrize("name", NAMES)
@REPEATABLE
@given(data=st.data())
def test_a_command_comes_back_as_it_was(name, data):
    values = data.draw(message_values(CONTROL[name], CONTROL))
    raw = CONTROL[name].encode(**values)
    assert len(raw) == CONTROL[name].length
    decoded = CONTROL.decode(raw)
    assert decoded.pop("message") == name and decoded.pop("message_type") == CONTROL[name].type
    assert decoded == values


HEAD = struct.pack(">cQ16s32s", b"?", 34_200_000_000_000, b"ops".ljust(16), b"drill".ljust(32))
BY_HAND = {
    "kill": (b"K", struct.pack(">cB8s", b"B", 2, b"AAPL    ")),
    "limit": (b"L", struct.pack(">8sHQQ", b"        ", 104, 10**12, 34_300_000_000_000)),
    "position": (b"P", struct.pack(">8sqq", b"BRK.A   ", -300, -5 * 10**9)),
    "day_roll": (b"D", b""),
    "clock": (b"T", b""),
    "cancel_all": (b"C", b"MSFT    "),
}
VALUES = {
    "kill": {"scope": "B", "level": 2, "symbol": "AAPL"},
    "limit": {
        "symbol": "",
        "limit": Limit.TOTAL_MAX_DAILY_QUANTITY,
        "value": 10**12,
        "expires": 34_300_000_000_000,
    },
    "position": {"symbol": "BRK.A", "quantity": -300, "cash": -5 * 10**9},
    "day_roll": {},
    "clock": {},
    "cancel_all": {"symbol": "MSFT"},
}


@pytest.mark.parametrize("name", NAMES)
def test_the_bytes_are_those_that_struct_writes(name):
    code, rest = BY_HAND[name]
    raw = CONTROL[name].encode(timestamp=34_200_000_000_000, who="ops", why="drill", **VALUES[name])
    assert raw == code + HEAD[1:] + rest


@pytest.mark.parametrize(
    ("name", "values", "text"),
    [
        ("kill", {"level": 256}, "level is u8: 256 does not fit"),
        ("kill", {"who": "x" * 17}, "who takes 16 characters, not 17"),
        ("limit", {"value": -1}, "value is u64: -1 does not fit"),
        ("limit", {"valeu": 1}, "limit has no field valeu"),
        ("position", {"cash": 1 << 63}, "cash is i64"),
        ("cancel_all", {"symbol": "NINECHARS"}, "symbol takes 8 characters"),
    ],
)
def test_what_does_not_fit_is_named(name, values, text):
    with pytest.raises(WireError, match=text):
        CONTROL[name].encode(**values)


def test_the_engine_knows_the_length_of_every_command_and_of_nothing_else():
    lengths = {chr(code): int(n) for code, n in enumerate(commands.LENGTHS) if n}
    assert lengths == {each.type: each.length for each in CONTROL.messages}


def test_levels_and_limits_have_their_words():
    assert ENUMS["level"] == {
        str(each.value): each.name.lower().replace("none", "reset") for each in Kill
    }
    assert [int(code) for code in ENUMS["limit"]] == sorted(Limit)
    assert all(each < 100 or each.name.startswith("TOTAL_") for each in Limit)
