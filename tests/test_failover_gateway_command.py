"""`tickpath gateway`: its configuration, what it refuses, and how it ends."""

import json
import time

import msgspec
import pytest
from click.testing import CliRunner

from gateway_house import PASSWORD, GatewayProcess, House, free_port, order
from tickpath.command_gateway import gateway
from tickpath.config import ConfigError
from tickpath.failover.gateway_client import GatewayClient, Group, Sent
from tickpath.failover.gateway_config import GatewayConfig, check_gateway, load_gateway
from tickpath.failover.gateway_error import GatewayError
from tickpath.failover.gateway_event import Declined, Lost
from tickpath.failover.gateway_server import GatewayServer
from tickpath.operator_socket import ask
from tickpath.session.credentials import Credentials, Secret
from tickpath.wire.gateway import NotWelcome

CREDENTIALS = Credentials("DESK", Secret(PASSWORD))


def config(**values) -> GatewayConfig:
    return msgspec.convert(values, GatewayConfig)


def test_configuration_from_a_file(tmp_path):
    path = tmp_path / "gateway.toml"
    path.write_text(
        """
        [gateway]
        listen = "10.0.0.9:26500"
        orders = "10.0.0.1:26400"
        protocol = "ouch42"
        fsync = "always"
        spin = true
        [gateway.rules]
        when_down = "refuse"
        nodes = { a = "10.0.0.2", b = "10.0.0.3" }
        [gateway.session]
        dead_man_ns = 2_000_000_000
        """
    )
    loaded = load_gateway(path)
    assert loaded.rules.nodes == {"a": "10.0.0.2", "b": "10.0.0.3"}
    assert (loaded.protocol, loaded.spin, loaded.session.dead_man_ns) == ("ouch42", True, 2 * 10**9)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[gateway]\nport = 1", "gateway: Object contains unknown field `port`"),
        ("[gateway]\nlisten = 'here'", "gateway.listen: Expected `str` matching regex"),
        ("[gateway]\nprotocol = 'fix'", "gateway.protocol: Invalid enum value 'fix'"),
        ("[gateway]\norders = '127.0.0.1:0'", "a port is 1 to 65535"),
        ("[gateway]\nlisten = '127.0.0.1:70000'", "a port is 1 to 65535"),
        ("[gateway]\nlisten = '0.0.0.0:1'", "gateway.rules.nodes: name the nodes"),
        ("[gateway.rules]\nnodes = {'a b' = '1.2.3.4'}", "'a b': 1 to 16 letters"),
        ("[gateway.rules]\nmax_nodes = 1\nnodes = {a = '', b = ''}", "max_nodes: 1, named are 2"),
        ("[gateway.rules]\ntimeout_ms = 150", "timeout_ms: at least two heartbeats, 200 ms"),
        ("[gateway.session]\nwhen_throttled = 'drop'", "drop leaves orders without an outcome"),
        ("[gateway", "not TOML"),
    ],
)
def test_configuration_that_cannot_be_used(tmp_path, text, said):
    path = tmp_path / "gateway.toml"
    path.write_text(text)
    result = CliRunner().invoke(gateway, ["--config", str(path)])
    assert result.exit_code == 2 and result.stdout == ""
    assert result.stderr.startswith(f"tickpath: {path}: ") and said in result.stderr
    assert result.stderr.count("\n") == 1


def test_file_that_is_not_there(tmp_path):
    result = CliRunner().invoke(gateway, ["--config", str(tmp_path / "none.toml")])
    assert result.exit_code == 2 and "cannot be read: No such file" in result.stderr


def test_defaults_are_sound():
    check_gateway(GatewayConfig())
    with pytest.raises(ConfigError):
        check_gateway(config(listen="0.0.0.0:1"))


def test_no_credentials(tmp_path, monkeypatch):
    monkeypatch.delenv("TICKPATH_USERNAME", raising=False)
    path = tmp_path / "gateway.toml"
    path.write_text(f"[gateway]\ndirectory = '{tmp_path / 'gw'}'")
    result = CliRunner().invoke(gateway, ["--config", str(path)])
    assert result.exit_code == 2 and "no credentials" in result.stderr


def test_address_that_is_taken(tmp_path):
    with House(tmp_path) as house:
        taken = config(listen=house.config.listen, directory=str(tmp_path / "b"))
        with pytest.raises(GatewayError, match=r"gateway.listen: 127.0.0.1:\d+: Address already"):
            GatewayServer(taken, credentials=CREDENTIALS)


