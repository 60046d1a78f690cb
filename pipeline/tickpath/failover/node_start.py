"""What a node does before its first turn: compile, touch its memory, and take up a journal.

A lease does not wait for a compiler, so all that is called later is called once here.
"""

from collections.abc import Callable
from pathlib import Path

from numba import types

from tickpath.clock import Clock
from tickpath.engine import Engine
from tickpath.follower import Divergence
from tickpath.live import Live
from tickpath.publish import note
from tickpath.replica.error import ReplicaError
from tickpath.replica.journal_header import JournalError
from tickpath.replica.journal_recover import identity_of, recover
from tickpath.replica.ring import Ring, RingTransport


def warm_up(engine: Engine, ring: Ring, clock: Clock) -> None:
    """Compile, or load from the cache, what a node calls only later."""
    note.compile((types.uint64,) * 5)  # type: ignore[attr-defined]
    transport = RingTransport(ring, "warm-up")
    Live(engine, transport, clock)
    transport.close()
    engine.restore(engine.snapshot())


def recover_from(
    directory: str, engine: Engine, ring: Ring, say: Callable[[str], None]
) -> int | None:
    """Take up what a journal has; gives the last record's number, None where there is no journal.

    Raises `ReplicaError` where there is one that cannot be taken up.
    """
    engine.publish_to(0)
    try:
        found = recover(engine, directory, identity=identity_of(engine))
    except JournalError as error:
        if Path(directory).is_dir() and any(Path(directory).iterdir()):
            raise
        say(f"nothing is recovered: {error}")
        return None
    finally:
        engine.publish_to(ring.address)
    if found.divergence is not Divergence.NONE:
        raise ReplicaError(
            f"{directory}: record {found.diverged_at} does not fit the state before it: "
            f"{found.divergence.name.lower()}; see tickpath journal verify"
        )
    say(f"recovered up to record {found.last_number:,} from {directory}")
    return found.last_number
