"""Shared by all tests: long ones on demand, repeatable examples, the checked variant's verdict."""

import pytest
from hypothesis import settings

from tickpath import memory
from tickpath.jit import CHECKED

settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
settings.load_profile("repeatable")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests marked `long` run only where the markers on the command line ask for them."""
    if "long" in config.getoption("markexpr"):
        return
    skip = pytest.mark.skip(reason="long: run by make test-long")
    for item in items:
        if item.get_closest_marker("long"):
            item.add_marker(skip)


@pytest.fixture(autouse=CHECKED)
def no_violation():
    """In the checked variant no test may read or write where it must not."""
    before = memory.violations()[0]
    yield
    assert memory.violations()[0] == before, f"checked accessors refused {memory.violations()}"
