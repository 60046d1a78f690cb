"""The venue with sockets and a clock.

    selector -> inputs -> journal -> venue -> journal (mark) -> flush -> packets and answers leave

One thread, one selector.  A round takes what has arrived, gives it to the venue with the exchange
time of the round, lets the background flow catch up, writes inputs and mark to the journal, and
only then lets output leave: whatever anybody has seen of the venue, its journal can say again.

Exchange time is the venue's start (or, after a recovery, where it stood) plus what the monotonic
clock has moved since; nothing else in the package looks at a clock.
"""

import contextlib
import selectors
import socket
import time
from collections.abc import Callable
from typing import Any

from tickpath.exchange import command
from tickpath.exchange.config import Exchange, password_of
from tickpath.exchange.connections import Arrived, Door, Input, LoggedIn
from tickpath.exchange.error import ExchangeError
from tickpath.exchange.faults import Disconnect
from tickpath.exchange.glimpse import Glimpse
from tickpath.exchange.journal import Journal, Kind
from tickpath.exchange.multicast import Multicast
from tickpath.exchange.venue import Venue
from tickpath.operator_socket import OperatorSocket
from tickpath.session import soup
from tickpath.session.store_file import Fsync

SECOND_NS = 1_000_000_000
MILLISECOND_NS = 1_000_000
MAX_WAIT_NS = SECOND_NS
ENDS = 5
"""How often the end of the feed is said."""
END_INTERVAL_NS = 50 * MILLISECOND_NS
LINGER_NS = 2 * SECOND_NS
"""How long the end of the day waits for accounts to take the rest."""
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def new_session(now_s: int) -> str:
    """A session name that no earlier second had."""
    digits = ""
    while now_s:
        now_s, digit = divmod(now_s, len(_ALPHABET))
        digits = _ALPHABET[digit] + digits
    return "X" + digits.rjust(7, "0")


