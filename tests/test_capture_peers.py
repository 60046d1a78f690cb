"""Captures against other programs: scapy, Wireshark's tools, and real captures read by both."""

import shutil
import subprocess
from decimal import Decimal
from pathlib import Path

import pytest

from captures import SHARED, Packet, read
from tickpath.capture import create_capture
from tickpath.packet import LINK_MESSAGES

scapy_pcap = pytest.importorskip("scapy.utils", reason="scapy is not installed")

SECOND = 10**9
START = 1_577_693_354 * SECOND + 326_749_000
PACKETS = [
    Packet(START + k * 1_000_017_000, bytes([k, 255 - k]) * (20 + k), 1, (40 + 2 * k) + 7 * (k % 3))
    for k in range(40)
]

real = pytest.mark.skipif(
    not SHARED.is_dir(), reason="real captures are not here (../shared/data beside the project)"
)


def needs(program: str):
    found = shutil.which(program)
    return pytest.mark.skipif(not found, reason=f"{program} is not installed (apt install tshark)")


def run(*command: object) -> str:
    done = subprocess.run([str(each) for each in command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def write(path: Path, packets: list[Packet] = PACKETS, **options) -> Path:
    with create_capture(path, **options) as writer:
        for each in packets:
            writer.write_bytes(each.data, each.ts_recv, each.link, each.wire_length)
    return path


def scapy_pcap_read(path: Path) -> list[Packet]:
    with scapy_pcap.RawPcapReader(str(path)) as reader:
        unit = 1 if reader.nano else 1000
        return [
            Packet(meta.sec * SECOND + meta.usec * unit, data, reader.linktype, meta.wirelen)
            for data, meta in reader
        ]


# ---------------------------------------------------------------- scapy


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("nanoseconds", [True, False])
@pytest.mark.parametrize("order", ["little", "big"])
def test_scapy_reads_pcap(tmp_path, order, nanoseconds, suffix):
    path = tmp_path / f"a.pcap{suffix}"
    write(path, byte_order=order, nanoseconds=nanoseconds)
    assert scapy_pcap_read(path) == PACKETS


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("nanoseconds", [True, False])
@pytest.mark.parametrize("mark", ["<", ">"])
def test_scapy_wrote_pcap(tmp_path, mark, nanoseconds, compressed):
    path = tmp_path / "a"
    with scapy_pcap.RawPcapWriter(
        str(path), linktype=1, endianness=mark, nano=nanoseconds, gz=compressed
    ) as writer:
        writer.write_header(None)
        for each in PACKETS:
            seconds, rest = divmod(each.ts_recv, SECOND)
            writer.write_packet(
                each.data,
                sec=seconds,
                usec=rest // (1 if nanoseconds else 1000),
                wirelen=each.wire_length,
            )
    found = read(path)
    assert (found.packets, found.findings) == (PACKETS, [])
    assert found.compression == ("gzip" if compressed else None)


@pytest.mark.parametrize("nanoseconds", [True, False])
@pytest.mark.parametrize("order", ["little", "big"])
def test_scapy_reads_pcapng(tmp_path, order, nanoseconds):
    packets = [each._replace(link=(1, 101, 113)[k % 3]) for k, each in enumerate(PACKETS)]
    path = write(tmp_path / "a.pcapng", packets, byte_order=order, nanoseconds=nanoseconds)
    with scapy_pcap.RawPcapNgReader(str(path)) as reader:
        found = [
            Packet(
                ((meta.tshigh << 32) + meta.tslow) * (SECOND // meta.tsresol),
                data,
                meta.linktype,
                meta.wirelen,
            )
            for data, meta in reader
        ]
    assert found == packets


def test_scapy_wrote_pcapng(tmp_path):
    path = tmp_path / "a"
    with scapy_pcap.RawPcapNgWriter(str(path)) as writer:
        writer.linktype = 1
        writer.write_header(None)
        for each in PACKETS:
            seconds = Decimal(each.ts_recv) / SECOND  # this writer takes them with their fraction
            writer.write_packet(each.data, sec=seconds, wirelen=each.wire_length)
    found = read(path)
    assert (found.packets, found.findings) == (PACKETS, [])


# ---------------------------------------------------------------- Wireshark


def tshark_read(path: Path) -> list[tuple[int, int, int, int]]:
    fields = ("frame.time_epoch", "frame.cap_len", "frame.len", "frame.encap_type")
    options = [option for each in fields for option in ("-e", each)]
    found = []
    for line in run("tshark", "-r", path, "-T", "fields", *options).splitlines():
        time, captured, wire, encapsulation = line.split("\t")
        nanoseconds = int(Decimal(time) * SECOND)
        found.append((nanoseconds, int(captured), int(wire), int(encapsulation)))
    return found


WTAP = {1: 1, 101: 7, 113: 25, 276: 210}
"""Wireshark's own numbers for link types."""


@needs("tshark")
@pytest.mark.parametrize("name", ["a.pcap", "a.pcapng", "a.pcap.gz", "a.pcapng.gz"])
@pytest.mark.parametrize("nanoseconds", [True, False])
@pytest.mark.parametrize("order", ["little", "big"])
def test_tshark_reads(tmp_path, name, nanoseconds, order):
    links = (1, 101, 113, 276) if "pcapng" in name else (101,)
    packets = [each._replace(link=links[k % len(links)]) for k, each in enumerate(PACKETS)]
    path = write(tmp_path / name, packets, byte_order=order, nanoseconds=nanoseconds)
    assert tshark_read(path) == [
        (each.ts_recv, len(each.data), each.wire_length, WTAP[each.link]) for each in packets
    ]


@needs("editcap")
@pytest.mark.parametrize("form", ["pcap", "nsecpcap", "pcapng"])
def test_editcap_wrote(tmp_path, form):
    out = tmp_path / "out"
    run("editcap", "-F", form, write(tmp_path / "a.pcapng"), out)
    found = read(out)
    assert (found.packets, found.findings) == (PACKETS, [])


@needs("editcap")
def test_editcap_took_our_bytes(tmp_path):
    """Through Wireshark and back, from each kind to the other, nothing is changed."""
    for name, form in [("a.pcap", "pcapng"), ("a.pcapng", "nsecpcap")]:
        run("editcap", "-F", form, write(tmp_path / name, byte_order="big"), tmp_path / "out")
        assert read(tmp_path / "out").packets == PACKETS


@needs("mergecap")
def test_mergecap_wrote_several_interfaces(tmp_path):
    ethernet = write(tmp_path / "a.pcapng", PACKETS[::2])
    cooked = [each._replace(link=113) for each in PACKETS[1::2]]
    micro = write(tmp_path / "b.pcap", cooked, nanoseconds=False)
    run("mergecap", "-I", "none", "-F", "pcapng", "-w", tmp_path / "out", ethernet, micro)
    found = read(tmp_path / "out")
    expected = sorted([*PACKETS[::2], *cooked], key=lambda each: each.ts_recv)
    assert (found.packets, found.findings) == (expected, [])


# ---------------------------------------------------------------- real captures


def captures() -> list[Path]:
    return sorted(SHARED.rglob("*.pcap"))


@real
@pytest.mark.parametrize("path", captures(), ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_real_capture_as_scapy_reads_it(path):
    found = read(path)
    assert (found.packets, found.findings) == (scapy_pcap_read(path), [])
    assert found.packets


@real
@pytest.mark.parametrize("name", ["a.pcap", "a.pcapng.gz", "a.pcap.zst"])
def test_real_capture_written_and_read(tmp_path, name):
    found = read(SHARED / "nasdaq_itch50" / "aapl_20191230_part1.pcap")
    assert read(write(tmp_path / name, found.packets)).packets == found.packets


@real
def test_daily_file_has_the_messages_of_its_pcap():
    """With the headers from Ethernet to MoldUDP64 taken off by hand, what is left is the file."""
    folder = SHARED / "nasdaq_itch50"
    blocks = b"".join(
        each.data[14 + 20 + 8 + 20 :] for each in read(folder / "aapl_20191230_part1.pcap").packets
    )
    daily = read(folder / "aapl_20191230_part1.NASDAQ_ITCH50")
    assert daily.packets == [Packet(0, blocks, LINK_MESSAGES, len(blocks))]
    assert (daily.kind, daily.findings) == ("itch", [])
