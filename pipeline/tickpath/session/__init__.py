"""Order sessions: SoupBinTCP and OUCH as state machines without sockets, and what they keep.

    soup            SoupBinTCP 3.00, one connection: client, server, and the server's session
    ouch            an order session over many connections: journal, throttle, settling, dead man
    store           the journal: what was sent and received, safe from a crash at any byte
    log             both directions for people, without passwords
    credentials     user name and password, from the environment or a private file
    tcp             sockets; nothing else here has any

What a module is made of begins with its name (``soup_framing``, ``store_record``); `order_port`,
`open_orders`, `settlement`, `dead_man` and `pace` are the parts of `ouch`.
"""
