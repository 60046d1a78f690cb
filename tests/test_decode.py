"""`tickpath decode`: its lines against the tables, Wireshark, and packets built by hand."""

import io
import json
import shutil
import struct
import subprocess
from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies import REPEATABLE, message_values
from tickpath.capture import CaptureError
from tickpath.decode import (
    MAX_FLOWS,
    MAX_SESSIONS,
    OTHER_SESSIONS,
    Decoder,
    Summary,
    decode_capture,
)
from tickpath.decode_line import message_lines
from tickpath.packet import (
    LINK_ETHERNET,
    LINK_IPV4,
    LINK_LINUX_SLL,
    LINK_LINUX_SLL2,
    LINK_MESSAGES,
    LINK_RAW,
)
from tickpath.wire import appendage, soupbintcp
from tickpath.wire.itch50 import ITCH50
from tickpath.wire.moldudp64 import END_OF_SESSION, HEARTBEAT, MOLDUDP64
from tickpath.wire.ouch42 import OUCH42_INBOUND, OUCH42_OUTBOUND
from tickpath.wire.ouch50 import OUCH50_INBOUND, OUCH50_OUTBOUND

DATA = Path(__file__).parents[2] / "shared" / "data"
REAL = sorted((DATA / "nasdaq_itch50").glob("*.pcap"))
needs_data = pytest.mark.skipif(not REAL, reason="real captures (../shared/data) are not here")
TSHARK = shutil.which("tshark")
needs_tshark = pytest.mark.skipif(TSHARK is None, reason="tshark is not installed (Debian: tshark)")
scapy = pytest.importorskip("scapy.all", reason="scapy is not installed")

ADD = ITCH50["add_order_no_mpid_attribution"].encode(
    stock_locate=13,
    timestamp=34_200_000_000_001,
    order_reference_number=7,
    buy_sell_indicator="B",
    shares=100,
    stock="AAPL",
    price=Decimal("12.34"),
)
MACS = {"dst": "01:00:5e:36:0c:6f", "src": "02:00:00:00:00:01"}
ETHER = scapy.Ether(**MACS)
DELETE = ITCH50["order_delete"].encode(stock_locate=13, order_reference_number=7)
DECLINE = ITCH50["mwcb_decline_level"].encode(level_1=Decimal("1.00000001"), level_2=2, level_3=3)


def decoded(packets, as_json=True) -> tuple[list, Summary]:
    """The lines (JSON parsed) and the summary of (link, bytes) packets."""
    summary = Summary()
    decoder = Decoder(as_json, summary)
    lines = [line for link, packet in packets for line in decoder.packet(link, packet)]
    assert all(line.endswith("\n") and line.count("\n") == 1 for line in lines)
    assert summary.lines == len(lines)
    return [json.loads(line) if as_json else line for line in lines], summary


def file_decoded(path, **arguments) -> tuple[list[dict], Summary]:
    out = io.StringIO()
    summary = decode_capture(path, out, as_json=True, **arguments)
    return [json.loads(line) for line in out.getvalue().splitlines()], summary


def daily(*messages: bytes) -> bytes:
    return b"".join(struct.pack(">H", len(each)) + each for each in messages)


def mold(*messages: bytes, seq=1, session="SESSION001", count=None) -> bytes:
    header = MOLDUDP64["downstream_packet"].encode(
        session=session,
        sequence_number=seq,
        message_count=len(messages) if count is None else count,
    )
    return header + daily(*messages)


def datagram(payload: bytes, **ip):
    return scapy.IP(src="10.0.0.1", dst="233.54.12.111", **ip) / scapy.UDP(
        sport=10_000, dport=26_477
    ) / scapy.Raw(payload)  # fmt: skip


def ethernet(payload: bytes) -> bytes:
    return bytes(ETHER / datagram(payload))


def rebuilt(line: dict) -> bytes:
    """The bytes of an ITCH message from its JSON line alone."""
    message = ITCH50[line["message"]]
    return message.encode(**{
        name: Decimal(value) if message[name].decimals else value
        for name, value in line.items()
        if name not in ("seq", "message")
    })  # fmt: skip


