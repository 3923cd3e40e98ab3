"""The edge: Envoy's whole configuration, rendered from the contract. One port for REST, gRPC and gRPC-Web."""

import ipaddress
from typing import Any

import yaml

from services.mesh.contract import Contract
from services.mesh.edge.errors import local_replies
from services.mesh.edge.filters import Json, http_filters
from services.mesh.edge.options import EdgeOptions
from services.mesh.edge.routes import NOWHERE, OPERATORS, route_configuration, streams_cluster

HEADER = "# Envoy's configuration, rendered from the contract by `make gen` or `redfire mesh render`; do not edit.\n"
TYPES = "type.googleapis.com/envoy."
STREAMS = 10_000  # that are open at a time, and then as many calls again
CONNECTIONS = 16_384
KEEPALIVE: Json = {"interval": "30s", "timeout": "5s"}
# Streams at a process that stands still end, for their clients to open them at another. Services take pings each 5 s.
REPLICA_KEEPALIVE: Json = {"interval": "6s", "timeout": "5s"}
Addresses = tuple[str, ...]


def render_edge(contract: Contract, options: EdgeOptions) -> Json:
    """Envoy's bootstrap. The same contract and options give the same dictionary."""
    bootstrap: Json = {
        "node": {"id": "edge", "cluster": "edge"},
        "overload_manager": overload(options),
        # Regular expressions here are ours alone, and no larger than this.
        "layered_runtime": {
            "layers": [{"name": "edge", "static_layer": {"re2.max_program_size.error_level": 2000}}],
        },
        "static_resources": {"listeners": [listener(contract, options)], "clusters": clusters(options)},
    }
    if options.admin:
        bootstrap["admin"] = {"address": admin_address(options.admin)}
    return bootstrap


def overload(options: EdgeOptions) -> Json:
    """Overload actions when memory or connections run out: end the calls that hold most, then refuse all new ones."""
    monitors = "envoy.resource_monitors."
    heap = monitors + "fixed_heap"

    def monitor(name: str, config_type: str, **config: object) -> Json:
        kind = TYPES + "extensions.resource_monitors." + config_type
        return {"name": monitors + name, "typed_config": {"@type": kind, **config}}

    def when_heap(action: str, threshold: Json) -> Json:
        return {"name": "envoy.overload_actions." + action, "triggers": [{"name": heap} | threshold]}

    return {
        "refresh_interval": "0.25s",
        "resource_monitors": [
            monitor(
                "global_downstream_max_connections",
                "downstream_connections.v3.DownstreamConnectionsConfig",
                max_active_downstream_connections=CONNECTIONS,
            ),
            monitor("fixed_heap", "fixed_heap.v3.FixedHeapConfig", max_heap_size_bytes=options.max_heap_bytes),
        ],
        "actions": [
            when_heap(
                "reset_high_memory_stream",
                {"scaled": {"scaling_threshold": 0.8, "saturation_threshold": 0.95}},
            ),
            when_heap("stop_accepting_requests", {"threshold": {"value": 0.95}}),
        ],
        "buffer_factory_config": {"minimum_account_to_track_power_of_two": 20},
    }


def to_yaml(bootstrap: Json) -> str:
    """The configuration as YAML, for people and for `envoy -c`."""
    return HEADER + yaml.dump(bootstrap, Dumper=_Plain, sort_keys=False, width=120)


def listener(contract: Contract, options: EdgeOptions) -> Json:
    """The one port."""
    manager: Json = {
        "@type": TYPES + "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "edge",
        "codec_type": "AUTO",
        "use_remote_address": True,
        "xff_num_trusted_hops": options.trusted_hops,
        "skip_xff_append": False,
        # Nobody is inside: x-envoy-* of a client on this machine does not count either.
        "internal_address_config": {"cidr_ranges": []},
        "normalize_path": True,
        "merge_slashes": True,
        "path_with_escaped_slashes_action": "REJECT_REQUEST",
        "generate_request_id": True,
        "preserve_external_request_id": True,
        "always_set_request_id_in_response": True,
        "request_id_extension": {
            "typed_config": {
                "@type": TYPES + "extensions.request_id.uuid.v3.UuidRequestIdConfig",
                "pack_trace_reason": False,  # or Envoy would change a digit of what it should echo
            }
        },
        "server_name": "redfire",
        "max_request_headers_kb": 32,
        "request_headers_timeout": "10s",
        "request_timeout": "60s",
        "stream_idle_timeout": "300s",
        "drain_timeout": "2s",
        "common_http_protocol_options": {
            "idle_timeout": "3600s",
            "max_headers_count": 100,
            "headers_with_underscores_action": "REJECT_REQUEST",
        },
        "http2_protocol_options": {
            "max_concurrent_streams": 1000,
            "initial_stream_window_size": 65_536,
            "initial_connection_window_size": 1 << 20,
            "connection_keepalive": {
                "interval": f"{options.client_silence_s / 2:g}s",
                "timeout": f"{options.client_silence_s / 2:g}s",
            },
        },
        "local_reply_config": local_replies(contract, options),
        "http_filters": http_filters(contract, options),
        "route_config": route_configuration(contract, options),
    }
    if options.access_log:
        manager["access_log"] = [access_log(options.access_log)]
    if options.tracing:
        manager["tracing"] = tracing(options)
    connections = {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}
    return {
        "name": "edge",
        "address": socket(f"{options.host}:{options.port}"),
        # Two Envoys must not share a port by mistake.
        "enable_reuse_port": False,
        "socket_options": silence_options(options.client_silence_s),
        "per_connection_buffer_limit_bytes": 256 << 10,
        "filter_chains": [{"filters": [connections]}],
    }


