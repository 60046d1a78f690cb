"""Captures: what is read is what was written, whatever the kind, order, unit and compression."""

import gzip
import os
import resource
import struct
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from captures import (
    DELETE,
    PACK,
    REPEATABLE,
    SYSTEM_EVENT,
    Packet,
    daily,
    gzipped,
    interface,
    packets_of,
    pcap,
    read,
    section,
    simple,
    zstandardised,
)
from tickpath.capture import CaptureError, create_capture, open_capture
from tickpath.capture.source import WINDOW_BYTES, Mapped
from tickpath.packet import (
    LINK_COMMANDS,
    LINK_DATAGRAM,
    LINK_FOREIGN,
    LINK_LINUX_SLL,
    LINK_LINUX_SLL2,
    LINK_MESSAGES,
    LINK_RAW,
    LINK_RESPONSES,
)

PIPELINE = Path(__file__).parents[1] / "pipeline"

LAST_PCAP_NS = (2**32 - 1) * 10**9 + 999_999_999

packet_lists = st.lists(
    st.builds(
        Packet,
        ts_recv=st.integers(0, LAST_PCAP_NS),
        data=st.binary(max_size=200),
        link=st.just(1),
        wire_length=st.integers(0, 70000),
    ),
    max_size=30,
)
SOME = [Packet(1_577_693_354_326_749_786 + k, bytes(range(k, k + 60))).whole() for k in range(9)]


def write(path, packets, **options) -> str:
    with create_capture(path, **options) as writer:
        for each in packets:
            writer.write_bytes(each.data, each.ts_recv, each.link, each.wire_length)
    return writer.written


def error_of(path) -> str:
    with pytest.raises(CaptureError) as raised:
        open_capture(path)
    message = str(raised.value)
    assert "\n" not in message
    assert message.startswith((str(path), repr(str(path))))
    return message.removeprefix(str(path))


