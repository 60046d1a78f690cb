"""The file transport: captures, in the order in which their packets were captured.

Several files are merged by receive time, those with the same time (and daily files, which have
none) in the order given.  Packets stay where the captures map them; only their records are sorted.
A capture that ends early ends alone: it leaves a finding, the others go on.
"""

import os
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from tickpath.capture import open_capture
from tickpath.packet import PACKET

NONE = np.zeros(0, PACKET)


class _Source:
    """One capture: the batch under way and what of it has not been lent yet."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.capture = open_capture(path)
        self._batches: Iterator[np.ndarray] | None = None
        self.waiting = NONE
        self.is_finished = False

    def fill(self, most: int) -> None:
        """Have packets waiting, unless the capture is at its end."""
        if self._batches is None:
            self._batches = iter(self.capture.batches(most))
        while not len(self.waiting) and not self.is_finished:
            batch = next(self._batches, None)
            if batch is None:
                self.is_finished = True
            else:
                self.waiting = batch

    def take(self, horizon: int) -> np.ndarray:
        """The waiting packets received no later than ``horizon``."""
        number = int(np.searchsorted(self._rising(), horizon, side="right"))
        taken, self.waiting = self.waiting[:number], self.waiting[number:]
        return taken

    def _rising(self) -> np.ndarray:
        # A capture whose clock steps back is not sorted: its packets keep their order.
        return np.maximum.accumulate(self.waiting["ts_recv"])

    @property
    def last(self) -> int:
        return int(self._rising()[-1])


class FileTransport:
    """Lends the packets of captures; the reference transport."""

    def __init__(self, paths: Sequence[str | os.PathLike[str]]) -> None:
        self._paths = list(paths)
        self._sources: list[_Source] = []
        self._lent = NONE

    @staticmethod
    def why_not() -> str | None:
        """It runs everywhere."""
        return None

    def open(self) -> None:
        """Open every capture.  Raises `CaptureError`."""
        try:
            for path in self._paths:
                self._sources.append(_Source(path))
        except BaseException:
            self.close()
            raise

    def poll(self, most: int = 4096) -> np.ndarray:
        """The next packets in order of their capture; none at the end."""
        self.release()
        for source in self._sources:
            source.fill(most)
        live = [source for source in self._sources if len(source.waiting)]
        if not live:
            return NONE
        if len(live) == 1:
            self._lent, live[0].waiting = live[0].waiting, NONE
            return self._lent
        # Up to the earliest end of what is waiting, nothing can come in between any more.
        horizon = min(source.last for source in live)
        taken = np.concatenate([source.take(horizon) for source in live])
        self._lent = taken[np.argsort(taken["ts_recv"], kind="stable")]
        return self._lent

    def release(self) -> None:
        """Give back what the last `poll` lent."""
        self._lent = NONE

    def send(self, messages: memoryview) -> None:
        """A file takes no orders."""
        raise NotImplementedError("the file transport has nowhere to send orders to")

    def close(self) -> None:
        """Close every capture."""
        self.release()
        for source in self._sources:
            source.waiting = NONE
            source.capture.close()

    @property
    def is_finished(self) -> bool:
        """True when every capture is at its end and all was lent."""
        return all(source.is_finished and not len(source.waiting) for source in self._sources)

    @property
    def position(self) -> tuple[int, int]:
        """(bytes consumed, bytes in all) of the files."""
        done = sum(source.capture.position for source in self._sources)
        return done, sum(source.capture.size for source in self._sources)

    @property
    def counters(self) -> dict[str, int]:
        """Counters of the captures, added up."""
        total: Counter[str] = Counter()
        for source in self._sources:
            total.update(source.capture.counters)
        return dict(total)

    @property
    def findings(self) -> list[str]:
        """What is wrong with the captures."""
        return [finding for source in self._sources for finding in source.capture.findings]
