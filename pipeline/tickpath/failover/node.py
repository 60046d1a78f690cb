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
import json
import secrets
import select
import time
from collections import Counter, deque
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numba import types

from tickpath.clock import calibrate, now_cycles
from tickpath.engine import Engine
from tickpath.failover import node_status
from tickpath.failover import role_action as act
from tickpath.failover import role_event as told
from tickpath.failover.control import Control, Words
from tickpath.failover.curve import load_keys
from tickpath.failover.feed_tail import FeedTail
from tickpath.failover.fetch import Fetched
from tickpath.failover.gateway_client import GatewayClient, Sent
from tickpath.failover.gateway_event import (
    Accepted,
    Confirmed,
    Declined,
    Event,
    Lost,
    Refused,
    Stands,
    Told,
    Welcomed,
)
from tickpath.failover.gateway_event import Answer as GatewayMessage
from tickpath.failover.health_server import HealthServer
from tickpath.failover.lease import open_store
from tickpath.failover.member import Member
from tickpath.failover.node_answers import Answers
from tickpath.failover.node_breakers import NodeBreakers
from tickpath.failover.node_config import NodeConfig
from tickpath.failover.node_error import NodeError
from tickpath.failover.node_following import Following
from tickpath.failover.node_lanes import Lanes
from tickpath.failover.node_questions import NodeQuestions
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
from tickpath.live import Live
from tickpath.packet import PACKET
from tickpath.publish import note
from tickpath.replay import prefault, set_clock
from tickpath.replica.error import ReplicaError
from tickpath.replica.journal_header import JournalError
from tickpath.replica.journal_recover import identity_of, recover
from tickpath.replica.ring import Ring, RingTransport
from tickpath.session.credentials import Credentials, Secret
from tickpath.session.ouch_message import DIALECTS
from tickpath.trade.config import split
from tickpath.trade.market import Market
from tickpath.wire.gateway import Refusal, Session
from tickpath.wire.inputs import Kind

MILLISECOND_NS = 1_000_000
WAIT_S = 0.0003
"""How long the loop sleeps where nothing came and nothing spins."""
SOURCES = (act.TAKEOVER, act.GATE, act.POLICY, act.UNKNOWN_ORDERS, "operator", "feed")
"""Who can hold trading; a hold is the bit of its place.  Others share the last bit."""
OTHERS = "others"

Say = Callable[[str], None]


