"""A snapshot by a child: of one moment, whatever the node does meanwhile, and with an end."""

import json
import os
import time
from collections import Counter
from types import SimpleNamespace

import msgspec
import pytest

from tickpath.config import Config
from tickpath.engine import Engine
from tickpath.failover import control, state_copy
from tickpath.failover.control_error import ControlError
from tickpath.failover.state_copy import StateCopy
from tickpath.snapshot_stream import SnapshotError

SMALL = msgspec.convert(
    {"capacity": {"symbols": 64, "orders": 1 << 14, "overflow_levels": 4096, "trades": 1024}},
    Config,
)


def waited(copy: StateCopy):
    """The answer, after the child has ended."""
    end_s = time.monotonic() + 20.0
    while (found := copy.answer()) is None:
        assert time.monotonic() < end_s
        time.sleep(0.001)
    return found


class Stub(SimpleNamespace):
    """An engine of which only the snapshot is of interest."""

    def __init__(self, snapshot) -> None:
        super().__init__(snapshot=snapshot, block={"record_number": 7})


def test_what_the_node_does_meanwhile_is_not_in_it():
    engine = Engine(SMALL)
    engine.block.set("record_number", 41)
    engine.block.set("user_ref_num", 7)
    before, digest = engine.snapshot(), engine.state_digest
    counters: Counter[str] = Counter()
    said: list[str] = []
    copy = StateCopy(engine, counters, said.append)
    engine.block.set("record_number", 42)
    engine.block.set("user_ref_num", 8)
    words, content = waited(copy)
    assert b"".join(content.chunks) == before and engine.state_digest != digest
    assert words == {"record_number": 41}
    assert counters == {"snapshots_given": 1} and "ms of the loop" in said[0]
    fresh = Engine(SMALL)
    fresh.restore(b"".join(content.chunks))
    assert fresh.state_digest == digest and fresh.block.get("user_ref_num") == 7


def test_the_child_holds_no_file_of_the_node():
    (end, other) = os.pipe()
    copy = StateCopy(Stub(lambda: json.dumps(os.listdir("/proc/self/fd")).encode()), Counter())
    (found,) = waited(copy)[1].chunks
    assert len([each for each in json.loads(bytes(found)) if int(each) > 2]) == 2
    # Its own two: the memory file, and the directory that is being listed.
    os.close(end)
    os.close(other)


def test_a_large_state_comes_in_chunks(monkeypatch):
    monkeypatch.setattr(state_copy, "CHUNK_BYTES", 1000)
    monkeypatch.setattr(control, "CHUNK_BYTES", 1000)
    raw = bytes(range(250)) * 99
    content = waited(StateCopy(Stub(lambda: raw), Counter()))[1]
    assert b"".join(content.chunks) == raw and len(content.chunks) == len(content.digests) == 25


def failing(error: Exception):
    def snapshot():
        raise error

    return snapshot


@pytest.mark.parametrize(
    ("snapshot", "words"),
    [
        (failing(SnapshotError("inside a packet")), "in the middle of an input"),
        (failing(MemoryError()), "code 2"),
        (lambda: os.kill(os.getpid(), 11), "signal 11"),
    ],
)
def test_a_child_that_fails(snapshot, words):
    counters: Counter[str] = Counter()
    with pytest.raises(ControlError, match=words):
        waited(StateCopy(Stub(snapshot), counters))
    assert counters == {"snapshots_failed": 1}


def test_a_child_that_hangs_is_killed(monkeypatch):
    monkeypatch.setattr(state_copy, "MOST_S", 0.05)
    counters: Counter[str] = Counter()
    copy = StateCopy(Stub(lambda: time.sleep(600)), counters)
    pid = copy._pid
    with pytest.raises(ControlError, match=r"within 0.05 s"):
        waited(copy)
    assert counters == {"snapshots_late": 1}
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_no_room_for_a_child(monkeypatch):
    monkeypatch.setattr(os, "fork", failing(OSError(12, "Cannot allocate memory")))
    counters: Counter[str] = Counter()
    with pytest.raises(ControlError, match="no room for a copy of the state: Cannot allocate"):
        StateCopy(Stub(bytes), counters)
    assert counters == {"snapshots_without_room": 1}


def test_nobody_waits_for_it_any_more():
    copy = StateCopy(Stub(lambda: time.sleep(600)), Counter())
    pid = copy._pid
    copy.end()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
