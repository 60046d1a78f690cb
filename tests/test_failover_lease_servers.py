"""What the stores in etcd, Redis and Kubernetes do when answers get lost, and with odd answers."""

import json
import socket
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lease_doubles import EtcdDouble, KubernetesDouble, RedisDouble
from lease_worlds import MS, DoubleWorld, lease_world
from tickpath.config import ConfigError
from tickpath.failover.lease import Held, Lease, LeaseError, Lost, Stored, open_store
from tickpath.failover.lease_resp import RespError, answer, command

TTL_NS = 50 * MS
SWAPPED = ["etcd double", "kubernetes double"]


@pytest.fixture(params=SWAPPED)
def world(request):
    with lease_world(request.param) as made:
        yield made


def test_a_renewal_without_an_answer_was_done(world):
    a = world.open()
    lease = a.acquire("A", TTL_NS)
    for _ in range(3):
        world.double.trouble = "unsaid"
        lease = a.renew(lease)
        assert isinstance(lease, Lease)
    world.double.trouble = "unsaid"
    assert a.record(lease, b"kept")
    assert world.open().read().note == b"kept"


def test_an_acquisition_without_an_answer_blocks_nobody_for_long(world):
    a, b = world.open(), world.open()
    a.read()
    swap = a._cell.swap

    def unsaid(version, value):
        a._cell.swap = swap
        swap(version, value)
        raise LeaseError("the answer got lost")

    a._cell.swap = unsaid
    with pytest.raises(LeaseError, match="got lost"):
        a.acquire("A", TTL_NS)
    held = b.acquire("B", TTL_NS)
    assert isinstance(held, Held) and held.holder == "A"
    lease = a.acquire("A", TTL_NS)  # nobody acts on the first one: it may take another at once
    assert isinstance(lease, Lease) and lease.epoch > held.epoch
    assert isinstance(a.acquire("A", TTL_NS), Held)
    assert isinstance(b.acquire("B", TTL_NS), Held)


def test_of_two_that_see_it_free_one_gets_it(world):
    a, b = world.open(), world.open()
    lease = a.acquire("A", TTL_NS)
    a.release(lease)
    get = b._cell.get

    def slow():
        found = get()
        b._cell.get = get
        assert isinstance(a.acquire("A", TTL_NS), Lease)  # in between
        return found

    b._cell.get = slow
    held = b.acquire("B", TTL_NS)
    assert isinstance(held, Held) and held.holder == "A" and held.epoch > lease.epoch


def test_an_observer_waits_for_a_whole_lease_since_it_saw_a_change(world):
    a, b = world.open(), world.open()
    lease = a.acquire("A", TTL_NS)
    world.advance(10 * TTL_NS)  # nobody has looked: b cannot know how old it is
    assert b.acquire("B", TTL_NS) == Held("A", lease.epoch, TTL_NS)
    world.advance(TTL_NS - 1)
    assert b.acquire("B", TTL_NS) == Held("A", lease.epoch, 1)
    world.advance(1)
    assert isinstance(b.acquire("B", TTL_NS), Lease)


