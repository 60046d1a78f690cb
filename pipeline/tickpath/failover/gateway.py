"""The order gateway without sockets: hand-overs in, an order session out, answers to every node.

The invariants, which hold through crashes because everything is recorded before it is acted on:

  * an epoch is on the disk before anything is taken in it, and nothing is taken in a lower one;
  * the session gets exactly the bytes of the order stream, each once and in order: what is handed
    over again must be what is here already, and is not sent again;
  * every message of the stream is either in the session's journal, which means that the exchange
    answers it or settling tells what became of it, or has an outcome here.

Where the gateway is killed:

  before the intent is recorded        the node hands the bytes over again
  between intent and session journal   never sent: outcome GATEWAY_STOPPED after the start
  between journal and socket           the session asks the exchange what it has
                                       (`tickpath.session.settlement`): outcome NEVER_RECEIVED
  behind the socket                    the exchange has it; its answers come by their sequence

So no message is ever sent twice, and what may be lost with a process has a name.  After a power
failure without fsync "always" the position can lie behind what the exchange has: bytes are then
handed over again, and a new order whose number was used is not sent: outcome NUMBER_USED.

A node's connection is `gateway_node`; the shell is `gateway_server`.
"""

from collections import Counter, deque
from collections.abc import Callable
from typing import NamedTuple

from tickpath.failover.gateway_answers import Answers
from tickpath.failover.gateway_error import GatewayError, StoreError
from tickpath.failover.gateway_journal import WatchedJournal
from tickpath.failover.gateway_number import Numbers
from tickpath.failover.gateway_settings import GatewaySettings
from tickpath.failover.gateway_store import GatewayStore, Pending
from tickpath.failover.gateway_tail import LENGTH_BYTES, split
from tickpath.session import ouch_event
from tickpath.session.order_port import QUERY_ENDED
from tickpath.session.ouch import OrderSession
from tickpath.session.ouch_event import End, Ended, LineLost, Ready, Refused, SessionState, Settled
from tickpath.session.soup_event import Event, Sequenced
from tickpath.session.store_record import Kind as Journaled
from tickpath.wire.gateway import NO_POSITION, Outcome, Refusal, Session

assert all(each.name in Outcome.__members__ for each in ouch_event.Refusal)
assert all(each.name in Outcome.__members__ for each in ouch_event.Outcome)


class Accepted(NamedTuple):
    """A hand-over was taken; the stream stands at ``order_position``."""

    epoch: int
    order_position: int


class Rejected(NamedTuple):
    """Nothing of a hand-over was taken."""

    reason: Refusal
    epoch: int
    refused_position: int
    highest_epoch: int
    order_position: int


