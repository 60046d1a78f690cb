"""Recording: frames, files that are whole whatever happens, kernel times and drops, the command."""

import contextlib
import itertools
import json
import os
import random
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from captures import packets_of
from naive_books import itch_feed
from tickpath.capture import open_capture
from tickpath.record.error import RecordError
from tickpath.record.file import BUFFER_BYTES, RecordFile
from tickpath.record.frames import frame
from tickpath.record.receiver import Receiver
from tickpath.record.recorder import Recorder
from tickpath.recovery import moldudp64

LOOPBACK = "127.0.0.1"
GROUPS = (("239.255.78.1", 0), ("239.255.78.2", 0))
PATIENCE_S = 30.0


def free_port() -> int:
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sock:
        sock.bind((LOOPBACK, 0))
        return sock.getsockname()[1]


def sender() -> socket.socket:
    out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    out.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(LOOPBACK))
    out.bind((LOOPBACK, 0))
    return out


def read(path) -> list:
    with open_capture(path) as capture:
        packets = [each for batch in capture.batches() for each in packets_of(batch)]
        assert capture.findings == []
    return packets


# ---------------------------------------------------------------- frames


@pytest.mark.parametrize("group", ["239.255.78.1", "224.129.1.255", "10.1.2.3"])
@pytest.mark.parametrize("size", [0, 1, 33, 1_472, 60_000])
def test_frame_as_scapy_reads_it(group, size):
    payload = random.Random(size).randbytes(size)
    raw = frame(payload, ("192.0.2.7", 4_000), (group, 26_477))
    seen = Ether(raw)
    assert (seen[IP].src, seen[IP].dst, seen[IP].len) == ("192.0.2.7", group, 28 + size)
    assert (seen[UDP].sport, seen[UDP].dport, seen[UDP].len) == (4_000, 26_477, 8 + size)
    assert bytes(seen[UDP].payload) == payload
    again = IP(bytes(seen[IP]))
    del again.chksum
    assert IP(bytes(again)).chksum == seen[IP].chksum
    expected = {"239.255.78.1": "01:00:5e:7f:4e:01", "224.129.1.255": "01:00:5e:01:01:ff"}
    assert seen.dst == expected.get(group, "00:00:00:00:00:00")


# ---------------------------------------------------------------- files


def frames(count: int) -> list[tuple[int, int, bytes]]:
    """(interface, time, frame)."""
    chance = random.Random(4)
    return [
        (n % 2, 1_700_000_000_000_000_000 + n * 1_001, chance.randbytes(chance.randrange(42, 300)))
        for n in range(count)
    ]


def test_file_is_read_as_written(tmp_path):
    path = str(tmp_path / "out.pcapng")
    file = RecordFile(path, ["A 239.1.1.1:1", "B 239.1.1.2:1"])
    for each in frames(500):
        file.write(*each)
    file.close()
    file.close()
    assert [(each.ts_recv, each.data) for each in read(path)] == [each[1:] for each in frames(500)]
    assert (file.packets, file.bytes_written) == (500, os.path.getsize(path))


def test_file_without_packets(tmp_path):
    path = str(tmp_path / "out.pcapng")
    RecordFile(path, ["A"]).close()
    assert read(path) == []


@pytest.mark.skipif(shutil.which("capinfos") is None, reason="capinfos (tshark) is not installed")
def test_interfaces_as_wireshark_sees_them(tmp_path):
    path = str(tmp_path / "out.pcapng")
    file = RecordFile(path, ["A 239.1.1.1:5", "B 239.1.1.2:5"])
    for each in frames(11):
        file.write(*each)
    file.close()
    said = subprocess.run(["capinfos", path], capture_output=True, text=True, check=True).stdout
    assert "Number of interfaces in file: 2" in said
    assert said.count("Time precision = nanoseconds (9)") == 2
    for name, packets in (("A 239.1.1.1:5", 6), ("B 239.1.1.2:5", 5)):
        part = said.partition(f"Name = {name}\n")[2]
        assert part.partition("Number of packets = ")[2].startswith(f"{packets}\n")


