"""Witnesses with sockets, files and processes: begun, killed, robbed of their files."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from lease_worlds import MS, free_addresses
from tickpath.command_witness import witness as command
from tickpath.config import ConfigError
from tickpath.failover.lease import Held, Lease, LeaseError, open_store
from tickpath.failover.witness import WitnessError
from tickpath.failover.witness_server import WitnessServer, WitnessSettings

LONG_NS = 30_000 * MS
PATIENCE_S = 30.0


@contextmanager
def serving(**settings):
    """A witness in a thread."""
    with WitnessServer(WitnessSettings(**settings)) as server:
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.stop()
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as waker:
                waker.sendto(b"wake up", server.address)
            thread.join()


def until(condition) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def store_of(*addresses: str, timeout_ms: int = 5_000, **more):
    return open_store("witness", {"addresses": addresses, "timeout_ms": timeout_ms, **more})


def test_three_begin_together_and_one_loses_its_file(tmp_path):
    addresses = free_addresses(3, socket.SOCK_DGRAM)

    def settings(at: int) -> dict:
        others = tuple(each for each in addresses if each != addresses[at])
        state = str(tmp_path / f"{at}.state")
        return {"listen": addresses[at], "state": state, "others": others, "max_ttl_ms": 1_000}

    with serving(**settings(0)) as one, serving(**settings(1)) as two:
        assert not one.witness.is_voting
        with pytest.raises(LeaseError, match=rf"{addresses[0]} has no say yet.*{addresses[2]} is"):
            store_of(*addresses, timeout_ms=3_000).read()
        with serving(**settings(2)) as three:
            until(lambda: all(each.witness.is_voting for each in (one, two, three)))
            a, b = store_of(*addresses), store_of(*addresses)
            epochs = []
            for turn in range(4):
                store = (a, b)[turn % 2]
                lease = store.acquire("AB"[turn % 2], 1_000 * MS)
                while isinstance(lease, Held):
                    lease = store.acquire("AB"[turn % 2], 1_000 * MS)
                epochs.append(lease.epoch)
                store.record(lease, b"note %d" % lease.epoch)
                store.release(lease)
        os.unlink(tmp_path / "2.state")
        with serving(**settings(2)) as three:
            assert "made; the others tell what it had" in three.findings[0]
            until(lambda: three.witness.is_voting)
            assert three.witness.kept.epoch >= epochs[-1] and epochs == sorted(set(epochs))
            assert three.witness.kept.note == b"note %d" % epochs[-1]
        a.close(), b.close()


def test_a_majority_is_enough_and_less_is_named(tmp_path):
    addresses = free_addresses(3, socket.SOCK_DGRAM)
    states = [str(tmp_path / f"{at}.state") for at in range(3)]
    options = {"new": True, "max_ttl_ms": 60_000}
    with serving(listen=addresses[0], state=states[0], **options):
        with serving(listen=addresses[1], state=states[1], **options):
            store = store_of(*addresses)
            lease = store.acquire("A", LONG_NS)
            assert isinstance(lease, Lease) and store.record(lease, b"x" * 4_096)
            assert isinstance(store.renew(lease), Lease)
            assert store.read().note == b"x" * 4_096
        store.close()
        store = store_of(*addresses, timeout_ms=3_000)
        said = (
            rf"and 1 answered within 3000 ms \({addresses[1]} is silent, {addresses[2]} is silent"
        )
        with pytest.raises(LeaseError, match=said):
            store.renew(lease)
        store.close()


def test_a_disk_that_refuses_lets_the_holder_be(tmp_path, monkeypatch):
    with serving(state=str(tmp_path / "w"), new=True, max_ttl_ms=60_000) as server:
        address = "{}:{}".format(*server.address)
        store = store_of(address)
        lease = store.acquire("A", LONG_NS)

        def refuse(_) -> None:
            raise WitnessError("w: cannot be written: No space left on device")

        monkeypatch.setattr(server._file, "write", refuse)
        assert isinstance(store.renew(lease), Lease)
        quick = store_of(address, timeout_ms=3_000)
        assert isinstance(quick.acquire("B", LONG_NS), Held)
        store.release(lease)
        with pytest.raises(LeaseError, match=rf"{address} its disk refuses"):
            quick.acquire("B", LONG_NS)
        assert server.findings == ["w: cannot be written: No space left on device"]
        monkeypatch.undo()
        after = store.acquire("A", LONG_NS)
        assert isinstance(after, Lease) and after.epoch > lease.epoch
        store.close(), quick.close()


def test_noise_is_counted(tmp_path):
    generator = random.Random(1)
    with serving(state=str(tmp_path / "w"), new=True, max_ttl_ms=60_000) as server:
        store = store_of("{}:{}".format(*server.address))
        lease = store.acquire("A", LONG_NS)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as noise:
            for _ in range(200):
                raw = generator.randbytes(generator.randrange(0, 200))
                noise.sendto(raw, server.address)
                noise.sendto(raw, store._socket.getsockname())
            other = open_store("witness", {
                "addresses": ["{}:{}".format(*server.address)], "cluster": "other",
                "timeout_ms": 20,
            })  # fmt: skip
            with pytest.raises(LeaseError, match="is silent"):
                other.read()
        assert isinstance(store.renew(lease), Lease)
        until(lambda: server.witness.counters["malformed"] > 200)
        store.close(), other.close()


def test_starts_that_are_refused(tmp_path):
    state = str(tmp_path / "w")
    with pytest.raises(WitnessError, match="no such state; a first start takes --new"):
        WitnessServer(WitnessSettings(state=state))
    with pytest.raises(WitnessError, match="--above is for a first start"):
        WitnessServer(WitnessSettings(state=state, above=7))
    with pytest.raises(ConfigError, match="an even number of witnesses"):
        WitnessServer(WitnessSettings(state=state, others=("127.0.0.1:1",)))
    for address in ("127.0.0.1", "127.0.0.1:x", ":1", "127.0.0.1:70000"):
        with pytest.raises(ConfigError, match="it takes ADDRESS:PORT"):
            WitnessServer(WitnessSettings(state=state, others=(address, "127.0.0.1:1")))
    with WitnessServer(WitnessSettings(state=state, new=True, above=40)) as server:
        assert server.witness.kept.epoch == 40
        with pytest.raises(WitnessError, match="another witness has this file open"):
            WitnessServer(WitnessSettings(state=state))
        taken = "{}:{}".format(*server.address)
        with pytest.raises(WitnessError, match=f"{taken}: cannot listen: Address already in use"):
            WitnessServer(WitnessSettings(listen=taken, state=str(tmp_path / "x"), new=True))
    with pytest.raises(WitnessError, match="there is a state already"):
        WitnessServer(WitnessSettings(state=state, new=True))


def test_epochs_go_on_above(tmp_path):
    # Leases are long: whoever gets one too late, by a slow disk, bids anew and higher.
    settings = {"state": str(tmp_path / "w"), "new": True, "above": 40, "max_ttl_ms": 2_000}
    with serving(**settings) as server:
        store = store_of("{}:{}".format(*server.address))
        deadline = time.monotonic() + PATIENCE_S
        while isinstance(lease := store.acquire("A", 2_000 * MS), Held):
            assert time.monotonic() < deadline
        assert lease.epoch == 41
        store.close()


class Process:
    """`tickpath witness` in a process of its own."""

    def __init__(self, address: str, state: Path, *more: str) -> None:
        run = "from tickpath.command_witness import witness; witness()"
        words = ["--listen", address, "--state", str(state), "--max-ttl-ms", "60000", "--json"]
        self.process = subprocess.Popen(
            [sys.executable, "-c", run, *words, *more], stdout=subprocess.PIPE, text=True
        )
        self.ready = json.loads(self.process.stdout.readline())

    def end(self, number: int) -> list[dict]:
        self.process.send_signal(number)
        said, _ = self.process.communicate(timeout=PATIENCE_S)
        return [json.loads(line) for line in said.splitlines()]


def test_killed_and_begun_again_within_a_lease(tmp_path):
    (address,) = free_addresses(1, socket.SOCK_DGRAM)
    process = Process(address, tmp_path / "w", "--new")
    assert process.ready == {
        "schema": "tickpath.witness/1", "ready": True, "address": address, "epoch": 0,
        "holder": None,
    }  # fmt: skip
    a, b = store_of(address), store_of(address)
    lease = a.acquire("A", LONG_NS)
    assert process.end(signal.SIGKILL) == []
    process = Process(address, tmp_path / "w")
    assert (process.ready["epoch"], process.ready["holder"]) == (lease.epoch, "A")
    assert isinstance(b.acquire("B", LONG_NS), Held)
    assert isinstance(a.renew(lease), Lease)
    a.release(lease)
    after = b.acquire("B", LONG_NS)
    assert isinstance(after, Lease) and after.epoch > lease.epoch
    (ended,) = process.end(signal.SIGTERM)
    assert process.process.returncode == 0
    assert ended["epoch"] == after.epoch and ended["counters"]["lease"] >= 2
    a.close(), b.close()


def test_the_command_says_what_is_wrong(tmp_path):
    for words, said in (
        ([], "Missing option '--state'"),
        (["--state", str(tmp_path / "w")], "no such state; a first start takes --new"),
        (["--state", str(tmp_path), "--listen", "here"], "cannot be opened: Is a directory"),
        (["--state", "w", "--others", "a:1"], "an even number of witnesses"),
        (["--state", "w", "--max-ttl-ms", "0"], "is not in the range"),
    ):
        result = CliRunner().invoke(command, words)
        assert result.exit_code == 2 and said in result.output, (words, result.output)
        assert "Traceback" not in result.output
    assert "one node at a time is active" in CliRunner().invoke(command, ["--help"]).output
