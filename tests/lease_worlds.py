"""Every lease store with its server, in one shape: what the contract's tests run on.

A world opens stores (one a process that could hold the lease), lets time pass, cuts the way to the
server and restarts it.  Where the server counts time itself, time is real and leases that must not
end during a test are long; elsewhere it is the test's.
"""

import random
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from lease_doubles import EtcdDouble, KubernetesDouble, RedisDouble
from tickpath.failover.lease import LeaseError, LeaseStore, open_store
from tickpath.failover.witness import Witness
from tickpath.failover.witness_call import Call
from tickpath.failover.witness_client import WitnessClient
from tickpath.failover.witness_file import new_file, next_slot, slot_bytes, state_of
from tickpath.failover.witness_message import Kept, cluster_id
from tickpath.failover.witness_server import WitnessServer, WitnessSettings

MS = 1_000_000
CLUSTER = "tickpath"
TIMEOUT_MS = 200


class World:
    """A store's surroundings."""

    is_real = False
    short_ns, long_ns = 50 * MS, 50 * MS

    def __init__(self) -> None:
        self.ns = 10**12
        self.stores: list[LeaseStore] = []

    def clock(self) -> int:
        return time.monotonic_ns() if self.is_real else self.ns

    def advance(self, ns: int) -> None:
        if self.is_real:
            time.sleep(ns / 1e9)
        else:
            self.ns += ns

    def open(self) -> LeaseStore:
        store = self._open()
        self.stores.append(store)
        return store

    def _open(self) -> LeaseStore:
        raise NotImplementedError

    def cut(self) -> None:
        """The server does not answer any more."""
        raise NotImplementedError

    def mend(self) -> None:
        """It does again."""
        raise NotImplementedError

    def restart(self) -> None:
        """The server is killed and begins again from what it has kept."""
        raise NotImplementedError

    def close(self) -> None:
        for each in self.stores:
            each.close()


class DirectStore:
    """A store of witnesses in this process, by the test's clock; the way there takes no time."""

    def __init__(self, world: "DirectWorld") -> None:
        self.world = world
        self._client = WitnessClient(
            CLUSTER,
            world.count,
            token=random.getrandbits(63) | 1,
            number=random.getrandbits(56),
            generator=random.Random(1),
            timeout_ns=20 * MS,
            resend_ns=4 * MS,
            draw_back_ns=4 * MS,
        )

    def acquire(self, node: str, ttl_ns: int) -> Any:
        return self._run(self._client.acquire(node, ttl_ns, self.world.ns))

    def renew(self, lease: Any) -> Any:
        return self._run(self._client.renew(lease, self.world.ns))

    def release(self, lease: Any) -> None:
        self._run(self._client.release(lease, self.world.ns))

    def record(self, lease: Any, note: bytes) -> bool:
        return self._run(self._client.record(lease, note, self.world.ns))

    def read(self) -> Any:
        return self._run(self._client.read(self.world.ns))

    def close(self) -> None:
        pass

    def _run(self, call: Call) -> Any:
        while not call.is_over:
            for index, datagram in call.take_output():
                said = self.world.ask(index, datagram)
                if said is not None:
                    call.receive(index, said, self.world.ns)
            if not call.is_over:
                self.world.ns = max(self.world.ns, call.next_deadline)
                call.pass_time(self.world.ns)
        for index, datagram in call.take_output():
            self.world.ask(index, datagram)
        if call.error is not None:
            raise call.error
        return call.result