def limited(limit: int, path: str) -> list[str]:
    """Write frames in a process whose files may have so many bytes; what it printed."""
    code = f"""
import resource, signal, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
from test_record import RecordFile, RecordError, frames
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
try:
    file = RecordFile({path!r}, ["A", "B"])
    for each in frames(60):
        file.write(*each)
        file.flush()
    file.close()
except RecordError as error:
    print(error)
    print(file.packets, file.bytes_written)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return run.stdout.splitlines()


@pytest.mark.parametrize("limit", [3_000, 5_001, 7_777])
def test_what_a_full_disk_took_can_be_read(tmp_path, limit):
    path = str(tmp_path / "out.pcapng")
    message, counted = limited(limit, path)
    packets, length = map(int, counted.split())
    assert message == (
        f"{path}: cannot be written: File too large: {packets} packets are in it and can be read"
    )
    assert os.path.getsize(path) == length <= limit
    assert [each.data for each in read(path)] == [each[2] for each in frames(60)[:packets]]
    assert packets > 3


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="/dev/full is not there")
def test_full_disk_is_one_line():
    with pytest.raises(RecordError, match=r"/dev/full: the disk is full: 0 packets .* free space"):
        RecordFile("/dev/full", ["A"])


def test_buffer_is_bounded(tmp_path):
    file = RecordFile(str(tmp_path / "out.pcapng"), ["A"])
    for _ in range(3_000):
        file.write(0, 5, bytes(1_000))
        assert file._waiting_bytes < BUFFER_BYTES
    assert file.bytes_written > 2 * BUFFER_BYTES - 2_000
    file.close()


@pytest.mark.parametrize("name", ["", "nowhere/out.pcapng", "nu\0l.pcapng"])
def test_file_that_cannot_be_made(tmp_path, name):
    path = f"{tmp_path}/{name}"
    with pytest.raises(RecordError, match=r"cannot be made: .*; name a file to write"):
        RecordFile(path, ["A"])


# ---------------------------------------------------------------- lines


@pytest.fixture
def lines():
    made = [
        Receiver(name, (group, free_port()), LOOPBACK)
        for name, (group, _) in zip("AB", GROUPS, strict=True)
    ]
    yield made
    for each in made:
        each.close()


def wait_for(receiver: Receiver, count: int) -> list:
    taken, deadline = [], time.monotonic() + PATIENCE_S
    while len(taken) < count:
        assert time.monotonic() < deadline
        taken += receiver.take()
    return taken


def test_receive_times_are_the_kernels(lines):
    with contextlib.closing(sender()) as out:
        before = time.time_ns()
        for number in range(20):
            out.sendto(b"%d" % number, lines[0].group)
        after = time.time_ns()
        time.sleep(0.02)  # what is read later was still received then
        taken = wait_for(lines[0], 20)
    assert [each.payload for each in taken] == [b"%d" % number for number in range(20)]
    times = [each.ts_recv for each in taken]
    assert times == sorted(times) and before <= times[0] and times[-1] <= after
    assert {each.source for each in taken} == {taken[0].source}
    assert lines[0].counters == {"packets": 20, "bytes": 30}
    assert lines[1].take() == []


def test_kernel_drops_are_counted(lines):
    line = lines[0]
    line.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2_048)
    with contextlib.closing(sender()) as out:
        for _ in range(400):
            out.sendto(bytes(500), line.group)
        taken = line.take()
        out.sendto(b"after", line.group)
        taken += wait_for(line, 1)
    assert taken[-1].payload == b"after"
    assert line.kernel_drops == 401 - len(taken) > 0


def test_group_that_cannot_be_joined():
    with pytest.raises(RecordError, match=r"line A: 239\.1\.1\.1:9 over 192\.0\.2\.1 cannot be"):
        Receiver("A", ("239.1.1.1", 9), "192.0.2.1")


def test_both_lines_in_the_order_of_their_times(tmp_path, lines):
    path = str(tmp_path / "out.pcapng")
    with contextlib.closing(sender()) as out:
        for number in range(100):
            out.sendto(b"%d" % number, lines[number % 2].group)
        recorder = Recorder(path, lines)
        assert recorder.run(lambda: False, packets=100)
        recorder.close()
    packets = read(path)
    assert [bytes(Ether(each.data)[UDP].payload) for each in packets] == [
        b"%d" % number for number in range(100)
    ]
    times = [each.ts_recv for each in packets]
    assert times == sorted(times)
    assert {Ether(each.data)[IP].dst for each in packets[::2]} == {GROUPS[0][0]}
    assert recorder.summary()["lines"]["B"]["packets"] == 50


def test_seconds_and_stop(tmp_path, lines):
    recorder = Recorder(str(tmp_path / "out.pcapng"), lines)
    clock = itertools.count(0.0, 0.5)
    assert recorder.run(lambda: False, seconds=2.0, clock=lambda: next(clock))
    assert not recorder.run(lambda: True)
    recorder.close()


# ---------------------------------------------------------------- the command


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "tickpath.cli", "record", *words]


def started(path, *words: str) -> tuple[subprocess.Popen, dict]:
    process = subprocess.Popen(
        command(str(path), *words, "--json"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    return process, json.loads(process.stdout.readline())


def ended(process: subprocess.Popen) -> tuple[int, dict, str]:
    out, err = process.communicate(timeout=PATIENCE_S)
    return process.returncode, json.loads(out), err


def test_record_what_a_feed_sends(tmp_path):
    """Both lines of a feed, recorded and read back: the messages of the capture."""
    messages = itch_feed(random.Random(8), 200, ["ABC"])
    ports = [free_port(), free_port()]
    groups = [f"{LOOPBACK}:{port}" for port in ports]
    path = tmp_path / "out.pcapng"
    datagrams = [
        moldudp64.join(b"0000000001", 0, 1 + at, messages[at : at + 4]) for at in range(0, 200, 4)
    ]
    process, ready = started(path, "--line", groups[0], "--line", groups[1], "--packets", "100")
    assert ready["lines"] == {"A": [LOOPBACK, ports[0]], "B": [LOOPBACK, ports[1]]}
    with contextlib.closing(sender()) as out:
        for each in datagrams:
            for port in ports:
                out.sendto(each, (LOOPBACK, port))
    code, summary, err = ended(process)
    assert (code, err, summary["packets"], summary["kernel_drops"]) == (0, "", 100, 0)
    payloads = [bytes(Ether(each.data)[UDP].payload) for each in read(path)]
    assert sorted(payloads) == sorted(datagrams * 2)


def test_ctrl_c_leaves_a_whole_file(tmp_path):
    path, port = tmp_path / "out.pcapng", free_port()
    process, _ = started(path, "--line", f"{LOOPBACK}:{port}")
    with contextlib.closing(sender()) as out:
        out.sendto(b"one", (LOOPBACK, port))
        deadline = time.monotonic() + PATIENCE_S
        while len(read(path)) < 1:  # what waits is written within a second
            assert time.monotonic() < deadline
            time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    code, summary, _ = ended(process)
    assert (code, summary["packets"], summary["interrupted"]) == (0, 1, True)
    assert len(read(path)) == 1


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="/dev/full is not there")
def test_disk_that_fills_up_while_recording(tmp_path):
    path, port = tmp_path / "out.pcapng", free_port()

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, 5_000))

    process = subprocess.Popen(
        command(str(path), "--line", f"{LOOPBACK}:{port}", "--json"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=limit,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    process.stdout.readline()
    stop = threading.Event()

    def send() -> None:
        with contextlib.closing(sender()) as out:
            while not stop.wait(0.002):
                out.sendto(bytes(700), (LOOPBACK, port))

    thread = threading.Thread(target=send)
    thread.start()
    try:
        code, summary, err = ended(process)
    finally:
        stop.set()
        thread.join()
    assert code == 1
    assert err == f"tickpath: {summary['findings'][0]}\n"
    assert "File too large" in err and "can be read" in err
    assert len(read(path)) == summary["packets"] > 0


@pytest.mark.parametrize(
    ("name", "words", "message"),
    [
        ("out.pcap", ("--line", "239.1.1.1:5"), "{}: what is recorded is pcapng"),
        ("out.pcapng", ("--line", "239.1.1.1"), "--line: '239.1.1.1' is not ADDRESS:PORT"),
        ("no/out.pcapng", ("--line", "239.1.1.1:5"), "{}: cannot be made"),
        (
            "out.pcapng",
            ("--line", "239.1.1.1:5", "--interface", "192.0.2.1"),
            "line A: 239.1.1.1:5 over 192.0.2.1 cannot be joined",
        ),
    ],
)
def test_usage(tmp_path, name, words, message):
    path = f"{tmp_path}/{name}"
    run = subprocess.run(command(path, *words), capture_output=True, text=True)
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr.startswith(f"tickpath: {message.format(path)}")
    assert run.stderr.count("\n") == 1
