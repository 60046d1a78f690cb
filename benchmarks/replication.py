"""What replication costs an order, how far a standby lags, and how long a late one takes.

    python benchmarks/replication.py [--rounds 5] [--messages 300000] [--skip mirror] [--out FILE]

Orders: the same session through the live loop again and again, a packet at a time at an even pace,
in turns: alone; publishing its inputs (asynchronous); publishing with orders that wait for a
standby process to have them (synchronous), over a ring in shared memory, over a lane on UDP
loopback (`tickpath.replica.lane`), and over a mirror there, which is two more processes.
Measured is from a packet's poll to the call that sends the order, by the cycle counter, in the
process that trades.  The active has one core, the standby another; a mirror's two processes share
what is left, which on two cores is nothing of their own.

Lag: the same at a million messages a second; for each burst that the standby takes, from when the
active was given its first packet to when the standby has applied all of it.  Both processes read
the same counter.

Snapshot: a standby with a million orders gives its state in chunks over TCP as a node does; another
process loads it and catches up with what was published meanwhile.

A figure counts only with the right answer: order bytes, state digests of active and standby.  Exits
with 1 where one differs.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
from numba import types

from tickpath import Config, Engine
from tickpath.backend import Native
from tickpath.capture import open_capture
from tickpath.clock import Clock, calibrate
from tickpath.config import Transport
from tickpath.environment import environment
from tickpath.failover import questions
from tickpath.failover.control import NOTHING, Answer, Control, ask
from tickpath.failover.state_copy import StateCopy
from tickpath.generate import SessionPlan, generate
from tickpath.jit import callback
from tickpath.layout import engine as engine_record
from tickpath.live import Live, _poll, _release
from tickpath.memory import accessors, copy_bytes, cycles
from tickpath.packet import PACKET
from tickpath.replay import prefault
from tickpath.replica.error import ReplicaError
from tickpath.replica.lane_receiver import LaneReceiver, LaneTransport
from tickpath.replica.lane_sender import LaneSender
from tickpath.replica.mirror import Settings
from tickpath.replica.ring import Ring, RingTransport
from tickpath.wire.itch50 import ITCH50

TAKER = "tickpath.samples:imbalance_taker"
RING_BYTES = 1 << 27
MOST_SAMPLES = 1 << 22
PACE_NS = 20_000
"""Between two packets where latency is measured: nobody waits for anybody."""
BUSY_MESSAGES = 1_000_000
"""A second, where lag is measured."""
LIFE = 4711
LOCAL = "127.0.0.1"
LANE = Settings(datagram_bytes=9_000)
ALONE, ASYNCHRONOUS = "alone", "asynchronous"
SHARED, BY_LANE, BY_MIRROR = (
    f"synchronous, {way}" for way in ("shared memory", "UDP", "UDP by a mirror's processes")
)
ADD = ITCH50["add_order_no_mpid_attribution"]
ONE, ZERO = np.uint64(1), np.uint64(0)
_SIZE = np.uint64(PACKET.itemsize)
_WORD = np.uint64(8)

PACED = np.dtype(
    [
        *(("packets", "<u8"), ("number", "<u8"), ("at", "<u8"), ("due", "<u8")),
        *(("interval", "<u8"), ("engine", "<u8"), ("samples", "<u8"), ("sends", "<u8")),
        *(("out", "<u8"), ("used", "<u8")),
    ]
)
paced = accessors("bench_paced", PACED)
packet = accessors("bench_packet", PACKET)
sample = accessors("bench_sample", np.dtype([("value", "<u8")]))

WATCHED = np.dtype(
    [
        *(("transport", "<u8"), ("poll", "<u8"), ("release", "<u8"), ("since", "<u8")),
        *(("samples", "<u8"), ("bursts", "<u8")),
    ]
)
watched = accessors("bench_watched", WATCHED)


@callback(types.uint64(types.uint64, types.uint64, types.uint64))
def _paced_poll(t, packets, most):
    at, now = paced.at(t), cycles()
    if at == paced.number(t) or now < paced.due(t):
        return ZERO
    copy_bytes(packets, paced.packets(t) + at * _SIZE, _SIZE)
    packet.set_ts_recv(packets, now)
    paced.set_at(t, at + ONE)
    # Late is late: no packet is due before it could be taken, so that bursts do not build up.
    paced.set_due(t, max(paced.due(t) + paced.interval(t), now))
    return ONE


@callback(types.void(types.uint64))
def _paced_release(t):
    pass


@callback(types.uint64(types.uint64, types.uint64, types.uint64))
def _paced_send(t, messages, length):
    sends = paced.sends(t)
    since = engine_record.polled_at(paced.engine(t))
    sample.set_value(paced.samples(t) + sends * _WORD, cycles() - since)
    paced.set_sends(t, sends + ONE)
    copy_bytes(paced.out(t) + paced.used(t), messages, length)
    paced.set_used(t, paced.used(t) + length)
    return ONE


@callback(types.uint64(types.uint64, types.uint64, types.uint64))
def _watched_poll(w, packets, most):
    number = _poll(watched.poll(w), watched.transport(w), packets, most)
    if number != ZERO:
        watched.set_since(w, packet.ts_recv(packets))
    return number


@callback(types.void(types.uint64))
def _watched_release(w):
    _release(watched.release(w), watched.transport(w))
    bursts = watched.bursts(w)
    if bursts < np.uint64(MOST_SAMPLES):
        sample.set_value(watched.samples(w) + bursts * _WORD, cycles() - watched.since(w))
        watched.set_bursts(w, bursts + ONE)


class Paced:
    """A transport that lends an array of packets at an even pace, and keeps what is sent."""

    is_live = True

    def __init__(self, packets: np.ndarray, interval_cycles: int) -> None:
        self.packets = packets
        self.samples = np.zeros(len(packets) + 1, np.uint64)
        self.out = np.zeros(1 << 26, np.uint8)
        self.state = np.zeros(1, PACED)
        self.state["packets"], self.state["number"] = packets.ctypes.data, len(packets)
        self.state["interval"] = interval_cycles
        self.state["samples"] = self.samples.ctypes.data
        self.state["out"] = self.out.ctypes.data
        self.samples[:] = self.out[0] = 0

    @property
    def native(self) -> Native:
        functions = (each.address for each in (_paced_poll, _paced_release, _paced_send))
        return Native(self.state.ctypes.data, *functions)

    def send(self, messages: memoryview) -> None:
        raw = np.frombuffer(messages, np.uint8)
        _paced_send.ctypes(int(self.state.ctypes.data), raw.ctypes.data, len(raw))

    def release(self) -> None:
        pass

    @property
    def is_empty(self) -> bool:
        return bool(self.state["at"][0] == self.state["number"][0])

    @property
    def orders(self) -> bytes:
        return self.out[: int(self.state["used"][0])].tobytes()


class Watched:
    """A ring's transport, with how old what it lends is when it has been applied."""

    is_live = True

    def __init__(self, inner: RingTransport) -> None:
        self.inner = inner
        self.samples = np.ones(MOST_SAMPLES, np.uint64)
        self.state = np.zeros(1, WATCHED)
        native = inner.native
        self.state["transport"], self.state["poll"] = native.transport, native.poll
        self.state["release"], self.state["samples"] = native.release, self.samples.ctypes.data

    @property
    def native(self) -> Native:
        inner = self.inner.native
        functions = (each.address for each in (_watched_poll, _watched_release))
        return Native(self.state.ctypes.data, *functions, inner.send)

    def send(self, messages: memoryview) -> None:
        pass

    def release(self) -> None:
        self.inner.release()


