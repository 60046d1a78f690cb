"""SoupBinTCP bytes: any cut gives the same events, real captures parse, tshark reads ours."""

import re
import shutil
import subprocess
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captures import REPEATABLE, SHARED
from test_session_soup import NAME, PASSWORD, Pair, Venue, published
from tickpath.session.soup import (
    Client,
    Closed,
    LoggedIn,
    Reason,
    Secret,
    Sequenced,
    ServerSession,
    Unsequenced,
)
from tickpath.session.soup_framing import MAX_PAYLOAD, FramingError, PacketReader, framed
from tickpath.wire import appendage
from tickpath.wire.ouch50 import OUCH50_INBOUND, OUCH50_OUTBOUND
from tickpath.wire.soupbintcp import SOUPBINTCP, packet

# ---------------------------------------------------------------- framing


@pytest.mark.parametrize("name", ["sequenced_data", "unsequenced_data"])
@given(payload=st.binary(max_size=300))
@REPEATABLE
def test_framed_is_the_packet_of_the_layout(name, payload):
    assert framed(name, payload) == packet(name, message=payload)


def test_framed_without_payload():
    for name in ("server_heartbeat", "client_heartbeat", "logout_request", "end_of_session"):
        assert framed(name) == packet(name)
    assert framed("debug", b"hello") == packet("debug", text="hello")


def test_largest_payload():
    assert MAX_PAYLOAD == 65534
    reader = PacketReader()
    reader.feed(framed("sequenced_data", bytes(MAX_PAYLOAD)))
    layout, raw = reader.next_packet()
    assert layout is SOUPBINTCP["sequenced_data"] and len(raw) == MAX_PAYLOAD + 3


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ("0000 48", Reason.MALFORMED_PACKET),  # a length that does not even hold the type
        ("0002 48", Reason.MALFORMED_PACKET),  # a heartbeat with something in it
        ("002e 4c", Reason.MALFORMED_PACKET),
        ("0030 4c", Reason.MALFORMED_PACKET),
        ("ffff 4c", Reason.MALFORMED_PACKET),
        ("0001 00", Reason.UNKNOWN_PACKET),
        ("0001 ff", Reason.UNKNOWN_PACKET),
        ("ffff 55", Reason.OVERSIZED_PACKET),
        ("0802 53", Reason.OVERSIZED_PACKET),
        ("ffff 2b", Reason.OVERSIZED_PACKET),
    ],
)
def test_header_that_cannot_be_right_is_named_at_once(header, reason):
    reader = PacketReader(max_payload=2048)
    raw = bytes.fromhex(header)
    reader.feed(raw[:2])
    assert reader.next_packet() is None
    reader.feed(raw[2:])
    with pytest.raises(FramingError) as raised:
        reader.next_packet()
    assert raised.value.reason is reason


def test_packet_of_exactly_the_bound():
    reader = PacketReader(max_payload=2048)
    reader.feed(bytes.fromhex("0801 53") + bytes(2048))
    assert len(reader.next_packet()[1]) == 2051


# ---------------------------------------------------------------- cuts


def pieces(stream: bytes, cuts: list[int]) -> list[bytes]:
    places = [0, *sorted({cut % (len(stream) + 1) for cut in cuts}), len(stream)]
    return [stream[a:b] for a, b in pairwise(places)]


SERVER_STREAM = b"".join(
    [
        packet("debug", text="welcome"),
        packet("login_accepted", session="DAY1", sequence_number=3),
        packet("sequenced_data", message=b"three"),
        packet("server_heartbeat"),
        packet("sequenced_data", message=b""),
        packet("sequenced_data", message=bytes(500)),
        packet("end_of_session"),
        b"never read",
    ]
)


@given(cuts=st.lists(st.integers(0, 1000), max_size=12))
@REPEATABLE
def test_client_hears_the_same_whatever_the_cuts(cuts):
    def heard(stream):
        client = Client("user", Secret(PASSWORD), sequence=3, now_ns=0)
        events = [event for piece in stream for event in client.receive(piece, 0)]
        return events, client.counters.sequenced_in, client.next_sequence, client.closed

    expected = heard([SERVER_STREAM])
    assert [type(event).__name__ for event in expected[0]] == (
        ["Debug", "LoggedIn", "Sequenced", "Sequenced", "Sequenced", "EndOfSession", "Closed"]
    )
    assert heard(pieces(SERVER_STREAM, cuts)) == expected


