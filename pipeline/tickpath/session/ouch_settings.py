"""The settings and the counters of an order session."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from tickpath.session.soup_link import SECOND_NS, Limits

Count = Annotated[int, Meta(ge=1)]
Natural = Annotated[int, Meta(ge=0)]

WhenThrottled = Literal["queue", "reject", "drop"]


class OrderSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How an order session behaves; every interval is in nanoseconds."""

    session: str = ""
    """The exchange's session to log into; blank: the journal's, or else the current one."""
    limits: Limits = Limits()
    # The port's rate
    messages_per_second: Count = 1_000
    message_burst: Count = 100
    when_throttled: WhenThrottled = "queue"
    """What happens to new orders beyond the rate; cancels and modifications always wait.

    queue: they wait, up to `max_queue`.  reject: they are `Refused`.  drop: only a counter tells.
    """
    max_queue: Count = 1_000
    """New orders that may wait; cancels and modifications may use as much again."""
    max_open_orders: Count = 100_000
    """Orders that may be alive at the exchange, or unanswered."""
    # Reconnecting
    reconnect_first_ns: Count = SECOND_NS // 10
    reconnect_longest_ns: Count = 30 * SECOND_NS
    max_attempts: Count = 10
    """Attempts in a row without a session that held for `stable_ns`."""
    stable_ns: Count = 10 * SECOND_NS
    jitter_seed: int = 0
    # Settling what was sent before
    settle_timeout_ns: Count = 5 * SECOND_NS
    """5.0: for the account query's answer.  4.2: for answers to the cancels."""
    catch_up_ns: Count = 2 * SECOND_NS
    """4.2: how long old messages may take to come where no heartbeat tells that all have."""
    # The dead man's handle
    dead_man_ns: Natural = 0
    """Silence of the engine after which all its orders are canceled; 0: never."""
    dead_man_grace_ns: Count = 2 * SECOND_NS
    """How long the cancels may take until the session logs out regardless."""


class OrderCounters(msgspec.Struct):
    """What an order session has done."""

    sent: int = 0
    """Messages put on the wire, each after it was in the journal."""
    received: int = 0
    received_unknown: int = 0
    """Of these: not a message of the protocol; handed on all the same."""
    refused: int = 0
    dropped: int = 0
    """New orders beyond the port's rate, where the configuration says drop."""
    queued: int = 0
    """Messages that had to wait for the port's rate."""
    never_received: int = 0
    unknown: int = 0
    canceled_unseen: int = 0
    late_answers: int = 0
    """Orders accepted after they were settled; they are canceled at once."""
    cancels_repeated: int = 0
    """Cancels whose effect was not seen before the connection was lost."""
    mass_cancels: int = 0
    lines_lost: int = 0
    logins: int = 0
    probes: int = 0
    """Logins that only asked for the number of the next message."""
    settle_timeouts: int = 0
    dead_man: int = 0
