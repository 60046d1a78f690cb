"""The right to be active: a lease with an epoch, and the stores that grant it.

A store grants the lease to one node at a time and gives every grant a higher epoch.  The invariant
is that two leases never run at once by their holders' own clocks, and that no epoch is granted
twice.  It holds as long as

* a holder stops at `Lease.ends_ns` by its own monotonic clock, without asking anybody: a store
  counts the lease from when the request reached it, the holder from before it was sent, so the
  holder's end comes first;
* clocks run at nearly the same rate.  With rates between ``1 - r`` and ``1 + r`` a margin of
  ``2 r / (1 + r)`` of the lease is needed; the default of 20 % allows 11 %, real clocks differ by
  less than 0.1 %.

What no lease can prevent is a holder that is stopped between looking at its clock and acting (a
suspended process or machine).  That is why the epoch goes with every order hand-over, and why the
resource that takes orders refuses all below the highest it has seen.

Calls block up to the store's timeout and belong on a control thread.  `LeaseError` means that
nothing is known: an acquisition or a renewal that raised may have been done all the same, which is
safe, since nobody acts on it.
"""

import time
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Annotated, Any, Protocol

import msgspec
from msgspec import Meta

from tickpath.config import Component, ConfigError

Clock = Callable[[], int]
"""Nanoseconds of a monotonic clock."""

MAX_NODE = 32
"""Longest name of a node, in printable ASCII characters without spaces."""
MAX_NOTE = 4096
"""Longest note, in bytes."""
MARGIN_PERCENT = 20


class LeaseError(RuntimeError):
    """A store that could not be reached in time, or cannot do what it was asked."""


class Lease(msgspec.Struct, frozen=True):
    """A right to be active, as its holder knows it."""

    epoch: int
    """From 1; higher than that of every lease granted before."""
    holder: str
    asked_at_ns: int
    """The holder's monotonic clock before the request was sent."""
    ttl_ns: int

    def ends_ns(self, margin_percent: int = MARGIN_PERCENT) -> int:
        """When the holder must have stopped, by the clock that ``asked_at_ns`` is of."""
        return self.asked_at_ns + self.ttl_ns * (100 - margin_percent) // 100


class Held(msgspec.Struct, frozen=True):
    """The lease was not granted: somebody has it, or may still have it."""

    holder: str
    epoch: int
    free_in_ns: int = 0
    """When asking again could help, as far as is known; somebody may renew in between."""


class Lost(msgspec.Struct, frozen=True):
    """The lease is not renewed and never will be: it ran out, or a higher epoch was granted."""

    reason: str


class Stored(msgspec.Struct, frozen=True):
    """What the store knows."""

    epoch: int
    """The highest that was granted, or may have been; 0: none."""
    holder: str | None
    """Who has the lease, or may still have it; None: it is free."""
    note: bytes = b""
    """The last one recorded.  It outlives its epoch, until another is recorded: whoever takes over
    must see what the one before has said (`read` after `acquire`)."""
    note_epoch: int = 0
    """The epoch that the note was recorded in; 0: there is none."""


class LeaseStore(Protocol):
    """What keeps the lease.  One thread at a time calls it; every call takes at most its timeout.

    All calls raise `LeaseError` where the store cannot be reached in time.
    """

    needs_looks: bool
    """Whether a lease's end is counted from when this process last saw it change: whoever wants to
    take over as soon as it has ended has to `read` often before."""

    def acquire(self, node: str, ttl_ns: int) -> Lease | Held:
        """Ask for the lease.  A node of the same name that holds it is a holder like any other:
        the process that it was may still run."""

    def renew(self, lease: Lease) -> Lease | Lost:
        """The same lease from now on.  After `LeaseError` it still runs to its old end."""

    def release(self, lease: Lease) -> None:
        """Give it back; its holder has stopped before.  A lease that is not held: nothing."""

    def record(self, lease: Lease, note: bytes) -> bool:
        """Keep a note, durably, before this returns; False if the lease's epoch is not current."""

    def read(self) -> Stored:
        """What the store knows, as of some moment within the call."""

    def close(self) -> None:
        """Let go of connections; a lease that is held runs out."""


class Patience(Component, frozen=True):
    """How long a store is waited for; part of every store's settings."""

    timeout_ms: Annotated[int, Meta(ge=1, le=60_000)] = 200
    """Of a call, all of its questions together."""


STORES = {
    "witness": "tickpath.failover.witness_store:WitnessStore",
    "etcd": "tickpath.failover.lease_etcd:EtcdStore",
    "redis": "tickpath.failover.lease_redis:RedisStore",
    "kubernetes": "tickpath.failover.lease_kubernetes:KubernetesStore",
}
"""Where each store is.  Its class names its settings' struct as ``Settings``."""


def open_store(
    name: str,
    settings: Mapping[str, Any] | Component,
    *,
    clock: Clock = time.monotonic_ns,
) -> LeaseStore:
    """The store of a name, made from its settings; nothing is asked of it yet.

    Raises `ConfigError` for an unknown name or settings that are not the store's.
    """
    if name not in STORES:
        raise ConfigError(f"lease store {name!r}: there are {', '.join(STORES)}")
    module, _, what = STORES[name].partition(":")
    store = getattr(import_module(module), what)
    if not isinstance(settings, store.Settings):
        try:
            settings = msgspec.convert(settings, store.Settings)
        except msgspec.ValidationError as error:
            said, _, where = str(error).partition(" - at `$.")
            named = f"{name}.{where.rstrip('`')}" if where else name
            raise ConfigError(f"lease store {named}: {said}") from None
    return store(settings, clock=clock)


def check_node(node: str) -> str:
    """The name, where it can be a node's.  Raises `LeaseError`."""
    if not 0 < len(node) <= MAX_NODE or not node.isascii() or not node.isprintable() or " " in node:
        raise LeaseError(
            f"node {node!r}: a name has 1 to {MAX_NODE} printable ASCII characters and no space"
        )
    return node


def check_note(note: bytes) -> bytes:
    """The note, where it is not too long.  Raises `LeaseError`."""
    if len(note) > MAX_NOTE:
        raise LeaseError(f"a note of {len(note)} bytes: {MAX_NOTE} can be kept")
    return note
