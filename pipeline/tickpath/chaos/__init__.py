"""Failures on purpose: a group of real processes, what is done to it, and who judges it."""
