"""TCP PITCH text as runs of messages: every line by hand, an oracle of slices, damage, windows."""

import ctypes
import gzip
import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pitch_messages
from pitch_messages import message
from strategies import REPEATABLE
from tickpath.capture import CaptureError, open_capture
from tickpath.capture.walk import RUN_BYTES
from tickpath.packet import LINK_PITCH
from tickpath.wire import pitch_ascii
from tickpath.wire.table import WireError

REAL = Path(__file__).parents[2] / "shared" / "data" / "pitch_ascii" / "bats_2008_first10000.txt"

BY_HAND = {
    b"28800011AK27GA0000DTSB000100SH    0000619200Y": message(
        "add_order_long",
        time_offset=11_000_000,
        order_id=int("K27GA0000DTS", 36),
        side_indicator="B",
        quantity=100,
        symbol="SH",
        price=619_200,
        add_order_flags=1,
    ),
    b"28800999d000000000ZZZS999999ZVZZT.WS9999999999NMPIDC": message(
        "add_order_expanded",
        time_offset=999_000_000,
        order_id=36**3 - 1,
        side_indicator="S",
        quantity=999_999,
        symbol_extended="ZVZZT.WS",
        price=9_999_999_999,
        participant_id="MPID",
        customer_indicator="C",
    ),
    b"28800000EZZZZZZZZZZZZ000001000000000001": message(
        "order_executed", order_id=36**12 - 1, executed_quantity=1, execution_id=1
    ),
    b"28800001X0000000000010000200": None,
    b"28800001X000000000001000200": message(
        "reduce_size_long", time_offset=1_000_000, order_id=1, canceled_quantity=200
    ),
    b"28800001P000000000001S000100ABCDEF0000012345000000000010": message(
        "trade_long",
        time_offset=1_000_000,
        order_id=1,
        side_indicator="S",
        quantity=100,
        symbol="ABCDEF",
        price=12_345,
        execution_id=36,
    ),
    b"28800001r000000000001S000100ABCDEFGH0000012345000000000010": message(
        "trade_expanded",
        time_offset=1_000_000,
        order_id=1,
        side_indicator="S",
        quantity=100,
        symbol_extended="ABCDEFGH",
        price=12_345,
        execution_id=36,
    ),
    b"28800001B00000000000Z": message("trade_break", time_offset=1_000_000, execution_id=35),
    b"28800001HABCDEFGHT1xy": message(
        "trading_status",
        time_offset=1_000_000,
        symbol_extended="ABCDEFGH",
        trading_status="T",
        reg_sho_action="1",
        padding="xy",
    ),
    b"28800001IABCD    C00000000010000000002000000000300000000040000000005": message(
        "auction_update",
        time_offset=1_000_000,
        symbol_extended="ABCD",
        auction_type="C",
        reference_price=1,
        buy_shares=2,
        sell_shares=3,
        indicative_price=4,
        auction_only_price=5,
    ),
    b"28800001JABCD    O00000000014294967295": message(
        "auction_summary",
        time_offset=1_000_000,
        symbol_extended="ABCD",
        auction_opening_type="O",
        price=1,
        shares_contracts=4_294_967_295,
    ),
    b"28800001JABCD    O00000000014294967296": None,
    b"28800001RABCD    A": message(
        "retail_price_improvement",
        time_offset=1_000_000,
        symbol="ABCD",
        retail_price_improvement="A",
    ),
}
TIME = message("time", time=28_800)
WHOLE = {line: said for line, said in BY_HAND.items() if said}
LENGTHS = {chr(line[8]): len(line) for line in WHOLE} | {"s": 17}


def read(path, content: bytes) -> tuple[bytes, dict[str, int], list[str]]:
    """All messages of a file with ``content``, what was counted, and the findings."""
    path.write_bytes(content)
    said = b""
    with open_capture(path) as capture:
        assert capture.kind == "pitch_ascii"
        for batch in capture.batches():
            for packet in batch:
                assert (packet["link"], packet["ts_recv"]) == (LINK_PITCH, 0)
                assert packet["length"] == packet["wire_length"] <= RUN_BYTES
                said += ctypes.string_at(int(packet["address"]), int(packet["length"]))
        counted = {name: count for name, count in capture.counters.items() if count}
        return said, counted, capture.findings


def digits(text: bytes) -> int:
    return int(text) if re.fullmatch(rb"[0-9]+", text) else -1


