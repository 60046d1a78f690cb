"""Captures are read in constant memory: what stays resident does not grow with the file."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import zstandard

from captures import pcap
from tickpath.capture import create_capture
from tickpath.packet import LINK_MESSAGES, PACKET

PIPELINE = Path(__file__).parents[1] / "pipeline"
CONTENT_BYTES = {".gz": 48 << 20}
"""Of the compressed file that takes long to make; 200 MiB of any other."""
GROWTH_KIB = 32 << 10
"""Two windows of a mapped file, or the buffer of a stream, and what the allocator keeps."""
BOMB_GROWTH_KIB = 96 << 10
"""For a stream made to expand without end: what one piece of it may expand to, twice."""

PROGRAM = """
import sys
from tickpath.capture import open_capture

def resident():
    for line in open("/proc/self/status"):
        if line.startswith("VmRSS"):
            return int(line.split()[1])

with open_capture(sys.argv[1]) as capture:
    batches = capture.batches()
    octets = int(next(batches)["length"].sum())
    before = most = resident()
    for number, batch in enumerate(batches):
        octets += int(batch["length"].sum(dtype="u8"))
        if number % 16 == 0:
            most = max(most, resident())
    print(octets, max(most, resident()) - before, len(capture.findings))
"""


def read_elsewhere(path) -> tuple[int, int, int]:
    """(bytes of packets, growth of resident KiB behind the first batch, findings)."""
    environment = {**os.environ, "PYTHONPATH": str(PIPELINE)}
    command = [sys.executable, "-c", PROGRAM, str(path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    octets, growth, findings = (int(each) for each in done.stdout.split())
    return octets, growth, findings


@pytest.mark.parametrize("name", ["a.pcap", "a.pcapng", "a.itch", "a.pcap.gz", "a.pcapng.zst"])
def test_resident_memory_is_constant(tmp_path, name):
    if not os.path.exists("/proc/self/status"):
        pytest.skip("needs /proc/self/status")
    size = 1000
    contents = np.zeros((256, size), np.uint8)
    packets = np.zeros(256, PACKET)
    packets["address"] = contents.ctypes.data + np.arange(256) * size
    packets["length"] = packets["wire_length"] = size
    packets["link"] = LINK_MESSAGES if "itch" in name else 1
    path = tmp_path / name
    rounds = CONTENT_BYTES.get(path.suffix, 200 << 20) // contents.nbytes
    source = np.random.default_rng(1)
    with create_capture(path) as writer:
        for _ in range(rounds):
            contents[:] = np.frombuffer(source.bytes(contents.nbytes), np.uint8).reshape(256, size)
            # For the daily file: a system event, then one message as long as the rest.
            contents[:, :3] = 0, 12, ord("S")
            contents[:, 14:16] = divmod(size - 16, 256)
            writer.write(packets)
    octets, growth, findings = read_elsewhere(path)
    path.unlink()
    assert (octets, findings) == (rounds * contents.nbytes, 0)
    assert growth < GROWTH_KIB


def test_stream_made_to_expand_without_end(tmp_path):
    """A zstd stream of 30 KB that holds a gigabyte of records without contents."""
    path = tmp_path / "bomb.zst"
    compressor = zstandard.ZstdCompressor(level=3).compressobj()
    with path.open("wb") as file:
        file.write(compressor.compress(pcap([])))
        for _ in range(1 << 10):
            file.write(compressor.compress(bytes(1 << 20)))
        file.write(compressor.flush())
    assert path.stat().st_size < 1 << 17
    octets, growth, findings = read_elsewhere(path)
    assert (octets, findings) == (0, 0)
    assert growth < BOMB_GROWTH_KIB
