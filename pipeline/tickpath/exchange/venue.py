"""The whole venue without sockets and clocks: inputs with their times in, bytes and actions out.

    venue = Venue(config, session)
    venue.open()
    venue.receive(port, message, now_ns)        # what an account sent
    venue.advance(now_ns)                       # nothing came, time passed
    venue.take_packets(), venue.take_said(), venue.take_dropped(), venue.take_actions()

Time is exchange time, nanoseconds since midnight; it never goes back.  The invariant: everything
that comes out follows from the configuration and the inputs with their times, however the calls to
`advance` between them are cut.  What is due before an input (background flow, ends of orders, late
answers, commands that were set for a time) happens before it, at its own time.  `journal` relies on
that, and `marks` are what it compares: how much was said, and a checksum of all of it.
"""

import heapq
import zlib
from collections import Counter
from typing import Any, NamedTuple

from tickpath.exchange import command
from tickpath.exchange.config import Exchange, symbols_of
from tickpath.exchange.downstream import Downstream
from tickpath.exchange.error import ExchangeError
from tickpath.exchange.event import ANONYMOUS, Event
from tickpath.exchange.faults import Action, Disconnect, Faults
from tickpath.exchange.flow import NoFlow
from tickpath.exchange.itch_feed import ItchFeed
from tickpath.exchange.matching import Matching
from tickpath.exchange.ouch_gate import Gate
from tickpath.exchange.ouch_port import OuchPort
from tickpath.exchange.ouch_request import Key
from tickpath.exchange.reason import Why

SECOND_NS = 1_000_000_000
_EXPIRE, _SAY, _COMMAND = range(3)


class Marks(NamedTuple):
    """What was said so far, in numbers: equal marks are equal output."""

    next_sequence: int
    packets: int
    packets_crc: int
    said: int
    said_crc: int


