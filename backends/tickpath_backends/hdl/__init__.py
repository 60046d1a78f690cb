"""The Python of the hardware: what its sources are generated from, how they are built and run."""
