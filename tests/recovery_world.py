"""A simulated network with its own clock: a feed's lines, its servers, and an engine behind them.

Everything that happens is an event in one queue, drawn from one seed.  Packets and bytes take a
while; datagrams to and from servers are lost, repeated, damaged; connections are refused and cut.
"""

import heapq
import itertools
import random
from collections.abc import Callable

import msgspec

from model_engine import ModelEngine
from naive_books import ItchBooks, NaiveBooks, PitchBooks, itch_feed, pitch_feed
from tickpath.recovery import moldudp64, sequenced_unit
from tickpath.recovery.engine import LineName
from tickpath.recovery.feed import FeedRecovery
from tickpath.recovery.glimpse import GlimpseClient
from tickpath.recovery.grp import Quotas
from tickpath.recovery.limits import Limits
from tickpath.recovery.line import Line
from tickpath.recovery.network import Peer
from tickpath.recovery.refill import GrpRefill, MoldRefill
from tickpath.recovery.spin import SpinClient
from tickpath.recovery.state import State
from tickpath.recovery.unit_link import Login
from tickpath.serve.glimpse import GlimpseServer
from tickpath.serve.grp import GapDatagram, GrpServer, ServerQuotas
from tickpath.serve.image import StreamImage
from tickpath.serve.line_faults import LineFaults, LinePlan
from tickpath.serve.publisher import Pace, Publisher
from tickpath.serve.requests import RequestServer
from tickpath.serve.spin import SpinServer
from tickpath.serve.stream import Packed, Stream
from tickpath.serve.unruly import Unruly, UnrulyPlan
from tickpath.session.credentials import Credentials, Secret

US, MS, SECOND = 1_000, 1_000_000, 1_000_000_000
SESSION = b"0000000001"
CREDENTIALS = Credentials("READER", Secret("secret"))
LOGIN = Login("0001", "READ", Secret("secret"))


class Plan(msgspec.Struct):
    """What a seed brings."""

    feed: str = "itch50"
    messages: int = 400
    lines: tuple[LinePlan, LinePlan] = (LinePlan(), LinePlan())
    both: LinePlan = LinePlan()
    servers: int = 1
    has_snapshot: bool = True
    requests: UnrulyPlan = UnrulyPlan()
    snapshots: UnrulyPlan = UnrulyPlan()
    quotas: ServerQuotas = ServerQuotas()
    own_quotas: Quotas = Quotas()
    udp_loss: float = 0.0
    """Of requests and answers."""
    refused: float = 0.0
    """Of connections."""
    outages: list[tuple[int, int]] = []
    """When no connection is made."""
    join_ns: int = 0
    max_held: int = 200
    limits: Limits = Limits(
        request_messages=20,
        requests_under_way=4,
        answer_timeout_ns=2 * MS,
        fill_timeout_ns=30 * MS,
        fill_max_messages=150,
        kept_packets=16,
        snapshot_timeout_ns=100 * MS,
        snapshot_retry_ns=5 * MS,
        stale_retry_ns=40 * MS,
        stale_retries=3,
    )


def streams_of(plan: Plan, chance: random.Random) -> list[Stream]:
    """The feed: one session, or three units."""
    made = []
    for unit in (0,) if plan.feed == "itch50" else (1, 2, 7):
        symbols = [f"U{unit}S{n}" + "LONG" * (n == 2) for n in range(4)]
        feed = itch_feed if plan.feed == "itch50" else pitch_feed
        count = plan.messages // (1 if plan.feed == "itch50" else 3)
        messages = feed(chance, count, symbols)
        packets, at, ts = [], 1, 0
        while at <= len(messages):
            behind = min(at + chance.randrange(1, 6), len(messages) + 1)
            ts += chance.randrange(1, 200 * US)
            packets.append(Packed(at, behind, ts))
            at = behind
        codec = moldudp64 if plan.feed == "itch50" else sequenced_unit
        session = SESSION if plan.feed == "itch50" else b""
        made.append(Stream(codec, session, unit, 1, messages, packets))
    return made


