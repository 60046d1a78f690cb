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
    """(progress, status): a bar over bytes with messages a second; silent where stderr is no terminal."""
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TextColumn("{task.fields[messages]:,} messages"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not sys.stderr.isatty(),
    )
    task = bar.add_task(title, total=None, messages=0)

    def progress(done: int, total: int, messages: int) -> None:
        bar.update(task, completed=done, total=total or None, messages=messages)

    def status(text: str) -> None:
        bar.update(task, description=text or title)
        if text and not sys.stderr.isatty():
            print(f"tickpath: {text}", file=sys.stderr)

    with bar:
        yield progress, status


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
