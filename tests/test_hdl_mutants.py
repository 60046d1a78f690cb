"""Known faults in the RTL: each is still a text of its sources, and the tests catch every one."""

from collections.abc import Iterator

import pytest

from tickpath_backends.hdl import verilated
from tickpath_backends.hdl.mutants import BLOCKS, put_in, survives

ALL = [(name, each) for name, block in BLOCKS.items() for each in block.mutants]
BY_ID = {f"{name}: {each.name}": (name, each) for name, each in ALL}


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Iterator[str]:
    yield str(tmp_path_factory.mktemp("cache"))


def test_every_one_has_a_name_of_its_own():
    assert len(BY_ID) == len(ALL)


@pytest.mark.parametrize("which", BY_ID)
def test_it_changes_one_place(which, tmp_path):
    name, mutant = BY_ID[which]
    put_in(mutant, BLOCKS[name].sources, tmp_path)
    (changed,) = [each for each in BLOCKS[name].sources if each.stem == mutant.module]
    assert (tmp_path / changed.name).read_text() != changed.read_text()


@pytest.mark.long
@pytest.mark.skipif(verilated.why_not() is not None, reason=f"{verilated.why_not()}")
@pytest.mark.parametrize("which", BY_ID)
def test_it_is_caught(which, cache):
    name, mutant = BY_ID[which]
    assert survives(BLOCKS[name], mutant, cache) is None
