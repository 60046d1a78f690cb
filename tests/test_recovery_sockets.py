"""Recovery over real sockets on the loopback: the lines, servers and clients as users run them.

The server has a thread of its own, the engine is the plain-Python one.  Nothing is decided by the
time but that something which must come does come.
"""

import contextlib
import json
import random
import socket
import subprocess
import sys
import threading
import time

import pytest

import itch_messages
from model_engine import ModelEngine
from naive_books import ItchBooks, itch_feed
from real_engine import RealEngine
from recovery_world import MS, Plan, clean_books, streams_of
from tickpath.recovery import moldudp64
from tickpath.recovery.engine import LineName
from tickpath.recovery.error import RecoveryError
from tickpath.recovery.feed import FeedRecovery
from tickpath.recovery.glimpse import GlimpseClient
from tickpath.recovery.limits import Limits
from tickpath.recovery.line import Line
from tickpath.recovery.network import Peer
from tickpath.recovery.refill import GrpRefill, MoldRefill
from tickpath.recovery.sockets import Addresses, SocketNetwork, join
from tickpath.recovery.spin import SpinClient
from tickpath.recovery.state import State
from tickpath.recovery.unit_link import Login
from tickpath.serve.config import Serve
from tickpath.serve.line_faults import LinePlan
from tickpath.serve.publisher import Pace
from tickpath.serve.server import FeedServer
from tickpath.serve.unruly import UnrulyPlan
from tickpath.session.credentials import Credentials, Secret

LOOPBACK = "127.0.0.1"
PATIENCE_S = 60.0
"""How long a test waits for what must come; nothing is decided by it but a failure."""
LIMITS = Limits(
    request_messages=20,
    requests_under_way=4,
    answer_timeout_ns=20 * MS,
    fill_timeout_ns=500 * MS,
    fill_max_messages=150,
    snapshot_attempts=1_000,
    snapshot_retry_ns=20 * MS,
)
"""A hole is never given up for want of time."""
USER = Credentials("TICK", Secret("REHEARSAL"))
LOGIN = Login("0001", "TICK", Secret("REHEARSAL"))


class Follower:
    """Both lines of a feed, the model engine or the real one, and recovery over sockets."""

    def __init__(
        self, streams, addresses: dict, lines: list[socket.socket], gap_group, is_real: bool = False
    ) -> None:
        codec = streams[0].codec
        self.streams, self.codec, self.sockets = streams, codec, lines
        self.names = [LineName(LOOPBACK, 1, stream.unit) for stream in streams]
        clean = dict(zip(self.names, map(clean_books, streams), strict=True))
        self.clean = {name: books for name, (books, _) in clean.items()}
        digests = {name: each for name, (_, each) in clean.items()}
        empty = {name: type(books)() for name, (books, _) in clean.items()}
        self.engine = RealEngine(digests) if is_real else ModelEngine(codec, empty, digests)
        is_itch = codec is moldudp64
        where = Addresses(
            requests=(tuple(addresses["requests"]),) if is_itch else (),
            proxies=() if is_itch else (tuple(addresses["grp"]),),
            gap_group=None if is_itch else gap_group,
            snapshots=tuple((name, (self._snapshots(addresses, name),)) for name in self.names),
        )
        self.network = SocketNetwork(where, self.names)
        units = {name.unit: name for name in self.names}
        self.recovery = FeedRecovery(
            self.engine,
            self.network,
            codec,
            {name: Line(LIMITS, 1, True) for name in self.names},
            MoldRefill(self.network, 1) if is_itch else GrpRefill(self.network, LOGIN, 1, units),
            self._client,
        )
        self.network.attach(self.recovery)

    @staticmethod
    def _snapshots(addresses: dict, name: LineName):
        if "glimpse" in addresses:
            return tuple(addresses["glimpse"])
        return tuple(addresses["spin"][str(name.unit)])

    def _client(self, name: LineName, at_least: int, now_ns: int):
        if self.codec is moldudp64:
            return GlimpseClient(USER, now_ns, limits=LIMITS)
        return SpinClient(LOGIN, at_least, now_ns, limits=LIMITS)

    def follow(self) -> None:
        """Until everything is there."""
        deadline = time.monotonic() + PATIENCE_S
        while not self._is_over():
            assert time.monotonic() < deadline, (
                self.recovery.states,
                {n: e.expected for n, e in self.engine.lines.items()},
                self.recovery.counters,
                self.network.counters,
            )
            now_ns = time.monotonic_ns()
            for line in self.sockets:
                with contextlib.suppress(BlockingIOError):
                    while True:
                        self._live(line.recv(65_536), now_ns)
            self.engine.report(self.recovery, now_ns)
            self.network.poll(0.001)
            self.engine.report(self.recovery, time.monotonic_ns())

    def _live(self, raw: bytes, now_ns: int) -> None:
        found = self.codec.split(raw)
        units = {name.unit: name for name in self.names}
        if found is not None and found.unit in units:
            self.engine.receive(units[found.unit], raw, now_ns)
        elif isinstance(self.engine, RealEngine):
            self.engine.receive(self.names[0], raw, now_ns)
        else:
            self.engine.counters["packets_damaged"] += 1

    def _is_over(self) -> bool:
        return all(
            self.engine.lines[name].expected == stream.behind
            and self.recovery.lines[name].state is State.SYNCHRONISED
            for name, stream in zip(self.names, self.streams, strict=True)
        )

    def check(self) -> None:
        for name, clean in self.clean.items():
            assert self.engine.queues(name) == clean.queues()

    def close(self) -> None:
        self.network.close_all()