# ---------------------------------------------------------------- lines and the tables


@pytest.mark.parametrize("message", ITCH50.messages, ids=lambda each: each.name)
@given(data=st.data())
@REPEATABLE
def test_json_line_is_the_message(message, data):
    raw = message.encode(**data.draw(message_values(message, ITCH50)))
    ((line,), summary) = decoded([(LINK_MESSAGES, daily(raw))])
    expected = message.decode(raw)
    assert list(line) == ["seq", "message", *(each.name for each in message.fields)]
    assert (line.pop("seq"), line.pop("message")) == (1, message.name)
    for name, value in expected.items():
        if isinstance(value, Decimal):
            assert line[name] == f"{value:.{message[name].decimals}f}"
        else:
            assert line[name] == (value.strip(" ") if isinstance(value, str) else value)
    assert (summary.messages, summary.unknown, summary.malformed) == (1, 0, 0)


@pytest.mark.parametrize("message", ITCH50.messages, ids=lambda each: each.name)
@given(data=st.data())
@REPEATABLE
def test_text_line_names_every_field(message, data):
    raw = message.encode(**data.draw(message_values(message, ITCH50)))
    ((line,), _) = decoded([(LINK_MESSAGES, daily(raw))], as_json=False)
    assert line.split()[:2] == ["1", message.name]
    at = [line.index(f" {each.name}=") for each in message.fields]
    assert at == sorted(at)
    assert line[:-1].isascii() and line[:-1].isprintable()


def test_text_lines_by_hand():
    lines, _ = decoded([(LINK_MESSAGES, daily(ADD, DECLINE, b"?", ADD[:-1]))], as_json=False)
    assert lines == [
        "         1 add_order_no_mpid_attribution    message_type=A stock_locate=13"
        " tracking_number=0 timestamp=09:30:00.000000001 order_reference_number=7"
        " buy_sell_indicator=B(buy) shares=100 stock=AAPL price=12.3400\n",
        "         2 mwcb_decline_level               message_type=V stock_locate=0"
        " tracking_number=0 timestamp=00:00:00.000000000 level_1=1.00000001"
        " level_2=2.00000000 level_3=3.00000000\n",
        "         3 unknown                          itch50 has no message type '?': 3f\n",
        "         4 malformed                        add_order_no_mpid_attribution takes 36 bytes,"
        f" got 35: {ADD[:-1].hex()}\n",
    ]


def test_text_that_would_disturb_the_line_is_quoted():
    raw = ITCH50["order_cancel"].encode()[:1] + ADD[1:]
    odd = ADD.replace(b"AAPL    ", b"A\n\x1b B\xff  ")
    ((line,), _) = decoded([(LINK_MESSAGES, daily(odd))], as_json=False)
    assert r' stock="A\n\u001b B\u00ff" price=' in line
    ((line,), _) = decoded([(LINK_MESSAGES, daily(odd))])
    assert line["stock"] == "A\n\x1b B\xff"
    ((line,), summary) = decoded([(LINK_MESSAGES, daily(raw))])
    assert (line["message"], summary.malformed) == ("malformed", 1)


def test_blank_code_has_a_meaning_and_an_unknown_one_none():
    raw = ITCH50["stock_directory"].encode(market_category=" ", ipo_flag="?")
    ((line,), _) = decoded([(LINK_MESSAGES, daily(raw))], as_json=False)
    assert " market_category=(na) " in line
    assert " ipo_flag=? " in line


# ---------------------------------------------------------------- what is no message


def test_unknown_and_malformed_messages_are_lines_and_counts():
    run = daily(ADD, b"?xyz", DELETE + b"\0", b"", DELETE)
    lines, summary = decoded([(LINK_MESSAGES, run)])
    assert [(each["seq"], each["message"], each.get("hex")) for each in lines] == [
        (1, "add_order_no_mpid_attribution", None),
        (2, "unknown", b"?xyz".hex()),
        (3, "malformed", (DELETE + b"\0").hex()),
        (4, "unknown", ""),
        (5, "order_delete", None),
    ]
    assert lines[2]["reason"] == "order_delete takes 19 bytes, got 20"
    assert (summary.messages, summary.unknown, summary.malformed) == (2, 2, 1)


