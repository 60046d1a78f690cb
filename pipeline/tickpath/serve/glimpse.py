"""The GLIMPSE server: each login gets a snapshot of its moment, as a SoupBinTCP session of its own.

A refused login is one whose session is not available; a cut connection loses the snapshot's end.
"""

from collections import Counter

from tickpath.serve.image import StreamImage
from tickpath.serve.itch_image import end_of_snapshot
from tickpath.serve.unruly import Unruly
from tickpath.session.credentials import Credentials, Secret
from tickpath.session.soup_acceptor import Acceptor, LoginLimits
from tickpath.session.soup_session import ServerSession

SESSION = "GLIMPSE"


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
        session = ServerSession(SESSION, messages=messages)
        session.publish(end_of_snapshot(next_sequence), 0)
        if self._unruly.cuts():
            kept = [session.message(each + 1) for each in range(self._unruly.part(len(messages)))]
            session = ServerSession(SESSION, messages=kept)
            self.counters["snapshots_cut"] += 1
        if self._unruly.refuses():
            self.counters["logins_refused"] += 1
            session = ServerSession("ANOTHER")
        session.end(0)  # the end of the session follows the snapshot
        self.counters["snapshots"] += 1
        self.counters["snapshot_messages"] += len(messages)
        return session