def test_a_beat_begins_the_wait_again(world):
    a, b = world.open(), world.open()
    lease = a.acquire("A", TTL_NS)
    for _ in range(10):
        b.read()
        world.advance(TTL_NS // 2)
        lease = a.renew(lease)
        assert b.read().holder == "A"


def test_a_write_of_somebody_else_is_a_loss(world):
    a, b = world.open(), world.open()
    lease = a.acquire("A", TTL_NS)
    world.advance(1)
    b.read()
    world.advance(TTL_NS)
    taken = b.acquire("B", TTL_NS)
    assert isinstance(taken, Lease)
    late = Lease(lease.epoch, "A", world.clock(), TTL_NS)  # a clock that stood still
    assert a.renew(late) == Lost(f"epoch {taken.epoch} is B's")
    assert not a.record(late, b"x")


def test_a_silent_server_is_left_for_the_next():
    with TwoEtcds() as (silent, good):
        silent.trouble = "silent"
        settings = {"urls": [silent.url, good.url], "timeout_ms": 150}
        store = open_store("etcd", settings)
        with pytest.raises(LeaseError, match="no answer within 150 ms"):
            store.read()
        store._cell._timeout_s = 20.0  # the silent one is left: the next may take its time
        assert isinstance(store.acquire("A", TTL_NS), Lease)
        store.close()
        settings = {"urls": ["http://127.0.0.1:1", good.url], "timeout_ms": 20_000}
        refused = open_store("etcd", settings)
        assert refused.read().epoch == 2  # at once, within the same call
        refused.close()


class TwoEtcds:
    """Two servers of which one is asked first."""

    def __enter__(self):
        self.pair = EtcdDouble(), EtcdDouble()
        return self.pair

    def __exit__(self, *_):
        for each in self.pair:
            each.close()


@pytest.mark.parametrize(
    ("status", "said", "expected"),
    [
        (503, {"error": "etcdserver: no leader"}, "etcd answers 503 to kv/range: etcdserver: no"),
        (200, b"<html>", "no answer within"),
        (200, [], "etcd answers 200 to kv/range"),
        (200, {"kvs": [{"mod_revision": "3", "value": "!!"}]}, "not a lease of ours"),
        (200, {"kvs": [{"mod_revision": "3"}]}, "not a lease of ours"),
        (200, {"kvs": [{"mod_revision": None}]}, r"not understood: Expected `int`, got `null`"),
        (200, {"kvs": 7}, "not understood: Expected `array`"),
        (200, b"x" * (1 << 21), "an answer of more than"),
    ],
)
def test_answers_of_etcd_that_are_refused(status, said, expected):
    double = EtcdDouble()
    double.answer_to = lambda *_: (status, said)
    timeout_ms = 200 if expected.startswith("no answer") else 20_000
    store = open_store("etcd", {"urls": [double.url], "timeout_ms": timeout_ms})
    with pytest.raises(LeaseError, match=expected) as raised:
        store.acquire("A", TTL_NS)
    assert "\n" not in str(raised.value)
    store.close()
    double.close()


# ---------------------------------------------------------------- Kubernetes


def test_the_object_is_what_other_tools_read():
    with lease_world("kubernetes double") as world:
        a, b = world.open(), world.open()
        lease = a.acquire("node-1", 1_500 * MS)
        (found,) = world.double.objects.values()
        assert found["metadata"]["name"] == "tickpath"
        first = found["spec"]
        assert first["holderIdentity"] == "node-1" and first["leaseDurationSeconds"] == 2
        assert first["leaseTransitions"] == lease.epoch == 1
        assert first["acquireTime"] == first["renewTime"]
        a.renew(lease)
        (found,) = world.double.objects.values()
        assert found["spec"]["acquireTime"] == first["acquireTime"]
        assert found["spec"]["leaseTransitions"] == 1
        a.release(lease)
        (found,) = world.double.objects.values()
        assert found["spec"]["holderIdentity"] == ""
        assert b.acquire("node-2", 1_500 * MS).epoch == 2
        methods = [(method, path.rpartition("/")[2]) for method, path, _ in world.double.requests]
        assert methods[:3] == [("GET", "tickpath"), ("POST", "leases"), ("PUT", "tickpath")]


def test_a_lease_of_client_go_is_respected():
    with lease_world("kubernetes double") as world:
        double = world.double
        double.objects["tickpath"] = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {
                "name": "tickpath",
                "namespace": "default",
                "resourceVersion": "7",
                "labels": {"team": "md"},
            },
            "spec": {
                "holderIdentity": "other-pod_1f",
                "leaseDurationSeconds": 15,
                "acquireTime": "2024-05-01T10:00:00.000000Z",
                "renewTime": "2024-05-01T10:00:00.000000Z",
                "leaseTransitions": 4,
            },
        }
        store = world.open()
        assert store.acquire("A", TTL_NS) == Held("other-pod_1f", 4, 15_000 * MS)
        world.advance(15_000 * MS)
        lease = store.acquire("A", TTL_NS)
        assert isinstance(lease, Lease) and lease.epoch == 5
        assert double.objects["tickpath"]["metadata"]["labels"] == {"team": "md"}
        spec = double.objects["tickpath"]["spec"]  # it takes it back, not knowing the annotation
        double.objects["tickpath"]["metadata"]["resourceVersion"] = "999"
        double.objects["tickpath"]["spec"] = {
            **spec, "holderIdentity": "other-pod_1f", "leaseTransitions": 6,
        }  # fmt: skip
        assert store.renew(lease) == Lost("epoch 6 is other-pod_1f's")


