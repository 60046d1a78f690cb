"""The gateway under any order of hand-overs, epochs, cut lines and kills, also within a write.

Nodes hand over any part of the same order stream with whatever epoch they were granted last.  The
gateway is killed between any two steps and within any write to either file, of which a part may
have reached the disk.  Whatever happens:

  * nothing is accepted of an epoch below the highest that was seen, in any of the gateway's lives;
  * every new order reaches the exchange at most once, in the stream's order, with its own bytes;
  * every new order either reaches it or has one outcome that says why not;
  * a follower hears every answer and every outcome once and in order, over all lives.
"""

import os
import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway_hall import MILLISECOND, Hall, Node, stream
from tickpath.failover.gateway import Accepted, Rejected
from tickpath.failover.gateway_event import Answer, Told
from tickpath.session.ouch_message import Kind
from tickpath.wire.gateway import Outcome, Refusal

NEW = (Kind.ENTER, Kind.REPLACE)
MAY_HAVE_COME = (Outcome.UNKNOWN, Outcome.CANCELED_UNSEEN)


class Killed(BaseException):
    """The process is gone, in the middle of something."""


class Disk:
    """Writes that succeed until one of them is the last."""

    def __init__(self, monkeypatch):
        self.left: int | None = None
        self.part = 0
        self._write = os.pwrite
        monkeypatch.setattr(os, "pwrite", self.pwrite)

    def pwrite(self, file: int, content, at: int) -> int:
        if self.left is not None:
            if not self.left:
                self.left = None
                self._write(file, bytes(content)[: self.part % (len(content) + 1)], at)
                raise Killed
            self.left -= 1
        return self._write(file, content, at)


class World:
    def __init__(self, path: Path, protocol: str, disk: Disk, seed: int):
        self.disk = disk
        self.hall = Hall(path, protocol, messages_per_second=50, message_burst=4)
        words, generator = self.hall.words, random.Random(seed)
        self.messages: list[bytes] = []
        number = 0
        for _ in range(60):
            if number and generator.random() < 0.25:
                self.messages.append(words.cancel(generator.randint(1, number)))
            else:
                number += generator.randint(1, 2)
                self.messages.append(words.enter(number))
        self.stream = stream(*self.messages)
        self.ends = [0]
        for message in self.messages:
            self.ends.append(self.ends[-1] + 2 + len(message))
        self.epochs = {"a": 0, "b": 0}
        self.granted = self.highest = self.position = 0
        self.answers: list[Answer] = []
        self.told: list[Told] = []
        self.lives = 1
        self.follow()

    def guarded(self, action) -> None:
        """Do something; where the process is killed in it, begin another one."""
        try:
            action()
        except Killed:
            self.restart(0)

    def restart(self, flying: int) -> None:
        """Kill the gateway; a few bytes that it had written still come to the exchange."""
        hall = self.hall
        if flying and hall.is_open and hall.exchange.server is not None:
            hall.exchange.receive(hall.session.take_output(flying), hall.now_ns)
        self.note()
        if hall.is_open:
            hall.kill()
        while not hall.is_open:
            self.lives += 1
            try:
                hall.start()
            except Killed:
                continue
        assert hall.gateway.order_position >= self.position
        assert hall.gateway.epoch >= self.highest
        self.follow()

    def follow(self) -> None:
        answer = self.answers[-1].sequence + 1 if self.answers else 1
        told = self.told[-1].number + 1 if self.told else 1
        self.follower = Node(self.hall, "f", next_answer=answer, next_outcome=told)

    def note(self) -> None:
        for event in self.follower.take():
            if isinstance(event, Answer):
                self.answers.append(event)
            elif isinstance(event, Told):
                self.told.append(event)

    # ------------------------------------------------------------ steps

    def grant(self, node: str) -> None:
        self.granted += 1
        self.epochs[node] = self.granted

    def hand(self, node: str, first: int, count: int) -> None:
        """A part of the stream, from a place near the gateway's own."""
        here = self.ends.index(self.hall.gateway.order_position)
        begin = min(max(0, here + first), len(self.messages))
        end = min(begin + count, len(self.messages))
        content = self.stream[self.ends[begin] : self.ends[end]]
        epoch = self.epochs[node]
        before = self.hall.gateway.order_position
        said = self.hall.hand(node, epoch, self.ends[begin], content)
        if isinstance(said, Accepted):
            assert epoch >= self.highest and self.ends[begin] <= before
            self.position = said.order_position
            assert self.position == max(before, self.ends[end])
        else:
            assert isinstance(said, Rejected) and said.order_position == before
            if said.reason is Refusal.STALE_EPOCH:
                assert epoch < said.highest_epoch
            elif epoch:
                assert said.reason is Refusal.POSITION_AHEAD and self.ends[begin] > before
        self.highest = max(self.highest, epoch)

    def step(self, what: tuple) -> None:
        hall, (name, *values) = self.hall, what
        if name == "grant":
            self.grant(*values)
        elif name == "hand":
            self.guarded(lambda: self.hand(*values))
        elif name == "pump":
            self.guarded(hall.pump)
        elif name == "wait":
            self.guarded(lambda: hall.wait(values[0] * MILLISECOND))
        elif name == "cut":
            self.guarded(hall.cut)
        elif name == "kill":
            self.restart(*values)
        elif name == "die":
            self.disk.left, self.disk.part = values
        self.note()

    # ------------------------------------------------------------ the end

    def finish(self) -> None:
        self.disk.left = None
        hall = self.hall
        hall.up()
        self.grant("a")
        position = hall.gateway.order_position
        said = hall.hand("a", self.epochs["a"], position, self.stream[position:])
        assert said == Accepted(self.epochs["a"], len(self.stream))
        for _ in range(100):
            hall.wait(100 * MILLISECOND, 50 * MILLISECOND)
            if not hall.gateway.waiting and not hall.session.port.orders.unanswered:
                break
        self.note()
        assert hall.gateway.waiting == 0 and not hall.session.port.orders.unanswered
        self.check()
        hall.kill()

    def check(self) -> None:
        hall = self.hall
        dialect = hall.words.dialect
        new = [each for each in self.messages if dialect.request(each).kind in NEW]
        came = [each for each in hall.received if dialect.request(each).kind in NEW]
        places = [new.index(each) for each in came]
        assert places == sorted(set(places))
        for message in new:
            reasons = [each.reason for each in self.told if each.payload == message]
            assert len(reasons) <= 1
            if message in came:
                assert not reasons or reasons[0] in MAY_HAVE_COME
            else:
                assert reasons, message
        session = hall.exchange.session
        assert self.answers == [
            Answer(number, session.message(number)) for number in range(1, session.next_sequence)
        ]
        assert [tuple(each) for each in self.told] == [tuple(each) for each in hall.store.outcomes]


