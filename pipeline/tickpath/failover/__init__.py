"""Failover: who trades, decided so that two never do, and what keeps anybody else from sending.

The cores are sans-I/O: `role` is one node, `gateway` takes orders, `witness` grants leases,
`breaker` says when a line or a venue is not to be used.  Events come in with a time, actions go
out; the shells around them read clocks and move bytes.
"""
