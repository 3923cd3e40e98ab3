"""The edge's HTTP filters, in the order that a request meets them."""

from collections.abc import Mapping
from typing import TypeAlias

from services.kernel.identifiers import REQUEST_ID_FORM, REQUEST_ID_LENGTH, TRACEPARENT_FORM
from services.kernel.identity.identity import EDGE_KEY
from services.mesh.contract import Contract
from services.mesh.edge import rest_check
from services.mesh.edge.options import EDGE_TOKEN, EdgeOptions, RateLimits

FILTERS = "type.googleapis.com/envoy.extensions.filters.http."

# redfire.options.v1.RateLimit → what its RPCs' routes say, and thereby what they are counted by.
CLASSES = {1: ("caller_class", "default"), 2: ("address_class", "auth"), 3: ("caller_class", "trading")}
SUBJECT = "x-redfire-subject"
DEVICE = "x-device-token"
REQUEST_ID = "x-request-id"
METADATA = "redfire"  # the key of our part of a route's metadata
ADDRESS = "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"
# Metadata that gRPC parses and no client of ours sends. What it cannot parse spoils the connection, which Envoy shares
# among all callers: afterwards it answers others' calls with the same error.
GRPC_INTERNAL = "(?i)grpc-(status|message|retry-pushback-ms|previous-rpc-attempts|internal-.*|server-.*)|lb-.*|.*-bin"

Json: TypeAlias = dict[str, object]


def http_filters(contract: Contract, options: EdgeOptions) -> list[Json]:
    """All HTTP filters. Those after the transcoder see REST calls as the gRPC calls that they become."""
    filters: list[Json] = [
        # Last of all on the way back: what is refused before any filter saw it has the client's own.
        where_malformed("Response", REQUEST_ID, REQUEST_ID_FORM, set_header(REQUEST_ID, "%UNIQUE_ID%")),
        strip_identity(),
        where_malformed("Request", REQUEST_ID, REQUEST_ID_FORM, set_header(REQUEST_ID, "%UNIQUE_ID%")),
        where_malformed("Request", "traceparent", TRACEPARENT_FORM, {"remove": "traceparent"}),
        http_filter("cors", "cors.v3.Cors"),
        {
            **http_filter("buffer", "buffer.v3.Buffer", max_request_bytes=options.max_refused_bytes),
            "disabled": True,  # but on REST paths: a gRPC stream must not be gathered first
        },
        {**lua(rest_check.KEPT, rest_check.keep_body_script(options.max_body_bytes)), "disabled": True},
        http_filter("grpc_web", "grpc_web.v3.GrpcWeb"),
        {"name": "envoy.filters.http.grpc_json_transcoder", "typed_config": transcoder(contract, options)},
        jwt_authn(options),
    ]
    if options.rate_limits is not None:
        filters.append(local_ratelimit(options.rate_limits))
    filters.append(lua(rest_check.CHECK, rest_check.check_script(contract)))
    return [*filters, http_filter("router", "router.v3.Router", suppress_envoy_headers=True)]


def http_filter(name: str, config_type: str, **config: object) -> Json:
    """One of Envoy's own HTTP filters."""
    return {"name": f"envoy.filters.http.{name}", "typed_config": {"@type": FILTERS + config_type, **config}}


def lua(name: str, code: str) -> Json:
    """A filter of RedFire, under a name of its own."""
    return {**http_filter("lua", "lua.v3.Lua", default_source_code={"inline_string": code}), "name": name}


def strip_identity() -> Json:
    """Remove what only the mesh may say: who calls, from where, and what Envoy noted about it."""
    return http_filter(
        "header_mutation",
        "header_mutation.v3.HeaderMutation",
        mutations={
            "request_mutations": [
                {"remove_on_match": {"key_matcher": {"prefix": "x-redfire-", "ignore_case": True}}},
                {"remove_on_match": {"key_matcher": {"prefix": "x-envoy-", "ignore_case": True}}},
                {"remove_on_match": {"key_matcher": {"safe_regex": {"regex": GRPC_INTERNAL}}}},
                # It is given back in a header, and not every client of a proxy before us takes long ones.
                set_header(REQUEST_ID, f"%REQ(X-REQUEST-ID):{REQUEST_ID_LENGTH}%"),
                # Kernel's Call.client_address, and why it is believed: Envoy's environment has the secret, no file.
                set_header("x-envoy-external-address", ADDRESS),
                set_header(EDGE_KEY, f"%ENVIRONMENT({EDGE_TOKEN})%"),
            ],
            "response_mutations": [set_header(REQUEST_ID, f"%REQ(X-REQUEST-ID):{REQUEST_ID_LENGTH}%")],
        },
    )


