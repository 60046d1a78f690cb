"""The hardware pipeline's Python side: references, Verilated models, and how they are run."""
