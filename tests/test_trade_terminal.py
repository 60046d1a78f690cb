"""Frames onto a pseudo-terminal: nothing is waited for, nothing is left behind."""

import fcntl
import os
import pty
import struct
import termios
import threading
import time
from collections.abc import Callable

import pytest
from rich.color import ColorSystem

from tickpath.trade import terminal as module
from tickpath.trade.terminal import ENTER, HOME, LEAVE, Terminal

FRAME = [[("first ", "bold"), ("line", "")], [("second", "green")]]
PATIENCE_S = 60.0


class Pty:
    """A pseudo-terminal that somebody reads, or nobody."""

    def __init__(self) -> None:
        self.master, self.slave = pty.openpty()
        size = struct.pack("HHHH", 30, 101, 0, 0)
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, size)
        self.raw = b""
        self._reader = threading.Thread(target=self._read, daemon=True)

    def read_on(self) -> None:
        self._reader.start()

    def _read(self) -> None:
        try:
            while True:
                # The pseudo-terminal itself puts a carriage return before each line feed.
                self.raw = (self.raw + os.read(self.master, 1 << 16)).replace(b"\r\r", b"\r")
        except OSError:
            return

    def wait_for(self, raw: bytes, again: Callable[[], None] = lambda: None) -> None:
        """``again`` is done until it has come: a frame may be dropped while nobody reads."""
        end = time.monotonic() + PATIENCE_S
        while raw not in self.raw:
            assert time.monotonic() < end, self.raw
            time.sleep(0.001)
            again()

    def close(self) -> None:
        for each in (self.slave, self.master):
            os.close(each)


@pytest.fixture
def screen():
    made = Pty()
    yield made
    made.close()


def test_a_frame_and_the_end(screen):
    screen.read_on()
    with Terminal(screen.slave, ColorSystem.STANDARD) as terminal:
        assert terminal.size() == (101, 30)
        screen.wait_for(ENTER.encode())
        for _ in range(3):
            terminal.show(FRAME)
            screen.wait_for(b"second", lambda: terminal.show(FRAME))
            time.sleep(0.001)
    screen.wait_for(LEAVE.encode())
    frame = screen.raw.split(HOME.encode())[1]
    assert frame.startswith(b"\x1b[1mfirst \x1b[0mline\x1b[K\r\n\x1b[32msecond\x1b[0m\x1b[K\x1b[J")
    assert screen.raw.endswith(LEAVE.encode())


def test_without_colors(screen):
    screen.read_on()
    with Terminal(screen.slave, None) as terminal:
        screen.wait_for(ENTER.encode())
        time.sleep(0.01)
        terminal.show(FRAME)
        screen.wait_for(b"first line\x1b[K\r\nsecond", lambda: terminal.show(FRAME))


def test_a_terminal_that_takes_nothing_costs_frames_and_not_time(screen, monkeypatch):
    monkeypatch.setattr(module, "LEAVE_S", 0.05)
    large = [[("x" * 100, "")]] * 200
    with Terminal(screen.slave, None) as terminal:
        for _ in range(1_000):
            terminal.show(large)
        assert terminal.dropped > 900
    screen.read_on()  # and the thread can end
    terminal._thread.join(PATIENCE_S)
    assert not terminal._thread.is_alive()


def test_a_terminal_that_is_gone():
    descriptor = os.open(os.devnull, os.O_RDONLY)
    with Terminal(descriptor, None) as terminal:
        assert terminal.size() == (80, 24)
        terminal.show(FRAME)
    terminal._thread.join(PATIENCE_S)
    assert not terminal._thread.is_alive()
    os.close(descriptor)
