"""`tickpath serve` as a user meets it: what it says, how it ends, what it refuses."""

import json
import random
import signal
import subprocess
import sys

import pytest

import itch_messages
import pitch_messages
from captures import Packet, pcap
from naive_books import itch_feed, pitch_feed

LOOPBACK = "127.0.0.1"
PATIENCE_S = 180.0


@pytest.fixture(scope="module")
def day(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("serve") / "day.itch"
    path.write_bytes(itch_messages.run(itch_feed(random.Random(1), 120, ["ABC"])))
    return str(path)


@pytest.fixture(scope="module")
def units(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("serve") / "units.pcap"
    frames = [
        itch_messages.frame(pitch_messages.unit(messages[at : at + 5], unit, at + 1))
        for unit in (1, 2)
        for messages in [pitch_feed(random.Random(unit), 40, [f"U{unit}"])]
        for at in range(0, 40, 5)
    ]
    path.write_bytes(pcap([Packet(at, each) for at, each in enumerate(frames, 10**9)]))
    return str(path)


def command(*words: str) -> list[str]:
    lines = ("--a", f"{LOOPBACK}:9", "--b", f"{LOOPBACK}:10")
    return [sys.executable, "-m", "tickpath.cli", "serve", *lines, *words]


def run(*words: str) -> subprocess.CompletedProcess:
    return subprocess.run(command(*words), capture_output=True, text=True, timeout=PATIENCE_S)


def test_to_people(day):
    done = run(day, "--linger", "0", "--faults-a", "loss=1")
    assert done.returncode == 0
    ready, end = done.stdout.splitlines()
    assert ready.startswith("serving 120 messages in ")
    assert f"lines A to {LOOPBACK}:9, B to {LOOPBACK}:10; requests at {LOOPBACK}:" in ready
    assert "glimpse at" in ready
    assert end.startswith("served: ") and "A_lost " in end and "messages 120" in end
    assert done.stderr == f"reading {day}\n"


def test_to_scripts(units):
    done = run(units, "--json", "--linger", "0", "--gap-group", f"{LOOPBACK}:11", "--b", "")
    ready, end = map(json.loads, done.stdout.splitlines())
    assert (done.returncode, done.stderr) == (0, "")
    assert ready["lines"] == {"A": [LOOPBACK, 9]}
    assert set(ready["spin"]) == {"1", "2"} and ready["gap_group"] == [LOOPBACK, 11]
    assert end["interrupted"] is False and end["counters"]["messages"] == 80


def test_two_sessions_have_no_glimpse(tmp_path):
    messages = itch_feed(random.Random(1), 20, ["ABC"])
    frames = [
        itch_messages.frame(itch_messages.mold(messages, 1, session))
        for session in (b"SESSION001", b"SESSION002")
    ]
    path = tmp_path / "two.pcap"
    path.write_bytes(pcap([Packet(at, each) for at, each in enumerate(frames, 10**9)]))
    done = run(str(path), "--json", "--linger", "0")
    ready, end = map(json.loads, done.stdout.splitlines())
    assert done.stderr == "tickpath: no GLIMPSE server: it is of one session, and there are 2\n"
    assert "glimpse" not in ready and "requests" in ready
    assert (done.returncode, end["counters"]["messages"]) == (0, 40)


def test_same_seed_same_faults(day):
    words = (day, "--json", "--linger", "0", "--heartbeat-ms", "60000")  # a pause says no more
    words += ("--faults-a", "loss=0.3", "--faults-b", "corrupt=0.3")
    counted = [
        json.loads(run(*words, "--seed", seed).stdout.splitlines()[1])["counters"]
        for seed in ("4", "4", "5")
    ]
    names = ("A_lost", "A_sent", "B_corrupted", "B_sent")
    one, again, other = ([each[name] for name in names] for each in counted)
    assert one == again != other


def test_ctrl_c_is_clean(day):
    process = subprocess.Popen(
        command(day, "--json", "--rate", "1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert json.loads(process.stdout.readline())["ready"]
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, err) == (130, "")
    assert json.loads(out)["interrupted"] is True


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--a", "here:1"), "--a: 'here:1' is not ADDRESS:PORT"),
        (("--a", "", "--b", ""), "--a: at least one line is needed"),
        (("--pace", "fast"), "--pace: 'fast': give asap, wire, or a factor above 0"),
        (("--pace", "0"), "--pace: '0': give asap, wire, or a factor above 0"),
        (("--rate", "0"), "--rate: 0: give a number above 0"),
        (("--faults-b", "losses=1"), "--faults-b: 'losses=1': give NAME=NUMBER"),
        (("--unruly-requests", "refuse=2"), "serve: Expected `float` <= 1.0 - at `$.requests"),
        (("--unruly-snapshots", "rude=1"), "--unruly-snapshots: 'rude=1': give NAME=NUMBER"),
        (("--requests", "99999"), "serve: Expected `int` <= 65535 - at `$.requests_port`"),
        (("--interface", "192.0.2.1"), "lines over 192.0.2.1: "),
        (("--feed", "pitch"), "day.itch: a daily file is ITCH 5.0"),
    ],
)
def test_usage(day, words, message):
    done = run(day, "--linger", "0", *words)
    assert (done.returncode, done.stdout) == (2, "")
    line = done.stderr.splitlines()[-1]
    assert line.startswith("tickpath: ") and message in line
    assert "Traceback" not in done.stderr


def test_file_that_is_not_there(tmp_path):
    done = run(str(tmp_path / "nothing.pcap"))
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith("nothing.pcap: does not exist; check the name")