@pytest.mark.parametrize("cut", range(1, 2 + len(DELETE)))
def test_run_that_is_cut(cut):
    lines, summary = decoded([(LINK_MESSAGES, daily(ADD) + daily(DELETE)[:cut])])
    assert [each["message"] for each in lines] == ["add_order_no_mpid_attribution", "malformed"]
    assert lines[1]["hex"] == daily(DELETE)[:cut].hex()
    assert (summary.messages, summary.malformed) == (1, 1)


@pytest.mark.parametrize("cut", range(len(daily(ADD))))
def test_moldudp64_packet_that_is_cut(cut):
    packet = mold(DELETE, ADD, ADD, seq=5)
    whole = len(mold(DELETE))
    lines, summary = decoded([(LINK_RAW, bytes(datagram(packet[: whole + cut])))])
    assert [(each["seq"], each["message"]) for each in lines] == [
        (5, "order_delete"),
        (6, "malformed"),
    ]
    assert lines[1]["reason"] == "2 of the packet's 3 messages are not whole"
    assert lines[1]["hex"] == packet[whole : whole + cut].hex()
    assert summary.counters == {"packets": 1, "mold_truncated": 1}


def test_datagram_too_short_for_moldudp64():
    ((line,), summary) = decoded([(LINK_RAW, bytes(datagram(b"hello")))])
    assert line == {
        "seq": None,
        "message": "malformed",
        "reason": "a MoldUDP64 packet takes 20 bytes, got 5",
        "hex": b"hello".hex(),
    }
    assert summary.counters == {"packets": 1, "mold_invalid": 1}
    ((line,), _) = decoded([(LINK_RAW, bytes(datagram(b"hello")))], as_json=False)
    assert line.startswith("         - malformed  ")


def test_moldudp64_packets_without_messages_are_counted():
    carried = [
        mold(count=HEARTBEAT),
        mold(count=END_OF_SESSION),
        mold(count=7),  # a request: the header alone
        mold(DELETE) + b"\0\0\0",
    ]
    lines, summary = decoded([(LINK_RAW, bytes(datagram(each))) for each in carried])
    assert [each["message"] for each in lines] == ["order_delete"]
    assert summary.counters == {
        "packets": 4,
        "heartbeats": 1,
        "end_of_session": 1,
        "mold_requests": 1,
        "mold_trailing_bytes": 3,
    }
    assert summary.sessions == {"SESSION001": 1}


def test_sessions_are_bounded():
    packets = [mold(DELETE, session=f"S{number}") for number in range(MAX_SESSIONS + 9)]
    _, summary = decoded([(LINK_RAW, bytes(datagram(each))) for each in packets])
    assert len(summary.sessions) == MAX_SESSIONS + 1
    assert summary.sessions[OTHER_SESSIONS] == 9
    assert summary.sessions.total() == MAX_SESSIONS + 9


# ---------------------------------------------------------------- frames

UDP = datagram(mold(ADD, DELETE, seq=41))
TAG = scapy.Dot1Q(vlan=5)
FRAMES = {
    "ethernet": (LINK_ETHERNET, ETHER / UDP),
    "padded": (LINK_ETHERNET, ETHER / UDP / scapy.Padding(b"\xee" * 9)),
    "vlan": (LINK_ETHERNET, ETHER / TAG / UDP),
    "qinq": (LINK_ETHERNET, ETHER / scapy.Dot1AD(vlan=9) / TAG / UDP),
    "qinq_old": (LINK_ETHERNET, scapy.Ether(**MACS, type=0x9100) / TAG / UDP),
    "four_tags": (LINK_ETHERNET, ETHER / TAG / TAG / TAG / TAG / UDP),
    "ip_options": (
        LINK_ETHERNET,
        ETHER / datagram(mold(ADD, DELETE, seq=41), options=[scapy.IPOption_NOP()] * 8),
    ),
    "raw": (LINK_RAW, UDP),
    "ipv4": (LINK_IPV4, UDP),
    "sll": (LINK_LINUX_SLL, scapy.CookedLinux(proto=0x0800) / UDP),
    "sll_vlan": (LINK_LINUX_SLL, scapy.CookedLinux(proto=0x8100) / TAG / UDP),
    "sll2": (LINK_LINUX_SLL2, scapy.CookedLinuxV2(proto=0x0800) / UDP),
}


