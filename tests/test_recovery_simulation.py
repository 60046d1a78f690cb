"""The fault simulator: whatever is lost, refused, late or damaged, no book is silently wrong.

Every seed draws a mix of faults.  At every moment `model_engine` compares the books of each line
that is not stale with the clean feed's; at the end nothing is missing, and the stale symbols are
exactly those of the lines whose last word was a declared gap.
"""

from collections import Counter

import pytest

from model_engine import ModelEngine
from recovery_world import Plan, World, drawn_plan
from tickpath import digest
from tickpath.recovery.state import State

FEEDS = ("itch50", "pitch")
SHORT = range(48)
LONG = range(48, 548)


def unrepaired(engine: ModelEngine) -> set:
    """Lines whose last word was a declared gap."""
    last = {}
    for what, name, *_ in engine.log:
        if what in ("splice", "give_up"):
            last[name] = what
    return {name for name, what in last.items() if what == "give_up"}


def played(plan: Plan, seed: int) -> World:
    """The world at its end, where everything that must hold was compared."""
    world = World(plan, seed)
    world.run()
    stale = unrepaired(world.engine)
    for name, stream in zip(world.names, world.streams, strict=True):
        line, state = world.engine.lines[name], world.recovery.lines[name].state
        assert line.expected == stream.behind, f"{name} is not at the end, but {state}"
        assert line.is_stale == (name in stale)
        assert state is (State.STALE if line.is_stale else State.SYNCHRONISED)
        clean = world.clean[name]
        if not line.is_stale:
            assert line.books.queues() == clean.queues()
            assert digest.reference(line.books.rows()) == digest.reference(clean.rows())
            assert line.books.digest == digest.reference(clean.rows())
    symbols = set().union(*(world.engine.lines[name].books.symbols for name in stale))
    assert world.engine.stale_symbols() == symbols
    return world


@pytest.mark.parametrize("feed", FEEDS)
def test_any_mix_of_faults(feed):
    outcomes = Counter()
    for seed in SHORT:
        world = played(drawn_plan(feed, seed), seed)
        outcomes += world.recovery.counters
        outcomes["stale"] += bool(world.engine.stale_symbols())
        outcomes["good"] += not world.engine.stale_symbols()
    reached = ("holes_filled", "snapshots_taken", "gaps_given_up", "requests_timed_out", "stale")
    assert all(outcomes[name] for name in (*reached, "good", "holes_filled_live")), outcomes
    if feed == "pitch":
        assert outcomes["refused_second"] and outcomes["refused_unavailable"], outcomes


@pytest.mark.long
@pytest.mark.parametrize("feed", FEEDS)
@pytest.mark.parametrize("seeds", [LONG[at : at + 100] for at in range(0, len(LONG), 100)], ids=str)
def test_any_mix_of_faults_long(feed, seeds):
    for seed in seeds:
        played(drawn_plan(feed, seed), seed)
