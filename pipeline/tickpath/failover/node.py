"""A node: an engine that trades or stands by, and the shell around its `role`.

    standing by    follows the ring of whoever is active; reads feed and gateway, keeps their ends
    active         takes feed, answers and commands; every input goes into its own ring first; hands
                   orders over to the gateway as soon as the gate lets them

One thread does all of it but the lease store's calls (`store_thread`).  The loop looks at the clock
before every hand-over: nothing leaves behind the end of the lease that `Promote` and `Extend` said,
however late the role hears of it.

At worst the loop is late: then beats stop, another node takes over, and the gateway refuses what
this one still sends, by its epoch.
"""

import gc
import secrets
import select
import time
from collections import Counter, deque
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from tickpath.clock import calibrate
from tickpath.engine import Engine
from tickpath.failover import node_status
from tickpath.failover import role_action as act
from tickpath.failover import role_event as told
from tickpath.failover.control import Control, Words
from tickpath.failover.curve import load_keys
from tickpath.failover.feed_tail import FeedTail
from tickpath.failover.fetch import Fetched
from tickpath.failover.gateway_client import GatewayClient
from tickpath.failover.health_server import HealthServer
from tickpath.failover.lease import open_store
from tickpath.failover.member import Member
from tickpath.failover.node_answers import Answers
from tickpath.failover.node_breakers import NodeBreakers
from tickpath.failover.node_config import NodeConfig
from tickpath.failover.node_error import NodeError
from tickpath.failover.node_following import Following
from tickpath.failover.node_gateway import NodeGateway
from tickpath.failover.node_lanes import Lanes
from tickpath.failover.node_leading import Leading, held
from tickpath.failover.node_pause import Pause
from tickpath.failover.node_questions import NodeQuestions
from tickpath.failover.node_start import recover_from, warm_up
from tickpath.failover.notify import Notify
from tickpath.failover.operator_control import OperatorControl
from tickpath.failover.outbox import Outbox
from tickpath.failover.peers import ALIVE_NS, Peers
from tickpath.failover.published import EVERY_NS, LATEST_NS, starting
from tickpath.failover.reach import reaches
from tickpath.failover.role import Role
from tickpath.failover.role_state import RoleState
from tickpath.failover.store_thread import StoreThread
from tickpath.failover.versions import group_of
from tickpath.follower import Divergence
from tickpath.packet import PACKET
from tickpath.replay import prefault, set_clock
from tickpath.replica.ring import Ring
from tickpath.session.credentials import Credentials, Secret
from tickpath.session.ouch_message import DIALECTS
from tickpath.trade.config import split
from tickpath.trade.market import Market
from tickpath.wire.gateway import Session

MILLISECOND_NS = 1_000_000
WAIT_S = 0.0003
"""How long the loop sleeps where nothing came and nothing spins."""
HURRIED_S = 0.00002
"""The same while the role is changing hands."""
Say = Callable[[str], None]


