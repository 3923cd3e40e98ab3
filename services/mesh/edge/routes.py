"""The edge's routes: one for each RPC that may be called from outside, and nothing else."""

from services.mesh.contract import Contract, Rpc
from services.mesh.edge import rest_check
from services.mesh.edge.filters import (
    CLASSES,
    FILTERS,
    METADATA,
    Json,
    jwt_requirement,
    overwritten,
    transcoder,
)
from services.mesh.edge.index import index
from services.mesh.edge.options import EdgeOptions

# Tokens, secrets of keys, and who users are: no browser and no proxy keeps them; the public keys they may.
NOT_STORED = frozenset({"auth", "user"})
PUBLIC_KEYS = "/redfire.auth.v1.AuthService/GetJwks"
OPENAPI_BYTES = 8 << 20
# Repeating these cannot do anything twice: the call never reached the service.
NEVER_ARRIVED = "connect-failure,refused-stream"
STREAM_DEADLINE = {"timeout": "0s", "idle_timeout": "0s"}
# Streams on which something is always sent within a third of `stall_s`: silence is a client that takes nothing.
NEVER_SILENT = frozenset(f"/redfire.market.v1.MarketService/{name}" for name in ("StreamTicks", "StreamBars"))
# What native gRPC calls have no need of; each takes memory of a stream as long as it is open.
NOT_NATIVE = (
    "envoy.filters.http.cors",
    "envoy.filters.http.grpc_web",
    "envoy.filters.http.grpc_json_transcoder",
    rest_check.CHECK,
)
NATIVE = "application/grpc([+;].*)?"
# A unary RPC's deadline is the service's to keep. Envoy gives up only when the service does not even say so.
SLACK_S = 1.0
# A route without a cluster: only for the filters that look at REST calls before the transcoder has turned them.
NOWHERE = "nowhere"
OPERATORS = "operators"
ALLOWED_HEADERS = (
    "authorization, content-type, grpc-timeout, traceparent, x-api-key, x-device-token, x-grpc-web, x-request-id, "
    "x-user-agent"
)
# Percent-encoded UTF-8 (RFC 3629 §4), query included.
TAIL = "%[89ABab][0-9A-Fa-f]"
UTF_8_PATH = (
    "(?:[^%]|%[0-7][0-9A-Fa-f]"
    f"|%[Cc][2-9A-Fa-f]{TAIL}|%[Dd][0-9A-Fa-f]{TAIL}"
    f"|%[Ee]0%[ABab][0-9A-Fa-f]{TAIL}|%[Ee][Dd]%[89][0-9A-Fa-f]{TAIL}|%[Ee][1-9A-Ca-cEeFf](?:{TAIL}){{2}}"
    f"|%[Ff]0%[9ABab][0-9A-Fa-f](?:{TAIL}){{2}}|%[Ff][1-3](?:{TAIL}){{3}}|%[Ff]4%8[0-9A-Fa-f](?:{TAIL}){{2}})*"
)
# gRPC's own headers, as it can read them; others are refused here for the reason that GRPC_INTERNAL states.
GRPC_HEADERS = {"grpc-timeout": "[0-9]{1,8}[HMSmun]", "grpc-encoding": "identity|gzip|deflate"}
EXPOSED_HEADERS = (
    "grpc-message, grpc-status, grpc-status-details-bin, retry-after, www-authenticate, x-ratelimit-limit, "
    "x-ratelimit-remaining, x-ratelimit-reset, x-request-id"
)

