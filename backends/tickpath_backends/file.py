"""The file transport: captures, in the order in which their packets were captured.

Several files are merged by receive time, those with the same time (and daily files, which have
none) in the order given.  A capture whose clock steps back keeps its own order: its packets count
as captured no earlier than the one before.  Packets stay where the captures map them; only their
records are sorted.  A capture that ends early ends alone: it leaves a finding, the others go on.
"""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np

from tickpath.capture import open_capture
from tickpath.packet import PACKET

NONE = np.zeros(0, PACKET)


class _Source:
    """One capture: the batch under way and what of it has not been lent yet."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.capture = open_capture(path)
        self._batches: Iterator[np.ndarray] | None = None
        self._latest = np.uint64(0)
        self.waiting, self.times = NONE, NONE["ts_recv"]
        self.is_finished = False

    def fill(self) -> None:
        """Have packets waiting, unless the capture is at its end."""
        if self._batches is None:
            self._batches = iter(self.capture.batches())
        while not len(self.waiting) and not self.is_finished:
            batch = next(self._batches, None)
            if batch is None:
                self.is_finished = True
            else:
                self.waiting = batch
                self.times = np.maximum.accumulate(np.maximum(batch["ts_recv"], self._latest))
                self._latest = self.times[-1]

    def drop(self) -> None:
        """Forget what is waiting."""
        self.waiting, self.times = NONE, NONE["ts_recv"]

    def take(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """The next packets, and the times to sort them by."""
        taken = self.waiting[:number], self.times[:number]
        self.waiting, self.times = self.waiting[number:], self.times[number:]
        return taken


class FileTransport:
    """Lends the packets of captures; the reference transport."""

    is_live = False

    def __init__(self, paths: Sequence[str | os.PathLike[str]]) -> None:
        self._paths = list(paths)
        self._sources: list[_Source] = []
        self._merged = NONE
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
        """The next packets in order of their capture, at most ``most``; none at the end."""
        if not len(self._merged):
            self._merged = self._merge()
        self._lent, self._merged = self._merged[:most], self._merged[most:]
        return self._lent

    def _merge(self) -> np.ndarray:
        """All that is waiting up to the moment behind which something else may come in between."""
        for source in self._sources:
            source.fill()
        live = [source for source in self._sources if len(source.waiting)]
        if not live:
            return NONE
        if len(live) == 1:
            return live[0].take(len(live[0].waiting))[0]
        # The first capture whose waiting packets end earliest may go on with the same time: until
        # that is known, the ones given behind it keep back what they have of that time.
        ends = [int(source.times[-1]) for source in live]
        horizon = min(ends)
        first = ends.index(horizon)
        taken = []
        for number, source in enumerate(live):
            side: Literal["left", "right"] = "right" if number <= first else "left"
            taken.append(source.take(int(np.searchsorted(source.times, horizon, side))))
        packets = np.concatenate([each for each, _ in taken])
        return packets[np.argsort(np.concatenate([times for _, times in taken]), kind="stable")]

    def release(self) -> None:
        """Give back what the last `poll` lent."""
        self._lent = NONE

    def send(self, messages: memoryview) -> None:
        """A file takes no orders."""
        raise NotImplementedError("the file transport has nowhere to send orders to")

    def close(self) -> None:
        """Close every capture."""
        self._merged = self._lent = NONE
        for source in self._sources:
            source.drop()
            source.capture.close()

    @property
    def environment(self) -> dict[str, int]:
        """Nothing but what the result says of its sources."""
        return {}

    @property
    def is_finished(self) -> bool:
        """True when every capture is at its end and all was lent."""
        left = len(self._merged) + sum(len(source.waiting) for source in self._sources)
        return not left and all(source.is_finished for source in self._sources)

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