class Node:
    """See the module's text.  `round` is one turn of the loop; `run` turns it until stopped."""

    def __init__(
        self,
        config: NodeConfig,
        strategy: Any = None,
        *,
        credentials: Credentials | None = None,
        say: Say = lambda text: None,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """``config`` is a checked one; ``credentials`` those of the feed's servers, if they ask.

        Raises `ConfigError`, `ControlError`, `GatewayError`, `ReplicaError`, `StrategyError`.
        """
        self.config, self.settings = config, config.node
        self._strategy, self._clock, self.say = strategy, clock, say
        self._credentials = credentials or Credentials("", Secret(""))
        self.counters: Counter[str] = Counter()
        self.notes: list[str] = []
        self.is_stopped = False
        self._stack = ExitStack()
        self._events: deque[told.Event] = deque()
        self._is_stepping = False
        self._incarnation = secrets.randbits(62) | 1
        keys = self.settings.keys
        self._keys = None if keys is None else load_keys(keys)
        self._begin_engine()
        self.questions = NodeQuestions(self)
        self.answers = Answers(self.engine)
        self.peers = Peers(self.settings.peers)
        self.role = Role(Member(self.settings.name, self._incarnation), self.settings.role, clock())
        self.breakers = NodeBreakers(
            self.settings.breakers,
            DIALECTS[config.orders.protocol],
            clock(),
            step=self.tell,
            cancel_all=lambda why: self.engine.command("cancel_all", who="breaker", why=why[:32]),
            use_line=lambda line: self.questions.use_line(line, "a breaker"),
            say=self.note,
        )
        client = GatewayClient(
            split(self.settings.gateway),
            self.settings.name,
            group_of(config, self.engine),
            clock=clock,
        )
        self._stack.callback(client.close)
        self.gateway = NodeGateway(self, client)
        store = open_store(self.settings.lease, self.settings.lease_settings, clock=clock)
        self.pause = Pause(clock)
        self.store = StoreThread(store, self.settings.name, self.settings.role.lease_renew_ns)
        self._stack.callback(self.store.close)
        self._listen()
        self.lanes = Lanes(self.settings, self.ring)
        self._stack.callback(self.lanes.close)
        self.following = Following(
            self.engine,
            self.settings.name,
            self.settings.directory,
            self.peers,
            self.lanes,
            self._reaches,
            clock,
            restore=self._restore,
            say=self.note,
        )

    def _listen(self) -> None:
        """Where others, operators and monitors reach this node."""
        settings = self.settings
        Path(settings.directory).mkdir(parents=True, exist_ok=True)
        keys = self._keys
        self._reaches = reaches(settings, keys)
        names = {key: name for name, (_, key, _) in self._reaches.items() if key is not None}
        if keys is not None:
            names[keys.public] = settings.name  # who asks with this node's own file
        self.control = Control(settings.listen, self.questions.by_node, keys, names)
        self._stack.callback(self.control.close)
        self._words = Words(self._reaches)
        self._stack.callback(self._words.close)
        self.operators = OperatorControl(
            settings.control_path, self.questions.by_operator, settings.control_group
        )
        self._stack.callback(self.operators.close)
        self.notify = Notify(settings.notify, settings.notify_timeout_ms / 1000)
        self._stack.callback(self.notify.close)
        self.published = starting(settings.name, self._clock())
        self.health = HealthServer(
            settings.http,
            settings.check,
            settings.stale_ms,
            lambda: self.published,
            self._clock,
            lambda: self.leading.until_ns,
        )
        self._stack.callback(self.health.close)

    # ------------------------------------------------------------ what an engine needs

    def _begin_engine(self) -> None:
        """A fresh engine, with a ring and a feed of its own."""
        self.engine = Engine(self.config, strategy=self._strategy, on_orders=self._made)
        self.ring = Ring.create(self.settings.ring, self.settings.ring_bytes)
        self.engine.publish_to(self.ring.address)
        self.outbox = Outbox()
        self.tail = FeedTail()
        self.market = Market(self.engine, self.config, self._credentials, self._clock)
        self.leading = Leading(self)
        self._is_frozen = False
        self.fed_ns = 0
        """When packets of the feed came last; 0: none yet."""
        self._beat_ns = 0
        self._told: told.Standing | None = None

    def _made(self, orders: memoryview) -> None:
        """Orders that the engine encoded: they depend on the last record at most."""
        self.outbox.add(bytes(orders), self.engine.block.get("record_number"))

    def start(self) -> None:
        """Compile, touch all memory, then take part; a node that is late loads a snapshot."""
        self.clock = calibrate()
        set_clock(self.engine, self.clock)
        self.engine.advance(np.zeros(0, PACKET))
        prefault(self.engine)
        warm_up(self.engine, self.ring, self.clock)
        self.following.cycle_clock = self.clock
        self.market.begin()
        gc.collect()
        gc.freeze()
        if self._somebody_is_active():
            self.following.begin_late()
        elif self.settings.journal is not None:
            number = recover_from(self.settings.journal, self.engine, self.ring, self.note)
            if number is not None:
                # Its last orders may have been made and not handed over; what a snapshot stands
                # for was not made again.
                self.outbox.move(self.engine.block.get("order_position") - self.outbox.position)

    def _somebody_is_active(self) -> bool:
        """Whether a ring beats now; a moment is needed to see it."""
        end_ns = self._clock() + 2 * ALIVE_NS
        while self._clock() < end_ns:
            self.lanes.turn(self.ring)
            if self.peers.active(self._clock()) is not None:
                return True
            time.sleep(0.001)
        return False

    def close(self) -> None:
        """Let go of everything; a lease that is held runs out, or was released by `retire`.

        The ring's file goes, which a kill leaves: whoever follows it has it mapped.
        """
        self.following.leave()
        self.market.close()
        self._stack.close()
        self.ring.path.unlink(missing_ok=True)

    def run(self, duration_s: float | None = None) -> None:
        """Turn the loop until stopped, or for so long."""
        end_ns = None if duration_s is None else self._clock() + int(duration_s * 1e9)
        while not self.is_stopped and (end_ns is None or self._clock() < end_ns):
            self.round()

    def retire(self, most_s: float = 2.0) -> None:
        """Stop for good in an orderly way: the lease is given back, so that nobody waits for it."""
        self.tell(told.Retire())
        end_ns = self._clock() + int(most_s * 1e9)
        while self.role.state is not RoleState.RETIRED and self._clock() < end_ns:
            self.round()

    # ------------------------------------------------------------ the loop

    def round(self) -> None:
        """One turn: inputs, orders, what was asked and answered, time."""
        self.lanes.turn(self.ring)
        came = self.leading.turn() if self.leading.is_on else self._follow()
        came += self.gateway.turn()
        for event in self.store.answers():
            self.tell(event)
        self.control.serve()
        self.operators.serve()
        self._tell_standing()
        self.tell(told.Tick())
        self._publish(is_busy=bool(came))
        if not came and not self.settings.spin:
            self._wait()

    def _wait(self) -> None:
        """Sleep until somebody has something to say; a ring has no word, so never for long."""
        role = self.role
        is_hurried = role.attempt is not None or role.handover is not None
        is_hurried |= self.leading.is_on and self.leading.gate is None
        sockets: list[Any] = [self.store, self.control, self.operators, *self.lanes.sockets]
        if self.gateway.client.fileno() >= 0:
            sockets.append(self.gateway.client)
        select.select(sockets, [], [], HURRIED_S if is_hurried else WAIT_S)

    def tell(self, event: told.Event) -> None:
        """Tell the role.  What an action has to tell it waits for the actions before it."""
        self._events.append(event)
        if self._is_stepping:
            return
        self._is_stepping = True
        try:
            while self._events:
                for action in self.role.step(self._events.popleft(), self._clock()):
                    self._do(action)
        finally:
            self._is_stepping = False

    def now_ns(self) -> int:
        """The clock of this node's lease and role."""
        return self._clock()

    def standing(self) -> told.Standing:
        """Where this node's engine stands."""
        block = self.engine.block
        why = self.engine.divergence
        return told.Standing(
            number=block.get("record_number"),
            epoch=block.get("epoch"),
            order_position=block.get("order_position"),
            tail_position=self.outbox.tail_position,
            is_whole=self.following.is_whole,
            diverged=None if why is Divergence.NONE else why.name.lower(),
            held=held(block.get("holds")),
            incarnation=self._incarnation,
        )

    def _tell_standing(self) -> None:
        standing, now_ns = self.standing(), self._clock()
        if standing != self._told or now_ns - self._beat_ns > MILLISECOND_NS:
            self._told, self._beat_ns = standing, now_ns
            self.tell(standing)
            is_up = self.gateway.session is Session.UP
            open_names = self.breakers.open_names if self.leading.is_on else ()
            health = told.Health(
                is_session_up=is_up,
                breakers_open=open_names,
                is_gateway_there=self.gateway.client.is_welcome,
            )
            if health != self.role.health:
                self.tell(health)

    # ------------------------------------------------------------ standing by

    def _follow(self) -> int:
        """Take what the active has published; gives how much came."""
        came = self._keep_feed()
        if self._is_frozen:
            return came
        taken, beat = self.following.turn(self._incarnation, lambda: not self.role.unfit())
        self.answers.forget()
        if beat is not None:
            self.tell(beat)
        return came + taken

    def _keep_feed(self) -> int:
        source = self.market.feed or self.market.transport
        assert source is not None
        packets = source.poll(256)
        if len(packets):
            self.fed_ns = self._clock()
            self.tail.keep(packets)
        source.release()
        return 0

    def _restore(self, found: Fetched) -> None:
        """Become what another node's snapshot says."""
        self.engine.restore(found.snapshot)
        self.engine.begin_to_follow()
        # Its records do not go on from what this ring had.
        self.ring.header["broken"] = 1
        self.ring = Ring.create(self.settings.ring, self.settings.ring_bytes)
        self.engine.publish_to(self.ring.address)
        self.outbox = Outbox(self.engine.block.get("order_position"))
        self._incarnation = secrets.randbits(62) | 1

    # ------------------------------------------------------------ what the role asks for

    def _do(self, action: act.Action) -> None:
        match action:
            case act.Acquire() | act.Renew() | act.Release() | act.RecordNote() | act.ReadStore():
                self.store.ask(action)
            case act.AskGateway(request, epoch):
                self.gateway.ask(request, epoch)
            case act.Freeze(request):
                self._freeze(request)
            case act.Promote():
                self.following.leave()
                self._is_frozen = False
                self.leading.begin(action)
            case act.Extend(_, until_ns):
                self.leading.until_ns = until_ns
            case act.Require(request, members, is_synchronous):
                self.leading.require(request, members, is_synchronous)
            case act.Hold(source, reason):
                self.leading.hold(f"{source}: {reason}")
            case act.Resume(source):
                self.leading.resume(source)
            case act.Drain(request):
                self.leading.drain(request)
            case act.Undrain():
                self.leading.is_draining = False
            case act.StopSending(request, reason):
                self.leading.stop(reason)
                self.tell(told.Stopped(request))
            case act.Follow():
                self._is_frozen = False
            case act.HandOver(to, epoch, number):
                word = {"ask": "handed_over", "from": self.settings.name, **self.pause.word()}
                if not self._words.tell(to, **word, epoch=epoch, number=number):
                    self.counters["words_not_sent"] += 1
            case act.Abort(reason):
                raise NodeError(f"this node has to end: {reason}")
            case act.Entered(state, reason):
                self.note(_words(action))
                if state == RoleState.STANDBY.name:
                    self.pause.forget()
                self.notify.tell(self.settings.name, state, self.role.epoch, reason)
                self._publish(is_due=True)
            case _:
                self.note(_words(action))
                if isinstance(action, (act.Done, act.Refused)):
                    self.questions.ended(action)

    def _freeze(self, request: int) -> None:
        """Take what is in the ring still, and nothing more."""
        self.following.drain()
        self._is_frozen = True
        self.tell(told.Frozen(request, self.standing()))

    # ------------------------------------------------------------ people and other nodes

    def note(self, text: str) -> None:
        """Keep what happened, for people."""
        self.notes.append(text)
        del self.notes[:-200]
        self.say(text)

    def status(self) -> dict[str, Any]:
        """What this node is and how it stands, JSON-ready."""
        return node_status.status(self)

    def count_all(self) -> dict[str, int]:
        """What this node, its role and those who serve others have counted."""
        counted = {f"nodes_{name}": n for name, n in self.control.counters.items()}
        counted |= {f"operators_{name}": n for name, n in self.operators.counters.items()}
        counted |= self.notify.counters
        counted["lease_looks_failed"] = self.store.looks_failed
        # Those of another thread are copied in one go: they may grow meanwhile.
        counted |= {f"monitors_{name}": n for name, n in dict(self.health.counters).items()}
        counted |= {f"mirrors_{name}": n for name, n in self.lanes.counters.items()}
        own = self.counters + self.following.counters
        return {**own, **self.role.counters, **counted}

    def _publish(self, is_due: bool = False, is_busy: bool = False) -> None:
        """Say how it stands, for monitors: some 20 us, put off for a while when there is work."""
        now_ns = self._clock()
        most_ns = EVERY_NS if not is_busy else LATEST_NS
        if is_due or now_ns - self.published.at_ns >= most_ns:
            self.published = node_status.published(self, now_ns)


def _words(action: act.Action) -> str:
    """What an action says to people."""
    match action:
        case act.Entered(state, reason):
            return f"{state.lower()}: {reason}"
        case act.Alarm(name, text):
            return f"alarm {name}: {text}"
        case act.Refused(command, reasons):
            return f"{command} refused: {'; '.join(reasons)}"
        case act.Done(command, text):
            return f"{command}: {text}"
    return repr(action)


__all__ = ["Node", "NodeError"]