CLIENT_STREAM = b"".join(
    [
        packet("client_heartbeat"),
        packet("login_request", username="user", password=PASSWORD, requested_sequence_number=1),
        packet("unsequenced_data", message=b"one"),
        packet("client_heartbeat"),
        packet("debug", text="hello"),
        packet("unsequenced_data", message=bytes(2048)),
        packet("login_request", username="user"),
        b"never read",
    ]
)


@given(cuts=st.lists(st.integers(0, 3000), max_size=12))
@REPEATABLE
def test_server_hears_the_same_whatever_the_cuts(cuts):
    def heard(stream):
        server = Venue({"user": ServerSession(NAME)}).acceptor.accept(0)
        events = [event for piece in stream for event in server.receive(piece, 0)]
        return events, server.take_output()

    expected = heard([CLIENT_STREAM])
    assert [type(event).__name__ for event in expected[0]] == (
        ["LoggedIn", "Unsequenced", "Debug", "Unsequenced", "Closed"]
    )
    assert expected[0][-1] == Closed(Reason.UNEXPECTED_PACKET, "login_request while LOGGED_IN")
    assert heard(pieces(CLIENT_STREAM, cuts)) == expected


# ---------------------------------------------------------------- real captures

CAPTURES = SHARED / "nasdaq_ouch50"
recorded = pytest.mark.skipif(
    not CAPTURES.is_dir(), reason="the real captures (../shared/data/nasdaq_ouch50) are not here"
)


def tcp_payload(name: str) -> bytes:
    """What TCP carried in the one packet of a capture, by scapy; without Ethernet's padding."""
    scapy = pytest.importorskip("scapy.all", reason="scapy reads the captures here")
    (frame,) = scapy.rdpcap(str(CAPTURES / name))
    ip = frame[scapy.IP]
    header = (ip.ihl + ip[scapy.TCP].dataofs) * 4
    return bytes(ip)[header : ip.len]


@recorded
def test_recorded_heartbeats():
    pair = Pair()
    pair.pump()
    assert pair.server.receive(tcp_payload("ClientHeartbeatPacket.pcap"), 0) == []
    assert pair.client.receive(tcp_payload("ServerHeartbeatPacket.pcap"), 0) == []
    assert pair.server.counters.heartbeats_in == pair.client.counters.heartbeats_in == 1


@recorded
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("CancelOrderMessage.pcap", {"message": "cancel_order", "user_ref_num": 7679601}),
        (
            "EnterOrderMessage.pcap",
            {
                "message": "enter_order",
                "user_ref_num": 113,
                "side": "T",
                "quantity": 225,
                "symbol": "CVLT",
                "price": Decimal("63.0200"),
                "enter_order_appendage": {"firm": "LIME"},
            },
        ),
    ],
)
def test_recorded_orders_reach_the_server(name, expected):
    pair = Pair()
    pair.pump()
    (event,) = pair.server.receive(tcp_payload(name), 0)
    assert isinstance(event, Unsequenced)
    fields = appendage.decode_message(OUCH50_INBOUND, event.payload)
    assert fields == {**fields, **expected}
    pair.client.send(event.payload, 0)
    assert pair.client.take_output() == tcp_payload(name)


@recorded
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "OrderAcceptedMessage.pcap",
            {"message": "order_accepted", "symbol": "ADBE", "side": "B", "quantity": 40},
        ),
        ("CanceledMessage.pcap", {"message": "canceled", "quantity": 40}),
    ],
)
def test_recorded_answers_reach_the_client(name, expected):
    pair = Pair(published(3), sequence=4)
    pair.pump()
    (event,) = pair.client.receive(tcp_payload(name), 0)
    assert isinstance(event, Sequenced) and event.sequence == 4
    fields = appendage.decode_message(OUCH50_OUTBOUND, event.payload)
    assert fields == {**fields, **expected}
    pair.session.publish(event.payload, 0)
    assert pair.server.take_output() == tcp_payload(name)


