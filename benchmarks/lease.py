"""From the death of a lease's holder to another's acquisition, by store, with real processes.

    python benchmarks/lease.py [NAME ...] [--runs N] [--out FILE.json]

Two nodes, each a process, and the store's servers, each a process, on this machine.  One node holds
the lease and renews it every fifth of its length; the other asks again and again.  The holder is
killed (SIGKILL) at a random moment between renewals; the time is from before the kill to after the
other's call that returned the lease.  Both are read from CLOCK_MONOTONIC, which is one for all
processes.  What a failover takes besides (promotion, the order gateway) is not in it.

Every acquisition's epoch must be above the last one's, or it is a finding (exit code 1).  Takeovers
while the holder still lives are counted apart (`false_takeovers`): it was kept from renewing, by a
busy machine or a slow disk.  Stores whose server is not installed are left out, with the reason.
"""

import argparse
import json
import os
import random
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar

from tickpath.bench.result import write_result
from tickpath.environment import environment
from tickpath.failover.lease import Held, Lease, LeaseError, LeaseStore, open_store

OUT = Path(__file__).parent / "results" / "lease.json"
SCHEMA = "tickpath.lease/1"
MS = 1_000_000
POLL_NS = 2 * MS
START_S, TAKEOVER_S = 30.0, 60.0

ROWS = {
    "witness 50 ms": ("witness", 1, 50),
    "3 witnesses 50 ms": ("witness", 3, 50),
    "witness 20 ms": ("witness", 1, 20),
    "redis 50 ms": ("redis", 1, 50),
    "etcd 250 ms": ("etcd", 1, 250),
}
"""Name: (store, servers, length of the lease in ms)."""


# ---------------------------------------------------------------- a node


def node(name: str, store_name: str, settings: str, ttl_ms: int) -> None:
    """Ask for the lease until it is granted, say so, renew it until killed."""
    store = open_store(store_name, json.loads(settings))
    ttl_ns = ttl_ms * MS
    lease = _acquired(store, name, ttl_ns)
    print(json.dumps({"at_ns": time.monotonic_ns(), "epoch": lease.epoch}), flush=True)
    print(json.dumps({"asked_at_ns": lease.asked_at_ns}), flush=True)
    due_ns = lease.asked_at_ns
    while True:
        due_ns += ttl_ns // 5
        time.sleep(max(0, due_ns - time.monotonic_ns()) / 1e9)
        try:
            answer = store.renew(lease)
        except LeaseError:
            continue
        if not isinstance(answer, Lease):
            print(json.dumps({"lost": answer.reason}), flush=True)
            return
        lease = answer
        due_ns = max(due_ns, time.monotonic_ns() - ttl_ns)


def _acquired(store: LeaseStore, name: str, ttl_ns: int) -> Lease:
    """As a standby asks: every `POLL_NS`, or when the store says that it could be free."""
    has_said = False
    while True:
        wait_ns = POLL_NS
        try:
            answer = store.acquire(name, ttl_ns)
            if isinstance(answer, Lease):
                return answer
            assert isinstance(answer, Held)
            if not has_said:
                has_said = True
                print(json.dumps({"waits_for": answer.holder}), flush=True)
            wait_ns = min(POLL_NS, answer.free_in_ns)
        except LeaseError:
            pass
        time.sleep(wait_ns / 1e9)


