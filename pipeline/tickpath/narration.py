"""What a person sees on stderr while something runs: a status line, a progress bar."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

console = Console(stderr=True, highlight=False)


@contextmanager
def byte_progress(
    title: str,
) -> Iterator[tuple[Callable[[int, int, int], None], Callable[[str], None]]]:
    """(progress, status): a bar over bytes and messages, and what is done before there is one.

    Where stderr is no terminal there is no bar, and what takes a while is a line.  The bar is drawn
    when it is told to, by no thread of its own: that would disturb what is being measured.
    """
    is_terminal = sys.stderr.isatty()
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TextColumn("{task.fields[messages]:,} messages"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        auto_refresh=False,
        disable=not is_terminal,
    )
    task = bar.add_task(title, total=None, messages=0)
    waiting = console.status("")

    def progress(done: int, total: int, messages: int) -> None:
        bar.start()
        bar.update(task, completed=done, total=total or None, messages=messages, refresh=True)

    def status(text: str) -> None:
        if not is_terminal:
            if text:
                print(f"tickpath: {text}", file=sys.stderr)
        elif text:
            waiting.update(text)
            waiting.start()
        else:
            waiting.stop()

    try:
        yield progress, status
    finally:
        waiting.stop()
        bar.stop()


@contextmanager
def count_progress(title: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar over a number of messages; silent where stderr is no terminal."""
    columns: list[Any] = [
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,} of {task.total:,}"),
        TimeRemainingColumn(),
    ]
    with Progress(
        *columns, console=console, transient=True, disable=not sys.stderr.isatty()
    ) as bar:
        task = bar.add_task(title, total=total)
        yield lambda done: bar.update(task, completed=done)