nodes = st.sampled_from("ab")
steps = st.lists(
    st.one_of(
        st.tuples(st.just("grant"), nodes),
        st.tuples(st.just("hand"), nodes, st.integers(-4, 1), st.integers(0, 8)),
        st.tuples(st.just("hand"), nodes, st.integers(-2, 0), st.integers(1, 8)),
        st.tuples(st.just("pump")),
        st.tuples(st.just("wait"), st.sampled_from([10, 100, 400])),
        st.tuples(st.just("cut")),
        st.tuples(st.just("kill"), st.sampled_from([0, 0, 1, 30, 10_000])),
        st.tuples(st.just("die"), st.integers(0, 6), st.integers(0, 400)),
    ),
    max_size=40,
)


def run(protocol: str, seed: int, what: list[tuple]) -> World:
    with tempfile.TemporaryDirectory() as path, pytest.MonkeyPatch.context() as monkeypatch:
        world = World(Path(path), protocol, Disk(monkeypatch), seed)
        world.grant("a")
        world.hall.up()
        for each in what:
            world.step(each)
        world.finish()
        return world


@settings(max_examples=40)
@given(protocol=st.sampled_from(["ouch50", "ouch42"]), seed=st.integers(0, 99), what=steps)
def test_any_order_of_steps(protocol, seed, what):
    run(protocol, seed, what)


@pytest.mark.long
@settings(max_examples=3000)
@given(protocol=st.sampled_from(["ouch50", "ouch42"]), seed=st.integers(0, 9999), what=steps)
def test_any_order_of_steps_for_long(protocol, seed, what):
    run(protocol, seed, what)


@pytest.mark.parametrize("protocol", ["ouch50", "ouch42"])
def test_what_the_steps_reach(protocol):
    """The cases that the properties are about do happen."""
    generator, reasons, lives, came = random.Random(5), set(), 0, 0
    for seed in range(8):
        what = []
        for _ in range(40):
            what.append(
                generator.choice(
                    [
                        ("grant", generator.choice("ab")),
                        ("hand", generator.choice("ab"), generator.randint(-4, 0), 6),
                        ("hand", generator.choice("ab"), 0, 4),
                        ("pump",),
                        ("wait", 100),
                        ("cut",),
                        ("kill", generator.choice([0, 30, 10_000])),
                        ("die", generator.randint(0, 4), generator.randint(0, 400)),
                    ]
                )
            )
        world = run(protocol, seed, what)
        reasons |= {each.reason for each in world.told}
        lives += world.lives
        came += len(world.hall.orders())
    assert lives > 40 and came > 150
    assert {Outcome.NOT_READY, Outcome.LINE_LOST, Outcome.GATEWAY_STOPPED} <= reasons
    assert reasons & {Outcome.NEVER_RECEIVED, Outcome.CANCELED_UNSEEN}
