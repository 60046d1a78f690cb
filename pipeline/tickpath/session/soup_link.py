"""What client and server of a SoupBinTCP connection have in common: bytes, heartbeats, the end.

Time is whatever the caller's ``now_ns`` counts; it never runs backwards here.  The other side is
alive as long as whole packets come from it: bytes that never make up a packet do not count.  All
that waits to be sent is bounded, and a reader that takes nothing for as long as a silent peer is
waited for has ended the connection too.  Read before `tick` in every round: whoever was stopped
for longer than the timeout would otherwise blame the other side for bytes that have long come.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

from tickpath.session.error import SessionError
from tickpath.session.soup_event import Closed, Event, Reason
from tickpath.session.soup_framing import MAX_PAYLOAD, FramingError, PacketReader, framed
from tickpath.wire.table import Message

SECOND_NS = 1_000_000_000
CHUNK = 1 << 16
"""Bytes that `take_output` gives at most, unless told otherwise."""

Interval = Annotated[int, Meta(ge=1)]


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Intervals and bounds of one connection."""

    heartbeat_ns: Interval = SECOND_NS
    """Silence of our own after which a heartbeat is sent (the spec's value)."""
    timeout_ns: Interval = 15 * SECOND_NS
    """Silence of the other side, or nothing taken by it, that ends the connection."""
    login_timeout_ns: Interval = 10 * SECOND_NS
    """From the connection's beginning to the login's answer; from a logout to the end."""
    max_payload: Annotated[int, Meta(ge=1, le=MAX_PAYLOAD)] = 2048
    """Bytes that one packet may carry."""
    max_output: Annotated[int, Meta(ge=4096)] = 1 << 20
    """Bytes that may wait to be sent on a connection that has once caught up."""


class Counters(msgspec.Struct):
    """What one connection has seen; every packet that was taken or made is in exactly one."""

    bytes_in: int = 0
    bytes_out: int = 0
    bytes_after_close: int = 0
    logins: int = 0
    sequenced_in: int = 0
    sequenced_out: int = 0
    unsequenced_in: int = 0
    unsequenced_out: int = 0
    heartbeats_in: int = 0
    heartbeats_out: int = 0
    debug_in: int = 0
    debug_out: int = 0
    ends: int = 0
    """Logout requests and ends of session."""
    clock_backwards: int = 0


