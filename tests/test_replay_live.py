"""`tickpath replay --backend udp`: the object it prints, limits, pace, Ctrl-C, what is refused."""

import json
import signal
import subprocess
import sys
import time

import pytest

from sessions import PLAN, refused, replay, same, session
from tickpath import backend as backends
from tickpath.backend import BackendError


def why_not() -> str | None:
    try:
        backends.find("udp")
        backends.player()
    except BackendError as error:
        return str(error)
    return None


REASON = why_not()
needs_wire = pytest.mark.skipif(REASON is not None, reason=f"nothing can be played: {REASON}")
TAKER = ("--strategy", "tickpath.samples:imbalance_taker")
UDP = ("--backend", "udp")


@needs_wire
def test_it_says_what_a_file_replay_says_and_what_the_transport_says():
    path = session()
    here, live = replay(path, *TAKER), replay(path, *TAKER, *UDP)
    same([here, live], "messages", "messages_by_type", "book_digest", "state_digest", "orders")
    assert set(live) == {*here, "live"}
    assert live["backend"] == "udp" and live["findings"] == [] and live["pace"] == "asap"
    transport = live["environment"]["transport"]
    assert transport["transport"] == "udp" and transport["wire"]["groups"]
    counters = live["counters"]
    assert counters["wire_wanted"] == counters["wire_taken"] == live["live"]["received"]
    assert counters["transport_kernel_drops"] == 0
    assert counters["capture_packets"] == here["counters"]["capture_packets"]
    for name, count in here["counters"].items():
        if name not in ("bytes", "bytes_headers", "bytes_skipped"):
            assert counters[name] == count, name


@needs_wire
def test_a_limit_ends_it_without_a_finding():
    path = session()
    here, live = replay(path, *TAKER, "--limit", 5000), replay(path, *TAKER, *UDP, "--limit", 5000)
    same([here, live], "messages", "book_digest", "state_digest", "orders")
    assert live["messages"] == 5000 and live["findings"] == []


@needs_wire
def test_several_files_come_in_the_order_of_their_capture():
    paths = session(), session("other.pcap", PLAN)
    same([replay(*paths), replay(*paths, *UDP)], "messages", "book_digest", "lines", "gaps")


@needs_wire
def test_a_daily_file_has_no_pace():
    said = refused("replay", session("day.itch", PLAN), *UDP, "--pace", "wire")
    assert "--pace needs receive times" in said


LISTENING = """
import importlib, sys
from contextlib import contextmanager
module = importlib.import_module("tickpath.replay")
interruptible = module.interruptible
@contextmanager
def told():
    with interruptible() as interrupt:
        print("listening", file=sys.stderr, flush=True)
        yield interrupt
module.interruptible = told
from tickpath.cli import main
main()
"""
"""The command, which says when Ctrl-C is its own affair."""


@needs_wire
def test_ctrl_c_gives_what_was_done():
    replay(session(), *UDP, "--limit", 1)  # what has to be compiled is, by now
    arguments = ["replay", str(session()), *UDP, "--pace", "100", "--json"]
    child = subprocess.Popen(
        [sys.executable, "-c", LISTENING, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert any("listening" in line for line in child.stderr)
    time.sleep(2)  # some of it; at this pace all takes minutes
    child.send_signal(signal.SIGINT)
    output, _ = child.communicate(timeout=60)
    assert child.returncode == 130
    result = json.loads(output)
    assert result["interrupted"] is True and result["findings"] == []


def test_who_may_not_make_a_wire_is_told_what_to_do(monkeypatch):
    from tickpath_backends import native, veth

    monkeypatch.setattr(native, "why_not", lambda name: None)
    monkeypatch.setattr(veth.os, "geteuid", lambda: 1000)
    with pytest.raises(BackendError, match="need root; run: sudo"):
        backends.player()
