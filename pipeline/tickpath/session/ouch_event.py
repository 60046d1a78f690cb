"""What an order session tells its owner, beside the messages and texts of `soup_event`.

`Ended` is always the last event of a session, and there is exactly one.
"""

from enum import Enum

from tickpath.session.ouch_message import Key
from tickpath.session.soup_event import Event, Reason


class SessionState(Enum):
    """Where an order session stands."""

    WAITING = "there is no connection; the next attempt has its time"
    CONNECTING = "a connection is wanted from the shell"
    LOGGING_IN = "the connection is there, the login is not answered"
    SETTLING = "logged in; what was sent before is being settled"
    READY = "orders go out"
    LOGGING_OUT = "the logout is made; what was sent before it may still come"
    ENDED = "nothing more will happen"


class End(Enum):
    """Why a session ended for good: a closed set, each with its meaning."""

    LOGOUT = "this side logged out"
    STOPPED = "this side's application ended the session"
    END_OF_SESSION = "the exchange ended the session"
    NOT_AUTHORIZED = "user name or password is wrong"
    LOGIN_REJECTED = "the exchange rejected the login with a code that the spec does not have"
    OTHER_SESSION = "the exchange's session or sequence is not the one in the journal"
    ATTEMPTS = "too many attempts to reconnect came to nothing"
    USER_REF_NUM = "an order's number was not higher than every one before"
    DEAD_MAN = "the engine was silent for too long: its orders were canceled"
    JOURNAL = "the journal cannot be written"


FINAL = {
    Reason.LOGOUT: End.LOGOUT,
    Reason.CLOSED_HERE: End.STOPPED,
    Reason.END_OF_SESSION: End.END_OF_SESSION,
    Reason.NOT_AUTHORIZED: End.NOT_AUTHORIZED,
    Reason.LOGIN_REJECTED: End.LOGIN_REJECTED,
    Reason.WRONG_SESSION: End.OTHER_SESSION,
    Reason.WRONG_SEQUENCE: End.OTHER_SESSION,
}
"""Ends of a connection after which another one would end the same way."""


class Refusal(Enum):
    """Why a message was not sent; nothing of it is in the journal or on the wire."""

    MALFORMED = "not a message that this protocol takes"
    NOT_READY = "the session is not logged in, or settles what was sent before"
    THROTTLED = "the port's rate is used up"
    QUEUE_FULL = "too many messages wait for the port's rate"
    LINE_LOST = "the connection was lost while it waited for the port's rate"
    TOO_MANY_OPEN = "too many orders are open"
    STOPPED = "the dead-man rule has stopped the session"


class Outcome(Enum):
    """What became of an order that was sent and never answered."""

    NEVER_RECEIVED = "the exchange has never seen it"
    UNKNOWN = "the exchange has used its number and tells nothing of it; it is canceled in case"
    CANCELED_UNSEEN = "the exchange tells nothing of it, and was told to cancel it"


class ConnectWanted(Event, frozen=True):
    """Open a connection, then call `connected` or `connect_failed`."""

    attempt: int


class Ready(Event, frozen=True):
    """Orders can be sent; all that was sent before is settled.

    ``next_user_ref_num`` is the lowest that the next order may have (4.2: the lowest number that
    its token may spell).
    """

    session: str
    next_sequence: int
    next_user_ref_num: int


class Settled(Event, frozen=True):
    """An order that was never answered is settled; its message is what was sent."""

    key: Key
    outcome: Outcome
    message: bytes


class Refused(Event, frozen=True):
    """A message was not sent."""

    message: bytes
    refusal: Refusal
    detail: str = ""


class LineLost(Event, frozen=True):
    """The connection is gone or was not made; the next attempt is at ``retry_at_ns``."""

    reason: Reason
    detail: str
    retry_at_ns: int


class DeadMan(Event, frozen=True):
    """The engine was silent for too long: all its open orders will be canceled."""

    open_orders: int


class Ended(Event, frozen=True):
    """The session has ended for good; a new one on the same journal may take it up."""

    end: End
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.end.name}: {self.end.value}" + (f" ({self.detail})" * bool(self.detail))