@pytest.mark.parametrize("name", FRAMES)
def test_frames_that_carry_messages(name):
    link, packet = FRAMES[name]
    lines, summary = decoded([(link, bytes(packet))])
    assert [(each["seq"], rebuilt(each)) for each in lines] == [(41, ADD), (42, DELETE)]
    assert summary.counters == {"packets": 1}


def _changed(packet: bytes, at: int, value: int) -> bytes:
    return packet[:at] + bytes([value]) + packet[at + 1 :]


_IP = bytes(UDP)
PASSED_OVER = {
    "link_unknown": [(147, b"anything")],
    "frame_truncated": [
        (LINK_ETHERNET, bytes(13)),
        (LINK_ETHERNET, bytes(12) + b"\x81\x00\x00"),
        (LINK_LINUX_SLL, bytes(15)),
        (LINK_LINUX_SLL2, bytes(19)),
        (LINK_RAW, b""),
        (LINK_RAW, _IP[:19]),
        (LINK_RAW, _IP[:-1]),
    ],
    "ether_type_other": [
        (LINK_ETHERNET, bytes(ETHER / scapy.ARP())),
        (LINK_ETHERNET, bytes(ETHER / TAG / TAG / TAG / TAG / TAG / UDP)),
        (LINK_RAW, _changed(_IP, 0, 0x55)),
    ],
    "ipv6": [
        (LINK_ETHERNET, bytes(ETHER / scapy.IPv6() / scapy.UDP())),
        (LINK_RAW, bytes(scapy.IPv6() / scapy.UDP())),
    ],
    "ipv4_invalid": [
        (LINK_RAW, _changed(_IP, 0, 0x44)),
        (LINK_RAW, _changed(_changed(_IP, 2, 0), 3, 19)),
        (LINK_ETHERNET, bytes(scapy.Ether(**MACS, type=0x0800)) + _changed(_IP, 0, 0x65)),
    ],
    "ipv4_fragment": [
        (LINK_RAW, bytes(datagram(mold(ADD), flags="MF"))),
        (LINK_RAW, bytes(datagram(mold(ADD), frag=3))),
    ],
    "ip_protocol_other": [(LINK_RAW, bytes(scapy.IP() / scapy.ICMP()))],
    "udp_invalid": [
        (LINK_RAW, bytes(scapy.IP(proto=17) / scapy.Raw(bytes(7)))),
        (LINK_RAW, bytes(scapy.IP() / scapy.UDP(len=7))),
        (LINK_RAW, bytes(scapy.IP() / scapy.UDP(len=9))),
    ],
    "tcp_invalid": [
        (LINK_RAW, bytes(scapy.IP(proto=6) / scapy.Raw(bytes(19)))),
        (LINK_RAW, bytes(scapy.IP() / scapy.TCP(dataofs=4))),
        (LINK_RAW, bytes(scapy.IP() / scapy.TCP(dataofs=6))),
    ],
}


@pytest.mark.parametrize("reason", PASSED_OVER)
def test_packets_that_are_passed_over(reason):
    lines, summary = decoded(PASSED_OVER[reason])
    assert lines == []
    assert summary.counters == {
        "packets": len(PASSED_OVER[reason]),
        reason: len(PASSED_OVER[reason]),
    }


