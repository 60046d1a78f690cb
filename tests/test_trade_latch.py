"""Kill switches that outlive the process."""

import os
import stat

import pytest

from tickpath import Config, Engine
from tickpath.config import Capacity, ConfigError
from tickpath.risk import Kill
from tickpath.trade.latch import NAME, Latch

CONFIG = Config(capacity=Capacity(symbols=64, orders=1 << 14, overflow_levels=4096, trades=1024))


def test_set_and_found_again(tmp_path):
    latch = Latch(tmp_path)
    latch.set("ann", "odd prices", "G", "", 2)
    latch.set("bob", "its loss", "S", "", 1)
    assert stat.S_IMODE(os.stat(tmp_path / NAME).st_mode) == 0o600
    again = Latch(tmp_path)
    assert [(each.scope, each.level, each.who) for each in again.switches] == [
        ("G", 2, "ann"),
        ("S", 1, "bob"),
    ]
    engine = Engine(CONFIG)
    again.apply(engine)
    gate = engine.block.gate[0]
    assert gate["killed"] == Kill.STOP and gate["strategy_killed"] == Kill.REDUCE_ONLY


def test_reset_takes_one_of_them_out(tmp_path):
    latch = Latch(tmp_path)
    latch.set("ann", "x", "G", "", 2)
    latch.set("ann", "x", "B", "AAPL", 2)
    latch.set("ann", "y", "G", "", 1)
    latch.set("ann", "fine", "B", "AAPL", 0)
    assert [(each.scope, each.why, each.level) for each in Latch(tmp_path).switches] == [
        ("G", "y", 1)
    ]


def test_a_file_that_is_damaged(tmp_path):
    (tmp_path / NAME).write_text('[{"scope": "G"}]')
    with pytest.raises(ConfigError, match=r"is damaged .*delete it to begin without any"):
        Latch(tmp_path)


def test_a_directory_that_is_gone_is_told_and_stops_nothing(tmp_path):
    directory = tmp_path / "gone"
    directory.mkdir()
    latch = Latch(directory)
    directory.rmdir()
    latch.set("ann", "x", "G", "", 2)
    assert latch.error is not None and "cannot be written" in latch.error
    assert len(latch.switches) == 1
