"""Who may log in, how often, and how many at once: what a server's connections share.

Every bound has a name and an outcome: connections beyond `max_connections` are not taken, logins
beyond the rate are rejected without a look at the password, and a user who gave too many wrong
passwords from one address is locked out for a time, so that nobody can lock out somebody else from
another address.  What is remembered about wrong passwords is bounded too; the oldest goes first.
"""

from collections.abc import Callable
from typing import Annotated

import msgspec
from msgspec import Meta

from tickpath.session.credentials import Secret
from tickpath.session.pace import TokenBucket
from tickpath.session.soup_event import Reason
from tickpath.session.soup_link import SECOND_NS, Limits
from tickpath.session.soup_server import Server
from tickpath.session.soup_session import ServerSession

Count = Annotated[int, Meta(ge=1)]

Authenticate = Callable[[str, Secret], ServerSession | None]
"""(user name, password) -> the session that this user may log into; None where either is wrong."""


class LoginLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Bounds on those who want in."""

    max_connections: Count = 64
    logins_per_second: Count = 20
    login_burst: Count = 40
    max_wrong_passwords: Count = 5
    """Wrong passwords in a row, of one user from one address, until the lock-out."""
    lockout_ns: Count = 60 * SECOND_NS
    """How long a lock-out lasts, and how long a wrong password is remembered."""
    max_remembered: Count = 1024
    """Users and addresses with wrong passwords that are remembered."""


class AcceptorCounters(msgspec.Struct):
    """What has come to the door."""

    connections: int = 0
    connections_refused: int = 0
    logins_accepted: int = 0
    """User name and password were right; session or sequence may still not be available."""
    wrong_passwords: int = 0
    logins_flooded: int = 0
    logins_locked: int = 0
    lockouts: int = 0
    forgotten: int = 0
    """Wrong passwords that were forgotten early, for want of room."""


class Acceptor:
    """Makes the connections of a server, and knows who may log in."""

    def __init__(
        self,
        authenticate: Authenticate,
        *,
        limits: Limits = Limits(),  # noqa: B008 - frozen
        login_limits: LoginLimits = LoginLimits(),  # noqa: B008 - frozen
    ):
        self.limits = limits
        self.login_limits = login_limits
        self.counters = AcceptorCounters()
        self.connections: set[Server] = set()
        self._authenticate = authenticate
        self._bucket = TokenBucket(login_limits.logins_per_second, login_limits.login_burst)
        self._wrong: dict[tuple[str, str], tuple[int, int]] = {}  # (count, time of the last)

    def accept(self, now_ns: int, peer: str = "") -> Server | None:
        """The server's side of a new connection from the address ``peer``, without its port.

        None where there are too many: close the socket.
        """
        if len(self.connections) >= self.login_limits.max_connections:
            self.counters.connections_refused += 1
            return None
        self.counters.connections += 1
        made = Server(self, self.limits, now_ns, peer)
        self.connections.add(made)
        return made

    def authenticate(
        self, connection: Server, password: Secret, now_ns: int
    ) -> ServerSession | Reason:
        """The session of a user, or why not; called by the connection."""
        if not self._bucket.take(now_ns):
            self.counters.logins_flooded += 1
            return Reason.LOGIN_FLOOD
        who = (connection.username, connection.peer)
        if self._is_locked(who, now_ns):
            self.counters.logins_locked += 1
            return Reason.LOGIN_LOCKED
        session = self._authenticate(connection.username, password)
        if session is None:
            self.counters.wrong_passwords += 1
            self._remember(who, now_ns)
            return Reason.NOT_AUTHORIZED
        self._wrong.pop(who, None)
        self.counters.logins_accepted += 1
        return session

    def ended(self, connection: Server) -> None:
        """A connection has ended; called by the connection."""
        self.connections.discard(connection)

    def _is_locked(self, who: tuple[str, str], now_ns: int) -> bool:
        count, last_ns = self._wrong.get(who, (0, now_ns))
        if now_ns - last_ns >= self.login_limits.lockout_ns:
            self._wrong.pop(who, None)
            return False
        return count >= self.login_limits.max_wrong_passwords

    def _remember(self, who: tuple[str, str], now_ns: int) -> None:
        count = self._wrong.pop(who, (0, 0))[0] + 1
        if len(self._wrong) >= self.login_limits.max_remembered:
            del self._wrong[next(iter(self._wrong))]
            self.counters.forgotten += 1
        self._wrong[who] = (count, now_ns)
        if count == self.login_limits.max_wrong_passwords:
            self.counters.lockouts += 1