@given(
    link=st.sampled_from([LINK_ETHERNET, LINK_RAW, LINK_LINUX_SLL, LINK_LINUX_SLL2, LINK_MESSAGES]),
    changes=st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=6),
    cut=st.integers(0, 200),
    as_json=st.booleans(),
)
@REPEATABLE
def test_any_bytes_are_lines_or_counters(link, changes, cut, as_json):
    frames = {LINK_ETHERNET: ethernet(mold(ADD, DELETE)), LINK_RAW: _IP}
    packet = bytearray(frames.get(link, daily(ADD, DELETE) + bytes(40)))
    for at, value in changes:
        packet[at % len(packet)] = value
    lines, summary = decoded([(link, bytes(packet[: cut or None]))], as_json)
    counted = sum(summary.counters.values()) - summary.counters["packets"]
    assert lines or counted or link == LINK_MESSAGES


# ---------------------------------------------------------------- SoupBinTCP

ENTER_50 = appendage.encode_message(
    OUCH50_INBOUND["enter_order"], {"firm": "LIME", "tag_99": b"\xab"}, user_ref_num=1, symbol="A"
)
ENTER_42 = OUCH42_INBOUND["enter_order"].encode(order_token="T0000000000001", shares=100)
CANCELED_50 = OUCH50_OUTBOUND["canceled"].encode(user_ref_num=1, cancel_order_reason="U")
EXECUTED_42 = OUCH42_OUTBOUND["executed"].encode(execution_price=Decimal("1.5"))


def soup(kind: str, *messages: bytes) -> bytes:
    return b"".join(soupbintcp.packet(kind, message=each) for each in messages)


def segments(*chunks: bytes, seq=1000, sport=40_000, **tcp) -> list[tuple[int, bytes]]:
    """In-order segments of one flow."""
    packets = []
    for chunk in chunks:
        header = scapy.TCP(sport=sport, dport=8000, seq=seq % (1 << 32), flags="PA", **tcp)
        packets.append((LINK_RAW, bytes(scapy.IP() / header / scapy.Raw(chunk))))
        seq += len(chunk)
    return packets


def test_ouch_of_both_versions_and_directions():
    chunks = [
        soup("unsequenced_data", ENTER_50, ENTER_42),
        soup("sequenced_data", CANCELED_50, EXECUTED_42, ADD, b"?", CANCELED_50[:-1])
        + soupbintcp.packet("server_heartbeat"),
    ]
    lines, summary = decoded(segments(*chunks))
    assert [(each["seq"], each["message"]) for each in lines] == [
        (1, "enter_order"),
        (2, "enter_order"),
        (3, "canceled"),
        (4, "executed"),
        (5, "add_order_no_mpid_attribution"),
        (6, "unknown"),
        (7, "malformed"),
    ]
    assert lines[0]["enter_order_appendage"] == {"firm": "LIME", "tag_99": "ab"}
    assert lines[0]["user_ref_num"] == 1 and "order_token" not in lines[0]
    assert lines[1]["order_token"] == "T0000000000001"
    assert lines[3]["execution_price"] == "1.5000"
    assert lines[6]["reason"] == "canceled takes 18 bytes, got 17"
    assert summary.counters == {
        "packets": 2,
        "unknown_option": 1,
        "soupbintcp_server_heartbeat": 1,
    }


def test_ouch_as_text():
    lines, _ = decoded(segments(soup("unsequenced_data", ENTER_50)), as_json=False)
    assert lines[0].endswith(" appendage_length=9 enter_order_appendage={firm=LIME tag_99=ab}\n")
    wrong = OUCH50_INBOUND["enter_order"].encode(appendage_length=1, enter_order_appendage=b"\x00")
    lines, summary = decoded(segments(soup("unsequenced_data", wrong)), as_json=False)
    assert " malformed " in lines[0] and "element of length 0" in lines[0]
    assert summary.malformed == 1


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50])
def test_packets_that_span_segments(size):
    stream = soup("unsequenced_data", *[ENTER_50] * 4) + soupbintcp.packet("client_heartbeat")
    chunks = [stream[at : at + size] for at in range(0, len(stream), size)]
    lines, summary = decoded(segments(*chunks, seq=(1 << 32) - 60))  # the number wraps
    assert [each["message"] for each in lines] == ["enter_order"] * 4
    assert summary.counters["soupbintcp_client_heartbeat"] == 1
    assert "tcp_not_soupbintcp" not in summary.counters


