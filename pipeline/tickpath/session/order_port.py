"""The order port: what may go out, at which rate, recorded before it is sent.

A message takes the same way whatever it is: understood, numbered higher than every order before,
let through by the port's rate, recorded in the journal, handed to the connection.  What is refused
on that way was never recorded nor sent.  Nothing waits for a reconnect: an order that is old when
it could at last be sent is not the order that was wanted.

Orders that were settled as lost and are accepted after all are canceled at once.
"""

from collections import deque
from collections.abc import Callable

from tickpath.session.open_orders import OpenOrders
from tickpath.session.ouch_event import Outcome, Refusal, Refused, Settled
from tickpath.session.ouch_message import Dialect, Key, Kind, Meaning
from tickpath.session.ouch_settings import OrderCounters, OrderSettings
from tickpath.session.pace import TokenBucket
from tickpath.session.soup_client import Client
from tickpath.session.soup_event import Event
from tickpath.session.store import Journal
from tickpath.session.store_record import Kind as Record
from tickpath.wire.table import WireError

NEW_ORDERS = (Kind.ENTER, Kind.REPLACE)
QUERY_ENDED = "QUERY_ENDED"
"""What the journal says of an account query whose answer was lost, or never given."""


class NumberError(Exception):
    """A new order's number is not higher than every one before; never leaves the session layer."""


