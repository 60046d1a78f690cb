"""The contract of a lease store, on every store there is: see `lease_worlds`."""

import time

import pytest

from lease_worlds import WORLDS, World, lease_world
from tickpath.config import ConfigError
from tickpath.failover.lease import (
    MAX_NOTE,
    STORES,
    Held,
    Lease,
    LeaseError,
    LeaseStore,
    Lost,
    Stored,
    open_store,
)

PATIENCE_S = 30.0


@pytest.fixture(params=WORLDS)
def world(request):
    with lease_world(request.param) as made:
        yield made


def acquired(world: World, store: LeaseStore, node: str, ttl_ns: int) -> Lease:
    """The lease, asked for until it is granted."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        answer = store.acquire(node, ttl_ns)
        if isinstance(answer, Lease):
            return answer
        assert time.monotonic() < deadline, f"{answer} after {PATIENCE_S} s"
        world.advance(max(1_000_000, min(answer.free_in_ns, ttl_ns) // 4))


def test_nothing_at_first(world):
    assert world.open().read() == Stored(0, None, b"", 0)


def test_one_holder(world):
    a, b = world.open(), world.open()
    lease = a.acquire("A", world.long_ns)
    assert isinstance(lease, Lease)
    assert (lease.holder, lease.ttl_ns) == ("A", world.long_ns) and lease.epoch >= 1
    assert lease.asked_at_ns <= world.clock()
    for _ in range(3):
        held = b.acquire("B", world.long_ns)
        assert isinstance(held, Held)
        assert (held.holder, held.epoch) == ("A", lease.epoch)
        assert 0 < held.free_in_ns <= world.long_ns
    for store in (a, b):
        assert store.read() == Stored(lease.epoch, "A", b"", 0)


def test_two_of_one_name_are_two(world):
    a, b = world.open(), world.open()
    lease = a.acquire("A", world.long_ns)
    assert a.acquire("A", world.long_ns) == Held("A", lease.epoch, pytest.approx(0, abs=10**12))
    assert isinstance(b.acquire("A", world.long_ns), Held)
    assert isinstance(b.renew(lease), Lost)
    assert not b.record(lease, b"mine")
    b.release(lease)
    assert isinstance(a.renew(lease), Lease)


def test_epochs_rise(world):
    stores, epochs = [world.open(), world.open()], []
    for turn in range(6):
        lease = acquired(world, stores[turn % 2], "AB"[turn % 2], world.long_ns)
        epochs.append(lease.epoch)
        stores[turn % 2].release(lease)
    assert epochs == sorted(set(epochs))


def test_renewal_keeps_it(world):
    a, b = world.open(), world.open()
    lease = a.acquire("A", world.long_ns)
    for _ in range(5):
        world.advance(30_000_000)
        renewed = a.renew(lease)
        assert isinstance(renewed, Lease)
        assert (renewed.epoch, renewed.holder) == (lease.epoch, "A")
        assert renewed.asked_at_ns >= lease.asked_at_ns + 30_000_000
        lease = renewed
        assert isinstance(b.acquire("B", world.long_ns), Held)


def test_it_runs_out(world):
    a, b = world.open(), world.open()
    lease = a.acquire("A", world.short_ns)
    after = acquired(world, b, "B", world.long_ns)
    assert after.asked_at_ns >= lease.ends_ns()
    assert after.epoch > lease.epoch
    assert isinstance(a.renew(lease), Lost)
    assert not a.record(lease, b"late")
    held = a.acquire("A", world.short_ns)
    assert isinstance(held, Held) and (held.holder, held.epoch) == ("B", after.epoch)


def test_what_ran_out_is_free(world):
    a = world.open()
    lease = a.acquire("A", world.short_ns)
    deadline = time.monotonic() + PATIENCE_S
    while (stored := a.read()).holder is not None and time.monotonic() < deadline:
        world.advance(5_000_000)
    assert stored == Stored(lease.epoch, None, b"", 0)
    assert world.clock() >= lease.ends_ns()
    assert isinstance(a.renew(lease), Lost)
    assert acquired(world, a, "A", world.long_ns).epoch > lease.epoch


def test_given_back(world):
    a, b = world.open(), world.open()
    lease = a.acquire("A", world.long_ns)
    a.release(lease)
    assert b.read() == Stored(lease.epoch, None, b"", 0)
    after = b.acquire("B", world.long_ns)
    assert isinstance(after, Lease) and after.epoch > lease.epoch
    assert isinstance(a.renew(lease), Lost)
    a.release(lease)  # once more: nothing
    assert isinstance(b.renew(after), Lease)


def test_notes(world):
    a, b = world.open(), world.open()
    lease = a.acquire("A", world.long_ns)
    assert a.record(lease, b"alone") and a.record(lease, b"\0not\xff alone")
    assert b.read() == Stored(lease.epoch, "A", b"\0not\xff alone", lease.epoch)
    assert isinstance(a.renew(lease), Lease)
    a.release(lease)
    after = b.acquire("B", world.long_ns)
    assert b.read() == Stored(after.epoch, "B", b"\0not\xff alone", lease.epoch)
    assert not a.record(lease, b"from the past")
    assert b.record(after, bytes(range(256)) * (MAX_NOTE // 256))
    assert a.read().note == bytes(range(256)) * (MAX_NOTE // 256)
    assert a.read().note_epoch == after.epoch
    assert b.record(after, b"") and a.read().note == b""
    with pytest.raises(LeaseError, match=f"a note of {MAX_NOTE + 1} bytes"):
        b.record(after, bytes(MAX_NOTE + 1))


def test_unreachable_within_the_timeout(world):
    a = world.open()
    lease = a.acquire("A", world.long_ns)
    world.cut()
    for call in (
        lambda: a.renew(lease),
        lambda: a.acquire("A", world.long_ns),
        lambda: a.read(),
        lambda: a.record(lease, b"note"),
        lambda: a.release(lease),
    ):
        began = time.monotonic()
        with pytest.raises(LeaseError) as raised:
            call()
        assert "\n" not in str(raised.value)
        assert time.monotonic() - began < PATIENCE_S
    world.mend()
    after = acquired(world, a, "A", world.short_ns) if not world.is_real else a.read()
    assert after.epoch >= lease.epoch


def test_restart_of_the_server(world):
    a, b = world.open(), world.open()
    lease = a.acquire("A", world.long_ns)
    assert a.record(lease, b"kept")
    world.restart()
    renewed = a.renew(lease)
    assert isinstance(renewed, Lease) and renewed.epoch == lease.epoch
    assert isinstance(b.acquire("B", world.long_ns), Held)
    a.release(renewed)
    after = acquired(world, b, "B", world.long_ns)
    assert after.epoch > lease.epoch
    assert b.read() == Stored(after.epoch, "B", b"kept", lease.epoch)


def test_names(world):
    a = world.open()
    for name in ("", "two words", "ä", "x" * 33, "line\nbreak"):
        with pytest.raises(LeaseError, match="1 to 32 printable ASCII"):
            a.acquire(name, world.long_ns)
    assert isinstance(a.acquire("x" * 32, world.long_ns), Lease)
    assert world.open().read().holder == "x" * 32


def test_stores_by_name():
    assert set(STORES) == {"witness", "etcd", "redis", "kubernetes"}
    for name in STORES:
        settings = {"token_file": "", "tls": {}} if name == "kubernetes" else {}
        if name == "kubernetes":
            settings["url"] = "http://127.0.0.1:1"
        open_store(name, settings).close()
    with pytest.raises(ConfigError, match="there are witness, etcd"):
        open_store("zookeeper", {})
    with pytest.raises(ConfigError, match=r"witness\.timeout_ms: Expected `int` >= 1"):
        open_store("witness", {"timeout_ms": 0})
    with pytest.raises(ConfigError, match="odd number"):
        open_store("witness", {"addresses": ["127.0.0.1:1", "127.0.0.1:2"]})
    with pytest.raises(ConfigError, match="unknown field `adresses`"):
        open_store("witness", {"adresses": []})
    with pytest.raises(ConfigError, match="http://HOST:PORT"):
        open_store("etcd", {"urls": ["127.0.0.1:2379"]})


def test_the_holder_stops_first():
    lease = Lease(3, "A", 1_000, 500)
    assert lease.ends_ns() == 1_400 and lease.ends_ns(10) == 1_450
