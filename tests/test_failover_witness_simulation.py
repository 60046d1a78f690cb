"""Witnesses and nodes in worlds of trouble, by seed: see `witness_world` for what must hold.

The simulator proves itself on witnesses and nodes that are wrong in one way each: every one of
them must be caught.
"""

import random
from collections import Counter
from typing import Any

import msgspec
import pytest

from tickpath.failover.lease import Lease
from tickpath.failover.witness import Step, Witness
from tickpath.failover.witness_client import WitnessClient
from tickpath.wire.witness import Code
from witness_world import MS, Clock, ViolationError, World, simulate

FAST = 6
MOST = 60
"""Worlds in which a wrong witness or node must be caught."""


@pytest.mark.parametrize("count", [1, 3, 5])
def test_one_holder_and_no_epoch_twice(count):
    seen = Counter[str]()
    for seed in range(FAST):
        seen.update(simulate(seed, count).counts)
    assert seen["granted"] > 5 * FAST / 2 and seen["renewed"] > 50 * FAST
    assert seen["noted"] and seen["read"] and seen["deaths"] and seen["restarts"] and seen["pauses"]
    assert count == 1 or (seen["forgotten"] and seen["put_back"])


@pytest.mark.long
@pytest.mark.parametrize("count", [1, 3, 5])
@pytest.mark.parametrize("part", range(10))
def test_one_holder_and_no_epoch_twice_in_thousands_of_worlds(count, part):
    seen = Counter[str]()
    for seed in range(1000 + 100 * part, 1100 + 100 * part):
        seen.update(simulate(seed, count).counts)
    assert seen["granted"] > 200 and seen["torn"] and seen["refused_writes"]
    assert seen["crashed_after_sync"] and seen["partitions"]


def test_a_seed_is_a_world():
    assert simulate(3).counts == simulate(3).counts != simulate(4).counts


class ForgetsThatItGranted(Witness):
    """After a restart it grants at once."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._may_be_granted = False


class TrustsItsFile(Witness):
    """It never asks the others."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options, trusts_file=True)


class AsksOne(Witness):
    """It votes as soon as one of the others has answered."""

    def __init__(self, *arguments: Any, others: int, **options: Any) -> None:
        super().__init__(*arguments, **options, others=others)
        self._sent_to, self.others = others, 1

    def questions(self, now_ns: int) -> list[tuple[int, bytes]]:
        asked = super().questions(now_ns)
        return [(other, read) for _, read in asked for other in range(self._sent_to)]


class AsksAtOnce(Witness):
    """It does not wait for what it may have had a part in."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._ask_next_ns = self.votes_from_ns = self._now_ns


class PromisesWhileALeaseRuns(Witness):
    def _remaining_ns(self, now_ns: int) -> int:
        return 0


class GrantsToAnybody(Witness):
    """It looks at the epoch, not at who was promised it."""

    def _is_of(self, question: Any) -> bool:
        return question.epoch == self.kept.epoch


class PromisesOldEpochs(Witness):
    def _prepare(self, question: Any, now_ns: int) -> Step:
        step = super()._prepare(question, now_ns)
        if step.write is None and question.epoch == self.kept.epoch:
            return self._keep(question, is_grant=False)
        return step


class GrantsBelowItsPromise(Witness):
    def _lease(self, question: Any, now_ns: int) -> Step:
        if question.epoch < self.kept.epoch and self.is_voting:
            return self._answer(question, Code.DONE)
        return super()._lease(question, now_ns)


class MinorityIsEnough(WitnessClient):
    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.majority = self.count // 2


class NotesOnceSomewhere(WitnessClient):
    """A note counts as kept with one witness."""

    def _recording(self, lease: Lease, note: bytes):
        whole, self.majority = self.majority, 1
        try:
            return (yield from super()._recording(lease, note))
        finally:
            self.majority = whole


class CountsFromTheAnswer(WitnessClient):
    """The lease begins when it was granted, not before it was asked for."""

    def _acquiring(self, *arguments: Any):
        return (yield from _counted_late(super()._acquiring(*arguments)))

    def _renewing(self, *arguments: Any):
        return (yield from _counted_late(super()._renewing(*arguments)))


def _counted_late(steps):
    ask = next(steps)
    while True:
        answers, now_ns = yield ask
        try:
            ask = steps.send((answers, now_ns))
        except StopIteration as end:
            if isinstance(end.value, Lease):
                return msgspec.structs.replace(end.value, asked_at_ns=now_ns)
            return end.value


WRONG = {
    "answers before the disk": (1, 0, {"answers_early": True}),
    "forgets that it granted": (1, 0, {"witness_class": ForgetsThatItGranted}),
    "trusts its file": (3, 0, {"witness_class": TrustsItsFile}),
    "asks one": (5, 14, {"witness_class": AsksOne}),
    "asks at once": (3, 15, {"witness_class": AsksAtOnce}),
    "promises while a lease runs": (3, 0, {"witness_class": PromisesWhileALeaseRuns}),
    "grants to anybody": (3, 0, {"witness_class": GrantsToAnybody}),
    "promises old epochs": (3, 8, {"witness_class": PromisesOldEpochs}),
    "grants below its promise": (3, 0, {"witness_class": GrantsBelowItsPromise}),
    "a minority is enough": (3, 0, {"client_class": MinorityIsEnough}),
    "notes once somewhere": (5, 8, {"client_class": NotesOnceSomewhere}),
    "counts from the answer": (1, 84, {"client_class": CountsFromTheAnswer}),
    "a majority forgets": (3, 0, {"forgetful": 3}),
    "clocks far apart": (3, 0, {"drift": 0.4}),
}
"""Name: (witnesses, a seed shortly before one that sees it, what is wrong)."""


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_caught(name):
    count, first, options = WRONG[name]
    for seed in range(first, first + MOST):
        try:
            simulate(seed, count, **options)
        except ViolationError:
            return
    pytest.fail(f"{name}: {MOST} worlds saw nothing")


def test_the_clock_of_the_world():
    clock = Clock(random.Random(5))
    for local in (clock.local(0) + 1, clock.local(123 * MS), clock.local(10**12) + 7):
        assert clock.local(clock.true(local)) >= local > clock.local(clock.true(local) - 1)


def test_a_lone_node_keeps_its_lease_in_peace():
    world = World(1, 3, nodes=1, drift=0)
    world.calm()
    world.run(2_000 * MS)
    assert world.counts["granted"] == 1 and world.counts["renewed"] > 100
    assert not world.counts["lost"]
