"""The hardware's constants: the wire tables' numbers, the same in both languages, as checked in."""

import re

import pytest

from tickpath import fix
from tickpath.layout import MAX_INTENTS
from tickpath.wire import fix44
from tickpath.wire.frame import FRAME
from tickpath.wire.itch50 import ITCH50
from tickpath.wire.moldudp64 import MOLDUDP64
from tickpath.wire.ouch42 import OUCH42_INBOUND
from tickpath.wire.ouch50 import OUCH50_INBOUND
from tickpath_backends.hdl import constants, fix_order, generate
from tickpath_backends.hdl.profile import BY_NAME, ENUMS, PROFILE, STRUCTS, bits_of

DSLX = re.compile(r"^pub const (\w+) = (?:u|uN\[)(\d+)\]?:0x([0-9a-f]+);$", re.MULTILINE)
SV_INT = re.compile(r"^  localparam int (\w+) = (\d+);$", re.MULTILINE)
SV_BITS = re.compile(r"^  localparam logic \[(\d+):0\] (\w+) = (\d+)'h([0-9a-f]+);$", re.MULTILINE)


def dslx_values() -> dict[str, tuple[int, int]]:
    return {
        name: (int(bits), int(value, 16))
        for name, bits, value in DSLX.findall(constants.layout_dslx())
    }


def sv_values() -> dict[str, tuple[int, int]]:
    text = constants.layout_sv()
    found = {name: (32, int(value)) for name, value in SV_INT.findall(text)}
    for high, name, bits, value in SV_BITS.findall(text):
        assert int(high) + 1 == int(bits)
        found[name] = (int(bits), int(value, 16))
    return found


def test_both_languages_say_the_same():
    dslx, sv = dslx_values(), sv_values()
    assert len(dslx) > 100
    names = re.findall(r"localparam [^=]*?(\w+) =", constants.layout_sv())
    assert len(names) == len(set(names)) == len(sv)
    assert {name: sv[name] for name in dslx} == dslx
    structs = {f"{constants.snake(each.name)}_t_bits".upper() for each in STRUCTS}
    rest = {name for name in sv.keys() - dslx.keys() if not re.search("_(AT|BYTES)$", name)}
    assert rest == structs


def test_every_value_fits_its_bits():
    for name, (bits, value) in dslx_values().items():
        assert value < 1 << bits, name


@pytest.mark.parametrize(
    ("prefix", "message"),
    [
        ("itch50", ITCH50["add_order_with_mpid_attribution"]),
        ("itch50", ITCH50["order_replace"]),
        ("ouch50", OUCH50_INBOUND["enter_order"]),
        ("ouch42", OUCH42_INBOUND["enter_order"]),
        ("fix44", fix44.HEAD),
        ("fix44", fix_order.TERMS),
        ("frame", FRAME["ipv4"]),
        ("moldudp64", MOLDUDP64["downstream_packet"]),
    ],
    ids=lambda each: getattr(each, "name", each),
)
def test_offsets_are_the_tables(prefix, message):
    values = sv_values()
    for each in message.fields:
        name = f"{prefix}_{message.name}_{each.name}".upper()
        if each.is_variable:
            assert f"{name}_AT" not in values
        else:
            assert values[f"{name}_AT"] == (32, each.offset)
            assert values[f"{name}_BYTES"] == (32, each.size)
    assert values[f"{prefix}_{message.name}_LENGTH".upper()] == (32, message.length)


def test_lengths_by_type_are_the_tables():
    found = re.findall(r"8'h([0-9a-f]{2}): itch50_length = 8'd(\d+);", constants.layout_sv())
    assert {chr(int(code, 16)): int(length) for code, length in found} == {
        each.type: each.length for each in ITCH50.messages
    }


def test_slices_are_the_fields_from_the_end():
    text = constants.layout_dslx()
    price = ITCH50["order_replace"]["price"]
    low = 8 * (PROFILE.message_bytes - price.offset - price.size)
    whole = 8 * PROFILE.message_bytes
    assert (
        f"pub fn itch50_order_replace_price(m: uN[{whole}]) -> u32 {{ m[{low}:{low + 32}] }}"
        in text
    )


def test_order_ids_are_shifted_by_the_intents_of_a_message():
    assert 1 << dslx_values()["ORDER_ID_SHIFT"][1] == MAX_INTENTS


def test_structs_are_the_profiles_in_both_languages():
    dslx, sv = constants.layout_dslx(), constants.layout_sv()
    for struct in STRUCTS:
        body = re.search(rf"pub struct {struct.name} \{{(.*?)\}}", dslx, re.DOTALL)
        assert re.findall(r"(\w+): ", body[1]) == [name for name, _ in struct.fields]
        packed = re.search(
            rf"struct packed {{([^}}]*)}} {constants.snake(struct.name)}_t;", sv, re.DOTALL
        )
        assert re.findall(r"(\w+);", packed[1]) == [name for name, _ in struct.fields]


def test_codes_fit_their_bits():
    for codes, bits in ENUMS:
        assert max(codes) < 1 << bits
    assert bits_of("Sideband") == 128
    assert bits_of("Top") == 6 + 2 * (32 + PROFILE.level_bits) + 4 + bits_of("Sideband")
    assert dict(BY_NAME["Operation"].fields)["symbol"] == f"u{PROFILE.symbol_bits}"


def test_blank_messages_have_their_constant_bytes():
    values = dslx_values()
    tail = values["FIX44_TAIL"]
    assert tail == (8 * fix44.TAIL.length, int.from_bytes(fix.tail(), "big"))
    assert fix_order.terms().startswith(b"40=2\x0111=T") and fix_order.price().endswith(
        b".\0\0\0\0"
    )


def test_the_files_that_are_checked_in_are_current():
    for name, text in generate.constant_files().items():
        assert (generate.folder() / name).read_text() == text, "run: tickpath hdl build"
