"""The edge: Envoy's whole configuration, rendered from the contract. One port for REST, gRPC and gRPC-Web."""

import ipaddress
from collections.abc import Sequence
from typing import Any

import yaml

from services.mesh.contract import Contract
from services.mesh.edge.filters import Json
from services.mesh.edge.listeners import listeners, socket
from services.mesh.edge.options import EdgeOptions
from services.mesh.edge.overload import overload
from services.mesh.edge.routes import NOWHERE, OPERATORS, streams_cluster

HEADER = "# Envoy's configuration, rendered from the contract by `make gen` or `redfire mesh render`; do not edit.\n"
LISTENERS = "listeners.yaml"  # where `EdgeOptions.watched` says so
STREAMS = 10_000  # that are open at a time, and then as many calls again
RUNTIME = {
    # Regular expressions here are ours alone, and no larger than this.
    "re2.max_program_size.error_level": 2000,
    # A connection with a thousand requests in one read waits for all others after each few of them: or who logs in
    # would wait for all that somebody floods with.
    "http.max_requests_per_io_cycle": 16,
}
KEEPALIVE: Json = {"interval": "30s", "timeout": "5s"}
# Streams at a process that stands still end, for their clients to open them at another. Services take pings each 5 s.
REPLICA_KEEPALIVE: Json = {"interval": "6s", "timeout": "5s"}
Addresses = tuple[str, ...]


def render_edge(contract: Contract, options: EdgeOptions) -> Json:
    """Envoy's bootstrap. The same contract and options give the same dictionary."""
    bootstrap: Json = {
        "node": {"id": "edge", "cluster": "edge"},
        "overload_manager": overload(options),
        "layered_runtime": {"layers": [{"name": "edge", "static_layer": dict(RUNTIME)}]},
        "static_resources": {"listeners": listeners(contract, options), "clusters": clusters(options)},
    }
    if options.admin:
        # A UNIX socket for our own user alone: who may speak to it may read all that passes, and stop it.
        bootstrap["admin"] = {"address": {"pipe": {"path": options.admin, "mode": 0o600}}}
    if options.watched:
        bootstrap["static_resources"] = {"clusters": clusters(options)}
        source = {"path": f"{options.watched}/{LISTENERS}", "watched_directory": {"path": options.watched}}
        bootstrap["dynamic_resources"] = {"lds_config": {"path_config_source": source}}
    return bootstrap


def render_listeners(contract: Contract, options: EdgeOptions, refused: Sequence[str] = ()) -> Json:
    """The listeners as a file that Envoy reads again when it changes; `refused` are networks it takes nothing from."""
    kind = "type.googleapis.com/envoy.config.listener.v3.Listener"
    return {"resources": [{"@type": kind, **one} for one in listeners(contract, options, refused)]}


def to_yaml(bootstrap: Json) -> str:
    """The configuration as YAML, for people and for `envoy -c`."""
    return HEADER + yaml.dump(bootstrap, Dumper=_Plain, sort_keys=False, width=120)


def clusters(options: EdgeOptions) -> list[Json]:
    """The services, by name, and what the edge itself asks."""
    calls = options.in_flight
    tls = services_tls(options)
    all_clusters = [
        service_cluster(name, name, options.services[name], calls) | tls for name in sorted(options.services)
    ]
    for name in sorted(options.streams):
        addresses, checked = options.streams[name], options.services[name]
        all_clusters.append(service_cluster(streams_cluster(name), name, addresses, calls, checked) | tls)
    all_clusters.append(cluster("ops", (options.ops,)))
    all_clusters.append(operators_cluster(options))
    all_clusters.append({"name": NOWHERE, "type": "STATIC", "connect_timeout": "0.1s"})
    if options.tracing:
        all_clusters.append(cluster("otlp", (options.tracing,)) | {"typed_extension_protocol_options": http2()})
    return all_clusters


def services_tls(options: EdgeOptions) -> Json:
    """TLS to the services, whose certificates a CA of theirs signed, for their name or the address's host."""
    if not options.services_ca:
        return {}
    trusted: Json = {"trusted_ca": {"filename": options.services_ca}}
    if options.services_name:
        matcher = {"exact": options.services_name}
        trusted["match_typed_subject_alt_names"] = [{"san_type": "DNS", "matcher": matcher}]
    context: Json = {
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        "common_tls_context": {
            "alpn_protocols": ["h2"],
            "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
            "validation_context": trusted,
        },
    }
    if options.services_name:
        context["sni"] = options.services_name
    else:
        context |= {"auto_host_sni": True, "auto_sni_san_validation": True}
    return {"transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": context}}


