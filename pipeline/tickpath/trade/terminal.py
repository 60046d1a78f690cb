"""Frames onto a terminal, from a thread of its own: one that takes nothing costs frames, not time.

A terminal that is stopped (Ctrl-S, a stalled connection) blocks whoever writes to it.  So the loop
only hands a frame over; while the last one is still being written, new ones are dropped and
counted.  Frames overwrite each other line by line without clearing in between, on the alternate
screen, so that nothing flickers and nothing is left in the scrollback.
"""

import contextlib
import os
import threading
from types import TracebackType

from rich.color import ColorSystem
from rich.console import COLOR_SYSTEMS, Console
from rich.style import Style

from tickpath.trade.screen import Line

ENTER, LEAVE = "\x1b[?1049h\x1b[?25l\x1b[2J", "\x1b[?25h\x1b[?1049l"
HOME, LINE_END, REST = "\x1b[H", "\x1b[K\r\n", "\x1b[K\x1b[J"
LEAVE_S = 1.0
"""How long a terminal that takes nothing is waited for at the end."""


def colors_of_stdout() -> ColorSystem | None:
    """What the terminal can show, by its name and NO_COLOR; None for no styles at all."""
    name = Console().color_system
    return None if name is None else COLOR_SYSTEMS[name]


class Terminal:
    """A terminal's file descriptor as a screen.  Use it as a context manager."""

    def __init__(self, descriptor: int, colors: ColorSystem | None) -> None:
        self.dropped = 0
        """Frames that the terminal had no time for."""
        self._descriptor = descriptor
        self._colors = colors
        self._frame: bytes | None = None
        self._wanted = threading.Condition()
        self._is_over = False
        self._thread = threading.Thread(target=self._write, daemon=True, name="screen")

    def size(self) -> tuple[int, int]:
        """(columns, lines) now."""
        try:
            width, height = os.get_terminal_size(self._descriptor)
        except OSError:
            width = height = 0
        return width or 80, height or 24  # some say 0 for what they do not know

    def show(self, lines: list[Line]) -> None:
        """Let a frame be written, if the last one is."""
        frame = HOME + LINE_END.join(self._text(line) for line in lines) + REST
        with self._wanted:
            if self._frame is not None:
                self.dropped += 1
                return
            self._frame = frame.encode()
            self._wanted.notify()

    def __enter__(self) -> "Terminal":
        self._frame = ENTER.encode()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._wanted:
            self._is_over = True
            self._wanted.notify()
        self._thread.join(LEAVE_S)

    def _text(self, line: Line) -> str:
        return "".join(
            Style.parse(style).render(text, color_system=self._colors) for text, style in line
        )

    def _write(self) -> None:
        while True:
            with self._wanted:
                while self._frame is None and not self._is_over:
                    self._wanted.wait()
                frame = self._frame
                if frame is None:
                    frame = LEAVE.encode()
            is_last = frame == LEAVE.encode()
            with contextlib.suppress(OSError):  # the terminal is gone: its user will not miss it
                while frame:
                    frame = frame[os.write(self._descriptor, frame) :]
            with self._wanted:
                self._frame = None
            if is_last:
                return
