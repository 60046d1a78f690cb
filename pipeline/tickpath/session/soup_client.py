"""The client's side of one SoupBinTCP connection.

    client = Client(username, password, session="", sequence=1, now_ns=now)   # connection is open
    transport.write(client.take_output())                                     # the login request
    events = client.receive(transport.read(), now)                            # LoggedIn, Sequenced
    client.send(order, now)

The invariant is that sequence numbers have no hole: a connection whose login is answered with
another session or another number than was requested ends before anything of it is taken.  To go on
after a lost connection make a new client with the session's name and `next_sequence`.
"""

from enum import Enum

from tickpath.session.credentials import Secret
from tickpath.session.error import SessionError
from tickpath.session.soup_event import (
    Debug,
    EndOfSession,
    Event,
    LoggedIn,
    LoginRejected,
    Reason,
    Sequenced,
    Unsequenced,
)
from tickpath.session.soup_framing import payload_of
from tickpath.session.soup_link import Limits, Link
from tickpath.wire.soupbintcp import SOUPBINTCP, packet
from tickpath.wire.table import Message, WireError

REJECTED = {"A": Reason.NOT_AUTHORIZED, "S": Reason.SESSION_NOT_AVAILABLE}
_REQUEST = SOUPBINTCP["login_request"]
_SESSION = _REQUEST["requested_session"]

assert set(REJECTED) == set(SOUPBINTCP.enums["reject_reason_code"])


class ClientState(Enum):
    """Where a client stands."""

    LOGGING_IN = "the login request is made, its answer has not come"
    LOGGED_IN = "messages go both ways"
    LOGGING_OUT = "the logout is made; what was sent before it may still come"
    ENDED = "nothing more will come"


def login_request(username: str, password: Secret, session: str, sequence: int) -> bytes:
    """A login request; raises `SessionError` for what does not fit, without showing the password.

    A blank session is the current one; sequence 0 is from the next message on.
    """
    name = session.strip().rjust(_SESSION.size) if session.strip() else ""
    try:
        return packet(
            "login_request",
            username=username,
            password=password.reveal(),
            requested_session=name,
            requested_sequence_number=sequence,
        )
    except (WireError, UnicodeEncodeError):
        # Not the error's own text: it may quote what did not fit, and that may be the password.
        raise SessionError(
            f"login as {username!r}: a user name has at most {_REQUEST['username'].size} Latin-1 "
            f"characters, a password {_REQUEST['password'].size}, a session {_SESSION.size}"
        ) from None


class Client(Link):
    """See the module's text.  Made when its transport is connected; logs in at once."""

    heartbeat = "client_heartbeat"

    def __init__(
        self,
        username: str,
        password: Secret,
        *,
        now_ns: int,
        session: str = "",
        sequence: int = 1,
        limits: Limits = Limits(),  # noqa: B008 - frozen
    ):
        super().__init__(limits, now_ns)
        self.username = username
        self.session = session.strip()
        """The session's name; the server's answer fills in a blank one."""
        self.next_sequence = sequence
        """Number of the next sequenced message."""
        self.state = ClientState.LOGGING_IN
        self._output += login_request(username, password, session, sequence)
        self.counters.logins += 1

    @property
    def is_logged_in(self) -> bool:
        return self.state is ClientState.LOGGED_IN

    def send(self, payload: bytes, now_ns: int) -> list[Event]:
        """Send one message, unsequenced: it may be lost with the connection.

        Raises `SessionError` where the client is not logged in or the message does not fit.
        """
        self._advance(now_ns)
        self._check_sendable(payload)
        self.counters.unsequenced_out += self._send("unsequenced_data", payload)
        return self._told()

    def logout(self, now_ns: int) -> list[Event]:
        """Ask the server to end the connection; what it sent before still comes."""
        self._advance(now_ns)
        if self.closed is None and self.state is not ClientState.LOGGING_OUT:
            self.counters.ends += self._send("logout_request")
            self.state = ClientState.LOGGING_OUT
            self._login_deadline_ns = self._now_ns + self.limits.login_timeout_ns
        return self._told()

    def disconnected(self, now_ns: int) -> list[Event]:
        if self.closed is None and self.state is ClientState.LOGGING_OUT:
            self._close(Reason.LOGOUT)
        return super().disconnected(now_ns)

    def _time_out(self) -> None:
        is_leaving = self.state is ClientState.LOGGING_OUT
        deadline_ns = self._login_deadline_ns
        if is_leaving and deadline_ns is not None and self._now_ns >= deadline_ns:
            self._close(Reason.LOGOUT, "the server did not close the connection")
        else:
            super()._time_out()

    def _close(self, reason: Reason, detail: str = "") -> None:
        self.state = ClientState.ENDED
        super()._close(reason, detail)

    def _packet(self, layout: Message, raw: bytes) -> None:
        if layout.name == "sequenced_data" and self.state is not ClientState.LOGGING_IN:
            self.counters.sequenced_in += 1
            self._events.append(Sequenced(self.next_sequence, payload_of(layout, raw)))
            self.next_sequence += 1
        elif layout.name == "server_heartbeat":
            self.counters.heartbeats_in += 1
        elif layout.name == "debug":
            self.counters.debug_in += 1
            self._events.append(Debug(layout.decode(raw)["text"]))
        elif layout.name == "unsequenced_data" and self.state is not ClientState.LOGGING_IN:
            # Later revisions of the spec let the server send these too.
            self.counters.unsequenced_in += 1
            self._events.append(Unsequenced(payload_of(layout, raw)))
        elif layout.name == "end_of_session" and self.state is not ClientState.LOGGING_IN:
            self.counters.ends += 1
            self._events.append(EndOfSession())
            self._close(Reason.END_OF_SESSION)
        elif layout.name == "login_accepted" and self.state is ClientState.LOGGING_IN:
            self._accepted(layout, raw)
        elif layout.name == "login_rejected" and self.state is ClientState.LOGGING_IN:
            self._rejected(layout.decode(raw)["reject_reason_code"])
        else:
            self._unexpected(layout, f"while {self.state.name}")

    def _accepted(self, layout: Message, raw: bytes) -> None:
        try:
            answer = layout.decode(raw)
        except WireError as error:
            self._close(Reason.MALFORMED_PACKET, str(error))
            return
        session, sequence = answer["session"].strip(), answer["sequence_number"]
        if self.session and session != self.session:
            self._close(Reason.WRONG_SESSION, f"{session!r} instead of {self.session!r}")
        elif sequence == 0 or (self.next_sequence and sequence != self.next_sequence):
            self._close(Reason.WRONG_SEQUENCE, f"{sequence} instead of {self.next_sequence}")
        else:
            self.session, self.next_sequence = session, sequence
            self.state = ClientState.LOGGED_IN
            self._login_deadline_ns = None
            self._events.append(LoggedIn(session, sequence, self.username))

    def _rejected(self, code: str) -> None:
        self._events.append(LoginRejected(code))
        self._close(REJECTED.get(code, Reason.LOGIN_REJECTED), f"code {code!r}")
