"""An order session and an exchange in a world of cut lines and killed processes, by seed.

Lines lose no byte in the middle, as TCP does not, but they cut the stream anywhere, delay it, and
end at any byte, each direction on its own.  Either process is killed at any moment, also in the
middle of a write to the journal, and begins again from what it had stored.  Whatever happens:

  * the desk hears every message of the exchange exactly once, in order, in every one of its lives;
  * no order reaches the exchange twice;
  * every order that was sent is answered or settled, and what was settled as never received was
    never accepted;
  * in the end both sides agree on which orders are alive.
"""

import os
import random

import pytest

from test_session_ouch import Exchange, Words
from test_session_soup import PASSWORD, SECOND
from tickpath.session.ouch import OrderSession
from tickpath.session.ouch_event import ConnectWanted, Outcome, Ready, SessionState
from tickpath.session.ouch_message import Kind
from tickpath.session.ouch_settings import OrderSettings
from tickpath.session.soup import Limits, LoginLimits, Secret, Sequenced, Unsequenced
from tickpath.session.store import Journal

MILLISECOND = 10**6
STEP_NS = 5 * MILLISECOND
NEW = (Kind.ENTER, Kind.REPLACE)


class Direction:
    """One direction of a line: bytes in order, late, in pieces, up to where it is cut."""

    def __init__(self, generator: random.Random):
        self.generator = generator
        self.pieces: list[tuple[int, bytes]] = []
        self.is_cut = False

    def push(self, sent: bytes, now_ns: int) -> None:
        while sent and not self.is_cut:
            size = self.generator.choice((1, 2, 3, 7, 20, 64, 500, len(sent)))
            delay_ns = self.generator.choice((0, 0, 1, 3, 30)) * MILLISECOND
            last_ns = self.pieces[-1][0] if self.pieces else 0
            self.pieces.append((max(last_ns, now_ns + delay_ns), sent[:size]))
            sent = sent[size:]

    def pop(self, now_ns: int) -> bytes:
        count = sum(1 for due_ns, _ in self.pieces if due_ns <= now_ns)
        taken, self.pieces = self.pieces[:count], self.pieces[count:]
        return b"".join(piece for _, piece in taken)

    def cut(self) -> None:
        """Nothing more goes in; of what is on the way a part still arrives, cut at any byte."""
        self.is_cut = True
        on_the_way = b"".join(piece for _, piece in self.pieces)
        if on_the_way:
            kept = on_the_way[: self.generator.randint(0, len(on_the_way))]
            due_ns = self.pieces[-1][0]
            self.pieces = [(due_ns, kept)] if kept else []

    @property
    def is_over(self) -> bool:
        return self.is_cut and not self.pieces


class Line:
    """A connection: the server's end of it, and both directions."""

    def __init__(self, generator: random.Random, server):
        self.server = server
        self.up, self.down = Direction(generator), Direction(generator)

    def cut(self) -> None:
        self.up.cut()
        self.down.cut()


class Venue:
    """The exchange's process.  What it publishes is stored first, so a new one is the same."""

    def __init__(self, words: Words, generator: random.Random):
        self.words = words
        self.generator = generator
        self.stored: list[bytes] = []
        self.seen: list[tuple[Kind, object]] = []
        self.accepted: set[object] = set()
        self.cancels_on_disconnect = generator.random() < 0.3
        self.down_until_ns = 0
        self.begin()

    def begin(self) -> None:
        self.exchange = Exchange(self.words, self.stored)
        self.exchange.seen = self.seen
        numbers = [self.exchange._number(key) for kind, key in self.seen if kind in NEW]
        self.exchange.highest = max(numbers, default=0)  # also of those it ignored
        self.exchange.acceptor.login_limits = LoginLimits(max_connections=1000)
        publish = self.exchange.publish

        def publish_stored(message: bytes, now_ns: int) -> None:
            self.stored.append(message)
            answer = self.words.dialect.answer(message)
            if answer.kind in (Kind.ACCEPTED, Kind.REPLACED):
                self.accepted.add(answer.key)
            publish(message, now_ns)

        self.exchange.publish = publish_stored

    def handle(self, events, now_ns: int) -> None:
        for event in events:
            if isinstance(event, Unsequenced):
                self.exchange.take(event.payload, now_ns)

    def trade(self, now_ns: int) -> None:
        """Somebody takes shares of one of the desk's orders."""
        live = list(self.exchange.live.items())
        if live:
            key, leaves = self.generator.choice(live)
            quantity = self.generator.randint(1, leaves)
            number = self.exchange._number(key)
            executed = self.words.outbound(self.words.executed_name, number, quantity)
            self.exchange.publish(executed, now_ns)

    def cancel_everything(self, now_ns: int) -> None:
        for key, leaves in list(self.exchange.live.items()):
            number = self.exchange._number(key)
            self.exchange.publish(self.words.outbound("canceled", number, leaves), now_ns)


