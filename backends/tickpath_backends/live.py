"""What live transports have in common: a native part that is polled, and its counters.

A transport opens its resources in Python, where errors can be said in words, and hands them to C;
from then on `poll`, `release` and `send` are the three C functions of ``native/transport.h``, be it
from Python or, by their addresses, from the compiled loop.  Counters outlive `close`.
"""

from types import ModuleType
from typing import Any

import numpy as np

from tickpath.backend import Native, TransportError
from tickpath.config import Config
from tickpath.packet import PACKET
from tickpath_backends import native
from tickpath_backends.interface import Watch

NONE = np.zeros(0, PACKET)


class LiveTransport:
    """Calls the C functions ``NAME_poll``, ``NAME_release``, ``NAME_send`` of ``_NAME``.

    C owns a ``struct NAME_counters`` of 64-bit numbers, which `counters` gives by their names.
    With ``_watch`` set, what happens to the interface is counted and found too.
    """

    is_live = True
    position = (0, 0)
    NAME = ""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._module: ModuleType | None = None
        self._state: Any = None
        self._counted: dict[str, int] = {}
        self._findings: list[str] = []
        self._watch: Watch | None = None
        self._packets = np.zeros(config.transport.burst, PACKET)

    @property
    def is_open(self) -> bool:
        """Whether it has its resources."""
        return self._state is not None

    def _started(self, module: ModuleType, state: Any) -> None:
        """Take over C's state; from here on packets can be lent."""
        self._module, self._state = module, state

    def _stopped(self) -> None:
        """Read the counters for the last time; the state may be freed then."""
        self._counted = self.counters
        self._module = self._state = None

    def poll(self, most: int = 64) -> np.ndarray:
        """Up to ``most`` lent `PACKET` records, at most `transport.burst`; a view of one array."""
        if self._module is None:
            return NONE
        function = getattr(self._module.lib, f"{self.NAME}_poll")
        records = self._module.ffi.cast("struct packet *", self._packets.ctypes.data)
        return self._packets[: function(self._state, records, min(most, len(self._packets)))]

    def release(self) -> None:
        """Give back what was lent since the last time."""
        if self._module is not None:
            getattr(self._module.lib, f"{self.NAME}_release")(self._state)

    def send(self, messages: memoryview) -> int:
        """Send encoded orders, each behind a 2-byte length, a datagram each; gives how many went.

        Raises `TransportError` where it is not open or has nowhere to send to.
        """
        if self._module is None:
            raise TransportError(f"{self.NAME}: not open: nothing can be sent")
        if self._config.transport.orders_to is None:
            raise TransportError(f"{self.NAME}: transport.orders_to is not set: orders go nowhere")
        raw = self._module.ffi.from_buffer("uint8_t[]", messages)
        return getattr(self._module.lib, f"{self.NAME}_send")(self._state, raw, len(raw))

    @property
    def native(self) -> Native:
        """Addresses for the live loop.  Raises `TransportError` where it is not open."""
        if self._module is None:
            raise TransportError(f"{self.NAME}: not open: there is nothing to poll")
        functions = (f"{self.NAME}_{each}" for each in ("poll", "release", "send"))
        addresses = (native.address(self._module, each) for each in functions)
        return Native(int(self._module.ffi.cast("uintptr_t", self._state)), *addresses)

    @property
    def counters(self) -> dict[str, int]:
        """Everything counted since `open`, also after `close`."""
        if self._module is None:
            return dict(self._counted)
        struct = getattr(self._module.lib, f"{self.NAME}_counters")(self._state)
        names = [name for name, _ in self._module.ffi.typeof(struct).item.fields]
        found = {name: getattr(struct, name) for name in names}
        if self._watch:
            self._watch.look()
            found.update(self._watch.counters)
        return found

    @property
    def findings(self) -> list[str]:
        """What is not as it was asked for, or went wrong, a sentence each."""
        if not self._watch:
            return list(self._findings)
        self._watch.look()
        return [*self._findings, *self._watch.findings]

    @property
    def is_finished(self) -> bool:
        """True once the interface is gone: nothing will ever come again."""
        if not self._watch:
            return False
        self._watch.look()
        return self._watch.is_gone