def clean_books(stream: Stream) -> tuple[NaiveBooks, list[int]]:
    """The books behind the last message, and the digest before every message."""
    books: NaiveBooks = ItchBooks() if stream.codec is moldudp64 else PitchBooks()
    digests = [0]
    for message in stream.messages:
        books.apply(message)
        digests.append(books.digest)
    assert not books.unknown
    return books, digests


class World:
    """See the module's text; also the `Network` of the recovery in it."""

    def __init__(self, plan: Plan, seed: int) -> None:
        self.plan, self.now_ns = plan, 1_000 * SECOND
        self.begun_ns = self.now_ns
        self.chance = random.Random(f"world {seed}")
        self._queue: list[tuple[int, int, Callable[[], None]]] = []
        self._serial = itertools.count()
        self.streams = streams_of(plan, self.chance)
        self.names = [LineName("239.1.1.1", 5001, stream.unit) for stream in self.streams]
        clean = [clean_books(stream) for stream in self.streams]
        self.clean = {n: books for n, (books, _) in zip(self.names, clean, strict=True)}
        codec = self.streams[0].codec
        self.engine = ModelEngine(
            codec,
            {n: type(books)() for n, books in self.clean.items()},
            {n: digests for n, (_, digests) in zip(self.names, clean, strict=True)},
            max_held=plan.max_held,
        )
        self.publisher = Publisher(
            self.streams,
            [LineFaults(each, seed, name) for each, name in zip(plan.lines, "AB", strict=True)],
            LineFaults(plan.both, seed, "both"),
            Pace(factor=1.0, heartbeat_ns=3 * MS),
            self.now_ns,
        )
        self._servers(seed)
        lines = {name: Line(plan.limits, plan.servers, plan.has_snapshot) for name in self.names}
        if plan.feed == "itch50":
            self.refill = MoldRefill(self, plan.servers)
        else:
            units = {name.unit: name for name in self.names}
            self.refill = GrpRefill(self, LOGIN, plan.servers, units, quotas=plan.own_quotas)
        self.recovery = FeedRecovery(
            self.engine, self, codec, lines, self.refill, self._snapshot_client
        )
        self.pipes: dict[Peer, Pipe] = {}

    def _servers(self, seed: int) -> None:
        plan = self.plan
        images = [StreamImage(stream) for stream in self.streams]
        requests = [Unruly(plan.requests, seed, f"server{n}") for n in range(plan.servers)]
        snapshots = Unruly(plan.snapshots, seed, "snapshots")
        self.request_servers = [RequestServer(self.streams, each) for each in requests]
        self.glimpse = GlimpseServer(images[0], CREDENTIALS, snapshots)
        self.proxies = [GrpServer(self.streams, LOGIN, plan.quotas, each) for each in requests]
        self.spins = {
            image.stream.unit: SpinServer(image, LOGIN, snapshots, 4 * MS) for image in images
        }

    def _snapshot_client(self, name: LineName, at_least: int, now_ns: int):
        if self.plan.feed == "itch50":
            return GlimpseClient(CREDENTIALS, now_ns, limits=self.plan.limits)
        return SpinClient(LOGIN, at_least, now_ns, limits=self.plan.limits)

    # ------------------------------------------------------------ the clock

    def at(self, when_ns: int, action: Callable[[], None]) -> None:
        heapq.heappush(self._queue, (when_ns, next(self._serial), action))

    def after(self, least_us: int, most_us: int, action: Callable[[], None], more: int = 0) -> None:
        late = self.chance.randrange(least_us * US, most_us * US) + more
        self.at(self.now_ns + late, action)

    def run(self, most_ns: int = 4_000 * SECOND) -> None:
        """Until nothing is missing any more and nothing more will come."""
        self.at(self.now_ns, self._publish)
        self.at(self.now_ns, lambda: self.recovery.start(self.now_ns))
        ticked_ns = 0
        for _ in range(2_000_000):
            if self._is_over() or self.now_ns - self.begun_ns > most_ns:
                return
            due_ns = min(
                (
                    each
                    for each in (self.engine.next_deadline(), self.recovery.next_deadline)
                    if each is not None
                ),
                default=None,
            )
            if due_ns is not None and due_ns <= self.now_ns and ticked_ns == self.now_ns:
                due_ns = self.now_ns + 1  # its deadline was this moment, and has been told
            if self._queue and (due_ns is None or self._queue[0][0] <= due_ns):
                when_ns, _, action = heapq.heappop(self._queue)
                self.now_ns = max(self.now_ns, when_ns)
                action()
            else:
                assert due_ns is not None
                self.now_ns = max(self.now_ns, due_ns)
                ticked_ns = self.now_ns
                self.recovery.tick(self.now_ns)
            self.engine.report(self.recovery, self.now_ns)
        raise AssertionError("the simulation does not end")

    def _is_over(self) -> bool:
        """All was sent, every line has heard of all of it, and nothing is awaited."""
        if not self.publisher.has_sent_all:
            return False
        for name, stream in zip(self.names, self.streams, strict=True):
            line, known = self.recovery.lines[name], self.engine.lines[name]
            if known.expected != stream.behind or line.has_hole:
                return False
            if line.state not in (State.SYNCHRONISED, State.STALE) or line.heal_ns is not None:
                return False
        return True

    # ------------------------------------------------------------ lines

    def _publish(self) -> None:
        for sent in self.publisher.poll(self.now_ns):
            if self.now_ns - self.begun_ns < self.plan.join_ns:
                continue
            name, raw = self.names[sent.stream], sent.datagram
            self.after(5, 15 + 5 * sent.line, lambda n=name, r=raw: self._live(n, r))
        self.at(max(self.publisher.next_deadline, self.now_ns + US), self._publish)

    def _live(self, name: LineName, raw: bytes) -> None:
        self.engine.receive(name, raw, self.now_ns)

    # ------------------------------------------------------------ the network of recovery

    def ask(self, server: int, line: LineName, datagram: bytes) -> None:
        for raw in self._datagram(datagram):
            self.after(50, 150, lambda r=raw: self._asked(server, line, r))

    def _asked(self, server: int, line: LineName, raw: bytes) -> None:
        answer = self.request_servers[server].answer(raw)
        if answer is not None:
            self._answer(answer[0], answer[1], line)

    def _answer(self, delay_ns: int, datagram: bytes, line: LineName | None) -> None:
        for raw in self._datagram(datagram):
            tell = lambda r=raw: self.recovery.answer(r, self.now_ns, line)  # noqa: E731
            self.after(50, 150, tell, delay_ns)

    def _datagram(self, raw: bytes) -> list[bytes]:
        """What becomes of a datagram on the way."""
        drawn = self.chance.random()
        if drawn < self.plan.udp_loss:
            return []
        if drawn < 1.3 * self.plan.udp_loss:
            return [raw, raw]
        if drawn < 1.5 * self.plan.udp_loss:
            return [raw[: self.chance.randrange(1, len(raw))]]
        return [raw]

    def connect(self, peer: Peer) -> None:
        elapsed = self.now_ns - self.begun_ns
        is_out = any(first <= elapsed < last for first, last in self.plan.outages)
        pipe = self.pipes[peer] = Pipe(self, peer)
        if is_out or self.chance.random() < self.plan.refused:
            self.after(50, 150, pipe.refuse)
        else:
            self.after(50, 150, pipe.make)

    def write(self, peer: Peer, contents: bytes) -> None:
        self.pipes[peer].up(contents)

    def close(self, peer: Peer) -> None:
        pipe = self.pipes.pop(peer, None)
        if pipe is not None:
            pipe.close()


