"""A live transport under load for long: the receiver and the sender, each a process of its own.

``python soak_process.py JOB`` is the receiver.  It makes a private wire, starts the sender on the
other end, builds all books with the live loop, and prints what it saw as one JSON object.  The
sender generates a trading session while it plays it, at an even rate, so that a run of any length
needs no file, and no order or sequence number comes twice.

Tables are pre-faulted and the session's live orders have a bound, so that memory which grows is a
leak.  Buffers are counted from outside: how many packets are lent before something is given back
must be the same of a fresh transport and after the load.
"""

import ctypes
import json
import mmap
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tickpath.namespace import enter, inside

GROUP = "233.54.12.111:26477"
"""Where generated sessions are sent to."""
SYMBOLS, LIVE_ORDERS, SEED = 200, 10_000, 5
MESSAGES_PER_PACKET = 6
"""More than there are: so that a session does not end before the packets do."""
STEP_NS = 20_000_000
READY_S, QUIET_S, SETTLE_S = 120.0, 1.0, 0.2
PAGE_BYTES = mmap.PAGESIZE
SECOND_NS = 1_000_000_000
MORE = 512
"""Packets beyond the buffers that are sent to find out how many are lent."""
AT_ONCE = 32


# ---------------------------------------------------------------- what is played


def played(packets: int) -> Iterator[np.ndarray]:
    """The first ``packets`` of the session, ``PACKET[n]``, each batch lent until the next."""
    from tickpath.generate import SessionPlan
    from tickpath.generate.session import Session

    messages = MESSAGES_PER_PACKET * packets
    plan = SessionPlan(
        messages=messages, symbols=SYMBOLS, live_orders=LIVE_ORDERS, seed=SEED, heartbeat_s=0
    )
    left = packets
    for batch in Session(plan).packets():
        yield batch[:left]
        left -= len(batch)
        if left <= 0:
            return


