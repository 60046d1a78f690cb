"""The command that is run when a role changes."""

import json
import sys
import time
from pathlib import Path

import pytest

from tickpath.failover.notify import Notify

WRITE = """
import json, os, sys
said = {k: v for k, v in os.environ.items() if k.startswith("TICKPATH_")}
with open(sys.argv[1], "a") as file:
    file.write(json.dumps(said) + chr(10))
sys.exit(int(sys.argv[2]))
"""


def command(path: Path, code: int = 0) -> list[str]:
    return [sys.executable, "-S", "-c", WRITE, str(path), str(code)]


def until(done) -> None:
    end = time.monotonic() + 30
    while not done():
        assert time.monotonic() < end
        time.sleep(0.01)


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_it_is_told_what_changed_and_no_credentials(tmp_path, monkeypatch):
    monkeypatch.setenv("TICKPATH_USERNAME", "TRADER")
    monkeypatch.setenv("TICKPATH_PASSWORD", "secret")
    out = tmp_path / "out"
    notify = Notify(command(out), 30)
    notify.tell("a", "STANDBY", 3, "the engine is ready")
    notify.tell("a", "ACTIVE", 4, "no\0body else")
    until(lambda: notify.counters["notify_done"] == 2)
    notify.close()
    told = [{k: v for k, v in each.items() if k.split("_", 1)[1] in KEYS} for each in lines(out)]
    assert told == [
        {
            "TICKPATH_NODE": "a",
            "TICKPATH_ROLE": "STANDBY",
            "TICKPATH_ROLE_BEFORE": "",
            "TICKPATH_EPOCH": "3",
            "TICKPATH_REASON": "the engine is ready",
        },
        {
            "TICKPATH_NODE": "a",
            "TICKPATH_ROLE": "ACTIVE",
            "TICKPATH_ROLE_BEFORE": "STANDBY",
            "TICKPATH_EPOCH": "4",
            "TICKPATH_REASON": "no body else",
        },
    ]
    assert notify.counters == {"notify_done": 2}


KEYS = (
    *("NODE", "ROLE", "ROLE_BEFORE", "EPOCH", "REASON"),
    *("USERNAME", "PASSWORD"),  # which are not there
)


@pytest.mark.parametrize("what", ["code", "none"])
def test_one_that_fails_is_counted(tmp_path, what):
    words = command(tmp_path / "out", 3) if what == "code" else [str(tmp_path / "none")]
    notify = Notify(words, 30)
    notify.tell("a", "ACTIVE", 4, "")
    until(lambda: notify.counters["notify_failed"] == 1)
    notify.close()


def test_one_that_hangs_is_killed_with_its_children(tmp_path):
    pid = tmp_path / "pid"
    notify = Notify(["sh", "-c", f"sleep 1000 & echo $! > {pid}; wait"], 0.5)
    notify.tell("a", "ACTIVE", 4, "")
    until(lambda: notify.counters["notify_timed_out"] == 1)
    notify.close()

    def is_gone() -> bool:
        try:
            return Path(f"/proc/{int(pid.read_text())}/stat").read_text().split()[2] == "Z"
        except (OSError, ValueError):  # killed before it was written
            return True

    until(is_gone)


def test_what_waits_is_bounded_and_nobody_waits_for_it():
    notify = Notify(["sleep", "1000"], 1000)
    for number in range(2_000):
        notify.tell("a", "ACTIVE", number, "x" * 1_000)
    assert 1_000 < notify.counters["notify_dropped"] < 2_000
    notify.close()  # which does not wait for the sleep
    nothing = Notify([], 1)
    nothing.tell("a", "ACTIVE", 1, "")
    nothing.close()
    assert not nothing.counters


def test_what_was_told_last_is_still_run(tmp_path, monkeypatch):
    monkeypatch.setattr("tickpath.failover.notify.END_S", 30.0)
    out = tmp_path / "out"
    notify = Notify(["sh", "-c", f"echo $TICKPATH_ROLE >> {out}"], 30)
    notify.tell("a", "RETIRED", 4, "")
    until(lambda: not notify.close() and out.exists() and out.read_text() == "RETIRED\n")
