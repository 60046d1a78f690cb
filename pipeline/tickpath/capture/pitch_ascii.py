"""Files of TCP PITCH text, read as runs of binary PITCH messages, as daily files are of ITCH.

The lines say less than multicast PITCH: there is one line of time in milliseconds, no unit and no
sequence number.  A run's bytes stand in a buffer of constant size that the next run overwrites.
"""

import numpy as np

from tickpath.capture import counters as slot
from tickpath.packet import LINK_PITCH


class PitchLines:
    """The lines of a file, turned into messages by `walk_lines.walk_lines`."""

    kind = "pitch_ascii"

    def __init__(self, path: str, head: bytes, tally: np.ndarray) -> None:
        from tickpath.capture import walk, walk_lines

        self._tally = tally
        self._run = np.zeros(walk.RUN_BYTES, np.uint8)
        self._state = np.zeros(1, walk_lines.STATE)
        self._state["second"] = walk_lines.NO_SECOND

    def walk(
        self, begin: int, length: int, packets: np.ndarray, final: bool
    ) -> tuple[int, int, int, int]:
        """(bytes used, runs, `walk.Status`, its detail) of a window: at most one run."""
        from tickpath.capture import walk_lines

        out = self._run.ctypes.data
        at, after, status = walk_lines.walk_lines(
            np.uint64(begin),
            np.uint64(begin + length),
            final,
            np.uint64(out),
            np.uint64(out + len(self._run)),
            self._tally,
            self._state,
        )
        used, said = int(at) - begin, int(after) - out
        if said:
            packets[0] = (out, 0, said, said, LINK_PITCH, 0, 0)
            self._tally[slot.PACKETS] += np.uint64(1)
            self._tally[slot.BYTES] += np.uint64(said)
        return used, int(said > 0), status, length - used + 1

    def findings(self) -> list[str]:
        """What is to be said when the whole file was read."""
        counted = {
            "no PITCH line": slot.LINES_MALFORMED,
            "of a type that is not known": slot.LINES_UNKNOWN,
            "a symbol's clearing, which binary PITCH cannot say: its orders stayed": (
                slot.LINES_SYMBOL_CLEAR
            ),
        }
        return [
            f"lines that are {what}: {int(self._tally[number])}"
            for what, number in counted.items()
            if self._tally[number]
        ]
