"""The lease in etcd 3.4 or newer: one key, compared and swapped, by its JSON gateway.

`lease_cas` says how; etcd's own leases have whole seconds and are not used.  The epoch is the
revision at which the key was acquired, which only rises as long as the cluster is not restored
from a backup: after that, raise the revision (`etcdutl snapshot restore --bump-revision`).  Reads
are linearizable, etcd's default; a member without a majority answers nothing, which is a
`LeaseError` here.

Use leases of 250 ms or more: every renewal is a write that a majority of disks must sync.

The gateway leaves out of its JSON what is false, 0 or empty, gives 64-bit numbers as text, and
wants keys and values in base64.
"""

import time
from base64 import b64decode, b64encode
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from tickpath.failover.lease import Clock, LeaseError, Patience
from tickpath.failover.lease_cas import CasStore, Value
from tickpath.failover.lease_http import JsonHttp, Tls


class EtcdSettings(Patience, frozen=True):
    """Where etcd is."""

    urls: tuple[str, ...] = ("http://127.0.0.1:2379",)
    """Client URLs of its members; one is used until it fails."""
    key: Annotated[str, Meta(min_length=1)] = "tickpath/lease"
    tls: Tls = Tls()


class _KeyValue(msgspec.Struct):
    mod_revision: int
    value: str = ""


class _Range(msgspec.Struct):
    """What is read of a range's answer."""

    kvs: tuple[_KeyValue, ...] = ()


class _Header(msgspec.Struct):
    revision: int


class _Txn(msgspec.Struct):
    """What is read of a transaction's answer."""

    header: _Header
    succeeded: bool = False


A = TypeVar("A", _Range, _Txn)


class EtcdCell:
    """The key; its version is the modification revision, 0 where it does not exist."""

    def __init__(self, settings: EtcdSettings):
        self._http = JsonHttp(settings.urls, settings.tls)
        self._timeout_s = settings.timeout_ms / 1e3
        self._name = settings.key
        self._key = b64encode(settings.key.encode()).decode()

    def begin(self) -> None:
        self._http.begin(self._timeout_s)

    def get(self) -> tuple[int, Value | None]:
        found = self._ask("range", {"key": self._key}, _Range).kvs
        if not found:
            return 0, None
        version = found[0].mod_revision
        try:
            value = msgspec.json.decode(b64decode(found[0].value), type=Value)
        except (msgspec.DecodeError, ValueError) as error:
            raise LeaseError(
                f"etcd key {self._name}: not a lease of ours: {error}; another key, or delete it"
            ) from None
        return version, _known(version, value)

    def swap(self, version: int, value: Value) -> tuple[int, Value] | None:
        encoded = b64encode(msgspec.json.encode(value)).decode()
        unchanged = {"key": self._key, "target": "MOD", "mod_revision": str(version)}
        put = {"requestPut": {"key": self._key, "value": encoded}}
        answer = self._ask("txn", {"compare": [unchanged], "success": [put]}, _Txn)
        if not answer.succeeded:
            return None
        written = answer.header.revision
        return written, _known(written, value)

    def next_epoch(self, value: Value | None) -> int:
        return 0  # the revision of the write

    def close(self) -> None:
        self._http.close()

    def _ask(self, what: str, body: dict[str, Any], kind: type[A]) -> A:
        status, answer = self._http.request("POST", f"/v3/kv/{what}", body)
        if status != 200 or not isinstance(answer, dict):
            said = answer.get("error", answer) if isinstance(answer, dict) else answer
            raise LeaseError(f"etcd answers {status} to kv/{what}: {said}")
        try:
            return msgspec.convert(answer, kind, strict=False)  # numbers come as text
        except msgspec.ValidationError as error:
            raise LeaseError(f"etcd's answer to kv/{what} is not understood: {error}") from None


def _known(version: int, value: Value) -> Value:
    """The value with its epoch: that of its first version, which is this one if it has none."""
    return value if value.epoch else msgspec.structs.replace(value, epoch=version)


class EtcdStore(CasStore[int]):
    """A `LeaseStore`."""

    Settings = EtcdSettings

    def __init__(self, settings: EtcdSettings, *, clock: Clock = time.monotonic_ns):
        """Raises `ConfigError`."""
        super().__init__(EtcdCell(settings), clock=clock)
