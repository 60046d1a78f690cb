"""What an order asks for besides side, quantity and price."""

from typing import NamedTuple

from tickpath.exchange.reason import Reason

ALLOW, CANCEL_RESTING, CANCEL_INCOMING = 0, 1, 2
"""What happens where an order meets one of its owner's."""


class Terms(NamedTuple):
    """How an order takes and rests.

    ``is_immediate`` never rests, nor does ``is_market``, which has no limit.  ``min_quantity``
    (immediate orders only) is traded at once or nothing is.  ``is_post_only`` never takes: the
    order stands one tick beside what it would meet, until that goes.  ``is_hidden`` rests unseen;
    ``max_floor`` is what a reserve order shows at a time.  ``attribution`` is the participant that
    the market is told, and ``prevention`` what happens at a meeting with the owner's own orders.
    """

    is_immediate: bool = False
    is_market: bool = False
    is_post_only: bool = False
    is_hidden: bool = False
    min_quantity: int = 0
    max_floor: int = 0
    attribution: bytes = b""
    prevention: int = ALLOW

    def conflict(self, quantity: int) -> Reason | None:
        """Why an order of ``quantity`` cannot have these terms."""
        takes = self.is_immediate or self.is_market
        if self.min_quantity and (not takes or self.min_quantity > quantity):
            return Reason.MINIMUM
        if self.max_floor and (self.is_hidden or self.max_floor > quantity):
            return Reason.FLOOR
        return Reason.DISPLAY if self.is_post_only and takes else None


PLAIN = Terms()
IMMEDIATE = Terms(is_immediate=True)
