"""The gateway's file: what it knows again, torn tails, damage, bounds, and disks that fail."""

import errno
import os
import stat

import pytest

from gateway_hall import stream
from tickpath.failover.gateway_error import GatewayError, StoreError
from tickpath.failover.gateway_file import STEP
from tickpath.failover.gateway_record import HEADER
from tickpath.failover.gateway_store import GatewayStore, Given, Pending
from tickpath.failover.gateway_tail import Tail, split
from tickpath.wire.gateway import NO_POSITION, Outcome


def opened(path, **options) -> GatewayStore:
    return GatewayStore(path, protocol="ouch50", **{"fsync": "none", **options})


def written(path) -> int:
    """A file with one record of each kind; gives where its last record ends."""
    with opened(path) as store:
        store.append_group(b"g" * 128, 1)
        store.append_epoch(3, "a", 2)
        store.append_handed(11, 0, 5, stream(b"one", b"two"), 3)
        store.append_outcome(4, 5, Outcome.THROTTLED, b"two", 4)
        store.append_handed(12, 10, 6, stream(b"three"), 5)
        store.append_outcome(9, NO_POSITION, Outcome.UNKNOWN, b"gone", 6)
        return store._file.end


def test_everything_is_known_again(tmp_path):
    path = tmp_path / "gateway"
    written(path)
    with opened(path) as store:
        assert store.group == b"g" * 128 and (store.epoch, store.holder) == (3, "a")
        assert (store.order_position, store.input_number, store.next_outcome) == (17, 12, 3)
        assert store.tail.since(0) == stream(b"one", b"two", b"three")
        assert list(store.outcomes) == [
            Given(1, 4, 5, Outcome.THROTTLED, b"two"),
            Given(2, 9, NO_POSITION, Outcome.UNKNOWN, b"gone"),
        ]
        # What lies before the last record's taken position was taken then.
        assert list(store.pending) == [Pending(10, 6, b"three")]
        assert (store.counters.settled, store.counters.torn_bytes) == (1, 0)


def test_outcome_ends_the_waiting(tmp_path):
    path = tmp_path / "gateway"
    with opened(path) as store:
        store.append_handed(1, 0, 0, stream(b"one", b"two", b"three"), 1)
        store.append_outcome(0, 5, Outcome.THROTTLED, b"two", 2)
    with opened(path) as store:
        assert [each.message for each in store.pending] == [b"one", b"three"]


def test_file_is_its_owners_and_preallocated(tmp_path):
    path = tmp_path / "gateway"
    written(path)
    status = path.stat()
    assert stat.S_IMODE(status.st_mode) == 0o600 and status.st_size == STEP
    assert status.st_blocks * 512 >= STEP


def test_one_gateway_at_a_time(tmp_path):
    with opened(tmp_path / "gateway"), pytest.raises(GatewayError, match="another gateway has it"):
        opened(tmp_path / "gateway")


def test_torn_tail_is_cut_wherever_it_ends(tmp_path):
    """Every length that the last record can have had when the power went."""
    path = tmp_path / "gateway"
    end = written(path)
    whole = path.read_bytes()[:end]
    with opened(path) as store:
        store.append_handed(13, 17, 7, stream(b"the last"), 7)
        last = store._file.end
    full = path.read_bytes()[:last]
    for cut in range(end, last):
        path.write_bytes(full[:cut] + bytes(100))
        with opened(path) as store:
            assert store.counters.torn_bytes == len(full[end:cut].rstrip(b"\0"))
            assert store.order_position == 17
            store.append_epoch(4, "b", 8)
        with opened(path) as store:
            assert store.epoch == 4 and store.counters.torn_bytes == 0
    assert full.startswith(whole)