def expected(content: bytes) -> tuple[bytes, Counter]:
    """The messages of lines, by slices; what is wrong with the others."""
    said, second, wrong = [], None, Counter()
    for piece in filter(None, re.split(rb"[\r\n]", content)):
        text = piece.removeprefix(b"S")
        ms = digits(text[:8]) if len(text) > 8 else -1
        code = text[8:9].decode("latin-1")
        if not 0 <= ms < 86_400_000 or len(text) != LENGTHS.get(code, len(text)):
            wrong["lines_malformed"] += 1
        elif code not in LENGTHS:
            wrong["lines_unknown"] += 1
        elif code == "s":
            wrong["lines_symbol_clear"] += 1
        elif (raw := sliced(code, text, ms % 1000 * 1_000_000)) is None:
            wrong["lines_malformed"] += 1
        else:
            if ms // 1000 != second:
                second = ms // 1000
                said.append(message("time", time=second))
            said.append(raw)
    return b"".join(said), wrong


def sliced(code: str, text: bytes, offset: int) -> bytes | None:
    """The message of a whole line of the types that real files have, else from `BY_HAND`."""
    if code not in "AXEPB":
        known = WHOLE[text]
        return known[:2] + offset.to_bytes(4, "little") + known[6:]
    identifiers = [text[9:21], *{"E": [text[27:39]], "P": [text[44:56]]}.get(code, [])]
    numbers = {"A": [text[22:28], text[34:44]], "P": [text[22:28], text[34:44]], "B": [b"0"]}.get(
        code, [text[21:27]]
    )
    if not all(re.fullmatch(rb"[0-9A-Z]{12}", each) for each in identifiers):
        return None
    if min(map(digits, numbers)) < 0:
        return None
    order = {"time_offset": offset, "order_id": int(identifiers[0], 36)}
    if code == "B":
        return message("trade_break", time_offset=offset, execution_id=order["order_id"])
    if code == "X":
        return message("reduce_size_long", **order, canceled_quantity=int(numbers[0]))
    if code == "E":
        execution = {"execution_id": int(identifiers[1], 36)}
        return message("order_executed", **order, executed_quantity=int(numbers[0]), **execution)
    order |= {
        "side_indicator": text[21:22],
        "quantity": int(numbers[0]),
        "symbol": text[28:34],
        "price": int(numbers[1]),
    }
    if code == "A":
        return message("add_order_long", **order, add_order_flags=text[44:45] == b"Y")
    return message("trade_long", **order, execution_id=int(identifiers[1], 36))


@pytest.mark.parametrize("line", BY_HAND, ids=lambda each: each[8:9].decode())
@pytest.mark.parametrize("mark", [b"", b"S"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b""])
def test_lines_by_hand(tmp_path, line, mark, end):
    first = b"28800000R        N"
    start = TIME + message("retail_price_improvement", retail_price_improvement="N")
    said, counted, findings = read(tmp_path / "a", first + b"\n" + mark + line + end)
    if BY_HAND[line] is None:
        assert (said, counted["lines_malformed"]) == (start, 1)
        assert findings == [f"{tmp_path / 'a'}: lines that are no PITCH line: 1"]
    else:
        assert said == start + BY_HAND[line]
        assert counted == {"packets": 1, "bytes": len(said)} and findings == []


def test_a_line_is_what_the_table_encodes():
    for text in WHOLE:
        fields = pitch_ascii.PITCH_ASCII.decode(text)
        name = fields.pop("message")
        assert pitch_ascii.line(name, **fields) == text
    assert pitch_ascii.line("trade_break", timestamp=1, execution_id=37) == b"00000001B000000000011"
    with pytest.raises(WireError, match="identifiers take 12 characters"):
        pitch_ascii.line("trade_break", execution_id=36**12)


def test_time_is_said_when_its_second_changes(tmp_path):
    lines = [b"28800999", b"28801000", b"28801001", b"28800500", b"00000000", b"86399999"]
    said, *_ = read(tmp_path / "a", b"".join(each + b"B00000000000Z\n" for each in lines))
    found = [pitch_messages.read(each) for each in pitch_messages.split(said)]
    assert [each.time if each.name == "time" else each.time_offset for each in found] == [
        *(28_800, 999_000_000, 28_801, 0, 1_000_000, 28_800, 500_000_000, 0, 0),
        *(86_399, 999_000_000),
    ]