class Gateway:
    """See the module's text.  ``session`` writes to ``journal``, a `WatchedJournal`."""

    def __init__(
        self,
        store: GatewayStore,
        journal: WatchedJournal,
        session: OrderSession,
        settings: GatewaySettings = GatewaySettings(),  # noqa: B008 - frozen
        *,
        now_ns: int,
        on_sent: Callable[[], None] = lambda: None,
    ):
        """Takes up what an earlier process left.  Raises `GatewayError`.

        ``on_sent`` is called when the session may have bytes for the exchange, before anything else
        is done.
        """
        if session.settings.when_throttled == "drop":
            raise GatewayError(
                "session.when_throttled: drop leaves orders without an outcome; take queue or "
                "reject"
            )
        self.store, self.journal, self.session = store, journal, session
        self.settings = settings
        self.counters: Counter[str] = Counter()
        self.detail = ""
        """What was last said of the session, for people."""
        self.next_number = 0
        self.version = 0
        """Changes with whatever a `session_state` says of the session and the epoch."""
        self.on_sent = on_sent
        self._numbers = Numbers(session.port.dialect)
        self._pending: deque[Pending] = deque()  # handed over, not yet recorded by the session
        self._said: tuple = ()
        self.answers = Answers(journal.next_sequence, settings.max_answers)
        self._take_up(now_ns)

    # ------------------------------------------------------------ where things stand

    @property
    def state(self) -> Session:
        """Whether orders reach the exchange."""
        if self.store.failure is not None:
            return Session.BROKEN
        if self.session.ended is not None:
            return Session.ENDED
        is_up = self.session.state is SessionState.READY and self.session.port.refusing is None
        return Session.UP if is_up else Session.DOWN

    @property
    def order_position(self) -> int:
        """Bytes of the order stream that were taken."""
        return self.store.order_position

    @property
    def epoch(self) -> int:
        """The highest epoch that was seen."""
        return self.store.epoch

    @property
    def waiting(self) -> int:
        """Messages that were taken and wait for the port's rate."""
        return len(self._pending)

    # ------------------------------------------------------------ hand-overs

    def hand_over(
        self,
        node: str,
        epoch: int,
        order_position: int,
        input_number: int,
        content: bytes,
        now_ns: int,
    ) -> Accepted | Rejected:
        """Take the order stream's bytes from a position on, or say why not."""
        reason = self._take(node, epoch, order_position, input_number, content, now_ns)
        if reason is Refusal.DIVERGED:
            self.counters["diverged"] += 1
            self.detail = f"{node} hands over other bytes at {order_position} than are here"
        self._notice()
        if reason is None:
            self.counters["hand_overs_accepted"] += 1
            return Accepted(epoch, self.order_position)
        self.counters["hand_overs_refused"] += 1
        self.counters[f"refused_{reason.name.lower()}"] += 1
        return Rejected(reason, epoch, order_position, self.epoch, self.order_position)

    def _take(
        self,
        node: str,
        epoch: int,
        order_position: int,
        input_number: int,
        content: bytes,
        now_ns: int,
    ) -> Refusal | None:
        reason = self.adopt(node, epoch, now_ns)
        if reason is not None:
            return reason
        store = self.store
        self.session.contact(now_ns)
        reason = self._compare(order_position, content)
        if reason is not None:
            return reason
        fresh = content[store.order_position - order_position :]
        if not fresh:
            return None
        messages = split(fresh)
        if messages is None:
            return Refusal.MALFORMED
        if self.settings.when_down == "refuse" and self.state is not Session.UP:
            return Refusal.SESSION_DOWN
        return self._submit(input_number, fresh, messages, now_ns)

    def adopt(self, node: str, epoch: int, now_ns: int) -> Refusal | None:
        """Take a node's epoch for the highest, or say why not; it is on the disk afterwards."""
        store = self.store
        if epoch < store.epoch:
            return Refusal.STALE_EPOCH
        if not epoch:
            return Refusal.MALFORMED
        if epoch == store.epoch and node != store.holder:
            return Refusal.EPOCH_OF_ANOTHER
        if store.failure is not None:
            return Refusal.NOT_DURABLE
        if epoch > store.epoch:
            try:
                store.append_epoch(epoch, node, now_ns)
            except StoreError:
                return Refusal.NOT_DURABLE
            self.counters["epochs"] += 1
            self._notice()
        return None

    def _compare(self, order_position: int, content: bytes) -> Refusal | None:
        """Whether a hand-over goes on where the gateway stands, or says again what is here."""
        tail = self.store.tail
        if order_position == tail.position:
            return None
        if order_position > tail.position:
            return Refusal.POSITION_AHEAD
        known = content[: tail.position - order_position]
        if known and order_position < tail.first:
            return Refusal.TAIL_GONE
        if not tail.same(order_position, known):
            return Refusal.DIVERGED
        self.counters["bytes_again"] += len(known)
        # By itself: the gateway stands between two messages, always.
        return Refusal.MALFORMED if split(known) is None else None

    def _submit(
        self, input_number: int, stream: bytes, messages: list[bytes], now_ns: int
    ) -> Refusal | None:
        """Record the intent, then let the session have it."""
        store, position = self.store, self.order_position
        taken = self._pending[0].order_position if self._pending else position
        recorded = self.journal.counters.records
        try:
            store.append_handed(input_number, taken, recorded, stream, now_ns)
            store.flush(now_ns)
        except StoreError:
            return Refusal.NOT_DURABLE
        self.counters["messages"] += len(messages)
        used: list[Pending] = []
        sendable: list[bytes] = []
        highest = self.session.port.highest
        for message in messages:
            pending = Pending(position, recorded, message)
            position += LENGTH_BYTES + len(message)
            number = self._numbers.of(message)
            if number is not None and number <= highest:
                used.append(pending)
                continue
            highest = highest if number is None else number
            self._pending.append(pending)
            sendable.append(message)
        events = self.session.send_all(sendable, now_ns)
        self.on_sent()
        for pending in used:
            self._tell(pending.order_position, Outcome.NUMBER_USED, pending.message, now_ns)
        self.hear(events, now_ns)
        return None

    # ------------------------------------------------------------ the session

    def hear(self, events: list[Event], now_ns: int) -> None:
        """Take what the session says; to be called with all of its events."""
        recorded = self.journal.take_recorded()
        ended = self.session.ended
        if ended is None or ended.end is not End.JOURNAL:
            for message in recorded:
                self._taken(message)
        # Otherwise they were to be recorded, and are not: their bytes will never leave.
        for event in events:
            if isinstance(event, Sequenced):
                self.answers.append(event.payload)
                self.counters["answers"] += 1
            elif isinstance(event, Refused):
                position = self._taken(event.message)
                if position != NO_POSITION:  # else it was told when its line ended
                    self._tell(position, Outcome[event.refusal.name], event.message, now_ns)
            elif isinstance(event, Settled):
                self._tell(NO_POSITION, Outcome[event.outcome.name], event.message, now_ns)
            elif isinstance(event, Ready):
                self.next_number = event.next_user_ref_num
                self.detail = f"session {event.session} is up"
            elif isinstance(event, LineLost | Ended):
                self.detail = _text_of(event)
        if self._pending and not self.session.port.waiting:
            # What the session neither recorded, nor keeps, nor refused: its line ended within.
            for each in list(self._pending):
                self._taken(each.message)
                self._tell(each.order_position, Outcome.NOT_READY, each.message, now_ns)
        self._notice()

    def tick(self, now_ns: int) -> None:
        """Let time pass; to be called before the session's own `tick`."""
        if not len(self.session.port.orders) and not self.session.port.waiting:
            self.session.contact(now_ns)  # the dead man's handle is for orders that may be alive
        try:
            self.store.flush(now_ns)
        except StoreError:
            self._notice()

    def _taken(self, message: bytes) -> int:
        """A message waits no longer; gives its position, if it is of the order stream."""
        for at, each in enumerate(self._pending):
            if each.message == message:
                del self._pending[at]
                return each.order_position
        return NO_POSITION

    def _tell(self, position: int, reason: Outcome, message: bytes, now_ns: int) -> None:
        """Record an outcome; nodes are told of what is recorded."""
        self.counters[f"outcome_{reason.name.lower()}"] += 1
        try:
            self.store.append_outcome(self.answers.next - 1, position, reason, message, now_ns)
        except StoreError:
            self.counters["outcomes_unrecorded"] += 1  # found again at the next start

    def _notice(self) -> None:
        """Whether nodes have to be told of another state."""
        said = (self.state, self.epoch, self.session.journal.session, self.detail)
        if said != self._said:
            self._said = said
            self.version += 1

    # ------------------------------------------------------------ after a crash

    def _take_up(self, now_ns: int) -> None:
        """Close what an earlier process left open; each step can be done twice."""
        received = self.journal.received() if self.journal.session else iter(())
        for at, entry in enumerate(received):
            if not at:
                self.answers = Answers(entry.number, self.settings.max_answers)
            self.answers.append(entry.payload)
        self.next_number = self.session.port.highest + 1 if self.journal.session else 0
        try:
            self._tell_settled(now_ns)
            self._tell_unsent(now_ns)
            self.store.flush(now_ns)
        except StoreError as error:
            raise GatewayError(str(error)) from None
        self._notice()

    def _tell_settled(self, now_ns: int) -> None:
        """Outcomes that the session had recorded and the gateway had not."""
        missing = self.store.counters.settled
        settled = [
            each
            for each in self._journaled(Journaled.SETTLED)
            if each.payload != QUERY_ENDED.encode()
        ][missing:]
        if not settled:
            return
        wanted = {each.number for each in settled}
        sent = {e.index: e.payload for e in self._journaled(Journaled.SENT) if e.index in wanted}
        for each in settled:
            reason = Outcome[each.payload.decode()]
            self.counters["settled_before_a_crash"] += 1
            self.store.append_outcome(
                self.answers.next - 1, NO_POSITION, reason, sent[each.number], now_ns
            )

    def _tell_unsent(self, now_ns: int) -> None:
        """Outcomes of what was taken and never reached the session's journal."""
        unsent = self.store.pending
        if not unsent:
            return
        for entry in self._journaled(Journaled.SENT):
            for at, each in enumerate(unsent):
                if each.message == entry.payload and entry.index >= each.journal_records:
                    del unsent[at]
                    break
        for each in list(unsent):
            self.counters["unsent_before_a_crash"] += 1
            self.store.append_outcome(
                self.answers.next - 1,
                each.order_position,
                Outcome.GATEWAY_STOPPED,
                each.message,
                now_ns,
            )
        unsent.clear()

    def _journaled(self, kind: Journaled):
        return self.journal.entries(kind) if self.journal.session else ()


def _text_of(event: LineLost | Ended) -> str:
    if isinstance(event, Ended):
        return str(event)
    return f"{event.reason.value} {event.detail}".rstrip()