def pinned(core: int) -> None:
    """This process on a core, as far as there are as many; whatever its parent was on."""
    os.sched_setaffinity(0, {core % (os.cpu_count() or 1)})


def session(directory: Path, messages: int) -> np.ndarray:
    """A generated session's packets, in memory."""
    path = directory / "session.pcap"
    if not path.exists():
        generate(path, SessionPlan(messages=messages, symbols=200, seed=7, heartbeat_s=0))
    kept.append(open_capture(path))
    capture = kept[-1].__enter__()
    return np.concatenate([batch.copy() for batch in capture.batches()])


kept: list[Any] = []


def figures(cycles_taken: np.ndarray, clock: Clock) -> dict[str, float]:
    """Percentiles in nanoseconds."""
    ns = cycles_taken / clock.cycles_per_ns
    names = {"p50": 50, "p90": 90, "p99": 99, "p99_9": 99.9, "max": 100}
    return {name: round(float(np.percentile(ns, at)), 1) for name, at in names.items()}


# ---------------------------------------------------------------- the standby's process


def followed(ring: str, lane: LaneReceiver | None) -> RingTransport:
    """A place in the ring at a path, as soon as there is one."""
    deadline = time.monotonic() + 60
    while True:
        if lane is not None:
            lane.turn()
        try:
            attached = Ring.attach(ring)
            break
        except ReplicaError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.001)
    if lane is None:
        return RingTransport(attached, "standby", behind=0)
    return LaneTransport(attached, "standby", lane, behind=0)


