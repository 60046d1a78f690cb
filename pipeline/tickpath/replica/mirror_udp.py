"""Mirrors over UDP: the loops of `tickpath mirror send` and `tickpath mirror receive`.

Each is a process of its own beside an engine: a sender needs nothing of the engine but its ring,
and keeps saying that the engine has stopped when it has.  They poll, and sleep `idle_us` when there
is nothing to do; with 0 they spin.
"""

import os
import select
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from tickpath.recovery.sockets import join
from tickpath.replica.error import ReplicaError
from tickpath.replica.mirror import Address, Settings
from tickpath.replica.mirror_receiver import Receiver
from tickpath.replica.mirror_sender import Sender
from tickpath.replica.plan_feed import ReceivedFeed
from tickpath.replica.ring import Ring

BURST = 512
"""Datagrams that are taken before something is sent."""
BUFFER_BYTES = 1 << 16
LOOK_NS = 50_000_000
"""How often is looked whether the node has a new ring."""


def bound(address: Address | None, settings: Settings) -> socket.socket:
    """A non-blocking UDP socket with room for what may be under way.

    Raises `ReplicaError` where the address cannot be had.
    """
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setblocking(False)
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        made.setsockopt(socket.SOL_SOCKET, option, 2 * settings.window_bytes)
    if address is not None:
        try:
            made.bind(address)
        except OSError as error:
            made.close()
            host, port = address
            raise ReplicaError(f"{host}:{port}: {error.strerror}") from None
    return made


def _taken(source: socket.socket) -> list[tuple[bytes, Address]]:
    found: list[tuple[bytes, Address]] = []
    while len(found) < BURST:
        try:
            found.append(source.recvfrom(BUFFER_BYTES))
        except BlockingIOError:
            break
        except ConnectionError:  # nobody was there for something that we sent
            continue
    return found


def _send(to: socket.socket, raw: bytes, address: Address) -> bool:
    """Send a datagram; False where there is no room, and it is as if it had got lost."""
    try:
        to.sendto(raw, address)
    except (BlockingIOError, ConnectionError):
        return False
    except OSError as error:
        raise ReplicaError(f"{address[0]}:{address[1]}: {error.strerror}") from None
    return True


def _ring_now(ring: Ring, inode: int) -> tuple[Ring, int]:
    """The ring that is in a ring's place now, and its file's number."""
    try:
        found = os.stat(ring.path).st_ino
        return (ring, inode) if found == inode else (Ring.attach(ring.path), found)
    except (OSError, ReplicaError):  # the node has ended, or is about to begin
        return ring, inode


def send(
    ring: Ring,
    listen: Address,
    is_stopped: Callable[[], bool],
    settings: Settings | None = None,
    idle_us: int = 50,
    group: Address | None = None,
) -> Sender:
    """Mirror a ring to whoever joins at ``listen``, until told to stop; gives its counters.

    With a multicast ``group`` what is new goes there, over the interface that ``listen`` is of.  A
    node that begins anew has a new ring in the same place, which is sent from then on.
    """
    sender = Sender(ring, settings, group)
    inode, looked_ns = os.stat(ring.path).st_ino, time.monotonic_ns()
    with bound(listen, sender.settings) as ours:
        if group is not None:
            way = socket.inet_aton(listen[0])
            ours.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, way)
        while not is_stopped():
            for raw, source in _taken(ours):
                for answer in sender.take(raw, source, time.monotonic_ns()):
                    _send(ours, answer, source)
            now_ns = time.monotonic_ns()
            if now_ns - looked_ns >= LOOK_NS:
                looked_ns = now_ns
                found, inode = _ring_now(sender.ring, inode)
                if found is not sender.ring:
                    counted = sender.counters
                    sender = Sender(found, settings, group)
                    sender.counters = counted
                    sender.counters["rings"] += 1
            due = sender.send(now_ns)
            for address, raw in due:
                if not _send(ours, raw, address):
                    sender.counters["no_room"] += 1
            if not due and idle_us:
                select.select([ours], [], [], idle_us / 1e6)
    return sender


def receive(
    path: Path,
    name: str,
    source: Address,
    is_stopped: Callable[[], bool],
    settings: Settings | None = None,
    idle_us: int = 50,
    group: tuple[Address, str] | None = None,
    feed: ReceivedFeed | None = None,
) -> Receiver:
    """Keep a mirror of the ring that is sent from ``source``; gives its counters in the end.

    ``group`` is a multicast group of the sender's and the address of the interface to join it on;
    ``feed`` the market's feed as it comes to this host.
    """
    receiver = Receiver(path, name, settings, feed)
    with ExitStack() as stack:
        sockets = [stack.enter_context(bound(None, receiver.settings))]
        if group is not None:
            buffer_bytes = 2 * receiver.settings.window_bytes
            try:
                sockets.append(stack.enter_context(join(*group, buffer_bytes)))
            except OSError as error:
                (host, port), over = group
                raise ReplicaError(f"{host}:{port} over {over}: {error.strerror}") from None
        waited_for = [*sockets, *(feed.sockets if feed is not None else ())]
        while not is_stopped():
            # The feed first: what the plan says has mostly come by then.
            came = feed.poll() if feed is not None else 0
            out: list[bytes] = []
            for raw, whence in [each for ours in sockets for each in _taken(ours)]:
                came += 1
                if whence != source:
                    receiver.counters["strangers"] += 1
                    continue
                out += receiver.take(raw, time.monotonic_ns())
            out += receiver.tick(time.monotonic_ns())
            for raw in out:
                _send(sockets[0], raw, source)
            if not came:
                select.select(waited_for, [], [], max(idle_us, 1) / 1e6)
    if feed is not None:
        receiver.counters += feed.counters
    return receiver
