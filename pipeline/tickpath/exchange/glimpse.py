"""The venue's GLIMPSE 5.0 server: each login gets what the market sees at that moment, and the end.

It is made of the matching's books, so nothing is kept for it: a snapshot costs when it is asked
for, once for each login.  The invariant is that the books before message N are those of all
messages before N, which the snapshot's last message says.
"""

import selectors
from collections import Counter
from collections.abc import Callable

from tickpath.exchange.error import ExchangeError
from tickpath.exchange.venue import Venue
from tickpath.serve.error import ServeError
from tickpath.serve.glimpse import SESSION, OneSnapshot
from tickpath.serve.itch_image import end_of_snapshot
from tickpath.serve.link_listener import LinkListener
from tickpath.session.credentials import Secret
from tickpath.session.soup_acceptor import Acceptor
from tickpath.session.soup_session import ServerSession


class Glimpse:
    """See the module's text.  Raises `ExchangeError` where it cannot listen."""

    def __init__(
        self,
        address: tuple[str, int],
        selector: selectors.BaseSelector,
        venue: Venue,
        is_account: Callable[[str, Secret], bool],
    ) -> None:
        self.counters: Counter[str] = Counter()
        self._venue, self._is_account = venue, is_account
        acceptor = Acceptor(self._authenticate)
        try:
            self.listener = LinkListener(address, selector, acceptor.accept, lambda: 0)
        except ServeError as error:
            raise ExchangeError(f"feed.glimpse_port: {error}") from None

    def _authenticate(self, username: str, password: Secret) -> ServerSession | None:
        if not self._is_account(username, password):
            self.counters["logins_wrong"] += 1
            return None
        venue = self._venue
        said = venue.feed.snapshot(venue.now_ns, venue.is_over)
        self.counters["snapshots"] += 1
        self.counters["snapshot_messages"] += len(said)
        return OneSnapshot(SESSION, messages=[*said, end_of_snapshot(venue.downstream.behind)])