class Node:
    """A process that runs `node`."""

    all: ClassVar[list["Node"]] = []

    def __init__(self, name: str, store: str, settings: dict[str, Any], ttl_ms: int) -> None:
        words = ["--node", name, store, json.dumps(settings), str(ttl_ms)]
        self.process = subprocess.Popen(
            [sys.executable, __file__, *words], stdout=subprocess.PIPE, text=True
        )
        self.all.append(self)

    def said(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("lease.py: a node ended")
        return json.loads(line)

    def kill(self) -> int:
        """Kill it; gives the time before."""
        at_ns = time.monotonic_ns()
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        return at_ns


# ---------------------------------------------------------------- servers


@contextmanager
def servers(store: str, count: int, folder: Path) -> Iterator[dict[str, Any]]:
    """The settings of a store whose servers run."""
    kind = socket.SOCK_DGRAM if store == "witness" else socket.SOCK_STREAM
    addresses = _free(count + (store == "etcd"), kind)
    commands: list[list[str]] = []
    settings: dict[str, Any]
    if store == "witness":
        settings = {"addresses": addresses}
        run = "from tickpath.command_witness import witness; witness()"
        for at, address in enumerate(addresses):
            words = ["--listen", address, "--state", str(folder / f"{at}.state"), "--new"]
            commands.append([sys.executable, "-c", run, *words])
    elif store == "redis":
        settings = {"address": addresses[0]}
        words = ["--port", addresses[0].rpartition(":")[2], "--bind", "127.0.0.1", "--save", ""]
        durable = ["--appendonly", "yes", "--appendfsync", "always", "--dir", str(folder)]
        commands.append(["redis-server", *words, *durable])
    else:
        client, peer = (f"http://{each}" for each in addresses)
        settings = {"urls": [client]}
        words = ["--data-dir", str(folder / "etcd"), "--name", "m", "--log-level", "error"]
        words += ["--listen-client-urls", client, "--advertise-client-urls", client]
        words += ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]
        commands.append(["etcd", *words, "--initial-cluster", f"m={peer}"])
    processes = [
        subprocess.Popen(each, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for each in commands
    ]
    try:
        _await(store, settings)
        yield settings
    finally:
        for each in processes:
            each.kill()
            each.wait()


def _await(store: str, settings: dict[str, Any]) -> None:
    asked = open_store(store, settings)
    deadline = time.monotonic() + START_S
    while True:
        try:
            asked.read()
            break
        except LeaseError as error:
            if time.monotonic() > deadline:
                raise SystemExit(f"lease.py: {store} does not start: {error}") from None
            time.sleep(0.02)
    asked.close()


def _free(count: int, kind: int) -> list[str]:
    sockets = [socket.socket(socket.AF_INET, kind) for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    addresses = ["{}:{}".format(*each.getsockname()) for each in sockets]
    for each in sockets:
        each.close()
    return addresses


def why_not(store: str) -> str | None:
    """Why a store cannot be measured here."""
    program = {"redis": "redis-server", "etcd": "etcd"}.get(store)
    if program is None or shutil.which(program):
        return None
    return f"{program} is not installed: apt-get install {store}-server"


# ---------------------------------------------------------------- measuring


def measure(name: str, runs: int, generator: random.Random) -> dict[str, Any]:
    """A row: the times of all runs, and what was wrong."""
    store, count, ttl_ms = ROWS[name]
    took_ms: list[float] = []
    findings: list[str] = []
    false = 0
    with tempfile.TemporaryDirectory(prefix="tickpath-") as folder:  # noqa: SIM117
        with servers(store, count, Path(folder)) as settings:
            holder = Node("node0", store, settings, ttl_ms)
            last_epoch, _ = holder.said()["epoch"], holder.said()
            while len(took_ms) < runs and false <= 3 * runs:
                other = Node(f"node{len(took_ms) + false + 1}", store, settings, ttl_ms)
                waits = said = other.said()
                if "waits_for" in waits:
                    time.sleep((4 + generator.random()) * ttl_ms / 1e3)  # the kill falls anywhere
                    said = {}
                killed_ns = holder.kill()
                taken = said or other.said()
                if taken["epoch"] <= last_epoch:
                    findings.append(f"epoch {taken['epoch']} after {last_epoch}")
                if other.said()["asked_at_ns"] < killed_ns:
                    false += 1  # the holder was late: the machine was busy, or its disk
                else:
                    took_ms.append((taken["at_ns"] - killed_ns) / MS)
                last_epoch, holder = taken["epoch"], other
            holder.kill()
    if len(took_ms) < runs:
        raise SystemExit(f"lease.py: {name}: the machine is too busy: {false} false takeovers")
    ordered = sorted(took_ms)
    return {
        "name": name,
        "store": store,
        "servers": count,
        "ttl_ms": ttl_ms,
        "renew_ms": ttl_ms / 5,
        "runs": runs,
        "min_ms": round(ordered[0], 2),
        "p50_ms": round(statistics.median(ordered), 2),
        "p90_ms": round(ordered[min(len(ordered) - 1, int(len(ordered) * 0.9))], 2),
        "max_ms": round(ordered[-1], 2),
        "runs_ms": [round(each, 2) for each in took_ms],
        "false_takeovers": false,
        "findings": findings,
    }


def main() -> int:
    """Measure, print, write; gives the exit code."""
    if sys.argv[1:2] == ["--node"]:
        name, store, settings, ttl_ms = sys.argv[2:]
        with suppress(KeyboardInterrupt):
            node(name, store, settings, int(ttl_ms))
        return 0
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(ROWS))
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--seed", type=int, default=1, help="Of the moments of the kills.")
    parser.add_argument("--out", type=Path, default=OUT)
    chosen = parser.parse_args()
    if unknown := set(chosen.names) - set(ROWS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    if chosen.runs < 1:
        parser.error("--runs takes 1 or more")
    generator, rows, skipped = random.Random(chosen.seed), [], {}
    for name in chosen.names or ROWS:
        if reason := why_not(ROWS[name][0]):
            skipped[name] = reason
            print(f"left out: {name}, {reason}")
            continue
        try:
            row = measure(name, chosen.runs, generator)
        finally:
            for each in Node.all:
                each.kill()
            Node.all.clear()
        rows.append(row)
        figures = "".join(f"{row[each]:9.1f}" for each in ("min_ms", "p50_ms", "p90_ms", "max_ms"))
        print(
            f"{name:20}{figures} ms, false {row['false_takeovers']}", *row["findings"], flush=True
        )
    load = os.getloadavg()
    result = {
        "schema": SCHEMA,
        "poll_ms": POLL_NS / MS,
        "load_average": load,
        "rows": rows,
        "skipped": skipped,
        "environment": environment(),
    }
    write_result(chosen.out, result)
    return 1 if any(each["findings"] for each in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