class OrderPort:
    """See the module's text.  Takes up what the journal knows of the session."""

    def __init__(
        self,
        journal: Journal,
        dialect: Dialect,
        settings: OrderSettings,
        counters: OrderCounters,
        say: Callable[[Event], None],
        absorb: Callable[[list[Event]], None],
    ):
        self.journal = journal
        self.dialect = dialect
        self.settings = settings
        self.counters = counters
        self.client: Client | None = None
        """The connection, while it is logged in."""
        self.refusing: Refusal | None = Refusal.NOT_READY
        """Why nothing of the engine's is taken now; None where it is."""
        self.ts_offset_ns = 0
        """What is added to the clock for the time stamps in the journal."""
        self._say = say
        self._absorb = absorb
        self._bucket = TokenBucket(settings.messages_per_second, settings.message_burst)
        self._queue: deque[tuple[Meaning, bytes]] = deque()
        self._canceling: set[Key] = set()  # orders whose cancel, made here, waits in the queue
        self._take_up()

    def _take_up(self) -> None:
        self.orders = OpenOrders()
        self.highest = self.journal.highest_user_ref_num
        """The highest number of an order that was ever taken from the engine."""
        self.settled: dict[Key, Outcome] = {}
        for entry in self.journal.entries():
            if entry.kind is Record.SENT:
                self.orders.sent(entry.index, self.dialect.request(entry.payload), entry.payload)
            elif entry.kind is Record.RECEIVED:
                self._note(entry.payload)
            elif entry.kind is Record.SETTLED:
                key = self.orders.settled(entry.number)
                if key is not None:
                    self.settled[key] = Outcome[entry.payload.decode()]

    def new_session(self, name: str, sequence: int, now_ns: int) -> None:
        """The exchange has begun another session: nothing of the last one lives."""
        self.journal.append_session(name, sequence, now_ns + self.ts_offset_ns)
        self.orders, self.highest, self.settled = OpenOrders(), 0, {}

    # ------------------------------------------------------------ out

    def submit(self, message: bytes, now_ns: int) -> None:
        """Take a message from the engine: send it, let it wait, or refuse it.

        Raises `NumberError`.
        """
        try:
            request = self.dialect.request(message)
        except WireError as error:
            self._refuse(message, Refusal.MALFORMED, str(error))
            return
        is_new = request.kind in NEW_ORDERS
        if is_new:
            if request.number <= self.highest:
                raise NumberError(f"{request.number} after {self.highest}")
            self.highest = request.number
        if len(message) > self.settings.limits.max_payload:
            self._refuse(message, Refusal.MALFORMED, f"{len(message)} bytes")
        elif self.refusing is not None:
            self._refuse(message, self.refusing)
        elif is_new and len(self.orders) + len(self._queue) >= self.settings.max_open_orders:
            self._refuse(message, Refusal.TOO_MANY_OPEN)
        elif not self._queue and self._bucket.take(now_ns):
            self._transmit(request, message, now_ns)
        else:
            self._throttle(request, message, is_new)

    def _throttle(self, request: Meaning, message: bytes, is_new: bool) -> None:
        settings = self.settings
        if is_new and settings.when_throttled == "drop":
            self.counters.dropped += 1
        elif is_new and settings.when_throttled == "reject":
            self._refuse(message, Refusal.THROTTLED)
        elif len(self._queue) >= settings.max_queue * (1 if is_new else 2):
            self._refuse(message, Refusal.QUEUE_FULL)
        else:
            self.counters.queued += 1
            self._queue.append((request, message))

    def drain(self, now_ns: int) -> None:
        """Send what waits, as far as the port's rate allows."""
        while self._queue and self.client is not None and self._bucket.take(now_ns):
            request, message = self._queue.popleft()
            self._canceling.discard(request.key)  # type: ignore[arg-type]
            self._transmit(request, message, now_ns)

    def cancel(self, key: Key) -> None:
        """Cancel an order from here: the cancel waits for its turn, however many do."""
        if key not in self._canceling:
            self._canceling.add(key)
            self.repeat(self.dialect.cancel(key))

    def repeat(self, message: bytes) -> None:
        """Put a message that is no new order into the queue; there is one for an open order."""
        self._queue.append((self.dialect.request(message), message))

    def cancel_all(self) -> None:
        """Cancel every order that may be alive."""
        self.counters.mass_cancels += 1
        for key in self.orders.alive():
            self.cancel(key)

    def query(self, now_ns: int) -> None:
        """Send an account query at once; what follows pays for its share of the rate."""
        message = self.dialect.query()
        self._bucket.force(now_ns)
        self._transmit(self.dialect.request(message), message, now_ns)

    def end_queries(self, now_ns: int, but_the_last: bool) -> None:
        """No answer to any account query is on its way any more, but perhaps to the last."""
        for record in self.orders.queries[: -1 if but_the_last else None]:
            self.journal.append_settled(record, QUERY_ENDED, now_ns + self.ts_offset_ns)
            self.orders.settled(record)

    def abandon(self, refusal: Refusal) -> None:
        """Give up what waits; it was neither recorded nor sent."""
        waiting, self._queue = self._queue, deque()
        own, self._canceling = self._canceling, set()
        for request, message in waiting:
            if request.key not in own:
                self._refuse(message, refusal)

    @property
    def waiting(self) -> int:
        """Messages that wait for the port's rate."""
        return len(self._queue)

    def next_deadline(self, now_ns: int) -> int | None:
        """When the next message that waits can go; None where none does."""
        return self._bucket.ready_at(now_ns) if self._queue and self.client is not None else None

    def _transmit(self, request: Meaning, message: bytes, now_ns: int) -> None:
        client = self.client
        if client is None or not client.is_logged_in:
            return  # the connection ended within this burst; nothing was recorded
        record = self.journal.append_sent(request.number, message, now_ns + self.ts_offset_ns)
        self.orders.sent(record, request, message)
        self.counters.sent += 1
        self._absorb(client.send(message, now_ns))

    def _refuse(self, message: bytes, refusal: Refusal, detail: str = "") -> None:
        self.counters.refused += 1
        self._say(Refused(message, refusal, detail))

    # ------------------------------------------------------------ in

    def received(self, sequence: int, message: bytes, now_ns: int) -> Meaning | None:
        """Record a message of the exchange; gives its meaning, None where it has none."""
        self.journal.append_received(sequence, message, now_ns + self.ts_offset_ns)
        self.counters.received += 1
        answer = self._note(message)
        if answer is None:
            self.counters.received_unknown += 1
        elif answer.kind in (Kind.ACCEPTED, Kind.REPLACED) and answer.key in self.settled:
            self.counters.late_answers += 1
            if answer.key in self.orders.leaves:
                self.cancel(answer.key)
        return answer

    def _note(self, message: bytes) -> Meaning | None:
        try:
            answer = self.dialect.answer(message)
        except WireError:
            return None
        self.orders.received(answer)
        return answer

    def settle(self, key: Key, outcome: Outcome, now_ns: int) -> None:
        """No answer to an order is waited for any longer."""
        lost = self.orders.unanswered[key]
        self.journal.append_settled(lost.record, outcome.name, now_ns + self.ts_offset_ns)
        self.orders.settled(lost.record)
        self.settled[key] = outcome
        if len(self.settled) > self.settings.max_open_orders:
            del self.settled[next(iter(self.settled))]
        name = outcome.name.lower()
        setattr(self.counters, name, getattr(self.counters, name) + 1)
        self._say(Settled(key, outcome, lost.message))
