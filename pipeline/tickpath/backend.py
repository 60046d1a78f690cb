"""Backends by name: a transport that lends packets, and an executor that runs the stages.

Transports and executors are found through the entry points ``tickpath.transports`` and
``tickpath.executors``, so anyone can add one; this package never imports theirs.  The name a user
gives is a pair: an executor's name means the `file` transport with that executor, a transport's
name means that transport with the `software` executor.
"""

from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from tickpath.config import Config

if TYPE_CHECKING:
    from tickpath.engine import Engine

REFERENCE_TRANSPORT, REFERENCE_EXECUTOR = "file", "software"
PLAYER = "veth"
RUN = "; run: "
"""What stands between the reason and the command in the answer of a ``why_not``."""


class BackendError(RuntimeError):
    """A backend that does not exist or cannot run here; the message says why and what to do."""


class TransportError(BackendError):
    """A live transport that cannot start or go on; one line: what, where, what to do."""


class Native(NamedTuple):
    """A live transport as machine code: what `tickpath.live` calls without crossing into Python.

    Addresses of C functions (``native/transport.h``) and of what they get as first argument::

        uint64_t poll(void *transport, struct packet *packets, uint64_t most);
        void     release(void *transport);
        uint64_t send(void *transport, const uint8_t *messages, uint64_t length);

    ``poll`` lends up to ``most`` packets, which stay in place until ``release``; it never blocks.
    ``send`` takes whole messages, each behind a 2-byte big-endian length, and sends each as a
    datagram; it gives how many were sent and counts those for which there was no room.
    """

    transport: int
    poll: int
    release: int
    send: int


class Transport(Protocol):
    """Where packets come from.  Packets are lent in place by `poll` and given back by `release`.

    Those that read files are made with the files' paths; live ones, which have `is_live` set and
    are a `LiveTransport`, with the `Config`.
    """

    counters: Mapping[str, int]
    findings: Sequence[str]
    is_live: bool

    @staticmethod
    def why_not() -> str | None:
        """Why it cannot run here, as ``reason; run: command that mends it``; None where it can."""

    def open(self) -> None:
        """Take hold of its resources.  Raises the transport's own error."""

    def poll(self, most: int) -> np.ndarray:
        """Up to ``most`` lent `PACKET` records; none when nothing is there yet."""

    def release(self) -> None:
        """Give back what the last `poll` lent."""

    def send(self, messages: memoryview) -> None:
        """Send encoded orders, each behind a 2-byte length; not offered by every transport."""

    def close(self) -> None:
        """Let go of everything."""

    @property
    def environment(self) -> Mapping[str, Any]:
        """What a result says of it: interface, driver, mode, queues, sizes; JSON-ready."""

    @property
    def is_finished(self) -> bool:
        """True when nothing will ever come again."""

    @property
    def position(self) -> tuple[int, int]:
        """(done, total) of its sources, in bytes, for progress; total 0 where there is no end."""


class LiveTransport(Transport, Protocol):
    """A transport that receives: what `tickpath.live` calls, and what results say of it."""

    @property
    def native(self) -> Native:
        """Its functions for the live loop, as long as it is open; of live transports only."""


class Executor(Protocol):
    """What runs the stages over lent packets."""

    engine: "Engine"

    @staticmethod
    def why_not() -> str | None:
        """Why it cannot run here, as ``reason; run: command that mends it``; None where it can."""

    def run(self, packets: np.ndarray, first: int) -> int:
        """Take lent packets from number ``first`` on; gives the number to go on with."""


class Backend:
    """A named pair of a transport's and an executor's class."""

    def __init__(self, name: str, transport: Callable[..., Any], executor: Callable[..., Any]):
        self.name = name
        self.transport = transport
        self.executor = executor


def available(kind: str) -> dict[str, Any]:
    """Entry points of ``transports``, ``executors`` or ``players`` by name."""
    return {each.name: each for each in entry_points(group=f"tickpath.{kind}")}


def find(name: str) -> Backend:
    """The backend of a name.  Raises `BackendError` for an unknown one or one that cannot run."""
    transports, executors = available("transports"), available("executors")
    if REFERENCE_TRANSPORT not in transports or REFERENCE_EXECUTOR not in executors:
        raise BackendError("no backends are installed: install the package with pip install -e .")
    if name in executors:
        pair = transports[REFERENCE_TRANSPORT], executors[name]
    elif name in transports:
        pair = transports[name], executors[REFERENCE_EXECUTOR]
    else:
        raise BackendError(f"no backend is called {name!r}; known here: {', '.join(known())}")
    transport, executor = (_loaded(name, each) for each in pair)
    for part in (transport, executor):
        if reason := part.why_not():
            raise BackendError(f"backend {name} cannot run here: {reason}")
    return Backend(name, transport, executor)


def _loaded(name: str, entry: Any) -> Any:
    try:
        return entry.load()
    except Exception as error:  # whatever somebody's module raises
        what = f"{type(error).__name__}: {error}"
        raise BackendError(f"backend {name}: {entry.value} cannot be loaded: {what}") from None


def player(name: str = PLAYER) -> Callable[..., Any]:
    """What plays captures into a live transport (entry points ``tickpath.players``).

    ``veth`` is a class made with (transport's class, paths, `Config`, pace or None): a live
    transport itself, which ``start`` has play and which `Transport.is_finished` then says the end
    of.  It also has ``has_times``, whether the captures can be paced.  ``exchange`` is the other
    side of a wire-to-wire measurement (`tickpath.bench.wire`).  Raises `BackendError`.
    """
    entry = available("players").get(name)
    if entry is None:
        raise BackendError("nothing plays captures to live backends: run: pip install -e .")
    found = _loaded(name, entry)
    if reason := found.why_not():
        raise BackendError(f"captures cannot be played to a live backend here: {reason}")
    return found


def known() -> list[str]:
    """Names that `find` knows, sorted."""
    return sorted({*available("executors"), *available("transports")} - {REFERENCE_TRANSPORT})


def executor_of(backend: Backend, config: Config, **options: Any) -> Executor:
    """A fresh executor of a backend."""
    return backend.executor(config, **options)