def where_malformed(way: str, name: str, form: str, mutation: Json) -> Json:
    """Change the headers of a request or response of which one has not the form that it must have as a whole."""
    change = http_filter(
        "header_mutation", "header_mutation.v3.HeaderMutation", mutations={f"{way.lower()}_mutations": [mutation]}
    )
    kind = f"type.googleapis.com/envoy.type.matcher.v3.Http{way}HeaderMatchInput"
    well_formed: Json = {
        "input": {"name": name, "typed_config": {"@type": kind, "header_name": name}},
        "value_match": {"safe_regex": {"google_re2": {}, "regex": form}},
    }
    skip = "type.googleapis.com/envoy.extensions.filters.common.matcher.action.v3.SkipFilter"
    action: Json = {"action": {"name": "skip", "typed_config": {"@type": skip}}}
    matcher = {"predicate": {"single_predicate": well_formed}, "on_match": action}
    return {
        "name": f"redfire.{way.lower()}.{name}",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.common.matching.v3.ExtensionWithMatcher",
            "extension_config": change,
            "xds_matcher": {"matcher_list": {"matchers": [matcher]}},
        },
    }


def set_header(name: str, value: str) -> Json:
    """A mutation that sets a header, unless the value comes out empty."""
    return {"append": header(name, value)}


def header(name: str, value: str) -> Json:
    """A header that takes the place of others of its name."""
    return {"header": {"key": name, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}


def overwritten(headers: Mapping[str, str]) -> list[Json]:
    """Headers that answers get, whatever they had."""
    return [header(name, value) for name, value in headers.items()]


def transcoder(contract: Contract, options: EdgeOptions, *, server_sent_events: bool = False) -> Json:
    """REST to gRPC and back. Streams answer JSON lines, or Server-Sent Events."""
    services = {rpc.grpc_service for rpc in contract.edge_rpcs if rpc.routes and rpc.policy.service in options.services}
    streams = "stream_sse_style_delimited" if server_sent_events else "stream_newline_delimited"
    return {
        "@type": FILTERS + "grpc_json_transcoder.v3.GrpcJsonTranscoder",
        "proto_descriptor": options.descriptors,
        "services": sorted(services),
        "convert_grpc_status": True,
        "max_request_body_size": options.max_body_bytes,
        "max_response_body_size": options.max_response_bytes,
        "request_validation_options": {
            "reject_unknown_method": True,
            "reject_unknown_query_parameters": True,
            "reject_binding_body_field_collisions": True,
        },
        "match_unregistered_custom_verb": True,
        "print_options": {"always_print_primitive_fields": True, streams: True},
    }


def jwt_authn(options: EdgeOptions) -> Json:
    """Verify access tokens. A call without one passes: it may carry an API key, and services verify again."""
    provider = {
        "issuer": options.issuer,
        "audiences": [options.audience],
        "remote_jwks": {
            "http_uri": {"uri": "http://ops/jwks.json", "cluster": "ops", "timeout": "2s"},
            "cache_duration": f"{options.jwks_refresh_s}s",
            # The listener opens once the keys are here, so that no good token is refused at the start.
            "async_fetch": {"fast_listener": False, "failed_refetch_duration": "0.2s"},
        },
        "forward": True,
        "require_expiration": True,
        # A signature takes longer to check than all the rest of a call here.
        "jwt_cache_config": {"jwt_cache_size": 1000},
        "clock_skew_seconds": 5,
        "from_headers": [{"name": "authorization", "value_prefix": "Bearer "}],
        "claim_to_headers": [{"header_name": SUBJECT, "claim_name": "sub"}],
    }
    token = {"provider_name": "redfire"}
    return http_filter(
        "jwt_authn",
        "jwt_authn.v3.JwtAuthentication",
        providers={"redfire": provider},
        requirement_map={
            "token": {"requires_any": {"requirements": [token, {"allow_missing": {}}]}},
            # Who logs in with an expired token still in a header must not be turned away.
            "public": {"requires_any": {"requirements": [token, {"allow_missing_or_failed": {}}]}},
        },
        rules=[{"match": {"prefix": "/"}, "requirement_name": "token"}],
        bypass_cors_preflight=True,
    )


def jwt_requirement(name: str) -> Json:
    """The per-route configuration of jwt_authn."""
    return {"@type": FILTERS + "jwt_authn.v3.PerRouteConfig", "requirement_name": name}


def local_ratelimit(limits: RateLimits) -> Json:
    """The quotas of the contract, per caller or address, each with a bucket of its own that is made when needed.

    A route's metadata has its class. A call takes from all buckets that it matches; the header has the tightest. A
    caller is the token's subject, else the API key, which services count again by its user, else the address.
    """
    percent = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}
    callers: list[list[Json]] = [
        [{"request_headers": {"header_name": SUBJECT, "descriptor_key": "user"}}],
        [sends("api_key", key=True), {"request_headers": {"header_name": "x-api-key", "descriptor_key": "key"}}],
        [sends("nothing", key=False), client_network()],
    ]
    device: Json = {"request_headers": {"header_name": DEVICE, "descriptor_key": "device"}}
    return http_filter(
        "local_ratelimit",
        "local_ratelimit.v3.LocalRateLimit",
        stat_prefix="edge",
        filter_enabled=percent,
        filter_enforced=percent,
        token_bucket=bucket(1_000_000_000),
        always_consume_default_token_bucket=False,
        enable_x_ratelimit_headers="DRAFT_VERSION_03",
        rate_limited_as_resource_exhausted=True,
        max_dynamic_descriptors=20_000,
        rate_limits=[
            *({"actions": [rate_class(key), *caller]} for key in ("caller_class", "counted") for caller in callers),
            {"actions": [rate_class("address_class"), on_device(False), client_network()]},
            {"actions": [rate_class("address_class"), on_device(True), client_network()]},
            {"actions": [rate_class("address_class"), client_network(), device]},
            {"actions": [rate_class("operators"), client_network()]},
            {"actions": [rate_class("counted"), sends("api_key", key=True), client_network()]},
        ],
        descriptors=[
            *by_caller(limits.default, caller_class="default"),
            *by_caller(limits.trading, caller_class="trading"),
            *by_caller(limits.total, counted="total"),
            descriptor(limits.auth, address_class="auth", header_match="no_device", masked_remote_address=""),
            descriptor(limits.devices, address_class="auth", header_match="device", masked_remote_address=""),
            descriptor(limits.device, address_class="auth", masked_remote_address="", device=""),
            descriptor(limits.operators, operators="all", masked_remote_address=""),
            descriptor(limits.unverified, counted="total", header_match="api_key", masked_remote_address=""),
        ],
    )


