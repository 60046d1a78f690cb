"""The client of a Gap Request Proxy: requests within the quotas, and what the proxy says to them.

Quotas are the session's, whichever unit asks: they are kept here, so that the proxy need not refuse
what is known to be too much, and what is withheld is refused here in the proxy's own words.
"""

from collections import deque

import msgspec

from tickpath.recovery.limits import SECOND_NS, Count
from tickpath.recovery.state import Refusal
from tickpath.recovery.unit_link import Login, UnitClient, UnitLimits
from tickpath.session.soup_event import Event, Reason
from tickpath.wire.cboe_grp import CBOE_GRP

REFUSALS = {
    "O": Refusal.OUT_OF_RANGE,
    "D": Refusal.DAY,
    "M": Refusal.MINUTE,
    "S": Refusal.SECOND,
    "C": Refusal.COUNT,
    "I": Refusal.INVALID_UNIT,
    "U": Refusal.UNAVAILABLE,
}
"""Refusal by `gap_response_status`."""

assert {"A", *REFUSALS} == set(CBOE_GRP.enums["gap_response_status"])


class Quotas(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Requests that one session may make; ask the exchange for the ones of a port."""

    per_second: Count = 320
    per_minute: Count = 1_500
    per_day: Count = 100_000


class GapAnswer(Event, frozen=True):
    """What becomes of a request: None where the messages come, or else why not."""

    unit: int
    first: int
    refusal: Refusal | None


class GrpClient(UnitClient):
    """See the module's text.  Made when its transport is connected."""

    MAX_WAITING = 256
    """Requests made before the login's answer; further ones are refused."""

    def __init__(
        self,
        login: Login,
        now_ns: int,
        *,
        limits: UnitLimits = UnitLimits(),  # noqa: B008 - frozen
        quotas: Quotas = Quotas(),  # noqa: B008 - frozen
        spent: deque[int] | None = None,
    ) -> None:
        """``spent`` are the times of today's requests, where there were connections before."""
        super().__init__(login, limits, now_ns)
        self.quotas = quotas
        self.spent: deque[int] = deque() if spent is None else spent
        self._waiting: dict[tuple[int, int], int] = {}

    def ask(self, unit: int, first: int, count: int, now_ns: int) -> list[Event]:
        """Request messages; what becomes of it is told by a `GapAnswer`."""
        self._now_ns = max(self._now_ns, now_ns)
        if self.closed is not None:
            self._events.append(GapAnswer(unit, first, Refusal.UNAVAILABLE))
        elif self.is_logged_in:
            self._request(unit, first, count)
        elif len(self._waiting) < self.MAX_WAITING:
            self._waiting[unit, first] = count
        else:
            self.counters["requests_not_kept"] += 1
            self._events.append(GapAnswer(unit, first, Refusal.UNAVAILABLE))
        return self._told()

    def _logged_in(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for (unit, first), count in waiting.items():
            self._request(unit, first, count)

    def _request(self, unit: int, first: int, count: int) -> None:
        refusal = self._withheld()
        if refusal is not None:
            self.counters["requests_withheld"] += 1
            self._events.append(GapAnswer(unit, first, refusal))
            return
        self.spent.append(self._now_ns)
        self.counters["requests"] += 1
        self._send("gap_request", unit=unit, sequence=first, count=count)

    def _withheld(self) -> Refusal | None:
        """The quota that a further request would break."""
        quotas, now_ns = self.quotas, self._now_ns
        for most, span_ns, refusal in (
            (quotas.per_second, SECOND_NS, Refusal.SECOND),
            (quotas.per_minute, 60 * SECOND_NS, Refusal.MINUTE),
        ):
            if len(self.spent) >= most and now_ns - self.spent[-most] < span_ns:
                return refusal
        return Refusal.DAY if len(self.spent) >= quotas.per_day else None

    def _said(self, found: tuple[str, dict] | None, raw: bytes) -> None:
        if found is None or found[0] != "gap_response":
            self._close(Reason.UNEXPECTED_PACKET, f"message type {raw[1]:#04x}")
            return
        fields = found[1]
        status = fields["status"]
        if status != "A" and status not in REFUSALS:
            self.counters["statuses_unknown"] += 1
        self.counters["requests_accepted" if status == "A" else "requests_refused"] += 1
        refusal = None if status == "A" else REFUSALS.get(status, Refusal.UNAVAILABLE)
        self._events.append(GapAnswer(fields["unit"], fields["sequence"], refusal))