def bit_of(source: str) -> int:
    """The bit of a source among the engine's ``holds``."""
    return 1 << (SOURCES.index(source) if source in SOURCES else len(SOURCES))


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
        self._declined_for: str | None = None
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
        self.gateway = GatewayClient(
            split(self.settings.gateway),
            self.settings.name,
            group_of(config, self.engine),
            clock=clock,
        )
        self._stack.callback(self.gateway.close)
        store = open_store(self.settings.lease, self.settings.lease_settings, clock=clock)
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
            lambda: self._until_ns,
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
        self._is_leading = self._is_draining = self._is_frozen = False
        self._until_ns = 0
        self._gate: tuple[Member, ...] | None = None
        self._asked_gateway: tuple[int, int] | None = None
        self._beat_ns = self._fed_ns = 0
        self._echoes: dict[int, int] = {}
        self._told: told.Standing | None = None
        self._session = Session.DOWN
        self._at_gateway: Stands | None = None

    def _made(self, orders: memoryview) -> None:
        """Orders that the engine encoded: they depend on the last record at most."""
        self.outbox.add(bytes(orders), self.engine.block.get("record_number"))

    def start(self) -> None:
        """Compile, touch all memory, then take part; a node that is late loads a snapshot."""
        self.clock = calibrate()
        set_clock(self.engine, self.clock)
        self.engine.advance(np.zeros(0, PACKET))
        prefault(self.engine)
        self._warm_up()
        self.following.cycle_clock = self.clock
        self.market.begin()
        gc.collect()
        gc.freeze()
        if self._somebody_is_active():
            self.following.begin_late()
        elif self.settings.journal is not None:
            self._recover(self.settings.journal)

    def _recover(self, directory: str) -> None:
        """Take up what the journal has; raises `ReplicaError` where it cannot be taken up."""
        self.engine.publish_to(0)
        try:
            found = recover(self.engine, directory, identity=identity_of(self.engine))
        except JournalError as error:
            if Path(directory).is_dir() and any(Path(directory).iterdir()):
                raise
            self.note(f"nothing is recovered: {error}")
            return
        finally:
            self.engine.publish_to(self.ring.address)
        if found.divergence is not Divergence.NONE:
            raise ReplicaError(
                f"{directory}: record {found.diverged_at} does not fit the state before it: "
                f"{found.divergence.name.lower()}; see tickpath journal verify"
            )
        self.outbox = Outbox(self.engine.block.get("order_position"))
        self.note(f"recovered up to record {found.last_number:,} from {directory}")

    def _somebody_is_active(self) -> bool:
        """Whether a ring beats now; a moment is needed to see it."""
        end_ns = self._clock() + 2 * ALIVE_NS
        while self._clock() < end_ns:
            self.lanes.turn(self.ring)
            if self.peers.active(self._clock()) is not None:
                return True
            time.sleep(0.001)
        return False

    def _warm_up(self) -> None:
        """Compile, or load from the cache, all that is called later: a lease does not wait."""
        note.compile((types.uint64,) * 5)  # type: ignore[attr-defined]
        transport = RingTransport(self.ring, "warm-up")
        Live(self.engine, transport, self.clock)
        transport.close()
        self.engine.restore(self.engine.snapshot())

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
        came = self._lead() if self._is_leading else self._follow()
        came += self._hear_gateway(self.gateway.poll())
        for event in self.store.answers():
            self.tell(event)
        self.control.serve()
        self.operators.serve()
        self._tell_standing()
        self.tell(told.Tick())
        self._publish(is_busy=bool(came))
        if not came and not self.settings.spin:
            gateway = [self.gateway] if self.gateway.fileno() >= 0 else []
            select.select([*gateway, *self.lanes.sockets], [], [], WAIT_S)

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

    def _standing(self) -> told.Standing:
        block = self.engine.block
        why = self.engine.divergence
        held = block.get("holds")
        return told.Standing(
            number=block.get("record_number"),
            epoch=block.get("epoch"),
            order_position=block.get("order_position"),
            tail_position=self.outbox.tail_position,
            is_whole=self.following.is_whole,
            diverged=None if why is Divergence.NONE else why.name.lower(),
            held=tuple(each for each in (*SOURCES, OTHERS) if held & bit_of(each)),
            incarnation=self._incarnation,
        )

    def _tell_standing(self) -> None:
        standing, now_ns = self._standing(), self._clock()
        if standing != self._told or now_ns - self._beat_ns > MILLISECOND_NS:
            self._told, self._beat_ns = standing, now_ns
            self.tell(standing)
            is_up = self._session is Session.UP
            open_names = self.breakers.open_names if self._is_leading else ()
            health = told.Health(is_session_up=is_up, breakers_open=open_names)
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
            self._fed_ns = self._clock()
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

    # ------------------------------------------------------------ active

    def _lead(self) -> int:
        came = 0
        if not self._is_draining:
            came = self.market.take(self.flush)
            self._watch_feed()
            now_ns = self._clock()
            if came:
                self._fed_ns = now_ns
                self.breakers.feed(now_ns)
            self.breakers.advance(now_ns)
        if not came:
            self.engine.scrub()
        self.ring.header["beat"] = now_cycles()
        self.lanes.turn(self.ring)
        self._hear_followers()
        self.flush()
        return came

    def _watch_feed(self) -> None:
        """No trading on books that are not current."""
        is_held = "feed" in self.role.holds
        if self.market.is_current:
            if is_held:
                self.tell(told.ResumeTrading("feed"))
        elif not is_held and self.role.handover is None:
            self.tell(told.HoldTrading("feed", "the feed is not current"))

    def _hear_followers(self) -> None:
        """Acknowledgements, as echoes of our beats."""
        for at, row in enumerate(self.ring.followers):
            incarnation, echo = int(row["incarnation"]), int(row["echo"])
            if not incarnation or self._echoes.get(at) == echo:
                continue
            self._echoes[at] = echo
            member = Member(row["name"].decode(), incarnation)
            ready = bool(row["ready"])
            self.tell(told.Acked(member, int(row["epoch"]), int(row["taken"]), ready))
        self.ring.header["committed"] = self._acknowledged()

    def _acknowledged(self) -> int:
        """The last record that all of the gate's members have taken; 0 while it is shut."""
        if self._gate is None:
            return 0
        number = int(self.ring.header["number"])
        for member in self._gate:
            rows = self.ring.followers
            mine = rows[
                (rows["name"] == member.name.encode()) & (rows["incarnation"] == member.incarnation)
            ]
            number = min(number, int(mine["taken"][0]) if len(mine) else 0)
        return number

    @property
    def takes_inputs(self) -> bool:
        """Whether inputs of other than the ring are this node's to take."""
        return self._is_leading and not self._is_draining

    def flush(self) -> None:
        """Hand over what may leave, as long as the lease runs by this node's own clock."""
        if self._gate is None or not self.outbox.waiting_bytes:
            return
        piece = self.outbox.due(self._acknowledged())
        if piece is None:
            return
        if self._clock() >= self._until_ns:
            self.counters["kept_back_without_lease"] += 1
            return
        sent = self.gateway.hand_over(
            self.engine.block.get("epoch"), piece.begin, piece.record_number, piece.orders
        )
        if sent in (Sent.WRITTEN, Sent.WAITING):
            self.outbox.hand_over(piece)
            self.breakers.handed_over(piece.end, self._clock())

    # ------------------------------------------------------------ the gateway

    def _hear_gateway(self, events: list[Event]) -> int:
        for event in events:
            match event:
                case GatewayMessage() | Told():
                    self.answers.add(event)
                    if self._is_leading and isinstance(event, GatewayMessage):
                        self.breakers.answered(event.payload, self._clock())
                case Accepted(_, position) | Confirmed(_, position):
                    self.outbox.confirm(position)
                    self.breakers.accepted(position, self._clock())
                case Declined(_, detail):
                    self._declined(detail)
                case Lost() if self._is_leading:
                    self.breakers.session_error(self._clock())
                case Refused():
                    self._refused(event)
                case Welcomed(_, stands):
                    self._declined_for = None
                    self._stands(stands)
                    if self._is_leading:
                        self.outbox.handed = min(self.outbox.handed, stands.order_position)
                case Stands():
                    self._stands(event)
        if self.takes_inputs:
            for messages, answered in self.answers.take():
                self.engine.feed_responses(messages, answered)
            self.flush()
        return len(events)

    def _declined(self, detail: str) -> None:
        """Why the gateway does not take this node: said once, while it goes on asking."""
        self.counters["declined_by_gateway"] += 1
        if detail != self._declined_for:
            self._declined_for = detail
            self.note(f"the gateway declines this node: {detail}")

    def _stands(self, stands: Stands) -> None:
        if self._is_leading and self._session is Session.UP is not stands.session_state:
            self.breakers.session_error(self._clock())
        self._session, self._at_gateway = stands.session_state, stands
        if self._asked_gateway is None or stands.request != self._asked_gateway[0]:
            return
        (request, epoch), self._asked_gateway = self._asked_gateway, None
        is_ours = stands.highest_epoch == epoch and stands.holder == self.settings.name
        if epoch and not is_ours and stands.highest_epoch <= epoch:
            self.tell(told.GatewayFailed(request, f"epoch {epoch} was not taken: {stands.detail}"))
            return
        self.tell(
            told.GatewayAnswer(
                request, stands.highest_epoch, stands.order_position, stands.input_number
            )
        )

    def _refused(self, event: Refused) -> None:
        self.counters[f"refused_{event.reason.name.lower()}"] += 1
        if event.reason in (Refusal.POSITION_AHEAD, Refusal.SESSION_DOWN):
            self.outbox.handed = min(self.outbox.handed, event.order_position)
            return
        if self._is_leading:
            self.tell(told.GatewayRefused(event.epoch, event.highest_epoch, event.reason.name))

    # ------------------------------------------------------------ what the role asks for

    def _do(self, action: act.Action) -> None:
        match action:
            case act.Acquire() | act.Renew() | act.Release() | act.RecordNote() | act.ReadStore():
                self.store.ask(action)
            case act.AskGateway(request, epoch):
                self._ask_gateway(request, epoch)
            case act.Freeze(request):
                self._freeze(request)
            case act.Promote():
                self._promote(action)
            case act.Extend(_, until_ns):
                self._until_ns = until_ns
            case act.Require(request, members, is_synchronous):
                self._require(request, members, is_synchronous)
            case act.Hold(source, reason):
                self._set_holds(f"{source}: {reason}")
            case act.Resume(source):
                self._set_holds(f"{source} holds no longer")
            case act.Drain(request):
                self._is_draining = True
                self.flush()
                block = self.engine.block
                number, position = block.get("record_number"), block.get("order_position")
                self.tell(told.Drained(request, number, position))
            case act.Undrain():
                self._is_draining = False
            case act.StopSending(request, reason):
                self._stop_leading(reason)
                self.tell(told.Stopped(request))
            case act.Follow():
                self._is_frozen = False
            case act.HandOver(to, epoch, number):
                word = {"ask": "handed_over", "from": self.settings.name}
                if not self._words.tell(to, **word, epoch=epoch, number=number):
                    self.counters["words_not_sent"] += 1
            case act.Abort(reason):
                raise NodeError(f"this node has to end: {reason}")
            case act.Entered(state, reason):
                self.note(_words(action))
                self.notify.tell(self.settings.name, state, self.role.epoch, reason)
                self._publish(is_due=True)
            case _:
                self.note(_words(action))
                if isinstance(action, (act.Done, act.Refused)):
                    self.questions.ended(action)

    def _ask_gateway(self, request: int, epoch: int) -> None:
        if self.gateway.ask(request, epoch) in (Sent.NO_LINE, Sent.FULL):
            self.tell(told.GatewayFailed(request, "there is no connection to the gateway"))
        else:
            self._asked_gateway = request, epoch

    def _freeze(self, request: int) -> None:
        """Take what is in the ring still, and nothing more."""
        self.following.drain()
        self._is_frozen = True
        self.tell(told.Frozen(request, self._standing()))

    def _promote(self, action: act.Promote) -> None:
        self.following.leave()
        block = self.engine.block
        block.set("record_number", action.next_number - 1)
        block.set("epoch", action.epoch)
        self.ring.header["epoch_began"] = action.next_number
        self.ring.header["epoch"] = action.epoch
        self.engine.publish_to(self.ring.address, self.settings.scrub_records)
        self.outbox.go_on_from(action.order_position)
        block.set("order_position", max(block.get("order_position"), action.order_position))
        self._gate, self._until_ns = None, action.until_ns
        self._is_leading, self._is_draining, self._is_frozen = True, False, False
        self._echoes.clear()
        said = {"active": self.settings.name, "behind": action.number}
        if action.is_forced:
            said |= {"forced": True, "records_lost": action.records_lost}
        self.engine.say(Kind.EPOCH, json.dumps(said).encode(), action.epoch)
        self._set_holds("a takeover")
        packets, _bytes = self.tail.take()
        if len(packets):
            self.market.give(packets)
        self.note(f"active in epoch {action.epoch} from record {action.next_number:,} on")

    def _require(self, request: int, members: tuple[Member, ...], is_synchronous: bool) -> None:
        word = {"gate": [str(each) for each in members], "synchronous": is_synchronous}
        self.engine.say(Kind.NOTE, json.dumps(word).encode())
        self._gate = members
        self.tell(told.Required(request, self.engine.block.get("record_number")))

    def _set_holds(self, why: str) -> None:
        """Record who holds trading now."""
        holds = 0
        for source in self.role.holds:
            holds |= bit_of(source)
        self.engine.say(Kind.HOLD, why.encode(), holds)

    def _stop_leading(self, reason: str) -> None:
        """Nothing leaves and nothing is published.  The state stays: it may be all there is."""
        self._is_leading, self._gate, self._until_ns = False, None, 0
        self.engine.publish_to(self.ring.address)  # slices of the state are said by who leads
        self.note(f"stopped: {reason}")

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
