"""Fetching another node's snapshot on a thread: the loop goes on meanwhile."""

import threading
from collections.abc import Sequence
from typing import NamedTuple

from tickpath.failover.control import ask
from tickpath.failover.control_error import ControlError
from tickpath.failover.reach import Reach

TIMEOUT_MS = 10_000
OTHERS_MS = 3_000
"""Of all but the last, who is asked when none of them answers."""


class Fetched(NamedTuple):
    """A node's state."""

    name: str
    record_number: int
    snapshot: bytes


class Fetch:
    """Asks nodes in their order until one has a snapshot of record ``least`` or later."""

    def __init__(self, nodes: Sequence[tuple[str, Reach]], least: int) -> None:
        self._nodes, self._least = list(nodes), least
        self.found: Fetched | None = None
        self.errors: list[str] = []
        """Why those that were asked have none."""
        self._thread = threading.Thread(target=self._run, name="snapshot", daemon=True)
        self._thread.start()

    @property
    def is_done(self) -> bool:
        """Whether there is nothing more to wait for."""
        return not self._thread.is_alive()

    def _run(self) -> None:
        for at, (name, reach) in enumerate(self._nodes, 1):
            try:
                timeout_ms = TIMEOUT_MS if at == len(self._nodes) else OTHERS_MS
                said, snapshot = ask(reach, timeout_ms, ask="snapshot")
            except ControlError as error:
                self.errors.append(str(error))
                continue
            number = said.get("record_number")
            if not isinstance(number, int):
                self.errors.append(f"{name}: its answer has no record number")
                continue
            if number >= self._least:
                self.found = Fetched(name, number, snapshot)
                return
            self.errors.append(f"{name}: its snapshot is of record {number:,}, too early")
