"""Frames, the table behind them, and what any bytes do to either side of a connection."""

import contextlib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_hall import Hall, Node, stream
from tickpath.failover.gateway_client_link import (
    ClientLink,
    ClientSettings,
    Group,
    hand_over_frames,
)
from tickpath.failover.gateway_error import GatewayError
from tickpath.failover.gateway_event import Lost
from tickpath.failover.gateway_framing import (
    FrameError,
    FrameReader,
    accepted_frame,
    answer_frame,
    frame,
    framed,
    hand_over_frame,
    hand_over_of,
)
from tickpath.failover.gateway_left import Left
from tickpath.failover.gateway_node import NodeLink
from tickpath.wire.gateway import ENUMS, GATEWAY

U64 = st.integers(0, (1 << 64) - 1)


def values(layout):
    """Values for every field of a message."""
    made = {}
    for each in layout.fields[1:]:
        if each.enum:
            made[each.name] = st.sampled_from([int(code) for code in ENUMS[each.enum]])
        elif each.is_integer:
            made[each.name] = st.integers(0, (1 << 8 * each.size) - 1)
        elif each.base == "bytes":
            size = {"max_size": 300} if each.is_variable else {"min_size": 32, "max_size": 32}
            made[each.name] = st.binary(**size)
        else:
            text = st.characters(min_codepoint=33, max_codepoint=126)
            made[each.name] = st.text(text, max_size=each.size or 40)
    return st.fixed_dictionaries(made)


@pytest.mark.parametrize("layout", GATEWAY.messages, ids=lambda layout: layout.name)
def test_what_goes_in_comes_out_however_it_is_cut(layout):
    @given(values(layout), st.lists(st.integers(1, 30), max_size=40))
    def check(fields, cuts):
        raw = frame(layout.name, **fields) * 2
        reader, found = FrameReader(), []
        for cut in [*cuts, len(raw)]:
            reader.feed(raw[:cut])
            raw = raw[cut:]
            while (one := reader.next_message()) is not None:
                found.append(one)
        expected = {"message_type": layout.type, **fields}
        assert [each.name for each, _ in found] == [layout.name] * 2
        assert [each.decode(message) for each, message in found] == [expected] * 2
        assert reader.held_bytes == 0

    check()


@given(U64, U64, U64, st.binary(max_size=100))
def test_quick_encoders_are_the_tables(epoch, position, number, content):
    handed = {"epoch": epoch, "order_position": position, "input_number": number}
    assert hand_over_frame(epoch, position, number, content) == frame(
        "hand_over", **handed, messages=content
    )
    message = GATEWAY["hand_over"].encode(**handed, messages=content)
    assert hand_over_of(message) == (epoch, position, number, content)
    assert answer_frame(position, content) == frame("answer", sequence=position, payload=content)
    assert accepted_frame(epoch, position) == frame(
        "accepted", epoch=epoch, order_position=position
    )


@given(st.integers(0), st.integers(0, 7), st.binary(max_size=60))
def test_a_bit_that_is_wrong_is_found(at, bit, content):
    raw = bytearray(hand_over_frame(3, 4, 5, content))
    raw[at % len(raw)] ^= 1 << bit
    reader = FrameReader(1 << 16)
    reader.feed(raw)
    with contextlib.suppress(FrameError):
        assert reader.next_message() is None  # a length that has not come yet


@pytest.mark.parametrize("most", [64, 100, 4096])
def test_long_hand_overs_are_cut_between_messages(most):
    messages = [bytes([number]) * (number % 37 + 1) for number in range(200)]
    whole = stream(*messages)
    reader, position, content = FrameReader(most), 1000, b""
    reader.feed(hand_over_frames(7, 1000, 9, whole, most))
    while (found := reader.next_message()) is not None:
        epoch, at, number, piece = hand_over_of(found[1])
        assert (epoch, at, number) == (7, position, 9)
        position, content = position + len(piece), content + piece
    assert content == whole


def test_long_hand_over_that_is_not_whole_messages():
    with pytest.raises(GatewayError, match="whole order messages"):
        hand_over_frames(1, 0, 0, b"\0\0" + bytes(100), 64)


def test_any_bytes_after_a_hello_cost_the_connection_and_a_counter(tmp_path):
    """Right frames of wrong content, and wrong frames: nothing is raised, nothing is sent."""
    generator = random.Random(2)
    hall = Hall(tmp_path).up()
    types = [ord(each.type) for each in GATEWAY.messages] + [0, 255]
    links = []
    for at in range(1500):
        node = Node(hall, generator.choice("abc"))
        raw = bytes([generator.choice(types)]) + generator.randbytes(
            generator.choice([0, 1, 8, 16, 33, 162])
        )
        links.append(node.link)
        if at % 3:
            raw = framed(raw)
        node.link.receive(raw, hall.now_ns)
        if at % 10 == 0:
            node.carry()
        hall.nodes.remove(node)
        if node.link.left is None:
            node.link.disconnected()
    assert all(each.left is not None for each in links)
    assert sum(hall.gateway.counters[f"left_{left.name.lower()}"] for left in Left) == 1500
    assert hall.gateway.counters["left_bad_frame"] > 100 < hall.gateway.counters["left_unexpected"]
    assert hall.gateway.order_position == 0 and hall.orders() == []
    hall.kill()


@given(st.binary(max_size=400))
def test_any_bytes_at_a_client_end_its_connection_or_wait(raw):
    link = ClientLink("a", Group(), 1, 1, ClientSettings(max_message=4096), 0)
    told = link.receive(raw, 0)
    assert told in ([], [link.lost])


@given(st.sampled_from([each.type for each in GATEWAY.messages]), st.binary(max_size=80))
def test_any_message_at_a_client_is_understood_or_ends_it(code, content):
    link = ClientLink("a", Group(), 1, 1, ClientSettings(), 0)
    link.is_welcome = True
    told = link.receive(framed(code.encode() + content), 0)
    assert len(told) <= 2 and (link.lost is None or isinstance(told[-1], Lost))


def test_answers_with_a_hole_end_the_connection():
    link = ClientLink("a", Group(), 5, 1, ClientSettings(), 0)
    link.is_welcome = True
    assert len(link.receive(answer_frame(5, b"x"), 0)) == 1
    assert link.receive(answer_frame(7, b"y"), 0) == [
        Lost("not the gateway's protocol: answer 7 in the place of 6")
    ]
    assert link.next_answer == 6


def test_name_that_does_not_fit():
    with pytest.raises(GatewayError, match="node 'aaaaaaaaaaaaaaaaa' at the gateway: node takes"):
        ClientLink("a" * 17, Group(), 1, 1, ClientSettings(), 0)


def test_client_with_too_much_waiting():
    link = ClientLink("a", Group(), 1, 1, ClientSettings(max_output=4096), 0)
    assert link.send(bytes(3000), 0) and not link.send(bytes(3000), 0)


def test_node_link_before_its_hello(tmp_path):
    hall = Hall(tmp_path)
    link = NodeLink(hall.links, "127.0.0.1", 0)
    link.receive(frame("ask", epoch=1), 0)
    assert link.left is Left.UNEXPECTED and link.take_output(0) == b""
    hall.kill()