def test_epochs_survive_a_deletion_as_far_as_they_are_known():
    with lease_world("kubernetes double") as world:
        a = world.open()
        for _ in range(3):
            lease = a.acquire("A", TTL_NS)
            a.release(lease)
        world.double.objects.clear()
        assert a.renew(lease) == Lost("epoch 3 is not a lease of this process")
        assert a.acquire("A", TTL_NS).epoch == 4
        assert world.open().read() == Stored(4, "A", b"", 0)


def test_a_token_is_shown_and_its_change_is_seen(tmp_path):
    double = KubernetesDouble()
    double.token = "secret-1"
    file = tmp_path / "token"
    file.write_text("secret-1\n")
    settings = {"url": double.url, "token_file": str(file), "tls": {}, "timeout_ms": 20_000}
    store = open_store("kubernetes", settings)
    assert store.read().epoch == 0
    store.close()
    double.token = "secret-2"
    with pytest.raises(LeaseError, match="answers 401 for Lease default/tickpath: Unauthorized"):
        store.read()
    store.close()
    file.write_text("secret-2")
    assert store.read().epoch == 0
    store.close()
    double.close()


# ---------------------------------------------------------------- Redis


def test_redis_says_where_epochs_could_go_back():
    with lease_world("redis double") as world:
        world.double.config = {b"appendonly": b"no", b"appendfsync": b"everysec"}
        store = world.open()
        store.read()
        assert [each.partition(":")[2].split(",")[0] for each in store.findings] == [
            " appendonly is no", " appendfsync is everysec",
        ]  # fmt: skip
        world.double.config = {}
        other = world.open()
        other.read()
        assert len(other.findings) == 2 and "NOPERM" in other.findings[0]


def test_redis_that_forgot_its_epochs_is_not_believed():
    with lease_world("redis double") as world:
        a = world.open()
        for _ in range(3):
            lease = a.acquire("A", TTL_NS)
            a.release(lease)
        world.double.values.clear()
        assert a.acquire("A", TTL_NS).epoch == 4
        assert world.double.values[b"{tickpath}:epoch"] == b"4"


def test_redis_with_a_key_of_another_use():
    with lease_world("redis double") as world:
        world.double.values[b"{tickpath}:lease"] = b"somebody's"
        world.double.expires[b"{tickpath}:lease"] = world.ns + TTL_NS
        with pytest.raises(LeaseError, match="not a lease of ours"):
            world.open().acquire("A", TTL_NS)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ([], "answers 200 for Lease default/tickpath"),
        ({}, "not understood: Object missing required field `metadata`"),
        ({"metadata": {"resourceVersion": 7}}, "not understood: Expected `str`, got `int`"),
        ({"metadata": {"resourceVersion": "7"}, "spec": []}, "not understood: Expected `object`"),
        (
            {"metadata": {"resourceVersion": "7", "annotations": {"tickpath/lease": "{"}}},
            "tickpath/lease: Input data was truncated",
        ),
    ],
)
def test_answers_of_kubernetes_that_are_refused(said, expected):
    with lease_world("kubernetes double") as world:
        world.double.answer_to = lambda *_: (200, said)
        with pytest.raises(LeaseError, match=expected):
            world.open().read()