class Pipe:
    """A TCP connection: bytes in order, in pieces."""

    def __init__(self, world: World, peer: Peer) -> None:
        self.world, self.peer = world, peer
        self.server = None
        self.is_closed = False
        self._up_ns = self._down_ns = 0

    def refuse(self) -> None:
        if not self.is_closed:
            self.is_closed = True
            self.world.pipes.pop(self.peer, None)
            self.world.recovery.disconnected(self.peer, self.world.now_ns)

    def make(self) -> None:
        if self.is_closed:
            return
        world, peer, now_ns = self.world, self.peer, self.world.now_ns
        if peer.kind == "refill":
            self.server = world.proxies[peer.number].accept(now_ns)
        elif world.plan.feed == "itch50":
            self.server = world.glimpse.acceptor.accept(now_ns, "here")
        else:
            self.server = world.spins[peer.line.unit].accept(now_ns)
        world.recovery.connected(peer, now_ns)
        self._tick()

    def up(self, contents: bytes) -> None:
        self._up_ns = max(self._up_ns, self.world.now_ns) + self.world.chance.randrange(150 * US)
        self.world.at(self._up_ns, lambda: self._heard(contents))

    def _heard(self, contents: bytes) -> None:
        if self.server.closed is None:
            self._told(self.server.receive(contents, self.world.now_ns))

    def _tick(self) -> None:
        if self.is_closed or self.server.closed is not None:
            return
        self._told(self.server.tick(self.world.now_ns))
        due_ns = self.server.next_deadline
        if due_ns is not None:
            self.world.at(max(due_ns, self.world.now_ns + 100 * US), self._tick)

    def _told(self, events: list) -> None:
        for event in events:
            if isinstance(event, GapDatagram):
                self.world._answer(event.delay_ns, event.datagram, None)
        while contents := self.server.take_output():
            while contents:
                cut = self.world.chance.randrange(1, len(contents) + 1)
                self._down(contents[:cut])
                contents = contents[cut:]
        if self.server.closed is not None:
            self._down(None)

    def _down(self, piece: bytes | None) -> None:
        world = self.world
        late = world.chance.randrange(150 * US)
        self._down_ns = max(self._down_ns, world.now_ns) + late
        world.at(self._down_ns, lambda: self._tell(piece))

    def _tell(self, piece: bytes | None) -> None:
        if self.is_closed:
            return
        if piece is None:
            self.is_closed = True
            self.world.pipes.pop(self.peer, None)
            self.world.recovery.disconnected(self.peer, self.world.now_ns)
        else:
            self.world.recovery.received(self.peer, piece, self.world.now_ns)

    def close(self) -> None:
        self.is_closed = True
        if self.server is not None and self.server.closed is None:
            self.server.disconnected(self.world.now_ns)