class World:
    def __init__(self, path, protocol: str, seed: int):
        self.generator = random.Random(seed)
        self.words = Words(protocol)
        self.path = path
        self.now_ns = 0
        self.venue = Venue(self.words, self.generator)
        self.lines: list[Line] = []
        self.is_calm = False
        self.kills = {"desk": 0, "venue": 0, "line": 0, "torn": 0}
        self.settings = OrderSettings(
            limits=Limits(timeout_ns=3 * SECOND),
            reconnect_first_ns=10 * MILLISECOND,
            reconnect_longest_ns=SECOND // 5,
            stable_ns=SECOND // 10,
            max_attempts=10**6,
            messages_per_second=self.generator.choice((100, 2_000)),
            message_burst=20,
            max_queue=20,
            jitter_seed=seed,
            catch_up_ns=SECOND // 20,  # sometimes too short for all that is on its way
            settle_timeout_ns=SECOND // 5,
        )
        self.begin_desk()

    # -------------------------------------------------------- the desk's process

    def begin_desk(self) -> None:
        self.journal = Journal(self.path, protocol=self.words.dialect.name, fsync="none")
        self.session = OrderSession(
            self.journal, "user", Secret(PASSWORD), now_ns=self.now_ns, settings=self.settings
        )
        # The engine is fed again from the journal, and goes on where that ends.
        self.applied = [each.payload for each in self.journal.received()]
        self.number = self.session.port.highest
        self.line: Line | None = None

    def hear(self, events) -> None:
        for event in events:
            if isinstance(event, Sequenced):
                assert event.sequence == len(self.applied) + 1
                self.applied.append(event.payload)
            elif isinstance(event, Ready):
                self.number = max(self.number, event.next_user_ref_num - 1)
            elif isinstance(event, ConnectWanted):
                self.connect()

    def connect(self) -> None:
        server = None
        if self.now_ns >= self.venue.down_until_ns:
            server = self.venue.exchange.acceptor.accept(self.now_ns, "10.0.0.1")
        if server is None:
            self.hear(self.session.connect_failed("refused", self.now_ns))
            return
        self.line = Line(self.generator, server)
        self.lines.append(self.line)
        self.hear(self.session.connected(self.now_ns))

    def trade(self) -> list[bytes]:
        """What the engine wants to send now."""
        messages = []
        for _ in range(self.generator.choice((0, 0, 1, 2, 6))):
            known = self.number
            choice = self.generator.random()
            if choice < 0.6 or not known:
                self.number += 1
                messages.append(self.words.enter(self.number, self.generator.randint(1, 300)))
            elif choice < 0.8:
                self.number += 1
                orig = self.generator.randint(max(1, known - 5), known)
                messages.append(self.words.replace(orig, self.number, 100))
            else:
                messages.append(self.words.cancel(self.generator.randint(1, known)))
        return messages

    # -------------------------------------------------------- what goes wrong

    def kill_desk(self) -> None:
        """Sometimes in the middle of a write: then nothing of that call has left the process."""
        self.kills["desk"] += 1
        size = self.journal.size_bytes
        if self.generator.random() < 0.8:
            self.now_ns += 10 * STEP_NS
            self.session.send_all(self.trade(), self.now_ns)
            self.session.tick(self.now_ns)
        after = self.journal.size_bytes
        self.journal.close()
        if after > size:
            self.kills["torn"] += 1
            os.truncate(self.path, self.generator.randint(size, after))
        if self.line is not None:
            self.line.cut()
        self.begin_desk()

    def kill_venue(self) -> None:
        self.kills["venue"] += 1
        for line in self.lines:
            line.up.pieces.clear()  # its process reads no more
            line.cut()
            line.server = None
        self.venue.begin()
        self.venue.down_until_ns = self.now_ns + self.generator.randint(0, 300) * MILLISECOND

    def misfortune(self) -> None:
        chance = self.generator.random()
        if chance < 0.003:
            self.kill_desk()
        elif chance < 0.005:
            self.kill_venue()
        elif chance < self.cut_chance() and self.line is not None:
            self.kills["line"] += 1
            self.line.cut()

    def cut_chance(self) -> float:
        """Lines like to be lost while what was sent before is being settled."""
        is_short = self.words.is_50 and self.session.state is SessionState.SETTLING
        return 0.1 if is_short else 0.012

    # -------------------------------------------------------- time

    def carry(self, line: Line) -> None:
        server = line.server
        if server is not None:
            self.venue.handle(server.receive(line.up.pop(self.now_ns), self.now_ns), self.now_ns)
            was_logged_in = server.is_logged_in
            if line.up.is_over:
                server.disconnected(self.now_ns)
            self.venue.handle(server.tick(self.now_ns), self.now_ns)
            if was_logged_in and not server.is_logged_in and self.venue.cancels_on_disconnect:
                self.venue.cancel_everything(self.now_ns)
            line.down.push(server.take_output(self.generator.choice((5, 100, 10**5))), self.now_ns)
            if server.closed is not None:
                line.cut()
        if line is self.line:
            self.hear(self.session.receive(line.down.pop(self.now_ns), self.now_ns))
            if line.down.is_over:
                self.hear(self.session.disconnected(self.now_ns))
                if line is self.line:
                    self.line = None
            else:
                output = self.session.take_output(self.generator.choice((1, 30, 10**5)))
                line.up.push(output, self.now_ns)

    def step(self) -> None:
        self.now_ns += STEP_NS
        if not self.is_calm:
            self.misfortune()
            self.hear(self.session.send_all(self.trade(), self.now_ns))
            if self.now_ns >= self.venue.down_until_ns and self.generator.random() < 0.2:
                self.venue.trade(self.now_ns)
        self.hear(self.session.tick(self.now_ns))
        for line in list(self.lines):
            self.carry(line)
        self.lines = [each for each in self.lines if not (each.up.is_over and each.down.is_over)]
        assert self.session.ended is None, str(self.session.ended)

    def run(self, steps: int) -> None:
        for _ in range(steps):
            self.step()

    def calm_down(self) -> None:
        """Let everything arrive, then settle once more, so that nothing is left open."""
        self.is_calm = True
        self.run(400)
        if self.line is not None:
            self.line.cut()
        for _ in range(4000):
            self.step()
            is_ready = self.session.state is SessionState.READY
            if is_ready and not self.session.port.waiting and not self.lines_carry():
                break

    def lines_carry(self) -> bool:
        return any(line.up.pieces or line.down.pieces for line in self.lines) or (
            self.session.has_output or any(line.server.has_output for line in self.lines)
        )