# Pages are made by processes in which users' code runs. A browser gives them an origin of their own, from which they
# reach nothing.
PAGE_HEADERS = {
    "content-security-policy": (
        "sandbox allow-scripts allow-downloads; default-src 'none'; script-src 'unsafe-inline'; "
        "style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
}


def route_configuration(contract: Contract, options: EdgeOptions) -> Json:
    """All routes, in the order in which Envoy tries them."""
    rpcs = [rpc for rpc in contract.edge_rpcs if rpc.policy.service in options.services]
    return {
        "name": "edge",
        "max_direct_response_body_size_bytes": OPENAPI_BYTES,
        "virtual_hosts": [
            {
                "name": "edge",
                "domains": ["*"],
                "typed_per_filter_config": {"envoy.filters.http.cors": cors(options)},
                "routes": [
                    *unreadable(options),
                    *({**route, "typed_per_filter_config": not_transcoded(options)} for route in index()),
                    health(options),
                    openapi(options),
                    *rest(contract, options),
                    *(native_route(rpc, options) for rpc in rpcs if rpc.policy.full_name in NEVER_SILENT),
                    *(rpc_route(rpc, options) for rpc in sorted(rpcs, key=lambda rpc: rpc.policy.full_name)),
                    *operators(options),
                    # Also internal RPCs: as if there were none.
                    {"match": {"prefix": "/"}, "direct_response": {"status": 404}},
                ],
            }
        ],
    }


def cors(options: EdgeOptions) -> Json:
    """CORS: the pages that may call. Tokens travel in a header, so cookies need not pass."""
    return {
        "@type": FILTERS + "cors.v3.CorsPolicy",
        "allow_origin_string_match": [{"safe_regex": {"regex": origin}} for origin in options.cors_origins],
        "allow_methods": "GET, POST, PUT, PATCH, DELETE, OPTIONS",
        "allow_headers": ALLOWED_HEADERS,
        "expose_headers": EXPOSED_HEADERS,
        "max_age": "600",
    }


def unreadable(options: EdgeOptions) -> list[Json]:
    """Refuses calls with headers that gRPC could not read."""
    return [
        {
            "match": {
                "prefix": "/",
                "headers": [
                    {"name": name, "present_match": True},
                    {"name": name, "string_match": {"safe_regex": {"regex": regex}}, "invert_match": True},
                ],
            },
            "direct_response": {"status": 400, "body": {"inline_string": f"{name} is not readable"}},
            "typed_per_filter_config": not_transcoded(options),
        }
        for name, regex in GRPC_HEADERS.items()
    ]


def health(options: EdgeOptions) -> Json:
    """`/healthz`, answered by the process that knows."""
    return {
        "match": {"path": "/healthz"},
        "route": {"cluster": "ops", "timeout": "5s"},
        "typed_per_filter_config": not_transcoded(options),
    }


def openapi(options: EdgeOptions) -> Json:
    """`/openapi.json`, for everybody. Envoy's CORS filter leaves answers of Envoy's own alone."""
    headers = {"content-type": "application/json", "access-control-allow-origin": "*"}
    return {
        "match": {"path": "/openapi.json"},
        "direct_response": {"status": 200, "body": {"filename": options.openapi}},
        "response_headers_to_add": overwritten(headers),
        "typed_per_filter_config": not_transcoded(options),
    }


def rest(contract: Contract, options: EdgeOptions) -> list[Json]:
    """Routes of REST calls before the transcoder turns them into gRPC calls, which are routed again.

    It finds no route action here but for CORS, which ignores routes with an answer of their own.
    """
    body = {
        "@type": FILTERS + "buffer.v3.BufferPerRoute",
        "buffer": {"max_request_bytes": options.max_refused_bytes},
    }
    enabled = {"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "config": {}}
    config: Json = {"envoy.filters.http.buffer": body, rest_check.KEPT: enabled}
    sse = {
        **config,
        "envoy.filters.http.grpc_json_transcoder": transcoder(contract, options, server_sent_events=True),
    }
    accepts_sse = {"name": "accept", "string_match": {"contains": "text/event-stream"}}
    not_text = {"name": ":path", "string_match": {"safe_regex": {"regex": UTF_8_PATH}}, "invert_match": True}
    return [
        # The transcoder would put such bytes into strings, which protobuf cannot read then.
        {
            "match": {"prefix": "/api/", "headers": [not_text]},
            "direct_response": {"status": 400, "body": {"inline_string": "the path is not UTF-8"}},
            "typed_per_filter_config": not_transcoded(options),
        },
        {
            "match": {"prefix": "/api/", "headers": [accepts_sse]},
            "route": {"cluster": NOWHERE},
            "typed_per_filter_config": sse,
        },
        {"match": {"prefix": "/api/"}, "route": {"cluster": NOWHERE}, "typed_per_filter_config": config},
        {"match": {"prefix": "/.well-known/"}, "route": {"cluster": NOWHERE}, "typed_per_filter_config": config},
    ]


def rpc_route(rpc: Rpc, options: EdgeOptions) -> Json:
    """The route of one RPC, by gRPC, gRPC-Web and, once transcoded, REST."""
    policy = rpc.policy
    route: Json = {"cluster": policy.service}
    entry: Json = {"match": {"path": policy.full_name}, "route": route}
    if policy.deadline_s is None:
        route |= STREAM_DEADLINE
        if policy.full_name in NEVER_SILENT:
            if policy.service in options.streams:
                route["cluster"] = streams_cluster(policy.service)
            # Not tried again: for that Envoy would keep 4 KiB of each stream, and its client opens it again anyway.
            route["idle_timeout"] = f"{options.stall_s}s"
        else:
            route["retry_policy"] = {"retry_on": NEVER_ARRIVED, "num_retries": 2}
    else:
        longest = seconds(policy.deadline_s + SLACK_S)
        route |= {
            "priority": "HIGH",  # what tells calls from streams: each have a limit of their own
            "timeout": longest,
            # With the second limit, for callers who state a deadline, Envoy heeds `timeout` no more, but the first one.
            # Both are stated to the service.
            "max_stream_duration": {"max_stream_duration": longest, "grpc_timeout_header_max": longest},
            **retries(rpc, len(options.services[policy.service])),
        }
    if policy.rate_limit in CLASSES:
        key, value = CLASSES[policy.rate_limit]
        entry["metadata"] = {"filter_metadata": {METADATA: {key: value, "counted": "total"}}}
    if policy.service in NOT_STORED and policy.full_name != PUBLIC_KEYS:
        entry["response_headers_to_add"] = overwritten({"cache-control": "no-store"})
    if any(rest_route.response_body for rest_route in rpc.routes):
        entry["response_headers_to_add"] = overwritten(PAGE_HEADERS)
    if policy.public:
        entry["typed_per_filter_config"] = {"envoy.filters.http.jwt_authn": jwt_requirement("public")}
    return entry


def streams_cluster(service: str) -> str:
    """The cluster of a service's port for streams alone."""
    return f"{service}.streams"


def native_route(rpc: Rpc, options: EdgeOptions) -> Json:
    """The route of a stream by gRPC itself: there are thousands, and they do without the filters of REST and gRPC-Web.

    A REST call, which has become a gRPC call by the time that it is routed again, keeps the filters it began with.
    """
    entry = rpc_route(rpc, options)
    entry["match"] = {
        "path": rpc.policy.full_name,
        "headers": [
            {"name": "content-type", "string_match": {"safe_regex": {"regex": NATIVE}}},
            {"name": "x-envoy-original-path", "present_match": True, "invert_match": True},
        ],
    }
    disabled = {"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "disabled": True}
    entry["typed_per_filter_config"] = dict.fromkeys(NOT_NATIVE, disabled)
    return entry


def retries(rpc: Rpc, replicas: int) -> Json:
    """Retry and hedge policy: RPCs that did not arrive; idempotent ones also when the service was not available.

    Of several processes another one is asked. One that is silent for a third of the deadline may stand still, or be
    busy with just this call: then another is asked beside, and the first answer counts.
    """
    deadline_s = rpc.policy.deadline_s or 0.0
    several, idempotent = replicas > 1, rpc.policy.idempotent
    lost = "reset" if several else "reset-before-request"
    policy: Json = {
        "retry_on": f"{NEVER_ARRIVED},{lost},unavailable" if idempotent else NEVER_ARRIVED,
        "num_retries": 2,
    }
    if idempotent:
        policy["per_try_timeout"] = seconds(round(deadline_s / 3, 2) if several else deadline_s)
    policy["retry_back_off"] = {"base_interval": "0.025s", "max_interval": "0.25s"}
    if not several:
        return {"retry_policy": policy}
    name = "envoy.retry_host_predicates.previous_hosts"
    config = {"@type": "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"}
    policy["retry_host_predicate"] = [{"name": name, "typed_config": config}]
    policy["host_selection_retry_max_attempts"] = 5
    hedge = {"hedge_policy": {"hedge_on_per_try_timeout": True}} if idempotent else {}
    return {"retry_policy": policy, **hedge}


def operators(options: EdgeOptions) -> list[Json]:
    """Reflection and grpc.health.v1, for grpcurl and monitoring: a process answers for all it hosts.

    Nobody needs a token for them. So they have a cluster of their own, whose limits are nobody else's, a quota by
    address, and end by themselves. Of health only Check is routed: each Watch is a stream without an end.
    """
    entry: Json = {
        "metadata": {"filter_metadata": {METADATA: {"operators": "all"}}},
        "typed_per_filter_config": {"envoy.filters.http.jwt_authn": jwt_requirement("public")},
    }
    ends = seconds(options.operator_stream_s)
    stream: Json = {
        "cluster": OPERATORS,
        "timeout": "0s",
        "idle_timeout": ends,
        "max_stream_duration": {"max_stream_duration": ends, "grpc_timeout_header_max": ends},
    }
    check: Json = {"cluster": OPERATORS, "priority": "HIGH", "timeout": "5s"}
    return [
        {"match": {"path": "/grpc.health.v1.Health/Check"}, "route": check, **entry},
        *(
            {"match": {"prefix": prefix}, "route": stream, **entry}
            for prefix in ("/grpc.reflection.v1.", "/grpc.reflection.v1alpha.")
        ),
    ]


def not_limited(options: EdgeOptions) -> Json:
    """Per-route configuration of what no quota counts, so that no header states one."""
    if options.rate_limits is None:
        return {}
    disabled = {"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "disabled": True}
    return {"envoy.filters.http.local_ratelimit": disabled}


def not_transcoded(options: EdgeOptions) -> Json:
    """Per-route configuration of what is neither REST nor gRPC."""
    nothing = {"@type": FILTERS + "grpc_json_transcoder.v3.GrpcJsonTranscoder", "proto_descriptor": "", "services": []}
    return {
        "envoy.filters.http.grpc_json_transcoder": nothing,
        "envoy.filters.http.jwt_authn": jwt_requirement("public"),
        **not_limited(options),
    }


def seconds(value: float) -> str:
    """A duration in protobuf's JSON."""
    return f"{value:g}s"
