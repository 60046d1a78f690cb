"""Damaged captures: cut at every byte, mutated at random; never an exception, loop or stray read.

Run once more in the checked variant, where every read of a record's field is held to the window.
"""

import os
import random
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
import zstandard

from captures import (
    DELETE,
    PACK,
    SYSTEM_EVENT,
    Packet,
    block,
    daily,
    enhanced,
    interface,
    obsolete,
    packets_of,
    pcap,
    read,
    section,
    simple,
)
from tickpath.capture import CaptureError, open_capture
from tickpath.capture.source import Streamed
from tickpath.packet import LINK_MESSAGES

CASES = 400
"""Mutations of each of the kinds, compressed or not."""
CHECKED = os.environ.get("TICKPATH_CHECKED", "") not in ("", "0")


def records_of(order: str) -> tuple[list[bytes], list[Packet | None]]:
    """Blocks of every kind, and the packet that each of them gives."""
    other = {"little": "big", "big": "little"}[order]
    blocks = [
        (section(order), None),
        (interface(order, tsresol=9), None),
        (enhanced(order, 0, 10**18, b"enhanced"), Packet(10**18, b"enhanced", 1, 8)),
        (block(order, 0xBAD, b"unknown"), None),
        (simple(order, b"simple packet"), Packet(0, b"simple packet", 1, 13)),
        (section(other), None),
        (interface(other, link=101, tsresol=0x80 | 20), None),
        (obsolete(other, 0, 3 << 20, b"obsolete"), Packet(3 * 10**9, b"obsolete", 101, 8)),
        (enhanced(other, 0, 1 << 19, b"\0" * 61), Packet(5 * 10**8, b"\0" * 61, 101, 61)),
    ]
    return [each for each, _ in blocks], [packet for _, packet in blocks]


def pcap_records(order: str, nanoseconds: bool) -> tuple[list[bytes], list[Packet | None]]:
    packets = [Packet(10**18 + k * 1000, bytes([k]) * k * 13).whole() for k in range(6)]
    head = pcap([], order, nanoseconds)
    records = [pcap([each], order, nanoseconds)[len(head) :] for each in packets]
    return [head, *records], [None, *packets]


MESSAGES = [SYSTEM_EVENT, b"", DELETE, b"odd", DELETE, bytes(300), DELETE]
KINDS = {
    "pcap little ns": pcap_records("little", True),
    "pcap big us": pcap_records("big", False),
    "pcapng little": records_of("little"),
    "pcapng big": records_of("big"),
    "itch": ([daily([each]) for each in MESSAGES], [None] * len(MESSAGES)),
}
CONTENTS = {kind: b"".join(records) for kind, (records, _) in KINDS.items()}


def whole_part(kind: str, length: int) -> tuple[list[Packet], int]:
    """The packets, and the end, of the records that lie in the first ``length`` bytes."""
    at, packets = 0, []
    for record, packet in zip(*KINDS[kind], strict=True):
        if at + len(record) > length:
            break
        at += len(record)
        if packet:
            packets.append(packet)
    if kind == "itch" and at:
        packets.append(Packet(0, CONTENTS[kind][:at], LINK_MESSAGES, at))
    return packets, at


def least(kind: str) -> int:
    """Bytes by which a kind is recognised: its magic, or the first message's prefix and type."""
    return 3 if kind == "itch" else 4


@pytest.fixture(autouse=True)
def no_violations():
    yield
    if CHECKED:
        from tickpath import memory

        assert memory.violations() == (0, 0, 0)


@pytest.mark.parametrize("kind", KINDS)
def test_cut_at_every_byte(tmp_path, kind):
    path = tmp_path / "cut"
    content = CONTENTS[kind]
    for length in range(len(content) + 1):
        path.write_bytes(content[:length])
        if length < least(kind):
            with pytest.raises(CaptureError, match=r"is (empty|no capture that is known)"):
                open_capture(path)
            continue
        packets, end = whole_part(kind, length)
        found = read(path, most=3)
        assert found.packets == packets
        cut = length - end
        assert found.counters.get("bytes_truncated", 0) == cut
        assert found.findings == [
            f"{path}: truncated tail: {cut} bytes at offset {end} were not read"
        ] * (cut > 0)