def test_segments_sent_twice_and_overlapping():
    one, two = soup("unsequenced_data", ENTER_50), soup("unsequenced_data", ENTER_42)
    first, second = segments(one, two)
    (overlapping,) = segments(one[5:] + two, seq=1005)
    lines, summary = decoded([first, first, overlapping, second])
    assert [(each["seq"], "order_token" in each) for each in lines] == [(1, False), (2, True)]
    assert summary.counters == {"packets": 4, "tcp_retransmitted": 3, "unknown_option": 1}


def test_missing_segment_goes_on_at_the_next_packet():
    one = soup("unsequenced_data", ENTER_50)
    a, b, c, d = segments(one[:10], one[10:], one[:10], one[10:])
    lines, summary = decoded([a, c, d])
    assert [each["message"] for each in lines] == ["enter_order"]
    assert summary.counters["tcp_gaps"] == 1
    lines, summary = decoded([b, c, d])
    assert [each["message"] for each in lines] == ["enter_order"]
    assert summary.counters["tcp_not_soupbintcp"] == 1


def test_new_connection_on_the_same_ports():
    one = soup("unsequenced_data", ENTER_50)
    (old,) = segments(one, seq=2_000_000)
    syn = (LINK_RAW, bytes(scapy.IP() / scapy.TCP(sport=40_000, dport=8000, seq=999, flags="S")))
    (new,) = segments(one)
    lines, summary = decoded([old, syn, new])
    assert len(lines) == 2
    assert summary.counters == {"packets": 3, "unknown_option": 2}


def test_other_tcp_traffic_is_counted():
    lines, summary = decoded(segments(b"GET / HTTP/1.1\r\n\r\n", b"", b"\x16\x03\x01\x02\x00\x01"))
    assert lines == []
    assert summary.counters == {"packets": 3, "tcp_not_soupbintcp": 2}


def test_flows_are_bounded():
    one = soup("unsequenced_data", ENTER_42)
    packets = [segments(one, sport=port)[0] for port in range(1, MAX_FLOWS + 4)]
    lines, summary = decoded(packets)
    assert len(lines) == MAX_FLOWS
    assert summary.counters["tcp_flows_over"] == 3


def test_every_ouch_message_has_its_tables_keys():
    for kind, protocols in (
        ("unsequenced_data", (OUCH50_INBOUND, OUCH42_INBOUND)),
        ("sequenced_data", (OUCH50_OUTBOUND, OUCH42_OUTBOUND)),
    ):
        for protocol in protocols:
            for message in protocol.messages:
                ((line,), _) = decoded(segments(soup(kind, message.encode())))
                names = ["seq", "message", *(each.name for each in message.fields)]
                assert (line["message"], list(line)) == (message.name, names)


# ---------------------------------------------------------------- whole files


def test_daily_file(tmp_path):
    path = tmp_path / "day.itch"
    start = ITCH50["system_event"].encode(event_code="O")
    path.write_bytes(daily(start, *[ADD] * 5000, DELETE))
    lines, summary = file_decoded(path)
    assert [each["seq"] for each in lines] == list(range(1, 5003))
    assert [rebuilt(lines[at]) for at in (0, 1, 5000, 5001)] == [start, ADD, ADD, DELETE]
    assert (summary.messages, summary.findings) == (5002, [])


def test_limit_is_a_number_of_lines(tmp_path):
    path = tmp_path / "day.itch"
    path.write_bytes(daily(ITCH50["system_event"].encode(event_code="O"), *[ADD] * 50))
    for limit in (0, 1, 7, 51, 100):
        lines, summary = file_decoded(path, limit=limit)
        assert len(lines) == summary.lines == min(limit, 51)
        assert summary.findings == []


