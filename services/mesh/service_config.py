"""gRPC's service config: deadlines and retries of every RPC, for clients in any language (gRFC A6)."""

from services.mesh.contract import Contract, Rpc
from services.mesh.edge_filters import Json

RETRY_POLICY: Json = {
    "maxAttempts": 3,
    "initialBackoff": "0.05s",
    "maxBackoff": "1s",
    "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE"],
}


def render_service_config(contract: Contract) -> Json:
    """A deadline where the contract has one, retries where it says that repeating does no harm."""
    return {
        "methodConfig": [method_config(rpc) for rpc in sorted(contract.rpcs, key=lambda rpc: rpc.policy.full_name)],
        # When most calls fail, retries make it worse.
        "retryThrottling": {"maxTokens": 100, "tokenRatio": 0.1},
    }


def method_config(rpc: Rpc) -> Json:
    """The entry of one RPC."""
    found: Json = {"name": [{"service": rpc.grpc_service, "method": rpc.policy.name}]}
    if rpc.policy.deadline_s is not None:
        found["timeout"] = f"{rpc.policy.deadline_s:g}s"
    # A stream that is opened again begins again: its reader must know.
    if rpc.policy.idempotent and not rpc.policy.streams:
        found["retryPolicy"] = RETRY_POLICY
    return found