def test_damage_in_the_middle_is_named(tmp_path):
    path = tmp_path / "gateway"
    end = written(path)
    raw = bytearray(path.read_bytes())
    raw[end // 2] ^= 1
    path.write_bytes(raw)
    with pytest.raises(GatewayError, match=r"damaged at byte \d+, behind \d records: a whole rec"):
        opened(path)


def test_other_files(tmp_path):
    path = tmp_path / "gateway"
    path.write_bytes(b"something else entirely, and long enough")
    with pytest.raises(GatewayError, match="not a gateway's file"):
        opened(path)
    path.write_bytes(b"other")
    with pytest.raises(GatewayError, match="not a gateway's file"):
        opened(path)
    path.unlink()
    opened(path).close()
    with pytest.raises(GatewayError, match="of 'ouch50', not of 'ouch42'"):
        GatewayStore(path, protocol="ouch42")
    raw = bytearray(path.read_bytes())
    raw[HEADER["version"].offset + 1] = 9
    path.write_bytes(raw)
    with pytest.raises(GatewayError, match="version 9, this program writes 1"):
        opened(path)
    with pytest.raises(GatewayError, match="cannot be opened"):
        opened(tmp_path / "missing" / "gateway")


@pytest.mark.parametrize("length", range(HEADER.length))
def test_header_that_a_crash_left_unfinished(tmp_path, length):
    path = tmp_path / "gateway"
    opened(path).close()
    path.write_bytes(path.read_bytes()[:length] + bytes(50 * (length % 2)))
    with opened(path) as store:
        assert store.order_position == 0
        store.append_epoch(1, "a", 1)
    with opened(path) as store:
        assert store.epoch == 1


def test_bound_of_the_file(tmp_path):
    store = opened(tmp_path / "gateway", max_bytes=4096)
    with pytest.raises(StoreError, match="may not grow beyond 4096 bytes"):
        for _ in range(1000):
            store.append_handed(1, 0, 0, stream(b"x" * 50), 1)
    position, failure = store.order_position, store.failure
    assert position > 0 and failure
    with pytest.raises(StoreError, match="may not grow"):
        store.append_epoch(9, "a", 1)
    store.close()
    with opened(tmp_path / "gateway") as store:
        assert store.order_position == position and store.epoch == 0


@pytest.mark.parametrize("call", ["pwrite", "posix_fallocate", "fdatasync"])
def test_disk_that_fails(tmp_path, monkeypatch, call):
    store = opened(tmp_path / "gateway")
    store._file.size = store._file.end  # so that more room is wanted

    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, call, full)
        with pytest.raises(StoreError, match="No space left on device"):
            store.append_epoch(1, "a", 1)
    with pytest.raises(StoreError):  # for good
        store.append_handed(1, 0, 0, stream(b"x"), 1)
    store.close()


def test_fsync_as_configured(tmp_path, monkeypatch):
    done = []
    sync = os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda file: (done.append(1), sync(file)))
    for policy, expected in (("always", 2), ("interval", 1), ("none", 0)):
        with opened(tmp_path / policy, fsync=policy, fsync_interval_ns=100) as store:
            done.clear()
            store.append_handed(1, 0, 0, stream(b"x"), 0)
            store.flush(0)
            store.append_handed(2, 3, 0, stream(b"y"), 50)
            store.flush(50)
            assert store.next_deadline == {"always": None, "interval": 100, "none": None}[policy]
            store.flush(100)
            assert len(done) == expected


# ---------------------------------------------------------------- the tail


def test_tail_keeps_the_last_bytes():
    tail, whole = Tail(0, 100), b""
    for number in range(200):
        piece = bytes([number]) * (number % 7 + 1)
        tail.append(piece)
        whole += piece
        assert tail.position == len(whole) and tail.since(tail.first) == whole[tail.first :]
        assert len(whole) - tail.first <= 100
    assert tail.since(tail.first - 1) is None and tail.since(tail.position + 1) is None
    assert tail.same(tail.first, whole[tail.first : tail.first + 5])
    assert not tail.same(tail.first, b"\0" * 5)
    tail.confirmed(tail.position - 3)
    assert tail.since(tail.first) == whole[-3:]
    tail.confirmed(tail.position + 10)
    assert tail.since(tail.position) == b""


@pytest.mark.parametrize(
    ("content", "messages"),
    [
        (b"", []),
        (b"\0\1a\0\2bc", [b"a", b"bc"]),
        (b"\0", None),
        (b"\0\0", None),
        (b"\0\2a", None),
        (b"\0\1a\0", None),
    ],
)
def test_split(content, messages):
    assert split(content) == messages
