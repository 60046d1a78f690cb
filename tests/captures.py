"""Captures built byte by byte with `struct`, independently of the wire tables, and read back."""

import ctypes
import gzip
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import zstandard
from hypothesis import settings

from tickpath.capture import open_capture

MARK = {"little": "<", "big": ">"}
SECOND = 10**9
REPEATABLE = settings(derandomize=True, deadline=None, database=None)
"""The same examples in every run, and none decided by the clock."""
SHARED = Path(__file__).parents[2] / "shared" / "data"


class Packet(NamedTuple):
    """A packet as tests compare it."""

    ts_recv: int
    data: bytes
    link: int = 1
    wire_length: int = 0

    def whole(self) -> "Packet":
        return self._replace(wire_length=max(self.wire_length, len(self.data)))


class Read(NamedTuple):
    """Everything a capture gave."""

    packets: list[Packet]
    counters: dict[str, int]  # those that are not zero
    findings: list[str]
    kind: str
    compression: str | None


def packets_of(batch) -> list[Packet]:
    """The packets of a lent array, copied."""
    return [
        Packet(
            int(each["ts_recv"]),
            ctypes.string_at(int(each["address"]), int(each["length"])),
            int(each["link"]),
            int(each["wire_length"]),
        )
        for each in batch
    ]


def read(path, most: int = 4096) -> Read:
    packets: list[Packet] = []
    with open_capture(path) as capture:
        for batch in capture.batches(most):
            assert 0 < len(batch) <= most
            packets += packets_of(batch)
        counters = {name: count for name, count in capture.counters.items() if count}
        return Read(packets, counters, capture.findings, capture.kind, capture.compression)


def pcap(
    packets: Iterable[Packet],
    order: str = "little",
    nanoseconds: bool = True,
    snap_len: int = 65535,
    link: int = 1,
    version: tuple[int, int] = (2, 4),
) -> bytes:
    magic, unit = (0xA1B23C4D, 1) if nanoseconds else (0xA1B2C3D4, 1000)
    mark = MARK[order]
    parts = [struct.pack(mark + "IHHiIII", magic, *version, 0, 0, snap_len, link)]
    for each in packets:
        seconds, rest = divmod(each.ts_recv, SECOND)
        wire = max(each.wire_length, len(each.data))
        parts += [
            struct.pack(mark + "IIII", seconds, rest // unit, len(each.data), wire),
            each.data,
        ]
    return b"".join(parts)


def block(order: str, kind: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    mark = MARK[order]
    length = len(body) + 12
    return struct.pack(mark + "II", kind, length) + body + struct.pack(mark + "I", length)


def section(order: str, version: int = 1) -> bytes:
    return block(order, 0x0A0D0D0A, struct.pack(MARK[order] + "IHHq", 0x1A2B3C4D, version, 0, -1))


def option(order: str, code: int, value: bytes) -> bytes:
    return struct.pack(MARK[order] + "HH", code, len(value)) + value + bytes(-len(value) % 4)


def interface(
    order: str,
    link: int = 1,
    snap_len: int = 0,
    tsresol: int | None = None,
    tsoffset: int | None = None,
) -> bytes:
    options = option(order, 2, b"eth0")
    if tsresol is not None:
        options += option(order, 9, bytes([tsresol]))
    if tsoffset is not None:
        options += option(order, 14, struct.pack(MARK[order] + "q", tsoffset))
    options += option(order, 0, b"")
    return block(order, 1, struct.pack(MARK[order] + "HHI", link, 0, snap_len) + options)


def enhanced(order: str, number: int, ticks: int, data: bytes, wire: int = 0) -> bytes:
    fields = (number, ticks >> 32, ticks & 0xFFFFFFFF, len(data), max(wire, len(data)))
    padded = data + bytes(-len(data) % 4)
    flags = option(order, 2, b"\0\0\0\1") + option(order, 0, b"")
    return block(order, 6, struct.pack(MARK[order] + "IIIII", *fields) + padded + flags)


def simple(order: str, data: bytes, wire: int = 0) -> bytes:
    return block(order, 3, struct.pack(MARK[order] + "I", max(wire, len(data))) + data)


def obsolete(order: str, number: int, ticks: int, data: bytes, drops: int = 7) -> bytes:
    fields = (number, drops, ticks >> 32, ticks & 0xFFFFFFFF, len(data), len(data))
    return block(order, 2, struct.pack(MARK[order] + "HHIIII", *fields) + data)


def daily(messages: Iterable[bytes]) -> bytes:
    return b"".join(struct.pack(">H", len(each)) + each for each in messages)


SYSTEM_EVENT = b"S" + bytes(10) + b"O"
"""An ITCH 5.0 message of the right length, by which a daily file is recognised."""
DELETE = b"D" + bytes(18)


def gzipped(content: bytes, members: int = 1) -> bytes:
    step = -(-len(content) // members)
    cuts = range(0, len(content), step)
    return b"".join(gzip.compress(content[at : at + step], mtime=0) for at in cuts)


def zstandardised(content: bytes, frames: int = 1) -> bytes:
    step = -(-len(content) // frames)
    compressor = zstandard.ZstdCompressor(level=3, write_checksum=True)
    cuts = range(0, len(content), step)
    skippable = struct.pack("<II", 0x184D2A53, 5) + b"skips"
    return skippable + b"".join(compressor.compress(content[at : at + step]) for at in cuts)


PACK = {None: bytes, "gzip": gzipped, "zstd": zstandardised}
