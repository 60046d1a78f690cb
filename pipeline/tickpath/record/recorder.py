"""Lines into a file, until there is a reason to stop.

Everything that has come is in the file or in its buffer: within a line in the order of receipt,
between lines in the order of their times as far as they were read in one round.
"""

import selectors
import time
from collections.abc import Callable
from typing import Any

from tickpath.record.file import RecordFile
from tickpath.record.frames import frame
from tickpath.record.receiver import Receiver

MAX_WAIT_S = 0.1
FLUSH_S = 1.0
"""How long a packet waits in the buffer at most."""


class Recorder:
    """See the module's text."""

    def __init__(self, path: str, receivers: list[Receiver]) -> None:
        """Raises `RecordError`."""
        self.receivers = receivers
        self.packets = 0
        names = [
            f"{each.name} {each.group[0]}:{each.group[1]} over {each.interface}"
            for each in receivers
        ]
        self.file = RecordFile(path, names)
        self._flushed_s = 0.0

    def run(
        self,
        is_stopped: Callable[[], bool],
        seconds: float | None = None,
        packets: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> bool:
        """Record; False where it was stopped.  Raises `RecordError` where the disk is full."""
        begun_s = self._flushed_s = clock()
        with selectors.DefaultSelector() as selector:
            for number, receiver in enumerate(self.receivers):
                selector.register(receiver.socket, selectors.EVENT_READ, number)
            while not is_stopped():
                left_s = MAX_WAIT_S if seconds is None else begun_s + seconds - clock()
                if left_s <= 0 or (packets is not None and self.packets >= packets):
                    return True
                ready = selector.select(min(left_s, MAX_WAIT_S))
                self._write([key.data for key, _ in ready], packets)
                if not ready or clock() - self._flushed_s >= FLUSH_S:
                    self.file.flush()
                    self._flushed_s = clock()
        return False

    def _write(self, numbers: list[int], most: int | None) -> None:
        """What has come on some of the lines."""
        taken = [(number, each) for number in numbers for each in self.receivers[number].take()]
        for number, received in sorted(taken, key=lambda each: each[1].ts_recv):
            receiver = self.receivers[number]
            if most is not None and self.packets >= most:
                receiver.counters["beyond_packets"] += 1
                continue
            raw = frame(received.payload, received.source, receiver.group)
            self.file.write(number, received.ts_recv, raw)
            self.packets += 1

    def close(self) -> None:
        """Leave the groups and finish the file.  Raises `RecordError`."""
        for receiver in self.receivers:
            receiver.close()
        self.file.close()

    def summary(self) -> dict[str, Any]:
        """What was recorded, line by line."""
        return {
            "path": self.file.path,
            "packets": self.file.packets,
            "file_bytes": self.file.bytes_written,
            "lines": {
                each.name: {
                    "group": list(each.group),
                    "kernel_drops": each.kernel_drops,
                    "receive_buffer_bytes": each.buffer_size,
                    **each.counters,
                }
                for each in self.receivers
            },
        }
