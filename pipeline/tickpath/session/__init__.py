"""Order sessions: SoupBinTCP and OUCH as state machines without sockets, and what they keep.

`soup` is the protocol of one connection, `ouch` an order session over many of them, `store` what
survives a crash, `tcp` the only module with sockets.
"""