# ---------------------------------------------------------------- round trips


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
@pytest.mark.parametrize("kind", ["pcap", "pcapng"])
@settings(REPEATABLE, max_examples=25)
@given(
    packets=packet_lists,
    order=st.sampled_from(["little", "big"]),
    nanoseconds=st.booleans(),
    most=st.integers(1, 40),
)
def test_written_packets_are_read(
    tmp_path_factory, kind, suffix, packets, order, nanoseconds, most
):
    path = tmp_path_factory.getbasetemp() / f"written.{kind}{suffix}"
    write(path, packets, byte_order=order, nanoseconds=nanoseconds)
    unit = 1 if nanoseconds else 1000
    expected = [each._replace(ts_recv=each.ts_recv // unit * unit).whole() for each in packets]
    found = read(path, most)
    assert found.packets == expected
    assert (found.kind, found.findings) == (kind, [])
    assert found.compression == {"": None, ".gz": "gzip", ".zst": "zstd"}[suffix]
    assert found.counters.get("packets", 0) == len(packets)
    assert found.counters.get("bytes", 0) == sum(len(each.data) for each in packets)
    cut = sum(each.wire_length > len(each.data) for each in packets)
    assert found.counters.get("packets_cut", 0) == cut


@pytest.mark.parametrize("compression", [None, "gzip", "zstd"])
@pytest.mark.parametrize("nanoseconds", [True, False])
@pytest.mark.parametrize("order", ["little", "big"])
@settings(REPEATABLE, max_examples=10)
@given(packets=packet_lists)
def test_pcap_of_any_order_unit_and_compression(
    tmp_path_factory, order, nanoseconds, compression, packets
):
    path = tmp_path_factory.getbasetemp() / "built"  # no name to tell it by
    path.write_bytes(PACK[compression](pcap(packets, order, nanoseconds)))
    unit = 1 if nanoseconds else 1000
    found = read(path)
    assert found.packets == [
        each._replace(ts_recv=each.ts_recv // unit * unit).whole() for each in packets
    ]
    assert (found.kind, found.compression, found.findings) == ("pcap", compression, [])


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
@settings(REPEATABLE, max_examples=25)
@given(messages=st.lists(st.binary(max_size=300), max_size=30))
def test_written_messages_are_read(tmp_path_factory, suffix, messages):
    path = tmp_path_factory.getbasetemp() / f"day.itch{suffix}"
    known = [SYSTEM_EVENT] * (len(messages) + 1)
    runs = [daily(known), *(daily([each]) for each in messages)]
    write(path, [Packet(5, each, LINK_MESSAGES) for each in runs])
    found = read(path)
    content = b"".join(runs)
    assert found.packets == [Packet(0, content, LINK_MESSAGES, len(content))]
    assert (found.kind, found.findings) == ("itch", [])


def test_link_types_pass_through(tmp_path):
    links = [1, LINK_RAW, LINK_LINUX_SLL, LINK_LINUX_SLL2, 12, 14, 0xF000_0001]
    seen = []
    for link in links:
        path = tmp_path / "link.pcap"
        path.write_bytes(pcap(SOME[:1], link=link))
        seen += [each.link for each in read(path).packets]
    assert seen == [1, LINK_RAW, LINK_LINUX_SLL, LINK_LINUX_SLL2, LINK_RAW, LINK_RAW, 1]


@pytest.mark.parametrize("link", [LINK_DATAGRAM, LINK_RESPONSES, LINK_COMMANDS, LINK_MESSAGES])
def test_no_file_has_a_link_type_of_ours(tmp_path, link):
    """A capture cannot give the engine commands, or answers of an exchange."""
    packet = Packet(1, b"\x00" * 80)
    (tmp_path / "one.pcap").write_bytes(pcap([packet], link=link))
    ng = section("little") + interface("little", link=link) + simple("little", packet.data)
    (tmp_path / "one.pcapng").write_bytes(ng)
    for name in ("one.pcap", "one.pcapng"):
        assert [each.link for each in read(tmp_path / name).packets] == [LINK_FOREIGN]


def test_pcapng_has_an_interface_for_each_link_type(tmp_path):
    packets = [each._replace(link=link) for each, link in zip(SOME, [1, 101, 276] * 3, strict=True)]
    write(tmp_path / "links.pcapng", packets)
    found = read(tmp_path / "links.pcapng")
    assert (found.packets, found.findings) == (packets, [])


def test_pcapng_holds_times_that_pcap_does_not(tmp_path):
    late = [Packet(2**64 - 1, b"late").whole()]
    write(tmp_path / "late.pcapng", late)
    assert read(tmp_path / "late.pcapng").packets == late
    with pytest.raises(CaptureError, match="packet 1 has ts_recv 18446744073709551615, later than"):
        write(tmp_path / "late.pcap", late)


@pytest.mark.parametrize("kind", ["pcap", "pcapng"])
def test_file_without_packets(tmp_path, kind):
    path = tmp_path / f"none.{kind}"
    write(path, [])
    assert read(path) == ([], {}, [], kind, None)


def test_packets_beyond_every_buffer(tmp_path):
    """The largest packets, in files many times the writer's buffer and the reader's window."""
    size = 256 << 10
    packets = [Packet(k, bytes([k]) * (size - k)).whole() for k in range(40)]
    for name in ("a.pcap", "a.pcapng", "a.pcap.gz", "a.pcapng.zst"):
        write(tmp_path / name, packets)
        found = read(tmp_path / name)
        assert (found.packets, found.findings) == (packets, [])
    with pytest.raises(CaptureError, match="packet 2 has 262145 bytes, more than readers take"):
        write(tmp_path / "a.pcap", [packets[0], Packet(0, bytes(size + 1))])
    found = read(tmp_path / "a.pcap")
    assert (found.packets, found.findings) == (packets[:1], [])


@pytest.mark.parametrize("compression", [None, "gzip", "zstd"])
def test_daily_file_is_lent_in_bounded_runs(tmp_path, compression):
    messages = [SYSTEM_EVENT, b"", b"\xff" * 65535, b"?" * 50, *[DELETE] * 300_000, b""]
    content = daily(messages)
    path = tmp_path / "day"
    path.write_bytes(PACK[compression](content))
    with open_capture(path) as capture:
        runs = [each for batch in capture.batches() for each in packets_of(batch)]
    assert b"".join(each.data for each in runs) == content
    assert len(runs) > len(content) >> 20
    for each in runs:
        assert len(each.data) <= 1 << 20
        assert (each.ts_recv, each.link, each.wire_length) == (0, LINK_MESSAGES, len(each.data))
        at = 0
        while at < len(each.data):
            at += 2 + struct.unpack_from(">H", each.data, at)[0]
        assert at == len(each.data)


def test_run_longer_than_the_writers_buffer(tmp_path):
    content = daily([SYSTEM_EVENT, *[DELETE] * 200_000])
    write(tmp_path / "day.itch", [Packet(0, content, LINK_MESSAGES)] * 2)
    assert (tmp_path / "day.itch").read_bytes() == content * 2


@pytest.mark.parametrize("pack", [gzipped, zstandardised])
def test_members_and_frames_one_after_another(tmp_path, pack):
    path = tmp_path / "members"
    path.write_bytes(pack(pcap(SOME), 7))
    assert read(path)[:3] == (SOME, {"packets": 9, "bytes": 540}, [])


def test_padding_behind_gzip_is_silent_and_garbage_is_not(tmp_path):
    path = tmp_path / "a.gz"
    whole = gzipped(pcap(SOME))
    path.write_bytes(whole + bytes(1000))
    assert read(path) == (SOME, {"packets": 9, "bytes": 540}, [], "pcap", "gzip")
    path.write_bytes(whole + b"garbage")
    found = read(path)
    assert found.packets == SOME
    assert found.findings == [
        f"{path}: member 2 of the gzip stream is corrupt near offset {len(whole) + 1}: "
        "incorrect header check; nothing behind it was read"
    ]


def test_checksum_that_does_not_match(tmp_path):
    path = tmp_path / "a.gz"
    whole = bytearray(gzipped(pcap(SOME)))
    whole[-6] ^= 1  # in the CRC: every byte before it is sound
    path.write_bytes(whole)
    found = read(path)
    assert found.packets == SOME
    assert found.findings == [
        f"{path}: member 1 of the gzip stream is corrupt near offset {len(whole) - 5}: "
        "incorrect data check; nothing behind it was read"
    ]


def test_corrupt_piece_that_expands_beyond_the_buffer(tmp_path):
    """All that stands before the corruption is lent, many windows of it."""
    path = tmp_path / "a.gz"
    packets = [Packet(k, bytes(100_000)).whole() for k in range(100)]
    stream = bytearray(gzipped(pcap(packets)))
    assert len(stream) < 16 << 10
    stream[-6] ^= 1
    path.write_bytes(stream)
    found = read(path)
    assert found.packets == packets
    assert [each.partition(" near")[0] for each in found.findings] == [
        f"{path}: member 1 of the gzip stream is corrupt"
    ]


# ---------------------------------------------------------------- times and lengths of pcap


def test_fraction_of_a_second_or_more_is_counted(tmp_path):
    path = tmp_path / "a.pcap"
    record = struct.pack("<IIII", 7, 1_000_000, 1, 1) + b"x"
    path.write_bytes(pcap([], nanoseconds=False) + record)
    found = read(path)
    assert found.packets == [Packet(8 * 10**9, b"x").whole()]
    assert found.counters == {"packets": 1, "bytes": 1, "ts_out_of_range": 1}


@pytest.mark.parametrize(
    ("snap_len", "longest"),
    [(65535, 256 << 10), (0, 256 << 10), (300 << 10, 300 << 10), (2**32 - 1, 256 << 10)],
)
@pytest.mark.parametrize("order", ["little", "big"])
def test_longest_record_by_snap_length(tmp_path, order, snap_len, longest):
    path = tmp_path / "a.pcap"
    fits = Packet(1, bytes(longest)).whole()
    path.write_bytes(pcap([fits, Packet(2, bytes(longest + 1))], order, snap_len=snap_len))
    found = read(path)
    offset = 24 + 16 + longest
    assert found.packets == [fits]
    assert found.counters == {
        "packets": 1,
        "bytes": longest,
        "bytes_unread": path.stat().st_size - offset,
    }
    assert found.findings == [
        f"{path}: corrupt at offset {offset}: a record length of {longest + 1} bytes is not "
        "plausible; nothing behind it was read"
    ]


# ---------------------------------------------------------------- the API


def test_attributes_and_progress(tmp_path):
    path = tmp_path / "a.pcap.gz"
    path.write_bytes(gzipped(pcap(SOME * 1000)))
    with open_capture(os.fsencode(path)) as capture:
        assert (capture.path, capture.kind, capture.compression) == (str(path), "pcap", "gzip")
        assert capture.size == path.stat().st_size
        positions = [capture.position for _ in capture.batches(500)]
        assert len(positions) == 18
        assert positions == sorted(positions)
        assert positions[-1] == capture.size
        assert list(capture.batches()) == []


def test_position_in_a_mapped_file_is_that_of_the_packets_lent(tmp_path):
    path = tmp_path / "a.pcap"
    path.write_bytes(pcap(SOME))
    with open_capture(path) as capture:
        assert [capture.position for _ in capture.batches(4)] == [
            24 + 76 * 4,
            24 + 76 * 8,
            24 + 76 * 9,
        ]


def test_reading_goes_on_where_it_was_left(tmp_path):
    path = tmp_path / "a.pcap"
    path.write_bytes(pcap(SOME))
    with open_capture(path) as capture:
        first = packets_of(next(capture.batches(2)))
        assert first + [each for batch in capture.batches(3) for each in packets_of(batch)] == SOME


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_close_while_packets_are_lent(tmp_path, compression):
    path = tmp_path / "a.pcap"
    path.write_bytes(PACK[compression](pcap(SOME)))
    capture = open_capture(path)
    batches = capture.batches(2)
    lent = next(batches)
    assert (str(path) in Path("/proc/self/maps").read_text()) == (compression is None)
    capture.close()
    assert str(path) not in Path("/proc/self/maps").read_text()
    assert len(lent) == 2  # the array outlives the memory it names
    with pytest.raises(CaptureError, match="is closed; open it again to read it"):
        next(batches)
    capture.close()


def test_most_is_at_least_one(tmp_path):
    (tmp_path / "a.pcap").write_bytes(pcap(SOME))
    with (
        open_capture(tmp_path / "a.pcap") as capture,
        pytest.raises(ValueError, match="at least 1"),
    ):
        next(capture.batches(0))


def test_pipe_is_streamed(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    content = pcap(SOME * 10_000)
    feeder = threading.Thread(target=path.write_bytes, args=(content,))
    feeder.start()
    found = read(path)
    feeder.join()
    assert (found.packets, found.findings, found.compression) == (SOME * 10_000, [], None)


def test_file_that_shrinks_while_it_is_read(tmp_path):
    path = tmp_path / "a.pcap"
    packets = [Packet(k, bytes(200_000)).whole() for k in range(100)]
    path.write_bytes(pcap(packets))
    size = path.stat().st_size
    assert size > 3 * WINDOW_BYTES
    with open_capture(path) as capture:
        batches = capture.batches(2)
        count = len(next(batches))
        os.truncate(path, WINDOW_BYTES // 2)
        count += sum(len(each) for each in batches)
        left = (WINDOW_BYTES // 2 - 24) % 200_016
        assert count == (WINDOW_BYTES // 2 - 24) // 200_016
        assert capture.findings == [
            f"{path}: shrank from {size} to {WINDOW_BYTES // 2} bytes while it was read",
            f"{path}: truncated tail: {left} bytes at offset {24 + 200_016 * count} were not read",
        ]


def test_kernel_without_populate_and_page_that_cannot_be_read(tmp_path, monkeypatch):
    path = tmp_path / "a.pcap"
    path.write_bytes(pcap([Packet(k, bytes(200_000)).whole() for k in range(100)]))
    monkeypatch.setattr("tickpath.capture.source._POPULATE_READ", 255)  # EINVAL
    assert len(read(path).packets) == 100
    monkeypatch.undo()

    class Failing:
        """A map whose pages from the third window on cannot be read."""

        def __init__(self, mapping) -> None:
            self.mapping = mapping

        def madvise(self, advice, begin, length):
            if begin >= 2 * WINDOW_BYTES and advice not in (2, 4):
                raise OSError(14, "Bad address")
            self.mapping.madvise(advice, begin, length)

        def close(self) -> None:
            self.mapping.close()

    with open_capture(path) as capture:
        source = capture._source
        assert isinstance(source, Mapped)
        source._map = Failing(source._map)
        count = sum(len(each) for each in capture.batches(3))
        assert 0 < count < 100
        assert [each.partition(" on: ")[0] for each in capture.findings] == [
            f"{path}: cannot be read from offset {capture._source._end}",
            f"{path}: truncated tail: {capture.counters['bytes_truncated']} bytes at offset "
            f"{24 + count * 200_016} were not read",
        ]


def test_nothing_heavy_is_imported_before_a_packet_is_read(tmp_path):
    (tmp_path / "a.pcap").write_bytes(pcap(SOME))
    program = (
        "import sys, tickpath.capture as c; assert 'numpy' not in sys.modules\n"
        "with c.open_capture(sys.argv[1]) as a: assert 'numba' not in sys.modules, sys.modules\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(PIPELINE)}
    command = [sys.executable, "-c", program, str(tmp_path / "a.pcap")]
    assert subprocess.run(command, env=environment, timeout=60).returncode == 0


# ---------------------------------------------------------------- what a user does wrong


def test_files_that_cannot_be_read(tmp_path):
    empty, garbage = tmp_path / "empty.pcap", tmp_path / "garbage.pcap"
    empty.write_bytes(b"")
    garbage.write_bytes(b"hello, world")
    assert error_of(empty) == ": is empty; name a capture with packets"
    assert error_of(tmp_path) == ": is a directory; name a capture file in it"
    assert error_of(tmp_path / "none") == ": does not exist; check the name"
    assert error_of(garbage).startswith(
        ": is no capture that is known (it begins with 68 65 6c 6c 6f 2c 20 77); pcap, pcapng and"
    )
    assert "null" in error_of("a\0b")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pcap([], version=(2, 3)), ": is pcap version 2.3; 2.4 is read"),
        (pcap([], "big", version=(543, 0)), ": is pcap version 543.0; 2.4 is read"),
        (struct.pack("<I", 0xA1B2CD34) + bytes(40), ": is a modified (Kuznetzov) pcap"),
        (struct.pack(">I", 0xA1B2CD34) + bytes(40), ": is a modified (Kuznetzov) pcap"),
        (b"BZh91AY&SY", ": is compressed with bzip2; expand it first"),
        (b"\xfd7zXZ\0\0\4", ": is compressed with xz; expand it first"),
        (gzipped(b"x") * 3, ": once expanded from gzip, is no capture that is known"),
        (gzipped(gzipped(pcap([]))), ": once expanded from gzip, is no capture that is known"),
        (b"\x1f\x8b\x08\0\0\0", ": truncated tail: the file ends at offset 6 inside member 1"),
        (
            b"\x28\xb5\x2f\xfd" + b"\xff" * 20,
            ": frame 1 of the zstd stream is corrupt near offset 8",
        ),
        (b"\0\0", ": is no capture that is known"),
        (b"\0\x0cA" + bytes(11), ": is no capture that is known"),  # A has 36 bytes, not 12
    ],
    ids=range(12),
)
def test_content_that_is_not_recognised(tmp_path, content, message):
    path = tmp_path / "a.pcap"
    path.write_bytes(content)
    assert error_of(path).startswith(message)


def test_empty_content_of_a_compressed_file(tmp_path):
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(b""))
    assert error_of(path) == ": once expanded from gzip, is empty; name a capture with packets"


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_file_without_permission(tmp_path):
    path = tmp_path / "a.pcap"
    path.write_bytes(pcap(SOME))
    path.chmod(0)
    assert "cannot be opened (Permission denied)" in error_of(path)


def test_daily_file_is_recognised_by_its_first_messages(tmp_path):
    path = tmp_path / "a.pcap"
    for messages, kind in [
        ([SYSTEM_EVENT], "itch"),
        ([b"", SYSTEM_EVENT], "itch"),
        ([b"unknown", SYSTEM_EVENT], "itch"),
        ([b"unknown", b"another", SYSTEM_EVENT], None),
    ]:
        path.write_bytes(daily(messages))
        if kind is None:
            assert "is no capture" in error_of(path)
        else:
            assert read(path).kind == kind


def test_what_a_file_cannot_hold(tmp_path):
    with create_capture(tmp_path / "a.pcap") as writer:
        writer.write_bytes(b"one")
        with pytest.raises(CaptureError, match=r"has one link type, this one 1, and not 101 too"):
            writer.write_bytes(b"two", link=101)
        with pytest.raises(CaptureError, match=r"takes packets, not bare messages; write \.itch"):
            writer.write_bytes(daily([DELETE]), link=LINK_MESSAGES)
        assert writer.counters == {"packets": 1, "bytes": 3, "file_bytes": 0}
    assert [each.data for each in read(tmp_path / "a.pcap").packets] == [b"one"]
    writer = create_capture(tmp_path / "a.pcapng")
    with pytest.raises(CaptureError, match=r"takes packets, not bare messages; write \.itch"):
        writer.write_bytes(daily([DELETE]), link=LINK_MESSAGES)
    writer.close()
    writer = create_capture(tmp_path / "a.itch")
    with pytest.raises(CaptureError, match=r"bare messages, not packets of link type 1; write"):
        writer.write_bytes(b"frame")
    writer.close()
    assert writer.written == f"{tmp_path / 'a.itch'}: itch, 0 runs of messages, 0 bytes"
    with pytest.raises(CaptureError, match="is closed; nothing more can be written to it"):
        writer.write_bytes(daily([DELETE]), link=LINK_MESSAGES)


def test_more_link_types_than_readers_take(tmp_path):
    path = tmp_path / "a.pcapng"
    with create_capture(path) as writer:
        for link in range(1024):
            writer.write_bytes(b"x", link=link)
        with pytest.raises(CaptureError, match="has 1024 link types, more than readers take"):
            writer.write_bytes(b"x", link=1024)
    assert [each.link for each in read(path).packets if each.link != 101] == [
        link for link in range(1024) if link not in (12, 14, 101)
    ]


def test_places_that_cannot_be_written(tmp_path):
    with pytest.raises(CaptureError, match=r"is a directory; name a file in it$"):
        create_capture(tmp_path)
    with pytest.raises(CaptureError, match=r"its directory does not exist; make it first$"):
        create_capture(tmp_path / "none" / "a.pcap")
    with pytest.raises(ValueError, match="kind is one of pcap, pcapng, itch, not 'erf'"):
        create_capture(tmp_path / "a.erf", kind="erf")
    with pytest.raises(ValueError, match="byte_order is 'little' or 'big', not 'middle'"):
        create_capture(tmp_path / "a.pcap", byte_order="middle")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_disk_is_full():
    message = r"^/dev/full: the disk is full after 0 bytes; free space, then write again$"
    with pytest.raises(CaptureError, match=message), create_capture("/dev/full", "pcap") as writer:
        writer.write_bytes(b"x")  # fits in the buffer: noticed when it is closed
    writer.close()
    with pytest.raises(CaptureError, match=message), create_capture("/dev/full", "pcap") as writer:
        for _ in range(10):
            writer.write_bytes(bytes(256 << 10))
    with pytest.raises(KeyError), create_capture("/dev/full", "pcap") as writer:
        writer.write_bytes(b"x")
        raise KeyError  # what the caller was doing says more than the disk


def test_disk_that_takes_a_part(tmp_path):
    """A write may take less than it was given; the rest is written, or not silently lost."""
    path = tmp_path / "a.pcap"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    message = rf"^{path}: cannot be written after 100000 bytes \(File too large\)$"
    with pytest.raises(CaptureError, match=message), create_capture(path) as writer:
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
            writer.write_bytes(bytes(200_000))
            writer.close()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.stat().st_size == 100_000


def test_padding_is_zero(tmp_path):
    """Also where the buffer holds what was written before."""
    path = tmp_path / "a.pcapng"
    with create_capture(path) as writer:
        for _ in range(6000):
            writer.write_bytes(b"\xff" * 401)
    blocks = path.read_bytes()[28 + 32 :]
    size = 28 + 404 + 4
    assert len(blocks) == 6000 * size
    assert {blocks[at + 28 + 401 : at + 28 + 404] for at in range(0, len(blocks), size)} == {
        bytes(3)
    }


def test_kind_and_compression_by_name(tmp_path):
    for name, kind, compression in [
        ("a.pcap", "pcap", None),
        ("A.PCAPNG.GZ", "pcapng", "gzip"),
        ("a.pcap.zst", "pcap", "zstd"),
        ("a.itch.gz", "itch", "gzip"),
        ("12302019.NASDAQ_ITCH50", "itch", None),
    ]:
        with create_capture(tmp_path / name) as writer:
            assert (writer.kind, writer.compression) == (kind, compression)


def test_what_was_written_is_said(tmp_path):
    path = tmp_path / "a.pcap.gz"
    said = write(path, SOME)
    assert said == f"{path}: pcap, gzip, 9 packets, {path.stat().st_size} bytes"


def test_arrays_pass_from_reader_to_writer(tmp_path):
    """As in converting a capture, with an array that is not contiguous."""
    (tmp_path / "a.pcap").write_bytes(pcap(SOME))
    copy = tmp_path / "b.pcapng"
    with open_capture(tmp_path / "a.pcap") as capture, create_capture(copy) as writer:
        for batch in capture.batches():
            writer.write(batch[::-2])
            writer.write(np.zeros(0, batch.dtype))
    assert read(tmp_path / "b.pcapng").packets == SOME[::-2]
