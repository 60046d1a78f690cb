"""SoupBinTCP 3.00 without sockets: bytes and the time go in, events and bytes come out.

A client logs in when it is made:

    client = Client("user", Secret("password"), session="", sequence=1, now_ns=now)
    while client.closed is None:
        for event in client.receive(received, now): ...     # LoggedIn, Sequenced(number, payload)
        for event in client.tick(now): ...                  # heartbeats, timeouts; Closed(reason)
        transport.write(client.take_output())

A server has one `Acceptor`, one `ServerSession` per account, and one `Server` per connection:

    sessions = {"user": ServerSession("0000000001")}
    def authenticate(username, password):                   # a Secret; the spec ignores case
        known = username == "user" and password.equals("password")
        return sessions[username] if known else None

    acceptor = Acceptor(authenticate)
    server = acceptor.accept(now, peer="127.0.0.1")         # per TCP connection; None: refused
    for event in server.receive(received, now):
        if isinstance(event, Unsequenced):                  # an order
            server.session.publish(answer, now)             # numbered, kept, sent
    for event in server.tick(now): ...                      # in every round, or at next_deadline
    transport.write(server.take_output())                   # also after Closed, then close

A session outlives its connections: `publish` works with nobody logged in.  A newer login takes it
over, and the older connection's next `tick` gives Closed(TAKEN_OVER).  `ServerSession(messages=)`
takes up the stream of an earlier process.  The rules of a shell, which `tcp` follows:

  * what was received goes to `receive`, then `tick` is called, then output is written;
  * `take_output` again only when what it gave last has been written: only then do the bounds on
    what waits (`Limits.max_output`, `Limits.timeout_ns`) see a reader that is slow;
  * a connection that is gone is `disconnected`; after Closed the last output is written, if it
    can be at once, and the socket is closed;
  * `next_deadline` says when `tick` has to be called at the latest.

Where the specification leaves room: sequence 0 asks for the messages from now on; a sequence in the
future or no longer kept is answered with S; a blank session is the account's current one.

Source: Nasdaq SoupBinTCP specification 3.00; the packets are `tickpath.wire.soupbintcp`.
"""

from tickpath.session.credentials import Secret
from tickpath.session.error import SessionError
from tickpath.session.soup_acceptor import Acceptor, AcceptorCounters, LoginLimits
from tickpath.session.soup_client import Client, ClientState
from tickpath.session.soup_event import (
    Closed,
    Debug,
    EndOfSession,
    Event,
    LoggedIn,
    LoginRejected,
    Reason,
    Sequenced,
    Unsequenced,
)
from tickpath.session.soup_link import Counters, Limits
from tickpath.session.soup_server import Server, ServerState
from tickpath.session.soup_session import Kept, ServerSession

__all__ = [
    "Acceptor",
    "AcceptorCounters",
    "Client",
    "ClientState",
    "Closed",
    "Counters",
    "Debug",
    "EndOfSession",
    "Event",
    "Kept",
    "Limits",
    "LoggedIn",
    "LoginLimits",
    "LoginRejected",
    "Reason",
    "Secret",
    "Sequenced",
    "Server",
    "ServerSession",
    "ServerState",
    "SessionError",
    "Unsequenced",
]
