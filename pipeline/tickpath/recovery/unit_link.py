"""One TCP connection as Cboe's recovery servers frame it, seen from either side, without sockets.

Every block of bytes begins with a Sequenced Unit Header; an empty one is a heartbeat.  The rules
are those of `session.soup_link`: bytes and the time go in, events and bytes come out, both sides
show a sign of life every second, a silent one is given up, and `soup_event.Closed` is the last
event.  No more than one block is held back, and a block that cannot be right ends the connection.
"""

from collections import Counter
from typing import Any

import msgspec

from tickpath.recovery import sequenced_unit
from tickpath.recovery.limits import SECOND_NS, Count
from tickpath.session.soup_event import Closed, Event, Reason
from tickpath.wire.cboe_grp import CBOE_GRP
from tickpath.wire.table import Message, Protocol, WireError

CHUNK = 1 << 16
"""Bytes that `UnitLink.take_output` gives at most."""
TYPE_AT = CBOE_GRP.type_offset


class UnitLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Intervals and bounds of one connection."""

    heartbeat_ns: Count = SECOND_NS
    timeout_ns: Count = 5 * SECOND_NS
    """Silence of the other side that ends the connection."""
    login_timeout_ns: Count = 5 * SECOND_NS
    max_output: Count = 1 << 26
    """Bytes that may wait to be sent; more is a reader that is too slow, and the end."""


class Login(msgspec.Struct, frozen=True):
    """Who logs in; the password as text of its own kind, which no message shows."""

    session_sub_id: str
    username: str
    password: Any  # session.credentials.Secret


def message(layout: Message, **values: Any) -> bytes:
    """The bytes of a message with its length filled in."""
    return layout.encode(message_length=layout.length, **values)


class UnitLink:
    """See the module's text.  A subclass takes each message (`_message`)."""

    protocol: Protocol = CBOE_GRP

    def __init__(self, limits: UnitLimits, now_ns: int) -> None:
        self.limits = limits
        self.counters: Counter[str] = Counter()
        self.closed: Closed | None = None
        self._events: list[Event] = []
        self._held = bytearray()
        self._output = bytearray()
        self._now_ns = self._received_ns = self._sent_ns = now_ns
        self._login_deadline_ns: int | None = now_ns + limits.login_timeout_ns

    # ------------------------------------------------------------ bytes in, time, bytes out

    def receive(self, received: bytes, now_ns: int) -> list[Event]:
        """Take bytes from the transport; gives what they mean."""
        self._now_ns = max(self._now_ns, now_ns)
        if self.closed is None:
            self._held += received
        while self.closed is None and len(self._held) >= sequenced_unit.HEADER_BYTES:
            length = sequenced_unit.length_of(self._held)
            if length < sequenced_unit.HEADER_BYTES:
                self._close(Reason.MALFORMED_PACKET, f"a block of {length} bytes")
                break
            if len(self._held) < length:
                break
            raw = bytes(self._held[:length])
            del self._held[:length]
            self._block(raw)
        return self._told()

    def _block(self, raw: bytes) -> None:
        block = sequenced_unit.split(raw)
        if block is None:
            self._close(Reason.MALFORMED_PACKET, f"a block of {len(raw)} bytes is not whole")
            return
        self._received_ns = self._now_ns
        self.counters["heartbeats_in" if not block.messages else "blocks_in"] += 1
        for each in block.messages:
            if self.closed is None:
                self._message(each, raw)

    def tick(self, now_ns: int) -> list[Event]:
        """Let time pass: heartbeats and timeouts."""
        self._now_ns = now_ns = max(self._now_ns, now_ns)
        if self.closed is None:
            deadline_ns = self._login_deadline_ns
            if deadline_ns is not None and now_ns >= deadline_ns:
                self._close(Reason.LOGIN_TIMEOUT)
            elif now_ns - self._received_ns >= self.limits.timeout_ns:
                self._close(Reason.RECEIVE_TIMEOUT)
            else:
                self._pass_time()
        if self.closed is None and now_ns - self._sent_ns >= self.limits.heartbeat_ns:
            self.counters["heartbeats_out"] += 1
            self._put([])
        return self._told()

    def disconnected(self, now_ns: int) -> list[Event]:
        """The transport says that the connection is gone."""
        self._now_ns = max(self._now_ns, now_ns)
        if self.closed is None:
            self._output.clear()
            self._close(Reason.DISCONNECTED)
        return self._told()

    def take_output(self, most: int = CHUNK) -> bytes:
        """Bytes to write now, at most ``most``."""
        taken = bytes(self._output[:most])
        del self._output[:most]
        return taken

    @property
    def has_output(self) -> bool:
        """True where `take_output` would give something."""
        return bool(self._output)

    @property
    def next_deadline(self) -> int | None:
        """When `tick` has something to do; None when all is over."""
        if self.closed is not None:
            return None
        due = [self._received_ns + self.limits.timeout_ns]
        due.append(self._sent_ns + self.limits.heartbeat_ns)
        if self._login_deadline_ns is not None:
            due.append(self._login_deadline_ns)
        return min(due)

    # ------------------------------------------------------------ for the two sides

    def _message(self, raw: bytes, block: bytes) -> None:
        raise NotImplementedError

    def _pass_time(self) -> None:
        """What else happens by the clock."""

    def _read(self, raw: bytes) -> tuple[str, dict[str, Any]] | None:
        """(name, fields) of a message; None where it is of another protocol, "" where it is bad."""
        if chr(raw[TYPE_AT]) not in self.protocol.by_type:
            return None
        try:
            layout = self.protocol.message_of(raw)
            return layout.name, layout.decode(raw)
        except WireError as error:
            self._close(Reason.MALFORMED_PACKET, str(error))
            return "", {}

    def _send(self, name: str, **values: Any) -> None:
        self._put([message(self.protocol[name], **values)])

    def _put(self, messages: list[bytes]) -> None:
        """One block, whose unit and sequence are 0."""
        if len(self._output) > self.limits.max_output:
            self._output.clear()
            self._close(Reason.SLOW_READER, f"more than {self.limits.max_output} bytes wait")
            return
        self._sent_ns = self._now_ns
        self._output += sequenced_unit.join(b"", 0, 0, messages)

    def _close(self, reason: Reason, detail: str = "") -> None:
        self._held.clear()
        self.closed = Closed(reason, detail)
        self._events.append(self.closed)

    def _told(self) -> list[Event]:
        told, self._events = self._events, []
        return told


