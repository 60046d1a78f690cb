"""The GLIMPSE server: each login gets a snapshot of its moment, as a SoupBinTCP session of its own.

A refused login is one whose session is not available; a cut connection loses the snapshot's end.
"""

from collections import Counter

from tickpath.serve.image import StreamImage
from tickpath.serve.itch_image import end_of_snapshot
from tickpath.serve.unruly import Unruly
from tickpath.session.credentials import Credentials, Secret
from tickpath.session.soup_acceptor import Acceptor, LoginLimits
from tickpath.session.soup_session import Reader, ServerSession

SESSION = "GLIMPSE"


class OneSnapshot(ServerSession):
    """A session that is over as soon as what it has is sent to whoever has logged in."""

    def log_in(self, connection: Reader) -> None:
        super().log_in(connection)
        self.has_ended = True


class GlimpseServer:
    """Makes the acceptor of a listener (`session.tcp.Listener`), or of a test."""

    def __init__(self, image: StreamImage, credentials: Credentials, unruly: Unruly) -> None:
        self.counters: Counter[str] = Counter()
        self._image, self._credentials, self._unruly = image, credentials, unruly
        self.acceptor = Acceptor(
            self._authenticate, login_limits=LoginLimits(logins_per_second=1_000, login_burst=1_000)
        )

    def _authenticate(self, username: str, password: Secret) -> ServerSession | None:
        known = self._credentials
        if username != known.username or not password.equals(known.password):
            self.counters["logins_wrong"] += 1
            return None
        next_sequence, _, messages = self._image.snapshot()
        said = [*messages, end_of_snapshot(next_sequence)]
        if self._unruly.cuts():
            said = said[: self._unruly.part(len(messages))]
        session = OneSnapshot(SESSION, messages=said)
        if self._unruly.refuses():
            session.has_ended = True
            return session
        self.counters["snapshots"] += 1
        self.counters["snapshot_messages"] += len(messages)
        return session
