"""Processes of a rehearsal end with it, and what it left behind is found."""

import os
import signal
import socket
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


def test_who_listens_is_seen_from_outside(tmp_path):
    code = (
        "import socket, sys, time; kind = getattr(socket, sys.argv[1]);"
        "s = socket.socket(type=kind);"
        "s.bind(('127.0.0.1', 0)); print(s.getsockname()[1]);"
        "kind == socket.SOCK_DGRAM or (sys.stdin.readline(), s.listen()); time.sleep(600)"
    )
    children = Children(tmp_path, {})

    def told(name: str) -> str:
        end = time.monotonic() + 20
        while not children.log(name).endswith("\n") and time.monotonic() < end:
            time.sleep(0.01)
        return f"127.0.0.1:{children.log(name).strip()}"

    def seen(name: str, at: str, kind: int) -> bool:
        end = time.monotonic() + 10
        while not children.listens(name, at, kind) and time.monotonic() < end:
            time.sleep(0.01)
        return children.listens(name, at, kind)

    try:
        children.start("udp", [sys.executable, "-c", code, "SOCK_DGRAM"])
        tcp = children.start("tcp", [sys.executable, "-c", code, "SOCK_STREAM"], wants_input=True)
        at_udp, at_tcp = told("udp"), told("tcp")
        assert seen("udp", at_udp, socket.SOCK_DGRAM)
        assert not children.listens("tcp", at_tcp, socket.SOCK_STREAM), "bound, and does not listen"
        tcp.stdin.write(b"\n")
        tcp.stdin.flush()
        assert seen("tcp", at_tcp, socket.SOCK_STREAM)
    finally:
        children.close()
    assert not children.listens("udp", at_udp, socket.SOCK_DGRAM), "it does not run"


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
