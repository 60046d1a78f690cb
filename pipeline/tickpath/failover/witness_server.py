"""A witness at work: one UDP socket, one file, one thread, and a clock.

    with WitnessServer(settings) as server:
        server.run()                        # until `stop`, from a signal handler or another thread

A datagram is dealt with from its reading to its answer, the disk included, before the next one is
read: a slow disk makes answers late, never wrong.  What waits is bounded by the socket's buffer;
what does not fit there is asked again.
"""

import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from tickpath.config import Component, ConfigError
from tickpath.failover.lease import Clock
from tickpath.failover.witness import MAX_TTL_NS, Step, Witness, WitnessError
from tickpath.failover.witness_file import WitnessFile, create
from tickpath.failover.witness_message import MAX_DATAGRAM, Kept, cluster_id, is_answer

Address = tuple[str, int]
MAX_WAIT_S = 0.5
"""How long `stop` may take to be seen."""
_MILLION = 1_000_000


class WitnessSettings(Component, frozen=True):
    """One witness."""

    listen: str = "127.0.0.1:0"
    """ADDRESS:PORT (UDP, IPv4); whoever can send there can take the lease: a private network."""
    state: str = "witness.state"
    cluster: str = "tickpath"
    others: tuple[str, ...] = ()
    """ADDRESS:PORT of the other witnesses of the cluster; an even number."""
    max_ttl_ms: Annotated[int, Meta(ge=1, le=60_000)] = MAX_TTL_NS // _MILLION
    """The longest lease that is granted; with others, so long a restarted one has no say."""
    new: bool = False
    """A first start: there must be no file yet."""
    above: Annotated[int, Meta(ge=0, le=(1 << 63) - 1)] = 0
    """A first start after a loss: epochs begin above this one."""
    trusts_file: bool = False
    """With others: vote at once.  The file must be the newest there ever was."""


def parse_address(text: str) -> Address:
    """(address, port) of ADDRESS:PORT.  Raises `ConfigError`."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65_535:
        raise ConfigError(f"address {text!r}: it takes ADDRESS:PORT")
    try:
        return socket.gethostbyname(host), int(port)
    except OSError as error:
        raise ConfigError(f"address {text!r}: {error.strerror or error}") from None


class WitnessServer:
    """See the module's text."""

    def __init__(self, settings: WitnessSettings, *, clock: Clock = time.monotonic_ns):
        """Open file and socket.  Raises `ConfigError`, `WitnessError`."""
        if len(settings.others) % 2:
            raise ConfigError(
                f"witness.others: {len(settings.others)} others make an even number of witnesses; "
                "an odd number survives as many losses with one less"
            )
        self.settings = settings
        self.findings: list[str] = []
        """What this start has found, a line each."""
        self._others = [parse_address(each) for each in settings.others]
        self._clock = clock
        self._is_stopped = False
        self._file = self._opened()
        self.findings += self._file.findings
        try:
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.bind(parse_address(settings.listen))
        except OSError as error:
            self._file.close()
            raise WitnessError(f"{settings.listen}: cannot listen: {error.strerror}") from None
        self.address: Address = self._socket.getsockname()
        self.witness = Witness(
            settings.cluster,
            self._file.kept,
            clock(),
            token=int.from_bytes(os.urandom(8), "big") | 1,
            others=len(self._others),
            max_ttl_ns=settings.max_ttl_ms * _MILLION,
            trusts_file=settings.trusts_file,
        )

    def _opened(self) -> WitnessFile:
        """The file, made where this is a first start, or the others will tell what it had."""
        settings, cluster = self.settings, cluster_id(self.settings.cluster)
        exists = Path(settings.state).exists()
        if settings.new and exists:
            raise WitnessError(
                f"{settings.state}: there is a state already; a first start takes another file, "
                "a later one no --new"
            )
        if settings.above and not settings.new:
            raise WitnessError("--above is for a first start: with --new")
        if not exists:
            is_alone = not settings.others or settings.trusts_file
            if is_alone and not settings.new:
                raise WitnessError(
                    f"{settings.state}: no such state; a first start takes --new, and after a loss "
                    "--above with the highest epoch that the order gateway has seen"
                )
            if not settings.new:
                self.findings.append(f"{settings.state}: made; the others tell what it had")
            create(settings.state, cluster, Kept(epoch=settings.above))
        return WitnessFile(settings.state, cluster)

    def run(self, each_round: Callable[[], None] | None = None) -> None:
        """Serve until `stop`."""
        while not self._is_stopped:
            self.serve_once(MAX_WAIT_S)
            if each_round is not None:
                each_round()

    def stop(self) -> None:
        """Let `run` end, at most `MAX_WAIT_S` later."""
        self._is_stopped = True

    def serve_once(self, timeout_s: float) -> None:
        """Deal with a datagram, or with none within the time."""
        witness = self.witness
        for other, question in witness.questions(self._clock()):
            self._send(question, self._others[other])
        deadline = witness.next_deadline
        if deadline is not None:
            timeout_s = min(timeout_s, max(0, deadline - self._clock()) / 1e9)
        self._socket.settimeout(max(timeout_s, 1e-4))
        try:
            datagram, whence = self._socket.recvfrom(MAX_DATAGRAM + 1)
        except TimeoutError:
            return
        except OSError as error:
            witness.counters["receive_failed"] += 1
            if self._is_stopped:
                return
            raise WitnessError(f"{self.settings.listen}: {error.strerror}") from None
        if whence in self._others and not witness.is_voting and is_answer(datagram):
            step = witness.hear(self._others.index(whence), datagram, self._clock())
        else:
            step = witness.receive(datagram, self._clock())
        answer = self._settled(step)
        if answer is not None:
            self._send(answer, whence)

    def _settled(self, step: Step) -> bytes | None:
        """The answer of a step, when what it takes is on disk."""
        if step.write is None:
            return step.answer
        try:
            self._file.write(step.write)
        except WitnessError as error:
            if str(error) not in self.findings:
                self.findings.append(str(error))
            return self.witness.not_written()
        return self.witness.written()

    def _send(self, datagram: bytes, to: Address) -> None:
        try:
            self._socket.sendto(datagram, to)
        except OSError:  # as if it had been lost on the way
            self.witness.counters["send_failed"] += 1

    def close(self) -> None:
        """Close socket and file."""
        self._is_stopped = True
        self._socket.close()
        self._file.close()

    def __enter__(self) -> "WitnessServer":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
