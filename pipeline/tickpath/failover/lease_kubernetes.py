"""The lease in a Kubernetes `Lease` (coordination.k8s.io/v1), swapped by its resourceVersion.

**Never run on a cluster**: built to the API's documented shape, tested against a double of it.

`lease_cas` says how it works; it is what client-go's leader election does, with an epoch.  The
fields of the spec are kept as other tools read them (`holderIdentity`, `leaseDurationSeconds`
rounded up, `acquireTime`, `renewTime`, `leaseTransitions`); what they cannot say (the exact length,
the process, the note) stands in an annotation.  The epoch is `leaseTransitions`, which rises with
every acquisition here.  Deleting the object begins it anew, so let nobody delete it; a store that
has seen an epoch never takes one below it.

The service account needs `get`, `create` and `update` on `leases` in the namespace.  Times in the
object are for people: no clock is compared.  Use leases of 1 s or more, every renewal is a write to
the cluster's etcd.
"""

import math
import time
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from tickpath.failover.lease import Clock, LeaseError, Patience
from tickpath.failover.lease_cas import CasStore, Value
from tickpath.failover.lease_http import JsonHttp, Tls

ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
ANNOTATION = "tickpath/lease"
SECOND_NS = 1_000_000_000
MAX_EPOCH = (1 << 31) - 1
Name = Annotated[str, Meta(pattern=r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$")]


class KubernetesSettings(Patience, frozen=True):
    """Where the API is, and which object; the defaults are those inside a pod."""

    url: str = "https://kubernetes.default.svc"
    namespace: Name = "default"
    name: Name = "tickpath"
    token_file: str = f"{ACCOUNT}/token"
    """A bearer token; empty: none."""
    tls: Tls = Tls(ca_file=f"{ACCOUNT}/ca.crt")
    timeout_ms: Annotated[int, Meta(ge=1, le=60_000)] = 1_000


class _Metadata(msgspec.Struct, rename="camel"):
    resource_version: str
    annotations: dict[str, str] | None = None


class _Spec(msgspec.Struct, rename="camel"):
    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    lease_transitions: int | None = None


class _Object(msgspec.Struct):
    """What is read of a Lease."""

    metadata: _Metadata
    spec: _Spec = msgspec.field(default_factory=_Spec)


class KubernetesCell:
    """The object; its version is the resourceVersion, empty where it does not exist."""

    def __init__(self, settings: KubernetesSettings):
        self._http = JsonHttp((settings.url,), settings.tls, token_file=settings.token_file)
        self._timeout_s = settings.timeout_ms / 1e3
        self._settings = settings
        leases = f"/apis/coordination.k8s.io/v1/namespaces/{settings.namespace}/leases"
        self._leases, self._path = leases, f"{leases}/{settings.name}"
        self._object: dict[str, Any] = {}
        self._highest = 0

    def begin(self) -> None:
        self._http.begin(self._timeout_s)

    def get(self) -> tuple[str, Value | None]:
        status, found = self._http.request("GET", self._path)
        if status == 404:
            self._object = {}
            return "", None
        self._check(status, found, 200)
        return self._kept(found)

    def swap(self, version: str, value: Value) -> tuple[str, Value] | None:
        body = self._written(version, value)
        if version:
            status, answer = self._http.request("PUT", self._path, body)
        else:
            status, answer = self._http.request("POST", self._leases, body)
        if status in (404, 409):
            return None
        self._check(status, answer, 200, 201)
        return self._kept(answer)

    def next_epoch(self, value: Value | None) -> int:
        epoch = max(self._highest, value.epoch if value is not None else 0) + 1
        if epoch > MAX_EPOCH:
            raise LeaseError(f"Lease {self._settings.name}: leaseTransitions is used up")
        return epoch

    def close(self) -> None:
        self._http.close()

    def _kept(self, found: dict[str, Any]) -> tuple[str, Value]:
        """Version and value of an object, also of one that another tool has written."""
        try:
            read = msgspec.convert(found, _Object)
        except msgspec.ValidationError as error:
            raise LeaseError(f"Lease {self._settings.name} is not understood: {error}") from None
        self._object = found
        holder, epoch = read.spec.holder_identity or "", read.spec.lease_transitions or 0
        raw = (read.metadata.annotations or {}).get(ANNOTATION)
        if raw is None:
            seconds = read.spec.lease_duration_seconds or 0
            value = Value(epoch, holder=holder, ttl_ns=seconds * SECOND_NS)
        else:
            try:
                value = msgspec.json.decode(raw, type=Value)
            except msgspec.DecodeError as error:
                raise LeaseError(f"Lease {self._settings.name}: {ANNOTATION}: {error}") from None
            if value.holder != holder or value.epoch < epoch:  # another tool has taken it
                value = msgspec.structs.replace(
                    value, holder=holder, token="", epoch=max(value.epoch, epoch)
                )
        self._highest = max(self._highest, value.epoch)
        return read.metadata.resource_version, value

    def _written(self, version: str, value: Value) -> dict[str, Any]:
        """The object with a value; what others have put there stays."""
        found = self._object if version else {}
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        metadata: dict[str, Any] = {
            **found.get("metadata", {}),
            "name": self._settings.name,
            "namespace": self._settings.namespace,
        }
        metadata["annotations"] = {
            **(metadata.get("annotations") or {}),
            ANNOTATION: msgspec.json.encode(value).decode(),
        }
        if version:
            metadata["resourceVersion"] = version
        before = found.get("spec", {})
        is_new = value.epoch != (before.get("leaseTransitions") or 0)
        spec = {
            **before,
            "holderIdentity": value.holder,
            "leaseDurationSeconds": max(1, math.ceil(value.ttl_ns / SECOND_NS)),
            "acquireTime": now if is_new else before.get("acquireTime", now),
            "renewTime": now,
            "leaseTransitions": value.epoch,
        }
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": metadata,
            "spec": spec,
        }

    def _check(self, status: int, answer: Any, *expected: int) -> None:
        if status not in expected or not isinstance(answer, dict):
            said = answer.get("message", "") if isinstance(answer, dict) else answer
            raise LeaseError(
                f"Kubernetes answers {status} for Lease {self._settings.namespace}/"
                f"{self._settings.name}: {said}"
            )


class KubernetesStore(CasStore[str]):
    """A `LeaseStore`."""

    Settings = KubernetesSettings

    def __init__(self, settings: KubernetesSettings, *, clock: Clock = time.monotonic_ns):
        """Raises `ConfigError`."""
        super().__init__(KubernetesCell(settings), clock=clock)
