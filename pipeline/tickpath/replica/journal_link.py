"""Shipping a journal by TCP: `replica.journal_ship`'s frames over a connection.

    with Receiver(directory, ("127.0.0.1", 0)) as receiver:
        receiver.serve(lambda: stopped)
    send(directory, ("127.0.0.1", port))

One connection at a time, blocking sockets with a bound on every wait.  There is no authentication
and no encryption: whoever reaches the port can begin a copy in an empty directory, though not
change one, since records have to follow.  Listen on a private address, or behind a tunnel.
"""

import os
import socket
from collections.abc import Callable, Iterator

from tickpath.replica.journal_frame import Frame, Frames, encode
from tickpath.replica.journal_header import JournalError
from tickpath.replica.journal_receipt import Receipt, Shipped
from tickpath.replica.journal_ship import shipment
from tickpath.wire.journal import FrameKind

Address = tuple[str, int]
TIMEOUT_S = 10.0
ACCEPT_S = 0.1
_BYTES_AT_ONCE = 1 << 18


def _frames(connection: socket.socket, reader: Frames) -> Iterator[Frame]:
    """Frames as they come, until the connection ends."""
    while received := connection.recv(_BYTES_AT_ONCE):
        yield from reader.feed(received)


def send(
    directory: str | os.PathLike[str], address: Address, timeout_s: float = TIMEOUT_S
) -> Shipped:
    """Bring the copy behind an address up to date; returns when it is on its disk.

    Raises `JournalError`, `DamagedError`; what came before that is in the copy.
    """
    where = f"{address[0]}:{address[1]}"
    sent = begun = stored = 0
    try:
        with socket.create_connection(address, timeout_s) as connection:
            incoming = _frames(connection, Frames())
            has: list[Frame] = []
            for frame in incoming:
                _refused(frame, where)
                if frame.kind is FrameKind.READY:
                    break
                has.append(frame)
            else:
                raise JournalError(f"{where}: is no receiver of a journal")
            known = {each.number for each in has if each.kind is FrameKind.HAVE}
            for frame in shipment(directory, has):
                try:
                    connection.sendall(encode(frame))
                except (ConnectionError, TimeoutError):
                    break  # it has said why, or says nothing any more
                sent += len(frame.body) * (frame.kind is not FrameKind.SEGMENT)
                begun += frame.kind is FrameKind.SEGMENT and frame.number not in known
                stored += frame.kind is FrameKind.SNAPSHOT and not frame.body
            for frame in incoming:
                _refused(frame, where)
                if frame.kind is FrameKind.DONE:
                    return Shipped(frame.number, sent, begun, stored)
    except TimeoutError:
        raise JournalError(f"{where}: no answer within {timeout_s:g} s") from None
    except OSError as error:
        raise JournalError(f"{where}: {error.strerror or error}") from None
    raise JournalError(f"{where}: the connection ended before the copy was on its disk")


def _refused(frame: Frame, where: str) -> None:
    if frame.kind is FrameKind.REFUSED:
        raise JournalError(f"{where}: {frame.body.decode('utf-8', 'replace')}")


class Receiver:
    """A listening address and the directory that becomes a copy."""

    def __init__(
        self,
        directory: str | os.PathLike[str],
        address: Address,
        *,
        timeout_s: float = TIMEOUT_S,
        say: Callable[[str], None] | None = None,
    ) -> None:
        """Raises `JournalError` where the address cannot be had."""
        self.directory, self.timeout_s = os.fspath(directory), timeout_s
        self._say = say or (lambda _: None)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._socket.bind(address)
            self._socket.listen(4)
            self._socket.settimeout(ACCEPT_S)
        except (OSError, OverflowError) as error:
            self._socket.close()
            why = getattr(error, "strerror", None) or error
            raise JournalError(f"{address[0]}:{address[1]}: cannot be listened to: {why}") from None

    @property
    def address(self) -> Address:
        """Where it listens."""
        host, port = self._socket.getsockname()[:2]
        return host, port

    def serve(self, should_stop: Callable[[], bool]) -> int:
        """Take shipments until told to stop; gives how many came whole."""
        whole = 0
        while not should_stop():
            try:
                connection, peer = self._socket.accept()
            except TimeoutError:
                continue
            with connection:
                whole += self._take(connection, f"{peer[0]}:{peer[1]}")
        return whole

    def _take(self, connection: socket.socket, peer: str) -> bool:
        """Take one shipment; what goes wrong is said to the sender and here."""
        connection.settimeout(self.timeout_s)
        try:
            try:
                with Receipt(self.directory) as receipt:
                    connection.sendall(b"".join(map(encode, receipt.have)))
                    for frame in _frames(connection, Frames()):
                        answer = receipt.take(frame)
                        if answer is not None:
                            connection.sendall(encode(answer))
                            self._say(f"{peer}: as far as record {answer.number}")
                            return True
                self._say(f"{peer}: the connection ended before its shipment did")
            except JournalError as error:
                self._say(f"{peer}: {error}")
                refusal = Frame(FrameKind.REFUSED, body=str(error).encode())
                connection.sendall(encode(refusal))
                # Until it has read that, what it sends is read too: else its system may drop it.
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(_BYTES_AT_ONCE):
                    pass
        except OSError as error:
            self._say(f"{peer}: {error.strerror or error}")
        return False

    def close(self) -> None:
        """Listen no more."""
        self._socket.close()

    def __enter__(self) -> "Receiver":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