LOGIN_STATUS = {
    "A": None,
    "N": Reason.NOT_AUTHORIZED,
    "B": Reason.SESSION_NOT_AVAILABLE,
    "S": Reason.SESSION_NOT_AVAILABLE,
}
"""What follows from a login's status; None: logged in."""


class UnitClient(UnitLink):
    """The client's side: logs in when it is made."""

    def __init__(self, login: Login, limits: UnitLimits, now_ns: int) -> None:
        super().__init__(limits, now_ns)
        self.is_logged_in = False
        self._send(
            "login",
            session_sub_id=login.session_sub_id,
            username=login.username,
            password=login.password.reveal(),
        )

    def _message(self, raw: bytes, block: bytes) -> None:
        found = self._read(raw)
        if found is not None and found[0] == "login_response" and not self.is_logged_in:
            status = found[1]["status"]
            reason = LOGIN_STATUS.get(status, Reason.LOGIN_REJECTED)
            if reason is not None:
                self._close(reason, f"status {status!r}")
                return
            self.is_logged_in, self._login_deadline_ns = True, None
            self._logged_in()
        elif self.closed is None:
            if not self.is_logged_in:
                self._close(Reason.UNEXPECTED_PACKET, "a message before the login's answer")
                return
            self._said(found, raw)

    def _logged_in(self) -> None:
        """The login was accepted."""

    def _said(self, found: tuple[str, dict[str, Any]] | None, raw: bytes) -> None:
        """A message behind the login; ``found`` is None for one of another protocol."""
        raise NotImplementedError
