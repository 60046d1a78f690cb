"""Whom a node follows while it stands by: the active's ring, behind a snapshot where one is needed.

    nobody       nobody who is active is seen
    loading      a place in the ring is held, another node's snapshot is on its way
    following    records are taken as they come; beats are told

A place is lost where the ring has lapped it or the state differs.  The state stays then until a
snapshot is here: it may be all there is.  One that diverged is kept for study, and never takes
over.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

from tickpath.clock import Clock
from tickpath.engine import Engine
from tickpath.failover.fetch import Fetch, Fetched
from tickpath.failover.node_lanes import Lanes
from tickpath.failover.peers import ALIVE_NS, Peers
from tickpath.failover.reach import Reach
from tickpath.failover.role_event import Beat
from tickpath.follower import Divergence
from tickpath.live import Live
from tickpath.replica.error import ReplicaError
from tickpath.replica.ring import RingTransport

STEP_NS = 50_000
"""How long the ring is polled before the node looks at anything else."""
JOIN_NS = 50_000_000
"""Pause before a node that could not join tries again."""


class Following:
    """See the module's text; `turn` is one turn of the node's loop."""

    def __init__(
        self,
        engine: Engine,
        name: str,
        directory: str,
        peers: Peers,
        lanes: Lanes,
        reaches: Mapping[str, Reach],
        clock: Callable[[], int],
        *,
        restore: Callable[[Fetched], None],
        say: Callable[[str], None],
    ) -> None:
        """``restore`` makes the engine what a snapshot says; a state to study goes to a file in
        ``directory``."""
        self._engine, self._name, self._directory = engine, name, directory
        self._peers, self._lanes = peers, lanes
        self._reaches, self._clock = reaches, clock
        self._restore, self._say = restore, say
        self.cycle_clock: Clock | None = None
        """Saves a calibration, once there is one."""
        self.transport: RingTransport | None = None
        self.is_whole = True
        """Whether the state is one that a node may go on from."""
        self.beats = 0
        self.counters: Counter[str] = Counter()
        self._needs_snapshot = False
        self._live: Live | None = None
        self._fetch: Fetch | None = None
        self._active = ""
        self._join_ns = self._last_beat = self._heard_ns = 0

    def begin_late(self) -> None:
        """Others have gone on without us: a snapshot comes first."""
        self.is_whole, self._needs_snapshot = False, True

    @property
    def lag(self) -> int | None:
        """Records that were published and are not taken yet; None for who follows nobody."""
        return None if self.transport is None else self.transport.lag

    def turn(self, incarnation: int, is_ready: Callable[[], bool]) -> tuple[int, Beat | None]:
        """Take what the active has published; gives how much came, and a beat that is new."""
        if self.transport is None:
            return self._join(), None
        if self._fetch is not None:
            return self._load(self._fetch), None
        assert self._live is not None
        came = self._live.step(STEP_NS)
        if self.transport.is_lapped or self._engine.divergence is not Divergence.NONE:
            self._lose_place()
            return came + 1, None
        header, mine = self.transport.ring.header, self.transport.mine
        mine["epoch"], mine["incarnation"] = self._engine.block.get("epoch"), incarnation
        mine["ready"], mine["echo"] = is_ready(), header["beat"]
        beat = int(header["beat"])
        if beat != self._last_beat:
            self._last_beat, self._heard_ns = beat, self._clock()
            self.beats += 1
            epoch, number = int(header["epoch"]), int(header["number"])
            return came, Beat(epoch, beat, number, int(header["committed"]))
        if self._is_superseded():
            self.leave()
        return came, None

    def _is_superseded(self) -> bool:
        """Whether another node leads than the one that is followed, which has been silent."""
        assert self.transport is not None
        now_ns = self._clock()
        if now_ns - self._heard_ns < ALIVE_NS:
            return False
        found, here = self._peers.active(now_ns), self.transport.ring.header
        if found is None or found.ring.header["identity"] == here["identity"]:
            return False
        return bool(found.ring.header["epoch"] > here["epoch"])

    def drain(self) -> None:
        """Take what is in the ring still."""
        if self._live is not None and self.transport is not None:
            while self.transport.lag and self._live.step(STEP_NS):
                pass

    # ------------------------------------------------------------ joining

    def _join(self) -> int:
        """Follow whoever is active; a node without its earlier records loads a snapshot."""
        now_ns = self._clock()
        found = self._peers.active(now_ns) if now_ns >= self._join_ns else None
        if found is None:
            return 0
        epoch, header = self._engine.block.get("epoch"), found.ring.header
        if epoch > header["epoch"]:
            return 0  # who beats there has been active before us: nobody to follow
        number = self._engine.block.get("record_number")
        if epoch < header["epoch"] and header["epoch_began"] <= number:
            # We have records of the old epoch that the new one does not know of.
            self._needs_snapshot = True
        try:
            behind = None if self._needs_snapshot else number
            self.transport = self._lanes.transport(found.name, found.ring, self._name, behind)
        except ReplicaError as error:
            self._say(str(error))
            self._needs_snapshot = True
            self._join_ns = now_ns + JOIN_NS
            return 0
        if self._needs_snapshot:
            # A standby's before the active's, so that the active need not stop for it.
            names = [each for each in self._reaches if each != found.name] + [found.name]
            nodes = [(each, self._reaches[each]) for each in names]
            self._active = found.name
            self._fetch = Fetch(nodes, self.transport.first - 1)
        else:
            self._begin(found.name)
        return 1

    def _begin(self, name: str) -> None:
        assert self.transport is not None
        self._live = Live(self._engine, self.transport, self.cycle_clock, is_standby=True)
        self._live.__enter__()
        self._heard_ns = self._clock()
        self._say(f"following {name} behind record {self._engine.block.get('record_number'):,}")

    def _load(self, fetch: Fetch) -> int:
        """Become what another node's snapshot says, once it is there; then the ring goes on."""
        if not fetch.is_done:
            return 0
        self._fetch, found = None, fetch.found
        for error in fetch.errors:
            self._say(error)
        if found is None:
            self.leave()
            self._join_ns = self._clock() + JOIN_NS
            return 0
        self._restore(found)
        self.is_whole, self._needs_snapshot = True, False
        self.counters["snapshots_loaded"] += 1
        self._say(f"snapshot of {found.name}, record {found.record_number:,}")
        self._begin(self._active)
        return 1

    # ------------------------------------------------------------ leaving

    def leave(self) -> None:
        """Follow nobody."""
        if self._live is not None:
            self._live.__exit__(None, None, None)
            self._live = None
        self._fetch = None
        if self.transport is not None:
            self.transport.close()
            self.transport = None

    def _lose_place(self) -> None:
        """What comes next cannot be taken: another's snapshot is needed."""
        number, why = self._engine.block.get("record_number"), self._engine.divergence
        self.counters["places_lost"] += 1
        if why is not Divergence.NONE:
            self._say(f"diverged behind record {number:,}: {why.name.lower()}")
            self._keep_state(f"diverged-{number}.snapshot")
        self.leave()
        self._needs_snapshot = True

    def _keep_state(self, name: str) -> None:
        try:
            self._engine.block.set("cursor", 0)
            (Path(self._directory) / name).write_bytes(self._engine.snapshot())
        except (OSError, RuntimeError) as error:
            self._say(f"its state could not be kept: {error}")
