"""A feed on real sockets: its lines, and every server that its protocol has, in one thread.

A round sends what is due, hears what has come, lets the servers answer, and sleeps until something
is due.  Nothing here is lossless but TCP: a datagram that the system does not take is counted and
lost, as on any line.
"""

import contextlib
import heapq
import itertools
import selectors
import socket
import time
from collections import Counter
from collections.abc import Callable

from tickpath.recovery import moldudp64
from tickpath.recovery.limits import SECOND_NS
from tickpath.recovery.unit_link import Login
from tickpath.serve.config import Serve
from tickpath.serve.error import ServeError
from tickpath.serve.glimpse import GlimpseServer
from tickpath.serve.grp import GapDatagram, GrpServer
from tickpath.serve.image import StreamImage
from tickpath.serve.line_faults import LineFaults, LinePlan
from tickpath.serve.link_listener import LinkListener
from tickpath.serve.publisher import Publisher
from tickpath.serve.requests import RequestServer
from tickpath.serve.spin import SpinServer
from tickpath.serve.stream import Stream
from tickpath.serve.unruly import Unruly
from tickpath.session.credentials import Credentials, Secret
from tickpath.session.tcp_stream import READ, Address, Clock, seconds_until

MAX_REQUESTS = 64
"""Requests taken in a round."""
MAX_LATE = 1 << 16
"""Answers that wait for their time; further ones are counted and lost."""
MAX_IMAGE_MESSAGES = 4_096
"""Messages that each image takes in a round."""
MAX_WAIT_S = 0.1
LINE_NAMES = "ABCDEFGH"
_REQUEST_BYTES = 2_048
_SEND_BUFFER = 1 << 22
_MULTICAST = 0b1110


