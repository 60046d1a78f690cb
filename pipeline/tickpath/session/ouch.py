"""An order session: OUCH 5.0 or 4.2 over SoupBinTCP, across lost connections and crashes.

    journal = Journal("orders.journal", protocol="ouch50")
    session = OrderSession(journal, username, password, now_ns=now)
    for event in session.tick(now): ...           # ConnectWanted: open a connection, then
    session.connected(now)                        #   or connect_failed(why, now)
    for event in session.receive(received, now): ...  # Sequenced(sequence, OUCH message), Ready
    for event in session.send(order, now): ...    # Refused, or nothing
    transport.write(session.take_output())

No sockets and no clock: bytes and the time go in, events and bytes come out.  `Ready` tells that
orders can be sent.  Every message is in the journal before its bytes can be taken, every received
one before its event is given; so a process that is killed anywhere takes up from the journal where
it stood: no message is lost or given twice, and no order is sent twice (`settlement` says how).

A lost connection is made again, with pauses that double (`pace.Backoff`) and a limit.  While there
is none, orders are refused, not kept.  An order whose number is not higher than all before it ends
the session before it reaches the wire: whatever numbers orders has lost count.

Where the engine gives no sign of life (`contact`, or any `send`) for `dead_man_ns`, its orders are
canceled and the session logs out (`dead_man`).  Without a connection one is made for this, as long
as any order may be alive.  The session ends with it and does not start by itself again.
"""

from collections.abc import Callable, Iterable

from tickpath.session.credentials import Secret
from tickpath.session.dead_man import DeadManHandle
from tickpath.session.error import JournalError, SessionError
from tickpath.session.order_port import NumberError, OrderPort
from tickpath.session.ouch_event import (
    FINAL,
    ConnectWanted,
    DeadMan,
    End,
    Ended,
    LineLost,
    Ready,
    Refusal,
    SessionState,
)
from tickpath.session.ouch_message import DIALECTS
from tickpath.session.ouch_settings import OrderCounters, OrderSettings
from tickpath.session.pace import Backoff
from tickpath.session.settlement import Settlement
from tickpath.session.soup_client import Client, login_request
from tickpath.session.soup_event import Closed, Event, LoggedIn, Reason, Sequenced
from tickpath.session.soup_link import CHUNK
from tickpath.session.store import Journal