def test_truncated_file_is_decoded_up_to_it(tmp_path):
    path = tmp_path / "cut.pcap"
    scapy.wrpcap(str(path), [ETHER / UDP] * 3)
    path.write_bytes(path.read_bytes()[:-5])
    lines, summary = file_decoded(path)
    assert len(lines) == 4
    assert len(summary.findings) == 1 and "truncated" in summary.findings[0]


def test_capture_of_something_else_is_a_finding(tmp_path):
    path = tmp_path / "other.pcap"
    scapy.wrpcap(str(path), [ETHER / scapy.ARP()])
    _, summary = file_decoded(path)
    assert summary.findings == [f"{path}: no message was found (ether_type_other 1, packets 1)"]
    scapy.wrpcap(str(path), [ETHER / datagram(mold(count=HEARTBEAT))])
    _, summary = file_decoded(path)
    assert (summary.findings, summary.counters) == ([], {"packets": 1, "heartbeats": 1})


def test_summary_survives_an_interruption(tmp_path):
    class Interrupted(io.StringIO):
        def write(self, line):
            if '"seq": 3,' in line:
                raise KeyboardInterrupt
            return super().write(line)

    path = tmp_path / "day.itch"
    path.write_bytes(daily(ITCH50["system_event"].encode(event_code="O"), *[ADD] * 9))
    summary, out = Summary(), Interrupted()
    with pytest.raises(KeyboardInterrupt):
        decode_capture(path, out, as_json=True, summary=summary)
    assert summary.messages == 3
    assert len(out.getvalue().splitlines()) == 2


def test_unreadable_file_is_a_capture_error(tmp_path):
    with pytest.raises(CaptureError, match="does not exist"):
        decode_capture(tmp_path / "none.pcap", io.StringIO())


# ---------------------------------------------------------------- Wireshark


def with_ports(path, copy):
    """The capture with a port in place of port 0, for which Wireshark takes no dissector."""
    frames = scapy.rdpcap(str(path))
    if all(frame[scapy.UDP].dport for frame in frames):
        return path
    for frame in frames:
        frame[scapy.UDP].sport = frame[scapy.UDP].dport = 26_477
        frame[scapy.UDP].chksum = None
    scapy.wrpcap(str(copy), frames)
    return copy


