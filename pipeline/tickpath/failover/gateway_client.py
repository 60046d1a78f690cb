"""A node's connection to the order gateway, for a loop that never waits.

    client = GatewayClient(("127.0.0.1", 26500), "a", Group(...), next_answer=1, next_outcome=1)
    for event in client.poll(): ...                   # reads, connects, keeps alive; never blocks
    client.hand_over(epoch, position, input_number, orders)     # at the socket when this returns

Every node of the group has one: a standby reads answers and outcomes and learns by `Confirmed` what
of its tail it may let go.  A lost connection is made again by `poll`; answers and outcomes go on
where they stopped.  What was handed over on the lost connection may have come or not: `Welcomed`
says where the gateway stands, and the node hands over from there (what came twice is compared, and
not sent twice).
"""

import errno
import os
import select
import socket
import time
from collections import Counter
from collections.abc import Callable
from enum import Enum

from tickpath.failover.gateway_client_link import (
    MILLISECOND_NS,
    ClientLink,
    ClientSettings,
    Group,
    hand_over_frames,
    hello_frame,
)
from tickpath.failover.gateway_event import Declined, Event, Lost, Welcomed
from tickpath.failover.gateway_framing import frame
from tickpath.session.tcp_stream import Address, set_busy_poll

MAX_READ = 1 << 18
"""Bytes read in one `poll`."""

__all__ = ["ClientSettings", "GatewayClient", "Group", "Sent"]


class Sent(Enum):
    """Where a hand-over is now."""

    WRITTEN = "all of it is in the socket's buffer"
    WAITING = "some of it waits for room there; `poll` goes on"
    NO_LINE = "there is no welcome connection: nothing was sent"
    FULL = "too much waits already: nothing was sent"


