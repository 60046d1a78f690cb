"""The lease in Redis 5 or newer: SET NX PX, an INCR for the epoch, Lua for what must be one step.

What it cannot promise, and the witness and etcd can:

* **Epochs can go back** after a crash unless ``appendonly yes`` and ``appendfsync always`` are set
  (`findings` says where they are not, if the server lets us look).  A store never takes an epoch
  below one that it has seen itself, which helps only as long as its process lives.
* **Replication is asynchronous**: behind Sentinel or in a Redis Cluster a promoted replica may not
  know the lease, and grant it again while it runs.  Use one server, or live with it and rely on
  fencing by epoch, which an epoch that goes back defeats.
* **Time is the server's wall clock**: a step forward ends a lease early, while its holder still
  believes; a step back keeps it longer.

Losing the only server ends all acquisitions and renewals: the active stops at its lease's end.
"""

import os
import time
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta

from tickpath.config import ConfigError
from tickpath.failover.lease import (
    Clock,
    Held,
    Lease,
    LeaseError,
    Lost,
    Patience,
    Stored,
    check_node,
    check_note,
)
from tickpath.failover.lease_resp import RespConnection, RespError
from tickpath.failover.witness_server import parse_address

_MILLION = 1_000_000

# The lease is "EPOCH:TOKEN:NODE" and expires; the epoch is a counter; the note is "EPOCH:NOTE".
_ACQUIRE = """
local held = redis.call('GET', KEYS[1])
if held then return {held, redis.call('PTTL', KEYS[1])} end
local epoch = redis.call('INCR', KEYS[2])
if epoch <= tonumber(ARGV[4]) then
  epoch = tonumber(ARGV[4]) + 1
  redis.call('SET', KEYS[2], string.format('%.0f', epoch))
end
redis.call('SET', KEYS[1], string.format('%.0f', epoch)..':'..ARGV[1]..':'..ARGV[2], 'PX', ARGV[3])
return {epoch}
"""
_RENEW = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return 0
"""
_RELEASE = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""
_NOTE = """
local held = redis.call('GET', KEYS[1])
if redis.call('GET', KEYS[2]) ~= ARGV[1] or (held and held ~= ARGV[2]) then return 0 end
redis.call('SET', KEYS[3], ARGV[1]..':'..ARGV[3])
return 1
"""
_READ = (
    "return {redis.call('GET', KEYS[2]), redis.call('GET', KEYS[1]), redis.call('GET', KEYS[3])}"
)


class RedisSettings(Patience, frozen=True):
    """Where Redis is."""

    address: str = "127.0.0.1:6379"
    key: Annotated[str, Meta(min_length=1)] = "tickpath"
    """Its keys are ``{KEY}:lease``, ``{KEY}:epoch`` and ``{KEY}:note``."""
    username: str = ""
    password_file: str = ""
    """A file with the password; empty: none."""
    database: Annotated[int, Meta(ge=0)] = 0


class RedisStore:
    """A `LeaseStore`."""

    Settings = RedisSettings
    needs_looks = False

    def __init__(self, settings: RedisSettings, *, clock: Clock = time.monotonic_ns):
        """Raises `ConfigError` for an address that is none."""
        self.settings = settings
        self.findings: list[str] = []
        """Why epochs could go back, as far as the server says; filled by the first call."""
        self._clock = clock
        self._token = os.urandom(8).hex()
        self._keys = [f"{{{settings.key}}}:{name}" for name in ("lease", "epoch", "note")]
        self._connection = RespConnection(parse_address(settings.address), _opening(settings))
        self._known = 0
        self._is_looked_at = False

    def acquire(self, node: str, ttl_ns: int) -> Lease | Held:
        check_node(node)
        self._begin()
        asked_at_ns = self._clock()
        found = self._run(_ACQUIRE, self._token, node, _milliseconds(ttl_ns), self._known)
        match found:
            case [int(granted)]:
                self._known = max(self._known, granted)
                return Lease(granted, node, asked_at_ns, ttl_ns)
            case [bytes(lease), int(left_ms)]:
                epoch, holder = self._held(lease)
                return Held(holder, epoch, max(left_ms, 0) * _MILLION)
        raise self._not_understood(found)

    def renew(self, lease: Lease) -> Lease | Lost:
        self._begin()
        asked_at_ns = self._clock()
        if self._run(_RENEW, self._value(lease), _milliseconds(lease.ttl_ns)):
            return Lease(lease.epoch, lease.holder, asked_at_ns, lease.ttl_ns)
        stored = self._stored()
        if stored.epoch == lease.epoch and stored.holder is None:
            return Lost("it ran out or was given back")
        return Lost(f"epoch {stored.epoch} is {stored.holder or 'nobody'}'s")

    def release(self, lease: Lease) -> None:
        self._begin()
        self._run(_RELEASE, self._value(lease))

    def record(self, lease: Lease, note: bytes) -> bool:
        self._begin()
        kept = self._run(_NOTE, lease.epoch, self._value(lease), check_note(note))
        return bool(kept)

    def read(self) -> Stored:
        self._begin()
        return self._stored()

    def close(self) -> None:
        self._connection.close()

    def _stored(self) -> Stored:
        found = self._run(_READ)
        match found:
            case [bytes() | None as counted, bytes() | None as lease, bytes() | None as noted]:
                note_epoch, _, note = (noted or b"").partition(b":")
                if (counted or b"0").isdigit() and (note_epoch or b"0").isdigit():
                    epoch = int(counted or 0)
                    self._known = max(self._known, epoch)
                    holder = None if lease is None else self._held(lease)[1]
                    return Stored(epoch, holder, note, int(note_epoch or 0))
        raise self._not_understood(found)

    def _not_understood(self, found: Any) -> LeaseError:
        return LeaseError(
            f"redis at {self.settings.address}: keys {self.settings.key}: not ours: {found!r:.80}"
        )

    def _value(self, lease: Lease) -> str:
        return f"{lease.epoch}:{self._token}:{lease.holder}"

    def _held(self, raw: bytes) -> tuple[int, str]:
        epoch, _, rest = raw.decode("utf-8", "replace").partition(":")
        _, separator, holder = rest.partition(":")
        if not epoch.isdecimal() or not separator:
            raise LeaseError(f"redis key {self._keys[0]}: not a lease of ours: {raw[:40]!r}")
        self._known = max(self._known, int(epoch))
        return int(epoch), holder

    def _begin(self) -> None:
        self._connection.begin(self.settings.timeout_ms / 1e3)
        if not self._is_looked_at:
            self._look()

    def _look(self) -> None:
        """Whether an epoch that was granted survives a crash of the server."""
        self.findings.clear()
        wanted = {"appendonly": "yes", "appendfsync": "always"}
        for name, value in wanted.items():
            try:
                said = self._connection.ask("CONFIG", "GET", name)
            except RespError as error:
                self.findings.append(f"redis: CONFIG GET {name}: {error}")
                continue
            match said:
                case [bytes(), bytes(is_now)] if is_now.decode("latin-1") != value:
                    self.findings.append(
                        f"redis: {name} is {is_now.decode('latin-1')}, not {value}: after a crash "
                        "epochs can be granted again"
                    )
        self._is_looked_at = True

    def _run(self, script: str, *arguments: Any) -> Any:
        try:
            return self._connection.ask("EVAL", script, len(self._keys), *self._keys, *arguments)
        except RespError as error:
            raise LeaseError(f"redis at {self.settings.address}: {error}") from None


def _opening(settings: RedisSettings) -> tuple[tuple[str, ...], ...]:
    """What a connection begins with.  Raises `ConfigError` where the password cannot be read."""
    opening: list[tuple[str, ...]] = []
    if settings.password_file:
        try:
            password = Path(settings.password_file).read_text().strip()
        except OSError as error:
            raise ConfigError(f"{settings.password_file}: {error.strerror}") from None
        name = (settings.username,) if settings.username else ()
        opening.append(("AUTH", *name, password))
    if settings.database:
        opening.append(("SELECT", str(settings.database)))
    return tuple(opening)


def _milliseconds(ns: int) -> int:
    """At least as long, in whole milliseconds."""
    return -(-ns // _MILLION)
