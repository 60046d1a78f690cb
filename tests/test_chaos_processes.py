"""Processes of a rehearsal end with it, and what it left behind is found."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tickpath.chaos import processes
from tickpath.chaos.processes import Children, Workplace, remove_stale

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]


def is_there(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


def gone(pid: int) -> bool:
    end = time.monotonic() + 10
    while is_there(pid) and time.monotonic() < end:
        time.sleep(0.01)
    return not is_there(pid)


def test_children_end_with_us_whatever_state_they_are_in(tmp_path):
    children = Children(tmp_path, {})
    pids = [children.start(name, SLEEP).pid for name in ("runs", "is-suspended")]
    children.send("is-suspended", signal.SIGSTOP)
    assert children.is_running("is-suspended")
    children.close()
    assert all(map(gone, pids))


def test_children_end_when_we_are_killed(tmp_path):
    script = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from tickpath.chaos.processes import Children\n"
        f"children = Children(Path({str(tmp_path)!r}), {{}})\n"
        f"print(children.start('child', {SLEEP!r}).pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    ours = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert ours.stdout is not None
    pid = int(ours.stdout.readline())
    assert is_there(pid)
    ours.kill()
    ours.communicate()
    assert gone(pid)


def test_a_process_that_ends_says_why(tmp_path):
    children = Children(tmp_path, {})
    children.start("it", [sys.executable, "-c", "raise SystemExit('no more')"]).wait()
    assert (children.ended(), children.tail("it")) == ({"it": 1}, "no more")


def test_what_a_killed_one_left_is_removed_and_ours_is_not(tmp_path, monkeypatch):
    monkeypatch.setattr(processes.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(processes, "SHARED_MEMORY", tmp_path)
    left = tmp_path / "tickpath-chaos-left"
    left.mkdir()
    (left / "lock").touch()
    place = Workplace()
    said: list[str] = []
    assert remove_stale(said.append) == 1
    assert said == [f"{left}: left by a rehearsal that was killed; removed"]
    assert place.path.is_dir() and place.rings.is_dir()
    place.close()
    assert os.listdir(tmp_path) == []
