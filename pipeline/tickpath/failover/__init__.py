"""Hot standby: who trades, how that is decided, and what keeps anybody else from sending."""
