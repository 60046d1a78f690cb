"""Recovery of a feed that lost messages on every line: asked for again, or a snapshot, or stale.

The engine arbitrates between the lines of a group; where a hole stays open it holds what comes
behind it and says which range is missing.  What to do about it is decided here, without sockets and
without a clock of its own: events and the time go in, actions come out.

    step            one line: its state, and what follows from each event (`step.step`)
    state, limits   the states with their meanings, the bounds with their outcomes
    event           the events and actions of `step`
    engine          what is asked of the engine (`engine.LineEngine`)
    feed            the lines of a feed, with its servers, over a `feed.Network`
    moldudp64, sequenced_unit      datagrams of the two protocols, whole or not at all
    glimpse, spin   a snapshot from a server, as SoupBinTCP and as Cboe frame it
    grp             the connection to a Gap Request Proxy, with its quotas
    sockets         a `feed.Network` of real sockets

The invariant is that nothing is guessed: a hole ends filled, replaced by a snapshot that covers it,
or declared, with the line's books stale.  The worst case is a line whose servers are all gone: it
is declared after the times that `limits.Limits` names, and a snapshot is tried again later.
"""