class OrderSession:
    """See the module's text.  ``epoch_ns`` is the Unix time at which the caller's clock shows 0."""

    def __init__(
        self,
        journal: Journal,
        username: str,
        password: Secret,
        *,
        now_ns: int,
        settings: OrderSettings = OrderSettings(),  # noqa: B008 - frozen
        epoch_ns: int = 0,
    ):
        if journal.protocol not in DIALECTS:
            raise SessionError(
                f"{journal.path}: no order session speaks {journal.protocol!r}; known: "
                f"{', '.join(DIALECTS)}"
            )
        login_request(username, password, settings.session, 1)  # refuses what does not fit
        self.journal = journal
        self.settings = settings
        self.counters = OrderCounters()
        self.state = SessionState.WAITING
        self.ended: Ended | None = None
        self.client: Client | None = None
        """The connection of now, or the last one."""
        self._username, self._password = username, password
        self._now_ns = self._retry_at_ns = now_ns
        self._events: list[Event] = []
        self._settlement: Settlement | None = None
        self._is_probing = False  # this login is only to learn the number of the next message
        self._floor: int | None = None  # that number
        self._ready_since_ns = now_ns
        self._is_unrecorded = False  # what the connection would send is not in the journal
        self._dead_man = DeadManHandle(settings.dead_man_ns, settings.dead_man_grace_ns, now_ns)
        self._backoff = Backoff(
            settings.reconnect_first_ns,
            settings.reconnect_longest_ns,
            settings.max_attempts,
            settings.jitter_seed,
        )
        dialect = DIALECTS[journal.protocol]
        self.port = OrderPort(journal, dialect, settings, self.counters, self._say, self._absorb)
        self.port.ts_offset_ns = epoch_ns

    # ------------------------------------------------------------ the connection

    def connected(self, now_ns: int) -> list[Event]:
        """The connection that was wanted is there: log in."""
        return self._do(now_ns, self._log_in)

    def connect_failed(self, why: str, now_ns: int) -> list[Event]:
        """The connection that was wanted could not be made."""
        return self._do(now_ns, lambda: self._not_connected(why))

    def receive(self, received: bytes, now_ns: int) -> list[Event]:
        """Take bytes from the connection; gives what they mean."""
        return self._with_client(now_ns, lambda client: client.receive(received, self._now_ns))

    def disconnected(self, now_ns: int) -> list[Event]:
        """The connection is gone."""
        return self._with_client(now_ns, lambda client: client.disconnected(self._now_ns))

    def take_output(self, most: int = CHUNK) -> bytes:
        """Bytes to write now, at most ``most``; take more only when these have been written."""
        if self.client is None or self._is_unrecorded:
            return b""
        return self.client.take_output(most)

    @property
    def has_output(self) -> bool:
        """True where `take_output` would give something."""
        return self.client is not None and not self._is_unrecorded and self.client.has_output

    @property
    def has_line(self) -> bool:
        """True while a connection is in use; where it turns False, close it after the output."""
        return self.client is not None and self.client.closed is None

    # ------------------------------------------------------------ the engine's side

    def send(self, message: bytes, now_ns: int) -> list[Event]:
        """Send an OUCH message, or say why not."""
        return self.send_all((message,), now_ns)

    def send_all(self, messages: Iterable[bytes], now_ns: int) -> list[Event]:
        """Send OUCH messages in order; the journal is written once for all of them."""
        return self._do(now_ns, lambda: self._submit(messages))

    def contact(self, now_ns: int) -> None:
        """The engine lives."""
        self._dead_man.contact(now_ns)

    def cancel_all(self, now_ns: int) -> list[Event]:
        """Cancel every order that may be alive; for those that are unsettled, once they are."""
        return self._do(now_ns, self._cancel_all)

    def logout(self, now_ns: int) -> list[Event]:
        """Leave in good order; orders stay alive unless the venue cancels them on disconnect."""
        return self._do(now_ns, self._log_out)

    def stop(self, now_ns: int, detail: str = "") -> list[Event]:
        """End the session at once."""
        return self._do(now_ns, lambda: self._end(End.STOPPED, detail))

    # ------------------------------------------------------------ time

    def tick(self, now_ns: int) -> list[Event]:
        """Let time pass."""
        return self._do(now_ns, self._pass_time)

    @property
    def next_deadline(self) -> int | None:
        """When `tick` has something to do; None when all is over."""
        if self.state is SessionState.ENDED:
            return None
        deadlines = [self.journal.next_deadline, self.port.next_deadline(self._now_ns)]
        if self.state is SessionState.WAITING:
            deadlines.append(self._retry_at_ns)
        if self.has_line and self.client is not None:
            deadlines.append(self.client.next_deadline)
        if self._settlement is not None:
            deadlines.append(self._settlement.deadline_ns)
        is_watched = self.state is not SessionState.LOGGING_OUT and not self._dead_man.has_acted
        if is_watched or self.state is SessionState.READY:
            deadlines.append(self._dead_man.next_deadline)
        return min((each for each in deadlines if each is not None), default=None)

    # ------------------------------------------------------------ inside

    def _say(self, event: Event) -> None:
        self._events.append(event)

    def _do(self, now_ns: int, action: Callable[[], None]) -> list[Event]:
        """Act, record, and only then tell."""
        self._now_ns = max(self._now_ns, now_ns)
        try:
            if self.state is not SessionState.ENDED:
                action()
                self.journal.flush(self._now_ns)
        except JournalError as error:
            self._is_unrecorded = True
            # What was received and not recorded will be sent again to whoever takes this up.
            self._events = [each for each in self._events if not isinstance(each, Sequenced)]
            self._end(End.JOURNAL, str(error))
        told, self._events = self._events, []
        return told

    def _with_client(self, now_ns: int, action: Callable[[Client], list[Event]]) -> list[Event]:
        def act() -> None:
            if self.client is not None:
                self._absorb(action(self.client))

        return self._do(now_ns, act)

    def _log_in(self) -> None:
        if self.state is not SessionState.CONNECTING:
            raise SessionError(f"no connection is wanted while {self.state.name}")
        journal = self.journal
        session = self.settings.session.strip() or journal.session
        is_same = session == journal.session
        sequence = journal.next_sequence if is_same else 1
        self._is_probing = bool(self.port.orders.queries) and is_same and self._floor is None
        if self._is_probing:
            sequence = 0
        self.state = SessionState.LOGGING_IN
        self.client = Client(
            self._username,
            self._password,
            session=session,
            sequence=sequence,
            limits=self.settings.limits,
            now_ns=self._now_ns,
        )

    def _not_connected(self, why: str) -> None:
        if self.state is SessionState.CONNECTING:
            self._lost(Reason.DISCONNECTED, why)

    def _absorb(self, events: list[Event]) -> None:
        for event in events:
            if self.state is SessionState.ENDED:
                return  # what follows is not recorded, so it will come again
            if self._is_probing and isinstance(event, LoggedIn):
                self._probed(event)
                return
            if isinstance(event, Sequenced):
                answer = self.port.received(event.sequence, event.payload, self._now_ns)
                self._events.append(event)
                if answer is not None and self._settlement is not None:
                    self._settlement.heard(event.sequence, answer, self._now_ns)
                    self._settle()
            elif isinstance(event, Closed):
                self._lost(event.reason, event.detail)
            else:
                self._events.append(event)
                if isinstance(event, LoggedIn):
                    self._logged_in(event)

    def _probed(self, event: LoggedIn) -> None:
        """Nothing else is wanted of this connection: log in again, at the right place."""
        self.counters.probes += 1
        self._is_probing = False
        self._floor = event.sequence
        assert self.client is not None
        self.client.close(self._now_ns)
        self.state, self._retry_at_ns = SessionState.WAITING, self._now_ns

    def _logged_in(self, event: LoggedIn) -> None:
        self.counters.logins += 1
        if event.session != self.journal.session:
            self.port.new_session(event.session, event.sequence, self._now_ns)
        assert self.client is not None
        self.port.client = self.client
        self.state = SessionState.SETTLING
        floor, self._floor = self._floor, None
        settlement = Settlement(self.port, self.client, self.settings, self._now_ns, floor)
        if self.state is SessionState.SETTLING:  # the connection has survived its questions
            self._settlement = settlement
            self._settle()

    def _settle(self) -> None:
        settlement = self._settlement
        if settlement is None or self.state is not SessionState.SETTLING:
            return
        if settlement.has_timed_out:
            self.counters.settle_timeouts += 1
            assert self.client is not None
            self.client.close(self._now_ns)
            self._lost(Reason.RECEIVE_TIMEOUT, "the account query was not answered in time")
        elif settlement.is_done:
            self._settlement = None
            self.state = SessionState.READY
            self._ready_since_ns = self._now_ns
            next_number = self.port.highest + 1
            journal = self.journal
            self._events.append(Ready(journal.session, journal.next_sequence, next_number))
            if self._dead_man.has_acted:
                self._dead_man.act(self._now_ns)
                self.port.cancel_all()
            else:
                self.port.refusing = None
            self.port.drain(self._now_ns)

    def _submit(self, messages: Iterable[bytes]) -> None:
        self.contact(self._now_ns)
        try:
            for message in messages:
                self.port.submit(message, self._now_ns)
        except NumberError as error:
            self._end(End.USER_REF_NUM, str(error))

    def _cancel_all(self) -> None:
        if self.state is SessionState.READY:
            self.port.cancel_all()
            self.port.drain(self._now_ns)

    def _log_out(self) -> None:
        if self.state in (SessionState.READY, SessionState.SETTLING) and self.client is not None:
            self.port.refusing = Refusal.NOT_READY
            self.port.abandon(Refusal.NOT_READY)
            self.state = SessionState.LOGGING_OUT
            self._settlement = None
            self._absorb(self.client.logout(self._now_ns))
        elif self.state is not SessionState.LOGGING_OUT:
            self._end(End.LOGOUT)

    def _pass_time(self) -> None:
        now_ns = self._now_ns
        if self.state is SessionState.WAITING and now_ns >= self._retry_at_ns:
            self.state = SessionState.CONNECTING
            self._events.append(ConnectWanted(self._backoff.failed + 1))
        if self.has_line and self.client is not None:
            self._absorb(self.client.tick(now_ns))
        self.port.drain(now_ns)
        if self._settlement is not None:
            self._settlement.tick(now_ns)
            self._settle()
            self.port.drain(now_ns)
        if self.state is SessionState.READY:
            if now_ns - self._ready_since_ns >= self.settings.stable_ns:
                self._backoff.reset()
        self._watch_engine()

    def _watch_engine(self) -> None:
        if self._dead_man.is_due(self._now_ns):
            self._silent_engine()
        elif self._dead_man.has_acted and self.state is SessionState.READY:
            is_done = not (len(self.port.orders) or self.port.waiting)
            if is_done or self._dead_man.is_over(self._now_ns):
                self._log_out()

    def _silent_engine(self) -> None:
        """Nothing of the engine's is taken any more; what it has at the exchange is canceled."""
        if self.state in (SessionState.LOGGING_OUT, SessionState.ENDED):
            return
        self.counters.dead_man += 1
        self._dead_man.act(self._now_ns)
        self._events.append(DeadMan(len(self.port.orders)))
        self.port.refusing = Refusal.STOPPED
        self.port.abandon(Refusal.STOPPED)
        if self.state is SessionState.READY:
            self.port.cancel_all()
            self.port.drain(self._now_ns)
        elif not len(self.port.orders):
            self._end(End.DEAD_MAN)

    def _lost(self, reason: Reason, detail: str) -> None:
        """The connection has ended, or was not made."""
        is_leaving = self.state is SessionState.LOGGING_OUT
        self._leave_line(Refusal.LINE_LOST)
        if self._dead_man.has_acted and (is_leaving or not len(self.port.orders)):
            self._end(End.DEAD_MAN)
            return
        if is_leaving:
            self._end(End.LOGOUT, "" if reason is Reason.LOGOUT else reason.name)
            return
        if reason in FINAL:
            self._end(FINAL[reason], detail)
            return
        self.counters.lines_lost += 1
        pause_ns = self._backoff.pause()
        if pause_ns is None:
            self._end(End.ATTEMPTS, f"the last: {reason.name} {detail}".rstrip())
            return
        self.state = SessionState.WAITING
        self._retry_at_ns = self._now_ns + pause_ns
        self._events.append(LineLost(reason, detail, self._retry_at_ns))

    def _leave_line(self, refusal: Refusal) -> None:
        self.port.client = None
        self._settlement = None
        if self.port.refusing is None:
            self.port.refusing = Refusal.NOT_READY
        self.port.abandon(refusal)

    def _end(self, end: End, detail: str = "") -> None:
        if self.ended is not None:
            return
        self.state = SessionState.ENDED
        if self.client is not None:
            self.client.close(self._now_ns)
        self._leave_line(Refusal.NOT_READY)
        self.ended = Ended(end, detail)
        self._events.append(self.ended)
