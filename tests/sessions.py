"""Generated sessions as files, made once a test run, and the command line run as a user would."""

import atexit
import ctypes
import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from click.testing import CliRunner, Result

from itch_messages import split
from tickpath.capture import create_capture, open_capture
from tickpath.cli import main
from tickpath.generate import SessionPlan, generate, generate_messages

PLAN = SessionPlan(messages=20_000, symbols=50, seed=11, heartbeat_s=0)
"""The session that most tests replay; all of its symbols trade."""
_PLACE = Path(tempfile.mkdtemp(prefix="tickpath-sessions-"))
atexit.register(shutil.rmtree, _PLACE, ignore_errors=True)


@cache
def session(name: str = "session.pcap", plan: SessionPlan = PLAN) -> Path:
    """The session as a file of that name, whose ending says of which kind."""
    path = _PLACE / f"{abs(hash(plan)):x}-{name}"
    generate(path, plan)
    return path


@cache
def session_messages(plan: SessionPlan = PLAN) -> tuple[bytes, ...]:
    """The session's messages."""
    return tuple(split(b"".join(chunk.tobytes() for chunk in generate_messages(plan))))


class Captured(NamedTuple):
    """A packet of a capture."""

    ts_recv: int
    data: bytes


def packets_of(path: Path) -> list[Captured]:
    """All packets of a capture, copied."""
    with open_capture(path) as capture:
        return [
            Captured(ts, ctypes.string_at(address, length))
            for batch in capture.batches()
            for address, ts, length, *_ in batch.tolist()
        ]


def write_pcap(path: Path, packets: Iterable[Captured]) -> Path:
    """Packets as a pcap file."""
    with create_capture(path) as writer:
        for each in packets:
            writer.write_bytes(each.data, each.ts_recv)
    return path


# ---------------------------------------------------------------- the command line

NARRATION = " ..."
"""Lines on stderr that say what takes a while end so."""


def tickpath(*arguments: Any, code: int = 0) -> Result:
    """Run a command in this process; its exit code must be ``code``, and nothing may be raised."""
    result = CliRunner().invoke(main, [str(each) for each in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, (result.exit_code, result.stderr)
    return result


def replay(*arguments: Any, code: int = 0) -> dict[str, Any]:
    """The object that ``tickpath replay ... --json`` prints, and nothing but that."""
    printed = tickpath("replay", *arguments, "--json", code=code).stdout
    assert printed.count("\n") == 1 and printed.endswith("\n")
    return json.loads(printed)


def said(stderr: str) -> list[str]:
    """Lines on stderr, without narration."""
    return [line for line in stderr.splitlines() if not line.endswith(NARRATION)]


def refused(*arguments: Any) -> str:
    """The one line that a command says when it ends with exit code 2."""
    result = tickpath(*arguments, code=2)
    assert result.stdout == ""
    lines = said(result.stderr)
    assert len(lines) == 1 and lines[0].startswith("tickpath: "), result.stderr
    return lines[0]


def rows(path: Path) -> Iterator[list[str]]:
    """Lines of a CSV whose fields need no quotes, the head first."""
    for line in path.read_text().splitlines():
        assert '"' not in line
        yield line.split(",")


def same(results: Sequence[dict[str, Any]], *names: str) -> None:
    """Some keys of results are equal."""
    for name in names:
        assert len({json.dumps(each[name]) for each in results}) == 1, name


def columns(arrays: dict[str, np.ndarray]) -> list[tuple[int, ...]]:
    """BBO columns as rows."""
    return list(zip(*(each.tolist() for each in arrays.values()), strict=True))
