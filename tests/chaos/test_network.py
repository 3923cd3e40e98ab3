"""The network between services: a process that asks for addresses calls others by proxies that are its own."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos.network import Network

INSIDE = Path(__file__).with_name("inside")
ROOT = Path(__file__).resolve().parents[2]
PEERS = {"engine": "127.0.0.1:1", "auth": "127.0.0.1:2,127.0.0.1:3"}
SHOWS = "import os, time; print(os.environ['REDFIRE_PEERS__ADDRESSES'], time.time() - float(os.environ['NOW']))"


@pytest.fixture
def network():
    between = Network()
    yield between
    between.close()


def _addresses(network: Network, caller: str) -> dict[str, str]:
    with socket.create_connection(("127.0.0.1", network.port), 30) as connection, connection.makefile("rw") as lines:
        lines.write(json.dumps({"caller": caller, "peers": PEERS}) + "\n")
        lines.flush()
        return json.loads(lines.readline())


def test_each_direction_has_a_proxy_that_stays_over_restarts(network):
    first, other = _addresses(network, "trading-1"), _addresses(network, "trading-2")
    assert first == _addresses(network, "trading-1")
    assert first.keys() == PEERS.keys() and len(first["auth"].split(",")) == 2
    ports = [one for addresses in (first, other) for text in addresses.values() for one in text.split(",")]
    assert len(set(ports)) == 6
    assert {f"127.0.0.1:{proxy.port}" for proxy in network.between("engine", "trading")} == {
        first["engine"], other["engine"],
    }  # fmt: skip
    assert {f"127.0.0.1:{proxy.port}" for proxy in network.of_process("trading-2")} == {
        one for text in other.values() for one in text.split(",")
    }
    assert network.between("engine", "auth") == []


def test_a_service_calls_by_proxies_and_the_second_replica_is_ahead(network, tmp_path):
    """As `redfire up` starts services: what is in `inside` is Python's own to import."""
    environment = {
        "PATH": os.environ["PATH"], "PYTHONPATH": str(INSIDE), "RF_CHAOS_NETWORK": str(network.port),
        "REDFIRE_PEERS__ADDRESSES": json.dumps(PEERS), "NOW": "0",
    }  # fmt: skip
    command = [sys.executable, "-P", "-c", SHOWS, "serve", "--log-file", str(tmp_path / "trading-2.log")]
    out = subprocess.run(command, env=environment, capture_output=True, check=True, text=True).stdout
    addresses, _, _ = out.rpartition(" ")
    assert json.loads(addresses) == _addresses(network, "trading-2")


def test_replicas_of_trading_are_reached_by_proxies_and_call_others_by_theirs(network, tmp_path):
    environment = {
        "PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join([str(INSIDE), str(ROOT)]),
        "RF_CHAOS_NETWORK": str(network.port), "REDFIRE_PEERS__ADDRESSES": json.dumps(PEERS),
        "REDFIRE_SERVER__PORT": "5",
    }  # fmt: skip
    shows = "from services.kernel.runtime.resources import Resources; print(Resources.address.fget(None))"
    command = [sys.executable, "-P", "-c", shows, "serve", "--log-file", str(tmp_path / "trading-1.log")]
    address = subprocess.run(command, env=environment, capture_output=True, check=True, text=True).stdout.strip()
    assert [f"127.0.0.1:{proxy.port}" for proxy in network.between("trading", "trading")] == [address]
    assert network.behind(address) == "127.0.0.1:5"
    assert len(network.between("trading", "auth")) == 2


def test_the_edge_calls_all_services_by_proxies(network):
    environment = {
        "PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join([str(INSIDE), str(ROOT)]),
        "RF_CHAOS_NETWORK": str(network.port),
    }  # fmt: skip
    shows = (
        "import json, sitecustomize\n"
        "from services.commands.processes import platform\n"
        "assert platform.edge.__module__ == 'sitecustomize'\n"
        "print(json.dumps(sitecustomize._of_edge({'auth': ['127.0.0.1:2', '127.0.0.1:3'], 'engine': ['127.0.0.1:1']})))"
    )
    command = [sys.executable, "-P", "-c", shows, "up", "--processes"]
    told = json.loads(subprocess.run(command, env=environment, capture_output=True, check=True, text=True).stdout)
    proxies = {f"127.0.0.1:{proxy.port}" for proxy in network.of_process("envoy")}
    assert len(told["auth"]) == 2 and {*told["auth"], *told["engine"]} == proxies and len(proxies) == 3
    assert network.behind(told["engine"][0]) == "127.0.0.1:1"
