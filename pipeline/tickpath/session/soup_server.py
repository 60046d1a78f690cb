"""The server's side of one SoupBinTCP connection, made by `soup_acceptor.Acceptor`.

It reads the numbered messages from its `ServerSession` with a cursor of its own, so nothing is
copied for a reader, however far behind it is.  The worst case is a reader that logs in at message 1
of a full session and then stops: it is given up after the timeout, or when the messages it still
needs are no longer kept.
"""

from enum import Enum
from typing import TYPE_CHECKING

from tickpath.session.credentials import Secret
from tickpath.session.soup_event import (
    Debug,
    EndOfSession,
    Event,
    LoggedIn,
    LoginRejected,
    Reason,
    Unsequenced,
)
from tickpath.session.soup_framing import framed, payload_of
from tickpath.session.soup_link import CHUNK, Limits, Link
from tickpath.session.soup_session import ServerSession
from tickpath.wire.soupbintcp import SOUPBINTCP, packet
from tickpath.wire.table import Message, WireError

if TYPE_CHECKING:
    from tickpath.session.soup_acceptor import Acceptor

NOT_AUTHORIZED, SESSION_NOT_AVAILABLE = "A", "S"
_NAME = SOUPBINTCP["login_accepted"]["session"]

assert {NOT_AUTHORIZED, SESSION_NOT_AVAILABLE} == set(SOUPBINTCP.enums["reject_reason_code"])


class ServerState(Enum):
    """Where a server's connection stands."""

    AWAITING_LOGIN = "the connection is there, the login request is not"
    LOGGED_IN = "messages go both ways"
    ENDED = "nothing more will come"


class Server(Link):
    """See the module's text.  Made by `Acceptor.accept`."""

    heartbeat = "server_heartbeat"

    def __init__(self, acceptor: "Acceptor", limits: Limits, now_ns: int, peer: str):
        super().__init__(limits, now_ns)
        self.peer = peer
        self.username = ""
        self.session: ServerSession | None = None
        """The session that was logged into; it stays known after the end."""
        self.state = ServerState.AWAITING_LOGIN
        self._acceptor = acceptor
        self._cursor = 0  # number of the next message to hand out
        self._has_caught_up = False
        self._bytes_handed_out = 0  # of bytes_published, once caught up

    @property
    def is_logged_in(self) -> bool:
        return self.state is ServerState.LOGGED_IN

    @property
    def next_sequence(self) -> int:
        """Number of the next message that `take_output` will hand out; 0 before the login."""
        return self._cursor

    @property
    def has_output(self) -> bool:
        return bool(self._output) or (
            self.is_logged_in
            and self.session is not None
            and (self._cursor < self.session.next_sequence or self.session.has_ended)
        )

    def send(self, payload: bytes, now_ns: int) -> list[Event]:
        """Send one message outside the session's numbering, as later revisions of the spec allow.

        Raises `SessionError` where nobody is logged in or the message does not fit.
        """
        self._advance(now_ns)
        self._check_sendable(payload)
        self.counters.unsequenced_out += self._send("unsequenced_data", payload)
        return self._told()

    def take_output(self, most: int = CHUNK) -> bytes:
        session = self.session
        if self.is_logged_in and session is not None:
            while len(self._output) < most and self._cursor < session.next_sequence:
                if self._cursor < session.first_sequence:
                    self._slow_reader(f"message {self._cursor} is no longer kept")
                    return b""
                packets, count = session.packets_from(self._cursor, most - len(self._output))
                self._output += packets
                self._cursor += count
                self._bytes_handed_out += len(packets)
                self.counters.sequenced_out += count
            if self._cursor == session.next_sequence:
                self._caught_up(session)
        return super().take_output(most)

    # ------------------------------------------------------------ called by the session

    def will_publish(self, now_ns: int) -> None:
        """A message is about to be published: that is a sign of life."""
        self._advance(now_ns)
        self._will_send()

    def published(self) -> None:
        """A message was published: whoever has once caught up may not fall far behind again."""
        if not self._has_caught_up or self.session is None:
            return
        behind = self.session.bytes_published - self._bytes_handed_out + len(self._output)
        if behind > self.limits.max_output:
            self._slow_reader(f"{behind} bytes wait")

    def taken_over(self, peer: str) -> None:
        """A newer login has the session now."""
        self._output.clear()
        self._close(Reason.TAKEN_OVER, peer)

    # ------------------------------------------------------------ packets

    def _packet(self, layout: Message, raw: bytes) -> None:
        if layout.name == "unsequenced_data" and self.is_logged_in:
            self.counters.unsequenced_in += 1
            self._events.append(Unsequenced(payload_of(layout, raw)))
        elif layout.name == "client_heartbeat":
            self.counters.heartbeats_in += 1
        elif layout.name == "debug":
            self.counters.debug_in += 1
            self._events.append(Debug(layout.decode(raw)["text"]))
        elif layout.name == "login_request" and self.state is ServerState.AWAITING_LOGIN:
            self.counters.logins += 1
            self._login(layout, raw)
        elif layout.name == "logout_request":
            self.counters.ends += 1
            self._close(Reason.LOGOUT)
        else:
            self._unexpected(layout, f"while {self.state.name}")

    def _login(self, layout: Message, raw: bytes) -> None:
        try:
            request = layout.decode(raw)
        except WireError:  # not its text: what stands in the wrong place may be a password
            self._close(Reason.MALFORMED_PACKET, "a login request whose sequence is no number")
            return
        self.username = request["username"]
        answer = self._acceptor.authenticate(self, Secret(request["password"]), self._now_ns)
        if isinstance(answer, Reason):
            self._reject(NOT_AUTHORIZED, answer)
            return
        name, sequence = request["requested_session"].strip(), request["requested_sequence_number"]
        if answer.has_ended or name not in ("", answer.name):
            self._reject(SESSION_NOT_AVAILABLE, Reason.SESSION_NOT_AVAILABLE, repr(name))
            return
        sequence = sequence or answer.next_sequence
        if not answer.first_sequence <= sequence <= answer.next_sequence:
            detail = f"{sequence} of {answer.first_sequence} to {answer.next_sequence}"
            self._reject(SESSION_NOT_AVAILABLE, Reason.SEQUENCE_NOT_AVAILABLE, detail)
            return
        self._accept(answer, sequence)

    def _accept(self, session: ServerSession, sequence: int) -> None:
        self.session, self._cursor = session, sequence
        session.log_in(self)
        self._will_send()
        self.state = ServerState.LOGGED_IN
        self._login_deadline_ns = None
        name = session.name.rjust(_NAME.size)
        self._output += packet("login_accepted", session=name, sequence_number=sequence)
        self._events.append(LoggedIn(session.name, sequence, self.username))

    def _reject(self, code: str, reason: Reason, detail: str = "") -> None:
        self._output += packet("login_rejected", reject_reason_code=code)
        self._events.append(LoginRejected(code))
        self._close(reason, detail)

    # ------------------------------------------------------------ the end

    def _caught_up(self, session: ServerSession) -> None:
        if not self._has_caught_up:
            self._has_caught_up = True
            self._bytes_handed_out = session.bytes_published
        if session.has_ended:
            self._output += framed("end_of_session")
            self.counters.ends += 1
            self._events.append(EndOfSession())
            self._close(Reason.END_OF_SESSION)

    def _close(self, reason: Reason, detail: str = "") -> None:
        self.state = ServerState.ENDED
        if self.session is not None:
            self.session.log_out(self)
        self._acceptor.ended(self)
        super()._close(reason, detail)