def receivers(number: int) -> list[socket.socket]:
    return [join((LOOPBACK, 0), LOOPBACK) for _ in range(number)]


@contextlib.contextmanager
def served(config: Serve, streams):
    """A feed server that runs in a thread; gives its addresses and what was counted."""
    stopped = threading.Event()
    with FeedServer(config, streams) as server:
        thread = threading.Thread(target=server.run, args=(stopped.is_set,))
        thread.start()
        try:
            yield server
        finally:
            stopped.set()
            thread.join(PATIENCE_S)
            assert not thread.is_alive()


def rehearse(feed: str, seed: int, is_real: bool = False, **faults) -> tuple[Follower, dict]:
    """A whole feed with faults, followed to its end."""
    streams = streams_of(Plan(feed=feed, messages=900), random.Random(seed))
    with contextlib.ExitStack() as closing:
        lines = receivers(3)
        for each in lines:
            closing.callback(each.close)
        *lines, gaps = lines
        gap_group = gaps.getsockname()
        gaps.close()
        config = Serve(
            lines=tuple(each.getsockname() for each in lines),
            gap_group=gap_group,
            pace=Pace(packets_per_second=2_000, heartbeat_ns=20 * MS),
            seed=seed,
            image_interval_ms=20,
            linger_s=3_600.0,
            **faults,
        )
        server = closing.enter_context(served(config, streams))
        follower = Follower(streams, server.addresses(), lines, gap_group, is_real)
        closing.callback(follower.close)
        follower.follow()
        follower.check()
    return follower, server.summary()


LOSSY = LinePlan(loss=0.15, duplicate=0.1, reorder=0.1, corrupt=0.05, jitter_us=100)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("feed", ["itch50", "pitch"])
def test_lossy_lines_and_unruly_servers(feed, seed):
    follower, counted = rehearse(
        feed,
        seed,
        plans=(LOSSY, LOSSY),
        both=LinePlan(loss=0.05, burst=0.3),
        requests=UnrulyPlan(silent=0.2, delay_ms=5) if feed == "itch50" else UnrulyPlan(silent=0.2),
        snapshots=UnrulyPlan(refuse=0.2, cut=0.2, delay_ms=5),
    )
    counters = follower.recovery.counters
    assert counters["holes"] and counters["holes_filled"] + counters["snapshots_taken"]
    assert counted["A_lost"] and counted["B_lost"] and counted["all_lost"]
    assert follower.engine.counters["packets_damaged"]
    assert not any(each[0] == "give_up" for each in follower.engine.log)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("feed", ["itch50", "pitch"])
def test_the_engine_itself_behind_lossy_lines(feed, seed):
    """Its own arbitration, holding and books: after every packet the clean feed's digest."""
    follower, counted = rehearse(
        feed,
        seed,
        is_real=True,
        plans=(LOSSY, LOSSY),
        both=LinePlan(loss=0.05, burst=0.3),
        requests=UnrulyPlan(silent=0.2),
        snapshots=UnrulyPlan(refuse=0.2, cut=0.2, delay_ms=5),
    )
    counters = follower.recovery.counters
    assert counters["holes"] and counters["holes_filled"] + counters["snapshots_taken"]
    assert counted["A_lost"] and counted["B_lost"] and counted["all_lost"]
    engine = follower.engine.engine.counters
    assert engine["packets_reordered"] and engine["duplicate_messages"]
    assert not engine["gaps"] and not engine["books_stale"]


