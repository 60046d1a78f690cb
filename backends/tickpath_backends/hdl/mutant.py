"""A known fault: a text of one module replaced by another."""

from typing import NamedTuple


class Mutant(NamedTuple):
    """One fault: a name, the module, and what is replaced by what there."""

    name: str
    module: str
    old: str
    new: str
