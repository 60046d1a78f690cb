"""`tickpath decode` of PITCH: against the tables, the spec's CSV read apart, and bytes by hand."""

import csv
import io
import json
import struct
from decimal import Decimal
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import itch_messages
import pitch_messages
from strategies import REPEATABLE, message_values
from tickpath.capture import create_capture
from tickpath.cli import main
from tickpath.decode import Decoder, Summary, decode_capture
from tickpath.packet import LINK_ETHERNET, LINK_PITCH
from tickpath.wire.pitch241 import PITCH241

SHARED = Path(__file__).parents[2] / "shared"
REAL = sorted((SHARED / "data" / "cboe_pitch").glob("*.pcap"))
MESSAGES = [each for each in PITCH241.messages if each.type]

TIME = pitch_messages.message("time", time=34_200)
ADD = pitch_messages.message(
    "add_order_short",
    time_offset=17,
    order_id=1 << 60,
    side_indicator="S",
    quantity_short=300,
    symbol="ZVZZT",
    price_short=1234,
    add_order_flags=1,
)
END = pitch_messages.message("end_of_session", timestamp=5)


def decoded(packets, as_json=True, feed="auto") -> tuple[list, Summary]:
    """The lines (JSON parsed) and the summary of (link, bytes) packets."""
    summary = Summary()
    decoder = Decoder(as_json, summary, feed)
    lines = [line for link, packet in packets for line in decoder.packet(link, packet)]
    assert all(line.endswith("\n") and line.count("\n") == 1 for line in lines)
    assert summary.lines == len(lines)
    return [json.loads(line) if as_json else line for line in lines], summary


def ethernet(payload: bytes) -> tuple[int, bytes]:
    return LINK_ETHERNET, pitch_messages.frame(payload)


@pytest.mark.parametrize("message", MESSAGES, ids=lambda each: each.name)
@given(data=st.data())
@REPEATABLE
def test_json_line_is_the_message(message, data):
    values = data.draw(message_values(message, PITCH241)) | {"message_length": message.length}
    raw = message.encode(**values)
    ((line,), summary) = decoded([ethernet(pitch_messages.unit([raw], unit=200, sequence=9))])
    assert list(line) == ["seq", "message", "unit", *(each.name for each in message.fields)]
    assert (line["seq"], line["message"], line["unit"]) == (9, message.name, 200)
    again = {
        each.name: Decimal(line[each.name]) if each.decimals else line[each.name]
        for each in message.fields
    }
    assert message.encode(**again) == raw
    assert (summary.messages, summary.counters) == (1, {"packets": 1})


def test_numbers_of_a_packet_and_of_a_run():
    packet = ethernet(pitch_messages.unit([TIME, ADD, END], unit=3, sequence=70))
    lines, _ = decoded([packet, (LINK_PITCH, TIME + ADD)])
    assert [(each["seq"], each["unit"], each["message"]) for each in lines] == [
        (70, 3, "time"),
        (71, 3, "add_order_short"),
        (72, 3, "end_of_session"),
        (4, None, "time"),
        (5, None, "add_order_short"),
    ]


def test_packet_without_a_sequence():
    lines, _ = decoded([ethernet(pitch_messages.unit([TIME, ADD], sequence=0))])
    assert [each["seq"] for each in lines] == [None, None]


def test_text():
    packet = ethernet(pitch_messages.unit([ADD, END], unit=3, sequence=70))
    lines, _ = decoded([packet, (LINK_PITCH, ADD)], as_json=False)
    assert " ".join(lines[0].split()) == (
        "70 add_order_short unit=3 message_length=26 message_type=34 time_offset=17 "
        "order_id=1152921504606846976 side_indicator=S(sell_order) quantity_short=300 "
        "symbol=ZVZZT price_short=12.34 add_order_flags=1"
    )
    assert lines[1].endswith(" timestamp=5\n")
    assert " unit=- " in lines[2]


def test_heartbeat_and_what_follows_a_message():
    longer = bytes((len(ADD) + 3,)) + ADD[1:] + b"new"
    payload = pitch_messages.unit([longer, b"\x03\x99x", ADD[:1] + b"\x22", TIME], sequence=1)
    payload = payload.replace(ADD[:1] + b"\x22" + TIME, b"\x02\x22" + TIME)
    lines, summary = decoded([ethernet(pitch_messages.unit([], sequence=9)), ethernet(payload)])
    assert [each["message"] for each in lines] == [
        "add_order_short",
        "unknown",
        "malformed",
        "time",
    ]
    assert lines[0]["order_id"] == 1 << 60 and lines[0]["add_order_flags"] == 1
    assert lines[1] == {
        "seq": 2,
        "message": "unknown",
        "unit": 1,
        "reason": "pitch241 has no message type 0x99",
        "hex": "039978",
    }
    assert lines[2]["reason"] == "add_order_short takes 26 bytes, got 2"
    assert summary.counters == {"packets": 2, "heartbeats": 1, "messages_longer": 1}
    assert (summary.messages, summary.unknown, summary.malformed) == (2, 1, 1)