def test_another_day_needs_another_directory(tmp_path):
    with House(tmp_path) as house:
        house.until_up()
        house.stop()
        session = msgspec.structs.replace(house.config.session, session="T2")
        other = msgspec.structs.replace(house.config, session=session)
        with pytest.raises(GatewayError, match="of session T1, not T2: another day needs another"):
            GatewayServer(other, credentials=CREDENTIALS)


def test_session_that_never_comes_up(tmp_path):
    path = tmp_path / "gateway.toml"
    path.write_text(
        f"[gateway]\nlisten = '127.0.0.1:0'\norders = '127.0.0.1:{free_port()}'\n"
        f"directory = '{tmp_path / 'gw'}'\n[gateway.session]\nmax_attempts = 2\n"
        "reconnect_first_ns = 1000000"
    )
    names = {"TICKPATH_USERNAME": "DESK", "TICKPATH_PASSWORD": PASSWORD}
    result = CliRunner(env=names).invoke(gateway, ["--config", str(path)])
    assert result.exit_code == 2
    assert "order session: ATTEMPTS: too many attempts to reconnect" in result.stderr
    assert "Traceback" not in result.stderr


def test_orderly_end_of_a_process(tmp_path):
    """Status by the operator's socket, SIGTERM, a logout, exit code 0, orders left as they are."""
    with House(tmp_path) as house:
        house.stop()
        process = GatewayProcess(tmp_path, house.exchange.addresses()["ouch"])
        house.config = config(listen=f"127.0.0.1:{process.port}")
        a = house.client("a")
        try:
            process.start()
            house.until_told_up(a)
            one = order("ouch50", 1)
            assert a.hand_over(1, 0, 1, len(one).to_bytes(2, "big") + one) is Sent.WRITTEN
            house.until(lambda: house.accepted() == [1])
            status = ask(str(tmp_path / "gw" / "control.sock"), "status", "gateway")
            assert (status["highest_epoch"], status["holder"]) == (1, "a")
            assert "error" in ask(str(tmp_path / "gw" / "control.sock"), "stop", "gateway")
            process.process.terminate()
            house.until(lambda: process.process.poll() is not None)
            house.until(lambda: house.of(a, Lost))
            code, (ready, result) = process.stop()
        finally:
            process.close()
        assert code == 0 and ready["schema"] == result["schema"] == "tickpath.gateway/1"
        assert result["ended"].startswith("LOGOUT") and result["order_position"] == 2 + len(one)
        (port,) = (p for p in house.exchange.venue.ports.values() if p.account.username == "DESK")
        assert len(port.live) == 1


# ---------------------------------------------------------------- the client by itself


def test_client_of_a_gateway_that_is_not_there():
    now = [0]
    client = GatewayClient(("127.0.0.1", free_port()), "a", clock=lambda: now[0])
    told = []
    for _ in range(50):
        told += client.poll()
        now[0] += 10**7
        time.sleep(0.0002)
    assert len(told) > 5 and all(isinstance(each, Lost) for each in told)
    assert "Connection refused" in told[0].detail and client.fileno() == -1
    assert client.hand_over(1, 0, 0, b"") is Sent.NO_LINE and client.ask() is Sent.NO_LINE
    client.close()


def test_declined_node_waits_longer(tmp_path):
    with House(tmp_path) as house:
        house.client("a")
        house.until_up()
        now = [0]
        other = house.client("b", clock=lambda: now[0])
        other.group = Group(build=b"other")
        house.until(lambda: house.of(other, Declined))
        assert house.of(other, Declined)[0].reason is NotWelcome.BUILD
        now[0] = other.settings.declined_ms * 10**6 - 1
        for _ in range(50):
            house.move()
        assert len(house.of(other, Declined)) == 1
        now[0] += 1
        house.until(lambda: len(house.of(other, Declined)) == 2)


def test_name_that_does_not_fit():
    with pytest.raises(GatewayError, match="node takes 16 characters, not 17"):
        GatewayClient(("127.0.0.1", 1), "a" * 17)


def test_result_is_json(tmp_path):
    with House(tmp_path) as house:
        house.client("a")
        house.until_up()
        result = json.loads(json.dumps(house.gateway.result()))
        assert result["session_state"] == "up" and result["nodes"] == {"a": "127.0.0.1"}
        assert not house.gateway.has_finding