@pytest.mark.parametrize("feed", ["itch50", "pitch"])
def test_snapshots_alone(feed):
    refuse = UnrulyPlan(refuse=1.0)
    both = LinePlan(loss=0.05, burst=0.5, burst_packets=8)
    follower, _ = rehearse(feed, 9, both=both, requests=refuse)
    counters = follower.recovery.counters
    assert counters["snapshots_taken"] and not counters["messages_recovered"]
    assert {each[0] for each in follower.engine.log} == {"clear", "deliver_snapshot", "splice"}


def test_nobody_listens_where_the_servers_should_be():
    """Everything is refused by the system: the line ends stale, and says so."""
    (name,) = names = [LineName(LOOPBACK, 1)]
    with contextlib.closing(socket.socket()) as tcp, contextlib.closing(receivers(1)[0]) as udp:
        tcp.bind((LOOPBACK, 0))
        # Bound and not listening it refuses as well, and nobody else can have it.
        nobody, silent = tcp.getsockname(), udp.getsockname()
        network = SocketNetwork(
            Addresses(requests=(silent,), snapshots=((name, (nobody,)),)), names
        )
        engine = ModelEngine(moldudp64, {name: ItchBooks()}, {name: [0]})
        limits = Limits(answer_timeout_ns=MS, snapshot_attempts=2, snapshot_retry_ns=MS)
        recovery = FeedRecovery(
            engine,
            network,
            moldudp64,
            {name: Line(limits, 1, True)},
            MoldRefill(network, 1),
            lambda *_: pytest.fail("nobody was connected to"),
        )
        network.attach(recovery)
        try:
            message = itch_messages.message("S", 0, 1, event_code="O")
            engine.receive(name, itch_messages.mold([message], 5), 0)
            engine.report(recovery, time.monotonic_ns())
            deadline = time.monotonic() + PATIENCE_S
            while recovery.states[name] is not State.STALE:
                assert time.monotonic() < deadline
                network.poll(0.01)
        finally:
            network.close_all()
    assert engine.log == [("give_up", name, 1, 4)]
    assert network.counters["connects"] == 2
    assert recovery.counters["requests_timed_out"] + recovery.counters["fill_timeouts"]


def test_peer_that_is_closed_says_nothing_more():
    network = SocketNetwork(Addresses(), [])
    peer = Peer("snapshot", 1, LineName(LOOPBACK, 1))
    network.close(peer)
    network.write(peer, b"gone")
    network.close_all()


def test_interface_that_is_not_ours():
    with pytest.raises(RecoveryError, match=r"recovery over 192\.0\.2\.1: .*name an address"):
        SocketNetwork(
            Addresses(interface="192.0.2.1", requests=((LOOPBACK, 9),)), [LineName(LOOPBACK, 1)]
        )


# ---------------------------------------------------------------- as users run it


def test_tickpath_serve_as_a_process(tmp_path):
    messages = itch_feed(random.Random(3), 600, ["ABC", "DEF"])
    path = tmp_path / "day.itch"
    path.write_bytes(itch_messages.run(messages))
    lines = receivers(2)
    where = [f"{LOOPBACK}:{each.getsockname()[1]}" for each in lines]
    command = [
        *(sys.executable, "-m", "tickpath.cli", "serve", str(path), "--json", "--linger", "3600"),
        *("--a", where[0], "--b", where[1], "--rate", "2000", "--heartbeat-ms", "20"),
        *("--faults-a", "loss=0.2", "--faults-b", "loss=0.2,duplicate=0.1"),
        *("--faults-both", "loss=0.05", "--unruly-requests", "silent=0.1", "--seed", "5"),
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        ready = json.loads(process.stdout.readline())
        assert ready["ready"] and ready["schema"] == "tickpath.serve/1"
        stream = _as_served(messages)
        follower = Follower([stream], ready, lines, None)
        follower.follow()
        follower.check()
        follower.close()
        process.send_signal(2)
        summary = json.loads(process.stdout.readline())
        assert process.wait(PATIENCE_S) == 130
    finally:
        process.kill()
        process.stdout.close()
        for each in lines:
            each.close()
    assert summary["interrupted"] is True
    assert summary["counters"]["messages"] == len(messages)
    assert summary["counters"]["A_lost"] and summary["counters"]["requests_answered"]


def _as_served(messages: list[bytes]):
    from tickpath.serve.stream import Stream

    return Stream(moldudp64, b"TICKPATH01", 0, 1, messages, [])