class Venue:
    """See the module's text.  Ports are numbered from 1 in the order of the accounts."""

    def __init__(self, config: Exchange, session: str) -> None:
        """Raises `ExchangeError`, and `CaptureError` for a recording that cannot be read."""
        self.config, self.session = config, session
        self.matching = Matching(max_orders=config.max_live_orders, max_trades=config.max_trades)
        self.flow = _flow(config, self.matching)
        self.now_ns = config.start_ns
        if config.start_time is None and self.flow.start_ns is not None:
            self.now_ns = self.flow.start_ns
        self.start_ns = self.now_ns
        self.feed = ItchFeed(self.matching.books)
        self.downstream = Downstream(
            session,
            self.now_ns,
            max_bytes=config.feed.max_bytes,
            window_ns=config.feed.window_us * 1_000,
            heartbeat_ns=config.feed.heartbeat_ms * 1_000_000,
            max_kept=config.feed.max_kept,
        )
        self.gate = Gate(config.replace_keeps_place)
        self.faults = Faults(config.seed, config.feed.loss)
        self.counters: Counter[str] = Counter()
        self.ports: dict[int, OuchPort] = {}
        self.names: dict[str, int] = {}
        for number, account in enumerate(config.accounts, 1):
            protocol = account.protocol or config.orders.protocol
            self.ports[number] = OuchPort(
                number, account, protocol, self.matching, self.gate, self._say, self._expire_at
            )
            self.names[account.username.upper()] = number
        self.connected: set[int] = set()
        self.is_over = False
        self._packets: list[bytes] = []
        self._said: list[tuple[int, bytes]] = []
        self._dropped: list[tuple[int, bytes]] = []
        self._actions: list[Action] = []
        self._due: list[tuple[int, int, int, int, Any]] = []  # heap: time, serial, kind, port, what
        self._serial = 0
        self._release_ns: Counter[int] = Counter()  # when a port's latest answer leaves
        self._said_count = self._said_crc = self._packet_count = self._packets_crc = 0

    # ------------------------------------------------------------ inputs

    def open(self) -> None:
        """Start the day at its first moment: system events, the symbols, the first orders."""
        now_ns = self.now_ns
        for each in self.config.faults:
            asked = command.parse(dict(each), self)
            self._at(now_ns + round(asked.after_s * SECOND_NS), _COMMAND, 0, asked)
        self._publish(self.feed.opening(now_ns), now_ns)
        for port in self.ports.values():
            port.open_day(now_ns)
        self._happened(self.flow.begin(now_ns), now_ns)

    def advance(self, now_ns: int) -> None:
        """Let time pass, and let happen what is due until then."""
        now_ns = self._later(now_ns)
        flow, due = self.flow, self._due
        while True:
            if due and due[0][0] <= now_ns and due[0][0] <= flow.due_ns:
                self._run(*heapq.heappop(due))
            elif flow.due_ns <= now_ns and not self.is_over:
                self.now_ns = flow.due_ns
                self._happened(flow.step(), self.now_ns)
            else:
                break
        self.now_ns = now_ns
        if not self.is_over:
            self.downstream.advance(now_ns)

    def receive(self, number: int, raw: bytes, now_ns: int) -> None:
        """A message of an account, an unsequenced one of its session."""
        self.advance(now_ns)
        self.counters["messages_received"] += 1
        left = self.faults.messages_left.get(number)
        if left is not None:
            self.faults.messages_left[number] = left - 1
            if left <= 1:
                del self.faults.messages_left[number]
                self._actions.append(Disconnect(number))
        port = self.ports[number]
        self._happened(port.receive(raw, self.now_ns), self.now_ns)

    def connect(self, number: int, now_ns: int) -> None:
        """An account logged in."""
        self.advance(now_ns)
        self.connected.add(number)

    def disconnect(self, number: int, now_ns: int) -> None:
        """An account's connection has ended; its orders are cancelled where it wants that."""
        self.advance(now_ns)
        if number in self.connected and self.ports[number].account.cancel_on_disconnect:
            self.counters["cancels_on_disconnect"] += 1
            self._happened(self.ports[number].cancel_all(Why.SYSTEM), self.now_ns)
        self.connected.discard(number)

    def operate(self, asked: "command.Command", now_ns: int) -> dict[str, Any]:
        """Do what an operator asks; the answer.  A command set for later is only noted."""
        self.advance(now_ns)
        if asked.after_s > 0:
            self._at(self.now_ns + round(asked.after_s * SECOND_NS), _COMMAND, 0, asked)
            return {"scheduled": True}
        return asked.run(self)

    def close(self, now_ns: int) -> None:
        """End the day: orders of accounts are cancelled, everybody is told."""
        self.advance(now_ns)
        if self.is_over:
            return
        now_ns = self.now_ns
        self.gate.is_open = False
        for port in self.ports.values():
            self._happened(port.cancel_all(Why.CLOSED), now_ns)
            port.close_day(now_ns)
        self._publish(self.feed.closing(now_ns), now_ns)
        self.downstream.end(now_ns)
        self.is_over = True
        while self._due:  # late answers are not lost
            self._run(*heapq.heappop(self._due))

    def end_again(self, now_ns: int) -> None:
        """Say the end of the feed once more, for those who missed it."""
        self.downstream.end(now_ns)

    # ------------------------------------------------------------ outputs

    def take_packets(self) -> list[bytes]:
        """Packets of the feed to send now, without those that are lost on purpose."""
        made = self.downstream.take()
        for packet in made:
            self._packets_crc = zlib.crc32(packet, self._packets_crc)
        self._packet_count += len(made)
        return self.faults.packets(made)

    def take_said(self) -> list[tuple[int, bytes]]:
        """(port, message) for the accounts' sessions, in order."""
        taken, self._said = self._said, []
        return taken

    def take_dropped(self) -> list[tuple[int, bytes]]:
        """(port, message) for the accounts' drop copies, in order."""
        taken, self._dropped = self._dropped, []
        return taken

    def take_actions(self) -> list[Action]:
        """What is to be done to connections."""
        taken, self._actions = self._actions, []
        return taken

    def marks(self) -> Marks:
        """Of everything that was taken by `take_packets` and said to accounts."""
        return Marks(
            self.downstream.next_sequence,
            self._packet_count,
            self._packets_crc,
            self._said_count,
            self._said_crc,
        )

    @property
    def packets_made(self) -> int:
        """Packets of the feed so far: the number of the latest one."""
        return self._packet_count + len(self.downstream.packets)

    @property
    def due_ns(self) -> int:
        """When `advance` has something to do next."""
        due = self._due[0][0] if self._due else self.flow.due_ns
        return min(due, self.flow.due_ns, self.downstream.due_ns)

    # ------------------------------------------------------------ for commands

    def happened(self, events: list[Event]) -> None:
        """Tell everybody what a command did."""
        self._happened(events, self.now_ns)

    def act(self, action: Action) -> None:
        """Have something done to a connection."""
        self._actions.append(action)

    # ------------------------------------------------------------ how it is done

    def _later(self, now_ns: int) -> int:
        if now_ns < self.now_ns:
            self.counters["clock_backwards"] += 1
            return self.now_ns
        return now_ns

    def _happened(self, events: list[Event], now_ns: int) -> None:
        for event in events:
            owner = getattr(event, "owner", ANONYMOUS)
            incoming = getattr(event, "incoming_owner", ANONYMOUS)
            if owner:
                self.ports[owner].tell(event, now_ns)
            if incoming and incoming != owner:
                self.ports[incoming].tell(event, now_ns)
        self._publish(self.feed.messages(events, now_ns), now_ns)

    def _publish(self, messages: list[bytes], now_ns: int) -> None:
        if messages:
            self.downstream.publish(messages, now_ns)

    def _say(self, number: int, message: bytes, is_dropped: bool) -> None:
        """An answer of a port; it leaves at once, or late and behind those before it."""
        release_ns = max(self.now_ns + self.faults.delays_ns[number], self._release_ns[number])
        self._release_ns[number] = release_ns
        if is_dropped:
            self._note(b"d%d" % number, message)
            self._dropped.append((number, message))
        if release_ns > self.now_ns:
            self.faults.counters["answers_delayed"] += 1
            self._at(release_ns, _SAY, number, message)
        else:
            self._out(number, message)

    def _out(self, number: int, message: bytes) -> None:
        self._note(b"o%d" % number, message)
        self._said.append((number, message))

    def _note(self, whose: bytes, message: bytes) -> None:
        self._said_count += 1
        self._said_crc = zlib.crc32(message, zlib.crc32(whose, self._said_crc))

    def _expire_at(self, due_ns: int, number: int, key: Key) -> None:
        self._at(due_ns, _EXPIRE, number, key)

    def _at(self, due_ns: int, kind: int, number: int, what: Any) -> None:
        self._serial += 1
        heapq.heappush(self._due, (due_ns, self._serial, kind, number, what))

    def _run(self, due_ns: int, serial: int, kind: int, number: int, what: Any) -> None:
        self.now_ns = max(due_ns, self.now_ns)
        if kind == _EXPIRE:
            self._happened(self.ports[number].expire(what, self.now_ns), self.now_ns)
        elif kind == _SAY:
            self._out(number, what)
        elif not self.is_over:
            try:
                what.run(self)
            except ExchangeError:  # what it was about is not there any more, or not yet
                self.counters["commands_failed"] += 1


def _flow(config: Exchange, matching: Matching) -> NoFlow:
    """List the symbols and make the flow that trades them."""
    recorded = config.flow.kind == "recorded"
    if recorded and not isinstance(config.symbols, list):
        from tickpath.exchange.flow_recorded import RecordedFlow

        return RecordedFlow(matching, config.flow.recorded, config.flow.speed)
    from tickpath.exchange.listing import prices_of

    prices = prices_of(config.symbols, config.seed)
    locates = {matching.list_symbol(name): prices[name] for name in sorted(prices)}
    if recorded:
        from tickpath.exchange.flow_recorded import RecordedFlow

        assert isinstance(config.symbols, list)
        only = frozenset(symbols_of(config.symbols))
        return RecordedFlow(matching, config.flow.recorded, config.flow.speed, only)
    if config.flow.kind == "none":
        return NoFlow()
    from tickpath.exchange.flow_generated import GeneratedFlow

    by_rank = {matching.locates[name]: locates[matching.locates[name]] for name in prices}
    return GeneratedFlow(
        matching, by_rank, config.seed, config.flow.rate, config.flow.orders_per_symbol
    )
