"""Processes of a rehearsal, and the directories that it works in.

The invariant: no process outlives this one.  The kernel kills each when this one dies, however it
dies; `Children.close` kills what is left, the suspended too.  Directories are held by a lock that
the kernel lets go of likewise: those that nobody holds are what an earlier one left when it was
killed, and are removed by the next (`remove_stale`).

Children must be started by the main thread: the kernel watches the thread that started them.
"""

import ctypes
import fcntl
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from tickpath.chaos.error import ChaosError
from tickpath.namespace import enter

TICKPATH = (sys.executable, "-m", "tickpath.cli")
PREFIX = "tickpath-chaos-"
SHARED_MEMORY = Path("/dev/shm")
FRESH_S = 60.0
"""A directory without a lock is being made, and not left, for so long."""
TAIL_BYTES = 4_000
_PR_SET_PDEATHSIG = 1
_WAIT_S = 10.0
_LISTEN = "0A"


def remove_stale(say: Callable[[str], None]) -> int:
    """Remove directories of rehearsals that were killed, and name them; gives how many."""
    found = 0
    for root in {Path(tempfile.gettempdir()), SHARED_MEMORY}:
        for path in sorted(root.glob(f"{PREFIX}*")):
            if path.is_dir() and path.stat().st_uid == os.getuid() and _is_stale(path):
                say(f"{path}: left by a rehearsal that was killed; removed")
                shutil.rmtree(path, ignore_errors=True)
                found += 1
    return found


def _is_stale(path: Path) -> bool:
    try:
        lock = os.open(path / "lock", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return time.time() - path.stat().st_mtime > FRESH_S
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(lock)
    return True


class Workplace:
    """Two directories: ``path`` for files, ``rings`` in shared memory.

    With ``keep`` the first is made there and stays.
    """

    def __init__(self, keep: str | Path | None = None) -> None:
        """Raises `ChaosError` where they cannot be made."""
        self._keeps = keep is not None
        self._locks: list[int] = []
        try:
            if keep is not None:
                Path(keep).mkdir(parents=True, exist_ok=True)
            self.path = self._made(Path(keep or tempfile.gettempdir()))
            shared = SHARED_MEMORY if os.access(SHARED_MEMORY, os.W_OK) else self.path
            self.rings = self._made(shared)
        except OSError as error:
            raise ChaosError(f"{error.filename}: {error.strerror}") from None

    def _made(self, root: Path) -> Path:
        path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=root))
        lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        self._locks.append(lock)
        return path

    def close(self) -> None:
        """Remove what is not to be kept."""
        shutil.rmtree(self.rings, ignore_errors=True)
        if not self._keeps:
            shutil.rmtree(self.path, ignore_errors=True)
        while self._locks:
            os.close(self._locks.pop())


class Children:
    """The processes by name; what they say goes into ``NAME.log``."""

    def __init__(self, directory: Path, environment: Mapping[str, str]) -> None:
        self.directory = directory
        self._environment = {**os.environ, "PYTHONUNBUFFERED": "1", **environment}
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self.starts = 0

    def start(
        self,
        name: str,
        command: Sequence[str],
        namespace: int | None = None,
        limits: Mapping[int, int] | None = None,
        wants_input: bool = False,
    ) -> subprocess.Popen[bytes]:
        """Start a process in a network namespace, with resource limits of its own.

        Raises `ChaosError` where it cannot be started, or one of that name runs.
        """
        if self.is_running(name):
            raise ChaosError(f"{name} runs already")
        parent = os.getpid()

        def begin() -> None:
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:
                os._exit(1)
            os.setpgid(0, 0)  # Ctrl-C is for us, who then end them in order
            if namespace is not None:
                enter(namespace)
            for which, limit in (limits or {}).items():
                resource.setrlimit(which, (limit, limit))

        with open(self.directory / f"{name}.log", "ab") as log:
            try:
                made = subprocess.Popen(
                    command,
                    cwd=self.directory,
                    stdin=subprocess.PIPE if wants_input else subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=self._environment,
                    preexec_fn=begin,
                )
            except (OSError, subprocess.SubprocessError) as error:
                raise ChaosError(f"{name} cannot be started: {error}") from None
        self._running[name] = made
        self.starts += 1
        return made

    def pid(self, name: str) -> int:
        """The number of a process that runs.  Raises `ChaosError`."""
        if not self.is_running(name):
            raise ChaosError(f"{name} does not run: {self.tail(name)}")
        return self._running[name].pid

    def is_running(self, name: str) -> bool:
        """Whether it was started and has not ended; a suspended one runs."""
        process = self._running.get(name)
        return process is not None and process.poll() is None

    def listens(self, name: str, address: str, kind: int) -> bool:
        """Whether a process that runs has its port, by the kernel's table of its namespace."""
        table = "udp" if kind == socket.SOCK_DGRAM else "tcp"
        wanted = f"{int(address.rpartition(':')[2]):04X}"
        with suppress(OSError, ChaosError):
            text = Path(f"/proc/{self.pid(name)}/net/{table}").read_text()
            for words in map(str.split, text.splitlines()[1:]):
                is_open = table == "udp" or words[3] == _LISTEN
                if is_open and words[1].rpartition(":")[2] == wanted:
                    return True
        return False

    def waited_ns(self, name: str) -> int:
        """How long a process that runs has waited for a core so far."""
        with suppress(OSError, ChaosError):
            text = Path(f"/proc/{self.pid(name)}/schedstat").read_text()
            return int(text.split()[1])
        return 0

    def ended(self) -> dict[str, int]:
        """Processes that ended by themselves, with their exit codes."""
        codes = {name: each.poll() for name, each in self._running.items()}
        return {name: code for name, code in codes.items() if code is not None}

    def send(self, name: str, number: signal.Signals) -> None:
        """Send a signal; nothing where the process is gone."""
        process = self._running.get(name)
        if process is not None and process.poll() is None:
            process.send_signal(number)

    def kill(self, name: str) -> None:
        """End a process at once, and wait until it is gone."""
        process = self._running.pop(name, None)
        if process is None:
            return
        if process.poll() is None:
            process.kill()
        with suppress(subprocess.TimeoutExpired):  # it waits for a disk: the kernel ends it later
            process.wait(_WAIT_S)
        if process.stdin is not None:
            process.stdin.close()

    def stop(self, name: str, most_s: float = _WAIT_S) -> int | None:
        """Ask a process to end; kills it where it does not.  Gives its exit code."""
        process = self._running.pop(name, None)
        if process is None:
            return None
        process.send_signal(signal.SIGCONT)
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(most_s)
            return process.returncode
        process.kill()
        with suppress(subprocess.TimeoutExpired):
            process.wait(_WAIT_S)
        return process.returncode

    def log(self, name: str) -> str:
        """All that a process of this name has said."""
        with suppress(OSError):
            return (self.directory / f"{name}.log").read_text(errors="replace")
        return ""

    def tail(self, name: str) -> str:
        """The end of it, in one line."""
        return (
            " | ".join(self.log(name)[-TAIL_BYTES:].strip().splitlines()[-5:]) or "it said nothing"
        )

    def close(self) -> None:
        """End all of them at once."""
        for process in self._running.values():
            if process.poll() is None:
                process.kill()
        for name in list(self._running):
            self.kill(name)
