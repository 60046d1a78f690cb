"""Failover: who trades, decided so that two never do.

The core is sans-I/O: `role` is one node, `breaker` says when a line or a venue is not to be used.
Events come in with a time, actions go out; the shells around them read clocks, call the lease
store and move bytes.
"""