def expanded_part(compression: str, stream: bytes) -> tuple[bytes, bool]:
    """What the libraries themselves expand of a cut stream, and whether it ends between members."""
    content, begun = b"", False
    while stream:
        if compression == "gzip":
            member = zlib.decompressobj(31)
        else:
            member = zstandard.ZstdDecompressor().decompressobj()
        content += member.decompress(stream)
        begun = not member.eof
        stream = member.unused_data
    return content, not begun


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
@pytest.mark.parametrize("kind", KINDS)
def test_compressed_and_cut_at_every_byte(tmp_path, kind, compression):
    path = tmp_path / "cut"
    stream = PACK[compression](CONTENTS[kind], 3)
    for length in range(1, len(stream) + 1):
        path.write_bytes(stream[:length])
        content, is_whole = expanded_part(compression, stream[:length])
        if len(content) < least(kind):
            with pytest.raises(CaptureError):
                open_capture(path)
            continue
        packets, end = whole_part(kind, len(content))
        found = read(path, most=3)
        assert found.packets == packets
        cut = len(content) - end
        assert found.counters.get("bytes_truncated", 0) == cut
        findings = [
            f"truncated tail: {cut} bytes at offset {end} of the expanded content were not read"
        ] * (cut > 0)
        if not is_whole:
            findings.insert(0, f"truncated tail: the file ends at offset {length} inside ")
        assert len(found.findings) == len(findings)
        for line, start in zip(found.findings, findings, strict=True):
            assert line.startswith(f"{path}: {start}")


def mutated(source: random.Random, content: bytes) -> bytes:
    """A few bytes changed, lengths made extreme, pieces dropped, repeated or moved."""
    changed = bytearray(content)
    for _ in range(source.randint(1, 4)):
        at = source.randrange(len(changed))
        kind = source.randrange(6)
        if kind <= 1:
            changed[at] = source.randrange(256)
        elif kind == 2:
            extreme = source.choice([0, 1, 7, 2**16 - 1, 2**24, 2**31 - 1, 2**31, 2**32 - 1])
            changed[at : at + 4] = struct.pack(source.choice("<>") + "I", extreme)
        elif kind == 3:
            del changed[at : at + source.randint(1, 40)]
        elif kind == 4:
            other = source.randrange(len(changed))
            changed[at:at] = changed[other : other + source.randint(1, 80)]
        else:
            changed[at] ^= 1 << source.randrange(8)
        if not changed:
            return b"\0"
    return bytes(changed)


def bounds_of(capture) -> tuple[int, int]:
    """Where the memory that may be lent begins and ends."""
    source = capture._source
    if isinstance(source, Streamed):
        return source._address, source._address + len(source._buffer)
    return source._begin, source._begin + capture.size


def consume(path, most: int) -> str:
    """Read all of a damaged file; every packet lies in the memory, every byte is accounted for."""
    try:
        capture = open_capture(path)
    except CaptureError as error:
        assert "\n" not in str(error)
        return "refused"
    with capture:
        packets = octets = 0
        for batch in capture.batches(most):
            begin, end = bounds_of(capture)
            for each in batch:
                address, length = int(each["address"]), int(each["length"])
                assert begin <= address <= address + length <= end
            packets += len(batch)
            octets += sum(len(each.data) for each in packets_of(batch))
        counters, findings = capture.counters, capture.findings
        assert (counters["packets"], counters["bytes"]) == (packets, octets)
        left = counters["bytes_truncated"] + counters["bytes_unread"]
        assert (left > 0) <= bool(findings)
        assert all(each.startswith(f"{path}: ") and "\n" not in each for each in findings)
        if capture.compression is None:
            assert capture.position + left == capture.size
        return "damaged" if findings else "whole"


@pytest.mark.parametrize("compression", [None, "gzip", "zstd"])
@pytest.mark.parametrize("kind", KINDS)
def test_mutated_content(tmp_path, kind, compression):
    source = random.Random(f"{kind} {compression}")
    path = tmp_path / "mutated"
    outcomes = set()
    for _ in range(CASES // 4 if CHECKED else CASES):
        content = mutated(source, CONTENTS[kind])
        path.write_bytes(PACK[compression](content))
        outcomes.add(consume(path, source.choice([1, 3, 4096])))
    assert outcomes == {"refused", "damaged", "whole"}


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_mutated_streams(tmp_path, compression):
    source = random.Random(compression)
    path = tmp_path / "mutated"
    stream = PACK[compression](CONTENTS["pcapng big"] + enhanced("big", 0, 7, bytes(5000)), 2)
    outcomes = set()
    for _ in range(CASES):
        path.write_bytes(mutated(source, stream))
        outcomes.add(consume(path, 7))
    assert outcomes >= {"refused", "damaged"}


def test_garbage_behind_a_magic_number(tmp_path):
    source = random.Random(5)
    path = tmp_path / "garbage"
    heads = [pcap([]), pcap([], "big"), section("little"), section("big"), daily([SYSTEM_EVENT])]
    for _ in range(CASES):
        path.write_bytes(source.choice(heads) + source.randbytes(source.randrange(2000)))
        assert consume(path, 50) in ("whole", "damaged")


@pytest.mark.skipif(CHECKED, reason="this is the checked variant")
def test_in_the_checked_variant():
    root = Path(__file__).parents[1]
    environment = {**os.environ, "TICKPATH_CHECKED": "1"}
    environment["PYTHONPATH"] = os.pathsep.join([str(root / "pipeline"), *sys.path])
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", __file__]
    done = subprocess.run(
        command, cwd=root, env=environment, capture_output=True, text=True, timeout=850
    )
    assert done.returncode == 0, done.stdout[-3000:]
