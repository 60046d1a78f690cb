"""A `dpdk` transport in a process of its own, driven from a test.

EAL can be started once in a process, and drivers may end one: so each test has its own child, which
takes commands as JSON lines and answers each with one.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

TIMEOUT_S = 20.0
A, B = "dpdk-a", "dpdk-b"
"""The two ends of a veth pair; a transport has B."""


class RefusedError(Exception):
    """What the child's transport raised: the message of its `TransportError`."""


class Child:
    """The process with the transport."""

    def __init__(
        self, config: dict[str, Any], namespace: str | None = None, under: Sequence[str] = ()
    ) -> None:
        """``under``: a command that runs the child."""
        command = [*under, sys.executable, __file__, json.dumps(config)]
        if namespace:
            command = ["ip", "netns", "exec", namespace, *command]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> "Child":
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        try:
            self.exit_code = self._process.wait(TIMEOUT_S)
        finally:
            self._process.kill()
            self._process.wait()
            self._process.stdout.close()

    def kill(self) -> None:
        """As kill -9 does."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def ask(self, do: str, **arguments: Any) -> Any:
        """Have it do something; gives the answer.  Raises `RefusedError`."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, f"the process ended: exit code {self._process.wait()}"
        answer = json.loads(line)
        if "refused" in answer:
            raise RefusedError(answer["refused"])
        return answer["answer"]

    def open(self, **config: Any) -> dict[str, Any]:
        """Open it, with another configuration than the first where one is given."""
        return self.ask("open", config=config)

    def frames(self, count: int, release: bool = True) -> list[bytes]:
        """Poll until so many frames came, or for a while."""
        return [bytes.fromhex(each) for each in self.ask("frames", count=count, release=release)]

    def send(self, messages: Sequence[bytes]) -> int:
        """Send messages; gives how many went."""
        run = b"".join(len(each).to_bytes(2, "big") + each for each in messages)
        return self.ask("send", run=run.hex())

    @property
    def counters(self) -> dict[str, int]:
        return self.ask("counters")


def why_no_network() -> str | None:
    """Why no network namespaces can be made here."""
    if os.geteuid() != 0:
        return "needs root, for network namespaces"
    return None if shutil.which("ip") else "needs ip (iproute2)"


@contextmanager
def veth() -> Iterator[str]:
    """A namespace with a veth pair `A`, `B` that is up; removed at the end."""
    name = f"tickpath-{os.getpid()}-{time.monotonic_ns()}"
    link = ["ip", "-n", name, "link"]
    try:
        _run("ip", "netns", "add", name)
        _run(*link, "add", A, "type", "veth", "peer", "name", B)
        for end in (A, B):
            # Nothing of the kernel's own is to come between.
            inside(name, "sh", "-c", f"echo 1 >/proc/sys/net/ipv6/conf/{end}/disable_ipv6 || :")
            _run(*link, "set", end, "up")
        yield name
    finally:
        subprocess.run(["ip", "netns", "del", name], capture_output=True)


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout


def inside(namespace: str, *command: str) -> str:
    """Run a command in a namespace; gives what it printed."""
    return _run("ip", "netns", "exec", namespace, *command)


SENDER = """
import socket, sys, time
sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
sock.bind((sys.argv[1], 0))
for n, line in enumerate(sys.stdin):
    sock.send(bytes.fromhex(line))
    if n % 32 == 31:
        time.sleep(0.001)
"""


def transmit(namespace: str, frames: Sequence[bytes]) -> None:
    """Put frames on the wire at `A`, not faster than a small ring takes them."""
    subprocess.run(
        ["ip", "netns", "exec", namespace, sys.executable, "-c", SENDER, A],
        input="\n".join(each.hex() for each in frames),
        text=True,
        check=True,
        timeout=TIMEOUT_S,
    )


# ---------------------------------------------------------------- the child


class Driver:
    """Does in the child what `Child` asks for."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config
        self.transport: Any = None
        self.engine: Any = None

    def open(self, config: dict[str, Any]) -> dict[str, Any]:
        import msgspec

        from tickpath.config import Config
        from tickpath_backends.dpdk import DpdkTransport

        self.transport = DpdkTransport(msgspec.convert(config or self.config, Config))
        self.transport.open()
        return dict(self.transport.environment)

    def close(self) -> None:
        self.transport.close()

    def frames(self, count: int, release: bool) -> list[str]:
        import ctypes

        from tickpath.packet import LINK_ETHERNET

        found: list[str] = []
        wait_s = TIMEOUT_S / 2 if count else 0.3
        end, is_quiet = time.monotonic() + wait_s, False
        while (len(found) < count or not count) and not (is_quiet and time.monotonic() >= end):
            packets = self.transport.poll(1024)
            is_quiet = not len(packets)
            if not count and not is_quiet:
                end = time.monotonic() + wait_s
            for packet in packets:
                assert packet["link"] == LINK_ETHERNET
                assert packet["length"] == packet["wire_length"]
                assert abs(int(packet["ts_recv"]) - time.time_ns()) < TIMEOUT_S * 1e9
                found.append(ctypes.string_at(int(packet["address"]), int(packet["length"])).hex())
            if release:
                self.transport.release()
        return found

    def release(self) -> None:
        self.transport.release()

    def send(self, run: str) -> int:
        return self.transport.send(memoryview(bytes.fromhex(run)))

    def open_files(self) -> int:
        return len(os.listdir("/proc/self/fd"))

    def counters(self) -> dict[str, int]:
        return self.transport.counters

    def findings(self) -> list[str]:
        return self.transport.findings

    def is_finished(self) -> bool:
        return self.transport.is_finished

    def leftovers(self) -> list[tuple[str, str]]:
        from tickpath_backends.dpdk import DpdkTransport

        return DpdkTransport.leftovers()

    def doctor(self) -> list[tuple[str, str, str, str | None]]:
        """What `tickpath doctor` says of leftovers."""
        from tickpath.doctor import CHECKS

        checks = CHECKS["leftovers"]({})
        return [(each.name, each.status, each.detail, each.fix) for each in checks]

    def digests(self, count: int) -> list[str]:
        """An engine's digests, once it was given so many more packets in place."""
        from tickpath import Engine

        self.engine = engine = self.engine or Engine()
        taken = 0
        end = time.monotonic() + 10 * TIMEOUT_S
        while taken < count and time.monotonic() < end:
            packets = self.transport.poll(1024)
            engine.process(packets)
            taken += len(packets)
            self.transport.release()
        return [f"{engine.book_digest:016x}", f"{engine.state_digest:016x}", str(taken)]


def main() -> None:
    from tickpath.backend import TransportError

    driver = Driver(json.loads(sys.argv[1]))
    for line in sys.stdin:
        wanted = json.loads(line)
        try:
            answer = {"answer": getattr(driver, wanted.pop("do"))(**wanted)}
        except TransportError as error:
            answer = {"refused": str(error)}
        print(json.dumps(answer), flush=True)
    if driver.transport is not None:
        driver.close()


if __name__ == "__main__":
    root = Path(__file__).resolve().parents[1]
    sys.path[:0] = [str(root / "pipeline"), str(root / "backends")]
    main()