def test_lines_that_are_none(tmp_path):
    content = b"\n".join([
        *(b"28800001B00000000000Z",) * 9,
        b"28800001B00000000000",  # short
        b"28800001B00000000000ZZ",  # long
        b"28800001B0000000000-Z",
        b"28800001B00000000000z",
        b"2880 001B00000000000Z",
        b"86400000B00000000000Z",  # tomorrow
        b"28800001",
        b"S",
        b"SS28800001B00000000000Z",
        b"28800001ZWHAT",  # a type that is not known
        b"28800001sABCD    ",
        b"x" * 70,
        b"x" * 71,
        b"x" * 500,
        b"",
        b"28800002B00000000000Z",
    ])  # fmt: skip
    said, counted, findings = read(tmp_path / "a", content)
    assert (said, Counter({k: v for k, v in counted.items() if k.startswith("lines")})) == (
        expected(content)
    )
    assert {name: counted[name] for name in counted if name.startswith("lines")} == {
        "lines_malformed": 12,
        "lines_unknown": 1,
        "lines_symbol_clear": 1,
    }
    assert [each.removeprefix(f"{tmp_path / 'a'}: ") for each in findings] == [
        "lines that are no PITCH line: 12",
        "lines that are of a type that is not known: 1",
        "lines that are a symbol's clearing, which binary PITCH cannot say: its orders stayed: 1",
    ]


GOOD = [*WHOLE, b"28805001AK27GA0000DTSB000100SH    0000619200N", b"28800001sABCD    "]


@given(
    lines=st.lists(st.sampled_from(GOOD), min_size=4, max_size=12),
    changes=st.lists(
        st.tuples(st.integers(0, 2_000), st.sampled_from(b"\n\rSAXEP09 Zz\0\xff")), max_size=3
    ),
    compress=st.booleans(),
)
@REPEATABLE
def test_damaged_files_are_read_as_the_oracle_does(tmp_path_factory, lines, changes, compress):
    steady = b"28800001X000000000001000200\n" * 20
    body = bytearray(b"\n".join(each for each in lines if each[8:9] in b"AXEPBs"))
    for at, value in changes:
        if body:
            body[at % len(body)] = value
    content = steady + body
    path = tmp_path_factory.mktemp("lines") / "a"
    stored = gzip.compress(content) if compress else content
    said, counted, _ = read(path, stored)
    wrong = Counter({name: n for name, n in counted.items() if name.startswith("lines")})
    assert (said, wrong) == expected(content)


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["mapped", "streamed"])
def test_windows_do_not_show(tmp_path, pack):
    """A file of several windows and runs, with things longer than a window that are no lines."""
    lines = [*WHOLE, b"28800001B0000000000-Z", b"28800001ZWHAT"]
    lines = [lines[number * 7 % len(lines)] for number in range(140_000)]
    lines[70_000] = b"y" * (5 << 20)
    lines[100_000] = b"28800000" + b"A" * (1 << 20)
    content = b"\n".join(lines)
    said, counted, _ = read(tmp_path / "a", pack(content))
    assert counted["packets"] >= 4
    wrong = Counter({name: n for name, n in counted.items() if name.startswith("lines")})
    assert (said, wrong) == expected(content)


@pytest.mark.parametrize(
    "content",
    [
        b"hello, world\n",
        b"28800001\n",
        b"28800001ZWHAT\n",
        b"28800001B00000000000Z\nno\nno\n",
        b"28800001B00000000000ZZ\n",
    ],
)
def test_text_that_is_not_pitch(tmp_path, content):
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(CaptureError, match="is no capture that is known"):
        open_capture(tmp_path / "a")


@pytest.mark.skipif(not REAL.is_file(), reason="real text (../shared/data) is not here")
def test_real_lines(tmp_path):
    content = REAL.read_bytes()
    said, counted, findings = read(tmp_path / "a", content)
    assert (said, Counter()) == expected(content)
    assert findings == [] and counted == {"packets": 1, "bytes": len(said)}
    names = Counter(pitch_messages.read(each).name for each in pitch_messages.split(said))
    assert names.pop("time") < 100
    assert names == {
        "add_order_long": 5313,
        "reduce_size_long": 4663,
        "order_executed": 11,
        "trade_long": 13,
    }
