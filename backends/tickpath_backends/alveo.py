"""Executor ``alveo``: the chain on an Alveo card trades a profile; ``fpga-sim`` simulates it.

The engine beside it is the chain's host, as there: it reads the same packets first and keeps what
only software counts.  Frames go to the card's memory, orders and refusals come back from it; the
same profile gives the same orders, byte for byte, and the same refusals by check.

Which card and which xclbin the environment says (`alveo_card.XCLBIN`, `alveo_card.DEVICE`).
Latencies are the card's own count of cycles, from the last word of a message to the first of its
order, and nanoseconds by the clock that was measured on it; no MAC and no wire is in them.

Not here, beside what ``fpga-sim`` leaves out: best prices (``--bbo``).
"""

from typing import Any

from tickpath.backend import BackendError
from tickpath.config import Config
from tickpath.profile import Profile
from tickpath_backends import alveo_card
from tickpath_backends.alveo_card import Card
from tickpath_backends.fpga_sim import SimExecutor
from tickpath_backends.hdl.chain_model import Chain
from tickpath_backends.hdl.error import HdlError
from tickpath_backends.hdl.registers import Protocol


class AlveoExecutor(SimExecutor):
    """Runs lent packets through an `Engine`, and then through the chain on a card."""

    NAME = "alveo"

    def __init__(self, config: Config, *, profile: Profile | None = None, **options: Any) -> None:
        """``options`` as `Engine` has them.  Raises `BackendError`, `ConfigError`."""
        if options.get("on_bbo") is not None:
            raise BackendError("alveo: the card gives no best prices, leave --bbo out")
        super().__init__(config, profile=profile, **options)

    def open_chain(self, protocol: Protocol) -> Chain:
        """The card, the kernel fresh from reset.  Raises `HdlError`."""
        return alveo_card.open_card(protocol)

    @staticmethod
    def why_not() -> str | None:
        """It needs XRT, its native part, a card and an xclbin."""
        return alveo_card.why_not()

    def add_result(self, result: dict[str, Any]) -> None:
        """As of the simulation; the clock is the card's, what it did not record is a finding."""
        card = self.chain
        assert isinstance(card, Card)
        try:
            super().add_result(result)
            clock_mhz, dropped = card.clock_mhz(), card.dropped
        except HdlError as error:
            raise BackendError(f"alveo: {error}") from None
        cycles = result["latency_cycles"]
        result["latency_at_clock_ns"] = {
            "clock_mhz": round(clock_mhz, 2),
            **{
                name: None if value is None else round(value * 1e3 / clock_mhz, 1)
                for name, value in cycles.items()
                if name != "count"
            },
        }
        result["card"] = {"clock_mhz": round(clock_mhz, 2), **dropped}
        for name, count in dropped.items():
            if count:
                result["findings"].append(f"alveo: {name.replace('_', ' ')}: {count:,}")
