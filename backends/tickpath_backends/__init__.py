"""Transports and executors of tickpath, one module each, found through entry points."""
