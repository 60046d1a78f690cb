"""A GLIMPSE 5.0 snapshot: ITCH messages over SoupBinTCP, until the one that says where to go on.

SoupBinTCP numbers the messages, so a snapshot has no hole; it is bounded, and what is beyond the
bound ends the attempt.
"""

from collections import Counter

from tickpath.recovery.limits import Limits
from tickpath.recovery.snapshot_client import Snapshot
from tickpath.session.credentials import Credentials
from tickpath.session.soup_client import Client
from tickpath.session.soup_event import Closed, Event, Sequenced
from tickpath.session.soup_link import Limits as SoupLimits
from tickpath.wire.glimpse50 import GLIMPSE50
from tickpath.wire.table import WireError

_END = GLIMPSE50["end_of_snapshot"]
_END_TYPE = _END.type.encode()


class GlimpseClient:
    """See the module's text.  Made when its transport is connected; logs in at once."""

    def __init__(
        self,
        credentials: Credentials,
        now_ns: int,
        *,
        limits: Limits,
        soup_limits: SoupLimits = SoupLimits(),  # noqa: B008 - frozen
    ) -> None:
        self.counters: Counter[str] = Counter()
        self._limits = limits
        self._messages: list[bytes] = []
        self._bytes = 0
        self._is_over = False
        self._client = Client(
            credentials.username, credentials.password, now_ns=now_ns, limits=soup_limits
        )

    @property
    def closed(self) -> Closed | None:
        """Why it ended; None while it has not."""
        return self._client.closed

    def receive(self, received: bytes, now_ns: int) -> list[Event]:
        """Take bytes from the transport: `Snapshot` once, `Closed` at the end."""
        return self._take(self._client.receive(received, now_ns), now_ns)

    def tick(self, now_ns: int) -> list[Event]:
        """Let time pass: heartbeats and timeouts."""
        return self._take(self._client.tick(now_ns), now_ns)

    def disconnected(self, now_ns: int) -> list[Event]:
        """The transport says that the connection is gone."""
        return self._take(self._client.disconnected(now_ns), now_ns)

    def take_output(self) -> bytes:
        """Bytes to write now."""
        return self._client.take_output()

    @property
    def next_deadline(self) -> int | None:
        """When `tick` has something to do."""
        return self._client.next_deadline

    def _take(self, events: list[Event], now_ns: int) -> list[Event]:
        told: list[Event] = []
        for event in events:
            if isinstance(event, Sequenced):
                if self._is_over:  # behind the end, or behind what was too long: not of a snapshot
                    self.counters["messages_behind_the_end"] += 1
                    continue
                told += self._message(event.payload, now_ns)
            elif isinstance(event, Closed):
                told.append(event)
        return told

    def _message(self, payload: bytes, now_ns: int) -> list[Event]:
        if payload[:1] == _END_TYPE:
            try:
                sequence = _END.decode(payload)["sequence_number"]
            except WireError as error:
                self._is_over = True
                return self._client.close(now_ns, str(error))
            messages, self._messages, self._is_over = self._messages, [], True
            return [Snapshot(sequence, messages), *self._client.logout(now_ns)]
        self._bytes += len(payload)
        self._messages.append(payload)
        limits = self._limits
        if len(self._messages) > limits.snapshot_messages or self._bytes > limits.snapshot_bytes:
            self._messages.clear()
            self._is_over = True
            self.counters["snapshots_too_long"] += 1
            return self._client.close(now_ns, "the snapshot is longer than is taken")
        return []