def drawn_plan(feed: str, seed: int) -> Plan:
    """Any mix of what can go wrong."""
    chance = random.Random(f"plan {feed} {seed}")

    def share(most: float, likely: float = 0.6) -> float:
        return chance.random() * most if chance.random() < likely else 0.0

    def line() -> LinePlan:
        return LinePlan(
            loss=share(0.2),
            duplicate=share(0.2),
            reorder=share(0.2),
            corrupt=share(0.1),
            reorder_us=chance.choice((100.0, 400.0, 3_000.0)),
            jitter_us=share(100),
            burst=share(0.5),
            burst_packets=12,
        )

    def unruly() -> UnrulyPlan:
        return UnrulyPlan(refuse=share(0.6), silent=share(0.4), cut=share(0.4), delay_ms=share(4))

    plan = Plan(
        feed=feed,
        messages=chance.choice((300, 600)),
        lines=(line(), line()),
        both=LinePlan(loss=share(0.1), burst=0.3, burst_packets=20),
        servers=chance.choice((0, 1, 1, 2)),
        has_snapshot=chance.random() < 0.75,
        requests=unruly(),
        snapshots=unruly(),
        udp_loss=share(0.3),
        refused=share(0.5),
        join_ns=chance.choice((0, 0, 3 * MS, 15 * MS)),
        max_held=chance.choice((10, 40, 400)),
        quotas=ServerQuotas(max_count=chance.choice((5, 100)), per_second=chance.choice((3, 320))),
        own_quotas=Quotas(per_second=chance.choice((2, 320)), per_day=chance.choice((6, 1000))),
    )
    if chance.random() < 0.3:
        plan.outages = [(chance.randrange(10 * MS), chance.randrange(10 * MS, 400 * MS))]
    if chance.random() < 0.3:
        plan.limits = msgspec.structs.replace(plan.limits, fill_max_messages=10)
    return plan
