"""A Spin: the orders of a unit as PITCH messages, until the one that ends it.

    login -> an image that is late enough -> request -> response -> orders -> finished

The orders are counted against the response, so that a spin of which some are missing is not taken.
"""

from enum import Enum
from typing import Any

from tickpath.recovery.limits import Limits
from tickpath.recovery.snapshot_client import Snapshot
from tickpath.recovery.unit_link import TYPE_AT, Login, UnitClient, UnitLimits
from tickpath.session.soup_event import Reason
from tickpath.wire.cboe_spin import CBOE_SPIN
from tickpath.wire.pitch241 import PITCH241

ADDS = frozenset(
    ord(PITCH241[name].type) for name in ("add_order_short", "add_order_long", "add_order_expanded")
)
"""Types of the messages that are orders."""


class SpinState(Enum):
    """Where a spin stands."""

    WAITING = "for an image that is late enough"
    REQUESTED = "the request is made"
    SPINNING = "orders come"
    FINISHED = "all orders have come"


class SpinClient(UnitClient):
    """See the module's text.  Made when its transport is connected; logs in at once."""

    protocol = CBOE_SPIN
    MAX_REFUSALS = 10
    """Responses that refuse, until the attempt has failed."""

    def __init__(
        self,
        login: Login,
        at_least: int,
        now_ns: int,
        *,
        limits: Limits,
        unit_limits: UnitLimits = UnitLimits(),  # noqa: B008 - frozen
    ) -> None:
        """``at_least``: the message that the feed goes on with has this number or a higher one."""
        super().__init__(login, unit_limits, now_ns)
        self.state = SpinState.WAITING
        self._at_least, self._bounds = at_least, limits
        self._sequence = self._orders_left = self._bytes = self._refusals = 0
        self._messages: list[bytes] = []

    def _said(self, found: tuple[str, dict[str, Any]] | None, raw: bytes) -> None:
        if found is None:
            self._order(raw)
            return
        name, fields = found
        if name == "spin_image_available":
            self._image(fields["sequence"])
        elif name == "spin_response" and self.state is SpinState.REQUESTED:
            self._response(fields)
        elif name == "spin_finished" and self.state is SpinState.SPINNING:
            self._finished(fields["sequence"])
        else:
            self._close(Reason.UNEXPECTED_PACKET, f"{name} while {self.state.name}")

    def _image(self, sequence: int) -> None:
        self.counters["images"] += 1
        if self.state is SpinState.WAITING and sequence + 1 >= self._at_least:
            self.state, self._sequence = SpinState.REQUESTED, sequence
            self._send("spin_request", sequence=sequence)

    def _response(self, fields: dict[str, Any]) -> None:
        if fields["status"] == "A":
            self.state = SpinState.SPINNING
            self._sequence, self._orders_left = fields["sequence"], fields["order_count"]
            return
        # Out of range, or a spin is in progress: the next image is asked for.
        status = CBOE_SPIN.enums["spin_response_status"].get(fields["status"], "unknown")
        self.counters[f"refused_{status}"] += 1
        self._refusals += 1
        self.state = SpinState.WAITING
        if self._refusals >= self.MAX_REFUSALS:
            self._close(Reason.CLOSED_HERE, f"{self._refusals} spin requests were refused")

    def _order(self, raw: bytes) -> None:
        if self.state is not SpinState.SPINNING:
            self._close(Reason.UNEXPECTED_PACKET, f"an order while {self.state.name}")
            return
        self._orders_left -= raw[TYPE_AT] in ADDS
        self._bytes += len(raw)
        self._messages.append(raw)
        bounds = self._bounds
        if len(self._messages) > bounds.snapshot_messages or self._bytes > bounds.snapshot_bytes:
            self.counters["snapshots_too_long"] += 1
            self._messages.clear()
            self._close(Reason.CLOSED_HERE, "the spin is longer than is taken")

    def _finished(self, sequence: int) -> None:
        self.state = SpinState.FINISHED
        if self._orders_left or sequence != self._sequence:
            self.counters["spins_incomplete"] += 1
            detail = f"{self._orders_left} orders short, sequence {sequence} of {self._sequence}"
            self._close(Reason.CLOSED_HERE, detail)
            return
        self._events.append(Snapshot(sequence + 1, self._messages))
        self._close(Reason.CLOSED_HERE, "the spin is finished")