def stand_by(ring: str, core: int, port: int) -> int:
    """Follow a ring until stdin ends; prints how it stands.  With a ``port`` it comes from there,
    by a lane."""
    pinned(core)
    clock = calibrate()
    engine = Engine(strategy=TAKER)
    engine.advance(np.zeros(0, PACKET))
    prefault(engine)
    lane = LaneReceiver(Path(ring), "standby", (LOCAL, port), LANE) if port else None
    inner = followed(ring, lane)
    transport = Watched(inner)
    over = threading.Event()

    def wait() -> None:
        sys.stdin.read()
        over.set()

    threading.Thread(target=wait, daemon=True).start()
    with Live(engine, transport, clock, is_standby=True) as live:
        inner.mine["incarnation"] = LIFE
        print("ready", flush=True)
        while not over.is_set() or inner.lag:
            live.step(2_000_000)
            if lane is not None:
                lane.turn()
    bursts = int(transport.state["bursts"][0])
    said = {
        "state_digest": f"{engine.state_digest:016x}",
        "divergence": engine.divergence.name,
        "lapped": inner.is_lapped,
        "bursts": bursts,
        "lag_ns": figures(transport.samples[:bursts], clock) if bursts else None,
    }
    print(json.dumps(said), flush=True)
    return 0


@contextmanager
def standby(ring: Path, lane: LaneSender | None = None) -> Iterator[dict[str, Any]]:
    """A standby's process; the dictionary has what it said at its end."""
    said: dict[str, Any] = {}
    command = [sys.executable, __file__, "--standby", str(ring), "--core", "1"]
    if lane is not None:
        command += ["--port", str(lane.listens[1])]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        try:
            with turning(lane):
                begun = process.stdout.readline().strip()
            if begun != "ready":
                raise RuntimeError("the standby did not begin")
            yield said
            process.stdin.close()
            said.update(json.loads(process.stdout.readline()))
        finally:
            process.kill()


@contextmanager
def turning(lane: LaneSender | None) -> Iterator[None]:
    """Somebody may join a lane meanwhile."""
    over = threading.Event()

    def turn() -> None:
        while lane is not None and not over.is_set():
            lane.turn()
            time.sleep(0.0005)

    beside = threading.Thread(target=turn)
    beside.start()
    try:
        yield
    finally:
        over.set()
        beside.join()