def read_by_wireshark(path) -> list[tuple[str, int, str]]:
    """(session, sequence number, hex) of every message, by Wireshark's MoldUDP64 dissector."""
    names = ("session", "count", "msgseq", "msglen", "msgdata")
    command = [TSHARK, "-r", str(path), "-d", "udp.port==0-65535,moldudp64", "-T", "fields"]
    for name in names:
        command += ["-e", f"moldudp64.{name}"]
    read = subprocess.run(command, capture_output=True, check=True, text=True, timeout=120)
    messages = []
    for line in read.stdout.splitlines():
        session, count, *columns = line.split("\t")
        numbers, lengths, hexes = (each.split(",") if each else [] for each in columns)
        assert len(numbers) == len(lengths) == len(hexes) == int(count) % END_OF_SESSION
        assert [len(each) // 2 for each in hexes] == [int(each) for each in lengths]
        messages += [(session, int(n), raw) for n, raw in zip(numbers, hexes, strict=True)]
    return messages


@needs_tshark
@needs_data
@pytest.mark.parametrize("path", REAL, ids=lambda path: path.stem)
def test_wireshark_finds_the_same_messages_in_real_captures(path, tmp_path):
    messages = read_by_wireshark(with_ports(path, tmp_path / path.name))
    lines, summary = file_decoded(path)
    assert messages
    assert [(each["seq"], rebuilt(each).hex()) for each in lines] == [m[1:] for m in messages]
    sessions = Counter(session for session, *_ in messages)
    # Wireshark shows nothing where the session is all NULs.
    assert Counter({name.strip("\0"): n for name, n in summary.sessions.items()}) == sessions


@needs_tshark
def test_wireshark_finds_the_same_messages_in_built_captures(tmp_path):
    carried = [
        mold(ADD, seq=1),
        mold(DELETE, ADD, DECLINE, seq=2),
        mold(count=HEARTBEAT, seq=5),
        mold(*[DELETE] * 60, seq=1 << 40),
        mold(ADD, seq=9, session="OTHER"),
        mold(count=END_OF_SESSION, seq=10),
    ]
    frames = [
        wrap / datagram(each)
        for each in carried
        for wrap in (ETHER, ETHER / TAG, ETHER / scapy.Dot1AD() / TAG)
    ]
    path = tmp_path / "built.pcap"
    scapy.wrpcap(str(path), frames)
    messages = read_by_wireshark(path)
    lines, summary = file_decoded(path)
    assert len(lines) == 3 * 65
    assert [(each["seq"], rebuilt(each).hex()) for each in lines] == [m[1:] for m in messages]
    assert summary.sessions == Counter(session.rstrip() for session, *_ in messages)
    assert summary.counters == {"packets": 18, "heartbeats": 3, "end_of_session": 3}


# ---------------------------------------------------------------- real captures

NAMES_2023 = {
    "2023_AddOrderNoMPID": "add_order_no_mpid_attribution",
    "2023_AddOrderWithMPID": "add_order_with_mpid_attribution",
    "2023_CrossTrade": "cross_trade",
    "2023_LULDAuctionCollar": "luld_auction_collar",
    "2023_MarketParticipantPosition": "market_participant_position",
    "2023_NetOrderImbalanceIndicator": "net_order_imbalance_indicator",
    "2023_NonCrossTrade": "non_cross_trade",
    "2023_OrderCancel": "order_cancel",
    "2023_OrderDelete": "order_delete",
    "2023_OrderExecuted": "order_executed",
    "2023_OrderExecutedWithPrice": "order_executed_with_price",
    "2023_OrderReplace": "order_replace",
    "2023_RegSHORestriction": "reg_sho_short_sale_price_test_restricted_indicator",
    "2023_StockTradingAction": "stock_trading_action",
    "2023_SystemEvent": "system_event",
}


@needs_data
@pytest.mark.parametrize("name", NAMES_2023)
def test_captures_of_2023(name):
    lines, summary = file_decoded(DATA / "nasdaq_itch50" / f"{name}.pcap")
    assert {each["message"] for each in lines} == {NAMES_2023[name]}
    assert len(lines) == summary.messages == (1 if name == "2023_SystemEvent" else 5)
    assert (summary.unknown, summary.malformed, summary.findings) == (0, 0, [])


@needs_data
def test_daily_file_and_capture_of_the_same_messages():
    from_daily, _ = file_decoded(DATA / "nasdaq_itch50" / "aapl_20191230_part1.NASDAQ_ITCH50")
    from_pcap, summary = file_decoded(DATA / "nasdaq_itch50" / "aapl_20191230_part1.pcap")
    assert from_daily == from_pcap
    assert summary.messages == len(from_pcap) == 26_000


@needs_data
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("EnterOrderMessage", "enter_order"),
        ("CancelOrderMessage", "cancel_order"),
        ("OrderAcceptedMessage", "order_accepted"),
        ("CanceledMessage", "canceled"),
        ("ClientHeartbeatPacket", None),
        ("ServerHeartbeatPacket", None),
    ],
)
def test_real_ouch50_captures(name, message):
    lines, summary = file_decoded(DATA / "nasdaq_ouch50" / f"{name}.pcap")
    assert [each["message"] for each in lines] == ([message] if message else [])
    assert (summary.unknown, summary.malformed, summary.findings) == (0, 0, [])


def test_lines_of_a_protocol_are_by_type_code():
    lines = message_lines(ITCH50, True)
    assert {chr(code): line.length for code, line in lines.items()} == {
        each.type: each.length for each in ITCH50.messages
    }