class FeedServer:
    """See the module's text.  Use it as a context manager, or call `close`."""

    def __init__(
        self, config: Serve, streams: list[Stream], clock: Clock = time.monotonic_ns
    ) -> None:
        """Opens every socket.  Raises `ServeError`."""
        self.config, self.streams, self._clock = config, streams, clock
        self.counters: Counter[str] = Counter()
        self._closing = contextlib.ExitStack()
        self._selector = selectors.DefaultSelector()
        self._closing.callback(self._selector.close)
        self._late: list[tuple[int, int, socket.socket, bytes, Address]] = []
        self._serial = itertools.count()
        self._listeners: dict[str, LinkListener] = {}
        self._images: list[StreamImage] = []
        self.findings: list[str] = []
        """What this feed does not have, a line each."""
        self._requests: socket.socket | None = None
        self._publisher: Publisher | None = None
        self._unruly = [
            Unruly(config.requests, config.seed, "requests"),
            Unruly(config.snapshots, config.seed, "snapshots"),
        ]
        try:
            self._out = self._sender()
            if streams[0].codec is moldudp64:
                self._serve_itch()
            else:
                self._serve_pitch()
        except BaseException:
            self._closing.close()
            raise

    # ------------------------------------------------------------ what there is

    def addresses(self) -> dict:
        """Where everything is, for people and scripts."""
        config = self.config
        said: dict = {
            "lines": dict(zip(LINE_NAMES, map(list, config.lines), strict=False)),
            "interface": config.interface,
        }
        if self._requests is not None:
            said["requests"] = list(self._requests.getsockname())
        spins = {}
        for name, listener in self._listeners.items():
            kind, _, unit = name.partition(" ")
            if unit:
                spins[unit] = list(listener.address)
            else:
                said[kind] = list(listener.address)
        if spins:
            said |= {"spin": spins, "gap_group": list(config.gap_group)}
        return said

    def _serve_itch(self) -> None:
        config, requests, snapshots = self.config, *self._unruly
        self._request_server = RequestServer(self.streams, requests)
        self._requests = self._bound(config.requests_port)
        self._selector.register(self._requests, READ, self._take_requests)
        if len(self.streams) == 1:  # GLIMPSE is of one feed
            known = Credentials(config.username, Secret(config.password))
            self._images = [StreamImage(self.streams[0])]
            glimpse = GlimpseServer(self._images[0], known, snapshots)
            self._counted = [self._request_server.counters, glimpse.counters]
            self._listen("glimpse", config.glimpse_port, glimpse.acceptor.accept)
        else:
            self._counted = [self._request_server.counters]
            self.findings.append(
                f"no GLIMPSE server: it is of one session, and there are {len(self.streams)}"
            )

    def _serve_pitch(self) -> None:
        config, requests, snapshots = self.config, *self._unruly
        login = Login(config.session_sub_id, config.username, Secret(config.password))
        proxy = GrpServer(self.streams, login, config.quotas, requests)
        self._counted = [proxy.counters]
        self._listen("grp", config.grp_port, lambda now_ns, _: proxy.accept(now_ns))
        for at, stream in enumerate(self.streams):
            interval_ns = config.image_interval_ms * 1_000_000
            self._images.append(StreamImage(stream))
            spin = SpinServer(self._images[-1], login, snapshots, interval_ns)
            self._counted.append(spin.counters)
            port = config.spin_port + at if config.spin_port else 0
            self._listen(
                f"spin {stream.unit}", port, lambda now_ns, _, made=spin: made.accept(now_ns)
            )

    def _listen(self, name: str, port: int, accept: Callable) -> None:
        unruly = self._unruly[name != "grp"]
        address = self.config.interface, port
        listener = LinkListener(address, self._selector, accept, unruly.delay_ns)
        self._listeners[name] = listener
        self._closing.callback(lambda: listener.close(self._clock()))

    def _bound(self, port: int) -> socket.socket:
        where = self.config.interface, port
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._closing.callback(made.close)
        try:
            made.setblocking(False)
            made.bind(where)
        except OSError as error:
            raise ServeError(f"{where[0]}:{port}: cannot be used: {error.strerror}") from None
        return made

    def _sender(self) -> socket.socket:
        config = self.config
        out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._closing.callback(out.close)
        try:
            out.setblocking(False)
            out.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
            for address, _ in (*config.lines, config.gap_group):
                if socket.inet_aton(address)[0] >> 4 == _MULTICAST:
                    interface = socket.inet_aton(config.interface)
                    out.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, interface)
            out.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, config.ttl)
            out.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)
        except OSError as error:
            raise ServeError(
                f"lines over {config.interface}: {error.strerror or error}; give ADDRESS:PORT with "
                "dotted addresses, and an interface of this machine"
            ) from None
        return out

    # ------------------------------------------------------------ rounds

    def run(
        self, is_stopped: Callable[[], bool], say: Callable[[Publisher], None] | None = None
    ) -> bool:
        """Serve until everything was sent and the servers have lingered; False where stopped."""
        config = self.config
        start_ns = self._clock() + int(config.start_after_s * SECOND_NS)
        plans = [*config.plans, *[LinePlan()] * len(config.lines)][: len(config.lines)]
        lines = [
            LineFaults(plan, config.seed, name)
            for plan, name in zip(plans, LINE_NAMES, strict=False)
        ]
        both = LineFaults(config.both, config.seed, "all")
        publisher = Publisher(self.streams, lines, both, config.pace, start_ns)
        self._publisher = publisher
        over_ns: int | None = None
        while not is_stopped():
            now_ns = self._clock()
            self._send(publisher, now_ns)
            if publisher.has_sent_all and over_ns is None:
                over_ns = now_ns + int(config.linger_s * SECOND_NS)
            if over_ns is not None and now_ns >= over_ns:
                return True
            self._round(publisher, over_ns)
            if say is not None:
                say(publisher)
        return False

    def _round(self, publisher: Publisher, over_ns: int | None) -> None:
        now_ns = self._clock()
        due = [publisher.next_deadline, over_ns, self._late[0][0] if self._late else None]
        due += [listener.next_deadline() for listener in self._listeners.values()]
        deadline_ns = min(each for each in due if each is not None)
        for key, _ in self._selector.select(seconds_until(deadline_ns, now_ns, MAX_WAIT_S)):
            key.data(self._clock())
        for image in self._images:
            image.catch_up(MAX_IMAGE_MESSAGES)
        now_ns = self._clock()
        for listener in self._listeners.values():
            for event in listener.poll(now_ns):
                if isinstance(event, GapDatagram):
                    group = self.config.gap_group
                    self._later(now_ns + event.delay_ns, self._out, event.datagram, group)
        while self._late and self._late[0][0] <= now_ns:
            _, _, out, datagram, to = heapq.heappop(self._late)
            self._put(out, datagram, to, "answers")

    def _send(self, publisher: Publisher, now_ns: int) -> None:
        for sent in publisher.poll(now_ns):
            name = LINE_NAMES[sent.line]
            self._put(self._out, sent.datagram, self.config.lines[sent.line], name)

    def _put(self, out: socket.socket, datagram: bytes, to: Address, name: str) -> None:
        try:
            out.sendto(datagram, to)
            self.counters[f"{name}_datagrams"] += 1
        except OSError:  # the buffer is full, or nobody listens at a unicast address
            self.counters[f"{name}_not_sent"] += 1

    def _later(self, when_ns: int, out: socket.socket, datagram: bytes, to: Address) -> None:
        if len(self._late) >= MAX_LATE:
            self.counters["answers_not_kept"] += 1
            return
        heapq.heappush(self._late, (when_ns, next(self._serial), out, datagram, to))

    def _take_requests(self, now_ns: int) -> None:
        assert self._requests is not None
        for _ in range(MAX_REQUESTS):
            try:
                raw, sender = self._requests.recvfrom(_REQUEST_BYTES)
            except OSError:
                return
            answer = self._request_server.answer(raw)
            if answer is not None:
                self._later(now_ns + answer[0], self._requests, answer[1], sender)

    def summary(self) -> Counter[str]:
        """Everything that was counted."""
        total = Counter(self.counters)
        for counted in (*self._counted, *(each.counters for each in self._unruly)):
            total.update(counted)
        for listener in self._listeners.values():
            total.update(listener.counters)
        publisher = self._publisher
        if publisher is not None:
            total.update(publisher.counters)
            for faults in (*publisher.lines, publisher.both):
                total.update(faults.counters)
        return total

    def close(self) -> None:
        """Close every socket."""
        self._closing.close()

    def __enter__(self) -> "FeedServer":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