class DirectWorld(World):
    """Witnesses without sockets; they trust their files, so a restart is at once."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count
        self.is_cut = False
        self.disks = [new_file(cluster_id(CLUSTER), Kept()) for _ in range(count)]
        self.generations = [1] * count
        self.witnesses = [self._begun(each) for each in range(count)]

    def _open(self) -> LeaseStore:
        return DirectStore(self)

    def ask(self, index: int, datagram: bytes) -> bytes | None:
        if self.is_cut:
            return None
        step = self.witnesses[index].receive(datagram, self.ns)
        if step.write is None:
            return step.answer
        self.put(index, step.write)
        return self.witnesses[index].written()

    def put(self, index: int, kept: Kept) -> None:
        at, disk = next_slot(self.generations[index]), self.disks[index]
        self.generations[index] += 1
        raw = slot_bytes(kept, self.generations[index])
        self.disks[index] = disk[:at] + raw + disk[at + len(raw) :]

    def cut(self) -> None:
        self.is_cut = True

    def mend(self) -> None:
        self.is_cut = False

    def restart(self) -> None:
        self.witnesses = [self._begun(each) for each in range(self.count)]

    def _begun(self, index: int) -> Witness:
        _, kept, _ = state_of(self.disks[index], cluster_id(CLUSTER), "disk")
        return Witness(CLUSTER, kept, self.ns, token=1, others=self.count - 1, trusts_file=True)


class SocketWorld(World):
    """Witnesses with sockets and files, in threads of this process."""

    is_real = True
    short_ns, long_ns = 200 * MS, 30_000 * MS

    def __init__(self, count: int, directory: Path) -> None:
        super().__init__()
        self.directory = directory
        self.addresses = free_addresses(count, socket.SOCK_DGRAM)
        self.servers: list[tuple[WitnessServer, threading.Thread]] = []
        self._begin(new=True)

    def _begin(self, *, new: bool = False) -> None:
        for index, address in enumerate(self.addresses):
            settings = WitnessSettings(
                listen=address,
                state=str(self.directory / f"{index}.state"),
                others=tuple(each for each in self.addresses if each != address),
                max_ttl_ms=60_000,
                new=new,
                trusts_file=True,
            )
            server = WitnessServer(settings)
            thread = threading.Thread(target=server.run, daemon=True)
            thread.start()
            self.servers.append((server, thread))

    def _open(self) -> LeaseStore:
        settings = {"addresses": self.addresses, "timeout_ms": 25 * TIMEOUT_MS, "resend_ms": 20}
        return open_store("witness", settings)

    def cut(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as waker:
            for server, _ in self.servers:
                server.stop()
                waker.sendto(b"wake up", server.address)
        for server, thread in self.servers:
            thread.join()
            server.close()
        self.servers.clear()
        for each in self.stores:
            each._client._timeout_ns = TIMEOUT_MS * MS

    def mend(self) -> None:
        for each in self.stores:
            each._client._timeout_ns = 25 * TIMEOUT_MS * MS
        self._begin()

    def restart(self) -> None:
        self.cut()
        self.mend()

    def close(self) -> None:
        super().close()
        self.cut()


class DoubleWorld(World):
    """A double of a server; the store counts by the test's clock, and so does the double."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.double: Any = {
            "etcd": EtcdDouble,
            "kubernetes": KubernetesDouble,
            "redis": lambda: RedisDouble(lambda: self.ns),
        }[name]()

    def _open(self) -> LeaseStore:
        settings: dict[str, Any] = {"timeout_ms": 25 * TIMEOUT_MS}
        if self.name == "etcd":
            settings["urls"] = [self.double.url]
        elif self.name == "redis":
            settings["address"] = self.double.address
        else:
            settings |= {"url": self.double.url, "token_file": "", "tls": {}}
        return open_store(self.name, settings, clock=self.clock)

    def cut(self) -> None:
        self.double.trouble = "silent"
        self._wait_for(TIMEOUT_MS)

    def mend(self) -> None:
        self.double.trouble = ""
        self._wait_for(25 * TIMEOUT_MS)

    def _wait_for(self, timeout_ms: int) -> None:
        """Let stores wait so long, while they wait in vain or not."""
        for each in self.stores:
            if self.name == "redis":
                each.settings = msgspec.structs.replace(each.settings, timeout_ms=timeout_ms)
            else:
                each._cell._timeout_s = timeout_ms / 1e3

    def restart(self) -> None:
        for each in self.stores:
            each.close()

    def close(self) -> None:
        super().close()
        self.double.close()