def on_device(known: bool) -> Json:
    """Matches calls with, or without, a device token; auth knows whether it is one."""
    header: Json = {"name": DEVICE, "present_match": True, **({} if known else {"invert_match": True})}
    return {"header_value_match": {"descriptor_value": "device" if known else "no_device", "headers": [header]}}


def client_network() -> Json:
    """The client's address; of IPv6 the /64 that one household has."""
    return {"masked_remote_address": {"v4_prefix_mask_len": 32, "v6_prefix_mask_len": 64}}


def by_caller(per_minute: int, **rate_class: str) -> list[Json]:
    """A bucket for each caller of a class: users, API keys, and addresses without either."""
    return [
        descriptor(per_minute, **rate_class, user=""),
        descriptor(per_minute, **rate_class, header_match="api_key", key=""),
        descriptor(per_minute, **rate_class, header_match="nothing", masked_remote_address=""),
    ]


def rate_class(key: str) -> Json:
    """Metadata of the route under a key; routes without it have no such limit."""
    where = {"key": METADATA, "path": [{"key": key}]}
    return {"metadata": {"descriptor_key": key, "metadata_key": where, "source": "ROUTE_ENTRY"}}


def sends(value: str, *, key: bool) -> Json:
    """Matches calls without a valid token, with or without an API key."""
    headers: list[Json] = [
        {"name": "x-api-key", "present_match": True, **({} if key else {"invert_match": True})},
        {"name": SUBJECT, "present_match": True, "invert_match": True},
    ]
    return {"header_value_match": {"descriptor_value": value, "headers": headers}}


def descriptor(per_minute: int, **entries: str) -> Json:
    """A bucket for each combination of values; an empty value stands for any."""
    descriptor_entries = [{"key": key, "value": value} if value else {"key": key} for key, value in entries.items()]
    return {"entries": descriptor_entries, "token_bucket": bucket(per_minute)}


def bucket(per_minute: int) -> Json:
    """A bucket that fills within a minute."""
    return {"max_tokens": per_minute, "tokens_per_fill": per_minute, "fill_interval": "60s"}
