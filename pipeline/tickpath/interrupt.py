"""Ctrl-C as a flag, so that it takes effect between two pieces of work and nothing is lost.

A second Ctrl-C raises `KeyboardInterrupt` at once, for work that does not come to an end.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Interrupt:
    """Whether Ctrl-C was pressed."""

    is_set = False

    def __call__(self, number: int, frame: Any) -> None:
        if self.is_set:
            raise KeyboardInterrupt
        self.is_set = True


@contextmanager
def interruptible() -> Iterator[Interrupt]:
    """The flag, while signals lead to it; in another thread than the main one it stays unset."""
    interrupt = Interrupt()
    if threading.current_thread() is not threading.main_thread():
        yield interrupt
        return
    previous = signal.signal(signal.SIGINT, interrupt)
    try:
        yield interrupt
    finally:
        signal.signal(signal.SIGINT, previous)