def sequences(batch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(first, behind) of the messages in each packet."""
    from tickpath.bench.wire_answer import HEADERS
    from tickpath.wire.moldudp64 import MOLDUDP64

    begin = int(batch["address"].min())
    end = int((batch["address"] + batch["length"]).max())
    raw = np.frombuffer((ctypes.c_uint8 * (end - begin)).from_address(begin), np.uint8)
    at = (batch["address"] - np.uint64(begin)).astype(np.int64) + HEADERS
    header = MOLDUDP64["downstream_packet"]

    def numbers(name: str) -> np.ndarray:
        place = next(each for each in header.fields if each.name == name)
        found = np.zeros(len(batch), np.int64)
        for byte in range(place.size):
            found = found << 8 | raw[at + place.offset + byte]
        return found

    first = numbers("sequence_number")
    return first, first + numbers("message_count")


def expected(job: dict[str, Any], gaps: list[list[int]]) -> dict[str, Any]:
    """What an engine holds that got all of it, but for the packets whose messages are ``gaps``."""
    from tickpath import Engine

    engine, behind_all = Engine(configured(job)), 1
    low = np.array([first for first, _ in gaps], np.int64)
    high = np.array([last for _, last in gaps], np.int64)
    for batch in played(job["packets"]):
        first, behind = sequences(batch)
        behind_all = int(behind.max(initial=behind_all))
        if gaps:
            at = np.searchsorted(low, first, side="right") - 1
            batch = batch[(at < 0) | (first > high[at])]
        engine.process(np.ascontiguousarray(batch))
    return {
        "messages": behind_all - 1,
        "book_digest": engine.book_digest,
        "state_digest": engine.state_digest,
        "orders_live": engine.orders_live,
        "counters": engine.counters,
    }


# ---------------------------------------------------------------- the sender


def send(job: dict[str, Any]) -> int:
    """Play at the job's rate; gives an exit code."""
    from tickpath_backends.play import DONE, Player, end_with_parent, frame_socket

    end_with_parent(job["parent"])
    os.sched_setaffinity(0, {job["core"]})
    shared = mmap.mmap(job["page"], 0)
    enter(job["namespace"])
    with frame_socket(job["interface"]) as sender:
        player = Player(job, shared, sender)
        found = played(job["packets"])
        batch = next(found)  # compiles
        number = 0
        if not player.await_go():
            return 1
        while batch is not None:
            due = np.arange(number, number + len(batch), dtype=np.uint64)
            batch["ts_recv"] = SECOND_NS + due * np.uint64(SECOND_NS) // np.uint64(job["rate"])
            number += len(batch)
            if player.play(np.ascontiguousarray(batch)) != DONE:
                return 1
            batch = next(found, None)
        player.page.finished = 1
    return 0


# ---------------------------------------------------------------- the receiver


def configured(job: dict[str, Any]) -> Any:
    """The engine's configuration, with the job's transport."""
    import msgspec

    from tickpath.config import Capacity, Config, Feed, Transport

    return Config(
        capacity=Capacity(symbols=256, orders=1 << 24, sparse_orders=1024, prefault=True),
        feed=Feed(groups=[GROUP]),
        transport=msgspec.convert(job["transport"], Transport),
    )


class Receiver:
    """A transport at the engine's end of a private wire, and what is seen of it from outside."""

    def __init__(self, job: dict[str, Any], wire: Any) -> None:
        from tickpath import backend
        from tickpath_backends import native
        from tickpath_backends.play import frame_socket
        from tickpath_backends.player import on_wire

        self.job, self.wire = job, wire
        self.config = on_wire(configured(job), wire, [GROUP])
        module = native.load("wire")
        self.memory = os.memfd_create("soak")
        os.ftruncate(self.memory, PAGE_BYTES)
        self._shared = mmap.mmap(self.memory, PAGE_BYTES)
        address = np.frombuffer(self._shared, np.uint8).ctypes.data
        self.page = module.ffi.cast("struct wire_page *", address)
        with inside(wire.exchange.namespace):
            self._probe = frame_socket(wire.exchange.interface)
        self.transport = backend.find(job["backend"]).transport(self.config)
        self._open()
        self.fresh_room = self.room()
        self._close()
        self._open()

    def _open(self) -> None:

        with inside(self.wire.engine.namespace):
            self.transport.open()

    def _close(self) -> None:

        with inside(self.wire.engine.namespace):
            self.transport.close()

    def start_sender(self, core: int) -> subprocess.Popen[bytes]:
        to, here = self.wire.engine, self.wire.exchange
        job = {
            **{name: self.job[name] for name in ("packets", "rate")},
            "groups": [GROUP],
            "mtu": self.wire.mtu,
            "window": 0,
            "in_order": False,
            "keeps_tags": 0,
            "write_off_ns": 1_000_000_000,
            "pace": 1.0,
            "mac": to.mac,
            "own_mac": here.mac,
            "own_address": here.address,
            "namespace": here.namespace,
            "page": self.memory,
            "interface": here.interface,
            "parent": os.getpid(),
            "core": core,
            "sends": True,
        }
        return subprocess.Popen(
            [sys.executable, __file__, json.dumps(job)],
            stdin=subprocess.DEVNULL,
            pass_fds=(here.namespace, self.memory),
        )

    def room(self) -> int:
        """How many packets can be lent at a time."""
        found = played(self.job["packets"])
        frame = next(found)[0]
        raw = ctypes.string_at(int(frame["address"]), int(frame["length"]))
        found.close()
        lent = sent = 0
        while sent < self.config.transport.buffers + MORE:
            for _ in range(AT_ONCE):
                self._probe.send(raw)
            sent += AT_ONCE
            lent += self._all()
        time.sleep(SETTLE_S)
        lent += self._all()
        self.transport.release()
        return lent

    def _all(self) -> int:
        """Poll, and give nothing back, until nothing comes."""
        number = 0
        while now := len(self.transport.poll(self.config.transport.burst)):
            number += now
        return number

    def links(self) -> dict[str, int]:
        """What the kernel counts at both ends of the wire."""

        found = {}
        for name, end in (("exchange", self.wire.exchange), ("engine", self.wire.engine)):
            with inside(end.namespace):
                done = subprocess.run(
                    ["ip", "-json", "-stats", "link", "show", "dev", end.interface],
                    capture_output=True,
                    check=True,
                )
            stats = json.loads(done.stdout)[0]["stats64"]
            found[f"{name}_sent"] = stats["tx"]["packets"]
            found[f"{name}_tx_dropped"] = stats["tx"]["dropped"]
            found[f"{name}_rx_dropped"] = stats["rx"]["dropped"]
        return found

    def look(self, started_s: float, received: int) -> dict[str, int]:
        """What is taken of the machine now."""
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return {
            "at_ms": round((time.monotonic() - started_s) * 1000),
            "rss_bytes": pages * mmap.PAGESIZE,
            "descriptors": len(os.listdir("/proc/self/fd")),
            "sent": int(self.page.wanted),
            "received": received,
        }

    def soak(self, engine: Any, core: int) -> dict[str, Any]:
        """Start the sender and take all that comes until nothing comes any more."""
        from tickpath.live import Live
        from tickpath.replay import prefault, set_clock

        before = dict(self.transport.counters)
        links = self.links()
        looks: list[dict[str, int]] = []
        with Live(engine, self.transport) as live:
            set_clock(engine, live.clock)
            prefault(engine)
            sender = self.start_sender(core)
            _await(lambda: self.page.ready or sender.poll() is not None)
            started_s = came_s = time.monotonic()
            next_s = self.job["first_look_s"]
            self.page.go = 1
            while time.monotonic() - came_s < QUIET_S:
                if live.step(STEP_NS) or not (self.page.finished or sender.poll() is not None):
                    came_s = time.monotonic()
                if time.monotonic() - started_s >= next_s:
                    looks.append(self.look(started_s, live.counters["received"]))
                    next_s += self.job["look_s"]
            looks.append(self.look(started_s, live.counters["received"]))
            loop = live.counters
        assert sender.wait(READY_S) == 0 and self.page.finished, "the sender did not send it all"
        after = dict(self.transport.counters)
        now = self.links()
        return {
            "sent": int(self.page.wanted),
            "unsent": int(self.page.unsent),
            "latest_ns": int(self.page.latest_ns),
            "transport": {name: after[name] - before.get(name, 0) for name in after},
            "links": {name: now[name] - links[name] for name in now},
            "loop": loop,
            "looks": looks,
        }

    def close(self) -> None:
        """Let go of everything that it opened."""
        self._close()
        self._probe.close()
        os.close(self.memory)


def _await(happened: Any) -> None:
    end_s = time.monotonic() + READY_S
    while not happened():
        assert time.monotonic() < end_s, "the sender is not ready"
        time.sleep(0.01)


def receive(job: dict[str, Any]) -> dict[str, Any]:
    """One soak; what was seen."""
    from tickpath import Engine
    from tickpath_backends.veth import Veth

    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[-1]})
    with Veth() as wire:
        receiver = Receiver(job, wire)
        try:
            engine = Engine(receiver.config)
            seen = receiver.soak(engine, cores[0])
            seen["room"] = {"fresh": receiver.fresh_room, "after": receiver.room()}
            seen["environment"] = dict(receiver.transport.environment)
            seen["findings"] = list(receiver.transport.findings)
        finally:
            receiver.close()
        return seen | {
            "lines": [
                {name: line[name] for name in ("first", "next", "messages", "missing")}
                for line in engine.lines()
            ],
            "gaps": [[gap.first, gap.last] for gap in engine.gaps()],
            "counters": engine.counters,
            "book_digest": engine.book_digest,
            "state_digest": engine.state_digest,
        }


def main() -> int:
    """Do the job of the command line."""
    job = json.loads(sys.argv[1])
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if job.get("sends"):
        return send(job)
    print(json.dumps(receive(job)))
    return 0


if __name__ == "__main__":
    root = Path(__file__).resolve().parents[1]
    sys.path[:0] = [str(root / "pipeline"), str(root / "backends")]
    sys.exit(main())