class GatewayClient:
    """See the module's text.  No call blocks, opens a name server's question or sleeps."""

    def __init__(
        self,
        address: Address,
        node: str,
        group: Group = Group(),  # noqa: B008 - frozen
        *,
        next_answer: int = 1,
        next_outcome: int = 1,
        settings: ClientSettings = ClientSettings(),  # noqa: B008 - frozen
        clock: Callable[[], int] = time.monotonic_ns,
    ):
        """``address`` is numeric; the next answer or outcome 0 is the first from now on.

        Raises `GatewayError` for a name or digests that do not fit.
        """
        hello_frame(node, group, next_answer, next_outcome)
        self.address, self.node, self.group, self.settings = address, node, group, settings
        self.counters: Counter[str] = Counter()
        self.next_answer, self.next_outcome = next_answer, next_outcome
        self._clock = clock
        self._sock: socket.socket | None = None
        self._link: ClientLink | None = None
        self._retry_at_ns = self._connect_deadline_ns = clock()
        self._events: list[Event] = []

    # ------------------------------------------------------------ the node's side

    @property
    def is_welcome(self) -> bool:
        """Whether a hand-over would go out now."""
        return self._link is not None and self._link.is_welcome and self._link.lost is None

    def fileno(self) -> int:
        """The socket for a selector, -1 where there is none: it is another one after a `Lost`."""
        return -1 if self._sock is None else self._sock.fileno()

    @property
    def wants_write(self) -> bool:
        """Whether the socket should be watched for room, too."""
        return self._sock is not None and (self._link is None or bool(self._link.output))

    def hand_over(
        self, epoch: int, order_position: int, input_number: int, messages: bytes = b""
    ) -> Sent:
        """Hand over the order stream from a position on; without bytes only the epoch is told.

        ``messages`` are order messages, each behind a 2-byte big-endian length.  `Accepted` or
        `Refused` come by `poll`, one for each frame that it took (`ClientSettings.max_message`).
        """
        link = self._link
        if link is None or not self.is_welcome:
            self.counters["no_line"] += 1
            return Sent.NO_LINE
        raw = hand_over_frames(
            epoch, order_position, input_number, messages, self.settings.max_message
        )
        if not link.send(raw, self._clock()):
            self.counters["output_full"] += 1
            return Sent.FULL
        self.counters["hand_overs"] += 1
        self._write()
        return Sent.WAITING if link.output else Sent.WRITTEN

    def ask(self, request: int = 0, epoch: int = 0) -> Sent:
        """Ask where the gateway stands: a `Stands` with this request number comes by `poll`.

        An epoch that is higher than all before is on the gateway's disk before it answers, so that
        no older node can move the position that it tells.
        """
        link = self._link
        if link is None or not self.is_welcome:
            return Sent.NO_LINE
        if not link.send(frame("ask", request=request, epoch=epoch), self._clock()):
            return Sent.FULL
        self._write()
        return Sent.WAITING if link.output else Sent.WRITTEN

    def poll(self) -> list[Event]:
        """Connect, read, write and keep alive, as far as all that goes without waiting."""
        now_ns = self._clock()
        if self._sock is None:
            if now_ns >= self._retry_at_ns:
                self._connect(now_ns)
        elif self._link is None:
            self._finish_connecting(now_ns)
        if self._link is not None:
            self._read(now_ns)
        if self._link is not None:
            self._hear(self._link.tick(now_ns))
            self._write()
        told, self._events = self._events, []
        return told

    def close(self) -> None:
        """Close the socket; `poll` would connect again."""
        self._drop()

    def __enter__(self) -> "GatewayClient":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    # ------------------------------------------------------------ the socket

    def _connect(self, now_ns: int) -> None:
        self.counters["attempts"] += 1
        self._connect_deadline_ns = now_ns + self.settings.connect_timeout_ms * MILLISECOND_NS
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._sock.setblocking(False)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.settings.busy_poll_us:
            self.counters["busy_poll_off"] += bool(
                set_busy_poll(self._sock, self.settings.busy_poll_us)
            )
        code = self._sock.connect_ex(self.address)
        if code not in (0, errno.EINPROGRESS):
            self._failed(os.strerror(code))
        else:
            self._finish_connecting(now_ns)

    def _finish_connecting(self, now_ns: int) -> None:
        assert self._sock is not None
        poller = select.poll()
        poller.register(self._sock, select.POLLOUT)
        if not poller.poll(0):
            if now_ns >= self._connect_deadline_ns:
                self._failed(f"no answer within {self.settings.connect_timeout_ms} ms")
            return
        code = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self._failed(os.strerror(code))
            return
        self.counters["connections"] += 1
        self._link = ClientLink(
            self.node, self.group, self.next_answer, self.next_outcome, self.settings, now_ns
        )

    def _failed(self, detail: str) -> None:
        host, port = self.address
        self._hear([Lost(f"{host}:{port}: {detail}")])

    def _read(self, now_ns: int) -> None:
        assert self._sock is not None and self._link is not None
        try:
            received = self._sock.recv(MAX_READ)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._hear(self._link.disconnected(error.strerror or str(error)))
            return
        if received:
            self._hear(self._link.receive(received, now_ns))
        else:
            self._hear(self._link.disconnected("the gateway closed the connection"))

    def _write(self) -> None:
        link = self._link
        if link is None or self._sock is None or not link.output:
            return
        try:
            count = self._sock.send(link.output)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._hear(link.disconnected(error.strerror or str(error)))
            return
        del link.output[:count]

    def _hear(self, events: list[Event]) -> None:
        link = self._link
        if link is not None:
            self.next_answer, self.next_outcome = link.next_answer, link.next_outcome
        self._events += events
        pause_ms = self.settings.reconnect_ms
        for event in events:
            if isinstance(event, Welcomed):
                self.counters["welcomes"] += 1
            elif isinstance(event, Declined):
                self.counters["declined"] += 1
                pause_ms = self.settings.declined_ms
            elif isinstance(event, Lost):
                self.counters["lost"] += 1
                self._drop()
                self._retry_at_ns = self._clock() + pause_ms * MILLISECOND_NS

    def _drop(self) -> None:
        if self._sock is not None:
            self._sock.close()
        self._sock = self._link = None
