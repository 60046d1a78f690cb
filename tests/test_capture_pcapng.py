"""pcapng: sections, interfaces with clocks of their own, and every kind of block with a packet."""

import struct
from fractions import Fraction

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from captures import (
    PACK,
    REPEATABLE,
    Packet,
    block,
    enhanced,
    interface,
    obsolete,
    read,
    section,
    simple,
)
from tickpath.capture import CaptureError, open_capture

ORDERS = pytest.mark.parametrize("order", ["little", "big"])
LARGEST = 2**64 - 1


def capture(tmp_path, *blocks: bytes):
    path = tmp_path / "a"
    path.write_bytes(b"".join(blocks))
    return path, read(path)


@pytest.fixture(scope="module")
def clock_path(tmp_path_factory):
    return tmp_path_factory.mktemp("clock") / "a.pcapng"


@settings(REPEATABLE, max_examples=300)
@given(
    order=st.sampled_from(["little", "big"]),
    tsresol=st.integers(0, 255),
    tsoffset=st.one_of(st.just(0), st.integers(-(2**63), 2**63 - 1), st.integers(-(2**35), 2**35)),
    ticks=st.lists(st.one_of(st.integers(0, LARGEST), st.integers(0, 2**32)), min_size=1),
)
@example("little", 6, 0, [LARGEST, LARGEST // 1000, LARGEST // 1000 + 1])
@example("little", 9, -1, [10**9 - 1, 10**9, LARGEST])
@example("big", 9, 1, [LARGEST - 10**9, LARGEST - 10**9 + 1])
@example("big", 0x80 | 30, 0, [LARGEST, 2**30 - 1, 2**30])
@example("big", 0x80 | 32, 5, [LARGEST, 2**32 - 1, 2**32])
@example("big", 0x80 | 31, 0, [LARGEST >> 1, 2**31 - 1, 2**31])
@example("big", 0x80 | 63, 0, [LARGEST, 2**63])
@example("big", 0x80 | 64, 0, [LARGEST])
@example("big", 0x80 | 93, 0, [LARGEST])
@example("big", 0x80, 0, [LARGEST, 1])
@example("big", 0x80 | 127, 0, [LARGEST])
@example("little", 29, 0, [LARGEST])
@example("little", 28, 0, [LARGEST, 10**19, 10**19 - 1])
def test_times_are_exact(clock_path, order, tsresol, tsoffset, ticks):
    """Against rational numbers: rounded down, and 0 and counted where no uint64 holds them."""
    base = 2 if tsresol & 0x80 else 10
    second = base ** (tsresol & 0x7F)
    blocks = [enhanced(order, 0, each, b"x") for each in ticks]
    head = section(order) + interface(order, tsresol=tsresol, tsoffset=tsoffset)
    clock_path.write_bytes(head + b"".join(blocks))
    times = [(Fraction(each * 10**9, second) // 1) + tsoffset * 10**9 for each in ticks]
    expected = [each if 0 <= each <= LARGEST else 0 for each in times]
    found = read(clock_path)
    assert [each.ts_recv for each in found.packets] == expected
    odd = sum(not 0 <= each <= LARGEST for each in times)
    assert found.counters.get("ts_out_of_range", 0) == odd


@pytest.mark.parametrize("compression", [None, "gzip", "zstd"])
@ORDERS
def test_interfaces_of_their_own(tmp_path, order, compression):
    """Each with its link type, resolution and offset; described before and between packets."""
    path = tmp_path / "a"
    blocks = [
        section(order),
        interface(order, link=1),
        interface(order, link=113, tsresol=9),
        enhanced(order, 1, 5_000_000_001, b"nine"),
        enhanced(order, 0, 5_000_001, b"six", wire=99),
        interface(order, link=276, tsresol=0x80 | 10, tsoffset=100),
        enhanced(order, 2, 1024 * 7 + 512, b"power of two"),
        obsolete(order, 1, 6, b"obsolete"),
        enhanced(order, 0, 7, b""),
    ]
    path.write_bytes(PACK[compression](b"".join(blocks)))
    found = read(path, most=2)
    assert found.packets == [
        Packet(5_000_000_001, b"nine", 113, 4),
        Packet(5_000_001_000, b"six", 1, 99),
        Packet(107_500_000_000, b"power of two", 276, 12),
        Packet(6, b"obsolete", 113, 8),
        Packet(7000, b"", 1, 0),
    ]
    assert found.counters == {"packets": 5, "bytes": 27, "packets_cut": 1}
    assert (found.findings, found.kind) == ([], "pcapng")


@ORDERS
def test_simple_packets(tmp_path, order):
    """No time, the first interface, and a length that its snapshot length may have cut."""
    blocks = [
        simple(order, b"before any interface"),
        interface(order, link=101, snap_len=8),
        interface(order, link=1),
        simple(order, b"whole"),
        simple(order, b"cut at 8", wire=60),
    ]
    _, found = capture(tmp_path, section(order), *blocks)
    assert found.packets == [
        Packet(0, b"whole", 101, 5),
        Packet(0, b"cut at 8", 101, 60),
    ]
    assert found.counters == {
        "packets": 2,
        "bytes": 13,
        "packets_cut": 1,
        "packets_without_interface": 1,
    }


def test_simple_packet_without_snap_length(tmp_path):
    """Its length says how much was on the wire; what the block holds is all that was captured."""
    _, found = capture(
        tmp_path, section("big"), interface("big"), simple("big", b"12345678", wire=2**32 - 1)
    )
    assert found.packets == [Packet(0, b"12345678", 1, 2**32 - 1)]


def test_blocks_without_packets_are_skipped(tmp_path):
    order = "little"
    others = [block(order, kind, bytes(kind % 50)) for kind in (4, 5, 10, 0xBAD, 0x80000001, 0)]
    _, found = capture(
        tmp_path,
        section(order),
        others[0],
        interface(order),
        *others[1:],
        enhanced(order, 0, 1, b"x"),
        block(order, 0xBAD, bytes(3 << 20)),  # longer than the buffer of a stream
        enhanced(order, 0, 2, b"y"),
    )
    assert [each.data for each in found.packets] == [b"x", b"y"]
    assert found.counters == {"packets": 2, "bytes": 2, "blocks_skipped": 7}
    assert found.findings == []


def test_long_block_in_a_stream(tmp_path):
    path = tmp_path / "a.zst"
    content = section("big") + block("big", 0xBAD, bytes((16 << 20) - 12)) + interface("big")
    path.write_bytes(PACK["zstd"](content + enhanced("big", 0, 1, b"x")))
    found = read(path)
    assert (found.packets, found.findings) == ([Packet(1000, b"x", 1, 1)], [])


def test_sections_of_both_orders(tmp_path):
    """A section forgets the interfaces of the one before, and brings its own byte order."""
    blocks = []
    for number, order in enumerate(["little", "big", "big", "little"]):
        blocks += [section(order), interface(order, link=number + 1)]
        blocks += [interface(order, link=100)] * (number == 0)
        blocks += [enhanced(order, 0, number, b"first"), enhanced(order, 1, number, b"second")]
    _, found = capture(tmp_path, *blocks)
    assert [(each.link, each.ts_recv) for each in found.packets] == [
        (1, 0),
        (100, 0),
        (2, 1000),
        (3, 2000),
        (4, 3000),
    ]
    assert found.counters == {"packets": 5, "bytes": 26, "packets_without_interface": 3}


def test_more_interfaces_than_the_bound(tmp_path):
    order = "little"
    described = [interface(order, link=20 + k % 7) for k in range(1030)]
    packets = [enhanced(order, k, 1, b"x") for k in (0, 1023, 1024, 1029, 2**32 - 1)]
    _, found = capture(tmp_path, section(order), *described, *packets)
    assert [each.link for each in found.packets] == [20, 20 + 1023 % 7]
    assert found.counters == {
        "packets": 2,
        "bytes": 2,
        "packets_without_interface": 3,
        "interfaces_over": 6,
    }


@ORDERS
def test_malformed_blocks_are_passed_over(tmp_path, order):
    """Their frame is sound, so reading goes on behind them; a description keeps its number."""
    mark = {"little": "<", "big": ">"}[order]
    long = block(order, 6, struct.pack(mark + "IIIII", 0, 0, 1, 5, 5) + b"1234")
    malformed = [
        block(order, 1, b"1234"),
        long,
        block(order, 6, b"too short"),
        block(order, 3, b""),
        block(order, 2, bytes(16)),
    ]
    head = section(order) + interface(order, link=1)
    tail = [interface(order, link=276), enhanced(order, 2, 1, b"x"), enhanced(order, 1, 1, b"y")]
    path, found = capture(tmp_path, head, *malformed, *tail)
    assert found.packets == [Packet(1000, b"x", 276, 1), Packet(0, b"y", 0, 1)]
    assert found.counters["blocks_malformed"] == 5
    assert found.findings == [
        f"{path}: 5 malformed blocks were passed over, the first at offset {len(head)}"
    ]


def test_options_of_an_interface(tmp_path):
    """Of wrong length, repeated, or behind the end of options or of the block: not believed."""

    def described(options: bytes) -> bytes:
        return block("little", 1, struct.pack("<HHI", 1, 0, 0) + options)

    blocks = [
        described(b""),
        described(struct.pack("<HHBxxx", 9, 1, 3)),
        described(struct.pack("<HHBBxx", 9, 2, 3, 3)),
        described(struct.pack("<HHBxxx", 9, 1, 3) + struct.pack("<HHBxxx", 9, 1, 0)),
        described(struct.pack("<HH", 0, 0) + struct.pack("<HHBxxx", 9, 1, 3)),
        described(struct.pack("<HHI", 9, 9, 3)),
        described(struct.pack("<HHI", 14, 4, 3)),
    ]
    packets = [enhanced("little", k, 1, b"") for k in range(len(blocks))]
    _, found = capture(tmp_path, section("little"), *blocks, *packets)
    times = [each.ts_recv for each in found.packets]
    assert times == [1000, 10**6, 1000, 10**6, 1000, 1000, 1000]


@ORDERS
@pytest.mark.parametrize(
    "damage", ["short", "odd", "long", "trailer", "magic", "version", "section"]
)
def test_corruption_ends_the_file(tmp_path, order, damage):
    mark = {"little": "<", "big": ">"}[order]
    good = section(order) + interface(order) + enhanced(order, 0, 1, b"good")
    bad = bytearray(enhanced(order, 0, 1, b"bad"))
    reason = "a record length of {} bytes is not plausible"
    if damage in ("short", "odd", "long"):
        length = {"short": 8, "odd": len(bad) + 1, "long": (16 << 20) + 4}[damage]
        struct.pack_into(mark + "I", bad, 4, length)
        reason = reason.format(length)
    elif damage == "trailer":
        struct.pack_into(mark + "I", bad, len(bad) - 4, len(bad) + 4)
        reason = f"the block's second length, {len(bad) + 4}, differs from its first"
    elif damage == "magic":
        bad = bytearray(section(order))
        struct.pack_into("<I", bad, 8, 0x01020304)
        reason = "a section header without byte-order magic (0x01020304 in its place)"
    elif damage == "version":
        bad = bytearray(section(order, version=2))
        reason = "a section of pcapng version 2, which is not read"
    else:
        bad = bytearray(section(order))[:12] + bytes(20)
        struct.pack_into(mark + "I", bad, 4, 24)  # shorter than a section header
        reason = reason.format(24)
    path, found = capture(tmp_path, good, bytes(bad), enhanced(order, 0, 2, b"never"))
    assert [each.data for each in found.packets] == [b"good"]
    assert found.findings == [
        f"{path}: corrupt at offset {len(good)}: {reason}; nothing behind it was read"
    ]
    assert found.counters["bytes_unread"] == path.stat().st_size - len(good)


@ORDERS
def test_version_of_the_first_section(tmp_path, order):
    (tmp_path / "a").write_bytes(section(order, version=2))
    with pytest.raises(CaptureError, match=r"a: is pcapng version 2; version 1 is read$"):
        open_capture(tmp_path / "a")


def test_first_section_without_byte_order(tmp_path):
    (tmp_path / "a").write_bytes(section("little").replace(b"\x4d\x3c", b"\x4d\x3d"))
    with pytest.raises(CaptureError, match="is no capture that is known"):
        open_capture(tmp_path / "a")
