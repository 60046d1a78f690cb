"""The table [trade], and what is said of one that cannot be used."""

import pytest

from tickpath.config import ConfigError
from tickpath.trade.config import TradeConfig, checked, load, split


def loaded(tmp_path, text: str) -> TradeConfig:
    path = tmp_path / "trade.toml"
    path.write_text(text)
    return load(path)


def test_defaults(tmp_path):
    config = loaded(tmp_path, "")
    assert config.trade.orders == "127.0.0.1:26400" and config.trade.drop_copy is None
    assert config.fills.model == "exchange"


def test_the_exchange_answers_whatever_the_file_says(tmp_path):
    assert loaded(tmp_path, '[fills]\nmodel = "queue"').fills.model == "exchange"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("[trade]\nfeeds = 1", "trade: Object contains unknown field `feeds`"),
        ('[trade]\norders = "host"', "trade.orders: Expected `str` matching regex"),
        ('[trade]\norders = "host:70000"', "trade.orders: host:70000: a port is 1 to 65535"),
        ('[trade]\ndrop_copy = "host:0"', "trade.drop_copy: host:0: a port is 1 to 65535"),
        ('[trade]\nfeed = "name:1"', "trade.feed: name:1: not a dotted IPv4 address"),
        ('[trade]\ninterface = "lo"', "trade.interface: lo: not a dotted IPv4 address"),
        ('[trade]\nfsync = "often"', "trade.fsync: Invalid enum value 'often'"),
        ("[trade.session]\nmax_queue = 0", "trade.session.max_queue: Expected `int` >= 1"),
        ("[latency]\nsample = 3", "latency.sample: 3 is not a power of two"),
        ("[trade", "not TOML"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path, text, error):
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, text)
    said = str(caught.value)
    assert said.startswith(str(tmp_path / "trade.toml") + ": ") and error in said
    assert "\n" not in said


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load(tmp_path / "none.toml")


def test_addresses():
    assert split("some.host:1234") == ("some.host", 1234)
    assert checked(TradeConfig()).fills.model == "exchange"
