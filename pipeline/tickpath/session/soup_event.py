"""What a SoupBinTCP connection tells its owner: typed events, and why it ended.

`Closed` is always the last event of a connection, and there is exactly one.
"""

from enum import Enum

import msgspec


class Reason(Enum):
    """Why a connection ended: a closed set, each with its meaning."""

    # Both sides agreed, or one had the right to
    LOGOUT = "the client logged out"
    END_OF_SESSION = "the server ended the session; nobody can log into it again"
    CLOSED_HERE = "this side's application ended the connection"
    TAKEN_OVER = "a newer login took the session over"
    # The line
    DISCONNECTED = "the transport reported the connection gone"
    RECEIVE_TIMEOUT = "the other side was silent for longer than the timeout"
    SLOW_READER = "the other side does not read: too much waits to be sent, or for too long"
    # The login
    LOGIN_TIMEOUT = "the login was not completed in time"
    NOT_AUTHORIZED = "user name or password is wrong"
    SESSION_NOT_AVAILABLE = "the requested session is not the current one, or has ended"
    SEQUENCE_NOT_AVAILABLE = "the requested sequence number is in the future, or no longer kept"
    LOGIN_REJECTED = "the server rejected the login with a code that the spec does not have"
    LOGIN_FLOOD = "more logins in a short time than are allowed"
    LOGIN_LOCKED = "too many wrong passwords: this user is locked out for a time"
    WRONG_SESSION = "the server accepted the login into another session than was requested"
    WRONG_SEQUENCE = "the server goes on at another sequence number than was requested"
    # The bytes
    UNKNOWN_PACKET = "a packet type that the spec does not have"
    MALFORMED_PACKET = "a packet whose length or fields are not those of its type"
    OVERSIZED_PACKET = "a packet longer than this side takes"
    UNEXPECTED_PACKET = "a packet that has no place in this state, or not from this side"


class Event(msgspec.Struct, frozen=True):
    """Something that happened on a connection."""


class LoggedIn(Event, frozen=True):
    """The login was accepted; ``sequence`` is the number of the next sequenced message."""

    session: str
    sequence: int
    username: str


class LoginRejected(Event, frozen=True):
    """The login was rejected with the spec's ``code`` (A, S); `Closed` follows."""

    code: str


class Sequenced(Event, frozen=True):
    """A message of the session, with the number that both sides count."""

    sequence: int
    payload: bytes


class Unsequenced(Event, frozen=True):
    """A message outside the session's numbering; it may be lost with the connection."""

    payload: bytes


class Debug(Event, frozen=True):
    """Text for people; it changes nothing."""

    text: str


class EndOfSession(Event, frozen=True):
    """The session has ended for good; `Closed` follows."""


class Closed(Event, frozen=True):
    """The connection has ended: write what `take_output` still gives, then close the socket."""

    reason: Reason
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.reason.name}: {self.reason.value}" + (
            f" ({self.detail})" * bool(self.detail)
        )
