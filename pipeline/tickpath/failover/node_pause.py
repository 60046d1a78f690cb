"""How long a planned switchover kept the group from trading, by the node that was handed the role.

    pause     from the old active's last turn in which an input could make an order, to the moment
              in which one of the new active's may leave: the note, the gate and the lease are there
    orders    from the last order that the old active handed over to the gateway to the first of the
              new one; it has in it that the strategy must want one

The old active says when its ends were.  On the same host, which the kernel's boot identity tells,
both nodes have the same monotonic clock; elsewhere the time that the word was under way is missing
from the figures, and they say so.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tickpath.failover.questions import HandedOver

_BOOT = Path("/proc/sys/kernel/random/boot_id")


def host() -> str:
    """What the monotonic clock belongs to; empty where that cannot be known."""
    try:
        return _BOOT.read_text().strip()
    except OSError:
        return ""


class Pause:
    """See the module's text.  Both sides of it: a node is the old active now, the new one later."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock, self._host = clock, host()
        self.last: dict[str, Any] | None = None
        """The last switchover to this node, JSON-ready."""
        self.sent_ns = 0
        """When an order was handed over to the gateway last; 0: never."""
        self._drained_ns = 0
        self._since_ns: int | None = None
        self._sent_before_ns = 0
        self._told: HandedOver | None = None
        self._is_exact = False
        self._waits_for_order = False

    # ------------------------------------------------------------ the old active

    def drained(self) -> None:
        """No input is taken from here on."""
        self._drained_ns = self._clock()

    def word(self) -> dict[str, Any]:
        """What the new active is told of it, with the word that it is to take over."""
        now_ns = self._clock()
        return {
            "host": self._host,
            "told_ns": now_ns,
            "paused_ns": now_ns - self._drained_ns,
            "ordered_ns": now_ns - self.sent_ns if self.sent_ns else 0,
        }

    # ------------------------------------------------------------ the new active

    def handed(self, told: HandedOver) -> None:
        """The role was handed to this node."""
        now_ns = self._clock()
        is_here = bool(told.host) and told.host == self._host and told.told_ns <= now_ns
        told_ns = told.told_ns if is_here else now_ns
        self._told = told
        self._since_ns = told_ns - told.paused_ns
        self._sent_before_ns = told_ns - told.ordered_ns if told.ordered_ns else 0
        self._is_exact = is_here

    def forget(self) -> None:
        """Somebody else leads: it did not come about."""
        self._since_ns = self._told = None

    def ended(self, epoch: int) -> int | None:
        """Orders may leave from here on; gives how long they could not, if that was a switchover.

        Later ones of the same epoch are none.
        """
        if self._since_ns is None or self._told is None:
            return None
        pause_ns = self._clock() - self._since_ns
        self.last = {
            "from": self._told.source,
            "epoch": epoch,
            "pause_ns": pause_ns,
            "orders_ns": None,
            "is_exact": self._is_exact,
        }
        self._since_ns = self._told = None
        self._waits_for_order = bool(self._sent_before_ns)
        return pause_ns

    def sent(self, now_ns: int) -> None:
        """An order was handed over to the gateway."""
        self.sent_ns = now_ns
        if self._waits_for_order and self.last is not None:
            self._waits_for_order = False
            self.last["orders_ns"] = now_ns - self._sent_before_ns
