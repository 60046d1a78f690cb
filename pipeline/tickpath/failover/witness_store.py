"""The lease store of the witnesses: `WitnessClient` with a UDP socket and a clock.

    store = WitnessStore(WitnessStoreSettings(("10.0.0.1:7401", "10.0.0.2:7401", "10.0.0.3:7401")))

One witness, or an odd number of which a majority must answer.  A call takes one to three times the
way to the witnesses and back, an acquisition a sync of their disks besides.
"""

import contextlib
import os
import random
import socket
import time
from typing import Annotated, Any

from msgspec import Meta

from tickpath.config import ConfigError
from tickpath.failover.lease import Clock, Held, Lease, LeaseError, Lost, Patience, Stored
from tickpath.failover.witness_call import Call, UnreachableError
from tickpath.failover.witness_client import WitnessClient
from tickpath.failover.witness_message import MAX_DATAGRAM
from tickpath.failover.witness_server import parse_address

_MILLION = 1_000_000


class WitnessStoreSettings(Patience, frozen=True):
    """Where the witnesses are, and how they are asked."""

    addresses: tuple[str, ...] = ("127.0.0.1:7401",)
    """ADDRESS:PORT of every witness of the cluster; an odd number."""
    cluster: str = "tickpath"
    timeout_ms: Annotated[int, Meta(ge=1, le=60_000)] = 40
    resend_ms: Annotated[int, Meta(ge=1, le=1_000)] = 4
    """A question without an answer is asked again after so long."""
    draw_back_ms: Annotated[int, Meta(ge=1, le=1_000)] = 4
    """A candidate that was outbid waits up to so long; twice, 4 and 8 times as long later on."""
    seed: int | None = None
    """Of the drawing back, to repeat a run; by default the system's chance."""


class WitnessStore:
    """A `LeaseStore`.  Its token is its own: a lease of another process is not renewed."""

    Settings = WitnessStoreSettings
    needs_looks = False

    def __init__(self, settings: WitnessStoreSettings, *, clock: Clock = time.monotonic_ns):
        """Raises `ConfigError` for an even number of addresses, or one that is none."""
        if len(settings.addresses) % 2 == 0 or len(set(settings.addresses)) < len(
            settings.addresses
        ):
            raise ConfigError(
                f"witness.addresses: {len(settings.addresses)} given; it takes an odd number of "
                "different ones"
            )
        self.settings = settings
        self.malformed = 0
        """Datagrams that were no answers."""
        self._addresses = [parse_address(each) for each in settings.addresses]
        self._index = {address: at for at, address in enumerate(self._addresses)}
        self._clock = clock
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._client = WitnessClient(
            settings.cluster,
            len(self._addresses),
            token=int.from_bytes(os.urandom(8), "big") | 1,
            number=int.from_bytes(os.urandom(4), "big") << 24,
            generator=random.Random(settings.seed),
            timeout_ns=settings.timeout_ms * _MILLION,
            resend_ns=settings.resend_ms * _MILLION,
            draw_back_ns=settings.draw_back_ms * _MILLION,
        )

    def acquire(self, node: str, ttl_ns: int) -> Lease | Held:
        return self._answer(self._client.acquire(node, ttl_ns, self._clock()))

    def renew(self, lease: Lease) -> Lease | Lost:
        return self._answer(self._client.renew(lease, self._clock()))

    def release(self, lease: Lease) -> None:
        self._answer(self._client.release(lease, self._clock()))

    def record(self, lease: Lease, note: bytes) -> bool:
        return self._answer(self._client.record(lease, note, self._clock()))

    def read(self) -> Stored:
        return self._answer(self._client.read(self._clock()))

    def close(self) -> None:
        self._socket.close()

    def _answer(self, call: Call) -> Any:
        """Drive a call to its end."""
        while not call.is_over:
            self._send(call)
            self._hear(call)
            call.pass_time(self._clock())
        self._send(call)  # what a failed acquisition gives back
        self.malformed += call.malformed
        if isinstance(call.error, UnreachableError):
            said = ", ".join(
                f"{self.settings.addresses[each]} {why}" for each, why in call.absent()
            )
            raise LeaseError(f"{call.error} ({said})" if said else str(call.error))
        if call.error is not None:
            raise call.error
        return call.result

    def _send(self, call: Call) -> None:
        for witness, datagram in call.take_output():
            with contextlib.suppress(OSError):  # no way there now: it is asked again
                self._socket.sendto(datagram, self._addresses[witness])

    def _hear(self, call: Call) -> None:
        """Wait for datagrams, at most until the call has something to do."""
        wait_ns = call.next_deadline - self._clock()
        self._socket.settimeout(max(wait_ns, 50_000) / 1e9)
        try:
            datagram, whence = self._socket.recvfrom(MAX_DATAGRAM + 1)
        except TimeoutError:
            return
        except OSError as error:
            raise LeaseError(f"witnesses cannot be asked: {error.strerror}") from None
        witness = self._index.get(whence)
        if witness is None:
            self.malformed += 1
        else:
            call.receive(witness, datagram, self._clock())
