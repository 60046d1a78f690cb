"""Lease stores of a rehearsal: their servers run by the words made here, and settings fit."""

import subprocess
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from tickpath.chaos import stores
from tickpath.chaos.layout import LOOPBACK, Layout, Places
from tickpath.cli import main
from tickpath.failover.lease import Held, Lease, LeaseError, open_store

START_S = 60.0
TTL_NS = 900_000_000


def places(tmp_path: Path, store: stores.Store, count: int = 1) -> Places:
    layout = Layout(network="loopback", rings="shared", store=store, stores=count)
    return Places(layout, tmp_path, tmp_path, {})


@pytest.mark.parametrize(
    ("store", "count"), [("witness", 1), ("etcd", 1), ("etcd", 3), ("redis", 1)]
)
def test_servers_that_run_by_these_words_grant_a_lease(tmp_path, store, count):
    reason = stores.why_not(store, count)
    if reason:
        pytest.skip(reason)
    at = places(tmp_path, store, count)
    running = {name: begin(at, tmp_path, name, True) for name in at.layout.store_names}
    try:
        said = stores.lease(store, list(at.store.values()), 1_000)
        asked = open_store(said["lease"], said["lease_settings"])
        first = eventually(lambda: asked.acquire("a/1", TTL_NS))
        assert isinstance(first, Lease)
        # What is killed comes back with what it had: another one is told whose lease it is.
        victim = at.layout.store_names[-1]
        running[victim].kill()
        running[victim].wait()
        running[victim] = begin(at, tmp_path, victim, False)
        answer = eventually(lambda: asked.acquire("b/1", TTL_NS))
        # Its lease may be over by then: then it is ours, in a later epoch.
        is_over = isinstance(answer, Lease) and answer.epoch > first.epoch
        assert is_over or (isinstance(answer, Held) and answer.holder == "a/1")
        asked.close()
    finally:
        for each in running.values():
            each.kill()
            each.wait()


def begin(at: Places, directory: Path, name: str, is_new: bool) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        at.store_command(name, is_new),
        cwd=directory,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def eventually(ask):
    end = time.monotonic() + START_S
    while True:
        try:
            return ask()
        except LeaseError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


def test_a_node_is_told_where_its_store_is(tmp_path):
    for store, key in (("witness", "addresses"), ("etcd", "urls"), ("redis", "address")):
        node = places(tmp_path, store)._node("a")["node"]
        assert node["lease"] == store
        assert LOOPBACK in str(node["lease_settings"][key])


def test_redis_has_no_majority():
    assert stores.why_not("redis", 3) is not None
    words = ["chaos", "--store", "redis", "--network", "loopback", "--scenario"]
    said = CliRunner().invoke(main, [*words, "lose-witness-of-three"])
    assert said.exit_code == 2
    assert "redis" in said.output


def test_a_missing_program_is_named(monkeypatch):
    monkeypatch.setenv("PATH", "")
    said = CliRunner().invoke(main, ["chaos", "--store", "etcd", "--network", "loopback"])
    assert said.exit_code == 2
    assert "etcd is not installed; run: apt-get install etcd-server" in said.output