def service_cluster(
    name: str, service: str, addresses: Addresses, calls: int, checked: Addresses | None = None
) -> Json:
    """A service's processes, each for so many unary calls at a time.

    `checked` are the addresses at which they answer for their health, where these do not; of others than as many nobody
    knows which is whose, and none is checked.
    A process that does not answer, or does not serve, is passed over. When none serves all are asked: the last one must
    be, whatever it answers.
    """
    several = len(addresses) > 1
    made = cluster(name, addresses, checked) | {
        "typed_extension_protocol_options": http2(REPLICA_KEEPALIVE if several else KEEPALIVE),
        "circuit_breakers": {
            "thresholds": [thresholds("DEFAULT", 2 * STREAMS), thresholds("HIGH", calls * len(addresses))]
        },
    }
    if several:
        made |= {
            "lb_policy": "LEAST_REQUEST",
            "common_lb_config": {"healthy_panic_threshold": {"value": 1}},
            "health_checks": [health_check(service)] if len(checked or addresses) == len(addresses) else [],
            "outlier_detection": {
                # By connections that fail alone: an INTERNAL or UNIMPLEMENTED of one RPC says nothing of the process.
                "split_external_local_origin_errors": True,
                "consecutive_local_origin_failure": 3,
                "enforcing_consecutive_5xx": 0,
                "enforcing_consecutive_gateway_failure": 0,
                "enforcing_success_rate": 0,
                "interval": "1s",
                "base_ejection_time": "2s",
                "max_ejection_percent": 50,
            },
        }
    return made


def operators_cluster(options: EdgeOptions) -> Json:
    """The process that answers reflection and health, by connections that no service's calls share."""
    addresses = (options.operators,) if options.operators else options.services[min(options.services)]
    few = [thresholds(priority, options.operator_calls) for priority in ("DEFAULT", "HIGH")]
    return cluster(OPERATORS, addresses) | {
        "typed_extension_protocol_options": http2(),
        "circuit_breakers": {"thresholds": few},
    }


def thresholds(priority: str, most: int) -> Json:
    """Requests of a priority that may be open at a time; Envoy refuses what is beyond them."""
    return {
        "priority": priority,
        "max_connections": 1024,
        "max_pending_requests": STREAMS,
        "max_requests": most,
        "max_retries": 64,
    }


def health_check(service: str) -> Json:
    """Ask each process whether it serves: one that stands still is passed over within 3 s, and asked again at once.

    Two answers have to be missing: one may be late on a machine that is busy.
    """
    return {
        "timeout": "1s",
        "interval": "0.5s",
        "no_traffic_interval": "0.5s",
        "unhealthy_threshold": 2,
        "healthy_threshold": 1,
        "grpc_health_check": {"service_name": service},
    }


def cluster(name: str, addresses: Addresses, checked: Addresses | None = None) -> Json:
    """Addresses that one name stands for, and, where they are others, those of their health."""
    endpoints: list[Json] = [{"address": socket(address)} for address in addresses]
    for endpoint, address in zip(endpoints, checked or (), strict=False):
        endpoint["health_check_config"] = {"port_value": int(address.rpartition(":")[2])}
    by_address = all(is_ip(address) for address in addresses)
    return {
        "name": name,
        **({"type": "STATIC"} if by_address else {"type": "STRICT_DNS", "dns_lookup_family": "V4_PREFERRED"}),
        "connect_timeout": "1s",
        "per_connection_buffer_limit_bytes": 256 << 10,
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": endpoint} for endpoint in endpoints]}],
        },
    }


def http2(keepalive: Json = KEEPALIVE) -> Json:
    """Upstream HTTP/2. A stream that its client reads slowly holds back no more than its window."""
    options = {
        "connection_keepalive": keepalive,
        "initial_stream_window_size": 65_536,
        "initial_connection_window_size": 256 << 20,
    }
    name = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    return {
        name: {
            "@type": f"type.googleapis.com/{name}",
            "explicit_http_config": {"http2_protocol_options": options},
        }
    }


def is_ip(address: str) -> bool:
    """Test that the host of `host:port` needs no DNS."""
    try:
        ipaddress.ip_address(address.rpartition(":")[0].strip("[]"))
    except ValueError:
        return False
    return True


class _Plain(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
    """YAML without anchors: what occurs twice is written twice."""

    def ignore_aliases(self, data: Any) -> bool:
        """Return true: YAML without aliases."""
        return True


def _text(dumper: Any, text: str) -> Any:
    """Scripts as blocks, that they may be read."""
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Plain.add_representer(str, _text)