@pytest.mark.parametrize("wrong", [b"", b"\x1a", b"\x01\x20", ADD[:-1], b"\x00\x22" + ADD[2:]])
def test_messages_that_are_not_whole(wrong):
    payload = pitch_messages.unit([TIME, wrong], sequence=5, number=3)
    lines, summary = decoded([ethernet(payload)])
    assert [each["message"] for each in lines] == ["time", "malformed"]
    assert lines[1]["seq"] == 6
    assert lines[1]["reason"] == "2 of the packet's 3 messages are not whole"
    assert lines[1]["hex"] == wrong.hex()
    assert summary.counters == {"packets": 1, "unit_truncated": 1}
    ((first, second), _) = decoded([(LINK_PITCH, TIME + (wrong or b"\x01"))])
    assert (first["message"], second["reason"]) == ("time", "the message is not whole")


def test_bytes_behind_the_last_message():
    (_, summary) = decoded([ethernet(pitch_messages.unit([TIME, ADD], number=1))])
    assert summary.counters == {"packets": 1, "unit_trailing_bytes": len(ADD)}
    padded = pitch_messages.unit([TIME]) + b"xyz"
    lines, summary = decoded([ethernet(padded)], feed="pitch")
    assert [each["message"] for each in lines] == ["time"]
    assert summary.counters == {"packets": 1, "unit_trailing_bytes": 3}


@pytest.mark.parametrize("payload", [b"", bytes(7), bytes(8), struct.pack("<HBBI", 30, 1, 1, 1)])
def test_packets_that_are_no_sequenced_unit(payload):
    ((line,), summary) = decoded([ethernet(payload)], feed="pitch")
    assert (line["message"], line["seq"], line["unit"]) == ("malformed", None, None)
    assert line["hex"] == payload.hex()
    assert summary.counters == {"packets": 1, "unit_invalid": 1}


def test_both_feeds_are_told_apart():
    itch = itch_messages.message("D", 1, 5, ref=7)
    packets = [
        (LINK_ETHERNET, itch_messages.packets([itch], 1)[0]),
        ethernet(pitch_messages.unit([TIME])),
    ]
    lines, summary = decoded(packets)
    assert [each["message"] for each in lines] == ["order_delete", "time"]
    assert summary.counters == {"packets": 2}
    lines, summary = decoded(packets, feed="pitch")
    assert [each["message"] for each in lines] == ["malformed", "time"]
    lines, summary = decoded(packets, feed="itch50")
    assert [each["message"] for each in lines] == ["order_delete", "malformed"]


@given(payload=st.binary(max_size=80), link=st.sampled_from([LINK_ETHERNET, LINK_PITCH]))
@REPEATABLE
def test_any_bytes_are_lines_or_counters(payload, link):
    packet = pitch_messages.frame(payload) if link == LINK_ETHERNET else payload
    lines, summary = decoded([(link, packet)], feed="pitch")
    assert lines or summary.counters["packets"] or not payload


def test_command(tmp_path):
    path = tmp_path / "day.pcapng"
    with create_capture(path) as writer:
        writer.write_bytes(pitch_messages.frame(pitch_messages.unit([TIME, ADD, END], unit=4)))
    run = CliRunner().invoke(main, ["decode", str(path), "--feed", "pitch", "--json"])
    assert run.exit_code == 0
    assert [json.loads(line)["message"] for line in run.stdout.splitlines()] == [
        "time",
        "add_order_short",
        "end_of_session",
    ]
    run = CliRunner().invoke(main, ["decode", str(path), "--feed", "boe"])
    assert run.exit_code == 2


# ---------------------------------------------------------------- real captures


def read_apart(payload: bytes) -> list[dict]:
    """The messages of a Sequenced Unit packet, by the spec's CSV and `struct` alone."""
    with (SHARED / "specs" / "pitch241.csv").open() as file:
        rows = list(csv.DictReader(file))
    length, count, unit, sequence = struct.unpack_from("<HBBI", payload)
    assert length == len(payload)
    found, at = [], 8
    for number in range(count):
        fields = [row for row in rows if row["type"] and int(row["type"], 16) == payload[at + 1]]
        line = {"seq": sequence + number, "message": fields[0]["message"], "unit": unit}
        for row in fields:
            begin, size = at + int(row["offset"]), int(row["size"])
            raw = payload[begin : begin + size]
            kind, _, scale = row["kind"].partition("/1e")
            if kind == "ascii":
                line[row["field"]] = raw.decode().rstrip()
            else:
                value = int.from_bytes(raw, "little")
                scaled = Decimal(value).scaleb(-int(scale or 0))
                line[row["field"]] = str(scaled) if scale else value
        found.append(line)
        at += payload[at]
    assert at == len(payload)
    return found


@pytest.mark.skipif(not REAL, reason="real captures (../shared/data) are not here")
@pytest.mark.parametrize("path", REAL, ids=lambda each: each.stem)
def test_real_captures_decode_field_by_field(path):
    scapy = pytest.importorskip("scapy.all", reason="scapy is not installed")
    expected = [
        line
        for frame in scapy.rdpcap(str(path))
        for line in read_apart(bytes(frame[scapy.UDP].payload)[: frame[scapy.UDP].len - 8])
    ]
    out = io.StringIO()
    summary = decode_capture(path, out, as_json=True)
    assert [json.loads(line) for line in out.getvalue().splitlines()] == expected != []
    assert (summary.unknown, summary.malformed, summary.findings) == (0, 0, [])