def silence_options(silence_s: int) -> list[Json]:
    """End a connection whose client acknowledges nothing for so long: one that is gone closes nothing.

    HTTP/2 has pings of its own; these are Linux's for HTTP/1: SO_KEEPALIVE and TCP_KEEPIDLE, _KEEPINTVL, _KEEPCNT where
    nothing is sent, TCP_USER_TIMEOUT (in ms) where something is.
    """
    numbers = (
        (1, 9, 1),
        (6, 4, max(silence_s // 2, 1)),
        (6, 5, max(silence_s // 4, 1)),
        (6, 6, 2),
        (6, 18, silence_s * 1000),
    )
    return [{"level": level, "name": name, "int_value": value} for level, name, value in numbers]


def access_log(path: str) -> Json:
    """One JSON line for each call when it ends. No query: it may hold what is nobody's business."""
    fields = {
        "time": "%START_TIME%",
        "method": "%REQ(X-ENVOY-ORIGINAL-METHOD?:METHOD)%",
        "path": "%PATH(NQ:ORIG_OR_PATH)%",
        "rpc": "%PATH(NQ:PATH)%",
        "status": "%RESPONSE_CODE%",
        "grpc_status": "%GRPC_STATUS(SNAKE_STRING)%",
        "flags": "%RESPONSE_FLAGS%",
        "details": "%RESPONSE_CODE_DETAILS%",
        "duration_ms": "%DURATION%",
        "bytes_sent": "%BYTES_SENT%",
        "upstream": "%UPSTREAM_HOST%",
        "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
        "client": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
        "subject": "%REQ(X-REDFIRE-SUBJECT)%",
        "request_id": "%REQ(X-REQUEST-ID)%",
        "trace_id": "%TRACE_ID%",
    }
    return {
        "name": "envoy.access_loggers.file",
        "typed_config": {
            "@type": TYPES + "extensions.access_loggers.file.v3.FileAccessLog",
            "path": path,
            "log_format": {"json_format": fields},
        },
    }


def tracing(options: EdgeOptions) -> Json:
    """Spans by OTLP; a caller's own decision to sample is kept."""
    return {
        "random_sampling": {"value": options.trace_ratio * 100},
        "spawn_upstream_span": True,
        "provider": {
            "name": "envoy.tracers.opentelemetry",
            "typed_config": {
                "@type": TYPES + "config.trace.v3.OpenTelemetryConfig",
                "service_name": "redfire-edge",
                "grpc_service": {"envoy_grpc": {"cluster_name": "otlp"}, "timeout": "1s"},
            },
        },
    }


def clusters(options: EdgeOptions) -> list[Json]:
    """The services, by name, and what the edge itself asks."""
    calls = options.in_flight
    all_clusters = [service_cluster(name, name, options.services[name], calls) for name in sorted(options.services)]
    for name in sorted(options.streams):
        addresses, checked = options.streams[name], options.services[name]
        all_clusters.append(service_cluster(streams_cluster(name), name, addresses, calls, checked))
    all_clusters.append(cluster("ops", (options.ops,)))
    if options.operators:
        all_clusters.append(service_cluster(OPERATORS, OPERATORS, (options.operators,), calls))
    all_clusters.append({"name": NOWHERE, "type": "STATIC", "connect_timeout": "0.1s"})
    if options.tracing:
        all_clusters.append(cluster("otlp", (options.tracing,)) | {"typed_extension_protocol_options": http2()})
    return all_clusters


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


def admin_address(admin: str) -> Json:
    """A UNIX socket for our own user alone, or an address."""
    return {"pipe": {"path": admin, "mode": 0o600}} if "/" in admin else socket(admin)


def socket(address: str) -> Json:
    """`host:port` as Envoy writes it."""
    host, _, port = address.rpartition(":")
    return {"socket_address": {"address": host.strip("[]"), "port_value": int(port)}}


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
