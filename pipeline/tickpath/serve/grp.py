"""The Gap Request Proxy: logins, requests within quotas, messages to the gap response group.

Quotas are the session's and shared by its units.  A request is answered at once by what becomes of
it; the messages follow as PITCH datagrams, which are `GapDatagram` events.
"""

from collections import Counter, deque

import msgspec

from tickpath.recovery.limits import SECOND_NS, Count
from tickpath.recovery.unit_link import Login, UnitLimits, UnitLink
from tickpath.serve.stream import Stream
from tickpath.serve.unruly import Unruly
from tickpath.session.soup_event import Event, Reason
from tickpath.wire.cboe_grp import CBOE_GRP

MAX_BYTES = 1_400


class ServerQuotas(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one session may ask for."""

    max_count: Count = 100
    """Messages of one request."""
    per_second: Count = 320
    per_minute: Count = 1_500
    per_day: Count = 100_000
    kept_messages: Count = 1_000_000
    """Newest messages of a unit that can be asked for."""


class GapDatagram(Event, frozen=True):
    """For the gap response group, so much later."""

    delay_ns: int
    datagram: bytes


class GrpServer:
    """What the proxy's connections share."""

    def __init__(
        self, streams: list[Stream], login: Login, quotas: ServerQuotas, unruly: Unruly
    ) -> None:
        self.streams = {stream.unit: stream for stream in streams}
        self.login, self.quotas, self.unruly = login, quotas, unruly
        self.counters: Counter[str] = Counter()
        self.spent: deque[int] = deque()
        self.active: GrpConnection | None = None

    def accept(self, now_ns: int) -> "GrpConnection":
        """The server's side of a new connection."""
        return GrpConnection(self, now_ns)

    def status(self, unit: int, first: int, count: int, now_ns: int) -> str:
        """What a request is answered with."""
        quotas, stream = self.quotas, self.streams.get(unit)
        if self.unruly.refuses():
            return self.unruly.choice("ODMSCU")
        if stream is None:
            return "I"
        if not 0 < count <= quotas.max_count:
            return "C"
        oldest = max(stream.first, stream.next_sequence - quotas.kept_messages)
        if not oldest <= first < stream.next_sequence:
            return "O"
        for most, span_ns, status in (
            (quotas.per_second, SECOND_NS, "S"),
            (quotas.per_minute, 60 * SECOND_NS, "M"),
        ):
            if len(self.spent) >= most and now_ns - self.spent[-most] < span_ns:
                return status
        if len(self.spent) >= quotas.per_day:
            return "D"
        self.spent.append(now_ns)
        return "A"

    def datagrams(self, unit: int, first: int, count: int) -> list[bytes]:
        """The messages that were asked for."""
        stream, made = self.streams[unit], []
        behind = min(first + count, stream.next_sequence)
        while first < behind:
            raw = stream.fitting(first, behind - first, MAX_BYTES)
            found = None if raw is None else stream.codec.split(raw)
            if raw is None or found is None:
                break
            made.append(raw)
            first = found.behind
        return made


LOGIN_REFUSED = {"N": Reason.NOT_AUTHORIZED, "B": Reason.SESSION_NOT_AVAILABLE}


class ServedLink(UnitLink):
    """The server's side of a connection that begins with a login."""

    login: Login
    is_logged_in = False

    def _message(self, raw: bytes, block: bytes) -> None:
        found = self._read(raw)
        if self.closed is not None:
            return
        if found is None:
            self._close(Reason.UNKNOWN_PACKET, f"message type {raw[1]:#04x}")
        elif found[0] == "login" and not self.is_logged_in:
            self._logging_in(found[1])
        elif not self.is_logged_in:
            self._close(Reason.UNEXPECTED_PACKET, f"{found[0]} before a login")
        else:
            self._asked(*found)

    def _logging_in(self, fields: dict) -> None:
        status = self._login_status(fields)
        self._send("login_response", status=status)
        if status != "A":
            self._close(LOGIN_REFUSED.get(status, Reason.SESSION_NOT_AVAILABLE), status)
            return
        self.is_logged_in, self._login_deadline_ns = True, None

    def _login_status(self, fields: dict) -> str:
        known = self.login
        if fields["session_sub_id"] != known.session_sub_id:
            return "S"
        is_right = fields["username"] == known.username
        is_right &= known.password.equals(fields["password"])
        return "A" if is_right else "N"

    def _asked(self, name: str, fields: dict) -> None:
        """A message behind the login."""
        raise NotImplementedError


class GrpConnection(ServedLink):
    """See the module's text.  Made by `GrpServer.accept`."""

    protocol = CBOE_GRP

    def __init__(self, server: GrpServer, now_ns: int) -> None:
        super().__init__(UnitLimits(), now_ns)
        self.login = server.login
        self._server = server

    def _login_status(self, fields: dict) -> str:
        status = super()._login_status(fields)
        other = self._server.active
        if status == "A" and other is not None and other.closed is None:
            return "B"
        if status == "A":
            self._server.active = self
        return status

    def _asked(self, name: str, fields: dict) -> None:
        if name != "gap_request":
            self._close(Reason.UNEXPECTED_PACKET, name)
            return
        server = self._server
        unit, first, count = fields["unit"], fields["sequence"], fields["count"]
        delay_ns = server.unruly.delay_ns()
        if server.unruly.cuts():
            self._close(Reason.CLOSED_HERE, "cut on purpose")
            return
        status = server.status(unit, first, count, self._now_ns)
        server.counters[f"requests_{CBOE_GRP.enums['gap_response_status'][status]}"] += 1
        self._send("gap_response", unit=unit, sequence=first, count=count, status=status)
        if status == "A" and not server.unruly.is_silent():
            for raw in server.datagrams(unit, first, count):
                server.counters["datagrams_sent"] += 1
                self._events.append(GapDatagram(delay_ns, raw))