@pytest.mark.parametrize("said", [7, None, b"x", [], [1, 2, 3], [b"x", None, None], [None, None]])
def test_answers_of_redis_that_are_refused(said):
    with lease_world("redis double") as world:
        store = world.open()
        store.read()
        world.double._do = lambda _: said
        with pytest.raises(LeaseError, match="not ours"):
            store.read()
        with pytest.raises(LeaseError, match="not ours"):
            store.acquire("A", TTL_NS)


def test_redis_connection_that_was_closed_meanwhile_is_made_again():
    with lease_world("redis double") as world:
        store = world.open()
        lease = store.acquire("A", TTL_NS)
        world.double.drop()
        assert isinstance(store.renew(lease), Lease)
        world.double.trouble = "unsaid"
        with pytest.raises(LeaseError, match="no answer within"):
            store.renew(lease)
        assert isinstance(store.renew(lease), Lease)


def test_redis_password_file(tmp_path):
    with pytest.raises(ConfigError, match="No such file"):
        open_store("redis", {"password_file": str(tmp_path / "none")})


def test_a_server_that_says_errors_or_nonsense():
    for said, expected in (
        (b"-WRONGTYPE not a string\r\n", "WRONGTYPE not a string"),
        (b"HTTP/1.1 400 Bad Request\r\n", "no RESP"),
        (b"", "closed the connection|reset by peer"),
    ):
        with socket.create_server(("127.0.0.1", 0)) as listener:

            def serve(listener=listener, said=said) -> None:
                for _ in range(4):
                    try:
                        connection, _ = listener.accept()
                    except OSError:
                        return
                    with connection:
                        while said and connection.recv(4096):
                            connection.sendall(said)

            thread = threading.Thread(target=serve)
            thread.start()
            address = f"127.0.0.1:{listener.getsockname()[1]}"
            store = open_store("redis", {"address": address, "timeout_ms": 20_000})
            with pytest.raises(LeaseError, match=expected) as raised:
                store.read()
            assert "\n" not in str(raised.value)
            store.close()
            listener.shutdown(socket.SHUT_RDWR)  # the thread does not wait for a closed number
            thread.join()


values = st.recursive(
    st.none() | st.integers(-(2**63), 2**63 - 1) | st.binary(max_size=50),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=8,
)


def encoded(value) -> bytes:
    if isinstance(value, list):
        return b"*%d\r\n" % len(value) + b"".join(encoded(each) for each in value)
    if value is None:
        return b"*-1\r\n"
    if isinstance(value, int):
        return b":%d\r\n" % value
    return b"$%d\r\n" % len(value) + value + b"\r\n"


@given(st.lists(values, max_size=3), st.binary(max_size=40))
def test_resp_there_and_back(value, rest):
    raw = encoded(value)
    assert answer(raw + rest) == (value, len(raw))
    for at in range(len(raw)):
        assert answer(raw[:at]) is None
    words = [b"SET", b"k\r\n", rest]
    assert answer(command(*words)) == (words, len(command(*words)))


@given(st.binary(max_size=60))
def test_resp_of_noise(noise):
    try:
        read = answer(noise)
    except RespError:
        return
    assert read is None or read[1] <= len(noise)


def test_resp_bounds():
    with pytest.raises(RespError, match="is too much"):
        answer(b"$999999999\r\n")
    with pytest.raises(RespError, match="is too much"):
        answer(b"*1\r\n" * 10)
    error, _ = answer(b"-ERR no\r\n")
    assert isinstance(error, RespError) and str(error) == "ERR no"


def test_doubles_answer_as_the_servers_do():
    """The double's oddities are the ones that the real ones have: seen in their answers."""
    double = EtcdDouble()
    try:
        assert double.answer_to("POST", "/v3/kv/range", {"key": "eA=="}, {})[1] == {
            "header": {"revision": "1"}
        }
        failed = double.answer_to(
            "POST", "/v3/kv/txn",
            {"compare": [{"key": "eA==", "target": "MOD", "mod_revision": "9"}], "success": []}, {},
        )  # fmt: skip
        assert "succeeded" not in failed[1]
        json.dumps(failed)
    finally:
        double.close()
    assert isinstance(DoubleWorld("redis").double, RedisDouble)
