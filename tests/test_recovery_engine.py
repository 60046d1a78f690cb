"""The fault simulator over the real engine: its arbitration, its holding, its books.

As `test_recovery_simulation`, with `real_engine` where the model was: after every packet and every
step of recovery the digest is that of the clean feed, unless a line is stale.
"""

from collections import Counter

import pytest

from real_engine import RealEngine
from recovery_world import Plan, World, drawn_plan
from tickpath.recovery.state import State

FEEDS = ("itch50", "pitch")
SHORT = range(24)
LONG = range(1_000, 1_500)


def unrepaired(log: list[tuple]) -> set:
    """Lines whose last word was a declared gap."""
    last = {name: what for what, name, *_ in log if what in ("splice", "give_up")}
    return {name for name, what in last.items() if what == "give_up"}


class RealWorld(World):
    """With the real engine."""

    def __init__(self, plan: Plan, seed: int) -> None:
        super().__init__(plan, seed)
        self.engine = self.recovery._engine = RealEngine(self.engine.clean)


def played(plan: Plan, seed: int) -> RealWorld:
    world = RealWorld(plan, seed)
    world.run()
    stale = unrepaired(world.engine.log)
    places = world.engine.lines
    for name, stream in zip(world.names, world.streams, strict=True):
        state = world.recovery.lines[name].state
        assert places[name].expected == stream.behind, f"{name} is not at the end, but {state}"
        assert places[name].is_stale == (name in stale)
        assert state is (State.STALE if places[name].is_stale else State.SYNCHRONISED)
        if not places[name].is_stale:
            assert world.engine.queues(name) == world.clean[name].queues()
    return world


@pytest.mark.parametrize("feed", FEEDS)
def test_any_mix_of_faults(feed):
    outcomes = Counter()
    for seed in SHORT:
        world = played(drawn_plan(feed, seed), seed)
        outcomes += world.recovery.counters
        counters = world.engine.engine.counters
        outcomes.update(
            {name: counters[name] for name in ("packets_reordered", "gaps", "snapshots")}
        )
        outcomes["stale"] += bool(world.engine.stale_symbols())
        outcomes["good"] += not world.engine.stale_symbols()
    reached = ("holes_filled", "snapshots_taken", "gaps_given_up", "stale", "packets_reordered")
    assert all(outcomes[name] for name in (*reached, "good", "snapshots")), outcomes


@pytest.mark.long
@pytest.mark.parametrize("feed", FEEDS)
@pytest.mark.parametrize("seeds", [LONG[at : at + 100] for at in range(0, len(LONG), 100)], ids=str)
def test_any_mix_of_faults_long(feed, seeds):
    for seed in seeds:
        played(drawn_plan(feed, seed), seed)
