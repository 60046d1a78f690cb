"""A session's TCP connection as one of the sources that a loop waits for."""

import selectors
import time
from collections.abc import Callable

from tickpath.session.log import SessionLog
from tickpath.session.ouch import OrderSession
from tickpath.session.tcp import OrderLine
from tickpath.trade.drop_copy import DropCopy


class Line(OrderLine):
    """`poll` it in every round; its own selector is readable in the loop's where there is a cause.

    ``session`` is an order session, or what has the same methods.
    """

    def __init__(
        self,
        session: OrderSession | DropCopy,
        address: tuple[str, int],
        selector: selectors.BaseSelector,
        *,
        busy_poll_us: int = 0,
        log: SessionLog | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        super().__init__(
            session,  # type: ignore[arg-type]
            address,
            busy_poll_us=busy_poll_us,
            log=log,
            clock=clock,
        )
        self._loop = selector
        selector.register(self._selector, selectors.EVENT_READ)  # type: ignore[arg-type]

    @property
    def next_deadline(self) -> int | None:
        """When `poll` has something to do, whatever comes."""
        return self._next_deadline()

    def close(self) -> None:
        """Close the socket and leave the loop."""
        self._loop.unregister(self._selector)  # type: ignore[arg-type]
        super().close()