# ---------------------------------------------------------------- tshark as an oracle

PORT = 40321


def conversation(directory) -> str:
    """A whole session of ours as a capture of TCP segments that cut packets anywhere."""
    scapy = pytest.importorskip("scapy.all", reason="scapy writes the capture for tshark")
    pair = Pair(session="DAY1", sequence=1)
    heard: list[tuple[bool, bytes]] = []

    def carry() -> None:
        while pair.client.has_output or pair.server.has_output:
            heard.append((True, pair.client.take_output(11)))
            pair.server.receive(heard[-1][1], pair.now_ns)
            heard.append((False, pair.server.take_output(13)))
            pair.client.receive(heard[-1][1], pair.now_ns)

    # tshark 4.0 begins a new conversation behind the login, so no packet may be cut just there.
    carry()
    pair.client.send(b"order", 0)
    for payload in (b"1", b"two", b"3" * 20):
        pair.session.publish(payload, 0)
    pair.server.debug("hello", 0)
    carry()
    pair.now_ns = 10**9 + 1
    pair.client.tick(pair.now_ns)
    pair.server.tick(pair.now_ns)
    carry()
    pair.client.logout(pair.now_ns)
    carry()
    numbers = {True: 1, False: 1}
    frames = []
    for is_client, segment in heard:
        if not segment:
            continue
        ports = {"sport": 50000, "dport": PORT} if is_client else {"sport": PORT, "dport": 50000}
        addresses = ("10.0.0.1", "10.0.0.2") if is_client else ("10.0.0.2", "10.0.0.1")
        header = scapy.TCP(**ports, seq=numbers[is_client], ack=numbers[not is_client], flags="PA")
        frames.append(
            scapy.Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
            / scapy.IP(src=addresses[0], dst=addresses[1])
            / header
            / segment
        )
        numbers[is_client] += len(segment)
    path = str(directory / "session.pcap")
    scapy.wrpcap(path, frames)
    return path


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
def test_tshark_reads_a_session_of_ours(tmp_path):
    command = ["tshark", "-r", conversation(tmp_path), "-d", f"tcp.port=={PORT},soupbintcp"]
    command += ["-o", "tcp.desegment_tcp_streams:TRUE", "-O", "soupbintcp"]
    text = subprocess.run(command, capture_output=True, timeout=60, text=True).stdout
    found = [
        {
            name.strip(): value.strip()
            for name, _, value in (line.partition(":") for line in section.splitlines())
        }
        for section in re.split(r"^SoupBinTCP.*$", text, flags=re.MULTILINE)[1:]
    ]
    kinds = [re.search(r"'(.)'", each["Packet Type"]).group(1) for each in found]
    assert sorted(kinds) == sorted("LASSUS+RHO")
    by_kind = dict(zip(kinds, found, strict=True))
    login = by_kind["L"]
    assert (login["User Name"], login["Password"], login["Session"]) == ("user", PASSWORD, "DAY1")
    assert login["Requested sequence number"] == by_kind["A"]["Next sequence number"] == "1"
    messages = [
        (each["Sequence number"], bytes.fromhex(each["Message"]))
        for kind, each in zip(kinds, found, strict=True)
        if kind == "S"
    ]
    assert messages == [
        ("1 (Calculated)", b"1"),
        ("2 (Calculated)", b"two"),
        ("3 (Calculated)", b"3" * 20),
    ]
    assert bytes.fromhex(by_kind["U"]["Message"]) == b"order"
    assert by_kind["+"]["Debug Text"] == "hello"


def test_session_name_padded_on_either_side():
    for session in ("DAY1", "      DAY1", "DAY1      "):
        client = Client("user", Secret(PASSWORD), session="DAY1", now_ns=0)
        answer = packet("login_accepted", session=session, sequence_number=1)
        assert client.receive(answer, 0) == [LoggedIn("DAY1", 1, "user")]
