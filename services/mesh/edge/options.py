"""Options of an edge besides the contract: its address, the services' addresses, its limits."""

from collections.abc import Mapping
from dataclasses import dataclass, field

EDGE_TOKEN = "EDGE_TOKEN"  # noqa: S105 the variable in Envoy's environment # nosec B105
LOCALHOST_ORIGINS = (r"https?://(localhost|127\.0\.0\.1|\[::1\])(:\d+)?",)


@dataclass(frozen=True, slots=True)
class RateLimits:
    """Calls per minute: of each class in the contract, and in all."""

    default: int = 100  # per caller
    auth: int = 60  # per client address
    device: int = 20  # of the same, per device token that an earlier login gave, apart from the others of its address
    devices: int = 120  # for all such tokens of an address: made-up ones, too
    operators: int = 120  # health and reflection, per client address
    trading: int = 300  # per caller
    total: int = 1000  # per caller, whatever the class
    # API keys are not verified here. Made-up ones are stopped by this limit, per client address. An IPv6 address
    # stands for its /64 in all of these.
    unverified: int = 3000


@dataclass(frozen=True, slots=True)
class EdgeOptions:
    """All that may differ between two edges of the same contract. Addresses are `host:port`.

    `services` has the addresses of each service by its short name; what is not in it has no route. Paths are as
    Envoy sees them, from the folder it runs in.
    """

    services: Mapping[str, tuple[str, ...]]
    ops: str  # answers /healthz and /jwks.json by HTTP/1
    descriptors: str  # the descriptor set
    openapi: str  # the OpenAPI document, served as it is
    # The addresses of services' ports for streams alone, where they have one: for those of NEVER_SILENT. The
    # order is that of the same processes in `services`.
    streams: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    services_ca: str = (
        ""  # a file with the CA of the services' certificates, which are called with TLS; none when empty
    )
    services_name: str = ""  # the name that all their certificates state; empty: the host of each address
    operators: str = ""  # answers reflection and grpc.health.v1; empty: a service's process, which hosts them all
    # Reflection's streams that may be open at a time, and health checks beside them; each ends by itself.
    operator_calls: int = 64
    operator_stream_s: int = 60
    host: str = "127.0.0.1"
    port: int = 8080
    tls_cert: str = ""  # a PEM file with the certificate and those above it; empty: no TLS
    tls_key: str = ""  # its private key
    local_port: int = 0  # of loopback, without TLS, for the commands of this machine; none when 0
    # A folder with listeners, certificate and pressure, files that Envoy reads again when they change; empty: the
    # listeners are part of the configuration.
    watched: str = ""
    admin: str = ""  # the path of a UNIX socket; none when empty
    access_log: str = ""  # a file; none when empty
    rate_limits: RateLimits | None = field(default_factory=RateLimits)
    cors_origins: tuple[str, ...] = LOCALHOST_ORIGINS  # regular expressions of whole origins
    trusted_hops: int = 0  # proxies before this one whose x-forwarded-for is believed
    issuer: str = "redfire"
    audience: str = "redfire"
    jwks_refresh_s: int = 5
    max_body_bytes: int = 1 << 20
    # Larger ones are read up to this and then refused: most clients read no answer before they have sent all.
    max_refused_bytes: int = 16 << 20
    # A client that gives no sign of life for so long is gone: its streams end, and leases on them begin to run.
    client_silence_s: int = 20
    # A connection that says nothing, or has no call open, ends after so long; under pressure within `hurried_s`.
    idle_s: int = 60
    headers_s: int = 10  # for the headers of a request, from their first byte on
    hurried_s: int = 5
    # A tick or bar stream that takes nothing for so long is reset. Market's heartbeats must be more frequent (stall_s).
    stall_s: int = 30
    # Unary calls at each process of a service. What is beyond them is refused, instead of waiting for its deadline.
    in_flight: int = 256
    connections: int = 16_384  # that may be open at a time
    source_connections: int = 2000  # of them from one address, or one /64; 0: as many as like to
    max_heap_bytes: int = 1 << 30  # beyond it Envoy refuses calls, and ends those that hold most
    max_response_bytes: int = 16 << 20  # of one message, by REST
    tracing: str = ""  # OTLP over gRPC; none when empty
    trace_ratio: float = 0.1