def check(world: World) -> None:
    venue, journal, port = world.venue, world.journal, world.session.port
    assert world.session.state is SessionState.READY
    published = [
        venue.exchange.session.message(sequence)
        for sequence in range(1, venue.exchange.session.next_sequence)
    ]
    assert published == venue.stored
    assert world.applied == published
    assert [each.payload for each in journal.received()] == published
    assert [each.number for each in journal.received()] == list(range(1, len(published) + 1))
    # No order reached the exchange twice.
    enters = [key for kind, key in venue.seen if kind in NEW]
    assert len(enters) == len(set(enters))
    sent = {}
    for entry in journal.sent():
        request = world.words.dialect.request(entry.payload)
        if request.kind in NEW:
            assert request.key not in sent
            sent[request.key] = entry
    assert set(enters) <= set(sent) and venue.accepted <= set(enters)
    # Every order is answered or settled, and truly so.
    assert not port.orders.unanswered
    enters = set(enters)
    assert set(sent) == venue.accepted | set(port.settled)
    for key, outcome in port.settled.items():
        if outcome is Outcome.NEVER_RECEIVED:
            assert key not in enters
        elif outcome is Outcome.UNKNOWN:
            assert key not in venue.accepted
    # Both sides agree on what is alive.
    assert port.orders.leaves == venue.exchange.live


@pytest.mark.parametrize("protocol", ["ouch50", "ouch42"])
@pytest.mark.parametrize("seed", range(100))
def test_world(tmp_path, protocol, seed):
    world = World(tmp_path / "j", protocol, seed)
    world.run(500)
    world.calm_down()
    check(world)


def test_the_world_is_as_bad_as_it_should_be(tmp_path):
    """What the seeds do is counted, so that a world without misfortune would be noticed."""
    totals: dict[str, int] = {}
    for seed in range(12):
        world = World(tmp_path / str(seed), "ouch50", seed)
        world.run(500)
        world.calm_down()
        counts = {**world.kills, "received": len(world.applied)}
        for name in ("never_received", "unknown", "cancels_repeated", "refused"):
            counts[name] = getattr(world.session.counters, name)
        counts["settled"] = len(world.session.port.settled)
        for name, count in counts.items():
            totals[name] = totals.get(name, 0) + count
    assert totals["desk"] > 5 and totals["venue"] > 5 and totals["line"] > 20
    assert totals["torn"] > 2 and totals["received"] > 2000 and totals["settled"] > 50


@pytest.mark.long
@pytest.mark.parametrize("protocol", ["ouch50", "ouch42"])
@pytest.mark.parametrize("seed", range(1000, 1200))
def test_world_for_long(tmp_path, protocol, seed):
    world = World(tmp_path / "j", protocol, seed)
    world.run(2000)
    world.calm_down()
    check(world)