class ProcessWorld(World):
    """A real server in a process of its own, with a directory of its own."""

    program = ""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self.directory = directory
        (self.address,) = free_addresses(1, socket.SOCK_STREAM)
        self.process: subprocess.Popen | None = None
        self.mend()

    def _command(self) -> list[str]:
        raise NotImplementedError

    def mend(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            for each in self.stores:
                self._wait_for(each, 25 * TIMEOUT_MS)
            return
        self.process = subprocess.Popen(
            self._command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        store, deadline = self._open(), time.monotonic() + 60
        while True:
            try:
                store.read()
                store.close()
                return
            except LeaseError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    pytest.skip(f"{self.program} does not start here")
                time.sleep(0.02)

    def cut(self) -> None:
        self.process.send_signal(signal.SIGSTOP)
        for each in self.stores:
            self._wait_for(each, TIMEOUT_MS)

    def _wait_for(self, store: Any, timeout_ms: int) -> None:
        """Let a store wait so long, while it waits in vain or not."""
        raise NotImplementedError

    def restart(self) -> None:
        self._kill()
        self.mend()

    def close(self) -> None:
        super().close()
        self._kill()

    def _kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


class EtcdWorld(ProcessWorld):
    """etcd itself; the observers count time, so it is the test's."""

    program = "etcd"

    def _command(self) -> list[str]:
        client = f"http://{self.address}"
        if not hasattr(self, "_peer"):
            (self._peer,) = free_addresses(1, socket.SOCK_STREAM)
        peer = f"http://{self._peer}"
        return [
            shutil.which("etcd"),
            *("--data-dir", str(self.directory / "etcd"), "--name", "m"),
            *("--listen-client-urls", client, "--advertise-client-urls", client),
            *("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer),
            *("--initial-cluster", f"m={peer}", "--log-level", "error"),
        ]

    def _open(self) -> LeaseStore:
        settings = {"urls": [f"http://{self.address}"], "timeout_ms": 25 * TIMEOUT_MS}
        return open_store("etcd", settings, clock=self.clock)

    def _wait_for(self, store: Any, timeout_ms: int) -> None:
        store._cell._timeout_s = timeout_ms / 1e3


class RedisWorld(ProcessWorld):
    """Redis itself, with the durability that the store asks for."""

    program = "redis-server"
    is_real = True
    short_ns, long_ns = 200 * MS, 30_000 * MS

    def _command(self) -> list[str]:
        return [
            shutil.which("redis-server"),
            *("--port", self.address.rpartition(":")[2], "--bind", "127.0.0.1"),
            *("--dir", str(self.directory), "--appendonly", "yes", "--appendfsync", "always"),
            *("--save", "", "--daemonize", "no"),
        ]

    def _open(self) -> LeaseStore:
        return open_store("redis", {"address": self.address, "timeout_ms": 25 * TIMEOUT_MS})

    def _wait_for(self, store: Any, timeout_ms: int) -> None:
        store.settings = msgspec.structs.replace(store.settings, timeout_ms=timeout_ms)


WORLDS = {
    "witness": lambda _: DirectWorld(1),
    "witnesses": lambda _: DirectWorld(3),
    "witness sockets": lambda directory: SocketWorld(1, directory),
    "witnesses sockets": lambda directory: SocketWorld(3, directory),
    "etcd double": lambda _: DoubleWorld("etcd"),
    "redis double": lambda _: DoubleWorld("redis"),
    "kubernetes double": lambda _: DoubleWorld("kubernetes"),
    "etcd": lambda directory: EtcdWorld(directory),
    "redis": lambda directory: RedisWorld(directory),
}
_PROGRAMS = {"etcd": "etcd", "redis": "redis-server"}


@contextmanager
def lease_world(name: str) -> Iterator[World]:
    """A world by its name; a test is skipped where its server is not installed."""
    program = _PROGRAMS.get(name)
    if program and not shutil.which(program):
        pytest.skip(f"{program} is not installed (Debian: {name}-server)")
    with tempfile.TemporaryDirectory() as directory:
        world = WORLDS[name](Path(directory))
        try:
            yield world
        finally:
            world.close()


def free_addresses(count: int, kind: int) -> list[str]:
    """Addresses that nobody listened at just now."""
    sockets = [socket.socket(socket.AF_INET, kind) for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
    finally:
        for each in sockets:
            each.close()