class Link:
    """One connection, seen from one side; `Client` and `Server` say what its packets mean."""

    heartbeat: str
    """The name of the heartbeat packet that this side sends."""

    def __init__(self, limits: Limits, now_ns: int):
        self.limits = limits
        self.counters = Counters()
        self.closed: Closed | None = None
        self._reader = PacketReader(limits.max_payload)
        self._output = bytearray()
        self._events: list[Event] = []
        self._now_ns = self._received_ns = self._sent_ns = self._taken_ns = now_ns
        self._login_deadline_ns: int | None = now_ns + limits.login_timeout_ns

    # ------------------------------------------------------------ what the two sides say

    @property
    def is_logged_in(self) -> bool:
        """True from the login's acceptance until the connection or the session is left."""
        raise NotImplementedError

    def _packet(self, layout: Message, raw: bytes) -> None:
        raise NotImplementedError

    # ------------------------------------------------------------ bytes in, time, bytes out

    def receive(self, received: bytes, now_ns: int) -> list[Event]:
        """Take bytes from the transport; gives what they mean."""
        self._advance(now_ns)
        if self.closed is not None:
            self.counters.bytes_after_close += len(received)
            return self._told()
        self.counters.bytes_in += len(received)
        self._reader.feed(received)
        while self.closed is None:
            try:
                found = self._reader.next_packet()
            except FramingError as error:
                self._close(error.reason, error.detail)
                break
            if found is None:
                break
            self._received_ns = self._now_ns
            self._packet(*found)
        return self._told()

    def tick(self, now_ns: int) -> list[Event]:
        """Let time pass: heartbeats, timeouts, and what happened outside `receive`."""
        self._advance(now_ns)
        if self.closed is None:
            self._time_out()
        if self.closed is None and self.is_logged_in:
            if self._now_ns - self._sent_ns >= self.limits.heartbeat_ns:
                if self.has_output:  # what waits is a sign of life already
                    self._sent_ns = self._now_ns
                elif self._send(self.heartbeat):
                    self.counters.heartbeats_out += 1
        return self._told()

    def disconnected(self, now_ns: int) -> list[Event]:
        """The transport says that the connection is gone."""
        self._advance(now_ns)
        if self.closed is None:
            self._output.clear()
            self._close(Reason.DISCONNECTED)
        return self._told()

    def close(self, now_ns: int, detail: str = "") -> list[Event]:
        """End the connection from this side, without a farewell."""
        self._advance(now_ns)
        if self.closed is None:
            self._close(Reason.CLOSED_HERE, detail)
        return self._told()

    def take_output(self, most: int = CHUNK) -> bytes:
        """Bytes to write now, at most ``most``; take more only when these have been written."""
        taken = bytes(self._output[:most])
        del self._output[:most]
        self.counters.bytes_out += len(taken)
        if taken:
            self._taken_ns = self._now_ns
        return taken

    @property
    def has_output(self) -> bool:
        """True where `take_output` would give something."""
        return bool(self._output)

    @property
    def next_deadline(self) -> int | None:
        """When `tick` has something to do, in the caller's nanoseconds; None when all is over."""
        if self._events:
            return self._now_ns
        if self.closed is not None:
            return None
        deadlines = [self._received_ns + self.limits.timeout_ns]
        if self._login_deadline_ns is not None:
            deadlines.append(self._login_deadline_ns)
        if self.is_logged_in:
            deadlines.append(self._sent_ns + self.limits.heartbeat_ns)
        if self.has_output:
            deadlines.append(self._taken_ns + self.limits.timeout_ns)
        return min(deadlines)

    def debug(self, text: str, now_ns: int) -> list[Event]:
        """Send text for the people on the other side."""
        self._advance(now_ns)
        self._check_open()
        raw = text.encode("latin-1", "replace")[: self.limits.max_payload]
        self.counters.debug_out += self._send("debug", raw)
        return self._told()

    # ------------------------------------------------------------ for the two sides

    def _advance(self, now_ns: int) -> None:
        if now_ns < self._now_ns:
            self.counters.clock_backwards += 1
            return
        self._now_ns = now_ns

    def _time_out(self) -> None:
        limits, now_ns = self.limits, self._now_ns
        if self._login_deadline_ns is not None and now_ns >= self._login_deadline_ns:
            self._close(Reason.LOGIN_TIMEOUT)
        elif now_ns - self._received_ns >= limits.timeout_ns:
            self._close(Reason.RECEIVE_TIMEOUT)
        elif self.has_output and now_ns - self._taken_ns >= limits.timeout_ns:
            self._slow_reader("nothing was taken until the timeout")

    def _send(self, name: str, payload: bytes = b"") -> bool:
        """Put one packet into the send buffer; a full buffer ends the connection."""
        if len(self._output) + len(payload) > self.limits.max_output:
            self._slow_reader(f"{len(self._output)} bytes wait")
            return False
        self._will_send()
        self._output += framed(name, payload)
        return True

    def _will_send(self) -> None:
        """Note that this side shows a sign of life, and when the reader's time begins."""
        self._sent_ns = self._now_ns
        if not self.has_output:
            self._taken_ns = self._now_ns

    def _slow_reader(self, detail: str) -> None:
        self._output.clear()
        self._close(Reason.SLOW_READER, detail)

    def _close(self, reason: Reason, detail: str = "") -> None:
        self._reader.forget()
        self.closed = Closed(reason, detail)
        self._events.append(self.closed)

    def _unexpected(self, layout: Message, state: str) -> None:
        self._close(Reason.UNEXPECTED_PACKET, f"{layout.name} {state}")

    def _told(self) -> list[Event]:
        told, self._events = self._events, []
        return told

    def _check_open(self) -> None:
        if self.closed is not None:
            raise SessionError(f"the connection has ended: {self.closed}")

    def _check_sendable(self, payload: bytes) -> None:
        self._check_open()
        if not self.is_logged_in:
            raise SessionError("nothing can be sent before the login: wait for LoggedIn")
        if not 0 < len(payload) <= self.limits.max_payload:
            raise SessionError(
                f"a message of {len(payload)} bytes: 1 to {self.limits.max_payload} can be sent"
            )
