"""The drop copy's session: a SoupBinTCP login that is made again at the next message, sans I/O.

It has the methods of an order session that a line drives (`session.tcp.OrderLine`), and takes
instead of sending.  The whole day comes from message 1 on, so that what is compared is complete;
nothing of it is kept between processes.  A session that is another one than before, or a login that
is refused, ends it: `ended` says why, and nobody reconciles from then on.
"""

from collections.abc import Callable

from tickpath.session.credentials import Secret
from tickpath.session.ouch_event import FINAL, ConnectWanted
from tickpath.session.ouch_settings import OrderSettings
from tickpath.session.pace import Backoff
from tickpath.session.soup_client import Client
from tickpath.session.soup_event import Closed, Event, LoggedIn, Reason
from tickpath.session.soup_link import CHUNK


class DropCopy:
    """See the module's text."""

    def __init__(
        self,
        username: str,
        password: Secret,
        settings: OrderSettings,
        now_ns: int,
        note: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.client: Client | None = None
        """The connection of now, or the last one."""
        self.ended: str | None = None
        self._username, self._password, self._settings = username, password, settings
        self._note = note
        self._session, self._next_sequence = "", 1
        self._retry_at_ns: int | None = now_ns
        self._has_failed = False
        self._backoff = Backoff(
            settings.reconnect_first_ns,
            settings.reconnect_longest_ns,
            1 << 30,  # it is never given up: trading goes on meanwhile, and says so
            settings.jitter_seed,
        )

    @property
    def is_ready(self) -> bool:
        """True while it is logged in."""
        return self.client is not None and self.client.is_logged_in

    # ------------------------------------------------------------ what a line calls

    def tick(self, now_ns: int) -> list[Event]:
        """Let time pass."""
        if self._retry_at_ns is not None and now_ns >= self._retry_at_ns:
            self._retry_at_ns = None
            return [ConnectWanted(self._backoff.failed + 1)]
        if self.client is None or self.client.closed is not None:
            return []
        return self._heard(self.client.tick(now_ns), now_ns)

    def connected(self, now_ns: int) -> list[Event]:
        """The connection that was wanted is there: log in."""
        self.client = Client(
            self._username,
            self._password,
            session=self._session,
            sequence=self._next_sequence,
            limits=self._settings.limits,
            now_ns=now_ns,
        )
        return []

    def connect_failed(self, why: str, now_ns: int) -> list[Event]:
        """The connection that was wanted could not be made."""
        self._again(why, now_ns)
        return []

    def receive(self, received: bytes, now_ns: int) -> list[Event]:
        """Take bytes from the connection; gives what they mean."""
        assert self.client is not None
        return self._heard(self.client.receive(received, now_ns), now_ns)

    def disconnected(self, now_ns: int) -> list[Event]:
        """The connection is gone."""
        assert self.client is not None
        return self._heard(self.client.disconnected(now_ns), now_ns)

    def take_output(self, most: int = CHUNK) -> bytes:
        """Bytes to write now."""
        return self.client.take_output(most) if self.client is not None else b""

    @property
    def has_output(self) -> bool:
        """True where `take_output` would give something."""
        return self.client is not None and self.client.has_output

    @property
    def has_line(self) -> bool:
        """True while a connection is in use."""
        return self.client is not None and self.client.closed is None

    @property
    def next_deadline(self) -> int | None:
        """When `tick` has something to do; None where nothing is to come."""
        if self._retry_at_ns is not None:
            return self._retry_at_ns
        return self.client.next_deadline if self.client is not None else None

    # ------------------------------------------------------------ inside

    def _heard(self, events: list[Event], now_ns: int) -> list[Event]:
        assert self.client is not None
        for event in events:
            if isinstance(event, LoggedIn):
                self._session = event.session
                self._backoff.reset()
                if self._has_failed:
                    self._note("drop copy: the connection is there again")
                self._has_failed = False
            elif isinstance(event, Closed):
                self._closed(event, now_ns)
        self._next_sequence = max(self.client.next_sequence, 1)
        return events

    def _closed(self, event: Closed, now_ns: int) -> None:
        if event.reason in FINAL:
            self.ended = FINAL[event.reason].value
            if event.reason is not Reason.END_OF_SESSION:
                self._note(f"drop copy: {self.ended}; positions are not reconciled any more")
        else:
            self._again(str(event), now_ns)

    def _again(self, why: str, now_ns: int) -> None:
        if not self._has_failed:  # once, not for every attempt
            self._note(f"drop copy: {why}")
        self._has_failed = True
        pause_ns = self._backoff.pause()
        assert pause_ns is not None
        self._retry_at_ns = now_ns + pause_ns
