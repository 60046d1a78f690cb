"""Replication of an engine's inputs: rings and links, the journal, what standbys follow."""