class Server:
    """See the module's text.  Use it as a context manager, or call `close`."""

    def __init__(
        self,
        config: Exchange,
        *,
        journal: str | None = None,
        fsync: Fsync = "none",
        control: str | None = None,
        wait_for_login: bool = False,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Opens every socket; the day begins with `run`, or with the first login.

        Raises `ExchangeError`, `CaptureError` and, for the operator's socket, `ConfigError`.
        """
        self.config, self._clock = config, clock
        self.recovered_inputs: int | None = None
        self._stopping = self._has_ended = False
        self._wait_for_login = wait_for_login
        self._closing = contextlib.ExitStack()
        self._journal: Journal | None = None
        self._last_marks: tuple | None = None
        try:
            self._start(journal, fsync, control)
        except BaseException:
            self._closing.close()
            raise

    def _start(self, journal: str | None, fsync: Fsync, control: str | None) -> None:
        said: list[tuple[int, bytes]] = []
        dropped: list[tuple[int, bytes]] = []
        waiting: list[bytes] = []
        left = 0
        if journal is not None:
            self._journal = Journal(journal, fsync=fsync)
            self._closing.callback(self._close_journal)
        self.is_open = self._journal is not None and not self._journal.is_new
        if self._journal is not None and self.is_open:
            recovered = self._journal.recover(self.config)
            self.venue, said, dropped = recovered.venue, recovered.said, recovered.dropped
            waiting, left = recovered.waiting, recovered.packets_left
            self.recovered_inputs = recovered.inputs
        else:
            session = self.config.session or new_session(int(time.time()))
            self.venue = Venue(self.config, session)
        self._begin_ns, self._base_ns = self._clock(), self.venue.now_ns
        self.selector = selectors.DefaultSelector()
        self._closing.callback(self.selector.close)
        asleep, self._waker = socket.socketpair()
        self._closing.callback(asleep.close)
        self._closing.callback(self._waker.close)
        self._waker.setblocking(False)
        self.selector.register(asleep, selectors.EVENT_READ, lambda now_ns: [])
        self.feed = Multicast(self.config.feed, self.selector, self.venue.downstream.answer)
        self._closing.callback(self.feed.close)
        self.feed.packets_left = left
        self.feed.queue(waiting)
        self.orders = self._door(self.config.orders.port, said, takes_messages=True)
        self.drop_copy = self._door(self.config.orders.drop_copy_port, dropped, False)
        self.glimpse: Glimpse | None = None
        if self.config.feed.glimpse_port is not None:
            self.glimpse = glimpse = Glimpse(
                (self.config.feed.interface, self.config.feed.glimpse_port),
                self.selector,
                self.venue,
                lambda username, password: bool(self._authenticate(username, password)),
            )
            self._closing.callback(lambda: glimpse.listener.close(self._clock()))
        self.control: OperatorSocket | None = None
        if control is not None:

            def run(line: str, who: str, now_ns: int) -> dict[str, Any]:
                return self._operate(line, now_ns)

            self.control = OperatorSocket(control, self.selector, run, "exchange", ExchangeError)
            self._closing.callback(self.control.close)

    def _door(self, port: int, said: list[tuple[int, bytes]], takes_messages: bool) -> Door:
        """A listening port with a session per account, which goes on where it was."""
        orders = self.config.orders
        earlier: dict[int, list[bytes]] = {number: [] for number in self.venue.ports}
        for number, message in said:
            earlier[number].append(message)
        sessions = {
            number: soup.ServerSession(self.venue.session, messages=messages)
            for number, messages in earlier.items()
        }
        limits = soup.Limits(
            heartbeat_ns=orders.heartbeat_ms * MILLISECOND_NS,
            timeout_ns=orders.timeout_ms * MILLISECOND_NS,
        )
        login_limits = soup.LoginLimits(max_connections=orders.max_connections)
        door = Door(
            (orders.address, port), self.selector, sessions, self._authenticate, limits,
            login_limits, takes_messages=takes_messages,
        )  # fmt: skip
        self._closing.callback(door.close)
        return door

    def _authenticate(self, username: str, password: soup.Secret) -> int:
        number = self.venue.names.get(username.strip().upper(), 0)
        if not number:
            return 0
        wanted = password_of(self.venue.ports[number].account)
        return number if wanted is None or password.equals(wanted) else 0

    # ------------------------------------------------------------ running

    def run(
        self, duration_s: float | None = None, on_ready: Callable[[], None] = lambda: None
    ) -> None:
        """Serve until `stop`, the day's end, or for so long; then end the day cleanly."""
        begun_ns = self._begin_ns = self._clock()
        if not self._wait_for_login:
            self.open_day()
        on_ready()
        while not self._stopping and not self.venue.is_over:
            now_ns = self._clock()
            if duration_s is not None and now_ns - begun_ns >= duration_s * SECOND_NS:
                break
            self.round(self._timeout_s(now_ns, begun_ns, duration_s))
        self.end_day()

    def stop(self) -> None:
        """End after this round; may be called from a signal handler."""
        self._stopping = True
        with contextlib.suppress(OSError):
            self._waker.send(b"!")

    def close(self) -> None:
        """Close every socket and the journal; the day goes on in the journal if it was not over."""
        self._closing.close()

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def open_day(self) -> None:
        """Begin the day, where it has not begun; `run` does it, or the first login."""
        if self.is_open:
            return
        self.is_open = True
        self._begin_ns = self._clock()
        if self._journal is not None:
            self._journal.begin(self.config, self.venue.session, self.venue.now_ns)
        self.venue.open()

    def _exchange_ns(self, now_ns: int) -> int:
        return self._base_ns + now_ns - self._begin_ns if self.is_open else self._base_ns

    def _timeout_s(self, now_ns: int, begun_ns: int, duration_s: float | None) -> float:
        """How long nothing has to be done."""
        deadlines = [now_ns + MAX_WAIT_NS]
        if self.is_open:
            deadlines.append(self.venue.due_ns - self._base_ns + self._begin_ns)
        if duration_s is not None:
            deadlines.append(begun_ns + round(duration_s * SECOND_NS))
        for each in (self.orders.next_deadline, self.drop_copy.next_deadline,
                     self.feed.next_deadline,
                     self.glimpse.listener.next_deadline() if self.glimpse else None):  # fmt: skip
            if each is not None:
                deadlines.append(each)
        return max(min(deadlines) - now_ns, 0) / SECOND_NS

    def round(self, timeout_s: float) -> None:
        """Wait for at most so long; then inputs in, outputs out."""
        ready = self.selector.select(timeout_s)
        now_ns = self._clock()
        for key, mask in ready:
            if mask & selectors.EVENT_READ:
                for each in key.data(now_ns) or ():
                    self._take(each, now_ns)
        for each in self.orders.tick(now_ns):
            self._take(each, now_ns)
        self.drop_copy.tick(now_ns)
        if self.is_open:
            self.venue.advance(self._exchange_ns(now_ns))
        self._give(now_ns)

    def _note(self, kind: Kind, port: int, ts_ns: int, payload: bytes = b"") -> None:
        if self._journal is not None:
            self._journal.append(kind, port, ts_ns, payload)

    def _take(self, each: Input, now_ns: int) -> None:
        """An input for the venue, noted with its time."""
        if isinstance(each, LoggedIn) and not self.is_open:
            self.open_day()
        if not self.is_open or self._has_ended:
            return
        ts_ns = max(self._exchange_ns(now_ns), self.venue.now_ns)
        if isinstance(each, Arrived):
            self._note(Kind.RECEIVE, each.port, ts_ns, each.raw)
            self.venue.receive(each.port, each.raw, ts_ns)
        elif isinstance(each, LoggedIn):
            self._note(Kind.CONNECT, each.port, ts_ns)
            self.venue.connect(each.port, ts_ns)
        else:
            self._note(Kind.DISCONNECT, each.port, ts_ns)
            self.venue.disconnect(each.port, ts_ns)

    def _operate(self, line: str, now_ns: int) -> dict[str, Any]:
        """A command from the control socket."""
        asked = command.parse(command.read(line), self.venue)
        if not self.is_open:
            if not asked.is_question:
                raise ExchangeError("command: the day has not begun: it waits for a login")
            return asked.run(self.venue)
        if self._has_ended and not asked.is_question:
            raise ExchangeError("command: the day is over")
        ts_ns = max(self._exchange_ns(now_ns), self.venue.now_ns)
        answer = self.venue.operate(asked, ts_ns)
        if not asked.is_question:  # what was refused has changed nothing
            self._note(Kind.COMMAND, 0, ts_ns, asked.encode())
        return {**answer, **self._counters()} if asked.name == "status" else answer

    def _give(self, now_ns: int) -> None:
        """Journal first, then let output leave."""
        venue = self.venue
        packets = venue.take_packets()
        for number, message in venue.take_said():
            self.orders.sessions[number].publish(message, now_ns)
        for number, message in venue.take_dropped():
            self.drop_copy.sessions[number].publish(message, now_ns)
        if self._journal is not None and self.is_open and not self._has_ended:
            marks = venue.marks()
            if marks != self._last_marks:
                self._last_marks = marks
                self._journal.mark(venue, self.feed.packets_left)
            self._journal.flush(now_ns)
        for action in venue.take_actions():
            if isinstance(action, Disconnect):
                self.orders.disconnect(action.port, now_ns)
            else:
                self.orders.spoil(action.port, action.raw)
        self.feed.queue(packets)
        self.feed.send(now_ns)
        self.orders.write(now_ns)
        self.drop_copy.write(now_ns)
        if self.glimpse is not None and self.is_open:
            self.glimpse.listener.poll(now_ns)

    # ------------------------------------------------------------ the end

    def end_day(self) -> None:
        """End the day: everybody is told, and has a moment to take it."""
        if not self.is_open:
            return
        now_ns = self._clock()
        if not self.venue.is_over:
            ts_ns = max(self._exchange_ns(now_ns), self.venue.now_ns)
            self._note(Kind.CLOSE, 0, ts_ns)
            self.venue.close(ts_ns)
        self._give(now_ns)
        self._has_ended = True
        self.orders.end(now_ns)
        self.drop_copy.end(now_ns)
        end_ns, said = now_ns + LINGER_NS, 0
        while now_ns < end_ns:
            self.round(END_INTERVAL_NS / SECOND_NS)
            is_silent = self.orders.is_silent and self.drop_copy.is_silent
            if said >= ENDS and is_silent and self.feed.next_deadline is None:
                break
            self.venue.end_again(self.venue.now_ns)
            said += 1
            now_ns = self._clock()

    def _close_journal(self) -> None:
        if self._journal is not None:
            self._journal.close(is_over=self.is_open and self.venue.is_over)

    def _counters(self) -> dict[str, Any]:
        return {
            "connections": {
                "orders": dict(self.orders.counters),
                "drop_copy": dict(self.drop_copy.counters),
                "feed": dict(self.feed.counters),
                "glimpse": dict(self.glimpse.counters) if self.glimpse else {},
                "control": dict(self.control.counters) if self.control else {},
            }
        }

    def addresses(self) -> dict[str, Any]:
        """Where everything is, for whoever wants to connect."""
        return {
            "session": self.venue.session,
            "ouch": list(self.orders.address),
            "protocol": self.config.orders.protocol,
            "drop_copy": list(self.drop_copy.address),
            "feed": list(self.feed.groups[0]),
            "feed_b": list(self.feed.groups[1]) if len(self.feed.groups) > 1 else None,
            "glimpse": list(self.glimpse.listener.address) if self.glimpse else None,
            "interface": self.config.feed.interface,
            "requests": list(self.feed.request_address),
            "control": self.control.path if self.control else None,
            "accounts": [each.username for each in self.config.accounts],
            "recovered_inputs": self.recovered_inputs,
        }