@contextmanager
def mirror(directory: Path, ring: Path) -> Iterator[Path]:
    """The ring on what could be another host, by UDP; gives the mirror's path."""
    copy, command = directory / "mirrored", [sys.executable, "-m", "tickpath.cli", "mirror"]
    address = "127.0.0.1:29417"
    sender = subprocess.Popen(
        [*command, "send", "--ring", str(ring), "--listen", address, "--datagram-bytes", "9000"],
        stdout=subprocess.DEVNULL,
    )
    receiver = subprocess.Popen(
        [*command, "receive", "--ring", str(copy), "--name", "standby", "--source", address],
        stdout=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 60
        while not copy.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        yield copy
    finally:
        for each in (receiver, sender):
            each.terminate()
            each.wait(10)
        with suppress(FileNotFoundError):
            copy.unlink()


# ---------------------------------------------------------------- the active


class Active:
    """An engine on a paced transport; `run` gives its figures and its answer."""

    def __init__(
        self,
        packets: np.ndarray,
        clock: Clock,
        pace_ns: float,
        ring: Path | None,
        by_lane: bool = False,
    ):
        config = Config(transport=Transport(burst=1, orders_to="127.0.0.1:1"))
        self.engine, self.clock = Engine(config, strategy=TAKER), clock
        self.engine.advance(np.zeros(0, PACKET))
        prefault(self.engine)
        self.ring = None if ring is None else Ring.create(ring, RING_BYTES)
        if self.ring is not None:
            self.ring._bytes[:: os.sysconf("SC_PAGE_SIZE")].sum()  # mapped before anybody waits
            self.engine.publish_to(self.ring.address)
        self.transport = Paced(packets, int(pace_ns * clock.cycles_per_ns))
        self.transport.state["engine"] = self.engine.block.address
        self.lane: LaneSender | None = None
        if by_lane:
            assert self.ring is not None
            self.lane = LaneSender(self.ring, (LOCAL, 0), LANE, clock)
        self.live = Live(self.engine, self.transport, clock, self.lane)

    def require(self, wait_ns: int) -> None:
        """Orders wait for the standby."""
        assert self.ring is not None
        deadline = time.monotonic() + 30
        while not (found := np.flatnonzero(self.ring.followers["incarnation"] == LIFE)).size:
            if time.monotonic() > deadline:
                raise RuntimeError("nobody follows")
            time.sleep(0.01)
            if self.lane is not None:
                self.lane.turn()
        self.live.gate.wait_ns = wait_ns
        self.live.gate.require({int(found[0]): LIFE})

    def run(self) -> dict[str, Any]:
        with self.live:
            begun = time.perf_counter()
            while not self.transport.is_empty:
                self.live.step(5_000_000)
            seconds = time.perf_counter() - begun
            while self.live.gate.waiting_bytes:
                self.live.gate.try_again()
        if self.lane is not None:
            self.hand_over(self.lane)
        sends = int(self.transport.state["sends"][0])
        return {
            "seconds": round(seconds, 3),
            "sends": sends,
            "kept_back": self.live.gate.shut,
            "messages_per_second": round(self.engine.messages / seconds),
            "latency_ns": figures(self.transport.samples[:sends], self.clock),
            "state_digest": f"{self.engine.state_digest:016x}",
            "orders": self.transport.orders,
        }

    def hand_over(self, lane: LaneSender) -> None:
        """What the standby has not acknowledged yet is sent by nobody but us."""
        assert self.ring is not None
        deadline = time.monotonic() + 30
        while not (self.ring.followers["acknowledged"] == self.ring.header["number"]).any():
            if time.monotonic() > deadline:
                raise RuntimeError(f"the standby does not get all: {lane.counters}")
            lane.turn()
        lane.close()


def one(kind: str, packets: np.ndarray, clock: Clock, directory: Path, pace_ns: float) -> Any:
    """One run of one way to replicate."""
    ring = directory / "ring"
    if kind == ALONE:
        return Active(packets, clock, pace_ns, None).run()
    active = Active(packets, clock, pace_ns, ring, by_lane=kind == BY_LANE)
    if kind == BY_MIRROR:
        with mirror(directory, ring) as copy, standby(copy) as said:
            active.require(50_000_000)
            found = active.run()
    elif kind == BY_LANE:
        copy = directory / "by-lane"
        with standby(copy, active.lane) as said:
            active.require(10_000_000)
            found = active.run()
        copy.unlink()
    else:
        with standby(ring) as said:
            if kind == SHARED:
                active.require(10_000_000)
            found = active.run()
    found["standby"] = said
    return found


def check(runs: list[dict[str, Any]]) -> None:
    """All sent the same, and every standby is where its active is."""
    for each in runs:
        said = each.get("standby")
        if each["state_digest"] != runs[0]["state_digest"] or each["orders"] != runs[0]["orders"]:
            raise SystemExit(f"another answer: {each['state_digest']}")
        if said is not None and said["state_digest"] != each["state_digest"]:
            raise SystemExit(f"the standby differs: {said}")
    for each in runs:
        each.pop("orders")


def orders(
    packets: np.ndarray, clock: Clock, directory: Path, rounds: int, udp: bool, by_mirror: bool
) -> Any:
    """Latency of an order by way of replication, in turns."""
    kinds = [ALONE, ASYNCHRONOUS, SHARED]
    kinds += [BY_LANE, *([BY_MIRROR] if by_mirror else [])] if udp else []
    runs: dict[str, list[dict[str, Any]]] = {kind: [] for kind in kinds}
    for _ in range(rounds):
        for kind in kinds:
            runs[kind].append(one(kind, packets, clock, directory, PACE_NS))
    check([each for kind in kinds for each in runs[kind]])
    found = {}
    for kind, each in runs.items():
        medians = {
            name: float(np.median([run["latency_ns"][name] for run in each]))
            for name in ("p50", "p90", "p99", "p99_9", "max")
        }
        found[kind] = {"median_ns": medians, "runs": each}
    for kind in kinds[1:]:
        added = found[kind]["median_ns"]["p50"] - found[ALONE]["median_ns"]["p50"]
        found[kind]["added_p50_ns"] = round(added, 1)
    return found


def lag(packets: np.ndarray, clock: Clock, directory: Path, rounds: int) -> Any:
    """How old an input is when the standby has applied it."""
    probe = Engine(strategy=TAKER)
    probe.process(packets)
    pace_ns = probe.messages / len(packets) / BUSY_MESSAGES * 1e9
    runs = [one(ASYNCHRONOUS, packets, clock, directory, pace_ns) for _ in range(rounds)]
    check(runs)
    names = ("p50", "p90", "p99", "p99_9", "max")
    lags = {name: [run["standby"]["lag_ns"][name] for run in runs] for name in names}
    return {
        "wanted_messages_per_second": BUSY_MESSAGES,
        "messages_per_second": float(np.median([run["messages_per_second"] for run in runs])),
        "median_ns": {name: float(np.median(each)) for name, each in lags.items()},
        "runs": runs,
    }


# ---------------------------------------------------------------- the snapshot


def _adds(number: int, first: int) -> bytes:
    """Add orders of one symbol over many prices, each behind its length."""
    out = bytearray()
    for at in range(first, first + number):
        is_sell = at & 1
        away = 100 + at * 7919 % 5_000
        raw = ADD.encode(
            stock_locate=1,
            tracking_number=0,
            timestamp=34_200_000_000_000 + at,
            order_reference_number=at,
            buy_sell_indicator="BS"[is_sell],
            shares=100,
            stock="TEST",
            price=Decimal(10_000 + (away if is_sell else -away)) / 100,
        )
        out += len(raw).to_bytes(2, "big") + raw
    return bytes(out)


def serve_snapshot(ring: str, address: str, live_orders: int) -> int:
    """A standby with that many orders, which gives its state; prints when it is ready."""
    engine = Engine()
    made = Ring.create(ring, RING_BYTES)
    engine.publish_to(made.address)
    for first in range(1, live_orders, 50_000):
        engine.feed(_adds(min(50_000, live_orders - first + 1), first))
    took: dict[str, float] = {}

    def answer(question: questions.PeerQuestion) -> Answer | StateCopy:
        if not isinstance(question, questions.Snapshot):
            digest = f"{engine.state_digest:016x}"
            orders = int(engine.block.get("orders_live"))
            return {"digest": digest, "orders": orders, **took}, NOTHING
        begun = time.perf_counter()
        copy = StateCopy(engine, Counter())
        took["stall_s"] = time.perf_counter() - begun
        engine.feed(_adds(20_000, live_orders + 1))  # what has to be caught up with
        return copy

    control = Control(address, answer)
    print("ready", flush=True)
    over = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
    while not over.is_set():
        control.serve()
        time.sleep(0.0005)
    control.close()
    return 0


def snapshot(directory: Path, live_orders: int) -> Any:
    """A late standby: from its question to being where the other is."""
    ring, address = str(directory / "snapshot-ring"), "127.0.0.1:29418"
    command = [sys.executable, __file__, "--serve-snapshot", ring, "--address", address]
    late = Engine()
    late.advance(np.zeros(0, PACKET))
    prefault(late)
    late.restore(late.snapshot())
    with subprocess.Popen(
        [*command, "--orders", str(live_orders)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None and process.stdin is not None
        try:
            if process.stdout.readline().strip() != "ready":
                raise RuntimeError("the standby did not begin")
            begun = time.perf_counter()
            transport = RingTransport(Ring.attach(ring), "late")
            said, saved = ask(address, 30_000, ask="snapshot")
            came = time.perf_counter()
            late.restore(saved)
            late.begin_to_follow()
            restored = time.perf_counter()
            taken = 0
            while transport.lag:
                packets = transport.poll(64)
                late.process(packets)
                transport.release()
                taken += len(packets)
            caught_up = time.perf_counter()
            other, _ = ask(address, 30_000, ask="state_digest")
            process.stdin.close()
            process.wait(30)
        finally:
            process.kill()
    if (
        other["digest"] != f"{late.state_digest:016x}"
        or late.block.get("orders_live") < live_orders
    ):
        raise SystemExit("the late standby differs")
    return {
        "orders": live_orders,
        "bytes": len(saved),
        "record_number": said["record_number"],
        "records_caught_up": taken,
        "stall_s": round(other["stall_s"], 4),
        "made_and_moved_s": round(came - begun, 3),
        "restored_s": round(restored - came, 3),
        "caught_up_s": round(caught_up - restored, 3),
        "whole_s": round(caught_up - begun, 3),
    }


def main() -> int:
    """Measure, print; gives the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--messages", type=int, default=300_000)
    parser.add_argument("--orders", type=int, default=1_000_000)
    parser.add_argument("--skip", default="")
    parser.add_argument("--out", type=Path)
    for hidden in ("--standby", "--serve-snapshot", "--address"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    for hidden in ("--core", "--port"):
        parser.add_argument(hidden, type=int, default=0, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.standby:
        return stand_by(chosen.standby, chosen.core, chosen.port)
    if chosen.serve_snapshot:
        return serve_snapshot(chosen.serve_snapshot, chosen.address, chosen.orders)
    skipped = set(chosen.skip.split(","))
    clock = calibrate()
    result: dict[str, Any] = {
        "schema": "tickpath.benchmark.replication/1",
        "environment": {**environment(clock), "load_before": os.getloadavg()},
        "messages": chosen.messages,
        "rounds": chosen.rounds,
    }
    with tempfile.TemporaryDirectory(dir="/dev/shm") as place:
        directory = Path(place)
        if "snapshot" not in skipped:
            result["snapshot"] = snapshot(directory, chosen.orders)
        pinned(0)
        packets = session(directory, chosen.messages)
        if "orders" not in skipped:
            udp = "udp" not in skipped
            by_mirror = "mirror" not in skipped
            result["orders"] = orders(packets, clock, directory, chosen.rounds, udp, by_mirror)
        if "lag" not in skipped:
            result["lag"] = lag(packets, clock, directory, chosen.rounds)
        while kept:
            kept.pop().__exit__(None, None, None)
    text = json.dumps(result, indent=2)
    print(text)
    if chosen.out is not None:
        chosen.out.write_text(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
