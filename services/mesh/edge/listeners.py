"""The edge's listeners: the port, how it speaks HTTP, with TLS or without, and what it writes down."""

from collections.abc import Sequence
from pathlib import PurePath

from services.mesh.contract import Contract
from services.mesh.edge.errors import local_replies
from services.mesh.edge.filters import Json, http_filters
from services.mesh.edge.options import EdgeOptions
from services.mesh.edge.routes import route_configuration

TYPES = "type.googleapis.com/envoy."
CERTIFICATE = "certificate.yaml"  # where `EdgeOptions.watched` says so


def listeners(contract: Contract, options: EdgeOptions, refused: Sequence[str] = ()) -> list[Json]:
    """The one port; where it speaks TLS beside it one for the commands of this machine, which does not."""
    chain = http(contract, options, options.trusted_hops) | (tls(options) if options.tls_cert else {})
    chains = [refuse(refused), chain] if refused else [chain]
    public = listener(options, "edge", f"{options.host}:{options.port}", chains)
    if not options.local_port:
        return [public]
    return [public, listener(options, "local", f"127.0.0.1:{options.local_port}", [http(contract, options, 0)])]


def http(contract: Contract, options: EdgeOptions, trusted_hops: int) -> Json:
    """A chain that speaks HTTP."""
    manager: Json = {
        "@type": TYPES + "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "edge",
        "codec_type": "AUTO",
        "use_remote_address": True,
        "xff_num_trusted_hops": trusted_hops,
        "skip_xff_append": False,
        # Nobody is inside: x-envoy-* of a client on this machine does not count either.
        "internal_address_config": {"cidr_ranges": []},
        "normalize_path": True,
        "merge_slashes": True,
        "path_with_escaped_slashes_action": "REJECT_REQUEST",
        "generate_request_id": True,
        "preserve_external_request_id": True,
        "request_id_extension": {
            "typed_config": {
                "@type": TYPES + "extensions.request_id.uuid.v3.UuidRequestIdConfig",
                "pack_trace_reason": False,  # or Envoy would change a digit of what it should echo
            }
        },
        "server_name": "redfire",
        "max_request_headers_kb": 32,
        "request_headers_timeout": f"{options.headers_s}s",
        "request_timeout": "60s",
        "stream_idle_timeout": "300s",
        "drain_timeout": "2s",
        "common_http_protocol_options": {
            "idle_timeout": f"{options.idle_s}s",
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
    return {"name": "all", "filters": [connections]}


def listener(options: EdgeOptions, name: str, address: str, chains: list[Json]) -> Json:
    """A port."""
    return {
        "name": name,
        "address": socket(address),
        # Two Envoys must not share a port by mistake.
        "enable_reuse_port": False,
        "socket_options": silence_options(options.client_silence_s),
        "per_connection_buffer_limit_bytes": 256 << 10,
        "filter_chains": chains,
    }


def refuse(networks: Sequence[str]) -> Json:
    """A chain for the connections of these networks, which are closed at once."""
    ranges = []
    for network in networks:
        prefix, _, length = network.partition("/")
        ranges.append({"address_prefix": prefix, "prefix_len": int(length)})
    answer = {"@type": TYPES + "extensions.filters.network.direct_response.v3.Config"}
    close: Json = {"name": "envoy.filters.network.direct_response", "typed_config": answer}
    return {"name": "refused", "filter_chain_match": {"source_prefix_ranges": ranges}, "filters": [close]}


def tls(options: EdgeOptions) -> Json:
    """TLS 1.2 and 1.3 for HTTP/2 and HTTP/1.1. A handshake that does not end is cut off."""
    files = {"certificate_chain": {"filename": options.tls_cert}, "private_key": {"filename": options.tls_key}}
    context: Json = {
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
        "alpn_protocols": ["h2", "http/1.1"],
    }
    if options.watched:
        # Read again when it is renewed.
        source = {"path_config_source": {"path": f"{options.watched}/{CERTIFICATE}"}, "resource_api_version": "V3"}
        context["tls_certificate_sds_secret_configs"] = [{"name": "edge", "sds_config": source}]
    else:
        context["tls_certificates"] = [files]
    kind = TYPES + "extensions.transport_sockets.tls.v3.DownstreamTlsContext"
    return {
        "transport_socket": {
            "name": "envoy.transport_sockets.tls",
            "typed_config": {"@type": kind, "common_tls_context": context},
        },
        "transport_socket_connect_timeout": "10s",
    }


def render_certificate(options: EdgeOptions) -> Json:
    """The certificate as a file that Envoy reads; it watches the certificate's own folder."""
    certificate: Json = {
        "certificate_chain": {"filename": options.tls_cert},
        "private_key": {"filename": options.tls_key},
        "watched_directory": {"path": str(PurePath(options.tls_cert).parent)},
    }
    kind = TYPES + "extensions.transport_sockets.tls.v3.Secret"
    return {"resources": [{"@type": kind, "name": "edge", "tls_certificate": certificate}]}


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


def socket(address: str) -> Json:
    """`host:port` as Envoy writes it."""
    host, _, port = address.rpartition(":")
    return {"socket_address": {"address": host.strip("[]"), "port_value": int(port)}}
