"""The XDP program, run by a small interpreter, against a plain reading of the frame.

The interpreter knows the instructions by `linux/bpf.h` and stops at a read beyond the packet, as
the kernel's verifier would refuse it.  tests/test_afxdp.py runs the program in the kernel.
"""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickpath.wire.frame import FRAME
from tickpath_backends.multicast import Group
from tickpath_backends.xdp_program import MOST_GROUPS, XDP_PASS, assemble

GROUPS = [Group(0xEFFF0001, 26_477), Group(0xEFFF0002, 26_477), Group(0xEFFF0001, 30_000)]
MAP = 77
CONTEXT, PACKET = 1 << 32, 2 << 32
REDIRECTED = 4


def run(program: bytes, frame: bytes, queue: int = 3) -> int | tuple[int, int, int]:
    """The verdict; for a redirect (map, queue, verdict where the map has no socket)."""
    context = {0: PACKET, 4: PACKET + len(frame), 16: queue}
    code = [struct.unpack_from("<BBhi", program, at) for at in range(0, len(program), 8)]
    registers: list = [None] * 11
    registers[1], at = CONTEXT, 0

    def load(address: int, size: int) -> int:
        if address >= PACKET:
            offset = address - PACKET
            assert offset >= 0 and offset + size <= len(frame), "a read beyond the packet"
            return int.from_bytes(frame[offset : offset + size], "little")
        assert size == 4
        return context[address - CONTEXT]

    for _ in range(len(code) + 1):
        opcode, both, jump, immediate = code[at]
        to, source = both & 15, both >> 4
        at += 1
        match opcode:
            case 0xBF:
                registers[to] = registers[source]
            case 0xB7:
                registers[to] = immediate
            case 0x07:
                registers[to] += immediate
            case 0x57:
                registers[to] &= immediate
            case 0x71 | 0x69 | 0x61:
                size = {0x71: 1, 0x69: 2, 0x61: 4}[opcode]
                registers[to] = load(registers[source] + jump, size)
            case 0x2D:
                at += jump if registers[to] > registers[source] else 0
            case 0x55:
                at += jump if registers[to] != immediate else 0
            case 0x16:
                at += jump if registers[to] & 0xFFFFFFFF == immediate & 0xFFFFFFFF else 0
            case 0x56:
                at += jump if registers[to] & 0xFFFFFFFF != immediate & 0xFFFFFFFF else 0
            case 0x18:
                assert source == 1, "the descriptor of a map"
                registers[to] = immediate
                at += 1
            case 0x85:
                assert immediate == 51, "bpf_redirect_map"
                redirected = registers[1], registers[2], registers[3]
                registers = [REDIRECTED, *[None] * 10]
            case 0x95:
                return redirected if registers[0] == REDIRECTED else registers[0]
            case _:
                raise AssertionError(f"an unknown instruction {opcode:#x}")
    raise AssertionError("the program does not end")


def is_ours(frame: bytes, groups) -> bool:
    """A plain reading: at most one tag, IPv4 without options, no fragment, UDP, group and port."""
    if len(frame) < 42:
        return False
    at = 12
    if frame[at : at + 2] == b"\x81\x00":
        at += 4
        if len(frame) < 46:
            return False
    if frame[at : at + 2] != b"\x08\x00":
        return False
    ip = frame[at + 2 :]
    if ip[0] != 0x45 or ip[9] != 17 or int.from_bytes(ip[6:8], "big") & 0x3FFF:
        return False
    to = Group(int.from_bytes(ip[16:20], "big"), int.from_bytes(ip[22:24], "big"))
    return to in groups


def verdict(frame: bytes, groups=GROUPS):
    return run(assemble(groups, MAP), frame)


def expected(frame: bytes, groups=GROUPS):
    return (MAP, 3, XDP_PASS) if is_ours(frame, groups) else XDP_PASS


def a_frame(group: Group, tags: int = 0, payload: bytes = b"", **ip) -> bytes:
    fields = {"version_ihl": 0x45, "protocol": 17, "destination_address": group.address, **ip}
    types = [*[0x8100] * tags, 0x0800]
    frame = FRAME["ethernet"].encode(destination=bytes(6), source=bytes(6), ether_type=types[0])
    for each in types[1:]:
        frame += FRAME["vlan_tag"].encode(ether_type=each)
    frame += FRAME["ipv4"].encode(**fields)
    return frame + FRAME["udp"].encode(destination_port=group.port) + payload


frames = st.builds(
    a_frame,
    st.one_of(
        st.sampled_from(GROUPS),
        st.builds(Group, st.sampled_from([0xEFFF0001, 0xEFFF0003]), st.integers(0, 65_535)),
    ),
    tags=st.integers(0, 2),
    payload=st.binary(max_size=8),
    version_ihl=st.sampled_from([0x45, 0x45, 0x45, 0x46, 0x65]),
    protocol=st.sampled_from([17, 17, 17, 6, 1]),
    flags_fragment_offset=st.sampled_from([0, 0, 0x4000, 0x2000, 0x0001, 0x1FFF, 0x8000]),
)


@given(frames, st.integers(0, 60))
def test_frames_like_those_of_a_feed(frame, cut):
    for each in (frame, frame[: len(frame) - cut]):
        assert verdict(each) == expected(each)


@given(st.binary(max_size=120))
def test_any_bytes(frame):
    assert verdict(frame) == expected(frame)


@pytest.mark.parametrize("group", GROUPS, ids=str)
@pytest.mark.parametrize("tags", [0, 1])
def test_every_group_is_taken(group, tags):
    assert verdict(a_frame(group, tags)) == (MAP, 3, XDP_PASS)


def test_as_many_groups_as_there_may_be():
    groups = [Group(0xE0000000 + number, 1 + number) for number in range(MOST_GROUPS)]
    for group in (groups[0], groups[511], groups[-1]):
        assert verdict(a_frame(group), groups) == (MAP, 3, XDP_PASS)
    assert verdict(a_frame(Group(groups[3].address, groups[4].port)), groups) == XDP_PASS
    with pytest.raises(ValueError, match="1025 groups are more than 1024"):
        assemble([*groups, Group(1, 1)], MAP)
